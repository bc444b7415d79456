//! Profit and loss: by symbol, by strategy, by broker account, and of the session.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::amount::{self, Amount};
use crate::domain::contract::Contracts;
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::ledger::SessionKey;
use crate::domain::position::{Book, Position};
use crate::domain::risk::contract_or_plain;
use crate::domain::time::Timestamp;
use crate::ports::journal::RiskCounters;

use super::risk::session_base;

/// What a row adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Symbol,
    Strategy,
    Broker,
}

/// Money in the account's currency where there is one, else in the symbols'. What cannot be told for want of a price is
/// null, and with it every sum that it is part of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PnlRow {
    pub broker: BrokerName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy_id: Option<String>,
    /// Less commission, each fill at the rate of its time.
    pub realized_pnl: Amount,
    pub unrealized_pnl: Option<Amount>,
    /// Both together.
    pub pnl: Option<Amount>,
    /// Of that, since the session began; null before its first order.
    pub session_pnl: Option<Amount>,
    /// Fills whose commission could not be converted, and is in none of these.
    pub unvalued_commissions: u64,
    /// Something of it has no price.
    #[serde(skip)]
    is_unpriced: bool,
}

/// What profit and loss are told from.
pub struct State<'a> {
    pub books: &'a [(Book, Position)],
    pub counters: &'a RiskCounters,
    pub marks: &'a HashMap<(BrokerName, Symbol), Decimal>,
    pub contracts: &'a Contracts,
    pub session_start: Timestamp,
}

#[must_use]
pub fn rows(state: &State<'_>, by: By) -> Vec<PnlRow> {
    let mut found: BTreeMap<(BrokerName, Option<String>, Option<Symbol>), PnlRow> = BTreeMap::new();
    for (book, position) in state.books {
        if book.strategy.is_some() != matches!(by, By::Strategy) {
            continue;
        }
        let row = of_book(state, book, position);
        let key = match by {
            By::Symbol => (book.broker.clone(), None, row.symbol.clone()),
            By::Strategy => (book.broker.clone(), row.strategy_id.clone(), None),
            By::Broker => (book.broker.clone(), None, None),
        };
        let row = PnlRow { symbol: key.2.clone(), ..row };
        match found.get_mut(&key) {
            None => drop(found.insert(key, row)),
            Some(sum) => add(sum, &row),
        }
    }
    found.into_values().collect()
}

fn of_book(state: &State<'_>, book: &Book, position: &Position) -> PnlRow {
    let is_flat = position.quantity.get().is_zero();
    let mark = state.marks.get(&(book.broker.clone(), book.symbol.clone())).copied();
    let mark = mark.or_else(|| is_flat.then_some(Decimal::ONE));
    let mark = mark.filter(|_| state.contracts.has_rate(&book.symbol));
    let contract = contract_or_plain(state.contracts.of(&book.symbol));
    let unrealized =
        mark.and_then(|mark| contract.in_account(position.unrealized_pnl(mark)?)).map(Amount::of);
    let pnl = mark.and_then(|mark| position.account_equity(mark, contract));
    let key = SessionKey { scope: None, book: book.clone() };
    let base = session_base(state.counters, &key, state.session_start);
    PnlRow {
        broker: book.broker.clone(),
        symbol: Some(book.symbol.clone()),
        strategy_id: book.strategy.as_deref().map(str::to_owned),
        realized_pnl: position.account_pnl,
        unrealized_pnl: unrealized,
        pnl,
        session_pnl: pnl.zip(base).and_then(|(pnl, base)| pnl.checked_sub(base)),
        unvalued_commissions: position.unvalued_commissions,
        is_unpriced: pnl.is_none(),
    }
}

fn add(sum: &mut PnlRow, row: &PnlRow) {
    let plus = |a: Option<Amount>, b: Option<Amount>| a?.checked_add(b?);
    let realized = amount::add(sum.realized_pnl.get(), row.realized_pnl.get());
    sum.realized_pnl = realized.map_or(sum.realized_pnl, Amount::of);
    sum.unrealized_pnl = plus(sum.unrealized_pnl, row.unrealized_pnl);
    sum.pnl = plus(sum.pnl, row.pnl);
    // A symbol that was not traded in this session adds nothing to it.
    sum.is_unpriced |= row.is_unpriced;
    sum.session_pnl = match (sum.session_pnl, row.session_pnl) {
        _ if sum.is_unpriced => None,
        (Some(a), Some(b)) => a.checked_add(b),
        (a, b) => a.or(b),
    };
    sum.unvalued_commissions += row.unvalued_commissions;
}
