//! What brokers tell without being asked: their feeds, and the comparison of their books with ours. Facts are merged
//! whoever brings them; what the journal does not know is written down as a difference and never guessed at.

use std::sync::Arc;

use crate::domain::ids::{BrokerName, OrderId};
use crate::domain::ledger::{Commit, Difference, Ledger};
use crate::domain::order::ApplyError;
use crate::domain::report::Report;
use crate::domain::request::OrderRef;

use super::attempt::merge as merge_reports;
use super::{Decision, Effect};

#[derive(Debug, Clone)]
pub struct Facts {
    pub broker: BrokerName,
    pub told: Vec<Told>,
    /// How far the feed is read with these; the journal's own never goes back.
    pub cursor: Option<u64>,
}

/// What is told of one order, in the sequence in which it was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub order: OrderRef,
    pub reports: Vec<Report>,
    /// What to write down where the journal does not have the order.
    pub external: Difference,
}

pub(super) fn merge(ledger: &mut Ledger, facts: &Facts) -> Decision {
    let mut commits = Vec::new();
    for told in &facts.told {
        let id = match &told.order {
            OrderRef::Client(id) => ledger.by_client_id.get(id).copied(),
            OrderRef::Order(id) => Some(*id),
        };
        let Some(order) = id.and_then(|id| ledger.order(&id)).map(|record| record.order.clone()) else {
            ledger.changes.differences.push(told.external.clone());
            continue;
        };
        match merge_reports(ledger, &order, &told.reports) {
            Ok(more) => commits.extend(more),
            Err(_) => commits.extend(one_by_one(ledger, order.spec.id, told)),
        }
    }
    if let Some(cursor) = facts.cursor {
        ledger.changes.cursors.insert(facts.broker.clone(), cursor);
    }
    Decision { effect: Effect::Nothing, commits }
}

/// A fact that cannot be booked must not keep its neighbours out; it is written down as a difference of its own.
fn one_by_one(ledger: &mut Ledger, id: OrderId, told: &Told) -> Vec<Arc<Commit>> {
    let mut commits = Vec::new();
    for report in &told.reports {
        let Some(order) = ledger.order(&id).map(|record| record.order.clone()) else { break };
        match merge_reports(ledger, &order, std::slice::from_ref(report)) {
            Ok(more) => commits.extend(more),
            Err(error) => ledger.changes.differences.push(unbookable(&told.external, &error)),
        }
    }
    commits
}

fn unbookable(told: &Difference, error: &ApplyError) -> Difference {
    let details = format!("{error}; told: {}", told.details);
    // Another fact of the same order is another difference.
    let key = format!("{}: {error}", told.key);
    Difference { kind: "cannot_be_booked", key, details, ..told.clone() }
}
