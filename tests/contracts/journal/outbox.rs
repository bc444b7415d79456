//! What is not marked as published is offered, oldest first.

use std::sync::Arc;
use std::time::Duration;

use order_execution::domain::decide::Input;
use order_execution::domain::profile::Profile;
use order_execution::domain::request::Received;
use order_execution::domain::time::Timestamp;
use order_execution::ports::publisher::Published;

use super::super::fixture::{execute, hash, key, limit_order, market_order, order_id, outcome, submit};
use super::{Handle, JournalUnderTest, one, two};

pub(crate) const EVER: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

fn orders(orders: &[(u64, u64)]) -> Published {
    let orders = orders.iter().map(|(n, version)| (order_id(*n), *version)).collect();
    Published { orders, ..Published::default() }
}

pub(crate) async fn commits_are_offered_until_they_are_marked(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    let admitted = handle.decide_one(submit("a", 0, market_order(0))).await;
    handle.decide_one(execute(&admitted)).await;
    let id = order_id(0);
    let published = async || {
        let history = handle.reader.commits(id).await.unwrap();
        (history.commits.len(), history.published)
    };
    assert_eq!(published().await, (2, 0));
    handle.journal.mark_published(orders(&[(0, 2)])).await.unwrap();
    assert_eq!(published().await, (2, 0), "not all of the first commit is out");
    handle.journal.mark_published(orders(&[(0, 3)])).await.unwrap();
    assert_eq!(published().await, (2, 1));
    assert_eq!(handle.reader.unpublished(EVER, 10).await.unwrap(), [id]);
    handle.journal.mark_published(orders(&[(0, 5)])).await.unwrap();
    assert_eq!(published().await, (2, 2));
    assert!(handle.reader.unpublished(EVER, 10).await.unwrap().is_empty());
    // Marked again, and what was never there.
    handle.journal.mark_published(orders(&[(0, 3), (7, 1)])).await.unwrap();
    assert_eq!(published().await, (2, 2));
}

pub(crate) async fn outcomes_are_offered_until_they_are_marked(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    for n in 0..3 {
        let admitted = handle.decide_one(submit("a", n, market_order(n))).await;
        let ended = handle.decide_one(execute(&admitted)).await;
        let offered = handle.reader.unpublished_outcomes(EVER, 10).await.unwrap();
        let newest = offered.last().unwrap();
        assert_eq!(
            (&newest.0, newest.1.as_ref()),
            (outcome(&ended), Some(&handle.order(&format!("c{n}")).await))
        );
        assert_eq!(offered.len(), usize::try_from(n).unwrap() + 1);
    }
    let marks = Published { outcomes: vec![(key(1), hash(1))], ..Published::default() };
    assert_eq!(handle.journal.mark_published(marks.clone()).await.unwrap(), []);
    // What is marked is marked, however often.
    assert_eq!(handle.journal.mark_published(marks).await.unwrap(), []);
    let left = handle.reader.unpublished_outcomes(EVER, 10).await.unwrap();
    assert_eq!(left.iter().map(|(outcome, _)| outcome.key.clone()).collect::<Vec<_>>(), [key(0), key(2)]);
    assert_eq!(handle.reader.unpublished_outcomes(EVER, 1).await.unwrap().len(), 1);
}

