//! The first of the four steps: what the decisions of one transaction need, set by set.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::domain::decide::SWEEP_PAGE;
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, RequestKey, Symbol};
use crate::domain::ledger::{Keys, Ledger, OrderRecord, RequestRecord};
use crate::domain::order::ContentHash;
use crate::domain::order_type::Side;
use crate::domain::request::{OrderRef, RequestKind};

use crate::adapters::journal::recent::Recent;
use crate::adapters::journal::rows;

/// A list of values as a statement takes it: one JSON array.
pub(super) fn json_list<T: Serialize>(values: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(values).map_err(|error| sqlx::Error::Encode(error.into()))
}

pub(super) async fn select<T: Serialize>(
    conn: &mut SqliteConnection,
    sql: &'static str,
    keys: &[T],
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query(sql).bind(json_list(keys)?).fetch_all(conn).await
}

macro_rules! orders_where {
    ($condition:literal) => {
        concat!(
            "SELECT admission, lane, entry_ms, entry_seq, request_hash, content_hash, lease_owner, lease_epoch, \
             lease_until_us, answered, spec, state FROM orders WHERE ",
            $condition
        )
    };
}
pub(super) use orders_where;

pub(super) async fn load(
    conn: &mut SqliteConnection,
    keys: &Keys,
    recent: &Recent,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    load_orders(conn, keys, recent, ledger).await?;
    load_requests(conn, keys, ledger).await?;
    load_matching(conn, keys, ledger).await?;
    load_trades(conn, keys, ledger).await?;
    let wanted = ledger.wanted(keys);
    super::risk::load(conn, &wanted, ledger).await
}

async fn load_orders(
    conn: &mut SqliteConnection,
    keys: &Keys,
    recent: &Recent,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let by_client_id = orders_where!("client_order_id IN (SELECT value FROM json_each(?))");
    let mut client_ids: Vec<&ClientOrderId> = keys.client_ids.iter().collect();
    let mut ids = keys.orders.clone();
    for order in &keys.with_trades {
        match order {
            OrderRef::Client(id) => client_ids.push(id),
            OrderRef::Order(id) => ids.push(*id),
        }
    }
    let mut found = select(conn, by_client_id, &client_ids).await?;
    let by_id = orders_where!("id IN (SELECT value FROM json_each(?))");
    let unread = load_recent(conn, &ids, recent, ledger).await?;
    found.extend(select(conn, by_id, &unread).await?);
    let entries: Vec<(&str, i64, i64)> = keys.entries.iter().map(request_columns).collect();
    let by_entry = orders_where!(
        "admission IN (SELECT o.admission FROM json_each(?) k JOIN orders o ON o.lane = k.value ->> 0 \
         AND o.entry_ms = k.value ->> 1 AND o.entry_seq = k.value ->> 2)"
    );
    found.extend(select(conn, by_entry, &entries).await?);
    for page in &keys.resting {
        let resting = orders_where!(
            "broker = ? AND symbol = ? AND status IN ('Acknowledged', 'PartiallyFilled') AND admission > ? \
             ORDER BY admission LIMIT ?"
        );
        let page_rows = sqlx::query(resting)
            .bind(page.broker.as_str())
            .bind(page.symbol.as_str())
            .bind(rows::signed(page.after))
            .bind(i64::from(page.limit))
            .fetch_all(&mut *conn)
            .await?;
        let mut ids = Vec::with_capacity(page_rows.len());
        for row in &page_rows {
            ids.push(rows::order(row)?.order.spec.id);
        }
        ledger.resting.insert((page.broker.clone(), page.symbol.clone()), ids);
        found.extend(page_rows);
    }
    for row in &found {
        let record = rows::order(row)?;
        let spec = &record.order.spec;
        ledger.by_client_id.insert(spec.client_order_id.clone(), spec.id);
        ledger.orders.insert(spec.id, record);
    }
    Ok(())
}

/// The orders that a new `cancel_all` means.
async fn load_matching(
    conn: &mut SqliteConnection,
    keys: &Keys,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    for (key, hash, filter) in &keys.matching {
        if ledger.request_of(key, hash).is_some() || ledger.outcome_of(key, hash).is_some() {
            continue;
        }
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "SELECT id, client_order_id FROM orders \
             WHERE status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired') \
             AND (lane <> ",
        );
        // What was added to its lane after it is not meant.
        let (lane, ms, seq) = request_columns(key);
        query.push_bind(lane.to_owned()).push(" OR (entry_ms, entry_seq) < (");
        query.push_bind(ms).push(", ").push_bind(seq).push("))");
        let side = filter.side.map(Side::as_str);
        let conditions = [
            (" AND symbol = ", filter.symbol.as_ref().map(Symbol::as_str)),
            (" AND side = ", side),
            (" AND broker = ", filter.broker.as_ref().map(BrokerName::as_str)),
            (" AND strategy_id = ", filter.strategy_id.as_deref()),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        query.push(" ORDER BY admission");
        let mut orders = Vec::new();
        for row in query.build().fetch_all(&mut *conn).await? {
            if let Some(id) = rows::order_id(&row, "id")? {
                orders.push((id, rows::parse(&row, "client_order_id")?));
            }
        }
        ledger.matching.insert(key.clone(), orders);
    }
    Ok(())
}

