//! The seeded scheduler: workers as they are, over a journal, a Redis and a broker in memory, in one thread under virtual
//! time. A seed decides everything: in which sequence things happen, what is lost, who is killed where.
//! `docs/simulation.md` tells more.
//!
//! `cargo test --release --test sim -- run --seeds 1000 --seed 1`
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

#[allow(dead_code, reason = "what is not tried on fakes is tried on the real thing")]
#[path = "../contracts/mod.rs"]
mod contracts;

mod auditor;
mod contracts_run;
mod exchange;
mod journal;
mod line;
mod plant;
mod process;
mod producer;
mod redis;
mod run;
mod site;
mod world;

use clap::{Parser, Subcommand};
use plant::{Fault, Plant};
use run::{Plan, Report};
use site::Kind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(name = "sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs with seeds one after another
    Run(Arguments),
    /// Whether the fakes keep to the ports' contracts
    Contracts,
    /// Whether the auditor sees each fault that is planted
    Plants,
}

#[derive(clap::Args, Clone)]
struct Arguments {
    /// So many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Of the broker; all in turn where none is named
    #[arg(long)]
    profile: Option<Kind>,
    /// Requests of a run
    #[arg(long, default_value_t = 60)]
    requests: u64,
    /// A fault that is planted
    #[arg(long)]
    plant: Option<Fault>,
    /// Runs at the same time, each in a thread of its own; as many as there are processors where it is not said
    #[arg(long)]
    jobs: Option<usize>,
    /// Tells every effect
    #[arg(long, conflicts_with = "jobs")]
    trace: bool,
    /// Goes on after a seed that failed
    #[arg(long)]
    keep_going: bool,
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        let of_seed = Kind::ALL[usize::try_from(seed % 4).unwrap()];
        Plan {
            seed,
            workers: self.workers,
            kind: self.profile.unwrap_or(of_seed),
            requests: self.requests,
            plant: Plant(self.plant),
            verbose: self.trace,
        }
    }
}

/// The command that repeats a run alone.
fn again(plan: &Plan) -> String {
    let (seed, workers, requests) = (plan.seed, plan.workers, plan.requests);
    let plant = plan.plant.name().map(|name| format!(" --plant {name}")).unwrap_or_default();
    format!(
        "cargo test --all-features --test sim -- run --seed {seed} --workers {workers} --profile {} --requests {requests}{plant}",
        plan.kind.name()
    )
}

fn main() -> ExitCode {
    let words = ["run", "contracts", "plants", "help", "--help", "-h"];
    let asked = std::env::args().nth(1).is_some_and(|first| words.contains(&first.as_str()));
    // A bug that our caller plants is every worker's.
    if let Err(why) = order_execution::planted::choose() {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    // A panic inside a worker is seen as a loop that ended; its text belongs to the run's own report.
    let passed = if asked {
        match Cli::parse().command {
            Command::Run(arguments) => seeds(&arguments),
            Command::Contracts => contracts_run::run(&|_| true).1 == 0,
            Command::Plants => plants(),
        }
    } else {
        suite()
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds and tells what they came to.
fn seeds(arguments: &Arguments) -> bool {
    let started = Instant::now();
    let (seeds, total) = (AtomicU64::new(0), Mutex::new((Report::default(), 0)));
    let jobs = if arguments.trace { 1 } else { arguments.jobs.unwrap_or_else(processors) };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| run_seeds(arguments, &seeds, &total));
        }
    });
    let (total, failed) = total.into_inner().unwrap();
    total.tell(started.elapsed());
    println!("failed: {failed}");
    failed == 0
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Takes one seed after another until there are no more, or one failed.
fn run_seeds(arguments: &Arguments, taken: &AtomicU64, total: &Mutex<(Report, u64)>) {
    loop {
        let nth = taken.fetch_add(1, Ordering::Relaxed);
        if nth >= arguments.seeds {
            return;
        }
        let plan = arguments.plan(arguments.seed + nth);
        let report = run::run(&plan);
        let mut total = total.lock().unwrap();
        if let Some(why) = &report.failure {
            println!("seed {} ({}): {why}\n  {}", plan.seed, plan.kind.name(), again(&plan));
            total.1 += 1;
            if !arguments.keep_going {
                taken.store(arguments.seeds, Ordering::Relaxed);
            }
        }
        total.0.add(&report);
    }
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.polls += other.polls;
        self.effects += other.effects;
        self.virtual_us += other.virtual_us;
        self.requests += other.requests;
        self.orders += other.orders;
        self.kills += other.kills;
        self.freezes += other.freezes;
        self.losses += other.losses;
        self.parked += other.parked;
        self.trace ^= other.trace.rotate_left(1);
    }

    fn tell(&self, took: Duration) {
        let steps = self.polls + self.effects;
        let seconds = took.as_secs_f64().max(1e-9);
        println!(
            "{} requests, {} orders, {} killed, {} frozen, {} times Redis lost data, {} parked, {} virtual seconds",
            self.requests,
            self.orders,
            self.kills,
            self.freezes,
            self.losses,
            self.parked,
            self.virtual_us / 1_000_000
        );
        println!(
            "{steps} steps ({} polls, {} effects) in {seconds:.2} s: {:.0} steps a second; trace {:016x}",
            self.polls,
            self.effects,
            steps as f64 / seconds,
            self.trace
        );
    }
}

