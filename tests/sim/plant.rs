//! Faults that are planted on purpose, to show that the auditor sees them. These are faults of what the fakes imitate;
//! those of the workers themselves are in `src/planted.rs`.

use clap::ValueEnum;

use super::site::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The finishing script does not ask who owns the entry, nor whether it was finished.
    FinishWithoutOwner,
    /// Events go out although those before them are not out.
    PublishGaps,
    /// The broker's client sends again what had no answer.
    SendsAgain,
    /// The journal does not look which trades are booked already.
    TradesForgotten,
    /// A broker that executes after the deadline.
    IgnoresDeadline,
    /// A client that takes a lost answer for a refusal.
    LostIsRefused,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::FinishWithoutOwner,
        Self::PublishGaps,
        Self::SendsAgain,
        Self::TradesForgotten,
        Self::IgnoresDeadline,
        Self::LostIsRefused,
    ];
}

/// The fault that a run has, if any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plant(pub(crate) Option<Fault>);

impl Plant {
    pub(crate) fn is(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }
}

impl Plant {
    pub(crate) fn name(self) -> Option<String> {
        self.0?.to_possible_value().map(|value| value.get_name().to_owned())
    }
}

impl Fault {
    /// Under which profile it can do harm.
    pub(crate) const fn profile(self) -> Kind {
        match self {
            Self::FinishWithoutOwner | Self::PublishGaps => Kind::Embedded,
            Self::TradesForgotten => Kind::Forever,
            Self::SendsAgain | Self::LostIsRefused => Kind::Oneshot,
            Self::IgnoresDeadline => Kind::Deadline,
        }
    }

    /// How what shows it begins.
    pub(crate) fn is_seen_in(self, why: &str) -> bool {
        let signs: &[&str] = match self {
            Self::FinishWithoutOwner => &["a second outcome"],
            Self::PublishGaps => &["gap: "],
            Self::SendsAgain => &["double: "],
            Self::TradesForgotten => &["replay: ", "double: "],
            Self::IgnoresDeadline | Self::LostIsRefused => &["lie: ", "double: "],
        };
        signs.iter().any(|sign| why.contains(sign))
    }

    /// Within how many seeds it has to be seen.
    pub(crate) const fn seeds(self) -> u64 {
        200
    }
}
