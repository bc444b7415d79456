//! Every rule that is tried: what is switched, how large its world is, and what must come of it.

use super::invariants::{IN_ORDER, JOURNALED, NO_DEAD_END, NO_LIE, ONCE, ONE_OUTCOME, RESERVED};
use super::rules::{Dedupe, Planted, Recovery, Rules, Scope};
use super::state::Faults;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Safe,
    /// This invariant is broken.
    Broken(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) rules: Rules,
    pub(crate) scope: Scope,
    pub(crate) expect: Expect,
}

const FOREVER: Rules = Rules::new(Recovery::PostAgain, Dedupe::Forever);
const DEADLINE: Rules = Rules::new(Recovery::Deadline, Dedupe::Open);
const ONE_SHOT: Rules = Rules::new(Recovery::Park, Dedupe::Open);
const EMBEDDED: Rules = Rules::new(Recovery::Embedded, Dedupe::Forever);

/// The order alone, and all that can happen between a worker and the broker.
const ORDER: Scope = Scope {
    workers: 2,
    attempts: 2,
    repeat: false,
    cancel: false,
    rests: true,
    refuses: true,
    publishing: false,
    faults: Faults { crashes: 1, thefts: 1, stalls: 1, timeouts: 1, busy: 1, losses: 0 },
};
/// The order and a repeat of it.
const REPEAT: Scope = Scope {
    repeat: true,
    rests: false,
    faults: Faults { crashes: 1, thefts: 1, stalls: 1, timeouts: 1, busy: 0, losses: 0 },
    ..ORDER
};
/// The order and a cancel of it.
const CANCEL: Scope = Scope {
    cancel: true,
    refuses: false,
    attempts: 1,
    faults: Faults { crashes: 1, thefts: 1, stalls: 0, timeouts: 1, busy: 0, losses: 0 },
    ..ORDER
};
/// The way out: versions, outcomes, marks, the relay; and what Redis loses.
const PUBLISHING: Scope = Scope {
    publishing: true,
    rests: false,
    refuses: false,
    attempts: 1,
    faults: Faults { crashes: 1, thefts: 1, stalls: 1, timeouts: 1, busy: 0, losses: 0 },
    ..ORDER
};
const LOSSES: Scope = Scope { faults: Faults { losses: 1, ..PUBLISHING.faults }, ..PUBLISHING };
/// The same with less of what does not matter there, where there is more of everything else.
const FEWER: Faults = Faults { crashes: 1, thefts: 1, stalls: 0, timeouts: 1, busy: 0, losses: 0 };
/// What it takes for two workers to decide about one attempt.
const RACE: Scope = Scope {
    attempts: 3,
    rests: false,
    refuses: false,
    faults: Faults { crashes: 0, thefts: 1, stalls: 0, timeouts: 1, busy: 0, losses: 0 },
    ..ORDER
};

const fn safe(name: &'static str, rule: &'static str, rules: Rules, scope: Scope) -> Case {
    Case { name, rule, rules, scope, expect: Expect::Safe }
}

const fn broken(
    name: &'static str,
    rule: &'static str,
    rules: Rules,
    scope: Scope,
    invariant: &'static str,
) -> Case {
    Case { name, rule, rules, scope, expect: Expect::Broken(invariant) }
}

