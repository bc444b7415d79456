//! `worker`

use crate::app::{AppError, Worker};
use crate::runtime::shutdown::Shutdown;

use super::{Call, log_as_configured};

pub(super) async fn run(call: &Call) -> Result<(), AppError> {
    log_as_configured(&call.settings)?;
    let shutdown = Shutdown::new();
    shutdown.listen().map_err(|error| AppError::Io("signals cannot be caught", error))?;
    let worker = Worker::start(&call.settings, &shutdown, true).await?;
    if !worker.run(&shutdown).await {
        tracing::warn!("something was left for other workers");
    }
    tracing::info!("stopped");
    Ok(())
}
