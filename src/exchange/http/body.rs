//! Requests as they come over the wire, read strictly: what is misspelt is told, not ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::amount::{Price, Quantity};
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::order_type::{OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;

use super::super::message::{Change, Placement, Revision, Window};
use super::reply::Reply;

const MAX_BODY_BYTES: usize = 256 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);
const MAX_REPLACE_ID: usize = 128;
const MAX_PAGE: usize = 1000;
const MAX_WAIT_MS: u64 = 5000;

pub(super) async fn bytes(body: Body) -> Result<Bytes, Reply> {
    let read = tokio::time::timeout(BODY_WITHIN, to_bytes(body, MAX_BODY_BYTES)).await;
    let late = || Reply::error(StatusCode::REQUEST_TIMEOUT, "INVALID", "the body did not come in time");
    let long = || {
        let message = format!("the body could not be read, or is longer than {MAX_BODY_BYTES} bytes");
        Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "INVALID", message)
    };
    read.map_err(|_| late())?.map_err(|_| long())
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(bytes).map_err(|error| Reply::invalid(format!("the body: {error}")))
}

/// A client order id as the path has it, decoded.
pub(super) fn client_order_id(text: &str) -> Result<ClientOrderId, Reply> {
    text.parse().map_err(|error| Reply::invalid(format!("client_order_id {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitBody {
    client_order_id: ClientOrderId,
    symbol: Symbol,
    side: Side,
    quantity: Quantity,
    order_type: OrderType,
    #[serde(default)]
    time_in_force: TimeInForce,
    #[serde(default)]
    post_only: bool,
    #[serde(default)]
    reduce_only: bool,
    worst_price: Option<Price>,
    timestamp_us: Option<i64>,
    valid_for_us: Option<i64>,
}

impl SubmitBody {
    pub(super) fn read(self) -> Result<(Placement, Window), Reply> {
        positive(self.quantity)?;
        match self.order_type {
            OrderType::Market
            | OrderType::Limit { .. }
            | OrderType::Stop { .. }
            | OrderType::StopLimit { .. }
            | OrderType::TrailingStop { .. }
            | OrderType::MarketIfTouched { .. }
            | OrderType::LimitIfTouched { .. } => {}
            OrderType::Iceberg { .. } | OrderType::Custom { .. } => {
                let name = self.order_type.name();
                return Err(Reply::invalid(format!("order_type {name}: there is no such order here")));
            }
        }
        match self.time_in_force {
            TimeInForce::Gtc
            | TimeInForce::Gtd { .. }
            | TimeInForce::Ioc
            | TimeInForce::Fok
            | TimeInForce::Day => {}
            TimeInForce::Moc | TimeInForce::Loc => {
                let name = self.time_in_force.name();
                let message = format!("time_in_force {name}: there are GTC, GTD, IOC, FOK and DAY");
                return Err(Reply::invalid(message));
            }
        }
        if self.worst_price.is_some() && self.order_type != OrderType::Market {
            return Err(Reply::invalid("worst_price is for Market orders: the others name their limit"));
        }
        let window = window(self.timestamp_us, self.valid_for_us)?;
        let placement = Placement {
            client_order_id: self.client_order_id,
            symbol: self.symbol,
            side: self.side,
            quantity: self.quantity,
            order_type: self.order_type,
            time_in_force: self.time_in_force,
            post_only: self.post_only,
            reduce_only: self.reduce_only,
            worst_price: self.worst_price,
        };
        Ok((placement, window))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceBody {
    quantity: Option<Quantity>,
    price: Option<Price>,
    stop_price: Option<Price>,
    replace_id: String,
    timestamp_us: Option<i64>,
    valid_for_us: Option<i64>,
}

impl ReplaceBody {
    pub(super) fn read(self) -> Result<(Change, Window), Reply> {
        if self.quantity.is_none() && self.price.is_none() && self.stop_price.is_none() {
            return Err(Reply::invalid("a replace needs quantity, price or stop_price"));
        }
        if self.replace_id.is_empty() || self.replace_id.len() > MAX_REPLACE_ID {
            return Err(Reply::invalid(format!("replace_id must have 1 to {MAX_REPLACE_ID} bytes")));
        }
        if let Some(quantity) = self.quantity {
            positive(quantity)?;
        }
        let window = window(self.timestamp_us, self.valid_for_us)?;
        let Self { quantity, price, stop_price, replace_id, .. } = self;
        Ok((Change { quantity, price, stop_price, replace_id }, window))
    }
}

/// What becomes of a trade: `bust: true`, or what it is now.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevisionBody {
    #[serde(default)]
    bust: bool,
    quantity: Option<Quantity>,
    price: Option<Price>,
    reason: Option<String>,
}

impl RevisionBody {
    pub(super) fn read(self, trade_id: String) -> Result<Revision, Reply> {
        let terms = match (self.bust, self.quantity, self.price) {
            (true, None, None) => None,
            (false, Some(quantity), Some(price)) => {
                positive(quantity)?;
                Some((quantity, price))
            }
            _ => {
                let message = "a trade is taken back with bust: true, or corrected with quantity and price";
                return Err(Reply::invalid(message));
            }
        };
        let reason = self.reason.unwrap_or_else(|| "the exchange gives no reason".to_owned());
        Ok(Revision { trade_id, terms, reason })
    }
}

fn positive(quantity: Quantity) -> Result<(), Reply> {
    if quantity.is_zero() { Err(Reply::invalid("quantity must be greater than 0")) } else { Ok(()) }
}

fn window(timestamp_us: Option<i64>, valid_for_us: Option<i64>) -> Result<Window, Reply> {
    if valid_for_us.is_some_and(|valid| valid < 0) {
        return Err(Reply::invalid("valid_for_us must not be negative"));
    }
    if valid_for_us.is_some() && timestamp_us.is_none() {
        return Err(Reply::invalid("valid_for_us counts from timestamp_us, which is missing"));
    }
    Ok(Window { timestamp: timestamp_us.map(Timestamp::from_micros), valid_for_us })
}

/// Which transactions are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) after: u64,
    pub(super) limit: usize,
    pub(super) wait: Duration,
}

impl Page {
    pub(super) fn read(query: &BTreeMap<String, String>) -> Result<Self, Reply> {
        let known = ["after", "limit", "wait_ms"];
        if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Reply::invalid(format!("{name}: there are after, limit and wait_ms")));
        }
        let number = |name: &str, default: u64| match query.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Reply::invalid(format!("{name}={text} is no number"))),
        };
        let (after, limit, wait_ms) = (number("after", 0)?, number("limit", 100)?, number("wait_ms", 0)?);
        if wait_ms > MAX_WAIT_MS {
            return Err(Reply::invalid(format!("wait_ms={wait_ms} is above {MAX_WAIT_MS}")));
        }
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        let limit = limit.ok_or_else(|| Reply::invalid(format!("limit must be from 1 to {MAX_PAGE}")))?;
        Ok(Self { after, limit, wait: Duration::from_millis(wait_ms) })
    }
}
