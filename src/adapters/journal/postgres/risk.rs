//! Books, and what limits count.

use sqlx::{PgConnection, Row as _};

use crate::adapters::journal::rows::{self, signed};
use crate::domain::ledger::{Ledger, Mark, Wanted};
use crate::domain::order_type::Side;
use crate::domain::position::{Book, Position};
use crate::domain::risk::OptionalLimits;
use crate::domain::time::Timestamp;
use crate::domain::trading_state::Scope;
use crate::domain::venue::Spent;

use super::load::{column, keep, orders_where};

const SECOND_US: i64 = 1_000_000;
/// Rate rows older than this say nothing any more.
const RATE_KEPT_US: i64 = 2 * SECOND_US;
/// The longest window that a circuit breaker may have.
const KEPT_US: i64 = 86_400 * SECOND_US;

/// What is older than the longest window of its kind says nothing any more.
fn older_than(ledger: &Ledger, window: impl Fn(&OptionalLimits) -> Option<u64>) -> i64 {
    let longest = i64::try_from(ledger.control.limits.longest(window)).unwrap_or(i64::MAX / 1000);
    ledger.now.micros() - longest.saturating_mul(1000) - SECOND_US
}

macro_rules! positions {
    () => {
        "SELECT p.broker, p.symbol, p.strategy_id, p.quantity::text, p.cost::text, p.realized_pnl::text, \
         p.commission::text, p.unvalued_commissions, p.account_pnl::text, p.sequence, p.closed_at, \
         p.reserved_buy::text, p.reserved_sell::text, p.open_orders, p.contract FROM "
    };
}
pub(super) use positions;

macro_rules! sessions {
    () => {
        "SELECT p.broker, p.symbol, p.strategy_id, p.scope, p.name, p.start_us, p.base::text FROM "
    };
}
pub(super) use sessions;

pub(super) async fn append(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let books = ledger.changes.positions.iter();
    let positions: Vec<_> = books.filter_map(|book| Some((book, ledger.positions.get(book)?))).collect();
    put_positions(conn, positions).await?;
    append_rates(conn, ledger).await?;
    append_sessions(conn, ledger).await?;
    append_prices(conn, ledger).await?;
    append_windows(conn, ledger).await?;
    append_spent(conn, ledger).await
}

pub(super) async fn put_positions(
    conn: &mut PgConnection,
    mut positions: Vec<(&Book, &Position)>,
) -> Result<(), sqlx::Error> {
    if positions.is_empty() {
        return Ok(());
    }
    positions.sort_by_key(|(book, _)| *book);
    let contracts = positions.iter().map(|(_, position)| rows::contract_text(position.contract.as_deref()));
    let contracts = contracts.collect::<Result<Vec<_>, _>>()?;
    let sql = "INSERT INTO positions (broker, symbol, strategy_id, quantity, cost, realized_pnl, commission, \
               unvalued_commissions, account_pnl, sequence, closed_at, reserved_buy, reserved_sell, open_orders, contract) \
               SELECT broker, symbol, strategy, quantity::numeric, cost::numeric, pnl::numeric, commission::numeric, \
               unvalued, account::numeric, sequence, closed_at, buy::numeric, sell::numeric, open, contract \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
               $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::bigint[], $15::text[]) \
               AS v (broker, symbol, strategy, quantity, cost, pnl, commission, unvalued, account, sequence, closed_at, \
               buy, sell, open, contract) ON CONFLICT (broker, symbol, strategy_id) DO UPDATE SET \
               quantity = excluded.quantity, cost = excluded.cost, realized_pnl = excluded.realized_pnl, \
               commission = excluded.commission, unvalued_commissions = excluded.unvalued_commissions, \
               account_pnl = excluded.account_pnl, sequence = excluded.sequence, closed_at = excluded.closed_at, \
               reserved_buy = excluded.reserved_buy, reserved_sell = excluded.reserved_sell, \
               open_orders = excluded.open_orders, contract = excluded.contract";
    sqlx::query(sql)
        .bind(column!(positions, |row| row.0.broker.as_str()))
        .bind(column!(positions, |row| row.0.symbol.as_str()))
        .bind(column!(positions, |row| row.0.strategy.as_deref().unwrap_or_default()))
        .bind(column!(positions, |row| row.1.quantity.to_string()))
        .bind(column!(positions, |row| row.1.cost.to_string()))
        .bind(column!(positions, |row| row.1.realized_pnl.to_string()))
        .bind(column!(positions, |row| row.1.commission.to_string()))
        .bind(column!(positions, |row| signed(row.1.unvalued_commissions)))
        .bind(column!(positions, |row| row.1.account_pnl.to_string()))
        .bind(column!(positions, |row| signed(row.1.sequence)))
        .bind(column!(positions, |row| signed(row.1.closed_at)))
        .bind(column!(positions, |row| row.1.reserved_buy.to_string()))
        .bind(column!(positions, |row| row.1.reserved_sell.to_string()))
        .bind(column!(positions, |row| signed(row.1.open_orders)))
        .bind(contracts)
        .execute(conn)
        .await
        .map(drop)
}

