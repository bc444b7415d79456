//! What can happen next: the protocol as a `stateright::Model`.

use std::sync::atomic::AtomicU32;

use stateright::{Model, Property};

use super::broker::How;
use super::invariants;
use super::rules::{Planted, Recovery, Rules, Scope};
use super::state::{
    ATTEMPTS, Answer, Book, CANCEL, Doing, Entry, Outcome, REPEAT, REQUESTS, State, Status, Worker, bit, has,
};

pub(crate) struct Protocol {
    pub(crate) rules: Rules,
    pub(crate) scope: Scope,
    /// Workers are exchangeable: of states that differ in their names one is looked at. Traces are made without.
    pub(crate) symmetric: bool,
    /// Invariants that were seen broken, a bit each, so that the first trace, the shortest one, is kept.
    pub(crate) broken: AtomicU32,
}

/// One step. The first number is the worker that takes it, `req` a request. `second`: of two things that may be due,
/// the other one (see `Protocol::admit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read(usize),
    Claim(usize, usize),
    Admit { w: usize, req: usize, second: bool },
    Reconcile { w: usize, req: usize, second: bool },
    CheckEpoch(usize),
    Send(usize),
    Execute(usize),
    Arrives { w: usize, how: How },
    LateArrives { attempt: u8, fresh: bool, how: How },
    LateCancelArrives,
    Record { w: usize, second: bool },
    Query(usize),
    BooksShow,
    DeadlinePasses(usize),
    VisibleWithinPasses(usize),
    RestingFills,
    SendCancel(usize),
    CancelArrives(usize),
    Publish(usize),
    Mark(usize),
    Feed,
    LeaseNotRenewed,
    RelayReadsOutcome(usize, usize),
    RelayReadsCommits(usize),
    Relay(usize),
    Forget(usize),
    CommitAtLast(usize),
    // From here on: what goes wrong.
    Crash(usize),
    LeaseRunsOut,
    HeartbeatExpires(usize),
    AnswerLost { w: usize, how: How },
    CallerGivesUp(usize),
    CallLost(usize),
    LateLost { attempt: u8, fresh: bool },
    RedisLosesFinish(usize),
    RedisLosesDelivery(usize),
    RedisLosesAll,
}

impl Protocol {
    pub(crate) const fn new(rules: Rules, scope: Scope, symmetric: bool) -> Self {
        Self { rules, scope, symmetric, broken: AtomicU32::new(0) }
    }

    pub(crate) fn requests(&self) -> impl Iterator<Item = usize> + use<> {
        let (repeat, cancel) = (self.scope.repeat, self.scope.cancel);
        (0..REQUESTS).filter(move |req| match *req {
            REPEAT => repeat,
            CANCEL => cancel,
            _ => true,
        })
    }

    /// What happens sooner or later where nothing goes wrong.
    pub(crate) fn progress(&self, s: &State, out: &mut Vec<Action>) {
        for w in 0..self.scope.workers {
            self.worker_steps(s, w, out);
        }
        let broker = &s.broker;
        for attempt in 1..=ATTEMPTS as u8 {
            if broker.late[usize::from(attempt) - 1] > 0 {
                let ways = self.ways(s, attempt, false).iter();
                out.extend(ways.map(|how| Action::LateArrives { attempt, fresh: false, how: *how }));
            }
        }
        if broker.late_fresh > 0 {
            let ways = self.ways(s, 1, true).iter();
            out.extend(ways.map(|how| Action::LateArrives { attempt: 1, fresh: true, how: *how }));
        }
        if broker.late_cancels > 0 {
            out.push(Action::LateCancelArrives);
        }
        if broker.shown != broker.book {
            out.push(Action::BooksShow);
        }
        if broker.book == Book::Open {
            out.push(Action::RestingFills);
        }
        if self.rules.has_deadline() {
            let attempts = usize::from(s.journal.order.attempts);
            // A later attempt has a later deadline.
            if let Some(next) = (0..attempts).find(|place| !has(broker.passed, *place)) {
                out.push(Action::DeadlinePasses(next));
            }
            if let Some(next) = (0..attempts).find(|place| !has(broker.settled, *place))
                && has(broker.passed, next)
            {
                out.push(Action::VisibleWithinPasses(next));
            }
        }
        if self.feed_tells(s) {
            out.push(Action::Feed);
        }
        // An owner that has nothing to do with the order any more does not renew its lease.
        let idle = |worker: &Worker| worker.lease && worker.doing == Doing::Nothing && worker.holds == 0;
        if !s.journal.order.lease_over && s.workers.iter().any(idle) {
            out.push(Action::LeaseNotRenewed);
        }
        if self.scope.publishing {
            let finished = s.redis.finished & s.journal.marked;
            out.extend(self.requests().filter(|req| has(finished, *req)).map(Action::Forget));
        }
    }

