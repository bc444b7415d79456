//! A Redis in memory: as much of it as the adapters use, and what their scripts do. What the server does is here and in
//! `publish`; `client` is a worker's side.

pub(crate) mod client;
mod publish;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use order_execution::domain::ids::{ClientOrderId, EntryId, OrderId};
use order_execution::domain::order::ContentHash;
use order_execution::domain::request::Request;

use super::auditor::Auditor;
use super::plant::Plant;
use super::world::World;

/// What an entry holds: the request as it was sent, and the hash of its bytes.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) request: Request,
    pub(crate) hash: ContentHash,
}

#[derive(Clone)]
struct Held {
    by: Arc<str>,
    since_ms: u64,
    deliveries: u32,
}

/// An entry that was taken over: `None`, its body was trimmed.
type Taken = (EntryId, u32, Option<Body>);

#[derive(Clone, Default)]
struct Group {
    last: Option<EntryId>,
    held: BTreeMap<EntryId, Held>,
}

/// What is told of an entry's end.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) entry: EntryId,
    pub(crate) completed: bool,
}

/// All that a server holds: what is lost when it is emptied.
#[derive(Clone, Default)]
pub(crate) struct Data {
    stream: BTreeMap<EntryId, Body>,
    last_id: Option<EntryId>,
    group: Option<Group>,
    /// Until when, in milliseconds.
    heartbeats: HashMap<Arc<str>, u64>,
    took_several: HashMap<Arc<str>, u64>,
    finished: BTreeSet<EntryId>,
    marked: BTreeMap<EntryId, u64>,
    pub(crate) versions: HashMap<OrderId, u64>,
    pub(crate) states: HashMap<ClientOrderId, (u64, Arc<str>)>,
    pub(crate) events: Vec<(OrderId, u64, u64)>,
    pub(crate) outcomes: Vec<Told>,
    /// What was lost is put back, or: is there.
    marker: Option<bool>,
}

pub(crate) struct Server {
    data: Mutex<Data>,
    /// Raised by each start.
    run: Mutex<u64>,
    pub(crate) world: Arc<World>,
    auditor: Option<Arc<Auditor>>,
    plant: Plant,
    pub(crate) claim_idle_ms: u64,
}

impl Server {
    pub(crate) fn new(
        world: Arc<World>,
        auditor: Option<Arc<Auditor>>,
        plant: Plant,
        claim_idle_ms: u64,
    ) -> Arc<Self> {
        let (data, run) = (Mutex::default(), Mutex::new(1));
        Arc::new(Self { data, run, world, auditor, plant, claim_idle_ms })
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }

    fn run(&self) -> u64 {
        *self.run.lock().unwrap()
    }

    fn now_ms(&self) -> u64 {
        self.world.now_us().cast_unsigned() / 1000
    }

    /// `XADD`
    pub(crate) fn add(&self, body: Body) -> EntryId {
        let ms = self.now_ms();
        let mut data = self.data();
        let id = match data.last_id {
            Some(last) if last.ms >= ms => EntryId { ms: last.ms, seq: last.seq + 1 },
            _ => EntryId { ms, seq: 0 },
        };
        data.last_id = Some(id);
        data.stream.insert(id, body);
        id
    }

    /// `FLUSHALL`
    pub(crate) fn empty(&self) {
        *self.data() = Data::default();
        self.lost();
    }

    /// What it had a while ago, after a restart.
    pub(crate) fn restart_with(&self, data: Data) {
        *self.data() = data;
        *self.run.lock().unwrap() += 1;
        self.lost();
    }

    pub(crate) fn copy(&self) -> Data {
        self.data().clone()
    }

    fn lost(&self) {
        if let Some(auditor) = &self.auditor {
            auditor.redis_lost_data();
        }
    }

    /// `XTRIM … MAXLEN 0`
    pub(crate) fn trim(&self) {
        self.data().stream.clear();
    }

    /// Makes what somebody holds look as if it had lain idle for long, and its holder dead.
    pub(crate) fn take_for_dead(&self, nth: u64) {
        let mut data = self.data();
        let Some(group) = &mut data.group else { return };
        let count = group.held.len() as u64;
        let Some(held) = group.held.values_mut().nth(usize::try_from(nth % count.max(1)).unwrap()) else {
            return;
        };
        held.since_ms = 0;
        let holder = held.by.clone();
        data.heartbeats.remove(&holder);
    }

    pub(crate) fn has_entries(&self) -> bool {
        !self.data().stream.is_empty()
    }

