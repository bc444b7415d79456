//! The broker and the way to it: `src/exchange/book/`, and a network that keeps a POST for as long as it likes.

use super::protocol::Protocol;
use super::rules::{Dedupe, Planted, Recovery};
use super::state::{Answer, Book, Doing, State, bit, has};

/// What the broker does with a POST that it lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// What dedupe or the deadline say: there is no choice.
    AsKnown,
    Fills,
    Rests,
    Refuses,
    /// 429, or no connection came about.
    Busy,
}

impl Protocol {
    /// What may become of a POST that arrives now.
    pub(crate) fn ways(&self, s: &State, attempt: u8, fresh: bool) -> &'static [How] {
        if !self.is_let_in(s, attempt, fresh) {
            return &[How::AsKnown];
        }
        match (self.scope.rests, self.scope.refuses) {
            (true, true) => &[How::Fills, How::Rests, How::Refuses],
            (true, false) => &[How::Fills, How::Rests],
            (false, true) => &[How::Fills, How::Refuses],
            (false, false) => &[How::Fills],
        }
    }

    /// Whether it would make a new order.
    fn is_let_in(&self, s: &State, attempt: u8, fresh: bool) -> bool {
        let known = match self.rules.dedupe {
            Dedupe::Forever => s.broker.book != Book::Nothing,
            Dedupe::Open => s.broker.book == Book::Open,
        };
        !known && !self.is_too_late(s, attempt, fresh)
    }

    fn is_too_late(&self, s: &State, attempt: u8, fresh: bool) -> bool {
        self.rules.has_deadline() && has(s.broker.passed, usize::from(attempt) - 1) && !fresh
    }

    /// `Book::submit`.
    pub(crate) fn arrive(&self, s: &mut State, attempt: u8, fresh: bool, how: How) -> Answer {
        if how == How::Busy {
            return Answer::NotSent;
        }
        if !self.is_let_in(s, attempt, fresh) {
            return match (self.rules.dedupe, s.broker.book) {
                (Dedupe::Forever, Book::Refused) => Answer::Rejected,
                (Dedupe::Forever, book) if book != Book::Nothing => Answer::Accepted(book),
                _ if self.is_too_late(s, attempt, fresh) => Answer::NotSent,
                // 409 `DUPLICATE`: an attempt of ours, or somebody else's.
                _ => Answer::Unknown,
            };
        }
        s.broker.placed_by = attempt;
        s.broker.book = match how {
            How::Rests => Book::Open,
            How::Refuses => Book::Refused,
            How::Fills | How::AsKnown | How::Busy => Book::Filled,
        };
        s.broker.executed += u8::from(s.broker.book == Book::Filled);
        match s.broker.book {
            Book::Refused => Answer::Rejected,
            book => Answer::Accepted(book),
        }
    }

    /// A POST that is not waited for any more.
    pub(crate) fn leave_in_network(s: &mut State, attempt: u8, fresh: bool) {
        if fresh {
            s.broker.late_fresh += 1;
        } else {
            s.broker.late[usize::from(attempt) - 1] += 1;
        }
    }

    /// `Book::cancel`.
    pub(crate) fn cancel_arrives(s: &mut State) -> Answer {
        match s.broker.book {
            // 404 `UNKNOWN_ORDER`.
            Book::Nothing => Answer::Rejected,
            Book::Open => {
                s.broker.book = Book::Cancelled;
                Answer::Accepted(Book::Cancelled)
            }
            book => Answer::Accepted(book),
        }
    }

    /// `GET /orders/{id}`: what is shown, and whether what is not shown counts as proof.
    pub(crate) fn query(&self, s: &mut State, w: usize) {
        let Doing::Look { req, attempt, mine } = s.workers[w].doing else { return };
        let place = usize::from(attempt) - 1;
        let proof = match self.rules.planted {
            Planted::LaggingProof => has(s.broker.passed, place),
            _ => has(s.broker.settled, place),
        };
        s.workers[w].doing = Doing::Looked { req, attempt, mine, shown: s.broker.shown, proof };
    }

    /// Within `visible_within` after a deadline everything is shown that was done in time for it.
    pub(crate) fn settle(s: &mut State, place: usize) {
        s.broker.settled |= bit(place);
        if usize::from(s.broker.placed_by) <= place + 1 {
            s.broker.shown = s.broker.book;
        }
    }

    /// Whether anything that was sent, or that a worker is about to send, can still be executed.
    pub(crate) fn can_execute(&self, s: &State) -> bool {
        if s.broker.book == Book::Open {
            return true;
        }
        let possible = |attempt: u8, fresh: bool| self.is_let_in(s, attempt, fresh);
        let stamped = self.rules.has(Planted::StampAtSend);
        let sent = s.workers.iter().any(|worker| match worker.doing {
            Doing::Send { attempt, mine, .. } => match self.rules.recovery {
                Recovery::Embedded => false,
                Recovery::QueryThenPostChecked => mine,
                _ => possible(attempt, stamped),
            },
            Doing::Checked { attempt, .. } => possible(attempt, stamped),
            Doing::Sent { attempt, fresh, .. } => possible(attempt, fresh),
            _ => false,
        });
        let late = (1..=s.broker.late.len())
            .any(|attempt| s.broker.late[attempt - 1] > 0 && possible(attempt as u8, false));
        sent || late || (s.broker.late_fresh > 0 && possible(1, true))
    }
}
