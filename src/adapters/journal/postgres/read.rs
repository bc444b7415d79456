//! What the journal says, on connections that only read.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder, Row as _};

use crate::domain::control::Control;
use crate::domain::event::OrderEvent;
use crate::domain::ids::{BrokerName, EntryId, OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::position::{Book, Position};
use crate::domain::request::{OrderRef, Outcome};
use crate::domain::time::Timestamp;
use crate::ports::journal::{
    Abandoned, CommitHistory, ControlEntry, History, JournalError, JournalReader, OrderFilter, RiskCounters,
};

use super::PostgresJournal;
use super::load::{column, orders_where, trades};
use super::risk::positions;
use crate::adapters::journal::rows::{self, signed};

/// What a person narrows a list by. A partial index is a help only where its condition follows from the query's own
/// text, so statuses are written out; they are names of ours.
fn further(query: &mut QueryBuilder<Postgres>, filter: &OrderFilter) {
    if !filter.statuses.is_empty() {
        if filter.statuses.iter().all(|status| status.is_working()) {
            query.push(" AND status IN ('Acknowledged', 'PartiallyFilled')");
        }
        let names: Vec<String> = filter.statuses.iter().map(|status| format!("'{status}'")).collect();
        query.push(format!(" AND status IN ({})", names.join(", ")));
    }
    if let Some(side) = filter.side {
        query.push(" AND side = ").push_bind(side.as_str());
    }
    if let Some(broker) = &filter.broker {
        query.push(" AND broker = ").push_bind(broker.as_str());
    }
    if let Some(prefix) = &filter.client_order_id_prefix {
        // A range of the names' own index; `~` comes after every character of a name.
        query.push(" AND client_order_id >= ").push_bind(prefix);
        query.push(" AND client_order_id < ").push_bind(format!("{prefix}~"));
    }
    if let Some(since) = filter.since {
        query.push(" AND created_us >= ").push_bind(since.micros());
    }
    if let Some(until) = filter.until {
        query.push(" AND created_us < ").push_bind(until.micros());
    }
    if let Some(order) = filter.before {
        query.push(" AND admission < (SELECT admission FROM orders WHERE id = ").push_bind(order.to_string());
        query.push(")");
    }
}

#[async_trait]
impl JournalReader for PostgresJournal {
    async fn now(&self) -> Result<Timestamp, JournalError> {
        if let Some(clock) = &self.clock {
            return Ok(clock.now());
        }
        let query = sqlx::query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
        self.number(query).await.map(|us| Timestamp::from_micros(us.cast_signed()))
    }

    async fn order(&self, order: &OrderRef) -> Result<Option<Order>, JournalError> {
        let query = match order {
            OrderRef::Client(id) => {
                sqlx::query(orders_where!("client_order_id = $1")).bind(id.as_str().to_owned())
            }
            OrderRef::Order(id) => sqlx::query(orders_where!("id = $1")).bind(id.to_string()),
        };
        let row = self.readers.first(query).await.map_err(|e| self.failed(&e))?;
        row.map(|row| rows::order(&row).map(|record| Arc::unwrap_or_clone(record.order)))
            .transpose()
            .map_err(|e| self.failed(&e))
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, JournalError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(orders_where!("true"));
        if let Some(symbol) = &filter.symbol {
            query.push(" AND symbol = ").push_bind(symbol.as_str());
        }
        if let Some(status) = filter.status {
            query.push(" AND status = ").push_bind(status.as_str());
        }
        if filter.open {
            query.push(" AND status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired')");
        }
        if filter.parked {
            query.push(" AND parked");
        }
        if let Some(strategy) = &filter.strategy_id {
            query.push(" AND strategy_id = ").push_bind(strategy);
        }
        if let Some(id) = &filter.client_order_id {
            query.push(" AND client_order_id = ").push_bind(id.as_str());
        }
        further(&mut query, filter);
        query.push(" ORDER BY admission DESC LIMIT ").push_bind(i64::from(filter.limit));
        let found = self.readers.all(query.build()).await.map_err(|e| self.failed(&e))?;
        let orders =
            found.iter().map(|row| rows::order(row).map(|record| Arc::unwrap_or_clone(record.order)));
        orders.collect::<Result<_, _>>().map_err(|e| self.failed(&e))
    }

    async fn events(&self, order: OrderId) -> Result<Vec<OrderEvent>, JournalError> {
        let sql = "SELECT events FROM order_commits WHERE order_id = $1 ORDER BY first_version";
        let query = sqlx::query(sql).bind(order.to_string());
        let found = self.readers.all(query).await.map_err(|e| self.failed(&e))?;
        let mut all = Vec::new();
        for row in &found {
            all.extend(rows::events(row).map_err(|e| self.failed(&e))?);
        }
        Ok(all)
    }

    async fn books(&self) -> Result<Vec<(Book, Position)>, JournalError> {
        let sql = concat!(positions!(), "positions p ORDER BY p.symbol, p.broker, p.strategy_id");
        let found = self.readers.all(sqlx::query(sql)).await.map_err(|e| self.failed(&e))?;
        let read = |row| Ok((rows::book(row)?, rows::position(row)?));
        found.iter().map(read).collect::<Result<_, _>>().map_err(|e: sqlx::Error| self.failed(&e))
    }

    async fn control(&self) -> Result<Control, JournalError> {
        self.read_control().await.map_err(|e| self.failed(&e))
    }

    async fn risk_counters(&self) -> Result<RiskCounters, JournalError> {
        let now = self.now().await?;
        self.read_risk_counters(now).await.map_err(|e| self.failed(&e))
    }

    async fn control_events(&self, before: u64, limit: u32) -> Result<Vec<ControlEntry>, JournalError> {
        self.read_control_events(before, limit).await.map_err(|e| self.failed(&e))
    }

    async fn unpublished_control(&self, limit: u32) -> Result<Vec<ControlEntry>, JournalError> {
        self.read_unpublished_control(limit).await.map_err(|e| self.failed(&e))
    }

    async fn admitted(&self, lane: &str, entries: &[EntryId]) -> Result<Vec<EntryId>, JournalError> {
        let sql = "SELECT entry_ms, entry_seq FROM unnest($1::bigint[], $2::bigint[]) AS k (ms, seq) \
                   JOIN orders o ON o.lane = $3 AND o.entry_ms = k.ms AND o.entry_seq = k.seq \
                   UNION SELECT entry_ms, entry_seq FROM unnest($1::bigint[], $2::bigint[]) AS k (ms, seq) \
                   JOIN requests r ON r.lane = $3 AND r.entry_ms = k.ms AND r.entry_seq = k.seq";
        let query = sqlx::query(sql)
            .bind(column!(entries, |entry| signed(entry.ms)))
            .bind(column!(entries, |entry| signed(entry.seq)))
            .bind(lane);
        let found = self.readers.all(query).await.map_err(|e| self.failed(&e))?;
        let read = |row| {
            Ok(EntryId { ms: rows::unsigned(row, "entry_ms")?, seq: rows::unsigned(row, "entry_seq")? })
        };
        found.iter().map(read).collect::<Result<_, _>>().map_err(|e: sqlx::Error| self.failed(&e))
    }

    async fn resting_symbols(&self) -> Result<Vec<(BrokerName, Symbol)>, JournalError> {
        let sql =
            "SELECT DISTINCT broker, symbol FROM orders WHERE status IN ('Acknowledged', 'PartiallyFilled')";
        let found = self.readers.all(sqlx::query(sql)).await.map_err(|e| self.failed(&e))?;
        found.iter().map(rows::instrument).collect::<Result<_, _>>().map_err(|e| self.failed(&e))
    }

    async fn ending(&self, now: Timestamp) -> Result<Vec<(BrokerName, Symbol)>, JournalError> {
        let sql = "SELECT DISTINCT broker, symbol FROM orders \
                   WHERE ends_us IS NOT NULL AND ends_us <= $1 AND status IN ('Acknowledged', 'PartiallyFilled')";
        let found =
            self.readers.all(sqlx::query(sql).bind(now.micros())).await.map_err(|e| self.failed(&e))?;
        found.iter().map(rows::instrument).collect::<Result<_, _>>().map_err(|e| self.failed(&e))
    }

    async fn unpublished(&self, before: Timestamp, limit: u32) -> Result<Vec<OrderId>, JournalError> {
        let sql = "SELECT c.order_id FROM outbox_commits b JOIN order_commits c ON c.seq = b.seq \
                   WHERE c.at_us <= $1 GROUP BY c.order_id ORDER BY min(c.seq) LIMIT $2";
        let query = sqlx::query(sql).bind(before.micros()).bind(i64::from(limit));
        let found = self.readers.all(query).await.map_err(|e| self.failed(&e))?;
        let ids = found.iter().filter_map(|row| rows::order_id(row, "order_id").transpose());
        ids.collect::<Result<_, _>>().map_err(|e| self.failed(&e))
    }

    async fn unpublished_outcomes(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Outcome, Option<Order>)>, JournalError> {
        self.read_unpublished_outcomes(before, limit).await.map_err(|e| self.failed(&e))
    }

    async fn abandoned(&self, now: Timestamp, limit: u32) -> Result<Vec<Abandoned>, JournalError> {
        self.read_abandoned(now, limit).await.map_err(|e| self.failed(&e))
    }

    async fn unfinished_sweeps(&self, before: Timestamp, limit: u32) -> Result<Vec<Abandoned>, JournalError> {
        self.read_unfinished_sweeps(before, limit).await.map_err(|e| self.failed(&e))
    }

    async fn parked(&self) -> Result<u64, JournalError> {
        self.number(sqlx::query("SELECT count(*) FROM orders WHERE parked")).await
    }

    async fn working(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, JournalError> {
        self.read_working(after, limit).await.map_err(|e| self.failed(&e))
    }

    async fn place(&self, since: Timestamp) -> Result<u64, JournalError> {
        self.read_place(since).await.map_err(|e| self.failed(&e))
    }

    async fn ended(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, JournalError> {
        self.read_ended(after, limit).await.map_err(|e| self.failed(&e))
    }

    async fn feed_cursor(&self, broker: &BrokerName) -> Result<u64, JournalError> {
        let query = sqlx::query("SELECT cursor FROM broker_feeds WHERE broker = $1").bind(broker.as_str());
        self.number(query).await
    }

    async fn differences(&self) -> Result<u64, JournalError> {
        self.number(sqlx::query("SELECT count(*) FROM broker_differences")).await
    }

    async fn commits(&self, order: OrderId) -> Result<CommitHistory, JournalError> {
        self.read_commits(order).await.map_err(|e| self.failed(&e))
    }

    async fn history(&self, after: u64, limit: u32) -> Result<Vec<History>, JournalError> {
        self.read_history(after, limit).await.map_err(|e| self.failed(&e))
    }
}

impl PostgresJournal {
    async fn read_commits(&self, order_id: OrderId) -> Result<CommitHistory, sqlx::Error> {
        let sql = "SELECT c.events, b.seq IS NOT NULL AS waits FROM order_commits c \
                   LEFT JOIN outbox_commits b ON b.seq = c.seq WHERE c.order_id = $1 ORDER BY c.first_version";
        let found = self.readers.all(sqlx::query(sql).bind(order_id.to_string())).await?;
        let mut history = CommitHistory { order_id, commits: Vec::with_capacity(found.len()), published: 0 };
        let mut waits = false;
        for row in &found {
            waits |= row.try_get::<bool, _>("waits")?;
            history.published += usize::from(!waits);
            history.commits.push(rows::events(row)?);
        }
        Ok(history)
    }

    async fn read_history(&self, after: u64, limit: u32) -> Result<Vec<History>, sqlx::Error> {
        let sql = orders_where!("admission > $1 ORDER BY admission LIMIT $2");
        let page = |sql| sqlx::query(sql).bind(signed(after)).bind(i64::from(limit));
        let found = self.readers.all(page(sql)).await?;
        let sql = "SELECT id, status, quantity::text, filled_quantity::text, average_fill_price::text, version, ends_us, parked \
                   FROM orders WHERE admission > $1 ORDER BY admission LIMIT $2";
        let columns = self.readers.all(page(sql)).await?;
        let mut histories = Vec::with_capacity(found.len());
        for (row, columns) in found.iter().zip(&columns) {
            let id: &str = columns.try_get("id")?;
            let sql = "SELECT events FROM order_commits WHERE order_id = $1 ORDER BY first_version";
            let commits = self.readers.all(sqlx::query(sql).bind(id)).await?;
            let sql = concat!(trades!(), "order_id = $1");
            let trades = self.readers.all(sqlx::query(sql).bind(id)).await?;
            histories.push(rows::history(row, columns, &commits, &trades)?);
        }
        Ok(histories)
    }
}
