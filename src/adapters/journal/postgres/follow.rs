//! What the loops that follow up ask of the journal: what nobody works on, what is not published.

use std::sync::Arc;

use crate::domain::order::Order;
use crate::domain::request::Outcome;
use crate::domain::time::Timestamp;
use crate::ports::journal::{Abandoned, JournalError};

use super::PostgresJournal;
use super::load::orders_where;
use crate::adapters::journal::rows::{self, signed};

impl PostgresJournal {
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
                   WHERE o.at_us <= $1 ORDER BY o.seq LIMIT $2";
        let query = sqlx::query(sql).bind(before.micros()).bind(i64::from(limit));
        let mut outcomes = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            outcomes.push(rows::outcome(&row)?);
        }
        let ids = outcomes.iter().filter_map(|outcome| outcome.order_id);
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let sql = orders_where!("id = ANY($1)");
        let found = sqlx::query(sql).bind(ids).fetch_all(&self.readers).await?;
        let mut orders = std::collections::HashMap::with_capacity(found.len());
        for row in &found {
            let order = Arc::unwrap_or_clone(rows::order(row)?.order);
            orders.insert(order.spec.id, order);
        }
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
                   FROM orders WHERE open AND NOT answered AND lease_until_us < $1 \
                   UNION ALL \
                   SELECT r.lane, r.entry_ms, r.entry_seq, r.hash, o.broker, o.symbol, r.received_us \
                   FROM requests r JOIN orders o ON o.id = r.order_id WHERE r.open AND o.lease_until_us < $1 \
                   ORDER BY received_us LIMIT $2";
        let query = sqlx::query(sql).bind(now.micros()).bind(i64::from(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::abandoned).collect()
    }

    pub(super) async fn read_unfinished_sweeps(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Abandoned>, sqlx::Error> {
        let sql = "SELECT lane, entry_ms, entry_seq, hash, NULL::text AS broker, NULL::text AS symbol, received_us FROM requests \
                   WHERE open AND kind = 'cancel_all' AND received_us < $1 ORDER BY received_us LIMIT $2";
        let query = sqlx::query(sql).bind(before.micros()).bind(i64::from(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::abandoned).collect()
    }

    pub(super) async fn read_changed_since(
        &self,
        since: Timestamp,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Order)>, sqlx::Error> {
        let sql = orders_where!(
            "admission > $1 AND (updated_us >= $2 OR status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired')) \
             AND NOT EXISTS (SELECT 1 FROM order_commits c JOIN outbox_commits b ON b.seq = c.seq \
             WHERE c.order_id = orders.id) ORDER BY admission LIMIT $3"
        );
        let query = sqlx::query(sql).bind(signed(after)).bind(since.micros()).bind(i64::from(limit));
        let mut orders = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            let record = rows::order(&row)?;
            orders.push((record.admission, Arc::unwrap_or_clone(record.order)));
        }
        Ok(orders)
    }
}
