//! Controls that look at an order, its instrument and its market.

use rust_decimal::Decimal;

use crate::domain::amount::{self, Price};
use crate::domain::ids::Symbol;
use crate::domain::market::Market;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{Side, Trigger};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::trading_state::Scope;
use crate::domain::venue;

use super::scope::reduces;
use super::{Breach, Limit, LimitRow, RiskView, RowView};

/// Until the symbol trades again, where the row does not say.
const PAUSE_MS: u64 = 5_000;

/// The order's own limit price, else its trigger price, else what the market offers it; a buy with `max_slippage` may
/// pay up to its bound.
#[must_use]
pub fn expected_price(order: &OrderSpec, market: &Market) -> Option<Decimal> {
    let own =
        order.order_type.limit_price().or_else(|| order.order_type.prices().first().map(|(_, price)| *price));
    let offered = || {
        let offered = market.offer(order.side)?.price;
        let bound = slippage_bound(order, market, None).filter(|_| order.side == Side::Buy);
        Some(bound.map_or(offered, |bound| bound.max(offered)))
    };
    own.or_else(offered).map(Price::get)
}

/// The worst price of a market order with `max_slippage`: so many percent beyond the reference price, on the
/// instrument's grid where that is nearer.
#[must_use]
pub fn slippage_bound(order: &OrderSpec, market: &Market, tick: Option<Price>) -> Option<Price> {
    let percent = order.max_slippage?.get();
    let reference = market.reference()?;
    let slippage = amount::percent_of(reference, percent)?;
    let bound = amount::add(reference, order.side.signed(slippage))?;
    let on_grid = match tick.map(Price::get) {
        None => bound,
        Some(tick) => {
            let below = amount::sub(bound, bound.checked_rem(tick)?)?;
            match order.side {
                Side::Sell if below < bound => amount::add(below, tick)?,
                Side::Buy | Side::Sell => below,
            }
        }
    };
    Price::new(on_grid).ok()
}

/// The price at which others may trade with it while it is open: `Some(None)` for any price. `None`: with nobody, since
/// it waits for its trigger.
#[must_use]
pub fn resting_price(order: &OrderSpec, triggered: bool) -> Option<Option<Price>> {
    let waits = order.order_type.trigger().is_some() && !triggered;
    (!waits).then(|| order.order_type.limit_price())
}

pub(super) fn no_limits(symbol: &Symbol) -> Refusal {
    let reason =
        format!("no risk limits are in force for {symbol}: add a row for it or for * to risk.limits");
    Refusal::new(Code::NoLimits, reason)
}

pub(super) fn no_reference_price(symbol: &Symbol) -> Refusal {
    let reason = format!("{symbol} has no reference price: its quote has neither last nor bid and ask");
    Refusal::new(Code::NoReferencePrice, reason)
}

/// Symbol, side, order type and strategy are allowed, and the symbol is not on the restricted list.
pub(super) fn permission(order: &OrderSpec, row: &RowView<'_>, _: &RiskView<'_>) -> Result<(), Refusal> {
    let (of, allowed) = (row.row.name(), &row.row.optional);
    let refuse = |what: &str, value: &str, right: String| {
        let reason = format!("{what} {value} is not allowed by the limits of {of}: {right}");
        Err(Refusal::new(Code::Permission, reason))
    };
    if allowed.restricted {
        return refuse("symbol", order.symbol.as_str(), "it is restricted, nothing new is traded".to_owned());
    }
    if let Some(sides) = allowed.allowed_sides.as_ref().filter(|sides| !sides.contains(&order.side)) {
        let sides: Vec<&str> = sides.iter().map(|side| side.as_str()).collect();
        return refuse("side", order.side.as_str(), format!("allowed are {}", sides.join(", ")));
    }
    let lists = [
        ("order_type", order.order_type.name(), &allowed.allowed_order_types),
        ("strategy_id", order.strategy_id.as_deref().unwrap_or("(none)"), &allowed.allowed_strategies),
        ("symbol", order.symbol.as_str(), &allowed.allowed_symbols),
    ];
    for (what, value, list) in lists {
        if let Some(list) = list.as_ref().filter(|list| list.iter().all(|one| one != value)) {
            return refuse(what, value, format!("allowed are {}", list.join(", ")));
        }
    }
    Ok(())
}

