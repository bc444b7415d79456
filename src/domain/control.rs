//! What holds for every order whoever admits it: the limits in force and the trading state. Each change is one of the
//! events here, journaled like those of orders; the revision counts them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::Symbol;
use super::risk::LimitRow;
use super::trading_state::{Switch, TradingStates};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// Changes so far: what was read under the same number still holds.
    pub revision: u64,
    /// By symbol, or `*`.
    pub limits: BTreeMap<Arc<str>, LimitRow>,
    pub trading: TradingStates,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlEvent {
    TradingState(Switch),
    Limits(LimitsChange),
}

/// Other limits than before, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsChange {
    pub by: String,
    pub why: String,
    pub rows: Vec<LimitRow>,
}

impl ControlEvent {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TradingState(_) => "trading_state",
            Self::Limits(_) => "limits",
        }
    }

    #[must_use]
    pub fn by(&self) -> &str {
        match self {
            Self::TradingState(switch) => &switch.by,
            Self::Limits(change) => &change.by,
        }
    }

    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::TradingState(switch) => &switch.why,
            Self::Limits(change) => &change.why,
        }
    }
}

impl Control {
    #[must_use]
    pub fn limits_of(&self, symbol: &Symbol) -> Option<&LimitRow> {
        self.limits.get(symbol.as_str()).or_else(|| self.limits.get("*"))
    }

    pub fn apply(&mut self, event: &ControlEvent) {
        self.revision += 1;
        match event {
            ControlEvent::TradingState(switch) => self.trading.set(switch.clone()),
            ControlEvent::Limits(change) => self.set_limits(&change.rows),
        }
    }

    pub fn set_limits(&mut self, rows: &[LimitRow]) {
        self.limits = rows.iter().map(|row| (row.symbol.clone(), row.clone())).collect();
    }
}
