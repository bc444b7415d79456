//! The simulated exchange: what fills, at which price, how much of it, and what it costs.

use crate::harness::{
    Lab, Settings, assert_decimal, assert_timestamp, decimal, eventually, limit, market, with,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::time::Instant;

fn ioc(order: Value) -> Value {
    with(order, json!({"time_in_force": "IOC"}))
}

fn fok(order: Value) -> Value {
    with(order, json!({"time_in_force": "FOK"}))
}

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[tokio::test]
async fn market_and_marketable_limit_orders_fill_at_the_quote() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    let cases = [
        (market("market-buy", "GOLD", "Buy", "1"), "100"),
        (market("market-sell", "GOLD", "Sell", "1"), "99"),
        (limit("limit-buy", "GOLD", "Buy", "1", "101"), "100"),
        (limit("limit-buy-at", "GOLD", "Buy", "1", "100"), "100"),
        (limit("limit-sell", "GOLD", "Sell", "1", "98"), "99"),
        (limit("limit-sell-at", "GOLD", "Sell", "1", "99"), "99"),
        (ioc(limit("ioc", "GOLD", "Buy", "1", "100")), "100"),
        (fok(limit("fok", "GOLD", "Buy", "1", "100")), "100"),
        (ioc(market("ioc-market", "GOLD", "Buy", "1")), "100"),
        (fok(market("fok-market", "GOLD", "Sell", "1")), "99"),
    ];
    for (order, price) in cases {
        let outcome = lab.execute(&order).await;
        outcome.is_completed("Filled");
        assert_decimal(&outcome.order()["average_fill_price"], price);
    }
}

#[tokio::test]
async fn a_quote_counts_from_the_moment_it_is_written_and_before_a_configured_price() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for (n, price) in ["44000", "44001.5", "43999"].into_iter().enumerate() {
        lab.trade_at("BTCUSDT", price).await;
        let outcome = lab.execute(&market(&format!("fresh-{n}"), "BTCUSDT", "Buy", "1")).await;
        outcome.is_completed("Filled");
        assert_decimal(&outcome.order()["average_fill_price"], price);
    }
}

#[tokio::test]
async fn a_resting_order_is_completed_when_accepted_and_fills_as_the_quote_moves() {
    let lab = Lab::new().await;
    let status = lab.watch("status").await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    for (id, side, price) in [("bid", "Buy", "98"), ("offer", "Sell", "102")] {
        let outcome = lab.execute(&limit(id, "GOLD", side, "2", price)).await;
        outcome.is_completed("Acknowledged");
        assert_decimal(&outcome.order()["filled_quantity"], "0");
        assert_decimal(&outcome.order()["remaining_quantity"], "2");
        assert_eq!(outcome.order()["average_fill_price"], Value::Null);
    }
    lab.quote("GOLD", "97", "97.5", &[]).await;
    let bid = lab.state_becomes("bid", "Filled").await;
    let price = decimal(&bid["average_fill_price"]);
    assert!(price <= dec("98") && price >= dec("97.5"), "a buy at 98 met 97.5 and filled at {price}");
    assert_eq!(lab.state("offer").await.unwrap()["status"], "Acknowledged");
    lab.quote("GOLD", "102", "103", &[]).await;
    let offer = lab.state_becomes("offer", "Filled").await;
    assert_decimal(&offer["average_fill_price"], "102");
    assert_decimal(&offer["filled_quantity"], "2");
    eventually("the message of the fill", async || {
        status.about("offer").into_iter().find(|m| m["status"] == "Filled")
    })
    .await;
    assert_eq!(lab.length("completed").await, 2, "a later fill is no second outcome");
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn a_resting_order_survives_the_worker_that_took_it() {
    let lab = Lab::new().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    let mut worker = lab.worker().await;
    lab.execute(&limit("patient", "GOLD", "Buy", "1", "98")).await.is_completed("Acknowledged");
    assert_eq!(worker.terminate().await, 0);
    lab.quote("GOLD", "96", "97", &[]).await;
    let _next = lab.worker().await;
    lab.state_becomes("patient", "Filled").await;
}

#[tokio::test]
async fn what_the_quote_offers_bounds_an_ioc_and_its_rest_is_cancelled() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[("bid_size", "4"), ("ask_size", "3")]).await;
    let bought = lab.execute(&ioc(limit("bought", "GOLD", "Buy", "5", "100"))).await;
    bought.is_completed("Cancelled");
    assert_decimal(&bought.order()["filled_quantity"], "3");
    assert_decimal(&bought.order()["average_fill_price"], "100");
    let sold = lab.execute(&ioc(limit("sold", "GOLD", "Sell", "5", "99"))).await;
    sold.is_completed("Cancelled");
    assert_decimal(&sold.order()["filled_quantity"], "4");
    let missed = lab.execute(&ioc(limit("missed", "GOLD", "Buy", "1", "99.99"))).await;
    missed.is_completed("Cancelled");
    assert_decimal(&missed.order()["filled_quantity"], "0");
    assert_decimal(&lab.position("GOLD").await["quantity"], "-1");
}

