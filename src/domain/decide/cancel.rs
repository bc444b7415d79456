//! Cancels: journaled before the broker is asked, so that a redelivered one finds what it did.

use std::sync::Arc;

use crate::domain::event::{EventKind, Reason};
use crate::domain::ids::RequestKey;
use crate::domain::ledger::{Answered, AttemptKind, AttemptRecord, Ledger, RequestRecord};
use crate::domain::order::{ApplyError, ContentHash, Order};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{OrderRef, OutcomeResult, Received, Refused, RequestKind};
use crate::domain::status::Status;

use super::admit::{finished_before, refuse, refused};
use super::{Admit, Decision, Effect, ExecuteCancel, Rules, Wait, conclude};

impl Rules {
    pub(super) fn admit_cancel(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        target: &OrderRef,
    ) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        let is_new = ledger.outcome_of(&received.key, &received.hash).is_none()
            && ledger.request_of(&received.key, &received.hash).is_none();
        match self.check_request(ledger, received) {
            Err(refusal) if is_new => Ok(refuse_named(ledger, received, target, refusal)),
            _ => admit_cancel(ledger, admit, target),
        }
    }
}

/// A refusal of a command about an order that the journal was not asked about, or does not have.
fn refuse_named(ledger: &mut Ledger, received: &Received, target: &OrderRef, refusal: Refusal) -> Decision {
    let (client_order_id, order_id) = match target {
        OrderRef::Client(id) => (Some(id.clone()), None),
        OrderRef::Order(id) => (None, Some(*id)),
    };
    let what = Refused { kind: RequestKind::Cancel, refusal, client_order_id, order_id, payload: None };
    refuse(ledger, received, &what)
}

pub(super) fn admit_cancel(
    ledger: &mut Ledger,
    admit: &Admit,
    target: &OrderRef,
) -> Result<Decision, ApplyError> {
    let received = &admit.received;
    if let Some(outcome) = ledger.outcome_of(&received.key, &received.hash) {
        return Ok(finished_before(ledger, outcome.clone()));
    }
    let id = match target {
        OrderRef::Client(id) => ledger.by_client_id.get(id).copied(),
        OrderRef::Order(id) => Some(*id),
    };
    let Some(record) = id.and_then(|id| ledger.order(&id)) else {
        if !admit.no_older_entries {
            return Ok(Decision::effect(Effect::Wait(Wait::UnknownOrder)));
        }
        let refusal = Refusal::new(Code::UnknownOrder, format!("no order has the {target}"));
        return Ok(refuse_named(ledger, received, target, refusal));
    };
    let order = record.order.clone();
    if let Some(request) = ledger.request_of(&received.key, &received.hash).cloned() {
        return Ok(resume(ledger, &request, order));
    }
    if order.state.status.is_terminal() {
        return Ok(refused(
            ledger,
            received,
            RequestKind::Cancel,
            None,
            Some(order.clone()),
            too_late(&order),
        ));
    }
    if !order.state.status.is_working() || order.state.pending_cancel {
        return Ok(Decision::effect(Effect::Wait(Wait::Undecided(order.spec.id))));
    }
    request_cancel(ledger, admit, &order)
}

fn request_cancel(ledger: &mut Ledger, admit: &Admit, order: &Order) -> Result<Decision, ApplyError> {
    let received = &admit.received;
    let asked =
        EventKind::CancelRequested(Reason { reason: format!("cancel request {}", received.key.entry) });
    let Some(commit) = ledger.append(order.spec.id, vec![asked])? else {
        return Ok(Decision::effect(Effect::Nothing));
    };
    let (now, version) = (ledger.now, commit.version());
    ledger.changes.attempts.push(AttemptRecord {
        order_id: order.spec.id,
        kind: AttemptKind::Cancel,
        number: version,
        epoch: 0,
        journaled_at: now,
        answer: None,
    });
    super::admit::remember(ledger, received, Some(order), Some(version));
    let effect = Effect::ExecuteCancel { order: commit.after.clone() };
    Ok(Decision { effect, commits: vec![commit] })
}

/// A cancel that is journaled already, back after a crash.
fn resume(ledger: &mut Ledger, request: &RequestRecord, order: Arc<Order>) -> Decision {
    if order.state.status.is_terminal() {
        return ended(ledger, &request.key, request.hash, request.attempt_version, order);
    }
    Decision::effect(Effect::ExecuteCancel { order })
}

/// The embedded venue cancels what is still open.
pub(super) fn execute_cancel(ledger: &mut Ledger, cancel: &ExecuteCancel) -> Result<Decision, ApplyError> {
    if let Some(outcome) = ledger.outcome_of(&cancel.key, &cancel.hash) {
        return Ok(finished_before(ledger, outcome.clone()));
    }
    let Some(request) = ledger.request_of(&cancel.key, &cancel.hash).cloned() else {
        return Ok(Decision::effect(Effect::Nothing));
    };
    let Some(order) = ledger.order(&cancel.order_id).map(|record| record.order.clone()) else {
        return Ok(Decision::effect(Effect::Nothing));
    };
    if order.state.status.is_terminal() {
        return Ok(ended(ledger, &cancel.key, cancel.hash, request.attempt_version, order));
    }
    let done = EventKind::Cancelled(Reason { reason: format!("cancelled by request {}", cancel.key.entry) });
    let Some(commit) = ledger.append(cancel.order_id, vec![done])? else {
        return Ok(Decision::effect(Effect::Nothing));
    };
    answered(ledger, cancel.order_id, request.attempt_version, "accepted");
    let order = commit.after.clone();
    let result = OutcomeResult::Completed(order.state.status);
    let outcome = conclude(ledger, &cancel.key, cancel.hash, RequestKind::Cancel, Some(&order), result);
    Ok(Decision { effect: Effect::Finish { outcome, order: Some(order) }, commits: vec![commit] })
}

/// The order came to its end while a cancel of it was under way: by the cancel, or before it.
fn ended(
    ledger: &mut Ledger,
    key: &RequestKey,
    hash: ContentHash,
    attempt: Option<u64>,
    order: Arc<Order>,
) -> Decision {
    let did_it = order.state.status == Status::Cancelled && attempt.is_some();
    let result = if did_it {
        OutcomeResult::Completed(Status::Cancelled)
    } else {
        answered(ledger, order.spec.id, attempt, "rejected");
        OutcomeResult::Failed { refusal: too_late(&order), status: Some(order.state.status), payload: None }
    };
    let outcome = conclude(ledger, key, hash, RequestKind::Cancel, Some(&order), result);
    Decision::finish(outcome, Some(order))
}

fn answered(
    ledger: &mut Ledger,
    order_id: crate::domain::ids::OrderId,
    attempt: Option<u64>,
    answer: &'static str,
) {
    let Some(number) = attempt else { return };
    let at = ledger.now;
    ledger.changes.answers.push(AttemptRecord {
        order_id,
        kind: AttemptKind::Cancel,
        number,
        epoch: 0,
        journaled_at: at,
        answer: Some(Answered { at, answer }),
    });
}

fn too_late(order: &Order) -> Refusal {
    Refusal::new(
        Code::OrderTerminal,
        format!(
            "order {} is {} since {}: nothing is left to cancel",
            order.spec.client_order_id, order.state.status, order.state.updated_at
        ),
    )
}
