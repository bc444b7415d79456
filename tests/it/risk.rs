//! The seven keys of a `risk.limits` row and the reference price: each at, just under and just over.

use crate::harness::{Lab, Limits, Outcome, assert_timestamp, eventually, limit, market, rfc3339};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

async fn limited(key: &str, value: &str) -> Lab {
    let row = Limits::unlimited("*").with(key, value);
    Lab::with(|s| {
        s.limits([row]);
    })
    .await
}

/// Sends the orders one after the other; an order passes where its `refused` is none, else with that code.
async fn check(lab: &Lab, cases: impl IntoIterator<Item = (Value, Option<&str>)>) {
    for (order, refused) in cases {
        let outcome = lab.execute(&order).await;
        println!("{order}: {}", outcome.entry);
        match refused {
            None => assert!(outcome.completed, "{order} was refused: {}", outcome.entry),
            Some(code) => check_refusal(&outcome, code, &order),
        }
    }
}

fn check_refusal(outcome: &Outcome, code: &str, order: &Value) {
    outcome.is_failed(code).names(&[order["symbol"].as_str().unwrap()]);
    assert_eq!(outcome.status(), "Rejected");
    assert!(outcome.order()["status"]["Rejected"]["reason"].is_string(), "{}", outcome.order()["status"]);
}

#[tokio::test]
async fn order_quantity() {
    let over = Some("RISK_MAX_ORDER_QUANTITY");
    let lab = limited("max_order_quantity", "\"10\"").await;
    let _worker = lab.worker().await;
    let cases =
        [("10", None), ("9.9999999999", None), ("10.0000000001", over), ("10.000", None), ("11", over)];
    let orders = cases.iter().enumerate().flat_map(|(n, (quantity, refused))| {
        let sides = [("Buy", "b"), ("Sell", "s")];
        sides.map(|(side, tag)| (market(&format!("{tag}-{n}"), "BTCUSDT", side, quantity), *refused))
    });
    check(&lab, orders).await;
    let outcome = lab.execute(&market("worded", "BTCUSDT", "Buy", "12.5")).await;
    outcome.is_failed("RISK_MAX_ORDER_QUANTITY").names(&["12.5"]).names(&["10"]);
}

#[tokio::test]
async fn a_refusal_by_risk_is_an_order_with_a_history() {
    let lab = limited("max_order_quantity", "\"10\"").await;
    let status = lab.watch("status").await;
    let _worker = lab.worker().await;
    let outcome = lab.execute(&market("denied", "BTCUSDT", "Buy", "11")).await;
    outcome.is_failed("RISK_MAX_ORDER_QUANTITY");
    let state = lab.state("denied").await.expect("a state");
    assert!(state["status"]["Rejected"]["reason"].is_string(), "{state}");
    let history = lab.history(&outcome.order_id()).await;
    assert_eq!(history.first().expect("events").text("first_version"), "1");
    assert_eq!(history.last().unwrap().text("status"), "Rejected");
    let message = eventually("the status message", async || status.about("denied").pop()).await;
    assert_eq!(message["status"], "Rejected");
    assert!(message["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{message}");
    assert_eq!(message["passed"].as_array().unwrap().last(), Some(&json!("Rejected")));
}

#[tokio::test]
async fn order_notional() {
    let over = Some("RISK_MAX_NOTIONAL");
    let lab = limited("max_order_notional", "\"45000\"").await;
    let _worker = lab.worker().await;
    let cases = [
        (market("at", "BTCUSDT", "Buy", "1"), None),
        (market("under", "BTCUSDT", "Sell", "0.9999999"), None),
        (market("over", "BTCUSDT", "Buy", "1.0000001"), over),
        (market("over-sold", "BTCUSDT", "Sell", "1.0000001"), over),
        // A limit order counts with its own price.
        (limit("limit-at", "BTCUSDT", "Buy", "2", "22500"), None),
        (limit("limit-over", "BTCUSDT", "Buy", "2", "22500.01"), over),
        (limit("limit-over-far", "BTCUSDT", "Sell", "1", "45000.01"), over),
        (limit("limit-under", "BTCUSDT", "Sell", "0.9", "50000"), None),
    ];
    check(&lab, cases).await;
}

#[tokio::test]
async fn a_market_order_counts_at_the_side_of_the_quote_that_it_meets() {
    let lab = limited("max_order_notional", "\"1000\"").await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "101", &[]).await;
    let cases = [
        (market("buy-over", "GOLD", "Buy", "10"), Some("RISK_MAX_NOTIONAL")),
        (market("sell-under", "GOLD", "Sell", "10"), None),
        (market("buy-under", "GOLD", "Buy", "9.9"), None),
        (market("sell-over", "GOLD", "Sell", "10.2"), Some("RISK_MAX_NOTIONAL")),
    ];
    check(&lab, cases).await;
}

