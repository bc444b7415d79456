//! What follows an attempt to submit: its answer, a look at the broker's books, another attempt, or parking. What
//! the broker says is merged whoever hears it; what is decided for want of an answer is decided by the holder of
//! the order's lease, about the attempt that is open, and by nobody else.

use std::sync::Arc;

use crate::domain::event::{Attempt, EventKind, Reason, Submission, SubmitFailure};
use crate::domain::ids::{OrderId, RequestKey};
use crate::domain::ledger::{Answered as AnswerRecord, AttemptKind, AttemptRecord, Commit, Ledger};
use crate::domain::market::Market;
use crate::domain::order::{ApplyError, ContentHash, Order};
use crate::domain::profile::Profile;
use crate::domain::reconcile::reconcile_all;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::{Answer, NotSent, Report};
use crate::domain::request::RequestKind;
use crate::domain::risk;
use crate::domain::status::Status;
use crate::planted::{self, Bug};

use super::admit::{finished_before, result_of};
use super::judge::Asked;
use super::{Admit, Answered, Decision, Effect, Looked, Rules, View, Wait, conclude};

/// Between two looks at a broker's books, or two attempts, at the start and at most.
const PAUSE_US: (i64, i64) = (50_000, 1_000_000);

impl Rules {
    /// The request that made the order is back: whoever had it died on the way, could not publish, or waited.
    pub(super) fn resume(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        order: Arc<Order>,
    ) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        let id = order.spec.id;
        if let Some(decision) = ended(ledger, id, &received.key, received.hash) {
            return Ok(decision);
        }
        let Some(epoch) = self.take_lease(ledger, id, &admit.view.worker) else {
            return Ok(Decision::wait(Wait::Undecided(id)));
        };
        self.next_step(ledger, &admit.view, id, epoch)
    }

    /// What is due for an order that was attempted and is undecided.
    fn next_step(
        &self,
        ledger: &mut Ledger,
        view: &View,
        id: OrderId,
        epoch: u64,
    ) -> Result<Decision, ApplyError> {
        let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        let Some(open) = &order.state.open_attempt else {
            return self.attempt_again(ledger, view, &order, epoch);
        };
        let number = u64::from(open.number);
        Ok(Decision::effect(match self.profile(&order.broker) {
            Profile::Embedded => Effect::Submit { order, epoch },
            Profile::DedupesForever => {
                // Whoever had it may have sent it: from here on no answer of ours proves that nobody did.
                let commits: Vec<_> = ledger.append(id, submitted(&order))?.into_iter().collect();
                let order = commits.last().map_or(order, |commit: &Arc<Commit>| commit.after.clone());
                return Ok(Decision::effect(Effect::Submit { order, epoch }).after(commits));
            }
            // Never blindly: it may have been sent, by whoever had it.
            Profile::Deadline { .. } | Profile::OneShot { .. } => {
                Effect::Look { order, epoch, kind: AttemptKind::Submit, number }
            }
        }))
    }

    /// Every attempt so far provably came to nothing: another one, judged as if it were the first.
    fn attempt_again(
        &self,
        ledger: &mut Ledger,
        view: &View,
        order: &Order,
        epoch: u64,
    ) -> Result<Decision, ApplyError> {
        if ledger.now.micros_since(order.state.created_at) > self.retry_us {
            return self.give_up(ledger, order, "the broker did not take it");
        }
        let too_early = order.state.retry_at.map_or(0, |at| at.micros_since(ledger.now));
        if too_early > 0 {
            return Ok(self.wait(too_early));
        }
        if matches!(view.market, Market::Unknown) {
            return Ok(Decision::wait(Wait::Later { us: PAUSE_US.1 }));
        }
        let asked = Asked {
            market: &view.market,
            spec: &order.spec,
            broker: &order.broker,
            held: Some(order),
            is_new: false,
        };
        if let Some(refusal) = self.judge(ledger, &asked).refusal {
            return reject(ledger, order, Vec::new(), refusal);
        }
        let tick = self.tick_size(&order.spec.symbol);
        if let Err(refusal) = super::check::check_bound(&order.spec, &view.market, tick) {
            return reject(ledger, order, Vec::new(), refusal);
        }
        if self.pass_circuit(ledger, &order.broker).is_some() {
            return Ok(Decision::wait(Wait::Later { us: PAUSE_US.1 }));
        }
        let deadline = self.profile(&order.broker).deadline(view.broker_time(&order.broker, ledger));
        let limit_price = risk::slippage_bound(&order.spec, &view.market, tick);
        let attempt = Attempt { attempt: order.state.attempts + 1, deadline, limit_price };
        let (number, journaled_at) = (u64::from(attempt.attempt), ledger.now);
        let Some(commit) = ledger.append(order.spec.id, vec![EventKind::PendingSubmit(attempt)])? else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        ledger.changes.attempts.push(AttemptRecord {
            order_id: order.spec.id,
            kind: AttemptKind::Submit,
            number,
            epoch,
            journaled_at,
            answer: None,
        });
        let effect = Effect::Submit { order: commit.after.clone(), epoch };
        Ok(Decision { effect, commits: vec![commit] })
    }

    /// The broker answered an attempt to submit.
    pub(super) fn submit_answered(
        &self,
        ledger: &mut Ledger,
        answered: &Answered,
    ) -> Result<Decision, ApplyError> {
        let id = answered.order_id;
        let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        if let Answer::Accepted(reports) = &answered.answer {
            let commits = merge(ledger, &order, reports)?;
            note_answer(ledger, id, AttemptKind::Submit, answered.number, "accepted");
            let decision = ended(ledger, id, &answered.key, answered.hash);
            // Taken, and nothing more is known yet: its books will say.
            return Ok(decision
                .unwrap_or_else(|| Decision::wait(Wait::Later { us: PAUSE_US.0 }))
                .after(commits));
        }
        if let Some(decision) = ended(ledger, id, &answered.key, answered.hash) {
            return Ok(decision);
        }
        if !is_mine(ledger, &order, answered.epoch, answered.number) {
            return Ok(Decision::wait(Wait::Undecided(id)));
        }
        match &answered.answer {
            Answer::Accepted(_) => Ok(Decision::effect(Effect::Nothing)),
            Answer::Rejected(refusal) => {
                note_answer(ledger, id, AttemptKind::Submit, answered.number, "rejected");
                reject(ledger, &order, submitted(&order), refusal.clone())
            }
            Answer::NotSent(not_sent) => self.not_sent(ledger, &order, answered, not_sent),
            Answer::Unknown(why) if planted::is(Bug::UnknownIsRejected) => {
                note_answer(ledger, id, AttemptKind::Submit, answered.number, "rejected");
                reject(ledger, &order, submitted(&order), Refusal::new(Code::BrokerRejected, why.clone()))
            }
            Answer::Unknown(_) => {
                note_answer(ledger, id, AttemptKind::Submit, answered.number, "unknown");
                let commits = ledger.append(id, submitted(&order))?.into_iter().collect();
                let decision = match self.profile(&order.broker) {
                    Profile::Embedded | Profile::DedupesForever => {
                        Decision::wait(Wait::Later { us: Self::pause(ledger, &order) })
                    }
                    Profile::Deadline { .. } | Profile::OneShot { .. } => {
                        self.next_step(ledger, &answered.view, id, answered.epoch)?
                    }
                };
                Ok(decision.after(commits))
            }
        }
    }

    fn not_sent(
        &self,
        ledger: &mut Ledger,
        order: &Order,
        answered: &Answered,
        not_sent: &NotSent,
    ) -> Result<Decision, ApplyError> {
        let id = order.spec.id;
        let resent =
            self.profile(&order.broker) == Profile::DedupesForever && order.state.status == Status::Submitted;
        if resent {
            // It proves that this call did nothing; an earlier one under the same id may have.
            let us = not_sent.retry_after_us.unwrap_or(0).max(Self::pause(ledger, order));
            return Ok(self.wait(us));
        }
        note_answer(ledger, id, AttemptKind::Submit, answered.number, "not_sent");
        let grown = PAUSE_US.0.saturating_mul(1 << order.state.attempts.min(6)).min(PAUSE_US.1);
        let us = not_sent.retry_after_us.unwrap_or(0).max(grown);
        let retry_at = ledger.now.plus_micros(us);
        let failed = EventKind::SubmitFailed(SubmitFailure { reason: not_sent.why.clone(), retry_at });
        let commits: Vec<_> = ledger.append(id, vec![failed])?.into_iter().collect();
        let order =
            commits.last().map_or_else(|| order.clone(), |commit: &Arc<Commit>| (*commit.after).clone());
        if retry_at.micros_since(order.state.created_at) > self.retry_us {
            return Ok(self.give_up(ledger, &order, &not_sent.why)?.after(commits));
        }
        Ok(self.wait(us).after(commits))
    }

    /// However long it is, the lease is renewed on the way.
    fn wait(&self, us: i64) -> Decision {
        Decision::wait(Wait::Later { us: us.min(self.lease_us / 3) })
    }

    /// The broker's books were looked at for an attempt to submit.
    pub(super) fn submit_looked(&self, ledger: &mut Ledger, looked: &Looked) -> Result<Decision, ApplyError> {
        let id = looked.order_id;
        let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
            return Ok(Decision::effect(Effect::Nothing));
        };
        if let Some(reports) = &looked.finding.reports {
            let commits = merge(ledger, &order, reports)?;
            note_answer(ledger, id, AttemptKind::Submit, looked.number, "accepted");
            let decision = ended(ledger, id, &looked.key, looked.hash);
            return Ok(decision
                .unwrap_or_else(|| Decision::wait(Wait::Later { us: PAUSE_US.0 }))
                .after(commits));
        }
        if let Some(decision) = ended(ledger, id, &looked.key, looked.hash) {
            return Ok(decision);
        }
        if !is_mine(ledger, &order, looked.epoch, looked.number) {
            return Ok(Decision::wait(Wait::Undecided(id)));
        }
        let pause = Decision::wait(Wait::Later { us: Self::pause(ledger, &order) });
        match (self.profile(&order.broker), order.state.open_attempt.as_ref().and_then(|open| open.deadline))
        {
            (Profile::Deadline { settle_us, .. }, Some(deadline)) => {
                let proof_at = deadline.not_after.plus_micros(settle_us);
                let left = proof_at.micros_since(looked.finding.as_of);
                if left >= 0 {
                    return Ok(Decision::wait(Wait::Later { us: left.clamp(1_000, PAUSE_US.1) }));
                }
                let reason = format!(
                    "the broker does not have it at {}, its deadline was {}",
                    looked.finding.as_of, deadline.not_after
                );
                note_answer(ledger, id, AttemptKind::Submit, looked.number, "not_sent");
                let failed = EventKind::SubmitFailed(SubmitFailure { reason, retry_at: ledger.now });
                let commits: Vec<_> = ledger.append(id, vec![failed])?.into_iter().collect();
                Ok(self.next_step(ledger, &looked.view, id, looked.epoch)?.after(commits))
            }
            (Profile::OneShot { settle_us }, _) => {
                let age = age(ledger, &order);
                if age <= settle_us { Ok(pause) } else { park(ledger, &order, looked) }
            }
            // A deadline that was never journaled: the profile was changed since. Nothing is proven.
            (Profile::Deadline { .. }, None) => park(ledger, &order, looked),
            (Profile::Embedded | Profile::DedupesForever, _) => {
                Ok(Decision::effect(Effect::Submit { order, epoch: looked.epoch }))
            }
        }
    }

    /// The older the open attempt, the longer the pause.
    fn pause(ledger: &Ledger, order: &Order) -> i64 {
        (age(ledger, order) / 2).clamp(PAUSE_US.0, PAUSE_US.1)
    }

    fn give_up(&self, ledger: &mut Ledger, order: &Order, why: &str) -> Result<Decision, ApplyError> {
        let reason = format!(
            "{why}: nothing was executed within broker.retry_ms ({}); send it again under a new client_order_id",
            self.retry_us / 1000
        );
        reject(ledger, order, Vec::new(), Refusal::new(Code::BrokerUnavailable, reason))
    }
}

