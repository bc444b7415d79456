//! The matching rules of the simulated broker: an order meets the symbol's quote.
//!
//! It has no state that the journal lacks: what it answers is a function of the order, the market, the
//! size already spent of the quote, and the seed.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::amount::{self, Amount, Price, Quantity};
use super::event::Commission;
use super::ids::Symbol;
use super::instrument::Instrument;
use super::market::Market;
use super::order::Order;
use super::order_type::{OrderType, Side, TimeInForce};
use super::refusal::{Code, Refusal};
use super::report::{Report, ReportedFill};
use super::risk::RiskApproved;
use super::time::Timestamp;

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

impl Venue {
    /// The answer to a submission: what the broker says, in order.
    #[must_use]
    pub fn on_submit(
        &self,
        order: &RiskApproved<&Order>,
        market: &Market,
        spent: &mut Spent,
        now: Timestamp,
    ) -> Vec<Report> {
        let order = order.get();
        if self.draws_a_failure(order) {
            return vec![rejected(
                "the simulated broker rejects a share of submissions (broker.mock.failure_rate)",
            )];
        }
        let spec = &order.spec;
        let offer = market.offer(spec.side);
        let crosses = offer.is_some_and(|offer| is_met(order, offer.price));
        if spec.execution_instructions.post_only && crosses {
            return vec![rejected("a post_only order would have executed at once")];
        }
        let open = order.remaining_quantity();
        let offered = if crosses { self.offered(order, market, *spent) } else { Quantity::ZERO };
        let quantity = match spec.time_in_force {
            TimeInForce::Fok if offered < open => Quantity::ZERO,
            _ => offered.min(open),
        };
        let mut reports = Vec::with_capacity(2);
        if !quantity.is_zero() {
            let Some(fill) = offer
                .and_then(|offer| self.fill(order, self.taker_price(order, offer.price)?, quantity, 0, now))
            else {
                return vec![rejected("quantity times price has more digits than a fill can hold")];
            };
            spend(market, spent, quantity);
            reports.push(Report::Fill(fill));
        }
        if quantity < open {
            reports.push(if rests(order) {
                Report::Acknowledged { broker_order_id: Self::broker_order_id(order) }
            } else {
                Report::Cancelled { reason: unmet(order, market) }
            });
        }
        reports
    }

    /// What the market does at once to a resting order that was given new terms; refused where the new terms
    /// contradict the order's instructions.
    pub fn on_replace(
        &self,
        order: &Order,
        market: &Market,
        spent: &mut Spent,
        now: Timestamp,
    ) -> Result<Vec<Report>, Refusal> {
        let Some(offer) = market.offer(order.spec.side).filter(|offer| is_met(order, offer.price)) else {
            return Ok(Vec::new());
        };
        if order.spec.execution_instructions.post_only {
            let reason = "a post_only order would have executed at once under the new terms";
            return Err(Refusal::new(Code::BrokerRejected, reason));
        }
        let quantity = self.offered(order, market, *spent).min(order.remaining_quantity());
        if quantity.is_zero() {
            return Ok(Vec::new());
        }
        let fill = self.fill(order, offer.price, quantity, order.state.fills, now).ok_or_else(|| {
            Refusal::new(Code::BrokerRejected, "quantity times price has more digits than a fill can hold")
        })?;
        spend(market, spent, quantity);
        Ok(vec![Report::Fill(fill)])
    }

    /// What a new quote does to a resting order: it fills at its own price, as far as the size reaches.
    #[must_use]
    pub fn on_quote(
        &self,
        order: &Order,
        market: &Market,
        spent: &mut Spent,
        now: Timestamp,
    ) -> Option<Report> {
        let offer = market.offer(order.spec.side).filter(|offer| is_met(order, offer.price))?;
        let quantity = self.offered(order, market, *spent).min(order.remaining_quantity());
        if quantity.is_zero() {
            return None;
        }
        let price = order.spec.order_type.limit_price().unwrap_or(offer.price);
        let fill = self.fill(order, price, quantity, order.state.fills, now)?;
        spend(market, spent, quantity);
        Some(Report::Fill(fill))
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

    /// Where slippage takes a market order; a limit is never exceeded.
    fn taker_price(&self, order: &Order, quoted: Price) -> Option<Price> {
        if self.slippage_pct.is_zero() || order.spec.order_type.limit_price().is_some() {
            return Some(quoted);
        }
        let slip = order.spec.side.signed(amount::percent_of(quoted.get(), self.slippage_pct)?);
        Price::new(amount::add(quoted.get(), slip)?).ok()
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

fn is_met(order: &Order, offered: Price) -> bool {
    match (order.spec.order_type.limit_price(), order.spec.side) {
        (None, _) => true,
        (Some(limit), Side::Buy) => offered <= limit,
        (Some(limit), Side::Sell) => offered >= limit,
    }
}

fn rests(order: &Order) -> bool {
    let waits =
        matches!(order.spec.time_in_force, TimeInForce::Gtc | TimeInForce::Gtd { .. } | TimeInForce::Day);
    waits && !matches!(order.spec.order_type, OrderType::Market)
}

fn unmet(order: &Order, market: &Market) -> String {
    let kind = match (&order.spec.order_type, order.spec.time_in_force) {
        (_, TimeInForce::Fok) => "FOK",
        (OrderType::Market, _) => "market order",
        (_, tif) => tif.name(),
    };
    match market.offer(order.spec.side) {
        Some(offer) => match offer.size {
            Some(size) => format!("{kind}: the market offered {size} at {}", offer.price),
            None => format!("{kind}: the market offered {}", offer.price),
        },
        None => format!("{kind}: the market offered nothing"),
    }
}

fn spend(market: &Market, spent: &mut Spent, quantity: Quantity) {
    let before = if spent.quote_at == market.timestamp() { spent.quantity } else { Quantity::ZERO };
    *spent = Spent { quote_at: market.timestamp(), quantity: before.checked_add(quantity).unwrap_or(before) };
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
