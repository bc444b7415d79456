//! What a unit of an instrument is worth in money, and in which: contract multiplier, inverse contracts, the currencies
//! of a pair, and the rates between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::{self, Amount, Price};
use super::event::Commission;
use super::ids::Symbol;

/// Decimals to which what cannot be written down exactly is rounded: quotients, and money at a rate.
pub const MONEY_SCALE: u32 = 16;

/// How an instrument's quantities and prices become money. A fill carries the one that it was booked with, so that what
/// it came to does not change with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Contract {
    /// What one unit of quantity stands for; 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<Price>,
    /// Quoted in one currency and settled in the other: a unit is worth the multiplier divided by the price.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inverse: bool,
    /// Of a spot pair: the asset that is bought, in which a commission makes the position smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What profit and loss are in: of a linear instrument the quote currency, of an inverse one the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Account currency for one unit of `currency`, at the time of the fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fx_rate: Option<Price>,
}

impl Contract {
    /// One unit for one unit, in its quote currency, which is also the account's.
    pub const PLAIN: Self =
        Self { multiplier: None, inverse: false, base: None, currency: None, fx_rate: None };

    /// The money that one unit stands for at `price`. Of an inverse contract it is negative: as the price rises, a long
    /// position of it stands for less of the other currency, and gains by that.
    #[must_use]
    pub fn value(&self, price: Decimal) -> Option<Decimal> {
        let multiplier = self.multiplier.map_or(Decimal::ONE, Price::get);
        if self.inverse {
            let quotient = multiplier.checked_div(price)?.round_dp(MONEY_SCALE).normalize();
            return Some(-quotient);
        }
        if self.multiplier.is_none() { Some(price) } else { amount::mul(multiplier, price) }
    }

    /// The price at which one unit stands for `value`.
    #[must_use]
    pub fn price_of(&self, value: Decimal) -> Option<Decimal> {
        let multiplier = self.multiplier.map_or(Decimal::ONE, Price::get);
        if self.inverse {
            amount::average(-multiplier, value)
        } else if self.multiplier.is_none() {
            Some(value)
        } else {
            amount::average(value, multiplier)
        }
    }

    /// The money that `quantity` stands for at `price`, without a sign.
    #[must_use]
    pub fn notional(&self, quantity: Decimal, price: Decimal) -> Option<Decimal> {
        amount::mul(quantity, self.value(price)?).map(|money| money.abs())
    }

    /// `money` in the account's currency, at the rate of the fill.
    #[must_use]
    pub fn in_account(&self, money: Decimal) -> Option<Decimal> {
        at_rate(money, self.fx_rate)
    }

    /// A commission in this asset is taken out of what was traded.
    #[must_use]
    pub fn takes_from_quantity(&self, asset: &str) -> bool {
        self.base.as_deref() == Some(asset)
    }
}

/// `money` at a rate; without one it is in that currency already.
#[must_use]
pub fn at_rate(money: Decimal, rate: Option<Price>) -> Option<Decimal> {
    match rate {
        None => Some(money),
        Some(rate) => money.checked_mul(rate.get()).map(|money| money.round_dp(MONEY_SCALE).normalize()),
    }
}

/// The contracts of all instruments, and what currencies are worth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contracts {
    /// `None`: all money is taken to be in one currency.
    currency: Option<String>,
    /// Account currency for one unit of each other one.
    rates: BTreeMap<String, Price>,
    by_symbol: BTreeMap<Symbol, Arc<Contract>>,
}

impl Contracts {
    /// `rates`: so much of `currency` for one unit of each other one.
    #[must_use]
    pub fn new(
        currency: Option<String>,
        rates: BTreeMap<String, Price>,
        contracts: impl IntoIterator<Item = (Symbol, Contract)>,
    ) -> Self {
        let mut all = Self { currency, rates, by_symbol: BTreeMap::new() };
        for (symbol, mut contract) in contracts {
            contract.fx_rate = contract.currency.as_deref().and_then(|asset| all.foreign_rate(asset));
            if contract != Contract::PLAIN {
                all.by_symbol.insert(symbol, Arc::new(contract));
            }
        }
        all
    }

    #[must_use]
    pub fn of(&self, symbol: &Symbol) -> Option<&Arc<Contract>> {
        self.by_symbol.get(symbol)
    }

