//! The layers, each run as it is, as a program of its own.

use super::owned;
use order_execution::planted::Bug;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// How faults begin that a bug is to be caught by: those of the auditor, and of the scenes. What is wrong with a run
/// itself (`run: …`) is none: it would also be there if a scene did not work.
const KINDS: [&str; 8] =
    ["doubles", "losses", "lies", "repeated", "books", "replay", "wrongly-parked", "leases"];
const LONGEST: Duration = Duration::from_secs(600);
/// Load between two audits of a soak.
const PIECE_SECONDS: u64 = 10;
/// The broker is left for last where it has no answers to lose.
const PROFILES: [&str; 4] = ["deadline", "oneshot", "forever", "embedded"];

/// The tests of the black-box suite that are about what a bug breaks; none: none is.
fn black_box(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::AckBeforeCommit => &["crash::a_killed_worker_leaves_its_work_to_the_other"],
        Bug::NoCompareAndSet => {
            &["crash::a_frozen_worker_that_wakes_again_answers_and_executes_nothing_twice"]
        }
        Bug::DeadlineAtSend => &["profiles::an_attempt_that_lands_after_its_deadline_does_nothing"],
        Bug::UnknownIsRejected => &["profiles::an_order_whose_answer_is_lost_executes_once"],
        Bug::DedupeByEntry => {
            &["duplicates::the_same_order_again_gets_its_own_outcome_and_is_not_executed_again"]
        }
        Bug::PublishBeforeCommit => {
            &["recovery::a_journaled_cancel_whose_entry_is_lost_is_carried_out_and_told"]
        }
        Bug::SynchronousNormal | Bug::RelayWithoutLease => &[],
        Bug::FinishWithoutOwner => {
            &["crash::a_frozen_worker_that_wakes_again_answers_and_executes_nothing_twice"]
        }
        Bug::ReleaseOnTimeout => &["profiles::an_order_that_never_arrived_is_sent_again_where_that_is_safe"],
    }
}

/// The model's own case of the same mistake; none: what it takes is not modelled.
fn model_case(bug: Bug) -> Option<&'static str> {
    match bug {
        Bug::AckBeforeCommit => Some("ack_before_commit"),
        Bug::NoCompareAndSet => Some("unfenced"),
        Bug::DeadlineAtSend => Some("stamp_at_send"),
        Bug::UnknownIsRejected => Some("unknown_is_rejected"),
        Bug::DedupeByEntry => Some("dedupe_by_entry"),
        Bug::PublishBeforeCommit => Some("publish_before_commit"),
        Bug::FinishWithoutOwner => Some("finish_without_owner"),
        Bug::ReleaseOnTimeout => Some("release_on_timeout"),
        Bug::SynchronousNormal | Bug::RelayWithoutLease => None,
    }
}

/// One run of a part of this program.
pub(super) struct Ran {
    pub(super) passed: bool,
    pub(super) took: Duration,
    /// The first fault that it told.
    pub(super) evidence: Option<String>,
    pub(super) skipped: Option<String>,
    pub(super) output: String,
}

fn is_evidence(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(kind, _)| KINDS.contains(&kind))
}

