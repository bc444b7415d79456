//! Requests: out of the inbox, admitted in their order, then performed and published side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::request::Received;
use crate::engine::Admitted;
use crate::ports::inbox::{Batch, Inbox};
use crate::runtime::metrics::Stage;

use super::waiting::{Sender, Waits};
use super::{Context, PAUSES, observe};

pub(super) async fn run(
    context: Context,
    mut inbox: Box<dyn Inbox>,
    in_flight: Arc<Semaphore>,
    waiting: Sender,
) {
    let mut pause = PAUSES.0;
    let mut announced = false;
    while !context.shutdown.is_cancelled() {
        match inbox.next().await {
            Ok(batch) => {
                pause = PAUSES.0;
                if !std::mem::replace(&mut announced, true) {
                    tracing::info!(worker = %context.engine.worker, "ready");
                }
                if !batch.requests.is_empty() {
                    take(&context, batch, &in_flight, &waiting).await;
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

async fn take(context: &Context, batch: Batch, in_flight: &Arc<Semaphore>, waiting: &Sender) {
    let count = u32::try_from(batch.requests.len()).unwrap_or(u32::MAX);
    if batch.reclaimed {
        context.metrics.reclaimed(u64::from(count));
        for received in &batch.requests {
            tracing::info!(entry_id = %received.key.entry, deliveries = received.deliveries, "request taken over");
        }
    }
    // More than may be in flight is never read at once: the batch size is bounded by it.
    let Ok(permits) = in_flight.clone().acquire_many_owned(count).await else { return };
    let requests: Vec<Arc<Received>> = batch.requests.into_iter().map(Arc::new).collect();
    let started = Instant::now();
    let now = context.engine.clock.now();
    for received in &requests {
        let waited = now.micros() / 1000 - i64::try_from(received.key.entry.ms).unwrap_or(i64::MAX);
        context
            .metrics
            .order_latency(Stage::Queue, Duration::from_millis(u64::try_from(waited).unwrap_or(0)));
    }
    // In this loop, one batch after another: requests are admitted in the order in which they were added.
    let admitted = context.persist("admitting requests", || context.engine.admit(&requests, false)).await;
    context.journal.ok("commits");
    context.metrics.order_latency_many(Stage::Admission, started.elapsed(), u64::from(count));
    tokio::spawn(finish(context.clone(), admitted, permits, waiting.clone()));
}

/// Performs and publishes what was admitted; hands on what has to wait.
pub(super) async fn finish(
    context: Context,
    mut admitted: Admitted,
    mut permits: OwnedSemaphorePermit,
    waiting: Sender,
) {
    let engine = &context.engine;
    let asked = Instant::now();
    if admitted.has_effects() {
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
        if let Some(permit) = permits.split(1) {
            // The receiver lives as long as the worker.
            drop(waiting.send(Waits::new(item, permit)));
        }
    }
}
