//! What producers ask for, and how each request ends.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Terms;
use super::ids::{BrokerName, ClientOrderId, OrderId, RequestKey, Symbol};
use super::order::{ContentHash, Order, OrderSpec};
use super::order_type::Side;
use super::refusal::{Code, Refusal};
use super::status::Status;
use super::time::Timestamp;

/// A decoded request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Submit(Box<OrderSpec>),
    Cancel(OrderRef),
    CancelAll(Box<CancelFilter>),
    Replace(Box<Replace>),
    /// It could not be read, or asks for what cannot be: it ends with this refusal.
    Refused(Box<Refused>),
    /// The entry's body was trimmed from the stream before it was read; whoever had it first may have
    /// journaled it.
    Trimmed,
    /// The journal has it, undecided, and whoever worked on it is gone. For an order: what it trades, so that its
    /// price can be read.
    Journaled(Option<(BrokerName, Symbol)>),
}

/// Which orders a `cancel_all` means; what is left out matches every order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CancelFilter {
    pub symbol: Option<Symbol>,
    pub side: Option<Side>,
    pub broker: Option<BrokerName>,
    pub strategy_id: Option<String>,
}

impl CancelFilter {
    #[must_use]
    pub fn matches(&self, broker: &BrokerName, spec: &OrderSpec) -> bool {
        self.symbol.as_ref().is_none_or(|symbol| *symbol == spec.symbol)
            && self.side.is_none_or(|side| side == spec.side)
            && self.broker.as_ref().is_none_or(|name| name == broker)
            && self.strategy_id.as_ref().is_none_or(|id| spec.strategy_id.as_ref() == Some(id))
    }
}

/// New terms for an open order.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    pub client_order_id: ClientOrderId,
    pub terms: Terms,
}

/// A request that was refused before it reached the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub kind: RequestKind,
    pub refusal: Refusal,
    /// Where they could be read.
    pub client_order_id: Option<ClientOrderId>,
    pub order_id: Option<OrderId>,
    /// The bytes received, where they did not decode.
    pub payload: Option<Vec<u8>>,
}

/// An order named by a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OrderRef {
    Client(ClientOrderId),
    Order(OrderId),
}

impl fmt::Display for OrderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client_order_id {id}"),
            Self::Order(id) => write!(f, "order_id {id}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    Submit,
    Cancel,
    CancelAll,
    Replace,
    Unknown,
}

impl RequestKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::CancelAll => "cancel_all",
            Self::Replace => "replace",
            Self::Unknown => "unknown",
        }
    }

    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Submit, Self::Cancel, Self::CancelAll, Self::Replace, Self::Unknown]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

impl Request {
    #[must_use]
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Submit(_) => RequestKind::Submit,
            Self::Cancel(_) => RequestKind::Cancel,
            Self::CancelAll(_) => RequestKind::CancelAll,
            Self::Replace(_) => RequestKind::Replace,
            Self::Refused(refused) => refused.kind,
            Self::Trimmed | Self::Journaled(_) => RequestKind::Unknown,
        }
    }
}

/// A request as it came out of the inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub key: RequestKey,
    /// Of the fields as they were received; together with the key it names the request in the journal,
    /// since entry ids can come back after Redis lost its data.
    pub hash: ContentHash,
    pub request: Request,
    /// When the producer made it, else when Redis took it.
    pub made_at: Timestamp,
    /// 1 for an entry that nobody was given before.
    pub deliveries: u32,
    pub traceparent: Option<String>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub key: RequestKey,
    pub hash: ContentHash,
    pub request: RequestKind,
    pub order_id: Option<OrderId>,
    pub client_order_id: Option<ClientOrderId>,
    pub result: OutcomeResult,
    /// The order's version that this outcome tells of; 0 without an order.
    pub order_version: u64,
    pub timestamp: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OutcomeResult {
    /// Carried out; the order stands at this status.
    Completed(Status),
    /// Refused, or not carried out; `status` is the one the order keeps.
    Failed { refusal: Refusal, status: Option<Status>, payload: Option<Vec<u8>> },
    /// A `cancel_all`: what became of each order that it meant.
    Swept(Swept),
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Swept {
    pub cancelled: Vec<ClientOrderId>,
    pub not_cancelled: Vec<NotCancelled>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotCancelled {
    pub client_order_id: ClientOrderId,
    pub reason: String,
}

impl Outcome {
    /// An outcome that is told late is told with its order as it stands by then: the status goes with the order's
    /// JSON, and both are of the same version.
    pub fn tell_with(&mut self, order: &Order) {
        match &mut self.result {
            OutcomeResult::Completed(status) | OutcomeResult::Failed { status: Some(status), .. } => {
                *status = order.state.status;
            }
            OutcomeResult::Failed { status: None, .. } | OutcomeResult::Swept(_) => {}
        }
        self.order_version = order.state.version;
    }

    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match &self.result {
            OutcomeResult::Completed(_) | OutcomeResult::Swept(_) => None,
            OutcomeResult::Failed { refusal, .. } => Some(refusal.code),
        }
    }
}