/// Where the order's request can end now, its end.
pub(super) fn ended(
    ledger: &mut Ledger,
    id: OrderId,
    key: &RequestKey,
    hash: ContentHash,
) -> Option<Decision> {
    if let Some(outcome) = ledger.outcome_of(key, &hash).cloned() {
        return Some(finished_before(ledger, outcome));
    }
    let order = ledger.order(&id)?.order.clone();
    let result = result_of(&order)?;
    let outcome = conclude(ledger, key, hash, RequestKind::Submit, Some(&order), result);
    Some(Decision::finish(outcome, Some(order)))
}

/// The broker's claims, with what the first of them implies: that it was handed the attempt.
pub(super) fn merge(
    ledger: &mut Ledger,
    order: &Order,
    reports: &[Report],
) -> Result<Vec<Arc<Commit>>, ApplyError> {
    let id = order.spec.id;
    let mut kinds = if reports.is_empty() { Vec::new() } else { submitted(order) };
    let known = |trade: &str| ledger.trades.get(&(id, trade.to_owned())).cloned();
    kinds.extend(reconcile_all(order, reports, known)?);
    Ok(ledger.append(id, kinds)?.into_iter().collect())
}

/// The event that says that the open attempt reached the broker, where that is news.
fn submitted(order: &Order) -> Vec<EventKind> {
    if order.state.status != Status::PendingSubmit {
        return Vec::new();
    }
    let submission = Submission { attempt: order.state.attempts, broker_order_id: None };
    vec![EventKind::Submitted(submission)]
}

