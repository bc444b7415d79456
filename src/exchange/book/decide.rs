//! What the exchange does with a request: refuse it, or book what happens.

use std::collections::BTreeMap;

use crate::domain::amount::{self, Amount};
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::market::Market;
use crate::domain::order_type::OrderType;
use crate::domain::report::Report;
use crate::domain::risk::{self, RiskApproved};
use crate::domain::time::Timestamp;
use crate::domain::venue::{Scene, Spent};

use super::super::message::{
    Answer, Answered, Change, Code, Dedupe, OrderStatus, Placement, Refused, Window,
};
use super::super::transaction::PriceTerms;
use super::placed::Placed;
use super::{Book, BookError, News, unknown};

impl Book {
    pub(super) fn submit(
        &mut self,
        placement: Placement,
        window: Window,
        now: Timestamp,
    ) -> Result<Answered, BookError> {
        // A repeat executes nothing, so no deadline keeps it from the answer of then.
        if self.dedupe == Dedupe::Forever
            && let Some((_, known)) = self.state.generations(&placement.client_order_id).next()
        {
            return Ok(recorded(known));
        }
        if let Err(late) = window.check(now) {
            return Ok(Err(late));
        }
        if self.dedupe == Dedupe::Open
            && let Some((_, open)) =
                self.state.generations(&placement.client_order_id).find(|(_, order)| order.is_open())
        {
            let message = format!("{} is open under {}", open.order_id(), placement.client_order_id);
            return Ok(Err(Refused::new(Code::Duplicate, message)));
        }
        let order = Placed::new(self.state.orders.len() as u64 + 1, placement, now);
        let market = self.market(&order.placement.symbol);
        let met = self.check(&order, &market).and_then(|()| self.meet(&order, &market, now));
        match met {
            Err(reason) => {
                self.note(&order, News::Rejected(reason), Some(&order.placement), now)?;
            }
            Ok(met) => {
                self.note(&order, News::Accepted, Some(&order.placement), now)?;
                self.book(&order, met, now)?;
            }
        }
        let placed = self.state.generations(&order.placement.client_order_id).next();
        Ok(placed.map_or_else(|| recorded(&order), |(_, placed)| recorded(placed)))
    }

    pub(super) fn cancel(
        &mut self,
        client_order_id: &ClientOrderId,
        now: Timestamp,
    ) -> Result<Answered, BookError> {
        let order = match self.open_order(client_order_id) {
            Ok(order) => order,
            Err(refused) => return Ok(Err(refused)),
        };
        self.note(&order, News::Cancelled("cancelled by request".to_owned()), None, now)?;
        Ok(self.as_it_stands(&order))
    }

