//! Books, and what limits count.

use std::collections::BTreeSet;

use sqlx::{Row as _, SqliteConnection};

use crate::adapters::journal::rows::{self, signed};
use crate::domain::ids::BrokerName;
use crate::domain::ledger::{Ledger, Mark, Wanted};
use crate::domain::order::ContentHash;
use crate::domain::order_type::Side;
use crate::domain::risk::OptionalLimits;
use crate::domain::time::Timestamp;
use crate::domain::trading_state::Scope;
use crate::domain::venue::Spent;

use super::load::{json_list, orders_where, select};
use super::statements::{Multi, execute_multi};

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

/// The statements of an append, written once.
#[derive(Debug)]
pub(super) struct Statements {
    positions: Multi,
    rates: Multi,
    sessions: Multi,
    marks: Multi,
    prices: Multi,
    fills: Multi,
    contents: Multi,
    spent: Multi,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            positions: Multi::new(
                "INSERT INTO positions (broker, symbol, strategy_id, quantity, cost, realized_pnl, commission, \
                 unvalued_commissions, account_pnl, sequence, closed_at, reserved_buy, reserved_sell, open_orders, contract) \
                 VALUES {values} ON CONFLICT (broker, symbol, strategy_id) DO UPDATE SET quantity = excluded.quantity, \
                 cost = excluded.cost, realized_pnl = excluded.realized_pnl, commission = excluded.commission, \
                 unvalued_commissions = excluded.unvalued_commissions, account_pnl = excluded.account_pnl, \
                 sequence = excluded.sequence, closed_at = excluded.closed_at, reserved_buy = excluded.reserved_buy, \
                 reserved_sell = excluded.reserved_sell, open_orders = excluded.open_orders, contract = excluded.contract",
                15,
            ),
            rates: Multi::new(
                "INSERT INTO risk_rate (scope, name, at_us, orders) VALUES {values} \
                 ON CONFLICT (scope, name, at_us) DO UPDATE SET orders = orders + excluded.orders",
                4,
            ),
            sessions: Multi::new(
                "INSERT INTO risk_sessions (broker, symbol, strategy_id, scope, name, start_us, base) VALUES {values} \
                 ON CONFLICT (broker, symbol, strategy_id, scope, name) DO UPDATE SET start_us = excluded.start_us, \
                 base = excluded.base",
                7,
            ),
            marks: Multi::new(
                "INSERT INTO risk_marks (broker, symbol, price, at_us) VALUES {values} \
                 ON CONFLICT (broker, symbol) DO UPDATE SET price = excluded.price, at_us = excluded.at_us",
                4,
            ),
            prices: Multi::new("INSERT INTO risk_prices (broker, symbol, at_us, price) VALUES {values}", 4),
            fills: Multi::new(
                "INSERT INTO risk_fills (symbol, strategy_id, side, at_us, fills) VALUES {values} \
                 ON CONFLICT (symbol, strategy_id, side, at_us) DO UPDATE SET fills = fills + excluded.fills",
                5,
            ),
            contents: Multi::new(
                "INSERT INTO risk_contents (hash, client_order_id, at_us) VALUES {values} \
                 ON CONFLICT (hash) DO UPDATE SET client_order_id = excluded.client_order_id, at_us = excluded.at_us",
                3,
            ),
            spent: Multi::new(
                "INSERT INTO quote_spent (broker, symbol, side, quote_us, quantity) VALUES {values} \
                 ON CONFLICT (broker, symbol, side) DO UPDATE SET quote_us = excluded.quote_us, quantity = excluded.quantity",
                5,
            ),
        }
    }

    pub(super) async fn append(
        &self,
        conn: &mut SqliteConnection,
        ledger: &Ledger,
    ) -> Result<(), sqlx::Error> {
        self.append_positions(conn, ledger).await?;
        self.append_counters(conn, ledger).await?;
        self.append_windows(conn, ledger).await?;
        let spent = ledger.changes.spent.iter();
        let spent: Vec<_> = spent.filter_map(|key| Some((key, ledger.spent.get(key)?))).collect();
        execute_multi!(conn, self.spent, &spent, |query, row| {
            let ((broker, symbol, side), spent) = row;
            query
                .bind(broker.as_str())
                .bind(symbol.as_str())
                .bind(side.as_str())
                .bind(spent.quote_at.map(|at| at.micros()))
                .bind(spent.quantity.to_string())
        });
        Ok(())
    }

    async fn append_positions(
        &self,
        conn: &mut SqliteConnection,
        ledger: &Ledger,
    ) -> Result<(), sqlx::Error> {
        let books = ledger.changes.positions.iter();
        let positions: Vec<_> = books.filter_map(|book| Some((book, ledger.positions.get(book)?))).collect();
        execute_multi!(conn, self.positions, &positions, |query, row| {
            let (book, position) = row;
            query
                .bind(book.broker.as_str())
                .bind(book.symbol.as_str())
                .bind(book.strategy.as_deref().unwrap_or_default())
                .bind(position.quantity.to_string())
                .bind(position.cost.to_string())
                .bind(position.realized_pnl.to_string())
                .bind(position.commission.to_string())
                .bind(signed(position.unvalued_commissions))
                .bind(position.account_pnl.to_string())
                .bind(signed(position.sequence))
                .bind(signed(position.closed_at))
                .bind(position.reserved_buy.to_string())
                .bind(position.reserved_sell.to_string())
                .bind(signed(position.open_orders))
                .bind(rows::contract_text(position.contract.as_deref())?)
        });
        Ok(())
    }

    async fn append_counters(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        let (changes, now) = (&ledger.risk.changes, ledger.now.micros());
        if !changes.recent_orders.is_empty() {
            let counted: Vec<_> =
                changes.recent_orders.iter().map(|(scope, count)| (scope.columns(), *count)).collect();
            let old = "DELETE FROM risk_rate WHERE at_us < ? AND (scope, name) IN \
                       (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
            let scopes: Vec<_> = counted.iter().map(|(scope, _)| scope).collect();
            sqlx::query(old).bind(now - RATE_KEPT_US).bind(json_list(&scopes)?).execute(&mut *conn).await?;
            execute_multi!(conn, self.rates, &counted, |query, row| {
                query.bind(row.0.0).bind(&*row.0.1).bind(now).bind(signed(row.1))
            });
        }
        let sessions = changes.sessions.iter();
        let sessions: Vec<_> =
            sessions.filter_map(|key| Some((key, ledger.risk.sessions.get(key)?))).collect();
        execute_multi!(conn, self.sessions, &sessions, |query, row| {
            let (key, (start, base)) = row;
            let (scope, name) = key.scope.as_ref().map_or(("", "".into()), Scope::columns);
            query
                .bind(key.book.broker.as_str())
                .bind(key.book.symbol.as_str())
                .bind(key.book.strategy.as_deref().unwrap_or_default())
                .bind(scope)
                .bind(name.into_owned())
                .bind(start.micros())
                .bind(base.to_string())
        });
        let marks = changes.marks.iter();
        let marks: Vec<_> = marks.filter_map(|key| Some((key, ledger.risk.marks.get(key)?))).collect();
        execute_multi!(conn, self.marks, &marks, |query, row| {
            let ((broker, symbol), mark) = row;
            query
                .bind(broker.as_str())
                .bind(symbol.as_str())
                .bind(mark.price.to_string())
                .bind(mark.at.map(|at| at.micros()))
        });
        Ok(())
    }

    async fn append_windows(&self, conn: &mut SqliteConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
        let (changes, now) = (&ledger.risk.changes, ledger.now.micros());
        if !changes.prices.is_empty() {
            let old = "DELETE FROM risk_prices WHERE broker = ? AND symbol = ? AND at_us < ?";
            for (broker, symbol, ..) in &changes.prices {
                let query = sqlx::query(old).bind(broker.as_str()).bind(symbol.as_str());
                query.bind(older_than(ledger, |o| o.price_move_window_ms)).execute(&mut *conn).await?;
            }
            execute_multi!(conn, self.prices, &changes.prices, |query, row| {
                let (broker, symbol, at, price) = row;
                query.bind(broker.as_str()).bind(symbol.as_str()).bind(at.micros()).bind(price.to_string())
            });
        }
        let fills: Vec<_> = changes.fills.iter().collect();
        for (of, _) in &fills {
            let old =
                "DELETE FROM risk_fills WHERE symbol = ? AND strategy_id = ? AND side = ? AND at_us < ?";
            let query =
                sqlx::query(old).bind(of.symbol.as_str()).bind(of.strategy.as_deref().unwrap_or_default());
            query
                .bind(of.side.as_str())
                .bind(older_than(ledger, |o| o.fills_window_ms))
                .execute(&mut *conn)
                .await?;
        }
        execute_multi!(conn, self.fills, &fills, |query, row| {
            let (of, count) = row;
            query
                .bind(of.symbol.as_str())
                .bind(of.strategy.as_deref().unwrap_or_default())
                .bind(of.side.as_str())
                .bind(now)
                .bind(signed(**count))
        });
        for (broker, count) in &changes.failures {
            let old = "DELETE FROM risk_failures WHERE broker = ? AND at_us < ?";
            sqlx::query(old).bind(broker.as_str()).bind(now - KEPT_US).execute(&mut *conn).await?;
            let sql = "INSERT INTO risk_failures (broker, at_us, failures) VALUES (?, ?, ?) \
                       ON CONFLICT (broker, at_us) DO UPDATE SET failures = failures + excluded.failures";
            let query = sqlx::query(sql).bind(broker.as_str()).bind(now).bind(signed(*count));
            query.execute(&mut *conn).await?;
        }
        if !changes.contents.is_empty() {
            let old = "DELETE FROM risk_contents WHERE at_us < ?";
            sqlx::query(old).bind(older_than(ledger, |o| o.duplicate_window_ms)).execute(&mut *conn).await?;
            // The last word on each counts; two rows of one statement may be of the same.
            for (hash, id, at) in &changes.contents {
                let row = [(hash, id, at)];
                execute_multi!(conn, self.contents, &row, |query, row| {
                    query.bind(&row.0.0[..]).bind(row.1.as_str()).bind(row.2.micros())
                });
            }
        }
        Ok(())
    }
}

