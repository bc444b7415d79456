//! The pending stream as one consumer of its group reads it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::crash::{self, Point};
use crate::domain::ids::{EntryId, RequestKey};
use crate::domain::order::ContentHash;

use crate::domain::request::{Received, Request};
use crate::domain::time::Timestamp;
use crate::planted::{self, Bug};
use crate::ports::inbox::{Batch, Inbox, InboxError};

use super::Shared;
use super::control::{self, Phase};
use super::raw::{entries, pairs};
use super::takeover::{Begun, Takeover};

/// A blocking read lasts this long at most; the server ends it, never we.
const LONGEST_BLOCK: Duration = Duration::from_secs(2);
/// Between two looks for abandoned entries while no new ones are wanted.
const PAUSE_WITHOUT_READING: Duration = Duration::from_millis(50);
/// No answer this long after the read should have ended: the connection is dead.
const WATCHDOG: Duration = Duration::from_secs(3);
/// Before the first attempt to connect again, doubled with each up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// An entry as it lies in the stream.
#[derive(Debug)]
pub struct RawEntry<'a> {
    /// Lane and entry id.
    pub key: &'a RequestKey,
    pub fields: &'a [(&'a [u8], &'a [u8])],
    /// 1 for an entry that nobody was given before.
    pub deliveries: u32,
}

/// Makes a request of an entry; what cannot be read becomes a refused one.
pub type Decode = Arc<dyn Fn(&RawEntry<'_>) -> Received + Send + Sync>;

pub struct RedisInbox {
    shared: Arc<Shared>,
    phase: Arc<watch::Sender<Phase>>,
    decode: Decode,
    reader: Option<MultiplexedConnection>,
    /// Attempts to connect and reads that failed since the last that did not.
    failures: u32,
    takeover: Takeover,
    look_at: Instant,
}

/// While it lives, `next` is under way.
struct Reading(Arc<watch::Sender<Phase>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.send_modify(|phase| phase.reading = false);
    }
}

impl RedisInbox {
    pub(super) fn new(shared: Arc<Shared>, phase: Arc<watch::Sender<Phase>>, decode: Decode) -> Self {
        Self {
            takeover: Takeover::new(Arc::clone(&shared)),
            shared,
            phase,
            decode,
            reader: None,
            failures: 0,
            look_at: Instant::now(),
        }
    }

    /// How often our own pending list and those of dead consumers are looked at.
    fn look_every(&self) -> Duration {
        (self.shared.settings.claim_idle / 4).clamp(Duration::from_millis(250), Duration::from_secs(1))
    }

    fn is_stopping(&self) -> bool {
        self.phase.borrow().stopping
    }

    /// Entries of a dead consumer, or one of ours that never reached us.
    async fn taken_over(&mut self) -> Result<Option<Batch>, InboxError> {
        if self.look_at <= Instant::now() {
            self.look_around().await?;
            self.look_at = Instant::now() + self.look_every();
        }
        match self.takeover.begin().await {
            Ok(begun) if begun.is_empty() => Ok(None),
            Ok(begun) => {
                crash::point(Point::TakeoverClaimed);
                let take = |Begun { id, deliveries, body }| {
                    self.shared.handed.add(id);
                    match body {
                        Some(fields) => self.received(id, &fields, deliveries),
                        None => self.trimmed(id, deliveries),
                    }
                };
                Ok(Some(Batch { requests: begun.into_iter().map(take).collect(), reclaimed: true }))
            }
            Err(fault) if is_without_group(fault.code()) => {
                self.takeover.clear();
                Ok(None)
            }
            Err(fault) => Err(control::error("taking over an entry", fault)),
        }
    }

    async fn look_around(&mut self) -> Result<(), InboxError> {
        match self.takeover.look_around().await {
            Ok(held) => self.shared.handed.keep(&held),
            // There is nothing to take over; the read that follows makes the group.
            Err(fault) if is_without_group(fault.code()) => self.takeover.clear(),
            Err(fault) => return Err(control::error("looking for abandoned entries", fault)),
        }
        Ok(())
    }

