//! The command line in daily use: lists page by page, every flag of an order, and what helps when something is amiss.

use crate::harness::{Lab, Limits, Ran, find_key, limit, market, with};
use serde_json::{Value, json};
use std::process::Command;

fn submit<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["submit", "--symbol", "BTCUSDT", "--side", "buy", "--quantity", "1"];
    arguments.extend(more);
    arguments
}

#[tokio::test]
async fn orders_are_filtered_and_paged() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
        s.text("broker.default", "other");
    })
    .await;
    let _worker = lab.worker().await;
    let of = |strategy: &str| json!({"strategy_id": strategy});
    lab.execute(&with(market("a-1", "BTCUSDT", "Buy", "1"), of("s-1"))).await.is_completed("Filled");
    lab.execute(&with(limit("a-2", "BTCUSDT", "Sell", "1", "50000"), of("s-2")))
        .await
        .is_completed("Acknowledged");
    lab.execute(&with(market("b-1", "ETHUSDT", "Buy", "6"), of("s-1")))
        .await
        .is_failed("RISK_MAX_ORDER_QUANTITY");
    lab.execute(&with(market("b-2", "ETHUSDT", "Sell", "1"), json!({"broker": "mock"})))
        .await
        .is_completed("Filled");
    let listed = async |arguments: &[&str]| {
        let ran = lab.cli(&[&["orders", "--json"], arguments].concat()).await.succeeded();
        let rows = ran.json();
        let ids =
            rows.as_array().unwrap().iter().map(|row| row["client_order_id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), ran.stderr)
    };
    let middle = lab.state("b-1").await.unwrap()["created_at"].as_str().unwrap().to_owned();
    for (arguments, expected) in [
        (&[][..], &["b-2", "b-1", "a-2", "a-1"][..]),
        (&["--symbol", "BTCUSDT"], &["a-2", "a-1"]),
        (&["--side", "SELL"], &["b-2", "a-2"]),
        (&["--broker", "mock"], &["b-2"]),
        (&["--status", "filled,Rejected"], &["b-2", "b-1", "a-1"]),
        (&["--status", "filled", "--status", "acknowledged", "--symbol", "BTCUSDT"], &["a-2", "a-1"]),
        (&["--status", "acknowledged,partiallyfilled"], &["a-2"]),
        (&["--open"], &["a-2"]),
        (&["--parked"], &[]),
        (&["--strategy-id", "s-1"], &["b-1", "a-1"]),
        (&["--client-order-id", "b-"], &["b-2", "b-1"]),
        (&["--client-order-id", "a-1"], &["a-1"]),
        (&["--since", &middle], &["b-2", "b-1"]),
        (&["--until", &middle], &["a-2", "a-1"]),
        (&["--since", "1h"], &["b-2", "b-1", "a-2", "a-1"]),
        (&["--until", "1h"], &[]),
        (&["--before", "b-1"], &["a-2", "a-1"]),
    ] {
        let (ids, said) = listed(arguments).await;
        assert_eq!(ids, expected, "{arguments:?}");
        assert_eq!(said, "", "there is no further page");
    }
    // A page begins behind an order: what comes in meanwhile shifts nothing.
    let (first, said) = listed(&["--limit", "2"]).await;
    assert_eq!(first, ["b-2", "b-1"]);
    let before = lab.state("b-1").await.unwrap()["id"].as_str().unwrap().to_owned();
    let told = said.trim().rsplit_once("the next page: ").expect("how it goes on").1;
    assert!(told.ends_with(&format!(" orders --json --limit 2 --before {before}")), "{said}");
    lab.execute(&market("new", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    // As a shell would run it.
    let mut next = Command::new("sh");
    next.args(["-c", told]).current_dir(lab.path("")).env_remove("APP_ENV");
    let second = Ran::of(next).await.succeeded();
    let ids: Vec<_> =
        second.json().as_array().unwrap().iter().map(|row| row["client_order_id"].clone()).collect();
    assert_eq!(ids, ["a-2", "a-1"], "{told}");
    assert_eq!(second.stderr, "");
    let ran = lab.cli(&["orders", "--before", "nobody"]).await.exits(1);
    assert!(ran.stderr.contains("nobody") && ran.stderr.contains("--client-order-id"), "{}", ran.stderr);
    for wrong in [&["--since", "soon"][..], &["--status", "gone"], &["--limit", "0"], &["--side", "up"]] {
        lab.cli(&[&["orders"], wrong].concat()).await.exits(2);
    }
}

#[tokio::test]
async fn every_field_of_an_order_has_its_flag() {
    let lab = Lab::new().await;
    let id = "019f6f3e-0000-7000-8000-000000000001";
    let flags = [
        "--type",
        "limit-if-touched",
        "--price",
        "44000.10",
        "--stop-price",
        "44100",
        "--time-in-force",
        "gtd",
        "--expires-at",
        "2036-01-01T00:00:00Z",
        "--broker",
        "mock",
        "--post-only",
        "--reduce-only",
        "--display-size",
        "0.50",
        "--no-partial-fills",
        "--urgency",
        "high",
        "--would-price-improve",
        "false",
        "--max-slippage",
        "0.5",
        "--position-size-check",
        "--condition",
        "price>=45000",
        "--condition",
        "price<1e5",
        "--parent-order-id",
        "p",
        "--linked-order",
        "l-1",
        "--linked-order",
        "l-2",
        "--strategy-id",
        "s",
        "--signal-id",
        "g",
        "--component-name",
        "c",
        "--metadata",
        r#"{"n": 0.10}"#,
        "--id",
        id,
        "--client-order-id",
        "all",
    ];
    lab.cli(&submit(&flags)).await.succeeded();
    let order = lab.range("pending").await[0].json("order");
    assert_eq!(
        order,
        json!({
            "id": id, "client_order_id": "all", "symbol": "BTCUSDT", "side": "Buy", "quantity": "1",
            "order_type": {"LimitIfTouched": {"trigger_price": "44100", "limit_price": "44000.10"}},
            "time_in_force": {"GTD": {"expires_at": "2036-01-01T00:00:00Z"}}, "broker": "mock",
            "conditions": [
                {"condition_type": "Price", "trigger_value": "45000", "comparison": "GreaterOrEqual"},
                {"condition_type": "Price", "trigger_value": "1e5", "comparison": "Less"},
            ],
            "parent_order_id": "p", "linked_orders": ["l-1", "l-2"],
            "execution_instructions": {
                "post_only": true, "reduce_only": true, "display_size": "0.50", "allow_partial_fills": false,
                "urgency": "high", "would_price_improve": false,
            },
            "max_slippage": "0.5", "position_size_check": true, "strategy_id": "s", "signal_id": "g",
            "component_name": "c", "metadata": {"n": serde_json::from_str::<Value>("0.10").unwrap()},
        })
    );
    // Each kind of order is read by the worker; what it does not build it refuses, for that reason and no other.
    let _worker = lab.worker().await;
    for kind in [
        &["stop", "--stop-price", "46000"][..],
        &["stop-limit", "--stop-price", "46000", "--price", "46001"],
        &["trailing-stop", "--distance", "5", "--distance-type", "percent"],
        &["market-if-touched", "--stop-price", "44000"],
        &["iceberg", "--display-quantity", "0.1", "--variance", "0"],
        &["custom", "--algorithm", "twap", "--params", "{}"],
    ] {
        let ran = lab.cli(&submit(&[&["--type"], kind, &["--wait", "--json"]].concat())).await;
        let code = find_key(&ran.json(), "code").cloned();
        let is_read = code.is_none() || code == Some(json!("UNSUPPORTED_BY_BROKER"));
        assert!(is_read, "{kind:?}: {}", ran.said());
    }
}

#[tokio::test]
async fn an_order_that_was_there_before_is_told_as_such() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let arguments = submit(&["--type", "market", "--client-order-id", "again", "--wait"]);
    let ran = lab.cli(&arguments).await.succeeded();
    assert_eq!(ran.stderr, "");
    let ran = lab.cli(&arguments).await.succeeded();
    assert!(ran.stdout.contains("Filled") && ran.stderr.contains("there before"), "{}", ran.said());
    assert_eq!(lab.trades().await, (1, 1));
}

#[tokio::test]
async fn a_wait_in_vain_says_what_to_do() {
    let lab = Lab::new().await;
    let arguments = submit(&["--type", "market", "--wait", "1"]);
    let ran = lab.cli(&arguments).await.exits(1);
    assert!(
        ran.stderr.contains("no worker is alive") && ran.stderr.contains("order-execution worker"),
        "{}",
        ran.stderr
    );
    let worker = lab.worker().await;
    worker.signal("STOP");
    let ran = lab.cli(&arguments).await.exits(1);
    assert!(ran.stderr.contains("a worker is alive"), "{}", ran.stderr);
}

#[tokio::test]
async fn shells_and_manuals_are_served_without_configuration() {
    let lab = Lab::new().await;
    lab.write_config("default.toml", "broken = [");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = lab.cli(&["completions", shell]).await.succeeded().stdout;
        assert!(script.contains("cancel-all") && script.contains("post-only"), "{shell}: {script}");
    }
    lab.cli(&["completions", "csh"]).await.exits(2);
    // As bash asks: what may follow here?
    let script = lab.path("complete.bash");
    std::fs::write(&script, lab.cli(&["completions", "bash"]).await.stdout).unwrap();
    for (words, expected) in [
        ("order-execution canc", "cancel cancel-all"),
        ("order-execution submit --time", "--time-in-force"),
        ("order-execution cancel-all --sy", "--symbol"),
        ("order-execution failed requeue --co", "--code --config"),
    ] {
        let (before, last) = words.rsplit_once(' ').unwrap();
        let count = before.split(' ').count();
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={count}; \
             f=$(complete -p order-execution | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             $f order-execution {last} {}; echo \"${{COMPREPLY[*]}}\"",
            script.display(),
            before.rsplit(' ').next().unwrap()
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &line]);
        let ran = Ran::of(bash).await.succeeded();
        assert_eq!(ran.stdout.trim(), expected, "{words}: {}", ran.stderr);
    }
    let page = lab.cli(&["man"]).await.succeeded().stdout;
    assert!(page.contains(".TH order-execution 1") && page.contains("cancel"), "{page}");
    let dir = lab.path("man").display().to_string();
    lab.cli(&["man", "--dir", &dir]).await.succeeded();
    let page = std::fs::read_to_string(lab.path("man/order-execution-submit.1")).unwrap();
    assert!(page.contains("EXAMPLES AND EXIT CODES") && page.contains("\\-\\-time\\-in\\-force"), "{page}");
    assert!(lab.path("man/order-execution-failed-requeue.1").exists());
    std::fs::write(lab.path("file"), "").unwrap();
    lab.cli(&["man", "--dir", &lab.path("file/man").display().to_string()]).await.exits(1);
}
