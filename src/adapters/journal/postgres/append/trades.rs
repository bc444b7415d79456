//! Trades as they are booked.

use sqlx::PgConnection;

use crate::adapters::journal::postgres::load::column;
use crate::adapters::journal::rows::{self, signed};
use crate::domain::ledger::Ledger;

use super::clean;

pub(super) async fn append_trades(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let trades = &ledger.changes.trades;
    if trades.is_empty() {
        return Ok(());
    }
    let terms = column!(trades, |trade| trade.trade.terms.as_ref());
    let paid = column!(terms, |terms| terms.and_then(|terms| terms.commission.as_ref()));
    let sql = "INSERT INTO trades (order_id, trade_id, revision, broker, symbol, side, quantity, price, commission, \
               commission_asset, commission_quote, executed_us, position_sequence, contract) \
               SELECT order_id, trade_id, revision, broker, symbol, side, quantity::numeric, price::numeric, \
               commission::numeric, asset, quote::numeric, at_us, place, contract \
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
               $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[]) AS v (order_id, trade_id, \
               revision, broker, symbol, side, quantity, price, commission, asset, quote, at_us, place, contract)";
    let contracts =
        terms.iter().map(|terms| rows::contract_text(terms.and_then(|terms| terms.contract.as_deref())));
    let contracts = contracts.collect::<Result<Vec<_>, _>>()?;
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
        .bind(contracts)
        .execute(conn)
        .await
        .map(drop)
}
