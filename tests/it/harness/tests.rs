//! The harness itself: what the other tests rely on must be able to fail.

use super::{
    Database, Guarded, Lab, Outcome, PostgresServer, RedisServer, assert_decimal, eventually, market, schema,
};
use futures_util::FutureExt;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

/// Plays the worker: answers a request as `orders:completed` or `orders:failed` would.
async fn answer(lab: &Lab, stream: &str, fields: &[(&str, &str)]) {
    let mut add = redis::cmd("XADD");
    add.arg(lab.key(stream)).arg("*").arg(fields).arg("timestamp").arg("2026-01-02T03:04:05.000006Z");
    add.arg("request").arg("submit");
    if stream == "completed" {
        let order = &schema::published("order")["examples"][0];
        for name in ["client_order_id", "id"] {
            let field = if name == "id" { "order_id" } else { name };
            add.arg(field).arg(order[name].as_str().unwrap());
        }
        add.arg("order").arg(order.to_string());
    }
    add.query_async::<String>(&mut lab.redis()).await.unwrap();
}

fn fails(check: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

#[tokio::test]
async fn a_private_redis_keeps_its_data_over_a_kill() {
    let server = RedisServer::start();
    let mut lab = Lab::on(&server, |_| {}).await;
    let entry = lab.submit(&market("kept", "BTCUSDT", "Buy", "1")).await;
    server.kill();
    assert!(redis::cmd("PING").query_async::<String>(&mut lab.redis()).await.is_err());
    server.restart();
    lab.reconnect().await;
    assert_eq!(lab.range("pending").await[0].id, entry);
}

#[tokio::test]
async fn outcomes_are_found_and_checked() {
    let lab = Lab::new().await;
    let entries =
        lab.submit_all(&[market("a", "BTCUSDT", "Buy", "1"), market("b", "BTCUSDT", "Buy", "1")]).await;
    answer(&lab, "completed", &[("entry_id", &entries[0]), ("status", "Filled")]).await;
    let error = "the quantity 1 is above the limit of 0.5";
    let failed = [
        ("entry_id", entries[1].as_str()),
        ("status", "Rejected"),
        ("code", "RISK_MAX_ORDER_QUANTITY"),
        ("error", error),
    ];
    answer(&lab, "failed", &failed).await;

    let filled = lab.outcome(&entries[0]).await;
    filled.is_completed("Filled");
    assert!(fails(|| _ = filled.is_completed("Cancelled")));
    assert!(fails(|| _ = filled.is_failed("RISK_MAX_ORDER_QUANTITY")));
    let refused = lab.outcome(&entries[1]).await;
    refused.is_failed("RISK_MAX_ORDER_QUANTITY").names(&["Quantity"]);
    assert!(fails(|| _ = refused.is_failed("RISK_Y")));
    assert!(fails(|| _ = refused.names(&["price"])));
    assert!(fails(|| _ = refused.is_completed("Rejected")));

    // A sentence with a control character, one that is none, and one without an end.
    for error in ["a\tb c", "no", &"long ".repeat(100)] {
        let entry = lab.submit(&json!({})).await;
        let code = ("code", "INVALID_PAYLOAD");
        let fields = [("entry_id", entry.as_str()), ("status", "Rejected"), code, ("error", error)];
        answer(&lab, "failed", &fields).await;
        let first_read = AssertUnwindSafe(lab.outcome(&entry)).catch_unwind().await;
        assert_eq!(first_read.is_ok(), error == "no", "{error:?} and its schema");
        let outcome: Outcome = lab.outcome(&entry).await;
        assert!(fails(|| _ = outcome.is_failed(code.1)), "{error:?} passed");
    }
}

#[tokio::test]
async fn a_second_outcome_of_a_request_is_noticed() {
    let lab = Lab::new().await;
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(lab.key("pending")).arg("execution").arg("0").arg("MKSTREAM");
    create.query_async::<()>(&mut lab.redis()).await.unwrap();
    for entry in ["1-1", "2-2"] {
        answer(&lab, "completed", &[("entry_id", entry), ("status", "Filled")]).await;
    }
    let entries = ["1-1".to_owned(), "2-2".to_owned()];
    assert_eq!(lab.outcomes(&entries).await.len(), 2);
    answer(&lab, "failed", &[("entry_id", "1-1"), ("status", "Rejected")]).await;
    let twice = AssertUnwindSafe(lab.outcomes(&entries)).catch_unwind().await;
    assert!(twice.is_err(), "two outcomes of 1-1 passed");
}

#[tokio::test]
async fn messages_and_quotes_arrive() {
    let lab = Lab::new().await;
    let watch = lab.watch("status").await;
    let mut publish = redis::cmd("PUBLISH");
    let mut message = schema::published("status_message")["examples"][0].clone();
    message["client_order_id"] = json!("a");
    publish.arg(lab.key("status")).arg(message.to_string());
    publish.query_async::<()>(&mut lab.redis()).await.unwrap();
    eventually("the message", async || watch.about("a").pop()).await;
    assert!(watch.about("b").is_empty());
    message["news"] = json!(1);
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(lab.key("status")).arg(message.to_string());
    publish.query_async::<()>(&mut lab.redis()).await.unwrap();
    eventually("a field that its schema does not have", async || fails(|| _ = watch.texts()).then_some(()))
        .await;

    lab.quote("GOLD", "99", "100", &[("bid_size", "3")]).await;
    lab.quote("GOLD", "98", "101", &[]).await;
    let quote: std::collections::HashMap<String, String> =
        redis::cmd("HGETALL").arg(lab.key("quotes:GOLD")).query_async(&mut lab.redis()).await.unwrap();
    assert_eq!((quote["bid"].as_str(), quote["last"].as_str(), quote.get("bid_size")), ("98", "99.5", None));
}

#[test]
fn amounts_are_strings_and_compared_by_value() {
    assert_decimal(&json!("0.50"), "0.5");
    assert!(fails(|| assert_decimal(&json!(0.5), "0.5")), "a JSON number is no amount");
    assert!(fails(|| assert_decimal(&json!("0.5000000001"), "0.5")));
}

#[tokio::test]
async fn a_guarded_process_does_not_outlive_its_guard() {
    let mut command = Command::new("sleep");
    let mut guarded = Guarded::spawn(command.arg("1000").stdin(Stdio::null())).unwrap();
    let pid = guarded.child().id().to_string();
    assert_eq!(guarded.exit_code(), None);
    drop(guarded);
    let alive = Command::new("kill").args(["-0", &pid]).stderr(Stdio::null()).status().unwrap();
    assert!(!alive.success());
}

/// Whatever is asked of a journal is told alike, whichever database it is in.
#[tokio::test]
async fn both_databases_tell_the_same_of_the_same_rows() {
    for database in [Database::Sqlite, Database::Postgres] {
        let lab = Lab::of(database, |_| {}).await;
        std::fs::write(lab.path("journal.db"), "").unwrap();
        let mut journal = lab.journal().await;
        let blob = if database == Database::Sqlite { "BLOB" } else { "bytea" };
        journal.execute(&format!("CREATE TABLE t (n bigint, a text, b {blob}, j text, empty text)")).await;
        let byte = if database == Database::Sqlite { "x'00ff'" } else { "'\\x00ff'" };
        let row = format!("INSERT INTO t VALUES (-16, '1.50', {byte}, '{{\"k\": [0.10]}}', NULL)");
        assert_eq!(journal.execute(&row).await, 1);
        assert_eq!(journal.count("SELECT count(*) FROM t").await, 1);
        let rows = journal.rows("SELECT * FROM t ORDER BY n").await;
        let row = &rows[0];
        assert_eq!((row.number("n"), row.text("a")), (Ok(-16), Ok("1.50".to_owned())), "{database}");
        assert_eq!(row.text("b").unwrap(), "\\x00ff", "{database}");
        assert_eq!(row.json("j").unwrap().to_string(), r#"{"k":[0.10]}"#, "{database}: digit by digit");
        assert_eq!(row.optional("empty"), Ok(None));
        assert!(row.text("empty").is_err() && row.text("unknown").is_err() && row.number("j").is_err());
        assert!(journal.try_execute("INSERT INTO nowhere VALUES (1)").await.is_err());
    }
}

#[tokio::test]
async fn a_lock_of_the_journal_keeps_others_out_until_it_is_given_back() {
    for database in [Database::Sqlite, Database::Postgres] {
        let lab = Lab::of(database, |_| {}).await;
        std::fs::write(lab.path("journal.db"), "").unwrap();
        let patience = std::time::Duration::from_millis(200);
        let (mut one, mut other) = (lab.journal().await, lab.try_journal(patience).await.unwrap());
        one.execute("CREATE TABLE orders (n bigint)").await;
        one.lock().await.unwrap();
        assert!(other.try_execute("INSERT INTO orders VALUES (1)").await.is_err(), "{database}");
        one.close().await;
        assert_eq!(other.execute("INSERT INTO orders VALUES (1)").await, 1, "{database}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_postgres_is_killed_frozen_and_restarted_and_keeps_what_was_committed() {
    let server = PostgresServer::start();
    let lab = Lab::between(None, Some(server.database().await), |_| {}).await;
    let patience = std::time::Duration::from_secs(5);
    let mut journal = lab.journal().await;
    journal.execute("CREATE TABLE t (n bigint); INSERT INTO t VALUES (7)").await;
    for round in 0..2 {
        if round == 0 {
            server.kill();
        } else {
            server.stop_immediate();
        }
        assert!(!server.is_running());
        assert!(journal.try_count("SELECT n FROM t").await.is_err(), "a connection outlived its server");
        assert!(lab.try_journal(patience).await.is_err(), "somebody answers");
        server.restart();
        journal = lab.try_journal(patience).await.unwrap();
        assert_eq!(journal.count("SELECT n FROM t").await, 7);
    }
    server.freeze();
    let asked = journal.count("SELECT n FROM t");
    let short = std::time::Duration::from_millis(300);
    tokio::pin!(asked);
    assert!(tokio::time::timeout(short, &mut asked).await.is_err(), "a frozen server answers");
    assert!(lab.try_journal(short).await.is_err(), "a frozen server lets somebody in");
    server.thaw();
    assert_eq!(asked.await, 7);
}

/// As when the test process is killed: nothing of the cluster is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_does_not_outlive_the_tests() {
    for frozen in [false, true] {
        let server = PostgresServer::start();
        if frozen {
            server.freeze();
        }
        let (mut child, folder) = server.abandon();
        eventually("the cluster to end", async || child.try_wait().unwrap()).await;
        eventually("its folder to go", async || (!folder.exists()).then_some(())).await;
    }
}
