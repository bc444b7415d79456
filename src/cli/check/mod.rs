//! `check`: everything that a worker depends on, each with what it took to ask it.

mod journal;
mod places;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::app::AppError;

use super::table::{Align, Table};
use super::{Call, Ending, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution check
  order-execution --env production check --json | jq '.checks[] | select(.ok | not)'

Exit codes: 0 all good, 2 the configuration is wrong, 4 something cannot be reached.";

/// What was found of one dependency.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    latency_us: u64,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    environment: &'a str,
    checks: &'a [Check],
}

impl Check {
    /// `found`: what is good, else what is not; and how long the asking took.
    fn new(name: &'static str, (found, took): (Result<String, String>, Duration)) -> Self {
        let ok = found.is_ok();
        let latency_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self { name, ok, latency_us, detail: found.unwrap_or_else(|problem| problem) }
    }
}

pub(super) async fn run(call: &Call) -> Result<Ending, AppError> {
    let settings = &call.settings;
    let checks = [
        Check::new("redis", places::redis(settings).await),
        Check::new("journal", timed(journal::look(settings)).await),
        Check::new("broker", timed(places::broker(settings)).await),
        Check::new("http", timed(places::http(settings)).await),
    ];
    let ok = checks.iter().all(|check| check.ok);
    let environment = settings.app.environment.as_str();
    if call.json {
        print::json(&Report { ok, environment, checks: &checks })?;
    } else {
        print::line(&format!("the configuration of environment {environment} is good"));
        show(&checks);
    }
    Ok(if ok { Ending::Done } else { Ending::Unreachable })
}

async fn timed(asked: impl Future<Output = Result<String, String>>) -> (Result<String, String>, Duration) {
    let started = Instant::now();
    let found = asked.await;
    (found, started.elapsed())
}

fn show(checks: &[Check]) {
    let mut table =
        Table::new(vec![("", Align::Left), ("", Align::Left), ("latency", Align::Right), ("", Align::Left)]);
    for check in checks {
        table.row(vec![
            if check.ok { "ok" } else { "FAILED" }.to_owned(),
            check.name.to_owned(),
            format!("{}.{:02} ms", check.latency_us / 1000, check.latency_us % 1000 / 10),
            check.detail.clone(),
        ]);
    }
    table.print();
}
