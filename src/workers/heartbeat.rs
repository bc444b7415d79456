//! Says that this worker lives, and looks how its dependencies do.

use std::time::Duration;

use crate::engine::EngineError;

use super::Context;

/// Between two looks; a heartbeat may be due sooner.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(context: Context) {
    let every = context.settings.heartbeat.min(LOOK);
    let (beats, looks) = (beat(&context, every), probe(&context));
    tokio::join!(beats, looks);
}

async fn beat(context: &Context, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match measure(context).await {
            Ok(()) => context.redis.ok("answers"),
            Err(error) => context.redis.not_ok(error.to_string()),
        }
    }
}

async fn measure(context: &Context) -> Result<(), EngineError> {
    let control = &context.engine.control;
    if context.can_journal() {
        control.heartbeat().await?;
        control.renew(context.settings.claim_idle / 3).await?;
    } else {
        control.ping().await?;
    }
    let depth = control.depth().await?;
    let now_ms = context.engine.clock.now().micros() / 1000;
    let age = depth.oldest.map(|oldest| {
        let ms = now_ms.saturating_sub(i64::try_from(oldest.ms).unwrap_or(i64::MAX));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    });
    context.metrics.queue(depth.waiting, depth.pending, age);
    context.engine.forget_finished().await
}

async fn probe(context: &Context) {
    loop {
        match context.engine.journal.probe().await {
            Ok(()) => context.journal.ok("commits"),
            Err(error) => context.journal.not_ok(error.to_string()),
        }
        tokio::time::sleep(LOOK).await;
    }
}