#[tokio::test]
async fn a_fok_fills_whole_or_not_at_all() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[("bid_size", "3"), ("ask_size", "3")]).await;
    let cases = [
        (fok(limit("too-much", "GOLD", "Buy", "3.1", "100")), "Cancelled", "0"),
        (fok(limit("too-cheap", "GOLD", "Buy", "1", "99")), "Cancelled", "0"),
        (fok(limit("whole", "GOLD", "Buy", "3", "100")), "Filled", "3"),
        (fok(limit("sold-out", "GOLD", "Buy", "0.1", "100")), "Cancelled", "0"),
    ];
    for (order, status, filled) in cases {
        let outcome = lab.execute(&order).await;
        outcome.is_completed(status);
        assert_decimal(&outcome.order()["filled_quantity"], filled);
    }
}

#[tokio::test]
async fn the_size_of_a_quote_is_spent_once_by_all_orders_and_renewed_by_the_next() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[("bid_size", "5"), ("ask_size", "5")]).await;
    let mut orders =
        vec![("a", "3", "Filled", "3"), ("b", "3", "Cancelled", "2"), ("c", "1", "Cancelled", "0")];
    for _ in 0..2 {
        for (id, quantity, status, filled) in orders {
            let outcome = lab.execute(&ioc(limit(id, "GOLD", "Buy", quantity, "100"))).await;
            outcome.is_completed(status);
            assert_decimal(&outcome.order()["filled_quantity"], filled);
        }
        lab.quote("GOLD", "99", "100", &[("bid_size", "4"), ("ask_size", "4")]).await;
        orders = vec![("d", "1", "Filled", "1"), ("e", "4", "Cancelled", "3")];
    }
}

#[tokio::test]
async fn a_burst_from_two_workers_cannot_overspend_a_quote() {
    let lab = Lab::new().await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[("bid_size", "7"), ("ask_size", "7")]).await;
    let orders: Vec<_> = (0..30).map(|n| ioc(limit(&format!("q-{n}"), "GOLD", "Buy", "1", "100"))).collect();
    let entries = lab.submit_all(&orders).await;
    let outcomes = lab.outcomes(&entries).await;
    assert_eq!(outcomes.iter().filter(|o| o.status() == "Filled").count(), 7);
    assert_decimal(&lab.position("GOLD").await["quantity"], "7");
}

#[tokio::test]
async fn a_limit_order_fills_in_parts_and_its_average_is_weighted() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[("bid_size", "2"), ("ask_size", "2")]).await;
    let outcome = lab.execute(&limit("parts", "GOLD", "Buy", "5", "100")).await;
    outcome.is_completed("PartiallyFilled");
    let part = &outcome.order()["status"]["PartiallyFilled"];
    assert_decimal(&part["filled_qty"], "2");
    assert_decimal(&part["last_fill_price"], "100");
    chrono::DateTime::parse_from_rfc3339(part["last_fill_time"].as_str().expect("a time")).unwrap();
    assert_decimal(&outcome.order()["remaining_quantity"], "3");

    lab.quote("GOLD", "97", "98", &[("bid_size", "2"), ("ask_size", "10")]).await;
    let state = lab.state_becomes("parts", "Filled").await;
    assert_decimal(&state["filled_quantity"], "5");
    assert_decimal(&state["remaining_quantity"], "0");
    let average = decimal(&state["average_fill_price"]);
    // The rest met 98: at the quote (2·100 + 3·98) / 5, or at its own limit.
    assert!([dec("98.8"), dec("100")].contains(&average), "an average of {average}");
    let position = lab.position("GOLD").await;
    assert_eq!(decimal(&position["average_price"]), average);
}

#[tokio::test]
async fn a_post_only_order_that_would_cross_is_rejected_and_rests_otherwise() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    let post_only = |order| with(order, json!({"execution_instructions": {"post_only": true}}));
    let cases = [
        (limit("buy-crosses", "GOLD", "Buy", "1", "100"), true),
        (limit("sell-crosses", "GOLD", "Sell", "1", "99"), true),
        (limit("buy-rests", "GOLD", "Buy", "1", "99.99"), false),
        (limit("sell-rests", "GOLD", "Sell", "1", "99.01"), false),
    ];
    for (order, crosses) in cases {
        let outcome = lab.execute(&post_only(order)).await;
        if crosses {
            outcome.is_failed("BROKER_REJECTED");
            assert_eq!(outcome.status(), "Rejected");
            assert!(outcome.order()["status"]["Rejected"]["reason"].is_string());
        } else {
            outcome.is_completed("Acknowledged");
        }
    }
}