/// After Redis lost its data an entry id may come again, with another content: another request.
pub(crate) async fn a_mark_is_of_one_content_alone(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    let admitted = handle.decide_one(submit("a", 0, market_order(0))).await;
    handle.decide_one(execute(&admitted)).await;
    let Input::Admit(mut again) = submit("a", 0, market_order(1)) else { panic!("not an admission") };
    let first = (*again.received).clone();
    again.received = Arc::new(Received { hash: hash(77), ..first });
    let admitted = handle.decide_one(Input::Admit(again)).await;
    handle.decide_one(execute(&admitted)).await;
    assert_eq!(handle.reader.unpublished_outcomes(EVER, 10).await.unwrap().len(), 2);
    let mark = |content| Published { outcomes: vec![(key(0), hash(content))], ..Published::default() };
    handle.journal.mark_published(mark(5)).await.unwrap();
    assert_eq!(handle.reader.unpublished_outcomes(EVER, 10).await.unwrap().len(), 2);
    handle.journal.mark_published(mark(0)).await.unwrap();
    let left = handle.reader.unpublished_outcomes(EVER, 10).await.unwrap();
    assert_eq!(left.iter().map(|(outcome, _)| outcome.hash).collect::<Vec<_>>(), [hash(77)]);
}

/// A journal with one outcome, and what marks it: for what only some databases can do.
#[allow(dead_code, reason = "the fakes do one thing at a time")]
pub(crate) async fn an_outcome(under: &impl JournalUnderTest) -> (Handle, Published) {
    let handle = one(under, Profile::Embedded).await;
    let admitted = handle.decide_one(submit("a", 0, market_order(0))).await;
    handle.decide_one(execute(&admitted)).await;
    (handle, Published { outcomes: vec![(key(0), hash(0))], ..Published::default() })
}

pub(crate) async fn marks_of_one_handle_count_for_the_other(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let admitted = a.decide_one(submit("a", 0, market_order(0))).await;
    a.decide_one(execute(&admitted)).await;
    b.journal
        .mark_published(Published { outcomes: vec![(key(0), hash(0))], ..orders(&[(0, 5)]) })
        .await
        .unwrap();
    assert!(a.reader.unpublished(EVER, 10).await.unwrap().is_empty());
    assert!(a.reader.unpublished_outcomes(EVER, 10).await.unwrap().is_empty());
    assert_eq!(a.reader.commits(order_id(0)).await.unwrap().published, 2);
}

pub(crate) async fn what_is_offered_comes_oldest_first(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let mut admitted = Vec::new();
    for n in [3, 1, 2, 0] {
        let handle = if n % 2 == 0 { &a } else { &b };
        admitted.push(handle.decide_one(submit("w", n, limit_order(n, "1", "90"))).await);
    }
    for decision in admitted.iter().rev() {
        a.decide_one(execute(decision)).await;
    }
    let wanted = [3, 1, 2, 0].map(order_id);
    assert_eq!(b.reader.unpublished(EVER, 10).await.unwrap(), wanted);
    assert_eq!(b.reader.unpublished(EVER, 2).await.unwrap(), wanted[..2]);
    // What counts is the oldest commit that is not marked.
    a.journal.mark_published(orders(&[(3, 3), (1, 3)])).await.unwrap();
    assert_eq!(b.reader.unpublished(EVER, 10).await.unwrap(), [2, 0, 1, 3].map(order_id));
    let outcomes = b.reader.unpublished_outcomes(EVER, 10).await.unwrap();
    let ended: Vec<_> = outcomes.iter().map(|(outcome, _)| outcome.key.clone()).collect();
    assert_eq!(ended, [0, 2, 1, 3].map(key));
}

pub(crate) async fn what_is_younger_than_asked_for_is_not_offered(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    let admitted = handle.decide_one(submit("a", 0, market_order(0))).await;
    handle.decide_one(execute(&admitted)).await;
    let long_ago = under.now().plus_micros(-60_000_000);
    assert!(handle.reader.unpublished(long_ago, 10).await.unwrap().is_empty());
    assert!(handle.reader.unpublished_outcomes(long_ago, 10).await.unwrap().is_empty());
    under.pass(Duration::from_millis(200)).await;
    let a_moment_ago = under.now().plus_micros(-1_000);
    assert_eq!(handle.reader.unpublished(a_moment_ago, 10).await.unwrap(), [order_id(0)]);
    assert_eq!(handle.reader.unpublished_outcomes(a_moment_ago, 10).await.unwrap().len(), 1);
}
