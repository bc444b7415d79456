//! A trade as it is booked, corrected and taken back. Nothing of it is ever changed in place: each is an event of its
//! own, which says what it takes back and what it books instead.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::{Price, Quantity};
use super::contract::Contract;
use super::event::{Commission, Fill};
use super::time::Timestamp;

/// What a trade is booked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TradeTerms {
    pub quantity: Quantity,
    pub price: Price,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commission: Option<Commission>,
    /// Where it is not a plain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Arc<Contract>>,
}

/// A trade that was booked as one thing is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TradeCorrection {
    pub trade_id: String,
    pub was: TradeTerms,
    pub now: TradeTerms,
    /// When the broker says that it corrected it.
    pub corrected_at: Timestamp,
    /// Where `was` is booked among the fills of its position.
    pub booked_at: u64,
    /// Its own place there.
    pub position_sequence: u64,
    pub reason: String,
}

/// A trade that was booked never was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TradeBust {
    pub trade_id: String,
    /// `None`: it was taken back before it was told; should it be told yet, it is not booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<TradeTerms>,
    /// When the broker says that it took it back.
    pub busted_at: Timestamp,
    /// Where `was` is booked among the fills of its position.
    pub booked_at: u64,
    /// Its own place there.
    pub position_sequence: u64,
    pub reason: String,
}

/// What a trade comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traded<'a> {
    pub quantity: Quantity,
    pub price: Price,
    pub commission: Option<&'a Commission>,
    pub contract: Option<&'a Arc<Contract>>,
}

impl<'a> Traded<'a> {
    #[must_use]
    pub fn contract(&self) -> &'a Contract {
        self.contract.map_or(&Contract::PLAIN, |contract| contract)
    }
}

/// A trade that is booked, corrected or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradeChange<'a> {
    pub trade_id: &'a str,
    /// What is taken back, and where that was booked among the fills of its position.
    pub was: Option<(Traded<'a>, u64)>,
    pub now: Option<Traded<'a>>,
    /// When the broker says that it was executed, corrected or taken back.
    pub at: Timestamp,
    /// Its place among the fills of its position.
    pub position_sequence: u64,
}

impl Fill {
    #[must_use]
    pub const fn traded(&self) -> Traded<'_> {
        Traded {
            quantity: self.quantity,
            price: self.price,
            commission: self.commission.as_ref(),
            contract: self.contract.as_ref(),
        }
    }
}

impl TradeTerms {
    #[must_use]
    pub const fn traded(&self) -> Traded<'_> {
        Traded {
            quantity: self.quantity,
            price: self.price,
            commission: self.commission.as_ref(),
            contract: self.contract.as_ref(),
        }
    }
}

/// A trade as the journal has it by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedTrade {
    /// `None`: it was taken back.
    pub terms: Option<TradeTerms>,
    /// Where that is booked among the fills of its position.
    pub booked_at: u64,
    /// When the broker says that it was executed, corrected or taken back.
    pub at: Timestamp,
    /// Corrections and busts so far.
    pub revision: u32,
}

impl BookedTrade {
    /// What `change` makes of a trade that stood like `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, change: &TradeChange<'_>) -> Self {
        let terms = change.now.map(|now| TradeTerms {
            quantity: now.quantity,
            price: now.price,
            commission: now.commission.cloned(),
            contract: now.contract.cloned(),
        });
        let revision = before.map_or(u32::from(change.now.is_none()), |before| before.revision + 1);
        Self { terms, booked_at: change.position_sequence, at: change.at, revision }
    }
}
