//! Health, metrics and who may read what (CONTRACT 4 and 7).

use crate::harness::{
    Lab, Limits, Ran, RedisServer, Worker, eventually, eventually_within, free_port, limit, market,
};
use serde_json::json;
use std::time::Duration;

struct Answer {
    status: u16,
    body: String,
}

async fn get(url: &str, token: Option<&str>) -> Answer {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
    Answer { status: answer.status().as_u16(), body: answer.text().await.unwrap() }
}

#[tokio::test]
async fn health_tells_that_it_lives_and_is_ready() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().await;
    let http = worker.http().await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let answer = get(&format!("{http}{path}"), None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    assert_eq!(get(&format!("{http}/no-such-page"), None).await.status, 404);
}

/// `health` as a container's health check calls it, of the worker at this address.
async fn health_of(lab: &Lab, listen: &str) -> Ran {
    let mut command = lab.command();
    command.env("ORDER_EXECUTION__HTTP__LISTEN", listen).arg("health");
    Ran::of(command).await
}

#[tokio::test]
async fn the_command_health_tells_a_worker_that_is_ready_from_one_that_is_not_and_from_none() {
    let server = RedisServer::start();
    let lab = Lab::on(&server, |_| {}).await;
    let port = free_port();
    health_of(&lab, &format!("127.0.0.1:{port}")).await.exits(4);
    let mut command = lab.command();
    command.env("ORDER_EXECUTION__HTTP__LISTEN", format!("0.0.0.0:{port}")).arg("worker");
    let mut worker = Worker::spawn(command);
    worker.ready().await;
    // As it listens in a container: at every address, which is none to connect to.
    let ran = health_of(&lab, &format!("0.0.0.0:{port}")).await.succeeded();
    assert_eq!(ran.stdout.trim(), "ready");
    server.kill();
    let within = Duration::from_secs(12);
    eventually_within(within, "`health` to say that Redis is away", async || {
        let ran = health_of(&lab, &format!("0.0.0.0:{port}")).await;
        (ran.code == 1 && ran.stdout.contains("redis")).then_some(())
    })
    .await;
    lab.cli(&["health"]).await.exits(2);
}

/// The value of the first sample whose name and labels begin and contain as given.
fn sample(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|label| rest.contains(label))).then(|| value.parse().ok())?
    })
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
    })
    .await;
    let mut worker = lab.worker().await;
    let url = format!("{}/metrics", worker.http().await);
    for n in 0..3 {
        lab.execute(&market(&format!("filled-{n}"), "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    }
    lab.execute(&limit("resting", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    lab.cancel(&json!({"client_order_id": "resting"})).await.is_completed("Cancelled");
    for n in 0..2 {
        let outcome = lab.execute(&market(&format!("refused-{n}"), "BTCUSDT", "Buy", "6")).await;
        outcome.is_failed("RISK_MAX_ORDER_QUANTITY");
    }
    let text = eventually("the counters of seven requests", async || {
        let text = get(&url, None).await.body;
        (sample(&text, "order_execution_orders_filled_total", &[]) == Some(3.0)
            && sample(&text, "order_execution_orders_canceled_total", &[]) == Some(1.0))
        .then_some(text)
    })
    .await;
    let created = sample(&text, "order_execution_orders_created_total", &[]);
    assert!(created.is_some_and(|n| (4.0..=6.0).contains(&n)), "{created:?} orders created in\n{text}");
    let code = ["code=\"RISK_MAX_ORDER_QUANTITY\""];
    assert_eq!(sample(&text, "order_execution_orders_rejected_total", &code), Some(2.0), "{text}");
    let call = ["broker=\"mock\"", "call=\"submit\""];
    let calls = sample(&text, "order_execution_exchange_requests_total", &call);
    assert!(calls.is_some_and(|n| n >= 4.0), "{calls:?} broker calls in\n{text}");
    for stage in ["queue", "admission", "broker", "finish", "total"] {
        let label = format!("stage=\"{stage}\"");
        let count = sample(&text, "order_execution_order_latency_seconds_count", &[&label]);
        assert!(count.is_some_and(|n| n >= 4.0), "stage {stage}: {count:?} in\n{text}");
        assert!(
            sample(&text, "order_execution_order_latency_seconds_bucket", &[&label, "le="]).is_some(),
            "{text}"
        );
    }
    let commits = sample(&text, "order_execution_journal_commit_seconds_count", &[]);
    assert!(commits.is_some_and(|n| n >= 1.0), "{commits:?} commits in\n{text}");
    for gauge in ["queue_depth", "pending_entries"] {
        assert!(
            sample(&text, &format!("order_execution_{gauge}"), &[]).is_some(),
            "{gauge} is not in\n{text}"
        );
    }
}

#[tokio::test]
async fn the_depth_of_the_queue_is_seen() {
    let lab = Lab::with(|s| {
        s.set("broker.mock.latency_ms", "400").set("worker.batch_size", "8").set("worker.max_in_flight", "8");
    })
    .await;
    let mut worker = lab.worker().await;
    let url = format!("{}/metrics", worker.http().await);
    let orders: Vec<_> = (0..80).map(|n| market(&format!("queued-{n}"), "BTCUSDT", "Buy", "1")).collect();
    let entries = lab.submit_all(&orders).await;
    eventually("a depth and entries in hand", async || {
        let text = get(&url, None).await.body;
        let depth = sample(&text, "order_execution_queue_depth", &[])?;
        let pending = sample(&text, "order_execution_pending_entries", &[])?;
        (depth >= 1.0 && pending >= 1.0).then_some(())
    })
    .await;
    lab.outcomes(&entries).await;
    eventually("an empty queue", async || {
        let text = get(&url, None).await.body;
        let empty = |name| sample(&text, name, &[]) == Some(0.0);
        (empty("order_execution_queue_depth") && empty("order_execution_pending_entries")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn with_a_token_everything_but_health_and_metrics_needs_it() {
    let lab = Lab::with(|s| {
        s.text("http.token", "open-sesame-4711");
    })
    .await;
    let mut worker = lab.worker().await;
    let http = worker.http().await;
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(get(&format!("{http}{path}"), None).await.status, 200, "{path}");
    }
    for path in ["/", "/orders", "/no-such-page"] {
        let url = format!("{http}{path}");
        for token in
            [None, Some(""), Some("open-sesame"), Some("open-sesame-47111"), Some("OPEN-SESAME-4711")]
        {
            assert_eq!(get(&url, token).await.status, 401, "{path} with {token:?}");
        }
        assert_ne!(get(&url, Some("open-sesame-4711")).await.status, 401, "{path}");
    }
    assert!(worker.log().iter().all(|line| !line.contains("open-sesame-4711")), "the token is in the log");
}

#[tokio::test]
async fn without_a_token_http_is_open_to_readers() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().await;
    let http = worker.http().await;
    assert_ne!(get(&format!("{http}/"), None).await.status, 401);
}
