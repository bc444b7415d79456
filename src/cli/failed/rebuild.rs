//! From the outcome of a failed request back to the request, as far as the outcome tells it.

use std::sync::Arc;

use uuid::Uuid;

use crate::cli::fields::Fields;
use crate::cli::outcome::Outcome;
use crate::domain::ids::{EntryId, RequestKey};
use crate::domain::request::{OrderRef, Request, RequestKind};
use crate::wire::{self, Context};

/// What the worker adds to an order: nobody asked for it. The id is that of the order that failed.
const WORKERS: [&str; 19] = [
    "id",
    "broker_order_id",
    "status",
    "filled_quantity",
    "remaining_quantity",
    "average_fill_price",
    "filled_notional",
    "commission",
    "commissions",
    "pending_cancel",
    "pending_replace",
    "parked",
    "triggered",
    "trailing",
    "ends_at",
    "version",
    "created_at",
    "updated_at",
    "events",
];

#[derive(Debug)]
pub(super) enum Rebuilt {
    /// It goes in again under another name.
    Order(Again),
    /// It is added as it was.
    Command { field: &'static str, json: String, order: Option<OrderRef> },
}

/// An order that is to be sent again.
#[derive(Debug)]
pub(super) struct Again {
    /// The name under which it failed.
    pub(super) name: String,
    fields: Fields,
}

impl Again {
    pub(super) fn under(&self, name: &str) -> String {
        let mut fields = self.fields.clone();
        fields.put("client_order_id", name);
        fields.to_string()
    }
}

/// Takes a failed request apart; the error says why it cannot be sent again.
pub(super) fn rebuild(outcome: &Outcome, max_payload_bytes: usize) -> Result<Rebuilt, String> {
    let kind = outcome.field("request").and_then(RequestKind::from_text).unwrap_or(RequestKind::Unknown);
    let payload = outcome.field("payload");
    match kind {
        RequestKind::Submit => match outcome.field("order").or(payload) {
            Some(json) => order(outcome, json, max_payload_bytes),
            None => Err("its outcome has neither the order nor what was received".to_owned()),
        },
        RequestKind::Cancel => match payload {
            Some(payload) => command(outcome, "cancel", payload, max_payload_bytes),
            None => cancel(outcome, max_payload_bytes),
        },
        RequestKind::CancelAll => match payload {
            Some(payload) => command(outcome, "cancel_all", payload, max_payload_bytes),
            None => Err("the outcome of a cancel_all does not tell its filter: send it again".to_owned()),
        },
        RequestKind::Replace => match payload {
            Some(payload) => command(outcome, "replace", payload, max_payload_bytes),
            None => Err("the outcome of a replace does not tell the new terms: send it again".to_owned()),
        },
        RequestKind::Unknown => Err("nobody can tell what it asks for".to_owned()),
    }
}

fn order(outcome: &Outcome, json: &str, max_payload_bytes: usize) -> Result<Rebuilt, String> {
    let mut fields = Fields::parse(json)
        .map_err(|error| format!("what was received is not the JSON of an order: {error}"))?;
    WORKERS.iter().for_each(|name| fields.remove(name));
    let Request::Submit(spec) = decoded(outcome, "order", &fields.to_string(), max_payload_bytes)? else {
        return Err("what was received is not an order".to_owned());
    };
    // Its own, or the one that was derived from its entry.
    let name = outcome.field("client_order_id").unwrap_or(spec.client_order_id.as_str()).to_owned();
    fields.remove("client_order_id");
    Ok(Rebuilt::Order(Again { name, fields }))
}

fn cancel(outcome: &Outcome, max_payload_bytes: usize) -> Result<Rebuilt, String> {
    let named =
        ["client_order_id", "order_id"].into_iter().find_map(|name| Some((name, outcome.field(name)?)));
    let Some((name, id)) = named else {
        return Err("its outcome does not tell which order it meant: send it again".to_owned());
    };
    let mut fields = Fields::default();
    fields.put(name, id);
    command(outcome, "cancel", &fields.to_string(), max_payload_bytes)
}

fn command(
    outcome: &Outcome,
    field: &'static str,
    json: &str,
    max_payload_bytes: usize,
) -> Result<Rebuilt, String> {
    let order = match decoded(outcome, field, json, max_payload_bytes)? {
        Request::Cancel(order) => Some(order),
        Request::Replace(replace) => Some(OrderRef::Client(replace.client_order_id)),
        _ => None,
    };
    Ok(Rebuilt::Command { field, json: json.to_owned(), order })
}

/// Reads it as a worker would: what was refused for its form would only be refused again.
fn decoded(outcome: &Outcome, field: &str, json: &str, max_payload_bytes: usize) -> Result<Request, String> {
    let entry = outcome.field("entry_id").and_then(|id| id.parse().ok());
    let key = RequestKey { lane: Arc::from(""), entry: entry.unwrap_or(EntryId { ms: 0, seq: 0 }) };
    let context = Context { key: &key, max_payload_bytes, order_id: Uuid::nil() };
    match wire::decode_entry(&[(field.as_bytes(), json.as_bytes())], &context).request {
        Request::Refused(refused) => {
            Err(format!("it cannot be requeued as it is: {}", refused.refusal.reason))
        }
        request => Ok(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::redis::StreamEntry;

    fn failed(fields: &[(&str, &str)]) -> Result<Rebuilt, String> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        rebuild(&Outcome::failed(StreamEntry { id: "9-0".to_owned(), fields: fields.collect() }), 1000)
    }

    fn sent(fields: &[(&str, &str)], name: &str) -> (String, String) {
        match failed(fields) {
            Ok(Rebuilt::Order(again)) => (again.name.clone(), again.under(name)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_order_keeps_what_was_asked_for_and_nothing_else() {
        let order = r#"{"id":"019f6f3e-0000-7000-8000-000000000000","client_order_id":"a","symbol":"X","side":"Buy","quantity":"1.50","order_type":"Market","time_in_force":"IOC","broker":"mock","metadata":{"n":0.10},"broker_order_id":null,"status":{"Rejected":{"reason":"no"}},"filled_quantity":"0","remaining_quantity":"1.5","average_fill_price":null,"filled_notional":"0","commission":"0","commissions":{},"pending_cancel":false,"pending_replace":false,"parked":false,"version":2,"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","events":[{"version":1,"type":"Created"}]}"#;
        let fields = [("entry_id", "1-0"), ("request", "submit"), ("client_order_id", "a"), ("order", order)];
        let expected = r#"{"symbol":"X","side":"Buy","quantity":"1.50","order_type":"Market","time_in_force":"IOC","broker":"mock","metadata":{"n":0.10},"client_order_id":"a.r1"}"#;
        assert_eq!(sent(&fields, "a.r1"), ("a".to_owned(), expected.to_owned()));
    }

    #[test]
    fn a_payload_is_taken_where_it_is_a_valid_request() {
        let payload = r#"{"clientOrderId":"own","symbol":"X","side":"BUY","type":"MARKET","quantity":1}"#;
        let expected = r#"{"symbol":"X","side":"BUY","type":"MARKET","quantity":1,"client_order_id":"n"}"#;
        let fields = [("request", "submit"), ("payload", payload)];
        assert_eq!(sent(&fields, "n"), ("own".to_owned(), expected.to_owned()));
        let nameless = r#"{"symbol":"X","side":"Buy","order_type":"Market","quantity":"1"}"#;
        let fields = [("entry_id", "17-3"), ("request", "submit"), ("payload", nameless)];
        assert_eq!(sent(&fields, "n").0, "RT_X_Buy_17_00000003");
        for (payload, why) in [("{oops", "not the JSON"), (r#"{"symbol":"X"}"#, "side is missing")] {
            let error = failed(&[("request", "submit"), ("payload", payload)]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn of_commands_only_what_is_told_comes_back() {
        let cancel = |fields: &[(&str, &str)]| match failed(fields) {
            Ok(Rebuilt::Command { field: "cancel", json, .. }) => json,
            other => panic!("{other:?}"),
        };
        let id = "019f6f3e-0000-7000-8000-000000000000";
        let both = [("request", "cancel"), ("client_order_id", "a"), ("order_id", id)];
        assert_eq!(cancel(&both), r#"{"client_order_id":"a"}"#);
        assert_eq!(cancel(&[both[0], both[2]]), format!(r#"{{"order_id":"{id}"}}"#));
        let payload = r#"{"client_order_id":"a","price":"1"}"#;
        let replace = [("request", "replace"), ("payload", payload)];
        assert!(matches!(failed(&replace), Ok(Rebuilt::Command { field: "replace", .. })));
        for (kind, why) in [
            ("cancel", "which order"),
            ("cancel_all", "its filter"),
            ("replace", "new terms"),
            ("unknown", "what it asks for"),
        ] {
            let error = failed(&[("request", kind)]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
