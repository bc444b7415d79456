//! The outcome of a request, for people and for programs.

use std::collections::BTreeMap;

use redis::Value;
use redis::streams::StreamId;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::adapters::redis::StreamEntry;
use crate::domain::request::NotCancelled;

use super::Ending;
use super::fields::Fields;

/// Fields in the order in which they are shown; those that hold JSON are shown as such.
const SHOWN: [(&str, bool); 12] = [
    ("entry_id", false),
    ("request", false),
    ("order_id", false),
    ("client_order_id", false),
    ("status", false),
    ("code", false),
    ("error", false),
    ("cancelled", true),
    ("not_cancelled", true),
    ("timestamp", false),
    ("payload", false),
    ("order", true),
];
/// Failures that are no judgement on the request: the broker or the order's own life ended it. Contract, section 3.
const NOT_REFUSED: [&str; 7] = [
    "BROKER_REJECTED",
    "BROKER_UNAVAILABLE",
    "CIRCUIT_OPEN",
    "OUTCOME_UNKNOWN",
    "UNKNOWN_ORDER",
    "ORDER_TERMINAL",
    "MAX_DELIVERIES",
];

/// An entry of the stream of completed or of failed requests.
pub(super) struct Outcome {
    pub(super) completed: bool,
    fields: BTreeMap<String, String>,
}

impl Outcome {
    pub(super) fn of(completed: bool, entry: StreamId) -> Self {
        let text = |value| match value {
            Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Value::SimpleString(text) => text,
            other => format!("{other:?}"),
        };
        let fields = entry.map.into_iter().map(|(name, value)| (name, text(value))).collect();
        Self { completed, fields }
    }

    /// An entry of the stream of failed requests.
    pub(super) fn failed(entry: StreamEntry) -> Self {
        let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let fields = entry.fields.into_iter().map(|(name, value)| (name, text(value))).collect();
        Self { completed: false, fields }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// One document: which stream it came from, then its fields.
    pub(super) fn json(&self) -> Fields {
        let mut out = Fields::default();
        out.put("outcome", if self.completed { "completed" } else { "failed" });
        let shown = |name: &str| SHOWN.iter().find(|(shown, _)| *shown == name);
        let others = self.fields.keys().map(String::as_str).filter(|name| shown(name).is_none());
        for (name, is_json) in SHOWN.iter().copied().chain(others.map(|name| (name, false))) {
            match self.field(name) {
                Some(text) if is_json => out.put_json(name, text),
                Some(text) => out.put(name, text),
                None => {}
            }
        }
        out
    }

    /// What happened, then the names it goes by.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.completed && self.field("request") == Some("cancel_all") {
            return self.swept_lines();
        }
        let status = self.field("status").unwrap_or("?");
        let order: Option<Json> = self.field("order").and_then(|text| serde_json::from_str(text).ok());
        let order = order.map(|order| describe(&order)).unwrap_or_default();
        let first = if self.completed {
            [status, order.as_str()].join("  ")
        } else {
            let (code, error) = (self.field("code").unwrap_or("?"), self.field("error").unwrap_or("?"));
            match self.field("request") {
                // The status is of the order, which stays as it is.
                Some(command @ ("cancel" | "cancel_all" | "replace")) => {
                    format!("{command} failed  {code}: {error}")
                }
                _ => format!("{status}  {code}: {error}"),
            }
        };
        let name = |field: &str| self.field(field).map(|value| format!("{field} {value}"));
        let names: Vec<String> =
            ["client_order_id", "order_id", "entry_id"].into_iter().filter_map(name).collect();
        vec![first.trim_end().to_owned(), format!("  {}", names.join("  "))]
    }

    /// How many orders a `cancel_all` meant, and what became of each.
    fn swept_lines(&self) -> Vec<String> {
        let (cancelled, not_cancelled) = (self.list::<String>("cancelled"), self.not_cancelled());
        let mut lines =
            vec![format!("cancel_all  {} cancelled, {} not", cancelled.len(), not_cancelled.len())];
        lines.extend(cancelled.iter().map(|id| format!("  cancelled      {id}")));
        lines.extend(
            not_cancelled
                .iter()
                .map(|order| format!("  not cancelled  {}  {}", order.client_order_id, order.reason)),
        );
        lines.extend(self.field("entry_id").map(|id| format!("  entry_id {id}")));
        lines
    }

    fn not_cancelled(&self) -> Vec<NotCancelled> {
        self.list("not_cancelled")
    }

    fn list<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        self.field(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(super) fn ending(&self) -> Ending {
        match self.field("code") {
            // Carried out; but what was asked for is that none of them is open any more.
            _ if self.completed && !self.not_cancelled().is_empty() => Ending::Failed,
            _ if self.completed => Ending::Done,
            Some(code) if NOT_REFUSED.contains(&code) => Ending::Failed,
            _ => Ending::Refused,
        }
    }
}