#[tokio::test]
async fn failure_rate_one_rejects_every_submission() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.failure_rate", "1");
    })
    .await;
    let _worker = lab.worker().await;
    for (id, order) in
        [("m", market("m", "BTCUSDT", "Buy", "1")), ("l", limit("l", "BTCUSDT", "Buy", "1", "1000"))]
    {
        let outcome = lab.execute(&order).await;
        outcome.is_failed("BROKER_REJECTED");
        assert_eq!(outcome.status(), "Rejected");
        assert!(lab.state(id).await.unwrap()["status"]["Rejected"]["reason"].is_string());
    }
    assert_eq!(lab.trades().await.0, 0);
}

/// Which of 64 orders with given ids are rejected at a failure rate of one half.
async fn draws(seed: &str) -> Vec<bool> {
    let lab = Lab::with(|s| {
        s.text("broker.mock.failure_rate", "0.5").set("broker.mock.seed", seed);
    })
    .await;
    let _worker = lab.worker().await;
    let order = |n: u32| {
        let id = json!({"id": format!("0190a1b2-0000-7000-8000-{n:012}")});
        with(market(&format!("draw-{n}"), "BTCUSDT", "Buy", "1"), id)
    };
    let entries = lab.submit_all(&(0..64).map(order).collect::<Vec<_>>()).await;
    let outcomes = lab.outcomes(&entries).await;
    outcomes.iter().map(|o| o.completed || o.is_failed("BROKER_REJECTED").completed).collect()
}

#[tokio::test]
async fn one_seed_draws_the_same_every_time_and_another_seed_differently() {
    let (first, second, other) = (draws("42").await, draws("42").await, draws("43").await);
    assert_eq!(first, second);
    assert_ne!(first, other);
    let accepted = first.iter().filter(|accepted| **accepted).count();
    assert!((12..=52).contains(&accepted), "{accepted} of 64 at a rate of one half");
}

#[tokio::test]
async fn slippage_is_bounded_and_never_goes_beyond_a_limit() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.slippage_pct", "1").price("COAL", "100");
    })
    .await;
    let _worker = lab.worker().await;
    let mut prices = Vec::new();
    for n in 0..10 {
        for (side, low, high) in [("Buy", "100", "101"), ("Sell", "99", "100")] {
            let outcome = lab.execute(&market(&format!("slip-{n}-{side}"), "COAL", side, "1")).await;
            outcome.is_completed("Filled");
            let price = decimal(&outcome.order()["average_fill_price"]);
            assert!(price >= dec(low) && price <= dec(high), "{side} at 100 slipped to {price}");
            prices.push(price);
        }
        let limited = lab.execute(&ioc(limit(&format!("limited-{n}"), "COAL", "Buy", "1", "100"))).await;
        if limited.status() == "Filled" {
            assert_decimal(&limited.order()["average_fill_price"], "100");
        }
    }
    assert!(prices.iter().any(|p| *p != dec("100")), "nothing slipped: {prices:?}");
}

#[tokio::test]
async fn commission_is_charged_where_it_is_configured() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.commission_pct", "0.1").price("COAL", "100");
    })
    .await;
    let _worker = lab.worker().await;
    let outcome = lab.execute(&market("charged", "COAL", "Buy", "2")).await;
    outcome.is_completed("Filled");
    let order = outcome.order();
    assert_decimal(&order["commission"], "0.2");
    let assets = order["commissions"].as_object().expect("`commissions` is an object by asset");
    assert_eq!(assets.values().map(decimal).sum::<Decimal>(), dec("0.2"), "{assets:?}");
    let sold = lab.execute(&market("charged-too", "COAL", "Sell", "1")).await;
    assert_decimal(&sold.order()["commission"], "0.1");
    assert_decimal(&lab.position("COAL").await["commission"], "0.3");
}

#[tokio::test]
async fn latency_is_waited_for_once_for_a_whole_batch() {
    let slow = |s: &mut Settings| {
        s.set("broker.mock.latency_ms", "300");
    };
    let lab = Lab::with(slow).await;
    let _worker = lab.worker().await;
    let orders: Vec<_> = (0..40).map(|n| market(&format!("slow-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let started = Instant::now();
    let entries = lab.submit_all(&orders).await;
    let outcomes = lab.outcomes(&entries).await;
    let took = started.elapsed();
    assert!(took.as_millis() < 6000, "40 orders at 300 ms each took {took:?}: one after the other");
    for outcome in outcomes {
        let answered = assert_timestamp(outcome.is_completed("Filled").text("timestamp"));
        let order = outcome.order();
        let created = chrono::DateTime::parse_from_rfc3339(order["created_at"].as_str().unwrap()).unwrap();
        let waited = answered - created.to_utc();
        assert!(waited.num_milliseconds() >= 150, "answered after {waited}");
    }
}
