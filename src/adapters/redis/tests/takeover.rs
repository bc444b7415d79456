//! Entries of dead consumers.

use std::time::Duration;

use crate::domain::ids::EntryId;
use crate::domain::request::{Received, Request};
use crate::ports::inbox::{Inbox, InboxControl};

use super::super::RedisInbox;
use super::{LONG, Lab, ids, payload};

const SHORT: Duration = Duration::from_millis(100);

impl Lab {
    /// Makes it look as if nobody had touched the entry for a minute.
    async fn idle_for_a_minute(&self, holder: &str, id: EntryId) {
        let (_, deliveries) = self.holder(id).await.unwrap();
        let claim =
            format!("XCLAIM t:pending execution {holder} 0 {id} IDLE 60000 RETRYCOUNT {deliveries} JUSTID");
        self.ask::<()>(&claim).await;
    }
}

async fn reclaimed(inbox: &mut RedisInbox) -> Received {
    loop {
        let mut batch = inbox.next().await.unwrap();
        if let Some(request) = batch.requests.pop() {
            assert!(batch.reclaimed && batch.requests.is_empty(), "{batch:?}");
            return request;
        }
    }
}

#[tokio::test]
async fn entries_of_a_dead_consumer_come_together_uncounted_before_new_ones() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let old = [lab.held_by("dead", "1").await, lab.held_by("dead", "2").await];
    for id in old {
        lab.idle_for_a_minute("dead", id).await;
    }
    let new = lab.add("3").await;
    let (mut inbox, _control) = lab.inbox_with("a", SHORT).await;

    let batch = inbox.next().await.unwrap();
    assert_eq!((ids(&batch.requests), batch.reclaimed), (old.to_vec(), true));
    assert_eq!((batch.requests[0].deliveries, payload(&batch.requests[0])), (2, Some("1")));
    for id in old {
        assert_eq!(
            lab.holder(id).await,
            Some(("a".to_owned(), 1)),
            "not counted: a neighbour may be to blame"
        );
    }
    let batch = inbox.next().await.unwrap();
    assert_eq!((ids(&batch.requests), batch.reclaimed), (vec![new], false));

    let consumers: Vec<Vec<redis::Value>> = lab.ask("XINFO CONSUMERS t:pending execution").await;
    assert_eq!(consumers.len(), 1, "the dead one's name is gone with its last entry");
}

/// One of them may have brought down whoever took them together.
#[tokio::test]
async fn entries_of_one_that_died_after_it_took_several_come_one_by_one_and_are_counted() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let old = [lab.held_by("dead", "1").await, lab.held_by("dead", "2").await];
    for id in old {
        lab.idle_for_a_minute("dead", id).await;
    }
    let (mut second, _control) = lab.inbox_with("second", SHORT).await;
    assert_eq!(second.next().await.unwrap().requests.len(), 2);
    drop(second);
    lab.ask::<i64>("DEL t:worker:execution:second").await;
    for id in old {
        lab.idle_for_a_minute("second", id).await;
    }

    let (mut inbox, _control) = lab.inbox_with("a", SHORT).await;
    let first = reclaimed(&mut inbox).await;
    assert_eq!((first.key.entry, first.deliveries), (old[0], 2));
    assert_eq!(lab.holder(old[0]).await, Some(("a".to_owned(), 2)));
    assert_eq!(lab.holder(old[1]).await, Some(("second".to_owned(), 1)), "not begun, not counted");
    assert_eq!(reclaimed(&mut inbox).await.key.entry, old[1]);
}