/// The symbol trades, and takes this type of order, now.
pub(super) fn market_state(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    let Some(instrument) = view.instrument else { return Ok(()) };
    let refuse = |reason: String| Err(Refusal::new(Code::MarketState, reason));
    if !instrument.trading {
        return refuse(format!("{} does not trade now at its broker: only cancels pass", order.symbol));
    }
    match &instrument.order_types {
        Some(types) if !types.contains(order.order_type.name()) => {
            let types: Vec<&str> = types.iter().map(String::as_str).collect();
            refuse(format!(
                "{} takes no {} orders now: it takes {}",
                order.symbol,
                order.order_type.name(),
                types.join(", ")
            ))
        }
        _ => Ok(()),
    }
}

/// The price is younger than `risk.max_quote_age_ms` and its sides are not crossed.
pub(super) fn stale_price(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    let Market::Quoted(quote) = view.market else { return Ok(()) };
    let refuse = |reason: String| Err(Refusal::new(Code::StalePrice, reason));
    if view.market.reference().is_none() {
        return Err(no_reference_price(&order.symbol));
    }
    let Some(at) = quote.timestamp else {
        return refuse(format!("the quote of {} has no readable timestamp (RFC 3339)", order.symbol));
    };
    let age_ms = view.now.micros_since(at) / 1000;
    let limit_ms = view.max_quote_age_us / 1000;
    if view.now.micros_since(at) > view.max_quote_age_us {
        return refuse(format!(
            "the quote of {} is {age_ms} ms old, risk.max_quote_age_ms is {limit_ms}",
            order.symbol
        ));
    }
    if at.micros_since(view.now) > view.max_quote_age_us {
        return refuse(format!(
            "the quote of {} is {} ms in the future: check the clocks",
            order.symbol, -age_ms
        ));
    }
    if quote.is_crossed() {
        return refuse(format!("the quote of {} is crossed: its bid is above its ask", order.symbol));
    }
    Ok(())
}

/// Money that cannot be told in the account's currency cannot be held against a limit.
pub(super) fn rate_of_exchange(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    if view.has_rate {
        return Ok(());
    }
    let currency = view.contract.currency.as_deref().unwrap_or("unknown");
    let reason = format!(
        "what {} costs is in {currency}, for which there is no rate: add it to risk.fx, and the instrument's currency where it is unknown",
        order.symbol
    );
    Err(Refusal::new(Code::NoFxRate, reason))
}

/// The reference moved less than `max_price_move_pct` within the window; else the symbol pauses.
pub(super) fn price_move(order: &OrderSpec, row: &RowView<'_>, _: &RiskView<'_>) -> Result<(), Refusal> {
    let breach = row.price_range.and_then(|range| price_move_breach(&order.symbol, row.row, range));
    breach.map_or(Ok(()), |breach| Err(Refusal::new(Code::PriceMove, breach.why)))
}

/// A range that is too wide stops the symbol for a while, whoever sees it.
#[must_use]
pub fn price_move_breach(
    symbol: &Symbol,
    row: &LimitRow,
    (lowest, highest): (Decimal, Decimal),
) -> Option<Breach> {
    let limits = &row.optional;
    let limit = limits.max_price_move_pct?;
    let moved = amount::sub(highest, lowest);
    let allowed = amount::percent_of(lowest, limit.get());
    if matches!((moved, allowed), (Some(moved), Some(allowed)) if moved < allowed || moved.is_zero()) {
        return None;
    }
    let window = limits.price_move_window_ms.unwrap_or_default();
    let why = format!(
        "the reference price of {symbol} moved between {lowest} and {highest} within {window} ms, max_price_move_pct is {limit} %"
    );
    let scope = Scope::Symbol(symbol.clone());
    let pause_ms = Some(limits.price_move_pause_ms.unwrap_or(PAUSE_MS));
    Some(Breach { scope, code: Code::PriceMove, why, pause_ms })
}

