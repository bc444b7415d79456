//! Entries: each to one consumer, and to another when that one dies.

use std::collections::BTreeSet;
use std::time::Duration;

use order_execution::domain::ids::EntryId;
use order_execution::domain::request::Request;
use order_execution::ports::inbox::Depth;
use order_execution::ports::publisher::{Finish, FinishAnswer, Publication};

use super::{Consumer, StreamsUnderTest, ids};

pub(crate) async fn what_was_added_before_any_consumer_came_is_read_in_order(under: &impl StreamsUnderTest) {
    let added = [under.add("1").await, under.add("2").await, under.add("3").await];
    let mut a = under.consumer("a").await;
    let (requests, reclaimed) = a.some().await;
    assert_eq!((ids(&requests), reclaimed), (added.to_vec(), false));
    assert!(requests.iter().all(|request| request.deliveries == 1));
    let hashes: BTreeSet<[u8; 32]> = requests.iter().map(|request| request.hash.0).collect();
    assert_eq!(hashes.len(), 3, "each has its own content");
}

pub(crate) async fn an_entry_is_given_to_one_consumer(under: &impl StreamsUnderTest) {
    let (mut a, mut b) = (under.consumer("a").await, under.consumer("b").await);
    let mut added = BTreeSet::new();
    let mut given = Vec::new();
    for n in 0..30 {
        added.insert(under.add(&n.to_string()).await);
        let reader = if n % 2 == 0 { &mut a } else { &mut b };
        given.extend(reader.all(1).await);
    }
    assert_eq!(given.len(), 30);
    assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), added);
}

pub(crate) async fn what_a_silent_consumer_holds_is_taken_over(under: &impl StreamsUnderTest) {
    let added = vec![under.add("1").await, under.add("2").await];
    let mut dead = under.consumer("dead").await;
    assert_eq!(dead.all(2).await, added);
    drop(dead);
    let mut a = under.consumer("a").await;
    let (requests, reclaimed) = a.some().await;
    assert_eq!((ids(&requests), reclaimed), (added.clone(), true));
    assert!(requests.iter().all(|request| request.deliveries == 2));
    // They are no longer the dead one's, also when it wakes up.
    let mut woken = under.consumer("b").await;
    let new = under.add("3").await;
    assert_eq!(woken.all(1).await, [new]);
}

pub(crate) async fn what_a_living_consumer_holds_is_not_taken_over(under: &impl StreamsUnderTest) {
    let held = under.add("1").await;
    let mut slow = under.consumer("slow").await;
    assert_eq!(slow.all(1).await, [held]);
    let mut a = under.consumer("a").await;
    let mut passed = Duration::ZERO;
    while passed < 3 * under.claim_idle() {
        slow.control.heartbeat().await.unwrap();
        a.control.heartbeat().await.unwrap();
        // What is held for long by one that lives stays its own, renewed or not.
        let batch = a.inbox.next_abandoned().await.unwrap();
        assert!(batch.requests.is_empty(), "{batch:?}");
        under.pass(under.claim_idle() / 10).await;
        passed += under.claim_idle() / 10;
    }
}

pub(crate) async fn after_a_second_death_entries_come_one_by_one_and_are_counted(
    under: &impl StreamsUnderTest,
) {
    let added = vec![under.add("1").await, under.add("2").await];
    let mut first = under.consumer("first").await;
    assert_eq!(first.all(2).await, added);
    drop(first);
    let mut second = under.consumer("second").await;
    assert_eq!(ids(&second.some().await.0), added, "together, since nobody is suspected");
    drop(second);
    let mut third = under.consumer("third").await;
    for id in added {
        let (requests, reclaimed) = third.some().await;
        assert_eq!((ids(&requests), reclaimed), (vec![id], true));
        assert_eq!(requests[0].deliveries, 2, "the first time that it is to blame alone");
    }
}

pub(crate) async fn a_name_that_comes_back_takes_up_what_it_held(under: &impl StreamsUnderTest) {
    let added = vec![under.add("1").await, under.add("2").await];
    let mut before = under.consumer("a").await;
    assert_eq!(before.all(2).await, added);
    drop(before);
    let mut after = under.consumer("a").await;
    for id in added {
        let (requests, reclaimed) = after.some().await;
        assert_eq!((ids(&requests), reclaimed), (vec![id], true));
        assert_eq!(requests[0].deliveries, 2);
    }
    assert!(after.inbox.next_abandoned().await.unwrap().requests.is_empty(), "each once");
}

pub(crate) async fn a_released_inbox_reads_nothing_new(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let first = under.add("1").await;
    assert_eq!(a.all(1).await, [first]);
    a.control.release().await.unwrap();
    let id = under.add("2").await;
    for _ in 0..3 {
        assert!(a.inbox.next().await.unwrap().requests.is_empty());
        assert!(a.inbox.next_abandoned().await.unwrap().requests.is_empty());
    }
    let mut b = under.consumer("b").await;
    assert_eq!(b.all(1).await, [id]);
}

pub(crate) async fn what_is_renewed_is_not_idle(under: &impl StreamsUnderTest) {
    let held = under.add("1").await;
    let mut a = under.consumer("a").await;
    assert_eq!(a.control.renew(Duration::ZERO).await.unwrap(), 0, "it holds nothing");
    assert_eq!(a.all(1).await, [held]);
    under.pass(under.claim_idle() / 5).await;
    assert_eq!(a.control.renew(under.claim_idle() * 10).await.unwrap(), 0, "not idle for so long");
    assert_eq!(a.control.renew(under.claim_idle() / 10).await.unwrap(), 1);
    let b = under.consumer("b").await;
    assert_eq!(b.control.renew(Duration::ZERO).await.unwrap(), 0, "another's");
}

