//! Where an order stands, and the one table that says where an event may take it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bare name of a status, as outcomes and status messages carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Status {
    Created,
    Validated,
    PendingSubmit,
    Submitted,
    Acknowledged,
    PartiallyFilled,
    Filled,
    Cancelled,
    Rejected,
    Expired,
}

impl Status {
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Validated,
        Self::PendingSubmit,
        Self::Submitted,
        Self::Acknowledged,
        Self::PartiallyFilled,
        Self::Filled,
        Self::Cancelled,
        Self::Rejected,
        Self::Expired,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Validated => "Validated",
            Self::PendingSubmit => "PendingSubmit",
            Self::Submitted => "Submitted",
            Self::Acknowledged => "Acknowledged",
            Self::PartiallyFilled => "PartiallyFilled",
            Self::Filled => "Filled",
            Self::Cancelled => "Cancelled",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
        }
    }

    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Filled | Self::Cancelled | Self::Rejected | Self::Expired => true,
            Self::Created
            | Self::Validated
            | Self::PendingSubmit
            | Self::Submitted
            | Self::Acknowledged
            | Self::PartiallyFilled => false,
        }
    }

    /// The broker has taken it and it is still alive: it can be cancelled or filled.
    #[must_use]
    pub const fn is_working(self) -> bool {
        match self {
            Self::Acknowledged | Self::PartiallyFilled => true,
            Self::Created
            | Self::Validated
            | Self::PendingSubmit
            | Self::Submitted
            | Self::Filled
            | Self::Cancelled
            | Self::Rejected
            | Self::Expired => false,
        }
    }

    /// Part of the position limit is reserved for what may still fill.
    #[must_use]
    pub const fn reserves(self) -> bool {
        match self {
            Self::PendingSubmit | Self::Submitted | Self::Acknowledged | Self::PartiallyFilled => true,
            Self::Created
            | Self::Validated
            | Self::Filled
            | Self::Cancelled
            | Self::Rejected
            | Self::Expired => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an event means to the life of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Our checks passed.
    Validate,
    /// An attempt to submit is journaled.
    Attempt,
    /// The attempt was handed to the broker.
    Submit,
    /// The broker has the order.
    Acknowledge,
    /// A fill that leaves some of the quantity open.
    FillPart,
    /// A fill after which nothing is open.
    FillRest,
    /// A trade was corrected or busted, or the order has new terms; some of it is filled still, and some is open.
    UnfillPart,
    /// The same, and nothing of it is filled any more.
    UnfillAll,
    Cancel,
    Reject,
    Expire,
    /// A request under way, or its refusal, or a change of terms: a field beside the status.
    Note,
}

impl Step {
    pub const ALL: [Self; 12] = [
        Self::Validate,
        Self::Attempt,
        Self::Submit,
        Self::Acknowledge,
        Self::FillPart,
        Self::FillRest,
        Self::UnfillPart,
        Self::UnfillAll,
        Self::Cancel,
        Self::Reject,
        Self::Expire,
        Self::Note,
    ];
}

/// An event that cannot happen to an order that stands where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{step:?} cannot happen to an order that is {status}")]
pub struct InvalidTransition {
    pub status: Status,
    pub step: Step,
}

/// The transition table: where `step` takes an order that is `status`.
///
/// Decisions of ours (validate, attempt, submit) happen only in their order. Facts of the broker's
/// arrive late, twice and out of order, so every status past the attempt takes them; a terminal
/// status is left only by a fill that says it was wrong, or by the correction of one.
pub const fn next(status: Status, step: Step) -> Result<Status, InvalidTransition> {
    use Status as S;
    use Step as E;
    let to = match (status, step) {
        (S::Created, E::Validate) => S::Validated,
        (S::Created | S::Validated, E::Reject) => S::Rejected,
        (S::Validated, E::Cancel) => S::Cancelled,
        (S::Validated, E::Expire) => S::Expired,
        (S::Validated, E::Note) => S::Validated,

        // A further attempt follows only on proof that the last one was not executed.
        (S::Validated | S::PendingSubmit, E::Attempt) => S::PendingSubmit,
        (S::Submitted, E::Attempt) => S::PendingSubmit,
        (S::PendingSubmit | S::Submitted, E::Submit) => S::Submitted,

        // The broker's feed may overtake the answer to our own request.
        (S::PendingSubmit | S::Submitted | S::Acknowledged, E::Acknowledge) => S::Acknowledged,
        (S::PendingSubmit | S::Submitted | S::Acknowledged | S::PartiallyFilled, E::FillPart) => {
            S::PartiallyFilled
        }
        (S::PendingSubmit | S::Submitted | S::Acknowledged | S::PartiallyFilled, E::FillRest) => S::Filled,
        (S::PendingSubmit | S::Submitted | S::Acknowledged | S::PartiallyFilled, E::Cancel) => S::Cancelled,
        (S::PendingSubmit | S::Submitted | S::Acknowledged | S::PartiallyFilled, E::Expire) => S::Expired,
        (S::PendingSubmit | S::Submitted | S::Acknowledged, E::Reject) => S::Rejected,
        (S::PendingSubmit, E::Note) => S::PendingSubmit,
        (S::Submitted, E::Note) => S::Submitted,
        (S::Acknowledged, E::Note) => S::Acknowledged,
        (S::PartiallyFilled, E::Acknowledge | E::Note) => S::PartiallyFilled,

        // A trade that was wrong, or a larger total, opens what was filled; what had ended otherwise stays ended.
        (S::PartiallyFilled | S::Filled, E::UnfillPart) => S::PartiallyFilled,
        (S::PartiallyFilled | S::Filled, E::UnfillAll) => S::Acknowledged,
        (S::Cancelled, E::UnfillPart | E::UnfillAll) => S::Cancelled,
        (S::Expired, E::UnfillPart | E::UnfillAll) => S::Expired,

        // What markets know: the fill and the cancel crossed on the wire.
        (S::Filled, E::FillPart | E::FillRest | E::Acknowledge | E::Note) => S::Filled,
        (S::Cancelled, E::FillPart | E::Acknowledge | E::Note) => S::Cancelled,
        (S::Expired, E::FillPart | E::Acknowledge | E::Note) => S::Expired,
        (S::Cancelled | S::Expired | S::Rejected, E::FillRest) => S::Filled,
        // A rejection that executed was not one: no status may deny an execution.
        (S::Rejected, E::FillPart) => S::PartiallyFilled,
        (S::Rejected, E::Acknowledge | E::Note) => S::Rejected,

        (
            S::Created,
            E::Attempt
            | E::Submit
            | E::Acknowledge
            | E::FillPart
            | E::FillRest
            | E::UnfillPart
            | E::UnfillAll
            | E::Cancel
            | E::Expire
            | E::Note,
        )
        | (
            S::Validated,
            E::Validate
            | E::Submit
            | E::Acknowledge
            | E::FillPart
            | E::FillRest
            | E::UnfillPart
            | E::UnfillAll,
        )
        | (S::PendingSubmit | S::Submitted, E::Validate | E::UnfillPart | E::UnfillAll)
        | (S::Acknowledged, E::Validate | E::Attempt | E::Submit | E::UnfillPart | E::UnfillAll)
        | (S::PartiallyFilled, E::Validate | E::Attempt | E::Submit | E::Reject)
        | (S::Rejected, E::UnfillPart | E::UnfillAll)
        | (
            S::Filled | S::Cancelled | S::Rejected | S::Expired,
            E::Validate | E::Attempt | E::Submit | E::Cancel | E::Reject | E::Expire,
        ) => return Err(InvalidTransition { status, step }),
    };
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fill_or_a_trade_that_was_wrong_moves_a_terminal_order() {
        for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            for step in Step::ALL {
                match next(status, step) {
                    Ok(to) if to == status => {}
                    Ok(Status::Filled) => assert_eq!(step, Step::FillRest, "{status}"),
                    Ok(Status::PartiallyFilled) => assert!(matches!(
                        (status, step),
                        (Status::Rejected, Step::FillPart) | (Status::Filled, Step::UnfillPart)
                    )),
                    Ok(Status::Acknowledged) => {
                        assert_eq!((status, step), (Status::Filled, Step::UnfillAll))
                    }
                    Ok(to) => panic!("{status} moved to {to} by {step:?}"),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn every_status_but_created_can_be_reached() {
        let mut reached = vec![Status::Created];
        while let Some(more) = reached
            .iter()
            .flat_map(|s| Step::ALL.into_iter().filter_map(|e| next(*s, e).ok()))
            .find(|s| !reached.contains(s))
        {
            reached.push(more);
        }
        assert_eq!(reached.len(), Status::ALL.len());
    }

    #[test]
    fn a_partly_filled_order_is_never_rejected_nor_submitted_again() {
        for step in [Step::Reject, Step::Attempt, Step::Submit] {
            assert!(next(Status::PartiallyFilled, step).is_err());
        }
    }
}
