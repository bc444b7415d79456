//! The connection that writes. Transactions of several workers go on side by side, but for what they share: each locks
//! the symbols that it is about, all of them in one order, before it reads, and so decides on what nobody changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row as _};
use tokio::time::Instant;

use crate::adapters::journal::recent::Recent;
use crate::adapters::journal::rows::{self, signed};
use crate::adapters::journal::store::{Failure, Holder, Store};
use crate::domain::control::Control;
use crate::domain::ids::IdSource;
use crate::domain::ledger::{Keys, Ledger, Wanted};
use crate::domain::time::Timestamp;
use crate::domain::trading_state::Scope;
use crate::ports::clock::Clock;
use crate::ports::publisher::{OutcomeKey, Published};

use super::append::{RACED, append};
use super::connect::{assert_durable, connect, timed_out, within};
use super::load::{Known, by_outcome, load};
use super::{Timekeeper, Timeouts, control};

/// Between attempts to connect: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often a transaction that turns out to be about more symbols than it has locked begins again.
const MAX_LOCK_ROUNDS: usize = 5;
/// The number under which what holds for all orders is locked; those of symbols begin with their digests.
const CONTROL_LOCK: i64 = 0x6f65_5f63_6f6e_7472;
/// A connection that cannot even roll back by then is given up; the server rolls back without being asked.
const ROLLBACK_BOUND: Duration = Duration::from_secs(1);
/// Between questions whether a transaction has ended.
const STATUS_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct PgStore {
    options: PgConnectOptions,
    name: String,
    timeouts: Timeouts,
    time: Timekeeper,
    clock: Arc<dyn Clock>,
    conn: Option<PgConnection>,
    /// The connection was made since the last transaction: perhaps to a server that lost some.
    is_new: bool,
    /// Of the transaction under way, or of the last one.
    transaction: Option<String>,
    known: Known,
    /// As it held in the transaction before.
    control: Arc<Control>,
    /// No attempt to connect before then.
    not_before: Option<Instant>,
    pause: Duration,
}

fn lost() -> sqlx::Error {
    sqlx::Error::Protocol("the connection was lost".to_owned())
}

/// The number under which a symbol, or a scope that adds up over symbols, is locked: the same in every worker of every
/// version.
fn lock_key(scope: &Scope) -> i64 {
    let (kind, name) = scope.columns();
    let digest = Sha256::digest(format!("order-execution {kind} {name}"));
    digest.iter().take(8).fold(0_i64, |key, byte| (key << 8) | i64::from(*byte))
}

