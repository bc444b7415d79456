//! Several workers on one journal: leases and epochs, ids that are unique, limits and positions that are exact.

use std::time::Duration;

use futures_util::future::{join, join_all};
use order_execution::domain::decide::{Decision, Effect, Input, Looked, Wait};
use order_execution::domain::ledger::AttemptKind;
use order_execution::domain::order::{Order, OrderSpec};
use order_execution::domain::order_type::Side;
use order_execution::domain::profile::Profile;
use order_execution::domain::refusal::Code;
use order_execution::domain::report::Finding;
use order_execution::domain::request::{OutcomeResult, Request};
use order_execution::domain::risk::{Limit, LimitRow};
use order_execution::domain::status::Status;
use order_execution::domain::time::Timestamp;
use order_execution::ports::journal::OrderFilter;

use super::super::fixture::{
    LEASE_US, SETTLE_US, admit, cancel, execute, execute_cancel, facts, fill, hash, key, limit_order, limits,
    market_order, one_shot, order_id, outcome, rules, submit, view,
};
use super::{Handle, JournalUnderTest, two};

const ONE_SHOT: Profile = Profile::OneShot { settle_us: SETTLE_US };

fn over_lease() -> Duration {
    Duration::from_micros(LEASE_US.unsigned_abs() + 1_000)
}

fn redelivered(worker: &str, n: u64) -> Input {
    admit(worker, n, Request::Submit(Box::new(market_order(n))), 2)
}

/// The broker's books do not show the attempt.
fn not_found(worker: &str, n: u64, epoch: u64) -> Input {
    Input::Looked(Box::new(Looked {
        order_id: order_id(n),
        epoch,
        kind: AttemptKind::Submit,
        number: 1,
        finding: Finding { as_of: Timestamp::from_micros(1_900_000_000_000_000), reports: None },
        key: key(n),
        hash: hash(n),
        view: view(worker),
    }))
}

fn parked(decision: &Decision) -> bool {
    decision.commits.iter().any(|commit| commit.after.state.parked)
}

/// Both handles decide at once, as two processes do.
async fn at_once(a: &Handle, b: &Handle, inputs: (Input, Input)) -> (Decision, Decision) {
    join(a.decide_one(inputs.0), b.decide_one(inputs.1)).await
}

pub(crate) async fn only_the_holder_of_the_lease_decides(under: &impl JournalUnderTest) {
    let (a, b) = two(under, ONE_SHOT).await;
    let admitted = a.decide_one(submit("a", 1, market_order(1))).await;
    assert!(matches!(admitted.effect, Effect::Submit { epoch: 1, .. }), "{admitted:?}");
    under.pass(Duration::from_micros(LEASE_US.unsigned_abs() / 2)).await;
    let early = b.decide_one(redelivered("b", 1)).await;
    assert!(matches!(early.effect, Effect::Wait(Wait::Undecided(_))), "{early:?}");
    let mine = a.decide_one(redelivered("a", 1)).await;
    assert!(matches!(mine.effect, Effect::Look { epoch: 1, .. }), "its own lease is its own: {mine:?}");
    // That lengthened it.
    under.pass(Duration::from_micros(LEASE_US.unsigned_abs() * 3 / 4)).await;
    let early = b.decide_one(redelivered("b", 1)).await;
    assert!(matches!(early.effect, Effect::Wait(Wait::Undecided(_))), "{early:?}");
    under.pass(over_lease()).await;
    let taken = b.decide_one(redelivered("b", 1)).await;
    assert!(matches!(taken.effect, Effect::Look { epoch: 2, number: 1, .. }), "{taken:?}");
    let late = a.decide_one(redelivered("a", 1)).await;
    assert!(matches!(late.effect, Effect::Wait(Wait::Undecided(_))), "{late:?}");
}

