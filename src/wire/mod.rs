//! What producers send, read into the domain; and the domain, written as the contract spells it.
//!
//! [`decode_entry`] turns the fields of a stream entry into a [`Request`](crate::domain::request::Request).
//! It never fails: what cannot be read becomes a refusal with a sentence that names the field, the
//! value and what would be right, so a bad request ends alone and its neighbours do not notice.
//!
//! # Which code
//!
//! * `INVALID_PAYLOAD`: the bytes cannot be read as such a request. Syntax, a wrong type, an unknown,
//!   repeated or missing field, a field that the order's type does not take, a name with characters
//!   that names do not have, a number with more digits than an amount holds, a field that is the
//!   worker's to fill.
//! * `VALIDATION_FAILED`: read, and impossible. An amount out of its range (a quantity of 0, a
//!   negative price), an instant outside the years 1 to 9999, two fields that contradict each other.
//!
//! What needs a clock, a broker or a limit (a date in the past, the tick size) is judged later.
//!
//! # How it is read
//!
//! JSON is read one level at a time and every value stays raw text until the field that takes it is
//! known. So numbers go digit by digit into [`amount::parse`](crate::domain::amount::parse) and never
//! through a float, and every message can tell where it is. One scan before any parsing bounds nesting.

mod command;
mod encode;
mod entry;
mod instructions;
mod item;
mod object;
mod order;
mod order_type;
mod out_fields;
mod record;
mod scan;
pub mod schema;
#[cfg(test)]
mod tests;

pub use encode::{events_json, order_json, outcome_fields, spec_json, status_message};
pub use entry::{Context, Decoded, decode_entry};
pub use order::decode_order;
