//! Adding many orders, and waiting for what becomes of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use crate::adapters::clock::SystemClock;
use crate::adapters::redis::Names;
use crate::app::AppError;
use crate::cli::fields::Fields;
use crate::cli::link::Link;
use crate::cli::outcome::Outcome;
use crate::cli::request::{self, Outcomes};
use crate::cli::{Call, Ending, print, progress};
use crate::ports::clock::Clock;

use super::file::Row;
use super::tally::{Tally, is_repeat};

/// Orders that are added at a time.
const AT_ONCE: usize = 256;
/// Longest single wait, so that Ctrl-C is obeyed soon.
const BLOCK: Duration = Duration::from_millis(500);
const SAFE: &str = "running the same file again is safe: what is there already is not executed twice";

struct Batch<'a> {
    call: &'a Call,
    link: Link,
    names: Names,
    rows: Vec<Row>,
    /// Rows by their entries, while they have no outcome.
    waiting: HashMap<String, usize>,
    tally: Tally,
    bar: ProgressBar,
    /// Outcomes are waited for, and the bar counts them.
    waits: bool,
    stopped: Arc<AtomicBool>,
}

/// Adds every row; with `patience` waits until no outcome has come for so long.
pub(super) async fn run(call: &Call, rows: Vec<Row>, patience: Option<Duration>) -> Result<Ending, AppError> {
    let link = Link::new(&call.settings)?;
    let names = Names::new(&call.settings.streams.prefix, &call.settings.streams.group);
    let connection = link.connect().await?;
    let outcomes = match patience {
        Some(_) => Some(Outcomes::from_now(&link, &names, BLOCK).await?),
        None => None,
    };
    let steps = rows.len() as u64;
    let mut batch = Batch {
        call,
        link,
        names,
        tally: Tally::of(rows.len()),
        rows,
        waiting: HashMap::new(),
        bar: progress::bar(steps, "added"),
        waits: patience.is_some(),
        stopped: on_interrupt(),
    };
    let done = batch.go(connection, outcomes, patience).await;
    batch.bar.finish_and_clear();
    done
}

/// Ctrl-C ends the work between two steps of it: what was added is told.
fn on_interrupt() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let told = stopped.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.store(true, Ordering::Relaxed);
        }
    });
    stopped
}