pub(crate) const CASES: &[Case] = &[
    // The rules that the program follows.
    safe("forever", "sent again under the same id; the broker dedupes for ever", FOREVER, ORDER),
    safe("deadline", "deadline journaled with the attempt; a query past it is proof", DEADLINE, ORDER),
    safe("one_shot", "one POST; looked for; not found: parked", ONE_SHOT, ORDER),
    safe(
        "embedded",
        "executed inside the recording transaction",
        EMBEDDED,
        Scope { rests: false, refuses: false, ..ORDER },
    ),
    safe("forever_repeat", "`forever`, and the request is repeated", FOREVER, REPEAT),
    safe(
        "deadline_repeat",
        "`deadline`, and the request is repeated",
        DEADLINE,
        Scope { faults: FEWER, ..REPEAT },
    ),
    safe("one_shot_repeat", "`one_shot`, and the request is repeated", ONE_SHOT, REPEAT),
    safe("forever_cancel", "`forever`, and a cancel that may overtake", FOREVER, CANCEL),
    safe("deadline_cancel", "`deadline`, and a cancel that may overtake", DEADLINE, CANCEL),
    safe("one_shot_cancel", "`one_shot`, and a cancel that may overtake", ONE_SHOT, CANCEL),
    safe("publishing", "published by one script, by workers and two relays at once", FOREVER, PUBLISHING),
    safe(
        "publishing_repeat",
        "`publishing`, and the request is repeated",
        FOREVER,
        Scope { repeat: true, faults: FEWER, ..PUBLISHING },
    ),
    safe("redis_losses", "`publishing`; Redis loses a finish, a delivery, or everything", FOREVER, LOSSES),
    // The rules that were rejected: what follows an unknown outcome.
    broken(
        "post_again",
        "sent again under the same id; the broker dedupes among open orders",
        Rules::new(Recovery::PostAgain, Dedupe::Open),
        ORDER,
        ONCE,
    ),
    broken(
        "query_then_post",
        "queried; not found: sent again",
        Rules::new(Recovery::QueryThenPost, Dedupe::Open),
        ORDER,
        ONCE,
    ),
    broken(
        "query_then_post_checked",
        "the same, with a look at the epoch just before sending",
        Rules::new(Recovery::QueryThenPostChecked, Dedupe::Open),
        ORDER,
        ONCE,
    ),
    broken(
        "not_found_is_rejected",
        "queried; not found: told as rejected",
        Rules::new(Recovery::NotFoundIsRejected, Dedupe::Open),
        ORDER,
        NO_LIE,
    ),
    broken(
        "stamp_at_send",
        "deadline stamped when the POST is sent",
        DEADLINE.planting(Planted::StampAtSend),
        ORDER,
        ONCE,
    ),
    broken(
        "unfenced",
        "deadline, decided without compare-and-set",
        DEADLINE.planting(Planted::Unfenced),
        RACE,
        ONCE,
    ),
    broken(
        "lagging_proof",
        "deadline, and a query that lags behind it counts",
        DEADLINE.planting(Planted::LaggingProof),
        ORDER,
        ONCE,
    ),
    // Faults that were planted.
    broken(
        "embedded_unfenced",
        "the simulator executes without compare-and-set",
        EMBEDDED.planting(Planted::Unfenced),
        ORDER,
        ONCE,
    ),
    broken(
        "unknown_is_rejected",
        "an unknown answer is told as rejected",
        ONE_SHOT.planting(Planted::UnknownIsRejected),
        ORDER,
        NO_LIE,
    ),
    broken(
        "release_on_timeout",
        "a time-out releases the reservation",
        ONE_SHOT.planting(Planted::ReleaseOnTimeout),
        ORDER,
        RESERVED,
    ),
    broken(
        "not_sent_closes_resent",
        "a refused connection closes an attempt that was sent before",
        FOREVER.planting(Planted::NotSentClosesResent),
        ORDER,
        NO_LIE,
    ),
    broken(
        "facts_fenced",
        "what the feed tells is fenced like a decision",
        ONE_SHOT.planting(Planted::FactsFenced),
        ORDER,
        NO_DEAD_END,
    ),
    broken(
        "dedupe_by_entry",
        "each entry is an order, whatever its client order id",
        DEADLINE.planting(Planted::DedupeByEntry),
        REPEAT,
        ONCE,
    ),
    broken(
        "cancel_overtakes",
        "a cancel goes out before the broker has the order",
        ONE_SHOT.planting(Planted::CancelOvertakes),
        CANCEL,
        NO_LIE,
    ),
    broken(
        "ack_before_commit",
        "the entry is acknowledged when it is read",
        FOREVER.planting(Planted::AckBeforeCommit),
        ORDER,
        NO_DEAD_END,
    ),
    broken(
        "publish_before_commit",
        "published, then committed",
        FOREVER.planting(Planted::PublishBeforeCommit),
        PUBLISHING,
        JOURNALED,
    ),
    broken(
        "outcome_overtakes",
        "an outcome does not wait for its order's versions",
        FOREVER.planting(Planted::OutcomeOvertakes),
        PUBLISHING,
        IN_ORDER,
    ),
    broken(
        "finish_without_owner",
        "the finishing script does not ask for the owner",
        FOREVER.planting(Planted::FinishWithoutOwner),
        PUBLISHING,
        ONE_OUTCOME,
    ),
    broken(
        "forget_without_memory",
        "the relay does not ask what was finished and forgotten since",
        FOREVER.planting(Planted::ForgetWithoutMemory),
        PUBLISHING,
        ONE_OUTCOME,
    ),
    broken(
        "own_entries_forgotten",
        "a worker does not look at what is pending for itself",
        FOREVER.planting(Planted::OwnEntriesForgotten),
        LOSSES,
        NO_DEAD_END,
    ),
    broken(
        "no_reconciliation",
        "nobody takes up what Redis lost",
        FOREVER.planting(Planted::NoReconciliation),
        LOSSES,
        NO_DEAD_END,
    ),
    broken(
        "no_relay",
        "nobody publishes what its worker could not",
        FOREVER.planting(Planted::NoRelay),
        LOSSES,
        NO_DEAD_END,
    ),
    // What is known not to hold.
    broken(
        "unread_outcome_lost",
        "Redis loses an outcome that is marked as published and that nobody had read",
        FOREVER.planting(Planted::UnreadOutcomes),
        LOSSES,
        NO_DEAD_END,
    ),
];

pub(crate) fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}
