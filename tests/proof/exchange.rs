//! The simulated exchange in its own process: the oracle of what was executed.

use crate::harness::Lab;
use crate::harness::redis::free_port;
use crate::process::Process;
use crate::profile::Profile;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The program that has the command `exchange`: the one under test, or another by `$EXCHANGE_BINARY`.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("EXCHANGE_BINARY").map_or_else(crate::harness::binary, PathBuf::from)
}

/// Whether it has that command.
pub(crate) fn exists() -> bool {
    let ran = Command::new(binary()).args(["exchange", "--help"]).output();
    ran.is_ok_and(|output| output.status.success())
}

pub(crate) struct Exchange {
    process: Process,
    command: Command,
    url: String,
    client: reqwest::Client,
}

impl Exchange {
    pub(crate) async fn start(lab: &Lab, profile: Profile) -> Result<Self, String> {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = lab.command();
        if binary() != crate::harness::binary() {
            command = Command::new(binary());
            command.arg("--config").arg(lab.config_dir()).current_dir(lab.path(""));
        }
        command.args(["exchange", "--listen", &address, "--dedupe", profile.dedupe(), "--ledger"]);
        command.arg(lab.path("ledger"));
        let process = Process::new("the exchange", lab.path("exchange.log"));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
        let client = client.map_err(|e| e.to_string())?;
        let mut exchange = Self { process, command, url: format!("http://{address}"), client };
        exchange.restart().await?;
        Ok(exchange)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it (again) over the same ledger; returns once it answers.
    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        if self.process.is_running() {
            return Ok(());
        }
        self.process.start(&self.command);
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.get("/time").await.is_err() {
            if !self.process.is_running() || Instant::now() > deadline {
                return Err(format!("the exchange does not start: exit codes {:?}", self.process.exits));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        let answer = request.send().await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| e.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn ledger(&self) -> Result<Value, String> {
        self.get("/control/ledger").await
    }

    /// What trades from now on, by symbol.
    pub(crate) async fn prices(&self, prices: &Value) -> Result<(), String> {
        self.send(self.client.put(format!("{}/control/prices", self.url)).json(prices)).await.map(drop)
    }

    /// Corrects a trade or takes one back: one of those that are among the transactions after this one.
    pub(crate) async fn revise(&self, after: u64, draw: u64) -> Result<(), String> {
        let feed = self.get(&format!("/transactions?after={after}&limit=20")).await?;
        let transactions = feed["transactions"].as_array().into_iter().flatten();
        let Some(trade) = transactions.filter(|t| t["type"] == "Trade").map(|t| &t["trade"]).next() else {
            return Ok(());
        };
        let id = trade["trade_id"].as_str().unwrap_or_default();
        let body = if draw.is_multiple_of(2) {
            json!({"bust": true, "reason": "the soak takes it back"})
        } else {
            json!({"quantity": "1", "price": trade["price"], "reason": "the soak corrects it"})
        };
        // One that was taken back already stays so.
        drop(self.send(self.client.post(format!("{}/control/trades/{id}", self.url)).json(&body)).await);
        Ok(())
    }

    pub(crate) async fn last_transaction(&self) -> Result<u64, String> {
        let feed = self.get("/transactions?after=0&limit=1").await?;
        Ok(feed["last"].as_u64().unwrap_or(0))
    }

    /// Replaces the fault script; no rules: none.
    pub(crate) async fn faults(&self, seed: u64, rules: &[Value]) -> Result<(), String> {
        let url = format!("{}/control/faults", self.url);
        if rules.is_empty() {
            return self.send(self.client.delete(url)).await.map(drop);
        }
        self.send(self.client.post(url).json(&json!({"seed": seed, "rules": rules}))).await.map(drop)
    }
}
