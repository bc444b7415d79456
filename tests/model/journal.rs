//! The decisions: each function is one transaction of the journal. They stand for `src/domain/decide/`.

use super::protocol::Protocol;
use super::rules::{Planted, Recovery};
use super::state::{Answer, Book, CANCEL, Doing, Entry, Outcome, State, Status};

impl Protocol {
    /// `Rules::decide` of `Input::Admit`. `second`: where two things may be due, the other one.
    pub(crate) fn admit(&self, s: &mut State, w: usize, req: usize, second: bool) {
        if s.journal.outcomes[req] != Outcome::None {
            s.workers[w].doing = self.finish(s, req);
        } else if req == CANCEL {
            self.admit_cancel(s, w, second);
        } else if s.journal.order.status == Status::None {
            self.create(s, w, req);
        } else if usize::from(s.journal.order.maker) == req {
            self.resume(s, w, req, second);
        } else if self.rules.has(Planted::DedupeByEntry) && s.journal.order.attempts < self.scope.attempts {
            // Another order of its own, which the broker sees under the same client order id.
            self.new_attempt(s, w, req);
        } else {
            // `known`: a repeat gets the order's end under its own entry, or waits for it.
            self.end_where_decided(s, w, req);
        }
    }

    /// `admit_new`: the order, its first attempt and its lease, in one transaction.
    fn create(&self, s: &mut State, w: usize, req: usize) {
        s.journal.order.maker = req as u8;
        s.workers[w].lease = true;
        self.new_attempt(s, w, req);
    }

    fn new_attempt(&self, s: &mut State, w: usize, req: usize) {
        let order = &mut s.journal.order;
        order.status = Status::PendingSubmit;
        order.attempts += 1;
        order.open = true;
        let attempt = order.attempts;
        self.committed(s);
        s.workers[w].doing = Doing::Send { req: req as u8, attempt, mine: true };
    }

    /// `resume`: the order's end, or under its lease the next step.
    fn resume(&self, s: &mut State, w: usize, req: usize, second: bool) {
        if !self.end_where_decided(s, w, req) && take_lease(s, w) {
            self.next_step(s, w, req, second);
        }
    }

    /// `next_step`.
    fn next_step(&self, s: &mut State, w: usize, req: usize, second: bool) {
        let order = s.journal.order;
        if !order.open {
            return self.attempt_again(s, w, req, second);
        }
        let (req, attempt) = (req as u8, order.attempts);
        s.workers[w].doing = match self.rules.recovery {
            Recovery::Embedded => Doing::Send { req, attempt, mine: true },
            Recovery::PostAgain => {
                if order.status == Status::PendingSubmit {
                    s.journal.order.status = Status::Submitted;
                    self.committed(s);
                }
                Doing::Send { req, attempt, mine: true }
            }
            Recovery::QueryThenPost
            | Recovery::QueryThenPostChecked
            | Recovery::NotFoundIsRejected
            | Recovery::Park
            | Recovery::Deadline => Doing::Look { req, attempt, mine: true },
        };
    }

    /// `attempt_again`, `give_up`: another attempt, or none where limits, prices or `broker.retry_ms` forbid it.
    fn attempt_again(&self, s: &mut State, w: usize, req: usize, give_up: bool) {
        if give_up || s.journal.order.attempts == self.scope.attempts {
            self.reject(s, w, req);
        } else {
            self.new_attempt(s, w, req);
        }
    }

    fn reject(&self, s: &mut State, w: usize, req: usize) {
        s.journal.order.status = Status::Rejected;
        s.journal.order.open = false;
        self.committed(s);
        self.end_where_decided(s, w, req);
    }

    /// `submit_answered`.
    pub(crate) fn answered(&self, s: &mut State, w: usize, second: bool) {
        let Doing::Answered { req, attempt, mine, answer } = s.workers[w].doing else { return };
        let req = usize::from(req);
        s.workers[w].doing = Doing::Nothing;
        if let Answer::Accepted(book) = answer {
            self.merge(s, book);
            self.end_where_decided(s, w, req);
            return;
        }
        if self.end_where_decided(s, w, req) || !self.is_mine(s, mine, attempt) {
            return;
        }
        match answer {
            Answer::Accepted(_) => {}
            Answer::Rejected => self.reject(s, w, req),
            Answer::NotSent => {
                let resent = self.rules.recovery == Recovery::PostAgain
                    && s.journal.order.status == Status::Submitted
                    && !self.rules.has(Planted::NotSentClosesResent);
                if !resent {
                    s.journal.order.open = false;
                    self.committed(s);
                }
            }
            Answer::Unknown => {
                if self.rules.has(Planted::UnknownIsRejected) {
                    return self.reject(s, w, req);
                }
                s.journal.order.released |= self.rules.has(Planted::ReleaseOnTimeout);
                if s.journal.order.status == Status::PendingSubmit {
                    s.journal.order.status = Status::Submitted;
                    self.committed(s);
                }
                // Where it is to be sent again, that is after a pause.
                if self.rules.recovery != Recovery::PostAgain {
                    self.next_step(s, w, req, second);
                }
            }
        }
    }