/// `Buy 1 BTCUSDT, filled 0.5 at 45000`
fn describe(order: &Json) -> String {
    let text = |name: &str| order.get(name).and_then(Json::as_str);
    let (Some(side), Some(quantity), Some(symbol)) = (text("side"), text("quantity"), text("symbol")) else {
        return String::new();
    };
    let filled = match (text("filled_quantity"), text("average_fill_price")) {
        (Some(filled), Some(price)) => format!(", filled {filled} at {price}"),
        _ => String::new(),
    };
    format!("{side} {quantity} {symbol}{filled}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(completed: bool, fields: &[(&str, &str)]) -> Outcome {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let map = fields.iter().map(|(name, value)| ((*name).to_owned(), bulk(value))).collect();
        Outcome::of(completed, StreamId { id: "2-0".to_owned(), map, ..StreamId::default() })
    }

    #[test]
    fn a_completed_one_shows_its_order_as_json_with_every_digit() {
        let order = r#"{"side":"Buy","quantity":"1.0","symbol":"X","filled_quantity":"0.50","average_fill_price":"9","metadata":{"n":0.10}}"#;
        let seen =
            outcome(true, &[("order", order), ("status", "Filled"), ("entry_id", "1-0"), ("new", "x")]);
        let expected = format!(
            r#"{{"outcome":"completed","entry_id":"1-0","status":"Filled","order":{order},"new":"x"}}"#
        );
        assert_eq!(seen.json().to_string(), expected);
        assert_eq!(seen.lines(), ["Filled  Buy 1.0 X, filled 0.50 at 9", "  entry_id 1-0"]);
        assert_eq!(seen.ending(), Ending::Done);
    }

    #[test]
    fn a_cancel_all_tells_of_each_order() {
        let not = r#"[{"client_order_id":"c","reason":"OUTCOME_UNKNOWN: nobody knows"}]"#;
        let seen = |not| {
            let fields = [
                ("request", "cancel_all"),
                ("entry_id", "1-0"),
                ("cancelled", r#"["a","b"]"#),
                ("not_cancelled", not),
            ];
            outcome(true, &fields)
        };
        let expected = [
            "cancel_all  2 cancelled, 1 not",
            "  cancelled      a",
            "  cancelled      b",
            "  not cancelled  c  OUTCOME_UNKNOWN: nobody knows",
            "  entry_id 1-0",
        ];
        assert_eq!(seen(not).lines(), expected);
        assert_eq!((seen(not).ending(), seen("[]").ending()), (Ending::Failed, Ending::Done));
    }

    #[test]
    fn how_a_failed_one_ends_follows_from_its_code() {
        let ends = |code: &str| outcome(false, &[("status", "Rejected"), ("code", code)]).ending();
        for code in ["INVALID_PAYLOAD", "VALIDATION_FAILED", "RISK_PRICE_COLLAR", "DUPLICATE_CLIENT_ORDER_ID"]
        {
            assert_eq!(ends(code), Ending::Refused, "{code}");
        }
        for code in NOT_REFUSED {
            assert_eq!(ends(code), Ending::Failed, "{code}");
        }
        let payload = outcome(false, &[("code", "INVALID_PAYLOAD"), ("error", "no"), ("payload", "{oops")]);
        assert_eq!(
            payload.json().to_string(),
            r#"{"outcome":"failed","code":"INVALID_PAYLOAD","error":"no","payload":"{oops"}"#
        );
        assert_eq!(payload.lines()[0], "?  INVALID_PAYLOAD: no");
    }
}
