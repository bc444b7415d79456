//! The simulated exchange, from outside: its interface, its faults, its ledger (docs/exchange.md).

use crate::harness::{Exchange, Ran, eventually, program};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn buy(id: &str) -> Value {
    json!({ "client_order_id": id, "symbol": "BTCUSDT", "side": "Buy", "quantity": "1",
            "order_type": "Market", "time_in_force": "GTC", "post_only": false })
}

fn resting(id: &str) -> Value {
    let mut order = buy(id);
    order["order_type"] = json!({ "Limit": { "price": "44000" } });
    order
}

/// One rule for submissions.
fn on_submit(fault: Value) -> Value {
    json!({ "rules": [{ "on": "submit", "fault": fault }] })
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

async fn submit(exchange: &Exchange, order: Value) -> (u16, Value) {
    exchange.ask("POST", "/orders", Some(order)).await
}

async fn status(exchange: &Exchange, id: &str) -> String {
    let (_, body) = exchange.ask("GET", &format!("/orders/{id}"), None).await;
    body["order"]["status"].as_str().or(body["code"].as_str()).unwrap_or_default().to_owned()
}

/// Executions of all generations, and POSTs.
async fn executed(exchange: &Exchange, id: &str) -> (usize, u64) {
    let Some(truth) = exchange.truth(id).await else { return (0, 0) };
    let generations = truth["generations"].as_array().unwrap();
    let executions = generations.iter().map(|g| g["executions"].as_array().unwrap().len()).sum();
    (executions, truth["posts"].as_u64().unwrap())
}

/// Sends bytes over a socket and returns all that comes back before it is closed, and how long that took.
fn raw(exchange: &Exchange, request: &str) -> (Vec<u8>, Duration) {
    let begun = Instant::now();
    let mut socket = TcpStream::connect(exchange.url().strip_prefix("http://").unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    (answer, begun.elapsed())
}

fn raw_submit(order: &Value) -> String {
    let body = order.to_string();
    format!("POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_orders_life_is_told_by_every_endpoint() {
    let exchange = Exchange::with(
        |s| {
            s.text("broker.mock.commission_pct", "0.1");
        },
        &[],
    );
    let (code, body) = submit(&exchange, resting("a/1")).await;
    assert_eq!((code, &body["order"]["status"]), (200, &json!("Open")), "{body}");
    assert_eq!(body["order"]["price"], "44000");
    let (code, open) = exchange.ask("GET", "/orders", None).await;
    assert_eq!((code, &open["orders"]), (200, &json!([body["order"]])));
    let (code, replaced) = exchange
        .ask("PUT", "/orders/a%2F1", Some(json!({ "quantity": "2", "price": "44500", "replace_id": "r1" })))
        .await;
    assert_eq!((code, &replaced["order"]["quantity"]), (200, &json!("2")), "{replaced}");
    exchange.prices(json!({ "BTCUSDT": { "bid": "44400", "ask": "44450", "ask_size": "0.5" } })).await;
    let (_, part) = exchange.ask("GET", "/orders/a%2F1", None).await;
    let trade = &part["order"]["trades"][0];
    assert_eq!((&trade["price"], &trade["quantity"]), (&json!("44500"), &json!("0.5")), "{part}");
    assert_eq!(trade["commission"], json!({ "asset": "USDT", "amount": "22.25" }));
    let (code, cancelled) = exchange.ask("DELETE", "/orders/a%2F1", None).await;
    assert_eq!((code, &cancelled["order"]["status"]), (200, &json!("Cancelled")));
    assert_eq!(cancelled["order"]["filled_quantity"], "0.5");
    let (_, page) = exchange.ask("GET", "/transactions?after=0", None).await;
    let types: Vec<_> = page["transactions"].as_array().unwrap().iter().map(|t| &t["type"]).collect();
    assert_eq!(json!(types), json!(["Accepted", "Replaced", "Trade", "Cancelled"]));
    assert_eq!((&page["last"], &page["transactions"][2]["trade"]), (&json!(4), trade));
    let (_, page) = exchange.ask("GET", "/transactions?after=1&limit=2", None).await;
    assert_eq!(page["transactions"].as_array().unwrap().len(), 2);
    let (code, again) = exchange.ask("DELETE", "/orders/a%2F1", None).await;
    assert_eq!((code, &again["code"], &again["order"]), (409, &json!("NOT_OPEN"), &cancelled["order"]));
}

#[tokio::test]
async fn errors_have_a_status_and_a_code() {
    let exchange = Exchange::with(
        |s| {
            s.instrument("BTCUSDT", r#"{ step_size = "0.1" }"#);
        },
        &[],
    );
    let with = |key: &str, value: Value| {
        let mut order = resting(&format!("e-{key}"));
        order[key] = value;
        Some(order)
    };
    let replace = |fields: Value| Some(fields);
    submit(&exchange, resting("open")).await;
    let cases = [
        (400, "INVALID", "POST", "/orders", with("quantity", json!("0"))),
        (400, "INVALID", "POST", "/orders", with("quantity", json!(1.5))),
        (400, "INVALID", "POST", "/orders", with("surprise", json!(1))),
        (
            400,
            "INVALID",
            "POST",
            "/orders",
            with("order_type", json!({ "Custom": { "algorithm": "a", "params": {} } })),
        ),
        (400, "INVALID", "POST", "/orders", with("valid_for_us", json!(1))),
        (400, "INVALID", "POST", "/orders", Some(json!("no order"))),
        (422, "REJECTED", "POST", "/orders", with("symbol", json!("NOPE"))),
        (422, "REJECTED", "POST", "/orders", with("quantity", json!("0.15"))),
        (400, "TIMESTAMP", "POST", "/orders", with("timestamp_us", json!(now_us() + 5_000_000))),
        (404, "UNKNOWN_ORDER", "GET", "/orders/nobody", None),
        (404, "UNKNOWN_ORDER", "DELETE", "/orders/nobody", None),
        (
            404,
            "UNKNOWN_ORDER",
            "PUT",
            "/orders/nobody",
            replace(json!({ "quantity": "2", "replace_id": "r" })),
        ),
        (400, "INVALID", "PUT", "/orders/open", replace(json!({ "replace_id": "r" }))),
        (400, "INVALID", "PUT", "/orders/open", replace(json!({ "quantity": "2" }))),
        (422, "REJECTED", "PUT", "/orders/open", replace(json!({ "quantity": "0.15", "replace_id": "r" }))),
        (400, "INVALID", "GET", "/transactions?limit=1001", None),
        (400, "INVALID", "GET", "/transactions?wait_ms=5001", None),
        (400, "INVALID", "PUT", "/control/prices", Some(json!({ "BTCUSDT": { "bid": "2", "ask": "1" } }))),
        (400, "INVALID", "POST", "/control/faults", Some(on_submit(json!({ "repeat": {} })))),
        (400, "INVALID", "GET", "/orders/%FF", None),
        (400, "INVALID", "GET", "/orders/a%20b", None),
        (400, "INVALID", "GET", "/transactions?aft=1", None),
        (404, "NOT_FOUND", "GET", "/nowhere", None),
        (405, "METHOD_NOT_ALLOWED", "PATCH", "/orders", None),
        (413, "INVALID", "POST", "/orders", Some(json!("x".repeat(300_000)))),
    ];
    for (status, code, method, path, body) in cases {
        let (got, answer) = exchange.ask(method, path, body.clone()).await;
        assert_eq!(
            (got, answer["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn forever_never_executes_an_id_twice() {
    let mut exchange = Exchange::with(|_| {}, &[]);
    let (_, first) = submit(&exchange, buy("a")).await;
    exchange.restart();
    let (code, again) = submit(&exchange, buy("a")).await;
    assert_eq!((code, &again["order"]), (200, &first["order"]));
    assert_eq!(executed(&exchange, "a").await, (1, 2));
}

#[tokio::test]
async fn open_refuses_an_open_id_and_executes_an_ended_one_again() {
    let mut exchange = Exchange::with(|_| {}, &["--dedupe", "open"]);
    submit(&exchange, resting("a")).await;
    exchange.restart();
    let (code, body) = submit(&exchange, resting("a")).await;
    assert_eq!((code, &body["code"]), (409, &json!("DUPLICATE")));
    exchange.prices(json!({ "BTCUSDT": "43000" })).await;
    let (code, body) = submit(&exchange, buy("a")).await;
    assert_eq!((code, &body["order"]["order_id"]), (200, &json!("x-2")));
    assert_eq!(executed(&exchange, "a").await, (2, 3));
}

#[tokio::test]
async fn none_executes_every_time() {
    let exchange = Exchange::with(|_| {}, &["--dedupe", "none"]);
    for _ in 0..3 {
        assert_eq!(submit(&exchange, buy("a")).await.0, 200);
    }
    assert_eq!(executed(&exchange, "a").await, (3, 3));
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let mut exchange = Exchange::with(|_| {}, &[]);
    let mut answered = Vec::new();
    for round in 0..3 {
        let until = Instant::now() + Duration::from_millis(300);
        let load = (0..8).map(async |client| {
            let mut done = Vec::new();
            for n in 0.. {
                let id = format!("{round}-{client}-{n}");
                match exchange.try_ask("POST", "/orders", Some(buy(&id))).await {
                    Ok((200, body)) => done.push((id, body["order"].clone())),
                    other => panic!("{other:?}"),
                }
                if Instant::now() > until {
                    break;
                }
            }
            done
        });
        let done: Vec<_> = futures_util::future::join_all(load).await.into_iter().flatten().collect();
        assert!(done.len() > 8);
        answered.extend(done);
        exchange.restart();
    }
    let ledger = exchange.ledger().await;
    assert_eq!(ledger.len(), answered.len());
    for (id, order) in &answered {
        let (_, body) = exchange.ask("GET", &format!("/orders/{id}"), None).await;
        assert_eq!(&body["order"], order);
    }
    let (_, page) = exchange.ask("GET", "/transactions?after=0&limit=1", None).await;
    assert_eq!(page["last"], json!(2 * answered.len()));
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing_that_was_answered() {
    let mut exchange = Exchange::with(|_| {}, &[]);
    let url = exchange.url().to_owned();
    // Where the kill falls between two requests, none of them fails: it is told to stop, too.
    let (stop, is_over) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let http = reqwest::Client::builder().retry(reqwest::retry::never()).build().unwrap();
        let mut answered = HashSet::new();
        let mut n = 0;
        while !*is_over.borrow() {
            let id = format!("k-{n}");
            let sent = http.post(format!("{url}/orders")).json(&buy(&id)).send().await;
            match sent {
                Ok(response) if response.status().is_success() => answered.insert(id),
                Ok(response) => panic!("{response:?}"),
                Err(_) => return answered,
            };
            n += 1;
        }
        answered
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    exchange.restart();
    stop.send(true).unwrap();
    let answered = load.await.unwrap();
    assert!(!answered.is_empty());
    let ledger = exchange.ledger().await;
    let known: HashSet<&str> = ledger.iter().filter_map(|order| order["client_order_id"].as_str()).collect();
    for id in &answered {
        assert!(known.contains(id.as_str()), "{id} was answered and is not in the ledger");
    }
    // One more may be there: it was executed, and its answer was on its way.
    assert!(ledger.len() <= answered.len() + 1, "{} {}", ledger.len(), answered.len());
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_and_another_exchange_is_kept_away() {
    let mut exchange = Exchange::with(|_| {}, &[]);
    submit(&exchange, buy("a")).await;
    exchange.kill();
    let whole = std::fs::read(exchange.ledger_path()).unwrap();
    std::fs::write(exchange.ledger_path(), [&whole[..], b"{\"time_us\":1,\"po"].concat()).unwrap();
    exchange.restart();
    assert_eq!(executed(&exchange, "a").await, (1, 1));
    submit(&exchange, buy("b")).await;
    exchange.restart();
    assert_eq!(status(&exchange, "b").await, "Filled");

    let mut second = program(exchange.config());
    second.args(["exchange", "--listen", "127.0.0.1:0", "--ledger"]).arg(exchange.ledger_path());
    let ran = Ran::of(second).await.exits(1);
    assert!(ran.stderr.contains("another exchange"), "{}", ran.stderr);
}

#[tokio::test]
async fn prices_and_resting_orders_survive_a_restart() {
    let mut exchange = Exchange::with(|_| {}, &[]);
    exchange.prices(json!({ "BTCUSDT": "46000", "NEWCOIN": "2" })).await;
    submit(&exchange, resting("a")).await;
    exchange.restart();
    let (_, body) = submit(&exchange, buy("b")).await;
    assert_eq!(body["order"]["trades"][0]["price"], "46000");
    exchange.prices(json!({ "BTCUSDT": "44000" })).await;
    assert_eq!(status(&exchange, "a").await, "Filled");
}

#[tokio::test]
async fn it_ends_in_order_and_listens_on_loopback_only() {
    let mut exchange = Exchange::with(|_| {}, &[]);
    let waiting = exchange.url().to_owned() + "/transactions?wait_ms=5000";
    let waits = tokio::spawn(async move { reqwest::get(waiting).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(exchange.terminate().await, 0);
    drop(waits.await);
    let mut open = program(exchange.config());
    open.args(["exchange", "--listen", "0.0.0.0:0", "--ledger"]).arg(exchange.ledger_path());
    let ran = Ran::of(open).await.exits(2);
    assert!(ran.stderr.contains("loopback"), "{}", ran.stderr);
}

#[tokio::test]
async fn execute_then_drop_executes_and_sends_not_one_byte() {
    let exchange = Exchange::with(|_| {}, &[]);
    exchange.faults(on_submit(json!({ "execute_then_drop": {} }))).await;
    let (answer, _) = raw(&exchange, &raw_submit(&buy("a")));
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert!(exchange.try_ask("POST", "/orders", Some(buy("b"))).await.is_err());
    for id in ["a", "b"] {
        assert_eq!(executed(&exchange, id).await, (1, 1), "{id}");
    }
    let (_, script) = exchange.ask("GET", "/control/faults", None).await;
    assert_eq!(script["rules"][0]["hits"], 2);
    exchange.no_faults().await;
    assert_eq!(submit(&exchange, buy("a")).await.0, 200);
    assert_eq!(executed(&exchange, "a").await, (1, 2));
}

#[tokio::test]
async fn drop_does_nothing_and_sends_not_one_byte() {
    let exchange = Exchange::with(|_| {}, &[]);
    exchange.faults(on_submit(json!({ "drop": {} }))).await;
    let (answer, _) = raw(&exchange, &raw_submit(&buy("a")));
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert_eq!(status(&exchange, "a").await, "UNKNOWN_ORDER");
    assert_eq!(executed(&exchange, "a").await, (0, 1));
}

#[tokio::test]
async fn statuses_come_with_or_without_execution() {
    let exchange = Exchange::with(|_| {}, &[]);
    exchange.faults(on_submit(json!({ "execute_then_status": { "status": 500 } }))).await;
    let (code, body) = submit(&exchange, buy("done")).await;
    assert_eq!((code, &body["code"]), (500, &json!("INTERNAL")));
    assert_eq!(executed(&exchange, "done").await, (1, 1));
    exchange.faults(on_submit(json!({ "status": { "status": 429, "retry_after_s": 3 } }))).await;
    let (code, body) = submit(&exchange, buy("not")).await;
    assert_eq!((code, &body["code"]), (429, &json!("RATE_LIMITED")));
    let (answer, _) =
        raw(&exchange, &raw_submit(&buy("not")).replace("host: x", "host: x\r\nconnection: close"));
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.contains("retry-after: 3"), "{answer}");
    exchange.faults(on_submit(json!({ "status": { "status": 503 } }))).await;
    assert_eq!(submit(&exchange, buy("not")).await.0, 503);
    assert_eq!(executed(&exchange, "not").await, (0, 3));
}

#[tokio::test]
async fn garbage_is_no_json_and_was_executed() {
    let exchange = Exchange::with(|_| {}, &[]);
    exchange.faults(on_submit(json!({ "garbage": {} }))).await;
    let (code, body) = submit(&exchange, buy("a")).await;
    assert!(code == 200 && body.is_string(), "{body}");
    assert_eq!(executed(&exchange, "a").await, (1, 1));
}

#[tokio::test]
async fn land_late_executes_later_if_deadline_and_dedupe_still_allow() {
    let exchange = Exchange::with(|_| {}, &["--dedupe", "open"]);
    let late = json!({ "rules": [
        { "on": "any", "client_order_id": "late", "fault": { "land_late": { "after_ms": 300 } } }
    ] });
    submit(&exchange, resting("late-cancel")).await;
    exchange.faults(late).await;
    let within = |id: &str, valid_for_us: i64| {
        let mut order = buy(id);
        order["timestamp_us"] = json!(now_us());
        order["valid_for_us"] = json!(valid_for_us);
        order
    };
    for order in [buy("late-plain"), within("late-in-time", 20_000_000), within("late-too", 200_000)] {
        assert!(exchange.try_ask("POST", "/orders", Some(order)).await.is_err());
    }
    assert!(exchange.try_ask("POST", "/orders", Some(resting("late-twice"))).await.is_err());
    assert!(exchange.try_ask("DELETE", "/orders/late-cancel", None).await.is_err());
    assert_eq!(executed(&exchange, "late-plain").await, (0, 1), "not yet");
    // Somebody else is faster under the same id.
    exchange.no_faults().await;
    assert_eq!(submit(&exchange, resting("late-twice")).await.0, 200);
    for id in ["late-plain", "late-in-time"] {
        eventually(&format!("{id} to land"), async || {
            (executed(&exchange, id).await == (1, 1)).then_some(())
        })
        .await;
    }
    eventually("the cancel to land", async || {
        (status(&exchange, "late-cancel").await == "Cancelled").then_some(())
    })
    .await;
    // The last one landed after those that must not have.
    assert_eq!(executed(&exchange, "late-too").await, (0, 1));
    let twice = exchange.truth("late-twice").await.unwrap();
    assert_eq!((twice["generations"].as_array().unwrap().len(), &twice["posts"]), (1, &json!(2)));
}

#[tokio::test]
async fn delay_executes_at_once_and_silence_never() {
    let exchange = Exchange::with(|_| {}, &[]);
    exchange.faults(on_submit(json!({ "delay": { "ms": 700 } }))).await;
    let begun = Instant::now();
    let slow = submit(&exchange, buy("slow"));
    let seen = eventually("the execution", async || {
        (executed(&exchange, "slow").await == (1, 1)).then(|| begun.elapsed())
    });
    let ((code, body), seen) = futures_util::future::join(slow, seen).await;
    assert!(code == 200 && begun.elapsed() >= Duration::from_millis(700));
    let told = body["server_time_us"].as_i64().unwrap();
    assert!(
        told - body["order"]["trades"][0]["time_us"].as_i64().unwrap() >= 600_000,
        "{body}, seen {seen:?}"
    );
    exchange.faults(on_submit(json!({ "silence": { "ms": 400 } }))).await;
    let (answer, took) = raw(&exchange, &raw_submit(&buy("mute")));
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert!(took >= Duration::from_millis(400));
    assert_eq!(executed(&exchange, "mute").await, (0, 1));
}

#[tokio::test]
async fn who_lags_does_not_see_what_is_younger() {
    let exchange = Exchange::with(|_| {}, &[]);
    exchange.faults(json!({ "rules": [{ "on": "any", "fault": { "lag": { "ms": 600 } } }] })).await;
    let (_, body) = submit(&exchange, resting("a")).await;
    assert_eq!(body["order"]["status"], "Open", "a lag is none of a submission's");
    let (code, _) = exchange.ask("GET", "/orders/a", None).await;
    let (_, open) = exchange.ask("GET", "/orders", None).await;
    let (_, page) = exchange.ask("GET", "/transactions", None).await;
    assert_eq!(
        (code, &open["orders"], &page["transactions"], &page["last"]),
        (404, &json!([]), &json!([]), &json!(0))
    );
    let (_, page) = exchange.ask("GET", "/transactions?wait_ms=5000", None).await;
    assert_eq!(page["last"], 1, "who waits sees it when it is old enough");
    assert_eq!(status(&exchange, "a").await, "Open");
}

#[tokio::test]
async fn the_feed_repeats_and_reorders() {
    let exchange = Exchange::with(|_| {}, &[]);
    for id in ["a", "b"] {
        submit(&exchange, buy(id)).await;
    }
    let ids = async |path: &str| -> Value {
        let (_, page) = exchange.ask("GET", path, None).await;
        let page = page["transactions"].as_array().unwrap().clone();
        json!(page.iter().map(|transaction| transaction["id"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(ids("/transactions").await, json!([1, 2, 3, 4]));
    exchange.faults(json!({ "rules": [{ "on": "transactions", "fault": { "repeat": {} } }] })).await;
    assert_eq!(ids("/transactions").await, json!([1, 2, 2, 3, 4, 4]));
    assert_eq!(ids("/transactions?after=2").await, json!([2, 3, 4, 4]));
    assert_eq!(ids("/transactions?after=4").await, json!([]));
    exchange.faults(json!({ "rules": [{ "on": "transactions", "fault": { "reorder": {} } }] })).await;
    assert_eq!(ids("/transactions?after=1").await, json!([4, 3, 2]));
}

#[tokio::test]
async fn who_waits_for_transactions_is_told_as_soon_as_there_is_one() {
    let exchange = Exchange::with(|_| {}, &[]);
    let begun = Instant::now();
    let waits = exchange.ask("GET", "/transactions?after=0&wait_ms=5000", None);
    let acts = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        submit(&exchange, buy("a")).await
    };
    let ((_, page), _) = futures_util::future::join(waits, acts).await;
    assert_eq!(page["transactions"].as_array().unwrap().len(), 2, "a request's transactions come together");
    assert!(begun.elapsed() < Duration::from_secs(4));
    let begun = Instant::now();
    let (_, page) = exchange.ask("GET", "/transactions?after=2&wait_ms=300", None).await;
    assert!(page["transactions"] == json!([]) && begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn the_same_script_draws_the_same_for_the_same_calls() {
    let exchange = Exchange::with(|_| {}, &[]);
    let script = json!({ "seed": 42, "rules": [
        { "on": "query", "fault": { "status": { "status": 503 } }, "share": 0.5 }
    ] });
    let mut runs = Vec::new();
    for _ in 0..2 {
        exchange.faults(script.clone()).await;
        let mut codes = Vec::new();
        for _ in 0..32 {
            codes.push(exchange.ask("GET", "/orders/nobody", None).await.0);
        }
        runs.push(codes);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&503) && runs[0].contains(&404), "{runs:?}");
}
