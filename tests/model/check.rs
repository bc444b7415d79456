//! Runs the checker on a case, and tells what came of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::cases::{Case, Expect};
use super::invariants;
use super::protocol::{Action, Protocol};

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) generated: usize,
    /// The longest of the shortest ways to a state.
    pub(crate) depth: usize,
    /// Invariants that were seen broken, each with the shortest way there.
    pub(crate) broken: Vec<(&'static str, Vec<Action>)>,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn is_as_expected(&self, case: &Case) -> bool {
        match case.expect {
            Expect::Safe => self.broken.is_empty(),
            Expect::Broken(name) => self.counter_example(name).is_some(),
        }
    }

    pub(crate) fn counter_example(&self, name: &str) -> Option<&[Action]> {
        self.broken.iter().find(|(broken, _)| *broken == name).map(|(_, way)| &way[..])
    }
}

/// Every state that can be reached, or as many as it takes to break what is expected to break. With one thread the
/// counter-examples are the shortest there are.
pub(crate) fn run(case: &Case, threads: usize) -> Report {
    let begun = Instant::now();
    let safe = case.expect == Expect::Safe;
    let enough = match case.expect {
        Expect::Safe => HasDiscoveries::AnyFailures,
        Expect::Broken(name) => HasDiscoveries::AnyOf(BTreeSet::from([name])),
    };
    let model = Protocol::new(case.rules, case.scope, safe);
    let checker = model.checker().threads(threads).finish_when(enough).spawn_bfs().join();
    let mut broken: Vec<_> =
        checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    broken.sort_by_key(|(name, _)| invariants::NAMES.iter().position(|known| known == name));
    Report {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        broken,
        took: begun.elapsed(),
    }
}