/// The open attempt is this one, and the lease is still the one that it was made under.
fn is_mine(ledger: &Ledger, order: &Order, epoch: u64, number: u64) -> bool {
    let leased = ledger.order(&order.spec.id).is_some_and(|record| record.lease.epoch == epoch);
    planted::is(Bug::NoCompareAndSet)
        || leased && order.state.open_attempt.as_ref().is_some_and(|open| u64::from(open.number) == number)
}

/// Microseconds since the open attempt was journaled.
fn age(ledger: &Ledger, order: &Order) -> i64 {
    order.state.open_attempt.as_ref().map_or(0, |open| ledger.now.micros_since(open.journaled_at))
}

fn reject(
    ledger: &mut Ledger,
    order: &Order,
    mut kinds: Vec<EventKind>,
    refusal: Refusal,
) -> Result<Decision, ApplyError> {
    kinds.push(EventKind::Rejected(refusal));
    let commits: Vec<_> = ledger.append(order.spec.id, kinds)?.into_iter().collect();
    let Some((key, hash)) = ledger.order(&order.spec.id).map(|r| (r.request.clone(), r.request_hash)) else {
        return Ok(Decision::effect(Effect::Nothing));
    };
    let decision = ended(ledger, order.spec.id, &key, hash);
    Ok(decision.unwrap_or_else(|| Decision::effect(Effect::Nothing)).after(commits))
}

