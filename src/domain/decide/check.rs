//! What makes no order, in the sequence in which it is told: age, contradictions, what the broker does
//! not have, what is off its grid.

use crate::domain::amount::{self, Price};
use crate::domain::ids::Symbol;
use crate::domain::instrument;
use crate::domain::ledger::Ledger;
use crate::domain::market::Market;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{OrderType, TimeInForce, Trigger};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::Received;
use crate::domain::risk;
use crate::domain::time::Timestamp;
use crate::domain::venue;

use super::{Admit, Rules};

impl Rules {
    /// What makes no order: contradictions, what the broker does not have, what is off its grid.
    pub(super) fn check(&self, ledger: &Ledger, admit: &Admit, spec: &OrderSpec) -> Result<(), Refusal> {
        self.check_request(ledger, &admit.received)?;
        if let Some(taken) = ledger.orders.get(&spec.id) {
            let reason = format!(
                "id {} is taken by the order {}: leave it out, or make a new UUID",
                spec.id, taken.order.spec.client_order_id
            );
            return Err(Refusal::new(Code::ValidationFailed, reason));
        }
        if let Some(broker) = spec.broker.as_ref().filter(|broker| !self.brokers.contains(*broker)) {
            let known: Vec<&str> = self.brokers.iter().map(crate::domain::ids::BrokerName::as_str).collect();
            let reason = format!("broker {broker} is not configured; configured are {}", known.join(", "));
            return Err(Refusal::new(Code::ValidationFailed, reason));
        }
        if matches!(admit.view.market, Market::Unknown) {
            let reason = format!(
                "symbol {} has neither a quote nor a configured price at the simulated broker",
                spec.symbol
            );
            return Err(Refusal::new(Code::UnknownSymbol, reason));
        }
        let broker = self.route(spec.broker.as_ref(), &spec.symbol);
        check_sense(spec, &admit.view.market, admit.view.broker_time(&broker, ledger))?;
        check_supported(spec)?;
        check_bound(spec, &admit.view.market, self.tick_size(&spec.symbol))?;
        let price = risk::expected_price(spec, &admit.view.market);
        if let Some(rules) = self.venue.instruments.get(&spec.symbol) {
            rules.check(spec, price)?;
        }
        if let Some(price) = price.filter(|price| amount::mul(spec.quantity.get(), *price).is_none()) {
            return Err(instrument::too_many_digits(spec, price));
        }
        self.check_sum(ledger, spec)
    }

    pub(super) fn tick_size(&self, symbol: &Symbol) -> Option<Price> {
        self.venue.instruments.get(symbol).and_then(|instrument| instrument.tick_size)
    }

    /// The position that it would lead to must be exact too.
    fn check_sum(&self, ledger: &Ledger, spec: &OrderSpec) -> Result<(), Refusal> {
        let position = ledger.position(&self.route(spec.broker.as_ref(), &spec.symbol), &spec.symbol);
        let open = position.reserved(spec.side).checked_add(spec.quantity);
        let sum = open.and_then(|open| amount::add(position.quantity.get(), spec.side.signed(open.get())));
        if sum.is_some() {
            return Ok(());
        }
        let reason = format!(
            "quantity {} on top of the position {} (open {} orders {}) has more than {} digits: use fewer decimals",
            spec.quantity,
            position.quantity,
            spec.side,
            position.reserved(spec.side),
            amount::MAX_DIGITS
        );
        Err(Refusal::new(Code::ValidationFailed, reason))
    }

    /// What holds for every request of which nothing is journaled yet.
    pub(super) fn check_request(&self, ledger: &Ledger, received: &Received) -> Result<(), Refusal> {
        if received.deliveries > self.max_deliveries {
            let reason = format!(
                "the request was begun {} times and its worker never came to its end; worker.max_deliveries is {}",
                received.deliveries, self.max_deliveries
            );
            return Err(Refusal::new(Code::MaxDeliveries, reason));
        }
        self.check_age(ledger, received)
    }

    fn check_age(&self, ledger: &Ledger, received: &Received) -> Result<(), Refusal> {
        let Some(limit) = self.max_request_age_us else { return Ok(()) };
        let age = ledger.now.micros_since(received.made_at);
        if age <= limit {
            return Ok(());
        }
        let reason = format!(
            "the request was made {} ms ago (timestamp {}), worker.max_request_age_ms is {}",
            age / 1000,
            received.made_at,
            limit / 1000
        );
        Err(Refusal::new(Code::RequestExpired, reason))
    }
}

