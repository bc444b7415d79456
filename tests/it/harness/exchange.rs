//! An exchange process, its ledger, and the control interface.

use super::{Guarded, PATIENCE, Settings, eventually, program};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};
use tempfile::TempDir;

pub(crate) struct Exchange {
    process: Option<Guarded>,
    config: PathBuf,
    /// Kept, so that it stays on disk.
    _own: Option<TempDir>,
    arguments: Vec<String>,
    url: String,
    dir: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

impl Exchange {
    /// One with the configuration in that folder, a laboratory's for example; `arguments` are those beside
    /// `--listen` and `--ledger`.
    pub(crate) fn start(config: &Path, arguments: &[&str]) -> Self {
        let mut exchange = Self {
            process: None,
            config: config.to_owned(),
            _own: None,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            url: "http://127.0.0.1:0".to_owned(),
            dir: tempfile::tempdir().expect("a temporary folder"),
            log: Arc::default(),
            http: client(),
        };
        exchange.launch();
        exchange
    }

    /// One with a configuration of its own: the tests' usual one, changed by `adjust`.
    pub(crate) fn with(adjust: impl FnOnce(&mut Settings), arguments: &[&str]) -> Self {
        let config = tempfile::tempdir().expect("a temporary folder");
        let mut settings = Settings::new("redis://127.0.0.1:1/", "unused", "sqlite://unused.db");
        adjust(&mut settings);
        std::fs::write(config.path().join("default.toml"), settings.to_toml()).unwrap();
        std::fs::write(config.path().join("development.toml"), "").unwrap();
        let mut exchange = Self::start(config.path(), arguments);
        exchange._own = Some(config);
        exchange
    }

    fn launch(&mut self) {
        let mut command = program(&self.config);
        let listen = self.url.strip_prefix("http://").expect("an address");
        command.args(["exchange", "--listen", listen, "--ledger"]).arg(self.ledger_path());
        command.args(&self.arguments).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(&mut command).expect("the exchange starts");
        let stderr = process.child().stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let stdout = process.child().stdout.take().expect("stdout is piped");
        let (say, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let line = BufReader::new(stdout).lines().map_while(Result::ok).next();
            let _ = say.send(line);
        });
        let line = heard.recv_timeout(PATIENCE).ok().flatten().unwrap_or_default();
        let url = line.strip_prefix("exchange listening on ");
        self.url = url.unwrap_or_else(|| panic!("it said {line:?}; {:?}", self.log)).to_owned();
        self.process = Some(process);
        // Connections to the process before are of no use.
        self.http = client();
    }

    /// `http://127.0.0.1:<port>`; stays the same over [`Exchange::restart`].
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("exchange.jsonl")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again, on the same port and ledger, after killing it where it runs. The script of faults is gone.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// SIGTERM, then the exit code.
    pub(crate) async fn terminate(&mut self) -> i32 {
        let mut process = self.process.take().expect("it runs");
        process.signal("TERM");
        eventually("the exchange to end after SIGTERM", async || process.exit_code()).await
    }

    /// An answer's status and body.
    pub(crate) async fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        assert!(body.is_string() || body["server_time_us"].is_i64(), "no server_time_us in {body}");
        Ok((status, body))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.try_ask(method, path, body).await;
        answer.unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
    }

    async fn control(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Replaces the script of faults.
    pub(crate) async fn faults(&self, script: Value) {
        self.control("POST", "/control/faults", Some(script)).await;
    }

    pub(crate) async fn no_faults(&self) {
        self.control("DELETE", "/control/faults", None).await;
    }

    pub(crate) async fn prices(&self, prices: Value) {
        self.control("PUT", "/control/prices", Some(prices)).await;
    }

    /// The truth: `orders` of `/control/ledger`.
    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let answer = self.control("GET", "/control/ledger", None).await;
        answer["orders"].as_array().expect("orders").clone()
    }

    /// What the ledger has of one client order id.
    pub(crate) async fn truth(&self, client_order_id: &str) -> Option<Value> {
        self.ledger().await.into_iter().find(|order| order["client_order_id"] == client_order_id)
    }
}

/// An answer that never comes fails the test; nothing is asked twice.
fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(PATIENCE).retry(reqwest::retry::never());
    builder.build().expect("an HTTP client")
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log.lock().unwrap();
            eprintln!("--- the exchange's log");
            for line in lines.iter().skip(lines.len().saturating_sub(40)) {
                eprintln!("{line}");
            }
        }
    }
}
