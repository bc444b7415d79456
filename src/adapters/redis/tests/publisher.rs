//! What is Redis's own about publishing. What is promised of every publisher is in `tests/contracts/streams`.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use uuid::Uuid;

use crate::domain::ids::{EntryId, OrderId};
use crate::ports::publisher::FinishAnswer::{self, Anothers, Done, FinishedAlready, Gone};
use crate::ports::publisher::OrderAnswer::{self, Published};
use crate::ports::publisher::{CommitNotice, Finish, OrderUpdate, Publication, Publisher};

use super::super::{Redis, RedisPublisher, RedisSettings};
use super::{LONG, Lab};

type Fields = BTreeMap<String, String>;

fn order_id(n: u128) -> OrderId {
    OrderId(Uuid::from_u128(n))
}

/// Commits of one order: (first version, last version) each.
fn update(n: u128, commits: &[(u64, u64)]) -> OrderUpdate {
    let last = commits.last().map_or(0, |(_, version)| *version);
    OrderUpdate {
        order_id: order_id(n),
        client_order_id: format!("c{n}").parse().unwrap(),
        commits: commits
            .iter()
            .map(|(first_version, version)| CommitNotice {
                first_version: *first_version,
                version: *version,
                status: "PendingSubmit",
                events: format!("[{version}]").into(),
                message: format!("m{version}"),
            })
            .collect(),
        state: format!("s{last}").into(),
        version: last,
        terminal: false,
        oldest_unpublished: commits.first().is_some_and(|(first, _)| *first == 1),
    }
}

fn finish(entry: EntryId) -> Finish {
    let fields = vec![("entry_id", entry.to_string().into_bytes()), ("status", b"Filled".to_vec())];
    Finish { entry, completed: true, fields, order: None, after: None, unpublished_at_ms: None }
}

async fn orders(publisher: &RedisPublisher, orders: Vec<OrderUpdate>) -> Vec<OrderAnswer> {
    publisher.publish(&Publication { orders, ..Publication::default() }).await.unwrap().orders
}

async fn finishes(publisher: &RedisPublisher, finishes: Vec<Finish>) -> Vec<FinishAnswer> {
    publisher.publish(&Publication { finishes, ..Publication::default() }).await.unwrap().finishes
}

impl Lab {
    async fn stream(&self, name: &str) -> Vec<(String, Fields)> {
        self.ask(&format!("XRANGE t:{name} - +")).await
    }

    async fn versions_out(&self) -> Vec<(u64, u64)> {
        let events = self.stream("events").await;
        events
            .iter()
            .map(|(_, f)| (f["first_version"].parse().unwrap(), f["version"].parse().unwrap()))
            .collect()
    }

    async fn state(&self, n: u128) -> Option<String> {
        self.ask(&format!("GET t:state:c{n}")).await
    }
}

