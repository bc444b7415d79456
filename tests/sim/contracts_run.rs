//! The fakes keep to the same contracts as what they stand for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_execution::domain::amount::Quantity;
use order_execution::domain::decide::Rules;
use order_execution::domain::ids::{EntryId, OrderId};
use order_execution::domain::order::ContentHash;
use order_execution::domain::profile::Profile;
use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::request::{Refused, Request, RequestKind};
use order_execution::domain::time::Timestamp;
use order_execution::ports::broker::Broker;
use order_execution::ports::clock::Clock;

use super::contracts::broker::{BrokerUnderTest, broker_rules};
use super::contracts::journal::{Handle, JournalUnderTest, journal_rules};
use super::contracts::streams::{Consumer, StreamsUnderTest, streams_rules};
use super::exchange::Exchange;
use super::exchange::client::MemoryBroker;
use super::journal::{Database, MemoryJournal};
use super::line::{Line, Weather};
use super::plant::Plant;
use super::process::Process;
use super::redis::client::MemoryRedis;
use super::redis::{Body, Data, Server};
use super::world::{World, WorldClock};

const CLAIM_IDLE_MS: u64 = 500;

/// A world in which nothing goes wrong, and a process in which a rule is tried.
struct Bench {
    world: Arc<World>,
    line: Line,
}

impl Bench {
    fn line(&self) -> Line {
        self.line.clone()
    }
}

struct MemoryUnderTest {
    bench: Arc<Bench>,
    database: Arc<Database>,
}

impl MemoryUnderTest {
    fn new(bench: &Arc<Bench>) -> Self {
        let clock = Arc::new(WorldClock(bench.world.clone()));
        Self { bench: bench.clone(), database: Database::new(clock, None, Plant::default()) }
    }
}

impl JournalUnderTest for MemoryUnderTest {
    async fn open(&self, rules: Rules) -> Handle {
        let (database, line, rules) = (self.database.clone(), self.bench.line(), Arc::new(rules));
        let journal = Arc::new(MemoryJournal { database, line, rules });
        Handle { journal: journal.clone(), reader: journal }
    }

    async fn pass(&self, time: Duration) {
        self.bench.line.sleep(i64::try_from(time.as_micros()).unwrap()).await;
    }

    fn now(&self) -> Timestamp {
        WorldClock(self.bench.world.clone()).now()
    }

    async fn refuse_to_write(&self, client_order_id: &str) {
        self.database.tables().unwritable.insert(client_order_id.to_owned());
    }
}

struct MemoryStreams {
    bench: Arc<Bench>,
    server: Arc<Server>,
    before: Mutex<Data>,
}

impl MemoryStreams {
    fn new(bench: &Arc<Bench>) -> Self {
        let server = Server::new(bench.world.clone(), None, Plant::default(), CLAIM_IDLE_MS);
        Self { bench: bench.clone(), server, before: Mutex::default() }
    }
}

impl StreamsUnderTest for MemoryStreams {
    async fn consumer(&self, name: &str) -> Consumer {
        let redis = Arc::new(MemoryRedis::new(self.server.clone(), self.bench.line(), name.into()));
        Consumer { inbox: Box::new(redis.inbox()), control: redis.clone(), publisher: redis }
    }

    fn claim_idle(&self) -> Duration {
        Duration::from_millis(CLAIM_IDLE_MS)
    }

    async fn add(&self, text: &str) -> EntryId {
        let request = Request::Refused(Box::new(Refused {
            kind: RequestKind::Submit,
            refusal: Refusal::new(Code::InvalidPayload, "a test"),
            client_order_id: None,
            order_id: None,
            payload: None,
        }));
        self.server.add(Body { request, hash: ContentHash::of(text.as_bytes()) })
    }

    async fn pass(&self, time: Duration) {
        self.bench.line.sleep(i64::try_from(time.as_micros()).unwrap()).await;
    }

    async fn lose_all(&self) {
        self.server.empty();
    }

    async fn remember(&self) {
        *self.before.lock().unwrap() = self.server.copy();
    }

    async fn fall_back(&self) {
        let before = self.before.lock().unwrap().clone();
        self.server.restart_with(before);
    }

    async fn trim(&self) {
        self.server.trim();
    }

    async fn versions_out(&self, order: OrderId) -> Vec<(u64, u64)> {
        let data = self.server.data();
        let of_order = data.events.iter().filter(|(id, ..)| *id == order);
        of_order.map(|(_, first, version)| (*first, *version)).collect()
    }

