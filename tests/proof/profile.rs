//! Which broker the workers trade with, and what it promises.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(crate) enum Profile {
    /// The simulator inside the worker.
    Embedded,
    Forever,
    Deadline,
    Oneshot,
}

impl Profile {
    pub(crate) const ALL: [Self; 4] = [Self::Embedded, Self::Forever, Self::Deadline, Self::Oneshot];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Forever => "forever",
            Self::Deadline => "deadline",
            Self::Oneshot => "oneshot",
        }
    }

    /// `broker.mock.profile`; `None`: there is no exchange.
    pub(crate) const fn setting(self) -> Option<&'static str> {
        match self {
            Self::Embedded => None,
            Self::Forever => Some("dedupes_forever"),
            Self::Deadline => Some("deadline"),
            Self::Oneshot => Some("one_shot"),
        }
    }

    /// What the exchange does with a client order id that it has seen: no more than the profile rests on, so that
    /// whatever the worker sends twice is executed twice.
    pub(crate) const fn dedupe(self) -> &'static str {
        match self {
            Self::Embedded | Self::Forever => "forever",
            Self::Deadline => "open",
            Self::Oneshot => "none",
        }
    }

    /// Whether an order may end up waiting for a person.
    pub(crate) const fn may_park(self) -> bool {
        matches!(self, Self::Oneshot)
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
