//! `worker`

use crate::app::{AppError, Worker};
use crate::planted;
use crate::runtime::shutdown::Shutdown;
use crate::workers::Ended;

use super::{Call, log_as_configured};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution worker
  ORDER_EXECUTION__HTTP__LISTEN=127.0.0.1:9092 order-execution worker
  order-execution --config /etc/order-execution --env production worker

Ready once /health/ready on http.listen answers 200. Several workers of one machine share the
work; each needs an http.listen of its own. The first signal drains, the second ends it at once.
Exit codes: 0 stopped after a drain, 1 ended by a second signal or by a fault, 2 wrong
configuration, 4 Redis, the journal or the HTTP port cannot be reached.";

pub(super) async fn run(call: &Call) -> Result<(), AppError> {
    log_as_configured(&call.settings)?;
    if let Some(bug) = planted::choose().map_err(AppError::Usage)? {
        tracing::error!(bug = bug.as_str(), "ALARM: this worker is wrong on purpose: {}", bug.what());
    }
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