    fn worker_steps(&self, s: &State, w: usize, out: &mut Vec<Action>) {
        match s.workers[w].doing {
            Doing::Nothing => self.idle_steps(s, w, out),
            Doing::Send { .. } => match self.rules.recovery {
                Recovery::Embedded => out.push(Action::Execute(w)),
                Recovery::QueryThenPostChecked => out.push(Action::CheckEpoch(w)),
                _ => out.push(Action::Send(w)),
            },
            Doing::Checked { .. } => out.push(Action::Send(w)),
            Doing::Sent { attempt, fresh, .. } => {
                let ways = self.ways(s, attempt, fresh).iter();
                out.extend(ways.map(|how| Action::Arrives { w, how: *how }));
                if s.faults.busy > 0 {
                    out.push(Action::Arrives { w, how: How::Busy });
                }
            }
            Doing::Answered { answer, .. } => {
                out.push(Action::Record { w, second: false });
                // What follows at once is a look, or another attempt: only then is there a choice.
                if answer == Answer::Unknown && !s.journal.order.open {
                    out.push(Action::Record { w, second: true });
                }
            }
            Doing::Look { .. } => out.push(Action::Query(w)),
            Doing::Looked { shown, proof, .. } => {
                out.push(Action::Record { w, second: false });
                let parks = self.rules.recovery == Recovery::Park;
                let retries = proof && s.journal.order.attempts < self.scope.attempts;
                if shown == Book::Nothing && (parks || retries) {
                    out.push(Action::Record { w, second: true });
                }
            }
            Doing::SendCancel { .. } => out.push(Action::SendCancel(w)),
            Doing::SentCancel { .. } => out.push(Action::CancelArrives(w)),
            Doing::CancelAnswered { .. } => out.push(Action::Record { w, second: false }),
            Doing::Finish { .. } => out.push(Action::Publish(w)),
            Doing::Mark { .. } => out.push(Action::Mark(w)),
            Doing::RelayOutcome { .. } | Doing::RelayCommits { .. } => out.push(Action::Relay(w)),
            Doing::PublishedEarly { .. } => out.push(Action::CommitAtLast(w)),
        }
    }

    fn idle_steps(&self, s: &State, w: usize, out: &mut Vec<Action>) {
        let worker = &s.workers[w];
        if s.redis.entries.contains(&Entry::New) {
            out.push(Action::Read(w));
        }
        for req in self.requests() {
            if Self::may_claim(s, w, req) {
                out.push(Action::Claim(w, req));
            }
            let forgotten = self.rules.has(Planted::OwnEntriesForgotten) && has(s.journal.marked, req);
            let choice = self.has_choice(s, req);
            if has(worker.holds, req) && !forgotten {
                out.push(Action::Admit { w, req, second: false });
                if choice {
                    out.push(Action::Admit { w, req, second: true });
                }
            }
            // Who has the lease may have the request in its memory, though the entry is another's by now.
            let remembers = worker.lease && !has(worker.holds, req) && self.is_unfinished(s, req);
            let abandoned = self.is_abandoned(s, req) && !self.rules.has(Planted::NoReconciliation);
            if remembers || abandoned {
                out.push(Action::Reconcile { w, req, second: false });
                if choice {
                    out.push(Action::Reconcile { w, req, second: true });
                }
            }
            if self.may_relay(s, w, req) {
                out.push(Action::RelayReadsOutcome(w, req));
            }
        }
        if self.scope.publishing && s.redis.out < s.journal.order.version && !self.rules.has(Planted::NoRelay)
        {
            out.push(Action::RelayReadsCommits(w));
        }
    }

    /// Whether two things may be due where a request is admitted.
    fn has_choice(&self, s: &State, req: usize) -> bool {
        let order = &s.journal.order;
        if req == CANCEL {
            return order.status == Status::None && s.journal.outcomes[CANCEL] == Outcome::None;
        }
        order.status.is_undecided() && !order.open && !order.parked && order.attempts < self.scope.attempts
    }

    /// `Rules::facts`: the broker tells without being asked, everything and in sequence.
    fn feed_tells(&self, s: &State) -> bool {
        let order = &s.journal.order;
        let dropped = self.rules.has(Planted::FactsFenced) && !order.open;
        let mut told = *s;
        !dropped && self.merge(&mut told, s.broker.book)
    }

