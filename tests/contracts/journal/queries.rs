//! What people, APIs and the loops read.

use std::time::Duration;

use order_execution::domain::ids::EntryId;
use order_execution::domain::order::OrderSpec;
use order_execution::domain::order_type::{Side, TimeInForce};
use order_execution::domain::profile::Profile;
use order_execution::domain::request::OrderRef;
use order_execution::domain::status::Status;
use order_execution::ports::journal::OrderFilter;

use super::super::fixture::{
    SETTLE_US, broker, cancel, execute, execute_cancel, limit_order, market_order, order_id, submit, symbol,
};
use super::{Handle, JournalUnderTest, one, two};

async fn executed(handle: &Handle, n: u64, spec: OrderSpec) {
    let admitted = handle.decide_one(submit("a", n, spec)).await;
    handle.decide_one(execute(&admitted)).await;
}

async fn names(handle: &Handle, filter: OrderFilter) -> Vec<String> {
    let orders = handle.reader.orders(&OrderFilter { limit: filter.limit.max(50), ..filter }).await.unwrap();
    orders.iter().map(|order| order.spec.client_order_id.to_string()).collect()
}

pub(crate) async fn orders_are_found_by_every_filter(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    executed(&a, 0, OrderSpec { strategy_id: Some("s-1".to_owned()), ..market_order(0) }).await;
    executed(&b, 1, OrderSpec { symbol: symbol("EUR_USD"), ..limit_order(1, "1", "90") }).await;
    executed(&a, 2, OrderSpec { side: Side::Sell, ..limit_order(2, "1", "110") }).await;
    under.pass(Duration::from_secs(10)).await;
    let middle = under.now().plus_micros(-5_000_000);
    executed(&b, 3, OrderSpec { client_order_id: "d_3".parse().unwrap(), ..limit_order(3, "1", "90") }).await;
    let asked = a.decide_one(cancel("a", 9, "d_3")).await;
    a.decide_one(execute_cancel(9, &asked)).await;
    let none = OrderFilter::default;
    let cases = [
        (none(), "d_3 c2 c1 c0"),
        (OrderFilter { symbol: Some(symbol("EUR_USD")), ..none() }, "c1"),
        (OrderFilter { status: Some(Status::Filled), ..none() }, "c0"),
        (OrderFilter { statuses: vec![Status::Acknowledged], ..none() }, "c2 c1"),
        (OrderFilter { statuses: vec![Status::Filled, Status::Cancelled], ..none() }, "d_3 c0"),
        (OrderFilter { statuses: vec![Status::Acknowledged, Status::PartiallyFilled], ..none() }, "c2 c1"),
        (OrderFilter { open: true, ..none() }, "c2 c1"),
        (OrderFilter { parked: true, ..none() }, ""),
        (OrderFilter { strategy_id: Some("s-1".to_owned()), ..none() }, "c0"),
        (OrderFilter { strategy_id: Some("s-%".to_owned()), ..none() }, ""),
        (OrderFilter { client_order_id: Some("c2".parse().unwrap()), ..none() }, "c2"),
        (OrderFilter { client_order_id_prefix: Some("c".to_owned()), ..none() }, "c2 c1 c0"),
        (OrderFilter { client_order_id_prefix: Some("d_".to_owned()), ..none() }, "d_3"),
        (OrderFilter { client_order_id_prefix: Some("_".to_owned()), ..none() }, ""),
        (OrderFilter { side: Some(Side::Sell), ..none() }, "c2"),
        (OrderFilter { broker: Some(broker()), ..none() }, "d_3 c2 c1 c0"),
        (OrderFilter { broker: Some("other".parse().unwrap()), ..none() }, ""),
        (OrderFilter { since: Some(middle), ..none() }, "d_3"),
        (OrderFilter { until: Some(middle), ..none() }, "c2 c1 c0"),
        (OrderFilter { before: Some(order_id(2)), ..none() }, "c1 c0"),
        (OrderFilter { before: Some(order_id(77)), ..none() }, ""),
        (OrderFilter { open: true, side: Some(Side::Buy), until: Some(middle), ..none() }, "c1"),
    ];
    for (filter, wanted) in cases {
        assert_eq!(names(&a, filter.clone()).await.join(" "), wanted, "{filter:?}");
        assert_eq!(names(&b, filter.clone()).await.join(" "), wanted, "{filter:?}");
    }
}

pub(crate) async fn orders_come_newest_first_page_by_page(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    for n in [4, 2, 5, 1, 3] {
        handle.decide_one(submit("a", n, market_order(n))).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let filter = OrderFilter { limit: 2, before, ..OrderFilter::default() };
        let page = handle.reader.orders(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.spec.id);
        seen.extend(page.iter().map(|order| order.spec.id));
    }
    assert_eq!(seen, [3, 1, 5, 2, 4].map(order_id));
}

