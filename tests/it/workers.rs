//! Workers as a group: who comes late, who shares.

use crate::harness::{Lab, eventually, market};
use rust_decimal::Decimal;

#[tokio::test]
async fn requests_added_before_the_first_worker_runs_are_carried_out() {
    let lab = Lab::new().await;
    let orders: Vec<_> = (0..20).map(|n| market(&format!("early-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&orders).await;
    let _worker = lab.worker().await;
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
}

#[tokio::test]
async fn the_consumer_group_has_its_configured_name_and_a_consumer_for_each_worker() {
    let lab = Lab::new().await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    let mut added = 0;
    // Redis serves blocked readers in turn, and before 7.2 a consumer is there from its first entry on.
    eventually("two consumers: two processes on one machine must not share a name", async || {
        added += 1;
        lab.execute(&market(&format!("named-{added}"), "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
        (lab.consumers().await.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_workers_share_the_load_and_each_request_has_exactly_one_outcome() {
    let lab = Lab::with(|s| {
        s.set("worker.batch_size", "16").set("broker.mock.latency_ms", "5");
    })
    .await;
    let _one = lab.worker().await;
    let _two = lab.worker().await;
    let orders: Vec<_> = (0..400).map(|n| market(&format!("shared-{n}"), "BTCUSDT", "Buy", "0.1")).collect();
    let entries = lab.submit_all(&orders).await;
    for outcome in lab.outcomes(&entries).await {
        outcome.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (400, 400), "one execution an order");
    let position = lab.position("BTCUSDT").await;
    assert_eq!(crate::harness::decimal(&position["quantity"]), Decimal::from(40));
    lab.cli(&["replay"]).await.succeeded();
}
