//! The dialect of exchanges (CONTRACT 2.2), and spelling in any case.

use crate::harness::{Lab, decimal};
use serde_json::{Value, json};

/// Equal, where amounts count by their value and not by their zeros.
fn same(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(a), Value::Object(e)) => {
            a.len() == e.len() && e.iter().all(|(k, v)| same(&actual[k], v))
        }
        (Value::String(a), Value::String(e)) if e.parse::<f64>().is_ok() && a != e => {
            decimal(actual) == decimal(expected)
        }
        _ => actual == expected,
    }
}

struct Case {
    order: Value,
    order_type: Value,
    time_in_force: Value,
    post_only: bool,
}

fn case(order: Value, order_type: Value) -> Case {
    Case { order, order_type, time_in_force: json!("GTC"), post_only: false }
}

/// Sends every case; the outcome shows the order as it was understood.
async fn check(cases: Vec<Case>) {
    let lab = Lab::with(|s| {
        s.price("BTCUSDT", "46000");
    })
    .await;
    let _worker = lab.worker().await;
    let orders: Vec<_> = cases.iter().map(|c| c.order.clone()).collect();
    let entries = lab.submit_all(&orders).await;
    for (case, outcome) in cases.iter().zip(lab.outcomes(&entries).await) {
        assert!(outcome.completed, "{} was refused: {}", case.order, outcome.entry);
        let order = outcome.order();
        assert!(
            same(&order["order_type"], &case.order_type),
            "{} was read as {}, expected {}",
            case.order,
            order["order_type"],
            case.order_type
        );
        assert_eq!(order["time_in_force"], case.time_in_force, "{}", case.order);
        assert_eq!(order["symbol"], "BTCUSDT");
        assert!(order["side"] == "Buy" || order["side"] == "Sell", "{}", order["side"]);
        let post_only =
            order["execution_instructions"].get("post_only").and_then(Value::as_bool).unwrap_or(false);
        assert_eq!(post_only, case.post_only, "{}", case.order);
    }
}

#[tokio::test]
async fn flat_orders_are_understood() {
    let limit = json!({"Limit": {"price": "45000"}});
    let cases = vec![
        Case {
            post_only: true,
            ..case(
                json!({"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","quantity":0.001,"price":45000.0,
                       "time_in_force":"GTC","post_only":true}),
                limit.clone(),
            )
        },
        Case {
            post_only: true,
            ..case(
                json!({"symbol":"BTCUSDT","side":"BUY","type":"LIMIT_MAKER","quantity":"0.001","price":"45000"}),
                limit.clone(),
            )
        },
        case(json!({"symbol":"BTCUSDT","side":"SELL","type":"MARKET","quantity":"0.001"}), json!("Market")),
        Case {
            time_in_force: json!("IOC"),
            ..case(
                json!({"symbol":"BTCUSDT","side":"buy","type":"limit","quantity":1,"price":45000,"timeInForce":"ioc"}),
                limit.clone(),
            )
        },
        case(json!({"Symbol":"BTCUSDT","SIDE":"bUy","Type":"mArKeT","QUANTITY":"1"}), json!("Market")),
    ];
    check(cases).await;
}

#[tokio::test]
async fn the_canonical_form_is_read_in_any_case_too() {
    let cases = vec![
        case(json!({"symbol":"BTCUSDT","side":"BUY","quantity":"1","order_type":"market"}), json!("Market")),
        case(json!({"symbol":"BTCUSDT","side":"sell","quantity":"1","order_type":"MARKET"}), json!("Market")),
        Case {
            time_in_force: json!("FOK"),
            ..case(
                json!({"symbol":"BTCUSDT","side":"Buy","quantity":"1","order_type":{"Limit":{"price":"45000"}},
                       "time_in_force":"fok"}),
                json!({"Limit":{"price":"45000"}}),
            )
        },
    ];
    check(cases).await;
}

#[tokio::test]
async fn the_names_of_stop_and_touch_orders_are_understood() {
    let order = |kind: &str, prices: Value| {
        let order = json!({"symbol":"BTCUSDT","side":"SELL","type":kind,"quantity":"1"});
        crate::harness::with(order, prices)
    };
    let cases = vec![
        case(order("STOP_LOSS", json!({"stopPrice": 44000.5})), json!({"Stop": {"stop_price": "44000.5"}})),
        case(order("STOP_LOSS", json!({"stop_price": "44000"})), json!({"Stop": {"stop_price": "44000"}})),
        case(
            order("stop_loss_limit", json!({"stopPrice": "44000", "price": "43900"})),
            json!({"StopLimit": {"stop_price": "44000", "limit_price": "43900"}}),
        ),
        case(
            order("TAKE_PROFIT", json!({"stopPrice": "47000"})),
            json!({"MarketIfTouched": {"trigger_price": "47000"}}),
        ),
        case(
            order("TAKE_PROFIT_LIMIT", json!({"stopPrice": "47000", "price": "46900"})),
            json!({"LimitIfTouched": {"trigger_price": "47000", "limit_price": "46900"}}),
        ),
    ];
    check(cases).await;
}

#[tokio::test]
async fn a_price_that_the_type_does_not_take_or_lacks_is_refused() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let cases = [
        // (fields beside symbol, side and quantity; what the error must name)
        (json!({"type": "MARKET", "price": "45000"}), "price"),
        (json!({"type": "MARKET", "stopPrice": "45000"}), "stop"),
        (json!({"type": "LIMIT", "price": "45000", "stopPrice": "44000"}), "stop"),
        (json!({"type": "LIMIT"}), "price"),
        (json!({"type": "LIMIT_MAKER"}), "price"),
        (json!({"type": "STOP_LOSS"}), "stop"),
        (json!({"type": "STOP_LOSS", "stopPrice": "44000", "price": "1"}), "price"),
        (json!({"type": "STOP_LOSS_LIMIT", "price": "44000"}), "stop"),
        (json!({"type": "STOP_LOSS_LIMIT", "stopPrice": "44000"}), "price"),
        (json!({"order_type": {"Limit": {}}}), "price"),
        (json!({"order_type": {"Limit": {"price": "45000", "stop_price": "44000"}}}), "stop_price"),
        (json!({"order_type": {"Limit": {"price": "45000"}}, "price": "45000"}), "price"),
        (json!({"order_type": "Limit"}), "price"),
        (json!({"type": "LIMIT", "price": "0"}), "price"),
        (json!({"type": "LIMIT", "price": "-1"}), "price"),
    ];
    let base = json!({"symbol": "BTCUSDT", "side": "BUY", "quantity": "1"});
    let orders: Vec<_> =
        cases.iter().map(|(more, _)| crate::harness::with(base.clone(), more.clone())).collect();
    let entries = lab.submit_all(&orders).await;
    for ((_, named), outcome) in cases.iter().zip(lab.outcomes(&entries).await) {
        outcome.is_failed_as(&["INVALID_PAYLOAD", "VALIDATION_FAILED"]).names(&[named]);
    }
    assert_eq!(lab.length("completed").await, 0);
}
