//! Where requests come from.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::ids::EntryId;
use crate::domain::request::Received;

/// Entries that this worker now owns.
#[derive(Debug, Default)]
pub struct Batch {
    /// Of one lane, in the order of their ids.
    pub requests: Vec<Received>,
    /// They were taken over from a worker that died. Several at once the first time; each alone where whoever took
    /// them so died as well, so that one that kills its worker does not drag its neighbours along.
    pub reclaimed: bool,
}

/// Redis is away or answers with an error; `next` may be called again after a pause.
#[derive(Debug, thiserror::Error)]
#[error("inbox {what}: {source}")]
pub struct InboxError {
    /// What was tried, and where.
    pub what: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The pending stream as one consumer of its group sees it.
#[async_trait]
pub trait Inbox: Send {
    /// The next entries: reclaimed ones first, then new ones. Waits a bounded time and returns an
    /// empty batch when there are none. Must be awaited to its end: a dropped read strands entries.
    async fn next(&mut self) -> Result<Batch, InboxError>;

    /// The same without new entries: what a worker does that has enough to do, while what waits may wait
    /// for an entry that a dead worker holds.
    async fn next_abandoned(&mut self) -> Result<Batch, InboxError>;
}

/// What else can be asked of the pending stream, from any task, while `next` waits.
#[async_trait]
pub trait InboxControl: Send + Sync {
    /// Wakes `next`, which then returns what it has and reads nothing new any more.
    async fn release(&self) -> Result<(), InboxError>;

    /// Says that this consumer lives; to be called well within `claim_idle_ms`.
    async fn heartbeat(&self) -> Result<(), InboxError>;

    /// Ids of entries older than `entry` that are still in the stream, at most `limit`.
    async fn older_than(&self, entry: EntryId, limit: usize) -> Result<Vec<EntryId>, InboxError>;

    /// Which of these entries are in the stream.
    async fn present(&self, entries: &[EntryId]) -> Result<Vec<EntryId>, InboxError>;

    /// Says of what this consumer holds for so long already that it still works on it; says of how many.
    async fn renew(&self, idle: Duration) -> Result<usize, InboxError>;

    /// Which run of the server this is, and whether it has what it was given before.
    async fn incarnation(&self) -> Result<Incarnation, InboxError>;

    /// What it lost begins to be put back: where this is gone when that is done, it was emptied again meanwhile.
    async fn mark_filling(&self) -> Result<(), InboxError>;

    /// It has what it should have: where it is found without this mark, it was emptied. `false`: it was emptied since
    /// `mark_filling`, and is not marked.
    async fn mark_kept(&self) -> Result<bool, InboxError>;

    /// Takes this consumer's name out of the group if it holds nothing; says whether it did.
    async fn leave(&self) -> Result<bool, InboxError>;

    async fn depth(&self) -> Result<Depth, InboxError>;

    /// Round trip to the server.
    async fn ping(&self) -> Result<(), InboxError>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incarnation {
    /// Another one after each start of the server.
    pub run: String,
    /// `false`: it is empty, for the first time or again.
    pub kept: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries in the stream, in flight ones included.
    pub waiting: u64,
    /// Entries that a consumer holds.
    pub pending: u64,
    /// Id of the oldest entry: its milliseconds tell its age.
    pub oldest: Option<EntryId>,
}
