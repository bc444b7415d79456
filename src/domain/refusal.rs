//! Why a request was not carried out: a code for programs, a sentence for people.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The failure codes of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The bytes are not such a request: syntax, type, an unknown field.
    InvalidPayload = "INVALID_PAYLOAD",
    /// Well formed, and not possible: off the instrument's grid, contradictory.
    ValidationFailed = "VALIDATION_FAILED",
    /// The broker has neither a price nor a quote for it.
    UnknownSymbol = "UNKNOWN_SYMBOL",
    /// The client order id stands for another order.
    DuplicateClientOrderId = "DUPLICATE_CLIENT_ORDER_ID",
    /// Older than `worker.max_request_age_ms`.
    RequestExpired = "REQUEST_EXPIRED",
    NoLimits = "RISK_NO_LIMITS",
    NoReferencePrice = "RISK_NO_REFERENCE_PRICE",
    StalePrice = "RISK_STALE_PRICE",
    MaxOrderQuantity = "RISK_MAX_ORDER_QUANTITY",
    MaxNotional = "RISK_MAX_NOTIONAL",
    PositionLimit = "RISK_POSITION_LIMIT",
    DailyLoss = "RISK_DAILY_LOSS",
    PriceCollar = "RISK_PRICE_COLLAR",
    OrderRate = "RISK_ORDER_RATE",
    MaxOpenOrders = "RISK_MAX_OPEN_ORDERS",
    MaxExposure = "RISK_EXPOSURE",
    /// The reference price moved further within a window than is allowed.
    PriceMove = "RISK_PRICE_MOVE",
    /// The same was asked for a moment ago under another client order id.
    Duplicate = "RISK_DUPLICATE",
    /// An own open order would be the counterparty.
    SelfTrade = "RISK_SELF_TRADE",
    /// Symbol, side, order type or strategy is not allowed.
    Permission = "RISK_PERMISSION",
    /// The symbol does not trade now, or not this type of order.
    MarketState = "RISK_MARKET_STATE",
    /// What the order costs is in a currency that the account's has no rate for.
    NoFxRate = "RISK_NO_FX_RATE",
    /// A strategy was filled more often within a window than is allowed.
    RepeatedExecution = "RISK_REPEATED_EXECUTION",
    /// Its broker failed too often of late: only cancels go there.
    CircuitOpen = "CIRCUIT_OPEN",
    /// The kill switch: only cancels pass.
    TradingHalted = "TRADING_HALTED",
    /// The kill switch: only what shrinks a position passes.
    ReduceOnly = "REDUCE_ONLY",
    /// The broker has no such order, time in force or instruction, or this version cannot work it yet.
    UnsupportedByBroker = "UNSUPPORTED_BY_BROKER",
    /// The broker said no.
    BrokerRejected = "BROKER_REJECTED",
    /// The broker could not be asked, and provably executed nothing.
    BrokerUnavailable = "BROKER_UNAVAILABLE",
    /// Whether the broker executed it is not known and cannot be found out: it is parked for a person.
    OutcomeUnknown = "OUTCOME_UNKNOWN",
    UnknownOrder = "UNKNOWN_ORDER",
    OrderTerminal = "ORDER_TERMINAL",
    /// It brought its worker down again and again.
    MaxDeliveries = "MAX_DELIVERIES",
}

impl Code {
    /// A refusal with this code makes an order (`Rejected`), which is remembered and repeated; others use up no id.
    #[must_use]
    pub const fn makes_an_order(self) -> bool {
        match self {
            Self::NoLimits
            | Self::NoReferencePrice
            | Self::StalePrice
            | Self::MaxOrderQuantity
            | Self::MaxNotional
            | Self::PositionLimit
            | Self::DailyLoss
            | Self::PriceCollar
            | Self::OrderRate
            | Self::MaxOpenOrders
            | Self::MaxExposure
            | Self::PriceMove
            | Self::Duplicate
            | Self::SelfTrade
            | Self::Permission
            | Self::MarketState
            | Self::NoFxRate
            | Self::RepeatedExecution
            | Self::CircuitOpen
            | Self::TradingHalted
            | Self::ReduceOnly
            | Self::BrokerRejected
            | Self::BrokerUnavailable
            | Self::OutcomeUnknown => true,
            Self::InvalidPayload
            | Self::ValidationFailed
            | Self::UnknownSymbol
            | Self::DuplicateClientOrderId
            | Self::RequestExpired
            | Self::UnsupportedByBroker
            | Self::UnknownOrder
            | Self::OrderTerminal
            | Self::MaxDeliveries => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest sentence of a refusal, in characters.
pub const MAX_SENTENCE: usize = 499;

/// A refusal is data, not an error: the request ends in `orders:failed` with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("{code}: {reason}")]
pub struct Refusal {
    pub code: Code,
    /// One sentence that names the field, the value and what would be right.
    pub reason: String,
}

impl Refusal {
    #[must_use]
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: sentence(reason.into()) }
    }
}

/// `text` without control characters and under 500 characters, cut visibly.
fn sentence(text: String) -> String {
    let clean: Cow<'_, str> = if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>().into()
    } else {
        text.into()
    };
    if clean.chars().count() <= MAX_SENTENCE {
        return clean.into_owned();
    }
    let mut cut: String = clean.chars().take(MAX_SENTENCE - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_printable() {
        let refusal = Refusal::new(Code::InvalidPayload, format!("a\nb\u{0}{}", "é".repeat(600)));
        assert!(refusal.reason.chars().count() < 500);
        assert!(!refusal.reason.chars().any(char::is_control));
    }

    #[test]
    fn codes_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(*code));
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
        }
    }
}
