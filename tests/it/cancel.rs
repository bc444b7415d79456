//! Cancelling one order, and the commands that come with a later issue.

use crate::harness::{Lab, assert_decimal, eventually, limit, market};
use serde_json::json;

#[tokio::test]
async fn a_resting_order_is_cancelled_by_either_of_its_ids() {
    let lab = Lab::new().await;
    let status = lab.watch("status").await;
    let _worker = lab.worker().await;
    for by in ["client_order_id", "order_id"] {
        let name = format!("resting-by-{by}");
        let submitted = lab.execute(&limit(&name, "BTCUSDT", "Buy", "1", "40000")).await;
        submitted.is_completed("Acknowledged");
        let outcome = lab.cancel(&json!({by: submitted.text(by)})).await;
        outcome.is_completed("Cancelled");
        assert_eq!(outcome.text("request"), "cancel");
        assert_eq!(outcome.text("order_id"), submitted.order_id());
        assert_eq!(outcome.text("client_order_id"), name);
        assert_eq!(outcome.order()["status"], "Cancelled");
        assert_decimal(&outcome.order()["filled_quantity"], "0");
        assert_eq!(lab.state(&name).await.unwrap()["status"], "Cancelled");
        assert_eq!(lab.history(&submitted.order_id()).await.last().unwrap().text("status"), "Cancelled");
        let message = eventually("the message of the cancel", async || {
            status.about(&name).into_iter().find(|m| m["status"] == "Cancelled")
        })
        .await;
        assert_eq!(message["passed"].as_array().unwrap().last(), Some(&json!("Cancelled")));
    }
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn a_cancelled_order_does_not_fill_any_more() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    lab.execute(&limit("gone", "GOLD", "Buy", "1", "98")).await.is_completed("Acknowledged");
    lab.execute(&limit("stays", "GOLD", "Buy", "1", "98")).await.is_completed("Acknowledged");
    lab.cancel(&json!({"client_order_id": "gone"})).await.is_completed("Cancelled");
    lab.quote("GOLD", "96", "97", &[]).await;
    lab.state_becomes("stays", "Filled").await;
    assert_eq!(lab.state("gone").await.unwrap()["status"], "Cancelled");
    assert_decimal(&lab.position("GOLD").await["quantity"], "1");
}

#[tokio::test]
async fn a_partly_filled_order_keeps_its_fills_when_it_is_cancelled() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[("bid_size", "2"), ("ask_size", "2")]).await;
    lab.execute(&limit("partly", "GOLD", "Buy", "5", "100")).await.is_completed("PartiallyFilled");
    let outcome = lab.cancel(&json!({"client_order_id": "partly"})).await;
    outcome.is_completed("Cancelled");
    assert_decimal(&outcome.order()["filled_quantity"], "2");
    assert_decimal(&outcome.order()["average_fill_price"], "100");
    assert_decimal(&lab.position("GOLD").await["quantity"], "2");
}

