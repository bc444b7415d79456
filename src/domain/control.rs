//! What holds for every order whoever admits it: the limits in force and the trading state. Each change is one of the
//! events here, journaled like those of orders; the revision counts them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::circuit::Circuit;
use super::ids::BrokerName;
use super::refusal::Code;
use super::risk::{LimitRow, Limits};
use super::trading_state::{Switch, TradingStates};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// Changes so far: what was read under the same number still holds.
    pub revision: u64,
    pub limits: Limits,
    pub trading: TradingStates,
    /// Of brokers whose circuit has ever opened.
    pub circuits: BTreeMap<BrokerName, Circuit>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlEvent {
    TradingState(Switch),
    Limits(LimitsChange),
    Circuit(Circuit),
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
            Self::Circuit(_) => "circuit",
        }
    }

    #[must_use]
    pub fn by(&self) -> &str {
        match self {
            Self::TradingState(switch) => &switch.by,
            Self::Limits(change) => &change.by,
            Self::Circuit(_) => Code::CircuitOpen.as_str(),
        }
    }

    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::TradingState(switch) => &switch.why,
            Self::Limits(change) => &change.why,
            Self::Circuit(circuit) => &circuit.why,
        }
    }
}

impl Control {
    pub fn apply(&mut self, event: &ControlEvent) {
        self.revision += 1;
        match event {
            ControlEvent::TradingState(switch) => self.trading.set(switch.clone()),
            ControlEvent::Limits(change) => self.limits = Limits::of_rows(&change.rows),
            ControlEvent::Circuit(circuit) => {
                self.circuits.insert(circuit.broker.clone(), circuit.clone());
            }
        }
    }
}