fn park(ledger: &mut Ledger, order: &Order, looked: &Looked) -> Result<Decision, ApplyError> {
    let reason = format!(
        "attempt {} has no answer and the broker's books do not show it as of {}",
        looked.number, looked.finding.as_of
    );
    let mut kinds = submitted(order);
    kinds.push(EventKind::Parked(Reason { reason }));
    note_answer(ledger, order.spec.id, looked.kind, looked.number, "parked");
    let commits: Vec<_> = ledger.append(order.spec.id, kinds)?.into_iter().collect();
    let decision = ended(ledger, order.spec.id, &looked.key, looked.hash);
    Ok(decision.unwrap_or_else(|| Decision::effect(Effect::Nothing)).after(commits))
}

/// What is told of a parked order.
pub(super) fn outcome_unknown(order: &Order) -> Refusal {
    let reason = format!(
        "whether the broker executed {} is not known: look at the broker's own records, then `order-execution resolve {} --executed …` or `--not-executed`",
        order.spec.client_order_id, order.spec.client_order_id
    );
    Refusal::new(Code::OutcomeUnknown, reason)
}

pub(super) fn note_answer(
    ledger: &mut Ledger,
    order_id: OrderId,
    kind: AttemptKind,
    number: u64,
    answer: &'static str,
) {
    let at = ledger.now;
    ledger.changes.answers.push(AttemptRecord {
        order_id,
        kind,
        number,
        epoch: 0,
        journaled_at: at,
        answer: Some(AnswerRecord { at, answer }),
    });
}