#[tokio::test]
async fn price_collar() {
    let over = Some("RISK_PRICE_COLLAR");
    let lab = limited("price_collar_pct", "\"5\"").await;
    let _worker = lab.worker().await;
    lab.trade_at("GOLD", "100").await;
    let cases = [
        (limit("buy-low-at", "GOLD", "Buy", "1", "95"), None),
        (limit("buy-low-under", "GOLD", "Buy", "1", "95.01"), None),
        (limit("buy-low-over", "GOLD", "Buy", "1", "94.99"), over),
        (limit("buy-high-at", "GOLD", "Buy", "1", "105"), None),
        (limit("buy-high-over", "GOLD", "Buy", "1", "105.01"), over),
        (limit("sell-high-at", "GOLD", "Sell", "1", "105"), None),
        (limit("sell-high-over", "GOLD", "Sell", "1", "105.01"), over),
        (limit("sell-low-at", "GOLD", "Sell", "1", "95"), None),
        (limit("sell-low-over", "GOLD", "Sell", "1", "94.99"), over),
        (market("market", "GOLD", "Buy", "1"), None),
    ];
    check(&lab, cases).await;
}

#[tokio::test]
async fn worst_case_position_with_all_open_orders_of_one_side() {
    let over = Some("RISK_POSITION_LIMIT");
    let lab = limited("max_position", "\"10\"").await;
    let _worker = lab.worker().await;
    lab.trade_at("GOLD", "100").await;
    let cases = [
        (market("bought", "GOLD", "Buy", "6"), None),
        (limit("open-over", "GOLD", "Buy", "4.001", "90"), over),
        (limit("open-at", "GOLD", "Buy", "4", "90"), None),
        (market("full", "GOLD", "Buy", "0.001"), over),
        (limit("full-open", "GOLD", "Buy", "0.001", "80"), over),
        // Sells: 6 − 16 = −10 is the worst case of the other side, the open buy does not help.
        (limit("sell-over", "GOLD", "Sell", "16.001", "110"), over),
        (limit("sell-at", "GOLD", "Sell", "16", "110"), None),
        (limit("sell-full", "GOLD", "Sell", "0.001", "110"), over),
        // Another symbol has a position of its own.
        (market("other", "BTCUSDT", "Buy", "10"), None),
        (market("other-over", "BTCUSDT", "Buy", "0.001"), over),
    ];
    check(&lab, cases).await;
    // What is cancelled gives its room back.
    lab.cancel(&json!({"client_order_id": "open-at"})).await.is_completed("Cancelled");
    check(
        &lab,
        [(market("room", "GOLD", "Buy", "4"), None), (market("no-room", "GOLD", "Buy", "0.001"), over)],
    )
    .await;
    // What a resting order fills moves from open to held: 10 − 16 = −6.
    lab.quote("GOLD", "110", "111", &[]).await;
    lab.state_becomes("sell-at", "Filled").await;
    let cases = [
        (market("down-over", "GOLD", "Sell", "4.001"), over),
        (market("down-at", "GOLD", "Sell", "4"), None),
        (market("up-over", "GOLD", "Buy", "20.001"), over),
        (market("up-at", "GOLD", "Buy", "20"), None),
    ];
    check(&lab, cases).await;
}

