//! Redis or the journal away: at the start, in the middle, and with or without its data when it comes back.

use crate::harness::{
    Database, Lab, PATIENCE, RedisServer, Row, Worker, assert_decimal, eventually, eventually_within, limit,
    market,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long readiness may take to tell (CONTRACT 4), and a little for a loaded machine.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(12);

async fn status_of(url: &str) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    client.get(url).send().await.ok().map(|answer| answer.status().as_u16())
}

pub(crate) async fn becomes(url: &str, status: u16, within: Duration) {
    eventually_within(within, &format!("{url} to answer {status}"), async || {
        (status_of(url).await == Some(status)).then_some(())
    })
    .await;
}

pub(crate) async fn health(worker: &mut Worker) -> (String, String) {
    let http = worker.http().await;
    (format!("{http}/health/live"), format!("{http}/health/ready"))
}

#[tokio::test]
async fn redis_away_at_the_start_is_told_with_its_address() {
    let lab = Lab::with(|s| {
        s.text("redis.url", "redis://:s3cr3t-word@127.0.0.1:1/0");
    })
    .await;
    let ran = lab.cli(&["worker"]).await.exits(4);
    assert!(ran.stderr.contains("127.0.0.1:1"), "{}", ran.stderr);
    assert!(ran.stderr.to_lowercase().contains("redis"), "{}", ran.stderr);
    assert!(!ran.said().contains("s3cr3t-word"), "a password in {}", ran.said());
}

