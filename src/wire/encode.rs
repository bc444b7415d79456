//! The domain, written as the contract spells it: one pass into one buffer.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::domain::amount::{Amount, Price, Quantity};
use crate::domain::event::{OrderEvent, Trail};
use crate::domain::ids::{ClientOrderId, OrderId, Symbol};
use crate::domain::order::{Order, OrderSpec, OrderState};
use crate::domain::order_type::Side;
use crate::domain::request::{Outcome, OutcomeResult};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

/// An order's JSON (contract, section 2): what was asked for, then what became of it.
#[must_use]
pub fn order_json(order: &Order) -> String {
    let state = &order.state;
    let json = OrderJson {
        spec: &order.spec,
        broker_order_id: state.broker_order_id.as_deref(),
        status: StatusJson::of(order),
        filled_quantity: state.filled_quantity,
        remaining_quantity: order.remaining_quantity(),
        average_fill_price: order.average_fill_price().map(Digits),
        filled_notional: state.filled_notional,
        commission: state.commission,
        commissions: &state.commissions,
        pending_cancel: state.pending_cancel,
        pending_replace: state.pending_replace.is_some(),
        parked: state.parked,
        triggered: state.triggered,
        trailing: state.trail,
        ends_at: order.ends_at(),
        version: state.version,
        created_at: state.created_at,
        updated_at: state.updated_at,
        events: Marks(state),
    };
    to_json(&json, 1024 + 40 * state.events.len())
}

/// What was asked for, as JSON: for the outcome of a request that made no order.
#[must_use]
pub fn spec_json(spec: &OrderSpec) -> String {
    to_json(spec, 512)
}

/// The events of one commit as a JSON array, as `orders:events` carries it.
#[must_use]
pub fn events_json(events: &[OrderEvent]) -> String {
    to_json(&events, 256 + 256 * events.len())
}

/// What one commit did to one order (contract, section 1.3). `order` is as the commit left it, `passed`
/// the statuses it went through, in order.
#[must_use]
pub fn status_message(
    order: &Order,
    passed: &[Status],
    first_version: u64,
    reason: Option<&str>,
    timestamp: Timestamp,
) -> String {
    let message = StatusMessage {
        order_id: order.spec.id,
        client_order_id: &order.spec.client_order_id,
        broker_order_id: order.state.broker_order_id.as_deref(),
        symbol: &order.spec.symbol,
        side: order.spec.side,
        status: order.state.status,
        passed,
        filled_quantity: order.state.filled_quantity,
        remaining_quantity: order.remaining_quantity(),
        average_fill_price: order.average_fill_price().map(Digits),
        reason,
        first_version,
        version: order.state.version,
        timestamp,
    };
    to_json(&message, 640)
}