    /// `submit_looked`.
    pub(crate) fn looked(&self, s: &mut State, w: usize, second: bool) {
        let Doing::Looked { req, attempt, mine, shown, proof } = s.workers[w].doing else { return };
        let place = usize::from(req);
        s.workers[w].doing = Doing::Nothing;
        if shown != Book::Nothing {
            self.merge(s, shown);
            self.end_where_decided(s, w, place);
            return;
        }
        if self.end_where_decided(s, w, place) || !self.is_mine(s, mine, attempt) {
            return;
        }
        match self.rules.recovery {
            Recovery::Deadline if proof => {
                s.journal.order.open = false;
                self.committed(s);
                self.attempt_again(s, w, place, second);
            }
            Recovery::Deadline | Recovery::Embedded => {}
            // Whether `settle_ms` is over: the journal's clock, which binds nobody else.
            Recovery::Park if second => {
                s.journal.order.status = Status::Submitted;
                s.journal.order.parked = true;
                self.committed(s);
                self.end_where_decided(s, w, place);
            }
            Recovery::Park => {}
            Recovery::NotFoundIsRejected => self.reject(s, w, place),
            Recovery::PostAgain | Recovery::QueryThenPost | Recovery::QueryThenPostChecked => {
                s.workers[w].doing = Doing::Send { req, attempt, mine: true };
            }
        }
    }

    /// `Rules::execute`: the simulator answers inside the recording transaction, fenced by the epoch.
    pub(crate) fn execute(&self, s: &mut State, w: usize) {
        let Doing::Send { req, mine, .. } = s.workers[w].doing else { return };
        s.workers[w].doing = Doing::Nothing;
        let req = usize::from(req);
        let unfenced = self.rules.has(Planted::Unfenced);
        if !unfenced && (self.end_where_decided(s, w, req) || !mine) {
            return;
        }
        s.broker.executed += 1;
        s.broker.book = Book::Filled;
        s.broker.shown = Book::Filled;
        self.merge(s, Book::Filled);
        self.end_where_decided(s, w, req);
    }

    /// `is_mine`.
    fn is_mine(&self, s: &State, mine: bool, attempt: u8) -> bool {
        let order = &s.journal.order;
        self.rules.has(Planted::Unfenced) || (mine && order.open && order.attempts == attempt)
    }

    /// `attempt::merge`, `reconcile`: what the broker says, whoever heard it. Says whether it was news.
    pub(crate) fn merge(&self, s: &mut State, book: Book) -> bool {
        let order = &mut s.journal.order;
        let status = match (book, order.status) {
            (Book::Nothing, _) | (_, Status::None) => return false,
            (Book::Open, Status::PendingSubmit | Status::Submitted) => Status::Acknowledged,
            (Book::Filled, _) if !order.booked => Status::Filled,
            (Book::Cancelled, status) if !status.is_terminal() => Status::Cancelled,
            (Book::Refused, Status::PendingSubmit | Status::Submitted | Status::Acknowledged) => {
                Status::Rejected
            }
            (Book::Open | Book::Filled | Book::Cancelled | Book::Refused, _) => return false,
        };
        order.booked |= status == Status::Filled;
        order.status = status;
        order.open = false;
        order.parked = false;
        order.pending_cancel &= !status.is_terminal();
        self.committed(s);
        true
    }

    /// `ended`, `result_of`, `conclude`.
    fn end_where_decided(&self, s: &mut State, w: usize, req: usize) -> bool {
        if s.journal.outcomes[req] == Outcome::None {
            let order = &s.journal.order;
            let outcome = match order.status {
                Status::PendingSubmit | Status::Submitted if order.parked => Outcome::Unknown,
                Status::None | Status::PendingSubmit | Status::Submitted => return false,
                Status::Acknowledged => Outcome::Working,
                Status::Filled => Outcome::Filled,
                Status::Cancelled => Outcome::Cancelled,
                Status::Rejected => Outcome::NotExecuted,
            };
            s.journal.outcomes[req] = outcome;
        }
        s.workers[w].doing = self.finish(s, req);
        true
    }

