//! Replaces: new terms for an open order, checked like a new one, journaled before the broker is asked. Until it has
//! answered, the larger of the old and the new quantity is reserved. They follow the broker's profile like
//! submissions do; the order itself stays where it is meanwhile.

use std::sync::Arc;

use crate::domain::event::{EventKind, Reason, ReplaceRequest, Replacement, Terms};
use crate::domain::ids::{OrderId, RequestKey};
use crate::domain::ledger::{AttemptKind, AttemptRecord, Commit, Ledger, RequestRecord};
use crate::domain::market::Market;
use crate::domain::order::{ApplyError, ContentHash, Order, OrderSpec, PendingReplace};
use crate::domain::order_type::Trigger;
use crate::domain::profile::Profile;
use crate::domain::reconcile::reconcile_all;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::{Answer, Report};
use crate::domain::request::{OrderRef, OutcomeResult, Replace, RequestKind};
use crate::domain::venue::Scene;
use crate::planted::{self, Bug};

use super::admit::{finished_before, refused, remember};
use super::attempt::{merge, note_answer, outcome_unknown};
use super::cancel::{beyond_commands, too_late};
use super::judge::Asked;
use super::{Admit, Answered, Decision, Effect, ExecuteCommand, Looked, Rules, View, Wait, conclude};

/// Between two looks, or two attempts.
const PAUSE_US: i64 = 100_000;

impl Rules {
    pub(super) fn admit_replace(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        replace: &Replace,
    ) -> Result<Decision, ApplyError> {
        let target = OrderRef::Client(replace.client_order_id.clone());
        let order = match self.order_of(ledger, admit, RequestKind::Replace, &target) {
            Ok(order) => order,
            Err(decision) => return Ok(*decision),
        };
        let received = &admit.received;
        let id = order.spec.id;
        if let Some(request) = ledger.request_of(&received.key, &received.hash).cloned() {
            return self.resume_replace(ledger, admit, &request, id);
        }
        let refuse = |ledger: &mut Ledger, order: Arc<Order>, refusal| {
            Ok(refused(ledger, received, RequestKind::Replace, None, Some(order), refusal))
        };
        if let Some(refusal) = beyond_commands(&order) {
            return refuse(ledger, order, refusal);
        }
        if order.state.parked {
            let refusal = outcome_unknown(&order);
            return refuse(ledger, order, refusal);
        }
        if !order.state.status.is_working() || order.is_undecided() {
            return Ok(Decision::wait(Wait::Undecided(id)));
        }
        // Its order was not there yet when the prices were read: they are read before it is looked at again.
        if matches!(admit.view.market, Market::Unknown) && received.deliveries < 2 {
            return Ok(Decision::wait(Wait::Undecided(id)));
        }
        let spec = match self.new_spec(&order, &replace.terms) {
            Ok(spec) => spec,
            Err(refusal) => return refuse(ledger, order, refusal),
        };
        let asked = Asked {
            market: &admit.view.market,
            spec: &spec,
            broker: &order.broker,
            held: Some(&order),
            is_new: true,
        };
        if let Some(refusal) = self.judge(ledger, &asked).refusal {
            return refuse(ledger, order, refusal);
        }
        let Some((commit, epoch)) = self.request_replace(ledger, &admit.view, &order, &replace.terms, 0)?
        else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        let number = commit.version();
        remember(ledger, received, Some(&order), Some(number));
        let (order, terms) = (commit.after.clone(), replace.terms.clone());
        let effect = Effect::Replace { order, epoch, number, terms, after_us: 0, resent: false };
        Ok(Decision { effect, commits: vec![commit] })
    }

