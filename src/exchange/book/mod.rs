//! The exchange without its network and its disk: pure and synchronous, the time an argument.
//!
//! A command changes the state only by transactions, and a command's transactions are one record of the
//! ledger: so the state is the fold of the ledger, and a restarted exchange is the one that ended.

mod decide;
mod placed;
mod revise;
mod state;

use crate::domain::amount::{Amount, Price};
use crate::domain::event::Trail;
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::market::Market;
use crate::domain::report::ReportedFill;
use crate::domain::time::Timestamp;
use crate::domain::venue::Venue;

use super::message::{
    Answer, Answered, Change, Code, Command, Dedupe, OrderView, Placement, PositionView, Refused, Truth,
};
use super::transaction::{Commission, Record, Trade, Transaction, TransactionType};
use placed::Placed;
pub use state::BookError;
use state::State;

/// Trades before a page that are shown once more by a feed that repeats.
const SHOWN_AGAIN: usize = 10;

#[derive(Debug)]
pub(super) struct Book {
    venue: Venue,
    dedupe: Dedupe,
    state: State,
    /// What the command under way has changed.
    record: Record,
}

/// Something that happens to an order.
enum News {
    Accepted,
    Rejected(String),
    Trade(ReportedFill),
    Cancelled(String),
    Expired(String),
    Trailed(Trail),
    Triggered(Option<Price>),
    Replaced(Change),
    TradeCorrected(Trade, String),
    TradeBusted(Trade, String),
}

impl Book {
    #[must_use]
    pub(super) fn new(venue: Venue, dedupe: Dedupe) -> Self {
        Self { venue, dedupe, state: State::default(), record: Record::default() }
    }

    /// Takes over the next record of the ledger.
    pub(super) fn replay(&mut self, record: &Record) -> Result<(), BookError> {
        self.state.replay(record)
    }

