//! `failed requeue`

use std::collections::HashSet;
use std::io::IsTerminal;
use std::ops::ControlFlow;

use redis::aio::MultiplexedConnection;

use crate::adapters::redis::{Names, RedisFault, RedisOutcomes, StreamEntry};
use crate::app::AppError;
use crate::cli::fields::Fields;
use crate::cli::link::Link;
use crate::cli::outcome::Outcome;
use crate::cli::request::{self, Request};
use crate::cli::{Call, Ending, journal, print, progress};
use crate::domain::ids::ClientOrderId;
use crate::domain::refusal::Code;
use crate::domain::request::OrderRef;
use crate::domain::status::Status;
use crate::ports::journal::JournalReader;

use super::rebuild::{Again, Rebuilt, rebuild};
use super::{Target, code};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution failed requeue 1767225600000-0
  order-execution failed requeue signal-42 signal-43 --json
  order-execution failed requeue --all --code RISK_STALE_PRICE

An order goes in as it was asked for, under <CLIENT_ORDER_ID>.r<N> with the smallest N that is
free, and is judged anew. A cancel goes in as it was, named by its entry id. Refused are orders
that were executed or may have been.
--all sends each failed order once, however often it is run; by its name an order is sent again each time.
The failed request stays in the stream: it is history.";

/// As many orders go in at once by `--all`, the newest.
const AT_ONCE: usize = 5_000;
/// Up to here nobody needs to be told how far it has come.
const FEW: usize = 100;
/// What the name of a first repetition ends with.
const FIRST: &str = ".r1";

#[derive(Debug, clap::Args)]
pub(super) struct Requeue {
    /// Requests by their entry ids, orders by their client order ids too: the newest that failed under it
    #[arg(value_name = "ENTRY_ID|CLIENT_ORDER_ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Every order that failed with --code and was not sent again yet
    #[arg(long, requires = "code")]
    all: bool,
    /// The failure code that --all means
    #[arg(long, requires = "all", value_parser = code)]
    code: Option<String>,
}

pub(super) async fn run(call: &Call, requeue: &Requeue) -> Result<Ending, AppError> {
    let reader = journal::open(&call.settings).await?;
    let outcomes = super::redis(call).await?.outcomes();
    let found = match &requeue.code {
        Some(code) => of_code(&outcomes, code).await?,
        None => named(&outcomes, &requeue.ids).await?,
    };
    // Before the journal is asked about a name: what has left the stream by then is in the journal.
    let queued = queued(&outcomes).await?;
    let link = Link::new(&call.settings)?;
    let connection = link.connect().await?;
    let names = Names::new(&call.settings.streams.prefix, &call.settings.streams.group);
    let sent_before = requeue.all.then_some(&found.sent_before);
    let mut again = Requeuer { call, reader: &*reader, link, names, connection, queued, sent_before };
    let mut ending = Ending::Done;
    // Each is told on a line of its own as well: where that is seen, a bar would only be in its way.
    let bar = (found.outcomes.len() > FEW && !std::io::stdout().is_terminal())
        .then(|| progress::bar(found.outcomes.len() as u64, "requeued"));
    for outcome in &found.outcomes {
        if !again.requeue(outcome).await? {
            ending = Ending::Refused;
        }
        bar.iter().for_each(|bar| bar.inc(1));
    }
    bar.iter().for_each(indicatif::ProgressBar::finish_and_clear);
    for target in &found.missing {
        ending = Ending::Failed;
        let why = target.is_missing(call);
        if call.json {
            let mut row = Fields::default();
            row.put("error", &why);
            print::json(&row)?;
        } else {
            print::note(&why);
        }
    }
    if requeue.all && found.outcomes.is_empty() {
        print::note("there are no such failed orders");
    }
    if found.more {
        print::note(&format!("the newest {AT_ONCE} were looked at: run it again for the older ones"));
    }
    Ok(ending)
}

