//! Cancels and replaces.

use super::*;

#[test]
fn only_an_open_order_is_cancelled() {
    let mut bench = Bench::new(Dedupe::Forever);
    assert_eq!(refused(bench.cancel("a")), Code::UnknownOrder);
    bench.submit(market("a", "1")).unwrap();
    let refusal = bench.cancel("a").unwrap_err();
    assert_eq!(refusal.code, Code::NotOpen);
    assert_eq!(refusal.order.map(|order| order.status), Some(OrderStatus::Filled));
    bench.submit(limit("b", "1", "44000")).unwrap();
    assert_eq!(order(bench.cancel("b")).status, OrderStatus::Cancelled);
    assert_eq!(refused(bench.cancel("b")), Code::NotOpen);
    bench.prices(r#"{"BTCUSDT": "40000"}"#);
    assert_eq!(gist(&order(bench.query("b"))), (OrderStatus::Cancelled, "0".to_owned(), vec![]));
}

#[test]
fn a_replace_changes_the_order_in_place() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(limit("a", "1", "44000")).unwrap();
    let replaced = order(bench.replace("a", "r1", Some("2"), None));
    assert_eq!((replaced.order_id.as_str(), replaced.status), ("x-1", OrderStatus::Open));
    assert_eq!(replaced.quantity.to_string(), "2");
    assert_eq!(json(&replaced.price), "44000");
    assert_eq!(replaced.replace_id.as_deref(), Some("r1"));
    let told = json(&bench.transactions(1)[0]);
    assert_eq!(
        (&told["type"], &told["quantity"], &told["price"]),
        (&json(&"Replaced"), &json(&"2"), &json(&"44000"))
    );
    bench.check_replay();
}

#[test]
fn a_replace_that_crosses_executes_at_the_markets_price() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.prices(r#"{"BTCUSDT": {"bid": "44990", "ask": "45000", "ask_size": "0.25"}}"#);
    bench.submit(limit("a", "1", "44000")).unwrap();
    let crossed = order(bench.replace("a", "r1", None, Some("46000")));
    assert_eq!(gist(&crossed), (OrderStatus::Open, "0.25".to_owned(), vec!["45000".to_owned()]));
    // The rest waits at its new limit.
    bench.prices(r#"{"BTCUSDT": "45500"}"#);
    let rest = order(bench.query("a"));
    assert_eq!(
        gist(&rest),
        (OrderStatus::Filled, "1".to_owned(), vec!["45000".to_owned(), "46000".to_owned()])
    );
    bench.check_replay();
}

#[test]
fn a_replace_that_was_carried_out_is_answered_again_and_not_done_again() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(limit("a", "1", "44000")).unwrap();
    bench.replace("a", "r1", Some("2"), None).unwrap();
    bench.replace("a", "r2", Some("3"), None).unwrap();
    let again = order(bench.replace("a", "r1", Some("2"), None));
    assert_eq!(again.quantity.to_string(), "3");
    assert_eq!(again.replace_id.as_deref(), Some("r2"));
    bench.cancel("a").unwrap();
    assert_eq!(order(bench.replace("a", "r2", Some("3"), None)).status, OrderStatus::Cancelled);
    assert_eq!(refused(bench.replace("a", "r3", Some("4"), None)), Code::NotOpen);
    assert_eq!(refused(bench.replace("b", "r3", Some("4"), None)), Code::UnknownOrder);
    bench.check_replay();
}

#[test]
fn a_replace_is_refused_with_the_order_as_it_was() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.prices(r#"{"ETHUSDT": {"bid": "2999", "ask": "3000", "ask_size": "1"}}"#);
    let ether = Placement { symbol: "ETHUSDT".parse().unwrap(), ..limit("a", "3", "3000") };
    let part = order(bench.submit(ether));
    assert_eq!(gist(&part).1, "1");
    assert_eq!(refused(bench.replace("a", "r1", Some("1"), None)), Code::Rejected, "not above the filled");
    assert_eq!(refused(bench.replace("a", "r1", None, Some("2999.3"))), Code::Rejected, "off the grid");
    assert_eq!(order(bench.query("a")), part);
    let passive = Placement { post_only: true, ..limit("b", "1", "44000") };
    bench.submit(passive).unwrap();
    assert_eq!(refused(bench.replace("b", "r1", None, Some("45000"))), Code::Rejected, "would cross");
    assert_eq!(json(&order(bench.query("b")).price), "44000");
    bench.check_replay();
}

#[test]
fn a_replace_has_a_deadline_of_its_own() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(limit("a", "1", "44000")).unwrap();
    let window = Window { timestamp: Some(Timestamp::from_micros(bench.now - 11)), valid_for_us: Some(10) };
    let change = Change {
        quantity: Some("2".parse().unwrap()),
        price: None,
        stop_price: None,
        replace_id: "r".to_owned(),
    };
    let late = Command::Replace { client_order_id: client("a"), change, window };
    assert_eq!(refused(bench.perform(late)), Code::Timestamp);
    assert_eq!(order(bench.query("a")).replace_id, None);
}

#[test]
fn the_share_of_failures_is_one_of_submissions() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(limit("a", "1", "44000")).unwrap();
    let records = std::mem::take(&mut bench.records);
    let mut bench = Bench::at(Venue { failure_rate: Decimal::ONE, ..venue() }, Dedupe::Forever);
    for record in &records {
        bench.book.replay(record).unwrap();
    }
    assert_eq!(order(bench.replace("a", "r", Some("2"), None)).status, OrderStatus::Open);
}
