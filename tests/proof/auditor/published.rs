//! Events and states in Redis against the journal.

use super::facts::{self, Order, status_of};
use super::{Audit, Facts, Fault};
use std::collections::BTreeMap;

pub(super) fn judge(facts: &Facts, audit: &mut Audit) {
    if facts.journal.unpublished > 0 {
        let rows = facts.journal.unpublished;
        audit.add(Fault::Loss, format!("{rows} rows of the journal are not marked as published"));
    }
    let seen = events(facts, audit);
    let mut stateless = Vec::new();
    for order in &facts.journal.orders {
        let told = seen.get(order.id.as_str()).copied().unwrap_or(0);
        if told != order.version {
            audit.add(Fault::Loss, format!("{order}: its events are out up to version {told}"));
        }
        if !state(facts, order, audit) {
            stateless.push(order);
        }
    }
    // What ended before Redis lost its data is not told again.
    stateless.retain(|order| facts.losses == 0 || !order.is_terminal());
    if let Some(first) = stateless.first() {
        audit.add(Fault::Loss, format!("{} orders have no state in Redis, {first} for one", stateless.len()));
    }
    for id in facts.redis.states.keys() {
        if !facts.knows(id) {
            audit.add(Fault::Lie, format!("a state of {id}, which the journal does not have"));
        }
    }
}

/// The versions up to which a reader that drops what it has seen has come, by order.
fn events<'a>(facts: &'a Facts, audit: &mut Audit) -> BTreeMap<&'a str, u64> {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &facts.redis.events {
        let order = entry.text("order_id");
        let number = |field: &str| entry.text(field).parse::<u64>().unwrap_or(0);
        let (first, last) = (number("first_version"), number("version"));
        let before = seen.entry(order).or_insert(0);
        if first > *before + 1 {
            audit.add(
                Fault::Lie,
                format!("order {order}: a gap before version {first}: {before} came before"),
            );
        }
        *before = (*before).max(last);
        let commits = facts.journal.commits.get(order).map_or(&[][..], Vec::as_slice);
        let journaled = commits.iter().find(|commit| commit.first == first);
        if !journaled.is_some_and(|commit| {
            commit.last == last && commit.event_ids == facts::ids(&entry.json("events"))
        }) {
            audit.add(Fault::Lie, format!("order {order}: published, and journaled otherwise: {entry}"));
        }
    }
    seen
}

/// Whether it has one.
fn state(facts: &Facts, order: &Order, audit: &mut Audit) -> bool {
    let Some(state) = facts.redis.states.get(&order.client_order_id) else { return false };
    let filled = state["filled_quantity"].as_str().map(facts::decimal);
    if state["version"].as_u64() != Some(order.version)
        || status_of(state) != order.status
        || filled != Some(Ok(order.filled))
        || state["parked"].as_bool() != Some(order.parked)
    {
        audit.add(
            Fault::Lie,
            format!(
                "{order}: its state says {}, version {}, filled {}, parked {}",
                status_of(state),
                state["version"],
                state["filled_quantity"],
                state["parked"]
            ),
        );
    }
    true
}
