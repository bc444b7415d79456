//! A worker process and what it says.

use super::{Guarded, PATIENCE, eventually, eventually_within};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) struct Worker {
    process: Guarded,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Worker {
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(&mut command).expect("the worker starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = process.child().stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                sink.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { process, lines }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first JSON line of the log with this message.
    pub(crate) fn logged(&self, message: &str) -> Option<Value> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .find(|line| log_field(line, "message").and_then(Value::as_str) == Some(message))
    }

    async fn until_logged(&mut self, message: &str) -> Value {
        eventually_within(PATIENCE, &format!("a log line with the message {message:?}"), async || {
            let found = self.logged(message);
            if found.is_none()
                && let Some(code) = self.process.exit_code()
            {
                panic!("the worker ended with {code} before it logged {message:?}");
            }
            found
        })
        .await
    }

    pub(crate) async fn ready(&mut self) {
        self.until_logged("ready").await;
    }

    /// `http://<address>` of its HTTP server.
    pub(crate) async fn http(&mut self) -> String {
        let line = self.until_logged("http listening").await;
        let address = log_field(&line, "address").and_then(Value::as_str).expect("a field `address`");
        format!("http://{address}")
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// SIGKILL, as the kernel does it when memory runs out.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.exit_code().is_some()
    }

    pub(crate) async fn exit_code(&mut self) -> i32 {
        eventually("the worker to end", async || self.process.exit_code()).await
    }

    /// SIGTERM, then the exit code; fails where the drain takes longer than it may (10 s) and some.
    pub(crate) async fn terminate(&mut self) -> i32 {
        self.signal("TERM");
        let within = Duration::from_secs(15);
        eventually_within(within, "the worker to end after SIGTERM", async || self.process.exit_code()).await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.lines.lock().unwrap();
            eprintln!("--- the worker's log, the last of {} lines", lines.len());
            for line in lines.iter().skip(lines.len().saturating_sub(60)) {
                eprintln!("{}", line.chars().take(600).collect::<String>());
            }
        }
    }
}

/// A field of a JSON log line, at its top or where `tracing` nests it.
pub(crate) fn log_field<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    let span_fields =
        || line.get("spans").and_then(Value::as_array).into_iter().flatten().find_map(|s| s.get(name));
    line.get(name)
        .or_else(|| line.get("fields").and_then(|f| f.get(name)))
        .or_else(|| line.get("span").and_then(|f| f.get(name)))
        .or_else(span_fields)
}
