//! A broker, simulated or real.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::domain::amount::{Amount, Price, Quantity};
use crate::domain::decide::Decision;
use crate::domain::event::Terms;
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, RequestKey, Symbol};
use crate::domain::instrument::Instrument;
use crate::domain::market::Market;
use crate::domain::order::{ContentHash, Order};
use crate::domain::refusal::Refusal;
use crate::domain::report::Report;
use crate::domain::risk::RiskApproved;
use crate::domain::status::Status;

use super::journal::JournalError;
use super::quotes::QuotesError;

/// What came of handing something to the broker. An enum and not a `Result`, so that no `?` can lose an
/// unknown: only `Rejected` and `NotSent` prove that nothing was executed.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The broker took it, and says this about it so far.
    Accepted(Vec<Report>),
    /// The broker refused it: nothing was and nothing will be executed.
    Rejected(Refusal),
    /// It never left, or was turned away unread (a 429): it may be sent again.
    NotSent(String),
    /// A time-out, a reset, an answer that nobody understands: it may have been executed.
    Unknown(String),
}

/// Reading from the broker failed; reads may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("broker {broker} {call}: {why}")]
pub struct BrokerError {
    pub broker: BrokerName,
    pub call: &'static str,
    pub why: String,
}

/// Something the broker's feed tells.
#[derive(Debug, Clone)]
pub struct BrokerUpdate {
    pub order: OrderId,
    pub report: Report,
}

/// An order as the broker has it.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerOrder {
    pub client_order_id: ClientOrderId,
    pub broker_order_id: Option<String>,
    pub symbol: Symbol,
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
}

#[async_trait]
pub trait Broker: Send + Sync {
    fn name(&self) -> &BrokerName;

    async fn connect(&self) -> Result<(), BrokerError>;
    async fn disconnect(&self) -> Result<(), BrokerError>;
    fn is_connected(&self) -> bool;
    async fn ping(&self) -> Result<(), BrokerError>;

    /// Hands over an order whose attempt is journaled. Never retries by itself.
    async fn submit(&self, submission: Submission<'_>) -> Outcome;
    async fn cancel(&self, order: &Order) -> Outcome;
    async fn replace(&self, order: &Order, terms: &Terms) -> Outcome;

    async fn query(&self, order: &OrderId) -> Result<Option<BrokerOrder>, BrokerError>;
    async fn open_orders(&self) -> Result<Vec<BrokerOrder>, BrokerError>;
    async fn account(&self) -> Result<Option<Account>, BrokerError>;
    async fn positions(&self) -> Result<Vec<BrokerPosition>, BrokerError>;
    async fn instruments(&self) -> Result<Vec<(Symbol, Instrument)>, BrokerError>;

    /// What happens to orders later. `None` where nothing does that the journal does not do itself.
    fn updates(&self) -> Option<mpsc::Receiver<BrokerUpdate>>;
}

/// A broker without any state that the journal lacks: it answers inside the recording transaction.
#[async_trait]
pub trait EmbeddedBroker: Broker {
    /// How long it takes before it answers.
    fn latency(&self) -> Duration;

    /// Answers journaled attempts and cancels, a whole batch in one transaction. The markets are as
    /// the caller read them; `None`: to be read again, since time has passed.
    async fn answer(&self, due: Vec<Due>) -> Result<Vec<Result<Decision, JournalError>>, AnswerError>;

    /// An order came to rest that the last quote may already have met.
    fn rested(&self, broker: &BrokerName, symbol: &Symbol);

    /// Lets resting orders meet the quotes that moved; what that did to them.
    async fn follow_quotes(&self) -> Result<Vec<Decision>, AnswerError>;
}

/// What an embedded broker is asked for.
#[derive(Debug, Clone)]
pub enum Due {
    Submit { order: Arc<Order>, epoch: u64, market: Option<Market> },
    Cancel { order: Arc<Order>, key: RequestKey, hash: ContentHash },
}

impl Due {
    #[must_use]
    pub fn order(&self) -> &Order {
        match self {
            Self::Submit { order, .. } | Self::Cancel { order, .. } => order,
        }
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