pub(super) async fn load(
    conn: &mut SqliteConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    load_books(conn, wanted, ledger).await?;
    load_rates(conn, wanted, ledger).await?;
    load_windows(conn, wanted, ledger).await?;
    let instruments: Vec<_> = wanted.instruments.iter().collect();
    let spent = "SELECT q.* FROM json_each(?) k JOIN quote_spent q ON q.broker = k.value ->> 0 AND q.symbol = k.value ->> 1";
    for row in select(conn, spent, &instruments).await? {
        let quote_at: Option<i64> = row.try_get("quote_us")?;
        let side: &str = row.try_get("side")?;
        let side = if side == Side::Buy.as_str() { Side::Buy } else { Side::Sell };
        let key = (rows::parse(&row, "broker")?, rows::parse(&row, "symbol")?, side);
        let quantity = rows::parse(&row, "quantity")?;
        ledger.spent.insert(key, Spent { quote_at: quote_at.map(Timestamp::from_micros), quantity });
    }
    let open = orders_where!(
        "admission IN (SELECT o.admission FROM json_each(?) k JOIN orders o ON o.broker = k.value ->> 0 \
         AND o.symbol = k.value ->> 1 AND o.status IN ('PendingSubmit', 'Submitted', 'Acknowledged', 'PartiallyFilled'))"
    );
    let open_orders: Vec<_> = wanted.open_orders.iter().collect();
    for row in select(conn, open, &open_orders).await? {
        let record = rows::order(&row)?;
        ledger.orders.entry(record.order.spec.id).or_insert(record);
    }
    Ok(())
}