async fn append_rates(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let (counted, now) = (&ledger.risk.changes.recent_orders, ledger.now.micros());
    if counted.is_empty() {
        return Ok(());
    }
    let mut counted: Vec<_> = counted.iter().map(|(scope, count)| (scope.columns(), *count)).collect();
    counted.sort();
    let scopes = column!(counted, |row| row.0.0);
    let names = column!(counted, |row| &*row.0.1);
    let old = "DELETE FROM risk_rate r USING unnest($1::text[], $2::text[]) AS k (scope, name) \
               WHERE r.scope = k.scope AND r.name = k.name AND r.at_us < $3";
    sqlx::query(old).bind(&scopes).bind(&names).bind(now - RATE_KEPT_US).execute(&mut *conn).await?;
    let sql = "INSERT INTO risk_rate (scope, name, at_us, orders) SELECT v.scope, v.name, $4, v.orders \
               FROM unnest($1::text[], $2::text[], $3::bigint[]) AS v (scope, name, orders) \
               ON CONFLICT (scope, name, at_us) DO UPDATE SET orders = risk_rate.orders + excluded.orders";
    let orders = column!(counted, |row| signed(row.1));
    sqlx::query(sql).bind(&scopes).bind(&names).bind(orders).bind(now).execute(conn).await.map(drop)
}

async fn append_sessions(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let sessions = ledger.risk.changes.sessions.iter();
    let mut sessions: Vec<_> =
        sessions.filter_map(|key| Some((key, ledger.risk.sessions.get(key)?))).collect();
    if sessions.is_empty() {
        return Ok(());
    }
    sessions.sort_by_key(|row| row.0);
    let scopes = column!(sessions, |row| row.0.scope.as_ref().map_or(("", "".into()), Scope::columns));
    let sql = "INSERT INTO risk_sessions (broker, symbol, strategy_id, scope, name, start_us, base) \
               SELECT broker, symbol, strategy, scope, name, at_us, base::numeric \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[]) \
               AS v (broker, symbol, strategy, scope, name, at_us, base) \
               ON CONFLICT (broker, symbol, strategy_id, scope, name) DO UPDATE SET start_us = excluded.start_us, \
               base = excluded.base";
    sqlx::query(sql)
        .bind(column!(sessions, |row| row.0.book.broker.as_str()))
        .bind(column!(sessions, |row| row.0.book.symbol.as_str()))
        .bind(column!(sessions, |row| row.0.book.strategy.as_deref().unwrap_or_default()))
        .bind(column!(scopes, |scope| scope.0))
        .bind(column!(scopes, |scope| &*scope.1))
        .bind(column!(sessions, |row| row.1.0.micros()))
        .bind(column!(sessions, |row| row.1.1.to_string()))
        .execute(conn)
        .await
        .map(drop)
}

