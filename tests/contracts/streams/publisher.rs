//! Commits go out in order, outcomes once and by the entry's owner.

use order_execution::domain::ids::EntryId;
use order_execution::ports::publisher::FinishAnswer::{self, Anothers, Done, FinishedAlready, Gone};
use order_execution::ports::publisher::OrderAnswer::{self, Behind, Published};
use order_execution::ports::publisher::{CommitNotice, Finish, OrderUpdate, Publication};

use super::super::fixture::order_id;
use super::{Consumer, StreamsUnderTest};

/// Commits of one order: (first version, last version) each.
fn update(n: u64, commits: &[(u64, u64)]) -> OrderUpdate {
    let last = commits.last().map_or(0, |(_, version)| *version);
    let notice = |(first_version, version): &(u64, u64)| CommitNotice {
        first_version: *first_version,
        version: *version,
        status: "PendingSubmit",
        events: format!("[{version}]").into(),
        message: format!("m{version}"),
    };
    OrderUpdate {
        order_id: order_id(n),
        client_order_id: format!("c{n}").parse().unwrap(),
        commits: commits.iter().map(notice).collect(),
        state: format!("s{last}").into(),
        version: last,
        terminal: false,
        oldest_unpublished: commits.first().is_some_and(|(first, _)| *first == 1),
    }
}

fn later(commits: &[(u64, u64)]) -> OrderUpdate {
    OrderUpdate { oldest_unpublished: false, ..update(1, commits) }
}

fn finish(entry: EntryId) -> Finish {
    let fields = vec![("entry_id", entry.to_string().into_bytes()), ("status", b"Filled".to_vec())];
    Finish { entry, completed: true, fields, order: None, after: None, unpublished_at_ms: None }
}

async fn publish(consumer: &Consumer, orders: Vec<OrderUpdate>) -> Vec<OrderAnswer> {
    let publication = Publication { orders, ..Publication::default() };
    consumer.publisher.publish(&publication).await.unwrap().orders
}

async fn end(consumer: &Consumer, finishes: Vec<Finish>) -> Vec<FinishAnswer> {
    let publication = Publication { finishes, ..Publication::default() };
    consumer.publisher.publish(&publication).await.unwrap().finishes
}

async fn forget(consumer: &Consumer, forget: Vec<EntryId>) {
    consumer.publisher.publish(&Publication { forget, ..Publication::default() }).await.unwrap();
}