/// Whose books: of the instruments, each strategy's that is named, and all of a scope that adds them up.
fn books_of(wanted: &Wanted) -> Result<[String; 3], sqlx::Error> {
    let instruments: Vec<_> = wanted.instruments.iter().collect();
    let strategies: Vec<&str> = std::iter::once("").chain(wanted.strategies.iter().map(|id| &**id)).collect();
    let sums: Vec<&str> = wanted
        .sums
        .iter()
        .filter_map(|scope| match scope {
            Scope::All => Some(""),
            Scope::StrategyId(id) => Some(&**id),
            _ => None,
        })
        .collect();
    Ok([json_list(&instruments)?, json_list(&strategies)?, json_list(&sums)?])
}

async fn load_books(
    conn: &mut SqliteConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let [instruments, strategies, sums] = books_of(wanted)?;
    let of_instruments = "SELECT p.* FROM json_each(?) k JOIN json_each(?) s JOIN positions p ON p.broker = k.value ->> 0 \
                          AND p.symbol = k.value ->> 1 AND p.strategy_id = s.value";
    let mut found =
        sqlx::query(of_instruments).bind(&instruments).bind(&strategies).fetch_all(&mut *conn).await?;
    if !wanted.sums.is_empty() {
        let of_sums = "SELECT p.* FROM json_each(?) s JOIN positions p ON p.strategy_id = s.value";
        found.extend(sqlx::query(of_sums).bind(&sums).fetch_all(&mut *conn).await?);
        for row in sqlx::query("SELECT * FROM risk_marks").fetch_all(&mut *conn).await? {
            let at: Option<i64> = row.try_get("at_us")?;
            let mark = Mark { price: rows::parse(&row, "price")?, at: at.map(Timestamp::from_micros) };
            ledger.risk.marks.insert(rows::instrument(&row)?, mark);
        }
    }
    for row in &found {
        ledger.positions.insert(rows::book(row)?, rows::position(row)?);
    }
    let of_instruments = "SELECT p.* FROM json_each(?) k JOIN json_each(?) s JOIN risk_sessions p \
                          ON p.broker = k.value ->> 0 AND p.symbol = k.value ->> 1 AND p.strategy_id = s.value";
    let mut found =
        sqlx::query(of_instruments).bind(&instruments).bind(&strategies).fetch_all(&mut *conn).await?;
    if !wanted.sums.is_empty() {
        let of_sums = "SELECT p.* FROM json_each(?) s JOIN risk_sessions p ON p.strategy_id = s.value";
        found.extend(sqlx::query(of_sums).bind(&sums).fetch_all(&mut *conn).await?);
    }
    for row in &found {
        let session = rows::session(row)?;
        ledger.risk.sessions.insert(session.0, (session.1, session.2));
    }
    Ok(())
}

