//! Where results go. One script publishes everything, atomic for each order and each entry.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::ids::{ClientOrderId, EntryId, OrderId, RequestKey};
use crate::domain::order::ContentHash;
use crate::domain::trading_state::Switch;

/// What one commit did to one order: one entry of `orders:events` and one status message.
#[derive(Debug, Clone)]
pub struct CommitNotice {
    pub first_version: u64,
    pub version: u64,
    /// Bare status after it.
    pub status: &'static str,
    /// JSON array of its events.
    pub events: Arc<str>,
    /// The status message, JSON.
    pub message: String,
}

/// Rows of one order, in order of version, and the state they lead to. Without rows: everything was published
/// before, and what Redis lost of state and version is put back.
#[derive(Debug, Clone)]
pub struct OrderUpdate {
    pub order_id: OrderId,
    pub client_order_id: ClientOrderId,
    pub commits: Vec<CommitNotice>,
    /// The order's JSON as of the last of `commits`; empty where more of the order follows in the same publication.
    pub state: Arc<str>,
    /// Of the state.
    pub version: u64,
    pub terminal: bool,
    /// The first of `commits` is the oldest that the journal has not marked as published, so it may go
    /// out even where Redis no longer knows what was published last.
    pub oldest_unpublished: bool,
}

/// An entry's outcome.
#[derive(Debug, Clone)]
pub struct Finish {
    pub entry: EntryId,
    /// `true`: to `completed`, else to `failed`.
    pub completed: bool,
    /// Field, value; without the order.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    /// The field `order`. Where it is the very state of an order of the same publication, it travels once.
    pub order: Option<Arc<str>>,
    /// The order and the version of it that must be out before the outcome may be read.
    pub after: Option<(OrderId, u64)>,
    /// The journal said at this time, by the publisher's own clock, that the outcome is not published: where the
    /// entry is gone all the same, Redis lost it, and the outcome goes out without it. A word that is older than
    /// `STALE_MS` counts for nothing: it may have been published since by whoever marked it.
    pub unpublished_at_ms: Option<u64>,
}

/// How long the journal's word that an outcome is not published counts. What is finished and marked is
/// remembered for longer.
pub const STALE_MS: u64 = 5_000;

#[derive(Debug, Clone, Default)]
pub struct Publication {
    pub orders: Vec<OrderUpdate>,
    pub finishes: Vec<Finish>,
    /// Entries whose outcome the journal has marked as published: no longer to be remembered.
    pub forget: Vec<EntryId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderAnswer {
    /// All of its commits up to and including this version are out (now or before).
    Published(u64),
    /// Redis last published this version (0: unknown), which the first commit does not continue.
    Behind(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishAnswer {
    /// Acknowledged, deleted, and the outcome added, in one step.
    Done,
    /// It was done before, by whoever.
    FinishedAlready,
    /// Another consumer owns the entry now; nothing was written.
    Anothers,
    /// Nobody holds the entry, and it is not in the stream; nothing was written.
    Gone,
    /// The order's versions up to the outcome's are not out yet; nothing was written.
    Behind,
}

#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// One for each of `Publication::orders`.
    pub orders: Vec<OrderAnswer>,
    /// One for each of `Publication::finishes`.
    pub finishes: Vec<FinishAnswer>,
}

/// Redis is away or answers with an error. Nothing, or all of it, may have been published: offering the
/// same again is safe.
#[derive(Debug, thiserror::Error)]
#[error("publish {what}: {source}")]
pub struct PublishError {
    pub what: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

#[async_trait]
pub trait Publisher: Send + Sync {
    /// The publisher's own clock.
    async fn now_ms(&self) -> Result<u64, PublishError>;

    async fn publish(&self, publication: &Publication) -> Result<Answers, PublishError>;

    /// Tells whoever listens that the trading state of a scope has changed.
    async fn tell_switch(&self, switch: &Switch) -> Result<(), PublishError>;
}

/// An entry id alone may come again with another content, after Redis lost its data.
pub type OutcomeKey = (RequestKey, ContentHash);

/// What the publisher finished, for the journal to mark.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Order, and the version up to which its commits are out.
    pub orders: Vec<(OrderId, u64)>,
    pub outcomes: Vec<OutcomeKey>,
    /// Changes of what holds for all orders.
    pub control: Vec<u64>,
}

impl Published {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.outcomes.is_empty() && self.control.is_empty()
    }
}
