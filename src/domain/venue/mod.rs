//! The matching rules of the simulated broker: an order meets the symbol's quote.
//!
//! It has no state that the journal lacks: what it answers is a function of the order, the market, the
//! size already spent of the quote, and the seed.

mod trigger;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use crate::domain::amount::{self, Amount, Price, Quantity};
use crate::domain::event::Commission;
use crate::domain::ids::Symbol;
use crate::domain::instrument::Instrument;
use crate::domain::market::{Market, Offer};
use crate::domain::order::Order;
use crate::domain::order_type::{Side, TimeInForce};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::{Report, ReportedFill};
use crate::domain::risk::RiskApproved;
use crate::domain::time::Timestamp;

use trigger::Watched;
pub use trigger::trailing_stop;

#[derive(Debug, Clone)]
pub struct Venue {
    pub seed: u64,
    /// Share of submissions that it rejects, 0 to 1.
    pub failure_rate: Decimal,
    /// Percent of the price by which a market order fills worse than the quote.
    pub slippage_pct: Decimal,
    /// Percent of the notional, taken in the quote currency.
    pub commission_pct: Decimal,
    /// Prices of symbols that have no quote.
    pub prices: BTreeMap<Symbol, Price>,
    pub instruments: BTreeMap<Symbol, Instrument>,
}

/// How much of a quote's size is gone already; counts for the quote of that timestamp only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    pub quote_at: Option<Timestamp>,
    pub quantity: Quantity,
}

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

/// What an order meets.
#[derive(Debug)]
pub struct Scene<'a> {
    pub market: &'a Market,
    pub spent: &'a mut Spent,
    /// What is held of the symbol, long positive: what a reduce-only order may bring to zero.
    pub position: Decimal,
    pub now: Timestamp,
}

impl Venue {
    /// The answer to a submission: what the broker says, in order.
    #[must_use]
    pub fn on_submit(&self, order: &RiskApproved<&Order>, scene: &mut Scene<'_>) -> Vec<Report> {
        let order = order.get();
        if self.draws_a_failure(order) {
            return vec![rejected(
                "the simulated broker rejects a share of submissions (broker.mock.failure_rate)",
            )];
        }
        if let Some(over) = over(order, scene.now) {
            return vec![over];
        }
        if reducible(order, scene.position).is_some_and(Quantity::is_zero) {
            return vec![rejected(&nothing_to_reduce(order, scene.position))];
        }
        if order.awaits_trigger() {
            let mut reports = vec![Report::Acknowledged { broker_order_id: Self::broker_order_id(order) }];
            reports.extend(self.watched(order, scene));
            return reports;
        }
        if order.spec.execution_instructions.post_only && self.crosses(order, scene.market) {
            return vec![rejected("a post_only order would have executed at once")];
        }
        self.taken(order, scene)
    }

    /// What the market does at once to a resting order that was given new terms; refused where the new terms
    /// contradict the order's instructions.
    pub fn on_replace(&self, order: &Order, scene: &mut Scene<'_>) -> Result<Vec<Report>, Refusal> {
        if order.awaits_trigger() {
            return Ok(self.watched(order, scene));
        }
        if !self.crosses(order, scene.market) {
            return Ok(Vec::new());
        }
        if order.spec.execution_instructions.post_only {
            let reason = "a post_only order would have executed at once under the new terms";
            return Err(Refusal::new(Code::BrokerRejected, reason));
        }
        // It rests already: what is left of it goes on doing so.
        let mut reports = self.taken(order, scene);
        reports.retain(|report| !matches!(report, Report::Acknowledged { .. }));
        match reports.pop() {
            Some(Report::Rejected(refusal)) => Err(refusal),
            last => Ok(reports.into_iter().chain(last).collect()),
        }
    }

    /// What a new quote, or the time, does to a resting order: it fills at its own price, as far as the size reaches.
    #[must_use]
    pub fn on_quote(&self, order: &Order, scene: &mut Scene<'_>) -> Vec<Report> {
        if let Some(over) = over(order, scene.now) {
            return vec![over];
        }
        if reducible(order, scene.position).is_some_and(Quantity::is_zero) {
            return vec![Report::Cancelled { reason: nothing_to_reduce(order, scene.position) }];
        }
        if order.awaits_trigger() {
            return self.watched(order, scene);
        }
        let Some(offer) = self.met(order, scene.market) else { return Vec::new() };
        let quantity = self.takes(order, scene);
        if quantity.is_zero() {
            return Vec::new();
        }
        let price = order.spec.order_type.limit_price().unwrap_or(offer.price);
        let Some(fill) = self.fill(order, price, quantity, order.state.fills, scene.now) else {
            return Vec::new();
        };
        spend(scene, quantity);
        let mut reports = vec![Report::Fill(fill)];
        reports.extend(reduced(order, quantity, scene.position));
        reports
    }

