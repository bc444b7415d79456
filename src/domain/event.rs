//! What happened to an order. Events are appended and never changed; everything else is derived from them.

use std::sync::Arc;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::amount::{Amount, Price, Quantity};
use super::contract::Contract;
use super::order::OrderSpec;
use super::refusal::Refusal;
use super::status::Step;
use super::time::Timestamp;
use super::trade::{TradeBust, TradeChange, TradeCorrection};

/// One thing that happened to one order.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderEvent {
    pub event_id: Uuid,
    /// Counts an order's events from 1, without gaps.
    pub version: u64,
    pub timestamp: Timestamp,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(tag = "type", content = "details")]
pub enum EventKind {
    /// The receipt: from here on the order reaches exactly one end. Carries all that was asked for.
    Created(Box<OrderSpec>),
    Validated,
    /// An attempt to submit is journaled; whether it was sent is not known until an answer is.
    PendingSubmit(Attempt),
    /// The attempt was handed to the broker.
    Submitted(Submission),
    /// It is proven that the broker did not and will not execute the attempt: another may follow.
    SubmitFailed(SubmitFailure),
    Acknowledged(Acknowledgement),
    Fill(Fill),
    CancelRequested(Reason),
    /// The broker did not cancel it, or too late.
    CancelRefused(Reason),
    ReplaceRequested(ReplaceRequest),
    ReplaceRefused(Reason),
    Replaced(Replacement),
    /// What became of it at the broker cannot be found out: it waits for a person, or for the broker's word.
    Parked(Reason),
    /// A person said what became of it.
    Resolved(Resolution),
    Cancelled(Reason),
    Rejected(Refusal),
    Expired(Reason),
    /// A trailing stop follows the market.
    Trailed(Trail),
    /// The price that a conditional order waits for was reached: from here on it is worked.
    Triggered(Triggering),
    /// The broker changed the terms without being asked to.
    Restated(Restatement),
    /// The broker corrected a fill. The fill's own event stays as it is.
    TradeCorrected(TradeCorrection),
    /// The broker took a fill back.
    TradeBusted(TradeBust),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Counts the attempts to submit this order from 1.
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The worst price of a market order with `max_slippage`: the reference price of then and that percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_price: Option<Price>,
}

/// Fixed when an attempt is journaled, and enforced by the broker. Both by the broker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deadline {
    /// What the request is stamped and signed with, once and for all.
    pub timestamp: Timestamp,
    /// The broker executes nothing of it later.
    pub not_after: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    pub attempt: u32,
    /// Where the broker named it in the same breath.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_order_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmitFailure {
    pub reason: String,
    /// Another attempt may follow from then on, by our clock.
    pub retry_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgement {
    pub broker_order_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    pub reason: String,
}

/// New terms of an open order; what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// The new total, fills included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_price: Option<Price>,
}

/// New terms were asked for: an attempt of its own, named by the version of this event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplaceRequest {
    pub terms: Terms,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
}

/// The broker works the order under new terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replacement {
    pub terms: Terms,
    /// Version of the event that asked for them.
    pub number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolution {
    pub executed: bool,
    pub by: String,
    pub why: String,
}

/// Where a trailing stop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trail {
    /// The best price since it was placed: the highest for a sell, the lowest for a buy.
    pub water_mark: Price,
    /// What triggers it now.
    pub stop_price: Price,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Triggering {
    /// The price that did it, where the broker says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// Terms that the broker put in force of its own accord.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restatement {
    pub terms: Terms,
    pub reason: String,
    /// When the broker says that it did.
    pub restated_at: Timestamp,
}

/// Some of an order was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fill {
    /// The broker's id; unique together with broker, symbol and order.
    pub trade_id: String,
    pub quantity: Quantity,
    pub price: Price,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commission: Option<Commission>,
    /// When the broker says that it happened.
    pub executed_at: Timestamp,
    /// Its place among the fills of its position, from 1: average cost depends on their order.
    pub position_sequence: u64,
    /// What quantity and price come to in money, where that is not their product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Arc<Contract>>,
}

/// What the broker takes for a fill; positive: paid, negative: a rebate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commission {
    pub asset: String,
    pub amount: Amount,
    /// The amount in the quote currency, where the conversion is known.
    pub quote_value: Option<Amount>,
}

