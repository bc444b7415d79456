//! `failed`: what failed, and how it gets another chance.

mod rebuild;
mod requeue;

use std::ops::ControlFlow;

use clap::Subcommand;

use crate::adapters::clock::SystemClock;
use crate::adapters::redis::{Redis, StreamEntry};
use crate::app::{self, AppError};
use crate::domain::ids::EntryId;

use super::outcome::Outcome;
use super::table::{Align, Table};
use super::{Call, Ending, orders, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution failed --limit 20
  order-execution failed list --code RISK_STALE_PRICE --json | jq '.[].client_order_id'
  order-execution failed show signal-42
  order-execution failed requeue 1767225600000-0 signal-42
  order-execution failed requeue --all --code RISK_STALE_PRICE

A failed request is named by the entry id that it had as a request, or by its client order id.
list and show read Redis alone; requeue reads the journal, too.
Exit codes: 0 done, 1 there is no such failed request, 2 wrong usage, 3 a request cannot be
requeued, 4 Redis or the journal is unreachable.";

/// As many outcomes of one client order id are shown, the newest.
const SHOWN: usize = 50;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Failed {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The newest failed requests; also without this word
    List(List),
    /// All that is known of one
    Show(Show),
    /// Send requests again: an order under <CLIENT_ORDER_ID>.r<N>
    #[command(after_long_help = requeue::EXAMPLES)]
    Requeue(requeue::Requeue),
}

#[derive(Debug, clap::Args)]
struct List {
    /// As many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Only with this failure code
    #[arg(long, value_parser = code)]
    code: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The request's entry id, or its client order id
    #[arg(value_name = "ENTRY_ID|CLIENT_ORDER_ID")]
    id: String,
}

/// Codes of later versions may be in the stream: what looks like one is taken.
fn code(text: &str) -> Result<String, String> {
    let is_code = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_code.then(|| text.to_ascii_uppercase()).ok_or_else(|| "is not a failure code".to_owned())
}

pub(super) async fn run(call: &Call, failed: &Failed) -> Result<Ending, AppError> {
    match &failed.what {
        None => list(call, &failed.list).await,
        Some(What::List(wanted)) => list(call, wanted).await,
        Some(What::Show(wanted)) => show(call, wanted).await,
        Some(What::Requeue(wanted)) => requeue::run(call, wanted).await,
    }
}

async fn redis(call: &Call) -> Result<Redis, AppError> {
    app::redis(&call.settings, app::consumer_name(&call.settings, &SystemClock)).await
}

async fn list(call: &Call, wanted: &List) -> Result<Ending, AppError> {
    let mut found = Vec::new();
    let look = |entry: StreamEntry| {
        if wanted.code.as_deref().is_none_or(|code| entry.text("code") == Some(code)) {
            found.push(Outcome::failed(entry));
        }
        if found.len() < wanted.limit as usize { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    redis(call).await?.outcomes().failed(look).await?;
    if call.json {
        let rows: Vec<_> = found.iter().map(Outcome::json).collect();
        print::json(&rows)?;
    } else if found.is_empty() {
        print::note(&format!("{}:failed has no such requests", call.settings.streams.prefix));
    } else {
        table(&found);
    }
    Ok(Ending::Done)
}

fn table(found: &[Outcome]) {
    let mut table = Table::new(vec![
        ("time", Align::Left),
        ("entry", Align::Left),
        ("request", Align::Left),
        ("client order id", Align::Left),
        ("code", Align::Left),
        ("error", Align::Left),
    ]);
    for outcome in found {
        let cell = |name: &str| outcome.field(name).unwrap_or("-").to_owned();
        table.row(vec![
            orders::to_seconds(&cell("timestamp")),
            cell("entry_id"),
            cell("request"),
            cell("client_order_id"),
            cell("code"),
            cell("error"),
        ]);
    }
    table.print();
}

async fn show(call: &Call, wanted: &Show) -> Result<Ending, AppError> {
    let target = Target::of(&wanted.id);
    let mut found = Vec::new();
    let look = |entry: StreamEntry| {
        if target.is(&entry) {
            found.push(Outcome::failed(entry));
        }
        if found.len() < target.at_most() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    redis(call).await?.outcomes().failed(look).await?;
    if found.is_empty() {
        return Err(AppError::Failed(target.is_missing(call)));
    }
    for outcome in &found {
        if call.json {
            print::json(&outcome.json())?;
            continue;
        }
        outcome.lines().iter().for_each(|line| print::line(line));
        for name in ["timestamp", "payload", "order"] {
            if let Some(text) = outcome.field(name) {
                // A payload is whatever was sent: nothing of it may steer the terminal.
                let text: String =
                    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
                print::line(&format!("  {name} {text}"));
            }
        }
    }
    Ok(Ending::Done)
}

/// Which failed request is meant. What looks like an entry id is one: an order of such a name is named by its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Entry(String),
    ClientOrderId(String),
}

impl Target {
    fn of(text: &str) -> Self {
        match text.parse::<EntryId>() {
            Ok(id) => Self::Entry(id.to_string()),
            Err(_) => Self::ClientOrderId(text.to_owned()),
        }
    }

    fn is(&self, entry: &StreamEntry) -> bool {
        match self {
            Self::Entry(id) => entry.text("entry_id") == Some(id),
            Self::ClientOrderId(id) => entry.text("client_order_id") == Some(id),
        }
    }

    fn at_most(&self) -> usize {
        match self {
            // A request has one outcome.
            Self::Entry(_) => 1,
            Self::ClientOrderId(_) => SHOWN,
        }
    }

    fn is_missing(&self, call: &Call) -> String {
        let what = match self {
            Self::Entry(id) => format!("the entry id {id}"),
            Self::ClientOrderId(id) => format!("the client order id {id}"),
        };
        format!(
            "{}:failed has no request with {what}; `order-execution failed list` shows what failed, \
             `order-execution orders` what became an order",
            call.settings.streams.prefix
        )
    }
}
