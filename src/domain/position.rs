//! What the fills of a symbol add up to: weighted average cost, realized profit and loss.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::amount::{self, Amount, Quantity};
use super::event::Fill;
use super::order_type::Side;

/// Decimals to which the cost of a part of a position is rounded. What is taken from the cost is what
/// is realized against, so the sum of both stays exact.
const COST_SCALE: u32 = 16;

/// A position at one broker in one symbol. Money is in the quote currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Long positive, short negative.
    pub quantity: Amount,
    /// What the open quantity cost (negative for a short: what it brought in).
    pub cost: Amount,
    /// Before commission.
    pub realized_pnl: Amount,
    /// Commission in the quote currency; fills whose commission could not be converted are not in it.
    pub commission: Amount,
    /// Fills booked so far.
    pub sequence: u64,
    /// What open orders may still buy.
    pub reserved_buy: Quantity,
    /// What open orders may still sell.
    pub reserved_sell: Quantity,
}

impl Position {
    pub const FLAT: Self = Self {
        quantity: Amount::ZERO,
        cost: Amount::ZERO,
        realized_pnl: Amount::ZERO,
        commission: Amount::ZERO,
        sequence: 0,
        reserved_buy: Quantity::ZERO,
        reserved_sell: Quantity::ZERO,
    };

    /// Books a fill: the part that closes realizes against the average cost, the rest opens at the
    /// fill's price. `None` where a sum has more digits than an amount can hold.
    #[must_use]
    pub fn booked(&self, side: Side, fill: &Fill) -> Option<Self> {
        let held = self.quantity.get();
        let traded = side.signed(fill.quantity.get());
        let price = fill.price.get();
        let opposite = !held.is_zero() && held.is_sign_negative() != traded.is_sign_negative();
        let closing = if opposite { fill.quantity.get().min(held.abs()) } else { Decimal::ZERO };
        let opening = amount::sub(fill.quantity.get(), closing)?;

        let closed_cost = if closing == held.abs() {
            self.cost.get()
        } else {
            self.cost.get().checked_mul(closing)?.checked_div(held.abs())?.round_dp(COST_SCALE)
        };
        let proceeds = amount::mul(closing, price)?;
        let realized = match side {
            Side::Sell => amount::sub(proceeds, closed_cost)?,
            // A short's cost is negative: what it brought in, less what buying back costs.
            Side::Buy => amount::sub(-closed_cost, proceeds)?,
        };
        let (closed_cost, realized) =
            if closing.is_zero() { (Decimal::ZERO, Decimal::ZERO) } else { (closed_cost, realized) };
        let opened_cost = side.signed(amount::mul(opening, price)?);
        let paid = fill.commission.as_ref().and_then(|c| c.quote_value).unwrap_or(Amount::ZERO);
        Some(Self {
            quantity: Amount::of(amount::add(held, traded)?),
            cost: Amount::of(amount::add(amount::sub(self.cost.get(), closed_cost)?, opened_cost)?),
            realized_pnl: Amount::of(amount::add(self.realized_pnl.get(), realized)?),
            commission: self.commission.checked_add(paid)?,
            sequence: self.sequence + 1,
            ..self.clone()
        })
    }

    /// Average price of the open quantity; `None` when flat.
    #[must_use]
    pub fn average_price(&self) -> Option<Decimal> {
        if self.quantity.get().is_zero() {
            return None;
        }
        amount::average(self.cost.get(), self.quantity.get())
    }

    /// What closing at `mark` would realize now.
    #[must_use]
    pub fn unrealized_pnl(&self, mark: Decimal) -> Option<Decimal> {
        amount::sub(amount::mul(self.quantity.get(), mark)?, self.cost.get())
    }

    /// Realized and unrealized less commission, at `mark`.
    #[must_use]
    pub fn equity(&self, mark: Decimal) -> Option<Amount> {
        let result = amount::add(self.realized_pnl.get(), self.unrealized_pnl(mark)?)?;
        Amount::of(result).checked_sub(self.commission)
    }

