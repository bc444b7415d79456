//! What is asked of the pending stream while `next` waits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::ids::EntryId;
use crate::ports::inbox::{Depth, InboxControl, InboxError, Incarnation};

use super::Shared;
use super::connect::{RedisFault, Script};

/// The marker's value while nothing is missing.
const KEPT: &str = "1";

/// Between two attempts to wake the reader: its read may not have reached the server yet.
const WAKE_AGAIN: Duration = Duration::from_millis(10);

/// Entries that one call renews at most.
const RENEWED_AT_ONCE: usize = 1000;

/// What reader and control know of each other. Under one lock, so that either the reader sees that it must
/// stop or the control sees that it reads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Phase {
    pub(super) stopping: bool,
    /// `next` is under way.
    pub(super) reading: bool,
    /// `CLIENT ID` of the reader's connection.
    pub(super) client: Option<i64>,
}

pub struct RedisControl {
    shared: Arc<Shared>,
    phase: Arc<watch::Sender<Phase>>,
    leave: Script,
    depth: Script,
    older: Script,
    present: Script,
    renew: Script,
}

impl RedisControl {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            phase: Arc::new(watch::Sender::new(Phase::default())),
            leave: Script::new(include_str!("scripts/leave.lua")),
            depth: Script::new(include_str!("scripts/depth.lua")),
            older: Script::new(include_str!("scripts/older.lua")),
            present: Script::new(include_str!("scripts/present.lua")),
            renew: Script::new(include_str!("scripts/renew.lua")),
        }
    }

    pub(super) fn phase(&self) -> Arc<watch::Sender<Phase>> {
        Arc::clone(&self.phase)
    }
}

pub(super) fn error(what: &str, fault: RedisFault) -> InboxError {
    InboxError { what: what.to_owned(), source: Box::new(fault) }
}

#[async_trait]
impl InboxControl for RedisControl {
    async fn release(&self) -> Result<(), InboxError> {
        let mut phase = self.phase.subscribe();
        self.phase.send_modify(|phase| phase.stopping = true);
        loop {
            let now = *phase.borrow_and_update();
            if !now.reading {
                return Ok(());
            }
            if let Some(client) = now.client {
                let mut unblock = redis::cmd("CLIENT");
                unblock.arg("UNBLOCK").arg(client);
                // Where Redis is away the read ends by itself.
                if let Err(fault) = self.shared.link.query::<i64>(&unblock).await {
                    tracing::warn!(error = %fault, "the blocked read could not be woken; it ends by itself");
                }
            }
            // Either the reader is done, or it is woken again.
            let _ = tokio::time::timeout(WAKE_AGAIN, phase.wait_for(|phase| !phase.reading)).await;
        }
    }

    async fn heartbeat(&self) -> Result<(), InboxError> {
        beat(&self.shared).await
    }

    async fn older_than(&self, entry: EntryId, limit: usize) -> Result<Vec<EntryId>, InboxError> {
        let mut cmd = self.older.command(4, 128, 1);
        cmd.arg(&self.shared.names.pending).arg(entry.to_string()).arg(limit);
        let answer: Result<Vec<String>, _> = self.shared.link.run(&self.older, &cmd).await;
        let ids = answer.map_err(|fault| error("older entries", fault))?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    async fn present(&self, entries: &[EntryId]) -> Result<Vec<EntryId>, InboxError> {
        let mut cmd = self.present.command(1 + entries.len(), 64 + 24 * entries.len(), 1);
        cmd.arg(&self.shared.names.pending);
        for entry in entries {
            cmd.arg(entry.to_string());
        }
        let answer: Result<Vec<String>, _> = self.shared.link.run(&self.present, &cmd).await;
        let ids = answer.map_err(|fault| error("entries that are there", fault))?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    async fn renew(&self, idle: Duration) -> Result<usize, InboxError> {
        let mut cmd = self.renew.command(5, 128, 1);
        cmd.arg(&self.shared.names.pending)
            .arg(&self.shared.settings.group)
            .arg(&self.shared.settings.consumer);
        cmd.arg(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)).arg(RENEWED_AT_ONCE);
        let renewed: Result<usize, _> = self.shared.link.run(&self.renew, &cmd).await;
        renewed.map_err(|fault| error("renewing entries", fault))
    }

    async fn incarnation(&self) -> Result<Incarnation, InboxError> {
        let failed = |fault| error("incarnation", fault);
        let info: String = self.shared.link.query(redis::cmd("INFO").arg("server")).await.map_err(failed)?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim();
        let mut ask = redis::cmd("GET");
        ask.arg(&self.shared.names.marker);
        let mark: Option<String> = self.shared.link.query(&ask).await.map_err(failed)?;
        Ok(Incarnation { run: run.to_owned(), kept: mark.as_deref() == Some(KEPT) })
    }

    async fn mark_filling(&self) -> Result<(), InboxError> {
        let mut mark = redis::cmd("SET");
        mark.arg(&self.shared.names.marker).arg("filling").arg("NX");
        let set: Result<Option<String>, _> = self.shared.link.query(&mark).await;
        set.map(drop).map_err(|fault| error("marking what is put back", fault))
    }

    async fn mark_kept(&self) -> Result<bool, InboxError> {
        let mut mark = redis::cmd("SET");
        mark.arg(&self.shared.names.marker).arg(KEPT).arg("XX");
        let set: Result<Option<String>, _> = self.shared.link.query(&mark).await;
        set.map(|set| set.is_some()).map_err(|fault| error("marking what is kept", fault))
    }

    async fn leave(&self) -> Result<bool, InboxError> {
        let (names, settings) = (&self.shared.names, &self.shared.settings);
        let mut cmd = self.leave.command(5, 256, 2);
        cmd.arg(&names.pending)
            .arg(names.heartbeat(&settings.consumer))
            .arg(&settings.group)
            .arg(&settings.consumer);
        let left: Result<i64, _> = self.shared.link.run(&self.leave, &cmd).await;
        left.map(|left| left == 1).map_err(|fault| error("leaving the group", fault))
    }

    async fn depth(&self) -> Result<Depth, InboxError> {
        let mut cmd = self.depth.command(3, 128, 1);
        cmd.arg(&self.shared.names.pending).arg(&self.shared.settings.group);
        let answer: Result<(u64, u64, Option<String>), _> = self.shared.link.run(&self.depth, &cmd).await;
        let (waiting, pending, oldest) = answer.map_err(|fault| error("depth", fault))?;
        Ok(Depth { waiting, pending, oldest: oldest.and_then(|id| id.parse().ok()) })
    }

    async fn ping(&self) -> Result<(), InboxError> {
        let answer: Result<String, _> = self.shared.link.query(&redis::cmd("PING")).await;
        answer.map(drop).map_err(|fault| error("ping", fault))
    }
}

pub(super) async fn beat(shared: &Shared) -> Result<(), InboxError> {
    let (names, settings) = (&shared.names, &shared.settings);
    let millis = u64::try_from(settings.claim_idle.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut set = redis::cmd("SET");
    set.arg(names.heartbeat(&settings.consumer)).arg(1).arg("PX").arg(millis);
    shared.link.query(&set).await.map_err(|fault| error("heartbeat", fault))
}
