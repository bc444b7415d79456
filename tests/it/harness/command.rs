//! The program under test as a command, and what a command says.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The binary under test: the one that cargo built with the tests, or another build of it (a release build,
/// an older version) by `$BINARY_UNDER_TEST`.
pub(crate) fn binary() -> PathBuf {
    let other = std::env::var_os("BINARY_UNDER_TEST");
    other.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_order-execution")), PathBuf::from)
}

/// The binary with a configuration and nothing of the caller's environment that it reads.
pub(crate) fn program(config: &Path) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // A bug that a test run plants is meant for every worker in it.
        let ours = text.starts_with("ORDER_EXECUTION") && text != "ORDER_EXECUTION_PLANTED";
        if ours || text == "APP_ENV" || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.arg("--config").arg(config);
    command
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs it to its end; fails where it has none within two minutes.
    pub(crate) async fn of(command: Command) -> Self {
        let mut command = tokio::process::Command::from(command);
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(120), command.output())
            .await
            .expect("the command ends within two minutes")
            .expect("the command starts");
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!("stdout is not one JSON document ({e}): {}\n{}", self.stdout, self.stderr)
        })
    }

    /// Everything it said.
    pub(crate) fn said(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}
