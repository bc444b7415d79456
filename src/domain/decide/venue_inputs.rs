//! Answers of the embedded simulator. It has no state of its own: it answers inside the recording
//! transaction, fenced by epoch and status like every decision.

use std::sync::Arc;

use crate::domain::event::{EventKind, Submission};
use crate::domain::ledger::{AttemptKind, Commit, Ledger};
use crate::domain::order::{ApplyError, Order};
use crate::domain::reconcile::{reconcile, reconcile_all};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::Report;
use crate::domain::request::RequestKind;
use crate::domain::risk::RiskApproved;
use crate::domain::status::Status;
use crate::domain::venue::{self, Scene, Spent, Venue};
use crate::planted::{self, Bug};

use super::admit::result_of;
use super::attempt::note_answer;
use super::{Decision, Effect, Execute, QuoteTick, RESTING_PAGE, Rules, SpentKey, Wait, conclude};

/// Why a triggered order cannot be worked.
const INEXACT: &str = "triggered, and its fill cannot be added up exactly: use fewer decimals";

impl Rules {
    pub(super) fn execute(&self, ledger: &mut Ledger, execute: &Execute) -> Result<Decision, ApplyError> {
        let Some(record) = ledger.order(&execute.order_id).cloned() else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        let (key, hash) = (record.request.clone(), record.request_hash);
        if let Some(outcome) = ledger.outcome_of(&key, &hash).cloned() {
            return Ok(super::admit::finished_before(ledger, outcome));
        }
        if record.lease.epoch != execute.epoch && !planted::is(Bug::NoCompareAndSet) {
            // Another worker took the order over; what is due is its to do.
            return Ok(Decision::effect(Effect::Wait(Wait::Undecided(execute.order_id))));
        }
        let mut commits = Vec::new();
        if let Some(approved) = RiskApproved::journaled(&record.order) {
            let spent_key = (execute.broker.clone(), execute.symbol.clone(), record.order.spec.side);
            let mut spent = ledger.spent.get(&spent_key).copied().unwrap_or_default();
            let market = execute.market.tradable(ledger.now, self.max_quote_age_us);
            let position = ledger.position(&execute.broker, &execute.symbol).quantity.get();
            let mut scene = Scene { market: &market, spent: &mut spent, position, now: ledger.now };
            let reports = self.venue.on_submit(&approved, &mut scene);
            let (commit, rejected) = record_reports(ledger, &record.order, &reports)?;
            commits.extend(commit);
            if !rejected {
                spend(ledger, spent_key, spent);
            }
            let number = u64::from(record.order.state.attempts);
            let answer = if rejected { "rejected" } else { "accepted" };
            note_answer(ledger, record.order.spec.id, AttemptKind::Submit, number, answer);
        }
        let Some(order) = commits
            .last()
            .map(|commit: &Arc<Commit>| commit.after.clone())
            .or_else(|| ledger.order(&execute.order_id).map(|record| record.order.clone()))
        else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        let effect = match result_of(&order) {
            None => Effect::Nothing,
            Some(result) => {
                let outcome = conclude(ledger, &key, hash, RequestKind::Submit, Some(&order), result);
                Effect::Finish { outcome, order: Some(order) }
            }
        };
        Ok(Decision { effect, commits })
    }

