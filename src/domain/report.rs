//! What a broker claims about an order. Facts, whenever they arrive and however often.

use super::amount::{Price, Quantity};
use super::event::Commission;
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedFill {
    pub trade_id: String,
    pub quantity: Quantity,
    pub price: Price,
    pub commission: Option<Commission>,
    pub executed_at: Timestamp,
}
