//! A model of the protocol, and a checker that tries everything that can happen to it.
//!
//! One order is sent through two workers (three on demand) that die, freeze, lose their leases and their calls'
//! answers, while Redis loses what it acknowledged and the broker executes late. `stateright` visits every state that
//! can be reached within those bounds. The rules that this program follows must break nothing there, and each rule that
//! was rejected must be caught, with the shortest story of what goes wrong.
//!
//! Read `state.rs` first (what there is), then `journal.rs` (the decisions), `broker.rs`, `redis.rs`, `protocol.rs`
//! (what can happen next), `invariants.rs` (what must hold), `cases.rs` (what is tried). What stands for which code is
//! told in `docs/model.md`.
//!
//! `cargo test --test model` runs all cases; a filter chooses among them. More by argument:
//!
//! `cargo test --test model -- check --workers 3 --case deadline`
//! `cargo test --test model -- trace query_then_post`
#![allow(clippy::disallowed_methods, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

mod broker;
mod canonical;
mod cases;
mod check;
mod invariants;
mod journal;
mod protocol;
mod redis;
mod rules;
mod state;
mod table;
mod traps;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use cases::{CASES, Case, Expect, case};
use rules::{Dedupe, Planted, Recovery};

#[derive(Parser)]
#[command(name = "model")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try cases in a world of a chosen size, and print the table
    Check(Check),
    /// Print the shortest story of how a rule breaks, step by step
    Trace {
        /// As `list` names it
        case: String,
        #[command(flatten)]
        world: World,
    },
    /// Name all cases
    List,
}

#[derive(Args)]
struct Check {
    /// Only these cases
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Only cases that must break nothing
    #[arg(long)]
    safe: bool,
    #[command(flatten)]
    world: World,
    /// Counter-examples are the shortest with one thread only
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Also look for states from which no good end can be reached: needs more memory
    #[arg(long)]
    traps: bool,
}

/// What is left out is as in the suite.
#[derive(Args)]
struct World {
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    workers: Option<u8>,
    /// Attempts to submit, at most
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    attempts: Option<u8>,
    /// Workers that die
    #[arg(long)]
    crashes: Option<u8>,
    /// Leases that run out while their owner acts
    #[arg(long)]
    thefts: Option<u8>,
    /// Heartbeats that expire while their worker lives
    #[arg(long)]
    stalls: Option<u8>,
    /// Calls whose answer is lost, or that land late
    #[arg(long)]
    timeouts: Option<u8>,
    /// Calls that provably do nothing
    #[arg(long)]
    busy: Option<u8>,
    /// Times that Redis loses what it acknowledged
    #[arg(long)]
    losses: Option<u8>,
    /// Another rule of recovery than the case's own
    #[arg(long)]
    recovery: Option<Recovery>,
    /// Another broker than the case's own
    #[arg(long)]
    dedupe: Option<Dedupe>,
    /// Another fault planted than the case's own
    #[arg(long)]
    plant: Option<Planted>,
}

impl World {
    fn of(&self, case: &Case) -> Case {
        let mut case = *case;
        let scope = &mut case.scope;
        scope.workers = self.workers.map_or(scope.workers, usize::from);
        scope.attempts = self.attempts.unwrap_or(scope.attempts);
        let faults = &mut scope.faults;
        for (bound, asked) in [
            (&mut faults.crashes, self.crashes),
            (&mut faults.thefts, self.thefts),
            (&mut faults.stalls, self.stalls),
            (&mut faults.timeouts, self.timeouts),
            (&mut faults.busy, self.busy),
            (&mut faults.losses, self.losses),
        ] {
            *bound = asked.unwrap_or(*bound);
        }
        let rules = &mut case.rules;
        rules.recovery = self.recovery.unwrap_or(rules.recovery);
        rules.dedupe = self.dedupe.unwrap_or(rules.dedupe);
        rules.planted = self.plant.unwrap_or(rules.planted);
        case
    }
}

impl Check {
    fn run(&self) -> bool {
        let wanted = |case: &&Case| {
            (self.case.is_empty() || self.case.iter().any(|name| name == case.name))
                && (!self.safe || case.expect == Expect::Safe)
        };
        let unknown = |name: &&String| !CASES.iter().any(|case| case.name == **name && wanted(&case));
        if let Some(name) = self.case.iter().find(unknown) {
            eprintln!(
                "no case to try is called {name}; there are: {}",
                CASES.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")
            );
            return false;
        }
        let mut fine = true;
        table::head();
        for case in CASES.iter().filter(wanted).map(|case| self.world.of(case)) {
            let report = check::run(&case, self.threads);
            table::row(&case, &report);
            fine &= report.is_as_expected(&case);
            if self.traps && case.expect == Expect::Safe {
                fine &= untrapped(&case);
            }
        }
        fine
    }
}

fn main() -> ExitCode {
    let words = ["check", "trace", "list", "help", "--help", "-h"];
    let asked = std::env::args().nth(1).is_some_and(|first| words.contains(&first.as_str()));
    let passed = if asked { command(&Cli::parse().command) } else { suite() };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn command(command: &Command) -> bool {
    match command {
        Command::Check(check) => check.run(),
        Command::Trace { case: name, world } => {
            let Some(case) = case(name) else {
                eprintln!("there is no case {name}: see `list`");
                return false;
            };
            let case = world.of(case);
            table::story(&case, &check::run(&case, 1));
            true
        }
        Command::List => {
            CASES.iter().for_each(|case| println!("{:24} {}", case.name, case.rule));
            true
        }
    }
}

/// Whether from every state a good end can be reached without another fault.
fn untrapped(case: &Case) -> bool {
    match traps::first(case) {
        Ok(states) => {
            println!("{}: a good end is within reach of each of {states} states", case.name);
            true
        }
        Err(way) => {
            println!("{}: no good end can be reached after {} steps:", case.name, way.len());
            table::steps(case, &way);
            false
        }
    }
}

/// Run by `cargo test`, with the same names and options for all test programs: a filter chooses among these.
fn suite() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let mut names: Vec<(String, &Case, bool)> =
        CASES.iter().map(|case| (format!("model::{}", case.name), case, false)).collect();
    names.extend(
        CASES
            .iter()
            .filter(|case| case.expect == Expect::Safe && traps::IN_SUITE.contains(&case.name))
            .map(|case| (format!("model::{}_ends_well", case.name), case, true)),
    );
    if words.iter().any(|word| word == "--list") {
        names.iter().for_each(|(name, ..)| println!("{name}: test"));
        return true;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, case, looks_for_traps) in names.iter().filter(|(name, ..)| wanted(name)) {
        let fine = if *looks_for_traps {
            untrapped(case)
        } else {
            let report = check::run(case, 1);
            let fine = report.is_as_expected(case);
            table::row(case, &report);
            if !fine {
                table::story(case, &report);
            }
            fine
        };
        println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
        *(if fine { &mut passed } else { &mut failed }) += 1;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let out = names.len() - passed - failed;
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out"
    );
    failed == 0
}
