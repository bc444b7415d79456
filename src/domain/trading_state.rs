//! The kill switch: whether anything may be traded at all, in everything, at a broker, by a strategy, or in a symbol.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{BrokerName, Symbol};
use super::order::OrderSpec;
use super::refusal::{Code, Refusal};
use super::request::CancelFilter;
use super::time::Timestamp;

/// From the mildest to the strictest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TradingState {
    #[default]
    Active,
    /// Only what shrinks a journaled position, and never beyond zero.
    ReduceOnly,
    /// Cancels only.
    Halted,
}

impl TradingState {
    pub const ALL: [Self; 3] = [Self::Active, Self::ReduceOnly, Self::Halted];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::ReduceOnly => "REDUCE_ONLY",
            Self::Halted => "HALTED",
        }
    }

    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for TradingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a switch is for. In JSON `"all"`, or one of the others with its value: `{"symbol": "BTCUSDT"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    All,
    Broker(#[schemars(with = "String")] BrokerName),
    StrategyId(Arc<str>),
    Symbol(#[schemars(with = "String")] Symbol),
    /// What one strategy does in one symbol.
    StrategySymbol(Arc<str>, #[schemars(with = "String")] Symbol),
}

impl Scope {
    /// What kind of scope it is, and of which: empty for `all`.
    #[must_use]
    pub fn columns(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::All => ("all", "".into()),
            Self::Broker(name) => ("broker", name.as_str().into()),
            Self::StrategyId(id) => ("strategy_id", (&**id).into()),
            Self::Symbol(symbol) => ("symbol", symbol.as_str().into()),
            // A symbol has no spaces.
            Self::StrategySymbol(id, symbol) => ("strategy_symbol", format!("{symbol} {id}").into()),
        }
    }

    #[must_use]
    pub fn from_columns(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "all" => Some(Self::All),
            "broker" => name.parse().ok().map(Self::Broker),
            "strategy_id" => Some(Self::StrategyId(name.into())),
            "symbol" => name.parse().ok().map(Self::Symbol),
            "strategy_symbol" => {
                let (symbol, id) = name.split_once(' ')?;
                Some(Self::StrategySymbol(id.into(), symbol.parse().ok()?))
            }
            _ => None,
        }
    }

    #[must_use]
    pub fn covers(&self, broker: &BrokerName, spec: &OrderSpec) -> bool {
        match self {
            Self::All => true,
            Self::Broker(name) => name == broker,
            Self::StrategyId(id) => spec.strategy() == Some(id),
            Self::Symbol(symbol) => *symbol == spec.symbol,
            Self::StrategySymbol(id, symbol) => spec.strategy() == Some(id) && *symbol == spec.symbol,
        }
    }

    /// The orders in it, as a `cancel_all` names them.
    #[must_use]
    pub fn filter(&self) -> CancelFilter {
        let mut filter = CancelFilter::default();
        match self {
            Self::All => {}
            Self::Broker(name) => filter.broker = Some(name.clone()),
            Self::StrategyId(id) => filter.strategy_id = Some(id.to_string()),
            Self::Symbol(symbol) => filter.symbol = Some(symbol.clone()),
            Self::StrategySymbol(id, symbol) => {
                filter.strategy_id = Some(id.to_string());
                filter.symbol = Some(symbol.clone());
            }
        }
        filter
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Broker(name) => write!(f, "broker {name}"),
            Self::StrategyId(id) => write!(f, "strategy {id}"),
            Self::Symbol(symbol) => write!(f, "symbol {symbol}"),
            Self::StrategySymbol(id, symbol) => write!(f, "strategy {id} in symbol {symbol}"),
        }
    }
}

/// A scope's state, and whose word that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Switch {
    pub scope: Scope,
    pub state: TradingState,
    /// Who, or the name of the control.
    pub by: String,
    pub why: String,
    #[schemars(with = "String")]
    pub timestamp: Timestamp,
    /// The control whose breach it is; what it keeps out is refused with its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Code>,
    /// It ends by itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// The loss of this scope counts from then: a person resumed it after its daily loss had stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub loss_counts_from: Option<Timestamp>,
}

impl Switch {
    /// A person lets the scope trade again, whatever a control has stopped there.
    #[must_use]
    pub fn ends_controls(&self) -> bool {
        self.state == TradingState::Active && self.control.is_none()
    }

    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Why an order is not let through.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (by, why) = (&self.by, &self.why);
        let said = if why.is_empty() { format!("by {by}") } else { format!("by {by}: {why}") };
        match self.state {
            TradingState::Halted => Refusal::new(
                self.control.unwrap_or(Code::TradingHalted),
                format!(
                    "trading in {} is HALTED since {} {said}: only cancels pass",
                    self.scope, self.timestamp
                ),
            ),
            TradingState::ReduceOnly | TradingState::Active => Refusal::new(
                self.control.unwrap_or(Code::ReduceOnly),
                format!(
                    "trading in {} is REDUCE_ONLY since {} {said}: only what shrinks a position passes, and never beyond zero",
                    self.scope, self.timestamp
                ),
            ),
        }
    }
}

/// What each scope was switched to, by people and by each control; all others are `ACTIVE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TradingStates(BTreeMap<(Scope, Option<Code>), Switch>);

