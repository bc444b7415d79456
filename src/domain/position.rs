//! What the fills of a symbol add up to: weighted average cost, realized profit and loss.

use std::fmt;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::amount::{self, Amount, Quantity};
use super::contract::{Contract, MONEY_SCALE};
use super::ids::{BrokerName, Symbol};
use super::order_type::Side;
use super::trade::{TradeChange, Traded};

/// Whose fills a position adds up: all of a symbol's at a broker, or those of one strategy among them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Book {
    pub broker: BrokerName,
    pub symbol: Symbol,
    /// `None`: of the whole account.
    pub strategy: Option<Arc<str>>,
}

impl Book {
    #[must_use]
    pub const fn account(broker: BrokerName, symbol: Symbol) -> Self {
        Self { broker, symbol, strategy: None }
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.broker, self.symbol)?;
        match &self.strategy {
            None => Ok(()),
            Some(strategy) => write!(f, " of {strategy}"),
        }
    }
}

/// A position at one broker in one symbol. Money is in the currency of its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Long positive, short negative.
    pub quantity: Amount,
    /// What the open quantity cost (negative for a short: what it brought in).
    pub cost: Amount,
    /// Before commission.
    pub realized_pnl: Amount,
    /// Commission in that currency; fills whose commission could not be converted are not in it.
    pub commission: Amount,
    /// Fills whose commission could not be converted.
    pub unvalued_commissions: u64,
    /// Realized less commission in the account's currency, each fill at the rate of its time.
    pub account_pnl: Amount,
    /// The place of the last fill, correction or bust among those of the symbol at the broker.
    pub sequence: u64,
    /// The last of them that closed a part of the position; 0: none did.
    pub closed_at: u64,
    /// What open orders may still buy.
    pub reserved_buy: Quantity,
    /// What open orders may still sell.
    pub reserved_sell: Quantity,
    /// Orders that were sent, or are about to be, and are not over.
    pub open_orders: u64,
    /// Of the newest fill; `None`: a plain one.
    pub contract: Option<Arc<Contract>>,
}

impl Position {
    pub const FLAT: Self = Self {
        quantity: Amount::ZERO,
        cost: Amount::ZERO,
        realized_pnl: Amount::ZERO,
        commission: Amount::ZERO,
        unvalued_commissions: 0,
        account_pnl: Amount::ZERO,
        sequence: 0,
        closed_at: 0,
        reserved_buy: Quantity::ZERO,
        reserved_sell: Quantity::ZERO,
        open_orders: 0,
        contract: None,
    };

    /// Books a fill, a correction or a bust of an order of `side`. `None` where a sum has more digits than an amount
    /// can hold.
    #[must_use]
    pub fn booked(&self, side: Side, change: &TradeChange<'_>) -> Option<Self> {
        let mut after = Self { sequence: change.position_sequence, ..self.clone() };
        if let Some((was, booked_at)) = change.was {
            let contract = was.contract();
            let before = after.realized_pnl;
            after = if booked_at > self.closed_at {
                // It is a part of the open quantity as it was booked: it leaves as it came.
                after.undone(side, was)?
            } else {
                // Something was closed against the average since: it is closed, too, at its own price.
                after.traded(-units(side, was)?, was)?
            };
            let earned = after.realized_pnl.checked_sub(before)?.checked_add(paid(was))?;
            after.account_pnl = after.account_pnl.checked_add(in_account(contract, earned)?)?;
            after.commission = after.commission.checked_sub(paid(was))?;
            after.unvalued_commissions = after.unvalued_commissions.checked_sub(is_unvalued(was))?;
        }
        if let Some(now) = change.now {
            let contract = now.contract();
            let before = after.realized_pnl;
            after = after.traded(units(side, now)?, now)?;
            let earned = after.realized_pnl.checked_sub(before)?.checked_sub(paid(now))?;
            after.account_pnl = after.account_pnl.checked_add(in_account(contract, earned)?)?;
            after.commission = after.commission.checked_add(paid(now))?;
            after.unvalued_commissions += is_unvalued(now);
            after.contract = now.contract.cloned();
        }
        Some(after)
    }

