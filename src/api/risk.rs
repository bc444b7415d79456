//! The limits in force, what of each is used, and what is left.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::amount::{self, Amount};
use crate::domain::contract::Contracts;
use crate::domain::control::Control;
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::ledger::SessionKey;
use crate::domain::position::{Book, Position};
use crate::domain::risk::{ANY, BookValue, Limit, LimitRow, Sums, contract_or_plain};
use crate::domain::time::Timestamp;
use crate::domain::trading_state::Scope;
use crate::ports::journal::RiskCounters;

/// One limit. Quantities in units, money in the account's currency where there is one, else in the symbol's, rates in
/// requests a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitUse {
    /// What its row is for.
    pub row: String,
    /// What it is used by; null where nobody uses it yet, and for what is added up over symbols.
    pub symbol: Option<Symbol>,
    pub broker: Option<BrokerName>,
    pub control: &'static str,
    pub limit: Limit,
    /// Null for what is judged order by order, and where it cannot be told for want of a price.
    pub used: Option<Amount>,
    /// Null without a limit; negative where it is exceeded.
    pub head_room: Option<Amount>,
}

/// Everything that uses of limits are told from.
pub struct State<'a> {
    pub control: &'a Control,
    pub books: &'a [(Book, Position)],
    pub counters: &'a RiskCounters,
    pub marks: &'a HashMap<(BrokerName, Symbol), Decimal>,
    pub contracts: &'a Contracts,
    /// Of the session that it is now.
    pub session_start: Timestamp,
}

/// What of each limit is used.
#[must_use]
pub fn usage(state: &State<'_>) -> Vec<LimitUse> {
    state.control.limits.rows().flat_map(|row| row_usage(state, row)).collect()
}

fn row_usage(state: &State<'_>, row: &LimitRow) -> Vec<LimitUse> {
    let its: Vec<&(Book, Position)> =
        state.books.iter().filter(|(book, _)| is_its(state, row, book)).collect();
    let adds_up = row.account || (row.strategy_id.is_some() && &*row.symbol == ANY);
    if its.is_empty() {
        return row
            .limits()
            .into_iter()
            .map(|(control, limit)| entry(row, None, control, limit, None))
            .collect();
    }
    let mut uses = Vec::new();
    for (book, position) in &its {
        for (control, limit) in row.limits() {
            // What is added up over symbols has a line of its own.
            if adds_up && control != "max_position" {
                continue;
            }
            let scope = row.scope(&book.symbol);
            let used = match control {
                "max_position" => position.worst_cases().map(|[bought, sold]| bought.abs().max(sold.abs())),
                _ => sum_used(state, control, &scope, std::iter::once(&(book.clone(), position.clone()))),
            };
            uses.push(entry(row, Some(book), control, limit, used));
        }
    }
    if adds_up {
        let scope = row.scope(&its[0].0.symbol);
        for (control, limit) in row.limits().into_iter().filter(|(control, _)| *control != "max_position") {
            let used = sum_used(state, control, &scope, its.iter().copied());
            uses.push(entry(row, None, control, limit, used));
        }
    }
    uses
}

/// Whether a book is held against a row.
fn is_its(state: &State<'_>, row: &LimitRow, book: &Book) -> bool {
    if row.account {
        return book.strategy.is_none();
    }
    match (&row.strategy_id, &book.strategy) {
        (Some(id), Some(strategy)) => {
            id == strategy && (&*row.symbol == ANY || *row.symbol == *book.symbol.as_str())
        }
        (None, None) => state
            .control
            .limits
            .of_symbol(&book.symbol)
            .is_some_and(|of_symbol| of_symbol.symbol == row.symbol),
        _ => false,
    }
}

fn sum_used<'a>(
    state: &State<'_>,
    control: &str,
    scope: &Scope,
    books: impl Iterator<Item = &'a (Book, Position)>,
) -> Option<Decimal> {
    if control == "max_orders_per_second" {
        return Some(state.counters.recent(scope).into());
    }
    let values = books.map(|(book, position)| BookValue {
        symbol: &book.symbol,
        position,
        contract: contract_or_plain(state.contracts.of(&book.symbol)),
        has_rate: state.contracts.has_rate(&book.symbol),
        mark: state.marks.get(&(book.broker.clone(), book.symbol.clone())).copied(),
        base: base(state, scope, book, position),
    });
    let sums = Sums::of(values.collect::<Vec<_>>(), true);
    match control {
        "max_open_orders" => Some(sums.open_orders.into()),
        "max_daily_loss" => sums.result.map(|result| (-result).max(Decimal::ZERO)),
        "max_gross_exposure" => sums.exposure.map(|exposure| exposure.gross),
        "max_net_exposure" => sums.exposure.map(|exposure| exposure.net()),
        _ => None,
    }
}

/// What a book had earned when the loss began to count; before the first order of a session nothing was gained or lost
/// that counts.
fn base(state: &State<'_>, scope: &Scope, book: &Book, position: &Position) -> Amount {
    let resumed = state.control.trading.get(scope).and_then(|switch| switch.loss_counts_from);
    let resumed = resumed.filter(|at| *at > state.session_start);
    let key = SessionKey { scope: resumed.map(|_| scope.clone()), book: book.clone() };
    session_base(state.counters, &key, resumed.unwrap_or(state.session_start)).unwrap_or_else(|| {
        let mark = state.marks.get(&(book.broker.clone(), book.symbol.clone())).copied();
        let contract = contract_or_plain(state.contracts.of(&book.symbol));
        position.account_equity(mark.unwrap_or(Decimal::ONE), contract).unwrap_or(Amount::ZERO)
    })
}

/// What a book had earned when the session began that `from` lies in.
#[must_use]
pub fn session_base(counters: &RiskCounters, key: &SessionKey, from: Timestamp) -> Option<Amount> {
    counters.sessions.get(key).filter(|(start, _)| *start >= from).map(|(_, base)| *base)
}

fn entry(
    row: &LimitRow,
    book: Option<&Book>,
    control: &'static str,
    limit: Limit,
    used: Option<Decimal>,
) -> LimitUse {
    let head_room = limit.at().zip(used).and_then(|(limit, used)| amount::sub(limit, used));
    LimitUse {
        row: row.name(),
        symbol: book.map(|book| book.symbol.clone()),
        broker: book.map(|book| book.broker.clone()),
        control,
        limit,
        used: used.map(Amount::of),
        head_room: head_room.map(Amount::of),
    }
}