    /// What the market does to an order that waits for a price.
    fn watched(&self, order: &Order, scene: &mut Scene<'_>) -> Vec<Report> {
        match trigger::watch(order, scene.market) {
            Watched::Waits => Vec::new(),
            Watched::Moved(trail) => vec![Report::Trailed(trail)],
            Watched::Reached(price) => {
                let mut reports = vec![Report::Triggered { price: Some(price) }];
                let worked = self.taken(order, scene);
                // It was acknowledged when it was placed; a rejection now is the end of a working order.
                reports.extend(worked.into_iter().filter_map(|report| match report {
                    Report::Acknowledged { .. } => None,
                    Report::Rejected(refusal) => Some(Report::Cancelled { reason: refusal.reason }),
                    report => Some(report),
                }));
                reports
            }
        }
    }

    /// An order takes what the market offers it; the rest comes to rest, or ends.
    fn taken(&self, order: &Order, scene: &mut Scene<'_>) -> Vec<Report> {
        let spec = &order.spec;
        let open = order.remaining_quantity();
        let quantity = match spec.time_in_force {
            TimeInForce::Fok if self.takes(order, scene) < open => Quantity::ZERO,
            _ => self.takes(order, scene),
        };
        let mut reports = Vec::with_capacity(2);
        if !quantity.is_zero() {
            let fill = self
                .met(order, scene.market)
                .and_then(|offer| self.taker_price(order, offer.price))
                .and_then(|price| self.fill(order, price, quantity, order.state.fills, scene.now));
            let Some(fill) = fill else {
                return vec![rejected("quantity times price has more digits than a fill can hold")];
            };
            spend(scene, quantity);
            reports.push(Report::Fill(fill));
        }
        if quantity < open {
            reports.push(match reduced(order, quantity, scene.position) {
                Some(ended) => ended,
                None if rests(order) => {
                    Report::Acknowledged { broker_order_id: Self::broker_order_id(order) }
                }
                None => Report::Cancelled { reason: unmet(order, scene.market) },
            });
        }
        reports
    }

    /// What the market offers an order at a price that the order takes.
    fn met(&self, order: &Order, market: &Market) -> Option<Offer> {
        market.offer(order.spec.side).filter(|offer| is_met(order, offer.price))
    }

    fn crosses(&self, order: &Order, market: &Market) -> bool {
        self.met(order, market).is_some()
    }

    /// As much as it would take of what the market offers.
    fn takes(&self, order: &Order, scene: &Scene<'_>) -> Quantity {
        if !self.crosses(order, scene.market) {
            return Quantity::ZERO;
        }
        let most = order.remaining_quantity();
        let most = reducible(order, scene.position).map_or(most, |reducible| reducible.min(most));
        self.offered(order, scene.market, *scene.spent).min(most)
    }

    #[must_use]
    pub fn broker_order_id(order: &Order) -> String {
        format!("sim-{}", order.spec.id.0.simple())
    }

    /// The market as this venue knows it: the quote where there is one, else the configured price.
    #[must_use]
    pub fn market(&self, symbol: &Symbol, quote: Option<super::market::Quote>) -> Market {
        match (quote, self.prices.get(symbol)) {
            (Some(quote), _) => Market::Quoted(quote),
            (None, Some(price)) => Market::Fixed(*price),
            (None, None) => Market::Unknown,
        }
    }

    fn offered(&self, order: &Order, market: &Market, spent: Spent) -> Quantity {
        let size = market.offer(order.spec.side).and_then(|offer| offer.size);
        let size = size.map(|size| {
            if spent.quote_at == market.timestamp() { size.saturating_sub(spent.quantity) } else { size }
        });
        let Some(size) = size else { return order.remaining_quantity() };
        // A venue trades whole steps only.
        let step =
            self.instruments.get(&order.spec.symbol).and_then(|i| i.step_size).filter(|s| !s.is_zero());
        let whole = step.and_then(|step| {
            let rest = size.get().checked_rem(step.get())?;
            Quantity::new(amount::sub(size.get(), rest)?).ok()
        });
        whole.unwrap_or(size)
    }

    /// Where slippage takes an order without a limit price, as far as it lets it; a limit is never exceeded.
    fn taker_price(&self, order: &Order, quoted: Price) -> Option<Price> {
        if self.slippage_pct.is_zero() || order.spec.order_type.limit_price().is_some() {
            return Some(quoted);
        }
        let slip = order.spec.side.signed(amount::percent_of(quoted.get(), self.slippage_pct)?);
        let slipped = Price::new(amount::add(quoted.get(), slip)?).ok()?;
        Some(match (order.state.worst_price, order.spec.side) {
            (None, _) => slipped,
            (Some(worst), Side::Buy) => slipped.min(worst),
            (Some(worst), Side::Sell) => slipped.max(worst),
        })
    }

