//! Admission of a submit: known? valid? within the limits? Then the attempt is journaled.

use std::sync::Arc;

use crate::domain::event::{Attempt, EventKind};
use crate::domain::ids::OrderId;
use crate::domain::ledger::{AttemptKind, AttemptRecord, Lease, Ledger, OrderRecord, RequestRecord};
use crate::domain::order::{ApplyError, ContentHash, Order, OrderSpec};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{OrderRef, Outcome, OutcomeResult, Received, Refused, Request, RequestKind};
use crate::domain::risk;
use crate::domain::status::Status;
use crate::planted::{self, Bug};

use super::judge::Asked;
use super::{Admit, Decision, Effect, Rules, Wait, conclude};

impl Rules {
    pub(super) fn admit_submit(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        spec: &OrderSpec,
    ) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        if let Some(outcome) = ledger.outcome_of(&received.key, &received.hash) {
            return Ok(finished_before(ledger, outcome.clone()));
        }
        let content = spec.content_hash().unwrap_or(received.hash);
        let same_entry = |id: &OrderId| ledger.order(id).is_some_and(|record| record.request == received.key);
        let known = ledger.by_client_id.get(&spec.client_order_id).copied();
        if let Some(id) = known.filter(|id| !planted::is(Bug::DedupeByEntry) || same_entry(id)) {
            return self.known(ledger, admit, spec, id, content);
        }
        if let Err(refusal) = self.check(ledger, admit, spec) {
            return Ok(refuse_submit(ledger, received, spec, refusal));
        }
        self.admit_new(ledger, admit, spec, content)
    }

    /// All that is left of the request is its entry, or what the journal has of it: that decides.
    pub(super) fn admit_journaled(&self, ledger: &mut Ledger, admit: &Admit) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        // Of an entry without a body only the id is known; ids can come back after Redis lost its data.
        let trimmed = matches!(received.request, Request::Trimmed);
        let is_it = |hash: &ContentHash| trimmed || *hash == received.hash;
        let mut outcomes = ledger.outcomes.get(&received.key).into_iter().flatten();
        if let Some(outcome) = outcomes.rfind(|outcome| is_it(&outcome.hash)) {
            return Ok(finished_before(ledger, outcome.clone()));
        }
        let as_journaled =
            |hash| Admit { received: Arc::new(Received { hash, ..(**received).clone() }), ..admit.clone() };
        let submitted = ledger
            .orders
            .values()
            .find(|record| record.request == received.key && is_it(&record.request_hash));
        if let Some((order, hash)) = submitted.map(|record| (record.order.clone(), record.request_hash)) {
            return self.resume(ledger, &as_journaled(hash), order);
        }
        let mut commands = ledger.requests.get(&received.key).into_iter().flatten();
        let command = commands.rfind(|command| is_it(&command.hash)).cloned();
        if let Some(command) = command {
            let admit = as_journaled(command.hash);
            match (command.kind, command.order_id) {
                (RequestKind::Cancel, Some(id)) => {
                    return self.admit_cancel(ledger, &admit, &OrderRef::Order(id));
                }
                (RequestKind::Replace, Some(id)) => return self.resume_replace(ledger, &admit, &command, id),
                (RequestKind::CancelAll, _) => return self.admit_cancel_all(ledger, &admit, None),
                // A repeat that waits for its order.
                (
                    RequestKind::Submit | RequestKind::Unknown | RequestKind::Cancel | RequestKind::Replace,
                    _,
                ) => {}
            }
        }
        if matches!(received.request, Request::Journaled(_)) {
            return Ok(Decision::effect(Effect::Nothing));
        }
        let what = Refused {
            kind: RequestKind::Unknown,
            refusal: Refusal::new(
                Code::InvalidPayload,
                "the entry's body was trimmed from the stream before it was read: send the request again",
            ),
            client_order_id: None,
            order_id: None,
            payload: None,
        };
        Ok(refuse(ledger, received, &what))
    }

    /// An order with this client order id exists: a redelivery, a repeat, or another order.
    fn known(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        spec: &OrderSpec,
        id: OrderId,
        content: ContentHash,
    ) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        let Some(record) = ledger.orders.get(&id) else {
            return Ok(Decision::wait(Wait::Undecided(id)));
        };
        if record.content_hash != content {
            let refusal = Refusal::new(
                Code::DuplicateClientOrderId,
                format!(
                    "client_order_id {} stands for another order, created {}: use a new id, or send the same content",
                    record.order.spec.client_order_id, record.order.state.created_at
                ),
            );
            // The order under that id is another one: this request's end tells nothing of it.
            return Ok(refuse_submit(ledger, received, spec, refusal));
        }
        let order = record.order.clone();
        if record.request == received.key && record.request_hash == received.hash {
            return self.resume(ledger, admit, order);
        }
        Ok(match result_of(&order) {
            // A repeat of a request that is under way gets the same outcome under its own entry.
            None => Decision::wait(Wait::Undecided(id)),
            Some(result) => {
                remember(ledger, received, Some(&order), None);
                let outcome =
                    conclude(ledger, &received.key, received.hash, RequestKind::Submit, Some(&order), result);
                Decision::finish(outcome, Some(order))
            }
        })
    }

    fn admit_new(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        spec: &OrderSpec,
        content: ContentHash,
    ) -> Result<Decision, ApplyError> {
        let broker = self.route(spec.broker.as_ref(), &spec.symbol);
        let asked = Asked { market: &admit.view.market, spec, broker: &broker, held: None, is_new: true };
        let judgement = self.judge(ledger, &asked);
        let deadline = self.profile(&broker).deadline(admit.view.broker_time(&broker, ledger));
        let routed = OrderSpec { broker: Some(broker), ..spec.clone() };
        let created = EventKind::Created(Box::new(routed));
        let limit_price = risk::slippage_bound(spec, &admit.view.market, self.tick_size(&spec.symbol));
        let first = Attempt { attempt: 1, deadline, limit_price };
        let kinds = match &judgement.refusal {
            None => vec![created, EventKind::Validated, EventKind::PendingSubmit(first)],
            Some(refusal) => vec![created, EventKind::Rejected(refusal.clone())],
        };
        let received = &admit.received;
        let lease = Lease {
            owner: admit.view.worker.clone(),
            epoch: 1,
            until: ledger.now.plus_micros(self.lease_us),
        };
        let commit = ledger.create(kinds, |order| OrderRecord {
            order,
            admission: 0,
            request: received.key.clone(),
            request_hash: received.hash,
            content_hash: content,
            answered: false,
            lease,
        })?;
        let order = commit.after.clone();
        let effect = match result_of(&order) {
            None => {
                let journaled_at = ledger.now;
                ledger.changes.attempts.push(AttemptRecord {
                    order_id: order.spec.id,
                    kind: AttemptKind::Submit,
                    number: 1,
                    epoch: 1,
                    journaled_at,
                    answer: None,
                });
                Effect::Submit { order, epoch: 1 }
            }
            Some(result) => {
                let outcome =
                    conclude(ledger, &received.key, received.hash, RequestKind::Submit, Some(&order), result);
                Effect::Finish { outcome, order: Some(order) }
            }
        };
        Ok(Decision { effect, commits: vec![commit] })
    }
}

