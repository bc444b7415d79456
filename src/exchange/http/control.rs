//! What a sandbox can do that no exchange offers: set markets, script faults, show the truth.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;

use crate::domain::ids::Symbol;

use super::super::faults::Script;
use super::super::message::Command;
use super::super::transaction::PriceTerms;
use super::body::{self, RevisionBody};
use super::connection::Cut;
use super::perform::Shared;
use super::reply::Reply;

type Served = State<Arc<Shared>>;

pub(super) async fn set_prices(
    State(shared): Served,
    ConnectInfo(cut): ConnectInfo<Cut>,
    body: Body,
) -> Response {
    let read = async { body::json::<BTreeMap<Symbol, PriceTerms>>(&body::bytes(body).await?) };
    match read.await {
        Ok(prices) => shared.plainly(&cut, shared.ask(Command::Prices(prices))).await,
        Err(reply) => shared.tell(reply),
    }
}

/// Corrects a trade, or takes it back.
pub(super) async fn revise_trade(
    State(shared): Served,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Path(trade_id): Path<String>,
    body: Body,
) -> Response {
    let read = async { body::json::<RevisionBody>(&body::bytes(body).await?)?.read(trade_id) };
    match read.await {
        Ok(revision) => shared.plainly(&cut, shared.ask(Command::Revise(revision))).await,
        Err(reply) => shared.tell(reply),
    }
}

pub(super) async fn set_faults(State(shared): Served, body: Body) -> Response {
    let read = async {
        let script: Script = body::json(&body::bytes(body).await?)?;
        script.check().map_err(Reply::invalid)?;
        Ok(script)
    };
    match read.await {
        Ok(script) => {
            shared.set_script(script);
            shared.tell(Reply::done())
        }
        Err(reply) => shared.tell(reply),
    }
}

pub(super) async fn show_faults(State(shared): Served) -> Response {
    let script = shared.script();
    shared.tell(Reply::done().with("seed", &script.seed()).with("rules", script.rules()))
}

pub(super) async fn remove_faults(State(shared): Served) -> Response {
    shared.set_script(Script::default());
    shared.tell(Reply::done())
}

pub(super) async fn ledger(State(shared): Served, ConnectInfo(cut): ConnectInfo<Cut>) -> Response {
    shared.plainly(&cut, shared.ask(Command::Truth)).await
}
