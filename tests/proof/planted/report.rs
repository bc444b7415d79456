//! The table, as Markdown.

use super::layers::{Layers, Verdict};
use super::{Directed, directed as scene};
use order_execution::planted::Bug;
use std::fmt::Write;
use std::time::Duration;

/// Characters of evidence that a cell shows.
const SHOWN: usize = 140;

pub(super) struct Row {
    pub(super) bug: Bug,
    pub(super) directed: Verdict,
    /// The same scene without the bug.
    pub(super) clean_without: bool,
    pub(super) layers: Layers,
}

const HEAD: &str = "\
# Planted bugs

Tests that never failed prove nothing. So the worker is given bugs on purpose, one at a time (`src/planted.rs`, a test-only
feature that a release build refuses), and the layers of the tests run as they are. Each bug must be caught by at least
one, and a run without any must be clean; `cargo test` runs the column *directed* for every bug, with it and without it.

Written by the tests: `cargo test --all-features --test proof -- planted --write docs/planted-bugs.md`

";

const FOOT: &str = "\
*Directed*: a short scene that is about this bug: one crash point, or a scene of `tests/proof/directed.rs`. *Crash points*: the
pairwise choice that the suite runs. *Soak*: pieces of 10 s, the profiles in turn, audited after each; what is told is the
load until the first fault was found. *Black box*: the named tests of `tests/it`. *Power cut*: `tests/proof/power_cut.rs`. *Model*: the
same mistake as a rule of the protocol ([model.md](model.md)); the code is not part of it. *Simulation*: the workers with the
bug under the seeded scheduler ([simulation.md](simulation.md)), whose journal and Redis are fakes: a bug that lies in an adapter is not in it.

Three are told apart:

- `relay-without-lease` harms nothing that an audit could find: the publishing script takes each version of an order once,
  whoever brings it. The lease saves work. What catches it is a scene with two workers and a Redis that is away, which
  counts in their logs who tried to relay while the other held the lease.
- `dedupe-by-entry` alone executes nothing twice: the journal's `UNIQUE` on `client_order_id` refuses the second order. What
  is caught is that its request is told a refusal of an order that was executed.
- `synchronous-normal` survives every kill, since the page cache survives it. Only a power cut shows it.
";

pub(super) fn cut(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    line.chars().take(most).chain(['…']).collect()
}

/// The scene's column, where the control is part of it.
pub(super) fn directed(found: &Result<Directed, String>) -> Verdict {
    match found {
        Err(why) => Verdict::Left(why.clone()),
        Ok(found) => match (found.skipped(), &found.with.evidence) {
            (Some(why), _) => Verdict::Left(why.to_owned()),
            (None, Some(by)) => {
                let after = format!("{:.1} s", found.with.took.as_secs_f64());
                Verdict::Caught { by: by.clone(), after }
            }
            (None, None) => Verdict::NotCaught(format!("{} tries", found.tries)),
        },
    }
}

/// A cell shows the kind of fault; the evidence follows below.
fn cell(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Caught { by, after } => {
            let kind = by.rsplit("`: ").next().unwrap_or(by).split_once(": ");
            let kind = kind.map_or_else(|| cut(by, 100), |(kind, _)| kind.to_owned());
            format!("**caught**, {kind}, {after}")
        }
        Verdict::NotCaught(after) => format!("not caught, {after}"),
        Verdict::Left(why) => format!("–, {why}"),
    }
    .replace('|', "\\|")
}

pub(super) fn markdown(
    rows: &[Row],
    control: &Layers,
    seed: u64,
    soak_seconds: u64,
    took: Duration,
) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("| bug | directed | crash points | soak | black box | power cut | model | simulation |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let _ = write!(text, "| `{}`: {} | {}", row.bug.as_str(), row.bug.what(), cell(&row.directed));
        for (_, verdict) in row.layers.all() {
            let _ = write!(text, " | {}", cell(verdict));
        }
        text.push_str(" |\n");
    }
    let faulty: Vec<&str> =
        rows.iter().filter(|row| !row.clean_without).map(|row| row.bug.as_str()).collect();
    if faulty.is_empty() {
        text.push_str("| none | clean");
    } else {
        let _ = write!(text, "| none | **faults** in the scenes of {}", faulty.join(", "));
    }
    for (_, verdict) in control.all() {
        let clean = match verdict {
            Verdict::NotCaught(after) => format!("clean, {after}"),
            other => cell(other),
        };
        let _ = write!(text, " | {}", clean.replace('|', "\\|"));
    }
    let _ = writeln!(
        text,
        " |\n\nSeed {seed}, at most {soak_seconds} s of soak for each, {} min in all; a debug build.\n",
        took.as_secs() / 60
    );
    text.push_str(FOOT);
    text.push_str("\n## What was seen\n\n");
    for row in rows {
        let _ = writeln!(text, "`{}`\n", row.bug.as_str());
        let _ = writeln!(text, "- directed, `{}`: {}", scene(row.bug).join(" "), seen(&row.directed));
        for (name, verdict) in row.layers.all() {
            if let Verdict::Caught { .. } = verdict {
                let _ = writeln!(text, "- {name}: {}", seen(verdict));
            }
        }
        text.push('\n');
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}

fn seen(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Caught { by, .. } => cut(by, SHOWN),
        Verdict::NotCaught(after) => format!("nothing, {after}"),
        Verdict::Left(why) => why.clone(),
    }
}
