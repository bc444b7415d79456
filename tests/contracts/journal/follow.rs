//! What the loops that follow up ask for: leases, abandoned requests, changed orders.

use std::time::Duration;

use futures_util::future::join_all;
use order_execution::domain::order::Order;
use order_execution::domain::profile::Profile;
use order_execution::domain::request::Request;
use order_execution::domain::risk::Limit;
use order_execution::ports::journal::Abandoned;
use order_execution::ports::publisher::Published;

use super::super::fixture::{
    LEASE_US, admit, broker, cancel, execute, hash, key, limit_order, limits, market_order, order_id, rules,
    submit, symbol,
};
use super::{JournalUnderTest, one, two};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn work_of_one_worker_is_leased_until_its_time_is_over(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let lasts = 10 * SECOND;
    assert!(a.journal.lease("relay", "a", lasts).await.unwrap());
    assert!(!b.journal.lease("relay", "b", lasts).await.unwrap());
    assert!(b.journal.lease("feed", "b", lasts).await.unwrap(), "another piece of work");
    under.pass(7 * SECOND).await;
    assert!(a.journal.lease("relay", "a", lasts).await.unwrap(), "kept");
    under.pass(7 * SECOND).await;
    assert!(!b.journal.lease("relay", "b", lasts).await.unwrap(), "it was kept 7 s ago");
    under.pass(4 * SECOND).await;
    assert!(b.journal.lease("relay", "b", lasts).await.unwrap());
    assert!(!a.journal.lease("relay", "a", lasts).await.unwrap());
    assert!(b.journal.lease("relay", "b", lasts).await.unwrap());
}

pub(crate) async fn of_two_that_ask_for_a_lease_at_once_one_gets_it(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    for round in 0..8 {
        let name = format!("work{round}");
        let asked =
            [(&a, "a"), (&b, "b")].map(|(handle, owner)| handle.journal.lease(&name, owner, 5 * SECOND));
        let got = join_all(asked).await.into_iter().filter(|got| *got.as_ref().unwrap()).count();
        assert_eq!(got, 1, "{name}");
    }
}

pub(crate) async fn requests_are_abandoned_once_their_lease_is_over(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let first = a.decide_one(submit("a", 1, market_order(1))).await;
    under.pass(SECOND).await;
    let second = a.decide_one(submit("a", 2, limit_order(2, "1", "90"))).await;
    assert!(b.reader.abandoned(under.now(), 10).await.unwrap().is_empty());
    under.pass(Duration::from_micros(LEASE_US.unsigned_abs()) + SECOND).await;
    let found = b.reader.abandoned(under.now(), 10).await.unwrap();
    let instrument = Some((broker(), symbol("BTCUSDT")));
    let wanted = |n, received_at| Abandoned {
        key: key(n),
        hash: hash(n),
        instrument: instrument.clone(),
        received_at,
    };
    let created = [b.order("c1").await.state.created_at, b.order("c2").await.state.created_at];
    assert_eq!(found, [wanted(1, created[0]), wanted(2, created[1])]);
    assert_eq!(b.reader.abandoned(under.now(), 1).await.unwrap(), [wanted(1, created[0])]);
    // Whoever takes one up has it.
    b.decide_one(admit("b", 1, Request::Journaled(instrument.clone()), 2)).await;
    assert_eq!(a.reader.abandoned(under.now(), 10).await.unwrap(), [wanted(2, created[1])]);
    // What has its outcome is not abandoned, however old: the second rests.
    a.decide_one(execute(&second)).await;
    drop(first);
    assert!(a.reader.abandoned(under.now(), 10).await.unwrap().is_empty());
}

pub(crate) async fn a_command_is_abandoned_with_its_order(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let admitted = a.decide_one(submit("a", 1, limit_order(1, "1", "90"))).await;
    a.decide_one(execute(&admitted)).await;
    a.decide_one(cancel("a", 2, "c1")).await;
    assert!(b.reader.abandoned(under.now(), 10).await.unwrap().is_empty());
    under.pass(Duration::from_micros(LEASE_US.unsigned_abs()) + SECOND).await;
    let found = b.reader.abandoned(under.now(), 10).await.unwrap();
    assert_eq!(found.iter().map(|one| (one.key.clone(), one.hash)).collect::<Vec<_>>(), [(key(2), hash(2))]);
    assert_eq!(found[0].instrument, Some((broker(), symbol("BTCUSDT"))));
}

pub(crate) async fn an_unfinished_sweep_is_found(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    a.decide_one(admit("a", 3, Request::CancelAll(Box::default()), 1)).await;
    assert!(b.reader.unfinished_sweeps(under.now().plus_micros(-60_000_000), 10).await.unwrap().is_empty());
    under.pass(SECOND).await;
    let found = b.reader.unfinished_sweeps(under.now(), 10).await.unwrap();
    assert_eq!(found.iter().map(|one| (one.key.clone(), one.hash)).collect::<Vec<_>>(), [(key(3), hash(3))]);
    assert_eq!(found[0].instrument, None);
    // It meant nothing, so its next step ends it.
    b.decide_one(admit("b", 3, Request::CancelAll(Box::default()), 2)).await;
    assert!(a.reader.unfinished_sweeps(under.now(), 10).await.unwrap().is_empty());
}