    #[must_use]
    pub const fn reserved(&self, side: Side) -> Quantity {
        match side {
            Side::Buy => self.reserved_buy,
            Side::Sell => self.reserved_sell,
        }
    }

    /// Changes what is reserved on one side from `before` to `after` of one order.
    pub fn reserve(&mut self, side: Side, before: Quantity, after: Quantity) -> Option<()> {
        let reserved = match side {
            Side::Buy => &mut self.reserved_buy,
            Side::Sell => &mut self.reserved_sell,
        };
        *reserved = reserved.checked_sub(before)?.checked_add(after)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Commission;
    use crate::domain::time::Timestamp;
    use proptest::prelude::*;

    fn fill(quantity: &str, price: &str, commission: &str) -> Fill {
        Fill {
            trade_id: "t".into(),
            quantity: quantity.parse().unwrap(),
            price: price.parse().unwrap(),
            commission: Some(Commission {
                asset: "USD".into(),
                amount: commission.parse().unwrap(),
                quote_value: Some(commission.parse().unwrap()),
            }),
            executed_at: Timestamp::from_micros(0),
            position_sequence: 1,
        }
    }

    fn check(fills: &[(Side, &str, &str)], quantity: &str, average: Option<&str>, realized: &str) {
        let position = fills
            .iter()
            .fold(Position::FLAT, |p, (side, q, price)| p.booked(*side, &fill(q, price, "0")).unwrap());
        assert_eq!(position.quantity.to_string(), quantity, "{fills:?}");
        assert_eq!(position.average_price().map(|a| a.to_string()).as_deref(), average, "{fills:?}");
        assert_eq!(position.realized_pnl.to_string(), realized, "{fills:?}");
    }

    #[test]
    fn average_cost() {
        use Side::{Buy, Sell};
        check(&[(Buy, "1", "100"), (Buy, "1", "110")], "2", Some("105"), "0");
        check(&[(Buy, "2", "105"), (Sell, "1", "115")], "1", Some("105"), "10");
        check(&[(Sell, "2", "100"), (Buy, "1", "90")], "-1", Some("100"), "10");
        check(&[(Buy, "1", "100"), (Sell, "3", "110")], "-2", Some("110"), "10");
        check(&[(Sell, "1", "100"), (Buy, "3", "110")], "2", Some("110"), "-10");
        check(&[(Buy, "3", "10"), (Sell, "3", "11")], "0", None, "3");
        check(
            &[
                (Buy, "12", "100"),
                (Buy, "17", "99"),
                (Sell, "9", "101"),
                (Sell, "4", "105"),
                (Buy, "3", "103"),
            ],
            "19",
            Some("99.9800362976406534"),
            "36.6206896551724138",
        );
    }

    proptest! {
        /// cash + position · mark = realized − commission + unrealized, for any sequence of fills.
        #[test]
        fn money_is_conserved(
            fills in prop::collection::vec((any::<bool>(), 1i64..100_000, 1i64..1_000_000, -500i64..500), 1..60),
            mark in 1i64..1_000_000,
        ) {
            let mut position = Position::FLAT;
            let mut cash = Decimal::ZERO;
            for (buys, quantity, price, paid) in fills {
                let side = if buys { Side::Buy } else { Side::Sell };
                let (quantity, price, paid) = (Decimal::new(quantity, 3), Decimal::new(price, 2), Decimal::new(paid, 2));
                position = position.booked(side, &fill(&quantity.to_string(), &price.to_string(), &paid.to_string())).unwrap();
                cash -= side.signed(quantity * price) + paid;
            }
            let mark = Decimal::new(mark, 2);
            let worth = cash + position.quantity.get() * mark;
            prop_assert_eq!(worth, position.equity(mark).unwrap().get());
            if position.quantity.get().is_zero() {
                prop_assert_eq!(position.cost, Amount::ZERO);
            }
        }
    }
}
