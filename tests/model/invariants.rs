//! What must hold in every state, and what must be true where nothing more happens.

use std::sync::atomic::Ordering;

use stateright::{Model, Property};

use super::protocol::Protocol;
use super::state::{Book, CANCEL, Doing, Entry, Outcome, State, Status};

pub(crate) const ONCE: &str = "executed at most once";
pub(crate) const NO_LIE: &str = "no status is a lie";
pub(crate) const ONE_OUTCOME: &str = "one outcome a request";
pub(crate) const JOURNALED: &str = "nothing out that is not journaled";
pub(crate) const IN_ORDER: &str = "outcome after its versions";
pub(crate) const RESERVED: &str = "reserved while it may execute";
pub(crate) const NO_DEAD_END: &str = "no dead end";

pub(crate) const NAMES: [&str; 7] = [ONCE, NO_LIE, ONE_OUTCOME, JOURNALED, IN_ORDER, RESERVED, NO_DEAD_END];
const TESTS: [fn(&Protocol, &State) -> bool; 7] =
    [once, no_lie, one_outcome, journaled, in_order, reserved, no_dead_end];

pub(crate) fn properties() -> Vec<Property<Protocol>> {
    // A property is a plain function: each has its number compiled in.
    vec![
        Property::always(NAMES[0], first_break::<0>),
        Property::always(NAMES[1], first_break::<1>),
        Property::always(NAMES[2], first_break::<2>),
        Property::always(NAMES[3], first_break::<3>),
        Property::always(NAMES[4], first_break::<4>),
        Property::always(NAMES[5], first_break::<5>),
        Property::always(NAMES[6], first_break::<6>),
    ]
}

/// The checker keeps the last counter-example that it comes across, which is longer than the first: only the first is
/// reported to it.
fn first_break<const N: usize>(model: &Protocol, s: &State) -> bool {
    TESTS[N](model, s) || model.broken.fetch_or(1 << N, Ordering::Relaxed) & (1 << N) != 0
}

/// Executions are counted by client order id.
fn once(_: &Protocol, s: &State) -> bool {
    s.broker.executed <= 1
}

/// What is told of an order, in its status or to a request, is so.
fn no_lie(model: &Protocol, s: &State) -> bool {
    let order = &s.journal.order;
    let says_not = |outcome: &Outcome| matches!(outcome, Outcome::NotExecuted | Outcome::Cancelled);
    let denied = matches!(order.status, Status::Rejected | Status::Cancelled)
        || s.journal.outcomes.iter().any(says_not);
    if denied && (s.broker.executed > 0 || model.can_execute(s)) {
        return false;
    }
    let claimed = order.status == Status::Filled || s.journal.outcomes[..CANCEL].contains(&Outcome::Filled);
    if claimed && s.broker.executed == 0 {
        return false;
    }
    let known = order.status == Status::Acknowledged || s.journal.outcomes.contains(&Outcome::Working);
    !known || s.broker.book != Book::Nothing
}

/// Once more where Redis itself lost that it was told.
fn one_outcome(_: &Protocol, s: &State) -> bool {
    s.redis.published.iter().all(|times| *times <= 1 + u8::from(s.redis.flushed))
}

fn journaled(_: &Protocol, s: &State) -> bool {
    let unknown = |(times, outcome): (&u8, &Outcome)| *times > 0 && *outcome == Outcome::None;
    s.redis.out <= s.journal.order.version && !s.redis.published.iter().zip(&s.journal.outcomes).any(unknown)
}

fn in_order(_: &Protocol, s: &State) -> bool {
    !s.redis.overtaken
}

/// What the broker may still execute, or has and is not booked, has its share of the limits.
fn reserved(model: &Protocol, s: &State) -> bool {
    let order = &s.journal.order;
    let holds = matches!(order.status, Status::PendingSubmit | Status::Submitted | Status::Acknowledged)
        && !order.released;
    let exposed = s.broker.executed > u8::from(order.booked) || model.can_execute(s);
    holds || !exposed
}

/// Where nothing happens any more unless something else goes wrong, everything has come to its end.
fn no_dead_end(model: &Protocol, s: &State) -> bool {
    let busy = s.workers.iter().any(|worker| worker.doing != Doing::Nothing);
    if busy || is_settled(model, s) {
        return true;
    }
    let mut actions = Vec::new();
    model.progress(s, &mut actions);
    actions.into_iter().any(|action| model.next_state(s, action).is_some())
}

/// The order is terminal, parked or rests, what was executed is booked, every request has its outcome.
pub(crate) fn is_settled(model: &Protocol, s: &State) -> bool {
    let order = &s.journal.order;
    let ended = order.parked || !order.status.is_undecided();
    let booked = s.broker.executed == 0 || order.booked;
    let told = model.requests().all(|req| match s.redis.entries[req] {
        Entry::Gone => s.redis.published[req] > 0,
        Entry::Lost => true,
        Entry::Absent | Entry::New | Entry::Held | Entry::Orphaned => false,
    });
    let out = !model.scope.publishing || s.redis.out == order.version;
    ended && booked && told && out
}