fn names(page: &[(u64, Order)]) -> Vec<String> {
    page.iter().map(|(_, order)| order.spec.client_order_id.to_string()).collect()
}

pub(crate) async fn orders_that_work_and_that_ended_are_paged_once_all_of_them_is_published(
    under: &impl JournalUnderTest,
) {
    let handle = one(under, Profile::Embedded).await;
    for n in 0..6 {
        let spec = if n % 3 == 1 { limit_order(n, "1", "90") } else { market_order(n) };
        let admitted = handle.decide_one(submit("a", n, spec)).await;
        handle.decide_one(execute(&admitted)).await;
    }
    let reader = &handle.reader;
    let before = under.now();
    let now = reader.now().await.unwrap();
    assert!((before..=under.now()).contains(&now), "{now} is not the journal's time");
    let long_ago = under.now().plus_micros(-600_000_000);
    assert_eq!(reader.place(long_ago).await.unwrap(), 0);
    assert!(reader.working(0, 10).await.unwrap().is_empty(), "nothing is marked");
    assert!(reader.ended(0, 10).await.unwrap().is_empty(), "nothing is marked");
    let marks = |orders: &[u64]| Published {
        orders: orders.iter().map(|n| (order_id(*n), 5)).collect(),
        ..Published::default()
    };
    handle.journal.mark_published(marks(&[1, 2, 3, 4, 5])).await.unwrap();
    assert_eq!(names(&reader.working(0, 10).await.unwrap()), ["c1", "c4"]);
    let first = reader.working(0, 1).await.unwrap();
    assert_eq!(names(&first), ["c1"]);
    assert_eq!(names(&reader.working(first[0].0, 1).await.unwrap()), ["c4"]);
    assert_eq!(names(&reader.ended(0, 10).await.unwrap()), ["c2", "c3", "c5"], "c0 is not marked");
    handle.journal.mark_published(marks(&[0])).await.unwrap();
    let first = reader.ended(0, 3).await.unwrap();
    assert_eq!(names(&first), ["c0", "c2", "c3"]);
    assert_eq!(names(&reader.ended(first[2].0, 3).await.unwrap()), ["c5"]);
}

/// What was committed since then lies after the place; what was long before, before it.
pub(crate) async fn a_place_is_between_what_was_before_and_since(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    let mut times = Vec::new();
    for n in 0..5 {
        times.push(under.now());
        let admitted = handle.decide_one(submit("a", n, market_order(n))).await;
        handle.decide_one(execute(&admitted)).await;
        under.pass(80 * SECOND).await;
    }
    let orders = (0..5).map(|n| (order_id(n), 5)).collect();
    handle.journal.mark_published(Published { orders, ..Published::default() }).await.unwrap();
    let mut pages = Vec::new();
    for since in times {
        let place = handle.reader.place(since).await.unwrap();
        pages.push(handle.reader.ended(place, 20).await.unwrap().len());
    }
    assert_eq!(pages, [5, 4, 3, 2, 1]);
    let later = handle.reader.place(under.now()).await.unwrap();
    assert!(handle.reader.ended(later, 20).await.unwrap().is_empty());
}

pub(crate) async fn limits_are_loaded_once(under: &impl JournalUnderTest) {
    let (a, b) = (under.open(rules(Profile::Embedded)).await, under.open(rules(Profile::Embedded)).await);
    let rows = [[limits(Limit::At(10.into()))], [limits(Limit::At(99.into()))]];
    let loaded = join_all([a.journal.init_limits(&rows[0]), b.journal.init_limits(&rows[1])]).await;
    let loaded: Vec<bool> = loaded.into_iter().map(Result::unwrap).collect();
    assert_eq!(loaded.iter().filter(|loaded| **loaded).count(), 1, "{loaded:?}");
    let winner = usize::from(loaded[1]);
    let in_force = async || a.reader.control().await.unwrap().limits.rows().cloned().collect::<Vec<_>>();
    assert_eq!(in_force().await, rows[winner]);
    assert!(!b.journal.init_limits(&[limits(Limit::At(5.into()))]).await.unwrap());
    assert_eq!(in_force().await, rows[winner]);
}

pub(crate) async fn a_journal_that_can_commit_says_so(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    a.journal.probe().await.unwrap();
    b.journal.probe().await.unwrap();
}

/// A look at the broker that failed leaves a worker with nothing to record: that is no fault of the journal.
pub(crate) async fn nothing_to_decide_on_is_answered(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    assert_eq!(handle.journal.transact(Vec::new()).await.unwrap().len(), 0);
    let both = join_all([handle.journal.transact(Vec::new()), handle.journal.transact(Vec::new())]).await;
    assert!(both.into_iter().all(|decided| decided.unwrap().is_empty()));
}