    fn fill(
        &self,
        order: &Order,
        price: Price,
        quantity: Quantity,
        n: u32,
        now: Timestamp,
    ) -> Option<ReportedFill> {
        let notional = amount::mul(quantity.get(), price.get())?;
        let commission = if self.commission_pct.is_zero() {
            None
        } else {
            let amount = Amount::of(amount::percent_of(notional, self.commission_pct)?);
            Some(Commission { asset: quote_asset(&order.spec.symbol), amount, quote_value: Some(amount) })
        };
        let trade_id = format!("{}/{}", order.spec.id, n + 1);
        Some(ReportedFill { trade_id, quantity, price, commission, executed_at: now })
    }

    /// A function of seed and order alone, so that every worker and every repetition draws the same.
    fn draws_a_failure(&self, order: &Order) -> bool {
        if self.failure_rate.is_zero() {
            return false;
        }
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(order.spec.client_order_id.as_str());
        let draw = hash.finalize().iter().take(8).fold(0u64, |n, byte| (n << 8) | u64::from(*byte));
        Decimal::new(i64::from(u32::try_from(draw >> 32).unwrap_or(0)), 0)
            < self.failure_rate.saturating_mul(Decimal::from(1u64 << 32))
    }
}

fn rejected(reason: &str) -> Report {
    Report::Rejected(Refusal::new(Code::BrokerRejected, reason))
}

/// The worst price at which it may execute now.
fn limit(order: &Order) -> Option<Price> {
    order.spec.order_type.limit_price().or(order.state.worst_price)
}

fn is_met(order: &Order, offered: Price) -> bool {
    match (limit(order), order.spec.side) {
        (None, _) => true,
        (Some(limit), Side::Buy) => offered <= limit,
        (Some(limit), Side::Sell) => offered >= limit,
    }
}

/// Its time is up: from that instant on nothing of it is executed.
#[must_use]
pub fn over(order: &Order, now: Timestamp) -> Option<Report> {
    let ends_at = order.ends_at().filter(|ends_at| *ends_at <= now)?;
    Some(Report::Expired { reason: format!("{} ended at {ends_at}", order.spec.time_in_force.name()) })
}

/// What a reduce-only order may execute; `None`: any quantity.
fn reducible(order: &Order, position: Decimal) -> Option<Quantity> {
    if !order.spec.execution_instructions.reduce_only {
        return None;
    }
    let held = match order.spec.side {
        Side::Buy => -position,
        Side::Sell => position,
    };
    Some(Quantity::new(held).unwrap_or(Quantity::ZERO))
}

fn nothing_to_reduce(order: &Order, position: Decimal) -> String {
    let spec = &order.spec;
    format!(
        "reduce_only: a {} of {} has nothing to reduce, the position is {position}",
        spec.side, spec.symbol
    )
}

/// The end of a reduce-only order that has brought the position to zero.
fn reduced(order: &Order, filled: Quantity, position: Decimal) -> Option<Report> {
    let whole = filled < order.remaining_quantity() && reducible(order, position) == Some(filled);
    whole.then(|| Report::Cancelled { reason: "reduce_only: nothing is left to reduce".to_owned() })
}

fn rests(order: &Order) -> bool {
    order.spec.time_in_force.may_rest() && order.spec.order_type.limit_price().is_some()
}

fn unmet(order: &Order, market: &Market) -> String {
    let kind = match order.spec.time_in_force {
        TimeInForce::Fok => "FOK",
        _ if order.spec.order_type.limit_price().is_none() => "market order",
        tif => tif.name(),
    };
    let bound = order.state.worst_price;
    let bound = bound.map(|worst| format!(", max_slippage allows {worst}")).unwrap_or_default();
    match market.offer(order.spec.side) {
        Some(offer) => match offer.size {
            Some(size) => format!("{kind}: the market offered {size} at {}{bound}", offer.price),
            None => format!("{kind}: the market offered {}{bound}", offer.price),
        },
        None => format!("{kind}: the market offered nothing"),
    }
}

fn spend(scene: &mut Scene<'_>, quantity: Quantity) {
    let at = scene.market.timestamp();
    let before = if scene.spent.quote_at == at { scene.spent.quantity } else { Quantity::ZERO };
    *scene.spent = Spent { quote_at: at, quantity: before.checked_add(quantity).unwrap_or(before) };
}

/// The currency that a symbol is priced in, as far as its name tells; else `quote`.
fn quote_asset(symbol: &Symbol) -> String {
    const KNOWN: [&str; 9] = ["USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "USD"];
    let name = symbol.as_str();
    if let Some((_, quote)) = name.rsplit_once(['_', '/', '-', ':']) {
        return quote.to_owned();
    }
    let known = KNOWN.iter().find(|asset| name.len() > asset.len() && name.ends_with(**asset));
    known.map_or_else(|| "quote".to_owned(), |asset| (*asset).to_owned())
}
