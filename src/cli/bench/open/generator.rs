//! The open loop itself: one sends by the schedule, the other reads what came of it. Neither waits for the
//! other. Both live on a thread of their own, beside the worker's runtime and not in it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::app::AppError;
use crate::config::Settings;
use crate::runtime::shutdown::Token;

use super::super::load;
use super::pacer::{self, Pacer, TICK};
use super::reader;
use super::schedule::Schedule;
use super::tally::Tally;
use crate::cli::link::Link;

/// Orders that Redis has not answered for, at most: past it the sender waits, and is late.
const MOST_UNANSWERED: u32 = 65_536;
/// Redis may take so long for an answer; a longer stall ends the run.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How far a run is, for whoever watches.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU32,
    pub(super) ended: AtomicU32,
}

/// What a run is made of.
pub(super) struct Job {
    pub(super) settings: Settings,
    pub(super) symbols: u32,
    pub(super) schedule: Arc<Schedule>,
    pub(super) counts: Arc<Counts>,
    pub(super) stop: Token,
}

/// What a run has shown.
pub(super) struct Run {
    pub(super) tally: Tally,
    pub(super) sent: Sent,
}

pub(super) struct Sent {
    /// How late the sender was for each order, microseconds.
    pub(super) late: Histogram<u64>,
    pub(super) pipelines: u64,
    /// How long the sender waited in all because Redis had not answered.
    pub(super) held_up: Duration,
    /// Orders on their way when the last one had been sent.
    pub(super) in_flight: u32,
}

/// Sends everything and waits for the outcomes. Blocks its thread.
pub(super) fn generate(job: &Job) -> Result<Run, AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AppError::Io("the generator cannot be started", error))?;
    runtime.block_on(async {
        tokio::select! {
            run = drive(job) => run,
            () = job.stop.cancelled() => Err(AppError::Failed("interrupted: nothing is reported".to_owned())),
        }
    })
}

async fn drive(job: &Job) -> Result<Run, AppError> {
    let link = Link::new(&job.settings)?;
    let sending = link.connect_to_block(ANSWER_WITHIN).await?;
    let reading = link.connect_to_block(ANSWER_WITHIN).await?;
    let (wake, woken) = mpsc::channel(1);
    let (schedule, start) = (job.schedule.clone(), Instant::now());
    std::thread::Builder::new()
        .name("bench-pace".to_owned())
        .spawn(move || pacer::keep_time(&schedule, start, &wake))
        .map_err(|error| AppError::Io("the thread that keeps the time cannot be started", error))?;
    let (sent, tally) =
        tokio::try_join!(send(job, &link, sending, start, woken), reader::read(job, &link, reading, start))?;
    Ok(Run { tally, sent })
}

async fn send(
    job: &Job,
    link: &Link,
    connection: MultiplexedConnection,
    start: Instant,
    mut woken: mpsc::Receiver<()>,
) -> Result<Sent, AppError> {
    let pending = format!("{}:pending", job.settings.streams.prefix);
    let mut pacer = Pacer::new(job.schedule.clone())?;
    let mut unanswered = Unanswered { link, orders: 0, answers: JoinSet::new() };
    let (mut pipelines, mut held_up) = (0, Duration::ZERO);
    while !pacer.is_done() {
        if woken.recv().await.is_none() {
            // All are due, or the clock's thread is gone: then the runtime's has to do.
            tokio::time::sleep(TICK).await;
        }
        loop {
            if unanswered.orders >= MOST_UNANSWERED {
                let full = Instant::now();
                unanswered.settle_down_to(MOST_UNANSWERED - 1).await?;
                held_up += full.elapsed();
            }
            let Some(orders) = pacer.take(start.elapsed()) else { break };
            let sent = orders.end;
            unanswered.send(&connection, orders, &pending, job.symbols);
            pipelines += 1;
            job.counts.sent.store(sent, Ordering::Relaxed);
        }
        unanswered.settle_what_is_there()?;
    }
    let in_flight = job.schedule.orders().saturating_sub(job.counts.ended.load(Ordering::Relaxed));
    unanswered.settle_down_to(0).await?;
    Ok(Sent { late: pacer.into_late(), pipelines, held_up, in_flight })
}

/// Pipelines that Redis has not answered.
struct Unanswered<'a> {
    link: &'a Link,
    orders: u32,
    /// Each ends with the number of its orders.
    answers: JoinSet<redis::RedisResult<u32>>,
}

impl Unanswered<'_> {
    /// Does not wait: the task that waits for the answer writes the pipeline first, in the order of the calls.
    fn send(&mut self, connection: &MultiplexedConnection, orders: Range<u32>, pending: &str, symbols: u32) {
        let count = orders.end - orders.start;
        let mut pipe = redis::pipe();
        for order in orders {
            pipe.cmd("XADD").arg(pending).arg("*").arg("order").arg(load::order(order, symbols)).ignore();
        }
        let mut connection = connection.clone();
        self.answers.spawn(async move { pipe.exec_async(&mut connection).await.map(|()| count) });
        self.orders += count;
    }

    fn settle(&mut self, answer: Result<redis::RedisResult<u32>, JoinError>) -> Result<(), AppError> {
        let answer = answer.map_err(|error| AppError::Failed(format!("adding orders: {error}")))?;
        self.orders -= answer.map_err(|error| self.link.fault(&error))?;
        Ok(())
    }

    fn settle_what_is_there(&mut self) -> Result<(), AppError> {
        while let Some(answer) = self.answers.try_join_next() {
            self.settle(answer)?;
        }
        Ok(())
    }

    async fn settle_down_to(&mut self, most: u32) -> Result<(), AppError> {
        while self.orders > most
            && let Some(answer) = self.answers.join_next().await
        {
            self.settle(answer)?;
        }
        Ok(())
    }
}
