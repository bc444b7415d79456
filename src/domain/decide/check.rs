//! What makes no order, in the sequence in which it is told: age, contradictions, what the broker does
//! not have, what is off its grid.

use crate::domain::amount;
use crate::domain::instrument;
use crate::domain::ledger::Ledger;
use crate::domain::market::Market;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{OrderType, TimeInForce};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::Received;
use crate::domain::risk;

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
        check_supported(spec)?;
        let price = risk::expected_price(spec, &admit.view.market);
        if let Some(rules) = self.venue.instruments.get(&spec.symbol) {
            rules.check(spec, price)?;
        }
        if let Some(price) = price.filter(|price| amount::mul(spec.quantity.get(), *price).is_none()) {
            return Err(instrument::too_many_digits(spec, price));
        }
        self.check_sum(ledger, spec)
    }

    /// The position that it would lead to must be exact too.
    fn check_sum(&self, ledger: &Ledger, spec: &OrderSpec) -> Result<(), Refusal> {
        let position =
            ledger.position(&(self.route(spec.broker.as_ref(), &spec.symbol), spec.symbol.clone()));
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

/// What this version can work; everything else is said so, never dropped.
fn check_supported(spec: &OrderSpec) -> Result<(), Refusal> {
    let unsupported = |what: String| {
        Err(Refusal::new(
            Code::UnsupportedByBroker,
            format!("{what}: the simulated broker of this version has no such thing"),
        ))
    };
    match spec.order_type {
        OrderType::Market | OrderType::Limit { .. } => {}
        OrderType::Stop { .. }
        | OrderType::StopLimit { .. }
        | OrderType::TrailingStop { .. }
        | OrderType::MarketIfTouched { .. }
        | OrderType::LimitIfTouched { .. }
        | OrderType::Iceberg { .. }
        | OrderType::Custom { .. } => return unsupported(format!("order_type {}", spec.order_type.name())),
    }
    match spec.time_in_force {
        TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => {}
        TimeInForce::Gtd { .. } | TimeInForce::Moc | TimeInForce::Loc | TimeInForce::Day => {
            return unsupported(format!("time_in_force {}", spec.time_in_force.name()));
        }
    }
    let instructions = &spec.execution_instructions;
    if instructions.reduce_only {
        return unsupported("execution_instructions.reduce_only".to_owned());
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
    if !spec.conditions.is_empty() {
        return unsupported("conditions".to_owned());
    }
    if spec.parent_order_id.is_some() {
        return unsupported("parent_order_id".to_owned());
    }
    if !spec.linked_orders.is_empty() {
        return unsupported("linked_orders".to_owned());
    }
    if spec.max_slippage.is_some() {
        return unsupported("max_slippage".to_owned());
    }
    if instructions.post_only
        && (matches!(spec.order_type, OrderType::Market) || spec.time_in_force != TimeInForce::Gtc)
    {
        let reason = format!(
            "execution_instructions.post_only with a {} {} order contradicts itself: it is for limit orders that may rest (GTC)",
            spec.order_type.name(),
            spec.time_in_force.name()
        );
        return Err(Refusal::new(Code::ValidationFailed, reason));
    }
    Ok(())
}