    /// A quote moved: orders that rest are met in the order in which they were admitted.
    pub(super) fn quote(&self, ledger: &mut Ledger, tick: &QuoteTick) -> Result<Decision, ApplyError> {
        let mut commits = Vec::new();
        let market = tick.market.tradable(ledger.now, self.max_quote_age_us);
        let page = ledger.resting.remove(&(tick.broker.clone(), tick.symbol.clone())).unwrap_or_default();
        for id in &page {
            let Some(order) = ledger.order(id).map(|record| record.order.clone()) else { continue };
            if !matches!(order.state.status, Status::Acknowledged | Status::PartiallyFilled) {
                continue;
            }
            let spent_key = (tick.broker.clone(), tick.symbol.clone(), order.spec.side);
            let mut spent = ledger.spent.get(&spent_key).copied().unwrap_or_default();
            let position = ledger.position(&tick.broker, &tick.symbol).quantity.get();
            let mut scene = Scene { market: &market, spent: &mut spent, position, now: ledger.now };
            let reports = self.venue.on_quote(&order, &mut scene);
            if reports.is_empty() {
                continue;
            }
            let known = |trade: &str| ledger.trades.get(&(*id, trade.to_owned())).cloned();
            let appended =
                reconcile_all(&order, &reports, known).and_then(|events| ledger.append(*id, events));
            match appended {
                // A trigger that is lost with its fill would be one that never was.
                Err(ApplyError::Overflow { .. })
                    if matches!(reports.first(), Some(Report::Triggered { .. })) =>
                {
                    let ends = [reports[0].clone(), Report::Cancelled { reason: INEXACT.to_owned() }];
                    let events = reconcile_all(&order, &ends, |_| None)?;
                    commits.extend(ledger.append(*id, events)?);
                    continue;
                }
                // It stays as it is: a later quote may fill it with fewer digits.
                Err(ApplyError::Overflow { .. }) => continue,
                other => commits.extend(other?),
            }
            spend(ledger, spent_key, spent);
        }
        let full = page.len() >= usize::try_from(RESTING_PAGE).unwrap_or(usize::MAX);
        let last =
            page.last().filter(|_| full).and_then(|id| ledger.order(id)).map(|record| record.admission);
        let effect = last.map_or(Effect::Nothing, |after| Effect::NextPage { after });
        Ok(Decision { effect, commits })
    }
}

/// Ends an order whose time is up, whatever else was about to happen to it.
pub(super) fn end_by_time(ledger: &mut Ledger, order: &Order) -> Result<Option<Arc<Commit>>, ApplyError> {
    let Some(over) = venue::over(order, ledger.now) else { return Ok(None) };
    ledger.append(order.spec.id, reconcile(order, &over, |_| None).into_iter().collect())
}

/// Journals the venue's answer. One whose sums could not be written down exactly is no answer that this
/// venue gives: it rejects instead. Says whether it did.
fn record_reports(
    ledger: &mut Ledger,
    order: &Order,
    reports: &[Report],
) -> Result<(Option<Arc<Commit>>, bool), ApplyError> {
    let rejected = matches!(reports.first(), Some(Report::Rejected(_)));
    match answer_events(order, reports).and_then(|events| ledger.append(order.spec.id, events)) {
        Err(ApplyError::Overflow { .. }) => {
            let reason = format!(
                "the fill of {} {} cannot be added to the position exactly: use fewer decimals",
                order.spec.quantity, order.spec.symbol
            );
            let refusal = Report::Rejected(Refusal::new(Code::BrokerRejected, reason));
            Ok((ledger.append(order.spec.id, answer_events(order, &[refusal])?)?, true))
        }
        other => Ok((other?, rejected)),
    }
}

/// The events that the venue's answer makes of an order that stands at `PendingSubmit`.
fn answer_events(order: &Order, reports: &[Report]) -> Result<Vec<EventKind>, ApplyError> {
    // An order that rests is acknowledged by an event of its own, which brings the id.
    let named =
        !reports.iter().any(|report| matches!(report, Report::Acknowledged { .. } | Report::Rejected(_)));
    let submitted = EventKind::Submitted(Submission {
        attempt: order.state.attempts,
        broker_order_id: named.then(|| Venue::broker_order_id(order)),
    });
    let mut events = Vec::with_capacity(reports.len() + 1);
    events.push(submitted);
    match reports {
        // Most answers are one fill: nothing to fold it on.
        [report] => events.extend(reconcile(order, report, |_| None)),
        reports => events.extend(reconcile_all(order, reports, |_| None)?),
    }
    Ok(events)
}

pub(super) fn spend(ledger: &mut Ledger, key: SpentKey, spent: Spent) {
    if ledger.spent.get(&key).copied().unwrap_or_default() != spent {
        ledger.changes.spent.insert(key.clone());
        ledger.spent.insert(key, spent);
    }
}
