//! The grid that an instrument's orders must lie on. Off the grid is refused, never rounded.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::amount::{self, Price, Quantity};
use super::order::OrderSpec;
use super::refusal::{Code, Refusal};

/// An instrument's rules; what is `None` is not limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// Prices are multiples of it.
    pub tick_size: Option<Price>,
    /// Quantities are multiples of it.
    pub step_size: Option<Quantity>,
    pub min_quantity: Option<Quantity>,
    pub max_quantity: Option<Quantity>,
    /// Least quantity · price, in the quote currency.
    pub min_notional: Option<Price>,
    /// It trades now.
    pub trading: bool,
    /// The types of orders that it takes now, by their names; `None`: whatever its broker takes.
    pub order_types: Option<BTreeSet<String>>,
}

impl Default for Instrument {
    fn default() -> Self {
        Self {
            tick_size: None,
            step_size: None,
            min_quantity: None,
            max_quantity: None,
            min_notional: None,
            trading: true,
            order_types: None,
        }
    }
}

fn off_grid(field: &str, value: Decimal, rule: &str, right: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::ValidationFailed, format!("{field} {value} {rule} {right}"))
}

fn is_multiple(value: Decimal, unit: Decimal) -> bool {
    unit.is_zero() || value.checked_rem(unit).is_some_and(|rest| rest.is_zero())
}

impl Instrument {
    /// Checks an order against the rules. `price` is what it is expected to trade at: its own limit, else the market's.
    pub fn check(&self, order: &OrderSpec, price: Option<Decimal>) -> Result<(), Refusal> {
        let quantity = order.quantity.get();
        if let Some(step) = self.step_size.filter(|step| !is_multiple(quantity, step.get())) {
            return Err(off_grid("quantity", quantity, "must be a multiple of the step size", step));
        }
        if let Some(least) = self.min_quantity.filter(|least| order.quantity < *least) {
            return Err(off_grid("quantity", quantity, "is below the minimum quantity", least));
        }
        if let Some(most) = self.max_quantity.filter(|most| order.quantity > *most) {
            return Err(off_grid("quantity", quantity, "is above the maximum quantity", most));
        }
        if let Some(tick) = self.tick_size {
            for (field, price) in order.order_type.prices() {
                if !is_multiple(price.get(), tick.get()) {
                    return Err(off_grid(field, price.get(), "must be a multiple of the tick size", tick));
                }
            }
        }
        if let (Some(least), Some(price)) = (self.min_notional, price) {
            let notional = amount::mul(quantity, price).ok_or_else(|| too_many_digits(order, price))?;
            if notional < least.get() {
                return Err(off_grid("quantity · price", notional, "is below the minimum notional", least));
            }
        }
        Ok(())
    }
}

/// The refusal of an order whose notional cannot be written down exactly.
#[must_use]
pub fn too_many_digits(order: &OrderSpec, price: Decimal) -> Refusal {
    Refusal::new(
        Code::ValidationFailed,
        format!(
            "quantity {} times price {price} has more than {} digits: use fewer decimals",
            order.quantity,
            amount::MAX_DIGITS
        ),
    )
}
