//! What happens to orders after they were accepted: at the embedded broker, resting orders meet the quotes that moved;
//! another broker's feed is read by one worker at a time.

use std::time::Duration;

use crate::engine::{Batch, EngineError};

use super::{Context, observe};

/// Between two looks at the quotes, or at who reads the feed.
const EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: Context) {
    loop {
        let followed =
            if context.engine.remote().is_some() { feed(&context).await } else { quotes(&context).await };
        match followed {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                context.persist("publishing fills", || context.engine.publish(&batch)).await;
                observe(&context.metrics, &batch, context.engine.clock.now());
            }
            Err(error) => {
                context.blame("following the broker", &error);
                tokio::time::sleep(super::PAUSES.1).await;
            }
        }
    }
}

async fn quotes(context: &Context) -> Result<Batch, EngineError> {
    tokio::time::sleep(EVERY).await;
    context.engine.follow_quotes().await
}

async fn feed(context: &Context) -> Result<Batch, EngineError> {
    // Whoever reads it keeps the lease by asking for it before each read, which is shorter.
    if !context.engine.leads("feed", context.settings.lease()).await? {
        tokio::time::sleep(5 * EVERY).await;
        return Ok(Batch::default());
    }
    Ok(context.engine.follow_feed().await?.unwrap_or_default())
}