#[tokio::test]
async fn commits_go_out_as_event_message_and_state() {
    let lab = Lab::new().await;
    let client = redis::Client::open(lab.server.url()).unwrap();
    let mut subscriber = client.get_async_pubsub().await.unwrap();
    subscriber.subscribe("t:status").await.unwrap();
    let publisher = lab.redis("a").await.publisher();

    assert_eq!(orders(&publisher, vec![update(1, &[(1, 3), (4, 5)])]).await, [Published(5)]);

    let events = lab.stream("events").await;
    let wanted = [
        ("order_id", order_id(1).to_string()),
        ("client_order_id", "c1".to_owned()),
        ("first_version", "4".to_owned()),
        ("version", "5".to_owned()),
        ("events", "[5]".to_owned()),
        ("status", "PendingSubmit".to_owned()),
    ];
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].1, wanted.map(|(name, value)| (name.to_owned(), value)).into());
    let messages: Vec<String> =
        subscriber.on_message().take(2).map(|message| message.get_payload().unwrap()).collect().await;
    assert_eq!(messages, ["m3", "m5"]);
    assert_eq!(lab.state(1).await.as_deref(), Some("s5"));
    let ttl: i64 = lab.ask("TTL t:state:c1").await;
    assert!((90..=100).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn an_order_may_go_out_in_pieces_of_which_the_last_brings_the_state() {
    let lab = Lab::new().await;
    let publisher = lab.redis("a").await.publisher();
    orders(&publisher, vec![update(1, &[(1, 3), (4, 5), (6, 6)])]).await;
    // Redis lost what was published and kept the state, which does not move back meanwhile.
    let _: i64 = lab.ask(&format!("DEL t:events t:version:{}", order_id(1))).await;
    let first = OrderUpdate { state: "".into(), ..update(1, &[(1, 3), (4, 5)]) };
    assert_eq!(orders(&publisher, vec![first.clone()]).await, [Published(5)]);
    assert_eq!(lab.state(1).await.as_deref(), Some("s6"));
    let _: i64 = lab.ask(&format!("DEL t:events t:version:{} t:state:c1", order_id(1))).await;
    let both = vec![first, update(1, &[(6, 6), (7, 7)])];
    assert_eq!(orders(&publisher, both).await, [Published(5), Published(7)]);
    assert_eq!(lab.versions_out().await, [(1, 3), (4, 5), (6, 6), (7, 7)]);
    assert_eq!(lab.state(1).await.as_deref(), Some("s7"));
}

#[tokio::test]
async fn the_published_version_is_kept_until_the_order_is_terminal_and_its_state_gone() {
    let lab = Lab::new().await;
    let publisher = lab.redis("a").await.publisher();
    let key = format!("t:version:{}", order_id(1));

    orders(&publisher, vec![update(1, &[(1, 3)])]).await;
    assert_eq!(lab.ask::<i64>(&format!("TTL {key}")).await, -1);
    orders(&publisher, vec![OrderUpdate { terminal: true, ..update(1, &[(4, 5)]) }]).await;
    let (state, version): (i64, i64) =
        (lab.ask("TTL t:state:c1").await, lab.ask(&format!("TTL {key}")).await);
    assert!(version > state && state > 0, "{version} {state}");

    // Held back halfway: not all of it is out.
    orders(&publisher, vec![OrderUpdate { terminal: true, ..update(1, &[(6, 6), (8, 8)]) }]).await;
    assert_eq!(lab.ask::<i64>(&format!("TTL {key}")).await, -1);
}

#[tokio::test]
async fn a_finished_entry_leaves_with_its_outcome_and_is_remembered() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let (one, two) = (lab.held_by("a", "1").await, lab.held_by("a", "2").await);
    let publisher = lab.redis("a").await.publisher();

    let refused = Finish { completed: false, ..finish(two) };
    assert_eq!(
        finishes(&publisher, vec![finish(one), refused, finish(one)]).await,
        [Done, Done, FinishedAlready]
    );
    let completed = lab.stream("completed").await;
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0].1["entry_id"], one.to_string());
    assert_eq!(completed[0].1["status"], "Filled");
    assert_eq!(lab.stream("failed").await.len(), 1);
    assert_eq!(lab.ask::<u64>("XLEN t:pending").await, 0);
    assert_eq!((lab.holder(one).await, lab.holder(two).await), (None, None));

    let other = lab.redis("b").await.publisher();
    assert_eq!(finishes(&other, vec![finish(one), finish(two)]).await, [FinishedAlready, FinishedAlready]);
    other.publish(&Publication { forget: vec![one], ..Publication::default() }).await.unwrap();
    assert_eq!(finishes(&other, vec![finish(one), finish(two)]).await, [Gone, FinishedAlready]);
    assert_eq!(lab.stream("completed").await.len(), 1);
}

#[tokio::test]
async fn a_finished_entry_that_stayed_behind_is_taken_away() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let id = lab.held_by("b", "1").await;
    lab.ask::<()>(&format!("SADD t:finished {id}")).await;
    let publisher = lab.redis("a").await.publisher();
    assert_eq!(finishes(&publisher, vec![finish(id)]).await, [FinishedAlready]);
    assert_eq!((lab.ask::<u64>("XLEN t:pending").await, lab.holder(id).await), (0, None));
    assert!(lab.stream("completed").await.is_empty());
}

#[tokio::test]
async fn an_entry_that_nobody_holds_is_finished_where_it_lies_and_gone_where_it_does_not() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let never = EntryId { ms: 5, seq: 5 };
    let id = lab.held_by("a", "1").await;
    let publisher = lab.redis("a").await.publisher();

    lab.ask::<()>("XGROUP DESTROY t:pending execution").await;
    assert_eq!(finishes(&publisher, vec![finish(never), finish(id)]).await, [Gone, Done], "without a group");
    lab.make_group().await;
    let id = lab.add("2").await;
    assert_eq!(
        finishes(&publisher, vec![finish(never), finish(id)]).await,
        [Gone, Done],
        "not delivered yet"
    );
    let again: Option<Vec<String>> = lab.ask("XREADGROUP GROUP execution a STREAMS t:pending >").await;
    assert_eq!(again, None, "it is not carried out again");
    lab.ask::<()>("FLUSHALL").await;
    assert_eq!(finishes(&publisher, vec![finish(id)]).await, [Gone]);
    assert!(lab.stream("completed").await.is_empty());
}