    /// New entries. Waits until there are some, until released, or for a bounded time.
    async fn read(&mut self) -> Result<Batch, InboxError> {
        let mut connection = self.connected().await?;
        if self.is_stopping() {
            return Ok(Batch::default());
        }
        // A zero would block for ever.
        let until_look = self.look_at.saturating_duration_since(Instant::now());
        let block = until_look.clamp(Duration::from_millis(1), LONGEST_BLOCK);
        let settings = &self.shared.settings;
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg("GROUP").arg(&settings.group).arg(&settings.consumer);
        if planted::is(Bug::AckBeforeCommit) {
            cmd.arg("NOACK");
        }
        cmd.arg("COUNT").arg(settings.batch_size.max(1));
        cmd.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(1).max(1));
        cmd.arg("STREAMS").arg(&self.shared.names.pending).arg(">");
        let answer = timeout(block + WATCHDOG, cmd.query_async::<Value>(&mut connection)).await;
        match answer {
            Ok(Ok(value)) => {
                self.failures = 0;
                Ok(self.batch(value))
            }
            Ok(Err(error)) if is_without_group(error.code()) => {
                tracing::warn!(stream = %self.shared.names.pending, "the consumer group is gone, it is made again");
                self.make_group().await?;
                Ok(Batch::default())
            }
            Ok(Err(error)) => Err(self.broken(self.shared.link.fault_of(error))),
            Err(_) => Err(self.broken(self.shared.link.fault("the reading connection is dead"))),
        }
    }

    /// Entries may have been delivered to us with an answer that we never got: they are looked for at once.
    fn broken(&mut self, fault: super::RedisFault) -> InboxError {
        self.reader = None;
        self.phase.send_modify(|phase| phase.client = None);
        self.failures = self.failures.saturating_add(1);
        self.look_at = Instant::now();
        control::error("read", fault)
    }

    async fn connected(&mut self) -> Result<MultiplexedConnection, InboxError> {
        if let Some(connection) = &self.reader {
            return Ok(connection.clone());
        }
        self.back_off().await;
        match self.connect().await {
            Ok(connection) => {
                // Nobody may take us for dead before the first heartbeat of the worker.
                control::beat(&self.shared).await?;
                self.make_group().await?;
                self.reader = Some(connection.clone());
                Ok(connection)
            }
            Err(fault) => Err(self.broken(fault)),
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, super::RedisFault> {
        let link = &self.shared.link;
        let mut connection = link.reader().await?;
        let ask = redis::cmd("CLIENT").arg("ID").to_owned();
        let id = timeout(WATCHDOG, ask.query_async::<i64>(&mut connection))
            .await
            .map_err(|_| link.fault("no answer on the reading connection"))?
            .map_err(|error| link.fault_of(error))?;
        self.phase.send_modify(|phase| phase.client = Some(id));
        Ok(connection)
    }

    async fn back_off(&self) {
        if self.failures == 0 {
            return;
        }
        let (shortest, longest) = BACK_OFF;
        let pause = shortest.saturating_mul(1 << self.failures.min(8)).min(longest);
        let mut phase = self.phase.subscribe();
        let _ = timeout(pause, phase.wait_for(|phase| phase.stopping)).await;
    }

    /// From the first entry on: what was added before any worker ran is carried out.
    async fn make_group(&mut self) -> Result<(), InboxError> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&self.shared.names.pending).arg(&self.shared.settings.group);
        create.arg("0").arg("MKSTREAM");
        match self.shared.link.query::<()>(&create).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.code() == Some("BUSYGROUP") => Ok(()),
            Err(fault) => Err(self.broken(fault)),
        }
    }

    fn batch(&mut self, answer: Value) -> Batch {
        let mut requests = Vec::new();
        for (id, body) in entries(answer) {
            self.shared.handed.add(id);
            requests.push(match body {
                Some(fields) => self.received(id, &fields, 1),
                None => self.trimmed(id, 1),
            });
        }
        Batch { requests, reclaimed: false }
    }

    fn key(&self, entry: EntryId) -> RequestKey {
        RequestKey { lane: Arc::clone(&self.shared.names.prefix), entry }
    }

    fn received(&self, id: EntryId, fields: &[Value], deliveries: u32) -> Received {
        (self.decode)(&RawEntry { key: &self.key(id), fields: &pairs(fields), deliveries })
    }

    /// Somebody trimmed the stream of requests: what its first owner journaled of it decides.
    fn trimmed(&self, id: EntryId, deliveries: u32) -> Received {
        tracing::error!(
            entry_id = %id,
            stream = %self.shared.names.pending,
            "ALARM: a request's body was trimmed from the stream before it was read"
        );
        Received {
            key: self.key(id),
            hash: ContentHash::of(&[]),
            request: Request::Trimmed,
            made_at: Timestamp::from_micros(i64::try_from(id.ms).unwrap_or(0).saturating_mul(1000)),
            deliveries,
            traceparent: None,
        }
    }
}

#[async_trait]
impl Inbox for RedisInbox {
    async fn next(&mut self) -> Result<Batch, InboxError> {
        self.next_of(true).await
    }

    async fn next_abandoned(&mut self) -> Result<Batch, InboxError> {
        self.next_of(false).await
    }
}

impl RedisInbox {
    async fn next_of(&mut self, new_ones: bool) -> Result<Batch, InboxError> {
        let mut stopping = false;
        self.phase.send_modify(|phase| {
            phase.reading = true;
            stopping = phase.stopping;
        });
        let _reading = Reading(Arc::clone(&self.phase));
        if stopping {
            return Ok(Batch::default());
        }
        match self.taken_over().await? {
            Some(batch) => Ok(batch),
            None if new_ones => self.read().await,
            None => {
                tokio::time::sleep(PAUSE_WITHOUT_READING).await;
                Ok(Batch::default())
            }
        }
    }
}

/// `UNBLOCKED` is what a blocked read of a deleted stream gets on 7.0.
fn is_without_group(code: Option<&str>) -> bool {
    matches!(code, Some("NOGROUP" | "UNBLOCKED"))
}
