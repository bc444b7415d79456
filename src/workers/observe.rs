//! What was done, for the metrics and the log: each fact is logged here, once.

use std::time::Duration;

use crate::domain::event::EventKind;
use crate::domain::request::OutcomeResult;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::engine::{Batch, Ended};
use crate::runtime::metrics::{Metrics, Stage};

/// Counts and logs a batch that is published.
pub(super) fn observe(metrics: &Metrics, batch: &Batch, now: Timestamp) {
    commits(metrics, batch);
    for ended in batch.ended() {
        outcome(metrics, ended, now);
    }
}

/// Counts and logs what happened to orders.
pub(super) fn commits(metrics: &Metrics, batch: &Batch) {
    let (mut created, mut filled, mut cancelled) = (0, 0, 0);
    for commit in batch.commits() {
        for event in &commit.events {
            match &event.kind {
                EventKind::Created(_) => created += 1,
                EventKind::Cancelled(_) => cancelled += 1,
                EventKind::Parked(why) => tracing::error!(
                    order_id = %commit.order_id, client_order_id = %commit.after.spec.client_order_id, why = why.reason,
                    "ALARM: what became of an order at the broker cannot be found out; it is parked: see `resolve`"
                ),
                EventKind::TradeCorrected(_) | EventKind::TradeBusted(_) => tracing::error!(
                    order_id = %commit.order_id, client_order_id = %commit.after.spec.client_order_id,
                    why = commit.reason.as_deref(),
                    "ALARM: the broker corrected a trade or took it back: order, position and P&L have moved"
                ),
                EventKind::Rejected(refusal) => metrics.orders_rejected(refusal.code.as_str(), 1),
                EventKind::Validated
                | EventKind::PendingSubmit(_)
                | EventKind::Submitted(_)
                | EventKind::Acknowledged(_)
                | EventKind::Fill(_)
                | EventKind::CancelRequested(_)
                | EventKind::CancelRefused(_)
                | EventKind::ReplaceRequested(_)
                | EventKind::ReplaceRefused(_)
                | EventKind::Replaced(_)
                | EventKind::SubmitFailed(_)
                | EventKind::Resolved(_)
                | EventKind::Expired(_)
                | EventKind::Trailed(_)
                | EventKind::Triggered(_)
                | EventKind::Restated(_) => {}
            }
        }
        let order = &commit.after;
        filled += u64::from(commit.passed.contains(&Status::Filled));
        tracing::info!(
            order_id = %order.spec.id,
            client_order_id = %order.spec.client_order_id,
            symbol = %order.spec.symbol,
            status = order.state.status.as_str(),
            version = commit.version(),
            filled_quantity = %order.state.filled_quantity,
            reason = commit.reason.as_deref(),
            "order changed"
        );
    }
    metrics.orders_created(created);
    metrics.orders_filled(filled);
    metrics.orders_canceled(cancelled);
}

fn outcome(metrics: &Metrics, ended: &Ended, now: Timestamp) {
    let outcome = &ended.outcome;
    let entry_us = i64::try_from(outcome.key.entry.ms).unwrap_or(i64::MAX).saturating_mul(1000);
    let took = u64::try_from(now.micros().saturating_sub(entry_us)).unwrap_or(0);
    metrics.order_latency(Stage::Total, Duration::from_micros(took));
    let order_id = outcome.order_id.map(|id| id.to_string());
    let client_order_id = outcome.client_order_id.as_ref().map(|id| id.as_str());
    match &outcome.result {
        OutcomeResult::Completed(status) => tracing::info!(
            order_id, client_order_id, entry_id = %outcome.key.entry,
            request = outcome.request.as_str(), status = status.as_str(), "request completed"
        ),
        OutcomeResult::Swept(swept) => tracing::info!(
            entry_id = %outcome.key.entry, request = outcome.request.as_str(),
            cancelled = swept.cancelled.len(), not_cancelled = swept.not_cancelled.len(), "request completed"
        ),
        OutcomeResult::Failed { refusal, .. } => {
            if !refusal.code.makes_an_order() {
                metrics.requests_failed(refusal.code.as_str(), 1);
            }
            tracing::info!(
                order_id, client_order_id, entry_id = %outcome.key.entry,
                request = outcome.request.as_str(), code = refusal.code.as_str(), error = %refusal.reason, "request failed"
            );
        }
    }
}
