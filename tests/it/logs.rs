//! The log: JSON, one object a line, with the order's ids in every line that concerns one.

use crate::harness::{Lab, Limits, limit, log_field, market};
use serde_json::Value;

#[tokio::test]
async fn every_line_is_json_and_names_its_order() {
    let lab = Lab::with(|s| {
        s.text("app.log_level", "debug");
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
    })
    .await;
    let mut worker = lab.worker().await;
    lab.execute(&market("logged-filled", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    lab.execute(&limit("logged-resting", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let refused = lab.execute(&market("logged-refused", "BTCUSDT", "Buy", "6")).await;
    refused.is_failed("RISK_MAX_ORDER_QUANTITY");
    assert_eq!(worker.terminate().await, 0);

    let mut concerned = 0;
    for text in worker.log() {
        let line: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("no JSON ({e}): {text}"));
        assert!(log_field(&line, "message").is_some(), "no message: {text}");
        assert!(line.get("timestamp").is_some() && line.get("level").is_some(), "{text}");
        let own = line.get("target").and_then(Value::as_str).is_none_or(|t| t.starts_with("order_execution"));
        if !own || !text.contains("logged-") {
            continue;
        }
        concerned += 1;
        let id = log_field(&line, "client_order_id").and_then(Value::as_str);
        assert!(id.is_some_and(|id| id.starts_with("logged-")), "no client_order_id: {text}");
        let id = log_field(&line, "order_id").and_then(Value::as_str);
        assert!(id.is_some_and(|id| id.parse::<uuid::Uuid>().is_ok()), "no order_id: {text}");
    }
    assert!(concerned > 0, "no line concerns an order, even at level debug");
}

#[tokio::test]
async fn standard_output_of_a_worker_stays_empty() {
    let lab = Lab::new().await;
    let mut command = tokio::process::Command::from(lab.command());
    command.arg("worker").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let child = command.kill_on_drop(true).spawn().unwrap();
    lab.execute(&market("quiet", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    let pid = child.id().expect("it runs").to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}
