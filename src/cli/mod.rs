//! The command line: one command a file.

mod again;
mod bench;
mod cancel;
mod cancel_all;
mod canvas;
mod check;
mod completions;
mod demo;
mod exchange;
mod failed;
mod fields;
mod filters;
mod health;
mod journal;
mod link;
mod migrate;
mod order;
mod order_flags;
mod order_type_flags;
mod orders;
mod outcome;
mod pnl;
mod positions;
mod print;
mod progress;
mod replace;
mod replay;
mod request;
mod resolve;
mod risk;
mod schema;
mod status_message;
mod submit;
mod switch;
mod table;
mod watch;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::AppError;
use crate::config::{self, LogFormat, Settings};
use crate::domain::trading_state::TradingState;
use crate::ports::journal::JournalError;
use crate::runtime::telemetry;

/// Executes orders that arrive on a Redis stream, each journaled before it is sent.
#[derive(Debug, Parser)]
#[command(name = "order-execution", version, propagate_version = true, after_long_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Every command explains itself: order-execution <COMMAND> --help

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused by validation or risk,
4 a service is unreachable. Results go to standard output, remarks and logs to standard error.";

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
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
    /// Show everything at work: a private Redis, a worker, moving prices, sample orders, a page
    #[command(after_long_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Serve: pull, execute, publish, until SIGTERM or SIGINT; drains, then exits 0
    #[command(after_long_help = worker::EXAMPLES)]
    Worker,
    /// Add an order, or a file of orders, to the pending stream
    #[command(after_long_help = submit::EXAMPLES, override_usage = submit::USAGE)]
    Submit(Box<submit::Submit>),
    /// Ask for an order to be cancelled
    #[command(after_long_help = cancel::EXAMPLES)]
    Cancel(cancel::Cancel),
    /// Ask for every order that matches to be cancelled
    #[command(after_long_help = cancel_all::EXAMPLES)]
    CancelAll(cancel_all::CancelAll),
    /// Ask for an open order's quantity or prices to be changed
    #[command(after_long_help = replace::EXAMPLES)]
    Replace(replace::Replace),
    /// Show what happens to orders as it happens: a table that updates in place, or lines
    #[command(after_long_help = watch::EXAMPLES)]
    Watch(watch::Watch),
    /// List orders, newest first
    #[command(after_long_help = orders::EXAMPLES)]
    Orders(orders::Orders),
    /// Show one order and all that happened to it
    #[command(after_long_help = order::EXAMPLES)]
    Order(order::OneOrder),
    /// List positions, with what they have earned
    #[command(after_long_help = positions::EXAMPLES)]
    Positions,
    /// Show profit and loss, in all and of the session
    #[command(after_long_help = pnl::EXAMPLES)]
    Pnl(pnl::Pnl),
    /// List, show and requeue failed requests
    #[command(after_long_help = failed::EXAMPLES)]
    Failed(failed::Failed),
    /// Show the limits in force, what of each is used and what is left; put others in force
    #[command(after_long_help = risk::EXAMPLES)]
    Risk(risk::Risk),
    /// Stop all trading, or that of a symbol, broker or strategy: only cancels pass
    #[command(after_long_help = switch::HALT_EXAMPLES)]
    Halt(switch::Stop),
    /// Let through only what shrinks a position, in everything, or a symbol, broker or strategy
    #[command(after_long_help = switch::REDUCE_ONLY_EXAMPLES)]
    ReduceOnly(switch::Stop),
    /// Lift a halt or reduce-only
    #[command(after_long_help = switch::RESUME_EXAMPLES)]
    Resume(switch::Scoped),
    /// Close a parked order by hand: say what its broker's records say
    #[command(after_long_help = resolve::EXAMPLES)]
    Resolve(resolve::ResolveArguments),
    /// Bring the journal's schema up to date
    #[command(after_long_help = migrate::EXAMPLES)]
    Migrate,
    /// Try the configuration and every dependency, each with its latency
    #[command(after_long_help = check::EXAMPLES)]
    Check,
    /// Ask the worker of this configuration whether it is ready, as an orchestrator's health check does
    #[command(after_long_help = health::EXAMPLES)]
    Health,
    /// Rebuild every projection from the events and compare
    #[command(after_long_help = replay::EXAMPLES)]
    Replay,
    /// Print or write the JSON Schema of what goes over Redis
    #[command(after_long_help = schema::EXAMPLES)]
    Schema(schema::SchemaArguments),
    /// Run the simulated exchange: the simulated broker behind HTTP, with a ledger
    #[command(after_long_help = exchange::EXAMPLES)]
    Exchange(exchange::ExchangeArguments),
    /// Measure throughput and latency of this installation, beside the floors of its Redis and its disk
    #[command(after_long_help = bench::EXAMPLES)]
    Bench(bench::Bench),
    /// Print what makes a shell complete this command line
    #[command(after_long_help = completions::EXAMPLES)]
    Completions(completions::Completions),
    /// Print the manual page, or write one for each command
    #[command(after_long_help = completions::MAN_EXAMPLES)]
    Man(completions::Man),
}

