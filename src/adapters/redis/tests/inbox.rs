//! What is Redis's own about leaving. What can be asked of every inbox is in `tests/contracts/streams`.

use crate::ports::inbox::InboxControl;

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
