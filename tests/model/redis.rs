//! Redis: the pending stream, takeover, the one script that publishes and finishes, and what it can lose. It stands for
//! `src/adapters/redis/scripts/` and `src/engine/publish.rs`.

use super::protocol::Protocol;
use super::rules::Planted;
use super::state::{CANCEL, Doing, Entry, Outcome, REQUESTS, State, Status, bit, has};

/// The script's answer for one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Already,
    Anothers,
    Gone,
}

impl Protocol {
    /// `XREADGROUP`: the oldest entry that nobody has.
    pub(crate) fn read(&self, s: &mut State, w: usize) {
        if let Some(req) = s.redis.entries.iter().position(|entry| *entry == Entry::New) {
            take(s, w, req);
        }
    }

    /// `begin.lua`: an entry whose holder's heartbeat is gone.
    pub(crate) fn may_claim(s: &State, w: usize, req: usize) -> bool {
        let lapsed = |(v, worker): (usize, &super::state::Worker)| v != w && has(worker.lapsed, req);
        s.redis.entries[req] == Entry::Orphaned || s.workers.iter().enumerate().any(lapsed)
    }

    pub(crate) fn claim(s: &mut State, w: usize, req: usize) {
        take(s, w, req);
    }

    /// `publish.lua`, for a worker's own finish.
    pub(crate) fn publish(&self, s: &mut State, w: usize, is_lost: bool) {
        let Doing::Finish { req, upto } = s.workers[w].doing else { return };
        self.finish_entry(s, w, usize::from(req), upto, false, is_lost);
    }

    /// `publish.lua`, for the relay, with the journal's word that it is not published.
    pub(crate) fn relay(&self, s: &mut State, w: usize) {
        let Doing::RelayOutcome { req, upto } = s.workers[w].doing else { return };
        self.finish_entry(s, w, usize::from(req), upto, true, false);
    }

    fn finish_entry(&self, s: &mut State, w: usize, req: usize, upto: u8, relayed: bool, is_lost: bool) {
        let answer = self.may_finish(s, w, req, relayed);
        s.workers[w].doing = match answer {
            Answer::Done | Answer::Already => Doing::Mark { req: req as u8 },
            // Whoever has the entry, or the relay, finds the outcome in the journal.
            Answer::Anothers | Answer::Gone => Doing::Nothing,
        };
        if is_lost {
            return;
        }
        // The versions that the outcome waits for go out in the same call, or are caught up with first.
        if answer == Answer::Done {
            s.redis.overtaken |= self.rules.has(Planted::OutcomeOvertakes) && s.redis.out < upto;
            s.redis.published[req] += 1;
            s.redis.finished |= bit(req);
        }
        if !self.rules.has(Planted::OutcomeOvertakes) {
            s.redis.out = s.redis.out.max(upto);
        }
        if matches!(answer, Answer::Done | Answer::Already) {
            leave(s, req);
        }
    }

    /// The part of the script that says who may finish an entry.
    fn may_finish(&self, s: &State, w: usize, req: usize, relayed: bool) -> Answer {
        if has(s.redis.finished, req) {
            return Answer::Already;
        }
        if self.rules.has(Planted::FinishWithoutOwner) || has(s.workers[w].holds, req) {
            return Answer::Done;
        }
        match s.redis.entries[req] {
            Entry::Held | Entry::Orphaned => Answer::Anothers,
            Entry::New => Answer::Done,
            Entry::Gone | Entry::Lost | Entry::Absent => {
                let known = has(s.redis.forgotten, req) && !self.rules.has(Planted::ForgetWithoutMemory);
                if relayed && !known { Answer::Done } else { Answer::Gone }
            }
        }
    }

    /// `Engine::mark`.
    pub(crate) fn mark(s: &mut State, w: usize) {
        if let Doing::Mark { req } = s.workers[w].doing {
            s.journal.marked |= bit(usize::from(req));
            s.workers[w].doing = Doing::Nothing;
        }
    }

    /// `forget_finished`: what is marked need not be remembered among the finished.
    pub(crate) fn forget(s: &mut State, req: usize) {
        s.redis.finished &= !bit(req);
        s.redis.forgotten |= bit(req);
    }

    /// The relay's part of `publish.lua`: it never goes back.
    pub(crate) fn relay_commits(s: &mut State, w: usize) {
        if let Doing::RelayCommits { upto } = s.workers[w].doing {
            s.redis.out = s.redis.out.max(upto);
            s.workers[w].doing = Doing::Nothing;
        }
    }

    /// `unpublished_outcomes`: where the relay would not be told that the entry is another's.
    pub(crate) fn may_relay(&self, s: &State, w: usize, req: usize) -> bool {
        let unpublished = s.journal.outcomes[req] != Outcome::None && !has(s.journal.marked, req);
        let anothers =
            matches!(s.redis.entries[req], Entry::Held | Entry::Orphaned) && !has(s.workers[w].holds, req);
        self.scope.publishing && unpublished && !anothers && !self.rules.has(Planted::NoRelay)
    }

    /// A worker's entries when it dies.
    pub(crate) fn orphan(&self, s: &mut State, holds: u8) {
        for req in (0..REQUESTS).filter(|req| has(holds, *req)) {
            let acknowledged = self.rules.has(Planted::AckBeforeCommit);
            s.redis.entries[req] = if acknowledged { Entry::Gone } else { Entry::Orphaned };
        }
    }

    /// Redis forgets that an entry was delivered.
    pub(crate) fn lose_delivery(s: &mut State, req: usize) {
        leave(s, req);
        s.redis.entries[req] = Entry::New;
    }

    /// Redis comes back empty.
    pub(crate) fn flush(&self, s: &mut State) {
        if self.rules.has(Planted::UnreadOutcomes) {
            s.redis.published = [0; REQUESTS];
        }
        for req in 0..REQUESTS {
            let entry = s.redis.entries[req];
            if matches!(entry, Entry::Absent | Entry::Gone | Entry::Lost) {
                continue;
            }
            let order = &s.journal.order;
            let made_it = order.status != Status::None && usize::from(order.maker) == req;
            let journaled = s.journal.outcomes[req] != Outcome::None
                || if req == CANCEL { order.cancel_journaled } else { made_it };
            leave(s, req);
            s.redis.entries[req] = if journaled { Entry::Gone } else { Entry::Lost };
        }
        s.redis.finished = 0;
        s.redis.forgotten = 0;
        s.redis.out = 0;
        s.redis.flushed = true;
    }
}

fn take(s: &mut State, w: usize, req: usize) {
    leave(s, req);
    s.workers[w].holds |= bit(req);
    s.redis.entries[req] = Entry::Held;
}

/// Nobody has it pending any more.
fn leave(s: &mut State, req: usize) {
    for worker in &mut s.workers {
        worker.holds &= !bit(req);
        worker.lapsed &= !bit(req);
    }
    s.redis.entries[req] = Entry::Gone;
}
