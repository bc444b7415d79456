//! Controls that look at what an order's scope has already: positions, open orders, money, requests.

use rust_decimal::Decimal;

use crate::domain::amount;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::Side;
use crate::domain::position::Position;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::trading_state::{Scope, TradingState};

use super::order::of;
use super::{Breach, Limit, LimitRow, RiskView, RowView, Sums};

/// Halted: nothing passes that is not a cancel. Reduce-only: what shrinks the journaled position, even with all open
/// orders of its side filled.
pub(super) fn trading_state(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    let halted = view.switches.iter().find(|(switch, _)| switch.state == TradingState::Halted);
    let refusing =
        halted.or_else(|| view.switches.iter().find(|(_, position)| !shrinks(order, position, view)));
    refusing.map_or(Ok(()), |(switch, _)| Err(switch.refusal()))
}

/// With all open orders of its side filled too, the order does not reach beyond zero.
pub(super) fn reduces(order: &OrderSpec, view: &RiskView<'_>) -> bool {
    shrinks(order, view.position, view)
}

fn shrinks(order: &OrderSpec, position: &Position, view: &RiskView<'_>) -> bool {
    let held = match order.side {
        Side::Buy => -position.quantity.get(),
        Side::Sell => position.quantity.get(),
    };
    view.open_quantity.checked_add(position.reserved(order.side)).is_some_and(|traded| traded.get() <= held)
}

pub(super) fn order_rate(order: &OrderSpec, row: &RowView<'_>) -> Option<Refusal> {
    let (limit, recent) = (row.row.max_orders_per_second.at()?, row.recent_orders?);
    (Decimal::from(recent) >= limit).then(|| {
        let whose = of(row);
        let within = if whose.is_empty() { format!(" in {}", order.symbol) } else { whose };
        let reason = format!(
            "{recent} orders{within} within a second, max_orders_per_second is {limit}: send it later, under a new client_order_id"
        );
        Refusal::new(Code::OrderRate, reason)
    })
}

/// The position after every open order of this side, this one included, has filled. What brings it
/// nearer to zero passes even where a lowered limit is exceeded already.
pub(super) fn worst_case_position(
    order: &OrderSpec,
    row: &RowView<'_>,
    view: &RiskView<'_>,
) -> Result<(), Refusal> {
    let Limit::At(limit) = row.row.max_position else { return Ok(()) };
    let position = &row.position;
    let open = order.side.signed(position.reserved(order.side).get());
    let worst = amount::add(position.quantity.get(), open).and_then(|before| {
        let after = amount::add(before, order.side.signed(view.open_quantity.get()))?;
        Some((before.abs(), after.abs()))
    });
    match worst {
        Some((before, after)) if after <= limit || after < before => Ok(()),
        other => {
            let after = other.map_or_else(|| "too large to count".to_owned(), |(_, after)| after.to_string());
            let reason = format!(
                "the worst-case position in {} would be {after} (position {}, open {} orders {}, this order {}), max_position is {limit}{}",
                order.symbol,
                position.quantity,
                order.side,
                position.reserved(order.side),
                view.open_quantity,
                of(row)
            );
            Err(Refusal::new(Code::PositionLimit, reason))
        }
    }
}

/// As many orders as are open now, this one included.
pub(super) fn open_orders(order: &OrderSpec, row: &RowView<'_>, view: &RiskView<'_>) -> Result<(), Refusal> {
    let Some(limit) = row.row.optional.max_open_orders else { return Ok(()) };
    let open = row.sums.open_orders;
    if view.is_counted || open < limit {
        return Ok(());
    }
    let whose = of(row);
    let within = if whose.is_empty() { format!(" in {}", order.symbol) } else { whose };
    let reason = format!("{open} orders{within} are open, max_open_orders is {limit}: cancel one first");
    Err(Refusal::new(Code::MaxOpenOrders, reason))
}

/// Realized and unrealized less commission since the session's start.
pub(super) fn daily_loss(order: &OrderSpec, row: &RowView<'_>, view: &RiskView<'_>) -> Result<(), Refusal> {
    let Limit::At(limit) = row.row.max_daily_loss else { return Ok(()) };
    match row.sums.result {
        Some(result) if result >= -limit => Ok(()),
        _ if shrinks(order, &row.position, view) => Ok(()),
        Some(result) => {
            Err(Refusal::new(Code::DailyLoss, loss_sentence(order.symbol.as_str(), row.row, result, limit)))
        }
        None => Err(uncountable(row, "max_daily_loss")),
    }
}

/// A loss beyond the limit stops its scope until the next session, whoever sees it. `symbol`: for a row that is for one.
#[must_use]
pub fn daily_loss_breach(row: &LimitRow, scope: &Scope, sums: &Sums, symbol: &str) -> Option<Breach> {
    let limit = row.max_daily_loss.at()?;
    let result = sums.result.filter(|result| *result < -limit)?;
    let why = loss_sentence(symbol, row, result, limit);
    Some(Breach { scope: scope.clone(), code: Code::DailyLoss, why, pause_ms: None })
}

fn loss_sentence(symbol: &str, row: &LimitRow, result: Decimal, limit: Decimal) -> String {
    let is_a_symbols = row.strategy_id.is_none() && !row.account;
    let whose = if is_a_symbols { symbol.to_owned() } else { row.name() };
    format!(
        "the loss of {whose} in this session is {}, max_daily_loss is {limit}: only what reduces the position passes",
        -result
    )
}

/// Worst cases of all symbols of the scope, at the prices of now.
pub(super) fn exposure(
    order: &OrderSpec,
    row: &RowView<'_>,
    view: &RiskView<'_>,
    reference: Decimal,
) -> Result<(), Refusal> {
    let limits = &row.row.optional;
    if limits.max_gross_exposure.is_none() && limits.max_net_exposure.is_none() {
        return Ok(());
    }
    if shrinks(order, &row.position, view) {
        return Ok(());
    }
    let after = row.sums.with_order(&row.position, order.side, view.open_quantity, view.contract, reference);
    let Some(after) = after else { return Err(uncountable(row, "exposure")) };
    let checks = [
        ("gross", "max_gross_exposure", limits.max_gross_exposure, after.gross),
        ("net", "max_net_exposure", limits.max_net_exposure, after.net()),
    ];
    for (what, key, limit, exposure) in checks {
        let Some(limit) = limit.filter(|limit| exposure > limit.get()) else { continue };
        let reason = format!(
            "the {what} exposure of {} would be {exposure} with this order filled, {key} is {limit}",
            row.row.name()
        );
        return Err(Refusal::new(Code::MaxExposure, reason));
    }
    Ok(())
}

/// A sum in which something is missing is no sum.
fn uncountable(row: &RowView<'_>, what: &str) -> Refusal {
    match &row.sums.unpriced {
        Some(symbol) => Refusal::new(
            Code::StalePrice,
            format!(
                "{what} of {} cannot be told: {symbol} has open positions or orders and no price younger than risk.max_quote_age_ms, or no rate to risk.currency in risk.fx",
                row.row.name()
            ),
        ),
        None => Refusal::new(
            Code::DailyLoss,
            format!("{what} of {} has too many digits to be exact", row.row.name()),
        ),
    }
}
