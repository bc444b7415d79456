//! SIGTERM and SIGINT: finish what was begun, leave nothing behind, exit 0.

use crate::harness::{Lab, Worker, eventually, market};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

async fn drains(signal: &str) {
    let lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "100").set("worker.batch_size", "16");
    })
    .await;
    let mut worker = lab.worker().await;
    let orders: Vec<_> = (0..400).map(|n| market(&format!("load-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&orders).await;
    eventually("work under way", async || (lab.pending_entries().await > 0).then_some(())).await;
    worker.signal(signal);
    assert_eq!(worker.exit_code().await, 0);

    assert_eq!(lab.pending_entries().await, 0, "entries left with a consumer that is gone");
    assert_eq!(lab.consumers().await, Vec::<String>::new(), "its name is gone from the group");
    for outcome in lab.all_outcomes().await {
        outcome.is_completed("Filled");
    }
    let done = lab.length("completed").await;
    assert_eq!(done + lab.length("pending").await, 400, "a request was lost in the drain");
    println!("{done} of 400 were done when it ended");

    // What it had not begun is the next worker's.
    let _next = lab.worker().await;
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (400, 400));
}

#[tokio::test]
async fn sigterm_drains() {
    drains("TERM").await;
}

#[tokio::test]
async fn sigint_drains() {
    drains("INT").await;
}

#[tokio::test]
async fn an_idle_worker_ends_at_once() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().await;
    // Before Redis 7.2 a consumer is there from its first entry on.
    lab.execute(&market("only", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    assert_eq!(lab.consumers().await.len(), 1, "a consumer while the worker runs");
    let started = Instant::now();
    assert_eq!(worker.terminate().await, 0);
    assert!(started.elapsed().as_secs() < 5, "an idle worker took {:?} to end", started.elapsed());
    assert_eq!(lab.consumers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_request_that_comes_during_the_drain_is_not_lost() {
    let lab = Lab::new().await;
    let mut entries = Vec::new();
    // Again and again, since what must not happen is a matter of microseconds: the reader is released
    // while an entry arrives.
    for round in 0..8 {
        let mut worker = lab.worker().await;
        worker.signal("TERM");
        for _ in 0..300 {
            if worker.has_ended() {
                break;
            }
            entries.push(
                lab.submit(&market(&format!("late-{round}-{}", entries.len()), "ONE", "Buy", "1")).await,
            );
            tokio::time::sleep(Duration::from_millis(1)).await; // the pace of a producer
        }
        assert_eq!(worker.exit_code().await, 0);
        assert_eq!(lab.pending_entries().await, 0, "stranded in round {round}");
    }
    let _worker = lab.worker().await;
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
}

/// Beside a busy worker SQLite may keep a new one out for longer than it waits: it ends with 4, and is started
/// again, as by a supervisor.
async fn supervised(lab: &Lab) -> Worker {
    loop {
        let started = Instant::now();
        let mut worker = lab.spawn_worker();
        eventually("the worker to be ready, or to give up", async || {
            (worker.logged("ready").is_some() || worker.has_ended()).then_some(())
        })
        .await;
        if worker.logged("ready").is_some() {
            return worker;
        }
        assert_eq!(worker.exit_code().await, 4, "{:?}", worker.log());
        println!("a worker gave up {:?} after its start", started.elapsed());
    }
}

/// As when a new version is rolled out: one worker after the other is replaced while requests keep coming.
#[tokio::test]
async fn workers_replaced_under_load_strand_nothing_and_execute_nothing_twice() {
    const REPLACED: usize = 10;
    let lab = Lab::new().await;
    let enough = AtomicBool::new(false);
    let replace = async {
        let mut old = supervised(&lab).await;
        for round in 0..REPLACED {
            let new = supervised(&lab).await;
            let before = lab.length("completed").await;
            assert_eq!(old.terminate().await, 0, "round {round}");
            assert!(lab.consumers().await.len() < 2, "its name is gone from the group in round {round}");
            // The new one is alone now: what comes out comes from it.
            eventually("the new worker to work", async || {
                (lab.length("completed").await > before).then_some(())
            })
            .await;
            old = new;
        }
        enough.store(true, Ordering::Relaxed);
        old
    };
    let produce = async {
        let mut entries = Vec::new();
        while !enough.load(Ordering::Relaxed) {
            entries.push(lab.submit(&market(&format!("{}", entries.len()), "ONE", "Buy", "1")).await);
            tokio::time::sleep(Duration::from_millis(1)).await; // the pace of a producer
        }
        entries
    };
    let (mut last, entries) = tokio::join!(replace, produce);
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
    let all = i64::try_from(entries.len()).unwrap();
    assert_eq!(lab.trades().await, (all, all));
    assert_eq!(last.terminate().await, 0);
}
