//! What is SQLite's own. What is promised of every journal is in `tests/contracts/journal`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rust_decimal::Decimal;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::domain::decide::{Admit, Decision, Effect, Execute, Facts, Input, Told, View};
use crate::domain::ids::{EntryId, OrderId, RequestKey};
use crate::domain::ledger::Difference;
use crate::domain::market::Market;
use crate::domain::order::{ContentHash, OrderSpec};
use crate::domain::order_type::{ExecutionInstructions, OrderType, Side, TimeInForce};
use crate::domain::profile::Profile;
use crate::domain::report::Report;
use crate::domain::request::{OrderRef, OutcomeResult, Received, Request};
use crate::domain::risk::Limit;
use crate::domain::risk::LimitRow;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::venue::Venue;
use crate::ports::journal::Journal;
use crate::ports::journal::JournalReader;

/// A clock that stands still until it is moved, and ids that count.
struct TestClock {
    now_us: AtomicU64,
    ids: AtomicU64,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.now_us.load(Ordering::SeqCst)).unwrap())
    }

    fn uuid(&self) -> Uuid {
        let n = u128::from(self.ids.fetch_add(1, Ordering::SeqCst));
        Uuid::from_u128((0x0190_0000_0000_7000_8000_0000_0000_0000 | (n << 96)) + (n << 20))
    }
}

#[derive(Default)]
struct Commits(AtomicU64);

impl JournalObserver for Commits {
    fn committed(&self, _inputs: usize, _took: Duration) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Lab {
    folder: TempDir,
    clock: Arc<TestClock>,
    commits: Arc<Commits>,
}

impl Lab {
    fn new() -> Self {
        let clock = TestClock { now_us: AtomicU64::new(1_800_000_000_000_000), ids: AtomicU64::new(1) };
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(clock), commits: Arc::default() }
    }

    fn settings(&self) -> SqliteSettings {
        SqliteSettings { url: format!("sqlite://{}/journal.db", self.folder.path().display()), readers: 2 }
    }

    async fn open(&self, max_position: i64) -> SqliteJournal {
        let rules = Arc::new(rules());
        let opened =
            SqliteJournal::open(&self.settings(), rules, self.clock.clone(), self.commits.clone()).await;
        let (journal, _writer) = opened.unwrap();
        journal.init_limits(&[limits(max_position)]).await.unwrap();
        journal
    }

    /// Another program at the same file.
    async fn stranger(&self) -> SqliteConnection {
        SqliteConnectOptions::from_str(&self.settings().url).unwrap().connect().await.unwrap()
    }
}

fn rules() -> Rules {
    Rules {
        default_broker: "mock".parse().unwrap(),
        routes: Vec::new(),
        brokers: BTreeSet::from(["mock".parse().unwrap()]),
        venue: Venue {
            seed: 1,
            failure_rate: Decimal::ZERO,
            slippage_pct: Decimal::ZERO,
            commission_pct: Decimal::ONE,
            prices: BTreeMap::new(),
            instruments: BTreeMap::new(),
        },
        max_quote_age_us: 5_000_000,
        session_start_us: 0,
        contracts: Arc::default(),
        breaker: None,
        max_request_age_us: None,
        max_deliveries: 5,
        lease_us: 10_000_000,
        profile: Profile::Embedded,
        retry_us: 30_000_000,
    }
}

fn limits(max_position: i64) -> LimitRow {
    LimitRow { max_position: Limit::At(max_position.into()), ..LimitRow::unlimited("*") }
}

fn spec(n: u64, kind: OrderType) -> OrderSpec {
    OrderSpec {
        id: OrderId(Uuid::from_u128(u128::from(n) + 1)),
        client_order_id: format!("c{n}").parse().unwrap(),
        symbol: "BTCUSDT".parse().unwrap(),
        side: Side::Buy,
        quantity: "1".parse().unwrap(),
        order_type: kind,
        time_in_force: TimeInForce::Gtc,
        broker: None,
        conditions: Vec::new(),
        parent_order_id: None,
        linked_orders: Vec::new(),
        execution_instructions: ExecutionInstructions::default(),
        max_slippage: None,
        position_size_check: None,
        strategy_id: None,
        signal_id: None,
        component_name: None,
        metadata: Some(serde_json::json!({"note": "ü \u{1f980} 'quoted' \"twice\""})),
    }
}

fn market() -> Market {
    Market::Fixed("100".parse().unwrap())
}

fn admit(n: u64, request: Request, deliveries: u32) -> Input {
    Input::Admit(Box::new(Admit {
        received: Arc::new(Received {
            key: RequestKey { lane: "orders".into(), entry: EntryId { ms: 1, seq: n } },
            hash: ContentHash::of(&n.to_be_bytes()),
            request,
            made_at: Timestamp::from_micros(0),
            deliveries,
            traceparent: None,
        }),
        no_older_entries: true,
        view: View { market: market(), clocks: Arc::default(), worker: "w".into() },
    }))
}