async fn output(mut command: Command, bug: Option<Bug>) -> Result<(bool, String), String> {
    // Its own program is the one under test, with the bug or, whatever our caller has, without any.
    command.env_remove("ORDER_EXECUTION_PLANTED");
    if let Some(bug) = bug {
        command.env("ORDER_EXECUTION_PLANTED", bug.as_str());
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(LONGEST, command.output()).await;
    let output = done.map_err(|_| format!("no end within {LONGEST:?}"))?.map_err(|e| e.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

pub(super) async fn child(bug: Option<Bug>, arguments: &[String]) -> Result<Ran, String> {
    let started = Instant::now();
    let mut command = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
    command.args(arguments);
    let (passed, output) = output(command, bug).await?;
    let mut lines = output.lines().map(str::trim);
    let skipped = lines.clone().find_map(|line| line.strip_prefix("SKIPPED: ")).map(str::to_owned);
    let evidence = lines.find(|line| is_evidence(line)).map(str::to_owned);
    Ok(Ran { passed, took: started.elapsed(), evidence, skipped, output })
}

/// What one layer says.
pub(super) enum Verdict {
    Caught {
        by: String,
        after: String,
    },
    /// After so much of it.
    NotCaught(String),
    /// Why it was not asked.
    Left(String),
}

impl Verdict {
    fn line(&self) -> String {
        match self {
            Self::Caught { by, after } => format!("CAUGHT {after}: {by}"),
            Self::NotCaught(after) => format!("not caught, {after}"),
            Self::Left(why) => format!("left out: {why}"),
        }
    }
}

pub(super) struct Layers {
    pub(super) points: Verdict,
    pub(super) soak: Verdict,
    pub(super) black_box: Verdict,
    pub(super) power_cut: Verdict,
    pub(super) model: Verdict,
    pub(super) simulation: Verdict,
}

impl Layers {
    pub(super) fn all(&self) -> [(&'static str, &Verdict); 6] {
        [
            ("crash points", &self.points),
            ("soak", &self.soak),
            ("black box", &self.black_box),
            ("power cut", &self.power_cut),
            ("model", &self.model),
            ("simulation", &self.simulation),
        ]
    }

    pub(super) fn line(&self) -> String {
        self.all().map(|(name, verdict)| format!("{name}: {}", verdict.line())).join("\n  ")
    }

    pub(super) fn is_clean(&self) -> bool {
        !self.all().iter().any(|(_, verdict)| matches!(verdict, Verdict::Caught { .. }))
    }
}

pub(super) async fn all(
    bug: Option<Bug>,
    seed: u64,
    soak_seconds: u64,
    jobs: usize,
) -> Result<Layers, String> {
    Ok(Layers {
        points: points(bug, seed, jobs).await?,
        soak: soak(bug, seed, soak_seconds).await?,
        black_box: tests(bug).await?,
        power_cut: power_cut(bug, seed).await?,
        model: model(bug).await?,
        simulation: simulation(bug, seed).await?,
    })
}

/// The choice of crash points that the suite runs, too, until one of them shows something.
async fn points(bug: Option<Bug>, seed: u64, jobs: usize) -> Result<Verdict, String> {
    let (seed, jobs) = (seed.to_string(), jobs.to_string());
    let arguments = ["crash-points", "--stop-at-first", "--seed", &seed, "--jobs", &jobs];
    let ran = child(bug, &owned(&arguments)).await?;
    let (mut trials, mut trial, mut caught) = (0, "", Vec::<(&str, &str)>::new());
    for line in ran.output.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("ok ").or_else(|| line.strip_prefix("FAILED ")) {
            trial = name.trim().split("  ").next().unwrap_or_default();
            trials += 1;
        } else if is_evidence(line) && caught.last().is_none_or(|(last, _)| *last != trial) {
            caught.push((trial, line));
        }
    }
    if trials == 0 {
        return Err(format!("no trial was run: {}", ran.output));
    }
    let (Some((first, evidence)), seconds) = (caught.first(), ran.took.as_secs()) else {
        return match (bug, ran.passed) {
            // Without a bug anything that fails is one.
            (None, false) => {
                Ok(Verdict::Caught { by: ran.output.clone(), after: "by a run that failed".to_owned() })
            }
            _ => Ok(Verdict::NotCaught(format!("{trials} trials, {} s", ran.took.as_secs()))),
        };
    };
    let by = format!("`{first}`: {evidence}");
    Ok(Verdict::Caught { by, after: format!("after {trials} trials, {seconds} s") })
}

/// Ten seconds at a time, one profile after another, until a fault is found.
async fn soak(bug: Option<Bug>, seed: u64, seconds: u64) -> Result<Verdict, String> {
    let (mut kills, mut load) = (0, 0);
    let pieces = seconds.div_ceil(PIECE_SECONDS);
    for (piece, profile) in (0..pieces).zip(PROFILES.into_iter().cycle()) {
        let (seed, long) = ((seed + piece).to_string(), PIECE_SECONDS.to_string());
        let ran =
            child(bug, &owned(&["soak", "--profile", profile, "--seconds", &long, "--seed", &seed])).await?;
        load += PIECE_SECONDS;
        kills += worker_kills(&ran.output);
        if let Some(by) = ran.evidence {
            let after = format!("after {load} s, {kills} kills (`{profile}`, seed {seed})");
            return Ok(Verdict::Caught { by, after });
        }
        if bug.is_none() && !ran.passed {
            return Ok(Verdict::Caught { by: ran.output, after: format!("`{profile}`, seed {seed}") });
        }
    }
    Ok(Verdict::NotCaught(format!("{load} s, {kills} kills")))
}

/// The workers that a soak killed, from its last line: `kills 17`, and not `redis kills 2`.
fn worker_kills(output: &str) -> u64 {
    let words: Vec<&str> = output.split([' ', ',', '\n', ':']).filter(|word| !word.is_empty()).collect();
    let is_it = |three: &&[&str]| three[1] == "kills" && !matches!(three[0], "redis" | "exchange");
    words.windows(3).filter(is_it).filter_map(|three| three[2].parse().ok()).next_back().unwrap_or(0)
}

async fn tests(bug: Option<Bug>) -> Result<Verdict, String> {
    let mut names: Vec<&str> = match bug {
        Some(bug) => black_box(bug).to_vec(),
        None => Bug::ALL.iter().flat_map(|bug| black_box(*bug)).copied().collect(),
    };
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(Verdict::Left("no test of it is about this".to_owned()));
    }
    let mut command = cargo_test("it");
    command.arg("--exact").args(&names);
    let started = Instant::now();
    let (passed, output) = output(command, bug).await?;
    if !output.contains(&format!("running {} test", names.len())) {
        return Err(format!("the tests {names:?} were not run: {output}"));
    }
    let failed: Vec<&str> =
        output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")).collect();
    let after = format!("{} s", started.elapsed().as_secs());
    Ok(match failed.first() {
        Some(_) => Verdict::Caught { by: format!("`{}`", failed.join("`, `")), after },
        None if passed && bug.is_none() => Verdict::NotCaught(format!("{} tests, {after}", names.len())),
        None if passed => Verdict::NotCaught(format!("`{}`, {after}", names.join("`, `"))),
        None => return Err(output),
    })
}

/// Another of the project's test programs.
fn cargo_test(program: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--all-features", "--test", program, "--"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// The rule of the protocol that the bug breaks, broken in the model.
async fn model(bug: Option<Bug>) -> Result<Verdict, String> {
    let mut command = cargo_test("model");
    match bug.map(model_case) {
        Some(None) => return Ok(Verdict::Left("what it takes is not modelled".to_owned())),
        Some(Some(case)) => command.args(["check", "--case", case]),
        None => command.args(["check", "--safe"]),
    };
    let (passed, output) = output(command, None).await?;
    // | case | rule | verdict | states | steps | seconds |
    let rows: Vec<Vec<&str>> = output
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    let Some([case, _, verdict, states, steps, _]) = rows.first().map(Vec::as_slice) else {
        return Err(format!("the model told nothing: {output}"));
    };
    let case = case.trim_start_matches("| ");
    Ok(match verdict.strip_prefix("broken: ") {
        Some(broken) if bug.is_some() => Verdict::Caught {
            by: format!("{case}: invariant: {broken}"),
            after: format!("{states} states, a counter-example of {steps} steps"),
        },
        None if bug.is_some() => Verdict::NotCaught(format!("{states} states")),
        _ if passed && !output.contains("broken: ") => Verdict::NotCaught(format!("{} cases", rows.len())),
        _ => Verdict::Caught { by: output, after: "a safe case".to_owned() },
    })
}

/// Seeds one after another, until one fails.
async fn simulation(bug: Option<Bug>, seed: u64) -> Result<Verdict, String> {
    const SEEDS: u64 = 100;
    let started = Instant::now();
    let mut command = cargo_test("sim");
    command.args(["run", "--jobs", "2", "--seeds", &SEEDS.to_string(), "--seed", &seed.to_string()]);
    let (passed, output) = output(command, bug).await?;
    let seconds = started.elapsed().as_secs();
    let failed = output.lines().find_map(|line| line.strip_prefix("seed ")?.split_once("): at "));
    Ok(match failed {
        Some((of, why)) => Verdict::Caught {
            by: format!("`seed {of})`: {}", why.split_once(" us: ").map_or(why, |(_, why)| why)),
            after: format!("{seconds} s"),
        },
        None if passed => Verdict::NotCaught(format!("{SEEDS} seeds, {seconds} s")),
        None => return Err(output),
    })
}

async fn power_cut(bug: Option<Bug>, seed: u64) -> Result<Verdict, String> {
    let ran = child(bug, &owned(&["power-cut", "--rounds", "3", "--seed", &seed.to_string()])).await?;
    let cuts = ran.output.lines().filter(|line| line.trim().starts_with("cut ")).count();
    let after = format!("{cuts} cuts, {} s", ran.took.as_secs());
    Ok(match (ran.skipped, ran.evidence) {
        (Some(why), _) => Verdict::Left(why),
        (None, Some(by)) => Verdict::Caught { by, after },
        (None, None) if bug.is_none() && !ran.passed => Verdict::Caught { by: ran.output, after },
        (None, None) => Verdict::NotCaught(after),
    })
}