#[tokio::test]
async fn an_entry_is_taken_only_when_it_is_idle_and_its_holder_silent() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let (mut inbox, control) = lab.inbox_with("a", LONG).await;
    let (_dying, heart) = lab.inbox_with("dying", SHORT).await;

    // Idle, and its holder lives.
    let slow = lab.held_by("slow", "1").await;
    lab.idle_for_a_minute("slow", slow).await;
    lab.ask::<()>("SET t:worker:execution:slow 1").await;
    // Silent, and not idle for long enough.
    let young = lab.held_by("young", "2").await;
    // Both.
    let dead = lab.held_by("dying", "3").await;
    lab.idle_for_a_minute("dying", dead).await;
    heart.heartbeat().await.unwrap();
    let ttl: i64 = lab.ask("PTTL t:worker:execution:dying").await;
    assert!((1..=100).contains(&ttl), "the heartbeat ends after claim_idle: {ttl}");

    assert_eq!(reclaimed(&mut inbox).await.key.entry, dead);
    assert_eq!(lab.ask::<i64>("EXISTS t:worker:execution:dying").await, 0);
    assert!(inbox.next().await.unwrap().requests.is_empty());
    assert_eq!(lab.holder(slow).await, Some(("slow".to_owned(), 1)));
    assert_eq!(lab.holder(young).await, Some(("young".to_owned(), 1)));
    control.release().await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_that_comes_back_keeps_what_was_found_and_not_begun() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let found = [lab.held_by("stalled", "1").await, lab.held_by("stalled", "2").await];
    for id in found {
        lab.idle_for_a_minute("stalled", id).await;
    }
    lab.ask::<()>("SET t:worker:execution:stalled:took-several 1").await;
    let (mut inbox, _control) = lab.inbox_with("a", LONG).await;
    assert_eq!(reclaimed(&mut inbox).await.key.entry, found[0]);
    lab.ask::<()>("SET t:worker:execution:stalled 1").await;
    assert!(inbox.next().await.unwrap().requests.is_empty());
    assert_eq!(lab.holder(found[1]).await, Some(("stalled".to_owned(), 1)));
}

#[tokio::test]
async fn several_workers_share_what_a_dead_one_left() {
    const COUNT: usize = 1500;
    let lab = Lab::new().await;
    lab.make_group().await;
    let mut left = Vec::new();
    for _ in 0..COUNT {
        left.push(lab.add("x").await);
    }
    let _: redis::Value = lab.ask("XREADGROUP GROUP execution dead COUNT 2000 STREAMS t:pending >").await;
    let (mut a, first) = lab.inbox_with("a", SHORT).await;
    let (mut b, second) = lab.inbox_with("b", SHORT).await;
    let beat = async {
        loop {
            first.heartbeat().await.unwrap();
            second.heartbeat().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let take = async {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        while of_a.len() + of_b.len() < COUNT {
            let (one, two) = tokio::join!(a.next(), b.next());
            of_a.extend(ids(&one.unwrap().requests));
            of_b.extend(ids(&two.unwrap().requests));
        }
        (of_a, of_b)
    };
    let late = tokio::time::sleep(Duration::from_secs(20));
    let (of_a, of_b) = tokio::select! {
        taken = take => taken,
        () = beat => unreachable!(),
        () = late => panic!("not all were taken over"),
    };
    assert!(of_a.len() > COUNT / 4 && of_b.len() > COUNT / 4, "{} {}", of_a.len(), of_b.len());
    let mut all = [of_a, of_b].concat();
    all.sort_unstable();
    assert_eq!(all, left);
}

#[tokio::test]
async fn a_name_that_is_used_again_takes_up_what_it_held() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let id = lab.held_by("a", "1").await;
    let (mut inbox, _control) = lab.inbox("a").await;
    let request = reclaimed(&mut inbox).await;
    assert_eq!((request.key.entry, request.deliveries), (id, 2));
}

#[tokio::test]
async fn a_trimmed_entry_is_given_out_once_and_stays_pending_until_it_has_its_outcome() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let id = lab.held_by("dead", "1").await;
    lab.idle_for_a_minute("dead", id).await;
    lab.ask::<()>("XTRIM t:pending MAXLEN 0").await;
    let (mut inbox, _control) = lab.inbox_with("a", SHORT).await;
    let request = reclaimed(&mut inbox).await;
    assert_eq!(request.key.entry, id);
    assert_eq!(request.request, Request::Trimmed);
    assert!(lab.holder(id).await.is_some(), "a crash now must not lose it");
    // Two more looks do not give it out again.
    for _ in 0..2 {
        assert!(inbox.next().await.unwrap().requests.is_empty());
    }
}