    /// The currency in which sums over several symbols are made.
    #[must_use]
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    /// Whether money of this symbol can be added to that of others. It cannot where the account has a currency and the
    /// symbol's has no rate to it.
    #[must_use]
    pub fn has_rate(&self, symbol: &Symbol) -> bool {
        let Some(account) = &self.currency else { return true };
        let currency = self.of(symbol).and_then(|contract| contract.currency.as_ref());
        currency.is_some_and(|currency| currency == account || self.rates.contains_key(currency))
    }

    fn foreign_rate(&self, asset: &str) -> Option<Price> {
        (self.currency.as_deref()? != asset).then(|| self.rates.get(asset).copied())?
    }

    /// What a commission comes to in the currency of the symbol that it was paid for, where that can be told: `price` is
    /// that of the fill.
    #[must_use]
    pub fn commission_value(&self, symbol: &Symbol, commission: &Commission, price: Price) -> Option<Amount> {
        let contract = self.of(symbol)?;
        let (asset, paid) = (commission.asset.as_str(), commission.amount.get());
        if contract.takes_from_quantity(asset) {
            return contract.value(price.get()).and_then(|value| amount::mul(paid, value)).map(Amount::of);
        }
        let currency = contract.currency.as_deref()?;
        if currency == asset {
            return Some(commission.amount);
        }
        let account = self.currency.as_deref()?;
        let rate = |asset: &str| {
            if asset == account { Some(Decimal::ONE) } else { self.rates.get(asset).map(|rate| rate.get()) }
        };
        let value = paid.checked_mul(rate(asset)?)?.checked_div(rate(currency)?)?;
        Some(Amount::of(value.round_dp(MONEY_SCALE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        amount::parse(text).unwrap()
    }

    fn symbol(text: &str) -> Symbol {
        text.parse().unwrap()
    }

    #[test]
    fn a_unit_is_worth_its_multiplier_and_of_an_inverse_contract_the_reciprocal() {
        let future = Contract { multiplier: Some("1000".parse().unwrap()), ..Contract::PLAIN };
        assert_eq!(future.value(number("118.5")), Some(number("118500")));
        assert_eq!(future.price_of(number("118500")), Some(number("118.5")));
        assert_eq!(future.notional(number("2"), number("118.5")), Some(number("237000")));
        let inverse = Contract { multiplier: Some("100".parse().unwrap()), inverse: true, ..Contract::PLAIN };
        assert_eq!(inverse.value(number("40000")), Some(number("-0.0025")));
        assert_eq!(inverse.price_of(number("-0.0025")), Some(number("40000")));
        assert_eq!(inverse.notional(number("4"), number("40000")), Some(number("0.01")));
    }

    #[test]
    fn a_commission_is_valued_where_a_rate_leads_there() {
        let spot = Contract { base: Some("BTC".into()), currency: Some("USDT".into()), ..Contract::PLAIN };
        let euro = Contract { currency: Some("EUR".into()), ..Contract::PLAIN };
        let rates = BTreeMap::from([
            ("USDT".to_owned(), "1".parse().unwrap()),
            ("BNB".to_owned(), "600".parse().unwrap()),
            ("EUR".to_owned(), "1.2".parse().unwrap()),
        ]);
        let all =
            Contracts::new(Some("USD".into()), rates, [(symbol("BTCUSDT"), spot), (symbol("DAX"), euro)]);
        let value = |name: &str, asset: &str, paid: &str| {
            let commission =
                Commission { asset: asset.into(), amount: paid.parse().unwrap(), quote_value: None };
            all.commission_value(&symbol(name), &commission, "50000".parse().unwrap())
        };
        assert_eq!(value("BTCUSDT", "USDT", "3"), Some("3".parse().unwrap()));
        assert_eq!(value("BTCUSDT", "BTC", "0.001"), Some("50".parse().unwrap()));
        assert_eq!(value("BTCUSDT", "BNB", "0.1"), Some("60".parse().unwrap()));
        assert_eq!(value("DAX", "BNB", "0.1"), Some("50".parse().unwrap()));
        assert_eq!(value("DAX", "USD", "3"), Some("2.5".parse().unwrap()));
        assert_eq!(value("BTCUSDT", "DOGE", "3"), None);
        assert_eq!(value("ETHUSDT", "USDT", "3"), None);
        assert!(all.has_rate(&symbol("BTCUSDT")) && !all.has_rate(&symbol("ETHUSDT")));
        assert_eq!(all.of(&symbol("DAX")).unwrap().fx_rate, Some("1.2".parse().unwrap()));
        assert!(Contracts::default().has_rate(&symbol("ETHUSDT")));
    }
}