/// What the simulated broker has; everything else is said so, never dropped and never emulated.
fn check_supported(spec: &OrderSpec) -> Result<(), Refusal> {
    let unsupported = |what: String| {
        Err(Refusal::new(
            Code::UnsupportedByBroker,
            format!("{what}: the simulated broker has no such thing"),
        ))
    };
    let instructions = &spec.execution_instructions;
    match spec.order_type {
        OrderType::Market
        | OrderType::Limit { .. }
        | OrderType::Stop { .. }
        | OrderType::StopLimit { .. }
        | OrderType::TrailingStop { .. }
        | OrderType::MarketIfTouched { .. }
        | OrderType::LimitIfTouched { .. } => {}
        OrderType::Iceberg { .. } | OrderType::Custom { .. } => {
            return unsupported(format!("order_type {}", spec.order_type.name()));
        }
    }
    match spec.time_in_force {
        TimeInForce::Gtc
        | TimeInForce::Gtd { .. }
        | TimeInForce::Ioc
        | TimeInForce::Fok
        | TimeInForce::Day => {}
        TimeInForce::Moc | TimeInForce::Loc => {
            return unsupported(format!("time_in_force {}", spec.time_in_force.name()));
        }
    }
    if instructions.display_size.is_some() {
        return unsupported("execution_instructions.display_size".to_owned());
    }
    if instructions.allow_partial_fills == Some(false) && spec.time_in_force != TimeInForce::Fok {
        return unsupported(format!(
            "execution_instructions.allow_partial_fills false with time_in_force {} (only FOK is all or none)",
            spec.time_in_force.name()
        ));
    }
    if instructions.post_only
        && spec.order_type.trigger().is_some()
        && spec.order_type.limit_price().is_some()
    {
        return unsupported(format!(
            "execution_instructions.post_only with a {} order",
            spec.order_type.name()
        ));
    }
    if !spec.conditions.is_empty() {
        return unsupported("conditions".to_owned());
    }
    if spec.parent_order_id.is_some() {
        return unsupported("parent_order_id".to_owned());
    }
    if !spec.linked_orders.is_empty() {
        return unsupported("linked_orders".to_owned());
    }
    if spec.max_slippage.is_some()
        && spec.order_type.trigger().is_some()
        && spec.order_type.limit_price().is_none()
    {
        return unsupported(format!("max_slippage with a {} order", spec.order_type.name()));
    }
    Ok(())
}

/// What contradicts itself, or what cannot be, whichever broker works it.
fn check_sense(spec: &OrderSpec, market: &Market, broker_time: Timestamp) -> Result<(), Refusal> {
    let invalid = |reason: String| Err(Refusal::new(Code::ValidationFailed, reason));
    let (kind, tif) = (&spec.order_type, spec.time_in_force);
    if let TimeInForce::Gtd { expires_at } = tif
        && expires_at <= broker_time
    {
        return invalid(format!("time_in_force.GTD.expires_at {expires_at} is past, it is {broker_time}"));
    }
    let instructions = &spec.execution_instructions;
    if instructions.post_only && (kind.limit_price().is_none() || !tif.may_rest()) {
        return invalid(format!(
            "execution_instructions.post_only with a {} {} order contradicts itself: it is for limit orders that may rest (GTC, GTD, DAY)",
            kind.name(),
            tif.name()
        ));
    }
    if let Some(shown) = instructions.display_size.filter(|shown| shown.is_zero() || *shown > spec.quantity) {
        return invalid(format!(
            "execution_instructions.display_size {shown} must be above 0 and at most the quantity, {}",
            spec.quantity
        ));
    }
    if let Some(slippage) = spec.max_slippage
        && let Some(limit) = kind.limit_price()
    {
        return invalid(format!(
            "max_slippage {slippage} with a {} order contradicts itself: its limit price {limit} is its bound",
            kind.name()
        ));
    }
    if let Some(Trigger::Trail { distance, distance_type }) = kind.trigger()
        && let Some(reference) = market.reference().and_then(|price| Price::new(price).ok())
        && venue::trailing_stop(spec.side, reference, distance, distance_type).is_none()
    {
        return invalid(format!(
            "order_type.TrailingStop.distance {distance} ({distance_type:?}) leaves no exact stop price above 0 at the reference price {reference}"
        ));
    }
    Ok(())
}

/// The worst price of a market order with `max_slippage` must be one.
pub(super) fn check_bound(spec: &OrderSpec, market: &Market, tick: Option<Price>) -> Result<(), Refusal> {
    let Some(slippage) = spec.max_slippage else { return Ok(()) };
    let Some(reference) = market.reference() else { return Ok(()) };
    if risk::slippage_bound(spec, market, tick).is_some() {
        return Ok(());
    }
    let reason = format!(
        "max_slippage {slippage} leaves no exact price above 0 at the reference price {reference}: it is in percent"
    );
    Err(Refusal::new(Code::ValidationFailed, reason))
}
