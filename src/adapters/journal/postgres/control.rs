//! What holds for all orders: read once for each revision of it.

use std::sync::Arc;

use sqlx::{PgConnection, Row as _};

use crate::adapters::journal::rows::{self, signed};
use crate::domain::circuit::Circuit;
use crate::domain::control::{Control, ControlEvent};
use crate::domain::ledger::Ledger;
use crate::domain::risk::LimitRow;
use crate::domain::trading_state::Switch;

use crate::domain::time::Timestamp;
use crate::ports::journal::{ControlEntry, RiskCounters};

use super::PostgresJournal;
use super::append::RACED;
use super::risk::sessions;

const SECOND_US: i64 = 1_000_000;
const REVISION: &str = "SELECT revision FROM control_revision";
const LIMITS: &str = "SELECT row FROM risk_limits ORDER BY name";
const CIRCUITS: &str = "SELECT event FROM circuits";
const SWITCHES: &str = "SELECT event FROM trading_state";

/// What holds in this transaction; `known` is what held in the one before.
pub(super) async fn load(
    conn: &mut PgConnection,
    known: &mut Arc<Control>,
) -> Result<Arc<Control>, sqlx::Error> {
    let revision = sqlx::query_scalar::<_, i64>(REVISION).fetch_one(&mut *conn).await?.cast_unsigned();
    if known.revision != revision || revision == 0 {
        let limits = sqlx::query(LIMITS).fetch_all(&mut *conn).await?;
        let switches = sqlx::query(SWITCHES).fetch_all(&mut *conn).await?;
        let circuits = sqlx::query(CIRCUITS).fetch_all(&mut *conn).await?;
        *known = Arc::new(rows::control(revision, &limits, &switches, &circuits)?);
    }
    Ok(known.clone())
}

pub(super) async fn append(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let events = &ledger.changes.control;
    if events.is_empty() {
        return Ok(());
    }
    // A worker that notes a breach shares the lock with others: what one of them changed meanwhile has to be seen first.
    let sql = "UPDATE control_revision SET revision = $1 WHERE revision = $2";
    let before = ledger.control.revision.saturating_sub(events.len() as u64);
    let query = sqlx::query(sql).bind(signed(ledger.control.revision)).bind(signed(before));
    if query.execute(&mut *conn).await?.rows_affected() == 0 {
        return Err(sqlx::Error::InvalidArgument(RACED.to_owned()));
    }
    for event in events {
        let json = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let sql = "WITH added AS (INSERT INTO control_events (type, by_whom, why, at_us, event) \
                   VALUES ($1, $2, $3, $4, $5) RETURNING seq) INSERT INTO outbox_control SELECT seq FROM added";
        let query = sqlx::query(sql).bind(event.name()).bind(event.by()).bind(event.why());
        query.bind(ledger.now.micros()).bind(json).execute(&mut *conn).await?;
        match event {
            ControlEvent::TradingState(switch) => put_switch(conn, switch).await?,
            ControlEvent::Limits(change) => put_limits(conn, &change.rows).await?,
            ControlEvent::Circuit(circuit) => put_circuit(conn, circuit).await?,
        }
    }
    Ok(())
}

/// Whether the first of the changes that this transaction would have made is there.
pub(super) async fn is_there(conn: &mut PgConnection, ledger: &Ledger) -> Result<bool, sqlx::Error> {
    let Some(event) = ledger.changes.control.first() else { return Ok(false) };
    let json = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sql = "SELECT EXISTS (SELECT 1 FROM control_events WHERE at_us = $1 AND event = $2)";
    sqlx::query_scalar(sql).bind(ledger.now.micros()).bind(json).fetch_one(conn).await
}

async fn put_switch(conn: &mut PgConnection, switch: &Switch) -> Result<(), sqlx::Error> {
    let json = serde_json::to_string(switch).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let (scope, name) = switch.scope.columns();
    if switch.ends_controls() {
        let sql = "DELETE FROM trading_state WHERE scope = $1 AND name = $2";
        sqlx::query(sql).bind(scope).bind(&*name).execute(&mut *conn).await?;
    }
    let sql = "INSERT INTO trading_state (scope, name, control, event) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (scope, name, control) DO UPDATE SET event = excluded.event";
    let control = switch.control.map_or("", |code| code.as_str());
    sqlx::query(sql).bind(scope).bind(&*name).bind(control).bind(json).execute(conn).await.map(drop)
}

async fn put_circuit(conn: &mut PgConnection, circuit: &Circuit) -> Result<(), sqlx::Error> {
    let json = serde_json::to_string(circuit).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sql = "INSERT INTO circuits (broker, event) VALUES ($1, $2) \
               ON CONFLICT (broker) DO UPDATE SET event = excluded.event";
    sqlx::query(sql).bind(circuit.broker.as_str()).bind(json).execute(conn).await.map(drop)
}

async fn put_limits(conn: &mut PgConnection, limits: &[LimitRow]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM risk_limits").execute(&mut *conn).await?;
    let rows = limits.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let rows = rows.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sql = "INSERT INTO risk_limits (name, row) SELECT * FROM unnest($1::text[], $2::text[])";
    let names: Vec<String> = limits.iter().map(LimitRow::name).collect();
    sqlx::query(sql).bind(names).bind(rows).execute(conn).await.map(drop)
}

impl PostgresJournal {
    pub(super) async fn read_control(&self) -> Result<Control, sqlx::Error> {
        loop {
            let before = self.revision().await?;
            let limits = self.readers.all(sqlx::query(LIMITS)).await?;
            let switches = self.readers.all(sqlx::query(SWITCHES)).await?;
            let circuits = self.readers.all(sqlx::query(CIRCUITS)).await?;
            // The rows are of the revision that they are told with.
            if self.revision().await? == before {
                return rows::control(before, &limits, &switches, &circuits);
            }
        }
    }

    async fn revision(&self) -> Result<u64, sqlx::Error> {
        let row = self.readers.first(sqlx::query(REVISION)).await?;
        row.map_or(Ok(0), |row| row.try_get::<i64, _>(0).map(i64::cast_unsigned))
    }

    pub(super) async fn read_control_events(
        &self,
        before: u64,
        limit: u32,
    ) -> Result<Vec<ControlEntry>, sqlx::Error> {
        let sql = "SELECT seq, at_us, event FROM control_events WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
        let query = sqlx::query(sql).bind(signed(before)).bind(i64::from(limit));
        self.readers.all(query).await?.iter().map(rows::control_entry).collect()
    }

    pub(super) async fn read_unpublished_control(
        &self,
        limit: u32,
    ) -> Result<Vec<ControlEntry>, sqlx::Error> {
        let sql = "SELECT e.seq, e.at_us, e.event FROM outbox_control b JOIN control_events e ON e.seq = b.seq \
                   ORDER BY e.seq LIMIT $1";
        let found = self.readers.all(sqlx::query(sql).bind(i64::from(limit))).await?;
        found.iter().map(rows::control_entry).collect()
    }

    pub(super) async fn read_risk_counters(&self, now: Timestamp) -> Result<RiskCounters, sqlx::Error> {
        let recent = "SELECT scope, name, sum(orders)::bigint AS orders FROM risk_rate WHERE at_us > $1 GROUP BY scope, name";
        let since = now.plus_micros(-SECOND_US).micros();
        let recent = self.readers.all(sqlx::query(recent).bind(since)).await?;
        let sessions = self.readers.all(sqlx::query(concat!(sessions!(), "risk_sessions p"))).await?;
        rows::risk_counters(&recent, &sessions)
    }
}
