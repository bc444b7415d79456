//! The simulated broker through the trait that every broker has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::simulated::SimulatedBroker;
use crate::adapters::clock::SystemClock;
use crate::adapters::journal::sqlite::{SqliteJournal, SqliteSettings};
use crate::domain::decide::{Admit, Effect, Input, Rules, View};
use crate::domain::event::Terms;
use crate::domain::ids::{BrokerName, EntryId, OrderId, RequestKey, Symbol};
use crate::domain::instrument::Instrument;
use crate::domain::market::{Market, Quote};
use crate::domain::order::{ContentHash, Order, OrderSpec, PendingReplace};
use crate::domain::order_type::{ExecutionInstructions, OrderType, Side, TimeInForce};
use crate::domain::profile::Profile;
use crate::domain::refusal::Code;
use crate::domain::report::Answer;
use crate::domain::request::{Received, Request};
use crate::domain::risk::{LimitRow, RiskApproved};
use crate::domain::venue::Venue;
use crate::ports::broker::{Broker, EmbeddedBroker, Replacing, Submission};
use crate::ports::clock::Clock;
use crate::ports::journal::{Journal, JournalObserver, JournalReader};
use crate::ports::quotes::{Quotes, QuotesError};

#[derive(Default)]
struct Feed(Mutex<HashMap<Symbol, Quote>>);

impl Feed {
    fn say(&self, bid: &str, ask: &str) {
        let quote = Quote {
            bid: Some(bid.parse().unwrap()),
            ask: Some(ask.parse().unwrap()),
            timestamp: Some(SystemClock.now()),
            ..Quote::default()
        };
        self.0.lock().unwrap().insert("GOLD".parse().unwrap(), quote);
    }
}

#[async_trait]
impl Quotes for Feed {
    async fn read(
        &self,
        wanted: &[(BrokerName, Symbol)],
    ) -> Result<HashMap<(BrokerName, Symbol), Quote>, QuotesError> {
        let quotes = self.0.lock().unwrap();
        Ok(wanted.iter().filter_map(|key| Some((key.clone(), quotes.get(&key.1)?.clone()))).collect())
    }
}

struct Nobody;

impl JournalObserver for Nobody {
    fn committed(&self, _inputs: usize, _took: Duration) {}
}

struct Lab {
    broker: SimulatedBroker,
    journal: Arc<SqliteJournal>,
    feed: Arc<Feed>,
    _folder: tempfile::TempDir,
}

async fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let instrument = Instrument { tick_size: Some("0.5".parse().unwrap()), ..Instrument::default() };
    let venue = Venue {
        seed: 1,
        failure_rate: Decimal::ZERO,
        slippage_pct: Decimal::ZERO,
        commission_pct: Decimal::ZERO,
        prices: BTreeMap::new(),
        instruments: BTreeMap::from([("GOLD".parse().unwrap(), instrument)]),
    };
    let rules = Rules {
        default_broker: "mock".parse().unwrap(),
        routes: Vec::new(),
        brokers: BTreeSet::from(["mock".parse().unwrap()]),
        venue: venue.clone(),
        max_quote_age_us: 60_000_000,
        session_start_us: 0,
        contracts: Arc::default(),
        breaker: None,
        max_request_age_us: None,
        max_deliveries: 5,
        lease_us: 10_000_000,
        profile: Profile::Embedded,
        retry_us: 30_000_000,
    };
    let settings = SqliteSettings { url: format!("sqlite://{}/j.db", folder.path().display()), readers: 1 };
    let opened =
        SqliteJournal::open(&settings, Arc::new(rules), Arc::new(SystemClock), Arc::new(Nobody)).await;
    let journal = Arc::new(opened.unwrap().0);
    let row = LimitRow::unlimited("*");
    journal.init_limits(&[row]).await.unwrap();
    let feed = Arc::new(Feed::default());
    feed.say("99", "101");
    let broker = SimulatedBroker::new(
        "mock".parse().unwrap(),
        venue,
        Duration::ZERO,
        journal.clone(),
        journal.clone(),
        feed.clone(),
    );
    Lab { broker, journal, feed, _folder: folder }
}

impl Lab {
    /// Journals the attempt, as the engine does before it asks a broker.
    async fn attempt(&self, n: u64, kind: OrderType, post_only: bool) -> (Arc<Order>, u64) {
        let spec = OrderSpec {
            id: OrderId(Uuid::from_u128(u128::from(n))),
            client_order_id: format!("c{n}").parse().unwrap(),
            symbol: "GOLD".parse().unwrap(),
            side: Side::Buy,
            quantity: "2".parse().unwrap(),
            order_type: kind,
            time_in_force: TimeInForce::Gtc,
            broker: None,
            conditions: Vec::new(),
            parent_order_id: None,
            linked_orders: Vec::new(),
            execution_instructions: ExecutionInstructions { post_only, ..ExecutionInstructions::default() },
            max_slippage: None,
            position_size_check: None,
            strategy_id: None,
            signal_id: None,
            component_name: None,
            metadata: None,
        };
        let received = Received {
            key: RequestKey { lane: "orders".into(), entry: EntryId { ms: n, seq: 0 } },
            hash: ContentHash::of(&n.to_be_bytes()),
            request: Request::Submit(Box::new(spec)),
            made_at: SystemClock.now(),
            deliveries: 1,
            traceparent: None,
        };
        let market = Market::Quoted(self.feed.0.lock().unwrap().values().next().unwrap().clone());
        let view = View { market, clocks: Arc::default(), worker: "w".into() };
        let admit = Admit { received: Arc::new(received), no_older_entries: true, view };
        let decided = self.journal.transact(vec![Input::Admit(Box::new(admit))]).await.unwrap();
        match decided.into_iter().next().unwrap().unwrap().effect {
            Effect::Submit { order, epoch } => (order, epoch),
            other => panic!("{other:?}"),
        }
    }