pub(crate) async fn of_two_that_take_a_lease_at_once_one_has_it(under: &impl JournalUnderTest) {
    let (a, b) = two(under, ONE_SHOT).await;
    for n in 1..=8 {
        a.decide_one(submit("dead", n, market_order(n))).await;
    }
    under.pass(over_lease()).await;
    for n in 1..=8 {
        let (first, second) = at_once(&a, &b, (redelivered("a", n), redelivered("b", n))).await;
        let took = |decision: &Decision| matches!(decision.effect, Effect::Look { epoch: 2, .. });
        let waits = |decision: &Decision| matches!(decision.effect, Effect::Wait(Wait::Undecided(_)));
        let one_each = took(&first) && waits(&second) || waits(&first) && took(&second);
        assert!(one_each, "{first:?} {second:?}");
    }
}

pub(crate) async fn of_two_that_decide_at_once_one_is_heard(under: &impl JournalUnderTest) {
    let (a, b) = two(under, ONE_SHOT).await;
    for n in 1..=8 {
        a.decide_one(submit("a", n, market_order(n))).await;
    }
    under.pass(over_lease()).await;
    for n in 1..=8 {
        let taken = b.decide_one(redelivered("b", n)).await;
        assert!(matches!(taken.effect, Effect::Look { epoch: 2, .. }), "{taken:?}");
        // The one that froze wakes, and decides by the epoch that it had.
        let (stale, mine) = at_once(&a, &b, (not_found("a", n, 1), not_found("b", n, 2))).await;
        assert!(!parked(&stale), "{stale:?}");
        assert!(parked(&mine), "{mine:?}");
        assert_eq!(outcome(&mine).code(), Some(Code::OutcomeUnknown));
    }
    assert_eq!(a.reader.parked().await.unwrap(), 8);
    a.assert_replays().await;
}

pub(crate) async fn a_decision_of_an_epoch_before_is_not_heard(under: &impl JournalUnderTest) {
    let (a, b) = two(under, ONE_SHOT).await;
    a.decide_one(submit("a", 1, market_order(1))).await;
    under.pass(over_lease()).await;
    b.decide_one(redelivered("b", 1)).await;
    let before = b.order("c1").await;
    let stale = a.decide_one(not_found("a", 1, 1)).await;
    assert!(matches!(stale.effect, Effect::Wait(Wait::Undecided(_))), "{stale:?}");
    assert!(stale.commits.is_empty());
    assert_eq!(b.order("c1").await, before);
    // A fact is heard from whomever.
    let told = a.decide_one(facts("c1", vec![fill("t", "1", "100")], None)).await;
    assert_eq!(told.commits.len(), 1);
    let moot = b.decide_one(not_found("b", 1, 2)).await;
    assert_eq!(outcome(&moot).result, OutcomeResult::Completed(Status::Filled));
    assert_eq!(b.reader.parked().await.unwrap(), 0);
    b.assert_replays().await;
}

/// Each handle may remember the orders that it committed last.
pub(crate) async fn what_another_handle_changed_is_not_decided_on_from_memory(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let admitted = a.decide_one(submit("a", 1, limit_order(1, "9", "90"))).await;
    a.decide_one(execute(&admitted)).await;
    for (n, handle) in [&b, &a, &b, &a].into_iter().enumerate() {
        let told = handle.decide_one(facts("c1", vec![fill(&format!("t{n}"), "2", "90")], None)).await;
        let filled = (n + 1) * 2;
        assert_eq!(told.commits[0].after.state.filled_quantity.to_string(), filled.to_string());
    }
    let asked = b.decide_one(cancel("b", 2, "c1")).await;
    let again = a.decide_one(execute(&admitted)).await;
    assert!(again.commits.is_empty(), "executed twice: {again:?}");
    b.decide_one(execute_cancel(2, &asked)).await;
    let late = a.decide_one(cancel("a", 3, "c1")).await;
    assert!(matches!(outcome(&late).result, OutcomeResult::Failed { .. }), "{late:?}");
    a.assert_replays().await;
}

