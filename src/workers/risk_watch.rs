//! Looks at what is held while prices move. One worker at a time does it for all.

use std::time::Duration;

use crate::engine::EngineError;

use super::Context;

const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(context: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = watch(&context).await {
            context.blame("watching limits", &error);
        }
    }
}

async fn watch(context: &Context) -> Result<(), EngineError> {
    if context.engine.leads("risk-watch", context.settings.lease()).await? {
        context.engine.watch_risk().await?;
    }
    Ok(())
}
