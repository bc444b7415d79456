//! Everything of one run: the services, what it is like on the way to them, and how a worker is put together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use order_execution::adapters::brokers::simulated::SimulatedBroker;
use order_execution::domain::decide::Rules;
use order_execution::domain::profile::Profile;
use order_execution::domain::risk::Limit;
use order_execution::domain::trading_state::{Scope, TradingState};
use order_execution::engine::{Engine, Forgettable, Link};
use order_execution::ports::clock::Clock;
use order_execution::ports::journal::Journal;
use order_execution::runtime::health::Health;
use order_execution::runtime::metrics::Metrics;
use order_execution::runtime::shutdown::Shutdown;
use order_execution::workers::{self, Context, Ended, Limits};
use rust_decimal::Decimal;
use tokio::sync::Semaphore;

use super::auditor::Auditor;
use super::contracts::fixture;
use super::exchange::client::MemoryBroker;
use super::exchange::{Exchange, PRICE};
use super::journal::{Database, MemoryJournal};
use super::line::{Line, Weather};
use super::plant::Plant;
use super::process::Process;
use super::redis::Server;
use super::redis::client::MemoryRedis;
use super::world::{World, WorldClock};

pub(crate) const SYMBOLS: [&str; 3] = ["BTCUSDT", "EUR_USD", "GOLD"];
pub(crate) const MAX_POSITION: i64 = 25;
pub(crate) const LEASE_US: i64 = 3_000_000;
const CLAIM_IDLE: Duration = Duration::from_secs(1);
const SETTLE_US: i64 = 1_500_000;
/// The longest that the exchange's books lag behind: less than the time that a profile allows for.
const LAG_US: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Embedded,
    Forever,
    Deadline,
    Oneshot,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Embedded, Self::Forever, Self::Deadline, Self::Oneshot];

    const fn profile(self) -> Profile {
        match self {
            Self::Embedded => Profile::Embedded,
            Self::Forever => Profile::DedupesForever,
            Self::Deadline => Profile::Deadline { valid_for_us: 2_000_000, settle_us: SETTLE_US },
            Self::Oneshot => Profile::OneShot { settle_us: SETTLE_US },
        }
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

pub(crate) struct Site {
    pub(crate) world: Arc<World>,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) database: Arc<Database>,
    pub(crate) server: Arc<Server>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) to_database: Arc<Weather>,
    pub(crate) to_redis: Arc<Weather>,
    pub(crate) to_broker: Arc<Weather>,
    pub(crate) kind: Kind,
    pub(crate) rules: Arc<Rules>,
    metrics: Metrics,
}

/// A worker and what is known of it from outside.
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) name: Arc<str>,
    pub(crate) shutdown: Shutdown,
    /// It ended by itself.
    pub(crate) ended: Arc<AtomicBool>,
    pub(crate) awake: Arc<AtomicBool>,
}

impl Site {
    /// A person uses the kill switch.
    pub(crate) fn switch(&self, scope: Scope, state: TradingState) {
        self.database.switch(&self.rules, scope, state);
    }

    pub(crate) fn new(seed: u64, kind: Kind, plant: Plant, verbose: bool) -> Self {
        let world = World::new(seed, verbose);
        let auditor = Auditor::new(world.clone(), MAX_POSITION.into());
        let clock: Arc<dyn Clock> = Arc::new(WorldClock(world.clone()));
        let database = Database::new(clock, Some(auditor.clone()), plant);
        auditor.watch(&database);
        let claim_ms = u64::try_from(CLAIM_IDLE.as_millis()).unwrap();
        let server = Server::new(world.clone(), Some(auditor.clone()), plant, claim_ms);
        let clocks = (world.between(-300_000, 300_000), if world.chance(700) { LAG_US } else { 0 });
        let exchange = Exchange::new(world.clone(), Some(auditor.clone()), kind.profile(), plant, clocks);
        let price = || Decimal::from(PRICE).to_string().parse().unwrap();
        let mut rules = fixture::rules(kind.profile());
        rules.venue.prices =
            SYMBOLS.map(|name| (fixture::symbol(name), price())).into_iter().collect::<BTreeMap<_, _>>();
        (rules.venue.commission_pct, rules.lease_us, rules.retry_us) = (Decimal::ZERO, LEASE_US, 3_000_000);
        Self {
            to_database: Weather::new(2_000),
            to_redis: Weather::new(1_000),
            to_broker: Weather::new(20_000),
            rules: Arc::new(rules),
            metrics: Metrics::new(),
            world,
            auditor,
            database,
            server,
            exchange,
            kind,
        }
    }

    fn line(&self, weather: &Arc<Weather>, process: &Process, awake: &Arc<AtomicBool>) -> Line {
        Line {
            world: self.world.clone(),
            weather: weather.clone(),
            dead: process.dead.clone(),
            awake: awake.clone(),
            direct: false,
        }
    }

    pub(crate) fn journal(&self, line: Line) -> Arc<MemoryJournal> {
        Arc::new(MemoryJournal { database: self.database.clone(), line, rules: self.rules.clone() })
    }

    /// A worker's process as `app` starts it, with its adapters put in the place of the real ones.
    pub(crate) fn start(&self, name: &str) -> Worker {
        let process = Process::new(self.world.now_us());
        let name: Arc<str> = name.into();
        let (awake, ended, shutdown) =
            (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)), Shutdown::new());
        let clock: Arc<dyn Clock> = Arc::new(WorldClock(self.world.clone()));
        let journal = self.journal(self.line(&self.to_database, &process, &awake));
        let to_redis = self.line(&self.to_redis, &process, &awake);
        let redis = Arc::new(MemoryRedis::new(self.server.clone(), to_redis.clone(), name.clone()));
        let to_broker = self.line(&self.to_broker, &process, &awake);
        let broker = if self.kind == Kind::Embedded {
            Link::Embedded(Arc::new(SimulatedBroker::new(
                fixture::broker(),
                self.rules.venue.clone(),
                Duration::ZERO,
                journal.clone(),
                journal.clone(),
                redis.clone(),
            )))
        } else {
            let broker = MemoryBroker::new(self.exchange.clone(), to_broker);
            Link::Remote(Arc::new(broker), Arc::new(Semaphore::new(16)))
        };
        let engine = Engine {
            rules: self.rules.clone(),
            journal: journal.clone(),
            reader: journal.clone(),
            broker,
            publisher: redis.clone(),
            quotes: redis.clone(),
            control: redis.clone(),
            clock,
            worker: name.clone(),
            forgettable: Forgettable::default(),
        };
        // Of this process alone: its clock is no other's.
        let health = Health::new();
        let context = Context {
            engine: Arc::new(engine),
            metrics: self.metrics.clone(),
            calls: self.metrics.exchange_call("mock", "submit"),
            redis: health.component("redis", None),
            journal: health.component("journal", None),
            shutdown: shutdown.token(),
            settings: Limits {
                max_in_flight: 64,
                command_wait: Duration::from_secs(2),
                heartbeat: CLAIM_IDLE / 3,
                drain_timeout: Duration::from_secs(5),
                claim_idle: CLAIM_IDLE,
            },
        };
        let (world, has_ended) = (self.world.clone(), ended.clone());
        process.spawn(async move {
            let rows = [fixture::limits(Limit::At(MAX_POSITION.into()))];
            while journal.init_limits(&rows).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let inbox = Box::new(redis.inbox());
            if workers::start(context, inbox).drained().await == Ended::Broken {
                world.fail("a loop of a worker has ended that never should".to_owned());
            }
            has_ended.store(true, Ordering::Relaxed);
        });
        Worker { process, name, shutdown, ended, awake }
    }
}
