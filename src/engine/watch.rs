//! Prices move whether anybody trades or not: what is held is looked at for limits that go by them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::decide::{Input, Watch};

use super::{Engine, EngineError};

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
        if symbols.is_empty() {
            return Ok(0);
        }
        let markets = self.markets(symbols).await?.into_iter();
        let markets: Vec<_> = markets.map(|((broker, symbol), market)| (broker, symbol, market)).collect();
        let looked_at = markets.len();
        let watch = Watch { markets, strategies };
        for decision in self.journal.transact(vec![Input::Watch(Box::new(watch))]).await? {
            decision?;
        }
        Ok(looked_at)
    }
}