impl PgStore {
    pub(super) fn new(
        options: PgConnectOptions,
        name: String,
        conn: PgConnection,
        timeouts: Timeouts,
        time: Timekeeper,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            options,
            name,
            timeouts,
            time,
            clock,
            conn: Some(conn),
            is_new: true,
            transaction: None,
            known: Known::new(),
            control: Arc::default(),
            not_before: None,
            pause: PAUSES.0,
        }
    }

    /// A connection lost is made again, with pauses that grow.
    async fn connected(&mut self) -> Result<(), sqlx::Error> {
        if self.conn.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            tokio::time::sleep_until(at).await;
        }
        match connect(&self.options, self.timeouts.connect).await {
            Ok(conn) => {
                tracing::info!(database = self.name, "connected again");
                (self.conn, self.is_new) = (Some(conn), true);
                self.control = Arc::default();
                (self.not_before, self.pause) = (None, PAUSES.0);
                Ok(())
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSES.1);
                Err(error)
            }
        }
    }

    fn conn(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.conn.as_mut().ok_or_else(lost)
    }

    /// One statement after another must not take longer than the server itself allows one.
    const fn bound(&self) -> Duration {
        self.timeouts.answer()
    }

    /// Takes the lock of what holds for all orders, which only whoever changes that does not share, then those of
    /// symbols and of what adds up over them, all in the order of their numbers; then it is now.
    async fn lock(&mut self, scopes: &BTreeSet<Scope>, changes_all: bool) -> Result<Timestamp, sqlx::Error> {
        let mut keys: Vec<i64> = scopes.iter().map(lock_key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.insert(0, CONTROL_LOCK);
        // OFFSET keeps the planner from leaving out what nobody reads.
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us, \
                   pg_current_xact_id()::text AS transaction \
                   FROM (SELECT count(*) FROM (SELECT CASE WHEN k = $2 AND NOT $3 THEN pg_advisory_xact_lock_shared(k) \
                   ELSE pg_advisory_xact_lock(k) END FROM unnest($1::bigint[]) AS k OFFSET 0) AS l) \
                   AS locked";
        let query = sqlx::query(sql).bind(keys).bind(CONTROL_LOCK).bind(changes_all);
        let bound = self.bound();
        let row = within(bound, "locking", query.fetch_one(self.conn()?)).await?;
        self.transaction = Some(row.try_get("transaction")?);
        Ok(match &self.time {
            Timekeeper::Database => Timestamp::from_micros(row.try_get("now_us")?),
            Timekeeper::Given(clock) => clock.now(),
        })
    }

    /// What the limits of the transaction before want to know for these inputs: a first guess.
    fn wanted_before(&self, keys: &Keys) -> Wanted {
        let mut before = Ledger::new(Timestamp::from_micros(0), IdSource::new(uuid::Uuid::nil()));
        before.control = self.control.clone();
        before.wanted(keys)
    }

    async fn now_us(&mut self) -> Result<i64, sqlx::Error> {
        if let Timekeeper::Given(clock) = &self.time {
            return Ok(clock.now().micros());
        }
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let bound = self.bound();
        within(bound, "the time", sqlx::query_scalar(sql).fetch_one(self.conn()?)).await
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let bound = self.bound();
        within(bound, sql, sqlx::query(sql).execute(self.conn()?)).await.map(drop)
    }

    async fn start(&mut self) -> Result<(), sqlx::Error> {
        // Each statement sees what was committed before it: after the locks, all that they protect.
        self.run("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// Waits until the last transaction is committed or not: its COMMIT may still be on its way to the disk.
    async fn ended(&mut self) -> Result<(), sqlx::Error> {
        let Some(transaction) = self.transaction.clone() else { return Ok(()) };
        let bound = self.bound();
        let until = Instant::now() + bound;
        loop {
            let sql = "SELECT pg_xact_status($1::text::xid8)";
            let query = sqlx::query_scalar::<_, Option<String>>(sql).bind(&transaction);
            match within(bound, "pg_xact_status", query.fetch_one(self.conn()?)).await {
                Ok(Some(status)) if status == "in progress" => {}
                // Another server than the one that had it does not know its number.
                Ok(_) | Err(sqlx::Error::Database(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
            if Instant::now() > until {
                return Err(timed_out("the end of the last transaction", bound));
            }
            tokio::time::sleep(STATUS_PAUSE).await;
        }
    }

    /// By what it would have added.
    async fn is_there(&mut self, ledger: &Ledger) -> Result<bool, sqlx::Error> {
        let bound = self.bound();
        if let Some(commit) = ledger.changes.commits.first() {
            let events = commit.events_json().map_err(|error| sqlx::Error::Encode(error.into()))?;
            let sql = "SELECT EXISTS (SELECT 1 FROM order_commits WHERE order_id = $1 AND first_version = $2 AND events = $3)";
            let query = sqlx::query_scalar(sql)
                .bind(commit.order_id.to_string())
                .bind(signed(commit.first_version()))
                .bind(events.to_string());
            return within(bound, "reading a commit", query.fetch_one(self.conn()?)).await;
        }
        // Without an event there is nothing that tells this transaction from one of another worker.
        within(bound, "reading a change", control::is_there(self.conn()?, ledger)).await
    }

    async fn settled(&mut self, ledger: &Ledger) -> Result<bool, sqlx::Error> {
        self.connected().await?;
        self.ended().await?;
        // A server that crashed may have given the number of a transaction that it lost to another one: only what
        // was added tells for certain.
        self.is_there(ledger).await
    }
}

impl Store for PgStore {
    fn name(&self) -> &str {
        &self.name
    }

    async fn begin(&mut self) -> Result<bool, sqlx::Error> {
        self.transaction = None;
        self.connected().await?;
        if let Err(error) = self.start().await {
            // It was idle, and may be gone since; nothing was asked of it yet.
            tracing::info!(%error, database = self.name, "the connection is lost");
            self.conn = None;
            self.connected().await?;
            self.start().await?;
        }
        Ok(std::mem::take(&mut self.is_new))
    }

    async fn load(&mut self, keys: &Keys, recent: &Recent) -> Result<Ledger, sqlx::Error> {
        // What orders trade is what transactions lock; `load` tells of those that are not known here.
        let mut locked: BTreeSet<Scope> = recent.symbols(keys).into_iter().map(Scope::Symbol).collect();
        locked.extend(self.wanted_before(keys).sums);
        for _ in 0..MAX_LOCK_ROUNDS {
            let now = self.lock(&locked, keys.control).await?;
            let mut ledger = Ledger::new(now, IdSource::new(self.clock.uuid()));
            ledger.worker_now = self.clock.now();
            let bound = self.timeouts.batch();
            let control = control::load(self.conn.as_mut().ok_or_else(lost)?, &mut self.control);
            ledger.control = within(bound, "reading what holds for all orders", control).await?;
            self.known = within(bound, "loading", load(self.conn()?, keys, recent, &mut ledger)).await?;
            let before = locked.len();
            locked.extend(ledger.wanted(keys).shared());
            if locked.len() == before {
                return Ok(ledger);
            }
            // Locks are taken in one order, so that nobody waits in a circle: those held are let go of first.
            self.run("ROLLBACK").await?;
            self.start().await?;
        }
        Err(sqlx::Error::InvalidArgument(RACED.to_owned()))
    }

    async fn append(&mut self, ledger: &Ledger) -> Result<(), sqlx::Error> {
        let known = std::mem::take(&mut self.known);
        let bound = self.timeouts.batch();
        within(bound, "appending", append(self.conn()?, ledger, &known)).await
    }

    async fn mark(&mut self, marks: &Published) -> Result<Vec<OutcomeKey>, sqlx::Error> {
        let bound = self.timeouts.batch();
        if !marks.orders.is_empty() {
            // Another transaction that marks the same is not waited for: its worker may be frozen.
            let sql = "DELETE FROM outbox_commits WHERE seq = ANY(ARRAY(SELECT b.seq \
                       FROM unnest($1::text[], $2::bigint[]) AS k (id, version) \
                       JOIN order_commits c ON c.order_id = k.id AND c.version <= k.version \
                       JOIN outbox_commits b ON b.seq = c.seq FOR UPDATE OF b SKIP LOCKED))";
            let ids: Vec<String> = marks.orders.iter().map(|(id, _)| id.to_string()).collect();
            let versions: Vec<i64> = marks.orders.iter().map(|(_, version)| signed(*version)).collect();
            let query = sqlx::query(sql).bind(ids).bind(versions);
            within(bound, "marking", query.execute(self.conn()?)).await?;
        }
        if !marks.control.is_empty() {
            let sql = "DELETE FROM outbox_control WHERE seq = ANY(ARRAY(SELECT seq FROM outbox_control \
                       WHERE seq = ANY($1) FOR UPDATE SKIP LOCKED))";
            let numbers: Vec<i64> = marks.control.iter().copied().map(signed).collect();
            within(bound, "marking", sqlx::query(sql).bind(numbers).execute(self.conn()?)).await?;
        }
        if !marks.outcomes.is_empty() {
            let sql = "DELETE FROM outbox_outcomes WHERE seq = ANY(ARRAY(SELECT b.seq \
                       FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS k (lane, ms, seq, hash) \
                       JOIN outcomes o ON o.lane = k.lane AND o.entry_ms = k.ms AND o.entry_seq = k.seq AND o.hash = k.hash \
                       JOIN outbox_outcomes b ON b.seq = o.seq FOR UPDATE OF b SKIP LOCKED))";
            let query = by_outcome(sqlx::query(sql), &marks.outcomes);
            let marked = within(bound, "marking", query.execute(self.conn()?)).await?;
            if marked.rows_affected() < marks.outcomes.len() as u64 {
                return self.left(&marks.outcomes).await;
            }
        }
        Ok(Vec::new())
    }

    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run("COMMIT").await
    }

    async fn rollback(&mut self) {
        let Some(conn) = self.conn.as_mut() else { return };
        let ended = within(ROLLBACK_BOUND, "ROLLBACK", sqlx::query("ROLLBACK").execute(&mut *conn)).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "rollback");
            self.conn = None;
        }
    }

    async fn is_committed(&mut self, ledger: &Ledger) -> bool {
        // Whatever answered the COMMIT wrongly is not asked again.
        if let Some(conn) = self.conn.take() {
            drop(within(ROLLBACK_BOUND, "closing", conn.close()).await);
        }
        let until = Instant::now() + self.timeouts.answer();
        loop {
            match self.settled(ledger).await {
                Ok(committed) => return committed,
                Err(error) if Instant::now() < until => {
                    tracing::debug!(%error, "asking what became of a commit");
                    self.conn = None;
                    tokio::time::sleep(PAUSES.0).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "what became of a commit is not known: its inputs are tried again");
                    self.conn = None;
                    return false;
                }
            }
        }
    }

    async fn touch(&mut self) -> Result<(), sqlx::Error> {
        // The server's configuration may have changed since this connection was made.
        let bound = self.bound();
        within(bound, "reading its settings", assert_durable(self.conn()?)).await?;
        // A transaction that changes nothing does not wait for the disk: this one writes a row, and seldom one that
        // another worker writes, who may be frozen meanwhile.
        let sql = "INSERT INTO leases (name, owner, epoch, until_us) VALUES ('probe ' || pg_backend_pid() % 100, '', 0, 0) \
                   ON CONFLICT (name) DO UPDATE SET epoch = leases.epoch + 1";
        self.run(sql).await
    }

    async fn holder(&mut self, name: &str) -> Result<Option<Holder>, sqlx::Error> {
        self.connected().await?;
        let held = self.held(name).await;
        // Between transactions a connection that fails is not used again.
        if held.is_err() {
            self.conn = None;
        }
        held
    }

    async fn take_lease(&mut self, name: &str, owner: &str, lasts_us: i64) -> Result<bool, sqlx::Error> {
        let sql = "INSERT INTO leases (name, owner, epoch, until_us) VALUES ($1, $2, 1, $3) ON CONFLICT (name) DO UPDATE \
                   SET epoch = leases.epoch + (leases.owner <> $2)::int, owner = $2, until_us = $3 \
                   WHERE leases.owner = $2 OR leases.until_us < $4";
        let now_us = self.now_us().await?;
        let query =
            sqlx::query(sql).bind(name).bind(owner).bind(now_us.saturating_add(lasts_us)).bind(now_us);
        let bound = self.bound();
        let taken = within(bound, "a lease", query.execute(self.conn()?)).await?;
        Ok(taken.rows_affected() > 0)
    }

    fn classify(error: sqlx::Error) -> Failure {
        match &error {
            sqlx::Error::InvalidArgument(why) if why == RACED => Failure::Raced(why.clone()),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // unique_violation, serialization_failure, deadlock_detected: the other one went through.
                Some("23505" | "40001" | "40P01") => Failure::Raced(error.to_string()),
                // query_canceled: the time of a statement is up. (A lock that somebody else holds is waited for, in order, however few want it.)
                Some("57014") => Failure::TimedOut(error),
                // A value that cannot be stored, violates a constraint, or is beyond a limit of the server (54…) is
                // its input's fault.
                Some(code) if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => {
                    Failure::Inputs(error.to_string())
                }
                _ => Failure::Database(error),
            },
            sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => {
                Failure::TimedOut(error)
            }
            // A row that cannot be read: only what needs it fails.
            sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Failure::Inputs(error.to_string())
            }
            _ => Failure::Database(error),
        }
    }
}

