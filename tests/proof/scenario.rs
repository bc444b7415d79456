//! What happens in a trial, beside the worker that falls.

use crate::harness::{limit, market, with};
use crate::stage::Stage;
use crate::table::Scenario;
use order_execution::crash::Point;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PREPARED_WITHIN: Duration = Duration::from_secs(45);

/// What must be there before the armed worker starts.
pub(crate) async fn prepare(stage: &Stage, scenario: Scenario) -> Result<(), String> {
    let prepared = tokio::time::timeout(PREPARED_WITHIN, prepare_for(stage, scenario)).await;
    prepared.unwrap_or_else(|_| Err(format!("{scenario:?} is not prepared within {PREPARED_WITHIN:?}")))
}

async fn prepare_for(stage: &Stage, scenario: Scenario) -> Result<(), String> {
    match scenario {
        Scenario::Requests => Ok(()),
        Scenario::Takeover => held_by_the_dead(stage).await,
        Scenario::Orphan => orphan(stage).await,
        Scenario::Unpublished => unpublished(stage).await,
        // The feed would tell of it sooner than anybody looks.
        Scenario::LostAnswer => first_submit(stage, json!({"execute_then_drop": {}}), 1500).await,
        Scenario::LostRequest => first_submit(stage, json!({"drop": {}}), 0).await,
    }
}

/// A fault of the first submission, and a feed that is late by so many milliseconds.
async fn first_submit(stage: &Stage, fault: Value, late_ms: u64) -> Result<(), String> {
    let Some(exchange) = &stage.exchange else { return Ok(()) };
    let rule = json!({"on": "submit", "fault": fault, "times": 1});
    let late = json!({"on": "transactions", "fault": {"lag": {"ms": late_ms}}});
    exchange.lock().await.faults(1, &[rule, late]).await
}

async fn add(stage: &Stage, kind: &'static str, content: &Value) -> Result<String, String> {
    let id = content["client_order_id"].as_str();
    let added = stage.producer.lock().await.add(kind, id, content).await;
    added.ok_or_else(|| "Redis does not take a request".to_owned())
}

/// Entries that were delivered to a consumer without a heartbeat.
async fn held_by_the_dead(stage: &Stage) -> Result<(), String> {
    let (mut link, pending) = (stage.link(), stage.lab.key("pending"));
    let said = |e: crate::link::Failed| e.to_string();
    let mut make = redis::cmd("XGROUP");
    make.arg("CREATE").arg(&pending).arg("execution").arg("0").arg("MKSTREAM");
    link.ask::<()>(&make).await.map_err(said)?;
    for n in 0..3 {
        add(stage, "order", &market(&format!("held-{n}"), "ETHUSDT", "Buy", "1")).await?;
    }
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("execution").arg("dead").arg("COUNT").arg(10).arg("STREAMS").arg(&pending).arg(">");
    link.ask::<redis::Value>(&read).await.map(drop).map_err(said)
}

/// A worker of its own that dies at `point`.
async fn dies(stage: &Stage, point: Point) -> Result<(), String> {
    let mut command = stage.worker_command();
    command.env("ORDER_EXECUTION_CRASH", format!("{}:kill", point.as_str()));
    let mut first = stage.worker("first");
    first.start(&command);
    let started = Instant::now();
    while first.is_running() {
        if started.elapsed() > Duration::from_secs(20) {
            return Err(format!("the first worker does not die at {}", point.as_str()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// An order journaled by a worker that died of it, and whose entry Redis then lost.
async fn orphan(stage: &Stage) -> Result<(), String> {
    let entry = add(stage, "order", &market("orphan", "ETHUSDT", "Buy", "1")).await?;
    dies(stage, Point::AdmissionCommitAfter).await?;
    let mut pipe = redis::pipe();
    let pending = stage.lab.key("pending");
    pipe.atomic().cmd("XACK").arg(&pending).arg("execution").arg(&entry).ignore();
    pipe.cmd("XDEL").arg(&pending).arg(&entry).ignore();
    stage.link().run::<()>(&pipe).await.map_err(|e| e.to_string())
}

/// A fill whose events nobody has published, of an order whose request is finished.
async fn unpublished(stage: &Stage) -> Result<(), String> {
    let order = add(stage, "order", &limit("rested", "SOLUSDT", "Buy", "1", "199")).await?;
    let mut before = stage.worker("before");
    before.start(&stage.worker_command());
    answered(stage, std::slice::from_ref(&order)).await?;
    // The broker's feed tells of the order, too: the next worker is to die of its fill.
    tokio::time::sleep(Duration::from_millis(300)).await;
    before.terminate(Duration::from_secs(10)).await;
    stage.market("SOLUSDT", "198", "198", None).await?;
    dies(stage, Point::FeedCommitAfter).await
}

/// Requests of every kind, in an order in which each has something to do. Ends when all have their outcomes;
/// which outcomes they are is the auditor's business.
pub(crate) async fn requests(stage: &Stage) -> Result<(), String> {
    let (bid, ask) = ("2999", "3001");
    stage.market("ETHUSDT", bid, ask, None).await?;
    let mut waiting = Vec::new();
    for order in [
        market("m-1", "BTCUSDT", "Buy", "2"),
        limit("r-1", "ETHUSDT", "Buy", "3", "2990"),
        limit("r-2", "ETHUSDT", "Buy", "4", "2980"),
        limit("r-3", "ETHUSDT", "Sell", "5", "3010"),
        with(limit("ioc", "ETHUSDT", "Buy", "2", "2990"), json!({"time_in_force": "IOC"})),
    ] {
        waiting.push(add(stage, "order", &order).await?);
    }
    answered(stage, &waiting).await?;
    waiting = vec![
        add(stage, "cancel", &json!({"client_order_id": "r-1"})).await?,
        add(stage, "replace", &json!({"client_order_id": "r-2", "quantity": "6", "price": "2985"})).await?,
        add(stage, "order", &market("m-2", "BTCUSDT", "Sell", "1")).await?,
    ];
    answered(stage, &waiting).await?;
    // Meets the order to sell.
    stage.market("ETHUSDT", "3011", "3012", None).await?;
    filled(stage, "r-3").await?;
    waiting = vec![
        add(stage, "cancel_all", &json!({"symbol": "ETHUSDT"})).await?,
        add(stage, "order", &market("m-3", "BTCUSDT", "Buy", "1")).await?,
    ];
    answered(stage, &waiting).await
}

async fn answered(stage: &Stage, entries: &[String]) -> Result<(), String> {
    let mut link = stage.link();
    loop {
        let found = stage.answered(&mut link).await?;
        if entries.iter().all(|entry| found.contains(entry)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every request has its outcome.
pub(crate) async fn every_outcome(stage: &Stage) -> Result<(), String> {
    let entries: Vec<String> =
        stage.producer.lock().await.sent.iter().map(|sent| sent.entry.clone()).collect();
    answered(stage, &entries).await
}

/// Waits until the state of an order shows a fill; not for one that never came to rest or is parked.
async fn filled(stage: &Stage, id: &str) -> Result<(), String> {
    let mut link = stage.link();
    loop {
        let state: Option<String> = link
            .ask(redis::cmd("GET").arg(stage.lab.key(&format!("state:{id}"))))
            .await
            .map_err(|e| e.to_string())?;
        let state: Value = state.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let waits = matches!(state["status"].as_str(), Some("Acknowledged"));
        if !waits || state["parked"] == true {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
