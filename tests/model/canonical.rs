//! Fewer states, no story less.

use super::protocol::Protocol;
use super::rules::{Dedupe, Recovery};
use super::state::{Book, State, has};

impl Protocol {
    /// One of the states that no future tells apart: those that differ in what nobody will ask for any more, or in the
    /// workers' names alone.
    pub(crate) fn canonical(&self, mut s: State) -> State {
        let queries = !matches!(self.rules.recovery, Recovery::PostAgain | Recovery::Embedded);
        if !queries {
            s.broker.shown = s.broker.book;
        }
        let broker = &mut s.broker;
        let recorded = self.rules.dedupe == Dedupe::Forever && broker.book != Book::Nothing;
        for (place, late) in broker.late.iter_mut().enumerate() {
            // They can do nothing any more, and nobody waits for them.
            if recorded || (self.rules.has_deadline() && has(broker.passed, place)) {
                *late = 0;
            }
        }
        if !matches!(broker.book, Book::Nothing | Book::Open) {
            broker.late_cancels = 0;
        }
        // Of an order that has ended nothing is decided, so it does not matter who might.
        if s.journal.order.status.is_terminal() && self.rules.recovery != Recovery::QueryThenPostChecked {
            s.journal.order.lease_over = false;
            for worker in &mut s.workers {
                worker.lease = false;
                worker.doing.fence();
            }
        }
        if self.symmetric {
            s.workers[..self.scope.workers].sort_unstable();
        }
        s
    }
}