#[tokio::test]
async fn a_burst_cannot_outrun_the_position_limit() {
    let lab = limited("max_position", "\"10\"").await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    let orders: Vec<_> = (0..60).map(|n| market(&format!("rush-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&orders).await;
    let outcomes = lab.outcomes(&entries).await;
    let (passed, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.completed);
    assert_eq!(passed.len(), 10);
    for outcome in refused {
        outcome.is_failed("RISK_POSITION_LIMIT");
    }
    crate::harness::assert_decimal(&lab.position("BTCUSDT").await["quantity"], "10");
}

#[tokio::test]
async fn a_symbol_without_limits_is_not_traded_and_its_own_row_comes_before_the_default() {
    let rows = [Limits::unlimited("BTCUSDT")];
    let own = Lab::with(|s| {
        s.limits(rows);
    })
    .await;
    let none = Lab::with(|s| {
        s.limits([]);
    })
    .await;
    let both = Lab::with(|s| {
        let small = Limits::unlimited("ETHUSDT").with("max_order_quantity", "\"1\"");
        let large = Limits::unlimited("*").with("max_order_quantity", "\"5\"");
        s.limits([large, small]);
    })
    .await;
    let unlimited = Some("RISK_NO_LIMITS");
    let _workers = (own.worker().await, none.worker().await, both.worker().await);
    let cases = [
        (market("with", "BTCUSDT", "Buy", "1"), None),
        (market("without", "ETHUSDT", "Buy", "1"), unlimited),
    ];
    check(&own, cases).await;
    check(&none, [(market("nothing", "BTCUSDT", "Buy", "1"), unlimited)]).await;
    let cases = [
        (market("default", "BTCUSDT", "Buy", "5"), None),
        (market("default-over", "BTCUSDT", "Buy", "6"), Some("RISK_MAX_ORDER_QUANTITY")),
        (market("own", "ETHUSDT", "Buy", "1"), None),
        (market("own-over", "ETHUSDT", "Buy", "2"), Some("RISK_MAX_ORDER_QUANTITY")),
    ];
    check(&both, cases).await;
}

#[tokio::test]
async fn without_a_reference_price_nothing_is_traded() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let now = rfc3339(Utc::now());
    lab.quote_fields("BARE", &[("timestamp", &now), ("source", "test")]).await;
    lab.quote_fields("WORDS", &[("timestamp", &now), ("bid", "cheap"), ("ask", "dear"), ("last", "NaN")])
        .await;
    lab.quote_fields("NOUGHT", &[("timestamp", &now), ("bid", "0"), ("ask", "0"), ("last", "0")]).await;
    for symbol in ["BARE", "WORDS", "NOUGHT"] {
        let none = Some("RISK_NO_REFERENCE_PRICE");
        let id = |kind: &str| format!("{symbol}-{kind}");
        check(&lab, [(market(&id("market"), symbol, "Buy", "1"), none)]).await;
        check(&lab, [(limit(&id("limit"), symbol, "Sell", "1", "10"), none)]).await;
    }
}

#[tokio::test]
async fn a_stale_price_is_none() {
    let lab = Lab::with(|s| {
        s.set("risk.max_quote_age_ms", "60000");
    })
    .await;
    let _worker = lab.worker().await;
    let stale = Some("RISK_STALE_PRICE");
    // (seconds since the quote was made, what becomes of an order)
    for (n, (age, refused)) in [(0, None), (30, None), (61, stale), (86_400, stale)].into_iter().enumerate() {
        let time = rfc3339(Utc::now() - TimeDelta::seconds(age));
        let quote = [("bid", "99"), ("ask", "101"), ("last", "100"), ("timestamp", time.as_str())];
        lab.quote_fields("GOLD", &quote).await;
        check(&lab, [(market(&format!("market-{n}"), "GOLD", "Buy", "1"), refused)]).await;
        check(&lab, [(limit(&format!("limit-{n}"), "GOLD", "Buy", "1", "100"), refused)]).await;
    }
    // A fresh quote mends it; a price from the configuration does not age.
    lab.trade_at("GOLD", "100").await;
    let cases =
        [(market("mended", "GOLD", "Buy", "1"), None), (market("configured", "BTCUSDT", "Buy", "1"), None)];
    check(&lab, cases).await;
}

#[tokio::test]
async fn order_rate_over_all_workers() {
    let lab = limited("max_orders_per_second", "5").await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    let orders: Vec<_> = (0..60).map(|n| market(&format!("fast-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&orders).await;
    let outcomes = lab.outcomes(&entries).await;
    let (passed, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.completed);
    assert!(passed.len() >= 5, "only {} passed", passed.len());
    assert!(!refused.is_empty(), "60 at once passed a limit of 5 a second");
    for outcome in refused {
        outcome.is_failed("RISK_ORDER_RATE").names(&["5"]);
    }
    // Six admitted orders span at least a second, whoever admitted them.
    let admitted = |o: &&Outcome| {
        let order = o.order();
        chrono::DateTime::parse_from_rfc3339(order["created_at"].as_str().unwrap()).unwrap()
    };
    let mut times: Vec<_> = passed.iter().map(admitted).collect();
    times.sort();
    for six in times.windows(6) {
        let span = six[5] - six[0];
        assert!(span >= TimeDelta::milliseconds(950), "six orders admitted within {span}: {times:?}");
    }
}

#[tokio::test]
async fn requests_that_the_rate_refused_do_not_count_against_it() {
    let lab = limited("max_orders_per_second", "5").await;
    let _worker = lab.worker().await;
    let burst: Vec<_> = (0..30).map(|n| market(&format!("burst-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&burst).await;
    lab.outcomes(&entries).await;
    // Hammering without a pause: were the refused ones counted, none would ever pass again.
    let mut tries = 0;
    eventually("an order to pass while many are refused", async || {
        tries += 1;
        lab.execute(&market(&format!("hammer-{tries}"), "BTCUSDT", "Buy", "1")).await.completed.then_some(())
    })
    .await;
    println!("passed at try {tries}");
}

#[tokio::test]
async fn daily_loss_unrealized_then_realized() {
    let over = Some("RISK_DAILY_LOSS");
    let lab = limited("max_daily_loss", "\"100\"").await;
    let _worker = lab.worker().await;
    lab.trade_at("GOLD", "1000").await;
    check(&lab, [(market("open", "GOLD", "Buy", "1"), None)]).await;
    lab.trade_at("GOLD", "900").await; // −100: at the limit
    check(&lab, [(market("at", "GOLD", "Buy", "0.01"), None)]).await;
    lab.trade_at("GOLD", "899.9").await; // −100 − 0.1 − 0.001: over it
    check(&lab, [(market("over", "GOLD", "Buy", "0.01"), over)]).await;
    check(&lab, [(limit("over-open", "GOLD", "Buy", "0.01", "800"), over)]).await;
    // What shrinks the position passes; the loss is then realized and still counts.
    check(&lab, [(market("close", "GOLD", "Sell", "1.01"), None)]).await;
    check(&lab, [(market("flat", "GOLD", "Buy", "0.01"), over)]).await;
    check(&lab, [(market("flat-short", "GOLD", "Sell", "0.01"), over)]).await;
}

#[tokio::test]
async fn commission_counts_as_a_loss() {
    for (bound, refused) in [("10", None), ("9.99", Some("RISK_DAILY_LOSS"))] {
        let lab = Lab::with(|s| {
            s.limits([Limits::unlimited("*").with("max_daily_loss", &format!("{bound:?}"))]);
            s.text("broker.mock.commission_pct", "1").price("COAL", "1000");
        })
        .await;
        let _worker = lab.worker().await;
        check(
            &lab,
            [(market("first", "COAL", "Buy", "1"), None), (market("second", "COAL", "Buy", "1"), refused)],
        )
        .await;
    }
}

#[tokio::test]
async fn times_of_a_refusal_are_told() {
    let lab = limited("max_order_quantity", "\"1\"").await;
    let _worker = lab.worker().await;
    let outcome = lab.execute(&market("timed", "BTCUSDT", "Buy", "2")).await;
    let told = assert_timestamp(outcome.text("timestamp"));
    assert!((Utc::now() - told).abs() < TimeDelta::minutes(1), "{told}");
}
