//! The third of the four steps: everything that was decided, in multi-row statements, before the commit.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::domain::ids::OrderId;
use crate::domain::ledger::{Commit, Ledger, OrderRecord};
use crate::domain::order::Order;
use crate::domain::request::OutcomeResult;

use super::load::{json_list, outcome_columns};
use super::risk;
use super::statements::{Multi, execute_multi};
use crate::adapters::journal::rows::{self, signed};

/// The statements of an append, written once.
#[derive(Debug)]
pub(super) struct Statements {
    insert_orders: Multi,
    update_orders: Multi,
    commits: Multi,
    requests: Multi,
    targets: Multi,
    differences: Multi,
    outcomes: Multi,
    attempts: Multi,
    answers: Multi,
    trades: Multi,
    risk: risk::Statements,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            insert_orders: Multi::new(
                "INSERT INTO orders (id, client_order_id, lane, entry_ms, entry_seq, request_hash, content_hash, broker, \
                 symbol, side, order_type, quantity, filled_quantity, average_fill_price, status, strategy_id, version, \
                 lease_owner, lease_epoch, lease_until_us, spec, state, created_us, updated_us, answered, open, parked, ends_us) \
                 VALUES {values}",
                28,
            ),
            update_orders: Multi::new(
                "UPDATE orders SET quantity = v.column2, filled_quantity = v.column3, average_fill_price = v.column4, \
                 status = v.column5, version = v.column6, lease_owner = v.column7, lease_epoch = v.column8, \
                 lease_until_us = v.column9, state = v.column10, updated_us = v.column11, answered = v.column12, \
                 open = v.column13, parked = v.column14 FROM (VALUES {values}) AS v WHERE orders.id = v.column1",
                14,
            ),
            commits: Multi::new(
                "INSERT INTO order_commits (order_id, first_version, version, at_us, events) VALUES {values}",
                5,
            ),
            requests: Multi::new(
                "INSERT INTO requests (lane, entry_ms, entry_seq, hash, kind, order_id, attempt_version, received_us, open) \
                 VALUES {values} ON CONFLICT DO NOTHING",
                9,
            ),
            targets: Multi::new(
                "INSERT INTO cancel_targets (lane, entry_ms, entry_seq, hash, place, order_id, client_order_id, settled, \
                 refusal) VALUES {values} ON CONFLICT (lane, entry_ms, entry_seq, hash, order_id) DO UPDATE SET \
                 settled = excluded.settled, refusal = excluded.refusal",
                9,
            ),
            differences: Multi::new(
                "INSERT INTO broker_differences (broker, kind, key, details, first_us) VALUES {values} ON CONFLICT DO NOTHING",
                5,
            ),
            outcomes: Multi::new(
                "INSERT INTO outcomes (lane, entry_ms, entry_seq, hash, request, order_id, client_order_id, order_version, \
                 status, code, error, payload, details, at_us) VALUES {values} ON CONFLICT DO NOTHING",
                14,
            ),
            attempts: Multi::new(
                "INSERT INTO attempts (order_id, kind, number, epoch, journaled_us) VALUES {values}",
                5,
            ),
            answers: Multi::new(
                "UPDATE attempts SET answer = v.column4, answered_us = v.column5 FROM (VALUES {values}) AS v \
                 WHERE attempts.order_id = v.column1 AND attempts.kind = v.column2 AND attempts.number = v.column3",
                5,
            ),
            trades: Multi::new(
                "INSERT INTO trades (order_id, trade_id, revision, broker, symbol, side, quantity, price, commission, \
                 commission_asset, commission_quote, executed_us, position_sequence, contract) VALUES {values}",
                14,
            ),
            risk: risk::Statements::new(),
        }
    }

    pub(super) async fn append(
        &self,
        conn: &mut SqliteConnection,
        ledger: &Ledger,
    ) -> Result<(), sqlx::Error> {
        self.append_orders(conn, ledger).await?;
        self.append_commits(conn, &ledger.changes.commits).await?;
        self.append_requests(conn, ledger).await?;
        self.append_outcomes(conn, ledger).await?;
        self.append_attempts(conn, ledger).await?;
        self.append_trades(conn, ledger).await?;
        self.risk.append(conn, ledger).await
    }

    async fn append_orders(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        let changes = &ledger.changes;
        let new: Vec<OrderRow<'_>> = rows_of(ledger, changes.new_orders.iter())?;
        execute_multi!(conn, self.insert_orders, &new, |query, row| {
            let (record, order, spec) = (row.record, row.order(), &row.order().spec);
            query
                .bind(spec.id.to_string())
                .bind(spec.client_order_id.as_str())
                .bind(&*record.request.lane)
                .bind(signed(record.request.entry.ms))
                .bind(signed(record.request.entry.seq))
                .bind(&record.request_hash.0[..])
                .bind(&record.content_hash.0[..])
                .bind(order.broker.as_str())
                .bind(spec.symbol.as_str())
                .bind(spec.side.as_str())
                .bind(spec.order_type.name())
                .bind(spec.quantity.to_string())
                .bind(order.state.filled_quantity.to_string())
                .bind(order.average_fill_price().map(|price| price.to_string()))
                .bind(order.state.status.as_str())
                .bind(spec.strategy_id.as_deref())
                .bind(signed(order.state.version))
                .bind(&*record.lease.owner)
                .bind(signed(record.lease.epoch))
                .bind(record.lease.until.micros())
                .bind(row.spec.as_str())
                .bind(row.state.as_str())
                .bind(order.state.created_at.micros())
                .bind(order.state.updated_at.micros())
                .bind(record.answered)
                .bind(record.is_open())
                .bind(order.state.parked)
                .bind(order.ends_at().map(|at| at.micros()))
        });
        let changed = changes.changed_orders.iter().filter(|id| !changes.new_orders.contains(id));
        let changed: Vec<OrderRow<'_>> = rows_of(ledger, changed)?;
        execute_multi!(conn, self.update_orders, &changed, |query, row| {
            let order = row.order();
            query
                .bind(order.spec.id.to_string())
                .bind(order.spec.quantity.to_string())
                .bind(order.state.filled_quantity.to_string())
                .bind(order.average_fill_price().map(|price| price.to_string()))
                .bind(order.state.status.as_str())
                .bind(signed(order.state.version))
                .bind(&*row.record.lease.owner)
                .bind(signed(row.record.lease.epoch))
                .bind(row.record.lease.until.micros())
                .bind(row.state.as_str())
                .bind(order.state.updated_at.micros())
                .bind(row.record.answered)
                .bind(row.record.is_open())
                .bind(order.state.parked)
        });
        let replaced: Vec<OrderRow<'_>> = rows_of(ledger, changes.replaced_orders.iter())?;
        for row in &replaced {
            let sql = "UPDATE orders SET spec = ? WHERE id = ?";
            let id = row.order().spec.id.to_string();
            sqlx::query(sql).bind(row.spec.as_str()).bind(id).execute(&mut *conn).await?;
        }
        Ok(())
    }

    async fn append_commits(
        &self,
        conn: &mut SqliteConnection,
        commits: &[Arc<Commit>],
    ) -> Result<(), sqlx::Error> {
        if commits.is_empty() {
            return Ok(());
        }
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM order_commits")
            .fetch_one(&mut *conn)
            .await?;
        let mut rows = Vec::with_capacity(commits.len());
        for commit in commits {
            let events = commit.events_json().map_err(|e| sqlx::Error::Encode(e.into()))?;
            rows.push((commit, events));
        }
        execute_multi!(conn, self.commits, &rows, |query, row| {
            let (commit, events) = row;
            query
                .bind(commit.order_id.to_string())
                .bind(signed(commit.first_version()))
                .bind(signed(commit.version()))
                .bind(commit.events.last().map_or(0, |event| event.timestamp.micros()))
                .bind(&**events)
        });
        let outbox = "INSERT INTO outbox_commits SELECT seq FROM order_commits WHERE seq > ?";
        sqlx::query(outbox).bind(last).execute(conn).await.map(drop)
    }

    async fn append_requests(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        execute_multi!(conn, self.requests, &ledger.changes.requests, |query, request| {
            query
                .bind(&*request.key.lane)
                .bind(signed(request.key.entry.ms))
                .bind(signed(request.key.entry.seq))
                .bind(&request.hash.0[..])
                .bind(request.kind.as_str())
                .bind(request.order_id.map(|id| id.to_string()))
                .bind(request.attempt_version.map(signed))
                .bind(request.received_at.micros())
                .bind(request.open)
        });
        let targets: Vec<_> = ledger.changes.targets.iter().collect();
        let now = ledger.now.micros();
        // In two statements where one of them is told of twice: a later word follows an earlier one.
        for part in targets.chunk_by(|a, b| a.2.settled == b.2.settled) {
            let rows: Vec<_> = part
                .iter()
                .map(|(key, hash, target)| {
                    let all = ledger.targets.get(&(key.clone(), *hash));
                    let place = all.and_then(|all| all.iter().position(|t| t.order_id == target.order_id));
                    (key, hash, target, i64::try_from(place.unwrap_or(0)).unwrap_or(i64::MAX))
                })
                .collect();
            execute_multi!(conn, self.targets, &rows, |query, row| {
                let (key, hash, target, place) = row;
                query
                    .bind(&*key.lane)
                    .bind(signed(key.entry.ms))
                    .bind(signed(key.entry.seq))
                    .bind(&hash.0[..])
                    .bind(*place)
                    .bind(target.order_id.to_string())
                    .bind(target.client_order_id.as_str())
                    .bind(target.settled)
                    .bind(target.refusal.as_deref())
            });
        }
        execute_multi!(conn, self.differences, &ledger.changes.differences, |query, difference| {
            query
                .bind(difference.broker.as_str())
                .bind(difference.kind)
                .bind(difference.key.as_str())
                .bind(difference.details.as_str())
                .bind(now)
        });
        for (broker, cursor) in &ledger.changes.cursors {
            let sql = "INSERT INTO broker_feeds (broker, cursor, updated_us) VALUES (?, ?, ?) ON CONFLICT (broker) \
                       DO UPDATE SET cursor = max(cursor, excluded.cursor), updated_us = excluded.updated_us";
            sqlx::query(sql)
                .bind(broker.as_str())
                .bind(signed(*cursor))
                .bind(now)
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }

    async fn append_outcomes(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        let outcomes = &ledger.changes.outcomes;
        if outcomes.is_empty() {
            return Ok(());
        }
        let last: i64 =
            sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM outcomes").fetch_one(&mut *conn).await?;
        execute_multi!(conn, self.outcomes, outcomes, |query, outcome| {
            let (status, refusal, payload, details) = match &outcome.result {
                OutcomeResult::Completed(status) => (Some(*status), None, None, None),
                OutcomeResult::Failed { refusal, status, payload } => {
                    (*status, Some(refusal), payload.as_deref(), None)
                }
                OutcomeResult::Swept(swept) => {
                    let json = serde_json::to_string(swept).map_err(|e| sqlx::Error::Encode(e.into()))?;
                    (None, None, None, Some(json))
                }
            };
            query
                .bind(&*outcome.key.lane)
                .bind(signed(outcome.key.entry.ms))
                .bind(signed(outcome.key.entry.seq))
                .bind(&outcome.hash.0[..])
                .bind(outcome.request.as_str())
                .bind(outcome.order_id.map(|id| id.to_string()))
                .bind(outcome.client_order_id.as_ref().map(|id| id.as_str()))
                .bind(signed(outcome.order_version))
                .bind(status.map(|status| status.as_str()))
                .bind(refusal.map(|refusal| refusal.code.as_str()))
                .bind(refusal.map(|refusal| refusal.reason.as_str()))
                .bind(payload)
                .bind(details)
                .bind(outcome.timestamp.micros())
        });
        // A command whose attempt was journaled before has its end now.
        let known: Vec<_> = outcomes
            .iter()
            .filter(|outcome| {
                ledger.request_of(&outcome.key, &outcome.hash).is_some_and(|request| request.open)
            })
            .map(|outcome| outcome_columns(&outcome.key, outcome.hash))
            .collect();
        if !known.is_empty() {
            let sql = "UPDATE requests SET open = 0 FROM json_each(?) k WHERE requests.lane = k.value ->> 0 \
                       AND requests.entry_ms = k.value ->> 1 AND requests.entry_seq = k.value ->> 2 \
                       AND lower(hex(requests.hash)) = k.value ->> 3";
            sqlx::query(sql).bind(json_list(&known)?).execute(&mut *conn).await?;
        }
        let outbox = "INSERT INTO outbox_outcomes SELECT seq FROM outcomes WHERE seq > ?";
        sqlx::query(outbox).bind(last).execute(conn).await.map(drop)
    }

    async fn append_attempts(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        execute_multi!(conn, self.attempts, &ledger.changes.attempts, |query, attempt| {
            query
                .bind(attempt.order_id.to_string())
                .bind(attempt.kind.as_str())
                .bind(signed(attempt.number))
                .bind(signed(attempt.epoch))
                .bind(attempt.journaled_at.micros())
        });
        execute_multi!(conn, self.answers, &ledger.changes.answers, |query, attempt| {
            query
                .bind(attempt.order_id.to_string())
                .bind(attempt.kind.as_str())
                .bind(signed(attempt.number))
                .bind(attempt.answer.as_ref().map(|answered| answered.answer))
                .bind(attempt.answer.as_ref().map(|answered| answered.at.micros()))
        });
        Ok(())
    }

    async fn append_trades(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        execute_multi!(conn, self.trades, &ledger.changes.trades, |query, trade| {
            let terms = trade.trade.terms.as_ref();
            let commission = terms.and_then(|terms| terms.commission.as_ref());
            query
                .bind(trade.order_id.to_string())
                .bind(trade.trade_id.as_str())
                .bind(i64::from(trade.trade.revision))
                .bind(trade.broker.as_str())
                .bind(trade.symbol.as_str())
                .bind(trade.side.as_str())
                .bind(terms.map(|terms| terms.quantity.to_string()))
                .bind(terms.map(|terms| terms.price.to_string()))
                .bind(commission.map(|paid| paid.amount.to_string()))
                .bind(commission.map(|paid| paid.asset.as_str()))
                .bind(commission.and_then(|paid| paid.quote_value).map(|value| value.to_string()))
                .bind(trade.trade.at.micros())
                .bind(signed(trade.trade.booked_at))
                .bind(rows::contract_text(terms.and_then(|terms| terms.contract.as_deref()))?)
        });
        Ok(())
    }
}

struct OrderRow<'a> {
    record: &'a OrderRecord,
    spec: String,
    state: String,
}

impl OrderRow<'_> {
    fn order(&self) -> &Order {
        &self.record.order
    }
}

fn rows_of<'a>(
    ledger: &'a Ledger,
    ids: impl Iterator<Item = &'a OrderId>,
) -> Result<Vec<OrderRow<'a>>, sqlx::Error> {
    let orders: &HashMap<OrderId, OrderRecord> = &ledger.orders;
    let json = |result: serde_json::Result<String>| result.map_err(|error| sqlx::Error::Encode(error.into()));
    ids.filter_map(|id| orders.get(id))
        .map(|record| {
            let spec = json(serde_json::to_string(&record.order.spec))?;
            let state = json(serde_json::to_string(&record.order.state))?;
            Ok(OrderRow { record, spec, state })
        })
        .collect()
}
