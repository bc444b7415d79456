//! The client order id is the idempotency key (CONTRACT 2).

use crate::harness::{Lab, Limits, assert_decimal, limit, market, with};
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test]
async fn the_same_order_again_gets_its_own_outcome_and_is_not_executed_again() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = market("again", "BTCUSDT", "Buy", "1");
    let first = lab.execute(&order).await;
    let second = lab.execute(&order).await;
    first.is_completed("Filled");
    second.is_completed("Filled");
    assert_ne!(first.text("entry_id"), second.text("entry_id"));
    assert_eq!(first.order_id(), second.order_id());
    assert_decimal(&second.order()["filled_quantity"], "1");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "1");
    assert_eq!(lab.trades().await, (1, 1));
}

#[tokio::test]
async fn a_burst_of_one_order_is_one_order_and_as_many_outcomes() {
    let lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "50");
    })
    .await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    let orders = vec![market("burst", "BTCUSDT", "Buy", "1"); 30];
    let entries = lab.submit_all(&orders).await;
    let outcomes = lab.outcomes(&entries).await;
    let ids: BTreeSet<_> = outcomes.iter().map(|o| o.is_completed("Filled").order_id()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(lab.trades().await, (1, 1));
}

#[tokio::test]
async fn same_content_means_the_same_values_however_written() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let first = lab.execute(&limit("spelled", "BTCUSDT", "Buy", "1", "40000")).await;
    first.is_completed("Acknowledged");
    let others = [
        json!({"client_order_id":"spelled","symbol":"BTCUSDT","side":"BUY","type":"LIMIT","quantity":1.0,"price":40000.00}),
        json!({"order_type":{"Limit":{"price":4e4}},"quantity":"1.000","side":"buy","symbol":"BTCUSDT",
               "client_order_id":"spelled","time_in_force":"gtc"}),
        with(
            limit("spelled", "BTCUSDT", "Buy", "1", "40000"),
            json!({"id": "0190a1b2-0000-7000-8000-00000000000f", "created_at": "2020-01-01T00:00:00Z",
                   "updated_at": "2020-01-01T00:00:00Z"}),
        ),
    ];
    for other in others {
        let outcome = lab.execute(&other).await;
        outcome.is_completed("Acknowledged");
        assert_eq!(outcome.order_id(), first.order_id(), "{other}");
    }
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused_and_leaves_the_order_alone() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = limit("taken", "BTCUSDT", "Buy", "1", "40000");
    let first = lab.execute(&order).await;
    first.is_completed("Acknowledged");
    let before = lab.state("taken").await.unwrap();
    let others = [
        json!({"quantity": "1.0000001"}),
        json!({"side": "Sell"}),
        json!({"symbol": "ETHUSDT"}),
        json!({"order_type": "Market"}),
        json!({"order_type": {"Limit": {"price": "40001"}}}),
        json!({"time_in_force": "IOC"}),
        json!({"strategy_id": "another"}),
        json!({"metadata": {"desk": "north"}}),
        json!({"execution_instructions": {"post_only": true}}),
    ];
    for change in others {
        let outcome = lab.execute(&with(order.clone(), change)).await;
        outcome.is_failed("DUPLICATE_CLIENT_ORDER_ID").names(&["taken"]);
        assert_eq!(outcome.text("client_order_id"), "taken");
    }
    assert_eq!(lab.state("taken").await.unwrap(), before);
    assert_eq!(lab.trades().await.0, 0);
}

#[tokio::test]
async fn a_refusal_by_risk_is_remembered_and_repeated() {
    let small = Limits::unlimited("*").with("max_order_quantity", "\"1\"");
    let mut lab = Lab::with(|s| {
        s.limits([small]);
    })
    .await;
    let mut worker = lab.worker().await;
    let order = market("too-much", "BTCUSDT", "Buy", "2");
    let first = lab.execute(&order).await;
    first.is_failed("RISK_MAX_ORDER_QUANTITY");
    assert_eq!(first.status(), "Rejected");
    let second = lab.execute(&order).await;
    second.is_failed("RISK_MAX_ORDER_QUANTITY");
    assert_eq!(first.order_id(), second.order_id());
    lab.execute(&market("too-much", "BTCUSDT", "Buy", "1")).await.is_failed("DUPLICATE_CLIENT_ORDER_ID");
    // Remembered over a restart.
    assert_eq!(worker.terminate().await, 0);
    lab.adjust(|s| {
        s.price("BTCUSDT", "44000");
    });
    let _worker = lab.worker().await;
    let third = lab.execute(&order).await;
    third.is_failed("RISK_MAX_ORDER_QUANTITY");
    assert_eq!(first.order_id(), third.order_id());
}

#[tokio::test]
async fn a_refusal_by_the_broker_is_remembered_and_repeated() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.failure_rate", "1");
    })
    .await;
    let _worker = lab.worker().await;
    let order = market("rejected", "BTCUSDT", "Buy", "1");
    let first = lab.execute(&order).await;
    let second = lab.execute(&order).await;
    first.is_failed("BROKER_REJECTED");
    second.is_failed("BROKER_REJECTED");
    assert_eq!(first.order_id(), second.order_id());
    assert_eq!(lab.history(&first.order_id()).await.last().unwrap().text("status"), "Rejected");
}

#[tokio::test]
async fn every_other_refusal_makes_no_order_and_uses_up_no_id() {
    let lab = Lab::with(|s| {
        s.instrument("BTCUSDT", r#"{ step_size = "0.01" }"#);
    })
    .await;
    let _worker = lab.worker().await;
    let refused = [
        (market("free", "BTCUSDT", "Buy", "0.015"), "VALIDATION_FAILED"),
        (market("free", "NOWHERE", "Buy", "1"), "UNKNOWN_SYMBOL"),
        (
            with(market("free", "BTCUSDT", "Buy", "1"), json!({"time_in_force": "MOC"})),
            "UNSUPPORTED_BY_BROKER",
        ),
        (with(market("free", "BTCUSDT", "Buy", "1"), json!({"colour": "blue"})), "INVALID_PAYLOAD"),
    ];
    for (order, code) in &refused {
        lab.execute(order).await.is_failed(code);
        assert_eq!(lab.state("free").await, None, "a refusal with {code} makes no order");
    }
    assert_eq!(lab.length("events").await, 0);
    let listed = lab.cli(&["orders", "--json"]).await.succeeded().json();
    assert_eq!(listed, json!([]), "no order was made");
    lab.execute(&market("free", "BTCUSDT", "Buy", "0.02")).await.is_completed("Filled");
}

#[tokio::test]
async fn an_unknown_symbol_is_known_once_it_has_a_quote() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = market("soon", "SILVER", "Buy", "1");
    lab.execute(&order).await.is_failed("UNKNOWN_SYMBOL").names(&["SILVER"]);
    lab.trade_at("SILVER", "25").await;
    let outcome = lab.execute(&order).await;
    outcome.is_completed("Filled");
    assert_decimal(&outcome.order()["average_fill_price"], "25");
}
