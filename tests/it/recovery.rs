//! What is left of a worker that died, and of a Redis that lost its data, is finished by whoever lives.

use crate::harness::{Lab, RedisServer, eventually, limit, market};
use serde_json::json;
use std::time::Duration;

/// A worker that dies between the journaled attempt and its answer: the embedded broker takes its time.
async fn orphan(lab: &mut Lab, id: &str) -> String {
    let victim = lab.worker().await;
    let entry = lab.submit(&market(id, "BTCUSDT", "Buy", "1")).await;
    lab.state_becomes(id, "PendingSubmit").await;
    victim.kill();
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "0");
    });
    entry
}

fn slow(s: &mut crate::harness::Settings) {
    s.set("broker.mock.latency_ms", "60000").set("worker.claim_idle_ms", "600");
}

/// The worker died, and Redis lost the entry that would lead back to the order.
#[tokio::test]
async fn an_order_whose_entry_is_lost_ends_and_its_outcome_is_told() {
    let mut lab = Lab::with(slow).await;
    let entry = orphan(&mut lab, "lost").await;
    let pending = lab.key("pending");
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("XACK").arg(&pending).arg("execution").arg(&entry).ignore();
    pipe.cmd("XDEL").arg(&pending).arg(&entry).ignore();
    pipe.query_async::<()>(&mut lab.redis()).await.unwrap();
    let mut worker = lab.worker().await;
    // A repeat waits for it, and does not wait for ever.
    let repeat = lab.submit(&market("lost", "BTCUSDT", "Buy", "1")).await;
    lab.outcome(&repeat).await.is_completed("Filled");
    lab.outcome(&entry).await.is_completed("Filled");
    assert_eq!(lab.trades().await, (1, 1));
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn after_a_flush_states_come_back_and_what_was_under_way_ends() {
    let server = RedisServer::start();
    let mut lab = Lab::on(&server, slow).await;
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "0");
    });
    let mut worker = lab.worker().await;
    lab.execute(&limit("rests", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    lab.execute(&market("done", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    assert_eq!(worker.terminate().await, 0);
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "60000");
    });
    let entry = orphan(&mut lab, "under-way").await;
    let mut worker = lab.worker().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut lab.redis()).await.unwrap();
    lab.outcome(&entry).await.is_completed("Filled");
    assert_eq!(lab.state_becomes("rests", "Acknowledged").await["version"], 5);
    lab.state_becomes("done", "Filled").await;
    // What happened of late is told again, in order and without a gap.
    let id = lab.state("under-way").await.unwrap()["id"].as_str().unwrap().to_owned();
    let history = eventually("the events of what was under way", async || {
        Some(lab.history(&id).await).filter(|history| history.len() == 2)
    })
    .await;
    assert_eq!((history[0].text("first_version"), history[1].text("first_version")), ("1", "4"));
    // And life goes on.
    lab.cancel(&json!({"client_order_id": "rests"})).await.is_completed("Cancelled");
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}

/// It was journaled and never published: its worker died just before, and its entry is gone.
#[tokio::test]
async fn a_journaled_cancel_whose_entry_is_lost_is_carried_out_and_told() {
    let mut lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "0").set("worker.claim_idle_ms", "600");
    })
    .await;
    let mut first = lab.worker().await;
    lab.execute(&limit("rests", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    assert_eq!(first.terminate().await, 0);
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "60000");
    });
    let victim = lab.worker().await;
    let entry = lab.add(&[("cancel", br#"{"client_order_id": "rests"}"#)]).await;
    lab.state_becomes_with("rests", |state| state["pending_cancel"] == true).await;
    victim.kill();
    let pending = lab.key("pending");
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("XACK").arg(&pending).arg("execution").arg(&entry).ignore();
    pipe.cmd("XDEL").arg(&pending).arg(&entry).ignore();
    pipe.query_async::<()>(&mut lab.redis()).await.unwrap();
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "0");
    });
    let _worker = lab.worker().await;
    lab.outcome(&entry).await.is_completed("Cancelled");
    lab.state_becomes("rests", "Cancelled").await;
}