fn submit(n: u64) -> Input {
    admit(n, Request::Submit(Box::new(spec(n, OrderType::Market))), 1)
}

fn execute(decision: &Decision) -> Input {
    let Effect::Submit { order, epoch } = &decision.effect else { panic!("{decision:?}") };
    Input::Execute(Execute {
        order_id: order.spec.id,
        broker: order.broker.clone(),
        symbol: order.spec.symbol.clone(),
        epoch: *epoch,
        market: market(),
    })
}

async fn decide(journal: &SqliteJournal, inputs: Vec<Input>) -> Vec<Decision> {
    journal.transact(inputs).await.unwrap().into_iter().map(Result::unwrap).collect()
}

/// What a journal of an older schema did not keep is found out when it is brought up to date, and what follows goes on
/// from there as if it had been kept all along.
#[tokio::test]
async fn an_older_journal_learns_the_books_of_its_strategies() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let of = |n, side, strategy: &str| OrderSpec {
        side,
        strategy_id: Some(strategy.to_owned()),
        ..spec(n, OrderType::Market)
    };
    let resting = OrderSpec {
        quantity: "7".parse().unwrap(),
        ..spec(3, OrderType::Limit { price: "90".parse().unwrap() })
    };
    let specs = [of(0, Side::Buy, "a"), of(1, Side::Sell, "b"), of(2, Side::Buy, "a"), resting];
    for (n, spec) in (0..).zip(specs) {
        let admitted = decide(&journal, vec![admit(n, Request::Submit(Box::new(spec)), 1)]).await;
        decide(&journal, vec![execute(&admitted[0])]).await;
    }
    let before = journal.books().await.unwrap();
    assert_eq!(before.len(), 3, "{before:?}");
    assert_eq!((before[0].1.open_orders, before[0].1.reserved_buy.to_string().as_str()), (1, "7"));
    drop(journal);
    // Back to the schema before, with all that is in it.
    let older = "CREATE TABLE older AS SELECT order_id, trade_id, revision, broker, symbol, side, quantity, price, \
         commission, commission_asset, commission_quote, executed_us, position_sequence FROM trades; \
         DROP TABLE trades; ALTER TABLE older RENAME TO trades; \
         DROP INDEX positions_strategy; DROP TABLE upgrades; DROP TABLE risk_rate; DROP TABLE risk_sessions; \
         DROP TABLE risk_marks; DROP TABLE risk_prices; DROP TABLE risk_fills; DROP TABLE risk_contents; DROP TABLE risk_failures; \
         CREATE TABLE risk_rate (symbol TEXT, at_us INTEGER, orders INTEGER); \
         CREATE TABLE risk_sessions (broker TEXT, symbol TEXT, start_us INTEGER, base TEXT); \
         INSERT INTO risk_sessions VALUES ('mock', 'BTCUSDT', 1799971200000000, '-3'); \
         DELETE FROM positions; DELETE FROM _sqlx_migrations WHERE version = 6";
    let mut stranger = lab.stranger().await;
    sqlx::raw_sql(older).execute(&mut stranger).await.unwrap();
    stranger.close().await.unwrap();
    let journal = lab.open(500).await;
    assert_eq!(journal.books().await.unwrap(), before);
    assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
    let sessions = journal.risk_counters().await.unwrap().sessions;
    assert_eq!(sessions.values().next().unwrap().1.to_string(), "-3");
    let id = spec(2, OrderType::Market).id;
    let trade_id = format!("{id}/1");
    let busted_at = lab.clock.now().plus_micros(1);
    let external =
        Difference { broker: "mock".parse().unwrap(), kind: "x", key: String::new(), details: String::new() };
    let reports = vec![Report::TradeBusted { trade_id, busted_at, reason: "erroneous".to_owned() }];
    let told = vec![Told { order: OrderRef::Order(id), reports, external }];
    let facts = Facts { broker: "mock".parse().unwrap(), told, cursor: None };
    decide(&journal, vec![Input::Facts(Box::new(facts))]).await;
    assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
    assert!(journal.positions().await.unwrap()[0].2.quantity.get().is_zero());
    // Nothing is added up a second time.
    drop(journal);
    let mut stranger = lab.stranger().await;
    sqlx::raw_sql("UPDATE positions SET quantity = '77'").execute(&mut stranger).await.unwrap();
    stranger.close().await.unwrap();
    let journal = lab.open(500).await;
    assert_eq!(journal.positions().await.unwrap()[0].2.quantity.to_string(), "77");
}

