//! `migrate`

use serde_json::json;

use crate::app::{self, AppError};

use super::{Call, Ending, journal, print, progress};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution migrate
  order-execution --config /etc/order-execution --env production migrate

A worker does the same when it starts; what is up to date is left alone.
Exit codes: 0 done, 2 wrong configuration, 4 the journal is unreachable.";

pub(super) async fn run(call: &Call) -> Result<Ending, AppError> {
    let place = journal::place(&call.settings).await?;
    let bar = progress::clock("bringing the schema up to date");
    let migrations = app::migrate(&call.settings).await;
    bar.finish_and_clear();
    let migrations = migrations?;
    if call.json {
        print::json(&json!({ "journal": place, "schema_version": migrations }))?;
    } else {
        print::line(&format!("the journal at {place} is at schema version {migrations}"));
    }
    Ok(Ending::Done)
}
