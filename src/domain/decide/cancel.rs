//! Cancels: journaled before the broker is asked, so that a redelivered one finds what it did. A cancel may be sent
//! again under every profile: the second finds the order cancelled.

use std::sync::Arc;

use crate::domain::event::{EventKind, Reason};
use crate::domain::ids::OrderId;
use crate::domain::ids::RequestKey;
use crate::domain::ledger::{AttemptKind, AttemptRecord, Commit, Ledger, RequestRecord};
use crate::domain::order::{ApplyError, ContentHash, Order};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::Answer;
use crate::domain::request::{OrderRef, OutcomeResult, Received, Refused, RequestKind};
use crate::domain::status::Status;
use crate::planted::{self, Bug};

use super::admit::{finished_before, refuse, refused, remember};
use super::attempt::{merge, note_answer};
use super::{Admit, Answered, Decision, Effect, ExecuteCommand, Rules, Wait, conclude};

/// Between two cancels of the same order.
const PAUSE_US: i64 = 200_000;

impl Rules {
    pub(super) fn admit_cancel(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        target: &OrderRef,
    ) -> Result<Decision, ApplyError> {
        let order = match self.order_of(ledger, admit, RequestKind::Cancel, target) {
            Ok(order) => order,
            Err(decision) => return Ok(*decision),
        };
        let received = &admit.received;
        if let Some(request) = ledger.request_of(&received.key, &received.hash).cloned() {
            return self.resume_cancel(ledger, admit, &request, order);
        }
        if let Some(refusal) = beyond_commands(&order) {
            return Ok(refused(ledger, received, RequestKind::Cancel, None, Some(order), refusal));
        }
        if !order.state.status.is_working() || order.state.pending_cancel {
            return Ok(Decision::wait(Wait::Undecided(order.spec.id)));
        }
        let reason = format!("cancel request {}", received.key.entry);
        let Some((commit, epoch)) = self.request_cancel(ledger, admit, order.spec.id, reason)? else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        let number = commit.version();
        remember(ledger, received, Some(&order), Some(number));
        let effect = Effect::Cancel { order: commit.after.clone(), epoch, number };
        Ok(Decision { effect, commits: vec![commit] })
    }

    /// The order that a command is about, or how the command ends or waits without it.
    pub(super) fn order_of(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        kind: RequestKind,
        target: &OrderRef,
    ) -> Result<Arc<Order>, Box<Decision>> {
        let received = &admit.received;
        if let Some(outcome) = ledger.outcome_of(&received.key, &received.hash) {
            return Err(Box::new(finished_before(ledger, outcome.clone())));
        }
        let is_new = ledger.request_of(&received.key, &received.hash).is_none();
        if is_new && let Err(refusal) = self.check_request(ledger, received) {
            return Err(Box::new(refuse_named(ledger, received, kind, target, refusal)));
        }
        let id = match target {
            OrderRef::Client(id) => ledger.by_client_id.get(id).copied(),
            OrderRef::Order(id) => Some(*id),
        };
        match id.and_then(|id| ledger.order(&id)) {
            Some(record) => Ok(record.order.clone()),
            None if !admit.no_older_entries => Err(Box::new(Decision::wait(Wait::OlderEntries))),
            None => {
                let refusal = Refusal::new(Code::UnknownOrder, format!("no order has the {target}"));
                Err(Box::new(refuse_named(ledger, received, kind, target, refusal)))
            }
        }
    }

    /// Journals that a cancel is asked for, whoever asks.
    pub(super) fn request_cancel(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        id: OrderId,
        reason: String,
    ) -> Result<Option<(Arc<Commit>, u64)>, ApplyError> {
        let Some(commit) = ledger.append(id, vec![EventKind::CancelRequested(Reason { reason })])? else {
            return Ok(None);
        };
        let epoch = self.seize_lease(ledger, id, &admit.view.worker, 0);
        let journaled_at = ledger.now;
        ledger.changes.attempts.push(AttemptRecord {
            order_id: id,
            kind: AttemptKind::Cancel,
            number: commit.version(),
            epoch,
            journaled_at,
            answer: None,
        });
        Ok(Some((commit, epoch)))
    }

