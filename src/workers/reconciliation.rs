//! Looks for what nobody works on any more, for what Redis lost, and for what the broker has otherwise. One worker at
//! a time does it for all; every decision on the way is fenced by itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::crash::{self, Point};
use crate::domain::amount::Amount;
use crate::domain::circuit::CircuitState;
use crate::domain::ids::{RequestKey, Symbol};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::trading_state::{Scope, TradingState};
use crate::engine::{Compared, EngineError};
use crate::ports::inbox::Incarnation;

use super::waiting::Sender;
use super::{Context, observe};

const EVERY: Duration = Duration::from_millis(500);
/// An order whose lease ran out is left to whoever takes its entry over for so long.
const GRACE_US: i64 = 500_000;
/// Requests taken up at a time.
const PAGE: u32 = 256;
/// One that is taken up goes on here by itself; it is looked for again in case it did not.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);
/// Between two comparisons of all open orders with the broker's.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Positions that are other than ours are compared again so soon.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// What changed of late is compared version by version after a restart of Redis: its log may lack a second of it.
const RECENT_US: i64 = 60_000_000;
/// A state is kept for a day unless configured otherwise; older ones are not put back.
const STATES_US: i64 = 86_400_000_000;

/// What this worker saw while it leads.
#[derive(Default)]
struct Seen {
    /// `cancel_all` requests that were taken up, which have no lease of their own, and when.
    sweeps: HashMap<RequestKey, Instant>,
    redis: Option<Incarnation>,
    /// By the journal's clock.
    redis_well_at: Option<Timestamp>,
    compared_at: Option<Instant>,
    broker_was_away: bool,
    positions_at: Option<Instant>,
    /// Where the broker's positions were other than ours when they were compared last.
    positions: BTreeMap<Symbol, (Amount, Amount)>,
}

pub(super) async fn run(context: Context, waiting: Sender) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(EVERY).await;
        trading_state(&context).await;
        match context.engine.leads("reconciliation", context.settings.lease()).await {
            Ok(true) => {}
            // Whoever leads now has seen what we have not.
            Ok(false) => {
                seen = Seen::default();
                continue;
            }
            Err(error) => {
                context.blame("reconciling", &error);
                continue;
            }
        }
        if let Err(error) = abandoned(&context, &waiting, &mut seen).await {
            context.blame("looking for abandoned requests", &error);
        }
        if let Err(error) = redis(&context, &mut seen).await {
            context.blame("looking for what Redis lost", &error);
        }
        if let Err(error) = broker(&context, &mut seen).await {
            seen.broker_was_away = true;
            context.blame("comparing open orders", &error);
        }
        if let Err(error) = positions(&context, &mut seen).await {
            context.blame("comparing positions", &error);
        }
        match context.engine.troubles().await {
            Ok((parked, differences)) => context.metrics.troubles(parked, differences),
            Err(error) => context.blame("counting parked orders", &error),
        }
    }
}

/// For the metrics of every worker: whoever reads those of one sees how all of them trade.
async fn trading_state(context: &Context) {
    match context.engine.reader.control().await {
        Ok(control) => {
            let now = context.engine.clock.now();
            let mut strictest: BTreeMap<&Scope, TradingState> = BTreeMap::new();
            for switch in control.trading.iter() {
                let state = if switch.is_over(now) { TradingState::Active } else { switch.state };
                let known = strictest.entry(&switch.scope).or_insert(state);
                *known = (*known).max(state);
            }
            for circuit in control.circuits.values() {
                let state = match circuit.state {
                    CircuitState::Closed => 0,
                    CircuitState::HalfOpen => 1,
                    CircuitState::Open => 2,
                };
                context.metrics.circuit_breaker_state(circuit.broker.as_str(), state);
            }
            for (scope, state) in strictest {
                let (scope, name) = scope.columns();
                context.metrics.trading_state(scope, &name, state as u64);
            }
        }
        Err(error) => context.blame("reading the trading state", &error.into()),
    }
}