/// Orders that are as this process committed them last; returns the ids of the others.
async fn load_recent(
    conn: &mut SqliteConnection,
    wanted: &[OrderId],
    recent: &Recent,
    ledger: &mut Ledger,
) -> Result<Vec<OrderId>, sqlx::Error> {
    let (known, mut unread): (Vec<OrderId>, Vec<OrderId>) =
        wanted.iter().partition(|id| recent.get(id).is_some());
    let sql = "SELECT id, admission, version, lease_epoch, answered FROM orders WHERE id IN (SELECT value FROM json_each(?))";
    for row in select(conn, sql, &known).await? {
        let Some(id) = rows::order_id(&row, "id")? else { continue };
        let Some(record) = recent.get(&id) else { continue };
        let same = rows::unsigned(&row, "version")? == record.order.state.version
            && rows::unsigned(&row, "lease_epoch")? == record.lease.epoch
            && row.try_get::<bool, _>("answered")? == record.answered;
        if same {
            let record = OrderRecord { admission: rows::unsigned(&row, "admission")?, ..record.clone() };
            ledger.by_client_id.insert(record.order.spec.client_order_id.clone(), id);
            ledger.orders.insert(id, record);
        } else {
            unread.push(id);
        }
    }
    Ok(unread)
}

/// Only of orders that are told of trades is what is booked of them wanted.
async fn load_trades(
    conn: &mut SqliteConnection,
    keys: &Keys,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let told = keys.with_trades.iter().filter_map(|order| match order {
        OrderRef::Client(id) => ledger.by_client_id.get(id).copied(),
        OrderRef::Order(id) => Some(*id),
    });
    let ids: BTreeSet<OrderId> = ledger.resting.values().flatten().copied().chain(told).collect();
    let ids: Vec<OrderId> = ids.into_iter().collect();
    // The newest revision comes last, and stays.
    let sql = "SELECT * FROM trades WHERE order_id IN (SELECT value FROM json_each(?)) \
               ORDER BY order_id, trade_id, revision";
    for row in select(conn, sql, &ids).await? {
        if let Some(id) = rows::order_id(&row, "order_id")? {
            ledger.trades.insert((id, row.try_get("trade_id")?), rows::trade(&row)?);
        }
    }
    Ok(())
}

/// A request's key as its columns hold it.
pub(super) fn request_columns(key: &RequestKey) -> (&str, i64, i64) {
    (&key.lane, rows::signed(key.entry.ms), rows::signed(key.entry.seq))
}

/// The same with the hash of its content.
pub(super) fn outcome_columns(key: &RequestKey, hash: ContentHash) -> (&str, i64, i64, String) {
    let (lane, ms, seq) = request_columns(key);
    (lane, ms, seq, hash.to_string())
}

async fn load_requests(
    conn: &mut SqliteConnection,
    keys: &Keys,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    // Once each: all the cancels of one cancel_all name it.
    let wanted: BTreeSet<(&str, i64, i64)> = keys.requests.iter().map(request_columns).collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let requests = "SELECT r.* FROM json_each(?) k JOIN requests r ON r.lane = k.value ->> 0 \
                    AND r.entry_ms = k.value ->> 1 AND r.entry_seq = k.value ->> 2";
    let mut named: BTreeSet<OrderId> = BTreeSet::new();
    for row in select(conn, requests, &wanted).await? {
        let record = rows::request(&row)?;
        named.extend(record.order_id);
        if record.kind == RequestKind::CancelAll && record.open {
            named.extend(load_targets(conn, &record, ledger).await?);
        }
        ledger.requests.entry(record.key.clone()).or_default().push(record);
    }
    let outcomes = "SELECT o.* FROM json_each(?) k JOIN outcomes o ON o.lane = k.value ->> 0 \
                    AND o.entry_ms = k.value ->> 1 AND o.entry_seq = k.value ->> 2";
    for row in select(conn, outcomes, &wanted).await? {
        let outcome = rows::outcome(&row)?;
        named.extend(outcome.order_id);
        ledger.outcomes.entry(outcome.key.clone()).or_default().push(outcome);
    }
    named.retain(|id| !ledger.orders.contains_key(id));
    let named: Vec<OrderId> = named.into_iter().collect();
    for row in select(conn, orders_where!("id IN (SELECT value FROM json_each(?))"), &named).await? {
        let record = rows::order(&row)?;
        ledger.orders.insert(record.order.spec.id, record);
    }
    Ok(())
}

/// What an unfinished `cancel_all` means; returns the orders that its next step works on.
async fn load_targets(
    conn: &mut SqliteConnection,
    request: &RequestRecord,
    ledger: &mut Ledger,
) -> Result<Vec<OrderId>, sqlx::Error> {
    let sql = "SELECT * FROM cancel_targets WHERE lane = ? AND entry_ms = ? AND entry_seq = ? AND hash = ? ORDER BY place";
    let (lane, ms, seq) = request_columns(&request.key);
    let query = sqlx::query(sql).bind(lane.to_owned()).bind(ms).bind(seq).bind(request.hash.0.to_vec());
    let mut targets = Vec::new();
    for row in query.fetch_all(conn).await? {
        targets.push(rows::target(&row)?);
    }
    let due = targets.iter().filter(|target| !target.settled).take(SWEEP_PAGE);
    let due = due.map(|target| target.order_id).collect();
    ledger.targets.insert((request.key.clone(), request.hash), targets);
    Ok(due)
}
