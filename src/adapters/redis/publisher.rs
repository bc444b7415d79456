//! The one way out: `scripts/publish.lua`, fed with values.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use redis::Cmd;

use crate::domain::ids::{EntryId, OrderId};
use crate::domain::trading_state::Switch;
use crate::planted::{self, Bug};
use crate::ports::publisher::{
    Answers, Finish, FinishAnswer, OrderAnswer, OrderUpdate, Publication, PublishError, Publisher, STALE_MS,
};

use super::Shared;
use super::connect::{RedisFault, Script};

/// Of one script call: Redis does nothing else meanwhile, and Lua hands over a few thousand values at most.
const MAX_ORDERS: usize = 256;
const MAX_COMMITS: usize = 1024;
const MAX_FINISHES: usize = 256;
const MAX_FORGET: usize = 1024;
/// What is finished and marked is remembered for so long: longer than the journal's word counts.
const REMEMBER_MS: u64 = 6 * STALE_MS;
/// What the script reads before the orders.
const HEAD: usize = 16;
/// Keys before those of the orders.
const FIXED_KEYS: usize = 6;
/// How much longer the published version is known than the state that carries it.
const VERSION_OUTLIVES_STATE_SECONDS: u64 = 60;

pub struct RedisPublisher {
    shared: Arc<Shared>,
    script: Script,
}

impl RedisPublisher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, script: Script::new(lua()) }
    }
}

fn lua() -> &'static str {
    let lua = include_str!("scripts/publish.lua");
    if planted::is(Bug::FinishWithoutOwner) {
        return lua.replacen("if mine[id] then", "if true then", 1).leak();
    }
    lua
}

#[async_trait]
impl Publisher for RedisPublisher {
    async fn now_ms(&self) -> Result<u64, PublishError> {
        let answer: Result<(u64, u64), _> = self.shared.link.query(&redis::cmd("TIME")).await;
        let failed = |fault| PublishError { what: "time".to_owned(), source: Box::new(fault) };
        answer.map(|(seconds, micros)| seconds * 1000 + micros / 1000).map_err(failed)
    }

    async fn publish(&self, publication: &Publication) -> Result<Answers, PublishError> {
        let mut answers = Answers {
            orders: Vec::with_capacity(publication.orders.len()),
            finishes: Vec::with_capacity(publication.finishes.len()),
        };
        for call in calls(publication) {
            let failed = |fault| PublishError {
                what: format!("{} orders, {} outcomes", call.orders.len(), call.finishes.len()),
                source: Box::new(fault),
            };
            let cmd = command(&self.shared, &self.script, &call);
            let numbers: Vec<i64> = self.shared.link.run(&self.script, &cmd).await.map_err(failed)?;
            take(&self.shared, &call, &numbers, &mut answers).map_err(failed)?;
        }
        Ok(answers)
    }

    async fn tell_switch(&self, switch: &Switch) -> Result<(), PublishError> {
        let channel = &self.shared.names.trading_state;
        let failed = |source| PublishError { what: channel.clone(), source };
        let message = serde_json::to_string(switch).map_err(|error| failed(Box::new(error)))?;
        let told: Result<u64, _> =
            self.shared.link.query(redis::cmd("PUBLISH").arg(channel).arg(message)).await;
        told.map(drop).map_err(|fault| failed(Box::new(fault)))
    }
}

/// A part of a publication that one script call carries.
#[derive(Debug, Clone, Copy, Default)]
struct Call<'a> {
    orders: &'a [OrderUpdate],
    finishes: &'a [Finish],
    forget: &'a [EntryId],
}

/// Orders before the outcomes that wait for them, outcomes before what is forgotten; usually all in one.
fn calls(publication: &Publication) -> Vec<Call<'_>> {
    let mut calls = Vec::with_capacity(1);
    let mut rest = publication.orders.as_slice();
    while !rest.is_empty() {
        let mut commits = 0;
        let fits = |update: &&OrderUpdate| {
            commits += update.commits.len().max(1);
            commits <= MAX_COMMITS
        };
        let count = rest.iter().take(MAX_ORDERS).take_while(fits).count().max(1);
        let (orders, others) = rest.split_at(count);
        calls.push(Call { orders, ..Call::default() });
        rest = others;
    }
    for (nth, finishes) in publication.finishes.chunks(MAX_FINISHES).enumerate() {
        match calls.last_mut() {
            Some(last) if nth == 0 => last.finishes = finishes,
            _ => calls.push(Call { finishes, ..Call::default() }),
        }
    }
    for (nth, forget) in publication.forget.chunks(MAX_FORGET).enumerate() {
        match calls.last_mut() {
            Some(last) if nth == 0 => last.forget = forget,
            _ => calls.push(Call { forget, ..Call::default() }),
        }
    }
    calls
}

/// Version keys of a call, each once; the script counts them from 1.
#[derive(Default)]
struct VersionKeys {
    slots: HashMap<OrderId, usize>,
    orders: Vec<OrderId>,
}

impl VersionKeys {
    fn slot(&mut self, order: OrderId) -> usize {
        *self.slots.entry(order).or_insert_with(|| {
            self.orders.push(order);
            self.orders.len()
        })
    }
}