    /// The part of a trade that closes realizes against the average cost, the rest opens at the trade's price.
    fn traded(self, signed: Decimal, trade: Traded<'_>) -> Option<Self> {
        let held = self.quantity.get();
        let value = trade.contract().value(trade.price.get())?;
        let opposite = !held.is_zero() && held.is_sign_negative() != signed.is_sign_negative();
        let closing = if opposite { signed.abs().min(held.abs()) } else { Decimal::ZERO };
        let opening = amount::sub(signed.abs(), closing)?;
        let direction = if signed.is_sign_negative() { -Decimal::ONE } else { Decimal::ONE };

        let closed_cost = if closing.is_zero() {
            Decimal::ZERO
        } else if closing == held.abs() {
            self.cost.get()
        } else {
            self.cost.get().checked_mul(closing)?.checked_div(held.abs())?.round_dp(MONEY_SCALE)
        };
        // A short's cost is negative: what it brought in, less what buying back costs.
        let brought_in = amount::mul(-direction * closing, value)?;
        let realized = if closing.is_zero() { Decimal::ZERO } else { amount::sub(brought_in, closed_cost)? };
        let opened_cost = amount::mul(direction * opening, value)?;
        Some(Self {
            quantity: Amount::of(amount::add(held, signed)?),
            cost: Amount::of(amount::add(amount::sub(self.cost.get(), closed_cost)?, opened_cost)?),
            realized_pnl: Amount::of(amount::add(self.realized_pnl.get(), realized)?),
            closed_at: if closing.is_zero() { self.closed_at } else { self.sequence },
            ..self
        })
    }

    /// Without a trade that only opened, and of which nothing was closed since.
    fn undone(self, side: Side, trade: Traded<'_>) -> Option<Self> {
        let signed = units(side, trade)?;
        let worth = amount::mul(signed, trade.contract().value(trade.price.get())?)?;
        Some(Self {
            quantity: Amount::of(amount::sub(self.quantity.get(), signed)?),
            cost: Amount::of(amount::sub(self.cost.get(), worth)?),
            ..self
        })
    }

    #[must_use]
    pub fn contract(&self) -> &Contract {
        self.contract.as_deref().unwrap_or(&Contract::PLAIN)
    }

    /// Average price of the open quantity; `None` when flat.
    #[must_use]
    pub fn average_price(&self) -> Option<Decimal> {
        if self.quantity.get().is_zero() {
            return None;
        }
        match &self.contract {
            None => amount::average(self.cost.get(), self.quantity.get()),
            Some(contract) if contract.inverse => {
                let multiplier = contract.value(Decimal::ONE)?;
                amount::average(multiplier.checked_mul(self.quantity.get())?, self.cost.get())
            }
            Some(contract) => {
                let multiplier = contract.value(Decimal::ONE)?;
                amount::average(self.cost.get(), multiplier.checked_mul(self.quantity.get())?)
            }
        }
    }

    /// What closing at `mark` would realize now.
    #[must_use]
    pub fn unrealized_pnl(&self, mark: Decimal) -> Option<Decimal> {
        if self.quantity.get().is_zero() {
            return Some(-self.cost.get());
        }
        amount::sub(amount::mul(self.quantity.get(), self.contract().value(mark)?)?, self.cost.get())
    }

    /// Realized and unrealized less commission, at `mark`.
    #[must_use]
    pub fn equity(&self, mark: Decimal) -> Option<Amount> {
        let result = amount::add(self.realized_pnl.get(), self.unrealized_pnl(mark)?)?;
        Amount::of(result).checked_sub(self.commission)
    }

    /// The same in the account's currency: what is realized at the rates of its time, what is not at that of now.
    #[must_use]
    pub fn account_equity(&self, mark: Decimal, contract: &Contract) -> Option<Amount> {
        let open = contract.in_account(self.unrealized_pnl(mark)?)?;
        self.account_pnl.checked_add(Amount::of(open))
    }

    #[must_use]
    pub const fn reserved(&self, side: Side) -> Quantity {
        match side {
            Side::Buy => self.reserved_buy,
            Side::Sell => self.reserved_sell,
        }
    }

    /// The position with every open order of the one side filled, and of the other.
    #[must_use]
    pub fn worst_cases(&self) -> Option<[Decimal; 2]> {
        let bought = amount::add(self.quantity.get(), self.reserved_buy.get())?;
        let sold = amount::sub(self.quantity.get(), self.reserved_sell.get())?;
        Some([bought, sold])
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

/// By how much a trade moves the position, with its sign: a commission in the base asset is taken out of it.
fn units(side: Side, trade: Traded<'_>) -> Option<Decimal> {
    let signed = side.signed(trade.quantity.get());
    match trade.commission {
        Some(paid) if trade.contract().takes_from_quantity(&paid.asset) => {
            amount::sub(signed, paid.amount.get())
        }
        _ => Some(signed),
    }
}

/// What a trade's commission comes to in the contract's currency, as far as that is known.
fn paid(trade: Traded<'_>) -> Amount {
    trade.commission.and_then(|commission| commission.quote_value).unwrap_or(Amount::ZERO)
}

fn is_unvalued(trade: Traded<'_>) -> u64 {
    let unvalued =
        |paid: &&super::event::Commission| paid.quote_value.is_none() && paid.amount != Amount::ZERO;
    u64::from(trade.commission.filter(unvalued).is_some())
}

fn in_account(contract: &Contract, money: Amount) -> Option<Amount> {
    contract.in_account(money.get()).map(Amount::of)
}

#[cfg(test)]
mod tests;