pub(crate) async fn a_client_order_id_is_one_order_between_two_handles(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    for n in 0..10 {
        let mine = OrderSpec { id: order_id(1000 + n), ..limit_order(n, "1", "90") };
        let theirs = OrderSpec { id: order_id(2000 + n), ..limit_order(n, "2", "90") };
        let (first, second) =
            at_once(&a, &b, (submit("a", 100 + n, mine), submit("b", 200 + n, theirs))).await;
        let (won, lost) = match &first.effect {
            Effect::Submit { .. } => (&first, &second),
            _ => (&second, &first),
        };
        assert!(matches!(won.effect, Effect::Submit { .. }), "{first:?} {second:?}");
        assert_eq!(outcome(lost).code(), Some(Code::DuplicateClientOrderId));
    }
    let all = OrderFilter { limit: 100, ..OrderFilter::default() };
    assert_eq!(a.reader.orders(&all).await.unwrap().len(), 10);
    a.assert_replays().await;
}

async fn limited(under: &impl JournalUnderTest, row: LimitRow) -> (Handle, Handle) {
    let a = under.open(rules(Profile::Embedded)).await;
    a.journal.init_limits(&[row]).await.unwrap();
    (a, under.open(rules(Profile::Embedded)).await)
}

/// Orders 0 to `count`, through both handles in turn, all at once.
async fn admitted_at_once(a: &Handle, b: &Handle, count: u64) -> Vec<Decision> {
    let calls = (0..count).map(|n| {
        let handle = if n % 2 == 0 { a } else { b };
        handle.decide_one(submit(if n % 2 == 0 { "a" } else { "b" }, n, market_order(n)))
    });
    join_all(calls).await
}

fn passed(decisions: &[Decision]) -> Vec<&Decision> {
    decisions.iter().filter(|decision| matches!(decision.effect, Effect::Submit { .. })).collect()
}

fn refused(decisions: &[Decision], code: Code) -> usize {
    let is = |decision: &&Decision| matches!(&decision.effect, Effect::Finish { outcome, .. } if outcome.code() == Some(code));
    decisions.iter().filter(is).count()
}

pub(crate) async fn a_position_limit_is_exact_over_two_handles_at_once(under: &impl JournalUnderTest) {
    let (a, b) = limited(under, limits(Limit::At(10.into()))).await;
    let admitted = admitted_at_once(&a, &b, 30).await;
    let passed = passed(&admitted);
    assert_eq!((passed.len(), refused(&admitted, Code::PositionLimit)), (10, 20));
    for decision in &passed {
        b.decide_one(execute(decision)).await;
        let again = a.decide_one(execute(decision)).await;
        assert!(again.commits.is_empty(), "executed twice: {again:?}");
    }
    assert_eq!(a.reader.positions().await.unwrap()[0].2.quantity.to_string(), "10");
    a.assert_replays().await;
}

pub(crate) async fn a_rate_limit_is_exact_over_two_handles_at_once(under: &impl JournalUnderTest) {
    let row = LimitRow { max_orders_per_second: Limit::At(5.into()), ..limits(Limit::Unlimited) };
    let (a, b) = limited(under, row).await;
    let started = under.now();
    let admitted = admitted_at_once(&a, &b, 12).await;
    let took = under.now().micros_since(started);
    let passed = passed(&admitted).len();
    // On a slow machine a second may pass meanwhile; what is exact is that no second has more than five.
    let seconds = usize::try_from(took / 1_000_000).unwrap() + 1;
    assert!((5..=5 * seconds).contains(&passed), "{passed} passed within {took} us");
    assert_eq!(passed + refused(&admitted, Code::OrderRate), 12);
}

