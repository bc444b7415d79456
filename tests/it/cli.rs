//! The command line: what it prints and how it ends (CONTRACT 3).

use crate::harness::{
    Lab, Limits, Ran, assert_decimal, bare_status, binary, eventually, find_key, limit, market,
};
use serde_json::{Value, json};
use std::process::Command;

fn submit<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["submit", "--symbol", "BTCUSDT", "--side", "buy", "--quantity", "1"];
    arguments.extend(more);
    arguments
}

#[tokio::test]
async fn submit_adds_a_request_and_tells_it_is_there() {
    let lab = Lab::new().await;
    let submitted = lab.watch("submitted").await;
    let arguments = submit(&["--type", "limit", "--price", "44000", "--time-in-force", "gtc", "--post-only"]);
    let ran =
        lab.cli(&[&arguments[..], &["--client-order-id", "typed", "--json"]].concat()).await.succeeded();
    ran.json();
    // No worker runs: the request waits where producers put theirs.
    let entries = lab.range("pending").await;
    assert_eq!(entries.len(), 1);
    let order = entries[0].json("order");
    assert_eq!(order["client_order_id"], "typed");
    assert_eq!(order["symbol"], "BTCUSDT");
    eventually("the publication of its id", async || {
        submitted
            .texts()
            .iter()
            .any(|text| text.contains("typed") || Some(text.as_str()) == order["id"].as_str())
            .then_some(())
    })
    .await;
    let _worker = lab.worker().await;
    let outcome = lab.outcome(&entries[0].id).await;
    outcome.is_completed("Acknowledged");
    assert_decimal(&outcome.order()["order_type"]["Limit"]["price"], "44000");
    assert_eq!(outcome.order()["execution_instructions"]["post_only"], true);
}

#[tokio::test]
async fn submit_waits_for_the_outcome_and_prints_it() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let arguments = submit(&["--type", "market", "--client-order-id", "waited", "--wait", "--json"]);
    let told = lab.cli(&arguments).await.succeeded().json();
    assert_eq!(find_key(&told, "client_order_id"), Some(&json!("waited")), "{told}");
    assert_eq!(find_key(&told, "status"), Some(&json!("Filled")), "{told}");
    let ran = lab.cli(&submit(&["--type", "market", "--wait"])).await.succeeded();
    assert!(ran.stdout.contains("Filled"), "{}", ran.stdout);
}

#[tokio::test]
async fn exit_code_3_tells_a_refusal_by_validation_or_risk() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"0.5\"")]);
        s.instrument("ETHUSDT", r#"{ step_size = "0.1" }"#);
    })
    .await;
    let _worker = lab.worker().await;
    let ran = lab.cli(&submit(&["--type", "market", "--wait"])).await.exits(3);
    assert!(ran.said().contains("RISK_MAX_ORDER_QUANTITY"), "{}", ran.said());
    let off_grid = [
        "submit",
        "--symbol",
        "ETHUSDT",
        "--side",
        "sell",
        "--quantity",
        "0.25",
        "--type",
        "market",
        "--wait",
    ];
    let ran = lab.cli(&off_grid).await.exits(3);
    assert!(ran.said().contains("VALIDATION_FAILED"), "{}", ran.said());
    let nowhere =
        ["submit", "--symbol", "NOWHERE", "--side", "buy", "--quantity", "0.1", "--type", "market", "--wait"];
    let told = lab.cli(&[&nowhere[..], &["--json"]].concat()).await.exits(3).json();
    assert_eq!(find_key(&told, "code"), Some(&json!("UNKNOWN_SYMBOL")), "{told}");
}

#[tokio::test]
async fn exit_code_1_tells_a_failure_of_another_kind() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.failure_rate", "1").set("worker.command_wait_ms", "300");
    })
    .await;
    let _worker = lab.worker().await;
    let ran = lab.cli(&submit(&["--type", "market", "--wait"])).await.exits(1);
    assert!(ran.said().contains("BROKER_REJECTED"), "{}", ran.said());
    let ran = lab.cli(&["cancel", "nobody", "--wait"]).await.exits(1);
    assert!(ran.said().contains("UNKNOWN_ORDER"), "{}", ran.said());
}

#[tokio::test]
async fn cancel_takes_the_client_order_id() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("resting", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let told = lab.cli(&["cancel", "resting", "--wait", "--json"]).await.succeeded().json();
    assert_eq!(find_key(&told, "status"), Some(&json!("Cancelled")), "{told}");
    assert_eq!(lab.state("resting").await.unwrap()["status"], "Cancelled");
    let ran = lab.cli(&["cancel", "resting", "--wait"]).await.exits(1);
    assert!(ran.said().contains("ORDER_TERMINAL"), "{}", ran.said());
}