async fn load_rates(
    conn: &mut SqliteConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    if wanted.rates.is_empty() {
        return Ok(());
    }
    let sql = "SELECT r.scope, r.name, sum(r.orders) AS orders FROM json_each(?) k JOIN risk_rate r \
               ON r.scope = k.value ->> 0 AND r.name = k.value ->> 1 AND r.at_us > ? GROUP BY r.scope, r.name";
    let scopes: Vec<_> = wanted.rates.iter().map(Scope::columns).collect();
    let since = ledger.now.micros() - SECOND_US;
    for row in sqlx::query(sql).bind(json_list(&scopes)?).bind(since).fetch_all(conn).await? {
        ledger.risk.recent_orders.insert(rows::scope(&row)?, rows::unsigned(&row, "orders")?);
    }
    Ok(())
}

async fn load_windows(
    conn: &mut SqliteConnection,
    wanted: &Wanted,
    ledger: &mut Ledger,
) -> Result<(), sqlx::Error> {
    let now = ledger.now.micros();
    let instruments: Vec<_> = wanted.instruments.iter().collect();
    if let Some(window) = wanted.fills_within_us {
        let sql = "SELECT DISTINCT f.* FROM json_each(?) k JOIN risk_fills f ON f.symbol = k.value ->> 1 AND f.at_us > ?";
        let query = sqlx::query(sql).bind(json_list(&instruments)?).bind(now - window);
        for row in query.fetch_all(&mut *conn).await? {
            let (of, at, fills) = rows::fills(&row)?;
            ledger.risk.fills.entry(of).or_default().push((at, fills));
        }
    }
    if let Some(window) = wanted.prices_within_us {
        let sql = "SELECT p.* FROM json_each(?) k JOIN risk_prices p ON p.broker = k.value ->> 0 \
                   AND p.symbol = k.value ->> 1 AND p.at_us >= ? ORDER BY p.at_us";
        let query = sqlx::query(sql).bind(json_list(&instruments)?).bind(now - window);
        for row in query.fetch_all(&mut *conn).await? {
            let price = (rows::timestamp(&row, "at_us")?, rows::parse(&row, "price")?);
            ledger.risk.prices.entry(rows::instrument(&row)?).or_default().push(price);
        }
    }
    if let Some(window) = wanted.failures_within_us {
        let sql = "SELECT f.* FROM json_each(?) k JOIN risk_failures f ON f.broker = k.value AND f.at_us > ?";
        let brokers: BTreeSet<&BrokerName> = wanted.instruments.iter().map(|(broker, _)| broker).collect();
        let brokers: Vec<_> = brokers.into_iter().collect();
        let query = sqlx::query(sql).bind(json_list(&brokers)?).bind(now - window);
        for row in query.fetch_all(&mut *conn).await? {
            let failed = (rows::timestamp(&row, "at_us")?, rows::unsigned(&row, "failures")?);
            ledger.risk.failures.entry(rows::parse(&row, "broker")?).or_default().push(failed);
        }
    }
    if !wanted.contents.is_empty() {
        let hashes: Vec<String> = wanted.contents.iter().map(ContentHash::to_string).collect();
        let sql = "SELECT c.* FROM json_each(?) k JOIN risk_contents c ON c.hash = unhex(k.value)";
        for row in select(conn, sql, &hashes).await? {
            let asked = (rows::parse(&row, "client_order_id")?, rows::timestamp(&row, "at_us")?);
            ledger.risk.contents.insert(rows::hash(&row, "hash")?, asked);
        }
    }
    Ok(())
}
