//! From a broker's claim to the events that it adds to what is known: pure, and the same for a claim
//! that comes once, twice, late or out of order.

use std::collections::HashMap;

use super::event::{
    Acknowledgement, EventKind, Fill, OrderEvent, Reason, Replacement, Restatement, Triggering,
};
use super::order::{ApplyError, Order};
use super::order_type::Side;
use super::report::{Report, ReportedCorrection, ReportedFill};
use super::status::{self, Status, Step};
use super::time::Timestamp;
use super::trade::{BookedTrade, TradeBust, TradeCorrection, TradeTerms};

/// The event that `report` adds to `order`, if it adds one. `known` tells what is booked under a trade id; its place
/// among the fills of its position is given by whoever books it.
#[must_use]
pub fn reconcile(
    order: &Order,
    report: &Report,
    known: impl Fn(&str) -> Option<BookedTrade>,
) -> Option<EventKind> {
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
        Report::Fill(fill) => {
            (known(&fill.trade_id).is_none() && !fill.quantity.is_zero()).then(|| filled(fill))
        }
        Report::TradeCorrected(correction) => corrected(correction, known(&correction.trade_id)),
        Report::TradeBusted { trade_id, busted_at, reason } => {
            busted(trade_id, *busted_at, reason, known(trade_id))
        }
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
        Report::Trailed(trail) => {
            // The mark only ever gets better: what is not is an older word.
            let better = state.trail.is_none_or(|known| match order.spec.side {
                Side::Sell => trail.water_mark > known.water_mark,
                Side::Buy => trail.water_mark < known.water_mark,
            });
            let news = better && !state.triggered && !state.status.is_terminal();
            (news && possible(Step::Note)).then_some(EventKind::Trailed(*trail))
        }
        Report::Triggered { price } => {
            let news = order.awaits_trigger() && !state.status.is_terminal();
            (news && possible(Step::Note)).then_some(EventKind::Triggered(Triggering { price: *price }))
        }
        Report::Restated { terms, reason, restated_at } => {
            let mut restated = order.spec.clone();
            restated.take(terms);
            // A fill of the old total may overtake the word that it is another.
            let ended = state.status.is_terminal() && state.status != Status::Filled;
            let newest = state.terms_at.is_none_or(|at| at < *restated_at);
            (newest && restated != order.spec && !ended && possible(Step::Note)).then(|| {
                EventKind::Restated(Restatement {
                    terms: terms.clone(),
                    reason: reason.clone(),
                    restated_at: *restated_at,
                })
            })
        }
        // Numbers grow: what an older look at the broker says of the terms is over.
        Report::Replaced { number, terms } => (*number > state.replaced)
            .then(|| EventKind::Replaced(Replacement { terms: terms.clone(), number: *number })),
    }
}

fn filled(fill: &ReportedFill) -> EventKind {
    EventKind::Fill(Fill {
        trade_id: fill.trade_id.clone(),
        quantity: fill.quantity,
        price: fill.price,
        commission: fill.commission.clone(),
        executed_at: fill.executed_at,
        position_sequence: 0,
        contract: None,
    })
}

fn corrected(correction: &ReportedCorrection, known: Option<BookedTrade>) -> Option<EventKind> {
    let ReportedCorrection { trade_id, quantity, price, commission, corrected_at, reason } = correction;
    if quantity.is_zero() {
        return busted(trade_id, *corrected_at, reason, known);
    }
    let Some(known) = known else {
        // It overtook the fill itself: what is right by now is booked, and the fill is known when it comes.
        return Some(EventKind::Fill(Fill {
            trade_id: trade_id.clone(),
            quantity: *quantity,
            price: *price,
            commission: commission.clone(),
            executed_at: *corrected_at,
            position_sequence: 0,
            contract: None,
        }));
    };
    // Of corrections the latest counts; what is booked as the fill may be one that overtook it.
    if known.at > *corrected_at || (known.at == *corrected_at && known.revision > 0) {
        return None;
    }
    // What was taken back stays so.
    let was = known.terms?;
    let commission = commission.clone().or_else(|| was.commission.clone());
    // It keeps what it was booked with, the rate of its time too.
    let contract = was.contract.clone();
    let now = TradeTerms { quantity: *quantity, price: *price, commission, contract };
    (was != now).then(|| {
        EventKind::TradeCorrected(TradeCorrection {
            trade_id: trade_id.clone(),
            was,
            now,
            corrected_at: *corrected_at,
            booked_at: 0,
            position_sequence: 0,
            reason: reason.clone(),
        })
    })
}

fn busted(
    trade_id: &str,
    busted_at: Timestamp,
    reason: &str,
    known: Option<BookedTrade>,
) -> Option<EventKind> {
    let was = match known {
        None => None,
        Some(known) => Some(known.terms?),
    };
    Some(EventKind::TradeBusted(TradeBust {
        trade_id: trade_id.to_owned(),
        was,
        busted_at,
        booked_at: 0,
        position_sequence: 0,
        reason: reason.to_owned(),
    }))
}

/// The events that several claims add, each on top of those before it.
pub fn reconcile_all(
    order: &Order,
    reports: &[Report],
    known: impl Fn(&str) -> Option<BookedTrade>,
) -> Result<Vec<EventKind>, ApplyError> {
    let mut scratch = order.clone();
    let mut kinds: Vec<EventKind> = Vec::with_capacity(reports.len());
    let mut told: HashMap<String, BookedTrade> = HashMap::new();
    for report in reports {
        let so_far = |trade: &str| told.get(trade).cloned().or_else(|| known(trade));
        let Some(kind) = reconcile(&scratch, report, so_far) else {
            continue;
        };
        if let Some(change) = kind.trade() {
            let trade = BookedTrade::after(so_far(change.trade_id).as_ref(), &change);
            told.insert(change.trade_id.to_owned(), trade);
        }
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
