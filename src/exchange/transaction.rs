//! What the ledger holds, one record a line, and the transactions that are told of it.
//!
//! Structs are flat, without tagged enums or `flatten`: serde cannot buffer numbers of arbitrary precision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::amount::{Amount, AmountError, Price, Quantity};
use crate::domain::event::Trail;
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::market::{Market, Quote};
use crate::domain::order_type::Side;
use crate::domain::time::Timestamp;

use super::message::Placement;

/// All that one request changed: on disk wholly or not at all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub time_us: i64,
    /// A POST under this id was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<ClientOrderId>,
    /// What the first of `transactions`, `Accepted` or `Rejected`, is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Placement>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<Symbol, PriceTerms>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transactions: Vec<Transaction>,
}

impl Record {
    pub(super) fn is_empty(&self) -> bool {
        self.post.is_none() && self.prices.is_empty() && self.transactions.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TransactionType {
    Accepted,
    Rejected,
    Trade,
    Cancelled,
    Expired,
    Replaced,
    /// A trailing stop follows the market.
    Trailed,
    /// A conditional order is worked from here on.
    Triggered,
    TradeCorrected,
    TradeBusted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transaction {
    /// Counts from 1, without gaps.
    pub id: u64,
    pub time_us: i64,
    pub client_order_id: ClientOrderId,
    pub order_id: String,
    #[serde(rename = "type")]
    pub kind: TransactionType,
    pub symbol: Symbol,
    pub side: Side,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade: Option<Trade>,
    /// Of `Rejected`, `Cancelled`, `Expired`, `TradeCorrected`, `TradeBusted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// These three: the terms after `Replaced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_price: Option<Price>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_id: Option<String>,
    /// Of `Trailed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail: Option<Trail>,
    /// Of `Triggered`: the price that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_price: Option<Price>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trade {
    pub trade_id: String,
    pub quantity: Quantity,
    pub price: Price,
    /// Null where there is none.
    pub commission: Option<Commission>,
    pub time_us: i64,
    /// When it was corrected last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_us: Option<i64>,
    /// When it was taken back: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busted_us: Option<i64>,
}

impl Trade {
    /// What of its order it fills.
    pub(super) const fn counts(&self) -> Quantity {
        if self.busted_us.is_some() { Quantity::ZERO } else { self.quantity }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commission {
    pub asset: String,
    pub amount: Amount,
}

/// A symbol's market, as the control interface sets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub(super) enum PriceTerms {
    /// One price for both sides, of any size.
    Fixed(Price),
    Quote {
        #[serde(skip_serializing_if = "Option::is_none")]
        bid: Option<Price>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ask: Option<Price>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<Price>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bid_size: Option<Quantity>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ask_size: Option<Quantity>,
    },
}

impl PriceTerms {
    pub(super) fn market(&self, now: Timestamp) -> Market {
        match self {
            Self::Fixed(price) => Market::Fixed(*price),
            Self::Quote { bid, ask, last, bid_size, ask_size } => Market::Quoted(Quote {
                bid: *bid,
                ask: *ask,
                last: *last,
                bid_size: *bid_size,
                ask_size: *ask_size,
                timestamp: Some(now),
            }),
        }
    }
}

impl TryFrom<Value> for PriceTerms {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let mut fields = match value {
            Value::String(price) => return Ok(Self::Fixed(amount("the price", &price)?)),
            Value::Object(fields) => fields,
            _ => return Err("a market is a price in quotes or an object with bid and ask".to_owned()),
        };
        let mut price = |name: &str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} must be a string")),
        };
        let (bid, ask, last) = (price("bid")?, price("ask")?, price("last")?);
        let (bid_size, ask_size) = (price("bid_size")?, price("ask_size")?);
        if let Some(name) = fields.keys().next() {
            return Err(format!("a market has no {name}: bid, ask, last, bid_size, ask_size"));
        }
        let (bid, ask) = (optional("bid", bid)?, optional("ask", ask)?);
        if matches!((bid, ask), (Some(bid), Some(ask)) if bid > ask) {
            return Err("bid is above ask".to_owned());
        }
        let last = optional("last", last)?;
        if bid.is_none() && ask.is_none() && last.is_none() {
            return Err("a market needs bid, ask or last".to_owned());
        }
        let (bid_size, ask_size) = (optional("bid_size", bid_size)?, optional("ask_size", ask_size)?);
        Ok(Self::Quote { bid, ask, last, bid_size, ask_size })
    }
}

fn amount<T: std::str::FromStr<Err = AmountError>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name} {text} {error}"))
}

fn optional<T: std::str::FromStr<Err = AmountError>>(
    name: &str,
    text: Option<String>,
) -> Result<Option<T>, String> {
    text.map(|text| amount(name, &text)).transpose()
}
