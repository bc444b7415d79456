//! Workers that die or freeze in the middle: one outcome for each request, one execution for each order.

use crate::harness::{Database, Lab, Worker, assert_decimal, eventually, limit, market};
use std::time::Duration;

const LOAD: usize = 300;

async fn crash_lab() -> Lab {
    Lab::with(|s| {
        s.set("broker.mock.latency_ms", "20")
            .set("worker.batch_size", "16")
            .set("worker.claim_idle_ms", "500");
    })
    .await
}

async fn load(lab: &Lab) -> Vec<String> {
    let orders: Vec<_> = (0..LOAD).map(|n| market(&format!("load-{n}"), "BTCUSDT", "Buy", "1")).collect();
    lab.submit_all(&orders).await
}

async fn until_done(lab: &Lab, count: usize) {
    eventually(&format!("{count} outcomes"), async || (lab.length("completed").await >= count).then_some(()))
        .await;
}

/// Every request answered once and carried out once, whoever died on the way.
async fn check(lab: &Lab, entries: &[String], survivor: &mut Worker) {
    for outcome in lab.outcomes_within(Duration::from_secs(90), entries).await {
        outcome.is_completed("Filled");
        assert_decimal(&outcome.order()["filled_quantity"], "1");
    }
    let all = i64::try_from(LOAD).unwrap();
    assert_eq!(lab.trades().await, (all, all), "one execution an order");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], &LOAD.to_string());
    for n in [0, LOAD / 2, LOAD - 1] {
        let state = lab.state(&format!("load-{n}")).await.expect("a state");
        let history = lab.history(state["id"].as_str().unwrap()).await;
        let mut seen = 0;
        for entry in &history {
            // A reader drops the versions that it has seen; what is left has no gap.
            let first: u64 = entry.text("first_version").parse().unwrap();
            assert!(first <= seen + 1, "versions {}..{first} are missing", seen + 1);
            seen = seen.max(entry.text("version").parse().unwrap());
        }
        assert_eq!(state["version"], seen);
    }
    assert_eq!(survivor.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn a_killed_worker_leaves_its_work_to_the_other() {
    let lab = crash_lab().await;
    let victim = lab.worker().await;
    let mut survivor = lab.worker().await;
    let entries = load(&lab).await;
    until_done(&lab, 40).await;
    victim.kill();
    println!("{} requests were open when it died", lab.length("pending").await);
    check(&lab, &entries, &mut survivor).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_again_and_again_gets_through() {
    let lab = crash_lab().await;
    let entries = load(&lab).await;
    for round in 1..=3 {
        let worker = lab.worker().await;
        until_done(&lab, round * 40).await;
        worker.kill();
        println!(
            "round {round}: {} requests open, {} held",
            lab.length("pending").await,
            lab.pending_entries().await
        );
    }
    let mut survivor = lab.worker().await;
    check(&lab, &entries, &mut survivor).await;
}

/// A process that is stopped inside a transaction blocks SQLite's file until it wakes: nobody can go on
/// meanwhile, and that is another test. PostgreSQL has to get rid of such a transaction by itself.
async fn freeze_outside_a_transaction(lab: &Lab, worker: &Worker) {
    if lab.database() == Database::Postgres {
        worker.signal("STOP");
        return;
    }
    let mut journal = lab.try_journal(Duration::from_millis(100)).await.unwrap();
    eventually("the worker to be stopped between two transactions", async || {
        worker.signal("STOP");
        if journal.try_execute("BEGIN IMMEDIATE").await.is_ok() {
            journal.execute("ROLLBACK").await;
            return Some(());
        }
        worker.signal("CONT");
        None
    })
    .await;
}

#[tokio::test]
async fn a_frozen_worker_that_wakes_again_answers_and_executes_nothing_twice() {
    let lab = crash_lab().await;
    let mut frozen = lab.worker().await;
    let entries = load(&lab).await;
    until_done(&lab, 30).await;
    let mut survivor = lab.worker().await;
    freeze_outside_a_transaction(&lab, &frozen).await;
    // The other takes over what the frozen one held, once its heartbeat is gone.
    eventually("the other to finish all", async || (lab.length("pending").await == 0).then_some(())).await;
    frozen.signal("CONT");
    // It works again, so whatever it still meant to do is done before this is answered.
    let extra: Vec<_> =
        (0..LOAD).map(|n| limit(&format!("extra-{n}"), "ETHUSDT", "Buy", "1", "1000")).collect();
    let extra = lab.submit_all(&extra).await;
    let all = [entries, extra].concat();
    for outcome in lab.outcomes(&all).await {
        assert!(outcome.completed, "{}", outcome.entry);
    }
    assert_eq!(frozen.terminate().await, 0);
    check(&lab, &all[..LOAD], &mut survivor).await;
    assert_eq!(lab.all_outcomes().await.len(), 2 * LOAD);
}

/// What waits for an order must not keep out the entry that brings the order on.
#[tokio::test]
async fn repeats_that_wait_for_a_dead_workers_order_do_not_keep_anybody_out() {
    let mut lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "60000").set("worker.claim_idle_ms", "1000");
    })
    .await;
    let victim = lab.worker().await;
    let order = market("stuck", "BTCUSDT", "Buy", "1");
    let mut entries = vec![lab.submit(&order).await];
    lab.state_becomes("stuck", "PendingSubmit").await;
    victim.kill();
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "0").set("worker.max_in_flight", "2").set("worker.batch_size", "2");
    });
    let mut survivor = lab.worker().await;
    entries.extend(lab.submit_all(&vec![order; 6]).await);
    entries.push(lab.submit(&market("innocent", "ETHUSDT", "Buy", "1")).await);
    for outcome in lab.outcomes_within(Duration::from_secs(20), &entries).await {
        outcome.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (2, 2));
    assert_eq!(survivor.terminate().await, 0);
    assert_eq!(lab.pending_entries().await, 0);
}

/// The entry's body is gone, and its order was executed: no outcome may deny it.
#[tokio::test]
async fn a_request_trimmed_away_under_a_dead_worker_ends_as_it_was_journaled() {
    let mut lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "60000").set("worker.claim_idle_ms", "1000");
    })
    .await;
    let victim = lab.worker().await;
    let entry = lab.submit(&market("trimmed", "BTCUSDT", "Buy", "1")).await;
    lab.state_becomes("trimmed", "PendingSubmit").await;
    victim.kill();
    let key = lab.key("pending");
    let _: i64 =
        redis::cmd("XTRIM").arg(key).arg("MAXLEN").arg(0).query_async(&mut lab.redis()).await.unwrap();
    lab.adjust(|s| {
        s.set("broker.mock.latency_ms", "0");
    });
    let _survivor = lab.worker().await;
    let outcomes = lab.outcomes_within(Duration::from_secs(20), std::slice::from_ref(&entry)).await;
    outcomes[0].is_completed("Filled");
    assert_eq!(lab.all_outcomes().await.len(), 1);
}
