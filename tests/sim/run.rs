//! One run: the scheduler, what goes wrong on purpose, and the end.

use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use order_execution::domain::ids::{EntryId, RequestKey};
use order_execution::domain::trading_state::{Scope, TradingState};
use order_execution::engine::replay::replay;

use super::line::Line;
use super::plant::Plant;
use super::process::Strike;
use super::producer::Producer;
use super::redis::client::LANE;
use super::site::{Kind, SYMBOLS, Site, Worker};
use super::world::START_US;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) kind: Kind,
    pub(crate) requests: u64,
    pub(crate) plant: Plant,
    pub(crate) verbose: bool,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    pub(crate) failure: Option<String>,
    /// Tasks polled.
    pub(crate) polls: u64,
    /// Effects at the fakes.
    pub(crate) effects: u64,
    pub(crate) trace: u64,
    pub(crate) virtual_us: i64,
    pub(crate) requests: u64,
    pub(crate) orders: u64,
    pub(crate) kills: u64,
    pub(crate) freezes: u64,
    pub(crate) losses: u64,
    pub(crate) parked: u64,
}

/// How long requests are sent and things go wrong.
const ACTIVE_US: i64 = 8_000_000;
/// Nothing is on its way for longer.
const LATEST_US: i64 = 8_000_000;
/// How long it may take until all is quiet again.
const PATIENCE_US: i64 = 180_000_000;
/// A timer may ring so late.
const LATE_US: i64 = 30_000;
/// Timers have a millisecond's grain.
const GRAIN_US: i64 = 1_000;

struct Slot {
    worker: Option<Worker>,
    restart_at: i64,
    generation: u64,
}

struct Run {
    site: Site,
    slots: Vec<Slot>,
    report: Report,
    /// Things go wrong.
    stormy: bool,
    next_trouble: i64,
    /// Redis may lose data in this run.
    lossy: bool,
}

pub(crate) fn run(plan: &Plan) -> Report {
    let site = Site::new(plan.seed, plan.kind, plan.plant, plan.verbose);
    let producer = Producer::new(site.world.clone(), site.server.clone());
    producer.schedule(plan.requests, ACTIVE_US);
    let lossy = site.world.chance(250);
    let slots = (0..plan.workers).map(|_| Slot { worker: None, restart_at: 0, generation: 0 }).collect();
    let mut run = Run { site, slots, report: Report::default(), stormy: true, next_trouble: START_US, lossy };
    run.until(START_US + ACTIVE_US, |_| false);
    run.heal();
    // What was sent meanwhile arrives, however late.
    run.until_within(LATEST_US, |_| false);
    let rested = run.until_within(PATIENCE_US, Run::is_quiet);
    let unrest = (!rested).then(|| run.unrest());
    // What still rests at the broker ends.
    run.site.exchange.close();
    producer.cancel_all();
    let ended = run.until_within(PATIENCE_US, |run| run.is_quiet() && run.has_ended());
    if let Some(why) = unrest.or_else(|| (!ended).then(|| run.unrest())) {
        run.site.world.fail(format!("it does not come to rest: {why}"));
    }
    run.finish(&producer)
}

impl Run {
    fn world_now(&self) -> i64 {
        self.site.world.now_us()
    }

    fn until_within(&mut self, us: i64, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.world_now() + us;
        self.until(until, done)
    }

    /// Goes on until then, or until `done`, which is asked every tenth of a second; says whether it was.
    fn until(&mut self, until: i64, done: impl Fn(&Self) -> bool) -> bool {
        let mut ask_at = self.world_now();
        loop {
            let now = self.world_now();
            if self.site.world.has_failed() || now >= until {
                return false;
            }
            if now >= ask_at {
                if done(self) {
                    return true;
                }
                ask_at = now + 100_000;
            }
            if self.stormy && now >= self.next_trouble {
                self.trouble();
                self.next_trouble = now + self.site.world.between(20_000, 400_000);
            }
            self.step(now);
        }
    }

    /// Everything that is due at this time, in a sequence that chance gives; then time goes on.
    fn step(&mut self, now: i64) {
        let mut busy = false;
        while let Some(effect) = self.site.world.due() {
            effect();
            busy = true;
            // Now and then somebody looks in between.
            if self.site.world.has_failed() || self.site.world.chance(300) {
                break;
            }
        }
        let first = usize::try_from(self.site.world.below(self.slots.len() as u64)).unwrap();
        for nth in 0..self.slots.len() {
            let nth = (first + nth) % self.slots.len();
            busy |= self.run_one(nth, now);
            if self.site.world.has_failed() {
                return;
            }
        }
        if !busy {
            let quantum = self.site.world.between(GRAIN_US, LATE_US);
            self.site.world.go_on(quantum);
        }
    }

