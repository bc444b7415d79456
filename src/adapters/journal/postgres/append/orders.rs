//! The projection of orders: new ones, and those that changed.

use std::collections::HashSet;

use sqlx::PgConnection;

use crate::adapters::journal::postgres::load::column;
use crate::adapters::journal::rows::signed;
use crate::domain::ids::OrderId;
use crate::domain::ledger::{Ledger, OrderRecord};

use super::{clean, encode};

pub(super) async fn append_orders(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let records = records(ledger, ledger.changes.new_orders.iter());
    if records.is_empty() {
        return Ok(());
    }
    // Numbered as they were decided, added as they are named.
    let sql = "WITH numbers AS MATERIALIZED (SELECT n, nextval(pg_get_serial_sequence('orders', 'admission')) AS admission \
               FROM generate_series(1, cardinality($1::text[])) AS n) \
               INSERT INTO orders (admission, id, client_order_id, lane, entry_ms, entry_seq, request_hash, content_hash, \
               broker, symbol, side, order_type, quantity, filled_quantity, average_fill_price, status, strategy_id, version, \
               lease_owner, lease_epoch, lease_until_us, spec, state, created_us, updated_us, answered, open, parked, ends_us) \
               SELECT numbers.admission, v.id, v.client_order_id, v.lane, v.entry_ms, v.entry_seq, v.request_hash, \
               v.content_hash, v.broker, v.symbol, v.side, v.order_type, v.quantity::numeric, v.filled_quantity::numeric, \
               v.average_fill_price::numeric, v.status, v.strategy_id, v.version, v.lease_owner, v.lease_epoch, \
               v.lease_until_us, v.spec, v.state, v.created_us, v.updated_us, v.answered, v.open, v.parked, v.ends_us \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[], \
               $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], \
               $16::text[], $17::bigint[], $18::text[], $19::bigint[], $20::bigint[], $21::text[], $22::text[], \
               $23::bigint[], $24::bigint[], $25::boolean[], $26::boolean[], $27::boolean[], $28::bigint[]) \
               WITH ORDINALITY AS v (id, client_order_id, lane, entry_ms, entry_seq, request_hash, content_hash, broker, \
               symbol, side, order_type, quantity, filled_quantity, average_fill_price, status, strategy_id, version, \
               lease_owner, lease_epoch, lease_until_us, spec, state, created_us, updated_us, answered, open, parked, \
               ends_us, n) JOIN numbers ON numbers.n = v.n ORDER BY v.client_order_id";
    sqlx::query(sql)
        .bind(column!(records, |r| r.order.spec.id.to_string()))
        .bind(column!(records, |r| r.order.spec.client_order_id.as_str()))
        .bind(column!(records, |r| r.request.lane.to_string()))
        .bind(column!(records, |r| signed(r.request.entry.ms)))
        .bind(column!(records, |r| signed(r.request.entry.seq)))
        .bind(column!(records, |r| &r.request_hash.0[..]))
        .bind(column!(records, |r| &r.content_hash.0[..]))
        .bind(column!(records, |r| r.order.broker.as_str()))
        .bind(column!(records, |r| r.order.spec.symbol.as_str()))
        .bind(column!(records, |r| r.order.spec.side.as_str()))
        .bind(column!(records, |r| r.order.spec.order_type.name()))
        .bind(column!(records, |r| r.order.spec.quantity.to_string()))
        .bind(column!(records, |r| r.order.state.filled_quantity.to_string()))
        .bind(column!(records, |r| r.order.average_fill_price().map(|price| price.to_string())))
        .bind(column!(records, |r| r.order.state.status.as_str()))
        .bind(column!(records, |r| r.order.spec.strategy_id.as_deref().map(clean)))
        .bind(column!(records, |r| signed(r.order.state.version)))
        .bind(column!(records, |r| r.lease.owner.to_string()))
        .bind(column!(records, |r| signed(r.lease.epoch)))
        .bind(column!(records, |r| r.lease.until.micros()))
        .bind(specs(&records)?)
        .bind(states(&records)?)
        .bind(column!(records, |r| r.order.state.created_at.micros()))
        .bind(column!(records, |r| r.order.state.updated_at.micros()))
        .bind(column!(records, |r| r.answered))
        .bind(column!(records, |r| r.is_open()))
        .bind(column!(records, |r| r.order.state.parked))
        .bind(column!(records, |r| r.order.ends_at().map(|at| at.micros())))
        .execute(conn)
        .await
        .map(drop)
}

pub(super) async fn update_orders(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let changes = &ledger.changes;
    let new: HashSet<&OrderId> = changes.new_orders.iter().collect();
    let records = records(ledger, changes.changed_orders.iter().filter(|id| !new.contains(id)));
    if !records.is_empty() {
        let sql = "UPDATE orders SET quantity = v.quantity::numeric, filled_quantity = v.filled_quantity::numeric, \
                   average_fill_price = v.average_fill_price::numeric, status = v.status, version = v.version, \
                   lease_owner = v.lease_owner, lease_epoch = v.lease_epoch, lease_until_us = v.lease_until_us, \
                   state = v.state, updated_us = v.updated_us, answered = v.answered, open = v.open, parked = v.parked \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], \
                   $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::boolean[], $13::boolean[], $14::boolean[]) \
                   AS v (id, quantity, filled_quantity, average_fill_price, status, version, lease_owner, lease_epoch, \
                   lease_until_us, state, updated_us, answered, open, parked) WHERE orders.id = v.id";
        sqlx::query(sql)
            .bind(column!(records, |r| r.order.spec.id.to_string()))
            .bind(column!(records, |r| r.order.spec.quantity.to_string()))
            .bind(column!(records, |r| r.order.state.filled_quantity.to_string()))
            .bind(column!(records, |r| r.order.average_fill_price().map(|price| price.to_string())))
            .bind(column!(records, |r| r.order.state.status.as_str()))
            .bind(column!(records, |r| signed(r.order.state.version)))
            .bind(column!(records, |r| r.lease.owner.to_string()))
            .bind(column!(records, |r| signed(r.lease.epoch)))
            .bind(column!(records, |r| r.lease.until.micros()))
            .bind(states(&records)?)
            .bind(column!(records, |r| r.order.state.updated_at.micros()))
            .bind(column!(records, |r| r.answered))
            .bind(column!(records, |r| r.is_open()))
            .bind(column!(records, |r| r.order.state.parked))
            .execute(&mut *conn)
            .await?;
    }
    let replaced = self::records(ledger, changes.replaced_orders.iter());
    if replaced.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE orders SET spec = v.spec FROM unnest($1::text[], $2::text[]) AS v (id, spec) WHERE orders.id = v.id";
    let query = sqlx::query(sql).bind(column!(replaced, |r| r.order.spec.id.to_string()));
    query.bind(specs(&replaced)?).execute(conn).await.map(drop)
}

fn records<'a>(ledger: &'a Ledger, ids: impl Iterator<Item = &'a OrderId>) -> Vec<&'a OrderRecord> {
    ids.filter_map(|id| ledger.orders.get(id)).collect()
}

fn specs(records: &[&OrderRecord]) -> Result<Vec<String>, sqlx::Error> {
    records.iter().map(|record| serde_json::to_string(&record.order.spec).map_err(encode)).collect()
}

fn states(records: &[&OrderRecord]) -> Result<Vec<String>, sqlx::Error> {
    records.iter().map(|record| serde_json::to_string(&record.order.state).map_err(encode)).collect()
}