/// What a command is given.
struct Call {
    settings: Settings,
    json: bool,
}

/// How a command ended that has said all there is to say. Contract, section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    Failed,
    /// By validation or risk.
    Refused,
    /// A service is.
    Unreachable,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Failed => 1,
            Ending::Refused => 3,
            Ending::Unreachable => 4,
        })
    }
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
        Ok(ending) => ending.into(),
        Err(error) => fail(&error),
    }
}

fn fail(error: &AppError) -> ExitCode {
    let hint = match error {
        AppError::Redis(_) => format!("; {}", link::HINT),
        AppError::Journal(JournalError::Unavailable { why, .. }) if why.contains("no such table") => {
            "; its schema is not this program's: `order-execution migrate` brings it up to date".to_owned()
        }
        _ => String::new(),
    };
    print::note(&format!("{}{hint}", with_causes(error)));
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

async fn execute(arguments: Arguments) -> Result<Ending, AppError> {
    let Arguments { common, command } = arguments;
    // These need no configuration, and none that is broken keeps them from their work.
    match &command {
        Command::Demo(demo) => return demo::run(demo, common.json).await,
        Command::Completions(wanted) => return Ok(completions::complete(wanted)),
        Command::Man(wanted) => return completions::man(wanted),
        _ => {}
    }
    if let Command::Schema(arguments) = &command {
        return schema::run(arguments, common.json);
    }
    let variables: BTreeMap<String, String> = config::process_environment();
    let environment = common
        .env
        .or_else(|| variables.get("APP_ENV").cloned())
        .unwrap_or_else(|| config::DEFAULT_ENVIRONMENT.to_owned());
    let settings = config::load(&common.config, &environment, &variables)?;
    let call = Call { settings, json: common.json };
    match &command {
        Command::Demo(_) | Command::Completions(_) | Command::Man(_) => Ok(Ending::Done),
        Command::Worker => worker::run(&call).await.map(|()| Ending::Done),
        Command::Submit(submit) => submit::run(&call, submit).await,
        Command::Cancel(cancel) => cancel::run(&call, cancel).await,
        Command::CancelAll(cancel) => cancel_all::run(&call, cancel).await,
        Command::Replace(replace) => replace::run(&call, replace).await,
        Command::Watch(watch) => watch::run(&call, watch).await,
        Command::Orders(orders) => orders::run(&call, orders).await,
        Command::Order(one) => order::run(&call, one).await,
        Command::Positions => positions::run(&call).await,
        Command::Pnl(pnl) => pnl::run(&call, pnl).await,
        Command::Failed(failed) => failed::run(&call, failed).await,
        Command::Risk(arguments) => risk::run(&call, arguments).await,
        Command::Halt(stop) => switch::stop(&call, TradingState::Halted, stop).await,
        Command::ReduceOnly(stop) => switch::stop(&call, TradingState::ReduceOnly, stop).await,
        Command::Resume(scoped) => switch::resume(&call, scoped).await,
        Command::Resolve(resolve) => resolve::run(&call, resolve).await,
        Command::Migrate => migrate::run(&call).await,
        Command::Check => check::run(&call).await,
        Command::Health => health::run(&call).await,
        Command::Replay => replay::run(&call).await,
        Command::Schema(arguments) => schema::run(arguments, call.json),
        Command::Exchange(arguments) => exchange::run(&call, arguments).await.map(|()| Ending::Done),
        Command::Bench(bench) => bench::run(&call, bench).await,
    }
}

/// Logs of a service go to stderr, as configured.
fn log_as_configured(settings: &Settings) -> Result<(), AppError> {
    let json = matches!(settings.app.log_format, LogFormat::Json);
    telemetry::init(&settings.app.log_level, json).map_err(|error| AppError::Usage(error.to_string()))
}