    /// The order as it would be under new terms, where they fit it.
    fn new_spec(&self, order: &Order, terms: &Terms) -> Result<OrderSpec, Refusal> {
        let invalid = |reason: String| Err(Refusal::new(Code::ValidationFailed, reason));
        let (kind, filled) = (&order.spec.order_type, order.state.filled_quantity);
        if terms.price.is_some() && kind.limit_price().is_none() {
            return invalid(format!("price: a {} order has none to change", kind.name()));
        }
        if let Some(stop_price) = terms.stop_price {
            match kind.trigger() {
                Some(Trigger::Stop(_) | Trigger::Touch(_)) if order.state.triggered => {
                    return invalid(format!("stop_price {stop_price}: the order was triggered already"));
                }
                Some(Trigger::Stop(_) | Trigger::Touch(_)) => {}
                Some(Trigger::Trail { .. }) | None => {
                    return invalid(format!("stop_price: a {} order has none to change", kind.name()));
                }
            }
        }
        if let Some(quantity) = terms.quantity.filter(|quantity| *quantity <= filled) {
            return invalid(format!(
                "quantity {quantity} must exceed what is filled, {filled}: it is the new total"
            ));
        }
        let mut spec = order.spec.clone();
        spec.take(terms);
        if spec == order.spec {
            let reason = "the order stands at these terms already: the replace changes nothing";
            return Err(Refusal::new(Code::InvalidPayload, reason));
        }
        if let Some(rules) = self.venue.instruments.get(&spec.symbol) {
            rules.check(&spec, spec.order_type.limit_price().map(crate::domain::amount::Price::get))?;
        }
        Ok(spec)
    }

    fn request_replace(
        &self,
        ledger: &mut Ledger,
        view: &View,
        order: &Order,
        terms: &Terms,
        after_us: i64,
    ) -> Result<Option<(Arc<Commit>, u64)>, ApplyError> {
        let id = order.spec.id;
        let sent_at = view.broker_time(&order.broker, ledger).plus_micros(after_us);
        let deadline = self.profile(&order.broker).deadline(sent_at);
        let asked = EventKind::ReplaceRequested(ReplaceRequest { terms: terms.clone(), deadline });
        let Some(commit) = ledger.append(id, vec![asked])? else { return Ok(None) };
        let epoch = self.seize_lease(ledger, id, &view.worker, after_us);
        let journaled_at = ledger.now;
        ledger.changes.attempts.push(AttemptRecord {
            order_id: id,
            kind: AttemptKind::Replace,
            number: commit.version(),
            epoch,
            journaled_at,
            answer: None,
        });
        Ok(Some((commit, epoch)))
    }

    /// A replace that is journaled already, back after a crash or a pause.
    pub(super) fn resume_replace(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        request: &RequestRecord,
        id: OrderId,
    ) -> Result<Decision, ApplyError> {
        let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        if let Some(decision) = ended(ledger, request, &order) {
            return Ok(decision);
        }
        let Some(pending) = order.state.pending_replace.clone() else {
            let reason = format!("the broker did not take the new terms of {}", order.spec.client_order_id);
            return Ok(failed(ledger, request, &order, Refusal::new(Code::BrokerRejected, reason)));
        };
        let Some(epoch) = self.take_lease(ledger, id, &admit.view.worker) else {
            return Ok(Decision::wait(Wait::Undecided(id)));
        };
        Ok(Decision::effect(self.next_of_replace(order, epoch, &pending)))
    }

    fn next_of_replace(&self, order: Arc<Order>, epoch: u64, pending: &PendingReplace) -> Effect {
        let (number, terms) = (pending.number, pending.terms.clone());
        match self.profile(&order.broker) {
            Profile::Embedded | Profile::DedupesForever => {
                Effect::Replace { order, epoch, number, terms, after_us: 0, resent: true }
            }
            Profile::Deadline { .. } | Profile::OneShot { .. } => {
                Effect::Look { order, epoch, kind: AttemptKind::Replace, number }
            }
        }
    }