    pub(super) fn replace(
        &mut self,
        client_order_id: &ClientOrderId,
        change: Change,
        window: Window,
        now: Timestamp,
    ) -> Result<Answered, BookError> {
        let done = |order: &Placed| order.replace_ids.contains(&change.replace_id);
        if let Some((_, order)) = self.state.generations(client_order_id).find(|(_, order)| done(order)) {
            return Ok(Ok(Answer::Order(Box::new(order.view()))));
        }
        if let Err(late) = window.check(now) {
            return Ok(Err(late));
        }
        let before = match self.open_order(client_order_id) {
            Ok(order) => order,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut order = before.clone();
        order.quantity = change.quantity.unwrap_or(order.quantity);
        order.order_type.reprice(change.price, change.stop_price);
        if let Err(message) = check_change(&before, &order, &change) {
            return Ok(Err(Refused::new(Code::Rejected, message)));
        }
        let market = self.market(&order.placement.symbol);
        let met = self.check(&order, &market).and_then(|()| self.meet_replaced(&order, &market, now));
        match met {
            Err(reason) => Ok(Err(Refused::new(Code::Rejected, reason))),
            Ok(met) => {
                self.note(&before, News::Replaced(change), None, now)?;
                self.book(&order, met, now)?;
                Ok(self.as_it_stands(&order))
            }
        }
    }

    /// Sets markets; resting orders that are met fill, the oldest first.
    pub(super) fn set_prices(
        &mut self,
        prices: BTreeMap<Symbol, PriceTerms>,
        now: Timestamp,
    ) -> Result<(), BookError> {
        self.state.set_prices(&prices, now);
        self.record.prices.clone_from(&prices);
        for symbol in prices.keys() {
            let market = self.market(symbol);
            let resting: Vec<usize> = self.state.open.get(symbol).into_iter().flatten().copied().collect();
            for index in resting {
                let Some(resting) = self.state.orders.get(index).cloned() else { continue };
                let Some(order) = resting.order() else { continue };
                let mut spent = self.spent(&resting, &market);
                let mut scene = self.scene(&resting, &market, &mut spent, now);
                let reports = self.venue.on_quote(&order, &mut scene);
                // What cannot be added up exactly stays as it is: another quote may fill it.
                if self.adds_up(&resting, &reports).is_ok() {
                    self.book(&resting, reports, now)?;
                }
            }
        }
        Ok(())
    }

    /// The newest open order under that id.
    fn open_order(&self, client_order_id: &ClientOrderId) -> Result<Placed, Refused> {
        let mut newest = None;
        for (_, order) in self.state.generations(client_order_id) {
            if order.is_open() {
                return Ok(order.clone());
            }
            newest = newest.or(Some(order));
        }
        let newest = newest.ok_or_else(|| unknown(client_order_id))?;
        let message = format!("{} is {:?}", newest.order_id(), newest.status);
        Err(Refused { order: Some(Box::new(newest.view())), ..Refused::new(Code::NotOpen, message) })
    }

    fn as_it_stands(&self, order: &Placed) -> Answered {
        let index = usize::try_from(order.number - 1).unwrap_or(usize::MAX);
        let stands = self.state.orders.get(index).unwrap_or(order);
        Ok(Answer::Order(Box::new(stands.view())))
    }

    /// What is refused before the order meets the market, in one sentence.
    fn check(&self, order: &Placed, market: &Market) -> Result<(), String> {
        let symbol = &order.placement.symbol;
        if matches!(market, Market::Unknown) {
            return Err(format!("symbol {symbol} is not traded here"));
        }
        let may_rest = matches!(order.placement.order_type, OrderType::Limit { .. })
            && order.placement.time_in_force.may_rest();
        if order.placement.post_only && !may_rest {
            return Err("post_only is for limit orders that may rest: GTC, GTD, DAY".to_owned());
        }
        let spec = order.order().ok_or(UNFIT)?.spec;
        let price = risk::expected_price(&spec, market);
        if let Some(instrument) = self.venue.instruments.get(symbol) {
            instrument.check(&spec, price).map_err(|refusal| refusal.reason)?;
        }
        match price.filter(|price| amount::mul(spec.quantity.get(), *price).is_none()) {
            Some(price) => Err(format!("quantity {} times price {price} has too many digits", spec.quantity)),
            None => Ok(()),
        }
    }

    /// How a new order fares against the market now; `Err`: why it is rejected.
    fn meet(&self, placed: &Placed, market: &Market, now: Timestamp) -> Result<Vec<Report>, String> {
        let order = placed.order().ok_or(UNFIT)?;
        let approved = RiskApproved::journaled(&order).ok_or(UNFIT)?;
        let mut spent = self.spent(placed, market);
        let reports = self.venue.on_submit(&approved, &mut self.scene(placed, market, &mut spent, now));
        if let Some(Report::Rejected(refusal)) = reports.first() {
            return Err(refusal.reason.clone());
        }
        self.adds_up(placed, &reports)?;
        Ok(reports)
    }

    /// The same for an order that was given new terms.
    fn meet_replaced(&self, placed: &Placed, market: &Market, now: Timestamp) -> Result<Vec<Report>, String> {
        let order = placed.order().ok_or(UNFIT)?;
        let mut spent = self.spent(placed, market);
        let mut scene = self.scene(placed, market, &mut spent, now);
        let reports = self.venue.on_replace(&order, &mut scene).map_err(|refusal| refusal.reason)?;
        self.adds_up(placed, &reports)?;
        Ok(reports)
    }

    /// Every sum that the fills lead to can be written down exactly.
    fn adds_up(&self, placed: &Placed, reports: &[Report]) -> Result<(), String> {
        let mut sum = placed.clone();
        let mut position = self.position(placed);
        for report in reports {
            let Report::Fill(fill) = report else { continue };
            let traded = Amount::of(placed.placement.side.signed(fill.quantity.get()));
            let inexact =
                || format!("a fill of {} cannot be added up exactly: use fewer decimals", fill.quantity);
            (sum.filled, _) = sum.after(fill.quantity).ok_or_else(inexact)?;
            position = position.checked_add(traded).ok_or_else(inexact)?;
        }
        Ok(())
    }

    fn book(&mut self, order: &Placed, reports: Vec<Report>, now: Timestamp) -> Result<(), BookError> {
        for report in reports {
            let news = match report {
                Report::Fill(fill) => News::Trade(fill),
                Report::Cancelled { reason } => News::Cancelled(reason),
                Report::Expired { reason } => News::Expired(reason),
                Report::Trailed(trail) => News::Trailed(trail),
                Report::Triggered { price } => News::Triggered(price),
                Report::Acknowledged { .. }
                | Report::Rejected(_)
                | Report::CancelRefused { .. }
                | Report::Restated { .. }
                | Report::TradeCorrected(_)
                | Report::TradeBusted { .. }
                | Report::Replaced { .. } => continue,
            };
            self.note(order, news, None, now)?;
        }
        Ok(())
    }

    fn scene<'a>(
        &self,
        order: &Placed,
        market: &'a Market,
        spent: &'a mut Spent,
        now: Timestamp,
    ) -> Scene<'a> {
        Scene { market, spent, position: self.position(order).get(), now }
    }

    fn position(&self, order: &Placed) -> Amount {
        self.state.positions.get(&order.placement.symbol).copied().unwrap_or(Amount::ZERO)
    }

    fn spent(&self, order: &Placed, market: &Market) -> Spent {
        let key = (order.placement.symbol.clone(), order.placement.side);
        let quantity = self.state.spent.get(&key).copied().unwrap_or_default();
        Spent { quote_at: market.timestamp(), quantity }
    }
}

/// What new terms must be, in one sentence.
fn check_change(before: &Placed, after: &Placed, change: &Change) -> Result<(), String> {
    if after.quantity <= after.filled {
        return Err(format!("quantity {} is not above the filled {}", after.quantity, after.filled));
    }
    let kind = before.order_type.name();
    if change.price.is_some() && before.order_type.limit_price().is_none() {
        return Err(format!("price: a {kind} order has none to change"));
    }
    if change.stop_price.is_some() && (before.order_type.stop_price().is_none() || before.triggered) {
        return Err(format!("stop_price: a {kind} order has none to change, or was triggered already"));
    }
    Ok(())
}

const UNFIT: &str = "the order cannot be worked";

/// The answer that an order was given, with the order as it stands now.
fn recorded(order: &Placed) -> Answered {
    if order.status == OrderStatus::Rejected {
        let reason = order.reason.clone().unwrap_or_default();
        return Err(Refused::new(Code::Rejected, reason));
    }
    Ok(Answer::Order(Box::new(order.view())))
}
