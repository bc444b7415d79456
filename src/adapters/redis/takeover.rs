//! Entries that nobody works on: of dead consumers, and our own whose delivery never reached us.
//!
//! Looking for them changes nothing in Redis; each is taken when it is begun, by a script that asks again. So
//! an answer that is lost on the way leaves a candidate, which is begun again, and not a stranded entry; and
//! several workers share the entries of a dead one instead of one claiming all.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use crate::domain::ids::EntryId;

use super::Shared;
use super::connect::{RedisFault, Script};

/// Of a pending list, at a time: a long list must not stop the server.
const PAGE: usize = 1000;
/// Candidates that one call looks at, and takes at most.
const TRY_AT_ONCE: usize = 64;
/// Who died so soon after it took several entries at once may have died of one of them.
const MARK: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    id: EntryId,
    holder: Arc<str>,
}

/// An entry that is ours now.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: EntryId,
    pub(super) deliveries: u32,
    /// Fields and values in turn; `None`: trimmed.
    pub(super) body: Option<Vec<Value>>,
}

pub(super) struct Takeover {
    shared: Arc<Shared>,
    script: Script,
    candidates: VecDeque<Candidate>,
    /// A pending list was longer than a page.
    more: bool,
}

impl Takeover {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let script = Script::new(include_str!("scripts/begin.lua"));
        Self { shared, script, candidates: VecDeque::new(), more: false }
    }

    pub(super) fn clear(&mut self) {
        self.candidates.clear();
        self.more = false;
    }

    /// Finds candidates. Returns what is still pending, ours or a dead consumer's.
    pub(super) async fn look_around(&mut self) -> Result<HashSet<EntryId>, RedisFault> {
        // Copied before the lists are read: what is finished meanwhile is not taken for lost.
        let handed = self.shared.handed.copy();
        let me = &*self.shared.settings.consumer;
        let holders = self.holders().await?;
        let others: Vec<Arc<str>> = holders.iter().filter(|name| &***name != me).cloned().collect();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut more = false;
        if let Some(own) = holders.into_iter().find(|name| &**name == me) {
            self.own(&own, &handed, &mut seen, &mut found).await?;
        }
        let limit = self.shared.settings.claim_idle.as_millis();
        for holder in self.dead(others).await? {
            let page = self.page(&holder, "-").await?;
            more |= page.len() == PAGE;
            for (id, idle) in page {
                seen.insert(id);
                if u128::from(idle) >= limit && !handed.contains(&id) {
                    found.push(Candidate { id, holder: Arc::clone(&holder) });
                }
            }
        }
        found.sort_by_key(|candidate| candidate.id);
        self.candidates = found.into();
        self.more = more && !self.candidates.is_empty();
        Ok(seen)
    }

    /// Takes the oldest candidates that may be taken together: none where there is nothing to take over.
    pub(super) async fn begin(&mut self) -> Result<Vec<Begun>, RedisFault> {
        loop {
            if self.candidates.is_empty() && self.more {
                self.look_around().await?;
            }
            if self.candidates.is_empty() {
                return Ok(Vec::new());
            }
            // What is taken must fit among what may be in flight, as what is read does.
            let tried = self.candidates.len().min(TRY_AT_ONCE).min(self.shared.settings.batch_size.max(1));
            let cmd = self.command(tried);
            let answer: Vec<Value> = self.shared.link.run(&self.script, &cmd).await?;
            let (passed, begun) = self.read(answer)?;
            self.candidates.drain(..passed.clamp(1, tried));
            if !begun.is_empty() {
                return Ok(begun);
            }
        }
    }

    fn command(&self, tried: usize) -> redis::Cmd {
        let (names, settings) = (&self.shared.names, &self.shared.settings);
        let mut cmd = self.script.command(6 + tried * 4, 256 + tried * 192, 2 + 2 * tried);
        cmd.arg(&names.pending).arg(names.took_several(&settings.consumer));
        for candidate in self.candidates.iter().take(tried) {
            cmd.arg(names.heartbeat(&candidate.holder)).arg(names.took_several(&candidate.holder));
        }
        cmd.arg(&settings.group).arg(&settings.consumer);
        cmd.arg(u64::try_from(settings.claim_idle.as_millis()).unwrap_or(u64::MAX));
        cmd.arg(u64::try_from(MARK.as_millis()).unwrap_or(u64::MAX));
        for candidate in self.candidates.iter().take(tried) {
            cmd.arg(candidate.id.to_string()).arg(&*candidate.holder);
        }
        cmd
    }

    fn read(&self, answer: Vec<Value>) -> Result<(usize, Vec<Begun>), RedisFault> {
        let strange = || self.shared.link.fault("the script that takes entries over gave an unknown answer");
        let mut parts = answer.into_iter();
        let passed: usize =
            redis::from_redis_value(parts.next().ok_or_else(strange)?).map_err(|_| strange())?;
        let mut begun = Vec::new();
        for part in parts {
            let Value::Array(entry) = part else { return Err(strange()) };
            let mut entry = entry.into_iter();
            let id: String =
                redis::from_redis_value(entry.next().ok_or_else(strange)?).map_err(|_| strange())?;
            let id = id.parse().map_err(|_| strange())?;
            let deliveries =
                redis::from_redis_value(entry.next().ok_or_else(strange)?).map_err(|_| strange())?;
            let body = match entry.next() {
                Some(Value::Array(fields)) => Some(fields),
                _ => None,
            };
            begun.push(Begun { id, deliveries, body });
        }
        Ok((passed, begun))
    }

    /// Consumers that hold entries.
    async fn holders(&self) -> Result<Vec<Arc<str>>, RedisFault> {
        let mut summary = redis::cmd("XPENDING");
        summary.arg(&self.shared.names.pending).arg(&self.shared.settings.group);
        type Summary = (u64, Option<String>, Option<String>, Option<Vec<(String, u64)>>);
        let (_, _, _, consumers): Summary = self.shared.link.query(&summary).await?;
        Ok(consumers.unwrap_or_default().into_iter().map(|(name, _)| name.into()).collect())
    }

    async fn dead(&self, mut holders: Vec<Arc<str>>) -> Result<Vec<Arc<str>>, RedisFault> {
        if holders.is_empty() {
            return Ok(holders);
        }
        let mut beats = redis::pipe();
        for holder in &holders {
            beats.cmd("EXISTS").arg(self.shared.names.heartbeat(holder));
        }
        let alive: Vec<bool> = self.shared.link.pipe(&beats).await?;
        let mut alive = alive.into_iter();
        holders.retain(|_| alive.next() == Some(false));
        Ok(holders)
    }

    /// Our own pending list, to its end: what was not handed out was lost on its way to us.
    async fn own(
        &self,
        me: &Arc<str>,
        handed: &HashSet<EntryId>,
        seen: &mut HashSet<EntryId>,
        found: &mut Vec<Candidate>,
    ) -> Result<(), RedisFault> {
        let mut start = "-".to_owned();
        loop {
            let page = self.page(me, &start).await?;
            for (id, _) in &page {
                seen.insert(*id);
                if !handed.contains(id) {
                    found.push(Candidate { id: *id, holder: Arc::clone(me) });
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => start = format!("({last}"),
                _ => return Ok(()),
            }
        }
    }

    /// Entries that `holder` holds, and for how many milliseconds.
    async fn page(&self, holder: &str, start: &str) -> Result<Vec<(EntryId, u64)>, RedisFault> {
        let mut list = redis::cmd("XPENDING");
        list.arg(&self.shared.names.pending).arg(&self.shared.settings.group);
        list.arg(start).arg("+").arg(PAGE).arg(holder);
        let entries: Vec<(String, String, u64, u64)> = self.shared.link.query(&list).await?;
        Ok(entries.into_iter().filter_map(|(id, _, idle, _)| Some((id.parse().ok()?, idle))).collect())
    }
}