pub(crate) async fn commits_go_out_in_order_and_once(under: &impl StreamsUnderTest) {
    let (a, b) = (under.consumer("a").await, under.consumer("b").await);
    assert_eq!(publish(&a, vec![update(1, &[(1, 3), (4, 5)])]).await, [Published(5)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s5"));
    for consumer in [&a, &b] {
        assert_eq!(publish(consumer, vec![update(1, &[(1, 3)])]).await, [Published(5)]);
        assert_eq!(publish(consumer, vec![update(1, &[(1, 3), (4, 5)])]).await, [Published(5)]);
    }
    assert_eq!(under.versions_out(order_id(1)).await, [(1, 3), (4, 5)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s5"), "it never moves backwards");
    assert_eq!(publish(&b, vec![update(1, &[(4, 5), (6, 6)])]).await, [Published(6)]);
    assert_eq!(under.versions_out(order_id(1)).await, [(1, 3), (4, 5), (6, 6)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s6"));
    // Of two orders each by itself.
    assert_eq!(publish(&a, vec![update(2, &[(1, 2)]), later(&[(8, 9)])]).await, [Published(2), Behind(6)]);
}

pub(crate) async fn a_gap_holds_back_what_lies_behind_it(under: &impl StreamsUnderTest) {
    let a = under.consumer("a").await;
    assert_eq!(publish(&a, vec![later(&[(1, 3)])]).await, [Behind(0)], "unknown, and not the oldest");
    assert_eq!(publish(&a, vec![later(&[(4, 5)])]).await, [Behind(0)]);
    assert!(under.versions_out(order_id(1)).await.is_empty());
    assert_eq!(under.state("c1").await, None);
    publish(&a, vec![update(1, &[(1, 3)])]).await;
    assert_eq!(publish(&a, vec![later(&[(5, 6)])]).await, [Behind(3)]);
    assert_eq!(publish(&a, vec![update(1, &[(4, 4), (6, 6)])]).await, [Behind(4)]);
    assert_eq!(under.versions_out(order_id(1)).await, [(1, 3), (4, 4)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s3"), "the state is that of version 6");
    assert_eq!(publish(&a, vec![later(&[(5, 6)])]).await, [Published(6)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s6"));
}

pub(crate) async fn after_all_is_lost_the_oldest_unpublished_commit_goes_on(under: &impl StreamsUnderTest) {
    let a = under.consumer("a").await;
    publish(&a, vec![update(1, &[(1, 3)])]).await;
    under.lose_all().await;
    assert_eq!(publish(&a, vec![later(&[(4, 5), (6, 7)])]).await, [Behind(0)]);
    let rest = OrderUpdate { oldest_unpublished: true, ..later(&[(4, 5), (6, 7)]) };
    assert_eq!(publish(&a, vec![rest]).await, [Published(7)]);
    assert_eq!(under.versions_out(order_id(1)).await, [(4, 5), (6, 7)]);
}

pub(crate) async fn a_lost_state_is_put_back(under: &impl StreamsUnderTest) {
    let a = under.consumer("a").await;
    let whole = |version, oldest_unpublished| OrderUpdate {
        state: format!("s{version}").into(),
        version,
        oldest_unpublished,
        ..update(1, &[])
    };
    assert_eq!(publish(&a, vec![whole(5, false)]).await, [Behind(0)], "it may be that all of it is lost");
    assert_eq!(publish(&a, vec![whole(5, true)]).await, [Published(5)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s5"));
    assert!(under.versions_out(order_id(1)).await.is_empty(), "nothing happened");
    assert_eq!(publish(&a, vec![later(&[(6, 6)])]).await, [Published(6)], "and goes on from there");
    assert_eq!(publish(&a, vec![whole(5, true)]).await, [Published(6)]);
    assert_eq!(under.state("c1").await.as_deref(), Some("s6"));
    assert_eq!(publish(&a, vec![whole(9, false)]).await, [Behind(6)]);
}

pub(crate) async fn a_finished_entry_leaves_with_its_outcome_and_is_remembered(
    under: &impl StreamsUnderTest,
) {
    let mut a = under.consumer("a").await;
    let (one, two) = (under.add("1").await, under.add("2").await);
    a.all(2).await;
    let refused = Finish { completed: false, ..finish(two) };
    assert_eq!(end(&a, vec![finish(one), refused, finish(one)]).await, [Done, Done, FinishedAlready]);
    assert_eq!(under.outcomes().await, [(one, true), (two, false)]);
    let depth = a.control.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.pending), (0, 0));
    let b = under.consumer("b").await;
    assert_eq!(end(&b, vec![finish(one), finish(two)]).await, [FinishedAlready, FinishedAlready]);
    forget(&b, vec![one]).await;
    assert_eq!(end(&b, vec![finish(one), finish(two)]).await, [Gone, FinishedAlready]);
    assert_eq!(under.outcomes().await.len(), 2);
}

pub(crate) async fn who_lost_an_entry_finishes_nothing(under: &impl StreamsUnderTest) {
    let mut zombie = under.consumer("zombie").await;
    let id = under.add("1").await;
    assert_eq!(zombie.all(1).await, [id]);
    let mut b = under.consumer("b").await;
    let (requests, reclaimed) = b.some().await;
    assert_eq!((requests[0].key.entry, reclaimed), (id, true));
    assert_eq!(end(&zombie, vec![finish(id)]).await, [Anothers]);
    assert!(under.outcomes().await.is_empty());
    assert_eq!(end(&b, vec![finish(id)]).await, [Done]);
    assert_eq!(end(&zombie, vec![finish(id)]).await, [FinishedAlready]);
    assert_eq!(under.outcomes().await, [(id, true)]);
}

pub(crate) async fn an_outcome_waits_for_its_order(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let id = under.add("1").await;
    a.all(1).await;
    let waiting = Finish { after: Some((order_id(1), 5)), ..finish(id) };
    assert_eq!(end(&a, vec![waiting.clone()]).await, [FinishAnswer::Behind], "nothing is known");
    publish(&a, vec![update(1, &[(1, 3)])]).await;
    assert_eq!(end(&a, vec![waiting.clone()]).await, [FinishAnswer::Behind]);
    assert_eq!(a.control.depth().await.unwrap().pending, 1);
    assert!(under.outcomes().await.is_empty());
    let both = Publication { orders: vec![update(1, &[(4, 5)])], finishes: vec![waiting], forget: vec![] };
    assert_eq!(a.publisher.publish(&both).await.unwrap().finishes, [Done]);
}

pub(crate) async fn an_entry_that_nobody_holds_is_finished_where_it_lies(under: &impl StreamsUnderTest) {
    let a = under.consumer("a").await;
    let never = EntryId { ms: 5, seq: 5 };
    let id = under.add("1").await;
    assert_eq!(end(&a, vec![finish(never), finish(id)]).await, [Gone, Done]);
    let mut b = under.consumer("b").await;
    let next = under.add("2").await;
    assert_eq!(b.all(1).await, [next], "the first is not carried out again");
    under.lose_all().await;
    assert_eq!(end(&b, vec![finish(next)]).await, [Gone]);
}

pub(crate) async fn a_lost_entry_is_finished_on_the_journals_fresh_word_once(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let id = under.add("1").await;
    a.all(1).await;
    under.lose_all().await;
    let now = a.publisher.now_ms().await.unwrap();
    let word = |at| Finish { unpublished_at_ms: Some(at), ..finish(id) };
    assert_eq!(end(&a, vec![finish(id)]).await, [Gone], "without a word");
    assert_eq!(end(&a, vec![word(now - 60_000)]).await, [Gone], "the word is old");
    assert_eq!(end(&a, vec![word(now)]).await, [Done]);
    assert_eq!(end(&a, vec![word(now)]).await, [FinishedAlready]);
    forget(&a, vec![id]).await;
    assert_eq!(end(&a, vec![word(now)]).await, [Gone], "it was finished and marked since");
    assert_eq!(under.outcomes().await, [(id, true)]);
}
