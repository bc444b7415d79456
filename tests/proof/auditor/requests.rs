//! Requests: each that was acknowledged has one outcome, and no outcome says what is not so.

use super::facts::{self, status_of};
use super::{Audit, Facts, Fault};
use crate::harness::Entry;
use crate::producer::Ack;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn judge(facts: &Facts, audit: &mut Audit) {
    let mut by_entry: BTreeMap<&str, Vec<(bool, &Entry)>> = BTreeMap::new();
    for (completed, outcome) in &facts.redis.outcomes {
        by_entry.entry(outcome.text("entry_id")).or_default().push((*completed, outcome));
    }
    for sent in &facts.sent {
        let found = by_entry.remove(sent.entry.as_str()).unwrap_or_default();
        let journaled = facts.journal.entries.contains(&sent.entry);
        // Redis may have thrown it away before anybody read it: nobody owes an outcome.
        let may_be_gone = sent.losses < facts.losses || sent.ack == Ack::Maybe;
        if found.is_empty() && (journaled || !may_be_gone) {
            let known = if journaled { "journaled" } else { "not journaled" };
            let of = sent.client_order_id.as_deref().unwrap_or("-");
            audit.add(Fault::Loss, format!("no outcome for {} {} of {of}, {known}", sent.kind, sent.entry));
        }
        // What Redis lost since may have been told before.
        if found.len() > 1 && sent.losses == facts.losses {
            let all: Vec<String> = found.iter().map(|(_, outcome)| short(outcome)).collect();
            audit.add(Fault::Repeat, format!("{} {}: {}", sent.kind, sent.entry, all.join("; ")));
        }
        for (completed, outcome) in found {
            compare(facts, completed, outcome, audit);
            truth(facts, completed, outcome, audit);
        }
    }
    for (entry, outcomes) in by_entry {
        audit.add(Fault::Lie, format!("{} outcomes for {entry}, which nobody added", outcomes.len()));
    }
    if facts.redis.pending > 0 || facts.redis.held > 0 {
        let (pending, held) = (facts.redis.pending, facts.redis.held);
        audit.add(Fault::Loss, format!("{pending} entries are pending, {held} of them held by a consumer"));
    }
}

fn field<'a>(outcome: &'a Entry, name: &str) -> Option<&'a str> {
    outcome.has(name).then(|| outcome.text(name))
}

/// What a reader of a report needs of it.
fn short(outcome: &Entry) -> String {
    let mut text = format!("outcome {}", outcome.id);
    for name in ["entry_id", "request", "client_order_id", "status", "code", "error", "timestamp"] {
        if let Some(value) = field(outcome, name) {
            text.push_str(&format!(" {name}={value:?}"));
        }
    }
    text
}

/// The journal's own outcome of the same request.
fn compare(facts: &Facts, completed: bool, outcome: &Entry, audit: &mut Audit) {
    let Some(journaled) = facts.journal.outcomes.get(outcome.text("entry_id")) else {
        return audit.add(Fault::Lie, format!("the journal does not have {}", short(outcome)));
    };
    let code = field(outcome, "code");
    let mut same = journaled.code.as_deref() == code && completed == code.is_none();
    // A request without an order has no status in the journal. One that is told late tells its order as it stands
    // then.
    let told = outcome.has("order").then(|| outcome.json("order")["version"].as_u64()).flatten();
    if told.is_none_or(|version| version == journaled.version) {
        let status = field(outcome, "status").unwrap_or("Rejected");
        same &= journaled.status.as_deref().is_none_or(|journaled| journaled == status);
    }
    same &= told.is_none_or(|version| version >= journaled.version);
    if !same {
        audit.add(Fault::Lie, format!("the journal says {journaled:?} of {}", short(outcome)));
    }
}

/// What was executed.
fn truth(facts: &Facts, completed: bool, outcome: &Entry, audit: &mut Audit) {
    if !outcome.has("client_order_id") || !matches!(outcome.text("request"), "submit" | "cancel" | "replace")
    {
        return;
    }
    let code = field(outcome, "code").unwrap_or_default();
    // It tells of another order under the same id; or that nothing is known.
    if matches!(code, "DUPLICATE_CLIENT_ORDER_ID" | "OUTCOME_UNKNOWN") || !outcome.has("order") {
        return;
    }
    // What it said was so then: a trade was corrected or taken back since.
    if field(outcome, "order_id").is_some_and(|id| facts.journal.revised.contains(id)) {
        return;
    }
    let order = outcome.json("order");
    let told = told(&order);
    let executed = facts.executed(outcome.text("client_order_id"));
    let mut lie = |why: &str| {
        audit.add(Fault::Lie, format!("{why}; {executed} were executed: {}", short(outcome)));
    };
    if told > executed {
        lie(&format!("it tells of {told} filled"));
    }
    // An outcome that makes no order stands for the request alone.
    let status = field(outcome, "status").unwrap_or_default();
    if outcome.has("order_id") && status_of(&order) != status {
        lie(&format!("its order is {}", status_of(&order)));
    }
    match status {
        "Rejected" | "Cancelled" | "Expired" if told != executed => lie("nothing more was to be executed"),
        "Filled" if told != executed || order["quantity"].as_str().map(facts::decimal) != Some(Ok(told)) => {
            lie(&format!("Filled with {told}"));
        }
        "Created" | "Validated" | "PendingSubmit" if completed => lie("completed, and not yet at the broker"),
        _ => {}
    }
}

fn told(order: &Value) -> Decimal {
    order["filled_quantity"].as_str().and_then(|text| facts::decimal(text).ok()).unwrap_or(Decimal::ZERO)
}
