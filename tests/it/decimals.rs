//! Money and quantities stay exact from the JSON digits to every answer.

use crate::harness::{Lab, assert_decimal, decimal, market};
use rust_decimal::Decimal;

#[tokio::test]
async fn amounts_are_read_digit_by_digit_and_written_as_strings() {
    // A symbol each: together these digits are more than a position can hold.
    let lab = Lab::with(|s| {
        for n in 0..9 {
            s.price(&format!("ONE{n}"), "1");
        }
    })
    .await;
    let _worker = lab.worker().await;
    let cases = [
        // (as it stands in the JSON, exact)
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("\"0.1000000000000000055\"", "0.1000000000000000055"),
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740993"),
        ("12345678.90123456789012345678", "12345678.90123456789012345678"),
        ("\"1234567890.123456789012345678\"", "1234567890.123456789012345678"),
        ("1e-3", "0.001"),
        ("2.50E2", "250"),
        ("\"0.0000000000000000000000000001\"", "0.0000000000000000000000000001"),
    ];
    for (n, (written, exact)) in cases.into_iter().enumerate() {
        let id = format!("digits-{n}");
        let order = format!(
            r#"{{"client_order_id":"{id}","symbol":"ONE{n}","side":"Buy","quantity":{written},"order_type":"Market"}}"#
        );
        let entry = lab.add(&[("order", order.as_bytes())]).await;
        let outcome = lab.outcome(&entry).await;
        outcome.is_completed("Filled");
        let order = outcome.order();
        for field in ["quantity", "filled_quantity"] {
            assert_decimal(&order[field], exact);
        }
        assert_decimal(&lab.state(&id).await.unwrap()["filled_quantity"], exact);
    }
}

#[tokio::test]
async fn what_a_position_could_not_hold_exactly_is_refused_and_never_rounded() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&market("large", "ONE", "Buy", "9007199254740993")).await.is_completed("Filled");
    let fine = market("fine", "ONE", "Buy", "0.0000000000000000000000000001");
    lab.execute(&fine).await.is_failed("VALIDATION_FAILED").names(&["digits", "quantity"]);
    assert_decimal(&lab.position("ONE").await["quantity"], "9007199254740993");
}

#[tokio::test]
async fn a_limit_price_keeps_every_digit() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = r#"{"client_order_id":"price","symbol":"ONE","side":"Buy","quantity":"1",
        "order_type":{"Limit":{"price":0.3000000000000000166533453694}}}"#;
    let entry = lab.add(&[("order", order.as_bytes())]).await;
    let outcome = lab.outcome(&entry).await;
    outcome.is_completed("Acknowledged");
    assert_decimal(&outcome.order()["order_type"]["Limit"]["price"], "0.3000000000000000166533453694");
}

#[tokio::test]
async fn a_tenth_and_two_tenths_are_three_tenths() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for (id, quantity) in [("tenth", "0.1"), ("two-tenths", "0.2")] {
        lab.execute(&market(id, "BTCUSDT", "Buy", quantity)).await.is_completed("Filled");
    }
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "0.3");
    // Two hundred tenths, which a float sum misses.
    let orders: Vec<_> = (0..200).map(|n| market(&format!("t-{n}"), "ETHUSDT", "Sell", "0.1")).collect();
    let entries = lab.submit_all(&orders).await;
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
    let position = lab.position("ETHUSDT").await;
    assert_eq!(decimal(&position["quantity"]), Decimal::from(-20));
    assert_decimal(&position["average_price"], "3000");
}