/// How the request that submits an order ends, once that is known.
pub(super) fn result_of(order: &Order) -> Option<OutcomeResult> {
    match order.state.status {
        Status::PendingSubmit | Status::Submitted if order.state.parked => Some(OutcomeResult::Failed {
            refusal: super::attempt::outcome_unknown(order),
            status: Some(order.state.status),
            payload: None,
        }),
        Status::Created | Status::Validated | Status::PendingSubmit | Status::Submitted => None,
        Status::Rejected => Some(OutcomeResult::Failed {
            refusal: order
                .state
                .refusal
                .clone()
                .unwrap_or_else(|| Refusal::new(Code::BrokerRejected, "rejected")),
            status: Some(Status::Rejected),
            payload: None,
        }),
        status @ (Status::Acknowledged
        | Status::PartiallyFilled
        | Status::Filled
        | Status::Cancelled
        | Status::Expired) => Some(OutcomeResult::Completed(status)),
    }
}

/// A request that could not be decoded, or asks for what cannot be.
pub(super) fn refuse(ledger: &mut Ledger, received: &Received, what: &Refused) -> Decision {
    if let Some(outcome) = ledger.outcome_of(&received.key, &received.hash) {
        return finished_before(ledger, outcome.clone());
    }
    // Another worker could read or journal what this one cannot: its order tells how the request ends.
    let made = |record: &&OrderRecord| record.request == received.key && record.request_hash == received.hash;
    if let Some(record) = ledger.orders.values().find(made) {
        return Decision::wait(Wait::Undecided(record.order.spec.id));
    }
    remember(ledger, received, None, None);
    let outcome = Outcome {
        key: received.key.clone(),
        hash: received.hash,
        request: what.kind,
        order_id: what.order_id,
        client_order_id: what.client_order_id.clone(),
        result: OutcomeResult::Failed {
            refusal: what.refusal.clone(),
            status: None,
            payload: what.payload.clone(),
        },
        order_version: 0,
        timestamp: ledger.now,
    };
    ledger.conclude(outcome.clone());
    Decision::finish(outcome, None)
}

/// A refusal that makes no order: the client order id stays free.
fn refuse_submit(ledger: &mut Ledger, received: &Received, spec: &OrderSpec, refusal: Refusal) -> Decision {
    let what = Refused {
        kind: RequestKind::Submit,
        refusal,
        client_order_id: Some(spec.client_order_id.clone()),
        order_id: None,
        payload: None,
    };
    refuse(ledger, received, &what)
}

/// A refusal about an order that exists and stays as it is.
pub(super) fn refused(
    ledger: &mut Ledger,
    received: &Received,
    kind: RequestKind,
    attempt_version: Option<u64>,
    order: Option<Arc<Order>>,
    refusal: Refusal,
) -> Decision {
    if ledger.request_of(&received.key, &received.hash).is_none() {
        remember(ledger, received, order.as_deref(), attempt_version);
    }
    let status = order.as_ref().map(|order| order.state.status);
    let result = OutcomeResult::Failed { refusal, status, payload: None };
    let outcome = conclude(ledger, &received.key, received.hash, kind, order.as_deref(), result);
    Decision::finish(outcome, order)
}

/// Journals a request that no order's own row stands for. With an attempt it is open until it is concluded.
pub(super) fn remember(
    ledger: &mut Ledger,
    received: &Received,
    order: Option<&Order>,
    attempt_version: Option<u64>,
) {
    let received_at = ledger.now;
    ledger.remember_request(RequestRecord {
        key: received.key.clone(),
        hash: received.hash,
        kind: received.request.kind(),
        order_id: order.map(|order| order.spec.id),
        attempt_version,
        received_at,
        open: attempt_version.is_some(),
    });
}

/// The journal has this request's outcome: what is left is to publish it, with the order as it stands now.
pub(super) fn finished_before(ledger: &Ledger, mut outcome: Outcome) -> Decision {
    let order = outcome.order_id.and_then(|id| ledger.order(&id)).map(|record| record.order.clone());
    if let Some(order) = &order {
        outcome.tell_with(order);
    }
    Decision::finish(outcome, order)
}
