//! Entries of the streams: every value is text, some of it JSON.
#![expect(dead_code, reason = "these types describe JSON; no value of them is ever made")]

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::command::{Cancel, CancelAll, Replace};
use super::new_order::SubmittedOrder;
use super::scalar::{Instant, StreamId, VersionText};
use crate::domain::event::OrderEvent;
use crate::domain::ids::{ClientOrderId, OrderId};
use crate::domain::order::OrderSpec;
use crate::domain::refusal::{Code, MAX_SENTENCE};
use crate::domain::request::{NotCancelled, RequestKind};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::wire::encode::OrderJson;

/// Text that holds the JSON of a `T`.
struct JsonText<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for JsonText<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Text", T::schema_name()))
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let content = generator.subschema_for::<T>();
        json_schema!({ "type": "string", "contentMediaType": "application/json", "contentSchema": content })
    }
}

/// An entry of orders:pending. Exactly one of order, cancel, cancel_all and replace; further fields are ignored.
pub(super) struct Request;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $content:ty })*) => {
        $(
            $(#[$doc])*
            #[derive(JsonSchema)]
            #[schemars(extend("additionalProperties" = true))]
            struct $name {
                $field: JsonText<$content>,
                /// When the producer made it.
                #[schemars(default, with = "Instant")]
                timestamp: Option<Instant>,
                /// W3C trace context.
                #[schemars(default, with = "String")]
                traceparent: Option<String>,
            }
        )*

        impl JsonSchema for Request {
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed("Request")
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": "An entry of orders:pending: exactly one of order, cancel, cancel_all and \
                                    replace. Further fields are ignored.",
                    "oneOf": [$(generator.subschema_for::<$name>()),*],
                })
            }
        }
    };
}

requests! {
    /// Executes an order.
    SubmitEntry { order: SubmittedOrder }
    CancelEntry { cancel: Cancel }
    CancelAllEntry { cancel_all: CancelAll }
    ReplaceEntry { replace: Replace }
}

/// An entry of orders:completed or orders:failed: how one request ended.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Outcome {
    Completed(CompletedOutcome),
    Swept(SweptOutcome),
    Failed(FailedOutcome),
}

/// What a request can be that completes with an order.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OrderRequest {
    Submit,
    Cancel,
    Replace,
}

/// A request that was carried out.
#[derive(JsonSchema)]
pub(super) struct CompletedOutcome {
    /// The request's entry.
    entry_id: StreamId,
    request: OrderRequest,
    order_id: OrderId,
    client_order_id: ClientOrderId,
    status: Status,
    order: JsonText<OrderJson<'static>>,
    timestamp: Timestamp,
}

/// A cancel_all that was carried out: what became of each order that it meant.
#[derive(JsonSchema)]
pub(super) struct SweptOutcome {
    entry_id: StreamId,
    #[schemars(extend("const" = "cancel_all"))]
    request: String,
    cancelled: JsonText<Vec<ClientOrderId>>,
    not_cancelled: JsonText<Vec<NotCancelled>>,
    timestamp: Timestamp,
}

/// The order as it stands, or what was asked for where no order was made.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum OrderOrSpec {
    Order(OrderJson<'static>),
    Spec(OrderSpec),
}

/// A request that was refused or could not be carried out.
#[derive(JsonSchema)]
pub(super) struct FailedOutcome {
    entry_id: StreamId,
    request: RequestKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<OrderId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_order_id: Option<ClientOrderId>,
    /// Rejected where no order was made, else the status that the order keeps.
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<JsonText<OrderOrSpec>>,
    code: Code,
    /// One sentence for people.
    #[schemars(length(min = 1, max = MAX_SENTENCE), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    error: String,
    /// The bytes received, where they did not decode: not always UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    timestamp: Timestamp,
}

/// An entry of orders:events: what one commit did to one order.
#[derive(JsonSchema)]
pub(super) struct EventEntry {
    order_id: OrderId,
    client_order_id: ClientOrderId,
    /// That of the first event; it follows the version of the order's entry before.
    first_version: VersionText,
    /// That of the last event.
    version: VersionText,
    status: Status,
    events: JsonText<Vec<OrderEvent>>,
}