#[derive(Default)]
struct Found {
    /// Oldest first: in the sequence in which they were sent.
    outcomes: Vec<Outcome>,
    missing: Vec<Target>,
    /// Names of failed orders that are somebody's first repetition.
    sent_before: HashSet<String>,
    more: bool,
}

/// Every order that failed with this code, the newest under each name.
async fn of_code(outcomes: &RedisOutcomes, code: &str) -> Result<Found, RedisFault> {
    let (mut found, mut seen) = (Found::default(), HashSet::new());
    let look = |entry: StreamEntry| {
        let name = entry.text("client_order_id").map(str::to_owned);
        if let Some(name) = name.as_ref().filter(|name| name.ends_with(FIRST)) {
            found.sent_before.insert(name.clone());
        }
        let wanted = entry.text("code") == Some(code) && entry.text("request") == Some("submit");
        if wanted && name.is_none_or(|name| seen.insert(name)) {
            if found.outcomes.len() < AT_ONCE {
                found.outcomes.push(Outcome::failed(entry));
            } else {
                found.more = true;
            }
        }
        ControlFlow::Continue(())
    };
    outcomes.failed(look).await?;
    found.outcomes.reverse();
    Ok(found)
}

/// The newest of each; a request that is named twice counts once. A client order id stands for the order: a cancel of
/// it that failed is named by its entry.
async fn named(outcomes: &RedisOutcomes, ids: &[String]) -> Result<Found, RedisFault> {
    let mut missing: Vec<Target> = ids.iter().map(|id| Target::of(id)).collect();
    let mut found = Vec::new();
    let look = |entry: StreamEntry| {
        let before = missing.len();
        let is_order = entry.text("request") == Some("submit");
        missing.retain(|target| !(target.is(&entry) && (is_order || matches!(target, Target::Entry(_)))));
        if missing.len() < before {
            found.push(Outcome::failed(entry));
        }
        if missing.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    outcomes.failed(look).await?;
    found.reverse();
    Ok(Found { outcomes: found, missing, ..Found::default() })
}

/// Names of the orders that wait in the stream of requests.
async fn queued(outcomes: &RedisOutcomes) -> Result<HashSet<String>, RedisFault> {
    let mut names = HashSet::new();
    let look = |entry: StreamEntry| {
        let order = entry.text("order").and_then(|json| Fields::parse(json).ok());
        names.extend(order.and_then(|order| order.text("client_order_id")));
        ControlFlow::Continue(())
    };
    outcomes.pending(look).await?;
    Ok(names)
}

struct Requeuer<'a> {
    call: &'a Call,
    reader: &'a dyn JournalReader,
    link: Link,
    names: Names,
    connection: MultiplexedConnection,
    /// Names that wait in the stream of requests.
    queued: HashSet<String>,
    /// With `--all`, which leaves out what was sent again already.
    sent_before: Option<&'a HashSet<String>>,
}