#[tokio::test]
async fn a_journal_that_cannot_be_opened_at_the_start_is_told_with_its_path() {
    let mut lab = Lab::of(Database::Sqlite, |_| {}).await;
    std::fs::write(lab.path("a-file"), "no folder").unwrap();
    let path = lab.path("a-file").join("journal.db");
    lab.adjust(|s| {
        s.text("database.url", &format!("sqlite://{}", path.display()));
    });
    let ran = lab.cli(&["worker"]).await;
    assert!([1, 2, 4].contains(&ran.code), "exit code {}: {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("a-file/journal.db"), "{}", ran.stderr);
}

#[tokio::test]
async fn redis_killed_under_load_and_back_with_its_data_loses_nothing() {
    let server = RedisServer::start();
    let mut lab = Lab::on(&server, |s| {
        s.set("broker.mock.latency_ms", "20")
            .set("worker.batch_size", "16")
            .set("worker.claim_idle_ms", "1000");
    })
    .await;
    let mut worker = lab.worker().await;
    let (live, ready) = health(&mut worker).await;
    becomes(&ready, 200, TOLD_WITHIN).await;
    let order = |n| market(&format!("load-{n}"), "BTCUSDT", "Buy", "1");
    let mut entries = lab.submit_all(&(0..400).map(order).collect::<Vec<_>>()).await;
    eventually("some outcomes", async || (lab.length("completed").await >= 40).then_some(())).await;

    for round in 0..2 {
        server.kill();
        becomes(&ready, 503, TOLD_WITHIN).await;
        assert_eq!(status_of(&live).await, Some(200), "alive without Redis");
        assert!(!worker.has_ended(), "the worker gave up");
        server.restart();
        lab.reconnect().await;
        becomes(&ready, 200, PATIENCE).await;
        assert_eq!(status_of(&live).await, Some(200));
        let first = 400 + round * 50;
        entries.extend(lab.submit_all(&(first..first + 50).map(order).collect::<Vec<_>>()).await);
    }
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (500, 500), "one execution an order");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "500");
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn after_a_flush_the_group_is_made_again_and_the_journal_still_knows_its_orders() {
    let server = RedisServer::start();
    let lab = Lab::on(&server, |_| {}).await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    lab.execute(&limit("before", "GOLD", "Buy", "1", "98")).await.is_completed("Acknowledged");
    redis::cmd("FLUSHALL").query_async::<()>(&mut lab.redis()).await.unwrap();

    lab.execute(&market("after", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    lab.quote("GOLD", "99", "100", &[]).await;
    // The same request again is still the same order.
    lab.execute(&limit("before", "GOLD", "Buy", "1", "98")).await.is_completed("Acknowledged");
    lab.cancel(&json!({"client_order_id": "before"})).await.is_completed("Cancelled");
    assert_eq!(lab.state("before").await.unwrap()["status"], "Cancelled");
}

#[tokio::test]
async fn a_destroyed_group_is_made_again_at_the_beginning() {
    let server = RedisServer::start();
    let lab = Lab::on(&server, |_| {}).await;
    let _worker = lab.worker().await;
    lab.execute(&market("before", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    for round in 0..3 {
        // Destroyed and added in one step: a group that is made again at the end would miss the request.
        let order = market(&format!("orphan-{round}"), "BTCUSDT", "Buy", "1").to_string();
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("XGROUP").arg("DESTROY").arg(lab.key("pending")).arg("execution").ignore();
        pipe.cmd("XADD").arg(lab.key("pending")).arg("*").arg("order").arg(order);
        let (entry,): (String,) = pipe.query_async(&mut lab.redis()).await.unwrap();
        lab.outcome(&entry).await.is_completed("Filled");
    }
    // So does a stream that is deleted whole.
    redis::cmd("DEL").arg(lab.key("pending")).query_async::<()>(&mut lab.redis()).await.unwrap();
    lab.execute(&market("deleted", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "5");
}

#[tokio::test]
async fn a_locked_journal_stops_intake_and_nothing_is_answered_until_it_is_free() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().await;
    let (live, ready) = health(&mut worker).await;
    lab.execute(&market("before", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    becomes(&ready, 200, TOLD_WITHIN).await;

    let mut other = lab.journal().await;
    other.lock().await.unwrap();
    let locked = Instant::now();
    let mut orders: Vec<_> = (0..30).map(|n| market(&format!("held-{n}"), "BTCUSDT", "Buy", "1")).collect();
    orders.push(market("unknown-symbol", "NOWHERE", "Buy", "1"));
    let entries = lab.submit_all(&orders).await;
    becomes(&ready, 503, TOLD_WITHIN).await;
    println!("503 after {:?}", locked.elapsed());
    assert_eq!(status_of(&live).await, Some(200));
    assert_eq!(lab.length("completed").await, 1, "an order was answered that is not in the journal");
    assert_eq!(lab.length("failed").await, 0, "a journal that cannot be written is no reason to refuse");
    assert_eq!(lab.length("pending").await, 31, "requests stay pending");
    assert_eq!(lab.state("held-0").await, None);

    other.unlock().await;
    becomes(&ready, 200, PATIENCE).await;
    let outcomes = lab
        .outcomes(&[vec![lab.all_outcomes().await[0].text("entry_id").to_owned()], entries].concat())
        .await;
    let (last, filled) = outcomes.split_last().unwrap();
    last.is_failed("UNKNOWN_SYMBOL");
    for outcome in filled {
        outcome.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (31, 31));
}

/// As after a power cut with `appendfsync everysec`: what was published last is gone, the journal knows it.
#[tokio::test]
async fn events_that_redis_lost_are_published_again_before_what_follows_them() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("lost-tail", "BTCUSDT", "Buy", "1", "44000")).await.is_completed("Acknowledged");
    let state = lab.state("lost-tail").await.unwrap();
    let id = state["id"].as_str().unwrap().to_owned();
    // The journal has marked all five versions as published; Redis comes back with three.
    let mut journal = lab.journal().await;
    eventually("all marks", async || {
        (journal.count("SELECT count(*) FROM outbox_commits").await == 0).then_some(())
    })
    .await;
    let mut redis = lab.redis();
    let version = lab.key(&format!("version:{id}"));
    let _: () = redis::cmd("SET").arg(version).arg(3).query_async(&mut redis).await.unwrap();
    let events = lab.key("events");
    let _: i64 = redis::cmd("XTRIM").arg(events).arg("MAXLEN").arg(1).query_async(&mut redis).await.unwrap();
    lab.cancel(&json!({"client_order_id": "lost-tail"})).await.is_completed("Cancelled");
    let versions: Vec<String> =
        lab.history(&id).await.iter().map(|entry| entry.text("version").to_owned()).collect();
    assert!(versions.ends_with(&["5".to_owned(), "6".to_owned(), "7".to_owned()]), "{versions:?}");
}

/// Redis takes entry ids of any 64 bits from whoever adds them.
#[tokio::test]
async fn entry_ids_of_all_64_bits_are_carried_through() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let mut redis = lab.redis();
    for (n, id) in ["5-18446744073709551600", "18446744073709551000-7"].into_iter().enumerate() {
        let order = market(&format!("far-{n}"), "BTCUSDT", "Buy", "1").to_string();
        let added: String = redis::cmd("XADD")
            .arg(lab.key("pending"))
            .arg(id)
            .arg("order")
            .arg(order)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(added, id);
        lab.outcome(id).await.is_completed("Filled");
    }
    let query = "SELECT entry_ms, entry_seq FROM orders ORDER BY admission";
    let number = |row: &Row, column| row.number(column).unwrap();
    let kept = lab.journal().await.rows(query).await;
    let kept: Vec<_> = kept.iter().map(|row| (number(row, "entry_ms"), number(row, "entry_seq"))).collect();
    assert_eq!(kept, [(5, -16), (18_446_744_073_709_551_000_u64.cast_signed(), 7)]);
    assert_eq!(lab.pending_entries().await, 0);
}