/// The fields of an outcome's entry (contract, section 1.2), and whether it goes to `completed`.
#[must_use]
pub fn outcome_fields(outcome: &Outcome, order_json: Option<&str>) -> (bool, Vec<(&'static str, Vec<u8>)>) {
    let mut fields: Vec<(&'static str, Vec<u8>)> = Vec::with_capacity(9);
    let mut put = |name, value: String| fields.push((name, value.into_bytes()));
    put("entry_id", outcome.key.entry.to_string());
    put("request", outcome.request.as_str().to_owned());
    if let Some(id) = outcome.order_id {
        put("order_id", id.to_string());
    }
    if let Some(id) = &outcome.client_order_id {
        put("client_order_id", id.to_string());
    }
    let (status, failure) = match &outcome.result {
        OutcomeResult::Completed(status) => (Some(*status), None),
        OutcomeResult::Failed { refusal, status, payload } => {
            (Some(status.unwrap_or(Status::Rejected)), Some((refusal, payload)))
        }
        OutcomeResult::Swept(_) => (None, None),
    };
    if let Some(status) = status {
        put("status", status.as_str().to_owned());
    }
    if let OutcomeResult::Swept(swept) = &outcome.result {
        put("cancelled", to_json(&swept.cancelled, 64 * swept.cancelled.len()));
        put("not_cancelled", to_json(&swept.not_cancelled, 256 * swept.not_cancelled.len()));
    }
    if let Some(order) = order_json {
        put("order", order.to_owned());
    }
    if let Some((refusal, _)) = failure {
        put("code", refusal.code.as_str().to_owned());
        put("error", refusal.reason.clone());
    }
    put("timestamp", outcome.timestamp.to_string());
    if let Some((_, Some(payload))) = failure {
        fields.push(("payload", payload.clone()));
    }
    (failure.is_none(), fields)
}

fn to_json<T: Serialize>(value: &T, capacity: usize) -> String {
    let mut out = Vec::with_capacity(capacity);
    let written = serde_json::to_writer(&mut out, value).map(|()| String::from_utf8(out));
    let Ok(Ok(json)) = written else {
        unreachable!("a Vec takes every byte, every key here is a string, and serde_json writes UTF-8")
    };
    json
}

/// An order as workers write it: what was asked for, then what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Order")]
pub(super) struct OrderJson<'a> {
    #[serde(flatten)]
    spec: &'a OrderSpec,
    broker_order_id: Option<&'a str>,
    status: StatusJson<'a>,
    filled_quantity: Quantity,
    remaining_quantity: Quantity,
    #[schemars(with = "Option<Price>")]
    average_fill_price: Option<Digits>,
    filled_notional: Amount,
    commission: Option<Amount>,
    commissions: &'a BTreeMap<String, Amount>,
    pending_cancel: bool,
    pending_replace: bool,
    parked: bool,
    /// A conditional order: the price that it waited for was reached.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    triggered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailing: Option<Trail>,
    /// When time ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[schemars(with = "Vec<Mark<'static>>")]
    events: Marks<'a>,
}

/// The newest events by version and type; `orders:events` and the journal have them whole.
struct Marks<'a>(&'a OrderState);

/// One of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventMark")]
struct Mark<'a> {
    version: u64,
    r#type: &'a str,
}

impl Serialize for Marks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let first = (self.0.version + 1).saturating_sub(self.0.events.len() as u64);
        serializer.collect_seq(
            self.0.events.iter().zip(first..).map(|(name, version)| Mark { version, r#type: name }),
        )
    }
}

/// A status with what it carries.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "OrderStatus")]
enum StatusJson<'a> {
    #[schemars(with = "BareStatus")]
    Bare(Status),
    Detailed(Details<'a>),
}

/// The statuses that carry nothing.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "says in the schema which of the statuses stand alone")]
enum BareStatus {
    Created,
    Validated,
    PendingSubmit,
    Submitted,
    Acknowledged,
    Filled,
    Cancelled,
    Expired,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StatusDetails")]
enum Details<'a> {
    PartiallyFilled {
        filled_qty: Quantity,
        last_fill_price: Option<Price>,
        last_fill_time: Option<Timestamp>,
    },
    Rejected {
        reason: &'a str,
    },
}

impl<'a> StatusJson<'a> {
    fn of(order: &'a Order) -> Self {
        let state = &order.state;
        match state.status {
            Status::PartiallyFilled => Self::Detailed(Details::PartiallyFilled {
                filled_qty: state.filled_quantity,
                last_fill_price: state.last_fill.map(|(price, _)| price),
                last_fill_time: state.last_fill.map(|(_, at)| at),
            }),
            Status::Rejected => Self::Detailed(Details::Rejected {
                reason: state.refusal.as_ref().map_or("", |refusal| &refusal.reason),
            }),
            status @ (Status::Created
            | Status::Validated
            | Status::PendingSubmit
            | Status::Submitted
            | Status::Acknowledged
            | Status::Filled
            | Status::Cancelled
            | Status::Expired) => Self::Bare(status),
        }
    }
}

/// What one commit did to one order, as orders:status tells it.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatusMessage<'a> {
    order_id: OrderId,
    client_order_id: &'a ClientOrderId,
    broker_order_id: Option<&'a str>,
    symbol: &'a Symbol,
    side: Side,
    status: Status,
    /// The statuses that the commit took it through, in order.
    passed: &'a [Status],
    filled_quantity: Quantity,
    remaining_quantity: Quantity,
    #[schemars(with = "Option<Price>")]
    average_fill_price: Option<Digits>,
    reason: Option<&'a str>,
    first_version: u64,
    version: u64,
    timestamp: Timestamp,
}

/// A decimal as a string, like every amount.
struct Digits(Decimal);

impl Serialize for Digits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
