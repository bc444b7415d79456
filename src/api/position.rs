//! A position as the contract shows it, at the price of the moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::amount::{Amount, Price};
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::market::Market;
use crate::domain::position::Position;
use crate::ports::quotes::Quotes;

/// Money in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PositionRow {
    pub symbol: Symbol,
    pub broker: BrokerName,
    /// Long positive, short negative.
    pub quantity: Amount,
    /// Of the open quantity; null when flat.
    pub average_price: Option<Amount>,
    /// Before commission.
    pub realized_pnl: Amount,
    /// What closing at the mark would realize; null where there is no mark.
    pub unrealized_pnl: Option<Amount>,
    pub commission: Amount,
    /// What the broker says; null where that is not known.
    pub broker_quantity: Option<Amount>,
}

impl PositionRow {
    #[must_use]
    pub fn new(broker: BrokerName, symbol: Symbol, position: &Position, mark: Option<Decimal>) -> Self {
        let flat = position.quantity.get().is_zero();
        let unrealized =
            if flat { Some(Decimal::ZERO) } else { mark.and_then(|at| position.unrealized_pnl(at)) };
        Self {
            symbol,
            broker,
            quantity: position.quantity,
            average_price: position.average_price().map(Amount::of),
            realized_pnl: position.realized_pnl,
            unrealized_pnl: unrealized.map(Amount::of),
            commission: position.commission,
            broker_quantity: None,
        }
    }
}

/// The prices at which positions are valued: a symbol's quote, else its configured price.
#[derive(Clone)]
pub struct Marks {
    quotes: Option<Arc<dyn Quotes>>,
    prices: BTreeMap<Symbol, Price>,
}

impl Marks {
    /// Without `quotes`, only the configured prices count.
    #[must_use]
    pub fn new(quotes: Option<Arc<dyn Quotes>>, prices: BTreeMap<Symbol, Price>) -> Self {
        Self { quotes, prices }
    }

    /// Values `positions`, by symbol and broker. Where the quotes cannot be read there is no mark: a
    /// configured price is not what a quoted symbol is worth.
    pub async fn value(&self, positions: Vec<(BrokerName, Symbol, Position)>) -> Vec<PositionRow> {
        let open: Vec<_> = positions
            .iter()
            .filter(|(_, _, position)| !position.quantity.get().is_zero())
            .map(|(broker, symbol, _)| (broker.clone(), symbol.clone()))
            .collect();
        let marks = self.of(&open).await;
        let mut rows: Vec<_> = positions
            .into_iter()
            .map(|(broker, symbol, position)| {
                let key = (broker, symbol);
                let mark = marks.get(&key).copied();
                PositionRow::new(key.0, key.1, &position, mark)
            })
            .collect();
        rows.sort_by(|a, b| (&a.symbol, &a.broker).cmp(&(&b.symbol, &b.broker)));
        rows
    }

    /// The price of each of these, where there is one.
    pub async fn of(&self, wanted: &[(BrokerName, Symbol)]) -> HashMap<(BrokerName, Symbol), Decimal> {
        let mut quoted = match &self.quotes {
            Some(quotes) if !wanted.is_empty() => match quotes.read(wanted).await {
                Ok(quoted) => quoted,
                Err(error) => {
                    tracing::debug!(%error, "positions are shown without a mark");
                    return HashMap::new();
                }
            },
            _ => HashMap::new(),
        };
        let market = |key: &(BrokerName, Symbol), quoted: &mut HashMap<_, _>| match quoted.remove(key) {
            Some(quote) => Market::Quoted(quote),
            None => self.prices.get(&key.1).map_or(Market::Unknown, |price| Market::Fixed(*price)),
        };
        wanted
            .iter()
            .filter_map(|key| market(key, &mut quoted).reference().map(|mark| (key.clone(), mark)))
            .collect()
    }
}
