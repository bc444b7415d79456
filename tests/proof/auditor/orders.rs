//! Orders: the exchange's ledger against the journal.

use super::facts::{Generation, Ledger, Order, Trade};
use super::{Audit, Facts, Fault};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

pub(super) fn judge(facts: &Facts, audit: &mut Audit) {
    for order in &facts.journal.orders {
        let booked = facts.journal.trades.get(&order.id).map_or(&[][..], Vec::as_slice);
        let sum: Decimal = booked.iter().map(|trade| trade.quantity).sum();
        if sum > order.quantity {
            audit.add(Fault::Double, format!("{order}: {sum} are booked"));
        }
        if sum != order.filled {
            audit.add(Fault::Lie, format!("{order}: its trades sum up to {sum}"));
        }
        if order.status == "Filled" && sum < order.quantity {
            audit.add(Fault::Lie, format!("{order}: Filled with {sum}"));
        }
        if order.status == "Rejected" && sum > Decimal::ZERO {
            audit.add(Fault::Lie, format!("{order}: Rejected with {sum} executed"));
        }
        progress(order, audit);
        if order.parked && !facts.profile.may_park() {
            audit.add(Fault::Parked, format!("{order}"));
        }
        if let Some(ledger) = &facts.ledger {
            let generations = ledger.get(&order.client_order_id).map_or(&[][..], Vec::as_slice);
            executions(order, booked, generations, audit);
            standing(order, generations, audit);
        }
    }
    if let Some(ledger) = &facts.ledger {
        strangers(facts, ledger, audit);
    }
}

/// Terminal, at rest, or visibly parked.
fn progress(order: &Order, audit: &mut Audit) {
    if order.parked {
        return;
    }
    if !order.is_terminal() && !order.rests() {
        audit.add(Fault::Loss, format!("{order}: nobody has brought it to an end"));
    }
    if order.command {
        audit.add(Fault::Loss, format!("{order}: a cancel or replace of it was left under way"));
    }
}

fn executions(order: &Order, booked: &[Trade], generations: &[Generation], audit: &mut Audit) {
    let there: Vec<&Trade> = generations.iter().flat_map(|generation| &generation.executions).collect();
    let total: Decimal = there.iter().map(|trade| trade.quantity).sum();
    if total > order.quantity {
        audit.add(Fault::Double, format!("{order}: the exchange executed {total}"));
    }
    let executed = generations.iter().filter(|generation| !generation.executions.is_empty()).count();
    if executed > 1 {
        audit.add(Fault::Double, format!("{order}: the exchange executed it as {executed} orders"));
    }
    let open = generations.iter().filter(|generation| generation.status == "Open").count();
    if open > 1 {
        audit.add(Fault::Double, format!("{order}: {open} orders are open for it"));
    }
    let mut missing: BTreeMap<&str, &Trade> = BTreeMap::new();
    for trade in there {
        if missing.insert(&trade.id, trade).is_some() {
            audit.add(Fault::Run, format!("{order}: the ledger has trade {} twice", trade.id));
        }
    }
    for trade in booked {
        match missing.remove(trade.id.as_str()) {
            None => audit.add(Fault::Double, format!("{order}: booked and not executed: {trade:?}")),
            Some(real) if real != trade => {
                audit.add(Fault::Lie, format!("{order}: booked as {trade:?}, executed as {real:?}"));
            }
            Some(_) => {}
        }
    }
    for trade in missing.values() {
        audit.add(Fault::Loss, format!("{order}: executed and not booked: {trade:?}"));
    }
}

/// How the order stands at the exchange, and what the journal says of that.
fn standing(order: &Order, generations: &[Generation], audit: &mut Audit) {
    let open = generations.iter().find(|generation| generation.status == "Open");
    let last = open.or(generations.last());
    if order.parked {
        if open.is_some() && !order.rests() {
            audit.add(Fault::Loss, format!("{order}: the exchange shows it as open"));
        }
        return;
    }
    if order.is_terminal() {
        if open.is_some() {
            audit.add(Fault::Lie, format!("{order}: it is open at the exchange"));
        }
    } else if order.rests() && open.is_none() {
        let ended = last.map_or("unknown", |generation| &generation.status);
        audit.add(Fault::Loss, format!("{order}: at the exchange it is {ended}"));
    }
    // A refusal by our own risk controls is not known there.
    let works = order.rests() || order.status == "Filled";
    if let Some(last) = last.filter(|_| works) {
        if last.quantity != order.quantity {
            audit.add(Fault::Lie, format!("{order}: the exchange works {}", last.quantity));
        }
        if last.price != order.limit {
            let (told, real) = (order.limit, last.price);
            audit.add(Fault::Lie, format!("{order}: the limit is {told:?}, at the exchange {real:?}"));
        }
    }
}

/// What the exchange has and the journal does not know.
fn strangers(facts: &Facts, ledger: &Ledger, audit: &mut Audit) {
    for (id, generations) in ledger {
        if facts.knows(id) {
            continue;
        }
        for generation in generations {
            if generation.status == "Open" || !generation.executions.is_empty() {
                audit.add(Fault::Loss, format!("the journal does not know order {id}: {generation:?}"));
            }
        }
    }
}
