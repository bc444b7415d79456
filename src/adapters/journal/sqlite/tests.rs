//! The journal on a real file: what is promised of a transaction, seen from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rust_decimal::Decimal;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::domain::amount::{Amount, Price};
use crate::domain::decide::{Admit, Decision, Effect, Execute, Facts, Input, Told, View};
use crate::domain::event::{Commission, Terms};
use crate::domain::ids::{EntryId, OrderId, RequestKey};
use crate::domain::ledger::Difference;
use crate::domain::market::Market;
use crate::domain::order::{ContentHash, OrderSpec};
use crate::domain::order_type::{ExecutionInstructions, OrderType, Side, TimeInForce};
use crate::domain::profile::Profile;
use crate::domain::refusal::Code;
use crate::domain::report::{Report, ReportedCorrection, ReportedFill};
use crate::domain::request::{OrderRef, OutcomeResult, Received, Request};
use crate::domain::risk::Limit;
use crate::domain::risk::LimitRow;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::venue::Venue;
use crate::ports::journal::Journal;
use crate::ports::journal::JournalReader;
use crate::ports::publisher::Published;

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
        max_request_age_us: None,
        max_deliveries: 5,
        lease_us: 10_000_000,
        profile: Profile::Embedded,
        retry_us: 30_000_000,
    }
}

fn limits(max_position: i64) -> LimitRow {
    LimitRow {
        symbol: "*".into(),
        max_order_quantity: Limit::Unlimited,
        max_order_notional: Limit::Unlimited,
        max_position: Limit::At(max_position.into()),
        max_daily_loss: Limit::Unlimited,
        price_collar_pct: Limit::Unlimited,
        max_orders_per_second: Limit::Unlimited,
    }
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

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
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

#[tokio::test]
async fn an_order_is_kept_with_everything_that_happened_to_it() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let admitted = decide(&journal, vec![submit(0), submit(1)]).await;
    let answered = decide(&journal, admitted.iter().map(execute).collect()).await;
    for (decision, n) in answered.iter().zip(0..) {
        let Effect::Finish { order: Some(order), .. } = &decision.effect else { panic!("{decision:?}") };
        let id: OrderRef = OrderRef::Client(format!("c{n}").parse().unwrap());
        assert_eq!(journal.order(&id).await.unwrap().as_ref(), Some(&**order));
        let events = journal.events(order.spec.id).await.unwrap();
        assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
    let positions = journal.positions().await.unwrap();
    assert_eq!(positions[0].2.quantity.to_string(), "2");
    assert_eq!(positions[0].2.commission.to_string(), "2");
    assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
}

/// What the broker tells of an order, in a transaction of its own.
async fn tell(journal: &SqliteJournal, report: Report) {
    let external =
        Difference { broker: "mock".parse().unwrap(), kind: "x", key: String::new(), details: String::new() };
    let order = OrderRef::Client("c0".parse().unwrap());
    let told = vec![Told { order, reports: vec![report], external }];
    let facts = Facts { broker: "mock".parse().unwrap(), told, cursor: None };
    decide(journal, vec![Input::Facts(Box::new(facts))]).await;
}

#[tokio::test]
async fn trades_that_were_wrong_and_restated_terms_are_kept_as_they_are_told() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let order =
        OrderSpec { quantity: "9".parse().unwrap(), ..spec(0, OrderType::Limit { price: price("90") }) };
    let admitted = decide(&journal, vec![admit(0, Request::Submit(Box::new(order)), 1)]).await;
    decide(&journal, vec![execute(&admitted[0])]).await;
    let commission =
        Commission { asset: "X".to_owned(), amount: amount("0.5"), quote_value: Some(amount("0.25")) };
    let at = lab.clock.now();
    let fill = |id: &str, quantity: &str| {
        Report::Fill(ReportedFill {
            trade_id: id.to_owned(),
            quantity: quantity.parse().unwrap(),
            price: price("90"),
            commission: Some(commission.clone()),
            executed_at: at,
        })
    };
    let corrected = Report::TradeCorrected(ReportedCorrection {
        trade_id: "a".to_owned(),
        quantity: "2".parse().unwrap(),
        price: price("89"),
        commission: None,
        corrected_at: at.plus_micros(1),
        reason: "misreported".to_owned(),
    });
    let busted =
        Report::TradeBusted { trade_id: "b".to_owned(), busted_at: at, reason: "erroneous".to_owned() };
    let terms = Terms { quantity: Some("8".parse().unwrap()), price: Some(price("91")), stop_price: None };
    let restated = Report::Restated { terms, reason: "by telephone".to_owned(), restated_at: at };
    // Each twice, in transactions of their own: what was told before is read back from the disk.
    for report in [fill("a", "3"), fill("b", "4"), corrected, busted, restated] {
        tell(&journal, report.clone()).await;
        tell(&journal, report).await;
        assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
    }
    let order = journal.order(&OrderRef::Client("c0".parse().unwrap())).await.unwrap().unwrap();
    assert_eq!(order.state.status, Status::PartiallyFilled);
    assert_eq!((order.state.filled_quantity.to_string().as_str(), order.state.version), ("2", 10));
    assert_eq!(order.spec.quantity.to_string(), "8");
    assert_eq!(order.spec.order_type, OrderType::Limit { price: price("91") });
    let (_, _, position) = journal.positions().await.unwrap().remove(0);
    assert_eq!(position.quantity.to_string(), "2");
    assert_eq!(position.average_price().map(|p| p.to_string()).as_deref(), Some("89"));
    assert_eq!(position.commission.to_string(), "0.25");
    assert_eq!(position.reserved_buy.to_string(), "6");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM trades").fetch_one(&mut lab.stranger().await).await.unwrap();
    assert_eq!(rows, 4, "two fills, a correction, a bust: nothing was edited");
}

