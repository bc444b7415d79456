//! The loops of a worker, one a file. Each goes on through every fault outside and tells health and log.

mod broker_updates;
mod heartbeat;
mod observe;
mod reconciliation;
mod relay;
mod requests;
mod risk_watch;
mod waiting;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::engine::{Engine, EngineError};
use crate::ports::inbox::Inbox;
use crate::runtime::health::Component;
use crate::runtime::metrics::{ExchangeCall, Metrics};
use crate::runtime::shutdown::Token;

use waiting::Places;

use observe::observe;

/// What every loop works with.
#[derive(Clone)]
pub struct Context {
    pub engine: Arc<Engine>,
    pub metrics: Metrics,
    /// Calls of the embedded broker.
    pub calls: ExchangeCall,
    pub redis: Component,
    pub journal: Component,
    pub shutdown: Token,
    pub settings: Limits,
}

/// Bounds and times of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests taken and not finished yet.
    pub max_in_flight: usize,
    /// How long a command waits for its order to appear.
    pub command_wait: Duration,
    pub heartbeat: Duration,
    pub drain_timeout: Duration,
    /// How long a worker that is gone keeps what it had.
    pub claim_idle: Duration,
}

impl Limits {
    /// How long a piece of work stays with the worker that does it for all.
    fn lease(&self) -> Duration {
        self.claim_idle.max(Duration::from_secs(2))
    }
}

/// Pauses between attempts while something is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A journal that was away for less is waited for.
const JOURNAL_GRACE: Duration = Duration::from_secs(5);

impl Context {
    /// Does `work` until it succeeds: what is away comes back, and nothing is given up meanwhile.
    async fn persist<T, F: Future<Output = Result<T, EngineError>>>(
        &self,
        what: &str,
        mut work: impl FnMut() -> F,
    ) -> T {
        let mut pause = PAUSES.0;
        loop {
            match work().await {
                Ok(value) => return value,
                Err(error) => self.blame(what, &error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// What it takes it can also journal. A worker that cannot, for longer than a moment, takes no requests and lets
    /// others have those that it holds; where none of them can, either, they all leave them where they are.
    fn can_journal(&self) -> bool {
        self.journal.was_ok_within(self.settings.claim_idle.max(JOURNAL_GRACE))
    }

    /// Says which component an error is of.
    fn blame(&self, what: &str, error: &EngineError) {
        let component = match error {
            EngineError::Broker(_) => {
                tracing::warn!(%error, what, "trying again");
                return;
            }
            EngineError::Journal(_) => &self.journal,
            EngineError::Quotes(_)
            | EngineError::Publish(_)
            | EngineError::Inbox(_)
            | EngineError::Behind { .. } => &self.redis,
        };
        component.not_ok(error.to_string());
        tracing::warn!(%error, what, "trying again");
    }
}

/// The loops of one worker under way.
pub struct Running {
    context: Context,
    loops: JoinSet<()>,
    requests: JoinHandle<()>,
    in_flight: Arc<Semaphore>,
    waiting: Places,
}

/// How a worker came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was left behind.
    Drained,
    /// Something is left to other workers.
    Left,
    /// A loop ended that never should.
    Broken,
}

/// Starts all loops.
#[must_use]
pub fn start(context: Context, inbox: Box<dyn Inbox>) -> Running {
    let in_flight = Arc::new(Semaphore::new(context.settings.max_in_flight));
    let (sender, waits, waiting) = waiting::channel();
    let mut loops = JoinSet::new();
    loops.spawn(heartbeat::run(context.clone()));
    loops.spawn(broker_updates::run(context.clone()));
    loops.spawn(relay::run(context.clone()));
    loops.spawn(risk_watch::run(context.clone()));
    loops.spawn(reconciliation::run(context.clone(), sender.clone()));
    loops.spawn(waiting::run(context.clone(), sender.clone(), waits));
    let requests = requests::run(context.clone(), inbox, in_flight.clone(), sender, waiting.clone());
    Running { context, loops, requests: tokio::spawn(requests), in_flight, waiting }
}

impl Running {
    /// Waits until the worker was asked to stop, then lets what is in flight finish for as long as
    /// `drain_timeout` allows.
    pub async fn drained(mut self) -> Ended {
        let settings = self.context.settings;
        let shutdown = self.context.shutdown.clone();
        let broken = tokio::select! {
            // Asked first: a loop that ends because it was asked to is not broken.
            biased;
            () = shutdown.cancelled() => false,
            ended = &mut self.requests => { tracing::error!(?ended, "ALARM: the loop that reads requests has ended"); true }
            ended = self.loops.join_next() => { tracing::error!(?ended, "ALARM: a loop of the worker has ended"); true }
        };
        if broken {
            return Ended::Broken;
        }
        let ended = match tokio::time::timeout(settings.drain_timeout, self.drain()).await {
            Ok(Ok(true)) => Ended::Drained,
            Ok(Ok(false)) => Ended::Left,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the consumer's name stays in the group");
                Ended::Left
            }
            Err(_) => {
                tracing::warn!(
                    drain_timeout_ms = u64::try_from(settings.drain_timeout.as_millis()).unwrap_or(u64::MAX),
                    in_flight = settings.max_in_flight - self.in_flight.available_permits(),
                    waiting = self.waiting.taken(),
                    "drain timed out: what is in flight is left to other workers"
                );
                Ended::Left
            }
        };
        self.loops.shutdown().await;
        ended
    }

    async fn drain(&mut self) -> Result<bool, EngineError> {
        let engine = self.context.engine.clone();
        // The blocked read is released, not dropped: a dropped one strands what Redis just gave it.
        while !self.requests.is_finished() {
            if let Err(error) = engine.control.release().await {
                tracing::warn!(%error, "the blocked read could not be released yet");
            }
            drop(tokio::time::timeout(Duration::from_millis(100), &mut self.requests).await);
        }
        let all = u32::try_from(self.context.settings.max_in_flight).unwrap_or(u32::MAX);
        drop(self.in_flight.acquire_many(all).await);
        while self.waiting.taken() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        engine.forget_finished().await?;
        Ok(engine.control.leave().await?)
    }
}
