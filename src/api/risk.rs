//! The limits in force, what of each is used, and what is left.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::amount::{self, Amount};
use crate::domain::control::Control;
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::position::Position;
use crate::domain::risk::{Limit, LimitRow};
use crate::domain::time::Timestamp;
use crate::ports::journal::RiskCounters;

use super::position::PositionRow;

/// One limit. Quantities in units, money in the quote currency, rates in requests a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitUse {
    /// What its row is for.
    pub row: String,
    /// What it is used by; null where nobody uses it yet.
    pub symbol: Option<Symbol>,
    pub broker: Option<BrokerName>,
    pub control: &'static str,
    pub limit: Limit,
    /// Null for what is judged order by order, and where it cannot be counted for want of a price.
    pub used: Option<Amount>,
    /// Null without a limit; negative where it is exceeded.
    pub head_room: Option<Amount>,
}

/// What of each limit is used. `session_start`: of the session that it is now.
#[must_use]
pub fn usage(
    control: &Control,
    positions: &[(BrokerName, Symbol, Position)],
    rows: &[PositionRow],
    counters: &RiskCounters,
    session_start: Timestamp,
) -> Vec<LimitUse> {
    let mut uses = Vec::new();
    let valued: BTreeMap<_, _> = rows.iter().map(|row| ((&row.broker, &row.symbol), row)).collect();
    for limits in control.limits.values() {
        let is_its =
            |symbol: &Symbol| control.limits_of(symbol).is_some_and(|row| row.symbol == limits.symbol);
        let its: Vec<_> = positions.iter().filter(|(_, symbol, _)| is_its(symbol)).collect();
        if its.is_empty() {
            uses.extend(limits.limits().map(|(control, limit)| entry(limits, None, control, limit, None)));
        }
        for (broker, symbol, position) in its {
            let loss = || {
                let row = valued.get(&(broker, symbol))?;
                let result = session_result(row, broker, symbol, counters, session_start)?;
                Some((-result).max(Decimal::ZERO))
            };
            for (control, limit) in limits.limits() {
                let used = match control {
                    "max_position" => worst_case(position),
                    "max_daily_loss" => loss(),
                    "max_orders_per_second" => Some(counters.recent(symbol).into()),
                    _ => None,
                };
                uses.push(entry(limits, Some((broker, symbol)), control, limit, used));
            }
        }
    }
    uses
}

fn entry(
    row: &LimitRow,
    whose: Option<(&BrokerName, &Symbol)>,
    control: &'static str,
    limit: Limit,
    used: Option<Decimal>,
) -> LimitUse {
    let head_room = limit.at().zip(used).and_then(|(limit, used)| amount::sub(limit, used));
    LimitUse {
        row: row.name(),
        symbol: whose.map(|(_, symbol)| symbol.clone()),
        broker: whose.map(|(broker, _)| broker.clone()),
        control,
        limit,
        used: used.map(Amount::of),
        head_room: head_room.map(Amount::of),
    }
}

/// The larger of what all open buys, or all open sells, would make of the position.
fn worst_case(position: &Position) -> Option<Decimal> {
    let bought = amount::add(position.quantity.get(), position.reserved_buy.get())?;
    let sold = amount::sub(position.quantity.get(), position.reserved_sell.get())?;
    Some(bought.abs().max(sold.abs()))
}

/// Realized and unrealized less commission since the session began; before its first order nothing was gained or lost
/// that counts.
fn session_result(
    row: &PositionRow,
    broker: &BrokerName,
    symbol: &Symbol,
    counters: &RiskCounters,
    session_start: Timestamp,
) -> Option<Decimal> {
    let session = counters.sessions.iter().find(|(b, s, ..)| b == broker && s == symbol);
    let Some((_, _, _, base)) = session.filter(|(_, _, start, _)| *start >= session_start) else {
        return Some(Decimal::ZERO);
    };
    let gross = amount::add(row.realized_pnl.get(), row.unrealized_pnl?.get())?;
    amount::sub(amount::sub(gross, row.commission.get())?, base.get())
}
