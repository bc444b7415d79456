//! `submit --file`: many orders at once, each exactly once, however often the file is run.

use crate::harness::{Lab, Limits, Ran, RedisServer, assert_decimal, eventually};
use serde_json::{Value, json};

fn write(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.path(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn documents(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON document a line")).collect()
}

/// A header and so many market orders of BTCUSDT.
fn sheet(rows: usize) -> String {
    format!("symbol,side,quantity,type\n{}", "BTCUSDT,buy,0.1,market\n".repeat(rows))
}

#[tokio::test]
async fn a_sheet_is_carried_out_digit_by_digit_and_never_twice() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let submitted = lab.watch("submitted").await;
    let text = format!(
        "{}BTCUSDT,sell,0.1000000001,limit,50000.10,TRUE,,named,\"{{\"\"n\"\": 0.10}}\"\n",
        "symbol,side,quantity,type,price,post_only,time_in_force,client_order_id,metadata\n".to_owned()
            + &"BTCUSDT,buy,0.5,market,,,,,\r\n".repeat(299)
    );
    let file = write(&lab, "orders.csv", &text);
    let submit = ["submit", "--file", &file, "--wait", "60"];
    let ran = lab.cli(&submit).await.succeeded();
    assert!(ran.stdout.contains("300 of 300 orders added"), "{}", ran.stdout);
    assert!(ran.stdout.contains("completed  1 Acknowledged, 299 Filled"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("there before") && ran.stderr.is_empty(), "{}", ran.said());
    let state = lab.state("named").await.unwrap();
    assert_eq!(state["quantity"], "0.1000000001");
    assert_eq!(state["execution_instructions"]["post_only"], true);
    assert_eq!(state["metadata"].to_string(), r#"{"n":0.10}"#);
    assert_decimal(&state["order_type"]["Limit"]["price"], "50000.10");
    eventually("each announced", async || (submitted.texts().len() == 300).then_some(())).await;
    assert_eq!(lab.trades().await, (299, 299));

    let again = lab.cli(&submit).await.succeeded();
    assert!(
        again.stdout.contains("300 of them were there before and were not executed again"),
        "{}",
        again.stdout
    );
    assert_eq!(lab.trades().await, (299, 299), "nothing is executed twice");
    let other = lab.cli(&[&submit[..], &["--batch", "tuesday"]].concat()).await;
    // All but the named one are new orders.
    assert!(other.stdout.contains("1 of them were there before"), "{}", other.stdout);
    assert_eq!(lab.trades().await, (598, 598));
    let rows = lab
        .cli(&["orders", "--client-order-id", "cli-", "--limit", "1000", "--json"])
        .await
        .succeeded()
        .json();
    let mut names: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["client_order_id"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    names.dedup();
    assert_eq!(names.len(), 598);
    assert!(names[0].as_str().unwrap().len() > 20 && rows[0]["id"].is_string());
}

#[tokio::test]
async fn json_comes_as_one_an_array_or_lines() {
    let lab = Lab::new().await;
    let order = r#"{"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": 0.10}"#;
    for (name, text, count) in [
        ("one.json", order.to_owned(), 1),
        ("array.json", format!("[{order},\n {order}]"), 2),
        ("lines.ndjson", format!("{order}\n\n{order}\n{order}\n"), 3),
        ("lines.txt", format!("{order}\n{order}\n"), 2),
    ] {
        let before = lab.length("pending").await;
        let file = write(&lab, name, &text);
        let ran = lab.cli(&["submit", "--file", &file, "--json"]).await.succeeded();
        let told = documents(&ran);
        let added = lab.range("pending").await.split_off(before);
        assert_eq!((told.len(), added.len()), (count, count), "{name}");
        for (told, entry) in told.iter().zip(&added) {
            assert_eq!(told["entry_id"], json!(entry.id));
            assert_eq!(told["client_order_id"], entry.json("order")["client_order_id"]);
            assert!(entry.text("order").contains(r#""quantity":0.10"#), "{entry}");
            assert!(entry.has("timestamp"));
        }
    }
    // They all say the same: the first of each file is the same order.
    let added = lab.range("pending").await;
    let names: Vec<_> = added.iter().map(|entry| entry.json("order")["client_order_id"].clone()).collect();
    assert_eq!((&names[0], &names[1], &names[2]), (&names[1], &names[3], &names[4]));
    assert!(
        names[2].as_str().unwrap().ends_with("-2") && names[5].as_str().unwrap().ends_with("-3"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_file_with_a_fault_sends_nothing() {
    let lab = Lab::new().await;
    let good = r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"1","order_type":"Market"}"#;
    for (name, text, told) in [
        (
            "a.csv",
            "symbol,side,quantity,type\nBTCUSDT,buy,1,market\nBTCUSDT,buy,1\n".to_owned(),
            "line 3: it has 3 cells, the header has 4",
        ),
        ("b.csv", "symbol,side,qty,type\nBTCUSDT,buy,1,market\n".to_owned(), "line 1: \"qty\" is no field"),
        ("c.csv", "symbol,side,quantity,type\n".to_owned(), "there is no order"),
        ("d.jsonl", format!("{good}\n{good}\n[1]\n{{\"symbol\":\n"), "line 4: not the JSON of an order"),
        ("e.json", format!("[{good},\n{good},\n\n7]"), "line 4: not a JSON object"),
        ("f.json", "oops".to_owned(), "not a JSON object"),
        ("g.jsonl", format!("{good}\n{{\"metadata\":\"{}\"}}", "x".repeat(70_000)), "line 2: the order has"),
    ] {
        let file = write(&lab, name, &text);
        let ran = lab.cli(&["submit", "--file", &file, "--wait"]).await.exits(2);
        assert!(
            ran.stderr.contains(told) && ran.stderr.contains("nothing was sent"),
            "{name}: {}",
            ran.stderr
        );
    }
    let file = write(&lab, "two.jsonl", &format!("{good}\n{good}"));
    for wrong in [
        &["submit", "--file", "/nowhere/at.all"][..],
        &["submit", "--file", &file, "--client-order-id", "x"],
        &["submit", "--file", &file, "--symbol", "X"],
        &["submit", "--file", &file, "--format", "xml"],
        &["submit", "--format", "csv", "--json-order", good],
        &["submit", "--batch", "b", "--symbol", "X", "--side", "buy", "--quantity", "1", "--type", "market"],
    ] {
        lab.cli(wrong).await.exits(2);
    }
    assert_eq!(lab.length("pending").await, 0);
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_worst() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
    })
    .await;
    let worker = lab.worker().await;
    let text =
        format!("symbol,side,quantity,type\n{}BTCUSDT,buy,1,market\n", "BTCUSDT,buy,6,market\n".repeat(12));
    let file = write(&lab, "refused.csv", &text);
    let ran = lab.cli(&["submit", "--file", &file, "--wait"]).await.exits(3);
    for told in [
        "completed  1 Filled",
        "failed     12 RISK_MAX_ORDER_QUANTITY",
        "line 2  cli-",
        "and 2 more",
        "failed list",
    ] {
        assert!(ran.stdout.contains(told), "{told} is not in\n{}", ran.stdout);
    }
    let ran = lab.cli(&["submit", "--file", &file, "--wait", "--json", "--batch", "b"]).await.exits(3);
    let told = documents(&ran);
    assert_eq!(told.len(), 13);
    let refused: Vec<_> = told.iter().filter(|row| row["code"] == "RISK_MAX_ORDER_QUANTITY").collect();
    assert_eq!(refused.len(), 12);
    assert!(told.iter().any(|row| row["line"] == 14 && row["status"] == "Filled"), "{told:?}");
    assert!(ran.stderr.contains("13 of 13 orders added"), "{}", ran.stderr);
    worker.kill();

    // Nobody works: the orders stay, and it says what to do.
    let file = write(&lab, "late.csv", &sheet(3));
    let ran = lab.cli(&["submit", "--file", &file, "--wait", "1"]).await.exits(1);
    assert!(ran.stdout.contains("no outcome 3"), "{}", ran.stdout);
    assert_eq!(lab.length("pending").await, 3);
}

#[tokio::test]
async fn what_the_broker_rejects_is_worse_than_a_refusal() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.failure_rate", "1");
    })
    .await;
    let file = write(&lab, "orders.csv", &sheet(3));
    let ran = lab.cli(&["submit", "--file", &file, "--wait", "1"]).await.exits(1);
    assert!(ran.stderr.contains("no worker is alive"), "{}", ran.stderr);
    let _worker = lab.worker().await;
    let ran = lab.cli(&["submit", "--file", &file, "--wait"]).await.exits(1);
    assert!(ran.stdout.contains("3 BROKER_REJECTED"), "{}", ran.stdout);
}

#[tokio::test]
async fn where_redis_takes_no_more_it_says_how_far_it_came_and_the_rest_follows() {
    const ROWS: usize = 4000;
    let server = RedisServer::start();
    let lab = Lab::on(&server, |_| {}).await;
    let file = write(&lab, "orders.csv", &sheet(ROWS));
    let set = async |name: &str, value: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg(name).arg(value);
        config.exec_async(&mut lab.redis()).await.unwrap();
    };
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut lab.redis()).await.unwrap();
    let used: u64 =
        info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    set("maxmemory", &(used + 400_000).to_string()).await;
    let ran = lab.cli(&["submit", "--file", &file]).await.exits(1);
    assert!(
        ran.stderr.contains("of 4000 orders were added for sure") && ran.stderr.contains("safe"),
        "{}",
        ran.stderr
    );
    let added = lab.length("pending").await;
    assert!(added > 0 && added < ROWS, "{added} were added");
    set("maxmemory", "0").await;
    let _worker = lab.worker().await;
    let ran = lab.cli(&["submit", "--file", &file, "--wait", "60"]).await.succeeded();
    assert!(ran.stdout.contains(&format!("completed  {ROWS} Filled")), "{}", ran.stdout);
    assert_eq!(lab.trades().await, (4000, 4000));

    server.kill();
    let ran = lab.cli(&["submit", "--file", &file]).await.exits(4);
    assert!(ran.stderr.contains("ORDER_EXECUTION__REDIS__URL"), "{}", ran.stderr);
}