impl TradingStates {
    /// What a control does and what people do stand beside each other; when a person resumes, that ends both.
    pub fn set(&mut self, switch: Switch) {
        if switch.ends_controls() {
            self.0.retain(|(scope, control), _| *scope != switch.scope || control.is_none());
        }
        self.0.insert((switch.scope.clone(), switch.control), switch);
    }

    /// As it was kept: what ended is not there any more.
    pub fn restore(&mut self, switch: Switch) {
        self.0.insert((switch.scope.clone(), switch.control), switch);
    }

    /// What people have switched a scope to.
    #[must_use]
    pub fn get(&self, scope: &Scope) -> Option<&Switch> {
        self.0.get(&(scope.clone(), None))
    }

    /// What a control has switched a scope to.
    #[must_use]
    pub fn of_control(&self, scope: &Scope, control: Code) -> Option<&Switch> {
        self.0.get(&(scope.clone(), Some(control)))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Switch> {
        self.0.values()
    }

    /// Those that an order is under now and that do not let everything through.
    pub fn over(
        &self,
        broker: &BrokerName,
        spec: &OrderSpec,
        now: Timestamp,
    ) -> impl Iterator<Item = &Switch> {
        self.0.values().filter(move |switch| {
            switch.state != TradingState::Active && !switch.is_over(now) && switch.scope.covers(broker, spec)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_from_its_columns_and_its_json() {
        let scopes = [
            (Scope::All, "\"all\""),
            (Scope::Broker("mock".parse().unwrap()), r#"{"broker":"mock"}"#),
            (Scope::StrategyId("mean reversion".into()), r#"{"strategy_id":"mean reversion"}"#),
            (Scope::Symbol("BTCUSDT".parse().unwrap()), r#"{"symbol":"BTCUSDT"}"#),
            (
                Scope::StrategySymbol("mean reversion".into(), "BTCUSDT".parse().unwrap()),
                r#"{"strategy_symbol":["mean reversion","BTCUSDT"]}"#,
            ),
        ];
        for (scope, json) in scopes {
            let (kind, name) = scope.columns();
            assert_eq!(Scope::from_columns(kind, &name), Some(scope.clone()));
            assert_eq!(serde_json::to_string(&scope).unwrap(), json);
            assert_eq!(serde_json::from_str::<Scope>(json).unwrap(), scope);
        }
        assert_eq!(Scope::from_columns("symbol", "no symbol"), None);
        assert_eq!(Scope::from_columns("planet", "earth"), None);
    }

    #[test]
    fn states_read_back_and_grow_stricter() {
        for state in TradingState::ALL {
            assert_eq!(TradingState::from_text(state.as_str()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert!(TradingState::Active < TradingState::ReduceOnly);
        assert!(TradingState::ReduceOnly < TradingState::Halted);
    }
}
