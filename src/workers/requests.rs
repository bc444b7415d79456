//! Requests: out of the inbox, admitted in their order, then performed and published side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::crash::{self, Point};
use crate::domain::request::Received;
use crate::engine::{self, Admitted, Due, Prices, Reply};
use crate::ports::inbox::{Batch, Inbox};
use crate::runtime::metrics::Stage;

use super::waiting::{Places, Sender};
use super::{Context, PAUSES, observe};

/// Batches that are read while one is being admitted: what the journal then takes together is the
/// admission of one batch and the answers of the one before.
const READ_AHEAD: usize = 1;

/// Answers that are recorded in one transaction, at most.
const MAX_RECORDED: usize = 256;

/// Entries that this worker owns, with their places among those in flight.
struct Taken {
    requests: Vec<Arc<Received>>,
    /// `None` where they could not be read yet.
    prices: Option<Prices>,
    permits: OwnedSemaphorePermit,
    read_at: Instant,
    /// Dropped once they are admitted.
    admitted: Option<oneshot::Sender<()>>,
}

pub(super) async fn run(
    context: Context,
    inbox: Box<dyn Inbox>,
    in_flight: Arc<Semaphore>,
    waiting: Sender,
    places: Places,
) {
    let (taken, next) = mpsc::channel(READ_AHEAD);
    tokio::join!(read(&context, inbox, &in_flight, &places, taken), admit(&context, next, &waiting));
}

