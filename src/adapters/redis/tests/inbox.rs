//! What can be asked of the pending stream.

use crate::ports::inbox::{Depth, InboxControl};

use super::Lab;

#[tokio::test]
async fn a_consumer_leaves_only_with_empty_hands() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let id = lab.held_by("a", "1").await;
    let (_inbox, control) = lab.inbox("a").await;
    control.heartbeat().await.unwrap();
    assert!(!control.leave().await.unwrap());
    assert_eq!(lab.holder(id).await, Some(("a".to_owned(), 1)));
    assert_eq!(lab.ask::<i64>("EXISTS t:worker:execution:a").await, 0, "others may take over what it leaves");
    lab.ask::<i64>(&format!("XACK t:pending execution {id}")).await;
    assert!(control.leave().await.unwrap());
    assert_eq!(lab.ask::<Vec<redis::Value>>("XINFO CONSUMERS t:pending execution").await.len(), 0);
    lab.ask::<()>("FLUSHALL").await;
    assert!(control.leave().await.unwrap(), "there is no group");
}

#[tokio::test]
async fn depth_tells_what_waits_what_is_held_and_what_is_oldest() {
    let lab = Lab::new().await;
    let (_inbox, control) = lab.inbox("a").await;
    assert_eq!(control.depth().await.unwrap(), Depth::default());
    lab.make_group().await;
    assert_eq!(control.depth().await.unwrap(), Depth::default());
    let first = lab.held_by("b", "1").await;
    lab.add("2").await;
    assert_eq!(control.depth().await.unwrap(), Depth { waiting: 2, pending: 1, oldest: Some(first) });
    control.ping().await.unwrap();
}

#[tokio::test]
async fn older_entries_are_listed_in_order_up_to_a_limit() {
    let lab = Lab::new().await;
    let (_inbox, control) = lab.inbox("a").await;
    let added = [lab.add("1").await, lab.add("2").await, lab.add("3").await];
    assert_eq!(control.older_than(added[2], 10).await.unwrap(), added[..2]);
    assert_eq!(control.older_than(added[2], 1).await.unwrap(), added[..1]);
    assert_eq!(control.older_than(added[0], 10).await.unwrap(), []);
}