    async fn state(&self, client_order_id: &str) -> Option<String> {
        let data = self.server.data();
        data.states.get(client_order_id).map(|(_, state)| state.to_string())
    }

    async fn outcomes(&self) -> Vec<(EntryId, bool)> {
        let data = self.server.data();
        let mut all: Vec<_> = data.outcomes.iter().map(|told| (told.entry, told.completed)).collect();
        all.sort_by_key(|(_, completed)| !completed);
        all
    }
}

struct MemoryExchange {
    bench: Arc<Bench>,
    exchange: Arc<Exchange>,
    line: Line,
    profile: Profile,
}

impl MemoryExchange {
    fn new(bench: &Arc<Bench>, profile: Profile) -> Self {
        let exchange = Exchange::new(bench.world.clone(), None, profile, Plant::default(), (120_000, 0));
        exchange.calm.store(true, Ordering::Relaxed);
        let line = Line { weather: Weather::new(300), ..bench.line() };
        Self { bench: bench.clone(), exchange, line, profile }
    }
}

impl BrokerUnderTest for MemoryExchange {
    fn profile(&self) -> Profile {
        self.profile
    }

    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(MemoryBroker::new(self.exchange.clone(), self.line.clone()))
    }

    fn now(&self) -> Timestamp {
        WorldClock(self.bench.world.clone()).now()
    }

    async fn pass(&self, time: Duration) {
        self.bench.line.sleep(i64::try_from(time.as_micros()).unwrap()).await;
    }

    async fn lose_answers(&self, lost: bool) {
        self.line.weather.lost_answers.store(if lost { 1000 } else { 0 }, Ordering::Relaxed);
    }

    async fn executed(&self, client_order_id: &str) -> Quantity {
        let books = self.exchange.books();
        let placed = books.orders.get(client_order_id).into_iter().flatten();
        placed.fold(Quantity::ZERO, |sum, placed| sum.checked_add(placed.filled()).unwrap())
    }
}

/// Runs a rule in a process of the world, time going on as it does there; says whether it held.
fn holds(bench: &Bench, rule: std::pin::Pin<Box<dyn Future<Output = ()>>>) -> Result<(), String> {
    let mut process = Process::new(bench.world.now_us());
    let done = process.spawn_local(rule);
    let until = bench.world.now_us() + 600_000_000;
    while bench.world.now_us() < until {
        while let Some(effect) = bench.world.due() {
            effect();
        }
        while !process.run(bench.world.now_us(), 1000).idle {}
        if let Some(result) = done.take() {
            return result;
        }
        bench.world.go_on(5_000);
    }
    Err("it does not come to an end".to_owned())
}

type Table = Vec<(&'static str, std::pin::Pin<Box<dyn Future<Output = ()>>>)>;

/// Every rule of every suite; says how many held and how many did not.
pub(crate) fn run(wanted: &dyn Fn(&str) -> bool) -> (usize, usize) {
    let world = World::new(7, false);
    let (dead, awake) = (Arc::default(), Arc::default());
    let line = Line { world: world.clone(), weather: Weather::new(300), dead, awake, direct: false };
    let bench = Arc::new(Bench { world, line });
    let (mut held, mut broken) = (0, 0);
    let mut try_all = |suite: &str, rules: Table| {
        for (name, rule) in rules {
            let name = format!("sim::contracts::{suite}::{name}");
            if !wanted(&name) {
                continue;
            }
            match holds(&bench, rule) {
                Ok(()) => {
                    println!("test {name} ... ok");
                    held += 1;
                }
                Err(why) => {
                    println!("test {name} ... FAILED: {why}");
                    broken += 1;
                }
            }
        }
    };
    let journal = |bench: Arc<Bench>| async move { MemoryUnderTest::new(&bench) };
    try_all("journal", journal_rules!(as_table, crate::contracts::journal, journal(bench.clone())));
    let streams = |bench: Arc<Bench>| async move { MemoryStreams::new(&bench) };
    try_all("streams", streams_rules!(as_table, crate::contracts::streams, streams(bench.clone())));
    for (suite, profile) in [
        ("broker_forever", Profile::DedupesForever),
        ("broker_open", Profile::OneShot { settle_us: 1_000_000 }),
    ] {
        let broker = |bench: Arc<Bench>| async move { MemoryExchange::new(&bench, profile) };
        try_all(suite, broker_rules!(as_table, crate::contracts, broker(bench.clone())));
    }
    (held, broken)
}
