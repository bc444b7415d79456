//! What kind of order it is and how long it lives. Each type serialises as the contract writes it.

use std::fmt;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::{Price, Quantity};
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "Buy",
            Self::Sell => "Sell",
        }
    }

    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `value` with the sign that this side gives a position.
    #[must_use]
    pub fn signed(self, value: Decimal) -> Decimal {
        match self {
            Self::Buy => value,
            Self::Sell => -value,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DistanceType {
    Absolute,
    /// 5 is 5 %.
    Percent,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum OrderType {
    Market,
    Limit { price: Price },
    Stop { stop_price: Price },
    StopLimit { stop_price: Price, limit_price: Price },
    TrailingStop { distance: Price, distance_type: DistanceType },
    MarketIfTouched { trigger_price: Price },
    LimitIfTouched { trigger_price: Price, limit_price: Price },
    Iceberg { display_quantity: Quantity, total_quantity: Quantity, variance: Option<Quantity> },
    Custom { algorithm: String, params: serde_json::Value },
}

impl OrderType {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Market => "Market",
            Self::Limit { .. } => "Limit",
            Self::Stop { .. } => "Stop",
            Self::StopLimit { .. } => "StopLimit",
            Self::TrailingStop { .. } => "TrailingStop",
            Self::MarketIfTouched { .. } => "MarketIfTouched",
            Self::LimitIfTouched { .. } => "LimitIfTouched",
            Self::Iceberg { .. } => "Iceberg",
            Self::Custom { .. } => "Custom",
        }
    }

    /// The worst price at which it may execute, where it names one.
    #[must_use]
    pub const fn limit_price(&self) -> Option<Price> {
        match self {
            Self::Limit { price } => Some(*price),
            Self::StopLimit { limit_price, .. } | Self::LimitIfTouched { limit_price, .. } => {
                Some(*limit_price)
            }
            Self::Market
            | Self::Stop { .. }
            | Self::TrailingStop { .. }
            | Self::MarketIfTouched { .. }
            | Self::Iceberg { .. }
            | Self::Custom { .. } => None,
        }
    }

    /// Puts new prices in force, of those that it has.
    pub fn reprice(&mut self, price: Option<Price>, stop: Option<Price>) {
        match self {
            Self::Limit { price: limit } => *limit = price.unwrap_or(*limit),
            Self::Stop { stop_price } => *stop_price = stop.unwrap_or(*stop_price),
            Self::StopLimit { stop_price, limit_price } => {
                *stop_price = stop.unwrap_or(*stop_price);
                *limit_price = price.unwrap_or(*limit_price);
            }
            Self::MarketIfTouched { trigger_price } => *trigger_price = stop.unwrap_or(*trigger_price),
            Self::LimitIfTouched { trigger_price, limit_price } => {
                *trigger_price = stop.unwrap_or(*trigger_price);
                *limit_price = price.unwrap_or(*limit_price);
            }
            Self::Market | Self::TrailingStop { .. } | Self::Iceberg { .. } | Self::Custom { .. } => {}
        }
    }

    /// What triggers it, where it names a price for that.
    #[must_use]
    pub const fn stop_price(&self) -> Option<Price> {
        match self.trigger() {
            Some(Trigger::Stop(price) | Trigger::Touch(price)) => Some(price),
            Some(Trigger::Trail { .. }) | None => None,
        }
    }

    /// What sets it free, where it waits for a price before it is worked.
    #[must_use]
    pub const fn trigger(&self) -> Option<Trigger> {
        match self {
            Self::Stop { stop_price } | Self::StopLimit { stop_price, .. } => {
                Some(Trigger::Stop(*stop_price))
            }
            Self::MarketIfTouched { trigger_price } | Self::LimitIfTouched { trigger_price, .. } => {
                Some(Trigger::Touch(*trigger_price))
            }
            Self::TrailingStop { distance, distance_type } => {
                Some(Trigger::Trail { distance: *distance, distance_type: *distance_type })
            }
            Self::Market | Self::Limit { .. } | Self::Iceberg { .. } | Self::Custom { .. } => None,
        }
    }

    /// Every price it names, with the name of its field: what the tick size and the collar apply to.
    #[must_use]
    pub fn prices(&self) -> Vec<(&'static str, Price)> {
        match self {
            Self::Market | Self::TrailingStop { .. } | Self::Iceberg { .. } | Self::Custom { .. } => {
                Vec::new()
            }
            Self::Limit { price } => vec![("price", *price)],
            Self::Stop { stop_price } => vec![("stop_price", *stop_price)],
            Self::StopLimit { stop_price, limit_price } => {
                vec![("stop_price", *stop_price), ("limit_price", *limit_price)]
            }
            Self::MarketIfTouched { trigger_price } => vec![("trigger_price", *trigger_price)],
            Self::LimitIfTouched { trigger_price, limit_price } => {
                vec![("trigger_price", *trigger_price), ("limit_price", *limit_price)]
            }
        }
    }
}

/// The price that a conditional order waits for. A stop follows the market's move, an if-touched order goes against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A buy from this price up, a sell from this price down.
    Stop(Price),
    /// A buy from this price down, a sell from this price up.
    Touch(Price),
    /// A stop that follows the best price since it was placed, so far behind.
    Trail { distance: Price, distance_type: DistanceType },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeInForce {
    #[default]
    Gtc,
    Gtd {
        expires_at: Timestamp,
    },
    Ioc,
    Fok,
    Moc,
    Loc,
    Day,
}

impl TimeInForce {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Gtd { .. } => "GTD",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
            Self::Moc => "MOC",
            Self::Loc => "LOC",
            Self::Day => "DAY",
        }
    }

    /// When an order placed at `placed` ends: from that instant on nothing of it is executed. A day ends at 00:00 UTC.
    #[must_use]
    pub const fn ends_at(self, placed: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Gtd { expires_at } => Some(expires_at),
            Self::Day => Some(placed.session_start(0).plus_micros(DAY_US)),
            Self::Gtc | Self::Ioc | Self::Fok | Self::Moc | Self::Loc => None,
        }
    }

    /// What does not execute at once may stay in the book.
    #[must_use]
    pub const fn may_rest(self) -> bool {
        match self {
            Self::Gtc | Self::Gtd { .. } | Self::Day => true,
            Self::Ioc | Self::Fok | Self::Moc | Self::Loc => false,
        }
    }
}

const DAY_US: i64 = 86_400_000_000;

/// How an order is to be worked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExecutionInstructions {
    #[serde(skip_serializing_if = "is_false")]
    pub post_only: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub reduce_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_size: Option<Quantity>,
    /// `false`: all or none. Left out: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_partial_fills: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_price_improve: Option<bool>,
}

impl ExecutionInstructions {
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Comparison {
    GreaterOrEqual,
    LessOrEqual,
    Greater,
    Less,
    Equal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    Price,
}

/// Something that must hold before an order is submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    pub condition_type: ConditionType,
    pub trigger_value: Price,
    pub comparison: Comparison,
}
