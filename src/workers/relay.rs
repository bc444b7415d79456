//! Publishes what was journaled and not published, by whoever could not.

use std::time::Duration;

use super::Context;

const EVERY: Duration = Duration::from_secs(1);
/// What is younger is still being published by the worker that journaled it.
const OLDER_THAN_US: i64 = 3_000_000;
/// Orders offered at a time.
const PAGE: u32 = 200;

pub(super) async fn run(context: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        loop {
            match context.engine.relay(OLDER_THAN_US, PAGE).await {
                Ok(0) => break,
                Ok(orders) => tracing::info!(orders, "relayed events that were not published yet"),
                Err(error) => {
                    context.blame("relaying events", &error);
                    break;
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
