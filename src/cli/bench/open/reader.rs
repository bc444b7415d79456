//! Reads the outcomes as a producer would: with blocking reads, on a connection of its own.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadReply};

use crate::app::AppError;
use crate::cli::link::Link;

use super::generator::Job;
use super::schedule::Schedule;
use super::tally::{End, Tally};

/// Outcomes of one read.
const PAGE: usize = 512;
const BLOCK_MS: u64 = 200;
/// With everything sent, nothing came for so long: nothing comes any more.
const SILENCE: Duration = Duration::from_secs(30);
/// All outcomes are to be there after so many times the schedule's length, and `SILENCE` on top.
const LONGEST: u32 = 20;

/// Reads until every order has its outcome, or until no more are to be expected.
pub(super) async fn read(
    job: &Job,
    link: &Link,
    mut connection: MultiplexedConnection,
    start: Instant,
) -> Result<Tally, AppError> {
    let mut tally = Tally::new(job.schedule.clone())?;
    let streams = ["completed", "failed"].map(|name| format!("{}:{name}", job.settings.streams.prefix));
    // The streams are this run's own: they begin empty.
    let mut last = ["0-0".to_owned(), "0-0".to_owned()];
    let mut sent_at = None;
    while tally.missing() > 0 {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(PAGE).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(&streams).arg(&last);
        let reply = command.query_async::<Option<StreamReadReply>>(&mut connection).await;
        let now = start.elapsed();
        for stream in reply.map_err(|error| link.fault(&error))?.map(|reply| reply.keys).unwrap_or_default() {
            let failed = usize::from(stream.key == streams[1]);
            for entry in stream.ids {
                take(&mut tally, &entry, failed == 1, now)?;
                last[failed] = entry.id;
            }
        }
        job.counts.ended.store(tally.ended, Ordering::Relaxed);
        if sent_at.is_none() && job.counts.sent.load(Ordering::Relaxed) == job.schedule.orders() {
            sent_at = Some(now);
        }
        if sent_at.is_some_and(|sent_at| is_over(&job.schedule, now, tally.last_read.max(sent_at))) {
            break;
        }
    }
    Ok(tally)
}

/// `moved`: when the last outcome came, or the last order was sent.
fn is_over(schedule: &Schedule, now: Duration, moved: Duration) -> bool {
    now.saturating_sub(moved) > SILENCE || now > schedule.window().end * LONGEST + SILENCE
}

fn take(tally: &mut Tally, entry: &StreamId, failed: bool, now: Duration) -> Result<(), AppError> {
    let text = |field: &str| entry.get::<String>(field).unwrap_or_default();
    let id = text("client_order_id");
    let end =
        if failed { End::Failed(format!("{}: {}", text("code"), text("error"))) } else { End::Completed };
    let order = id.strip_prefix("bench-").and_then(|number| number.parse().ok());
    if order.is_some_and(|order| tally.take(order, end, now)) {
        return Ok(());
    }
    Err(AppError::Failed(format!(
        "outcome {} is of client order id {id:?}, which this run did not send: does another program use its prefix?",
        entry.id
    )))
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Arrivals, Offer};
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(&Offer {
            rate: 10,
            warmup_seconds: 1,
            seconds: 9,
            arrivals: Arrivals::Uniform,
            seed: 1,
        })
    }

    #[test]
    fn missing_outcomes_are_waited_for_while_others_come_but_not_for_ever() {
        let s = Duration::from_secs;
        for (now, moved, over) in [
            (s(40), s(10), false),
            (s(41), s(10), true),
            // Slow, but they do come.
            (s(229), s(228), false),
            (s(231), s(230), true),
        ] {
            assert_eq!(is_over(&schedule(), now, moved), over, "{now:?} after {moved:?}");
        }
    }
}