    /// Polls some tasks of a worker; says whether it has more.
    fn run_one(&mut self, nth: usize, now: i64) -> bool {
        let slot = &mut self.slots[nth];
        let Some(worker) = &mut slot.worker else {
            if now >= slot.restart_at {
                slot.generation += 1;
                // A name may come back, as that of a container does.
                let generation = if self.site.world.chance(200) { 0 } else { slot.generation };
                slot.worker = Some(self.site.start(&format!("w{nth}-{generation}")));
            }
            return false;
        };
        if now < worker.process.frozen_until {
            return false;
        }
        if worker.ended.load(Ordering::Relaxed) {
            slot.worker = None;
            slot.restart_at = now + self.site.world.between(10_000, 500_000);
            return false;
        }
        let is_awake = worker.awake.swap(false, Ordering::Relaxed);
        if let Some(strike) = worker.process.strike.filter(|_| is_awake) {
            worker.process.strike = None;
            worker.awake.store(true, Ordering::Relaxed);
            self.strike(nth, strike);
            return false;
        }
        if !is_awake && now < worker.process.look_at {
            return false;
        }
        let budget = self.site.world.below(12) + 1;
        let ran = worker.process.run(now, budget);
        self.report.polls += ran.polls;
        if ran.idle {
            worker.process.look_at = now + self.site.world.between(GRAIN_US, LATE_US);
        } else {
            worker.awake.store(true, Ordering::Relaxed);
        }
        !ran.idle
    }

    fn kill(&mut self, nth: usize) {
        let slot = &mut self.slots[nth];
        let Some(worker) = slot.worker.take() else { return };
        self.site.world.say(|| format!("KILL {}", worker.name));
        worker.process.kill();
        self.site.world.effect("kill", nth as u64);
        slot.restart_at = self.site.world.now_us() + self.site.world.between(10_000, 2_500_000);
        self.report.kills += 1;
    }

    /// Now, or when an answer has come for it and it has not acted on that yet.
    fn strike_at_some_time(&mut self, nth: usize, strike: Strike) {
        if self.site.world.chance(500) {
            return self.strike(nth, strike);
        }
        if let Some(worker) = &mut self.slots[nth].worker {
            worker.process.strike = Some(strike);
        }
    }

    fn strike(&mut self, nth: usize, strike: Strike) {
        match strike {
            Strike::Kill => self.kill(nth),
            Strike::Freeze(us) => {
                if let Some(worker) = &mut self.slots[nth].worker {
                    worker.process.frozen_until = self.site.world.now_us() + us;
                    self.site.world.effect("freeze", nth as u64);
                    self.report.freezes += 1;
                }
            }
        }
    }

    /// One thing goes wrong.
    fn trouble(&mut self) {
        let (world, now) = (self.site.world.clone(), self.world_now());
        let nth = usize::try_from(world.below(self.slots.len() as u64)).unwrap();
        let weathers = [&self.site.to_database, &self.site.to_redis, &self.site.to_broker];
        let weather = weathers[usize::try_from(world.below(3)).unwrap()].clone();
        match world.below(100) {
            0..22 => self.strike_at_some_time(nth, Strike::Kill),
            22..40 => {
                let long = if world.chance(300) { 9_000_000 } else { 1_500_000 };
                self.strike_at_some_time(nth, Strike::Freeze(world.between(5_000, long)));
            }
            40..46 => {
                if let Some(worker) = &self.slots[nth].worker {
                    worker.shutdown.trigger("it is asked to");
                    worker.awake.store(true, Ordering::Relaxed);
                    world.effect("drain", nth as u64);
                }
            }
            46..58 => weather.away_for(now, world.between(10_000, 1_200_000)),
            58..72 => {
                weather.lost.store(world.below(200), Ordering::Relaxed);
                weather.lost_answers.store(world.below(200), Ordering::Relaxed);
            }
            72..80 => weather.clear(),
            80..88 => self.site.database.end_lease(world.below(u64::MAX)),
            88..91 => self.site.server.take_for_dead(world.below(u64::MAX)),
            91..94 => self.switch(),
            94..97 if self.lossy => {
                self.report.losses += 1;
                self.site.server.empty();
            }
            97..100 if self.lossy => {
                self.report.losses += 1;
                // It comes back without what it was told in the last moment.
                let (copy, server) = (self.site.server.copy(), self.site.server.clone());
                world.after(world.between(1_000, 1_000_000), move || server.restart_with(copy));
            }
            _ => {}
        }
    }

    /// Somebody uses the kill switch, and in most cases thinks better of it.
    fn switch(&self) {
        let world = &self.site.world;
        let scope = match world.below(3) {
            0 => Scope::All,
            nth => Scope::Symbol(SYMBOLS[usize::try_from(nth).unwrap()].parse().unwrap()),
        };
        let state = [TradingState::Halted, TradingState::ReduceOnly, TradingState::Active]
            [usize::try_from(world.below(3)).unwrap()];
        self.site.switch(scope.clone(), state);
        if world.chance(800) {
            let (database, rules) = (self.site.database.clone(), self.site.rules.clone());
            world.after(world.between(50_000, 1_500_000), move || {
                database.switch(&rules, scope, TradingState::Active);
            });
        }
    }