#[tokio::test]
async fn a_terminal_order_cannot_be_cancelled_and_keeps_its_status() {
    let lab = Lab::with(|s| {
        s.limits([crate::harness::Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
    })
    .await;
    let _worker = lab.worker().await;
    let filled = lab.execute(&market("filled", "BTCUSDT", "Buy", "1")).await;
    lab.execute(&limit("cancelled", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    lab.cancel(&json!({"client_order_id": "cancelled"})).await.is_completed("Cancelled");
    lab.execute(&market("rejected", "BTCUSDT", "Buy", "6")).await.is_failed("RISK_MAX_ORDER_QUANTITY");
    for (id, status) in [("filled", "Filled"), ("cancelled", "Cancelled"), ("rejected", "Rejected")] {
        let before = lab.state(id).await.unwrap();
        let outcome = lab.cancel(&json!({"client_order_id": id})).await;
        outcome.is_failed("ORDER_TERMINAL").names(&[status]);
        assert_eq!(outcome.text("request"), "cancel");
        assert_eq!(outcome.status(), status, "the status that the order keeps");
        assert_eq!(outcome.text("client_order_id"), id);
        assert_eq!(lab.state(id).await.unwrap(), before);
    }
    lab.cancel(&json!({"order_id": filled.order_id()})).await.is_failed("ORDER_TERMINAL");
}

#[tokio::test]
async fn two_cancels_at_once_end_the_order_once() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("once", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let cancel = vec![("cancel", br#"{"client_order_id":"once"}"#.to_vec())];
    let entries = lab.burst(&[cancel.clone(), cancel]).await;
    let outcomes = lab.outcomes(&entries).await;
    let completed = outcomes.iter().filter(|o| o.completed).count();
    assert!(completed >= 1, "neither cancel was carried out");
    for outcome in &outcomes {
        if outcome.completed {
            outcome.is_completed("Cancelled");
        } else {
            outcome.is_failed("ORDER_TERMINAL");
        }
    }
}

#[tokio::test]
async fn an_order_that_nobody_knows_is_told_so_after_the_wait() {
    let lab = Lab::with(|s| {
        s.set("worker.command_wait_ms", "500");
    })
    .await;
    let _worker = lab.worker().await;
    for which in [
        json!({"client_order_id": "never-seen"}),
        json!({"order_id": "0190a1b2-0000-7000-8000-0000000000ff"}),
    ] {
        let outcome = lab.cancel(&which).await;
        outcome.is_failed("UNKNOWN_ORDER").names(&["never-seen", "0190a1b2-0000-7000-8000-0000000000ff"]);
        assert_eq!(outcome.text("request"), "cancel");
        assert!(!outcome.entry.has("order"), "{}", outcome.entry);
    }
}

#[tokio::test]
async fn a_cancel_right_behind_its_submit_takes_effect() {
    let lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "20");
    })
    .await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    let mut burst = Vec::new();
    for n in 0..20 {
        let id = format!("short-{n}");
        burst.push(vec![("order", limit(&id, "BTCUSDT", "Buy", "1", "40000").to_string().into_bytes())]);
        burst.push(vec![("cancel", json!({"client_order_id": id}).to_string().into_bytes())]);
    }
    let entries = lab.burst(&burst).await;
    let outcomes = lab.outcomes(&entries).await;
    for (n, pair) in outcomes.chunks(2).enumerate() {
        assert!(pair[0].completed, "{}", pair[0].entry);
        pair[1].is_completed("Cancelled");
        assert_eq!(pair[0].order_id(), pair[1].order_id());
        assert_eq!(lab.state(&format!("short-{n}")).await.unwrap()["status"], "Cancelled");
    }
}

#[tokio::test]
async fn a_cancel_behind_a_slow_market_order_finds_it_filled() {
    let lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "200");
    })
    .await;
    let _worker = lab.worker().await;
    let order = market("late", "BTCUSDT", "Buy", "1").to_string().into_bytes();
    let cancel = br#"{"client_order_id":"late"}"#.to_vec();
    let entries = lab.burst(&[vec![("order", order)], vec![("cancel", cancel)]]).await;
    let outcomes = lab.outcomes(&entries).await;
    outcomes[0].is_completed("Filled");
    outcomes[1].is_failed("ORDER_TERMINAL");
    assert_eq!(outcomes[1].status(), "Filled");
}

#[tokio::test]
async fn a_command_that_cannot_be_read_is_refused() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("kept", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let cases: [(&str, &[&str]); 9] = [
        (r#"{"client_order_id":"kept","reason":"bored"}"#, &["reason"]),
        (r#"{"client_order_id":"kept","client_order_id":"kept"}"#, &["client_order_id"]),
        (r#"{"client_order_id":7}"#, &["client_order_id"]),
        (r#"{"order_id":"seven"}"#, &["order_id", "uuid"]),
        (r#"{"client_order_id":null}"#, &["client_order_id", "order_id"]),
        ("{}", &["client_order_id", "order_id"]),
        ("[]", &["object", "cancel", "map"]),
        (r#""kept""#, &["object", "cancel", "map"]),
        ("kept", &["json", "cancel", "expected"]),
    ];
    for (text, names) in cases {
        let entry = lab.add(&[("cancel", text.as_bytes())]).await;
        let outcome = lab.outcome(&entry).await;
        outcome.is_failed("INVALID_PAYLOAD").names(names);
        assert_eq!(outcome.text("payload"), text);
    }
    assert_eq!(lab.state("kept").await.unwrap()["status"], "Acknowledged");
}

/// Commands that wait for orders bring none: they do not make each other wait.
#[tokio::test]
async fn many_cancels_of_unknown_orders_are_answered_without_waiting_for_each_other() {
    let lab = Lab::with(|s| {
        s.set("worker.command_wait_ms", "600000");
    })
    .await;
    let _worker = lab.worker().await;
    let commands: Vec<Vec<(&str, Vec<u8>)>> = (0..300)
        .map(|n| vec![("cancel", json!({"client_order_id": format!("nobody-{n}")}).to_string().into_bytes())])
        .collect();
    let entries = lab.burst(&commands).await;
    for outcome in lab.outcomes(&entries).await {
        outcome.is_failed("UNKNOWN_ORDER");
    }
}
