//! What the journal keeps, a row each.

use std::sync::{Arc, OnceLock};

use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, RequestKey, Symbol};
use crate::domain::order::{ContentHash, Order};
use crate::domain::order_type::Side;
use crate::domain::request::RequestKind;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::trade::BookedTrade;

/// An order as the journal keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderRecord {
    pub order: Arc<Order>,
    /// Counts orders in the sequence in which they were admitted; 0 until the journal gave it.
    pub admission: u64,
    /// The request that made it.
    pub request: RequestKey,
    pub request_hash: ContentHash,
    /// Of what was asked for, to tell a repeat from another order under the same id.
    pub content_hash: ContentHash,
    /// The request that made it has its outcome.
    pub answered: bool,
    pub lease: Lease,
}

impl OrderRecord {
    /// Somebody has to do something yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.answered || self.order.is_undecided()
    }
}

/// Who may decide about an order. Judged by the journal's own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub owner: Arc<str>,
    /// Raised with each takeover.
    pub epoch: u64,
    pub until: Timestamp,
}

/// A command as the journal remembers it.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    pub key: RequestKey,
    pub hash: ContentHash,
    pub kind: RequestKind,
    pub order_id: Option<OrderId>,
    /// The version of the event that journaled its attempt; `None`: it made none.
    pub attempt_version: Option<u64>,
    pub received_at: Timestamp,
    /// It has no outcome yet.
    pub open: bool,
}

/// An order that a `cancel_all` means.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub order_id: OrderId,
    pub client_order_id: ClientOrderId,
    /// Known how it ended.
    pub settled: bool,
    /// Why it was not cancelled.
    pub refusal: Option<String>,
}

/// Something about to be asked of a broker, journaled before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    pub order_id: OrderId,
    pub kind: AttemptKind,
    /// Submit: the attempt's number. Cancel, replace: the version of the event that asked for it.
    pub number: u64,
    pub epoch: u64,
    pub journaled_at: Timestamp,
    pub answer: Option<Answered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptKind {
    Submit,
    Cancel,
    Replace,
}

impl AttemptKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Replace => "replace",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub at: Timestamp,
    /// `accepted`, `rejected`, `not_sent`, `unknown`, `parked` or `resolved`.
    pub answer: &'static str,
}

/// Something that a broker has and the journal has not, or otherwise: written down, never guessed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub broker: BrokerName,
    /// `external_order`, `external_fill`, `unknown_to_broker`, `cannot_be_booked` …
    pub kind: &'static str,
    /// What tells it from others of its kind: told twice, it is written once.
    pub key: String,
    pub details: String,
}

/// A fill, a correction or a bust in the table of trades.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeRecord {
    pub broker: BrokerName,
    pub symbol: Symbol,
    pub order_id: OrderId,
    pub side: Side,
    pub trade_id: String,
    pub trade: BookedTrade,
}

/// What one decision did to one order: one journal row, one entry of `orders:events`, one status message.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    pub order_id: OrderId,
    pub events: Vec<OrderEvent>,
    /// The statuses that it took the order through.
    pub passed: Vec<Status>,
    pub reason: Option<String>,
    /// The order after it.
    pub after: Arc<Order>,
    /// The events as JSON: once for the journal and once for the stream.
    pub(super) json: OnceLock<Arc<str>>,
}

impl Commit {
    #[must_use]
    pub fn first_version(&self) -> u64 {
        self.events.first().map_or(0, |event| event.version)
    }

    /// The events as a JSON array.
    pub fn events_json(&self) -> Result<Arc<str>, serde_json::Error> {
        if let Some(json) = self.json.get() {
            return Ok(json.clone());
        }
        let json: Arc<str> = serde_json::to_string(&self.events)?.into();
        Ok(self.json.get_or_init(|| json).clone())
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        self.events.last().map_or(0, |event| event.version)
    }
}

/// The last reason that the events give.
#[must_use]
pub fn reason_of(events: &[OrderEvent]) -> Option<String> {
    events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Rejected(refusal) => Some(refusal.reason.clone()),
        EventKind::SubmitFailed(failure) => Some(failure.reason.clone()),
        EventKind::Cancelled(why)
        | EventKind::Expired(why)
        | EventKind::CancelRequested(why)
        | EventKind::CancelRefused(why)
        | EventKind::Parked(why)
        | EventKind::ReplaceRefused(why) => Some(why.reason.clone()),
        EventKind::Restated(by) => Some(by.reason.clone()),
        EventKind::TradeCorrected(by) => Some(format!("trade {} corrected: {}", by.trade_id, by.reason)),
        EventKind::TradeBusted(by) => Some(format!("trade {} busted: {}", by.trade_id, by.reason)),
        EventKind::Resolved(how) => Some(format!("resolved by {}: {}", how.by, how.why)),
        EventKind::Created(_)
        | EventKind::Validated
        | EventKind::PendingSubmit(_)
        | EventKind::Submitted(_)
        | EventKind::Acknowledged(_)
        | EventKind::Fill(_)
        | EventKind::ReplaceRequested(_)
        | EventKind::Replaced(_)
        | EventKind::Trailed(_)
        | EventKind::Triggered(_) => None,
    })
}