async fn append_prices(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let changes = &ledger.risk.changes;
    let marks = changes.marks.iter();
    let mut marks: Vec<_> = marks.filter_map(|key| Some((key, ledger.risk.marks.get(key)?))).collect();
    if !marks.is_empty() {
        marks.sort_by_key(|row| row.0);
        let sql = "INSERT INTO risk_marks (broker, symbol, price, at_us) SELECT broker, symbol, price::numeric, at_us \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS v (broker, symbol, price, at_us) \
                   ON CONFLICT (broker, symbol) DO UPDATE SET price = excluded.price, at_us = excluded.at_us";
        sqlx::query(sql)
            .bind(column!(marks, |row| row.0.0.as_str()))
            .bind(column!(marks, |row| row.0.1.as_str()))
            .bind(column!(marks, |row| row.1.price.to_string()))
            .bind(column!(marks, |row| row.1.at.map(|at| at.micros())))
            .execute(&mut *conn)
            .await?;
    }
    let prices = &changes.prices;
    if prices.is_empty() {
        return Ok(());
    }
    let brokers = column!(prices, |row| row.0.as_str());
    let symbols = column!(prices, |row| row.1.as_str());
    let old = "DELETE FROM risk_prices r USING unnest($1::text[], $2::text[]) AS k (broker, symbol) \
               WHERE r.broker = k.broker AND r.symbol = k.symbol AND r.at_us < $3";
    sqlx::query(old)
        .bind(&brokers)
        .bind(&symbols)
        .bind(older_than(ledger, |o| o.price_move_window_ms))
        .execute(&mut *conn)
        .await?;
    let sql = "INSERT INTO risk_prices (broker, symbol, at_us, price) SELECT broker, symbol, at_us, price::numeric \
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS v (broker, symbol, at_us, price)";
    sqlx::query(sql)
        .bind(&brokers)
        .bind(&symbols)
        .bind(column!(prices, |row| row.2.micros()))
        .bind(column!(prices, |row| row.3.to_string()))
        .execute(conn)
        .await
        .map(drop)
}

async fn append_windows(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let (changes, now) = (&ledger.risk.changes, ledger.now.micros());
    if !changes.fills.is_empty() {
        let mut fills: Vec<_> = changes.fills.iter().collect();
        fills.sort();
        let symbols = column!(fills, |row| row.0.symbol.as_str());
        let strategies = column!(fills, |row| row.0.strategy.as_deref().unwrap_or_default());
        let sides = column!(fills, |row| row.0.side.as_str());
        let old = "DELETE FROM risk_fills r USING unnest($1::text[], $2::text[], $3::text[]) AS k (symbol, strategy, side) \
                   WHERE r.symbol = k.symbol AND r.strategy_id = k.strategy AND r.side = k.side AND r.at_us < $4";
        let query = sqlx::query(old).bind(&symbols).bind(&strategies).bind(&sides);
        query.bind(older_than(ledger, |o| o.fills_window_ms)).execute(&mut *conn).await?;
        let sql = "INSERT INTO risk_fills (symbol, strategy_id, side, at_us, fills) \
                   SELECT symbol, strategy, side, $5, fills \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS v (symbol, strategy, side, fills) \
                   ON CONFLICT (symbol, strategy_id, side, at_us) DO UPDATE SET fills = risk_fills.fills + excluded.fills";
        let query = sqlx::query(sql).bind(&symbols).bind(&strategies).bind(&sides);
        query.bind(column!(fills, |row| signed(*row.1))).bind(now).execute(&mut *conn).await?;
    }
    let mut failures: Vec<_> = changes.failures.iter().collect();
    failures.sort();
    for (broker, count) in failures {
        let old = "DELETE FROM risk_failures WHERE broker = $1 AND at_us < $2";
        sqlx::query(old).bind(broker.as_str()).bind(now - KEPT_US).execute(&mut *conn).await?;
        let sql = "INSERT INTO risk_failures (broker, at_us, failures) VALUES ($1, $2, $3) \
                   ON CONFLICT (broker, at_us) DO UPDATE SET failures = risk_failures.failures + excluded.failures";
        let query = sqlx::query(sql).bind(broker.as_str()).bind(now).bind(signed(*count));
        query.execute(&mut *conn).await?;
    }
    if changes.contents.is_empty() {
        return Ok(());
    }
    let old = "DELETE FROM risk_contents WHERE hash = ANY(ARRAY(SELECT hash FROM risk_contents WHERE at_us < $1 \
               LIMIT 1000 FOR UPDATE SKIP LOCKED))";
    sqlx::query(old).bind(older_than(ledger, |o| o.duplicate_window_ms)).execute(&mut *conn).await?;
    // The last word on each counts, and one statement may say only one.
    let mut contents: Vec<_> = changes.contents.iter().rev().collect();
    contents.sort_by_key(|row| row.0.0);
    contents.dedup_by_key(|row| row.0.0);
    let sql = "INSERT INTO risk_contents (hash, client_order_id, at_us) \
               SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[]) \
               ON CONFLICT (hash) DO UPDATE SET client_order_id = excluded.client_order_id, at_us = excluded.at_us";
    sqlx::query(sql)
        .bind(column!(contents, |row| &row.0.0[..]))
        .bind(column!(contents, |row| row.1.as_str()))
        .bind(column!(contents, |row| row.2.micros()))
        .execute(conn)
        .await
        .map(drop)
}