    async fn submit(&self, n: u64, kind: OrderType, post_only: bool) -> (Arc<Order>, Answer) {
        let (order, epoch) = self.attempt(n, kind, post_only).await;
        let approved = RiskApproved::journaled(&order).unwrap();
        let outcome = self.broker.submit(Submission { order: approved, epoch, deadline: None }).await;
        (order, outcome)
    }
}

fn limit(price: &str) -> OrderType {
    OrderType::Limit { price: price.parse().unwrap() }
}

#[tokio::test]
async fn it_answers_as_any_broker_does() {
    let lab = lab().await;
    lab.broker.connect().await.unwrap();
    assert!(lab.broker.is_connected());
    lab.broker.ping().await.unwrap();
    let (filled, outcome) = lab.submit(1, OrderType::Market, false).await;
    assert_eq!(outcome, Answer::Accepted(Vec::new()));
    let (resting, outcome) = lab.submit(2, limit("98"), false).await;
    assert_eq!(outcome, Answer::Accepted(Vec::new()));
    let (_, outcome) = lab.submit(3, limit("101"), true).await;
    assert!(
        matches!(&outcome, Answer::Rejected(refusal) if refusal.code == Code::BrokerRejected),
        "{outcome:?}"
    );

    let found = lab.broker.query(&filled).await.unwrap();
    assert_eq!(found.reports, Some(Vec::new()), "its books are the journal: it adds nothing");
    let mut unknown = (*filled).clone();
    unknown.spec.id = OrderId(Uuid::from_u128(99));
    assert_eq!(lab.broker.query(&unknown).await.unwrap().reports, None);
    let open = lab.broker.open_orders().await.unwrap();
    assert_eq!(open.iter().map(|o| o.client_order_id.to_string()).collect::<Vec<_>>(), ["c2"]);
    let positions = lab.broker.positions().await.unwrap();
    assert_eq!(
        (
            positions[0].quantity.to_string().as_str(),
            positions[0].average_price.unwrap().to_string().as_str()
        ),
        ("2", "101")
    );
    assert_eq!(lab.broker.instruments().await.unwrap().len(), 1);
    assert_eq!(lab.broker.account().await.unwrap(), None);
    assert!(lab.broker.updates(0).await.unwrap().told.is_empty());
    let mut asked = (*resting).clone();
    let asked_at = asked.state.created_at;
    asked.state.pending_replace =
        Some(PendingReplace { number: 1, terms: Terms::default(), asked_at, deadline: None });
    let approved = RiskApproved::replacing(&asked, 1).unwrap();
    let replacing = Replacing { order: approved, number: 1, terms: &Terms::default(), deadline: None };
    assert!(matches!(lab.broker.replace(replacing).await, Answer::NotSent(_)), "so do replaces");
    assert!(
        matches!(lab.broker.cancel(&resting).await, Answer::NotSent(_)),
        "cancels come with their request"
    );
    lab.broker.disconnect().await.unwrap();
}

#[tokio::test]
async fn the_same_attempt_submitted_twice_executes_once() {
    let lab = lab().await;
    let (order, epoch) = lab.attempt(1, OrderType::Market, false).await;
    for _ in 0..3 {
        let approved = RiskApproved::journaled(&order).unwrap();
        let outcome = lab.broker.submit(Submission { order: approved, epoch, deadline: None }).await;
        assert_eq!(outcome, Answer::Accepted(Vec::new()));
    }
    assert_eq!(lab.journal.positions().await.unwrap()[0].2.quantity.to_string(), "2");
    let (order, epoch) = lab.attempt(2, OrderType::Market, false).await;
    let stale =
        Submission { order: RiskApproved::journaled(&order).unwrap(), epoch: epoch + 1, deadline: None };
    assert!(matches!(lab.broker.submit(stale).await, Answer::Unknown(_)), "another epoch's attempt");
}

#[tokio::test]
async fn resting_orders_meet_a_quote_once_and_only_when_it_moves() {
    let lab = lab().await;
    lab.submit(1, limit("98"), false).await;
    assert!(lab.broker.follow_quotes().await.unwrap().iter().all(|d| d.commits.is_empty()));
    assert!(lab.broker.follow_quotes().await.unwrap().is_empty(), "nothing moved");
    lab.feed.say("96", "97");
    let met = lab.broker.follow_quotes().await.unwrap();
    assert_eq!(met.iter().map(|d| d.commits.len()).sum::<usize>(), 1);
    assert!(lab.broker.follow_quotes().await.unwrap().is_empty());
    // One that came to rest after the quote was looked at is looked at again.
    lab.submit(2, limit("95"), false).await;
    lab.feed.say("94", "95");
    lab.broker.follow_quotes().await.unwrap();
    lab.submit(3, limit("94.5"), false).await;
    lab.broker.rested(&"mock".parse().unwrap(), &"GOLD".parse().unwrap());
    assert_eq!(lab.broker.follow_quotes().await.unwrap().len(), 1);
}