    /// The broker answered a replace.
    pub(super) fn replace_answered(
        &self,
        ledger: &mut Ledger,
        answered: &Answered,
    ) -> Result<Decision, ApplyError> {
        let (key, hash) = (&answered.key, answered.hash);
        let reports = match &answered.answer {
            Answer::Accepted(reports) => reports.as_slice(),
            Answer::Rejected(_) | Answer::NotSent(_) | Answer::Unknown(_) => &[],
        };
        let (request, order, commits) = match merged(ledger, answered.order_id, key, hash, reports)? {
            Ok(merged) => merged,
            Err(decision) => return Ok(*decision),
        };
        let Some(pending) = mine(ledger, &order, answered.epoch, answered.number) else {
            return Ok(Decision::wait(Wait::Undecided(answered.order_id)).after(commits));
        };
        let decision = match &answered.answer {
            // Taken, and its books do not show it yet.
            Answer::Accepted(_) => Decision::wait(Wait::Later { us: PAUSE_US }),
            Answer::Rejected(refusal) => {
                note_answer(ledger, order.spec.id, AttemptKind::Replace, pending.number, "rejected");
                self.refuse_replace(ledger, &request, &order, refusal.clone())?
            }
            // It proves that this call did nothing; an earlier one under the same number may have.
            Answer::NotSent(not_sent) if answered.resent => {
                let us =
                    not_sent.retry_after_us.unwrap_or(0).clamp(PAUSE_US, PAUSE_US.max(self.lease_us / 3));
                Decision::wait(Wait::Later { us })
            }
            Answer::NotSent(not_sent) => {
                note_answer(ledger, order.spec.id, AttemptKind::Replace, pending.number, "not_sent");
                let us = not_sent.retry_after_us.unwrap_or(0).max(PAUSE_US);
                self.replace_again(ledger, &answered.view, &request, &order, &pending, us, &not_sent.why)?
            }
            Answer::Unknown(_) => {
                note_answer(ledger, order.spec.id, AttemptKind::Replace, pending.number, "unknown");
                match self.profile(&order.broker) {
                    Profile::Embedded | Profile::DedupesForever => {
                        Decision::wait(Wait::Later { us: PAUSE_US })
                    }
                    Profile::Deadline { .. } | Profile::OneShot { .. } => {
                        Decision::effect(self.next_of_replace(order, answered.epoch, &pending))
                    }
                }
            }
        };
        Ok(decision.after(commits))
    }

    /// The broker's books were looked at for a replace.
    pub(super) fn replace_looked(
        &self,
        ledger: &mut Ledger,
        looked: &Looked,
    ) -> Result<Decision, ApplyError> {
        let reports = looked.finding.reports.as_deref().unwrap_or(&[]);
        let merged = merged(ledger, looked.order_id, &looked.key, looked.hash, reports)?;
        let (request, order, commits) = match merged {
            Ok(merged) => merged,
            Err(decision) => return Ok(*decision),
        };
        let Some(pending) = mine(ledger, &order, looked.epoch, looked.number) else {
            return Ok(Decision::wait(Wait::Undecided(looked.order_id)).after(commits));
        };
        let decision = match (self.profile(&order.broker), pending.deadline) {
            (Profile::Deadline { settle_us, .. }, Some(deadline)) => {
                let left = deadline.not_after.plus_micros(settle_us).micros_since(looked.finding.as_of);
                if left >= 0 {
                    Decision::wait(Wait::Later { us: left.clamp(1_000, 10 * PAUSE_US) })
                } else {
                    let why = "the broker's books show the old terms after the deadline";
                    self.replace_again(ledger, &looked.view, &request, &order, &pending, 0, why)?
                }
            }
            (Profile::OneShot { settle_us }, _) if ledger.now.micros_since(pending.asked_at) <= settle_us => {
                Decision::wait(Wait::Later { us: PAUSE_US })
            }
            (Profile::OneShot { .. } | Profile::Deadline { .. }, _) => {
                park(ledger, &request, &order, &pending)?
            }
            (Profile::Embedded | Profile::DedupesForever, _) => {
                Decision::effect(self.next_of_replace(order, looked.epoch, &pending))
            }
        };
        Ok(decision.after(commits))
    }