async fn read(
    context: &Context,
    mut inbox: Box<dyn Inbox>,
    in_flight: &Arc<Semaphore>,
    places: &Places,
    taken: mpsc::Sender<Taken>,
) {
    let mut pause = PAUSES.0;
    let mut announced = false;
    while !context.shutdown.is_cancelled() {
        if !context.can_journal() {
            tokio::time::sleep(PAUSES.0).await;
            continue;
        }
        let enough = places.taken() >= context.settings.max_in_flight;
        let next = if enough { inbox.next_abandoned().await } else { inbox.next().await };
        match next {
            Ok(batch) => {
                pause = PAUSES.0;
                if !std::mem::replace(&mut announced, true) {
                    tracing::info!(worker = %context.engine.worker, "ready");
                }
                if !batch.requests.is_empty() {
                    crash::point(Point::InboxRead);
                    // More than may be in flight is never read at once: the batch size is bounded by it.
                    let count = u32::try_from(batch.requests.len()).unwrap_or(u32::MAX);
                    let Ok(permits) = in_flight.clone().acquire_many_owned(count).await else { return };
                    // One that is taken over alone may bring us down: nothing else is begun, and counted, beside it.
                    let alone = batch.reclaimed && batch.requests.len() == 1;
                    let mut batch = take(context, batch, permits).await;
                    let (admitted, is_admitted) = oneshot::channel();
                    batch.admitted = Some(admitted);
                    if taken.send(batch).await.is_err() {
                        return;
                    }
                    if alone {
                        drop(is_admitted.await);
                    }
                }
            }
            Err(error) => {
                context.redis.not_ok(error.to_string());
                tracing::warn!(%error, "reading requests; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

async fn take(context: &Context, batch: Batch, permits: OwnedSemaphorePermit) -> Taken {
    if batch.reclaimed {
        context.metrics.reclaimed(batch.requests.len() as u64);
        for received in &batch.requests {
            tracing::info!(entry_id = %received.key.entry, deliveries = received.deliveries, "request taken over");
        }
    }
    let now = context.engine.clock.now();
    for received in &batch.requests {
        let waited = now.micros() / 1000 - i64::try_from(received.key.entry.ms).unwrap_or(i64::MAX);
        let waited = Duration::from_millis(u64::try_from(waited).unwrap_or(0));
        context.metrics.order_latency(Stage::Queue, waited);
    }
    let read_at = Instant::now();
    let requests: Vec<Arc<Received>> = batch.requests.into_iter().map(Arc::new).collect();
    let prices = context.engine.prepare(&requests).await.ok();
    Taken { requests, prices, permits, read_at, admitted: None }
}

/// One batch after another: requests are admitted in the order in which they were added.
async fn admit(context: &Context, mut next: mpsc::Receiver<Taken>, waiting: &Sender) {
    while let Some(Taken { requests, prices, permits, read_at, admitted: done }) = next.recv().await {
        // While the journal was away the prices have aged: they are read again for each new attempt.
        // And whatever failed may have been journaled all the same: they come back as redelivered.
        let mut ready = Some((prices, requests.clone()));
        let admitted = context
            .persist("admitting requests", || {
                let (prices, requests) = ready
                    .take()
                    .unwrap_or_else(|| (None, requests.iter().map(engine::redelivered).collect()));
                async move {
                    let prices = match prices {
                        Some(prices) => prices,
                        None => context.engine.prepare(&requests).await?,
                    };
                    context.engine.admit(&requests, &prices, false).await
                }
            })
            .await;
        drop(done);
        context.journal.ok("commits");
        context.metrics.order_latency_many(Stage::Admission, read_at.elapsed(), requests.len() as u64);
        tokio::spawn(finish(context.clone(), admitted, permits, waiting.clone()));
    }
}

/// Performs and publishes what was admitted; hands on what has to wait.
pub(super) async fn finish(context: Context, admitted: Admitted, held: impl Send, waiting: Sender) {
    if context.engine.remote().is_some() {
        finish_remote(&context, admitted, &waiting).await;
    } else {
        finish_embedded(&context, admitted, &waiting).await;
    }
    drop(held);
}

async fn finish_embedded(context: &Context, mut admitted: Admitted, waiting: &Sender) {
    let engine = &context.engine;
    let asked = Instant::now();
    let due = admitted.effects() as u64;
    if due > 0 {
        if !engine.latency().is_zero() {
            // Told while the broker takes its time, not after it.
            let early = admitted.batch.split_commits();
            let (published, ()) = tokio::join!(engine.publish(&early), engine.pass_latency(&mut admitted));
            match published {
                Ok(()) => observe::commits(&context.metrics, &early),
                Err(error) => {
                    context.blame("publishing events", &error);
                    admitted.batch.put_back(early);
                }
            }
        }
        let mut pause = PAUSES.0;
        while let Err(error) = engine.perform(&mut admitted).await {
            context.blame("recording the broker's answers", &error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        context.calls.record_many(due, asked.elapsed());
        context.metrics.order_latency_many(
            Stage::Broker,
            asked.elapsed(),
            admitted.batch.ended().len() as u64,
        );
    }
    publish(context, &admitted).await;
    hand_on(admitted, waiting);
}

/// Each call is a task of its own; what is answered together is recorded and published together.
async fn finish_remote(context: &Context, mut admitted: Admitted, waiting: &Sender) {
    let mut calls: JoinSet<Reply> = JoinSet::new();
    let asked = Instant::now();
    ask(context, &mut calls, admitted.take_due());
    publish(context, &admitted).await;
    hand_on(admitted, waiting);
    while let Some(first) = calls.join_next().await {
        let mut replies = Vec::new();
        let mut next = Some(first);
        while let Some(joined) = next {
            match joined {
                Ok(reply) => replies.push(reply),
                // Its order is undecided; reconciliation takes it up once its lease has run out.
                Err(error) => tracing::error!(%error, "ALARM: a call to the broker broke off"),
            }
            next = if replies.len() < MAX_RECORDED { calls.try_join_next() } else { None };
        }
        let mut recorded =
            context.persist("recording the broker's answers", || context.engine.record(&replies)).await;
        ask(context, &mut calls, recorded.take_due());
        let ended = recorded.batch.ended().len() as u64;
        context.metrics.order_latency_many(Stage::Broker, asked.elapsed(), ended);
        publish(context, &recorded).await;
        hand_on(recorded, waiting);
    }
}

fn ask(context: &Context, calls: &mut JoinSet<Reply>, due: Vec<Due>) {
    for due in due {
        let context = context.clone();
        calls.spawn(async move {
            let (asked, call) = (Instant::now(), due.call());
            let reply = context.engine.ask(due).await;
            context.metrics.exchange_call("mock", call).record(asked.elapsed());
            if let Some(class) = reply.failure() {
                context.metrics.exchange_errors("mock", class, 1);
            }
            reply
        });
    }
}

async fn publish(context: &Context, admitted: &Admitted) {
    let published = Instant::now();
    context.persist("publishing outcomes", || context.engine.publish(&admitted.batch)).await;
    let ended = admitted.batch.ended().len() as u64;
    context.metrics.order_latency_many(Stage::Finish, published.elapsed(), ended);
    observe(&context.metrics, &admitted.batch, context.engine.clock.now());
}

fn hand_on(admitted: Admitted, waiting: &Sender) {
    for item in admitted.waiting {
        waiting.send(item);
    }
}
