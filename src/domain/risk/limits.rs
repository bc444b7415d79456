//! The limits in force: rows for symbols, for strategies and for the whole account.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::amount::{self, Amount};
use crate::domain::ids::Symbol;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::Side;
use crate::domain::position::Book;
use crate::domain::trading_state::Scope;

const UNLIMITED: &str = "unlimited";
/// Stands for every symbol.
pub const ANY: &str = "*";

/// A limit that is set or lifted by name. Limits are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Unlimited,
    At(Decimal),
}

/// In JSON its digits, or `unlimited`.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == UNLIMITED {
            return Ok(Self::Unlimited);
        }
        amount::parse(&text).map(Self::At).map_err(de::Error::custom)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str(UNLIMITED),
            Self::At(limit) => limit.fmt(f),
        }
    }
}

impl Limit {
    #[must_use]
    pub const fn at(self) -> Option<Decimal> {
        match self {
            Self::Unlimited => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// The limits of a symbol, of every symbol that has no row of its own (`*`), of a strategy, or of the account. Money is
/// in the account's currency where it has one, else in the symbol's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    pub symbol: Arc<str>,
    /// Only for the orders of this strategy, in addition to their symbols' rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy_id: Option<Arc<str>>,
    /// For all orders together, in addition to their symbols' rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub account: bool,
    pub max_order_quantity: Limit,
    pub max_order_notional: Limit,
    /// Worst case: the position and all open orders of one side.
    pub max_position: Limit,
    pub max_daily_loss: Limit,
    /// Percent of the reference price, to both sides.
    pub price_collar_pct: Limit,
    /// In any rolling second, over all workers.
    pub max_orders_per_second: Limit,
    #[serde(default, skip_serializing_if = "OptionalLimits::is_off")]
    pub optional: OptionalLimits,
}

/// Limits that are off where they have no key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OptionalLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_orders: Option<u64>,
    /// Worst cases of all symbols, whichever way they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gross_exposure: Option<Amount>,
    /// Worst case of all symbols, long and short against each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_net_exposure: Option<Amount>,
    /// A reference price that moved further within the window stops the symbol for the pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_price_move_pct: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_move_window_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_move_pause_ms: Option<u64>,
    /// Of a strategy, a symbol and a side, within the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fills: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fills_window_ms: Option<u64>,
    /// The same content under another client order id is refused for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_window_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prevent_self_trade: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub check_buying_power: bool,
    /// On the restricted list: nothing new is traded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restricted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_sides: Option<Vec<Side>>,
    /// By their names in the documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_order_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_strategies: Option<Vec<String>>,
    /// For a strategy or the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_symbols: Option<Vec<String>>,
}

impl OptionalLimits {
    fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

impl LimitRow {
    /// A row that limits nothing, for whoever sets one limit after another.
    #[must_use]
    pub fn unlimited(symbol: &str) -> Self {
        Self {
            symbol: symbol.into(),
            strategy_id: None,
            account: false,
            max_order_quantity: Limit::Unlimited,
            max_order_notional: Limit::Unlimited,
            max_position: Limit::Unlimited,
            max_daily_loss: Limit::Unlimited,
            price_collar_pct: Limit::Unlimited,
            max_orders_per_second: Limit::Unlimited,
            optional: OptionalLimits::default(),
        }
    }

    /// What it is for; unique among the rows in force.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.strategy_id, self.account) {
            (_, true) => "account".to_owned(),
            (Some(strategy), false) if &*self.symbol == ANY => format!("strategy {strategy}"),
            (Some(strategy), false) => format!("strategy {strategy} symbol {}", self.symbol),
            (None, false) => format!("symbol {}", self.symbol),
        }
    }

    /// What it adds up over for an order in `symbol`, and what a breach of it stops.
    #[must_use]
    pub fn scope(&self, symbol: &Symbol) -> Scope {
        match (&self.strategy_id, self.account) {
            (_, true) => Scope::All,
            (Some(strategy), false) if &*self.symbol == ANY => Scope::StrategyId(strategy.clone()),
            (Some(strategy), false) => Scope::StrategySymbol(strategy.clone(), symbol.clone()),
            (None, false) => Scope::Symbol(symbol.clone()),
        }
    }

