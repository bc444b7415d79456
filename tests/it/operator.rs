//! What a person does by hand: cancel everything, change an order, send what failed again, resolve what is parked.

use crate::harness::{Exchange, Lab, Ran, assert_decimal, eventually, limit, market, with};
use serde_json::{Value, json};

const BY: [&str; 4] = ["--by", "ann", "--why", "the broker's statement"];

/// One JSON document a line.
fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON document")).collect()
}

#[tokio::test]
async fn cancel_all_cancels_what_matches_and_tells_of_each() {
    let lab = Lab::new().await;
    let worker = lab.worker().await;
    for (id, symbol, side, price) in [
        ("buy-1", "BTCUSDT", "Buy", "40000"),
        ("buy-2", "BTCUSDT", "Buy", "40001"),
        ("sell", "BTCUSDT", "Sell", "50000"),
        ("ether", "ETHUSDT", "Buy", "2000"),
    ] {
        let order = with(limit(id, symbol, side, "1", price), json!({"strategy_id": format!("s-{symbol}")}));
        lab.execute(&order).await.is_completed("Acknowledged");
    }
    let ran = lab
        .cli(&["cancel-all", "--symbol", "BTCUSDT", "--side", "Buy", "--wait", "--json"])
        .await
        .succeeded();
    let told = ran.json();
    let mut cancelled: Vec<_> = told["cancelled"].as_array().unwrap().iter().collect();
    cancelled.sort_by_key(|id| id.to_string());
    assert_eq!(cancelled, [&json!("buy-1"), &json!("buy-2")], "{told}");
    assert_eq!((&told["not_cancelled"], &told["outcome"]), (&json!([]), &json!("completed")));
    assert!(told.get("order_id").is_none() && told.get("status").is_none(), "{told}");
    for (id, status) in
        [("buy-1", "Cancelled"), ("buy-2", "Cancelled"), ("sell", "Acknowledged"), ("ether", "Acknowledged")]
    {
        assert_eq!(lab.state(id).await.unwrap()["status"], status, "{id}");
    }
    let ran = lab.cli(&["cancel-all", "--strategy-id", "s-ETHUSDT", "--broker", "mock", "--wait"]).await;
    let said = ran.succeeded().stdout;
    assert!(said.contains("1 cancelled, 0 not") && said.contains("cancelled      ether"), "{said}");
    let said = lab.cli(&["cancel-all", "--wait"]).await.succeeded().stdout;
    assert!(said.contains("sell") && !said.contains("ether"), "{said}");
    let said = lab.cli(&["cancel-all", "--wait"]).await.succeeded().stdout;
    assert!(said.contains("0 cancelled, 0 not"), "{said}");
    lab.cli(&["cancel-all", "--side", "up"]).await.exits(2);
    // Who does not wait is told how many it is about.
    lab.execute(&limit("last", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    worker.kill();
    let ran = lab.cli(&["cancel-all", "--side", "buy"]).await.succeeded();
    assert!(ran.stderr.contains("1 open orders matched") && ran.stderr.contains("--wait"), "{}", ran.stderr);
}

#[tokio::test]
async fn replace_changes_an_open_order() {
    let lab = Lab::new().await;
    let submitted = lab.watch("submitted").await;
    let _worker = lab.worker().await;
    lab.execute(&limit("open", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let arguments = ["replace", "open", "--quantity", "2.5", "--price", "40100", "--wait", "--json"];
    let told = lab.cli(&arguments).await.succeeded().json();
    assert_eq!((&told["request"], &told["status"]), (&json!("replace"), &json!("Acknowledged")), "{told}");
    assert_decimal(&told["order"]["quantity"], "2.5");
    assert_decimal(&told["order"]["order_type"]["Limit"]["price"], "40100");
    eventually("its announcement", async || submitted.texts().contains(&"open".to_owned()).then_some(()))
        .await;
    let ran = lab.cli(&["replace", "nobody", "--price", "1", "--wait"]).await.exits(1);
    assert!(ran.said().contains("UNKNOWN_ORDER"), "{}", ran.said());
    lab.cli(&["replace", "open", "--quantity", "0", "--wait"]).await.exits(3);
    for wrong in [&["replace", "open"][..], &["replace"], &["replace", "open", "--price", "much"]] {
        lab.cli(wrong).await.exits(2);
    }
}

#[tokio::test]
async fn a_failed_order_is_listed_shown_and_sent_again() {
    let lab = Lab::new().await;
    let worker = lab.worker().await;
    let order = with(market("early", "GOLD", "Buy", "1.50"), json!({"metadata": {"n": 0.10}}));
    let failed = lab.execute(&order).await;
    failed.is_failed("UNKNOWN_SYMBOL");
    lab.add(&[("order", b"{oops")]).await;
    eventually("both", async || (lab.length("failed").await == 2).then_some(())).await;

    let rows = lab.cli(&["failed", "--json"]).await.succeeded().json();
    let codes: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["code"]).collect();
    assert_eq!(codes, [&json!("INVALID_PAYLOAD"), &json!("UNKNOWN_SYMBOL")], "newest first");
    for arguments in [&["failed", "--code", "unknown_symbol"][..], &["failed", "list", "--limit", "9"]] {
        let table = lab.cli(arguments).await.succeeded().stdout;
        assert!(table.contains("early") && table.contains("UNKNOWN_SYMBOL"), "{table}");
    }
    let rows = lab.cli(&["failed", "list", "--limit", "1", "--json"]).await.succeeded().json();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["payload"]), (1, &json!("{oops")));

    for id in ["early", failed.text("entry_id")] {
        let shown = lab.cli(&["failed", "show", id, "--json"]).await.succeeded().json();
        assert_eq!(
            (&shown["entry_id"], &shown["code"]),
            (&json!(failed.text("entry_id")), &json!("UNKNOWN_SYMBOL"))
        );
        assert_decimal(&shown["order"]["quantity"], "1.5");
        let said = lab.cli(&["failed", "show", id]).await.succeeded().stdout;
        assert!(said.contains("UNKNOWN_SYMBOL") && said.contains("GOLD"), "{said}");
    }
    lab.cli(&["failed", "show", "nobody"]).await.exits(1);

    // Nobody works meanwhile: the second goes beside the first, which waits in the stream.
    worker.kill();
    lab.quote("GOLD", "99", "100", &[]).await;
    let told = lab.cli(&["failed", "requeue", "early", "--json"]).await.succeeded().json();
    assert_eq!(
        (&told["client_order_id"], &told["failed_client_order_id"]),
        (&json!("early.r1"), &json!("early"))
    );
    let said = lab.cli(&["failed", "requeue", failed.text("entry_id")]).await.succeeded().stdout;
    assert!(said.contains("requeued as early.r2"), "{said}");
    let _worker = lab.worker().await;
    for id in ["early.r1", "early.r2"] {
        let state = lab.state_becomes(id, "Filled").await;
        assert_decimal(&state["quantity"], "1.5");
        assert_eq!(state["metadata"], json!({"n": 0.10}));
        assert_ne!(state["id"], failed.order()["id"], "an order of its own");
    }
    // And once the journal has both, the next one is free.
    let said = lab.cli(&["failed", "requeue", "early"]).await.succeeded().stdout;
    assert!(said.contains("early.r3"), "{said}");
    lab.state_becomes("early.r3", "Filled").await;
    assert_eq!(lab.length("failed").await, 2, "history stays");
}

#[tokio::test]
async fn all_of_a_code_are_sent_again_once() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for id in ["a", "b"] {
        lab.execute(&market(id, "GOLD", "Buy", "1")).await.is_failed("UNKNOWN_SYMBOL");
    }
    lab.execute(&market("c", "BTCUSDT", "Buy", "0")).await.is_failed("VALIDATION_FAILED");
    let all = ["failed", "requeue", "--all", "--code", "UNKNOWN_SYMBOL", "--json"];
    // Still no quote: they fail again, and the ids stay free in the journal.
    let names = |ran: &Ran| lines(ran).iter().map(|row| row["client_order_id"].clone()).collect::<Vec<_>>();
    let first = lab.cli(&all).await.succeeded();
    assert_eq!(names(&first), ["a.r1", "b.r1"], "in the sequence in which they were sent");
    eventually("their failure", async || (lab.length("failed").await == 5).then_some(())).await;
    lab.quote("GOLD", "99", "100", &[]).await;
    let second = lab.cli(&all).await.succeeded();
    assert_eq!(names(&second), ["a.r1.r1", "b.r1.r1"], "each failed order once");
    lab.state_becomes("b.r1.r1", "Filled").await;
    assert_eq!(names(&lab.cli(&all).await.succeeded()), [""; 0]);
    assert_decimal(&lab.position("GOLD").await["quantity"], "2");
    for wrong in
        [&["failed", "requeue"][..], &["failed", "requeue", "--all"], &["failed", "requeue", "x", "--all"]]
    {
        lab.cli(wrong).await.exits(2);
    }
}

