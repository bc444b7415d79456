//! Adding a request to the pending stream, and waiting for its outcome.

use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoConsumersReply, StreamRangeReply, StreamReadReply};
use tokio::time::Instant;

use crate::adapters::clock::SystemClock;
use crate::adapters::redis::Names;
use crate::app::AppError;
use crate::ports::clock::Clock;

use super::fields::Fields;
use super::link::Link;
use super::outcome::Outcome;
use super::{Call, Ending, print};

/// Longest single wait of the reading connection.
const BLOCK: Duration = Duration::from_secs(5);
/// Outcomes read at a time: other requests end meanwhile, too.
const COUNT: usize = 500;

/// How the user wants to wait.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Waiting {
    /// Wait for the outcome, for so many seconds at most (30); of several orders, so long after the newest
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "30",
        help_heading = None::<&'static str>,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    wait: Option<u64>,
}

impl Waiting {
    pub(super) fn patience(&self) -> Option<Duration> {
        self.wait.map(Duration::from_secs)
    }
}

/// What is to be added.
pub(super) struct Request {
    /// `order`, `cancel`, `cancel_all` or `replace`
    pub(super) field: &'static str,
    pub(super) json: String,
    /// The name of the order, where there is one: what is published on `<prefix>:submitted`.
    pub(super) id: Option<String>,
    /// Where the order is known by it.
    pub(super) client_order_id: Option<String>,
    /// The id that was made for an order whose name may have been used before.
    pub(super) made_id: Option<String>,
}

/// Adds a request, prints what became of it, as far as that was asked for.
pub(super) async fn run(call: &Call, request: &Request, waiting: &Waiting) -> Result<Ending, AppError> {
    let link = Link::new(&call.settings)?;
    let names = Names::new(&call.settings.streams.prefix, &call.settings.streams.group);
    let mut connection = link.connect().await?;
    let Some(patience) = waiting.patience() else {
        let entry = add(&link, &names, request, &mut connection).await?;
        show_added(call, &names, request, &entry)?;
        return Ok(Ending::Done);
    };
    let mut outcomes = Outcomes::from_now(&link, &names, BLOCK).await?;
    let entry = add(&link, &names, request, &mut connection).await?;
    let waited = outcomes.of(&entry, patience).await.map_err(|error| {
        AppError::Unreachable(format!(
            "the request was added as entry {entry} and will be carried out, but its outcome cannot be read: {error}"
        ))
    })?;
    let Some(outcome) = waited else {
        late(call, &names, request, &entry, patience, &advice(call, &link, &names).await)?;
        return Ok(Ending::Failed);
    };
    if call.json {
        print::json(&outcome.json())?;
    } else {
        outcome.lines().iter().for_each(|line| print::line(line));
    }
    if outcome.field("code") == Some("UNKNOWN_ORDER") {
        print::note("`order-execution orders --open` lists the orders that can be cancelled or replaced");
    }
    if request.made_id.is_some()
        && outcome.field("order_id").is_some_and(|id| Some(id) != request.made_id.as_deref())
    {
        print::note("this order was there before: nothing was executed again, and this is how it stands");
    }
    Ok(outcome.ending())
}

/// Adds a request and announces it; says as which entry.
pub(super) async fn add(
    link: &Link,
    names: &Names,
    request: &Request,
    connection: &mut MultiplexedConnection,
) -> Result<String, AppError> {
    let mut add = redis::cmd("XADD");
    add.arg(&names.pending).arg("*").arg(request.field).arg(&request.json);
    add.arg("timestamp").arg(SystemClock.now().to_string());
    let added: Result<String, _> = add.query_async(connection).await;
    let entry = added.map_err(|error| not_added(link, request, &error))?;
    if let Some(id) = &request.id {
        let channel = format!("{}:submitted", names.prefix);
        let published = redis::cmd("PUBLISH").arg(channel).arg(id).exec_async(connection).await;
        if let Err(error) = published {
            print::note(&format!("added as entry {entry}, but not announced: {}", link.why(&error)));
        }
    }
    Ok(entry)
}

/// The connection broke after the request was handed over: it may be there.
fn not_added(link: &Link, request: &Request, error: &RedisError) -> AppError {
    if !error.is_io_error() && !error.is_timeout() {
        return AppError::Failed(format!("the request was not added: {}", link.why(error)));
    }
    let again = match &request.client_order_id {
        Some(id) => format!("; it is safe to send it again as {id}"),
        None => String::new(),
    };
    AppError::Unreachable(format!("whether the request was added is not known: {}{again}", link.why(error)))
}

/// The streams of outcomes, from some moment on.
pub(super) struct Outcomes {
    connection: MultiplexedConnection,
    link: Link,
    streams: [String; 2],
    after: [String; 2],
}

