//! `bench`: throughput and latency of this installation. The closed loop asks how much goes through, beside the
//! raw cost of the same Redis and disk work, measured in the same run; the open loop asks how long an order takes
//! at a given rate.

mod closed;
mod controls;
mod database;
mod floors;
mod load;
mod open;
mod site;

use std::path::PathBuf;

use crate::app::AppError;
use crate::runtime::telemetry;

use super::{Call, Ending};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution bench --private
  order-execution bench --private --rate 2000 --seconds 30
  order-execution bench --private --rate 500 --arrivals poisson --json | jq '.steps[0].latency'
  order-execution bench --private --controls
  order-execution bench --private --sweep --plot latency.svg
  order-execution bench --private --sweep --from 1000 --to 9000 --steps 9 --seconds 20

Open loop (--rate, --sweep): each order has a moment at which it is due, on a schedule that does
not wait for the system, as producers do not. A loop that waits for answers before it sends on (a
closed one) sends nothing during a stall, so that a stall of a second shows as one slow order: that
is coordinated omission. Here latency counts from the moment an order was due, not from when it was
sent, until its outcome has been read, so that a stall of the system, or of the sender, shows in
every order that it held up.

Exit codes: 0 done, 1 an outcome is missing, repeated or a failure, 2 wrong usage,
4 Redis is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// Orders of the closed loop
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000), conflicts_with = "rate")]
    orders: u32,
    /// Symbols that the orders are spread over
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    symbols: u32,
    /// Take a private Redis with an append-only file (everysec) in place of the configured one
    #[arg(long)]
    private: bool,
    /// Folder of the SQLite journal that is measured [default: that of database.url; where that is PostgreSQL, a
    /// database of its own in that server]
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
    /// Compare every control there is with the seven basic limits, in turn, in one run
    #[arg(long, conflicts_with_all = ["rate", "sweep"])]
    controls: bool,
    #[command(flatten)]
    open: open::Open,
}

/// For whoever waits; the result is told on standard output.
fn show_progress(text: &str) {
    super::print::note(text);
}

pub(super) async fn run(call: &Call, bench: &Bench) -> Result<Ending, AppError> {
    telemetry::init("warn", false).map_err(|error| AppError::Usage(error.to_string()))?;
    if bench.open.is_asked_for() {
        return open::run(call, bench).await;
    }
    if bench.controls {
        return controls::run(call, bench).await.map(|()| Ending::Done);
    }
    closed::run(call, bench).await.map(|()| Ending::Done)
}