impl Requeuer<'_> {
    /// Sends one again, or tells why not; says whether all is well.
    async fn requeue(&mut self, outcome: &Outcome) -> Result<bool, AppError> {
        let request = match rebuild(outcome, self.call.settings.worker.max_payload_bytes) {
            Err(why) => return self.tell(outcome, Err(why)),
            Ok(Rebuilt::Command { field, json, order }) => {
                let client_order_id = match &order {
                    Some(OrderRef::Client(id)) => Some(id.to_string()),
                    Some(OrderRef::Order(_)) | None => None,
                };
                let id = order.map(|order| match order {
                    OrderRef::Client(id) => id.to_string(),
                    OrderRef::Order(id) => id.to_string(),
                });
                Request { field, json, id, client_order_id, made_id: None }
            }
            Ok(Rebuilt::Order(order)) => {
                if self.was_sent_before(&order).await? {
                    return Ok(true);
                }
                match self.name_of(outcome, &order).await? {
                    Err(why) => return self.tell(outcome, Err(why)),
                    Ok(name) => {
                        self.queued.insert(name.clone());
                        let json = order.under(&name);
                        let (id, client_order_id) = (Some(name.clone()), Some(name));
                        Request { field: "order", json, id, client_order_id, made_id: None }
                    }
                }
            }
        };
        let entry = request::add(&self.link, &self.names, &request, &mut self.connection).await?;
        self.tell(outcome, Ok((&request, entry)))
    }

    /// Whether `--all` sent it before.
    async fn was_sent_before(&self, order: &Again) -> Result<bool, AppError> {
        let Some(failed) = self.sent_before else { return Ok(false) };
        let first = format!("{}{FIRST}", order.name);
        Ok(failed.contains(&first) || !self.is_free(&first).await?)
    }

    async fn is_free(&self, name: &str) -> Result<bool, AppError> {
        let Ok(id) = name.parse::<ClientOrderId>() else { return Ok(true) };
        Ok(!self.queued.contains(name) && self.reader.order(&OrderRef::Client(id)).await?.is_none())
    }

    /// Under which name the order goes in again, or why it does not.
    async fn name_of(&self, outcome: &Outcome, order: &Again) -> Result<Result<String, String>, AppError> {
        if let Some(why) = self.may_be_executed(outcome, &order.name).await? {
            return Ok(Err(why));
        }
        for n in 1_u32.. {
            let name = format!("{}.r{n}", order.name);
            if name.len() > ClientOrderId::MAX_LEN {
                return Ok(Err(format!(
                    "{name} has {} characters, a client_order_id at most {}: submit the order under a name of your own",
                    name.len(),
                    ClientOrderId::MAX_LEN
                )));
            }
            if self.is_free(&name).await? {
                return Ok(Ok(name));
            }
        }
        Ok(Err("every name is taken".to_owned()))
    }

    /// Why the order that failed under this name must not be sent again: the journal is asked, since what failed then
    /// may have been sent anew since, or have turned out to be executed.
    async fn may_be_executed(&self, outcome: &Outcome, name: &str) -> Result<Option<String>, AppError> {
        let id = match name.parse() {
            Ok(id) => id,
            Err(error) => return Ok(Some(format!("client_order_id {name} {error}"))),
        };
        let Some(order) = self.reader.order(&OrderRef::Client(id)).await? else {
            let is_unknown = outcome.field("code") == Some(Code::OutcomeUnknown.as_str());
            return Ok(is_unknown.then(|| {
                format!("whether the broker executed {name} is not known, and the journal does not have it")
            }));
        };
        let state = &order.state;
        Ok(if state.parked {
            Some(format!(
                "order {name} is parked and may have been executed: `order-execution resolve {name}` comes first"
            ))
        } else if state.status != Status::Rejected || !state.filled_quantity.is_zero() {
            Some(format!(
                "order {name} is {}, {} of {} filled: this would be a second order beside it",
                state.status, state.filled_quantity, order.spec.quantity
            ))
        } else {
            None
        })
    }

    /// One line a request.
    fn tell(&self, outcome: &Outcome, done: Result<(&Request, String), String>) -> Result<bool, AppError> {
        let is_done = done.is_ok();
        let (entry_id, failed) = (outcome.field("entry_id"), outcome.field("client_order_id"));
        if self.call.json {
            let mut row = Fields::default();
            row.put("failed_entry_id", &entry_id);
            row.put("failed_client_order_id", &failed);
            match &done {
                Ok((request, entry)) => {
                    row.put("entry_id", entry);
                    row.put_some("client_order_id", request.client_order_id.as_ref());
                }
                Err(why) => row.put("error", why),
            }
            print::json(&row)?;
            return Ok(is_done);
        }
        let what = failed.or(entry_id).unwrap_or("?");
        print::line(&match &done {
            Ok((Request { field: "order", client_order_id: Some(name), .. }, entry)) => {
                format!("{what}  requeued as {name}, entry {entry}")
            }
            Ok((request, entry)) => format!("{what}  {} requeued, entry {entry}", request.field),
            Err(why) => format!("{what}  not requeued: {why}"),
        });
        Ok(is_done)
    }
}
