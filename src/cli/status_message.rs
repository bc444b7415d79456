//! A status message as it is published. Contract, section 1.3.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StatusMessage {
    pub(super) order_id: String,
    pub(super) client_order_id: String,
    pub(super) symbol: String,
    pub(super) side: String,
    pub(super) status: String,
    /// The statuses that this commit took the order through.
    pub(super) passed: Vec<String>,
    pub(super) filled_quantity: String,
    pub(super) remaining_quantity: String,
    pub(super) average_fill_price: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) first_version: u64,
    pub(super) version: u64,
    pub(super) timestamp: String,
}

impl StatusMessage {
    /// The statuses that it adds to the order's path.
    pub(super) fn steps(&self) -> impl Iterator<Item = &str> {
        // A fill that leaves it partially filled again is a step, too.
        let again = self.passed.is_empty() && self.status == "PartiallyFilled";
        self.passed.iter().map(String::as_str).chain(again.then_some(self.status.as_str()))
    }

    /// `0.5 at 45000.50`, or why it ended.
    pub(super) fn happened(&self) -> String {
        let filled = self.average_fill_price.as_ref();
        let filled = filled.map(|price| format!("{} at {}", self.filled_quantity, readable(price)));
        [filled, self.reason.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// A price as a person reads it; `--json` has every digit.
pub(super) fn readable(price: &str) -> String {
    let price_read = price.parse::<rust_decimal::Decimal>();
    price_read.map_or_else(|_| price.to_owned(), |price| price.round_dp(5).to_string())
}
