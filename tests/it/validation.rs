//! Checks before sending that are not risk: the symbol, its grid, what the broker has, a request's age.

use crate::harness::{Lab, assert_decimal, limit, market, rfc3339, with};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

#[tokio::test]
async fn a_symbol_without_price_or_quote_does_not_exist() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let outcome = lab.execute(&market("lost", "DOGEUSDT", "Buy", "1")).await;
    outcome.is_failed("UNKNOWN_SYMBOL").names(&["DOGEUSDT"]);
    assert_eq!(outcome.status(), "Rejected");
    assert_eq!(outcome.text("request"), "submit");
    assert_eq!(outcome.order()["symbol"], "DOGEUSDT");
    assert!(!outcome.entry.has("payload"), "what decoded is told as an order: {}", outcome.entry);
}

#[tokio::test]
async fn the_grid_of_an_instrument_is_kept_and_never_rounded_to() {
    let rules = r#"{ tick_size = "0.01", step_size = "0.001", min_quantity = "0.002", max_quantity = "100", min_notional = "10" }"#;
    let lab = Lab::with(|s| {
        s.instrument("BTCUSDT", rules);
    })
    .await;
    let _worker = lab.worker().await;
    // (quantity, limit price, none where it passes, else what the error names)
    let cases: [(&str, &str, Option<[&str; 2]>); 14] = [
        ("0.002", "44000", None),
        ("0.001", "44000", Some(["quantity", "0.002"])),
        ("0.0019999", "44000", Some(["quantity", "0.00"])),
        ("0.0025", "44000", Some(["quantity", "0.001"])),
        ("0.0030000000001", "44000", Some(["quantity", "0.001"])),
        ("0.0030", "44000", None),
        ("100", "44000", None),
        ("100.001", "44000", Some(["quantity", "100"])),
        ("1", "44000.01", None),
        ("1", "44000.010", None),
        ("1", "44000.005", Some(["price", "0.01"])),
        ("1", "44000.0100000001", Some(["price", "0.01"])),
        ("0.002", "5000", None),
        ("0.002", "4999.99", Some(["notional", "10"])),
    ];
    let orders: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(n, (quantity, price, _))| limit(&format!("grid-{n}"), "BTCUSDT", "Buy", quantity, price))
        .collect();
    let entries = lab.submit_all(&orders).await;
    for ((quantity, price, refused), outcome) in cases.into_iter().zip(lab.outcomes(&entries).await) {
        println!("{quantity} at {price}: {}", outcome.entry);
        match refused {
            None => _ = outcome.is_completed("Acknowledged"),
            Some([field, bound]) => {
                _ = outcome.is_failed("VALIDATION_FAILED").names(&[field]).names(&[bound])
            }
        }
        assert_decimal(&outcome.order()["quantity"], quantity);
        assert_decimal(&outcome.order()["order_type"]["Limit"]["price"], price);
    }
    lab.execute(&market("market-step", "BTCUSDT", "Buy", "0.0025")).await.is_failed("VALIDATION_FAILED");
    lab.execute(&market("market-fits", "BTCUSDT", "Buy", "0.003")).await.is_completed("Filled");
}

#[tokio::test]
async fn what_the_broker_does_not_have_is_refused_and_nothing_is_sent() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let market = || json!({"symbol": "BTCUSDT", "side": "Buy", "quantity": "1", "order_type": "Market"});
    let limit = || with(market(), json!({"order_type": {"Limit": {"price": "44000"}}}));
    let kind = |order_type: Value| with(market(), json!({"order_type": order_type}));
    let other = "0190a1b2-0000-7000-8000-000000000001";
    let cases = [
        kind(json!({"Iceberg": {"display_quantity": "0.1", "total_quantity": "1", "variance": null}})),
        kind(json!({"Custom": {"algorithm": "TWAP", "params": {}}})),
        with(limit(), json!({"time_in_force": "MOC"})),
        with(limit(), json!({"time_in_force": "LOC"})),
        with(
            limit(),
            json!({"conditions": [
            {"condition_type": "Price", "trigger_value": "44000", "comparison": "GreaterOrEqual"}]}),
        ),
        with(limit(), json!({"linked_orders": [other]})),
        with(limit(), json!({"parent_order_id": other})),
        with(kind(json!({"Stop": {"stop_price": "46000"}})), json!({"max_slippage": "0.5"})),
        with(limit(), json!({"execution_instructions": {"allow_partial_fills": false}})),
        with(limit(), json!({"execution_instructions": {"display_size": "0.1"}})),
    ];
    let entries = lab.submit_all(&cases).await;
    for (order, outcome) in cases.iter().zip(lab.outcomes(&entries).await) {
        println!("{order}: {}", outcome.entry);
        outcome.is_failed("UNSUPPORTED_BY_BROKER");
        assert_eq!(outcome.status(), "Rejected");
        assert_eq!(outcome.order()["symbol"], "BTCUSDT", "it decoded, so the outcome shows it");
    }
    assert_eq!(lab.length("events").await, 0, "no order is made");
    assert_eq!(lab.length("completed").await, 0);
}

#[tokio::test]
async fn instructions_that_ask_for_nothing_are_no_obstacle() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let instructions = [
        json!({"execution_instructions": {"post_only": false, "reduce_only": false}}),
        json!({"execution_instructions": {"urgency": "High", "would_price_improve": true}}),
        json!({"execution_instructions": {"allow_partial_fills": true}}),
        json!({"execution_instructions": {"allow_partial_fills": false}, "time_in_force": "FOK"}),
        json!({"position_size_check": true}),
        json!({"position_size_check": false}),
    ];
    for (n, more) in instructions.into_iter().enumerate() {
        let order = with(limit(&format!("easy-{n}"), "BTCUSDT", "Buy", "1", "45000"), more);
        lab.execute(&order).await.is_completed("Filled");
    }
}

#[tokio::test]
async fn a_request_that_is_too_old_expires() {
    let lab = Lab::with(|s| {
        s.set("worker.max_request_age_ms", "60000");
    })
    .await;
    let _worker = lab.worker().await;
    let made = |seconds_ago| rfc3339(Utc::now() - TimeDelta::seconds(seconds_ago));
    // (seconds since it was made, none without a timestamp; carried out)
    let cases = [(Some(3600), false), (Some(61), false), (Some(20), true), (Some(0), true), (None, true)];
    for (n, (age, carried_out)) in cases.into_iter().enumerate() {
        let order = market(&format!("aged-{n}"), "BTCUSDT", "Buy", "1").to_string();
        let time = age.map(made);
        let mut fields = vec![("order", order.as_bytes())];
        fields.extend(time.as_ref().map(|t| ("timestamp", t.as_bytes())));
        let entry = lab.add(&fields).await;
        let outcome = lab.outcome(&entry).await;
        if carried_out {
            outcome.is_completed("Filled");
        } else {
            outcome.is_failed("REQUEST_EXPIRED").names(&["60000", "60 s", "60s", "1 min"]);
            assert_eq!(lab.state(&format!("aged-{n}")).await, None);
        }
    }
}

#[tokio::test]
async fn by_default_no_request_is_too_old() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = market("ancient", "BTCUSDT", "Buy", "1").to_string();
    let entry = lab.add(&[("order", order.as_bytes()), ("timestamp", b"1999-12-31T23:59:59Z")]).await;
    lab.outcome(&entry).await.is_completed("Filled");
}