    /// Its limits by the names of their keys, in the order of the documentation.
    #[must_use]
    pub fn limits(&self) -> Vec<(&'static str, Limit)> {
        let more = &self.optional;
        let count = |limit: Option<u64>| limit.map(|limit| Limit::At(limit.into()));
        let money = |limit: Option<Amount>| limit.map(|limit| Limit::At(limit.get()));
        let optional = [
            ("max_open_orders", count(more.max_open_orders)),
            ("max_gross_exposure", money(more.max_gross_exposure)),
            ("max_net_exposure", money(more.max_net_exposure)),
            ("max_price_move_pct", money(more.max_price_move_pct)),
            ("max_fills", count(more.max_fills)),
        ];
        [
            ("max_order_quantity", self.max_order_quantity),
            ("max_order_notional", self.max_order_notional),
            ("max_position", self.max_position),
            ("max_daily_loss", self.max_daily_loss),
            ("price_collar_pct", self.price_collar_pct),
            ("max_orders_per_second", self.max_orders_per_second),
        ]
        .into_iter()
        .chain(optional.into_iter().filter_map(|(key, limit)| Some((key, limit?))))
        .collect()
    }

    /// Something of it is a sum of money over its scope.
    #[must_use]
    pub const fn adds_up_money(&self) -> bool {
        let more = &self.optional;
        matches!(self.max_daily_loss, Limit::At(_))
            || more.max_gross_exposure.is_some()
            || more.max_net_exposure.is_some()
    }
}

impl Scope {
    /// The book of one symbol at one broker that counts in this scope.
    #[must_use]
    pub fn book(&self, account: &Book) -> Book {
        let strategy = match self {
            Self::StrategyId(strategy) | Self::StrategySymbol(strategy, _) => Some(strategy.clone()),
            Self::All | Self::Broker(_) | Self::Symbol(_) => None,
        };
        Book { strategy, ..account.clone() }
    }
}

/// All rows in force, as they are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// By symbol, or `*`.
    symbols: BTreeMap<Arc<str>, LimitRow>,
    /// By strategy, then by symbol, or `*`.
    strategies: BTreeMap<Arc<str>, BTreeMap<Arc<str>, LimitRow>>,
    account: Option<LimitRow>,
}

impl Limits {
    #[must_use]
    pub fn of_rows(rows: &[LimitRow]) -> Self {
        let mut limits = Self::default();
        rows.iter().cloned().for_each(|row| limits.insert(row));
        limits
    }

    /// In place of the row that was for the same.
    pub fn insert(&mut self, row: LimitRow) {
        match (&row.strategy_id, row.account) {
            (_, true) => self.account = Some(row),
            (Some(strategy), false) => {
                self.strategies.entry(strategy.clone()).or_default().insert(row.symbol.clone(), row);
            }
            (None, false) => drop(self.symbols.insert(row.symbol.clone(), row)),
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows().next().is_none()
    }

    /// Symbols first, then strategies, then the account.
    pub fn rows(&self) -> impl Iterator<Item = &LimitRow> {
        let strategies = self.strategies.values().flat_map(BTreeMap::values);
        self.symbols.values().chain(strategies).chain(&self.account)
    }

    #[must_use]
    pub fn of_symbol(&self, symbol: &Symbol) -> Option<&LimitRow> {
        self.symbols.get(symbol.as_str()).or_else(|| self.symbols.get(ANY))
    }

    #[must_use]
    pub const fn account(&self) -> Option<&LimitRow> {
        self.account.as_ref()
    }

    /// Whether the orders of a strategy are limited over all symbols together.
    #[must_use]
    pub fn adds_up(&self, strategy: &str) -> bool {
        self.strategies.get(strategy).is_some_and(|rows| rows.contains_key(ANY))
    }

    /// The longest window of its kind in force, in milliseconds.
    #[must_use]
    pub fn longest(&self, window: impl Fn(&OptionalLimits) -> Option<u64>) -> u64 {
        self.rows().filter_map(|row| window(&row.optional)).max().unwrap_or(0)
    }

    /// Every row that an order is under, its symbol's first. Without a row for its symbol there is none.
    #[must_use]
    pub fn of_order(&self, order: &OrderSpec) -> Vec<&LimitRow> {
        self.of(&order.symbol, order.strategy())
    }

    /// The same for what a strategy does in a symbol.
    #[must_use]
    pub fn of(&self, symbol: &Symbol, strategy: Option<&str>) -> Vec<&LimitRow> {
        let Some(row) = self.of_symbol(symbol) else { return Vec::new() };
        let strategy = strategy.and_then(|id| self.strategies.get(id));
        let strategy = strategy
            .into_iter()
            .flat_map(|rows| [rows.get(symbol.as_str()), rows.get(ANY)].into_iter().flatten());
        std::iter::once(row).chain(strategy).chain(&self.account).collect()
    }
}