pub(super) fn quantity(order: &OrderSpec, row: &RowView<'_>, _: &RiskView<'_>) -> Result<(), Refusal> {
    match row.row.max_order_quantity {
        Limit::At(limit) if order.quantity.get() > limit => Err(Refusal::new(
            Code::MaxOrderQuantity,
            format!(
                "quantity {} of {} is above max_order_quantity {limit}{}",
                order.quantity,
                order.symbol,
                of(row)
            ),
        )),
        Limit::At(_) | Limit::Unlimited => Ok(()),
    }
}

pub(super) fn notional(
    order: &OrderSpec,
    row: &RowView<'_>,
    view: &RiskView<'_>,
    price: Decimal,
) -> Result<(), Refusal> {
    let Limit::At(limit) = row.row.max_order_notional else { return Ok(()) };
    let refuse = |notional: String| {
        let reason = format!(
            "notional {notional} ({} {} at {price}) is above max_order_notional {limit}{}",
            order.quantity,
            order.symbol,
            of(row)
        );
        Err(Refusal::new(Code::MaxNotional, reason))
    };
    let money = view.contract.notional(order.quantity.get(), price);
    match money.and_then(|money| view.contract.in_account(money)) {
        Some(notional) if notional <= limit => Ok(()),
        Some(notional) => refuse(notional.to_string()),
        None => refuse("with too many digits to be exact".to_owned()),
    }
}

/// Every price that the order names or leads to: its bound by `max_slippage` and the stop of a trailing stop, too.
fn collared_prices(order: &OrderSpec, market: &Market, reference: Decimal) -> Vec<(&'static str, Price)> {
    let mut prices = order.order_type.prices();
    prices.extend(slippage_bound(order, market, None).map(|bound| ("max_slippage: its bound", bound)));
    if let Some(Trigger::Trail { distance, distance_type }) = order.order_type.trigger()
        && let Ok(mark) = Price::new(reference)
    {
        let stop = venue::trailing_stop(order.side, mark, distance, distance_type);
        prices.extend(stop.map(|stop| ("distance: its stop price", stop)));
    }
    prices
}

pub(super) fn price_collar(
    order: &OrderSpec,
    row: &RowView<'_>,
    view: &RiskView<'_>,
    reference: Decimal,
) -> Result<(), Refusal> {
    let Limit::At(limit) = row.row.price_collar_pct else { return Ok(()) };
    for (field, price) in collared_prices(order, view.market, reference) {
        let distance = amount::sub(price.get(), reference).map(|d| d.abs());
        let allowed = amount::percent_of(reference, limit);
        let inside = matches!((distance, allowed), (Some(distance), Some(allowed)) if distance <= allowed);
        if !inside {
            let reason = format!(
                "{field} {price} of {} is further than price_collar_pct {limit} % from the reference price {reference}{}",
                order.symbol,
                of(row)
            );
            return Err(Refusal::new(Code::PriceCollar, reason));
        }
    }
    Ok(())
}

/// The same was not asked for a moment ago under another client order id.
pub(super) fn duplicate(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    let window = view.rows.iter().filter_map(|row| row.row.optional.duplicate_window_ms).max();
    let (Some(window), Some((other, at))) = (window, &view.same_content) else { return Ok(()) };
    let ago_ms = view.now.micros_since(*at) / 1000;
    if ago_ms >= i64::try_from(window).unwrap_or(i64::MAX) {
        return Ok(());
    }
    let reason = format!(
        "the order {other} asked for the same in {} {ago_ms} ms ago, duplicate_window_ms is {window}",
        order.symbol
    );
    Err(Refusal::new(Code::Duplicate, reason))
}

/// No open order of the other side would be its counterparty.
pub(super) fn self_trade(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    let asked = view.rows.iter().any(|row| row.row.optional.prevent_self_trade);
    let Some(other) = view.would_trade_with.as_ref().filter(|_| asked && !reduces(order, view)) else {
        return Ok(());
    };
    let reason = format!(
        "the open order {other} in {} is of the other side at a price that this one crosses: cancel it first",
        order.symbol
    );
    Err(Refusal::new(Code::SelfTrade, reason))
}

/// Whose limit it is, where that is not the symbol's.
pub(super) fn of(row: &RowView<'_>) -> String {
    if row.row.strategy_id.is_none() && !row.row.account {
        String::new()
    } else {
        format!(" of {}", row.row.name())
    }
}
