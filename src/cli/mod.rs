//! The command line: one command a file.

mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::AppError;
use crate::config::{self, LogFormat, Settings};
use crate::runtime::telemetry;

/// Executes orders that arrive on a Redis stream: never lost, never twice.
#[derive(Debug, Parser)]
#[command(name = "order-execution", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Common {
    /// Folder of the configuration files
    #[arg(long, global = true, default_value = config::DEFAULT_DIRECTORY, value_name = "DIR")]
    config: PathBuf,
    /// Which <ENV>.toml goes on top of default.toml [default: $APP_ENV, else development]
    #[arg(long, global = true, value_name = "ENV")]
    env: Option<String>,
    /// One JSON document or line per result
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: pull, execute, publish, until SIGTERM or SIGINT; drains, then exits 0
    Worker,
}

/// What a command is given.
struct Call {
    settings: Settings,
    json: bool,
}

/// Parses the arguments and does what they ask for.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&AppError::Io("the runtime cannot be started", error)),
    };
    match runtime.block_on(execute(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a command goes to its user")]
fn fail(error: &AppError) -> ExitCode {
    eprintln!("order-execution: {}", with_causes(error));
    ExitCode::from(error.exit_code())
}

/// An error and what caused it, each once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

async fn execute(arguments: Arguments) -> Result<(), AppError> {
    let Arguments { common, command } = arguments;
    let variables: BTreeMap<String, String> = config::process_environment();
    let environment = common
        .env
        .or_else(|| variables.get("APP_ENV").cloned())
        .unwrap_or_else(|| config::DEFAULT_ENVIRONMENT.to_owned());
    let settings = config::load(&common.config, &environment, &variables)?;
    let call = Call { settings, json: common.json };
    match command {
        Command::Worker => worker::run(&call).await,
    }
}

/// Logs of a service go to stderr, as configured.
fn log_as_configured(settings: &Settings) -> Result<(), AppError> {
    let json = matches!(settings.app.log_format, LogFormat::Json);
    telemetry::init(&settings.app.log_level, json).map_err(|error| AppError::Usage(error.to_string()))
}