impl PgStore {
    /// Outcomes that are in the outbox although this transaction has marked them: another one is about to, or not.
    async fn left(&mut self, keys: &[OutcomeKey]) -> Result<Vec<OutcomeKey>, sqlx::Error> {
        let sql = "SELECT o.lane, o.entry_ms, o.entry_seq, o.hash \
                   FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS k (lane, ms, seq, hash) \
                   JOIN outcomes o ON o.lane = k.lane AND o.entry_ms = k.ms AND o.entry_seq = k.seq AND o.hash = k.hash \
                   JOIN outbox_outcomes b ON b.seq = o.seq";
        let bound = self.bound();
        let query = by_outcome(sqlx::query(sql), keys);
        let found = within(bound, "marking", query.fetch_all(self.conn()?)).await?;
        found.iter().map(|row| Ok((rows::request_key(row)?, rows::hash(row, "hash")?))).collect()
    }

    async fn held(&mut self, name: &str) -> Result<Option<Holder>, sqlx::Error> {
        let now_us = self.now_us().await?;
        let sql = "SELECT owner, until_us FROM leases WHERE name = $1";
        let bound = self.bound();
        let query = sqlx::query_as::<_, (String, i64)>(sql).bind(name);
        let held = within(bound, "a lease", query.fetch_optional(self.conn()?)).await?;
        Ok(held.map(|(owner, until)| Holder { owner, left_us: until.saturating_sub(now_us) }))
    }
}
