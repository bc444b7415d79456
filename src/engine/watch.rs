//! Prices move whether anybody trades or not: what is held is looked at for limits that go by them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::decide::{Input, Watch};

use super::{Engine, EngineError};

/// Symbols that one transaction looks at: nobody else decides on them meanwhile.
const PAGE: usize = 64;

impl Engine {
    /// Holds all books against the limits that go by prices; says how many symbols it looked at.
    pub async fn watch_risk(&self) -> Result<usize, EngineError> {
        let books = self.reader.books().await?;
        let held = books.iter().filter(|(_, p)| !p.quantity.get().is_zero() || p.open_orders > 0);
        let (mut symbols, mut strategies) = (BTreeSet::new(), BTreeSet::<Arc<str>>::new());
        for (book, _) in held {
            symbols.insert((book.broker.clone(), book.symbol.clone()));
            strategies.extend(book.strategy.clone());
        }
        let control = self.reader.control().await?;
        let mut rows = control.limits.rows();
        let goes_by_prices = rows.any(|row| row.adds_up_money() || row.optional.max_price_move_pct.is_some());
        if symbols.is_empty() || !goes_by_prices {
            return Ok(0);
        }
        let mut markets: Vec<_> = self.markets(symbols).await?.into_iter().collect();
        markets.sort_by(|a, b| a.0.cmp(&b.0));
        for page in markets.chunks(PAGE) {
            let markets =
                page.iter().map(|((b, s), market)| (b.clone(), s.clone(), market.clone())).collect();
            let watch = Watch { markets, strategies: strategies.clone() };
            for decision in self.journal.transact(vec![Input::Watch(Box::new(watch))]).await? {
                decision?;
            }
        }
        Ok(markets.len())
    }
}