impl Outcomes {
    /// From what is the newest outcome now: a request that is added later has its outcome behind it. `longest`: how
    /// long a single read may block.
    pub(super) async fn from_now(link: &Link, names: &Names, longest: Duration) -> Result<Self, AppError> {
        let mut connection = link.connect_to_block(longest).await?;
        let streams = [names.completed.clone(), names.failed.clone()];
        let mut tails = redis::pipe();
        for stream in &streams {
            tails.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let read: Result<(StreamRangeReply, StreamRangeReply), _> = tails.query_async(&mut connection).await;
        let (completed, failed) = read.map_err(|error| link.fault(&error))?;
        let tail = |reply: StreamRangeReply| {
            reply.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |newest| newest.id)
        };
        Ok(Self { connection, link: link.clone(), streams, after: [tail(completed), tail(failed)] })
    }

    /// The next outcomes, of whichever requests; none where none came within `block`. `None`: those that are there.
    pub(super) async fn next(&mut self, block: Option<Duration>) -> Result<Vec<Outcome>, AppError> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT);
        if let Some(block) = block {
            read.arg("BLOCK").arg(block.as_millis().max(1).to_string());
        }
        read.arg("STREAMS").arg(&self.streams).arg(&self.after);
        let reply: Result<Option<StreamReadReply>, _> = read.query_async(&mut self.connection).await;
        let reply = reply.map_err(|error| self.link.fault(&error))?;
        let mut outcomes = Vec::new();
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            let nth = usize::from(stream.key != self.streams[0]);
            if let Some(last) = stream.ids.last() {
                self.after[nth].clone_from(&last.id);
            }
            outcomes.extend(stream.ids.into_iter().map(|entry| Outcome::of(nth == 0, entry)));
        }
        Ok(outcomes)
    }

    /// The outcome of one request; `None`: not within `patience`.
    async fn of(&mut self, entry: &str, patience: Duration) -> Result<Option<Outcome>, AppError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(BLOCK);
            if left.is_zero() {
                return Ok(None);
            }
            let read = self.next(Some(left)).await?;
            if let Some(ours) = read.into_iter().find(|outcome| outcome.field("entry_id") == Some(entry)) {
                return Ok(Some(ours));
            }
        }
    }
}

/// What may help where an outcome is late: nothing more to say while a worker is alive.
pub(super) async fn advice(call: &Call, link: &Link, names: &Names) -> String {
    match is_served(call, link, names).await {
        Some(false) => ": no worker is alive, so start one: `order-execution worker`".to_owned(),
        Some(true) => {
            "; a worker is alive: `order-execution check` and its /health/ready tell what it waits for"
                .to_owned()
        }
        None => String::new(),
    }
}

/// Whether a consumer of the group has a heartbeat; `None`: Redis does not say.
async fn is_served(call: &Call, link: &Link, names: &Names) -> Option<bool> {
    let mut connection = link.connect().await.ok()?;
    let mut consumers = redis::cmd("XINFO");
    consumers.arg("CONSUMERS").arg(&names.pending).arg(&call.settings.streams.group);
    let found: Result<StreamInfoConsumersReply, RedisError> = consumers.query_async(&mut connection).await;
    let beats: Vec<String> = match found {
        Ok(found) => found.consumers.iter().map(|consumer| names.heartbeat(&consumer.name)).collect(),
        // Neither the stream nor the group: no worker was ever there.
        Err(error) if error.is_io_error() || error.is_timeout() => return None,
        Err(_) => return Some(false),
    };
    if beats.is_empty() {
        return Some(false);
    }
    let alive: u64 = redis::cmd("EXISTS").arg(beats).query_async(&mut connection).await.ok()?;
    Some(alive > 0)
}

fn added(request: &Request, entry: &str) -> Fields {
    let mut fields = Fields::default();
    fields.put("entry_id", entry);
    fields.put_some("client_order_id", request.client_order_id.as_ref());
    fields
}

fn show_added(call: &Call, names: &Names, request: &Request, entry: &str) -> Result<(), AppError> {
    if call.json {
        return print::json(&added(request, entry));
    }
    let of =
        request.client_order_id.as_ref().map_or_else(String::new, |id| format!(", client_order_id {id}"));
    print::line(&format!("added to {} as entry {entry}{of}", names.pending));
    Ok(())
}

fn late(
    call: &Call,
    names: &Names,
    request: &Request,
    entry: &str,
    patience: Duration,
    advice: &str,
) -> Result<(), AppError> {
    if call.json {
        let mut fields = added(request, entry);
        fields.put("outcome", &None::<&str>);
        print::json(&fields)?;
    } else {
        show_added(call, names, request, entry)?;
    }
    print::note(&format!(
        "no outcome within {} s; the request stays pending in {} and will be carried out{advice}",
        patience.as_secs(),
        names.pending
    ));
    Ok(())
}
