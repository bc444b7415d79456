//! `cancel_all`: the set that it means is journaled first, so that one that a crash interrupted goes on with the
//! same orders; each of them is then cancelled like any other.

use std::collections::HashSet;

use crate::domain::ids::{ClientOrderId, OrderId, RequestKey};
use crate::domain::ledger::{Ledger, Target};
use crate::domain::order::{ApplyError, ContentHash};
use crate::domain::request::{CancelFilter, NotCancelled, OutcomeResult, Refused, RequestKind, Swept};
use crate::domain::status::Status;

use super::admit::{finished_before, refuse, remember};
use super::{Admit, CancelOne, Decision, Effect, Rules, Wait, conclude};

/// Orders that one step works on.
pub const SWEEP_PAGE: usize = 256;
/// Until orders that are under way are looked at again.
const PAUSE_US: i64 = 50_000;

impl Rules {
    /// `filter`: `None` where only the journal still knows what was meant.
    pub(super) fn admit_cancel_all(
        &self,
        ledger: &mut Ledger,
        admit: &Admit,
        filter: Option<&CancelFilter>,
    ) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        if let Some(outcome) = ledger.outcome_of(&received.key, &received.hash) {
            return Ok(finished_before(ledger, outcome.clone()));
        }
        if ledger.request_of(&received.key, &received.hash).is_some() {
            return self.sweep(ledger, admit);
        }
        if let Err(refusal) = self.check_request(ledger, received) {
            let what = Refused {
                kind: RequestKind::CancelAll,
                refusal,
                client_order_id: None,
                order_id: None,
                payload: None,
            };
            return Ok(refuse(ledger, received, &what));
        }
        let Some(filter) = filter else { return Ok(Decision::effect(Effect::Nothing)) };
        // Orders that were added before it are meant too, whoever has them.
        if !admit.no_older_entries {
            return Ok(Decision::wait(Wait::OlderEntries));
        }
        // A set that is empty is journaled like any other.
        remember(ledger, received, None, Some(0));
        for (order_id, client_order_id) in meant(ledger, &received.key, filter) {
            let target = Target { order_id, client_order_id, settled: false, refusal: None };
            let key = (received.key.clone(), received.hash);
            ledger.targets.entry(key).or_default().push(target.clone());
            ledger.changes.targets.push((received.key.clone(), received.hash, target));
        }
        Ok(Decision::wait(Wait::Later { us: 0 }))
    }

    /// One step: what has ended is settled, what is open is asked to be cancelled, what is under way is awaited.
    fn sweep(&self, ledger: &mut Ledger, admit: &Admit) -> Result<Decision, ApplyError> {
        let received = &admit.received;
        let key = (received.key.clone(), received.hash);
        let targets = ledger.targets.get(&key).cloned().unwrap_or_default();
        let (mut commits, mut due, mut waits, mut open) = (Vec::new(), Vec::new(), false, 0);
        for target in targets.iter().filter(|target| !target.settled).take(SWEEP_PAGE) {
            let id = target.order_id;
            open += 1;
            let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else {
                settle(ledger, &key.0, key.1, id, Some("the journal does not have it".to_owned()));
                continue;
            };
            if order.state.status == Status::Cancelled {
                settle(ledger, &key.0, key.1, id, None);
            } else if let Some(refusal) = super::cancel::beyond_commands(&order) {
                settle(ledger, &key.0, key.1, id, Some(refusal.to_string()));
            } else if !order.state.status.is_working() {
                waits = true;
            } else if order.state.pending_cancel {
                // Asked for before, by us or by another request: asking again harms nothing.
                let epoch = ledger.order(&id).map_or(0, |record| record.lease.epoch);
                due.push(CancelOne { order, epoch, number: 0 });
            } else {
                let reason = format!("cancel_all request {}", received.key.entry);
                if let Some((commit, epoch)) = self.request_cancel(ledger, admit, id, reason)? {
                    due.push(CancelOne { order: commit.after.clone(), epoch, number: commit.version() });
                    commits.push(commit);
                }
            }
        }
        let effect = if !due.is_empty() {
            Effect::CancelMany(due)
        } else if waits {
            Effect::Wait(Wait::Later { us: PAUSE_US })
        } else if open > 0 {
            Effect::Wait(Wait::Later { us: 0 })
        } else {
            let result = OutcomeResult::Swept(swept(&targets));
            let outcome = conclude(ledger, &key.0, key.1, RequestKind::CancelAll, None, result);
            Effect::Finish { outcome, order: None }
        };
        Ok(Decision { effect, commits })
    }
}

/// The orders that the journal has, and those that this very transaction brings; but for those whose request was
/// added after this one.
fn meant(ledger: &Ledger, key: &RequestKey, filter: &CancelFilter) -> Vec<(OrderId, ClientOrderId)> {
    let mut orders = ledger.matching.get(key).cloned().unwrap_or_default();
    orders.retain(|(id, _)| ledger.order(id).is_none_or(|record| !record.order.state.status.is_terminal()));
    let new = ledger.changes.new_orders.iter().filter_map(|id| ledger.order(id)).filter(|record| {
        !record.order.state.status.is_terminal()
            && (record.request.lane != key.lane || record.request.entry < key.entry)
            && filter.matches(&record.order.broker, &record.order.spec)
    });
    let known: HashSet<OrderId> = orders.iter().map(|(id, _)| *id).collect();
    let new = new.filter(|record| !known.contains(&record.order.spec.id));
    orders.extend(new.map(|record| (record.order.spec.id, record.order.spec.client_order_id.clone())));
    orders
}

fn swept(targets: &[Target]) -> Swept {
    let mut swept = Swept::default();
    for target in targets {
        let client_order_id = target.client_order_id.clone();
        match &target.refusal {
            None => swept.cancelled.push(client_order_id),
            Some(reason) => {
                swept.not_cancelled.push(NotCancelled { client_order_id, reason: reason.clone() });
            }
        }
    }
    swept
}

/// What became of one of the orders that a `cancel_all` means.
pub(super) fn settle(
    ledger: &mut Ledger,
    key: &RequestKey,
    hash: ContentHash,
    order_id: OrderId,
    refusal: Option<String>,
) {
    let targets = ledger.targets.get_mut(&(key.clone(), hash));
    let Some(target) = targets.into_iter().flatten().find(|target| target.order_id == order_id) else {
        return;
    };
    (target.settled, target.refusal) = (true, refusal);
    let target = target.clone();
    ledger.changes.targets.push((key.clone(), hash, target));
}