impl EventKind {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "Created",
            Self::Validated => "Validated",
            Self::PendingSubmit(_) => "PendingSubmit",
            Self::Submitted(_) => "Submitted",
            Self::SubmitFailed(_) => "SubmitFailed",
            Self::Acknowledged(_) => "Acknowledged",
            Self::Fill(_) => "Fill",
            Self::CancelRequested(_) => "CancelRequested",
            Self::CancelRefused(_) => "CancelRefused",
            Self::ReplaceRequested(_) => "ReplaceRequested",
            Self::ReplaceRefused(_) => "ReplaceRefused",
            Self::Replaced(_) => "Replaced",
            Self::Parked(_) => "Parked",
            Self::Resolved(_) => "Resolved",
            Self::Cancelled(_) => "Cancelled",
            Self::Rejected(_) => "Rejected",
            Self::Expired(_) => "Expired",
            Self::Trailed(_) => "Trailed",
            Self::Triggered(_) => "Triggered",
            Self::Restated(_) => "Restated",
            Self::TradeCorrected(_) => "TradeCorrected",
            Self::TradeBusted(_) => "TradeBusted",
        }
    }

    /// What it does to a trade, where it is about one.
    #[must_use]
    pub fn trade(&self) -> Option<TradeChange<'_>> {
        match self {
            Self::Fill(fill) => Some(TradeChange {
                trade_id: &fill.trade_id,
                was: None,
                now: Some(fill.traded()),
                at: fill.executed_at,
                position_sequence: fill.position_sequence,
            }),
            Self::TradeCorrected(by) => Some(TradeChange {
                trade_id: &by.trade_id,
                was: Some((by.was.traded(), by.booked_at)),
                now: Some(by.now.traded()),
                at: by.corrected_at,
                position_sequence: by.position_sequence,
            }),
            Self::TradeBusted(by) => Some(TradeChange {
                trade_id: &by.trade_id,
                was: by.was.as_ref().map(|was| (was.traded(), by.booked_at)),
                now: None,
                at: by.busted_at,
                position_sequence: by.position_sequence,
            }),
            Self::Created(_)
            | Self::Validated
            | Self::PendingSubmit(_)
            | Self::Submitted(_)
            | Self::SubmitFailed(_)
            | Self::Acknowledged(_)
            | Self::CancelRequested(_)
            | Self::CancelRefused(_)
            | Self::ReplaceRequested(_)
            | Self::ReplaceRefused(_)
            | Self::Replaced(_)
            | Self::Parked(_)
            | Self::Resolved(_)
            | Self::Cancelled(_)
            | Self::Rejected(_)
            | Self::Expired(_)
            | Self::Trailed(_)
            | Self::Triggered(_)
            | Self::Restated(_) => None,
        }
    }

    /// The row of the transition table; `None` for `Created`, which makes the order. `open_after` and `filled_after`
    /// are the quantities that are open and filled once this event is booked.
    #[must_use]
    pub fn step(&self, open_after: Decimal, filled_after: Quantity) -> Option<Step> {
        Some(match self {
            Self::Created(_) => return None,
            Self::Validated => Step::Validate,
            Self::PendingSubmit(_) => Step::Attempt,
            Self::Submitted(_) => Step::Submit,
            Self::Acknowledged(_) => Step::Acknowledge,
            Self::Fill(_) | Self::Replaced(_) | Self::Restated(_) if open_after <= Decimal::ZERO => {
                Step::FillRest
            }
            Self::Fill(_) => Step::FillPart,
            // The fill that completed the old total may overtake the word that the new one is larger.
            Self::Replaced(_) | Self::Restated(_) if !filled_after.is_zero() => Step::UnfillPart,
            // It took nothing back.
            Self::TradeBusted(bust) if bust.was.is_none() => Step::Note,
            Self::TradeCorrected(_) | Self::TradeBusted(_) if open_after <= Decimal::ZERO => Step::FillRest,
            Self::TradeCorrected(_) | Self::TradeBusted(_) if filled_after.is_zero() => Step::UnfillAll,
            Self::TradeCorrected(_) | Self::TradeBusted(_) => Step::UnfillPart,
            Self::CancelRequested(_)
            | Self::CancelRefused(_)
            | Self::ReplaceRequested(_)
            | Self::ReplaceRefused(_)
            | Self::Replaced(_)
            | Self::SubmitFailed(_)
            | Self::Parked(_)
            | Self::Resolved(_)
            | Self::Trailed(_)
            | Self::Triggered(_)
            | Self::Restated(_) => Step::Note,
            Self::Cancelled(_) => Step::Cancel,
            Self::Rejected(_) => Step::Reject,
            Self::Expired(_) => Step::Expire,
        })
    }
}

