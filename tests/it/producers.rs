//! Producers that are not ours: a Python program with nothing but its standard library, and `redis-cli`.

use crate::harness::{Lab, Ran};
use std::process::Command;

fn is_on_the_path(program: &str) -> bool {
    let probe = Command::new(program).arg("--version").output();
    probe.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_python_program_adds_an_order_and_reads_its_outcome() {
    if !is_on_the_path("python3") {
        eprintln!("python3 is not on the PATH: the Python producer was not tried");
        return;
    }
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let mut command = Command::new("python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/producer.py"))
        .args([lab.url(), lab.prefix()]);
    let ran = Ran::of(command).await.succeeded();
    let told = ran.json();
    assert_eq!(told["client_order_id"], "py-1", "{told}");
    assert_eq!(told["status"], "Filled", "{told}");
    lab.state_becomes("py-1", "Filled").await;
}

#[tokio::test]
async fn redis_cli_adds_an_order() {
    if !is_on_the_path("redis-cli") {
        eprintln!("redis-cli is not on the PATH: it was not tried as a producer");
        return;
    }
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = r#"{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":0.001}"#;
    let mut command = Command::new("redis-cli");
    command.args(["-u", lab.url(), "XADD", &lab.key("pending"), "*", "order", order]);
    let ran = Ran::of(command).await.succeeded();
    let entry = ran.stdout.trim().trim_matches('"').to_owned();
    lab.outcome(&entry).await.is_completed("Filled");
}