pub(crate) async fn positions_and_reservations_are_exact_over_two_handles_at_once(
    under: &impl JournalUnderTest,
) {
    let (a, b) = two(under, Profile::Embedded).await;
    let order = |n: u64| {
        let side = if n.is_multiple_of(3) { Side::Sell } else { Side::Buy };
        let at = if n.is_multiple_of(3) { "110" } else { "90" };
        OrderSpec { side, ..limit_order(n, &format!("{}.5", n % 5 + 1), at) }
    };
    let calls = (0..40).map(|n| {
        let (mine, theirs) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        async move {
            let admitted = mine.decide_one(submit("w", n, order(n))).await;
            theirs.decide_one(execute(&admitted)).await;
            let trade = facts(&format!("c{n}"), vec![fill(&format!("t{n}"), "0.25", "95")], None);
            mine.decide_one(trade).await;
            if n % 4 == 0 {
                let asked = theirs.decide_one(cancel("w", 100 + n, &format!("c{n}"))).await;
                mine.decide_one(execute_cancel(100 + n, &asked)).await;
            }
        }
    });
    join_all(calls).await;
    let all = OrderFilter { limit: 100, ..OrderFilter::default() };
    let orders = a.reader.orders(&all).await.unwrap();
    assert_eq!(orders.len(), 40);
    let sum = |side: Side, of: &dyn Fn(&Order) -> rust_decimal::Decimal| -> rust_decimal::Decimal {
        orders.iter().filter(|order| order.spec.side == side).map(of).sum()
    };
    let filled = |order: &Order| order.state.filled_quantity.get();
    let reserved = |order: &Order| order.reserved_quantity().get();
    let (_, _, position) = b.reader.positions().await.unwrap().remove(0);
    assert_eq!(position.quantity.get(), sum(Side::Buy, &filled) - sum(Side::Sell, &filled));
    assert_eq!(position.reserved_buy.get(), sum(Side::Buy, &reserved));
    assert_eq!(position.reserved_sell.get(), sum(Side::Sell, &reserved));
    assert_eq!(position.sequence, 40);
    a.assert_replays().await;
}

pub(crate) async fn the_events_are_what_the_projections_follow_from(under: &impl JournalUnderTest) {
    let (a, b) = two(under, ONE_SHOT).await;
    let third = under.open(one_shot()).await;
    let handles = [&a, &b, &third];
    for n in 0..24_u64 {
        let handle = handles[usize::try_from(n % 3).unwrap()];
        let side = if n % 2 == 0 { Side::Buy } else { Side::Sell };
        let spec = OrderSpec { side, ..market_order(n) };
        let admitted = handle.decide_one(submit("w", n, spec)).await;
        assert!(matches!(admitted.effect, Effect::Submit { .. }), "{admitted:?}");
        let next = handles[usize::try_from((n + 1) % 3).unwrap()];
        match n % 4 {
            0 => drop(next.decide_one(facts(&format!("c{n}"), vec![fill("t", "0.4", "101")], None)).await),
            1 => drop(next.decide_one(facts(&format!("c{n}"), vec![fill("t", "1", "99.5")], None)).await),
            2 => drop(next.decide_one(not_found("w", n, 1)).await),
            _ => {}
        }
    }
    under.pass(over_lease()).await;
    for n in (2..24).step_by(4) {
        drop(third.decide_one(redelivered("w", n)).await);
        let parking = third.decide_one(not_found("w", n, 1)).await;
        assert!(parked(&parking), "{parking:?}");
    }
    for handle in handles {
        handle.assert_replays().await;
    }
    let histories = a.reader.history(0, 100).await.unwrap();
    assert_eq!(histories.len(), 24);
    for history in histories {
        let folded = Order::fold(&history.events).unwrap();
        assert_eq!(folded.as_ref(), Some(&history.order));
        assert_eq!(a.reader.events(history.order.spec.id).await.unwrap(), history.events);
        let versions: Vec<u64> = history.events.iter().map(|event| event.version).collect();
        assert_eq!(versions, (1..=history.order.state.version).collect::<Vec<_>>());
    }
}
