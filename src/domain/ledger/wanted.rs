//! What the limits in force want to know, beyond the orders themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::order::ContentHash;
use crate::domain::trading_state::Scope;

use super::{Keys, Ledger};

const MICROS_PER_MS: i64 = 1000;

/// Everything that is to be loaded by broker, symbol, strategy and scope.
#[derive(Debug, Default)]
pub struct Wanted {
    pub instruments: BTreeSet<(BrokerName, Symbol)>,
    pub strategies: BTreeSet<Arc<str>>,
    /// Books of these scopes, in whatever symbol: `all`, or a strategy.
    pub sums: BTreeSet<Scope>,
    /// Whose requests are counted.
    pub rates: BTreeSet<Scope>,
    /// Fills and prices of the instruments from then on; `None`: nothing counts them.
    pub fills_within_us: Option<i64>,
    pub prices_within_us: Option<i64>,
    pub contents: Vec<ContentHash>,
    /// Calls to the brokers of the orders that failed so long ago at most.
    pub failures_within_us: Option<i64>,
    /// Where open orders are wanted, since an order may trade against them.
    pub open_orders: BTreeSet<(BrokerName, Symbol)>,
}

impl Wanted {
    /// What two transactions at once must not decide on: each symbol, each scope that adds up over symbols, and each
    /// broker whose failures are counted.
    #[must_use]
    pub fn shared(&self) -> BTreeSet<Scope> {
        let symbols = self.instruments.iter().map(|(_, symbol)| Scope::Symbol(symbol.clone()));
        let brokers = self.instruments.iter().filter(|_| self.failures_within_us.is_some());
        let brokers = brokers.map(|(broker, _)| Scope::Broker(broker.clone()));
        symbols.chain(self.sums.iter().cloned()).chain(brokers).collect()
    }
}

impl Ledger {
    /// For what `keys` name and for the orders that are loaded by now.
    #[must_use]
    pub fn wanted(&self, keys: &Keys) -> Wanted {
        let limits = &self.control.limits;
        let mut wanted = Wanted {
            instruments: keys.instruments.iter().cloned().collect(),
            strategies: keys.strategies.clone(),
            failures_within_us: keys.failures_within_us,
            ..Wanted::default()
        };
        for record in self.orders.values() {
            let order = &record.order;
            wanted.instruments.insert((order.broker.clone(), order.spec.symbol.clone()));
            wanted.strategies.extend(order.spec.strategy().map(Arc::from));
        }
        for spec in keys.specs() {
            wanted.strategies.extend(spec.strategy().map(Arc::from));
        }
        if limits.account().is_some() {
            wanted.sums.insert(Scope::All);
        }
        let adding = wanted.strategies.iter().filter(|id| limits.adds_up(id));
        let adding: Vec<Scope> = adding.map(|id| Scope::StrategyId(id.clone())).collect();
        wanted.sums.extend(adding);
        let strategies: Vec<Option<&str>> =
            std::iter::once(None).chain(wanted.strategies.iter().map(|id| Some(&**id))).collect();
        for (broker, symbol) in &wanted.instruments {
            wanted.rates.insert(Scope::Symbol(symbol.clone()));
            for row in strategies.iter().flat_map(|strategy| limits.of(symbol, *strategy)) {
                let more = &row.optional;
                wanted.rates.insert(row.scope(symbol));
                if more.max_fills.is_some() {
                    wanted.fills_within_us = wanted.fills_within_us.max(more.fills_window_ms.map(micros));
                }
                if more.max_price_move_pct.is_some() {
                    wanted.prices_within_us =
                        wanted.prices_within_us.max(more.price_move_window_ms.map(micros));
                }
                if more.prevent_self_trade {
                    wanted.open_orders.insert((broker.clone(), symbol.clone()));
                }
            }
        }
        if limits.rows().any(|row| row.optional.duplicate_window_ms.is_some()) {
            wanted.contents = keys.specs().filter_map(|spec| spec.twin_hash().ok()).collect();
        }
        wanted
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / MICROS_PER_MS).saturating_mul(MICROS_PER_MS)
}
