//! The one task that writes: it takes what is waiting, up to a bound, and commits once for all of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use crate::crash::{self, Point};
use crate::domain::decide::{Decision, Input, Rules};
use crate::domain::event::EventKind;
use crate::domain::ids::IdSource;
use crate::domain::ledger::{Keys, Ledger};
use crate::domain::risk::LimitRow;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::journal::{JournalError, JournalObserver};
use crate::ports::publisher::Published;

use super::LOCK_WAIT;
use super::append::Statements;
use super::load;
use super::recent::Recent;
use super::rows::signed;

/// Inputs that one transaction takes at most: bounds both its length and what a failure has to repeat.
const MAX_INPUTS: usize = 1024;
/// Calls that may wait for the writer; more wait in their callers.
pub(super) const MAX_WAITING: usize = 256;

pub(super) type Decided = Vec<Result<Decision, JournalError>>;

pub(super) enum Job {
    Transact { inputs: Vec<Input>, reply: oneshot::Sender<Result<Decided, JournalError>> },
    MarkPublished { published: Published, reply: oneshot::Sender<Result<(), JournalError>> },
    InitLimits { rows: Vec<LimitRow>, reply: oneshot::Sender<Result<bool, JournalError>> },
    Probe { reply: oneshot::Sender<Result<(), JournalError>> },
    Lease { name: String, owner: String, lasts: Duration, reply: oneshot::Sender<Result<bool, JournalError>> },
}

pub(super) struct Writer {
    pub(super) conn: SqliteConnection,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Arc<dyn JournalObserver>,
    pub(super) statements: Statements,
    /// For errors.
    pub(super) name: String,
    /// Marks that wait for the next transaction: losing them costs only a repeated offer.
    pub(super) marks: Published,
    pub(super) recent: Recent,
}

enum Failure {
    /// The database's: nothing was written.
    Database(sqlx::Error),
    /// One of the inputs cannot be decided or written.
    Inputs(String),
}

