//! What the model knows: the journal, Redis, the broker, the network and the workers, each as small as it can be.

/// Requests by number: 0 is the order; then the same client order id under a second entry, and a cancel of it.
pub(crate) const REPEAT: usize = 1;
pub(crate) const CANCEL: usize = 2;
pub(crate) const REQUESTS: usize = 3;
pub(crate) const WORKERS: usize = 3;
pub(crate) const ATTEMPTS: usize = 3;

/// Where a request's entry is in Redis. Who holds it is told by `Worker::holds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Entry {
    /// Not part of this scope.
    #[default]
    Absent,
    /// In the stream, delivered to nobody.
    New,
    /// Pending for a worker that lives.
    Held,
    /// Pending for a worker that died.
    Orphaned,
    /// Acknowledged and deleted, or lost with Redis after the journal knew of it.
    Gone,
    /// Redis lost it before anything of it was journaled: nobody was promised anything.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Status {
    /// The journal has no such order.
    #[default]
    None,
    PendingSubmit,
    Submitted,
    Acknowledged,
    Filled,
    Cancelled,
    Rejected,
}

impl Status {
    pub(crate) const fn is_terminal(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected)
    }

    /// Nobody knows yet what the broker does with it.
    pub(crate) const fn is_undecided(self) -> bool {
        matches!(self, Self::PendingSubmit | Self::Submitted)
    }
}

/// What the broker has under the client order id: its newest order there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Book {
    #[default]
    Nothing,
    Open,
    Filled,
    Cancelled,
    Refused,
}

/// What a worker makes of one call: `src/adapters/brokers/exchange/answers.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// The order as it stands at the broker.
    Accepted(Book),
    Rejected,
    /// Provably, this call did nothing.
    NotSent,
    Unknown,
}

/// How a request ended, as journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Outcome {
    #[default]
    None,
    Filled,
    /// It rests at the broker.
    Working,
    Cancelled,
    /// Nothing was executed and nothing will be.
    NotExecuted,
    /// `OUTCOME_UNKNOWN`: parked.
    Unknown,
    /// A command that was not carried out.
    Refused,
}

/// What a worker has in its hands: memory that a crash takes away. `mine`: the order's lease still has the epoch that it
/// had when this was decided. Only equality with the current epoch ever matters, so no number is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Doing {
    #[default]
    Nothing,
    /// `Effect::Submit` is due. A worker may stay here for as long as it likes: that is the late POST.
    Send {
        req: u8,
        attempt: u8,
        mine: bool,
    },
    /// The unsafe rule's look at the database just before sending went well.
    Checked {
        req: u8,
        attempt: u8,
    },
    /// The POST is in the network. `fresh`: it carries a deadline of its own time.
    Sent {
        req: u8,
        attempt: u8,
        mine: bool,
        fresh: bool,
    },
    Answered {
        req: u8,
        attempt: u8,
        mine: bool,
        answer: Answer,
    },
    /// `Effect::Look` is due.
    Look {
        req: u8,
        attempt: u8,
        mine: bool,
    },
    /// The books as they were shown; `proof`: what was not shown then can never be executed, as the rule has it.
    Looked {
        req: u8,
        attempt: u8,
        mine: bool,
        shown: Book,
        proof: bool,
    },
    SendCancel {
        mine: bool,
    },
    SentCancel {
        mine: bool,
    },
    CancelAnswered {
        mine: bool,
        answer: Answer,
    },
    /// The outcome is journaled; the script is due, with the order's versions up to this one.
    Finish {
        req: u8,
        upto: u8,
    },
    /// The script said that it is out; the journal is to be told.
    Mark {
        req: u8,
    },
    /// The relay read that an outcome is not marked as published.
    RelayOutcome {
        req: u8,
        upto: u8,
    },
    /// The relay read the order's commits up to this version.
    RelayCommits {
        upto: u8,
    },
    /// Planted: something was published, the commit comes later.
    PublishedEarly {
        req: u8,
    },
}