/// Requests whose order nobody has the right to decide about go through the same admission as others.
async fn abandoned(context: &Context, waiting: &Sender, seen: &mut Seen) -> Result<(), EngineError> {
    if context.shutdown.is_cancelled() || waiting.taken() >= context.settings.max_in_flight {
        return Ok(());
    }
    seen.sweeps.retain(|_, taken_up| taken_up.elapsed() < SWEEP_AGAIN);
    let mut found = context.engine.abandoned(GRACE_US, PAGE).await?;
    found.retain(|item| {
        let is_sweep = matches!(item.received.request, Request::Journaled(None));
        let is_new = is_sweep && !seen.sweeps.contains_key(&item.received.key);
        if is_new {
            seen.sweeps.insert(item.received.key.clone(), Instant::now());
        }
        is_new || !is_sweep
    });
    if !found.is_empty() {
        tracing::info!(requests = found.len(), "taking up requests that nobody works on");
    }
    if !found.is_empty() {
        crash::point(Point::ReconcileClaimed);
    }
    for item in found {
        waiting.send(item);
    }
    Ok(())
}

async fn redis(context: &Context, seen: &mut Seen) -> Result<(), EngineError> {
    let engine = &context.engine;
    let asked_at = engine.reader.now().await?;
    seen.redis_well_at.get_or_insert(asked_at);
    let now = engine.control.incarnation().await?;
    let before = seen.redis.clone();
    let is_same = before.as_ref().is_some_and(|before| before.run == now.run);
    if !is_same || !now.kept {
        // What it may have lost is younger than the last look that found it well.
        let looked_at = seen.redis_well_at.unwrap_or(asked_at);
        let recently = asked_at.min(looked_at).plus_micros(-RECENT_US);
        let since = if now.kept { recently } else { asked_at.plus_micros(-STATES_US) };
        engine.control.mark_filling().await?;
        let orders = engine.refresh(since, recently).await?;
        if !engine.control.mark_kept().await? {
            tracing::warn!("Redis was emptied again while states were put back");
            return Ok(());
        }
        if before.is_some() {
            tracing::error!(
                orders,
                kept = now.kept,
                "ALARM: Redis was restarted or emptied; states were put back"
            );
        }
    }
    seen.redis = Some(Incarnation { kept: true, ..now });
    seen.redis_well_at = Some(asked_at);
    Ok(())
}

/// What is other than ours in two comparisons is not on its way: it is written down.
async fn positions(context: &Context, seen: &mut Seen) -> Result<(), EngineError> {
    let engine = &context.engine;
    let pause = if seen.positions.is_empty() { COMPARE_EVERY } else { LOOK_AGAIN };
    let is_away = engine.remote().is_none_or(|broker| !broker.is_connected());
    if is_away || seen.positions_at.is_some_and(|at| at.elapsed() < pause) {
        return Ok(());
    }
    let found = engine.compare_positions().await?;
    let mut lasting = found.clone();
    lasting.retain(|symbol, both| seen.positions.get(symbol) == Some(both));
    if engine.note_differences(engine.position_differences(&lasting)).await? > 0 {
        for (symbol, (theirs, ours)) in &lasting {
            tracing::error!(%symbol, broker = %theirs, journal = %ours, "ALARM: the broker's position is not ours");
        }
    }
    seen.positions_at = Some(Instant::now());
    // What was written down is looked at again with all others.
    seen.positions = found.into_iter().filter(|(symbol, _)| !lasting.contains_key(symbol)).collect();
    Ok(())
}

async fn broker(context: &Context, seen: &mut Seen) -> Result<(), EngineError> {
    let engine = &context.engine;
    let Some(broker) = engine.remote() else { return Ok(()) };
    if !broker.is_connected() {
        broker.connect().await?;
        seen.broker_was_away = true;
    }
    let is_due = seen.compared_at.is_none_or(|at| at.elapsed() >= COMPARE_EVERY) || seen.broker_was_away;
    if !is_due {
        return Ok(());
    }
    let Compared { batch, orders, differences } = engine.compare().await?;
    context.persist("publishing what the broker told", || engine.publish(&batch)).await;
    observe(&context.metrics, &batch, engine.clock.now());
    let found = differences.len();
    for difference in differences.iter().take(10) {
        tracing::warn!(kind = difference.kind, details = difference.details, "a difference with the broker");
    }
    let new = engine.note_differences(differences).await?;
    if new > 0 {
        tracing::error!(
            found,
            new,
            "ALARM: the broker's open orders are not ours; see the table broker_differences"
        );
    }
    tracing::debug!(orders, changed = batch.commits().len(), "open orders compared with the broker's");
    seen.compared_at = Some(Instant::now());
    seen.broker_was_away = false;
    Ok(())
}
