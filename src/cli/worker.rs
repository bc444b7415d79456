//! `worker`

use crate::app::{AppError, Worker};
use crate::runtime::shutdown::Shutdown;
use crate::workers::Ended;

use super::{Call, log_as_configured};

pub(super) async fn run(call: &Call) -> Result<(), AppError> {
    log_as_configured(&call.settings)?;
    let shutdown = Shutdown::new();
    shutdown.listen().map_err(|error| AppError::Io("signals cannot be caught", error))?;
    let worker = Worker::start(&call.settings, &shutdown, true).await?;
    match worker.run(&shutdown).await {
        Ended::Drained => tracing::info!("stopped"),
        Ended::Left => tracing::warn!("stopped; something was left for other workers"),
        Ended::Broken => return Err(AppError::Failed("a loop of the worker ended: see the log".to_owned())),
    }
    Ok(())
}