    /// The attempt provably came to nothing: another one, within the time that there is.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing")]
    fn replace_again(
        &self,
        ledger: &mut Ledger,
        view: &View,
        request: &RequestRecord,
        order: &Arc<Order>,
        pending: &PendingReplace,
        after_us: i64,
        why: &str,
    ) -> Result<Decision, ApplyError> {
        if ledger.now.plus_micros(after_us).micros_since(request.received_at) > self.retry_us {
            let reason = format!("{why}: the replace was not carried out within broker.retry_ms");
            let refusal = Refusal::new(Code::BrokerUnavailable, reason);
            return self.refuse_replace(ledger, request, order, refusal);
        }
        let mut spec = order.spec.clone();
        spec.take(&pending.terms);
        if let Err(refusal) = self.new_spec(order, &pending.terms) {
            return self.refuse_replace(ledger, request, order, refusal);
        }
        // Without prices it is looked at again, but where that would park it.
        let may_wait = !matches!(self.profile(&order.broker), Profile::OneShot { .. });
        if matches!(view.market, Market::Unknown) && may_wait {
            return Ok(Decision::wait(Wait::Later { us: 10 * PAUSE_US }));
        }
        // Judged as if it were the first.
        let asked = Asked {
            market: &view.market,
            spec: &spec,
            broker: &order.broker,
            held: Some(order),
            is_new: false,
        };
        if let Some(refusal) = self.judge(ledger, &asked).refusal {
            return self.refuse_replace(ledger, request, order, refusal);
        }
        if self.pass_circuit(ledger, &order.broker).is_some() {
            return Ok(Decision::wait(Wait::Later { us: 10 * PAUSE_US }));
        }
        let Some((commit, epoch)) = self.request_replace(ledger, view, order, &pending.terms, after_us)?
        else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        let (number, terms) = (commit.version(), pending.terms.clone());
        let effect =
            Effect::Replace { order: commit.after.clone(), epoch, number, terms, after_us, resent: false };
        Ok(Decision { effect, commits: vec![commit] })
    }

    fn refuse_replace(
        &self,
        ledger: &mut Ledger,
        request: &RequestRecord,
        order: &Arc<Order>,
        refusal: Refusal,
    ) -> Result<Decision, ApplyError> {
        let told = EventKind::ReplaceRefused(Reason { reason: refusal.reason.clone() });
        let commits: Vec<_> = ledger.append(order.spec.id, vec![told])?.into_iter().collect();
        let order = commits.last().map_or_else(|| order.clone(), |commit: &Arc<Commit>| commit.after.clone());
        Ok(failed(ledger, request, &order, refusal).after(commits))
    }

    /// The embedded venue puts the new terms in force, and lets the order meet the market under them.
    pub(super) fn execute_replace(
        &self,
        ledger: &mut Ledger,
        command: &ExecuteCommand,
        market: &Market,
        request: &RequestRecord,
        order: &Arc<Order>,
    ) -> Result<Decision, ApplyError> {
        if let Some(decision) = ended(ledger, request, order) {
            return Ok(decision);
        }
        let Some(pending) = order.state.pending_replace.clone() else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        if let Some(over) = super::venue_inputs::end_by_time(ledger, order)? {
            let decision = ended(ledger, request, &over.after);
            return Ok(decision.unwrap_or_else(|| Decision::effect(Effect::Nothing)).after(vec![over]));
        }
        // A quote may have met it since it was asked for.
        if let Err(refusal) = self.new_spec(order, &pending.terms) {
            return self.refuse_replace(ledger, request, order, refusal);
        }
        let market = market.tradable(ledger.now, self.max_quote_age_us);
        let mut changed = (**order).clone();
        changed.spec.take(&pending.terms);
        let spent_key = (command.broker.clone(), command.symbol.clone(), order.spec.side);
        let mut spent = ledger.spent.get(&spent_key).copied().unwrap_or_default();
        let position = ledger.position(&command.broker, &command.symbol).quantity.get();
        let mut scene = Scene { market: &market, spent: &mut spent, position, now: ledger.now };
        let reports = match self.venue.on_replace(&changed, &mut scene) {
            Ok(reports) => reports,
            Err(refusal) => return self.refuse_replace(ledger, request, order, refusal),
        };
        let (number, terms) = (pending.number, pending.terms);
        let mut kinds = vec![EventKind::Replaced(Replacement { terms, number })];
        let met = reconcile_all(&changed, &reports, |_| None);
        let appended = met.and_then(|met| {
            kinds.extend(met);
            ledger.append(order.spec.id, kinds)
        });
        let commits: Vec<_> = match appended {
            Err(ApplyError::Overflow { .. }) => {
                let reason = "a fill under the new terms cannot be added up exactly: use fewer decimals";
                let refusal = Refusal::new(Code::BrokerRejected, reason);
                return self.refuse_replace(ledger, request, order, refusal);
            }
            other => other?.into_iter().collect(),
        };
        super::venue_inputs::spend(ledger, spent_key, spent);
        note_answer(ledger, order.spec.id, AttemptKind::Replace, number, "accepted");
        let order = commits.last().map_or_else(|| order.clone(), |commit: &Arc<Commit>| commit.after.clone());
        let decision = ended(ledger, request, &order);
        Ok(decision.unwrap_or_else(|| Decision::effect(Effect::Nothing)).after(commits))
    }
}

