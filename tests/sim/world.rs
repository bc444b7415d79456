//! Virtual time, chance, and what happens at a later time. Everything that the fakes do happens here, one effect after
//! another, whoever asked for it: a command that is on its way arrives also when its sender is dead by then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard};

use order_execution::domain::time::Timestamp;
use order_execution::ports::clock::Clock;
use uuid::Uuid;

/// 2027-01-15T08:00:00Z: when every run begins.
pub(crate) const START_US: i64 = 1_800_000_000_000_000;

type Effect = Box<dyn FnOnce() + Send>;

struct Scheduled {
    at: i64,
    /// Drawn, so that what is due at the same time comes in any sequence.
    tie: u32,
    seq: u64,
    effect: Effect,
}

impl Scheduled {
    const fn key(&self) -> (i64, u32, u64) {
        (self.at, self.tie, self.seq)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

struct Inner {
    now_us: i64,
    seq: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    rng: fastrand::Rng,
    /// Effects at the fakes so far.
    effects: u64,
    trace: u64,
    failure: Option<String>,
}

pub(crate) struct World {
    inner: Mutex<Inner>,
    verbose: bool,
}

impl World {
    pub(crate) fn new(seed: u64, verbose: bool) -> Arc<Self> {
        let inner = Inner {
            now_us: START_US,
            seq: 0,
            events: BinaryHeap::new(),
            rng: fastrand::Rng::with_seed(seed),
            effects: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            failure: None,
        };
        Arc::new(Self { inner: Mutex::new(inner), verbose })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.lock().now_us
    }

    /// From 0 to `bound` exclusive.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.lock().rng.u64(..bound.max(1))
    }

    pub(crate) fn between(&self, least: i64, most: i64) -> i64 {
        self.lock().rng.i64(least..=most.max(least))
    }

    /// So many times in a thousand.
    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    pub(crate) fn after(&self, us: i64, effect: impl FnOnce() + Send + 'static) {
        let mut inner = self.lock();
        let (tie, seq, at) = (inner.rng.u32(..), inner.seq, inner.now_us + us.max(0));
        inner.seq += 1;
        inner.events.push(Reverse(Scheduled { at, tie, seq, effect: Box::new(effect) }));
    }

    /// One effect at a fake: counted, and part of the run's trace.
    pub(crate) fn effect(&self, what: &'static str, detail: u64) {
        let mut inner = self.lock();
        inner.effects += 1;
        let at = inner.now_us;
        let bits = what.bytes().fold(detail ^ at.cast_unsigned(), |bits, byte| {
            (bits ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        inner.trace = (inner.trace ^ bits).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        if self.verbose {
            println!("{:>12} {what} {detail:x}", at - START_US);
        }
    }

    /// Says something about a run that is watched.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>12} {}", self.now_us() - START_US, what());
        }
    }

    /// What should never be was seen. The first counts.
    pub(crate) fn fail(&self, what: String) {
        let mut inner = self.lock();
        let at = inner.now_us - START_US;
        inner.failure.get_or_insert_with(|| format!("at {at} us: {what}"));
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    pub(crate) fn effects(&self) -> u64 {
        self.lock().effects
    }

    pub(crate) fn trace(&self) -> u64 {
        self.lock().trace
    }

    /// What is due now.
    pub(crate) fn due(&self) -> Option<Effect> {
        let mut inner = self.lock();
        let is_due = inner.events.peek().is_some_and(|Reverse(next)| next.at <= inner.now_us);
        if is_due { inner.events.pop().map(|Reverse(next)| next.effect) } else { None }
    }

    /// Goes on to the next thing that happens, by `most` at most; says by how much.
    pub(crate) fn go_on(&self, most: i64) -> i64 {
        let mut inner = self.lock();
        let until_next = inner.events.peek().map_or(most, |Reverse(next)| next.at - inner.now_us);
        let step = until_next.clamp(0, most);
        inner.now_us += step;
        step
    }
}

/// The clock of every process of the world: one machine.
pub(crate) struct WorldClock(pub(crate) Arc<World>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.now_us())
    }

    fn uuid(&self) -> Uuid {
        let mut inner = self.0.lock();
        let ms = inner.now_us.cast_unsigned() / 1000;
        uuid::Builder::from_unix_timestamp_millis(ms, &{
            let (a, b) = (inner.rng.u64(..).to_be_bytes(), inner.rng.u16(..).to_be_bytes());
            [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1]]
        })
        .into_uuid()
    }
}