    /// A cancel that is journaled already, back after a crash or a pause.
    fn resume_cancel(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        request: &RequestRecord,
        order: Arc<Order>,
    ) -> Result<Decision, ApplyError> {
        let id = order.spec.id;
        if order.state.status.is_terminal() {
            return Ok(ended(ledger, &request.key, request.hash, request.attempt_version, order));
        }
        if !order.state.pending_cancel {
            let reason = format!("the broker did not cancel {}", order.spec.client_order_id);
            let refusal = Refusal::new(Code::BrokerRejected, reason);
            return Ok(failed(ledger, &request.key, request.hash, &order, refusal));
        }
        let Some(epoch) = self.take_lease(ledger, id, &admit.view.worker) else {
            return Ok(Decision::wait(Wait::Undecided(id)));
        };
        let number = request.attempt_version.unwrap_or(0);
        Ok(Decision::effect(Effect::Cancel { order, epoch, number }))
    }

    /// The broker answered a cancel.
    pub(super) fn cancel_answered(
        &self,
        ledger: &mut Ledger,
        answered: &Answered,
    ) -> Result<Decision, ApplyError> {
        let id = answered.order_id;
        let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        // Facts first: they are merged whatever became of the request meanwhile.
        let mut commits = Vec::new();
        if let Answer::Accepted(reports) = &answered.answer {
            commits = merge(ledger, &order, reports)?;
        }
        let order = commits.last().map_or(order, |commit| commit.after.clone());
        if let Some(outcome) = ledger.outcome_of(&answered.key, &answered.hash).cloned() {
            return Ok(finished_before(ledger, outcome).after(commits));
        }
        let Some(request) = ledger.request_of(&answered.key, &answered.hash).cloned() else {
            return Ok(Decision::effect(Effect::Nothing).after(commits));
        };
        let asked_for = match &answered.answer {
            Answer::NotSent(not_sent) => not_sent.retry_after_us.unwrap_or(0),
            Answer::Accepted(_) | Answer::Rejected(_) | Answer::Unknown(_) => 0,
        };
        let waits =
            Decision::wait(Wait::Later { us: asked_for.clamp(PAUSE_US, PAUSE_US.max(self.lease_us / 3)) });
        if order.state.status.is_terminal() {
            if request.kind == RequestKind::CancelAll {
                return Ok(Decision::wait(Wait::Later { us: 0 }).after(commits));
            }
            let number = Some(answered.number);
            return Ok(ended(ledger, &answered.key, answered.hash, number, order).after(commits));
        }
        let mine = planted::is(Bug::NoCompareAndSet)
            || ledger.order(&id).is_some_and(|record| record.lease.epoch == answered.epoch);
        if !mine || !order.state.pending_cancel {
            return Ok(waits.after(commits));
        }
        let in_vain = ledger.now.micros_since(request.received_at) > self.retry_us;
        let refusal = match &answered.answer {
            Answer::Rejected(refusal) => refusal.clone(),
            Answer::NotSent(not_sent) if in_vain => {
                let reason = format!(
                    "{}: the broker took no cancel within broker.retry_ms; its events would tell of an earlier one",
                    not_sent.why
                );
                Refusal::new(Code::BrokerUnavailable, reason)
            }
            Answer::Unknown(why) if in_vain => {
                let reason =
                    format!("{why}: whether the broker cancelled it is not known yet; its events will tell");
                Refusal::new(Code::OutcomeUnknown, reason)
            }
            Answer::Accepted(_) | Answer::NotSent(_) | Answer::Unknown(_) => return Ok(waits.after(commits)),
        };
        note_answer(ledger, id, AttemptKind::Cancel, answered.number, "rejected");
        let told = EventKind::CancelRefused(Reason { reason: refusal.reason.clone() });
        commits.extend(ledger.append(id, vec![told])?);
        let order = commits.last().map_or(order, |commit| commit.after.clone());
        if request.kind == RequestKind::CancelAll {
            super::sweep::settle(ledger, &answered.key, answered.hash, id, Some(refusal.reason));
            return Ok(Decision::wait(Wait::Later { us: 0 }).after(commits));
        }
        Ok(failed(ledger, &answered.key, answered.hash, &order, refusal).after(commits))
    }