impl Batch<'_> {
    async fn go(
        &mut self,
        mut connection: MultiplexedConnection,
        mut outcomes: Option<Outcomes>,
        patience: Option<Duration>,
    ) -> Result<Ending, AppError> {
        for first in (0..self.rows.len()).step_by(AT_ONCE) {
            if self.is_stopped() {
                break;
            }
            self.add(first, &mut connection).await?;
            // Outcomes are capped in their streams: they are read while there are more to come.
            if let Some(outcomes) = &mut outcomes {
                while self.read(outcomes, None).await? > 0 {}
            }
        }
        if let (Some(outcomes), Some(patience)) = (&mut outcomes, patience) {
            self.wait(outcomes, patience).await?;
        }
        self.conclude(patience).await
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    async fn add(&mut self, first: usize, connection: &mut MultiplexedConnection) -> Result<(), AppError> {
        let last = (first + AT_ONCE).min(self.rows.len());
        let (channel, now) = (format!("{}:submitted", self.names.prefix), SystemClock.now().to_string());
        let mut pipe = redis::pipe();
        for row in &mut self.rows[first..last] {
            // It is not needed again, and there may be many.
            let json = std::mem::take(&mut row.json);
            pipe.cmd("XADD")
                .arg(&self.names.pending)
                .arg("*")
                .arg("order")
                .arg(json)
                .arg("timestamp")
                .arg(&now);
            pipe.cmd("PUBLISH").arg(&channel).arg(row.id.as_ref().unwrap_or(&row.client_order_id)).ignore();
        }
        let added: Result<Vec<String>, RedisError> = pipe.query_async(connection).await;
        let entries = added.map_err(|error| self.not_added(last - first, &error))?;
        for (entry, nth) in entries.into_iter().zip(first..last) {
            self.tally.added += 1;
            self.waiting.insert(entry, nth);
        }
        if self.waits {
            self.bar.set_message(format!("{} added, with outcome:", self.tally.added));
        } else {
            self.bar.inc((last - first) as u64);
        }
        Ok(())
    }

    /// The connection broke, or Redis refused some: which of them are there is not known.
    fn not_added(&self, tried: usize, error: &RedisError) -> AppError {
        self.bar.finish_and_clear();
        let (added, all, why) = (self.tally.added, self.tally.all, self.link.why(error));
        let text = format!(
            "{why}; {added} of {all} orders were added for sure, of the next {tried} that is not known, the others \
             were not; {SAFE}"
        );
        if error.is_io_error() || error.is_timeout() {
            AppError::Unreachable(text)
        } else {
            AppError::Failed(text)
        }
    }

    /// Takes the outcomes that are there, or come in time; says how many were of this file.
    async fn read(&mut self, outcomes: &mut Outcomes, block: Option<Duration>) -> Result<usize, AppError> {
        let read = outcomes.next(block).await.map_err(|error| {
            self.bar.finish_and_clear();
            AppError::Unreachable(format!(
                "{} of {} orders were added and will be carried out, {} of them have no outcome that was read: \
                 {error}; {SAFE}",
                self.tally.added,
                self.tally.all,
                self.tally.without_outcome()
            ))
        })?;
        let mut ours = 0;
        for outcome in read {
            let Some(nth) = outcome.field("entry_id").and_then(|entry| self.waiting.remove(entry)) else {
                continue;
            };
            ours += 1;
            self.tally.take(&self.rows[nth], &outcome);
            self.tell(nth, &outcome)?;
        }
        self.bar.inc(ours as u64);
        Ok(ours)
    }

    async fn wait(&mut self, outcomes: &mut Outcomes, patience: Duration) -> Result<(), AppError> {
        let mut deadline = Instant::now() + patience;
        while !self.waiting.is_empty() && !self.is_stopped() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if self.read(outcomes, Some(left.min(BLOCK))).await? > 0 {
                deadline = Instant::now() + patience;
            }
        }
        Ok(())
    }

    fn tell(&self, nth: usize, outcome: &Outcome) -> Result<(), AppError> {
        if !self.call.json {
            return Ok(());
        }
        let row = &self.rows[nth];
        let mut document = outcome.json();
        document.put("line", &row.line);
        if is_repeat(row, outcome) {
            document.put("was_there_before", &true);
        }
        print::json(&document)
    }

    /// The requests that have no outcome: those of a file that nobody waits for, and those that are late.
    fn tell_others(&self, waited: bool) -> Result<(), AppError> {
        let mut open: Vec<(usize, &String)> = self.waiting.iter().map(|(entry, nth)| (*nth, entry)).collect();
        open.sort_unstable();
        for (nth, entry) in open {
            let row = &self.rows[nth];
            let mut document = Fields::default();
            document.put("entry_id", entry);
            document.put("client_order_id", &row.client_order_id);
            document.put("line", &row.line);
            if waited {
                document.put("outcome", &None::<&str>);
            }
            print::json(&document)?;
        }
        Ok(())
    }

    async fn conclude(&mut self, patience: Option<Duration>) -> Result<Ending, AppError> {
        self.bar.finish_and_clear();
        let waited = patience.is_some();
        let lines = self.tally.lines(&self.names.prefix, waited);
        if self.call.json {
            self.tell_others(waited)?;
            lines.iter().for_each(|line| print::note(line));
        } else {
            lines.iter().for_each(|line| print::line(line));
        }
        if self.is_stopped() {
            print::note(&format!("stopped; {SAFE}"));
        } else if let Some(patience) = patience.filter(|_| self.tally.without_outcome() > 0) {
            print::note(&format!(
                "no outcome came within {} s of the last; what was added stays pending in {} and will be carried out{}",
                patience.as_secs(),
                self.names.pending,
                request::advice(self.call, &self.link, &self.names).await
            ));
        }
        Ok(if !waited && self.tally.added == self.tally.all { Ending::Done } else { self.tally.ending() })
    }
}