    /// `admit_cancel`, `resume_cancel`. `last_look`: `worker.command_wait_ms` is over.
    fn admit_cancel(&self, s: &mut State, w: usize, last_look: bool) {
        let order = s.journal.order;
        let overtakes = self.rules.has(Planted::CancelOvertakes);
        if order.status == Status::None {
            let older =
                (0..CANCEL).any(|r| matches!(s.redis.entries[r], Entry::New | Entry::Held | Entry::Orphaned));
            if last_look || !older {
                self.end_cancel(s, w, Outcome::Refused);
            }
        } else if order.cancel_journaled {
            if order.status.is_terminal() {
                self.cancel_ended(s, w);
            } else if !order.pending_cancel {
                self.end_cancel(s, w, Outcome::Refused);
            } else if take_lease(s, w) {
                s.workers[w].doing = Doing::SendCancel { mine: true };
            }
        } else if order.status.is_terminal() {
            self.end_cancel(s, w, Outcome::Refused);
        } else if order.parked {
            self.end_cancel(s, w, Outcome::Unknown);
        } else if (order.status == Status::Acknowledged || overtakes) && !order.pending_cancel {
            s.journal.order.pending_cancel = true;
            s.journal.order.cancel_journaled = true;
            self.committed(s);
            seize_lease(s, w);
            s.workers[w].doing = Doing::SendCancel { mine: true };
        }
    }

    /// `cancel_answered`.
    pub(crate) fn cancel_answered(&self, s: &mut State, w: usize) {
        let Doing::CancelAnswered { mine, answer } = s.workers[w].doing else { return };
        s.workers[w].doing = Doing::Nothing;
        if let Answer::Accepted(book) = answer {
            self.merge(s, book);
        }
        if s.journal.outcomes[CANCEL] != Outcome::None {
            s.workers[w].doing = self.finish(s, CANCEL);
        } else if s.journal.order.status.is_terminal() {
            self.cancel_ended(s, w);
        } else if mine && s.journal.order.pending_cancel && answer == Answer::Rejected {
            if self.rules.has(Planted::CancelOvertakes) {
                self.merge(s, Book::Cancelled);
                return self.cancel_ended(s, w);
            }
            s.journal.order.pending_cancel = false;
            self.committed(s);
            self.end_cancel(s, w, Outcome::Refused);
        }
    }

    fn cancel_ended(&self, s: &mut State, w: usize) {
        let did_it = s.journal.order.status == Status::Cancelled;
        self.end_cancel(s, w, if did_it { Outcome::Cancelled } else { Outcome::Refused });
    }

    fn end_cancel(&self, s: &mut State, w: usize, outcome: Outcome) {
        s.journal.outcomes[CANCEL] = outcome;
        s.workers[w].doing = self.finish(s, CANCEL);
    }

    fn finish(&self, s: &State, req: usize) -> Doing {
        Doing::Finish { req: req as u8, upto: s.journal.order.version }
    }

    /// Each commit is a version, where versions are looked at.
    fn committed(&self, s: &mut State) {
        s.journal.order.version += u8::from(self.scope.publishing);
    }

    /// `Journal::abandoned`: a request that the journal has and nobody has the right to decide about.
    pub(crate) fn is_abandoned(&self, s: &State, req: usize) -> bool {
        let leased = !s.journal.order.lease_over && s.workers.iter().any(|worker| worker.lease);
        !leased && self.is_unfinished(s, req)
    }

    /// The journal has it, and not its end.
    pub(crate) fn is_unfinished(&self, s: &State, req: usize) -> bool {
        let order = &s.journal.order;
        let known = match req {
            CANCEL => order.cancel_journaled,
            _ => order.status != Status::None && usize::from(order.maker) == req,
        };
        known && s.journal.outcomes[req] == Outcome::None
    }
}

/// `Rules::take_lease`: the next epoch, where the lease is free; what others decided under the last one is void.
fn take_lease(s: &mut State, w: usize) -> bool {
    if !s.workers[w].lease {
        let taken = s.workers.iter().any(|worker| worker.lease);
        if taken && !s.journal.order.lease_over {
            return false;
        }
        seize_lease(s, w);
    }
    s.journal.order.lease_over = false;
    true
}

/// `Rules::seize_lease`.
fn seize_lease(s: &mut State, w: usize) {
    for worker in &mut s.workers {
        worker.lease = false;
        worker.doing.fence();
    }
    s.workers[w].lease = true;
    s.journal.order.lease_over = false;
}
