//! Consumers that come and go while requests keep arriving.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::domain::ids::EntryId;
use crate::ports::inbox::{Inbox, InboxControl};

use super::{Lab, ids};

/// Drains of each of the consumers that run side by side.
const DRAINS: u32 = 300;

impl Lab {
    /// A consumer that reads for a moment, is told to stop, finishes what it was given, and leaves. What it was
    /// given.
    async fn drained(&self, name: &str, reads_for: Duration) -> Vec<EntryId> {
        let (mut inbox, control) = self.inbox(name).await;
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let reader = tokio::spawn(async move {
            let mut given = Vec::new();
            while !told.load(Ordering::SeqCst) {
                given.extend(ids(&inbox.next().await.unwrap().requests));
            }
            given
        });
        tokio::time::sleep(reads_for).await;
        stopping.store(true, Ordering::SeqCst);
        control.release().await.unwrap();
        let given = reader.await.unwrap();
        let held: Vec<(String, String, u64, u64)> =
            self.ask(&format!("XPENDING t:pending execution - + 100000 {name}")).await;
        let held = held.iter().map(|(id, ..)| id.parse::<EntryId>().unwrap());
        let stranded: Vec<EntryId> = held.filter(|id| !given.contains(id)).collect();
        assert_eq!(stranded, [], "{name} holds what it was never given");
        for some in given.chunks(500) {
            let some: Vec<String> = some.iter().map(ToString::to_string).collect();
            self.ask::<i64>(&format!("XACK t:pending execution {}", some.join(" "))).await;
        }
        assert!(control.leave().await.unwrap(), "{name} left with entries in its hands");
        given
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_drains_while_requests_arrive_strand_nothing() {
    let lab = Arc::new(Lab::new().await);
    lab.make_group().await;
    let enough = Arc::new(AtomicBool::new(false));
    let producer = tokio::spawn({
        let (lab, enough) = (Arc::clone(&lab), Arc::clone(&enough));
        async move {
            let mut added = HashSet::new();
            while !enough.load(Ordering::Relaxed) {
                added.insert(lab.add("x").await);
            }
            added
        }
    });
    let chains: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|chain| {
            let lab = Arc::clone(&lab);
            tokio::spawn(async move {
                let mut given = Vec::new();
                for round in 0..DRAINS {
                    // From at once, in which case it may not even be connected, to after several reads.
                    let reads_for = Duration::from_micros(u64::from(round * 37 % 40) * 250);
                    given.extend(lab.drained(&format!("{chain}{round}"), reads_for).await);
                }
                given
            })
        })
        .collect();
    let mut given = Vec::new();
    for chain in chains {
        given.extend(chain.await.unwrap());
    }
    enough.store(true, Ordering::Relaxed);
    let added = producer.await.unwrap();
    let drained = given.len();
    assert!(drained > 600, "only {drained} entries met a reader");
    let held: (i64, redis::Value, redis::Value, redis::Value) = lab.ask("XPENDING t:pending execution").await;
    assert_eq!(held.0, 0, "entries that nobody will finish");
    assert_eq!(lab.ask::<Vec<redis::Value>>("XINFO CONSUMERS t:pending execution").await.len(), 0);

    // What no reader was given lies in the stream unread.
    let (mut inbox, control) = lab.inbox("last").await;
    while given.len() < added.len() {
        let batch =
            tokio::time::timeout(Duration::from_secs(20), inbox.next()).await.expect("it came in time");
        given.extend(ids(&batch.unwrap().requests));
    }
    let once: HashSet<EntryId> = given.iter().copied().collect();
    assert_eq!(once.len(), given.len(), "an entry was given out twice");
    assert_eq!(once, added);
    control.release().await.unwrap();
}
