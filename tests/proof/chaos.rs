//! What goes wrong, drawn from a seed: each fault begins at its time and ends at its own, so they overlap.

use crate::harness::{Database, Journal, PostgresServer, Random, RedisServer};
use crate::process::Process;
use crate::stage::{CLAIM_IDLE, Stage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the schedule may draw, and how often in relation to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    WorkerKilled,
    WorkerFrozen,
    WorkerTerminated,
    RedisKilled,
    RedisFlushed,
    JournalLocked,
    JournalFull,
    DatabaseKilled,
    DatabaseFrozen,
    ConnectionsTerminated,
    ExchangeFaults,
    ExchangeKilled,
}

impl Trouble {
    const fn weight(self) -> u64 {
        match self {
            Self::WorkerKilled => 50,
            Self::WorkerFrozen | Self::ExchangeFaults => 14,
            Self::WorkerTerminated | Self::JournalLocked | Self::JournalFull | Self::ExchangeKilled => 5,
            Self::ConnectionsTerminated => 8,
            Self::DatabaseKilled | Self::DatabaseFrozen => 4,
            Self::RedisKilled => 3,
            Self::RedisFlushed => 12,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "kills",
            Self::WorkerFrozen => "stalls",
            Self::WorkerTerminated => "drains",
            Self::RedisKilled => "redis kills",
            Self::RedisFlushed => "flushes",
            Self::JournalLocked => "journal locks",
            Self::JournalFull => "full disks",
            Self::DatabaseKilled => "database kills",
            Self::DatabaseFrozen => "database stalls",
            Self::ConnectionsTerminated => "cut connections",
            Self::ExchangeFaults => "fault scripts",
            Self::ExchangeKilled => "exchange kills",
        }
    }
}

/// What ends a trouble.
enum Remedy {
    Start(usize),
    GoOn(usize),
    Redis,
    Database,
    Thaw,
    Unlock,
    Space(usize),
    Exchange,
    NoFaults,
}

/// What can be killed beside workers and exchange.
pub(crate) struct Servers<'a> {
    pub(crate) redis: &'a RedisServer,
    /// Where the journal is in one.
    pub(crate) postgres: Option<&'a PostgresServer>,
}

pub(crate) struct Chaos<'a> {
    stage: &'a Stage,
    servers: Servers<'a>,
    random: Random,
    workers: Vec<Process>,
    troubles: Vec<Trouble>,
    remedies: Vec<(Instant, Remedy)>,
    lock: Option<Journal>,
    redis_is_away: bool,
    database_is_away: bool,
    pub(crate) counts: BTreeMap<Trouble, u64>,
    /// What no trouble explains.
    pub(crate) wrong: Vec<String>,
}

impl<'a> Chaos<'a> {
    pub(crate) fn new(
        stage: &'a Stage,
        servers: Servers<'a>,
        seed: u64,
        workers: usize,
        flush: bool,
    ) -> Self {
        let mut troubles = vec![
            Trouble::WorkerKilled,
            Trouble::WorkerFrozen,
            Trouble::WorkerTerminated,
            Trouble::RedisKilled,
            Trouble::JournalLocked,
        ];
        match stage.database() {
            Database::Sqlite => troubles.push(Trouble::JournalFull),
            Database::Postgres => troubles.extend([
                Trouble::DatabaseKilled,
                Trouble::DatabaseFrozen,
                Trouble::ConnectionsTerminated,
            ]),
        }
        if stage.exchange.is_some() {
            troubles.extend([Trouble::ExchangeFaults, Trouble::ExchangeKilled]);
        }
        if flush {
            troubles.push(Trouble::RedisFlushed);
        }
        let mut chaos = Self {
            stage,
            servers,
            random: Random(seed),
            workers: (0..workers).map(|n| stage.worker(&format!("worker-{n}"))).collect(),
            troubles,
            remedies: Vec::new(),
            lock: None,
            redis_is_away: false,
            database_is_away: false,
            counts: BTreeMap::new(),
            wrong: Vec::new(),
        };
        for worker in &mut chaos.workers {
            worker.start(&stage.worker_command());
        }
        chaos
    }

    pub(crate) fn kills(&self) -> u64 {
        self.counts.get(&Trouble::WorkerKilled).copied().unwrap_or(0)
    }

