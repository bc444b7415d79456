//! Adding a request to the pending stream, and waiting for its outcome.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{RedisError, Value};
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
    /// Wait for the outcome, for so many seconds at most [default: 30]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "30",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    wait: Option<u64>,
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
}

struct Sent {
    entry: String,
    /// The newest outcomes before the request was added.
    completed: String,
    failed: String,
}

/// Adds a request, prints what became of it, as far as that was asked for.
pub(super) async fn run(call: &Call, request: &Request, waiting: &Waiting) -> Result<Ending, AppError> {
    let link = Link::new(&call.settings)?;
    let names = Names::new(&call.settings.streams.prefix, &call.settings.streams.group);
    let sent = send(&link, &names, request).await?;
    let Some(seconds) = waiting.wait else {
        show_added(call, &names, request, &sent)?;
        return Ok(Ending::Done);
    };
    let waited = outcome(&link, &names, &sent, Duration::from_secs(seconds)).await.map_err(|error| {
        AppError::Unreachable(format!(
            "the request was added as entry {} and will be carried out, but its outcome cannot be read: {error}",
            sent.entry
        ))
    })?;
    let Some(outcome) = waited else {
        return late(call, &names, request, &sent, seconds);
    };
    if call.json {
        print::json(&outcome.json())?;
    } else {
        outcome.lines().iter().for_each(|line| print::line(line));
    }
    Ok(outcome.ending())
}

/// The tails of the outcome streams first, so that no outcome can be missed.
async fn send(link: &Link, names: &Names, request: &Request) -> Result<Sent, AppError> {
    let mut connection = link.connect().await?;
    let mut tails = redis::pipe();
    for stream in [&names.completed, &names.failed] {
        tails.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    }
    let tails: Result<(StreamRangeReply, StreamRangeReply), _> = tails.query_async(&mut connection).await;
    let (completed, failed) = tails.map_err(|error| link.fault(&error))?;
    let entry = add(link, names, request, &mut connection).await?;
    let tail = |reply: StreamRangeReply| {
        reply.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |newest| newest.id)
    };
    Ok(Sent { entry, completed: tail(completed), failed: tail(failed) })
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

/// `None`: not within `patience`.
async fn outcome(
    link: &Link,
    names: &Names,
    sent: &Sent,
    patience: Duration,
) -> Result<Option<Outcome>, AppError> {
    let deadline = Instant::now() + patience;
    let mut connection = link.connect_to_block(BLOCK).await?;
    let mut after = HashMap::from([
        (names.completed.clone(), sent.completed.clone()),
        (names.failed.clone(), sent.failed.clone()),
    ]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(BLOCK);
        if left.is_zero() {
            return Ok(None);
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(left.as_millis().max(1).to_string());
        read.arg("STREAMS").arg(&names.completed).arg(&names.failed);
        read.arg(&after[&names.completed]).arg(&after[&names.failed]);
        let reply: Result<Option<StreamReadReply>, _> = read.query_async(&mut connection).await;
        for stream in reply.map_err(|error| link.fault(&error))?.map(|reply| reply.keys).unwrap_or_default() {
            let completed = stream.key == names.completed;
            if let Some(last) = stream.ids.last() {
                after.insert(stream.key, last.id.clone());
            }
            let mut ours = stream.ids.into_iter().filter(|entry| is_of(entry, &sent.entry));
            if let Some(entry) = ours.next() {
                return Ok(Some(Outcome::of(completed, entry)));
            }
        }
    }
}

fn is_of(outcome: &StreamId, entry: &str) -> bool {
    matches!(outcome.map.get("entry_id"), Some(Value::BulkString(id)) if id == entry.as_bytes())
}

fn added(request: &Request, sent: &Sent) -> Fields {
    let mut fields = Fields::default();
    fields.put("entry_id", &sent.entry);
    fields.put_some("client_order_id", request.client_order_id.as_ref());
    fields
}

fn show_added(call: &Call, names: &Names, request: &Request, sent: &Sent) -> Result<(), AppError> {
    if call.json {
        return print::json(&added(request, sent));
    }
    let of =
        request.client_order_id.as_ref().map_or_else(String::new, |id| format!(", client_order_id {id}"));
    print::line(&format!("added to {} as entry {}{of}", names.pending, sent.entry));
    Ok(())
}

fn late(
    call: &Call,
    names: &Names,
    request: &Request,
    sent: &Sent,
    seconds: u64,
) -> Result<Ending, AppError> {
    if call.json {
        let mut fields = added(request, sent);
        fields.put("outcome", &None::<&str>);
        print::json(&fields)?;
    } else {
        show_added(call, names, request, sent)?;
    }
    print::note(&format!(
        "no outcome within {seconds} s; the request stays pending in {} and will be carried out as soon as a worker runs",
        names.pending
    ));
    Ok(Ending::Failed)
}