/// Each planted fault is seen within some seeds.
fn plants() -> bool {
    let mut fine = true;
    for fault in Fault::ALL {
        let found = (1..=fault.seeds()).find_map(|seed| {
            let kind = fault.profile();
            let plan =
                Plan { seed, workers: 3, kind, requests: 60, plant: Plant(Some(fault)), verbose: false };
            let seen = run::run(&plan).failure.filter(|why| fault.is_seen_in(why))?;
            // What is seen without it, too, is not its doing.
            let without = run::run(&Plan { plant: Plant(None), ..plan });
            without.failure.is_none().then_some((seed, seen))
        });
        match found {
            Some((seed, why)) => {
                println!("{fault:?}: seen with seed {seed}: {}", why.chars().take(160).collect::<String>());
            }
            None => {
                println!("{fault:?}: NOT seen in {} seeds", fault.seeds());
                fine = false;
            }
        }
    }
    fine
}

/// The same seed gives the same run, whatever thread it runs in and however its hash tables are seeded.
fn repeats() -> bool {
    let arguments = Arguments {
        seeds: 1,
        seed: 1,
        workers: 3,
        profile: None,
        requests: 40,
        plant: None,
        jobs: None,
        trace: false,
        keep_going: false,
    };
    let trace = |seed| {
        let plan = arguments.plan(seed);
        thread::spawn(move || run::run(&plan)).join().map(|report| (report.trace, report.polls))
    };
    let mut seen = std::collections::HashSet::new();
    (100..116).all(|seed| {
        let (first, second) = (trace(seed).ok(), trace(seed).ok());
        if first != second || first.is_none() {
            println!("seed {seed}: {first:x?} and then {second:x?}");
        }
        // And another seed gives another one.
        first == second && first.is_some_and(|first| seen.insert(first))
    })
}

/// Run by `cargo test`, with the same names and options for all test programs: a filter chooses among these.
fn suite() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let names = ["sim::repeats", "sim::plants", "sim::seeds"];
    if words.iter().any(|word| word == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return true;
    }
    let (mut passed, mut failed) = contracts_run::run(&wanted);
    for name in names.iter().filter(|name| wanted(name)) {
        let fine = match *name {
            "sim::repeats" => repeats(),
            "sim::plants" => plants(),
            _ => short(),
        };
        println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
        *(if fine { &mut passed } else { &mut failed }) += 1;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    failed == 0
}

/// What the suite has time for.
fn short() -> bool {
    let seeds_of = |seeds, seed, workers| Arguments {
        seeds,
        seed,
        workers,
        profile: None,
        requests: 60,
        plant: None,
        jobs: None,
        trace: false,
        keep_going: true,
    };
    // A few that are the same each time, and some that nobody tried before.
    let fresh = uuid::Uuid::now_v7().as_u64_pair().1 >> 32;
    seeds(&seeds_of(40, 1, 3)) && seeds(&seeds_of(12, fresh, 2))
}
