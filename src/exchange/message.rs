//! What is asked of the exchange and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::amount::{Amount, Price, Quantity};
use crate::domain::event::Trail;
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::order_type::{OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;

use super::transaction::{PriceTerms, Trade, Transaction};

/// How far a request's timestamp may be ahead of the exchange's clock.
const AHEAD_US: i64 = 1_000_000;

/// What becomes of a client order id that was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dedupe {
    /// It gets the answer of then, rejections too; nothing is executed twice
    Forever,
    /// It is refused while an order under it is open, else it is a new order
    Open,
    /// It is always a new order
    None,
}

/// An order as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Placement {
    pub client_order_id: ClientOrderId,
    pub symbol: Symbol,
    pub side: Side,
    pub quantity: Quantity,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    pub post_only: bool,
    #[serde(default)]
    pub reduce_only: bool,
    /// The worst price of a market order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_price: Option<Price>,
}

/// When a request may be carried out, by the exchange's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Window {
    pub timestamp: Option<Timestamp>,
    pub valid_for_us: Option<i64>,
}

impl Window {
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Refused> {
        let Some(made) = self.timestamp else { return Ok(()) };
        let age = now.micros_since(made);
        if age < -AHEAD_US {
            let message = format!("timestamp_us is {} us ahead of the exchange's clock", -age);
            return Err(Refused::new(Code::Timestamp, message));
        }
        if let Some(valid) = self.valid_for_us
            && age > valid
        {
            let message = format!("timestamp_us is {age} us ago, valid_for_us is {valid}");
            return Err(Refused::new(Code::Timestamp, message));
        }
        Ok(())
    }
}

/// New terms of an open order; what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The new total, fills included.
    pub quantity: Option<Quantity>,
    pub price: Option<Price>,
    pub stop_price: Option<Price>,
    pub replace_id: String,
}

/// What becomes of a trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision {
    pub trade_id: String,
    /// `None`: it is taken back.
    pub terms: Option<(Quantity, Price)>,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// A POST came of which nothing is carried out, or not yet.
    Arrived(ClientOrderId),
    /// `counted`: its arrival was told already.
    Submit {
        placement: Box<Placement>,
        window: Window,
        counted: bool,
    },
    Cancel(ClientOrderId),
    Replace {
        client_order_id: ClientOrderId,
        change: Change,
        window: Window,
    },
    Prices(BTreeMap<Symbol, PriceTerms>),
    /// A trade is corrected, or taken back.
    Revise(Revision),
    /// Time has passed: what it ends is ended.
    Tick,
    // What follows only reads. Nothing younger than `lag_us` is shown.
    Order {
        client_order_id: ClientOrderId,
        lag_us: i64,
    },
    OpenOrders {
        lag_us: i64,
    },
    Positions,
    Transactions {
        after: u64,
        limit: usize,
        lag_us: i64,
    },
    Truth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum OrderStatus {
    Open,
    Filled,
    Cancelled,
    Rejected,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct OrderView {
    pub client_order_id: ClientOrderId,
    pub order_id: String,
    pub symbol: Symbol,
    pub side: Side,
    pub quantity: Quantity,
    /// As it is in force.
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    pub price: Option<Price>,
    pub stop_price: Option<Price>,
    /// A conditional order: it is worked.
    pub triggered: bool,
    pub trail: Option<Trail>,
    pub filled_quantity: Quantity,
    pub status: OrderStatus,
    pub reason: Option<String>,
    /// Of the last replace that was carried out.
    pub replace_id: Option<String>,
    pub trades: Vec<Trade>,
}

/// What is held of one symbol; flat ones are left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PositionView {
    pub symbol: Symbol,
    /// Long positive, short negative.
    pub quantity: Amount,
}

/// All that happened under one client order id.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Truth {
    pub client_order_id: ClientOrderId,
    pub generations: Vec<Generation>,
    /// POSTs that were received, whatever became of them.
    pub posts: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Generation {
    pub order_id: String,
    pub status: OrderStatus,
    pub quantity: Quantity,
    pub filled_quantity: Quantity,
    pub price: Option<Price>,
    pub executions: Vec<Execution>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Execution {
    pub trade_id: String,
    pub quantity: Quantity,
    pub price: Price,
}

/// Why a request was not carried out. Nothing was executed for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refused {
    pub code: Code,
    pub message: String,
    pub order: Option<Box<OrderView>>,
}

impl Refused {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), order: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Rejected,
    Timestamp,
    Duplicate,
    UnknownOrder,
    UnknownTrade,
    NotOpen,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Done,
    Order(Box<OrderView>),
    Orders(Vec<OrderView>),
    Positions(Vec<PositionView>),
    Transactions {
        page: Vec<Transaction>,
        /// Trades shortly before the page: a broken feed shows them once more.
        before: Vec<Transaction>,
        /// The id of the newest one there is, 0 where there is none.
        last: u64,
    },
    Truth(Vec<Truth>),
}

pub(super) type Answered = Result<Answer, Refused>;
