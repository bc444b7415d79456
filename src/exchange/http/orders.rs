//! Orders and transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::response::Response;
use tokio::time::{Instant, timeout_at};

use crate::domain::ids::ClientOrderId;

use super::super::faults::{Fault, Operation};
use super::super::message::{Answer, Command};
use super::super::sequencer::{Gone, Sequencer};
use super::super::transaction::Transaction;
use super::body::{self, Page, ReplaceBody, SubmitBody};
use super::connection::Cut;
use super::perform::Shared;
use super::reply::Reply;

type Served = State<Arc<Shared>>;
/// A client order id in a path.
type Name = Result<Path<String>, PathRejection>;

/// How often a reader is looked after who lags behind: no transaction tells when an old one gets visible.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn submit(
    State(shared): Served,
    ConnectInfo(cut): ConnectInfo<Cut>,
    body: Body,
) -> Response {
    let read = async { body::json::<SubmitBody>(&body::bytes(body).await?)?.read() };
    let (placement, window) = match read.await {
        Ok(read) => read,
        Err(reply) => return shared.tell(reply),
    };
    let fault = shared.draw(Operation::Submit, Some(&placement.client_order_id));
    let counted = fault.is_some_and(Fault::puts_off);
    if counted {
        let arrived = Command::Arrived(placement.client_order_id.clone());
        if shared.ask(arrived).await.is_err() {
            cut.cut();
        }
    }
    let command = Command::Submit { placement: Box::new(placement), window, counted };
    command_under(&shared, &cut, fault, command).await
}

pub(super) async fn cancel(State(shared): Served, ConnectInfo(cut): ConnectInfo<Cut>, id: Name) -> Response {
    named(&shared, &cut, id, Operation::Cancel, |id, _| Command::Cancel(id)).await
}

pub(super) async fn query(State(shared): Served, ConnectInfo(cut): ConnectInfo<Cut>, id: Name) -> Response {
    let query = |client_order_id, lag_us| Command::Order { client_order_id, lag_us };
    named(&shared, &cut, id, Operation::Query, query).await
}

pub(super) async fn replace(
    State(shared): Served,
    ConnectInfo(cut): ConnectInfo<Cut>,
    id: Name,
    body: Body,
) -> Response {
    let read = async { body::json::<ReplaceBody>(&body::bytes(body).await?)?.read() };
    match read.await {
        Ok((change, window)) => {
            let replace = |client_order_id, _| Command::Replace { client_order_id, change, window };
            named(&shared, &cut, id, Operation::Replace, replace).await
        }
        Err(reply) => shared.tell(reply),
    }
}

pub(super) async fn open_orders(State(shared): Served, ConnectInfo(cut): ConnectInfo<Cut>) -> Response {
    let fault = shared.draw(Operation::OpenOrders, None);
    command_under(&shared, &cut, fault, Command::OpenOrders { lag_us: lag_us(fault) }).await
}

pub(super) async fn positions(State(shared): Served, ConnectInfo(cut): ConnectInfo<Cut>) -> Response {
    command_under(&shared, &cut, None, Command::Positions).await
}

/// A request about one order; `command` takes its id and how far the reader lags behind.
async fn named(
    shared: &Shared,
    cut: &Cut,
    id: Name,
    operation: Operation,
    command: impl FnOnce(ClientOrderId, i64) -> Command,
) -> Response {
    let id = id.map_err(|error| Reply::invalid(error.body_text()));
    let id = match id.and_then(|Path(id)| body::client_order_id(&id)) {
        Ok(id) => id,
        Err(reply) => return shared.tell(reply),
    };
    let fault = shared.draw(operation, Some(&id));
    command_under(shared, cut, fault, command(id, lag_us(fault))).await
}

async fn command_under(shared: &Shared, cut: &Cut, fault: Option<Fault>, command: Command) -> Response {
    let sequencer = shared.sequencer.clone();
    shared.under(cut, fault, async move { sequencer.ask(command).await.map(Reply::of) }).await
}

fn lag_us(fault: Option<Fault>) -> i64 {
    match fault {
        Some(Fault::Lag { ms }) => i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000),
        _ => 0,
    }
}

pub(super) async fn transactions(
    State(shared): Served,
    ConnectInfo(cut): ConnectInfo<Cut>,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Response {
    let query = query.map_err(|error| Reply::invalid(error.body_text()));
    let page = match query.and_then(|Query(query)| Page::read(&query)) {
        Ok(page) => page,
        Err(reply) => return shared.tell(reply),
    };
    let fault = shared.draw(Operation::Transactions, None);
    let sequencer = shared.sequencer.clone();
    shared.under(&cut, fault, read_page(sequencer, page, fault)).await
}

/// A page, as soon as there is one, or the empty one when it was waited for in vain.
async fn read_page(sequencer: Sequencer, page: Page, fault: Option<Fault>) -> Result<Reply, Gone> {
    let until = Instant::now() + page.wait;
    let lag_us = lag_us(fault);
    let mut newest = sequencer.newest();
    loop {
        newest.mark_unchanged();
        let command = Command::Transactions { after: page.after, limit: page.limit, lag_us };
        let answered = sequencer.ask(command).await?;
        let Ok(Answer::Transactions { page, before, last }) = answered else {
            return Ok(Reply::of(answered));
        };
        if !page.is_empty() || Instant::now() >= until {
            return Ok(Reply::page(&shown(page, before, fault), last));
        }
        if lag_us > 0 {
            tokio::time::sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
        } else if let Ok(Err(_)) = timeout_at(until, newest.changed()).await {
            return Err(Gone);
        }
    }
}

fn shown(page: Vec<Transaction>, before: Vec<Transaction>, fault: Option<Fault>) -> Vec<Transaction> {
    match fault {
        Some(Fault::Repeat {}) if !page.is_empty() => {
            let twice = page.into_iter().flat_map(|transaction| {
                let again = transaction.trade.is_some().then(|| transaction.clone());
                std::iter::once(transaction).chain(again)
            });
            before.into_iter().chain(twice).collect()
        }
        Some(Fault::Reorder {}) => page.into_iter().rev().collect(),
        _ => page,
    }
}