async fn append_spent(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let spent = ledger.changes.spent.iter();
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

pub(super) async fn load(
    conn: &mut PgConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    if wanted.instruments.is_empty() {
        return Ok(());
    }
    load_books(conn, wanted, ledger).await?;
    load_rates(conn, wanted, ledger).await?;
    load_windows(conn, wanted, ledger).await?;
    let brokers = column!(wanted.instruments, |(broker, _)| broker.as_str());
    let symbols = column!(wanted.instruments, |(_, symbol)| symbol.as_str());
    let spent = "SELECT q.broker, q.symbol, q.side, q.quote_us, q.quantity::text \
                 FROM unnest($1::text[], $2::text[]) AS k (broker, symbol) \
                 JOIN quote_spent q ON q.broker = k.broker AND q.symbol = k.symbol";
    for row in sqlx::query(spent).bind(&brokers).bind(&symbols).fetch_all(&mut *conn).await? {
        let quote_at: Option<i64> = row.try_get("quote_us")?;
        let side: &str = row.try_get("side")?;
        let side = if side == Side::Buy.as_str() { Side::Buy } else { Side::Sell };
        let (broker, symbol) = rows::instrument(&row)?;
        let quantity = rows::parse(&row, "quantity")?;
        let spent = Spent { quote_at: quote_at.map(Timestamp::from_micros), quantity };
        ledger.spent.insert((broker, symbol, side), spent);
    }
    if !wanted.open_orders.is_empty() {
        let open = orders_where!(
            "admission IN (SELECT o.admission FROM unnest($1::text[], $2::text[]) AS k (broker, symbol) \
             JOIN orders o ON o.broker = k.broker AND o.symbol = k.symbol \
             AND o.status IN ('PendingSubmit', 'Submitted', 'Acknowledged', 'PartiallyFilled'))"
        );
        let brokers = column!(wanted.open_orders, |(broker, _)| broker.as_str());
        let symbols = column!(wanted.open_orders, |(_, symbol)| symbol.as_str());
        for row in sqlx::query(open).bind(brokers).bind(symbols).fetch_all(&mut *conn).await? {
            // What was loaded before is the same: the symbol is locked.
            keep(ledger, &row)?;
        }
    }
    Ok(())
}

/// Of the instruments, each strategy's that is named; and all of a scope that adds them up.
async fn load_books(
    conn: &mut PgConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let brokers = column!(wanted.instruments, |(broker, _)| broker.as_str());
    let symbols = column!(wanted.instruments, |(_, symbol)| symbol.as_str());
    let strategies: Vec<&str> = std::iter::once("").chain(wanted.strategies.iter().map(|id| &**id)).collect();
    let sums = wanted.sums.iter().filter_map(|scope| match scope {
        Scope::All => Some(""),
        Scope::StrategyId(id) => Some(&**id),
        _ => None,
    });
    let sums: Vec<&str> = sums.collect();
    let of_instruments = concat!(
        positions!(),
        "unnest($1::text[], $2::text[]) AS k (broker, symbol) \
         JOIN positions p ON p.broker = k.broker AND p.symbol = k.symbol AND p.strategy_id = ANY($3)"
    );
    let query = sqlx::query(of_instruments).bind(&brokers).bind(&symbols).bind(&strategies);
    let mut found = query.fetch_all(&mut *conn).await?;
    if !sums.is_empty() {
        let of_sums = concat!(positions!(), "positions p WHERE p.strategy_id = ANY($1)");
        found.extend(sqlx::query(of_sums).bind(&sums).fetch_all(&mut *conn).await?);
        let marks = "SELECT broker, symbol, price::text, at_us FROM risk_marks";
        for row in sqlx::query(marks).fetch_all(&mut *conn).await? {
            let at: Option<i64> = row.try_get("at_us")?;
            let mark = Mark { price: rows::parse(&row, "price")?, at: at.map(Timestamp::from_micros) };
            ledger.risk.marks.insert(rows::instrument(&row)?, mark);
        }
    }
    for row in &found {
        ledger.positions.insert(rows::book(row)?, rows::position(row)?);
    }
    let of_instruments = concat!(
        sessions!(),
        "unnest($1::text[], $2::text[]) AS k (broker, symbol) \
         JOIN risk_sessions p ON p.broker = k.broker AND p.symbol = k.symbol AND p.strategy_id = ANY($3)"
    );
    let query = sqlx::query(of_instruments).bind(&brokers).bind(&symbols).bind(&strategies);
    let mut found = query.fetch_all(&mut *conn).await?;
    if !sums.is_empty() {
        let of_sums = concat!(sessions!(), "risk_sessions p WHERE p.strategy_id = ANY($1)");
        found.extend(sqlx::query(of_sums).bind(&sums).fetch_all(&mut *conn).await?);
    }
    for row in &found {
        let (key, start, base) = rows::session(row)?;
        ledger.risk.sessions.insert(key, (start, base));
    }
    Ok(())
}

async fn load_rates(
    conn: &mut PgConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let scopes = column!(wanted.rates, |scope| scope.columns());
    let sql = "SELECT r.scope, r.name, sum(r.orders)::bigint AS orders FROM unnest($1::text[], $2::text[]) AS k (scope, name) \
               JOIN risk_rate r ON r.scope = k.scope AND r.name = k.name WHERE r.at_us > $3 GROUP BY r.scope, r.name";
    let query =
        sqlx::query(sql).bind(column!(scopes, |scope| scope.0)).bind(column!(scopes, |scope| &*scope.1));
    for row in query.bind(ledger.now.micros() - SECOND_US).fetch_all(conn).await? {
        ledger.risk.recent_orders.insert(rows::scope(&row)?, rows::unsigned(&row, "orders")?);
    }
    Ok(())
}

async fn load_windows(
    conn: &mut PgConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let now = ledger.now.micros();
    let brokers = column!(wanted.instruments, |(broker, _)| broker.as_str());
    let symbols = column!(wanted.instruments, |(_, symbol)| symbol.as_str());
    if let Some(window) = wanted.fills_within_us {
        let sql = "SELECT symbol, strategy_id, side, at_us, fills FROM risk_fills WHERE symbol = ANY($1) AND at_us > $2";
        for row in sqlx::query(sql).bind(&symbols).bind(now - window).fetch_all(&mut *conn).await? {
            let (of, at, fills) = rows::fills(&row)?;
            ledger.risk.fills.entry(of).or_default().push((at, fills));
        }
    }
    if let Some(window) = wanted.prices_within_us {
        let sql = "SELECT p.broker, p.symbol, p.at_us, p.price::text FROM unnest($1::text[], $2::text[]) AS k (broker, symbol) \
                   JOIN risk_prices p ON p.broker = k.broker AND p.symbol = k.symbol AND p.at_us >= $3 ORDER BY p.at_us";
        let query = sqlx::query(sql).bind(&brokers).bind(&symbols).bind(now - window);
        for row in query.fetch_all(&mut *conn).await? {
            let price = (rows::timestamp(&row, "at_us")?, rows::parse(&row, "price")?);
            ledger.risk.prices.entry(rows::instrument(&row)?).or_default().push(price);
        }
    }
    if let Some(window) = wanted.failures_within_us {
        let sql = "SELECT broker, at_us, failures FROM risk_failures WHERE broker = ANY($1) AND at_us > $2";
        for row in sqlx::query(sql).bind(&brokers).bind(now - window).fetch_all(&mut *conn).await? {
            let failed = (rows::timestamp(&row, "at_us")?, rows::unsigned(&row, "failures")?);
            ledger.risk.failures.entry(rows::parse(&row, "broker")?).or_default().push(failed);
        }
    }
    if !wanted.contents.is_empty() {
        let sql = "SELECT hash, client_order_id, at_us FROM risk_contents WHERE hash = ANY($1)";
        let hashes = column!(wanted.contents, |hash| &hash.0[..]);
        for row in sqlx::query(sql).bind(hashes).fetch_all(&mut *conn).await? {
            let asked = (rows::parse(&row, "client_order_id")?, rows::timestamp(&row, "at_us")?);
            ledger.risk.contents.insert(rows::hash(&row, "hash")?, asked);
        }
    }
    Ok(())
}
