//! What the loops that follow up ask of the journal: what nobody works on, what is not published.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row as _;

use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::domain::request::Outcome;
use crate::domain::time::Timestamp;
use crate::ports::journal::{Abandoned, JournalError};

use super::SqliteJournal;
use super::load::{json_list, orders_where};
use crate::adapters::journal::rows::{self, signed};

impl SqliteJournal {
    pub(super) async fn count(&self, sql: &'static str) -> Result<u64, JournalError> {
        let query = sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.readers);
        query.await.map(i64::cast_unsigned).map_err(|e| self.failed(&e))
    }

    pub(super) async fn read_unpublished_outcomes(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Outcome, Option<Order>)>, sqlx::Error> {
        let sql = "SELECT o.* FROM outbox_outcomes b JOIN outcomes o ON o.seq = b.seq \
                   WHERE o.at_us <= ? ORDER BY o.seq LIMIT ?";
        let query = sqlx::query(sql).bind(before.micros()).bind(i64::from(limit));
        let mut outcomes = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            outcomes.push(rows::outcome(&row)?);
        }
        let ids: Vec<String> =
            outcomes.iter().filter_map(|outcome| Some(outcome.order_id?.to_string())).collect();
        let orders = self.orders_by_id(&ids).await?;
        let with_order = |outcome: Outcome| {
            let order = outcome.order_id.and_then(|id| orders.get(&id).cloned());
            (outcome, order)
        };
        Ok(outcomes.into_iter().map(with_order).collect())
    }

    pub(super) async fn read_abandoned(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Abandoned>, sqlx::Error> {
        let sql = "SELECT lane, entry_ms, entry_seq, request_hash AS hash, broker, symbol, created_us AS received_us \
                   FROM orders WHERE open = 1 AND answered = 0 AND lease_until_us < ?1 \
                   UNION ALL \
                   SELECT r.lane, r.entry_ms, r.entry_seq, r.hash, o.broker, o.symbol, r.received_us \
                   FROM requests r JOIN orders o ON o.id = r.order_id WHERE r.open = 1 AND o.lease_until_us < ?1 \
                   ORDER BY received_us LIMIT ?2";
        let query = sqlx::query(sql).bind(now.micros()).bind(i64::from(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::abandoned).collect()
    }

    pub(super) async fn read_unfinished_sweeps(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Abandoned>, sqlx::Error> {
        let sql = "SELECT lane, entry_ms, entry_seq, hash, NULL AS broker, NULL AS symbol, received_us FROM requests \
                   WHERE open = 1 AND kind = 'cancel_all' AND received_us < ? ORDER BY received_us LIMIT ?";
        let query = sqlx::query(sql).bind(before.micros()).bind(i64::from(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::abandoned).collect()
    }

    pub(super) async fn read_working(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Order)>, sqlx::Error> {
        let sql = orders_where!(
            "admission > ? AND status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired') \
             AND NOT EXISTS (SELECT 1 FROM order_commits c JOIN outbox_commits b ON b.seq = c.seq \
             WHERE c.order_id = orders.id) ORDER BY admission LIMIT ?"
        );
        let query = sqlx::query(sql).bind(signed(after)).bind(i64::from(limit));
        let admitted = |row| {
            let record = rows::order(row)?;
            Ok((record.admission, Arc::unwrap_or_clone(record.order)))
        };
        query.fetch_all(&self.readers).await?.iter().map(admitted).collect()
    }

    /// Commits are in order of time but for those of transactions that went on side by side, and for clocks that were
    /// set: halving finds it without an index on their times.
    pub(super) async fn read_place(&self, since: Timestamp) -> Result<u64, sqlx::Error> {
        let since_us = since.plus_micros(-rows::OUT_OF_ORDER_US).micros();
        let newest = "SELECT seq, at_us FROM order_commits ORDER BY seq DESC LIMIT 1";
        let Some(newest) = sqlx::query(newest).fetch_optional(&self.readers).await? else { return Ok(0) };
        let (mut from, mut to) = (0, rows::unsigned(&newest, "seq")?.saturating_add(1));
        let next = "SELECT seq, at_us FROM order_commits WHERE seq >= ? ORDER BY seq LIMIT 1";
        // All before `from` are too old, none at `to` or after it is.
        while from < to {
            let middle = from.midpoint(to);
            let row = sqlx::query(next).bind(signed(middle)).fetch_optional(&self.readers).await?;
            let Some(row) = row else {
                to = middle;
                continue;
            };
            if row.try_get::<i64, _>("at_us")? < since_us {
                from = rows::unsigned(&row, "seq")?.saturating_add(1);
            } else {
                to = middle;
            }
        }
        Ok(from.saturating_sub(1))
    }

    pub(super) async fn read_ended(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, sqlx::Error> {
        let sql = "SELECT c.seq, c.order_id FROM order_commits c JOIN orders o ON o.id = c.order_id AND o.version = c.version \
                   WHERE c.seq > ? AND o.status IN ('Filled', 'Cancelled', 'Rejected', 'Expired') \
                   AND NOT EXISTS (SELECT 1 FROM order_commits d JOIN outbox_commits b ON b.seq = d.seq \
                   WHERE d.order_id = c.order_id) ORDER BY c.seq LIMIT ?";
        let query = sqlx::query(sql).bind(signed(after)).bind(i64::from(limit));
        let mut places = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            places.push((rows::unsigned(&row, "seq")?, rows::order_id(&row, "order_id")?));
        }
        let ids: Vec<String> = places.iter().filter_map(|(_, id)| id.map(|id| id.to_string())).collect();
        let mut orders = self.orders_by_id(&ids).await?;
        let ended = |(place, id): (u64, Option<OrderId>)| Some((place, orders.remove(&id?)?));
        Ok(places.into_iter().filter_map(ended).collect())
    }

    async fn orders_by_id(&self, ids: &[String]) -> Result<HashMap<OrderId, Order>, sqlx::Error> {
        let query =
            sqlx::query(orders_where!("id IN (SELECT value FROM json_each(?))")).bind(json_list(ids)?);
        let mut orders = HashMap::with_capacity(ids.len());
        for row in query.fetch_all(&self.readers).await? {
            let order = Arc::unwrap_or_clone(rows::order(&row)?.order);
            orders.insert(order.spec.id, order);
        }
        Ok(orders)
    }
}
