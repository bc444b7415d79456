//! What a broker claims about an order. Facts, whenever they arrive and however often.

use super::amount::{Price, Quantity};
use super::event::{Commission, Terms, Trail};
use super::refusal::Refusal;
use super::time::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The broker has the order under this id.
    Acknowledged {
        broker_order_id: String,
    },
    Fill(ReportedFill),
    Cancelled {
        reason: String,
    },
    /// Time or the exchange ended it.
    Expired {
        reason: String,
    },
    Rejected(Refusal),
    /// A cancel request was refused; the order's life goes on.
    CancelRefused {
        reason: String,
    },
    /// Where a trailing stop stands.
    Trailed(Trail),
    /// The price that a conditional order waits for was reached.
    Triggered {
        price: Option<Price>,
    },
    /// The broker changed the terms of its own accord.
    Restated {
        terms: Terms,
        reason: String,
        /// Of several words about the terms the latest counts.
        restated_at: Timestamp,
    },
    TradeCorrected(ReportedCorrection),
    TradeBusted {
        trade_id: String,
        busted_at: Timestamp,
        reason: String,
    },
    /// The broker works the order under these terms since it carried out the replace of this number.
    Replaced {
        number: u64,
        terms: Terms,
    },
}

/// What came of handing something to the broker. An enum and not a `Result`, so that no `?` can lose an
/// unknown: only `Rejected` and `NotSent` prove that nothing was executed.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The broker took it, and says this about it so far.
    Accepted(Vec<Report>),
    /// The broker refused it: nothing was and nothing will be executed.
    Rejected(Refusal),
    /// It never left, or was turned away unread (a 429, a clock error): another attempt may follow.
    NotSent(NotSent),
    /// A time-out, a reset, an answer that nobody understands: it may have been executed.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    pub why: String,
    /// The broker said when to come back.
    pub retry_after_us: Option<i64>,
    /// It could not be reached: that counts for its circuit.
    pub unreachable: bool,
}

/// What a look at the broker's books found of an attempt whose answer is unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// By the broker's own clock.
    pub as_of: Timestamp,
    /// What it says of the order; `None`: it did not show it, which by itself is no proof.
    pub reports: Option<Vec<Report>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedFill {
    pub trade_id: String,
    pub quantity: Quantity,
    pub price: Price,
    pub commission: Option<Commission>,
    pub executed_at: Timestamp,
}

/// What a trade was, as the broker says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedCorrection {
    pub trade_id: String,
    pub quantity: Quantity,
    pub price: Price,
    /// `None`: as it was.
    pub commission: Option<Commission>,
    /// Of several corrections of a trade the latest counts.
    pub corrected_at: Timestamp,
    pub reason: String,
}