type Merged = (RequestRecord, Arc<Order>, Vec<Arc<Commit>>);

/// Merges what the broker says, and ends the request where it can end now.
fn merged(
    ledger: &mut Ledger,
    id: OrderId,
    key: &RequestKey,
    hash: ContentHash,
    reports: &[Report],
) -> Result<Result<Merged, Box<Decision>>, ApplyError> {
    let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
        return Ok(Err(Box::new(Decision::effect(Effect::Nothing))));
    };
    let commits = merge(ledger, &order, reports)?;
    let order = commits.last().map_or(order, |commit| commit.after.clone());
    if let Some(outcome) = ledger.outcome_of(key, &hash).cloned() {
        return Ok(Err(Box::new(finished_before(ledger, outcome).after(commits))));
    }
    let Some(request) = ledger.request_of(key, &hash).cloned() else {
        return Ok(Err(Box::new(Decision::effect(Effect::Nothing).after(commits))));
    };
    match ended(ledger, &request, &order) {
        Some(decision) => Ok(Err(Box::new(decision.after(commits)))),
        None => Ok(Ok((request, order, commits))),
    }
}

/// The replace that is pending, where it is this one and the lease is still the one that it was asked under.
fn mine(ledger: &Ledger, order: &Order, epoch: u64, number: u64) -> Option<PendingReplace> {
    let leased = planted::is(Bug::NoCompareAndSet)
        || ledger.order(&order.spec.id).is_some_and(|record| record.lease.epoch == epoch);
    order.state.pending_replace.clone().filter(|pending| leased && pending.number == number)
}

fn park(
    ledger: &mut Ledger,
    request: &RequestRecord,
    order: &Arc<Order>,
    pending: &PendingReplace,
) -> Result<Decision, ApplyError> {
    let reason =
        format!("replace {} has no answer and the broker's books show the old terms", pending.number);
    note_answer(ledger, order.spec.id, AttemptKind::Replace, pending.number, "parked");
    let parked = EventKind::Parked(Reason { reason });
    let commits: Vec<_> = ledger.append(order.spec.id, vec![parked])?.into_iter().collect();
    let order = commits.last().map_or_else(|| order.clone(), |commit: &Arc<Commit>| commit.after.clone());
    let refusal = outcome_unknown(&order);
    Ok(failed(ledger, request, &order, refusal).after(commits))
}

/// How the request ends, once that is known.
fn ended(ledger: &mut Ledger, request: &RequestRecord, order: &Arc<Order>) -> Option<Decision> {
    if let Some(outcome) = ledger.outcome_of(&request.key, &request.hash).cloned() {
        return Some(finished_before(ledger, outcome));
    }
    let did_it = request.attempt_version.is_some_and(|number| order.state.replaced >= number);
    if did_it {
        note_answer(ledger, order.spec.id, AttemptKind::Replace, order.state.replaced, "accepted");
        let result = OutcomeResult::Completed(order.state.status);
        let (key, hash) = (request.key.clone(), request.hash);
        let outcome = conclude(ledger, &key, hash, RequestKind::Replace, Some(order), result);
        return Some(Decision::finish(outcome, Some(order.clone())));
    }
    if order.state.status.is_terminal() {
        return Some(failed(ledger, request, order, too_late(order)));
    }
    let parked = order.state.parked && order.state.pending_replace.is_some();
    parked.then(|| failed(ledger, request, order, outcome_unknown(order)))
}

fn failed(ledger: &mut Ledger, request: &RequestRecord, order: &Arc<Order>, refusal: Refusal) -> Decision {
    let result = OutcomeResult::Failed { refusal, status: Some(order.state.status), payload: None };
    let (key, hash) = (request.key.clone(), request.hash);
    let outcome = conclude(ledger, &key, hash, RequestKind::Replace, Some(order), result);
    Decision::finish(outcome, Some(order.clone()))
}