    pub(crate) fn told(&self) -> String {
        let counts = self.counts.iter().map(|(trouble, count)| format!("{} {count}", trouble.name()));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Makes trouble until there were so many kills, or until `end`.
    pub(crate) async fn run(&mut self, kills: Option<u64>, end: Option<Instant>) {
        let mut next = Instant::now() + Duration::from_millis(500);
        let mut told = Instant::now();
        while kills.is_none_or(|kills| self.kills() < kills) && end.is_none_or(|end| Instant::now() < end) {
            self.remedy(false).await;
            self.supervise();
            if Instant::now() >= next {
                self.trouble().await;
                next = Instant::now() + self.millis(30, 500);
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                println!("  {}", self.told());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.random.below(high - low))
    }

    fn later(&mut self, low: u64, high: u64, remedy: Remedy) {
        let at = Instant::now() + self.millis(low, high);
        self.remedies.push((at, remedy));
    }

    /// Starts again what ended by itself: at its start Redis or the journal may have been away.
    fn supervise(&mut self) {
        for place in 0..self.workers.len() {
            let waits = self.remedies.iter().any(|(_, r)| matches!(r, Remedy::Start(p) if *p == place));
            if !self.workers[place].is_running() && !waits {
                self.later(20, 200, Remedy::Start(place));
            }
            for code in std::mem::take(&mut self.workers[place].exits) {
                // 1 and 4: what it needs was away when it started. 143: SIGTERM came before it could listen.
                if !matches!(code, 0 | 1 | 4 | 143) {
                    self.wrong.push(format!("worker-{place} ended with exit code {code}"));
                }
            }
        }
    }

    async fn trouble(&mut self) {
        let total: u64 = self.troubles.iter().map(|trouble| trouble.weight()).sum();
        let mut draw = self.random.below(total);
        let mut drawn = Trouble::WorkerKilled;
        for trouble in &self.troubles {
            if draw < trouble.weight() {
                drawn = *trouble;
                break;
            }
            draw -= trouble.weight();
        }
        if self.make(drawn).await {
            *self.counts.entry(drawn).or_insert(0) += 1;
        }
    }

    /// Whether it could be made: what is away already cannot go.
    async fn make(&mut self, trouble: Trouble) -> bool {
        let place = usize::try_from(self.random.below(self.workers.len() as u64)).unwrap_or(0);
        match trouble {
            Trouble::WorkerKilled => {
                if !self.workers[place].kill() {
                    return false;
                }
                self.remedies.retain(|(_, r)| !matches!(r, Remedy::GoOn(p) if *p == place));
                self.later(0, 400, Remedy::Start(place));
            }
            Trouble::WorkerFrozen => {
                if self.workers[place].is_frozen() || !self.workers[place].is_running() {
                    return false;
                }
                self.workers[place].stop();
                let lease = u64::try_from(CLAIM_IDLE.as_millis()).unwrap_or(400);
                self.later(lease / 2, lease * 5, Remedy::GoOn(place));
            }
            Trouble::WorkerTerminated => {
                if self.workers[place].is_frozen() || !self.workers[place].is_running() {
                    return false;
                }
                self.workers[place].tell_to_end();
            }
            Trouble::RedisKilled => {
                if self.redis_is_away {
                    return false;
                }
                self.servers.redis.kill();
                self.redis_is_away = true;
                self.later(50, 1500, Remedy::Redis);
            }
            Trouble::RedisFlushed => {
                return !self.redis_is_away && self.stage.producer.lock().await.flush().await.is_ok();
            }
            Trouble::JournalLocked => return self.lock_journal().await,
            Trouble::JournalFull => {
                self.workers[place].fill_disk(true);
                self.later(200, 2500, Remedy::Space(place));
            }
            Trouble::DatabaseKilled | Trouble::DatabaseFrozen => return self.stop_database(trouble),
            Trouble::ConnectionsTerminated => return self.terminate_connections().await,
            Trouble::ExchangeFaults => return self.script().await,
            Trouble::ExchangeKilled => {
                let Some(exchange) = &self.stage.exchange else { return false };
                exchange.lock().await.kill();
                self.later(20, 800, Remedy::Exchange);
            }
        }
        true
    }

    fn stop_database(&mut self, trouble: Trouble) -> bool {
        let Some(postgres) = self.servers.postgres.filter(|_| !self.database_is_away) else { return false };
        self.database_is_away = true;
        if trouble == Trouble::DatabaseKilled {
            tokio::task::block_in_place(|| postgres.kill());
            self.later(100, 2000, Remedy::Database);
        } else {
            tokio::task::block_in_place(|| postgres.freeze());
            self.later(200, 2500, Remedy::Thaw);
        }
        true
    }

    /// Every connection but the one that asks for it, whatever it is doing.
    async fn terminate_connections(&self) -> bool {
        if self.database_is_away {
            return false;
        }
        let Ok(mut journal) = self.stage.journal().await else { return false };
        let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let ended = journal.try_count(all).await;
        journal.close().await;
        ended.is_ok_and(|count| count > 0)
    }

    async fn lock_journal(&mut self) -> bool {
        if self.lock.is_some() || self.database_is_away {
            return false;
        }
        let Ok(mut journal) = self.stage.journal().await else { return false };
        // A frozen worker may hold it.
        if journal.lock().await.is_err() {
            return false;
        }
        self.lock = Some(journal);
        self.later(200, 2800, Remedy::Unlock);
        true
    }

    async fn script(&mut self) -> bool {
        let count = 1 + self.random.below(3);
        let rules: Vec<Value> = (0..count).map(|_| self.rule()).collect();
        let seed = self.random.next() >> 12;
        let Some(exchange) = &self.stage.exchange else { return false };
        if exchange.lock().await.faults(seed, &rules).await.is_err() {
            return false;
        }
        self.remedies.retain(|(_, remedy)| !matches!(remedy, Remedy::NoFaults));
        self.later(300, 4000, Remedy::NoFaults);
        true
    }

    /// A fault that every profile has to bear. What is not shown for longer than `settle_ms` is none of them.
    fn rule(&mut self) -> Value {
        let orders = ["submit", "submit", "submit", "cancel", "replace"];
        let looks = ["query", "open_orders", "transactions"];
        let mut draw = |count: u64| usize::try_from(self.random.below(count)).unwrap_or(0);
        let (on, fault) = match draw(14) {
            0 | 1 => (orders[draw(5)], json!({"execute_then_drop": {}})),
            2 => {
                (orders[draw(5)], json!({"execute_then_status": {"status": ([400, 500, 502, 503][draw(4)])}}))
            }
            3 => (orders[draw(5)], json!({"drop": {}})),
            4 => (orders[draw(5)], json!({"status": {"status": 429, "retry_after_s": 1}})),
            5 => (orders[draw(5)], json!({"status": {"status": ([500, 503][draw(2)])}})),
            6 => (orders[draw(5)], json!({"garbage": {}})),
            7 => ("submit", json!({"land_late": {"after_ms": 50 + draw(900)}})),
            8 => (orders[draw(5)], json!({"delay": {"ms": 50 + draw(600)}})),
            9 => (orders[draw(5)], json!({"silence": {"ms": 100 + draw(600)}})),
            10 => (looks[draw(3)], json!({"lag": {"ms": 20 + draw(100)}})),
            11 => ("transactions", json!({"repeat": {}})),
            12 => ("transactions", json!({"reorder": {}})),
            _ => (looks[draw(3)], json!({"status": {"status": ([429, 500][draw(2)])}})),
        };
        json!({"on": on, "fault": fault, "share": ([0.1, 0.3, 1.0][draw(3)])})
    }

    /// Ends the troubles whose time has come, or all of them.
    async fn remedy(&mut self, all: bool) {
        let now = Instant::now();
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.remedies).into_iter().partition(|(at, _)| all || *at <= now);
        self.remedies = rest;
        for (_, remedy) in due {
            match remedy {
                Remedy::Start(place) => {
                    if !self.workers[place].is_running() {
                        self.workers[place].start(&self.stage.worker_command());
                    }
                }
                Remedy::GoOn(place) => self.workers[place].go_on(),
                Remedy::Space(place) => self.workers[place].fill_disk(false),
                Remedy::Redis => {
                    tokio::task::block_in_place(|| self.servers.redis.restart());
                    self.redis_is_away = false;
                }
                Remedy::Database | Remedy::Thaw => {
                    if let Some(postgres) = self.servers.postgres {
                        tokio::task::block_in_place(|| postgres.restart());
                        postgres.thaw();
                    }
                    self.database_is_away = false;
                }
                Remedy::Unlock => {
                    if let Some(journal) = self.lock.take() {
                        journal.close().await;
                    }
                }
                Remedy::Exchange | Remedy::NoFaults => {
                    self.mend_exchange(matches!(remedy, Remedy::Exchange)).await
                }
            }
        }
    }

    async fn mend_exchange(&mut self, restart: bool) {
        let Some(exchange) = &self.stage.exchange else { return };
        let mut exchange = exchange.lock().await;
        let mended = if restart { exchange.restart().await } else { exchange.faults(0, &[]).await };
        if mended.is_err() {
            drop(exchange);
            self.later(100, 300, if restart { Remedy::Exchange } else { Remedy::NoFaults });
        }
    }

    /// Ends every trouble; all workers run.
    pub(crate) async fn heal(&mut self) {
        for _ in 0..50 {
            self.remedy(true).await;
            self.supervise();
            if self.remedies.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.wrong.push("the exchange could not be healed".to_owned());
    }

    /// Starts again what fell over while the others come to rest.
    pub(crate) async fn keep_alive(&mut self) {
        loop {
            self.remedy(false).await;
            self.supervise();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM for all of them.
    pub(crate) async fn end(&mut self) {
        for place in 0..self.workers.len() {
            // One that ended by itself and was judged for it is not started again only to be ended.
            if !self.workers[place].is_running() && self.workers[place].exits.is_empty() {
                continue;
            }
            let code = self.workers[place].terminate(Duration::from_secs(15)).await;
            // 143: as above, where it was started again just now.
            if !matches!(code, Some(0 | 143)) {
                self.wrong.push(format!("worker-{place}, told to end: exit code {code:?}"));
            }
        }
    }
}
