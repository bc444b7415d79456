//! A submitted order: pulled, filled, answered, and told on every channel of CONTRACT 1.

use crate::harness::{Lab, assert_decimal, assert_timestamp, eventually, limit, market, with};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_market_order_is_filled_and_its_outcome_has_every_field() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let entry = lab.submit(&market("first", "BTCUSDT", "Buy", "0.5")).await;
    let outcome = lab.outcome(&entry).await;

    outcome.is_completed("Filled");
    assert_eq!(outcome.text("entry_id"), entry);
    assert_eq!(outcome.text("request"), "submit");
    assert_eq!(outcome.text("client_order_id"), "first");
    assert_timestamp(outcome.text("timestamp"));
    let id: uuid::Uuid = outcome.text("order_id").parse().expect("the order id is a UUID");
    assert_eq!(id.get_version_num(), 7, "an id that the worker makes is a UUID of version 7");
    for absent in ["payload", "code", "error", "cancelled", "not_cancelled"] {
        assert!(!outcome.entry.has(absent), "`{absent}` has no place in {}", outcome.entry);
    }

    let order = outcome.order();
    assert_eq!(order["id"], outcome.text("order_id"));
    assert_eq!(order["client_order_id"], "first");
    assert_eq!(order["symbol"], "BTCUSDT");
    assert_eq!(order["side"], "Buy");
    assert_eq!(order["order_type"], "Market");
    assert_eq!(order["time_in_force"], "GTC");
    assert_eq!(order["status"], "Filled");
    assert_decimal(&order["quantity"], "0.5");
    assert_decimal(&order["filled_quantity"], "0.5");
    assert_decimal(&order["remaining_quantity"], "0");
    assert_decimal(&order["average_fill_price"], "45000");
    assert_decimal(&order["commission"], "0");
    assert!(
        order["broker_order_id"].as_str().is_some_and(|id| !id.is_empty()),
        "{}",
        order["broker_order_id"]
    );
    for time in ["created_at", "updated_at"] {
        let text = order[time].as_str().unwrap_or_else(|| panic!("{time} is {}", order[time]));
        chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{time} {text}: {e}"));
    }
    assert!(order["events"].is_array(), "{}", order["events"]);
}

#[tokio::test]
async fn the_fields_that_a_producer_sends_along_are_carried_through() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let carried = json!({
        "id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "strategy_id": "momentum-3",
        "signal_id": "6f1c9a52-33a6-4a8e-9d38-1f4f1a0f5a77",
        "component_name": "signal-engine",
        "metadata": {"desk": "north"},
        "broker": "oanda",
    });
    let outcome = lab.execute(&with(market("carried", "BTCUSDT", "Sell", "1"), carried.clone())).await;
    outcome.is_completed("Filled");
    assert_eq!(outcome.order_id(), "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b");
    let order = outcome.order();
    for (field, value) in carried.as_object().unwrap() {
        assert_eq!(&order[field], value, "{field}");
    }
}

#[tokio::test]
async fn optional_fields_of_a_request_and_unknown_fields_of_an_entry_do_no_harm() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = market("traced", "BTCUSDT", "Buy", "1").to_string();
    let entry = lab
        .add(&[
            ("note", b"to whom it may concern"),
            ("timestamp", b"2024-02-29T12:00:00.5Z"),
            ("order", order.as_bytes()),
            ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ])
        .await;
    lab.outcome(&entry).await.is_completed("Filled");
}

#[tokio::test]
async fn a_left_out_client_order_id_is_derived_from_the_entry() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for (side, spelled) in [("Buy", "Buy"), ("SELL", "Sell")] {
        let order = json!({"symbol": "BTCUSDT", "side": side, "quantity": "1", "order_type": "Market"});
        let outcome = lab.execute(&order).await;
        outcome.is_completed("Filled");
        let (ms, sequence) = outcome.text("entry_id").split_once('-').expect("an entry id");
        let expected = format!("RT_BTCUSDT_{spelled}_{ms}_{:08x}", sequence.parse::<u64>().unwrap());
        assert_eq!(outcome.text("client_order_id"), expected);
        assert_eq!(outcome.order()["client_order_id"], expected);
    }
    // Several entries of one millisecond: the sequence keeps them apart.
    let same = json!({"symbol": "BTCUSDT", "side": "Buy", "quantity": "1", "order_type": "Market"});
    let outcomes = lab.outcomes_of_burst(&vec![same; 40]).await;
    let ids: BTreeSet<_> =
        outcomes.iter().map(|o| o.is_completed("Filled").text("client_order_id")).collect();
    assert_eq!(ids.len(), 40);
}

/// The order in which a status may follow another (CONTRACT 2.3).
const LIFE: [&str; 7] =
    ["Created", "Validated", "PendingSubmit", "Submitted", "Acknowledged", "PartiallyFilled", "Filled"];

fn rank(status: &Value) -> usize {
    LIFE.iter().position(|s| status == s).unwrap_or_else(|| panic!("{status} is no status of a good life"))
}

