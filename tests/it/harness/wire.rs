//! What comes out of Redis and the command line, and how to look at it.

use chrono::{DateTime, SecondsFormat, Utc};
use redis::streams::StreamId;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;

/// One entry of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    fields: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    pub(crate) fn from(id: StreamId) -> Self {
        let bytes =
            |v: redis::Value| redis::from_redis_value::<Vec<u8>>(v).expect("a stream field is a string");
        Self { id: id.id, fields: id.map.into_iter().map(|(k, v)| (k, bytes(v))).collect() }
    }

    pub(crate) fn bytes(&self, field: &str) -> Option<&[u8]> {
        self.fields.get(field).map(Vec::as_slice)
    }

    /// The fields as text; what is not UTF-8 in part.
    pub(super) fn texts(&self) -> serde_json::Map<String, Value> {
        let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
        self.fields.iter().map(|(name, bytes)| (name.clone(), text(bytes))).collect()
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        let bytes = self.bytes(field).unwrap_or_else(|| panic!("no field {field:?} in {self}"));
        std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("field {field:?} is not UTF-8 in {self}"))
    }

    pub(crate) fn json(&self, field: &str) -> Value {
        serde_json::from_str(self.text(field))
            .unwrap_or_else(|e| panic!("field {field:?} is not JSON ({e}) in {self}"))
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {}:", self.id)?;
        for (key, value) in &self.fields {
            let text: String = String::from_utf8_lossy(value).chars().take(1500).collect();
            write!(f, " {key}={text:?}")?;
        }
        Ok(())
    }
}

/// What became of a request: its one entry of `completed` or `failed`.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) completed: bool,
    pub(crate) entry: Entry,
}

impl Outcome {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.entry.text(field)
    }

    pub(crate) fn status(&self) -> &str {
        self.text("status")
    }

    pub(crate) fn order(&self) -> Value {
        self.entry.json("order")
    }

    pub(crate) fn order_id(&self) -> String {
        self.text("order_id").to_owned()
    }

    /// Asserts that the request was carried out, its order now standing at `status`.
    #[track_caller]
    pub(crate) fn is_completed(&self, status: &str) -> &Self {
        assert!(self.completed, "expected completed as {status}, but it failed: {}", self.entry);
        assert_eq!(self.status(), status, "{}", self.entry);
        self
    }

    /// Asserts a failure with `code` and with a sentence that a person can act on (CONTRACT 1.2).
    #[track_caller]
    pub(crate) fn is_failed(&self, code: &str) -> &Self {
        self.is_failed_as(&[code])
    }

    #[track_caller]
    pub(crate) fn is_failed_as(&self, codes: &[&str]) -> &Self {
        assert!(!self.completed, "expected failure {codes:?}, but it was completed: {}", self.entry);
        assert!(codes.contains(&self.text("code")), "expected {codes:?}: {}", self.entry);
        let error = self.text("error");
        assert!(error.chars().count() < 500, "an error of {} characters: {error:?}", error.chars().count());
        assert!(!error.chars().any(char::is_control), "control characters in the error {error:?}");
        assert!(error.trim().contains(' '), "the error is no sentence: {error:?}");
        assert_timestamp(self.text("timestamp"));
        self
    }

    /// Asserts that the error holds one of `words`, in whatever case.
    #[track_caller]
    pub(crate) fn names(&self, words: &[&str]) -> &Self {
        let error = self.text("error").to_lowercase();
        assert!(
            words.iter().any(|w| error.contains(&w.to_lowercase())),
            "the error names none of {words:?}: {error:?}"
        );
        self
    }
}

/// An amount as the contract writes it: a decimal in a string, never a number.
#[track_caller]
pub(crate) fn decimal(value: &Value) -> Decimal {
    let text =
        value.as_str().unwrap_or_else(|| panic!("an amount must be a string of digits, this is {value}"));
    // More digits than this type holds (an average that does not end) are rounded at its 28th.
    Decimal::from_str_exact(text)
        .or_else(|_| text.parse())
        .unwrap_or_else(|e| panic!("{text:?} is no decimal: {e}"))
}

#[track_caller]
pub(crate) fn assert_decimal(value: &Value, expected: &str) {
    assert_eq!(
        decimal(value),
        Decimal::from_str_exact(expected).unwrap(),
        "got {value}, expected {expected}"
    );
}

/// RFC 3339, UTC, microseconds.
#[track_caller]
pub(crate) fn assert_timestamp(text: &str) -> DateTime<Utc> {
    let time = DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text:?} is not RFC 3339: {e}"));
    assert_eq!(time.offset().local_minus_utc(), 0, "{text:?} is not UTC");
    let digits =
        text.split_once('.').map_or(0, |(_, rest)| rest.chars().take_while(char::is_ascii_digit).count());
    assert_eq!(digits, 6, "{text:?} is not in microseconds");
    time.to_utc()
}

pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The first value under `key`, however deep: for documents whose shape the contract leaves open.
pub(crate) fn find_key<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|v| find_key(v, key))),
        Value::Array(items) => items.iter().find_map(|v| find_key(v, key)),
        _ => None,
    }
}