/// What a journal of an older schema did not keep is found out when it is brought up to date, and what follows goes on
/// from there as if it had been kept all along.
#[tokio::test]
async fn an_older_journal_learns_what_closed_its_positions() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let sell = OrderSpec { side: Side::Sell, ..spec(1, OrderType::Market) };
    let requests = [submit(0), admit(1, Request::Submit(Box::new(sell)), 1), submit(2)];
    for request in requests {
        let admitted = decide(&journal, vec![request]).await;
        decide(&journal, vec![execute(&admitted[0])]).await;
    }
    drop(journal);
    // Back to the schema before, with all that is in it.
    let older = "CREATE TABLE older AS SELECT order_id, trade_id, broker, symbol, side, quantity, price, commission, \
         commission_asset, executed_us, position_sequence FROM trades; \
         DROP TABLE trades; ALTER TABLE older RENAME TO trades; DROP INDEX orders_ending; \
         ALTER TABLE orders DROP COLUMN ends_us; ALTER TABLE positions DROP COLUMN closed_at; \
         DELETE FROM _sqlx_migrations WHERE version = 3";
    let mut stranger = lab.stranger().await;
    sqlx::raw_sql(older).execute(&mut stranger).await.unwrap();
    stranger.close().await.unwrap();
    let journal = lab.open(500).await;
    assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
    assert_eq!(journal.positions().await.unwrap()[0].2.closed_at, 2, "the sale closed the first purchase");
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
}

