//! The blocking read: released, cut off, without its group.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::domain::ids::EntryId;
use crate::ports::inbox::{Inbox, InboxControl};

use super::super::RedisInbox;
use super::{Lab, ids, payload};

impl Lab {
    /// `CLIENT ID` of the connection that is blocked in a read.
    async fn blocked(&self) -> i64 {
        loop {
            let clients: String = self.ask("CLIENT LIST").await;
            let blocked =
                clients.lines().find(|line| line.contains("cmd=xreadgroup") && line.contains("flags=b"));
            if let Some(line) = blocked {
                return line.strip_prefix("id=").unwrap().split(' ').next().unwrap().parse().unwrap();
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Reads until something comes, without an error on the way.
async fn until_some(inbox: &mut RedisInbox) -> Vec<EntryId> {
    let read = async {
        loop {
            let batch = inbox.next().await.unwrap();
            if !batch.requests.is_empty() {
                return ids(&batch.requests);
            }
        }
    };
    within(read).await
}

/// A test that waits for what does not come fails.
async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it came in time")
}

#[tokio::test]
async fn what_was_added_before_any_worker_ran_is_read_in_order() {
    let lab = Lab::new().await;
    let added = [lab.add("1").await, lab.add("2").await, lab.add("3").await];
    let (mut inbox, _control) = lab.inbox("a").await;
    let batch = inbox.next().await.unwrap();
    assert_eq!(ids(&batch.requests), added);
    assert!(!batch.reclaimed);
    assert_eq!(batch.requests[2].deliveries, 1);
    assert_eq!(payload(&batch.requests[2]), Some("3"));
    assert_eq!(&*batch.requests[2].key.lane, "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_read_ends_at_once_and_strands_nothing() {
    let lab = Lab::new().await;
    let (mut given, mut added) = (HashSet::new(), HashSet::new());
    lab.make_group().await;
    for round in 0_u32..300 {
        let (mut inbox, control) = lab.inbox(&format!("a{round}")).await;
        let reader = tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let batch = inbox.next().await.unwrap();
                if batch.requests.is_empty() {
                    return mine;
                }
                mine.extend(ids(&batch.requests));
            }
        });
        match round % 10 {
            // Some are released on the way to their first read: connected, and not blocked yet.
            0 => drop(within(control.phase().subscribe().wait_for(|phase| phase.client.is_some())).await),
            _ => drop(lab.blocked().await),
        }
        let producer = async {
            for _ in 0..round % 4 {
                added.insert(lab.add("x").await);
            }
        };
        let started = Instant::now();
        let (released, ()) = tokio::join!(control.release(), producer);
        released.unwrap();
        given.extend(reader.await.unwrap());
        assert!(
            started.elapsed() < Duration::from_millis(900),
            "woken, not timed out: {:?}",
            started.elapsed()
        );
        // What came too late is for the next reader: nobody holds it. What is held was given out.
        let held: Vec<(String, String, u64, u64)> = lab.ask("XPENDING t:pending execution - + 100000").await;
        for (id, ..) in held {
            assert!(given.contains(&id.parse().unwrap()), "round {round}: {id} is stranded");
        }
    }
    let (mut inbox, control) = lab.inbox("last").await;
    lab.ask::<()>("XADD t:pending 9999999999999-0 order end").await;
    added.insert(EntryId { ms: 9_999_999_999_999, seq: 0 });
    let rest = async {
        while given.len() < added.len() {
            given.extend(until_some(&mut inbox).await);
        }
    };
    within(rest).await;
    assert_eq!(given, added);
    control.release().await.unwrap();
    assert!(inbox.next().await.unwrap().requests.is_empty(), "nothing is read after the release");
}

#[tokio::test]
async fn a_released_inbox_reads_nothing_more() {
    let lab = Lab::new().await;
    let (mut inbox, control) = lab.inbox("a").await;
    control.release().await.unwrap();
    lab.make_group().await;
    let _held = lab.held_by("a", "1").await;
    let id = lab.add("2").await;
    assert!(inbox.next().await.unwrap().requests.is_empty(), "neither new ones nor what it could take up");
    let (mut other, _control) = lab.inbox("b").await;
    assert_eq!(until_some(&mut other).await, [id]);
}

#[tokio::test]
async fn entries_whose_delivery_was_lost_are_found_after_the_connection_broke() {
    let lab = Lab::new().await;
    let (mut inbox, _control) = lab.inbox("a").await;
    let first = lab.add("1").await;
    assert_eq!(until_some(&mut inbox).await, [first]);
    // What a broken connection leaves: delivered to this consumer, never given out.
    let lost = [lab.held_by("a", "2").await, lab.held_by("a", "3").await];
    let read = tokio::spawn(async move {
        let result = inbox.next().await;
        (inbox, result.err())
    });
    let id = lab.blocked().await;
    lab.ask::<i64>(&format!("CLIENT KILL ID {id}")).await;
    let (mut inbox, error) = read.await.unwrap();
    assert!(error.is_some());
    for id in lost {
        let batch = within(inbox.next()).await.unwrap();
        assert_eq!((ids(&batch.requests), batch.reclaimed), (vec![id], true));
        assert_eq!(batch.requests[0].deliveries, 2);
    }
    let next = lab.add("4").await;
    assert_eq!(until_some(&mut inbox).await, [next], "the first is not given out twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_killed_while_entries_arrive_lose_none_and_repeat_none() {
    let lab = Lab::new().await;
    let (mut inbox, control) = lab.inbox("a").await;
    let reader = tokio::spawn(async move {
        let (mut given, mut errors) = (Vec::new(), 0);
        loop {
            match inbox.next().await {
                Ok(batch) => given.extend(ids(&batch.requests)),
                Err(_) => errors += 1,
            }
            if given.len() >= 60 {
                return (given, errors);
            }
        }
    });
    let mut added = Vec::new();
    for _ in 0..20 {
        let id = lab.blocked().await;
        added.push(lab.add("before").await);
        let kill = format!("CLIENT KILL ID {id}");
        let (during, _) = tokio::join!(lab.add("during"), lab.ask::<i64>(&kill));
        added.push(during);
        added.push(lab.add("after").await);
    }
    let (mut given, errors) = within(reader).await.unwrap();
    given.sort_unstable();
    added.sort_unstable();
    assert_eq!(given, added);
    assert!(errors > 0, "no connection broke");
    control.release().await.unwrap();
}

#[tokio::test]
async fn a_flush_while_blocked_makes_the_group_again() {
    for loss in ["FLUSHALL", "DEL t:pending", "XGROUP DESTROY t:pending execution"] {
        let lab = Lab::new().await;
        let (mut inbox, _control) = lab.inbox("a").await;
        let reading = tokio::spawn(async move {
            let first = until_some(&mut inbox).await;
            (inbox, first)
        });
        lab.blocked().await;
        lab.ask::<redis::Value>(loss).await;
        let id = lab.add("1").await;
        let (mut inbox, first) = reading.await.unwrap();
        assert_eq!(first, [id], "{loss}");
        // Between two reads.
        lab.ask::<redis::Value>("FLUSHALL").await;
        let id = lab.add("2").await;
        assert_eq!(until_some(&mut inbox).await, [id], "{loss}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let lab = Lab::new().await;
    let port = lab.server.port();
    lab.server.stop().await;
    let mut settings = Lab::new().await.settings("a", Duration::from_secs(1));
    settings.url = format!("redis://user:hunter2@127.0.0.1:{port}/3").into();
    let error = super::Redis::connect(settings).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("redis at 127.0.0.1:{port}/3: ")), "{error}");
    assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
}
