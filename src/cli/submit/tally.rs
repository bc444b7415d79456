//! What became of the orders of a file, counted.

use std::collections::BTreeMap;

use crate::cli::Ending;
use crate::cli::outcome::Outcome;

use super::file::Row;

/// Failures that are told one by one, the first.
const TOLD: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) all: usize,
    pub(super) added: usize,
    completed: BTreeMap<String, u64>,
    failed: BTreeMap<String, u64>,
    /// Of completed ones: the order was there before, and was not executed again.
    known: u64,
    first_failures: Vec<String>,
    /// A failure that is no refusal.
    is_broken: bool,
}

impl Tally {
    pub(super) fn of(all: usize) -> Self {
        Self { all, ..Self::default() }
    }

    pub(super) fn take(&mut self, row: &Row, outcome: &Outcome) {
        let field = |name: &str| outcome.field(name).unwrap_or("?").to_owned();
        if outcome.completed {
            *self.completed.entry(field("status")).or_default() += 1;
        } else {
            *self.failed.entry(field("code")).or_default() += 1;
            if self.first_failures.len() < TOLD {
                let text = format!(
                    "line {}  {}  {}: {}",
                    row.line,
                    row.client_order_id,
                    field("code"),
                    field("error")
                );
                self.first_failures.push(text);
            }
        }
        self.known += u64::from(is_repeat(row, outcome));
        self.is_broken |= outcome.ending() == Ending::Failed;
    }

    fn ended(&self) -> u64 {
        sum(&self.completed) + sum(&self.failed)
    }

    /// Added, and nobody knows what becomes of them yet.
    pub(super) fn without_outcome(&self) -> u64 {
        (self.added as u64).saturating_sub(self.ended())
    }

    pub(super) fn ending(&self) -> Ending {
        if self.is_broken || self.without_outcome() > 0 || self.added < self.all {
            Ending::Failed
        } else if self.failed.is_empty() {
            Ending::Done
        } else {
            Ending::Refused
        }
    }

    pub(super) fn lines(&self, prefix: &str, waited: bool) -> Vec<String> {
        let mut lines = vec![format!("{} of {} orders added to {prefix}:pending", self.added, self.all)];
        if !waited {
            return lines;
        }
        if !self.completed.is_empty() {
            lines.push(format!("  completed  {}", counts(&self.completed)));
        }
        if self.known > 0 {
            lines.push(format!("  {} of them were there before and were not executed again", self.known));
        }
        if !self.failed.is_empty() {
            lines.push(format!("  failed     {}", counts(&self.failed)));
            lines.extend(self.first_failures.iter().map(|failure| format!("    {failure}")));
            let more = sum(&self.failed).saturating_sub(self.first_failures.len() as u64);
            if more > 0 {
                lines.push(format!(
                    "    and {more} more: order-execution failed list --limit {}",
                    sum(&self.failed)
                ));
            }
        }
        if self.without_outcome() > 0 {
            lines.push(format!("  no outcome {}", self.without_outcome()));
        }
        lines
    }
}

/// The command line made the order's id: an outcome with another one is of the order that had the name before.
pub(super) fn is_repeat(row: &Row, outcome: &Outcome) -> bool {
    row.is_id_ours && outcome.field("order_id").is_some_and(|id| Some(id) != row.id.as_deref())
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// `9500 Filled, 500 Acknowledged`
fn counts(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}
