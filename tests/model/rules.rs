//! The switches: what a worker may do, what the broker does, what was planted, and how much may go wrong.

use super::state::Faults;

/// What follows an attempt whose outcome is unknown: `domain/decide/attempt.rs`, `next_step` and `submit_looked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Recovery {
    /// The simulator executes inside the recording transaction (`Profile::Embedded`).
    Embedded,
    /// It is sent again under the same client order id (`Profile::DedupesForever`).
    PostAgain,
    /// The broker is asked; what it does not show is sent again.
    QueryThenPost,
    /// The same, with a look at the lease's epoch just before sending.
    QueryThenPostChecked,
    /// The broker is asked; what it does not show is told as rejected.
    NotFoundIsRejected,
    /// The broker is asked; what it does not show is parked (`Profile::OneShot`).
    Park,
    /// The broker is asked; what it does not show past the deadline may be attempted again (`Profile::Deadline`).
    Deadline,
}

/// What the broker does with a client order id that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dedupe {
    /// The recorded answer, refusals too.
    Forever,
    /// Refused while an order under it is open, else a new order that executes again.
    Open,
}

/// One thing done wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Planted {
    Nothing,
    /// The deadline is stamped when the POST is sent, not when its attempt is journaled.
    StampAtSend,
    /// Decisions compare neither epoch nor attempt.
    Unfenced,
    /// What a query does not show right after the deadline counts as proof: `visible_within` is not waited for.
    LaggingProof,
    /// The entry is acknowledged when it is read.
    AckBeforeCommit,
    PublishBeforeCommit,
    /// The finishing script does not ask who owns the entry.
    FinishWithoutOwner,
    /// The relay's finish does not ask what was finished, marked and forgotten since.
    ForgetWithoutMemory,
    /// An outcome does not wait for its order's versions.
    OutcomeOvertakes,
    /// Each entry is an order of its own, whatever its client order id.
    DedupeByEntry,
    ReleaseOnTimeout,
    UnknownIsRejected,
    /// A refused connection closes an attempt that was sent before.
    NotSentClosesResent,
    /// A cancel of an order that the broker was not heard of goes out; "no such order" ends it as cancelled.
    CancelOvertakes,
    /// A finish that Redis may lose is not looked at again: a worker forgets what is pending for itself.
    OwnEntriesForgotten,
    /// No reconciliation: what Redis lost is nobody's.
    NoReconciliation,
    /// No relay: what is journaled and not published waits for its entry's owner.
    NoRelay,
    /// Nobody had read what Redis lost: not planted, but looked at more strictly than is promised.
    UnreadOutcomes,
    /// What the feed tells is fenced as a decision is: dropped where no attempt is open.
    FactsFenced,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) recovery: Recovery,
    pub(crate) dedupe: Dedupe,
    pub(crate) planted: Planted,
}

/// How large the world is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) workers: usize,
    pub(crate) attempts: u8,
    pub(crate) repeat: bool,
    pub(crate) cancel: bool,
    /// The broker may let the order rest, and fill it later.
    pub(crate) rests: bool,
    /// The broker may refuse it.
    pub(crate) refuses: bool,
    /// Versions, marks and the relay are looked at.
    pub(crate) publishing: bool,
    pub(crate) faults: Faults,
}

impl Rules {
    pub(crate) const fn new(recovery: Recovery, dedupe: Dedupe) -> Self {
        Self { recovery, dedupe, planted: Planted::Nothing }
    }

    pub(crate) const fn planting(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    pub(crate) fn has(&self, planted: Planted) -> bool {
        self.planted == planted
    }

    /// Attempts carry a deadline that the broker keeps.
    pub(crate) fn has_deadline(&self) -> bool {
        self.recovery == Recovery::Deadline
    }
}