    /// The moment of the newest record.
    #[must_use]
    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.state.time_us)
    }

    #[must_use]
    pub(super) fn last_transaction(&self) -> u64 {
        self.state.last_id()
    }

    /// Carries a command out. The answer may be told once the record is on disk; an error is a fault of
    /// this program, after which the book is not to be used.
    pub(super) fn perform(
        &mut self,
        command: Command,
        now: Timestamp,
    ) -> Result<(Answered, Option<Record>), BookError> {
        // The ledger's times never go back, whatever the machine's clock does.
        let now = now.max(self.time());
        self.record = Record { time_us: now.micros(), ..Record::default() };
        self.end_by_time(now)?;
        let answered = self.answer(command, now)?;
        let record = std::mem::take(&mut self.record);
        if record.is_empty() {
            return Ok((answered, None));
        }
        self.state.time_us = record.time_us;
        Ok((answered, Some(record)))
    }

    fn answer(&mut self, command: Command, now: Timestamp) -> Result<Answered, BookError> {
        match command {
            Command::Arrived(client_order_id) => {
                self.count_post(client_order_id);
                Ok(Ok(Answer::Done))
            }
            Command::Submit { placement, window, counted } => {
                if !counted {
                    self.count_post(placement.client_order_id.clone());
                }
                self.submit(*placement, window, now)
            }
            Command::Cancel(client_order_id) => self.cancel(&client_order_id, now),
            Command::Replace { client_order_id, change, window } => {
                self.replace(&client_order_id, change, window, now)
            }
            Command::Tick => Ok(Ok(Answer::Done)),
            Command::Revise(revision) => self.revise(revision, now),
            Command::Prices(prices) => self.set_prices(prices, now).map(|()| Ok(Answer::Done)),
            Command::Order { client_order_id, lag_us } => {
                let then = now.plus_micros(-lag_us);
                let mut known = self.state.generations(&client_order_id);
                let found = known.find_map(|(_, order)| self.seen(order, lag_us, then));
                Ok(found.map_or_else(
                    || Err(unknown(&client_order_id)),
                    |order| Ok(Answer::Order(Box::new(order))),
                ))
            }
            Command::Positions => Ok(Ok(Answer::Positions(self.positions()))),
            Command::OpenOrders { lag_us } => Ok(Ok(Answer::Orders(self.open_orders(lag_us, now)))),
            Command::Transactions { after, limit, lag_us } => {
                Ok(Ok(self.transactions(after, limit, now.plus_micros(-lag_us))))
            }
            Command::Truth => Ok(Ok(Answer::Truth(self.truth()))),
        }
    }

    fn count_post(&mut self, client_order_id: ClientOrderId) {
        self.state.count_post(&client_order_id);
        self.record.post = Some(client_order_id);
    }

    /// Books one transaction.
    fn note(
        &mut self,
        order: &Placed,
        news: News,
        placement: Option<&Placement>,
        now: Timestamp,
    ) -> Result<(), BookError> {
        let mut transaction = Transaction {
            id: self.state.last_id() + 1,
            time_us: now.micros(),
            client_order_id: order.placement.client_order_id.clone(),
            order_id: order.order_id(),
            kind: TransactionType::Accepted,
            symbol: order.placement.symbol.clone(),
            side: order.placement.side,
            trade: None,
            reason: None,
            quantity: None,
            price: None,
            stop_price: None,
            replace_id: None,
            trail: None,
            trigger_price: None,
        };
        match news {
            News::Accepted => {}
            News::Rejected(reason) => {
                (transaction.kind, transaction.reason) = (TransactionType::Rejected, Some(reason));
            }
            News::Cancelled(reason) => {
                (transaction.kind, transaction.reason) = (TransactionType::Cancelled, Some(reason));
            }
            News::Expired(reason) => {
                (transaction.kind, transaction.reason) = (TransactionType::Expired, Some(reason));
            }
            News::Trailed(trail) => {
                (transaction.kind, transaction.trail) = (TransactionType::Trailed, Some(trail));
            }
            News::Triggered(price) => {
                (transaction.kind, transaction.trigger_price) = (TransactionType::Triggered, price);
            }
            News::TradeCorrected(trade, reason) => {
                transaction.kind = TransactionType::TradeCorrected;
                (transaction.trade, transaction.reason) = (Some(trade), Some(reason));
            }
            News::TradeBusted(trade, reason) => {
                transaction.kind = TransactionType::TradeBusted;
                (transaction.trade, transaction.reason) = (Some(trade), Some(reason));
            }
            News::Trade(fill) => {
                transaction.kind = TransactionType::Trade;
                transaction.trade = Some(self.trade(fill, now));
            }
            News::Replaced(change) => {
                transaction.kind = TransactionType::Replaced;
                transaction.quantity = Some(change.quantity.unwrap_or(order.quantity));
                transaction.price = change.price.or(order.order_type.limit_price());
                transaction.stop_price = change.stop_price.or(order.order_type.stop_price());
                transaction.replace_id = Some(change.replace_id);
            }
        }
        self.state.apply(&transaction, placement)?;
        if let Some(placement) = placement {
            self.record.order = Some(placement.clone());
        }
        self.record.transactions.push(transaction);
        Ok(())
    }

    fn trade(&self, fill: ReportedFill, now: Timestamp) -> Trade {
        let commission =
            |paid: crate::domain::event::Commission| Commission { asset: paid.asset, amount: paid.amount };
        Trade {
            trade_id: format!("t-{}", self.state.trades + 1),
            quantity: fill.quantity,
            price: fill.price,
            commission: fill.commission.map(commission),
            time_us: now.micros(),
            corrected_us: None,
            busted_us: None,
        }
    }

    fn market(&self, symbol: &Symbol) -> Market {
        let set = self.state.markets.get(symbol).cloned();
        set.unwrap_or_else(|| self.venue.market(symbol, None))
    }

    /// The order as a reader sees it who is `lag_us` behind.
    fn seen(&self, order: &Placed, lag_us: i64, then: Timestamp) -> Option<OrderView> {
        if lag_us == 0 {
            return Some(order.view());
        }
        order.as_of(then, &self.state.transactions).map(|order| order.view())
    }

    fn positions(&self) -> Vec<PositionView> {
        let held = self.state.positions.iter().filter(|(_, quantity)| **quantity != Amount::ZERO);
        held.map(|(symbol, quantity)| PositionView { symbol: symbol.clone(), quantity: *quantity }).collect()
    }

    fn open_orders(&self, lag_us: i64, now: Timestamp) -> Vec<OrderView> {
        if lag_us == 0 {
            let mut open: Vec<usize> = self.state.open.values().flatten().copied().collect();
            open.sort_unstable();
            return open.iter().filter_map(|at| self.state.orders.get(*at)).map(Placed::view).collect();
        }
        let then = now.plus_micros(-lag_us);
        let stood = |order: &Placed| order.as_of(then, &self.state.transactions);
        let open = self.state.orders.iter().filter_map(stood).filter(Placed::is_open);
        open.map(|order| order.view()).collect()
    }

    fn transactions(&self, after: u64, limit: usize, then: Timestamp) -> Answer {
        let all = &self.state.transactions;
        let shown = &all[..all.partition_point(|transaction| transaction.time_us <= then.micros())];
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(shown.len());
        let (old, new) = shown.split_at(from);
        let recent = &old[old.len().saturating_sub(SHOWN_AGAIN)..];
        let trades = recent.iter().filter(|transaction| transaction.trade.is_some());
        Answer::Transactions {
            page: new.iter().take(limit).cloned().collect(),
            before: trades.cloned().collect(),
            last: shown.last().map_or(0, |transaction| transaction.id),
        }
    }

    fn truth(&self) -> Vec<Truth> {
        let of = |client_order_id: &ClientOrderId| {
            let client = self.state.clients.get(client_order_id)?;
            let orders = client.generations.iter().filter_map(|at| self.state.orders.get(*at));
            Some(Truth {
                client_order_id: client_order_id.clone(),
                generations: orders.map(Placed::generation).collect(),
                posts: client.posts,
            })
        };
        self.state.arrivals.iter().filter_map(of).collect()
    }

    #[cfg(test)]
    pub(super) fn has_the_state_of(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

fn unknown(client_order_id: &ClientOrderId) -> Refused {
    Refused::new(Code::UnknownOrder, format!("no order was placed under {client_order_id}"))
}
