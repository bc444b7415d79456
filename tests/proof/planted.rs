//! Bugs planted on purpose (`src/planted.rs`), one at a time: which layer of the tests sees each of them, and how soon.
//!
//! Each layer runs as a program of its own, with the bug in its environment: nothing of a layer knows that a bug is
//! there. `cargo test` runs one directed scene for each bug, with and without it; the whole table comes from
//!
//! `cargo test --all-features --test proof -- planted --write docs/planted-bugs.md`

mod layers;
mod report;

use layers::{Ran, child};
use order_execution::planted::Bug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Only this one
    #[arg(long)]
    bug: Option<String>,
    /// Only the directed scenes
    #[arg(long)]
    directed: bool,
    /// Writes the table there, as Markdown
    #[arg(long)]
    write: Option<PathBuf>,
    /// Draws crash points and soaks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds under load before the soak is said not to see a bug
    #[arg(long, default_value_t = 80)]
    soak_seconds: u64,
    /// Trials, or scenes, at a time
    #[arg(long, default_value_t = 3)]
    jobs: usize,
}

/// A scene that depends on time may miss on a busy machine: so often it is tried before the bug counts as unseen.
const TRIES: usize = 3;

pub(crate) fn possible() -> bool {
    cfg!(all(feature = "planted-bugs", feature = "crash-points"))
}

/// The scene that catches it: how it is called in the table, and as arguments of this program.
fn directed(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::AckBeforeCommit => {
            &["crash-points", "--point", "inbox-read", "--action", "kill", "--profile", "embedded"]
        }
        Bug::NoCompareAndSet => &["directed", "stale-answer"],
        Bug::DeadlineAtSend => {
            &["crash-points", "--point", "submit-send-before", "--action", "stop", "--profile", "deadline"]
        }
        Bug::UnknownIsRejected => &["directed", "lost-answer"],
        Bug::DedupeByEntry => &["directed", "repeat"],
        Bug::PublishBeforeCommit => &[
            "crash-points",
            "--point",
            "record-commit-before",
            "--action",
            "db-error",
            "--profile",
            "embedded",
        ],
        Bug::SynchronousNormal => &["power-cut", "--rounds", "2", "--seed", "1"],
        Bug::FinishWithoutOwner => {
            &["crash-points", "--point", "publish-before", "--action", "stop", "--profile", "embedded"]
        }
        Bug::ReleaseOnTimeout => &["directed", "lost-request"],
        Bug::RelayWithoutLease => &["directed", "relays"],
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

/// What came of a directed scene.
struct Directed {
    with: Ran,
    without: Ran,
    tries: usize,
}

impl Directed {
    fn skipped(&self) -> Option<&str> {
        self.without.skipped.as_deref()
    }

    /// The bug was seen, and nothing was where there was none.
    fn is_right(&self) -> bool {
        self.skipped().is_some() || self.with.evidence.is_some() && self.without.passed
    }
}

async fn try_directed(bug: Bug) -> Result<Directed, String> {
    let arguments = owned(directed(bug));
    let without = child(None, &arguments).await?;
    let mut tries = 1;
    let mut with = child(Some(bug), &arguments).await?;
    while with.evidence.is_none() && without.skipped.is_none() && tries < TRIES {
        tries += 1;
        println!("        {} was not seen, once more; what was said:\n{}", bug.as_str(), with.output);
        with = child(Some(bug), &arguments).await?;
    }
    Ok(Directed { with, without, tries })
}

/// Prints what came of it; whether it is as it should be.
fn tell(bug: Bug, found: &Result<Directed, String>) -> bool {
    let name = bug.as_str();
    match found {
        Ok(found) if found.skipped().is_some() => {
            println!("SKIPPED {name}: {}", found.skipped().unwrap_or_default());
        }
        Ok(found) => {
            let evidence = found.with.evidence.as_deref().unwrap_or("NOT CAUGHT");
            let (took, tries) = (found.with.took, found.tries);
            let verdict = if found.is_right() { "ok     " } else { "FAILED " };
            println!("{verdict} {name}: {} ({took:.1?}, try {tries})", directed(bug).join(" "));
            println!("        with it: {}", report::cut(evidence, 160));
            if !found.without.passed {
                println!("        FAULTS WITHOUT IT:\n{}", found.without.output);
            } else if found.with.evidence.is_none() {
                println!("        what was said with it:\n{}", found.with.output);
            }
        }
        Err(why) => println!("FAILED  {name}: {why}"),
    }
    found.as_ref().is_ok_and(Directed::is_right)
}

/// Each scene, with its bug and without.
async fn all_directed(bugs: &[Bug], jobs: usize) -> (bool, Vec<(Bug, Result<Directed, String>)>) {
    let places = Arc::new(Semaphore::new(jobs.max(1)));
    let tasks: Vec<_> = bugs
        .iter()
        .map(|&bug| {
            let places = places.clone();
            let task = tokio::spawn(async move {
                let _place = places.acquire().await;
                try_directed(bug).await
            });
            (bug, task)
        })
        .collect();
    let mut found = Vec::new();
    let mut right = true;
    for (bug, task) in tasks {
        let one = task.await.unwrap_or_else(|panic| Err(panic.to_string()));
        right &= tell(bug, &one);
        found.push((bug, one));
    }
    (right, found)
}

/// What `cargo test` has time for.
pub(crate) async fn suite() -> bool {
    let started = Instant::now();
    let (right, found) = all_directed(Bug::ALL, 3).await;
    println!(
        "planted bugs: {} scenes, each with and without its bug, in {:.0?}",
        found.len(),
        started.elapsed()
    );
    right
}

pub(crate) async fn run(arguments: &Arguments) -> Result<bool, String> {
    if !possible() {
        return Err("bugs are planted with --features planted-bugs,crash-points".to_owned());
    }
    let bugs: Vec<Bug> = match &arguments.bug {
        None => Bug::ALL.to_vec(),
        Some(name) => vec![Bug::named(name).ok_or_else(|| {
            let known: Vec<_> = Bug::ALL.iter().map(|bug| bug.as_str()).collect();
            format!("{name} is no bug; there are: {}", known.join(", "))
        })?],
    };
    let started = Instant::now();
    let (right, found) = all_directed(&bugs, arguments.jobs).await;
    if arguments.directed {
        return Ok(right);
    }
    let mut rows = Vec::new();
    for (bug, directed) in &found {
        let layers = layers::all(Some(*bug), arguments.seed, arguments.soak_seconds, arguments.jobs).await?;
        println!("{}\n  {}", bug.as_str(), layers.line());
        let clean_without = directed.as_ref().is_ok_and(|found| found.without.passed);
        rows.push(report::Row { bug: *bug, directed: report::directed(directed), clean_without, layers });
    }
    let control = layers::all(None, arguments.seed, arguments.soak_seconds, arguments.jobs).await?;
    println!("none\n  {}", control.line());
    let clean = control.is_clean();
    let text = report::markdown(&rows, &control, arguments.seed, arguments.soak_seconds, started.elapsed());
    if let Some(path) = &arguments.write {
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("written to {}", path.display());
    } else {
        println!("{text}");
    }
    Ok(right && clean)
}