pub(crate) async fn a_trimmed_entry_is_given_out_as_such(under: &impl StreamsUnderTest) {
    let id = under.add("1").await;
    let mut dead = under.consumer("dead").await;
    assert_eq!(dead.all(1).await, [id]);
    drop(dead);
    under.trim().await;
    let mut a = under.consumer("a").await;
    let (requests, _) = a.some().await;
    assert_eq!((ids(&requests), &requests[0].request), (vec![id], &Request::Trimmed));
    for _ in 0..3 {
        assert!(a.inbox.next_abandoned().await.unwrap().requests.is_empty(), "it is given out once");
    }
}

pub(crate) async fn a_consumer_leaves_only_with_empty_hands(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let id = under.add("1").await;
    assert_eq!(a.all(1).await, [id]);
    assert!(!a.control.leave().await.unwrap());
    // What it leaves behind others have once it has lain idle: nobody waits for its heartbeat.
    let mut b = under.consumer("b").await;
    let (requests, reclaimed) = b.some().await;
    assert_eq!((ids(&requests), reclaimed), (vec![id], true));
    assert!(a.control.leave().await.unwrap());
}

pub(crate) async fn depth_tells_what_waits_and_what_is_held(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    assert_eq!(a.control.depth().await.unwrap(), Depth::default());
    let first = under.add("1").await;
    assert_eq!(a.all(1).await, [first]);
    under.add("2").await;
    assert_eq!(a.control.depth().await.unwrap(), Depth { waiting: 2, pending: 1, oldest: Some(first) });
    a.control.ping().await.unwrap();
}

pub(crate) async fn older_entries_and_present_ones_are_told(under: &impl StreamsUnderTest) {
    let a = under.consumer("a").await;
    let added = [under.add("1").await, under.add("2").await, under.add("3").await];
    assert_eq!(a.control.older_than(added[2], 10).await.unwrap(), added[..2]);
    assert_eq!(a.control.older_than(added[2], 1).await.unwrap(), added[..1]);
    assert_eq!(a.control.older_than(added[0], 10).await.unwrap(), []);
    let never = EntryId { ms: 5, seq: 5 };
    assert_eq!(a.control.present(&[never, added[1]]).await.unwrap(), [added[1]]);
}

pub(crate) async fn a_server_that_was_emptied_is_noticed_and_read_on(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let first = under.add("1").await;
    assert_eq!(a.all(1).await, [first]);
    assert!(!a.control.incarnation().await.unwrap().kept);
    assert!(!a.control.mark_kept().await.unwrap(), "nobody began to put anything back");
    a.control.mark_filling().await.unwrap();
    assert!(!a.control.incarnation().await.unwrap().kept, "it is not done yet");
    // Emptied meanwhile: nothing that was put back is there.
    under.lose_all().await;
    assert!(!a.control.mark_kept().await.unwrap());
    assert!(!a.control.incarnation().await.unwrap().kept);
    a.control.mark_filling().await.unwrap();
    assert!(a.control.mark_kept().await.unwrap());
    let before = a.control.incarnation().await.unwrap();
    assert!(before.kept);
    under.lose_all().await;
    let after = a.control.incarnation().await.unwrap();
    assert!(!after.kept, "what was marked is gone");
    assert_eq!(after.run, before.run, "it was not restarted");
    let id = under.add("2").await;
    assert_eq!(a.all(1).await, [id]);
}

/// The server comes back without its last moment: what was finished in it is pending again, and its outcome is gone.
pub(crate) async fn what_was_finished_in_a_lost_moment_is_given_out_again(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let id = under.add("1").await;
    assert_eq!(a.all(1).await, [id]);
    under.remember().await;
    finish(&a, id).await;
    under.fall_back().await;
    let (requests, reclaimed) = a.some().await;
    assert_eq!((ids(&requests), reclaimed), (vec![id], true));
    finish(&a, id).await;
    assert_eq!(under.outcomes().await, [(id, true)]);
}

/// One that was taken for dead wakes up, and whoever had taken over from it dies.
pub(crate) async fn what_another_took_over_is_taken_back_when_that_one_dies(under: &impl StreamsUnderTest) {
    let mut a = under.consumer("a").await;
    let id = under.add("1").await;
    assert_eq!(a.all(1).await, [id]);
    let mut b = under.consumer("b").await;
    assert_eq!(ids(&b.some().await.0), [id]);
    assert_eq!(answer(&a, id).await, FinishAnswer::Anothers);
    drop(b);
    under.pass(2 * under.claim_idle()).await;
    let (requests, reclaimed) = a.some().await;
    assert_eq!((ids(&requests), reclaimed), (vec![id], true));
}

async fn answer(consumer: &Consumer, entry: EntryId) -> FinishAnswer {
    let fields = vec![("entry_id", entry.to_string().into_bytes())];
    let finish = Finish { entry, completed: true, fields, order: None, after: None, unpublished_at_ms: None };
    let publication = Publication { finishes: vec![finish], ..Publication::default() };
    consumer.publisher.publish(&publication).await.unwrap().finishes[0]
}

async fn finish(consumer: &Consumer, entry: EntryId) {
    assert_eq!(answer(consumer, entry).await, FinishAnswer::Done);
}
