//! Names, amounts and instants: strings with a pattern. Each pattern is what ECMA-262 and Rust's `regex` with
//! lookaround both read.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::domain::amount::{Amount, MAX_DIGITS, MAX_SCALE, Price, Quantity};
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, Symbol};
use crate::domain::time::Timestamp;
use crate::wire::item::MAX_TEXT;

/// `Type, "Name", schema;`: a definition of its own for each.
macro_rules! describe {
    ($($type:ty, $name:literal, $body:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $body
            }
        }
    )*};
}

fn name(what: &str, max: usize) -> Schema {
    json_schema!({ "type": "string", "description": what, "pattern": format!("^[A-Za-z0-9._:/-]{{1,{max}}}$") })
}

fn digits(what: &str, pattern: &str) -> Schema {
    json_schema!({ "type": "string", "description": what, "pattern": pattern })
}

/// At most 28 digits from the first that is not 0 on, and only zeros after the 28th behind the point: what an amount
/// can hold.
fn bounded(before: &str) -> String {
    format!(
        r"^{before}(?!0*\.?0*[1-9](?:\.?[0-9]){{{MAX_DIGITS}}})(?![0-9]*\.[0-9]{{{MAX_SCALE}}}[0-9]*[1-9])[0-9]+(?:\.[0-9]+)?$"
    )
}

fn amount_in(what: &str, before: &str, bound: &str) -> Schema {
    let mut number = json_schema!({ "type": "number", "exclusiveMaximum": 1_000_000_000_000_000_000_u64 });
    number.insert(bound.to_owned(), 0.into());
    json_schema!({ "description": what, "anyOf": [{ "type": "string", "pattern": bounded(before) }, number] })
}

/// An amount above 0, as a producer writes it.
pub(super) struct PositiveDecimal;
/// An amount that may be 0, as a producer writes it.
pub(super) struct UnsignedDecimal;
/// An instant, as a producer writes it.
pub(super) struct Instant;
/// A UUID, as a producer writes it.
pub(super) struct Uuid;
/// An id or a name that is carried through.
pub(super) struct ShortText;
/// The id of a stream entry.
pub(super) struct StreamId;
/// A version in a stream entry, where every value is text.
pub(super) struct VersionText;

describe! {
    ClientOrderId, "ClientOrderId", name("The producer's name for an order: the idempotency key.", Self::MAX_LEN);
    Symbol, "Symbol", name("An instrument as its broker spells it.", Self::MAX_LEN);
    BrokerName, "BrokerName", name("A configured broker's name.", Self::MAX_LEN);
    OrderId, "OrderId", json_schema!({
        "type": "string", "format": "uuid", "description": "The worker's own name for an order.",
    });
    Price, "Price", digits("Quote currency for one unit of the instrument.", r"^[0-9]+(?:\.[0-9]+)?$");
    Quantity, "Quantity", digits("How much of an instrument, in its own unit.", r"^[0-9]+(?:\.[0-9]+)?$");
    Amount, "Amount", digits("Money, with a sign.", r"^-?[0-9]+(?:\.[0-9]+)?$");
    Timestamp, "Timestamp", json_schema!({
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339, UTC, microseconds.",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
    });
    PositiveDecimal, "PositiveDecimal", amount_in(
        "An exact decimal above 0, at most 28 digits; better a string: many programs pass numbers through a float.",
        r"\+?(?=[0-9.]*[1-9])", "exclusiveMinimum",
    );
    UnsignedDecimal, "UnsignedDecimal", amount_in(
        "An exact decimal, 0 or more, at most 28 digits; better a string than a number.", r"\+?", "minimum",
    );
    Instant, "Instant", json_schema!({
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339, any offset, years 1 to 9999.",
        "pattern": r"^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})$",
    });
    Uuid, "Uuid", json_schema!({
        "type": "string",
        "format": "uuid",
        "description": "A UUID, not the nil one.",
        "pattern": "^(?![0-]*$)[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
    });
    ShortText, "ShortText", json_schema!({
        "type": "string",
        "description": "Carried through; no control characters.",
        "maxLength": MAX_TEXT,
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
    });
    StreamId, "StreamId", digits("The id of a stream entry: milliseconds and a sequence number.", "^[0-9]+-[0-9]+$");
    VersionText, "VersionText", digits("A version of an order, in digits.", "^[1-9][0-9]*$");
}