pub(crate) async fn entries_that_were_admitted_are_known(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    executed(&a, 1, limit_order(1, "1", "90")).await;
    a.decide_one(cancel("a", 3, "c1")).await;
    a.decide_one(cancel("a", 5, "unheard-of")).await;
    let entries: Vec<EntryId> = (0..7).map(|seq| EntryId { ms: 1, seq }).collect();
    let mut known = b.reader.admitted("orders", &entries).await.unwrap();
    known.sort_unstable();
    assert_eq!(known, [entries[1], entries[3], entries[5]]);
    assert!(b.reader.admitted("another", &entries).await.unwrap().is_empty());
    assert!(b.reader.admitted("orders", &[]).await.unwrap().is_empty());
}

pub(crate) async fn symbols_with_resting_orders_are_told(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    assert!(handle.reader.resting_symbols().await.unwrap().is_empty());
    executed(&handle, 0, market_order(0)).await;
    assert!(handle.reader.resting_symbols().await.unwrap().is_empty());
    for (n, name) in [(1, "EUR_USD"), (2, "EUR_USD"), (3, "GOLD")] {
        executed(&handle, n, OrderSpec { symbol: symbol(name), ..limit_order(n, "1", "90") }).await;
    }
    let mut resting = handle.reader.resting_symbols().await.unwrap();
    resting.sort();
    assert_eq!(resting, [(broker(), symbol("EUR_USD")), (broker(), symbol("GOLD"))]);
}

pub(crate) async fn instruments_where_time_has_ended_an_order_are_told(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    let ends = under.now().plus_micros(60_000_000);
    let until = TimeInForce::Gtd { expires_at: ends };
    executed(&handle, 1, OrderSpec { time_in_force: until, ..limit_order(1, "1", "90") }).await;
    executed(&handle, 2, OrderSpec { symbol: symbol("GOLD"), ..limit_order(2, "1", "90") }).await;
    assert!(handle.reader.ending(ends.plus_micros(-1)).await.unwrap().is_empty());
    let ended = handle.reader.ending(ends).await.unwrap();
    assert_eq!(ended, [(broker(), symbol("BTCUSDT"))]);
    let asked = handle.decide_one(cancel("a", 9, "c1")).await;
    handle.decide_one(execute_cancel(9, &asked)).await;
    assert!(handle.reader.ending(ends).await.unwrap().is_empty());
}

pub(crate) async fn parked_orders_are_counted(under: &impl JournalUnderTest) {
    use order_execution::domain::decide::{Input, Looked};
    use order_execution::domain::ledger::AttemptKind;
    use order_execution::domain::report::Finding;
    let handle = one(under, Profile::OneShot { settle_us: SETTLE_US }).await;
    for n in 1..=3 {
        handle.decide_one(submit("a", n, market_order(n))).await;
    }
    under.pass(Duration::from_micros(SETTLE_US.unsigned_abs() + 1_000_000)).await;
    for n in 1..=2 {
        let looked = Looked {
            order_id: order_id(n),
            epoch: 1,
            kind: AttemptKind::Submit,
            number: 1,
            finding: Finding { as_of: under.now(), reports: None },
            key: super::fixture::key(n),
            hash: super::fixture::hash(n),
            view: super::fixture::view("a"),
        };
        handle.decide_one(Input::Looked(Box::new(looked))).await;
    }
    assert_eq!(handle.reader.parked().await.unwrap(), 2);
    assert_eq!(names(&handle, OrderFilter { parked: true, ..OrderFilter::default() }).await, ["c2", "c1"]);
    let position = handle.reader.positions().await.unwrap().remove(0).2;
    assert_eq!(position.reserved_buy.to_string(), "3", "a parked order keeps its reservation");
}

pub(crate) async fn what_is_not_there_is_absent_and_no_error(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    assert_eq!(handle.reader.order(&OrderRef::Order(order_id(1))).await.unwrap(), None);
    assert_eq!(handle.find("nobody").await, None);
    assert!(handle.reader.events(order_id(1)).await.unwrap().is_empty());
    assert!(handle.reader.commits(order_id(1)).await.unwrap().commits.is_empty());
    assert!(handle.reader.positions().await.unwrap().is_empty());
    assert!(handle.reader.history(0, 10).await.unwrap().is_empty());
    assert_eq!(handle.reader.parked().await.unwrap(), 0);
    assert_eq!(handle.reader.feed_cursor(&broker()).await.unwrap(), 0);
}

pub(crate) async fn history_comes_in_order_of_admission(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    for n in [4, 2, 5, 1, 3] {
        let handle = if n % 2 == 0 { &a } else { &b };
        executed(handle, n, market_order(n)).await;
    }
    let first = a.reader.history(0, 3).await.unwrap();
    let rest = b.reader.history(first[2].admission, 10).await.unwrap();
    let ids: Vec<_> = first.iter().chain(&rest).map(|history| history.order.spec.id).collect();
    assert_eq!(ids, [4, 2, 5, 1, 3].map(order_id));
    let ascending = first.iter().chain(&rest).map(|history| history.admission).is_sorted();
    assert!(ascending);
    for history in first.iter().chain(&rest) {
        assert_eq!((history.events.len(), history.trades.len()), (5, 1));
    }
}