#[tokio::test]
async fn what_must_not_or_cannot_be_sent_again_is_not() {
    let lab = Lab::with(|s| {
        s.set("worker.command_wait_ms", "300");
    })
    .await;
    let _worker = lab.worker().await;
    let long = "x".repeat(62);
    lab.execute(&market(&long, "GOLD", "Buy", "1")).await.is_failed("UNKNOWN_SYMBOL");
    lab.execute(&market("later", "GOLD", "Buy", "1")).await.is_failed("UNKNOWN_SYMBOL");
    lab.quote("GOLD", "99", "100", &[]).await;
    lab.execute(&market("later", "GOLD", "Buy", "1")).await.is_completed("Filled");
    let oops = lab.add(&[("order", b"{oops")]).await;
    let unknown = lab.add(&[("wish", b"{}")]).await;
    let replace = lab.add(&[("replace", br#"{"client_order_id":"nobody","price":"1"}"#)]).await;
    let cancel = lab.add(&[("cancel", br#"{"client_order_id":"later"}"#)]).await;
    for entry in [&oops, &unknown, &replace, &cancel] {
        assert!(!lab.outcome(entry).await.completed);
    }
    let before = lab.all_outcomes().await.len();
    for (id, why) in [
        (long.as_str(), "at most 64"),
        ("later", "second order"),
        (&oops, "not the JSON"),
        (&unknown, "what it asks for"),
        (&replace, "new terms"),
    ] {
        let ran = lab.cli(&["failed", "requeue", id, "--json"]).await.exits(3);
        assert!(ran.json()["error"].as_str().unwrap().contains(why), "{}", ran.said());
    }
    let ran = lab.cli(&["failed", "requeue", "nobody-at-all"]).await.exits(1);
    assert!(ran.said().contains("nobody-at-all"), "{}", ran.said());
    assert_eq!(
        (lab.length("pending").await, lab.all_outcomes().await.len()),
        (0, before),
        "nothing was sent"
    );
    // A cancel is told well enough: it goes in again, and fails again.
    let told = lab.cli(&["failed", "requeue", &cancel, "--json"]).await.succeeded().json();
    lab.outcome(told["entry_id"].as_str().unwrap()).await.is_failed("ORDER_TERMINAL");
}

/// A laboratory whose exchange loses every submission, and parks what it lost.
async fn parking() -> (Exchange, Lab) {
    let exchange = Exchange::with(|_| {}, &[]);
    let lab = Lab::with(|s| {
        s.text("broker.mock.url", exchange.url()).text("broker.mock.profile", "one_shot");
        s.set("broker.mock.request_timeout_ms", "500").set("broker.mock.settle_ms", "300");
    })
    .await;
    exchange.faults(json!({"rules": [{"on": "submit", "fault": {"drop": {}}}]})).await;
    (exchange, lab)
}

#[tokio::test]
async fn a_parked_order_is_seen_and_resolved() {
    let (_exchange, lab) = parking().await;
    let mut worker = lab.worker().await;
    for id in ["not", "yes", "part"] {
        let outcome = lab.execute(&market(id, "BTCUSDT", "Buy", "1")).await;
        outcome.is_failed("OUTCOME_UNKNOWN");
        assert_eq!(lab.state(id).await.unwrap()["parked"], true);
    }
    for command in [&["orders", "--parked"][..], &["orders"], &["order", "not"]] {
        let said = lab.cli(command).await.succeeded().stdout;
        assert!(said.contains("Submitted (parked)"), "{said}");
    }
    let ran = lab.cli(&["failed", "requeue", "not"]).await.exits(3);
    assert!(ran.said().contains("resolve not"), "{}", ran.said());
    let ran = lab.cli(&["cancel-all", "--wait"]).await.exits(1);
    assert!(ran.said().contains("not cancelled  yes  OUTCOME_UNKNOWN"), "{}", ran.said());

    let resolve = |id, how: &[&'static str]| [&["resolve", id, "--json"][..], how, &BY].concat();
    let told = lab.cli(&resolve("not", &["--not-executed"])).await.succeeded().json();
    assert!(told["status"]["Rejected"]["reason"].as_str().unwrap().contains("says ann"), "{told}");
    assert_eq!(told["parked"], false);
    // By its other name, as a person reads it.
    let id = lab.state("yes").await.unwrap()["id"].as_str().unwrap().to_owned();
    let arguments = [&["resolve", &id, "--executed", "0.4@45000#t-9,0.6@45010#t-10"][..], &BY].concat();
    let ran = lab.cli(&arguments).await.succeeded();
    assert!(ran.stdout.contains("yes  Filled") && ran.stdout.contains("trade t-9"), "{}", ran.stdout);
    let told = lab.cli(&resolve("part", &["--executed", "0.25@45000#t-11"])).await.succeeded().json();
    assert_eq!(told["status"], "Cancelled", "the rest was not executed: {told}");
    assert_decimal(&told["filled_quantity"], "0.25");
    // The worker's relay tells the others.
    lab.state_becomes("not", "Rejected").await;
    lab.state_becomes("yes", "Filled").await;
    lab.state_becomes("part", "Cancelled").await;
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "1.25");

    let again = lab.cli(&resolve("not", &["--not-executed"])).await.exits(3);
    assert!(again.said().contains("not parked"), "{}", again.said());
    lab.cli(&resolve("nobody", &["--not-executed"])).await.exits(1);
    let ran = lab.cli(&["failed", "requeue", "yes"]).await.exits(3);
    assert!(ran.said().contains("Filled"), "{}", ran.said());
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn resolving_needs_no_worker_and_refuses_what_cannot_be() {
    let (exchange, lab) = parking().await;
    let mut worker = lab.worker().await;
    lab.execute(&market("one", "BTCUSDT", "Buy", "1")).await.is_failed("OUTCOME_UNKNOWN");
    lab.execute(&market("two", "BTCUSDT", "Buy", "1")).await.is_failed("OUTCOME_UNKNOWN");
    assert_eq!(worker.terminate().await, 0);
    let resolve = |how: &[&'static str]| [&["resolve", "one"][..], how, &BY].concat();
    for too_much in
        [&["--executed", "1.1@45000"][..], &["--executed", "0.6@1", "--executed", "0.6@1"], &["--executed"]]
    {
        let ran = lab.cli(&resolve(too_much)).await.exits(3);
        assert!(ran.stderr.contains("fills"), "{}", ran.said());
    }
    for wrong in [
        &["--executed", "1@45000", "--not-executed"][..],
        &[],
        &["--executed", "1"],
        &["--executed", "0@1"],
        &["--executed", "0.5@1#t,0.5@1#t"],
    ] {
        lab.cli(&resolve(wrong)).await.exits(2);
    }
    lab.cli(&["resolve", "one", "--not-executed", "--by", "ann"]).await.exits(2);
    lab.cli(&["resolve", "one", "--not-executed", "--by", "ann", "--why", ""]).await.exits(2);
    assert_eq!(lab.cli(&["order", "one", "--json"]).await.succeeded().json()["parked"], true);

    lab.cli(&resolve(&["--executed", "1@45000#t-9"])).await.succeeded();
    lab.cli(&["replay"]).await.succeeded();
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "1");
    let arguments = [&["resolve", "two", "--not-executed"][..], &BY].concat();
    lab.cli(&arguments).await.succeeded();
    // Rejected by a person, and nothing was executed: it may go in again, and now the exchange answers.
    exchange.no_faults().await;
    lab.cli(&["failed", "requeue", "two"]).await.succeeded();
    let mut worker = lab.worker().await;
    lab.state_becomes("one", "Filled").await;
    lab.state_becomes("two", "Rejected").await;
    lab.state_becomes("two.r1", "Filled").await;
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "2");
}

#[tokio::test]
async fn these_commands_say_how_they_go_and_what_is_away() {
    let lab = Lab::with(|s| {
        s.text("redis.url", "redis://127.0.0.1:1/");
    })
    .await;
    for command in ["cancel-all", "replace", "failed", "resolve"] {
        let help = lab.cli(&[command, "--help"]).await.succeeded().stdout;
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{command}\n{help}");
    }
    for arguments in [&["cancel-all"][..], &["replace", "x", "--price", "1"], &["failed"]] {
        let ran = lab.cli(arguments).await.exits(4);
        assert!(ran.said().contains("127.0.0.1:1"), "{}", ran.said());
    }
    // No journal is made by the way.
    lab.cli(&[&["resolve", "x", "--not-executed"][..], &BY].concat()).await.exits(4);
    assert!(!lab.has_journal().await);
}

#[tokio::test]
async fn a_parked_replace_is_resolved_and_a_late_fill_is_still_believed() {
    let (exchange, lab) = parking().await;
    exchange.faults(json!({"rules": [{"on": "replace", "fault": {"drop": {}}}]})).await;
    let mut worker = lab.worker().await;
    for (id, how, quantity) in [("taken", "--executed", "2"), ("kept", "--not-executed", "1")] {
        lab.execute(&limit(id, "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
        let ran = lab.cli(&["replace", id, "--quantity", "2", "--wait"]).await.exits(1);
        assert!(ran.said().contains("OUTCOME_UNKNOWN"), "{}", ran.said());
        let said = lab.cli(&["orders", "--parked"]).await.succeeded().stdout;
        assert!(said.contains("Acknowledged (parked)"), "{said}");
        let with_fills = [&["resolve", id, "--executed", "1@40000"][..], &BY].concat();
        lab.cli(&with_fills).await.exits(3);
        let told = lab.cli(&[&["resolve", id, how, "--json"][..], &BY].concat()).await.succeeded().json();
        assert_eq!((&told["status"], &told["parked"]), (&json!("Acknowledged"), &json!(false)), "{told}");
        assert_decimal(&told["quantity"], quantity);
    }

    // Lost on the way and carried out late: the person was wrong, and the broker says so.
    let lost = json!({"rules": [{"on": "submit", "fault": {"land_late": {"after_ms": 4000}}}]});
    exchange.faults(lost).await;
    lab.execute(&market("late", "BTCUSDT", "Buy", "1")).await.is_failed("OUTCOME_UNKNOWN");
    lab.cli(&[&["resolve", "late", "--not-executed"][..], &BY].concat()).await.succeeded();
    let state = lab.state_becomes("late", "Filled").await;
    assert_decimal(&state["filled_quantity"], "1");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "1");
    let ran = lab.cli(&["failed", "requeue", "late"]).await.exits(3);
    assert!(ran.said().contains("Filled"), "{}", ran.said());
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}
