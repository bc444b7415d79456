//! What orders did to positions, and what risk counts.

use sqlx::PgConnection;

use crate::adapters::journal::postgres::load::column;
use crate::adapters::journal::rows::signed;
use crate::domain::amount::Amount;
use crate::domain::ledger::Ledger;

use super::clean;

/// Rate rows older than this say nothing any more.
const RATE_KEPT_US: i64 = 2_000_000;

pub(super) async fn append_trades(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let trades = &ledger.changes.trades;
    if trades.is_empty() {
        return Ok(());
    }
    let terms = column!(trades, |trade| trade.trade.terms.as_ref());
    let paid = column!(terms, |terms| terms.and_then(|terms| terms.commission.as_ref()));
    let sql = "INSERT INTO trades (order_id, trade_id, revision, broker, symbol, side, quantity, price, commission, \
               commission_asset, commission_quote, executed_us, position_sequence) \
               SELECT order_id, trade_id, revision, broker, symbol, side, quantity::numeric, price::numeric, \
               commission::numeric, asset, quote::numeric, at_us, place \
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
               $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bigint[]) AS v (order_id, trade_id, revision, \
               broker, symbol, side, quantity, price, commission, asset, quote, at_us, place)";
    sqlx::query(sql)
        .bind(column!(trades, |trade| trade.order_id.to_string()))
        .bind(column!(trades, |trade| trade.trade_id.as_str()))
        .bind(column!(trades, |trade| i64::from(trade.trade.revision)))
        .bind(column!(trades, |trade| trade.broker.as_str()))
        .bind(column!(trades, |trade| trade.symbol.as_str()))
        .bind(column!(trades, |trade| trade.side.as_str()))
        .bind(column!(terms, |terms| terms.map(|terms| terms.quantity.to_string())))
        .bind(column!(terms, |terms| terms.map(|terms| terms.price.to_string())))
        .bind(column!(paid, |paid| paid.map(|paid| paid.amount.to_string())))
        .bind(column!(paid, |paid| paid.map(|paid| clean(&paid.asset))))
        .bind(column!(paid, |paid| paid.and_then(|paid| paid.quote_value).map(|value| value.to_string())))
        .bind(column!(trades, |trade| trade.trade.at.micros()))
        .bind(column!(trades, |trade| signed(trade.trade.booked_at)))
        .execute(conn)
        .await
        .map(drop)
}

pub(super) async fn append_positions(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let keys = ledger.changes.positions.iter();
    let mut rows: Vec<_> = keys.filter_map(|key| Some((key, ledger.positions.get(key)?))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_key(|(key, _)| *key);
    let sql = "INSERT INTO positions (broker, symbol, quantity, cost, realized_pnl, commission, sequence, reserved_buy, \
               reserved_sell, closed_at) SELECT broker, symbol, quantity::numeric, cost::numeric, pnl::numeric, \
               commission::numeric, sequence, buy::numeric, sell::numeric, closed_at \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], \
               $9::text[], $10::bigint[]) AS v (broker, symbol, quantity, cost, pnl, commission, sequence, buy, sell, \
               closed_at) ON CONFLICT (broker, symbol) DO UPDATE SET quantity = excluded.quantity, cost = excluded.cost, \
               realized_pnl = excluded.realized_pnl, commission = excluded.commission, sequence = excluded.sequence, \
               reserved_buy = excluded.reserved_buy, reserved_sell = excluded.reserved_sell, closed_at = excluded.closed_at";
    sqlx::query(sql)
        .bind(column!(rows, |row| row.0.0.as_str()))
        .bind(column!(rows, |row| row.0.1.as_str()))
        .bind(column!(rows, |row| row.1.quantity.to_string()))
        .bind(column!(rows, |row| row.1.cost.to_string()))
        .bind(column!(rows, |row| row.1.realized_pnl.to_string()))
        .bind(column!(rows, |row| row.1.commission.to_string()))
        .bind(column!(rows, |row| signed(row.1.sequence)))
        .bind(column!(rows, |row| row.1.reserved_buy.to_string()))
        .bind(column!(rows, |row| row.1.reserved_sell.to_string()))
        .bind(column!(rows, |row| signed(row.1.closed_at)))
        .execute(conn)
        .await
        .map(drop)
}

pub(super) async fn append_risk(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let changes = &ledger.changes;
    let now = ledger.now.micros();
    if !changes.counted_orders.is_empty() {
        let mut counted: Vec<_> = changes.counted_orders.iter().collect();
        counted.sort();
        let symbols = column!(counted, |row| row.0.as_str());
        let old = "DELETE FROM risk_rate WHERE symbol = ANY($1) AND at_us < $2";
        sqlx::query(old).bind(&symbols).bind(now - RATE_KEPT_US).execute(&mut *conn).await?;
        let sql = "INSERT INTO risk_rate (symbol, orders, at_us) SELECT v.symbol, v.orders, $3 \
                   FROM unnest($1::text[], $2::bigint[]) AS v (symbol, orders) \
                   ON CONFLICT (symbol, at_us) DO UPDATE SET orders = risk_rate.orders + excluded.orders";
        let orders = column!(counted, |row| signed(*row.1));
        sqlx::query(sql).bind(&symbols).bind(orders).bind(now).execute(&mut *conn).await?;
    }
    let sessions = changes.sessions.iter();
    let mut sessions: Vec<_> =
        sessions.filter_map(|key| ledger.sessions.get(key).map(|(start, base)| (key, start, base))).collect();
    sessions.sort_by_key(|row| row.0);
    if !sessions.is_empty() {
        let sql = "INSERT INTO risk_sessions (broker, symbol, start_us, base) SELECT broker, symbol, at_us, base::numeric \
                   FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS v (broker, symbol, at_us, base) \
                   ON CONFLICT (broker, symbol) DO UPDATE SET start_us = excluded.start_us, base = excluded.base";
        sqlx::query(sql)
            .bind(column!(sessions, |row| row.0.0.as_str()))
            .bind(column!(sessions, |row| row.0.1.as_str()))
            .bind(column!(sessions, |row| row.1.micros()))
            .bind(column!(sessions, |row| Amount::to_string(row.2)))
            .execute(&mut *conn)
            .await?;
    }
    let spent = changes.spent.iter();
    let mut spent: Vec<_> = spent.filter_map(|key| Some((key, ledger.spent.get(key)?))).collect();
    spent.sort_by(|a, b| (&a.0.0, &a.0.1, a.0.2.as_str()).cmp(&(&b.0.0, &b.0.1, b.0.2.as_str())));
    if spent.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO quote_spent (broker, symbol, side, quote_us, quantity) \
               SELECT broker, symbol, side, quote_us, quantity::numeric \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) \
               AS v (broker, symbol, side, quote_us, quantity) ON CONFLICT (broker, symbol, side) \
               DO UPDATE SET quote_us = excluded.quote_us, quantity = excluded.quantity";
    sqlx::query(sql)
        .bind(column!(spent, |row| row.0.0.as_str()))
        .bind(column!(spent, |row| row.0.1.as_str()))
        .bind(column!(spent, |row| row.0.2.as_str()))
        .bind(column!(spent, |row| row.1.quote_at.map(|at| at.micros())))
        .bind(column!(spent, |row| row.1.quantity.to_string()))
        .execute(conn)
        .await
        .map(drop)
}
