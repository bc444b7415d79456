//! Admission of a submit: known? valid? within the limits? Then the attempt is journaled.

use std::sync::Arc;

use crate::domain::amount::Amount;
use crate::domain::event::{Attempt, EventKind};
use crate::domain::ledger::{AttemptKind, AttemptRecord, Lease, Ledger, OrderRecord, RequestRecord};
use crate::domain::order::{ApplyError, ContentHash, Order, OrderSpec};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{OrderRef, Outcome, OutcomeResult, Received, Refused, RequestKind};
use crate::domain::risk::{self, RiskView};
use crate::domain::status::Status;

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
        if let Some(id) = ledger.by_client_id.get(&spec.client_order_id).copied() {
            return Ok(self.known(ledger, admit, spec, id, content));
        }
        if let Err(refusal) = self.check(ledger, admit, spec) {
            return Ok(refuse_submit(ledger, received, spec, refusal));
        }
        self.admit_new(ledger, admit, spec, content)
    }

    /// All that is left of the request is its entry: what its first owner journaled of it decides.
    pub(super) fn admit_trimmed(&self, ledger: &mut Ledger, admit: &Admit) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        if let Some(outcome) = ledger.outcomes.get(&received.key).and_then(|outcomes| outcomes.last()) {
            return Ok(finished_before(ledger, outcome.clone()));
        }
        let as_journaled =
            |hash| Admit { received: Arc::new(Received { hash, ..(**received).clone() }), ..admit.clone() };
        let submitted = ledger.orders.values().find(|record| record.request == received.key);
        if let Some((order, hash)) = submitted.map(|record| (record.order.clone(), record.request_hash)) {
            return Ok(self.resume(ledger, &as_journaled(hash), order));
        }
        let command = ledger.requests.get(&received.key).and_then(|requests| requests.last()).cloned();
        if let Some((command, id)) = command.and_then(|command| command.order_id.map(|id| (command, id))) {
            return super::cancel::admit_cancel(ledger, &as_journaled(command.hash), &OrderRef::Order(id));
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
        id: crate::domain::ids::OrderId,
        content: ContentHash,
    ) -> Decision {
        let received = &admit.received;
        let Some(record) = ledger.orders.get(&id) else {
            return Decision::effect(Effect::Wait(Wait::Undecided(id)));
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
            return refuse_submit(ledger, received, spec, refusal);
        }
        let order = record.order.clone();
        if record.request == received.key && record.request_hash == received.hash {
            return self.resume(ledger, admit, order);
        }
        match result_of(&order) {
            // A repeat of a request that is under way gets the same outcome under its own entry.
            None => Decision::effect(Effect::Wait(Wait::Undecided(id))),
            Some(result) => {
                remember(ledger, received, Some(&order), None);
                let outcome =
                    conclude(ledger, &received.key, received.hash, RequestKind::Submit, Some(&order), result);
                Decision::finish(outcome, Some(order))
            }
        }
    }

    /// The request that made the order is back: whoever had it died on the way, or could not publish.
    fn resume(&self, ledger: &mut Ledger, admit: &Admit, order: Arc<Order>) -> Decision {
        let received = &admit.received;
        if let Some(result) = result_of(&order) {
            let outcome =
                conclude(ledger, &received.key, received.hash, RequestKind::Submit, Some(&order), result);
            return Decision::finish(outcome, Some(order));
        }
        let (now, id) = (ledger.now, order.spec.id);
        let Some(record) = ledger.orders.get_mut(&id) else { return Decision::effect(Effect::Nothing) };
        if record.lease.owner != admit.worker && record.lease.until > now {
            return Decision::effect(Effect::Wait(Wait::Undecided(id)));
        }
        record.lease = Lease {
            owner: admit.worker.clone(),
            epoch: record.lease.epoch + 1,
            until: now.plus_micros(self.lease_us),
        };
        let epoch = record.lease.epoch;
        ledger.changes.changed_orders.insert(id);
        Decision::effect(Effect::Execute { order, epoch })
    }

    fn admit_new(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        spec: &OrderSpec,
        content: ContentHash,
    ) -> Result<Decision, ApplyError> {
        let broker = self.route(spec.broker.as_ref(), &spec.symbol);
        let judgement = self.judge(ledger, admit, spec, &broker);
        if judgement.counts_in_rate {
            *ledger.recent_orders.entry(spec.symbol.clone()).or_insert(0) += 1;
            *ledger.changes.counted_orders.entry(spec.symbol.clone()).or_insert(0) += 1;
        }
        let routed = OrderSpec { broker: Some(broker), ..spec.clone() };
        let created = EventKind::Created(Box::new(routed));
        let kinds = match &judgement.refusal {
            None => vec![created, EventKind::Validated, EventKind::PendingSubmit(Attempt { attempt: 1 })],
            Some(refusal) => vec![created, EventKind::Rejected(refusal.clone())],
        };
        let received = &admit.received;
        let lease =
            Lease { owner: admit.worker.clone(), epoch: 1, until: ledger.now.plus_micros(self.lease_us) };
        let commit = ledger.create(kinds, |order| OrderRecord {
            order,
            admission: 0,
            request: received.key.clone(),
            request_hash: received.hash,
            content_hash: content,
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
                Effect::Execute { order, epoch: 1 }
            }
            Some(result) => {
                let outcome =
                    conclude(ledger, &received.key, received.hash, RequestKind::Submit, Some(&order), result);
                Effect::Finish { outcome, order: Some(order) }
            }
        };
        Ok(Decision { effect, commits: vec![commit] })
    }

    fn judge(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        spec: &OrderSpec,
        broker: &crate::domain::ids::BrokerName,
    ) -> risk::Judgement {
        let key = (broker.clone(), spec.symbol.clone());
        let position = ledger.position(&key);
        let session = ledger.now.session_start(self.session_start_us);
        let base = match ledger.sessions.get(&key) {
            Some((start, base)) if *start >= session => *base,
            // The first order of a session sets the mark that its profit and loss count from.
            _ => {
                let market = admit.market.tradable(ledger.now, self.max_quote_age_us);
                let base = market.reference().and_then(|mark| position.equity(mark));
                // Without a mark the order is refused for want of a price, and the next one sets it.
                if let Some(base) = base {
                    ledger.sessions.insert(key.clone(), (session, base));
                    ledger.changes.sessions.insert(key);
                }
                base.unwrap_or(Amount::ZERO)
            }
        };
        let view = RiskView {
            limits: ledger.limits_of(&spec.symbol),
            market: &admit.market,
            position: &position,
            session_base: base,
            recent_orders: ledger.recent_orders.get(&spec.symbol).copied().unwrap_or(0),
            now: ledger.now,
            max_quote_age_us: self.max_quote_age_us,
        };
        risk::judge(spec, &view)
    }
}

/// How the request that submits an order ends, once that is known.
pub(super) fn result_of(order: &Order) -> Option<OutcomeResult> {
    match order.state.status {
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
    });
}

/// The journal has this request's outcome: what is left is to publish it, with the order as it stands now.
pub(super) fn finished_before(ledger: &Ledger, mut outcome: Outcome) -> Decision {
    let order = outcome.order_id.and_then(|id| ledger.order(&id)).map(|record| record.order.clone());
    if let Some(order) = &order {
        // The status is told with the order's JSON, and of the same version.
        match &mut outcome.result {
            OutcomeResult::Completed(status) | OutcomeResult::Failed { status: Some(status), .. } => {
                *status = order.state.status;
            }
            OutcomeResult::Failed { status: None, .. } => {}
        }
        outcome.order_version = order.state.version;
    }
    Decision::finish(outcome, order)
}
