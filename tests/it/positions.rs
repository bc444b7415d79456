//! Weighted average cost and realized profit, told by `positions --json`.

use crate::harness::{Lab, Random, assert_decimal, decimal, market, seed};
use rust_decimal::Decimal;
use serde_json::Value;

/// Fills one order at exactly this price.
async fn fill(lab: &Lab, n: usize, side: &str, quantity: &str, price: &str) {
    lab.trade_at("GOLD", price).await;
    let outcome = lab.execute(&market(&format!("fill-{n}"), "GOLD", side, quantity)).await;
    outcome.is_completed("Filled");
    assert_decimal(&outcome.order()["average_fill_price"], price);
}

#[tokio::test]
async fn average_cost_and_realized_profit_through_a_flip() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    // (side, quantity, price; then: position, average price (none when flat), realized, unrealized at that price)
    let steps = [
        ("Buy", "10", "100", "10", Some("100"), "0", "0"),
        ("Buy", "10", "110", "20", Some("105"), "0", "100"),
        ("Sell", "5", "120", "15", Some("105"), "75", "225"),
        ("Sell", "25", "100", "-10", Some("100"), "0", "0"),
        ("Sell", "10", "90", "-20", Some("95"), "0", "100"),
        ("Buy", "5", "80", "-15", Some("95"), "75", "225"),
        ("Buy", "15", "97", "0", None, "45", "0"),
        ("Buy", "1", "50", "1", Some("50"), "45", "0"),
    ];
    for (n, (side, quantity, price, position, average, realized, unrealized)) in steps.into_iter().enumerate()
    {
        fill(&lab, n, side, quantity, price).await;
        let row = lab.position("GOLD").await;
        println!("{side} {quantity} at {price}: {row}");
        assert_decimal(&row["quantity"], position);
        if let Some(average) = average {
            assert_decimal(&row["average_price"], average);
        }
        assert_decimal(&row["realized_pnl"], realized);
        assert_decimal(&row["unrealized_pnl"], unrealized);
        assert_decimal(&row["commission"], "0");
        assert!(row["broker"].as_str().is_some_and(|b| !b.is_empty()), "{row}");
        assert!(row.get("broker_quantity").is_some(), "{row}");
    }
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn the_published_example_of_an_average_that_does_not_end() {
    // Trading Technologies, "Understanding P&L calculations": 12 at 100, 17 at 99, −9 at 101, −4 at 105, +3 at 103.
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let fills = [
        ("Buy", "12", "100"),
        ("Buy", "17", "99"),
        ("Sell", "9", "101"),
        ("Sell", "4", "105"),
        ("Buy", "3", "103"),
    ];
    for (n, (side, quantity, price)) in fills.into_iter().enumerate() {
        fill(&lab, n, side, quantity, price).await;
    }
    lab.trade_at("GOLD", "105").await;
    let row = lab.position("GOLD").await;
    assert_decimal(&row["quantity"], "19");
    let close = |value: &Value, expected: Decimal| {
        let difference = (decimal(value) - expected).abs();
        assert!(difference < Decimal::new(1, 9), "{value} is not {expected}");
    };
    // Average of the first 29: 2883/29. 16 of those are left when 3 at 103 come on top.
    let average = Decimal::from(2883) / Decimal::from(29);
    let realized = Decimal::from(9 * 101 + 4 * 105) - average * Decimal::from(13);
    let cost = average * Decimal::from(16) + Decimal::from(3 * 103);
    close(&row["average_price"], cost / Decimal::from(19));
    close(&row["realized_pnl"], realized);
    // The cash flow is −1863: realized and unrealized together are 19·105 − 1863.
    let total = decimal(&row["realized_pnl"]) + decimal(&row["unrealized_pnl"]);
    assert!((total - Decimal::from(132)).abs() < Decimal::new(1, 9), "{total} is not 132");
}

#[tokio::test]
async fn cash_and_position_balance_realized_and_unrealized_for_any_fills() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let mut random = Random(seed());
    let (mut cash, mut position, mut price) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    for n in 0..40 {
        let quantity = Decimal::new(i64::try_from(1 + random.below(3000)).unwrap(), 3);
        price = Decimal::new(i64::try_from(9000 + random.below(2000)).unwrap(), 2);
        let buy = random.below(2) == 0;
        fill(&lab, n, if buy { "Buy" } else { "Sell" }, &quantity.to_string(), &price.to_string()).await;
        let signed = if buy { quantity } else { -quantity };
        cash -= signed * price;
        position += signed;
    }
    let row = lab.position("GOLD").await;
    assert_eq!(decimal(&row["quantity"]), position);
    let told = decimal(&row["realized_pnl"]) + decimal(&row["unrealized_pnl"]);
    let due = cash + position * price;
    assert!((told - due).abs() < Decimal::new(1, 9), "told {told}, cash and position say {due}");
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn a_flat_position_is_told_too() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    fill(&lab, 0, "Buy", "3", "100").await;
    fill(&lab, 1, "Sell", "3", "101").await;
    let row = lab.position("GOLD").await;
    assert_decimal(&row["quantity"], "0");
    assert_decimal(&row["realized_pnl"], "3");
    assert_decimal(&row["unrealized_pnl"], "0");
}