fn command(shared: &Shared, script: &Script, call: &Call<'_>) -> Cmd {
    let (names, settings) = (&shared.names, &shared.settings);
    let mut versions = VersionKeys::default();
    let order_slots: Vec<usize> = call.orders.iter().map(|update| versions.slot(update.order_id)).collect();
    let finish_slots: Vec<usize> =
        call.finishes.iter().map(|f| f.after.map_or(0, |(order, _)| versions.slot(order))).collect();
    let keys = FIXED_KEYS + versions.orders.len() + call.orders.len();
    let (arguments, bytes) = size(call);
    let mut cmd = script.command(keys + HEAD + arguments, keys * 64 + HEAD * 32 + bytes, keys);

    cmd.arg(&names.pending).arg(&names.completed).arg(&names.failed).arg(&names.events).arg(&names.finished);
    cmd.arg(&names.marked);
    for order in &versions.orders {
        cmd.arg(names.version(*order));
    }
    for update in call.orders {
        cmd.arg(names.state(&update.client_order_id));
    }

    let (lowest, highest) = bounds(call.finishes);
    let state_ttl = settings.state_ttl.as_secs().max(1);
    cmd.arg(&settings.group).arg(&settings.consumer).arg(&names.status).arg(&names.heartbeats);
    cmd.arg(settings.event_history).arg(settings.outcome_history.unwrap_or(0));
    cmd.arg(state_ttl).arg(state_ttl.saturating_add(VERSION_OUTLIVES_STATE_SECONDS));
    cmd.arg(lowest).arg(highest);
    cmd.arg(call.orders.len()).arg(call.finishes.len()).arg(versions.orders.len()).arg(call.forget.len());
    cmd.arg(STALE_MS).arg(REMEMBER_MS);

    for (update, slot) in call.orders.iter().zip(order_slots) {
        order_arguments(&mut cmd, update, slot);
    }
    let states: HashMap<*const u8, usize> =
        call.orders.iter().zip(1..).map(|(update, nth)| (update.state.as_ptr(), nth)).collect();
    for (finish, slot) in call.finishes.iter().zip(finish_slots) {
        let sent = finish.order.as_ref().and_then(|order| states.get(&order.as_ptr())).copied();
        finish_arguments(&mut cmd, finish, slot, sent);
    }
    for entry in call.forget {
        cmd.arg(entry.to_string());
    }
    cmd
}

fn order_arguments(cmd: &mut Cmd, update: &OrderUpdate, slot: usize) {
    cmd.arg(slot).arg(update.order_id.to_string()).arg(update.client_order_id.as_str()).arg(&*update.state);
    cmd.arg(update.version)
        .arg(flag(update.terminal))
        .arg(flag(update.oldest_unpublished))
        .arg(update.commits.len());
    for commit in &update.commits {
        cmd.arg(commit.first_version).arg(commit.version).arg(commit.status);
        cmd.arg(&*commit.events).arg(&commit.message);
    }
}

/// `sent`: which order's state, counted from 1, is the outcome's `order`; else it follows as a field.
fn finish_arguments(cmd: &mut Cmd, finish: &Finish, slot: usize, sent: Option<usize>) {
    let order = finish.order.as_deref().filter(|_| sent.is_none());
    cmd.arg(finish.entry.to_string()).arg(flag(finish.completed));
    cmd.arg(slot).arg(finish.after.map_or(0, |(_, version)| version)).arg(sent.unwrap_or(0));
    cmd.arg(finish.unpublished_at_ms.unwrap_or(0));
    cmd.arg((finish.fields.len() + usize::from(order.is_some())) * 2);
    if let Some(order) = order {
        cmd.arg("order").arg(order);
    }
    for (name, value) in &finish.fields {
        cmd.arg(*name).arg(value.as_slice());
    }
}

const fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

/// About how many arguments follow the head, and how many bytes they have.
fn size(call: &Call<'_>) -> (usize, usize) {
    let (mut arguments, mut bytes) = (call.forget.len(), call.forget.len() * 24);
    for update in call.orders {
        arguments += 8 + 5 * update.commits.len();
        bytes += 128 + update.state.len();
        bytes += update.commits.iter().map(|c| 64 + c.events.len() + c.message.len()).sum::<usize>();
    }
    for finish in call.finishes {
        arguments += 9 + 2 * finish.fields.len();
        bytes += 64 + finish.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    }
    (arguments, bytes)
}

/// The ids between which the entries lie.
fn bounds(finishes: &[Finish]) -> (String, String) {
    let ids = || finishes.iter().map(|finish| finish.entry);
    match (ids().min(), ids().max()) {
        (Some(lowest), Some(highest)) => (lowest.to_string(), highest.to_string()),
        _ => ("-".to_owned(), "+".to_owned()),
    }
}

/// The script's numbers, as answers.
fn take(shared: &Shared, call: &Call<'_>, numbers: &[i64], answers: &mut Answers) -> Result<(), RedisFault> {
    let strange = || shared.link.fault(format!("the publishing script answered {numbers:?}"));
    if numbers.len() != call.orders.len() + call.finishes.len() {
        return Err(strange());
    }
    let (orders, finishes) = numbers.split_at(call.orders.len());
    for number in orders {
        answers.orders.push(match u64::try_from(*number) {
            Ok(version) => OrderAnswer::Published(version),
            Err(_) => OrderAnswer::Behind((-1 - number).unsigned_abs()),
        });
    }
    for (finish, number) in call.finishes.iter().zip(finishes) {
        let answer = match number {
            0 => FinishAnswer::Done,
            1 => FinishAnswer::FinishedAlready,
            2 => FinishAnswer::Anothers,
            3 => FinishAnswer::Gone,
            4 => FinishAnswer::Behind,
            _ => return Err(strange()),
        };
        if answer != FinishAnswer::Behind {
            shared.handed.end(finish.entry);
        }
        answers.finishes.push(answer);
    }
    Ok(())
}