impl Writer {
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while let Some(first) = jobs.recv().await {
            let mut inputs = weight(&first);
            batch.push(first);
            while inputs < MAX_INPUTS {
                let Ok(job) = jobs.try_recv() else { break };
                inputs += weight(&job);
                batch.push(job);
            }
            self.take(std::mem::take(&mut batch)).await;
        }
        if let Err(error) = self.commit_marks().await {
            tracing::warn!(%error, "the last published marks were not journaled; they will be offered again");
        }
    }

    async fn take(&mut self, jobs: Vec<Job>) {
        let mut callers = Vec::new();
        let mut marked = Vec::new();
        let mut inputs: Vec<Input> = Vec::new();
        for job in jobs {
            match job {
                Job::Transact { inputs: more, reply } => {
                    callers.push((more.len(), reply));
                    inputs.extend(more);
                }
                Job::MarkPublished { published, reply } => {
                    self.marks.orders.extend(published.orders);
                    self.marks.outcomes.extend(published.outcomes);
                    marked.push(reply);
                }
                // A caller that went away needs no answer.
                Job::InitLimits { rows, reply } => drop(reply.send(self.init_limits(&rows).await)),
                Job::Probe { reply } => drop(reply.send(self.probe().await)),
                Job::Lease { name, owner, lasts, reply } => {
                    drop(reply.send(self.lease(&name, &owner, lasts).await));
                }
            }
        }
        if inputs.is_empty() {
            let result = self.commit_marks().await;
            let failed = result.as_ref().err().map(ToString::to_string);
            for reply in marked {
                drop(reply.send(failed.clone().map_or(Ok(()), |why| Err(self.failed(why)))));
            }
            return;
        }
        let mut decided = Vec::with_capacity(inputs.len());
        let result = self.transact(&inputs, &mut decided).await;
        for reply in marked {
            let answer =
                if self.marks.is_empty() { Ok(()) } else { Err(self.failed("not committed".to_owned())) };
            drop(reply.send(answer));
        }
        let mut decided = decided.into_iter();
        for (count, reply) in callers {
            let mine: Decided = decided.by_ref().take(count).collect();
            // A part of the batch may have been committed before the database went away.
            let answer = match &result {
                Err(error) if mine.len() < count => Err(self.unavailable(error)),
                _ => Ok(mine),
            };
            drop(reply.send(answer));
        }
    }

    /// Commits all inputs together; where that fails because of an input, halves them until the
    /// offender stands alone.
    async fn transact(&mut self, inputs: &[Input], decided: &mut Decided) -> Result<(), sqlx::Error> {
        let mut parts = vec![inputs];
        while let Some(part) = parts.pop() {
            let started = Instant::now();
            match self.try_commit(part).await {
                Ok(results) => {
                    decided.extend(results);
                    self.observer.committed(part.len(), started.elapsed());
                }
                Err(Failure::Inputs(why)) if part.len() == 1 => {
                    decided.push(Err(JournalError::Input { why }));
                }
                Err(Failure::Inputs(_)) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
                Err(Failure::Database(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn try_commit(&mut self, inputs: &[Input]) -> Result<Decided, Failure> {
        self.begin().await.map_err(Failure::Database)?;
        let done = self.decide_and_append(inputs).await;
        match done {
            Ok((decided, ledger)) => {
                if let Err(error) = self.commit(crash_points(inputs, &decided)).await {
                    self.rollback().await;
                    // Nobody told us whether it was committed: the events that it would have added tell.
                    if !self.is_committed(&ledger).await {
                        return Err(Failure::Database(error));
                    }
                    tracing::warn!(%error, "the commit was done, though its answer was lost");
                }
                self.marks = Published::default();
                self.recent.take(ledger);
                Ok(decided)
            }
            Err(failure) => {
                self.rollback().await;
                Err(failure)
            }
        }
    }

    async fn decide_and_append(&mut self, inputs: &[Input]) -> Result<(Decided, Ledger), Failure> {
        let mut keys = Keys::default();
        for input in inputs {
            self.rules.keys(input, &mut keys);
        }
        // After BEGIN IMMEDIATE, so that no transaction commits with an earlier time than one before it.
        let mut ledger = Ledger::new(self.clock.now(), IdSource::new(self.clock.uuid()));
        load::load(&mut self.conn, &keys, &self.recent, &mut ledger).await.map_err(classify)?;
        let mut decided = Vec::with_capacity(inputs.len());
        for input in inputs {
            let decision = catch_unwind(AssertUnwindSafe(|| self.rules.decide(&mut ledger, input)))
                .map_err(|panic| Failure::Inputs(panic_text(&*panic)))?;
            decided.push(decision.map_err(|error| JournalError::Input { why: error.to_string() }));
        }
        if !ledger.changes.is_empty() {
            self.statements.append(&mut self.conn, &ledger).await.map_err(classify)?;
        }
        mark(&mut self.conn, &self.marks).await.map_err(Failure::Database)?;
        Ok((decided, ledger))
    }

    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let started = Instant::now();
        loop {
            match sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await {
                Ok(_) => return Ok(()),
                Err(error) if is_busy(&error) && started.elapsed() < LOCK_WAIT => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn commit(&mut self, (before, after): (Point, Point)) -> Result<(), sqlx::Error> {
        crash::point(before);
        if crash::fails(before) {
            return Err(sqlx::Error::Protocol("a test says that the database failed".to_owned()));
        }
        sqlx::query("COMMIT").execute(&mut self.conn).await?;
        crash::point(after);
        if crash::fails(after) {
            return Err(sqlx::Error::Protocol("a test says that the reply was lost".to_owned()));
        }
        Ok(())
    }

    async fn is_committed(&mut self, ledger: &Ledger) -> bool {
        let Some(commit) = ledger.changes.commits.first() else { return false };
        let Ok(events) = commit.events_json() else { return false };
        let sql =
            "SELECT count(*) FROM order_commits WHERE order_id = ? AND first_version = ? AND events = ?";
        let query = sqlx::query_scalar(sql)
            .bind(commit.order_id.to_string())
            .bind(signed(commit.first_version()))
            .bind(&*events);
        matches!(query.fetch_one(&mut self.conn).await, Ok(1_i64))
    }

    async fn rollback(&mut self) {
        // After some failures SQLite has rolled back already and says that there is nothing to roll back.
        if let Err(error) = sqlx::query("ROLLBACK").execute(&mut self.conn).await {
            tracing::debug!(%error, "rollback");
        }
    }

    async fn commit_marks(&mut self) -> Result<(), JournalError> {
        if self.marks.is_empty() {
            return Ok(());
        }
        let marks = std::mem::take(&mut self.marks);
        if let Err(error) = self.write(async |conn, _, _| mark(conn, &marks).await).await {
            self.marks = marks;
            return Err(error);
        }
        Ok(())
    }

    async fn init_limits(&mut self, rows: &[LimitRow]) -> Result<bool, JournalError> {
        self.write(async |conn, statements, now| {
            let known: i64 =
                sqlx::query_scalar("SELECT count(*) FROM risk_limits").fetch_one(&mut *conn).await?;
            if known > 0 {
                return Ok(false);
            }
            statements.insert_limits(conn, rows, "configuration", now.micros()).await?;
            Ok(true)
        })
        .await
    }

    /// Takes the write lock and commits: what fails here fails for orders too.
    async fn probe(&mut self) -> Result<(), JournalError> {
        self.write(async |conn, _, _| {
            sqlx::query("UPDATE risk_limits SET changed_us = changed_us WHERE 0")
                .execute(conn)
                .await
                .map(drop)
        })
        .await
    }

    async fn lease(&mut self, name: &str, owner: &str, lasts: Duration) -> Result<bool, JournalError> {
        let lasts = i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX);
        // Whoever asks often writes seldom.
        let now = self.clock.now().micros();
        let held = sqlx::query_as::<_, (String, i64)>("SELECT owner, until_us FROM leases WHERE name = ?")
            .bind(name);
        let held = held.fetch_optional(&mut self.conn).await.map_err(|error| self.unavailable(&error))?;
        if let Some((holder, until)) = held {
            let is_mine = holder == owner;
            if is_mine && until > now + lasts / 2 || !is_mine && until >= now {
                return Ok(is_mine);
            }
        }
        self.write(async |conn, _, now| {
            let sql = "INSERT INTO leases (name, owner, epoch, until_us) VALUES (?1, ?2, 1, ?3) ON CONFLICT (name) DO UPDATE \
                       SET epoch = epoch + (owner <> ?2), owner = ?2, until_us = ?3 WHERE owner = ?2 OR until_us < ?4";
            let until = now.plus_micros(lasts).micros();
            let query = sqlx::query(sql).bind(name).bind(owner).bind(until).bind(now.micros());
            Ok(query.execute(conn).await?.rows_affected() > 0)
        })
        .await
    }

    async fn write<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection, &Statements, Timestamp) -> Result<T, sqlx::Error>,
    ) -> Result<T, JournalError> {
        let result = async {
            self.begin().await?;
            let now = self.clock.now();
            let value = work(&mut self.conn, &self.statements, now).await?;
            sqlx::query("COMMIT").execute(&mut self.conn).await?;
            Ok(value)
        }
        .await;
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.rollback().await;
                Err(self.unavailable(&error))
            }
        }
    }

    fn failed(&self, why: String) -> JournalError {
        JournalError::Unavailable { what: self.name.clone(), why }
    }

    fn unavailable(&self, error: &sqlx::Error) -> JournalError {
        super::unavailable(&self.name, error)
    }
}

/// Where a test may make this batch's commit fail.
fn crash_points(inputs: &[Input], decided: &Decided) -> (Point, Point) {
    let any = |matches: fn(&Input) -> bool| inputs.iter().any(matches);
    let parks = decided
        .iter()
        .flatten()
        .flat_map(|decision| &decision.commits)
        .any(|commit| commit.events.iter().any(|event| matches!(event.kind, EventKind::Parked(_))));
    if parks {
        (Point::RecordCommitBefore, Point::ParkCommitAfter)
    } else if any(|input| matches!(input, Input::Admit(_))) {
        (Point::AdmissionCommitBefore, Point::AdmissionCommitAfter)
    } else if any(|input| matches!(input, Input::Quote(_) | Input::Facts(_))) {
        (Point::FeedCommitBefore, Point::FeedCommitAfter)
    } else {
        (Point::RecordCommitBefore, Point::RecordCommitAfter)
    }
}

/// Another process holds the file.
fn is_busy(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    // SQLITE_BUSY, with whatever it says more in the upper bits.
    database.code().and_then(|code| code.parse::<i64>().ok()).is_some_and(|code| code & 0xff == 5)
}

fn weight(job: &Job) -> usize {
    match job {
        Job::Transact { inputs, .. } => inputs.len(),
        Job::MarkPublished { .. } | Job::InitLimits { .. } | Job::Probe { .. } | Job::Lease { .. } => 1,
    }
}

/// A constraint that an input violates is the input's fault; all else is the database's.
fn classify(error: sqlx::Error) -> Failure {
    match &error {
        sqlx::Error::Database(database)
            if database.is_unique_violation() || database.is_check_violation() =>
        {
            Failure::Inputs(error.to_string())
        }
        // A row that cannot be read: only what needs it fails.
        sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Failure::Inputs(error.to_string())
        }
        _ => Failure::Database(error),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("deciding panicked: {}", text.unwrap_or("without a message"))
}

/// Takes what is published out of the outboxes.
async fn mark(conn: &mut SqliteConnection, marks: &Published) -> Result<(), sqlx::Error> {
    if !marks.orders.is_empty() {
        let orders: Vec<_> = marks.orders.iter().map(|(id, version)| (id, signed(*version))).collect();
        let sql = "DELETE FROM outbox_commits WHERE seq IN (SELECT c.seq FROM json_each(?) k JOIN order_commits c \
                   ON c.order_id = k.value ->> 0 AND c.version <= k.value ->> 1)";
        sqlx::query(sql).bind(load::json_list(&orders)?).execute(&mut *conn).await?;
    }
    if !marks.outcomes.is_empty() {
        let keys: Vec<_> = marks.outcomes.iter().map(load::request_columns).collect();
        let sql = "DELETE FROM outbox_outcomes WHERE seq IN (SELECT o.seq FROM json_each(?) k JOIN outcomes o \
                   ON o.lane = k.value ->> 0 AND o.entry_ms = k.value ->> 1 AND o.entry_seq = k.value ->> 2)";
        sqlx::query(sql).bind(load::json_list(&keys)?).execute(conn).await?;
    }
    Ok(())
}
