//! Requests: out of the inbox, admitted in their order, then performed and published side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::domain::request::Received;
use crate::engine::{self, Admitted, Prices};
use crate::ports::inbox::{Batch, Inbox};
use crate::runtime::metrics::Stage;

use super::waiting::{Places, Sender};
use super::{Context, PAUSES, observe};

/// Batches that are read while one is being admitted: what the journal then takes together is the
/// admission of one batch and the answers of the one before.
const READ_AHEAD: usize = 1;

/// Entries that this worker owns, with their places among those in flight.
struct Taken {
    requests: Vec<Arc<Received>>,
    /// `None` where they could not be read yet.
    prices: Option<Prices>,
    permits: OwnedSemaphorePermit,
    read_at: Instant,
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
        let enough = places.taken() >= context.settings.max_in_flight;
        let next = if enough { inbox.next_abandoned().await } else { inbox.next().await };
        match next {
            Ok(batch) => {
                pause = PAUSES.0;
                if !std::mem::replace(&mut announced, true) {
                    tracing::info!(worker = %context.engine.worker, "ready");
                }
                if !batch.requests.is_empty() {
                    // More than may be in flight is never read at once: the batch size is bounded by it.
                    let count = u32::try_from(batch.requests.len()).unwrap_or(u32::MAX);
                    let Ok(permits) = in_flight.clone().acquire_many_owned(count).await else { return };
                    if taken.send(take(context, batch, permits).await).await.is_err() {
                        return;
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
    Taken { requests, prices, permits, read_at }
}

/// One batch after another: requests are admitted in the order in which they were added.
async fn admit(context: &Context, mut next: mpsc::Receiver<Taken>, waiting: &Sender) {
    while let Some(Taken { requests, prices, permits, read_at }) = next.recv().await {
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
        context.journal.ok("commits");
        context.metrics.order_latency_many(Stage::Admission, read_at.elapsed(), requests.len() as u64);
        tokio::spawn(finish(context.clone(), admitted, permits, waiting.clone()));
    }
}

/// Performs and publishes what was admitted; hands on what has to wait.
pub(super) async fn finish(context: Context, mut admitted: Admitted, held: impl Send, waiting: Sender) {
    let engine = &context.engine;
    let asked = Instant::now();
    let due = admitted.effects() as u64;
    if due > 0 {
        if engine.broker_takes_time() {
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
    let published = Instant::now();
    context.persist("publishing outcomes", || engine.publish(&admitted.batch)).await;
    let ended = admitted.batch.ended().len() as u64;
    context.metrics.order_latency_many(Stage::Finish, published.elapsed(), ended);
    observe(&context.metrics, &admitted.batch, engine.clock.now());
    for item in admitted.waiting {
        waiting.send(item);
    }
    drop(held);
}
