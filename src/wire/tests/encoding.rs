use serde_json::{Value, json};
use uuid::Uuid;

use super::{accepted, key, order_with};
use crate::domain::amount::Amount;
use crate::domain::event::{
    Acknowledgement, Attempt, Commission, EventKind, Fill, OrderEvent, ReplaceRequest, Submission, Terms,
};
use crate::domain::order::{ContentHash, Order};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{Outcome, OutcomeResult, RequestKind};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::wire::{events_json, order_json, outcome_fields, spec_json, status_message};

const ID: &str = "01900000-0000-7abc-8fff-00000000beef";

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000 + second * 1_000_000)
}

fn history(kinds: Vec<EventKind>) -> Vec<OrderEvent> {
    let spec = accepted(&order_with(&format!(r#""id":"{ID}","broker":"mock","type":"LIMIT","price":45000"#)));
    let kinds = std::iter::once(EventKind::Created(Box::new(spec))).chain(kinds);
    let event = |(n, kind)| {
        let second = i64::try_from(n).unwrap();
        OrderEvent {
            event_id: Uuid::from_u128(n as u128),
            version: n as u64 + 1,
            timestamp: at(second),
            kind,
        }
    };
    kinds.enumerate().map(event).collect()
}

fn order(kinds: Vec<EventKind>) -> Order {
    Order::fold(&history(kinds)).unwrap().unwrap()
}

fn partly_filled() -> Vec<EventKind> {
    let attempt = Attempt { attempt: 1, deadline: None, limit_price: None };
    vec![
        EventKind::Validated,
        EventKind::PendingSubmit(attempt),
        EventKind::Submitted(Submission { attempt: 1, broker_order_id: None }),
        EventKind::Acknowledged(Acknowledgement { broker_order_id: "b-7".to_owned() }),
        EventKind::Fill(Fill {
            trade_id: "t/1".to_owned(),
            quantity: "0.3".parse().unwrap(),
            price: "44999.5".parse().unwrap(),
            commission: Some(Commission {
                asset: "USDT".to_owned(),
                amount: Amount::of("0.0123".parse().unwrap()),
                quote_value: Some(Amount::of("0.0123".parse().unwrap())),
            }),
            executed_at: at(9),
            position_sequence: 1,
            contract: None,
        }),
        EventKind::ReplaceRequested(ReplaceRequest {
            terms: Terms { price: Some("1".parse().unwrap()), ..Terms::default() },
            deadline: None,
        }),
    ]
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_new_order_is_written_with_every_field_in_its_order() {
    let expected = format!(
        concat!(
            r#"{{"id":"{}","client_order_id":"c-1","symbol":"BTCUSDT","side":"Buy","quantity":"1","#,
            r#""order_type":{{"Limit":{{"price":"45000"}}}},"time_in_force":"GTC","broker":"mock","broker_order_id":null,"#,
            r#""status":"Created","filled_quantity":"0","remaining_quantity":"1","average_fill_price":null,"#,
            r#""filled_notional":"0","commission":"0","commissions":{{}},"pending_cancel":false,"#,
            r#""pending_replace":false,"parked":false,"version":1,"created_at":"2026-01-01T00:00:00.000000Z","#,
            r#""updated_at":"2026-01-01T00:00:00.000000Z","events":[{{"version":1,"type":"Created"}}]}}"#
        ),
        ID
    );
    assert_eq!(order_json(&order(vec![])), expected);
}

#[test]
fn a_new_order_without_events_reads_back() {
    let mut new = order(vec![]);
    (new.state.version, new.state.events) = (0, Vec::new());
    assert_eq!(accepted(&order_json(&new)), new.spec);
    assert_eq!(accepted(&spec_json(&new.spec)), new.spec);
}

#[test]
fn a_partly_filled_order_tells_its_fills() {
    let order = parsed(&order_json(&order(partly_filled())));
    for (name, value) in [
        (
            "status",
            json!({"PartiallyFilled": {"filled_qty": "0.3", "last_fill_price": "44999.5", "last_fill_time": at(9)}}),
        ),
        ("broker_order_id", json!("b-7")),
        ("filled_quantity", json!("0.3")),
        ("remaining_quantity", json!("0.7")),
        ("average_fill_price", json!("44999.5")),
        ("filled_notional", json!("13499.85")),
        ("commission", json!("0.0123")),
        ("commissions", json!({"USDT": "0.0123"})),
        ("pending_cancel", json!(false)),
        ("pending_replace", json!(true)),
        ("version", json!(7)),
        ("updated_at", json!(at(6))),
    ] {
        assert_eq!(order[name], value, "{name}");
    }
    assert_eq!(order["events"].as_array().unwrap().len(), 7);
}

#[test]
fn a_rejected_order_tells_why() {
    let refusal = Refusal::new(Code::NoLimits, "no limit is in force for \"X\"");
    let order = order(vec![EventKind::Rejected(refusal)]);
    assert_eq!(
        parsed(&order_json(&order))["status"],
        json!({"Rejected": {"reason": "no limit is in force for \"X\""}})
    );
}

#[test]
fn a_status_message_has_the_contracts_fields_in_their_order() {
    let order = order(partly_filled());
    let passed = [Status::Submitted, Status::Acknowledged, Status::PartiallyFilled];
    let message = status_message(&order, &passed, 4, Some("why"), at(20));
    let expected = format!(
        concat!(
            r#"{{"order_id":"{}","client_order_id":"c-1","broker_order_id":"b-7","symbol":"BTCUSDT","side":"Buy","#,
            r#""status":"PartiallyFilled","passed":["Submitted","Acknowledged","PartiallyFilled"],"#,
            r#""filled_quantity":"0.3","remaining_quantity":"0.7","average_fill_price":"44999.5","reason":"why","#,
            r#""first_version":4,"version":7,"timestamp":"2026-01-01T00:00:20.000000Z"}}"#
        ),
        ID
    );
    assert_eq!(message, expected);
    let bare = parsed(&status_message(&order, &[], 1, None, at(0)));
    assert_eq!((&bare["reason"], &bare["passed"]), (&Value::Null, &json!([])));
}

#[test]
fn events_are_an_array_with_their_details() {
    assert_eq!(events_json(&[]), "[]");
    let events = history(partly_filled());
    let written = parsed(&events_json(&events[4..6]));
    assert_eq!(written[0]["type"], "Acknowledged");
    assert_eq!(written[0]["details"], json!({"broker_order_id": "b-7"}));
    assert_eq!(written[1]["version"], 6);
    assert_eq!(written[1]["details"]["quantity"], "0.3");
    assert_eq!(serde_json::from_str::<Vec<OrderEvent>>(&events_json(&events)).unwrap(), events);
}

fn check_outcome(result: OutcomeResult, order: Option<&str>, completed: bool, expected: &[(&str, &str)]) {
    let new = accepted(&order_with(&format!(r#""id":"{ID}","type":"MARKET""#)));
    let outcome = Outcome {
        key: key(),
        hash: ContentHash::of(b""),
        request: RequestKind::Submit,
        order_id: order.map(|_| new.id),
        client_order_id: order.map(|_| new.client_order_id),
        result,
        order_version: 1,
        timestamp: at(1),
    };
    let (went, fields) = outcome_fields(&outcome, order);
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(n, v)| (*n, std::str::from_utf8(v).unwrap())).collect();
    assert_eq!((went, fields.as_slice()), (completed, expected));
}

#[test]
fn an_outcome_has_the_contracts_fields() {
    let (entry, request) = (("entry_id", "1700000000123-10"), ("request", "submit"));
    let time = ("timestamp", "2026-01-01T00:00:01.000000Z");
    let (id, client_id, order) = (("order_id", ID), ("client_order_id", "c-1"), ("order", "{}"));
    check_outcome(
        OutcomeResult::Completed(Status::Filled),
        Some("{}"),
        true,
        &[entry, request, id, client_id, ("status", "Filled"), order, time],
    );
    let refusal = Refusal::new(Code::InvalidPayload, "side is missing");
    let (code, error) = (("code", "INVALID_PAYLOAD"), ("error", "side is missing"));
    check_outcome(
        OutcomeResult::Failed { refusal: refusal.clone(), status: None, payload: Some(b"{".to_vec()) },
        None,
        false,
        &[entry, request, ("status", "Rejected"), code, error, time, ("payload", "{")],
    );
    check_outcome(
        OutcomeResult::Failed { refusal, status: Some(Status::Filled), payload: None },
        Some("{}"),
        false,
        &[entry, request, id, client_id, ("status", "Filled"), order, code, error, time],
    );
}
