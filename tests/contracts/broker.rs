//! What is promised of a broker with books of its own: `ports::broker`, and the profile that it declares.

use std::sync::Arc;
use std::time::Duration;

use order_execution::domain::amount::Quantity;
use order_execution::domain::event::Terms;
use order_execution::domain::order::{Order, OrderSpec, PendingReplace};
use order_execution::domain::profile::Profile;
use order_execution::domain::report::{Answer, Report, ReportedFill};
use order_execution::domain::risk::RiskApproved;
use order_execution::domain::status::Status;
use order_execution::domain::time::Timestamp;
use order_execution::ports::broker::{Broker, Replacing, Submission};

use super::fixture::{attempted, limit_order, market_order, price, quantity};

pub(crate) trait BrokerUnderTest {
    fn profile(&self) -> Profile;

    /// One more connection to it.
    async fn broker(&self) -> Arc<dyn Broker>;

    /// The time as its clients have it.
    fn now(&self) -> Timestamp;

    async fn pass(&self, time: Duration);

    /// From now on answers are lost on the way, or no longer.
    async fn lose_answers(&self, lost: bool);

    /// By its own ledger: what it executed under a client order id, all orders under that id together.
    async fn executed(&self, client_order_id: &str) -> Quantity;
}

async fn submit(broker: &Arc<dyn Broker>, (order, epoch): &(Arc<Order>, u64)) -> Answer {
    let deadline = order.state.open_attempt.as_ref().and_then(|open| open.deadline);
    let approved = RiskApproved::journaled(order).unwrap();
    broker.submit(Submission { order: approved, epoch: *epoch, deadline }).await
}

fn attempt(under: &impl BrokerUnderTest, spec: OrderSpec) -> (Arc<Order>, u64) {
    attempted(spec, under.profile(), under.now())
}

fn reports(answer: Answer) -> Vec<Report> {
    let Answer::Accepted(reports) = answer else { panic!("{answer:?}") };
    reports
}

fn fills(reports: &[Report]) -> Vec<&ReportedFill> {
    let mut fills = Vec::new();
    for report in reports {
        if let Report::Fill(fill) = report {
            fills.push(fill);
        }
    }
    fills
}

fn ends(reports: &[Report]) -> usize {
    reports.iter().filter(|report| matches!(report, Report::Cancelled { .. })).count()
}

/// What its books show, which may be some time behind.
async fn found(under: &impl BrokerUnderTest, broker: &Arc<dyn Broker>, order: &Order) -> Vec<Report> {
    for _ in 0..200 {
        if let Some(reports) = broker.query(order).await.unwrap().reports {
            return reports;
        }
        under.pass(Duration::from_millis(20)).await;
    }
    panic!("{} is never shown", order.spec.client_order_id);
}

pub(crate) async fn it_says_that_it_is_there(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    broker.connect().await.unwrap();
    broker.ping().await.unwrap();
    assert!(broker.is_connected());
    assert_eq!(broker.name().as_str(), "mock");
    broker.disconnect().await.unwrap();
}

pub(crate) async fn a_market_order_is_executed_and_told_alike_everywhere(under: &impl BrokerUnderTest) {
    let (one, other) = (under.broker().await, under.broker().await);
    let order = attempt(under, market_order(1));
    let told = reports(submit(&one, &order).await);
    let trades = fills(&told);
    assert_eq!(trades.iter().map(|fill| fill.quantity.get()).sum::<rust_decimal::Decimal>(), 1.into());
    assert_eq!(under.executed("c1").await, quantity("1"));
    let shown = found(under, &other, &order.0).await;
    assert_eq!(fills(&shown), trades, "the same trades under the same ids");
    let mut heard: Vec<ReportedFill> = Vec::new();
    let mut cursor = 0;
    for _ in 0..200 {
        let updates = other.updates(cursor).await.unwrap();
        assert!(updates.cursor >= cursor, "the feed goes on");
        cursor = updates.cursor;
        for update in updates.told.iter().filter(|update| update.client_order_id == "c1") {
            let Some(Report::Fill(fill)) = &update.report else { continue };
            if !heard.contains(fill) {
                heard.push(fill.clone());
            }
        }
        if heard.len() == trades.len() {
            break;
        }
    }
    assert_eq!(heard.iter().collect::<Vec<_>>(), trades, "and in the feed");
}

pub(crate) async fn an_order_that_rests_is_open_until_it_is_cancelled(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    let order = attempt(under, limit_order(1, "3", "90"));
    assert!(fills(&reports(submit(&broker, &order).await)).is_empty());
    let open = broker.open_orders().await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    let there = &open[0];
    assert_eq!((there.client_order_id.as_str(), there.status), ("c1", Status::Acknowledged));
    assert_eq!((there.quantity, there.filled_quantity), (quantity("3"), Quantity::ZERO));
    assert_eq!(ends(&reports(broker.cancel(&order.0).await)), 1);
    assert!(broker.open_orders().await.unwrap().is_empty());
    // Asked again, it says how the order stands.
    assert_eq!(ends(&reports(broker.cancel(&order.0).await)), 1);
    assert!(under.executed("c1").await.is_zero());
}

pub(crate) async fn a_cancel_that_comes_too_late_tells_what_was_executed(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    let order = attempt(under, market_order(1));
    submit(&broker, &order).await;
    let told = reports(broker.cancel(&order.0).await);
    assert_eq!((fills(&told).len(), ends(&told)), (1, 0), "{told:?}");
}