    /// Nothing goes wrong any more, and everybody is there.
    fn heal(&mut self) {
        self.stormy = false;
        let scopes =
            [Scope::All].into_iter().chain(SYMBOLS.map(|symbol| Scope::Symbol(symbol.parse().unwrap())));
        scopes.for_each(|scope| self.site.switch(scope, TradingState::Active));
        for weather in [&self.site.to_database, &self.site.to_redis, &self.site.to_broker] {
            weather.clear();
        }
        self.site.exchange.calm.store(true, Ordering::Relaxed);
        for slot in &mut self.slots {
            slot.restart_at = 0;
            if let Some(worker) = &mut slot.worker {
                (worker.process.frozen_until, worker.process.strike) = (0, None);
                worker.awake.store(true, Ordering::Relaxed);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        !self.site.server.has_entries()
            && self.site.database.is_quiet()
            && self.unpublished().is_none()
            && self.feed_is_read()
    }

    /// The journal has heard everything that the exchange has to tell.
    fn feed_is_read(&self) -> bool {
        self.site.kind == Kind::Embedded
            || self.site.database.tables().cursor() >= self.site.exchange.books().told()
    }

    fn has_ended(&self) -> bool {
        let tables = self.site.database.tables();
        let ended = |record: &order_execution::domain::ledger::OrderRecord| {
            record.order.state.status.is_terminal() || record.order.state.parked
        };
        tables.orders.values().all(ended)
    }

    /// An order whose last version is not what Redis shows.
    fn unpublished(&self) -> Option<String> {
        let tables = self.site.database.tables();
        let data = self.site.server.data();
        for (id, client, version) in tables.orders.values().map(|record| {
            (record.order.spec.id, &record.order.spec.client_order_id, record.order.state.version)
        }) {
            let (out, state) = (data.versions.get(&id).copied(), data.states.get(client).map(|s| s.0));
            if out != Some(version) || state != Some(version) {
                return Some(format!("{client} has version {version}, published {out:?}, shown {state:?}"));
            }
        }
        None
    }

    fn unrest(&self) -> String {
        let open: Vec<String> = {
            let tables = self.site.database.tables();
            let open = tables.orders.values().filter(|r| r.is_open() || !r.order.state.status.is_terminal());
            let mut open: Vec<String> = open
                .map(|record| {
                    let order = &record.order;
                    format!(
                        "{} {} answered={} lease={}",
                        order.spec.client_order_id, order.state.status, record.answered, &record.lease.owner
                    )
                })
                .collect();
            let requests = tables.requests.values().flatten().filter(|request| request.open);
            open.extend(requests.map(|request| format!("{:?} {}", request.kind, request.key)));
            open.sort();
            open
        };
        let unmarked = self.site.database.tables().unmarked();
        format!(
            "entries left: {:?}, open: {open:?}, unpublished: {:?}, not marked: {:?}, the feed is read: {}",
            self.site.server.left(),
            self.unpublished(),
            unmarked,
            self.feed_is_read()
        )
    }

    fn finish(mut self, producer: &Producer) -> Report {
        let world = self.site.world.clone();
        if !world.has_failed() {
            self.compare(producer);
        }
        for slot in &mut self.slots {
            if let Some(worker) = slot.worker.take() {
                worker.process.kill();
            }
        }
        let tables = self.site.database.tables();
        let parked = tables.orders.values().filter(|record| record.order.state.parked).count() as u64;
        Report {
            failure: world.failure(),
            effects: world.effects(),
            trace: world.trace(),
            virtual_us: world.now_us() - START_US,
            requests: producer.entries().len() as u64,
            orders: tables.orders.len() as u64,
            parked,
            ..self.report
        }
    }

    /// What must hold at the end.
    fn compare(&self, producer: &Producer) {
        let world = &self.site.world;
        let reader = self.site.journal(Line::direct(world));
        match replay(&*reader).now_or_never() {
            Some(Ok(report)) if report.is_equal() => {}
            other => world.fail(format!("replay: {other:?}")),
        }
        let tables = self.site.database.tables();
        let books = self.site.exchange.books();
        self.site.auditor.compare(&tables, &books.orders, self.site.kind == Kind::Embedded);
        let ended: std::collections::HashSet<RequestKey> =
            tables.outcomes.iter().map(|outcome| outcome.key.clone()).collect();
        for entry in producer.entries() {
            let has_outcome = ended.contains(&RequestKey { lane: LANE.into(), entry });
            if !has_outcome && !self.may_be_lost(entry) {
                world.fail(format!("lost: entry {entry} has no outcome"));
            }
            if has_outcome && !self.site.auditor.was_told(entry) {
                world.fail(format!("lost: the outcome of entry {entry} was never told"));
            }
        }
    }

    /// What nobody had journaled goes where Redis goes.
    fn may_be_lost(&self, entry: EntryId) -> bool {
        self.site.auditor.has_lost_data() && !self.site.server.has(entry)
    }
}
