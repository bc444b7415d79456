//! What holds for all orders: read once for each revision of it.

use std::sync::Arc;

use sqlx::{SqliteConnection, SqliteExecutor};

use crate::adapters::journal::rows::{self, signed};
use crate::domain::circuit::Circuit;
use crate::domain::control::{Control, ControlEvent};
use crate::domain::ledger::Ledger;
use crate::domain::risk::LimitRow;
use crate::domain::trading_state::Switch;

use crate::domain::time::Timestamp;
use crate::ports::journal::{ControlEntry, RiskCounters};

use super::SqliteJournal;

const SECOND_US: i64 = 1_000_000;

async fn revision(conn: impl SqliteExecutor<'_>) -> Result<u64, sqlx::Error> {
    let query = sqlx::query_scalar::<_, i64>("SELECT revision FROM control_revision");
    query.fetch_one(conn).await.map(i64::cast_unsigned)
}

async fn read(conn: &mut SqliteConnection, revision: u64) -> Result<Control, sqlx::Error> {
    let limits = sqlx::query("SELECT row FROM risk_limits ORDER BY name").fetch_all(&mut *conn).await?;
    let switches = sqlx::query("SELECT event FROM trading_state").fetch_all(&mut *conn).await?;
    let circuits = sqlx::query("SELECT event FROM circuits").fetch_all(&mut *conn).await?;
    rows::control(revision, &limits, &switches, &circuits)
}

/// What holds in this transaction; `known` is what held in the one before.
pub(super) async fn load(
    conn: &mut SqliteConnection,
    known: &mut Arc<Control>,
) -> Result<Arc<Control>, sqlx::Error> {
    let revision = revision(&mut *conn).await?;
    if known.revision != revision || revision == 0 {
        *known = Arc::new(read(conn, revision).await?);
    }
    Ok(known.clone())
}

pub(super) async fn append(conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    for event in &ledger.changes.control {
        let json = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let sql = "INSERT INTO control_events (type, by_whom, why, at_us, event) VALUES (?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(event.name()).bind(event.by()).bind(event.why());
        let seq = query.bind(ledger.now.micros()).bind(json).execute(&mut *conn).await?.last_insert_rowid();
        sqlx::query("INSERT INTO outbox_control (seq) VALUES (?)").bind(seq).execute(&mut *conn).await?;
        match event {
            ControlEvent::TradingState(switch) => put_switch(conn, switch).await?,
            ControlEvent::Limits(change) => put_limits(conn, &change.rows).await?,
            ControlEvent::Circuit(circuit) => put_circuit(conn, circuit).await?,
        }
        sqlx::query("UPDATE control_revision SET revision = revision + 1").execute(&mut *conn).await?;
    }
    Ok(())
}

async fn put_switch(conn: &mut SqliteConnection, switch: &Switch) -> Result<(), sqlx::Error> {
    let json = serde_json::to_string(switch).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let (scope, name) = switch.scope.columns();
    if switch.ends_controls() {
        let sql = "DELETE FROM trading_state WHERE scope = ? AND name = ?";
        sqlx::query(sql).bind(scope).bind(&*name).execute(&mut *conn).await?;
    }
    let sql = "INSERT INTO trading_state (scope, name, control, event) VALUES (?, ?, ?, ?) \
               ON CONFLICT (scope, name, control) DO UPDATE SET event = excluded.event";
    let control = switch.control.map_or("", |code| code.as_str());
    sqlx::query(sql).bind(scope).bind(&*name).bind(control).bind(json).execute(conn).await.map(drop)
}

async fn put_circuit(conn: &mut SqliteConnection, circuit: &Circuit) -> Result<(), sqlx::Error> {
    let json = serde_json::to_string(circuit).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sql = "INSERT INTO circuits (broker, event) VALUES (?, ?) \
               ON CONFLICT (broker) DO UPDATE SET event = excluded.event";
    sqlx::query(sql).bind(circuit.broker.as_str()).bind(json).execute(conn).await.map(drop)
}

async fn put_limits(conn: &mut SqliteConnection, limits: &[LimitRow]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM risk_limits").execute(&mut *conn).await?;
    for row in limits {
        let json = serde_json::to_string(row).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let query =
            sqlx::query("INSERT INTO risk_limits (name, row) VALUES (?, ?)").bind(row.name()).bind(json);
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Whether the first of the changes that this transaction would have made is there.
pub(super) async fn is_there(conn: &mut SqliteConnection, ledger: &Ledger) -> Result<bool, sqlx::Error> {
    let Some(event) = ledger.changes.control.first() else { return Ok(false) };
    let json = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sql = "SELECT EXISTS (SELECT 1 FROM control_events WHERE at_us = ? AND event = ?)";
    sqlx::query_scalar(sql).bind(ledger.now.micros()).bind(json).fetch_one(conn).await
}

/// Takes what is published out of the outbox.
pub(super) async fn mark(conn: &mut SqliteConnection, numbers: &[u64]) -> Result<(), sqlx::Error> {
    for number in numbers {
        sqlx::query("DELETE FROM outbox_control WHERE seq = ?")
            .bind(signed(*number))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

impl SqliteJournal {
    pub(super) async fn read_control(&self) -> Result<Control, sqlx::Error> {
        // In one transaction: the rows are of the revision that they are told with.
        let mut transaction = self.readers.begin().await?;
        let revision = revision(&mut *transaction).await?;
        let control = read(&mut transaction, revision).await?;
        transaction.commit().await?;
        Ok(control)
    }

    pub(super) async fn read_control_events(
        &self,
        before: u64,
        limit: u32,
    ) -> Result<Vec<ControlEntry>, sqlx::Error> {
        let sql = "SELECT seq, at_us, event FROM control_events WHERE seq < ? ORDER BY seq DESC LIMIT ?";
        let query = sqlx::query(sql).bind(signed(before)).bind(i64::from(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::control_entry).collect()
    }

    pub(super) async fn read_unpublished_control(
        &self,
        limit: u32,
    ) -> Result<Vec<ControlEntry>, sqlx::Error> {
        let sql = "SELECT e.seq, e.at_us, e.event FROM outbox_control b JOIN control_events e ON e.seq = b.seq \
                   ORDER BY e.seq LIMIT ?";
        let found = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        found.iter().map(rows::control_entry).collect()
    }

    pub(super) async fn read_risk_counters(&self, now: Timestamp) -> Result<RiskCounters, sqlx::Error> {
        let recent =
            "SELECT scope, name, sum(orders) AS orders FROM risk_rate WHERE at_us > ? GROUP BY scope, name";
        let since = now.plus_micros(-SECOND_US).micros();
        let recent = sqlx::query(recent).bind(since).fetch_all(&self.readers).await?;
        let sessions = sqlx::query("SELECT * FROM risk_sessions").fetch_all(&self.readers).await?;
        rows::risk_counters(&recent, &sessions)
    }
}
