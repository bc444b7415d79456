//! A broker, simulated or real.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::amount::{Amount, Price, Quantity};
use crate::domain::decide::Decision;
use crate::domain::event::{Deadline, Terms};
use crate::domain::ids::{BrokerName, OrderId, RequestKey, Symbol};
use crate::domain::instrument::Instrument;
use crate::domain::market::Market;
use crate::domain::order::{ContentHash, Order};
use crate::domain::report::{Answer, Finding, Report};
use crate::domain::risk::RiskApproved;
use crate::domain::status::Status;

use super::journal::JournalError;
use super::quotes::QuotesError;

/// Reading from the broker failed; reads may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("broker {broker} {call}: {why}")]
pub struct BrokerError {
    pub broker: BrokerName,
    pub call: &'static str,
    pub why: String,
}

/// A part of the broker's feed, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Updates {
    pub told: Vec<BrokerUpdate>,
    /// Read on from here.
    pub cursor: u64,
}

/// Something the broker's feed tells.
#[derive(Debug, Clone)]
pub struct BrokerUpdate {
    /// As the broker has it: it may not be one of ours.
    pub client_order_id: String,
    /// `None`: it cannot be understood.
    pub report: Option<Report>,
    /// For a person, where the order is not one of ours.
    pub text: String,
}

/// An order as the broker has it.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerOrder {
    /// As the broker has it: it may not be one of ours.
    pub client_order_id: String,
    pub broker_order_id: Option<String>,
    pub symbol: String,
    pub status: Status,
    pub quantity: Quantity,
    pub filled_quantity: Quantity,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BrokerPosition {
    pub symbol: Symbol,
    pub quantity: Amount,
    pub average_price: Option<Price>,
}

/// Free balance by currency. `None` where the broker does not keep money.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    pub balances: Vec<(String, Amount)>,
}

/// An attempt that is journaled, with the right to make it.
#[derive(Debug)]
pub struct Submission<'a> {
    pub order: RiskApproved<&'a Order>,
    /// Of the order's lease when the attempt was journaled.
    pub epoch: u64,
    pub deadline: Option<Deadline>,
}

/// New terms that are journaled as asked for.
#[derive(Debug)]
pub struct Replacing<'a> {
    pub order: RiskApproved<&'a Order>,
    /// Version of the event that asked: the broker remembers the newest that it carried out.
    pub number: u64,
    pub terms: &'a Terms,
    pub deadline: Option<Deadline>,
}

#[async_trait]
pub trait Broker: Send + Sync {
    fn name(&self) -> &BrokerName;

    /// Looks whether it answers, and how its clock goes.
    async fn connect(&self) -> Result<(), BrokerError>;
    async fn disconnect(&self) -> Result<(), BrokerError>;
    /// Its last answer was one.
    fn is_connected(&self) -> bool;
    async fn ping(&self) -> Result<(), BrokerError>;

    /// By how many microseconds its clock is ahead of ours, as measured last.
    fn clock_offset_us(&self) -> i64;

    /// Hands over an order whose attempt is journaled. Never retries by itself.
    async fn submit(&self, submission: Submission<'_>) -> Answer;
    async fn cancel(&self, order: &Order) -> Answer;
    async fn replace(&self, replacing: Replacing<'_>) -> Answer;

    /// What its books say of an order.
    async fn query(&self, order: &Order) -> Result<Finding, BrokerError>;
    async fn open_orders(&self) -> Result<Vec<BrokerOrder>, BrokerError>;
    async fn account(&self) -> Result<Option<Account>, BrokerError>;
    async fn positions(&self) -> Result<Vec<BrokerPosition>, BrokerError>;
    async fn instruments(&self) -> Result<Vec<(Symbol, Instrument)>, BrokerError>;

    /// What happened to orders after `cursor`; waits a bounded time where nothing has.
    async fn updates(&self, cursor: u64) -> Result<Updates, BrokerError>;
}

/// A broker without any state that the journal lacks: it answers inside the recording transaction.
#[async_trait]
pub trait EmbeddedBroker: Broker {
    /// How long it takes before it answers.
    fn latency(&self) -> Duration;

    /// Answers journaled attempts and commands, a whole batch in one transaction. The markets are as
    /// the caller read them; `None`: to be read again, since time has passed.
    async fn answer(&self, due: Vec<Due>) -> Result<Vec<Result<Decision, JournalError>>, AnswerError>;

    /// An order came to rest that the last quote may already have met.
    fn rested(&self, broker: &BrokerName, symbol: &Symbol);

    /// Lets resting orders meet the quotes that moved; what that did to them.
    async fn follow_quotes(&self) -> Result<Vec<Decision>, AnswerError>;
}

/// What an embedded broker is asked for.
#[derive(Debug, Clone)]
pub struct Due {
    pub order: Arc<Order>,
    pub what: DueWhat,
    pub market: Option<Market>,
}

#[derive(Debug, Clone)]
pub enum DueWhat {
    Submit {
        epoch: u64,
    },
    /// For this request.
    Cancel {
        key: RequestKey,
        hash: ContentHash,
    },
    Replace {
        key: RequestKey,
        hash: ContentHash,
    },
}

impl Due {
    /// It is decided by what the market is like.
    #[must_use]
    pub const fn needs_market(&self) -> bool {
        !matches!(self.what, DueWhat::Cancel { .. })
    }

    #[must_use]
    pub fn order_id(&self) -> OrderId {
        self.order.spec.id
    }
}

/// An embedded broker could not answer; what is journaled stays so, and is asked again.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Quotes(#[from] QuotesError),
}