/// Limits as a journal kept them before changes were journaled become an event of their own; where there were none there
/// is none.
#[tokio::test]
async fn limits_of_an_older_journal_become_an_event() {
    for with_rows in [true, false] {
        let lab = Lab::new();
        drop(
            SqliteJournal::open(&lab.settings(), Arc::new(rules()), lab.clock.clone(), lab.commits.clone())
                .await,
        );
        let mut older = "DROP TABLE control_events; DROP TABLE outbox_control; DROP TABLE control_revision; \
             DROP TABLE trading_state; DROP TABLE circuits; DROP TABLE risk_limits; CREATE TABLE risk_limits (symbol TEXT, \
             max_order_quantity TEXT, max_order_notional TEXT, max_position TEXT, max_daily_loss TEXT, \
             price_collar_pct TEXT, max_orders_per_second TEXT, changed_us INTEGER, changed_by TEXT); \
             DELETE FROM _sqlx_migrations WHERE version = 5;"
            .to_owned();
        if with_rows {
            older += "INSERT INTO risk_limits VALUES ('*', '1', '2', '3', 'unlimited', '5', '6', 9, 'ann'), \
                      ('BTCUSDT', '1', '2', '4', 'unlimited', '5', '6', 8, 'ann')";
        }
        let mut stranger = lab.stranger().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(older)).execute(&mut stranger).await.unwrap();
        stranger.close().await.unwrap();
        let settings = lab.settings();
        let opened =
            SqliteJournal::open(&settings, Arc::new(rules()), lab.clock.clone(), lab.commits.clone());
        let journal = opened.await.unwrap().0;
        assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
        let control = journal.control().await.unwrap();
        let events = journal.control_events(u64::MAX >> 1, 10).await.unwrap();
        assert_eq!((control.limits.rows().count(), events.len()), if with_rows { (2, 1) } else { (0, 0) });
        if with_rows {
            let row = control.limits.of_symbol(&"BTCUSDT".parse().unwrap()).unwrap();
            assert_eq!((row.max_position, row.max_daily_loss), (Limit::At(4.into()), Limit::Unlimited));
            assert_eq!((events[0].event.by(), events[0].at.micros()), ("ann", 9));
        }
    }
}

#[tokio::test]
async fn while_another_holds_the_file_nothing_is_decided_and_later_it_is() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let mut stranger = lab.stranger().await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut stranger).await.unwrap();
    let refused = journal.transact(vec![submit(0)]).await;
    assert!(
        matches!(&refused, Err(JournalError::Unavailable { why, .. }) if why.contains("locked")),
        "{refused:?}"
    );
    assert!(matches!(journal.probe().await, Err(JournalError::Unavailable { .. })));
    sqlx::query("COMMIT").execute(&mut stranger).await.unwrap();
    journal.probe().await.unwrap();
    let admitted = decide(&journal, vec![submit(0)]).await;
    assert!(matches!(admitted[0].effect, Effect::Submit { .. }));
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_trace_in_memory_either() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let admitted = decide(&journal, vec![submit(0)]).await;
    let mut stranger = lab.stranger().await;
    let trap =
        "CREATE TRIGGER trap BEFORE INSERT ON trades BEGIN SELECT RAISE(ABORT, 'no trades today'); END";
    sqlx::query(trap).execute(&mut stranger).await.unwrap();
    assert!(journal.transact(vec![execute(&admitted[0])]).await.is_err());
    sqlx::query("DROP TRIGGER trap").execute(&mut stranger).await.unwrap();
    let answered = decide(&journal, vec![execute(&admitted[0])]).await;
    let Effect::Finish { outcome, .. } = &answered[0].effect else { panic!("{answered:?}") };
    assert_eq!(outcome.result, OutcomeResult::Completed(Status::Filled));
    assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
}

#[tokio::test]
async fn what_waits_is_committed_together() {
    let lab = Lab::new();
    let journal = Arc::new(lab.open(1000).await);
    let before = lab.commits.0.load(Ordering::SeqCst);
    let calls = (0..100).map(|n| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.transact(vec![submit(n)]).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap()[0].is_ok());
    }
    let commits = lab.commits.0.load(Ordering::SeqCst) - before;
    assert!(commits < 50, "100 calls took {commits} commits");
}

#[tokio::test]
async fn the_file_is_durable_by_what_it_says_itself() {
    let lab = Lab::new();
    let mut conn = connect(&lab.settings().url).await.unwrap();
    assert_durable(&mut conn).await.unwrap();
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut conn).await.unwrap();
    let said = assert_durable(&mut conn).await.unwrap_err().to_string();
    assert!(said.contains("synchronous is 1"), "{said}");
    conn.close().await.unwrap();
}

#[tokio::test]
async fn workers_that_start_together_make_one_schema() {
    for _ in 0..10 {
        let lab = Lab::new();
        let url = lab.settings().url;
        let starting = (0..6).map(|_| migrate(&url));
        for started in futures_util::future::join_all(starting).await {
            started.unwrap();
        }
    }
}
