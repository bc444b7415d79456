//! Every order type under every time in force on either side, sent through Redis, at both simulated brokers: the one
//! inside the worker and the one that is a process of its own.

use crate::harness::{
    Exchange, Lab, Limits, Worker, assert_decimal, assert_timestamp, bare_status, eventually, limit, market,
    rfc3339, with,
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use std::time::Duration;

/// Where the orders go, and what moves the market there.
struct Desk {
    lab: Lab,
    exchange: Option<Exchange>,
}

impl Desk {
    /// Both kinds of simulated broker.
    async fn both() -> [Self; 2] {
        [Self::new(false).await, Self::new(true).await]
    }

    async fn new(remote: bool) -> Self {
        let mut lab = Lab::with(|s| {
            for symbol in SYMBOLS {
                s.price(symbol, "100");
            }
            s.limits([Limits::unlimited("*")]).set("risk.max_quote_age_ms", "600000");
        })
        .await;
        let exchange = remote.then(|| Exchange::start(&lab.config_dir(), &["--dedupe", "forever"]));
        if let Some(exchange) = &exchange {
            let url = exchange.url().to_owned();
            lab.adjust(|s| {
                s.text("broker.mock.url", &url);
            });
        }
        Self { lab, exchange }
    }

    /// The market at 0.1 around a price, which is the last price.
    async fn market(&self, symbol: &str, last: &str, size: Option<&str>) {
        let price: rust_decimal::Decimal = last.parse().unwrap();
        let tenth: rust_decimal::Decimal = "0.1".parse().unwrap();
        let (bid, ask) = ((price - tenth).to_string(), (price + tenth).to_string());
        match &self.exchange {
            None => {
                let sizes = size.map_or(vec![], |size| vec![("bid_size", size), ("ask_size", size)]);
                self.lab.quote(symbol, &bid, &ask, &sizes).await;
            }
            Some(exchange) => {
                let mut quote = json!({ "bid": bid, "ask": ask, "last": last });
                if let Some(size) = size {
                    (quote["bid_size"], quote["ask_size"]) = (json!(size), json!(size));
                }
                exchange.prices(json!({ symbol: quote })).await;
            }
        }
    }

    async fn ends(self, mut worker: Worker) {
        assert_eq!(worker.terminate().await, 0);
        self.lab.cli(&["replay"]).await.succeeded();
    }
}

const SYMBOLS: [&str; 3] = ["UP", "DOWN", "GOLD"];

/// A DAY order of these tests is not to meet midnight.
async fn not_at_midnight() {
    let left = 86_400 - Utc::now().timestamp().rem_euclid(86_400);
    if left < 120 {
        tokio::time::sleep(Duration::from_secs(u64::try_from(left).unwrap() + 1)).await;
    }
}

/// Each type so that a market that moves from 100 to 104 (UP) or 96 (DOWN) executes it, with that symbol.
fn types(side: &str) -> Vec<(&'static str, &'static str, Value)> {
    let (with, against) = if side == "Buy" { ("UP", "DOWN") } else { ("DOWN", "UP") };
    let (stop, beyond) = if side == "Buy" { ("103", "110") } else { ("97", "90") };
    let (touch, worse) = if side == "Buy" { ("97", "98") } else { ("103", "102") };
    vec![
        ("Market", with, json!("Market")),
        ("Limit", against, json!({"Limit": {"price": touch}})),
        ("Stop", with, json!({"Stop": {"stop_price": stop}})),
        ("StopLimit", with, json!({"StopLimit": {"stop_price": stop, "limit_price": beyond}})),
        ("TrailingStop", with, json!({"TrailingStop": {"distance": "3", "distance_type": "Absolute"}})),
        ("TrailingPercent", with, json!({"TrailingStop": {"distance": "3", "distance_type": "Percent"}})),
        ("MarketIfTouched", against, json!({"MarketIfTouched": {"trigger_price": touch}})),
        (
            "LimitIfTouched",
            against,
            json!({"LimitIfTouched": {"trigger_price": touch, "limit_price": worse}}),
        ),
    ]
}

#[tokio::test]
async fn every_type_under_every_time_in_force_on_either_side() {
    not_at_midnight().await;
    let tomorrow = rfc3339(Utc::now() + TimeDelta::days(1));
    let times = [
        ("GTC", json!("GTC")),
        ("GTD", json!({"GTD": {"expires_at": tomorrow}})),
        ("DAY", json!("DAY")),
        ("IOC", json!("IOC")),
        ("FOK", json!("FOK")),
        ("MOC", json!("MOC")),
        ("LOC", json!("LOC")),
    ];
    for desk in Desk::both().await {
        let lab = &desk.lab;
        let worker = lab.worker().await;
        let mut orders = Vec::new();
        // For each: what the outcome says, and what it comes to once the market has moved.
        let mut expected = Vec::new();
        for side in ["Buy", "Sell"] {
            for (name, symbol, order_type) in types(side) {
                for (tif, time_in_force) in &times {
                    let id = format!("{name}-{tif}-{side}");
                    let order = with(
                        market(&id, symbol, side, "1"),
                        json!({"order_type": order_type, "time_in_force": time_in_force}),
                    );
                    orders.push(order);
                    let (first, end) = match (name, *tif) {
                        (_, "MOC" | "LOC") => (Err("UNSUPPORTED_BY_BROKER"), None),
                        ("Market", _) => (Ok("Filled"), Some("Filled")),
                        ("Limit", "IOC" | "FOK") => (Ok("Cancelled"), Some("Cancelled")),
                        // A conditional order waits, whatever its time in force: that counts from its trigger on.
                        _ => (Ok("Acknowledged"), Some("Filled")),
                    };
                    expected.push((id, first, end));
                }
            }
        }
        assert_eq!(orders.len(), 8 * 7 * 2);
        let entries = lab.submit_all(&orders).await;
        let outcomes = lab.outcomes(&entries).await;
        for ((id, first, _), outcome) in expected.iter().zip(&outcomes) {
            println!("{id}: {}", outcome.entry);
            match first {
                Ok(status) => _ = outcome.is_completed(status),
                Err(code) => _ = outcome.is_failed(code),
            }
        }
        desk.market("UP", "102.9", None).await;
        desk.market("DOWN", "97.1", None).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (id, first, _) in &expected {
            if let Ok(status) = first {
                let state = lab.state(id).await.unwrap();
                assert_eq!(bare_status(&state["status"]), *status, "{id}: just before its price");
            }
        }
        desk.market("UP", "104", None).await;
        desk.market("DOWN", "96", None).await;
        for (id, _, end) in &expected {
            let Some(end) = end else {
                assert!(lab.state(id).await.is_none(), "{id}");
                continue;
            };
            let state = lab.state_becomes(id, end).await;
            let conditional = !id.starts_with("Market-") && !id.starts_with("Limit-");
            assert_eq!(state["triggered"] == json!(true), conditional, "{id}: {state}");
            assert_eq!(state.get("ends_at").is_some(), id.contains("GTD") || id.contains("DAY"), "{id}");
        }
        desk.ends(worker).await;
    }
}

#[tokio::test]
async fn what_a_trigger_sets_free_keeps_to_its_limit_and_its_time_in_force() {
    for desk in Desk::both().await {
        let lab = &desk.lab;
        let worker = lab.worker().await;
        let kind = json!({"StopLimit": {"stop_price": "103", "limit_price": "103.5"}});
        for tif in ["GTC", "IOC", "FOK"] {
            let order =
                with(market(tif, "UP", "Buy", "1"), json!({"order_type": kind, "time_in_force": tif}));
            lab.execute(&order).await.is_completed("Acknowledged");
        }
        desk.market("UP", "104", None).await;
        for tif in ["IOC", "FOK"] {
            lab.state_becomes(tif, "Cancelled").await;
        }
        let state = lab.state_becomes_with("GTC", |state| state["triggered"] == true).await;
        assert_eq!(state["status"], "Acknowledged");
        desk.market("UP", "103", None).await;
        let state = lab.state_becomes("GTC", "Filled").await;
        assert_decimal(&state["average_fill_price"], "103.5");
        // A size of 2 for an order of 3: all or none, or as much as there is.
        for (id, tif, filled) in [("part", "GTC", "2"), ("none", "FOK", "0")] {
            let order = with(
                market(id, "DOWN", "Sell", "3"),
                json!({"order_type": {"Stop": {"stop_price": "97"}}, "time_in_force": tif}),
            );
            lab.execute(&order).await.is_completed("Acknowledged");
            desk.market("DOWN", "96", Some("2")).await;
            let state = lab.state_becomes(id, "Cancelled").await;
            assert_decimal(&state["filled_quantity"], filled);
            desk.market("DOWN", "100", None).await;
        }
        desk.ends(worker).await;
    }
}

#[tokio::test]
async fn a_trailing_stop_keeps_its_mark_through_a_restart_of_everything() {
    for mut desk in Desk::both().await {
        let worker = desk.lab.worker().await;
        let kind = json!({"TrailingStop": {"distance": "2", "distance_type": "Absolute"}});
        let order = with(market("t", "UP", "Sell", "1"), json!({"order_type": kind}));
        desk.lab.execute(&order).await.is_completed("Acknowledged");
        desk.market("UP", "110", None).await;
        let state = desk.lab.state_becomes_with("t", |state| state["trailing"]["water_mark"] == "110").await;
        assert_decimal(&state["trailing"]["stop_price"], "108");
        worker.kill();
        if let Some(exchange) = &mut desk.exchange {
            exchange.kill();
            exchange.restart();
        }
        let worker = desk.lab.worker().await;
        desk.market("UP", "108.01", None).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(desk.lab.state("t").await.unwrap()["status"], "Acknowledged");
        desk.market("UP", "108", None).await;
        let state = desk.lab.state_becomes("t", "Filled").await;
        assert_decimal(&state["average_fill_price"], "107.9");
        desk.ends(worker).await;
    }
}

#[tokio::test]
async fn time_ends_orders_also_while_no_worker_runs() {
    for desk in Desk::both().await {
        let lab = &desk.lab;
        let worker = lab.worker().await;
        let soon = |ms| json!({"expire_time": rfc3339(Utc::now() + TimeDelta::milliseconds(ms))});
        let resting = with(limit("seen", "GOLD", "Buy", "1", "97"), soon(700));
        lab.execute(&resting).await.is_completed("Acknowledged");
        let state = lab.state_becomes("seen", "Expired").await;
        let ended = assert_timestamp(state["updated_at"].as_str().unwrap());
        assert!(ended >= assert_timestamp(state["ends_at"].as_str().unwrap()), "{state}");
        lab.cancel(&json!({"client_order_id": "seen"})).await.is_failed("ORDER_TERMINAL");

        let unseen = with(limit("unseen", "GOLD", "Buy", "1", "97"), soon(700));
        lab.execute(&unseen).await.is_completed("Acknowledged");
        let stop = json!({"order_type": {"Stop": {"stop_price": "103"}}});
        let waiting = with(with(market("waiting", "GOLD", "Buy", "1"), stop), soon(700));
        lab.execute(&waiting).await.is_completed("Acknowledged");
        worker.kill();
        tokio::time::sleep(Duration::from_millis(900)).await;
        // By now both would be executed, were they still there.
        desk.market("GOLD", "96", None).await;
        desk.market("GOLD", "104", None).await;
        let worker = lab.worker().await;
        for id in ["unseen", "waiting"] {
            let state = lab.state_becomes(id, "Expired").await;
            assert_decimal(&state["filled_quantity"], "0");
        }
        let past = with(limit("past", "GOLD", "Buy", "1", "97"), soon(-1));
        lab.execute(&past).await.is_failed("VALIDATION_FAILED").names(&["expires_at", "past"]);
        desk.ends(worker).await;
    }
}

#[tokio::test]
async fn instructions_hold_at_either_broker() {
    for desk in Desk::both().await {
        let lab = &desk.lab;
        let worker = lab.worker().await;
        desk.market("GOLD", "100", None).await;
        let reduce = |id: &str, side, quantity| {
            with(market(id, "GOLD", side, quantity), json!({"execution_instructions": {"reduce_only": true}}))
        };
        lab.execute(&reduce("r0", "Sell", "1")).await.is_failed("BROKER_REJECTED").names(&["reduce_only"]);
        lab.execute(&market("held", "GOLD", "Buy", "3")).await.is_completed("Filled");
        lab.execute(&reduce("r1", "Buy", "1")).await.is_failed("BROKER_REJECTED").names(&["reduce_only"]);
        lab.execute(&reduce("r2", "Sell", "1")).await.is_completed("Filled");
        let all = lab.execute(&reduce("r3", "Sell", "5")).await;
        assert_decimal(&all.is_completed("Cancelled").order()["filled_quantity"], "2");
        assert_decimal(&lab.position("GOLD").await["quantity"], "0");
        // The reference is 100; the ask is at 100.1.
        let bounded =
            |id: &str, pct: &str| with(market(id, "GOLD", "Buy", "1"), json!({"max_slippage": pct}));
        lab.execute(&bounded("s1", "0.1")).await.is_completed("Filled");
        let none = lab.execute(&bounded("s2", "0.09")).await;
        assert_decimal(&none.is_completed("Cancelled").order()["filled_quantity"], "0");
        let day = with(
            limit("maker", "GOLD", "Buy", "1", "99"),
            json!({"time_in_force": "DAY", "execution_instructions": {"post_only": true}}),
        );
        lab.execute(&day).await.is_completed("Acknowledged");
        // A stop price is changed while it waits, and not once it was reached.
        let stop = json!({"order_type": {"StopLimit": {"stop_price": "101", "limit_price": "101.5"}}});
        lab.execute(&with(market("stop", "GOLD", "Buy", "1"), stop)).await.is_completed("Acknowledged");
        let replace = async |stop: &str| {
            let change = json!({"client_order_id": "stop", "stop_price": stop}).to_string();
            let entry = lab.add(&[("replace", change.as_bytes())]).await;
            lab.outcome(&entry).await
        };
        let replaced = replace("103").await;
        assert_decimal(
            &replaced.is_completed("Acknowledged").order()["order_type"]["StopLimit"]["stop_price"],
            "103",
        );
        desk.market("GOLD", "102", None).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(lab.state("stop").await.unwrap().get("triggered"), None);
        desk.market("GOLD", "103", None).await;
        lab.state_becomes_with("stop", |state| state["triggered"] == true).await;
        replace("104").await.is_failed("VALIDATION_FAILED").names(&["stop_price"]);
        desk.ends(worker).await;
    }
}

#[tokio::test]
async fn trades_that_the_broker_corrects_or_takes_back_move_everything() {
    let desk = Desk::new(true).await;
    let (lab, exchange) = (&desk.lab, desk.exchange.as_ref().unwrap());
    let mut worker = lab.worker().await;
    desk.market("GOLD", "100", Some("4")).await;
    let order = lab.execute(&limit("o", "GOLD", "Buy", "10", "101")).await;
    order.is_completed("PartiallyFilled");
    desk.market("GOLD", "101", Some("6")).await;
    lab.state_becomes("o", "PartiallyFilled").await;
    desk.market("GOLD", "99", Some("6")).await;
    lab.state_becomes("o", "Filled").await;
    let truth = exchange.truth("o").await.unwrap();
    let trades: Vec<String> = truth["generations"][0]["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trade| trade["trade_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(trades.len(), 2, "{truth}");
    let revise = async |trade: &str, body: Value| {
        let (status, answer) = exchange.ask("POST", &format!("/control/trades/{trade}"), Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    // 4 at 100.1, 6 at 101: the second was for 5.
    revise(&trades[1], json!({"quantity": "5", "price": "101", "reason": "misreported"})).await;
    let state = lab.state_becomes("o", "PartiallyFilled").await;
    assert_decimal(&state["filled_quantity"], "9");
    assert_decimal(&lab.position("GOLD").await["quantity"], "9");
    // A worker that was not there hears of it all the same, once.
    worker.kill();
    revise(&trades[0], json!({"bust": true, "reason": "clearly erroneous"})).await;
    worker = lab.worker().await;
    let state = lab.state_becomes_with("o", |state| state["filled_quantity"] == "5").await;
    assert_decimal(&state["average_fill_price"], "101");
    let position = lab.position("GOLD").await;
    assert_decimal(&position["quantity"], "5");
    assert_decimal(&position["average_price"], "101");
    let ran = lab.cli(&["order", "o"]).await.succeeded();
    for told in ["TradeCorrected", "misreported", "TradeBusted", "clearly erroneous"] {
        assert!(ran.stdout.contains(told), "{told} in {}", ran.stdout);
    }
    let names = |entry: &crate::harness::Entry| {
        let events = entry.json("events");
        events.as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let id = order.order_id();
    eventually("the events of both", async || {
        let all: Vec<String> = lab.history(&id).await.iter().flat_map(names).collect();
        let count = |name: &str| all.iter().filter(|n| *n == name).count();
        ((count("Fill"), count("TradeCorrected"), count("TradeBusted")) == (2, 1, 1)).then_some(())
    })
    .await;
    // What was opened again can be executed again.
    desk.market("GOLD", "100", None).await;
    lab.state_becomes("o", "Filled").await;
    desk.ends(worker).await;
}