    fn faults(&self, s: &State, out: &mut Vec<Action>) {
        let left = &s.faults;
        for w in 0..self.scope.workers {
            let worker = &s.workers[w];
            if left.crashes > 0 && *worker != Worker::default() {
                out.push(Action::Crash(w));
            }
            if left.stalls > 0 && worker.holds & !worker.lapsed != 0 {
                out.push(Action::HeartbeatExpires(w));
            }
            if left.timeouts > 0 {
                match worker.doing {
                    Doing::Sent { attempt, fresh, .. } => {
                        let ways = self.ways(s, attempt, fresh).iter();
                        out.extend(ways.map(|how| Action::AnswerLost { w, how: *how }));
                        out.extend([Action::CallerGivesUp(w), Action::CallLost(w)]);
                    }
                    Doing::SentCancel { .. } => {
                        out.push(Action::AnswerLost { w, how: How::AsKnown });
                        out.extend([Action::CallerGivesUp(w), Action::CallLost(w)]);
                    }
                    _ => {}
                }
            }
            if left.losses > 0 && matches!(worker.doing, Doing::Finish { .. }) {
                out.push(Action::RedisLosesFinish(w));
            }
        }
        let leased = s.workers.iter().any(|worker| worker.lease);
        let order = &s.journal.order;
        let matters = order.status.is_undecided() || order.pending_cancel;
        if left.thefts > 0 && leased && matters && !order.lease_over {
            out.push(Action::LeaseRunsOut);
        }
        for attempt in 1..=ATTEMPTS as u8 {
            if s.broker.late[usize::from(attempt) - 1] > 0 {
                out.push(Action::LateLost { attempt, fresh: false });
            }
        }
        if s.broker.late_fresh > 0 {
            out.push(Action::LateLost { attempt: 1, fresh: true });
        }
        if left.losses > 0 {
            let held = self.requests().filter(|req| s.redis.entries[*req] == Entry::Held);
            out.extend(held.map(Action::RedisLosesDelivery));
            if !s.redis.flushed {
                out.push(Action::RedisLosesAll);
            }
        }
    }

    fn step(&self, s: &mut State, action: Action) {
        match action {
            Action::Read(w) => {
                s.workers[w].lapsed = 0;
                self.read(s, w);
            }
            Action::Claim(w, req) => Self::claim(s, w, req),
            Action::Admit { w, req, second } => {
                // It is awake, and so is its heartbeat.
                s.workers[w].lapsed = 0;
                self.admit_or_publish_early(s, w, req, second);
            }
            Action::Reconcile { w, req, second } => self.admit(s, w, req, second),
            Action::CommitAtLast(w) => {
                if let Doing::PublishedEarly { req } = s.workers[w].doing {
                    self.admit(s, w, usize::from(req), false);
                }
            }
            Action::CheckEpoch(w) => {
                if let Doing::Send { req, attempt, mine } = s.workers[w].doing {
                    s.workers[w].doing = if mine { Doing::Checked { req, attempt } } else { Doing::Nothing };
                }
            }
            Action::Send(w) => self.send(s, w),
            Action::Execute(w) => self.execute(s, w),
            Action::Arrives { w, how } => self.arrives(s, w, how, false),
            Action::AnswerLost { w, how } => {
                s.faults.timeouts -= 1;
                self.arrives(s, w, how, true);
            }
            Action::CallerGivesUp(w) => {
                s.faults.timeouts -= 1;
                leave_call(s, w);
                unanswered(s, w);
            }
            Action::CallLost(w) => {
                s.faults.timeouts -= 1;
                unanswered(s, w);
            }
            Action::LateArrives { attempt, fresh, how } => {
                take_late(s, attempt, fresh);
                self.arrive(s, attempt, fresh, how);
            }
            Action::LateLost { attempt, fresh } => take_late(s, attempt, fresh),
            Action::LateCancelArrives => {
                s.broker.late_cancels -= 1;
                Self::cancel_arrives(s);
            }
            Action::Record { w, second } => match s.workers[w].doing {
                Doing::Answered { .. } => self.answered(s, w, second),
                Doing::CancelAnswered { .. } => self.cancel_answered(s, w),
                _ => self.looked(s, w, second),
            },
            Action::Query(w) => self.query(s, w),
            Action::BooksShow => s.broker.shown = s.broker.book,
            Action::DeadlinePasses(place) => s.broker.passed |= bit(place),
            Action::VisibleWithinPasses(place) => Self::settle(s, place),
            Action::RestingFills => {
                s.broker.book = Book::Filled;
                s.broker.executed += 1;
            }
            Action::SendCancel(w) => {
                if let Doing::SendCancel { mine } = s.workers[w].doing {
                    s.workers[w].doing = Doing::SentCancel { mine };
                }
            }
            Action::CancelArrives(w) => self.arrives(s, w, How::AsKnown, false),
            Action::Publish(w) => self.publish(s, w, false),
            Action::RedisLosesFinish(w) => {
                s.faults.losses -= 1;
                self.publish(s, w, true);
            }
            Action::Mark(w) => Self::mark(s, w),
            Action::Forget(req) => Self::forget(s, req),
            Action::Feed => {
                let book = s.broker.book;
                self.merge(s, book);
            }
            Action::LeaseNotRenewed => s.journal.order.lease_over = true,
            Action::RelayReadsOutcome(w, req) => {
                s.workers[w].doing = Doing::RelayOutcome { req: req as u8, upto: s.journal.order.version };
            }
            Action::RelayReadsCommits(w) => {
                s.workers[w].doing = Doing::RelayCommits { upto: s.journal.order.version };
            }
            Action::Relay(w) => match s.workers[w].doing {
                Doing::RelayOutcome { .. } => self.relay(s, w),
                _ => Self::relay_commits(s, w),
            },
            Action::Crash(w) => {
                s.faults.crashes -= 1;
                leave_call(s, w);
                let worker = std::mem::take(&mut s.workers[w]);
                self.orphan(s, worker.holds);
            }
            Action::LeaseRunsOut => {
                s.faults.thefts -= 1;
                s.journal.order.lease_over = true;
            }
            Action::HeartbeatExpires(w) => {
                s.faults.stalls -= 1;
                s.workers[w].lapsed = s.workers[w].holds;
            }
            Action::RedisLosesDelivery(req) => {
                s.faults.losses -= 1;
                Self::lose_delivery(s, req);
            }
            Action::RedisLosesAll => {
                s.faults.losses -= 1;
                self.flush(s);
            }
        }
    }