    /// The embedded venue carries out a command that is journaled.
    pub(super) fn execute_command(
        &self,
        ledger: &mut Ledger,
        command: &ExecuteCommand,
    ) -> Result<Decision, ApplyError> {
        if let Some(outcome) = ledger.outcome_of(&command.key, &command.hash) {
            return Ok(finished_before(ledger, outcome.clone()));
        }
        let request = ledger.request_of(&command.key, &command.hash).cloned();
        let order = ledger.order(&command.order_id).map(|record| record.order.clone());
        let (Some(request), Some(order)) = (request, order) else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        if let Some(market) = &command.replace {
            return self.execute_replace(ledger, command, market, &request, &order);
        }
        let swept = request.kind == RequestKind::CancelAll;
        let again = Decision::wait(Wait::Later { us: 0 });
        if order.state.status.is_terminal() {
            let end = || ended(ledger, &command.key, command.hash, request.attempt_version, order);
            return Ok(if swept { again } else { end() });
        }
        let done =
            EventKind::Cancelled(Reason { reason: format!("cancelled by request {}", command.key.entry) });
        let commit = match super::venue_inputs::end_by_time(ledger, &order)? {
            Some(over) => Some(over),
            None => ledger.append(command.order_id, vec![done])?,
        };
        let commits: Vec<_> = commit.into_iter().collect();
        let order = commits.last().map_or(order, |commit: &Arc<Commit>| commit.after.clone());
        if swept {
            return Ok(again.after(commits));
        }
        Ok(ended(ledger, &command.key, command.hash, request.attempt_version, order).after(commits))
    }
}

/// A refusal of a command about an order that the journal was not asked about, or does not have.
pub(super) fn refuse_named(
    ledger: &mut Ledger,
    received: &Received,
    kind: RequestKind,
    target: &OrderRef,
    refusal: Refusal,
) -> Decision {
    let (client_order_id, order_id) = match target {
        OrderRef::Client(id) => (Some(id.clone()), None),
        OrderRef::Order(id) => (None, Some(*id)),
    };
    let what = Refused { kind, refusal, client_order_id, order_id, payload: None };
    refuse(ledger, received, &what)
}

/// Why no command can reach the order any more, or nobody knows what it would reach.
pub(super) fn beyond_commands(order: &Order) -> Option<Refusal> {
    if order.state.status.is_terminal() {
        return Some(too_late(order));
    }
    let parked = order.state.parked && !order.state.status.is_working();
    parked.then(|| super::attempt::outcome_unknown(order))
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
    if let Some(number) = attempt {
        let answer = if did_it { "accepted" } else { "rejected" };
        note_answer(ledger, order.spec.id, AttemptKind::Cancel, number, answer);
    }
    if !did_it {
        return failed(ledger, key, hash, &order, too_late(&order));
    }
    let result = OutcomeResult::Completed(Status::Cancelled);
    let outcome = conclude(ledger, key, hash, RequestKind::Cancel, Some(&order), result);
    Decision::finish(outcome, Some(order))
}

fn failed(
    ledger: &mut Ledger,
    key: &RequestKey,
    hash: ContentHash,
    order: &Arc<Order>,
    refusal: Refusal,
) -> Decision {
    let result = OutcomeResult::Failed { refusal, status: Some(order.state.status), payload: None };
    let outcome = conclude(ledger, key, hash, RequestKind::Cancel, Some(order), result);
    Decision::finish(outcome, Some(order.clone()))
}

pub(super) fn too_late(order: &Order) -> Refusal {
    Refusal::new(
        Code::OrderTerminal,
        format!(
            "order {} is {} since {}: nothing is left to change or cancel",
            order.spec.client_order_id, order.state.status, order.state.updated_at
        ),
    )
}