    /// What is left and who holds it, for people.
    pub(crate) fn left(&self) -> Vec<String> {
        let (data, now_ms) = (self.data(), self.now_ms());
        let held = |id: &EntryId| {
            let held = data.group.as_ref()?.held.get(id)?;
            let alive = data.is_alive(&held.by, now_ms);
            Some(format!("held by {} (alive: {alive}), {} deliveries", held.by, held.deliveries))
        };
        let kind = |body: &Body| body.request.kind().as_str();
        data.stream.iter().map(|(id, body)| format!("{id} {} {:?}", kind(body), held(id))).collect()
    }

    pub(crate) fn has(&self, entry: EntryId) -> bool {
        self.data().stream.contains_key(&entry)
    }
}

impl Data {
    fn is_alive(&self, consumer: &str, now_ms: u64) -> bool {
        self.heartbeats.get(consumer).is_some_and(|until| *until > now_ms)
    }

    /// `XGROUP CREATE … 0 MKSTREAM`, where it is not there.
    fn group(&mut self) -> &mut Group {
        self.group.get_or_insert_default()
    }

    /// `XREADGROUP … >`
    fn read(&mut self, me: &Arc<str>, count: usize, now_ms: u64) -> Vec<(EntryId, Body)> {
        let after = self.group().last;
        let new = self.stream.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let new: Vec<(EntryId, Body)> = new.take(count).map(|(id, body)| (*id, body.clone())).collect();
        let group = self.group();
        for (id, _) in &new {
            group.last = Some(*id);
            group.held.insert(*id, Held { by: me.clone(), since_ms: now_ms, deliveries: 1 });
        }
        new
    }

    /// Entries that may be taken over, oldest first, and what is still held of ours or a dead consumer's.
    fn look_around(
        &self,
        me: &Arc<str>,
        handed: &BTreeSet<EntryId>,
        idle_ms: u64,
        now_ms: u64,
    ) -> (Vec<(EntryId, Arc<str>)>, BTreeSet<EntryId>) {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for (id, held) in self.group.iter().flat_map(|group| &group.held) {
            let mine = held.by == *me;
            if !mine && self.is_alive(&held.by, now_ms) {
                continue;
            }
            seen.insert(*id);
            if !handed.contains(id) && (mine || now_ms.saturating_sub(held.since_ms) >= idle_ms) {
                found.push((*id, held.by.clone()));
            }
        }
        (found, seen)
    }

    /// `begin.lua`: takes candidates that may be taken; says how many were looked at.
    fn begin(
        &mut self,
        me: &Arc<str>,
        candidates: &[(EntryId, Arc<str>)],
        idle_ms: u64,
        now_ms: u64,
    ) -> (usize, Vec<Taken>) {
        const MARK_MS: u64 = 60_000;
        let (mut looked, mut taken, mut together) = (0, Vec::new(), Vec::new());
        for (nth, (id, seen)) in candidates.iter().enumerate() {
            let held = self.group.as_ref().and_then(|group| group.held.get(id)).cloned();
            let may = held.filter(|held| {
                let idle = now_ms.saturating_sub(held.since_ms) >= idle_ms;
                held.by == *me || held.by == *seen && idle && !self.is_alive(&held.by, now_ms)
            });
            if let Some(held) = may {
                let body = self.stream.get(id).cloned();
                let marked = self.took_several.get(&held.by).is_some_and(|until| *until > now_ms);
                let alone = body.is_none() || held.by == *me || held.deliveries > 1 || marked;
                if alone && !taken.is_empty() {
                    break;
                }
                let Some(body) = body else { return (nth + 1, vec![(*id, held.deliveries, None)]) };
                taken.push((*id, held.deliveries + 1, Some(body)));
                looked = nth + 1;
                let deliveries = held.deliveries + u32::from(alone);
                let now = Held { by: me.clone(), since_ms: now_ms, deliveries };
                self.group().held.insert(*id, now);
                if alone {
                    break;
                }
                together.push(*id);
            }
            looked = nth + 1;
        }
        if !together.is_empty() {
            self.took_several.insert(me.clone(), now_ms + MARK_MS);
        }
        (looked, taken)
    }

    /// `renew.lua`
    fn renew(&mut self, me: &Arc<str>, idle_ms: u64, now_ms: u64) -> usize {
        let Self { group, stream, .. } = self;
        let held = group.iter_mut().flat_map(|group| &mut group.held);
        let mine = held.filter(|(id, held)| {
            held.by == *me && now_ms.saturating_sub(held.since_ms) >= idle_ms && stream.contains_key(id)
        });
        mine.map(|(_, held)| held.since_ms = now_ms).count()
    }

    fn holds_nothing(&self, me: &str) -> bool {
        self.group.as_ref().is_none_or(|group| group.held.values().all(|held| &*held.by != me))
    }
}
