//! What a broker promises about an attempt that is made again, or whose answer is lost.

use super::event::Deadline;
use super::time::Timestamp;

/// Decides what may follow an attempt whose answer is unknown. What is safe under which was found by exhaustive
/// model checking; a broker that is not known to promise more is `OneShot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The simulator in this process: it answers inside the recording transaction, so no answer is ever lost.
    Embedded,
    /// An attempt under a known client order id gets the recorded answer, whenever it comes: it is made again.
    DedupesForever,
    /// An attempt carries a time after which the broker does not execute it. Once that has passed by the broker's
    /// own clock, and `settle_us` more until every query shows it, a query is proof and a new attempt may follow.
    Deadline { valid_for_us: i64, settle_us: i64 },
    /// One attempt that is not proven unexecuted, ever. It is looked for until `settle_us` after it was journaled;
    /// not found, the order is parked for a person.
    OneShot { settle_us: i64 },
}

impl Profile {
    #[must_use]
    pub const fn is_embedded(self) -> bool {
        matches!(self, Self::Embedded)
    }

    /// The deadline of an attempt that is journaled when the broker's clock shows `now`.
    #[must_use]
    pub const fn deadline(self, now: Timestamp) -> Option<Deadline> {
        match self {
            Self::Deadline { valid_for_us, .. } => {
                Some(Deadline { timestamp: now, not_after: now.plus_micros(valid_for_us) })
            }
            Self::Embedded | Self::DedupesForever | Self::OneShot { .. } => None,
        }
    }
}