#[tokio::test]
async fn what_is_not_published_is_offered_until_it_is_marked() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let admitted = decide(&journal, vec![submit(0)]).await;
    decide(&journal, vec![execute(&admitted[0])]).await;
    let id = spec(0, OrderType::Market).id;
    let unpublished = |journal: &SqliteJournal| {
        let reader = journal.readers.clone();
        async move {
            let count =
                sqlx::query_scalar::<_, i64>("SELECT count(*) FROM outbox_commits").fetch_one(&reader).await;
            count.unwrap()
        }
    };
    assert_eq!(unpublished(&journal).await, 2);
    journal.mark_published(Published { orders: vec![(id, 3)], outcomes: Vec::new() }).await.unwrap();
    assert_eq!(journal.unpublished(lab.clock.now(), 10).await.unwrap(), [id]);
    let history = JournalReader::commits(&journal, id).await.unwrap();
    assert_eq!((history.commits.len(), history.published), (2, 1));
    let key = RequestKey { lane: "orders".into(), entry: EntryId { ms: 1, seq: 0 } };
    journal.mark_published(Published { orders: vec![(id, 5)], outcomes: vec![key] }).await.unwrap();
    assert!(journal.unpublished(lab.clock.now(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_input_that_cannot_be_written_fails_alone() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let mut stranger = lab.stranger().await;
    // What no decision can foresee: a row that stands in the way.
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON orders WHEN new.client_order_id = 'c3' \
                BEGIN SELECT RAISE(ABORT, 'trapped'); END";
    sqlx::query(trap).execute(&mut stranger).await.unwrap();
    sqlx::query(
        "CREATE UNIQUE INDEX one_seven ON orders (CASE WHEN client_order_id IN ('c6', 'c7') THEN 1 END)",
    )
    .execute(&mut stranger)
    .await
    .unwrap();
    let results = journal.transact((0..8).filter(|n| *n != 3).map(submit).collect()).await.unwrap();
    let failed: Vec<usize> = results.iter().enumerate().filter(|(_, r)| r.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [6], "c7 alone: {results:?}");
    let kept = journal
        .orders(&crate::ports::journal::OrderFilter { limit: 100, ..Default::default() })
        .await
        .unwrap();
    assert_eq!(kept.len(), 6);
    assert!(crate::engine::replay::replay(&journal).await.unwrap().is_equal());
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

/// Two processes at one file, each with what it remembers of its own orders.
#[tokio::test]
async fn two_workers_never_admit_beyond_a_limit_nor_decide_on_an_order_that_moved() {
    let lab = Lab::new();
    let (one, two) = (lab.open(10).await, lab.open(10).await);
    let batches = (0..30).map(|n| vec![submit(n)]);
    let mut admitted = Vec::new();
    for (n, batch) in batches.enumerate() {
        let journal = if n % 2 == 0 { &one } else { &two };
        admitted.extend(decide(journal, batch).await);
    }
    let passed: Vec<&Decision> =
        admitted.iter().filter(|d| matches!(d.effect, Effect::Submit { .. })).collect();
    assert_eq!(passed.len(), 10);
    let refused = admitted.iter().filter(|decision| match &decision.effect {
        Effect::Finish { outcome, .. } => outcome.code() == Some(Code::PositionLimit),
        _ => false,
    });
    assert_eq!(refused.count(), 20);
    // Both answer every order: each is executed by the first, whoever remembers it.
    for decision in &passed {
        decide(&two, vec![execute(decision)]).await;
        let again = decide(&one, vec![execute(decision)]).await;
        assert!(again[0].commits.is_empty(), "executed twice: {again:?}");
    }
    assert_eq!(one.positions().await.unwrap()[0].2.quantity.to_string(), "10");
    assert!(crate::engine::replay::replay(&one).await.unwrap().is_equal());
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
async fn limits_are_loaded_once() {
    let lab = Lab::new();
    let journal = lab.open(10).await;
    assert!(!journal.init_limits(&[limits(99)]).await.unwrap());
    assert_eq!(journal.limits().await.unwrap(), [limits(10)]);
}

#[tokio::test]
async fn the_file_is_durable_by_what_it_says_itself() {
    let lab = Lab::new();
    let journal = lab.open(10).await;
    let mut conn = connect(&lab.settings().url).await.unwrap();
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut conn).await.unwrap();
    let said = assert_durable(&mut conn, "here").await.unwrap_err().to_string();
    assert!(said.contains("synchronous is 1") && said.contains("here"), "{said}");
    drop(journal);
    conn.close().await.unwrap();
}

/// Redis may give an entry out as new that was answered before: its first outcome stands.
#[tokio::test]
async fn a_request_that_was_answered_keeps_its_answer() {
    let lab = Lab::new();
    let journal = lab.open(500).await;
    let unpriced = |input: Input| match input {
        Input::Admit(admit) => {
            let view = View { market: Market::Unknown, ..admit.view.clone() };
            Input::Admit(Box::new(Admit { view, ..*admit }))
        }
        other => other,
    };
    let refused = decide(&journal, vec![unpriced(submit(0))]).await;
    let again = decide(&journal, vec![submit(0)]).await;
    for decision in refused.iter().chain(&again) {
        let Effect::Finish { outcome, .. } = &decision.effect else { panic!("{decision:?}") };
        assert_eq!(outcome.code(), Some(Code::UnknownSymbol));
    }
    let client_id = OrderRef::Client("c0".parse().unwrap());
    assert_eq!(journal.order(&client_id).await.unwrap(), None);
}
