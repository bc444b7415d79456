//! `cancel_all` and `replace` at the embedded simulator.

use crate::harness::{Lab, Limits, Outcome, assert_decimal, limit, market, with};
use serde_json::{Value, json};

async fn ask(lab: &Lab, field: &str, request: &Value) -> Outcome {
    let entry = lab.add(&[(field, request.to_string().as_bytes())]).await;
    lab.outcome(&entry).await
}

fn ids(outcome: &Outcome, field: &str) -> Vec<String> {
    let list = outcome.entry.json(field);
    let name = |item: &Value| match item {
        Value::String(id) => id.clone(),
        other => other["client_order_id"].as_str().expect("an id").to_owned(),
    };
    list.as_array().expect("an array").iter().map(name).collect()
}

#[tokio::test]
async fn cancel_all_cancels_what_matches_and_says_what_it_did() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for (id, symbol, side, more) in [
        ("a", "BTCUSDT", "Buy", json!({"strategy_id": "s1"})),
        ("b", "BTCUSDT", "Sell", json!({"strategy_id": "s1"})),
        ("c", "ETHUSDT", "Buy", json!({"strategy_id": "s2"})),
        ("d", "ETHUSDT", "Buy", json!({"broker": "oanda"})),
    ] {
        let price = match (symbol, side) {
            ("BTCUSDT", "Sell") => "50000",
            ("BTCUSDT", _) => "40000",
            _ => "2000",
        };
        lab.execute(&with(limit(id, symbol, side, "1", price), more)).await.is_completed("Acknowledged");
    }
    lab.execute(&market("done", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    for (filter, expected) in [
        (json!({"symbol": "ONE"}), vec![]),
        (json!({"side": "sell"}), vec!["b"]),
        (json!({"strategy_id": "s1"}), vec!["a"]),
        (json!({"broker": "oanda", "symbol": "ETHUSDT"}), vec!["d"]),
        (json!({}), vec!["c"]),
        (json!({}), vec![]),
    ] {
        let outcome = ask(&lab, "cancel_all", &filter).await;
        assert!(outcome.completed, "{}", outcome.entry);
        assert_eq!(outcome.text("request"), "cancel_all");
        assert_eq!(ids(&outcome, "cancelled"), expected, "{filter}");
        assert_eq!(ids(&outcome, "not_cancelled"), Vec::<String>::new());
        assert!(!outcome.entry.has("order_id") && !outcome.entry.has("status"), "{}", outcome.entry);
    }
    for id in ["a", "b", "c", "d"] {
        assert_eq!(lab.state(id).await.unwrap()["status"], "Cancelled");
    }
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "1");
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn cancel_all_reaches_every_order_that_was_added_before_it() {
    let lab = Lab::with(|s| {
        s.set("worker.batch_size", "16");
    })
    .await;
    let orders: Vec<_> = (0..700).map(|n| limit(&format!("o{n}"), "BTCUSDT", "Buy", "1", "40000")).collect();
    let mut entries = lab.submit_all(&orders).await;
    entries.push(lab.add(&[("cancel_all", b"{}")]).await);
    entries.push(lab.submit(&limit("after", "BTCUSDT", "Buy", "1", "40000")).await);
    let _workers = [lab.worker().await, lab.worker().await];
    let outcomes = lab.outcomes(&entries).await;
    assert_eq!(ids(&outcomes[700], "cancelled").len(), 700, "{}", outcomes[700].entry);
    outcomes[701].is_completed("Acknowledged");
}

#[tokio::test]
async fn a_cancel_all_that_a_crash_interrupts_goes_on_with_its_own_set() {
    let lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "300").set("worker.claim_idle_ms", "500");
    })
    .await;
    let victim = lab.worker().await;
    let orders: Vec<_> = (0..300).map(|n| limit(&format!("o{n}"), "BTCUSDT", "Buy", "1", "40000")).collect();
    lab.outcomes(&lab.submit_all(&orders).await).await;
    let entry = lab.add(&[("cancel_all", b"{}")]).await;
    // Some are asked for, or cancelled; the rest is not.
    lab.state_becomes_with("o0", |state| state["pending_cancel"] == true || state["status"] == "Cancelled")
        .await;
    victim.kill();
    let mut survivor = lab.worker().await;
    let outcome = lab.outcome(&entry).await;
    assert_eq!(ids(&outcome, "cancelled").len(), 300, "{}", outcome.entry);
    assert_eq!(survivor.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn a_replace_changes_the_terms_and_meets_the_market() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("a", "BTCUSDT", "Buy", "2", "40000")).await.is_completed("Acknowledged");
    let change = json!({"client_order_id": "a", "quantity": "3", "price": "41000"});
    let outcome = ask(&lab, "replace", &change).await;
    outcome.is_completed("Acknowledged");
    assert_eq!(outcome.text("request"), "replace");
    let order = outcome.order();
    assert_decimal(&order["quantity"], "3");
    assert_decimal(&order["order_type"]["Limit"]["price"], "41000");
    assert_eq!(order["pending_replace"], false);
    let crossing = json!({"client_order_id": "a", "price": "46000"});
    ask(&lab, "replace", &crossing).await.is_completed("Filled");
    let state = lab.state("a").await.unwrap();
    assert_decimal(&state["average_fill_price"], "45000");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "3");
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn replaces_that_cannot_be_are_refused_and_change_nothing() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*")
            .with("max_order_quantity", "\"10\"")
            .with("max_position", "\"12\"")
            .with("price_collar_pct", "\"20\"")]);
        s.instrument("BTCUSDT", "{ tick_size = \"0.5\", step_size = \"0.1\" }");
    })
    .await;
    let _worker = lab.worker().await;
    lab.execute(&limit("a", "BTCUSDT", "Buy", "2", "40000")).await.is_completed("Acknowledged");
    lab.execute(&limit("b", "BTCUSDT", "Buy", "5", "40000")).await.is_completed("Acknowledged");
    lab.execute(&market("done", "ETHUSDT", "Buy", "1")).await.is_completed("Filled");
    for (request, code, names) in [
        (json!({"client_order_id": "a"}), "INVALID_PAYLOAD", "changes nothing"),
        (json!({"client_order_id": "nobody"}), "INVALID_PAYLOAD", "changes nothing"),
        (
            json!({"client_order_id": "a", "quantity": "2", "price": "40000.0"}),
            "INVALID_PAYLOAD",
            "changes nothing",
        ),
        (json!({"client_order_id": "nobody", "quantity": "2"}), "UNKNOWN_ORDER", "nobody"),
        (json!({"client_order_id": "done", "quantity": "2"}), "ORDER_TERMINAL", "done"),
        (json!({"client_order_id": "a", "stop_price": "2"}), "VALIDATION_FAILED", "stop_price"),
        (json!({"client_order_id": "a", "price": "40000.3"}), "VALIDATION_FAILED", "tick"),
        (json!({"client_order_id": "a", "quantity": "2.05"}), "VALIDATION_FAILED", "step"),
        (json!({"client_order_id": "a", "quantity": "11"}), "RISK_MAX_ORDER_QUANTITY", "11"),
        // 5 of the other order, 7 of this one: at the limit; 8 are over it.
        (json!({"client_order_id": "a", "quantity": "8"}), "RISK_POSITION_LIMIT", "13"),
        (json!({"client_order_id": "a", "price": "30000"}), "RISK_PRICE_COLLAR", "30000"),
    ] {
        let outcome = ask(&lab, "replace", &request).await;
        outcome.is_failed(code).names(&[names]);
    }
    assert_decimal(&lab.state("a").await.unwrap()["quantity"], "2");
    ask(&lab, "replace", &json!({"client_order_id": "a", "quantity": "7"}))
        .await
        .is_completed("Acknowledged");
    // What the replace took is taken: nothing more fits, and a cancel gives it all back.
    lab.execute(&limit("c", "BTCUSDT", "Buy", "0.1", "40000")).await.is_failed("RISK_POSITION_LIMIT");
    lab.cancel(&json!({"client_order_id": "a"})).await.is_completed("Cancelled");
    lab.execute(&limit("d", "BTCUSDT", "Buy", "7", "40000")).await.is_completed("Acknowledged");
    lab.cli(&["replay"]).await.succeeded();
}
