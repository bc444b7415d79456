//! The same order in FIX's words: the OrdStatus of an order, and the ExecType of an event.

use serde::Deserialize;

use crate::domain::event::EventKind;
use crate::domain::order::Order;
use crate::domain::status::Status;

/// FIX tag 39, as far as an order of ours can be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(in crate::domain::decide::tests) enum OrdStatus {
    PendingNew,
    New,
    PartiallyFilled,
    Filled,
    Canceled,
    Rejected,
    Expired,
    PendingCancel,
    PendingReplace,
    /// No order of ours is so; a scenario may say it of theirs.
    DoneForDay,
}

impl OrdStatus {
    /// Of several that are true of an order the highest is told.
    pub(in crate::domain::decide::tests) const fn precedence(self) -> u8 {
        match self {
            Self::PendingCancel => 12,
            Self::PendingReplace => 11,
            Self::DoneForDay => 10,
            Self::Filled => 8,
            Self::Canceled | Self::Expired => 5,
            Self::PartiallyFilled => 4,
            Self::New | Self::Rejected | Self::PendingNew => 2,
        }
    }

    /// Its value on the wire.
    pub(in crate::domain::decide::tests) const fn code(self) -> char {
        match self {
            Self::New => '0',
            Self::PartiallyFilled => '1',
            Self::Filled => '2',
            Self::DoneForDay => '3',
            Self::Canceled => '4',
            Self::PendingCancel => '6',
            Self::Rejected => '8',
            Self::PendingNew => 'A',
            Self::Expired => 'C',
            Self::PendingReplace => 'E',
        }
    }
}

/// What a status is by itself; `None`: nothing of the order has left yet that FIX could tell of.
pub(in crate::domain::decide::tests) const fn of_status(status: Status) -> Option<OrdStatus> {
    match status {
        Status::Created | Status::Validated | Status::PendingSubmit => None,
        Status::Submitted => Some(OrdStatus::PendingNew),
        Status::Acknowledged => Some(OrdStatus::New),
        Status::PartiallyFilled => Some(OrdStatus::PartiallyFilled),
        Status::Filled => Some(OrdStatus::Filled),
        Status::Cancelled => Some(OrdStatus::Canceled),
        Status::Rejected => Some(OrdStatus::Rejected),
        Status::Expired => Some(OrdStatus::Expired),
    }
}

/// The one of highest precedence among all that is true of the order.
pub(in crate::domain::decide::tests) fn ord_status(order: &Order) -> Option<OrdStatus> {
    let cancel = order.state.pending_cancel.then_some(OrdStatus::PendingCancel);
    let replace = order.state.pending_replace.as_ref().map(|_| OrdStatus::PendingReplace);
    [of_status(order.state.status), cancel, replace]
        .into_iter()
        .flatten()
        .max_by_key(|status| status.precedence())
}

/// FIX tag 150, by name, of the report that tells of an event; of a refusal the message that does.
pub(in crate::domain::decide::tests) const fn exec_type(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Created(_)
        | EventKind::Validated
        | EventKind::PendingSubmit(_)
        | EventKind::SubmitFailed(_)
        | EventKind::Parked(_)
        | EventKind::Resolved(_)
        | EventKind::Trailed(_) => None,
        EventKind::Submitted(_) => Some("PendingNew (A)"),
        EventKind::Acknowledged(_) => Some("New (0)"),
        EventKind::Fill(_) => Some("Trade (F)"),
        EventKind::CancelRequested(_) => Some("PendingCancel (6)"),
        EventKind::ReplaceRequested(_) => Some("PendingReplace (E)"),
        EventKind::CancelRefused(_) | EventKind::ReplaceRefused(_) => Some("OrderCancelReject, a message"),
        EventKind::Replaced(_) => Some("Replaced (5)"),
        EventKind::Cancelled(_) => Some("Canceled (4)"),
        EventKind::Rejected(_) => Some("Rejected (8)"),
        EventKind::Expired(_) => Some("Expired (C)"),
        EventKind::Triggered(_) => Some("Triggered (L)"),
        EventKind::Restated(_) => Some("Restated (D)"),
        EventKind::TradeCorrected(_) => Some("TradeCorrect (G)"),
        EventKind::TradeBusted(_) => Some("TradeCancel (H)"),
    }
}
