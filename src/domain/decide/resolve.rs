//! A person closes what could not be found out: the one decision that rests on no broker's word.

use std::collections::HashSet;

use crate::domain::amount::{Price, Quantity};
use crate::domain::event::{EventKind, Fill, Reason, Replacement, Resolution};
use crate::domain::ledger::{AttemptKind, Ledger};
use crate::domain::order::{ApplyError, Order};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::OrderRef;

use super::attempt::note_answer;
use super::{Decision, Effect};

#[derive(Debug, Clone)]
pub struct Resolve {
    pub order: OrderRef,
    pub verdict: Verdict,
    pub by: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    NotExecuted,
    /// These fills, and no more. For a parked replace: none; the new terms are in force.
    Executed(Vec<HandFill>),
}

/// A fill as a person read it in the broker's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandFill {
    pub quantity: Quantity,
    pub price: Price,
    /// The broker's id, so that the broker's own word of it later is recognised.
    pub trade_id: Option<String>,
}

pub(super) fn resolve(ledger: &mut Ledger, resolve: &Resolve) -> Result<Decision, ApplyError> {
    let id = match &resolve.order {
        OrderRef::Client(id) => ledger.by_client_id.get(id).copied(),
        OrderRef::Order(id) => Some(*id),
    };
    let Some(order) = id.and_then(|id| ledger.order(&id)).map(|record| record.order.clone()) else {
        let reason = format!("no order has the {}", resolve.order);
        return Ok(Decision::effect(Effect::Refused(Refusal::new(Code::UnknownOrder, reason))));
    };
    let refuse =
        |reason: String| Ok(Decision::effect(Effect::Refused(Refusal::new(Code::ValidationFailed, reason))));
    if !order.state.parked {
        return refuse(format!(
            "order {} is {} and not parked: there is nothing to resolve",
            order.spec.client_order_id, order.state.status
        ));
    }
    let executed = !matches!(resolve.verdict, Verdict::NotExecuted);
    let resolution = Resolution { executed, by: resolve.by.clone(), why: resolve.why.clone() };
    let mut kinds = vec![EventKind::Resolved(resolution)];
    match (&resolve.verdict, &order.state.pending_replace) {
        (Verdict::NotExecuted, Some(_)) => {
            kinds.push(EventKind::ReplaceRefused(Reason { reason: said(resolve, "not carried out") }));
        }
        (Verdict::Executed(fills), Some(pending)) if fills.is_empty() => {
            let (terms, number) = (pending.terms.clone(), pending.number);
            kinds.push(EventKind::Replaced(Replacement { terms, number }));
        }
        (Verdict::Executed(_), Some(_)) => {
            return refuse(
                "a parked replace is resolved without fills: the broker tells of those".to_owned(),
            );
        }
        (Verdict::NotExecuted, None) => {
            let refusal = Refusal::new(Code::OutcomeUnknown, said(resolve, "not executed"));
            kinds.push(EventKind::Rejected(refusal));
        }
        (Verdict::Executed(fills), None) => match hand_fills(ledger, &order, fills) {
            Ok(fills) => kinds.extend(fills),
            Err(reason) => return refuse(reason),
        },
    }
    let filled = match &resolve.verdict {
        Verdict::Executed(fills) => {
            fills.iter().try_fold(order.state.filled_quantity, |sum, fill| sum.checked_add(fill.quantity))
        }
        Verdict::NotExecuted => None,
    };
    let rest_is_open =
        order.state.pending_replace.is_none() && filled.is_some_and(|f| f < order.spec.quantity);
    if rest_is_open {
        kinds.push(EventKind::Cancelled(Reason { reason: said(resolve, "the rest was not executed") }));
    }
    let (kind, number) = match &order.state.pending_replace {
        Some(pending) => (AttemptKind::Replace, pending.number),
        None => (AttemptKind::Submit, u64::from(order.state.attempts)),
    };
    note_answer(ledger, order.spec.id, kind, number, "resolved");
    let commits = ledger.append(order.spec.id, kinds)?.into_iter().collect();
    Ok(Decision { effect: Effect::Nothing, commits })
}

fn said(resolve: &Resolve, what: &str) -> String {
    format!("{what}, says {}: {}", resolve.by, resolve.why)
}

fn hand_fills(ledger: &Ledger, order: &Order, fills: &[HandFill]) -> Result<Vec<EventKind>, String> {
    if fills.is_empty() {
        return Err("an executed order needs its fills, as quantity@price".to_owned());
    }
    let mut ids = HashSet::new();
    for fill in fills {
        if fill.quantity.is_zero() {
            return Err("a fill of nothing is none".to_owned());
        }
        let Some(id) = &fill.trade_id else { continue };
        if !ids.insert(id) || ledger.trades.contains_key(&(order.spec.id, id.clone())) {
            return Err(format!("trade {id} of order {} is booked already", order.spec.client_order_id));
        }
    }
    let sum = fills.iter().try_fold(Quantity::ZERO, |sum, fill| sum.checked_add(fill.quantity));
    if sum.is_none_or(|sum| sum > order.remaining_quantity()) {
        return Err(format!(
            "the fills are more than the {} that order {} asked for",
            order.remaining_quantity(),
            order.spec.client_order_id
        ));
    }
    let numbered = fills.iter().zip(1..);
    let fill = |(fill, n): (&HandFill, u32)| {
        let trade_id = fill.trade_id.clone().unwrap_or_else(|| format!("resolved/{}/{n}", order.spec.id));
        EventKind::Fill(Fill {
            trade_id,
            quantity: fill.quantity,
            price: fill.price,
            commission: None,
            executed_at: ledger.now,
            position_sequence: 0,
            contract: None,
        })
    };
    Ok(numbered.map(fill).collect())
}
