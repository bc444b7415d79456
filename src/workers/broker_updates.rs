//! What happens to orders after they were accepted: resting orders meet the quotes that moved.

use std::time::Duration;

use super::{Context, observe};

/// Between two looks at the quotes.
const EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        match context.engine.follow_quotes().await {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                context.persist("publishing fills", || context.engine.publish(&batch)).await;
                observe(&context.metrics, &batch, context.engine.clock.now());
            }
            Err(error) => {
                context.blame("following quotes", &error);
                tokio::time::sleep(super::PAUSES.1).await;
            }
        }
    }
}
