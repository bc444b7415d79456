//! What the books of one scope come to together, in the account's currency.

use rust_decimal::Decimal;

use crate::domain::amount::{self, Amount, Quantity};
use crate::domain::contract::Contract;
use crate::domain::ids::Symbol;
use crate::domain::order_type::Side;
use crate::domain::position::Position;

/// One book of a scope, and what it is valued with.
#[derive(Debug)]
pub struct BookValue<'a> {
    pub symbol: &'a Symbol,
    pub position: &'a Position,
    pub contract: &'a Contract,
    /// Its money can be told in the account's currency.
    pub has_rate: bool,
    /// The symbol's price of now.
    pub mark: Option<Decimal>,
    /// What the book had earned when the session began.
    pub base: Amount,
}

/// Sums over the books of a scope. What cannot be told is `None`, never zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    pub open_orders: u64,
    /// Realized and unrealized less commission since the session began.
    pub result: Option<Decimal>,
    /// Worst cases, whichever way they go; with all buys filled, and with all sells.
    pub exposure: Option<Exposure>,
    /// A symbol without a price, for which the sums cannot be told.
    pub unpriced: Option<Symbol>,
}

/// Notional in the account's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposure {
    pub gross: Decimal,
    pub bought: Decimal,
    pub sold: Decimal,
}

impl Exposure {
    /// The worse of both, without its sign.
    #[must_use]
    pub fn net(&self) -> Decimal {
        self.bought.abs().max(self.sold.abs())
    }

    fn plus(self, other: Self, sign: Decimal) -> Option<Self> {
        Some(Self {
            gross: amount::add(self.gross, sign * other.gross)?,
            bought: amount::add(self.bought, sign * other.bought)?,
            sold: amount::add(self.sold, sign * other.sold)?,
        })
    }

    /// Of one book.
    fn of(position: &Position, contract: &Contract, mark: Decimal) -> Option<Self> {
        let [bought, sold] = position.worst_cases()?;
        let money = |quantity: Decimal| {
            let value = contract.notional(quantity.abs(), mark)?;
            let value = contract.in_account(value)?;
            Some(if quantity.is_sign_negative() { -value } else { value })
        };
        let (bought, sold) = (money(bought)?, money(sold)?);
        Some(Self { gross: bought.abs().max(sold.abs()), bought, sold })
    }
}

impl Sums {
    /// Over all books. `money`: whether results and exposure are wanted; they need a price of every symbol that is held
    /// or has open orders.
    #[must_use]
    pub fn of<'a>(books: impl IntoIterator<Item = BookValue<'a>>, money: bool) -> Self {
        let mut sums = Self::default();
        let (mut result, mut exposure) = (Some(Decimal::ZERO), Some(Exposure::default()));
        for book in books {
            sums.open_orders += book.position.open_orders;
            if !money {
                continue;
            }
            let held = !book.position.quantity.get().is_zero();
            let open = book.position.open_orders > 0 || held;
            let counts = open || book.position.account_pnl != Amount::ZERO;
            if open && book.mark.is_none() || counts && !book.has_rate {
                sums.unpriced = Some(book.symbol.clone());
                (result, exposure) = (None, None);
                continue;
            }
            // Where nothing is held any price will do.
            let mark = book.mark.unwrap_or(Decimal::ONE);
            let earned = book.position.account_equity(mark, book.contract);
            let earned = earned.and_then(|earned| earned.checked_sub(book.base));
            result = result.and_then(|sum| amount::add(sum, earned?.get()));
            if open {
                let own = Exposure::of(book.position, book.contract, mark);
                exposure = exposure.and_then(|sum| sum.plus(own?, Decimal::ONE));
            }
        }
        if money {
            (sums.result, sums.exposure) = (result, exposure);
        }
        sums
    }

    /// The exposure with an order in the book of its symbol, which is `position` without it.
    #[must_use]
    pub fn with_order(
        &self,
        position: &Position,
        side: Side,
        quantity: Quantity,
        contract: &Contract,
        mark: Decimal,
    ) -> Option<Exposure> {
        let mut with = position.clone();
        with.reserve(side, Quantity::ZERO, quantity)?;
        let without = Exposure::of(position, contract, mark)?;
        let with = Exposure::of(&with, contract, mark)?;
        self.exposure?.plus(without, -Decimal::ONE)?.plus(with, Decimal::ONE)
    }
}
