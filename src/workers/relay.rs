//! Publishes what was journaled and not published, by whoever could not: commits, then outcomes. One worker at a
//! time does it for all; that two do it for a moment harms nothing, since the script knows what is out.

use std::time::Duration;

use crate::engine::EngineError;
use crate::planted::{self, Bug};

use super::Context;

const EVERY: Duration = Duration::from_millis(500);
/// What is younger is still being published by the worker that journaled it.
const OLDER_THAN_US: i64 = 3_000_000;
/// Orders, or outcomes, offered at a time.
const PAGE: u32 = 200;

pub(super) async fn run(context: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = relay(&context).await {
            context.blame("relaying what is not published", &error);
        }
    }
}

async fn relay(context: &Context) -> Result<(), EngineError> {
    let engine = &context.engine;
    let older_than_us =
        OLDER_THAN_US.min(i64::try_from(context.settings.claim_idle.as_micros()).unwrap_or(i64::MAX));
    let leads = engine.leads("relay", context.settings.lease()).await?;
    if !leads && !planted::is(Bug::RelayWithoutLease) {
        return Ok(());
    }
    let orders = engine.relay(older_than_us, PAGE).await?;
    if orders > 0 {
        tracing::info!(orders, "relayed events that were not published yet");
    }
    let outcomes = engine.relay_outcomes(older_than_us, PAGE).await?;
    if outcomes > 0 {
        tracing::info!(outcomes, "offered outcomes that were not published yet");
    }
    let changes = engine.relay_control(PAGE).await?;
    if changes > 0 {
        tracing::info!(changes, "told of changes of the trading state and the limits");
    }
    Ok(())
}