#[tokio::test]
async fn status_messages_tell_every_commit_without_gaps() {
    let lab = Lab::new().await;
    let status = lab.watch("status").await;
    let _worker = lab.worker().await;
    let outcome = lab.execute(&market("told", "BTCUSDT", "Buy", "2")).await;
    outcome.is_completed("Filled");
    let messages = eventually("the message of the fill", async || {
        let messages = status.about("told");
        messages.last().is_some_and(|m| m["status"] == "Filled").then_some(messages)
    })
    .await;

    let mut next = 1;
    let mut passed = Vec::new();
    for message in &messages {
        for field in
            ["order_id", "broker_order_id", "average_fill_price", "reason", "remaining_quantity", "timestamp"]
        {
            assert!(message.get(field).is_some(), "no {field} in {message}");
        }
        assert_eq!(message["order_id"], outcome.text("order_id"));
        assert_eq!(message["symbol"], "BTCUSDT");
        assert_eq!(message["side"], "Buy");
        assert_timestamp(message["timestamp"].as_str().expect("a timestamp"));
        assert_eq!(message["first_version"], next, "a gap before {message}");
        let version = message["version"].as_u64().expect("a version");
        assert!(version >= message["first_version"].as_u64().unwrap(), "{message}");
        next = version + 1;
        let steps = message["passed"].as_array().expect("`passed` is an array");
        assert_eq!(steps.last(), Some(&message["status"]), "`status` is where `passed` ends: {message}");
        passed.extend(steps.iter().cloned());
    }
    assert_eq!(passed[..3], [json!("Created"), json!("Validated"), json!("PendingSubmit")]);
    assert_eq!(passed.last(), Some(&json!("Filled")));
    assert!(passed.windows(2).all(|pair| rank(&pair[0]) < rank(&pair[1])), "{passed:?}");
    let last = messages.last().unwrap();
    assert_decimal(&last["filled_quantity"], "2");
    assert_decimal(&last["remaining_quantity"], "0");
    assert_decimal(&last["average_fill_price"], "45000");
    assert_eq!(last["version"], lab.state("told").await.unwrap()["version"]);
}

#[tokio::test]
async fn the_events_stream_tells_an_order_without_gaps_from_version_1() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "101", &[]).await;
    let outcome = lab.execute(&limit("history", "GOLD", "Buy", "1", "100")).await;
    outcome.is_completed("Acknowledged");
    lab.quote("GOLD", "98", "99", &[]).await;
    let state = lab.state_becomes("history", "Filled").await;

    let history = lab.history(&outcome.order_id()).await;
    assert!(history.len() >= 2, "admission, acknowledgement and fill in {} entries", history.len());
    let mut next = 1;
    let mut ids = BTreeSet::new();
    for entry in &history {
        assert_eq!(entry.text("client_order_id"), "history");
        let first: u64 = entry.text("first_version").parse().unwrap();
        let version: u64 = entry.text("version").parse().unwrap();
        let events = entry.json("events");
        let events = events.as_array().expect("`events` is an array");
        assert_eq!(first, next, "a gap: {entry}");
        assert_eq!(events.len() as u64, version + 1 - first, "{entry}");
        for (event, version) in events.iter().zip(first..) {
            assert_eq!(event["version"], version, "{event}");
            assert!(event["type"].as_str().is_some_and(|t| !t.is_empty()), "{event}");
            let time = event["timestamp"].as_str().unwrap_or_else(|| panic!("no timestamp: {event}"));
            chrono::DateTime::parse_from_rfc3339(time).unwrap();
            let id = event["event_id"].as_str().unwrap_or_else(|| panic!("no event_id: {event}"));
            assert!(ids.insert(id.to_owned()), "event_id {id} twice");
        }
        assert!(LIFE.contains(&entry.text("status")), "a bare status name: {entry}");
        next = version + 1;
    }
    assert_eq!(history.last().unwrap().text("status"), "Filled");
    assert_eq!(state["version"], next - 1, "the state carries the version that was published last");
}

#[tokio::test]
async fn when_an_outcome_can_be_read_state_and_events_already_hold_it_and_the_request_is_gone() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for n in 0..50 {
        let id = format!("prompt-{n}");
        let outcome = lab.execute(&market(&id, "BTCUSDT", "Buy", "1")).await;
        let state = lab.state(&id).await.expect("the state is there with the outcome");
        assert_eq!(state["status"], "Filled");
        assert_decimal(&state["filled_quantity"], "1");
        let history = lab.history(&outcome.order_id()).await;
        assert_eq!(history.last().expect("events are there with the outcome").text("status"), "Filled");
        assert_eq!(lab.length("pending").await, 0);
        assert_eq!(lab.pending_entries().await, 0);
    }
    assert_eq!(lab.length("completed").await, 50);
}

#[tokio::test]
async fn the_state_expires_after_a_day_or_as_configured() {
    let day = Lab::new().await;
    let minute = Lab::with(|s| {
        s.set("streams.state_ttl_seconds", "60");
    })
    .await;
    for (lab, ttl) in [(&day, 86_400), (&minute, 60)] {
        let _worker = lab.worker().await;
        lab.execute(&market("aging", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
        let key = lab.key("state:aging");
        let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut lab.redis()).await.unwrap();
        assert!(left > ttl - 30 && left <= ttl, "{left} seconds left of {ttl}");
    }
}

impl Lab {
    async fn outcomes_of_burst(&self, orders: &[Value]) -> Vec<crate::harness::Outcome> {
        let entries = self.submit_all(orders).await;
        self.outcomes(&entries).await
    }
}
