//! The proof of the promise: never lost, never twice. Without arguments it does what the suite has time for: a
//! pairwise choice of crash points and a soak of about a minute, on SQLite and on PostgreSQL; workers on cut networks;
//! power cuts where it is root; and a scene for each bug that can be planted. More by argument:
//!
//! `cargo test --features crash-points --test proof -- crash-points --all`
//! `cargo test --features crash-points --test proof -- soak --profile deadline --kills 1000`
//! `cargo test --features crash-points --test proof -- power-cut --rounds 20`
//! `cargo test --all-features --test proof -- planted --write docs/planted-bugs.md`
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

// It is the suite's: this program needs a part of it.
#[allow(dead_code, unused_imports)]
#[path = "../it/harness/mod.rs"]
mod harness;

mod auditor;
mod chaos;
mod directed;
mod disk;
mod exchange;
mod link;
mod load;
mod network;
mod planted;
mod points;
mod power_cut;
mod process;
mod producer;
mod profile;
mod scenario;
mod soak;
mod stage;
mod table;

use clap::{Parser, Subcommand};
use harness::Database;
use profile::Profile;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "proof")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Workers under load while everything around them fails
    Soak(soak::Arguments),
    /// A worker dies, freezes or loses an answer at a named place
    CrashPoints(points::Arguments),
    /// Workers on cut networks (root only)
    Network(network::Arguments),
    /// Where a worker can be made to fail, and how it gets there
    Points,
    /// Whether the auditor sees what it is there for
    Selfcheck,
    /// One short scene in which a certain mistake cannot stay unseen
    Directed(directed::Arguments),
    /// Which bugs are caught by what, each planted in turn
    Planted(planted::Arguments),
    /// The journal's disk loses its power under load
    PowerCut(power_cut::Arguments),
}

/// A seed that was not used before.
pub(crate) fn fresh() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1 >> 32
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let words =
        ["soak", "crash-points", "network", "points", "selfcheck", "directed", "planted", "power-cut"];
    let words = words.into_iter().chain(["help", "--help", "-h"]).collect::<Vec<_>>();
    let asked = std::env::args().nth(1).is_some_and(|first| words.contains(&first.as_str()));
    let passed =
        if asked { runtime.block_on(command(Cli::parse().command)) } else { runtime.block_on(suite()) };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn command(command: Command) -> bool {
    let passed = match command {
        Command::Soak(arguments) => soak::run(&arguments).await,
        Command::CrashPoints(arguments) => points::run(&arguments).await,
        Command::Network(arguments) => network::run(&arguments).await,
        Command::Points => {
            points::list();
            Ok(true)
        }
        Command::Selfcheck => auditor::selfcheck().map(|faults| {
            println!("the auditor sees each of {faults} faults");
            true
        }),
        Command::Directed(arguments) => directed::run(&arguments).await,
        Command::Planted(arguments) => planted::run(&arguments).await,
        Command::PowerCut(arguments) => power_cut::run(&arguments).await,
    };
    passed.unwrap_or_else(|why| {
        eprintln!("{why}");
        false
    })
}

/// Run by `cargo test`, with the same names and options for all test programs: a filter chooses among these.
async fn suite() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted =
        |name: &&str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let names = [
        "proof::auditor",
        "proof::crash_points",
        "proof::postgres_crash_points",
        "proof::planted_bugs",
        "proof::power_cut",
        "proof::soak",
        "proof::postgres_soak",
        "proof::cut_networks",
    ];
    if words.iter().any(|word| word == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return true;
    }
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for name in names.iter().filter(|name| wanted(name)) {
        let missing = match *name {
            "proof::power_cut" => disk::impossible(),
            "proof::cut_networks" => network::impossible(),
            _ => None,
        };
        if let Some(why) = missing {
            println!("SKIPPED: {why}\ntest {name} ... ignored");
            ignored += 1;
            continue;
        }
        let fine = match *name {
            "proof::auditor" => command(Command::Selfcheck).await,
            "proof::crash_points" | "proof::postgres_crash_points" if !cfg!(feature = "crash-points") => {
                println!("crash points are not compiled in (--features crash-points): left out");
                continue;
            }
            "proof::crash_points" => command(Command::CrashPoints(points::Arguments::default())).await,
            "proof::postgres_crash_points" => {
                let journal = Database::Postgres;
                command(Command::CrashPoints(points::Arguments { journal, ..Default::default() })).await
            }
            "proof::planted_bugs" if planted::possible() => planted::suite().await,
            "proof::planted_bugs" => {
                println!("planted bugs are not compiled in (--features planted-bugs,crash-points): left out");
                continue;
            }
            "proof::power_cut" => command(Command::PowerCut(power_cut::Arguments::short())).await,
            "proof::cut_networks" => command(Command::Network(network::Arguments::default())).await,
            "proof::postgres_soak" => soaks(Database::Postgres).await,
            _ => soaks(Database::Sqlite).await,
        };
        println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
        *(if fine { &mut passed } else { &mut failed }) += 1;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let out = names.len() - passed - failed - ignored;
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {out} filtered out"
    );
    failed == 0
}

/// About a minute of them, half of that on PostgreSQL.
async fn soaks(journal: Database) -> bool {
    let runs: &[(Profile, u64, bool)] = match (journal, exchange::exists()) {
        (Database::Sqlite, true) => &[
            (Profile::Deadline, 15, false),
            (Profile::Oneshot, 12, false),
            (Profile::Forever, 8, false),
            (Profile::Deadline, 8, true),
            (Profile::Embedded, 8, false),
        ],
        (Database::Postgres, true) => &[(Profile::Deadline, 15, false), (Profile::Embedded, 10, true)],
        (_, false) => &[(Profile::Embedded, 25, false), (Profile::Embedded, 15, true)],
    };
    let mut fine = true;
    for (profile, seconds, flush) in runs {
        fine &= command(Command::Soak(soak::Arguments::short(journal, *profile, *seconds, *flush))).await;
    }
    fine
}
