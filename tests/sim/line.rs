//! The way from one process to one service: delays, lost commands, lost answers, a service that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::world::World;

/// What it is like on the way to a service; the same for everybody.
#[derive(Default)]
pub(crate) struct Weather {
    away_until: AtomicI64,
    /// Of a thousand commands: lost on the way there, or their answer on the way back.
    pub(crate) lost: AtomicU64,
    pub(crate) lost_answers: AtomicU64,
    /// The longest that one way takes, in microseconds.
    pub(crate) slowest: AtomicI64,
}

impl Weather {
    pub(crate) fn new(slowest: i64) -> Arc<Self> {
        let weather = Self::default();
        weather.slowest.store(slowest, Ordering::Relaxed);
        Arc::new(weather)
    }

    pub(crate) fn away_for(&self, now_us: i64, us: i64) {
        self.away_until.store(now_us + us, Ordering::Relaxed);
    }

    fn is_away(&self, now_us: i64) -> bool {
        now_us < self.away_until.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.away_until.store(0, Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
        self.lost_answers.store(0, Ordering::Relaxed);
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// No connection came about: the command never left.
    NotConnected,
    /// It was sent, and that is all that is known.
    Lost,
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "no connection",
            Self::Lost => "no answer",
        })
    }
}

impl std::error::Error for NoAnswer {}

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) world: Arc<World>,
    pub(crate) weather: Arc<Weather>,
    /// The process at this end was killed.
    pub(crate) dead: Arc<AtomicBool>,
    /// Something came for the process at this end: it has work.
    pub(crate) awake: Arc<AtomicBool>,
    /// What is asked is done at once: for whoever looks from outside.
    pub(crate) direct: bool,
}

/// A service that takes so long to reach is not in the same house.
const FAR_US: i64 = 10_000;
/// How long one waits for an answer that does not come.
const PATIENCE_US: i64 = 400_000;

impl Line {
    /// To be used outside of any process.
    pub(crate) fn direct(world: &Arc<World>) -> Self {
        Self {
            world: world.clone(),
            weather: Weather::new(0),
            dead: Arc::default(),
            awake: Arc::default(),
            direct: true,
        }
    }

    /// Comes back after so long.
    pub(crate) async fn sleep(&self, us: i64) {
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        let awake = self.awake.clone();
        self.world.after(us, move || {
            awake.store(true, Ordering::Relaxed);
            drop(done);
        });
        let _ = wait.await;
    }

    /// Sends a command that `service` carries out when it arrives.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        service: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (world, weather) = (&self.world, &self.weather);
        if self.direct {
            return Ok(service());
        }
        let slowest = weather.slowest.load(Ordering::Relaxed);
        // Mostly it is quick; now and then something takes very long, above all on the way to a broker.
        let seldom = if slowest >= FAR_US { 25 } else { 6 };
        let way = || {
            if world.chance(seldom) { world.between(0, slowest * 300) } else { world.between(0, slowest) }
        };
        let (there, back) = (way(), way());
        let is_lost = world.chance(weather.lost.load(Ordering::Relaxed));
        let answer_is_lost = world.chance(weather.lost_answers.load(Ordering::Relaxed));
        let dies_with_sender = world.chance(500);
        if weather.is_away(world.now_us()) {
            self.sleep(there).await;
            return Err(NoAnswer::NotConnected);
        }
        let (answer, wait) = tokio::sync::oneshot::channel();
        let here = self.clone();
        self.world.after(there, move || {
            let Self { world, weather, dead, awake, .. } = here;
            let reply = move |value| {
                awake.store(true, Ordering::Relaxed);
                // Whoever asked may be gone.
                drop(answer.send(value));
            };
            let never_came = is_lost || dies_with_sender && dead.load(Ordering::Relaxed);
            if never_came || weather.is_away(world.now_us()) {
                world.after(PATIENCE_US - there, move || reply(Err(NoAnswer::Lost)));
                return;
            }
            world.effect(what, 0);
            let value = service();
            // One that comes too late is not heard any more; what was asked is done all the same.
            if answer_is_lost || there + back > PATIENCE_US {
                world.after(PATIENCE_US - there, move || reply(Err(NoAnswer::Lost)));
            } else {
                world.after(back, move || reply(Ok(value)));
            }
        });
        self.hear(wait, there).await
    }

    /// Nobody waits for longer than his patience lasts, whatever is still on its way.
    async fn hear<T>(
        &self,
        wait: tokio::sync::oneshot::Receiver<Result<T, NoAnswer>>,
        there: i64,
    ) -> Result<T, NoAnswer> {
        if there <= PATIENCE_US {
            return wait.await.unwrap_or(Err(NoAnswer::Lost));
        }
        self.sleep(PATIENCE_US).await;
        Err(NoAnswer::Lost)
    }
}
