//! The first of the four steps: what the decisions of one transaction need, set by set.

use std::collections::{BTreeSet, HashSet};

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};

use crate::adapters::journal::recent::Recent;
use crate::adapters::journal::rows::{self, signed};
use crate::domain::decide::SWEEP_PAGE;
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, RequestKey, Symbol};
use crate::domain::ledger::{Keys, Ledger, OrderRecord, RequestRecord};
use crate::domain::order::ContentHash;
use crate::domain::order_type::Side;
use crate::domain::request::{OrderRef, RequestKind};
use crate::ports::publisher::OutcomeKey;

/// One column of a set of rows, as `UNNEST` takes it.
macro_rules! column {
    ($rows:expr, |$row:pat_param| $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}
pub(super) use column;

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

macro_rules! trades {
    () => {
        "SELECT order_id, trade_id, revision, quantity::text, price::text, commission::text, commission_asset, \
         commission_quote::text, executed_us, position_sequence, contract FROM trades WHERE "
    };
}
pub(super) use trades;

/// Requests that the journal has, each by its key and the hash of its content.
pub(super) type Known = HashSet<(RequestKey, ContentHash)>;

pub(super) async fn load(
    conn: &mut PgConnection,
    keys: &Keys,
    recent: &Recent,
    ledger: &mut Ledger,
) -> Result<Known, sqlx::Error> {
    load_orders(conn, keys, recent, ledger).await?;
    let known = load_requests(conn, keys, ledger).await?;
    load_matching(conn, keys, ledger).await?;
    load_trades(conn, keys, ledger).await?;
    let wanted = ledger.wanted(keys);
    super::risk::load(conn, &wanted, ledger).await?;
    Ok(known)
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

pub(super) fn keep(ledger: &mut Ledger, row: &PgRow) -> Result<OrderId, sqlx::Error> {
    let record = rows::order(row)?;
    let id = record.order.spec.id;
    ledger.by_client_id.insert(record.order.spec.client_order_id.clone(), id);
    ledger.orders.insert(id, record);
    Ok(id)
}

async fn load_orders(
    conn: &mut PgConnection,
    keys: &Keys,
    recent: &Recent,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let mut client_ids: Vec<&ClientOrderId> = keys.client_ids.iter().collect();
    let mut ids = keys.orders.clone();
    for order in &keys.with_trades {
        match order {
            OrderRef::Client(id) => client_ids.push(id),
            OrderRef::Order(id) => ids.push(*id),
        }
    }
    let unread = texts(load_recent(conn, &ids, recent, ledger).await?);
    let client_ids = column!(client_ids, |id| id.as_str());
    if !client_ids.is_empty() {
        let sql = orders_where!("client_order_id = ANY($1)");
        for row in sqlx::query(sql).bind(client_ids).fetch_all(&mut *conn).await? {
            keep(ledger, &row)?;
        }
    }
    if !unread.is_empty() {
        for row in sqlx::query(orders_where!("id = ANY($1)")).bind(unread).fetch_all(&mut *conn).await? {
            keep(ledger, &row)?;
        }
    }
    if !keys.entries.is_empty() {
        let sql = orders_where!(
            "admission IN (SELECT o.admission FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS k (lane, ms, seq) \
             JOIN orders o ON o.lane = k.lane AND o.entry_ms = k.ms AND o.entry_seq = k.seq)"
        );
        let entries: Vec<&RequestKey> = keys.entries.iter().collect();
        for row in by_request(sqlx::query(sql), &entries).fetch_all(&mut *conn).await? {
            keep(ledger, &row)?;
        }
    }
    for page in &keys.resting {
        let sql = orders_where!(
            "broker = $1 AND symbol = $2 AND status IN ('Acknowledged', 'PartiallyFilled') AND admission > $3 \
             ORDER BY admission LIMIT $4"
        );
        let query = sqlx::query(sql).bind(page.broker.as_str()).bind(page.symbol.as_str());
        let query = query.bind(signed(page.after)).bind(i64::from(page.limit));
        let mut ids = Vec::new();
        for row in query.fetch_all(&mut *conn).await? {
            ids.push(keep(ledger, &row)?);
        }
        ledger.resting.insert((page.broker.clone(), page.symbol.clone()), ids);
    }
    Ok(())
}

/// The three columns of a request's key.
pub(super) fn by_request<'q>(
    query: Query<'q, Postgres, PgArguments>,
    keys: &[&RequestKey],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(column!(keys, |key| key.lane.to_string()))
        .bind(column!(keys, |key| signed(key.entry.ms)))
        .bind(column!(keys, |key| signed(key.entry.seq)))
}

pub(super) fn by_outcome<'q>(
    query: Query<'q, Postgres, PgArguments>,
    keys: &'q [OutcomeKey],
) -> Query<'q, Postgres, PgArguments> {
    let requests: Vec<&RequestKey> = keys.iter().map(|(key, _)| key).collect();
    by_request(query, &requests).bind(column!(keys, |(_, hash)| &hash.0[..]))
}