/// One request that brings every worker down is given up; its neighbours are not blamed for it.
#[cfg(feature = "crash-points")]
#[tokio::test]
async fn a_request_that_brings_its_workers_down_is_given_up_alone() {
    let lab = Lab::with(|s| {
        s.set("worker.claim_idle_ms", "300").set("worker.max_deliveries", "3");
    })
    .await;
    let orders: Vec<_> = ["poison", "a", "b"].iter().map(|id| market(id, "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&orders).await;
    // Each dies before it journals what it took first: all three together, then the first alone.
    for _ in 0..5 {
        let mut command = lab.command();
        command.arg("worker").env("ORDER_EXECUTION_CRASH", "admission-commit-before:kill");
        let mut worker = crate::harness::Worker::spawn(command);
        worker.exit_code().await;
        // The next one finds it first: it is the oldest, once it has lain idle for long enough.
        eventually("the request to lie idle", async || {
            let mut idle = redis::cmd("XPENDING");
            idle.arg(lab.key("pending"))
                .arg("execution")
                .arg("IDLE")
                .arg(300)
                .arg("-")
                .arg(&entries[0])
                .arg(1);
            let held: Vec<redis::Value> = idle.query_async(&mut lab.redis()).await.unwrap();
            (held.len() == 1).then_some(())
        })
        .await;
    }
    let _worker = lab.worker().await;
    let outcomes = lab.outcomes_within(Duration::from_secs(20), &entries).await;
    outcomes[0].is_failed("MAX_DELIVERIES");
    outcomes[1].is_completed("Filled");
    outcomes[2].is_completed("Filled");
    assert_eq!(lab.trades().await, (2, 2));
}

/// The second signal does not wait for what is under way.
#[tokio::test]
async fn a_second_signal_ends_a_worker_at_once() {
    let lab = Lab::with(slow).await;
    let mut worker = lab.worker().await;
    lab.submit(&market("a", "BTCUSDT", "Buy", "1")).await;
    lab.state_becomes("a", "PendingSubmit").await;
    worker.signal("TERM");
    eventually("the drain to begin", async || worker.logged("stopping")).await;
    let started = std::time::Instant::now();
    worker.signal("TERM");
    assert_eq!(worker.exit_code().await, 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// Redis lost what it was told of an order last, and the journal has marked it as published: what happens next must
/// not leave a gap for whoever reads the events from the start.
#[tokio::test]
async fn what_follows_a_loss_brings_back_what_was_lost_before_it() {
    for relayed in [false, true] {
        let mut lab = Lab::new().await;
        lab.adjust(|s| {
            s.set("worker.claim_idle_ms", "300");
        });
        let mut worker = lab.worker().await;
        let order = lab.execute(&limit("o", "BTCUSDT", "Buy", "1", "40000")).await;
        order.is_completed("Acknowledged");
        let mut journal = lab.journal().await;
        if relayed {
            lab.trade_at("BTCUSDT", "39000").await;
            lab.state_becomes("o", "Filled").await;
        }
        eventually("all is marked as published", async || {
            (journal.count("SELECT count(*) FROM outbox_commits").await == 0).then_some(())
        })
        .await;
        if relayed {
            // As if whoever journaled the fill had died before it was published.
            assert_eq!(worker.terminate().await, 0);
            let unmark = "INSERT INTO outbox_commits SELECT max(seq) FROM order_commits";
            assert_eq!(journal.execute(unmark).await, 1);
        }
        let lost = [lab.key("events"), lab.key(&format!("version:{}", order.order_id())), lab.key("state:o")];
        redis::cmd("DEL").arg(&lost).query_async::<()>(&mut lab.redis()).await.unwrap();
        if relayed {
            worker = lab.worker().await;
        } else {
            lab.trade_at("BTCUSDT", "39000").await;
        }
        lab.state_becomes("o", "Filled").await;
        let mut next = 1;
        for entry in lab.history(&order.order_id()).await {
            let version = |field: &str| entry.text(field).parse::<u64>().unwrap();
            assert!(version("first_version") <= next, "a gap before {entry}");
            next = next.max(version("version") + 1);
        }
        assert_eq!(next, 7, "all six events are there");
        assert_eq!(worker.terminate().await, 0);
    }
}