impl Doing {
    /// Another worker took the order over.
    pub(crate) fn fence(&mut self) {
        match self {
            Self::Send { mine, .. }
            | Self::Sent { mine, .. }
            | Self::Answered { mine, .. }
            | Self::Look { mine, .. }
            | Self::Looked { mine, .. }
            | Self::SendCancel { mine }
            | Self::SentCancel { mine }
            | Self::CancelAnswered { mine, .. } => *mine = false,
            Self::Nothing
            | Self::Checked { .. }
            | Self::Finish { .. }
            | Self::Mark { .. }
            | Self::RelayOutcome { .. }
            | Self::RelayCommits { .. }
            | Self::PublishedEarly { .. } => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Worker {
    pub(crate) doing: Doing,
    /// Entries that Redis has as pending for it: a bit for each request.
    pub(crate) holds: u8,
    /// Those of them that others may claim: its heartbeat expired while it lives.
    pub(crate) lapsed: u8,
    /// The order's lease in the journal names it.
    pub(crate) lease: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Order {
    pub(crate) status: Status,
    pub(crate) parked: bool,
    /// The request that made it.
    pub(crate) maker: u8,
    /// Attempts journaled so far, and whether the last of them is open.
    pub(crate) attempts: u8,
    pub(crate) open: bool,
    /// The lease has run out, though it names somebody.
    pub(crate) lease_over: bool,
    pub(crate) pending_cancel: bool,
    /// The cancel request has its row, with an attempt.
    pub(crate) cancel_journaled: bool,
    /// The fill is booked.
    pub(crate) booked: bool,
    /// Planted: the reservation was given back.
    pub(crate) released: bool,
    /// Commits so far; counted only where publishing is looked at.
    pub(crate) version: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Journal {
    pub(crate) order: Order,
    pub(crate) outcomes: [Outcome; REQUESTS],
    /// Outcomes that are marked as published.
    pub(crate) marked: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Redis {
    pub(crate) entries: [Entry; REQUESTS],
    /// The set `finished`, and the set `marked` of what was forgotten there.
    pub(crate) finished: u8,
    pub(crate) forgotten: u8,
    /// The version of the order that is out.
    pub(crate) out: u8,
    /// How often each request's outcome was ever added to a stream.
    pub(crate) published: [u8; REQUESTS],
    /// An outcome went out before its order's versions.
    pub(crate) overtaken: bool,
    /// It lost everything once.
    pub(crate) flushed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Broker {
    pub(crate) book: Book,
    /// What queries show: it may lag behind the book.
    pub(crate) shown: Book,
    /// How often anything was executed under the client order id.
    pub(crate) executed: u8,
    /// The attempt that placed what is in the book.
    pub(crate) placed_by: u8,
    /// A bit for each attempt whose deadline has passed by the broker's clock; and `visible_within` after it.
    pub(crate) passed: u8,
    pub(crate) settled: u8,
    /// POSTs under way whose sender does not wait any more, by attempt; those with a late deadline; and cancels.
    pub(crate) late: [u8; ATTEMPTS],
    pub(crate) late_fresh: u8,
    pub(crate) late_cancels: u8,
}

/// How much may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Faults {
    pub(crate) crashes: u8,
    /// The order's lease runs out while its owner acts.
    pub(crate) thefts: u8,
    /// A worker's heartbeat expires while it lives.
    pub(crate) stalls: u8,
    /// A call's answer is lost, or the call lands after its caller gave up.
    pub(crate) timeouts: u8,
    /// The broker answers 429, or cannot be connected to.
    pub(crate) busy: u8,
    /// Redis loses what it had acknowledged.
    pub(crate) losses: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) workers: [Worker; WORKERS],
    pub(crate) journal: Journal,
    pub(crate) redis: Redis,
    pub(crate) broker: Broker,
    pub(crate) faults: Faults,
}

pub(crate) const fn bit(place: usize) -> u8 {
    1 << place
}

pub(crate) const fn has(set: u8, place: usize) -> bool {
    set & bit(place) != 0
}
