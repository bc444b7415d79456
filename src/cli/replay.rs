//! `replay`

use serde_json::json;

use crate::app::AppError;
use crate::engine::replay;

use super::{Call, Ending, journal, print, progress};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution replay
  order-execution replay --json | jq -r '.differences[]'

Changes nothing. Meant for a journal at rest: what a worker writes meanwhile may show as a
difference.
Exit codes: 0 if and only if all are equal, 1 something differs, 2 wrong configuration, 4 the
journal is unreachable.";

pub(super) async fn run(call: &Call) -> Result<Ending, AppError> {
    let reader = journal::open(&call.settings).await?;
    let bar = progress::clock("rebuilding every order from its events");
    let report = replay::replay(&*reader).await;
    bar.finish_and_clear();
    let report = report?;
    let (told, more) = (report.differences.len(), report.more_differences);
    if call.json {
        print::json(&json!({
            "equal": report.is_equal(),
            "orders": report.orders,
            "events": report.events,
            "positions": report.positions,
            "differences": report.differences,
            "more_differences": more,
        }))?;
    } else {
        let (orders, events, positions) = (report.orders, report.events, report.positions);
        let verdict = if report.is_equal() {
            "every projection equals what its events say".to_owned()
        } else {
            format!("{} differences", told as u64 + more)
        };
        print::line(&format!("{orders} orders, {events} events, {positions} positions: {verdict}"));
        report.differences.iter().for_each(|difference| print::line(&format!("  {difference}")));
        if more > 0 {
            print::line(&format!("  and {more} more"));
        }
    }
    Ok(if report.is_equal() { Ending::Done } else { Ending::Failed })
}
