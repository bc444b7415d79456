//! From a broker's claim to the events that it adds to what is known: pure, and the same for a claim
//! that comes once, twice, late or out of order.

use super::event::{Acknowledgement, EventKind, Fill, OrderEvent, Reason, Replacement};
use super::order::{ApplyError, Order};
use super::report::Report;
use super::status::{self, Status, Step};

/// The event that `report` adds to `order`, if it adds one. `known_trade` tells whether a trade id is
/// booked already; the position's sequence is given by whoever books the fill.
#[must_use]
pub fn reconcile(order: &Order, report: &Report, known_trade: impl Fn(&str) -> bool) -> Option<EventKind> {
    let state = &order.state;
    let possible = |step| status::next(state.status, step).is_ok();
    match report {
        Report::Acknowledged { broker_order_id } => {
            let news = state.broker_order_id.as_deref() != Some(broker_order_id)
                || matches!(state.status, Status::PendingSubmit | Status::Submitted);
            (news && possible(Step::Acknowledge)).then(|| {
                EventKind::Acknowledged(Acknowledgement { broker_order_id: broker_order_id.clone() })
            })
        }
        Report::Fill(fill) => (!known_trade(&fill.trade_id) && !fill.quantity.is_zero()).then(|| {
            EventKind::Fill(Fill {
                trade_id: fill.trade_id.clone(),
                quantity: fill.quantity,
                price: fill.price,
                commission: fill.commission.clone(),
                executed_at: fill.executed_at,
                position_sequence: 0,
            })
        }),
        Report::Cancelled { reason } => {
            possible(Step::Cancel).then(|| EventKind::Cancelled(Reason { reason: reason.clone() }))
        }
        Report::Expired { reason } => {
            possible(Step::Expire).then(|| EventKind::Expired(Reason { reason: reason.clone() }))
        }
        Report::Rejected(refusal) => possible(Step::Reject).then(|| EventKind::Rejected(refusal.clone())),
        Report::CancelRefused { reason } => {
            state.pending_cancel.then(|| EventKind::CancelRefused(Reason { reason: reason.clone() }))
        }
        // Numbers grow: what an older look at the broker says of the terms is over.
        Report::Replaced { number, terms } => (*number > state.replaced)
            .then(|| EventKind::Replaced(Replacement { terms: terms.clone(), number: *number })),
    }
}

/// The events that several claims add, each on top of those before it.
pub fn reconcile_all(
    order: &Order,
    reports: &[Report],
    known_trade: impl Fn(&str) -> bool,
) -> Result<Vec<EventKind>, ApplyError> {
    let mut scratch = order.clone();
    let mut kinds: Vec<EventKind> = Vec::with_capacity(reports.len());
    for report in reports {
        let twice = |trade: &str| {
            kinds.iter().any(|kind| matches!(kind, EventKind::Fill(fill) if fill.trade_id == trade))
        };
        let Some(kind) = reconcile(&scratch, report, |trade| known_trade(trade) || twice(trade)) else {
            continue;
        };
        let event = OrderEvent {
            event_id: uuid::Uuid::nil(),
            version: scratch.state.version + 1,
            timestamp: scratch.state.updated_at,
            kind,
        };
        scratch.apply(&event)?;
        kinds.push(event.kind);
    }
    Ok(kinds)
}
