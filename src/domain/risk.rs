//! Pre-trade controls: each a pure function with its own code. What cannot be judged is refused.

use std::fmt;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::amount::{self, Amount, Price, Quantity};
use super::ids::Symbol;
use super::market::Market;
use super::order::{Order, OrderSpec};
use super::order_type::{Side, Trigger};
use super::position::Position;
use super::refusal::{Code, Refusal};
use super::status::Status;
use super::time::Timestamp;
use super::trading_state::{Switch, TradingState};
use super::venue;

const UNLIMITED: &str = "unlimited";

/// A limit that is set or lifted by name. Limits are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Unlimited,
    At(Decimal),
}

/// In JSON its digits, or `unlimited`.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == UNLIMITED {
            return Ok(Self::Unlimited);
        }
        amount::parse(&text).map(Self::At).map_err(de::Error::custom)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str(UNLIMITED),
            Self::At(limit) => limit.fmt(f),
        }
    }
}

impl Limit {
    #[must_use]
    pub const fn at(self) -> Option<Decimal> {
        match self {
            Self::Unlimited => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// The limits in force for a symbol, or for every symbol that has no row of its own (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    pub symbol: Arc<str>,
    pub max_order_quantity: Limit,
    pub max_order_notional: Limit,
    /// Worst case: the position and all open orders of one side.
    pub max_position: Limit,
    pub max_daily_loss: Limit,
    /// Percent of the reference price, to both sides.
    pub price_collar_pct: Limit,
    /// In any rolling second, over all workers.
    pub max_orders_per_second: Limit,
}

impl LimitRow {
    /// What it is for; unique among the rows in force.
    #[must_use]
    pub fn name(&self) -> String {
        format!("symbol {}", self.symbol)
    }

    /// Its limits by the names of their keys, in the order of the documentation.
    #[must_use]
    pub const fn limits(&self) -> [(&'static str, Limit); 6] {
        [
            ("max_order_quantity", self.max_order_quantity),
            ("max_order_notional", self.max_order_notional),
            ("max_position", self.max_position),
            ("max_daily_loss", self.max_daily_loss),
            ("price_collar_pct", self.price_collar_pct),
            ("max_orders_per_second", self.max_orders_per_second),
        ]
    }
}

/// Something that passed every control. Only such an order can be given to a broker.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskApproved<T>(T);

impl<T> RiskApproved<T> {
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl<'a> RiskApproved<&'a Order> {
    /// An order whose attempt was journaled was approved in that transaction.
    #[must_use]
    pub fn journaled(order: &'a Order) -> Option<Self> {
        matches!(order.state.status, Status::PendingSubmit | Status::Submitted).then_some(Self(order))
    }

    /// An order whose new terms were journaled was approved with them in that transaction.
    #[must_use]
    pub fn replacing(order: &'a Order, number: u64) -> Option<Self> {
        order
            .state
            .pending_replace
            .as_ref()
            .is_some_and(|pending| pending.number == number)
            .then_some(Self(order))
    }
}

/// What an order is judged by.
#[derive(Debug)]
pub struct RiskView<'a> {
    /// The strictest switch that the order is under.
    pub trading: Option<&'a Switch>,
    pub limits: Option<&'a LimitRow>,
    pub market: &'a Market,
    pub position: &'a Position,
    /// Profit and loss at the start of the session, at the price of then.
    pub session_base: Amount,
    /// Risk-carrying requests in the second that ends now; `None`: this one was counted before.
    pub recent_orders: Option<u64>,
    /// What may still fill of the order, and is not reserved yet.
    pub open_quantity: Quantity,
    pub now: Timestamp,
    pub max_quote_age_us: i64,
}

/// The judgement; whether it counts in the order rate is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub refusal: Option<Refusal>,
    pub counts_in_rate: bool,
}

/// Judges an order by every control, in the order of the contract.
#[must_use]
pub fn judge(order: &OrderSpec, view: &RiskView<'_>) -> Judgement {
    if let Err(refusal) = trading_state(order, view) {
        return Judgement { refusal: Some(refusal), counts_in_rate: true };
    }
    let Some(limits) = view.limits else {
        return Judgement { refusal: Some(no_limits(&order.symbol)), counts_in_rate: true };
    };
    if let Some(refusal) = view.recent_orders.and_then(|recent| order_rate(order, limits, recent)) {
        return Judgement { refusal: Some(refusal), counts_in_rate: false };
    }
    Judgement { refusal: judge_content(order, limits, view).err(), counts_in_rate: true }
}

fn judge_content(order: &OrderSpec, limits: &LimitRow, view: &RiskView<'_>) -> Result<(), Refusal> {
    stale_price(order, view)?;
    let reference = view.market.reference().ok_or_else(|| no_reference_price(&order.symbol))?;
    let price = expected_price(order, view.market).ok_or_else(|| no_reference_price(&order.symbol))?;
    order_quantity(order, limits)?;
    order_notional(order, limits, price)?;
    price_collar(order, limits, view.market, reference)?;
    worst_case_position(order, limits, view)?;
    daily_loss(order, limits, view, reference)
}

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

/// Halted: nothing passes that is not a cancel. Reduce-only: what shrinks the journaled position, even with all open
/// orders of its side filled.
fn trading_state(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    match view.trading {
        Some(switch) if switch.state == TradingState::Halted || !reduces(order, view) => {
            Err(switch.refusal())
        }
        Some(_) | None => Ok(()),
    }
}

fn no_limits(symbol: &Symbol) -> Refusal {
    let reason =
        format!("no risk limits are in force for {symbol}: add a row for it or for * to risk.limits");
    Refusal::new(Code::NoLimits, reason)
}

fn no_reference_price(symbol: &Symbol) -> Refusal {
    let reason = format!("{symbol} has no reference price: its quote has neither last nor bid and ask");
    Refusal::new(Code::NoReferencePrice, reason)
}

/// The price is younger than `risk.max_quote_age_ms` and its sides are not crossed.
fn stale_price(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
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

fn order_rate(order: &OrderSpec, limits: &LimitRow, recent: u64) -> Option<Refusal> {
    let limit = limits.max_orders_per_second.at()?;
    (Decimal::from(recent) >= limit).then(|| {
        let reason = format!(
            "{recent} orders in {} within a second, max_orders_per_second is {limit}: send it later, under a new client_order_id",
            order.symbol
        );
        Refusal::new(Code::OrderRate, reason)
    })
}

fn order_quantity(order: &OrderSpec, limits: &LimitRow) -> Result<(), Refusal> {
    match limits.max_order_quantity {
        Limit::At(limit) if order.quantity.get() > limit => Err(Refusal::new(
            Code::MaxOrderQuantity,
            format!("quantity {} of {} is above max_order_quantity {limit}", order.quantity, order.symbol),
        )),
        Limit::At(_) | Limit::Unlimited => Ok(()),
    }
}

fn order_notional(order: &OrderSpec, limits: &LimitRow, price: Decimal) -> Result<(), Refusal> {
    let Limit::At(limit) = limits.max_order_notional else { return Ok(()) };
    let refuse = |notional: String| {
        let reason = format!(
            "notional {notional} ({} {} at {price}) is above max_order_notional {limit}",
            order.quantity, order.symbol
        );
        Err(Refusal::new(Code::MaxNotional, reason))
    };
    match amount::mul(order.quantity.get(), price) {
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

fn price_collar(
    order: &OrderSpec,
    limits: &LimitRow,
    market: &Market,
    reference: Decimal,
) -> Result<(), Refusal> {
    let Limit::At(limit) = limits.price_collar_pct else { return Ok(()) };
    for (field, price) in collared_prices(order, market, reference) {
        let distance = amount::sub(price.get(), reference).map(|d| d.abs());
        let allowed = amount::percent_of(reference, limit);
        let inside = matches!((distance, allowed), (Some(distance), Some(allowed)) if distance <= allowed);
        if !inside {
            let reason = format!(
                "{field} {price} of {} is further than price_collar_pct {limit} % from the reference price {reference}",
                order.symbol
            );
            return Err(Refusal::new(Code::PriceCollar, reason));
        }
    }
    Ok(())
}

/// The position after every open order of this side, this one included, has filled. What brings it
/// nearer to zero passes even where a lowered limit is exceeded already.
fn worst_case_position(order: &OrderSpec, limits: &LimitRow, view: &RiskView<'_>) -> Result<(), Refusal> {
    let Limit::At(limit) = limits.max_position else { return Ok(()) };
    let position = view.position;
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
                "the worst-case position in {} would be {after} (position {}, open {} orders {}, this order {}), max_position is {limit}",
                order.symbol,
                position.quantity,
                order.side,
                position.reserved(order.side),
                view.open_quantity
            );
            Err(Refusal::new(Code::PositionLimit, reason))
        }
    }
}

fn daily_loss(
    order: &OrderSpec,
    limits: &LimitRow,
    view: &RiskView<'_>,
    reference: Decimal,
) -> Result<(), Refusal> {
    let Limit::At(limit) = limits.max_daily_loss else { return Ok(()) };
    if reduces(order, view) {
        return Ok(());
    }
    let result = view.position.equity(reference).and_then(|now| now.checked_sub(view.session_base));
    match result {
        Some(result) if result.get() >= -limit => Ok(()),
        other => {
            let loss = other.map_or_else(|| "uncountable".to_owned(), |result| (-result.get()).to_string());
            let reason = format!(
                "the loss of {} in this session is {loss}, max_daily_loss is {limit}: only what reduces the position passes",
                order.symbol
            );
            Err(Refusal::new(Code::DailyLoss, reason))
        }
    }
}

/// With all open orders of its side filled too, the order does not reach beyond zero.
fn reduces(order: &OrderSpec, view: &RiskView<'_>) -> bool {
    let position = view.position;
    let held = match order.side {
        Side::Buy => -position.quantity.get(),
        Side::Sell => position.quantity.get(),
    };
    view.open_quantity.checked_add(position.reserved(order.side)).is_some_and(|traded| traded.get() <= held)
}