    fn admit_or_publish_early(&self, s: &mut State, w: usize, req: usize, second: bool) {
        if self.rules.has(Planted::PublishBeforeCommit) && s.journal.order.status == Status::None {
            s.redis.out += 1;
            s.workers[w].doing = Doing::PublishedEarly { req: req as u8 };
        } else {
            self.admit(s, w, req, second);
        }
    }

    fn send(&self, s: &mut State, w: usize) {
        let (req, attempt, mine) = match s.workers[w].doing {
            Doing::Send { req, attempt, mine } => (req, attempt, mine),
            Doing::Checked { req, attempt } => (req, attempt, true),
            _ => return,
        };
        let passed = has(s.broker.passed, usize::from(attempt) - 1);
        let fresh = self.rules.has(Planted::StampAtSend) && passed;
        s.workers[w].doing = Doing::Sent { req, attempt, mine, fresh };
    }

    fn arrives(&self, s: &mut State, w: usize, how: How, is_lost: bool) {
        match s.workers[w].doing {
            Doing::Sent { req, attempt, mine, fresh } => {
                s.faults.busy -= u8::from(how == How::Busy);
                let answer = self.arrive(s, attempt, fresh, how);
                let answer = if is_lost { Answer::Unknown } else { answer };
                s.workers[w].doing = Doing::Answered { req, attempt, mine, answer };
            }
            Doing::SentCancel { mine } => {
                let answer = Self::cancel_arrives(s);
                let answer = if is_lost { Answer::Unknown } else { answer };
                s.workers[w].doing = Doing::CancelAnswered { mine, answer };
            }
            _ => {}
        }
    }
}

/// Whoever made the call does not wait for it any more; it goes on in the network.
fn leave_call(s: &mut State, w: usize) {
    match s.workers[w].doing {
        Doing::Sent { attempt, fresh, .. } => Protocol::leave_in_network(s, attempt, fresh),
        Doing::SentCancel { .. } => s.broker.late_cancels += 1,
        _ => {}
    }
}

fn unanswered(s: &mut State, w: usize) {
    let answer = Answer::Unknown;
    s.workers[w].doing = match s.workers[w].doing {
        Doing::Sent { req, attempt, mine, .. } => Doing::Answered { req, attempt, mine, answer },
        Doing::SentCancel { mine } => Doing::CancelAnswered { mine, answer },
        other => other,
    };
}

fn take_late(s: &mut State, attempt: u8, fresh: bool) {
    if fresh {
        s.broker.late_fresh -= 1;
    } else {
        s.broker.late[usize::from(attempt) - 1] -= 1;
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut s = State { faults: self.scope.faults, ..State::default() };
        for req in self.requests() {
            s.redis.entries[req] = Entry::New;
        }
        vec![s]
    }

    fn actions(&self, s: &State, out: &mut Vec<Action>) {
        self.progress(s, out);
        self.faults(s, out);
    }

    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        let mut next = *s;
        self.step(&mut next, action);
        let next = self.canonical(next);
        (next != *s).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
