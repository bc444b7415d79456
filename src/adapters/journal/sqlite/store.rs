//! The connection that writes. SQLite has one writer at a time: a transaction takes the file's lock at its beginning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;

use crate::adapters::journal::recent::Recent;
use crate::adapters::journal::rows::signed;
use crate::adapters::journal::store::{Failure, Holder, Store};
use crate::domain::control::Control;
use crate::domain::ids::IdSource;
use crate::domain::ledger::{Keys, Ledger};
use crate::ports::clock::Clock;
use crate::ports::publisher::{OutcomeKey, Published};

use super::LOCK_WAIT;
use super::append::Statements;
use super::{control, load};

pub(super) struct SqliteStore {
    pub(super) conn: SqliteConnection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) statements: Statements,
    pub(super) name: String,
    /// As it held in the transaction before.
    pub(super) control: Arc<Control>,
}

impl Store for SqliteStore {
    fn name(&self) -> &str {
        &self.name
    }

    async fn begin(&mut self) -> Result<bool, sqlx::Error> {
        let started = Instant::now();
        loop {
            match sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await {
                // A file's connection is never lost.
                Ok(_) => return Ok(false),
                Err(error) if is_busy(&error) && started.elapsed() < LOCK_WAIT => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn load(&mut self, keys: &Keys, recent: &Recent) -> Result<Ledger, sqlx::Error> {
        // After BEGIN IMMEDIATE, so that no transaction commits with an earlier time than one before it.
        let mut ledger = Ledger::new(self.clock.now(), IdSource::new(self.clock.uuid()));
        ledger.control = control::load(&mut self.conn, &mut self.control).await?;
        load::load(&mut self.conn, keys, recent, &mut ledger).await?;
        Ok(ledger)
    }

    async fn append(&mut self, ledger: &Ledger) -> Result<(), sqlx::Error> {
        self.statements.append(&mut self.conn, ledger).await?;
        control::append(&mut self.conn, ledger).await
    }

    async fn mark(&mut self, marks: &Published) -> Result<Vec<OutcomeKey>, sqlx::Error> {
        if !marks.orders.is_empty() {
            let orders: Vec<_> = marks.orders.iter().map(|(id, version)| (id, signed(*version))).collect();
            let sql = "DELETE FROM outbox_commits WHERE seq IN (SELECT c.seq FROM json_each(?) k JOIN order_commits c \
                       ON c.order_id = k.value ->> 0 AND c.version <= k.value ->> 1)";
            sqlx::query(sql).bind(load::json_list(&orders)?).execute(&mut self.conn).await?;
        }
        if !marks.outcomes.is_empty() {
            let columns = marks.outcomes.iter().map(|(key, hash)| load::outcome_columns(key, *hash));
            let keys: Vec<_> = columns.collect();
            let sql = "DELETE FROM outbox_outcomes WHERE seq IN (SELECT o.seq FROM json_each(?) k JOIN outcomes o \
                       ON o.lane = k.value ->> 0 AND o.entry_ms = k.value ->> 1 AND o.entry_seq = k.value ->> 2 \
                       AND lower(hex(o.hash)) = k.value ->> 3)";
            sqlx::query(sql).bind(load::json_list(&keys)?).execute(&mut self.conn).await?;
        }
        control::mark(&mut self.conn, &marks.control).await?;
        // Nobody else writes meanwhile.
        Ok(Vec::new())
    }

    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("COMMIT").execute(&mut self.conn).await.map(drop)
    }

    async fn rollback(&mut self) {
        // After some failures SQLite has rolled back already and says that there is nothing to roll back.
        if let Err(error) = sqlx::query("ROLLBACK").execute(&mut self.conn).await {
            tracing::debug!(%error, "rollback");
        }
    }

    /// The events that it would have added tell.
    async fn is_committed(&mut self, ledger: &Ledger) -> bool {
        let Some(commit) = ledger.changes.commits.first() else {
            return control::is_there(&mut self.conn, ledger).await.unwrap_or(false);
        };
        let Ok(events) = commit.events_json() else { return false };
        let sql =
            "SELECT count(*) FROM order_commits WHERE order_id = ? AND first_version = ? AND events = ?";
        let query = sqlx::query_scalar(sql)
            .bind(commit.order_id.to_string())
            .bind(signed(commit.first_version()))
            .bind(&*events);
        matches!(query.fetch_one(&mut self.conn).await, Ok(1_i64))
    }

    /// Takes the write lock.
    async fn touch(&mut self) -> Result<(), sqlx::Error> {
        let sql = "UPDATE control_revision SET revision = revision WHERE 0";
        sqlx::query(sql).execute(&mut self.conn).await.map(drop)
    }

    async fn holder(&mut self, name: &str) -> Result<Option<Holder>, sqlx::Error> {
        let sql = "SELECT owner, until_us FROM leases WHERE name = ?";
        let held = sqlx::query_as::<_, (String, i64)>(sql).bind(name).fetch_optional(&mut self.conn).await?;
        let now = self.clock.now().micros();
        Ok(held.map(|(owner, until)| Holder { owner, left_us: until.saturating_sub(now) }))
    }

    async fn take_lease(&mut self, name: &str, owner: &str, lasts_us: i64) -> Result<bool, sqlx::Error> {
        let sql = "INSERT INTO leases (name, owner, epoch, until_us) VALUES (?1, ?2, 1, ?3) ON CONFLICT (name) DO UPDATE \
                   SET epoch = epoch + (owner <> ?2), owner = ?2, until_us = ?3 WHERE owner = ?2 OR until_us < ?4";
        let now = self.clock.now();
        let until = now.plus_micros(lasts_us).micros();
        let query = sqlx::query(sql).bind(name).bind(owner).bind(until).bind(now.micros());
        Ok(query.execute(&mut self.conn).await?.rows_affected() > 0)
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
}

/// Another process holds the file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    // SQLITE_BUSY, with whatever it says more in the upper bits.
    database.code().and_then(|code| code.parse::<i64>().ok()).is_some_and(|code| code & 0xff == 5)
}