#[tokio::test]
async fn orders_and_order_tell_what_the_journal_says() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
    })
    .await;
    assert_eq!(lab.cli(&["migrate"]).await.succeeded().code, 0);
    assert_eq!(lab.cli(&["orders", "--json"]).await.succeeded().json(), json!([]));
    let _worker = lab.worker().await;
    lab.execute(&market("filled", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    let resting = lab.execute(&limit("resting", "ETHUSDT", "Sell", "2", "4000")).await;
    lab.execute(&market("refused", "BTCUSDT", "Buy", "6")).await.is_failed("RISK_MAX_ORDER_QUANTITY");

    let rows = lab.cli(&["orders", "--json"]).await.succeeded().json();
    let rows = rows.as_array().expect("an array");
    let told: Vec<_> =
        rows.iter().map(|r| (r["client_order_id"].as_str().unwrap(), bare_status(&r["status"]))).collect();
    assert_eq!(
        told,
        [("refused", "Rejected"), ("resting", "Acknowledged"), ("filled", "Filled")],
        "newest first"
    );
    for row in rows {
        let state = lab.state(row["client_order_id"].as_str().unwrap()).await.unwrap();
        for field in ["id", "symbol", "side", "quantity", "filled_quantity", "status", "version"] {
            assert_eq!(row[field], state[field], "{field}");
        }
    }
    let newest = lab.cli(&["orders", "--limit", "1", "--json"]).await.succeeded().json();
    assert_eq!(newest.as_array().unwrap().len(), 1);
    assert_eq!(newest[0]["client_order_id"], "refused");

    for id in ["resting", &resting.order_id()] {
        let told = lab.cli(&["order", id, "--json"]).await.succeeded().json();
        assert_eq!(find_key(&told, "client_order_id"), Some(&json!("resting")), "{told}");
        assert_eq!(find_key(&told, "status"), Some(&json!("Acknowledged")), "{told}");
    }
    let table = lab.cli(&["orders"]).await.succeeded().stdout;
    for word in ["filled", "resting", "refused", "ETHUSDT"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let ran = lab.cli(&["order", "nobody"]).await.exits(1);
    assert!(ran.stderr.contains("nobody"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_journal_can_be_read_while_redis_is_away() {
    let mut lab = Lab::new().await;
    let mut worker = lab.worker().await;
    lab.execute(&market("kept", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    worker.terminate().await;
    lab.adjust(|s| {
        s.text("redis.url", "redis://127.0.0.1:1/");
    });
    let rows = lab.cli(&["orders", "--json"]).await.succeeded().json();
    assert_eq!(rows[0]["client_order_id"], "kept");
    lab.cli(&["order", "kept"]).await.succeeded();
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn positions_prints_a_table_and_an_empty_array() {
    let lab = Lab::new().await;
    lab.cli(&["migrate"]).await.succeeded();
    assert_eq!(lab.cli(&["positions", "--json"]).await.succeeded().json(), json!([]));
    let _worker = lab.worker().await;
    lab.execute(&market("bought", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    let table = lab.cli(&["positions"]).await.succeeded().stdout;
    assert!(table.contains("BTCUSDT"), "{table}");
}

#[tokio::test]
async fn migrate_makes_the_schema_and_does_nothing_the_second_time() {
    let lab = Lab::new().await;
    lab.cli(&["migrate"]).await.succeeded();
    lab.cli(&["migrate", "--json"]).await.succeeded().json();
    let mut journal = lab.journal().await;
    for table in ["orders", "requests", "attempts", "trades", "positions", "outcomes", "risk_limits"] {
        assert_eq!(journal.count(&format!("SELECT count(*) FROM {table}")).await, 0);
    }
}

#[tokio::test]
async fn check_reaches_every_dependency_and_names_the_one_that_is_away() {
    let mut lab = Lab::new().await;
    let ran = lab.cli(&["check"]).await.succeeded();
    let said = ran.said().to_lowercase();
    assert!(said.contains("redis") && (said.contains("database") || said.contains("journal")), "{said}");
    assert!(said.contains("ms") || said.contains("µs"), "no latency in {said}");
    serde_json::Deserializer::from_str(&lab.cli(&["check", "--json"]).await.succeeded().stdout)
        .into_iter::<Value>()
        .for_each(|document| drop(document.expect("JSON")));
    lab.adjust(|s| {
        s.text("redis.url", "redis://127.0.0.1:1/");
    });
    let ran = lab.cli(&["check"]).await.exits(4);
    assert!(ran.said().contains("127.0.0.1:1"), "{}", ran.said());
}

#[tokio::test]
async fn replay_finds_every_tampered_projection() {
    // `replay` compares what the events say with each table made from them.
    for table in ["positions", "trades", "orders"] {
        let lab = Lab::new().await;
        let mut worker = lab.worker().await;
        lab.execute(&market("one", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
        lab.execute(&market("two", "ETHUSDT", "Sell", "1.5")).await.is_completed("Filled");
        lab.execute(&limit("three", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
        assert_eq!(worker.terminate().await, 0);
        lab.cli(&["replay"]).await.succeeded();
        lab.cli(&["replay", "--json"]).await.succeeded().json();
        let mut journal = lab.journal().await;
        let statement = format!("DELETE FROM {table} WHERE symbol = 'ETHUSDT'");
        assert_eq!(journal.execute(&statement).await, 1, "{table}");
        let ran = lab.cli(&["replay"]).await.exits(1);
        assert!(!ran.said().trim().is_empty(), "it does not say what differs");
    }
}

#[tokio::test]
async fn replay_finds_a_changed_quantity() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().await;
    lab.execute(&market("one", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    assert_eq!(worker.terminate().await, 0);
    let mut journal = lab.journal().await;
    assert_eq!(journal.execute("UPDATE positions SET quantity = '2'").await, 1);
    let ran = lab.cli(&["replay"]).await.exits(1);
    assert!(ran.said().contains("BTCUSDT"), "it names what differs: {}", ran.said());
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_says_how_it_goes() {
    let lab = Lab::new().await;
    let wrong: [&[&str]; 8] = [
        &["frobnicate"],
        &["submit", "--side", "buy"],
        &["submit", "--symbol", "BTCUSDT", "--side", "up", "--quantity", "1", "--type", "market"],
        &["submit", "--symbol", "BTCUSDT", "--side", "buy", "--quantity", "much", "--type", "market"],
        &["submit", "--symbol", "BTCUSDT", "--side", "buy", "--quantity", "1", "--type", "limit"],
        &["cancel"],
        &["orders", "--limit", "many"],
        &["orders", "--frob"],
    ];
    for arguments in wrong {
        let ran = lab.cli(arguments).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.said());
        assert!(!ran.stderr.trim().is_empty(), "{arguments:?} says nothing");
    }
    assert_eq!(lab.length("pending").await, 0);
}

#[tokio::test]
async fn every_command_has_its_help() {
    let lab = Lab::new().await;
    let overview = lab.cli(&["--help"]).await.succeeded().stdout;
    let commands = [
        "demo",
        "worker",
        "submit",
        "cancel",
        "cancel-all",
        "replace",
        "watch",
        "orders",
        "order",
        "positions",
        "failed",
        "resolve",
        "migrate",
        "check",
        "health",
        "replay",
        "exchange",
        "bench",
        "completions",
        "man",
    ];
    for command in commands.iter().filter(|command| !["demo", "bench", "exchange"].contains(command)) {
        let help = lab.cli(&[command, "--help"]).await.succeeded().stdout;
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{command}\n{help}");
    }
    for command in commands {
        assert!(overview.contains(command), "{command} is not in\n{overview}");
        let help = lab.cli(&[command, "--help"]).await.succeeded().stdout;
        assert!(help.contains("--config") && help.contains("--json"), "{command}\n{help}");
    }
}

#[tokio::test]
async fn commands_that_need_redis_exit_with_4_where_it_is_away() {
    let lab = Lab::with(|s| {
        s.text("redis.url", "redis://:s3cr3t-word@127.0.0.1:1/");
    });
    let lab = lab.await;
    for arguments in [submit(&["--type", "market"]), vec!["cancel", "any"], vec!["check"]] {
        let ran = lab.cli(&arguments).await.exits(4);
        assert!(ran.said().contains("127.0.0.1:1"), "it names where: {}", ran.said());
        assert!(!ran.said().contains("s3cr3t-word"), "a password in {}", ran.said());
    }
}

#[tokio::test]
async fn demo_shows_orders_living_and_ends_by_itself() {
    // As a new user runs it: in the project's folder, with the configuration that is shipped.
    let mut command = Command::new(binary());
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["demo", "--once"]).env_remove("APP_ENV");
    let ran = Ran::of(command).await.succeeded();
    let said = ran.said().to_lowercase();
    for word in ["http://", "filled", "cancelled", "rejected", "risk_", "validation_failed"] {
        assert!(said.contains(word), "{word} is not in\n{}", ran.said());
    }
}