/// The orders that a new `cancel_all` means.
async fn load_matching(conn: &mut PgConnection, keys: &Keys, ledger: &mut Ledger) -> Result<(), sqlx::Error> {
    for (key, hash, filter) in &keys.matching {
        if ledger.request_of(key, hash).is_some() || ledger.outcome_of(key, hash).is_some() {
            continue;
        }
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(
            "SELECT id, client_order_id FROM orders \
             WHERE status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired') \
             AND (lane <> ",
        );
        // What was added to its lane after it is not meant.
        query.push_bind(key.lane.to_string()).push(" OR (entry_ms, entry_seq) < (");
        query.push_bind(signed(key.entry.ms)).push(", ").push_bind(signed(key.entry.seq)).push("))");
        let conditions = [
            (" AND symbol = ", filter.symbol.as_ref().map(Symbol::as_str)),
            (" AND side = ", filter.side.map(Side::as_str)),
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
    conn: &mut PgConnection,
    wanted: &[OrderId],
    recent: &Recent,
    ledger: &mut Ledger,
) -> Result<Vec<OrderId>, sqlx::Error> {
    let (known, mut unread): (Vec<OrderId>, Vec<OrderId>) =
        wanted.iter().partition(|id| recent.get(id).is_some());
    if known.is_empty() {
        return Ok(unread);
    }
    let sql = "SELECT id, admission, version, lease_epoch, answered FROM orders WHERE id = ANY($1)";
    for row in sqlx::query(sql).bind(texts(known)).fetch_all(conn).await? {
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
async fn load_trades(conn: &mut PgConnection, keys: &Keys, ledger: &mut Ledger) -> Result<(), sqlx::Error> {
    let told = keys.with_trades.iter().filter_map(|order| match order {
        OrderRef::Client(id) => ledger.by_client_id.get(id).copied(),
        OrderRef::Order(id) => Some(*id),
    });
    let ids: BTreeSet<OrderId> = ledger.resting.values().flatten().copied().chain(told).collect();
    if ids.is_empty() {
        return Ok(());
    }
    // The newest revision comes last, and stays.
    let sql = concat!(trades!(), "order_id = ANY($1) ORDER BY order_id, trade_id, revision");
    for row in sqlx::query(sql).bind(texts(ids)).fetch_all(conn).await? {
        if let Some(id) = rows::order_id(&row, "order_id")? {
            ledger.trades.insert((id, row.try_get("trade_id")?), rows::trade(&row)?);
        }
    }
    Ok(())
}

async fn load_requests(
    conn: &mut PgConnection,
    keys: &Keys,
    ledger: &mut Ledger,
) -> Result<Known, sqlx::Error> {
    // Once each: all the cancels of one cancel_all name it.
    let wanted: BTreeSet<&RequestKey> = keys.requests.iter().collect();
    let wanted: Vec<&RequestKey> = wanted.into_iter().collect();
    let mut known = Known::new();
    if wanted.is_empty() {
        return Ok(known);
    }
    let requests = "SELECT r.* FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS k (lane, ms, seq) \
                    JOIN requests r ON r.lane = k.lane AND r.entry_ms = k.ms AND r.entry_seq = k.seq";
    let mut named: BTreeSet<OrderId> = BTreeSet::new();
    for row in by_request(sqlx::query(requests), &wanted).fetch_all(&mut *conn).await? {
        let record = rows::request(&row)?;
        named.extend(record.order_id);
        if record.kind == RequestKind::CancelAll && record.open {
            named.extend(load_targets(conn, &record, ledger).await?);
        }
        known.insert((record.key.clone(), record.hash));
        ledger.requests.entry(record.key.clone()).or_default().push(record);
    }
    let outcomes = "SELECT o.* FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS k (lane, ms, seq) \
                    JOIN outcomes o ON o.lane = k.lane AND o.entry_ms = k.ms AND o.entry_seq = k.seq";
    for row in by_request(sqlx::query(outcomes), &wanted).fetch_all(&mut *conn).await? {
        let outcome = rows::outcome(&row)?;
        named.extend(outcome.order_id);
        ledger.outcomes.entry(outcome.key.clone()).or_default().push(outcome);
    }
    named.retain(|id| !ledger.orders.contains_key(id));
    if !named.is_empty() {
        for row in sqlx::query(orders_where!("id = ANY($1)")).bind(texts(named)).fetch_all(&mut *conn).await?
        {
            let record = rows::order(&row)?;
            ledger.orders.insert(record.order.spec.id, record);
        }
    }
    Ok(known)
}

/// What an unfinished `cancel_all` means; returns the orders that its next step works on.
async fn load_targets(
    conn: &mut PgConnection,
    request: &RequestRecord,
    ledger: &mut Ledger,
) -> Result<Vec<OrderId>, sqlx::Error> {
    let sql = "SELECT order_id, client_order_id, settled, refusal FROM cancel_targets \
               WHERE lane = $1 AND entry_ms = $2 AND entry_seq = $3 AND hash = $4 ORDER BY place";
    let key = &request.key;
    let query = sqlx::query(sql).bind(&*key.lane).bind(signed(key.entry.ms)).bind(signed(key.entry.seq));
    let mut targets = Vec::new();
    for row in query.bind(&request.hash.0[..]).fetch_all(conn).await? {
        targets.push(rows::target(&row)?);
    }
    let due = targets.iter().filter(|target| !target.settled).take(SWEEP_PAGE);
    let due = due.map(|target| target.order_id).collect();
    ledger.targets.insert((request.key.clone(), request.hash), targets);
    Ok(due)
}