impl Serialize for OrderEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("OrderEvent", 5)?;
        out.serialize_field("event_id", &self.event_id)?;
        out.serialize_field("version", &self.version)?;
        out.serialize_field("type", self.kind.name())?;
        out.serialize_field("timestamp", &self.timestamp)?;
        match &self.kind {
            EventKind::Created(details) => out.serialize_field("details", details)?,
            EventKind::Validated => out.skip_field("details")?,
            EventKind::PendingSubmit(details) => out.serialize_field("details", details)?,
            EventKind::Submitted(details) => out.serialize_field("details", details)?,
            EventKind::Acknowledged(details) => out.serialize_field("details", details)?,
            EventKind::Fill(details) => out.serialize_field("details", details)?,
            EventKind::CancelRequested(details)
            | EventKind::CancelRefused(details)
            | EventKind::ReplaceRefused(details)
            | EventKind::Parked(details)
            | EventKind::Cancelled(details)
            | EventKind::Expired(details) => out.serialize_field("details", details)?,
            EventKind::SubmitFailed(details) => out.serialize_field("details", details)?,
            EventKind::ReplaceRequested(details) => out.serialize_field("details", details)?,
            EventKind::Replaced(details) => out.serialize_field("details", details)?,
            EventKind::Resolved(details) => out.serialize_field("details", details)?,
            EventKind::Rejected(details) => out.serialize_field("details", details)?,
            EventKind::Trailed(details) => out.serialize_field("details", details)?,
            EventKind::Triggered(details) => out.serialize_field("details", details)?,
            EventKind::Restated(details) => out.serialize_field("details", details)?,
            EventKind::TradeCorrected(details) => out.serialize_field("details", details)?,
            EventKind::TradeBusted(details) => out.serialize_field("details", details)?,
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for OrderEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            event_id: Uuid,
            version: u64,
            #[serde(rename = "type")]
            name: &'a str,
            timestamp: Timestamp,
            #[serde(borrow)]
            details: Option<&'a RawValue>,
        }

        fn read<'a, T: Deserialize<'a>, E: de::Error>(details: Option<&'a RawValue>) -> Result<T, E> {
            let text = details.ok_or_else(|| E::missing_field("details"))?.get();
            serde_json::from_str(text).map_err(E::custom)
        }

        let raw = Raw::deserialize(deserializer)?;
        let d = raw.details;
        let kind = match raw.name {
            "Created" => EventKind::Created(read(d)?),
            "Validated" => EventKind::Validated,
            "PendingSubmit" => EventKind::PendingSubmit(read(d)?),
            "Submitted" => EventKind::Submitted(read(d)?),
            "Acknowledged" => EventKind::Acknowledged(read(d)?),
            "Fill" => EventKind::Fill(read(d)?),
            "CancelRequested" => EventKind::CancelRequested(read(d)?),
            "CancelRefused" => EventKind::CancelRefused(read(d)?),
            "ReplaceRequested" => EventKind::ReplaceRequested(read(d)?),
            "ReplaceRefused" => EventKind::ReplaceRefused(read(d)?),
            "Replaced" => EventKind::Replaced(read(d)?),
            "SubmitFailed" => EventKind::SubmitFailed(read(d)?),
            "Parked" => EventKind::Parked(read(d)?),
            "Resolved" => EventKind::Resolved(read(d)?),
            "Cancelled" => EventKind::Cancelled(read(d)?),
            "Rejected" => EventKind::Rejected(read(d)?),
            "Expired" => EventKind::Expired(read(d)?),
            "Trailed" => EventKind::Trailed(read(d)?),
            "Triggered" => EventKind::Triggered(read(d)?),
            "Restated" => EventKind::Restated(read(d)?),
            "TradeCorrected" => EventKind::TradeCorrected(read(d)?),
            "TradeBusted" => EventKind::TradeBusted(read(d)?),
            other => return Err(de::Error::custom(format!("unknown event type {other}"))),
        };
        Ok(Self { event_id: raw.event_id, version: raw.version, timestamp: raw.timestamp, kind })
    }
}