pub(crate) async fn an_unknown_order_is_not_found_and_that_is_no_error(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    broker.connect().await.unwrap();
    let (order, _) = attempt(under, market_order(9));
    let finding = broker.query(&order).await.unwrap();
    assert_eq!(finding.reports, None);
    let off = finding.as_of.micros_since(under.now()) - broker.clock_offset_us();
    assert!(off.abs() < 30_000_000, "by its own clock, {off} us off");
    assert!(matches!(broker.cancel(&order).await, Answer::Rejected(_)));
}

pub(crate) async fn a_lost_answer_is_unknown_and_what_was_done_is_found(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    broker.connect().await.unwrap();
    let order = attempt(under, market_order(1));
    under.lose_answers(true).await;
    let answer = submit(&broker, &order).await;
    assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    under.lose_answers(false).await;
    assert_eq!(fills(&found(under, &broker, &order.0).await).len(), 1);
    assert_eq!(under.executed("c1").await, quantity("1"));
}

/// What may follow a lost answer is decided by what this comes to.
pub(crate) async fn the_same_attempt_again_is_treated_as_the_profile_says(under: &impl BrokerUnderTest) {
    let (one, other) = (under.broker().await, under.broker().await);
    let resting = attempt(under, limit_order(1, "3", "90"));
    submit(&one, &resting).await;
    let again = submit(&other, &resting).await;
    let filled = attempt(under, market_order(2));
    let first = reports(submit(&one, &filled).await);
    if under.profile() == Profile::DedupesForever {
        assert!(fills(&reports(again)).is_empty());
        for broker in [&one, &other, &one] {
            assert_eq!(fills(&reports(submit(broker, &filled).await)), fills(&first), "the recorded answer");
        }
        assert_eq!(under.executed("c2").await, quantity("1"));
    } else {
        // Among open orders only: nothing is proven either way, and nothing is there twice.
        assert!(matches!(again, Answer::Unknown(_)), "{again:?}");
    }
    let open = one.open_orders().await.unwrap();
    assert_eq!(open.iter().filter(|order| order.client_order_id == "c1").count(), 1);
}

pub(crate) async fn nothing_is_executed_after_its_deadline(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    broker.connect().await.unwrap();
    let profile = Profile::Deadline { valid_for_us: 1_000_000, settle_us: 1_000_000 };
    let late = under.now().plus_micros(-10_000_000 + broker.clock_offset_us());
    let order = attempted(market_order(1), profile, late);
    let answer = submit(&broker, &order).await;
    assert!(matches!(answer, Answer::NotSent(_)), "{answer:?}");
    assert!(under.executed("c1").await.is_zero());
    let timely = attempted(market_order(2), profile, under.now().plus_micros(broker.clock_offset_us()));
    assert_eq!(fills(&reports(submit(&broker, &timely).await)).len(), 1);
}

/// The order, its new terms journaled as asked for.
fn asked(order: &Order, terms: &Terms, number: u64) -> Order {
    let mut order = order.clone();
    let asked_at = order.state.created_at;
    order.state.pending_replace =
        Some(PendingReplace { number, terms: terms.clone(), asked_at, deadline: None });
    order
}

pub(crate) async fn a_replace_is_carried_out_once(under: &impl BrokerUnderTest) {
    let broker = under.broker().await;
    let order = attempt(under, limit_order(1, "3", "90"));
    submit(&broker, &order).await;
    let terms = Terms { quantity: Some(quantity("5")), price: Some(price("91")), stop_price: None };
    let asked = |number| asked(&order.0, &terms, number);
    for _ in 0..2 {
        let asked = asked(7);
        let approved = RiskApproved::replacing(&asked, 7).unwrap();
        let replacing = Replacing { order: approved, number: 7, terms: &terms, deadline: None };
        let told = reports(broker.replace(replacing).await);
        let wanted = Report::Replaced { number: 7, terms: terms.clone() };
        assert!(told.contains(&wanted), "{told:?}");
    }
    let open = broker.open_orders().await.unwrap();
    assert_eq!((open.len(), open[0].quantity), (1, quantity("5")));
    broker.cancel(&order.0).await;
    let asked = asked(9);
    let approved = RiskApproved::replacing(&asked, 9).unwrap();
    let after = Replacing { order: approved, number: 9, terms: &terms, deadline: None };
    assert_eq!(ends(&reports(broker.replace(after).await)), 1, "it says how the order stands");
}

/// Hands the rules' names on to a macro: see `contracts::as_tests`.
macro_rules! broker_rules {
    ($then:ident, $suite:path, $factory:expr) => {
        $crate::contracts::$then! { $suite, $factory;
            broker::it_says_that_it_is_there,
            broker::a_market_order_is_executed_and_told_alike_everywhere,
            broker::an_order_that_rests_is_open_until_it_is_cancelled,
            broker::a_cancel_that_comes_too_late_tells_what_was_executed,
            broker::an_unknown_order_is_not_found_and_that_is_no_error,
            broker::a_lost_answer_is_unknown_and_what_was_done_is_found,
            broker::the_same_attempt_again_is_treated_as_the_profile_says,
            broker::nothing_is_executed_after_its_deadline,
            broker::a_replace_is_carried_out_once,
        }
    };
}
pub(crate) use broker_rules;