#[tokio::test]
async fn a_trimmed_entry_of_a_dead_consumer_can_be_finished_and_one_of_a_living_cannot() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let id = lab.held_by("b", "1").await;
    lab.ask::<()>("XTRIM t:pending MAXLEN 0").await;
    let publisher = lab.redis("a").await.publisher();

    lab.ask::<()>("SET t:worker:execution:b 1").await;
    assert_eq!(finishes(&publisher, vec![finish(id)]).await, [Anothers]);
    lab.ask::<()>("DEL t:worker:execution:b").await;
    assert_eq!(finishes(&publisher, vec![finish(id)]).await, [Done]);
    assert_eq!(lab.holder(id).await, None);
    assert_eq!(lab.stream("completed").await.len(), 1);
}

#[tokio::test]
async fn a_large_publication_goes_out_in_parts_in_order() {
    const COUNT: u128 = 700;
    let lab = Lab::new().await;
    lab.make_group().await;
    let mut entries = Vec::new();
    for n in 0..COUNT {
        entries.push(lab.add(&n.to_string()).await);
    }
    let _: redis::Value = lab.ask("XREADGROUP GROUP execution a COUNT 1000 STREAMS t:pending >").await;
    let publication = Publication {
        orders: (0..COUNT).map(|n| update(n, &[(1, 3), (4, 5)])).collect(),
        // Every second one, so that others of ours lie between.
        finishes: (0..COUNT)
            .zip(&entries)
            .filter(|(n, _)| n % 2 == 0)
            .map(|(n, id)| Finish { after: Some((order_id(n), 5)), ..finish(*id) })
            .collect(),
        forget: (0..3000).map(|seq| EntryId { ms: 1, seq }).collect(),
    };
    let answers = lab.redis("a").await.publisher().publish(&publication).await.unwrap();
    assert_eq!(answers.orders, vec![Published(5); 700]);
    assert_eq!(answers.finishes, vec![Done; 350]);
    assert_eq!(lab.versions_out().await.len(), 1400);
    assert_eq!(lab.stream("completed").await.len(), 350);
    assert_eq!(lab.ask::<u64>("XLEN t:pending").await, 350);
}

#[tokio::test]
async fn an_order_with_more_commits_than_one_call_carries_goes_out_whole() {
    let lab = Lab::new().await;
    let commits: Vec<_> = (1..=3000).map(|version| (version, version)).collect();
    let publisher = lab.redis("a").await.publisher();
    let all = vec![update(1, &[(1, 1)]), update(2, &commits), update(3, &[(1, 1)])];
    assert_eq!(orders(&publisher, all).await, [Published(1), Published(3000), Published(1)]);
    assert_eq!(lab.versions_out().await.len(), 3002);
}

#[tokio::test]
async fn streams_keep_about_what_is_configured() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let settings = RedisSettings { event_history: 50, outcome_history: Some(20), ..lab.settings("a", LONG) };
    let publisher = Redis::connect(settings).await.unwrap().publisher();
    for version in 1..=600 {
        let id = lab.held_by("a", "1").await;
        let orders = vec![update(1, &[(version, version)])];
        let publication = Publication { orders, finishes: vec![finish(id)], forget: vec![] };
        publisher.publish(&publication).await.unwrap();
        let (events, outcomes): (u64, u64) =
            (lab.ask("XLEN t:events").await, lab.ask("XLEN t:completed").await);
        assert!(events >= version.min(50) && events < 50 + 200, "{events} of {version}");
        assert!(outcomes >= version.min(20) && outcomes < 20 + 200, "{outcomes} of {version}");
    }
    // Each trims by itself where it is full: the newest stay.
    assert_eq!(lab.versions_out().await.last().map(|last| last.1), Some(600));
}

#[tokio::test]
async fn a_script_that_cannot_do_all_does_nothing() {
    let lab = Lab::new().await;
    lab.make_group().await;
    let id = lab.held_by("a", "1").await;
    let publisher = lab.redis("a").await.publisher();
    for stream in ["failed", "completed", "events", "finished"] {
        lab.ask::<()>(&format!("SET t:{stream} x")).await;
        let publication =
            Publication { orders: vec![update(1, &[(1, 1)])], finishes: vec![finish(id)], forget: vec![] };
        let error = publisher.publish(&publication).await.unwrap_err();
        assert!(format!("{error}").contains("WRONGTYPE"), "{error}");
        assert_eq!(lab.ask::<i64>(&format!("EXISTS t:version:{} t:state:c1", order_id(1))).await, 0);
        lab.ask::<()>(&format!("DEL t:{stream}")).await;
        assert_eq!(lab.ask::<i64>("EXISTS t:completed t:failed t:events t:finished").await, 0, "{stream}");
    }
}
