//! Submissions: dedupe, deadlines, matching, what readers see.

use super::*;

#[test]
fn forever_repeats_the_answer_and_executes_once() {
    let mut bench = Bench::new(Dedupe::Forever);
    let first = order(bench.submit(market("a", "1")));
    assert_eq!(gist(&first), (OrderStatus::Filled, "1".to_owned(), vec!["45000".to_owned()]));
    assert_eq!(order(bench.submit(market("a", "1"))), first);
    assert_eq!(order(bench.submit(market("a", "2"))), first, "whatever the repeat asks for");
    let nowhere = || Placement { symbol: "NOPE".parse().unwrap(), ..market("b", "1") };
    let refusal = bench.submit(nowhere()).unwrap_err();
    assert_eq!(refusal.code, Code::Rejected);
    assert_eq!(bench.submit(nowhere()).unwrap_err(), refusal);
    assert_eq!(bench.submit(market("b", "1")).unwrap_err(), refusal, "a rejection is remembered");
    assert_eq!(order(bench.query("b")).status, OrderStatus::Rejected);
    let truth = bench.truth();
    let counts: Vec<_> = truth.iter().map(|truth| (truth.posts, truth.generations.len())).collect();
    assert_eq!(counts, [(3, 1), (3, 1)]);
    bench.check_replay();
}

#[test]
fn a_repeat_tells_the_order_as_it_stands_now() {
    let mut bench = Bench::new(Dedupe::Forever);
    assert_eq!(order(bench.submit(limit("a", "1", "44000"))).status, OrderStatus::Open);
    bench.cancel("a").unwrap();
    assert_eq!(order(bench.submit(limit("a", "1", "44000"))).status, OrderStatus::Cancelled);
}

#[test]
fn open_refuses_while_one_is_open_and_executes_again_afterwards() {
    let mut bench = Bench::new(Dedupe::Open);
    bench.submit(limit("a", "1", "44000")).unwrap();
    assert_eq!(refused(bench.submit(limit("a", "1", "44000"))), Code::Duplicate);
    bench.prices(r#"{"BTCUSDT": "43000"}"#);
    assert_eq!(order(bench.query("a")).status, OrderStatus::Filled);
    let second = order(bench.submit(market("a", "1")));
    assert_eq!((second.order_id.as_str(), second.status), ("x-2", OrderStatus::Filled));
    assert_eq!(order(bench.query("a")), second, "the newest generation");
    assert_eq!(bench.truth()[0].generations.len(), 2);
    bench.check_replay();
}

#[test]
fn none_always_executes() {
    let mut bench = Bench::new(Dedupe::None);
    for _ in 0..3 {
        bench.submit(limit("a", "1", "44000")).unwrap();
    }
    let open = bench.perform(Command::OpenOrders { lag_us: 0 });
    assert!(matches!(open, Ok(Answer::Orders(orders)) if orders.len() == 3));
    assert_eq!(order(bench.cancel("a")).order_id, "x-3");
    assert_eq!(order(bench.cancel("a")).order_id, "x-2", "the newest that is open");
    bench.check_replay();
}

#[test]
fn the_deadline_is_that_of_the_execution() {
    let mut bench = Bench::new(Dedupe::Open);
    let made = bench.now;
    let window = Window { timestamp: Some(Timestamp::from_micros(made)), valid_for_us: Some(50_000) };
    bench.now = made + 50_001;
    assert_eq!(refused(bench.submit_within(market("late", "1"), window)), Code::Timestamp);
    assert_eq!(refused(bench.query("late")), Code::UnknownOrder, "nothing was executed or remembered");
    let mut bench = Bench::new(Dedupe::Open);
    bench.now = made + 50_000;
    bench.submit_within(market("just", "1"), window).unwrap();
    let mut bench = Bench { now: made - 1_000_001, ..Bench::new(Dedupe::Open) };
    assert_eq!(refused(bench.submit_within(market("early", "1"), window)), Code::Timestamp);
    let mut bench = Bench { now: made - 1_000_000, ..Bench::new(Dedupe::Open) };
    bench.submit_within(market("early", "1"), window).unwrap();
}

#[test]
fn a_repeat_after_the_deadline_is_told_what_was_executed() {
    let mut bench = Bench::new(Dedupe::Forever);
    let window = Window { timestamp: Some(Timestamp::from_micros(bench.now)), valid_for_us: Some(10) };
    let first = order(bench.submit_within(market("a", "1"), window));
    bench.now += 1_000_000;
    assert_eq!(order(bench.submit_within(market("a", "1"), window)), first);
}

#[test]
fn times_never_go_back() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(market("a", "1")).unwrap();
    bench.now = 5;
    bench.submit(market("b", "1")).unwrap();
    let times: Vec<_> = bench.transactions(0).iter().map(|transaction| transaction.time_us).collect();
    assert!(times.is_sorted() && times[0] > 5, "{times:?}");
}

#[test]
fn what_the_venue_refuses_is_rejected() {
    let mut bench = Bench::new(Dedupe::None);
    let ether = |placement: Placement| Placement { symbol: "ETHUSDT".parse().unwrap(), ..placement };
    let cases = [
        ether(limit("off-the-grid", "1", "2999.3")),
        Placement { post_only: true, ..limit("crosses", "1", "45000") },
        Placement { post_only: true, ..market("contradiction", "1") },
        Placement { quantity: "1.000000000000000000000000001".parse().unwrap(), ..market("digits", "1") },
    ];
    for placement in cases {
        let id = placement.client_order_id.as_str().to_owned();
        assert_eq!(refused(bench.submit(placement)), Code::Rejected, "{id}");
        assert_eq!(order(bench.query(&id)).status, OrderStatus::Rejected, "{id}");
    }
    let mut bench = Bench::at(Venue { failure_rate: Decimal::ONE, ..venue() }, Dedupe::Forever);
    assert_eq!(refused(bench.submit(market("drawn", "1"))), Code::Rejected);
    bench.check_replay();
}

#[test]
fn a_quote_gives_no_more_than_its_size() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.prices(r#"{"BTCUSDT": {"bid": "44990", "ask": "45010", "ask_size": "1.5", "bid_size": "9"}}"#);
    let first = order(bench.submit(market("a", "1")));
    assert_eq!(gist(&first), (OrderStatus::Filled, "1".to_owned(), vec!["45010".to_owned()]));
    let rest = order(bench.submit(Placement { time_in_force: TimeInForce::Ioc, ..limit("b", "1", "46000") }));
    assert_eq!(gist(&rest), (OrderStatus::Cancelled, "0.5".to_owned(), vec!["45010".to_owned()]));
    let none = order(bench.submit(Placement { time_in_force: TimeInForce::Fok, ..limit("c", "1", "46000") }));
    assert_eq!(gist(&none), (OrderStatus::Cancelled, "0".to_owned(), vec![]));
    bench.check_replay();
    // A new market offers its size anew; what rests is met first.
    assert_eq!(order(bench.submit(limit("d", "1", "45020"))).status, OrderStatus::Open);
    bench.prices(r#"{"BTCUSDT": {"ask": "45000", "ask_size": "1.25"}}"#);
    let met = order(bench.query("d"));
    assert_eq!(gist(&met), (OrderStatus::Filled, "1".to_owned(), vec!["45020".to_owned()]));
    assert_eq!(order(bench.submit(market("e", "1"))).filled_quantity.to_string(), "0.25");
    bench.check_replay();
}

#[test]
fn transactions_tell_everything_in_sequence() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(market("a", "2")).unwrap();
    bench.submit(limit("b", "1", "44000")).unwrap();
    bench.cancel("b").unwrap();
    let all = bench.transactions(0);
    assert_eq!(all.iter().map(|transaction| transaction.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let trade = json(&all[1]);
    assert_eq!(trade["type"], "Trade");
    assert_eq!(trade["trade"]["trade_id"], "t-1");
    assert_eq!(trade["trade"]["commission"], serde_json::json!({ "asset": "USDT", "amount": "90" }));
    assert_eq!(json(&all[3])["reason"], "cancelled by request");
    assert_eq!(bench.transactions(3).len(), 1);
    assert_eq!(bench.transactions(99).len(), 0);
}

#[test]
fn who_lags_sees_what_stood_then() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(limit("a", "1", "44000")).unwrap();
    let placed_at = bench.now - 1000;
    bench.now += 100_000;
    bench.prices(r#"{"BTCUSDT": "43000"}"#);
    let ago = |bench: &Bench, moment: i64| bench.now - moment;
    let lag_us = ago(&bench, placed_at + 50);
    let then = order(bench.perform(Command::Order { client_order_id: client("a"), lag_us }));
    assert_eq!(gist(&then), (OrderStatus::Open, "0".to_owned(), vec![]));
    let lag_us = ago(&bench, placed_at + 50);
    let open = bench.perform(Command::OpenOrders { lag_us });
    assert!(matches!(open, Ok(Answer::Orders(orders)) if orders.len() == 1));
    let lag_us = ago(&bench, placed_at + 50);
    let page = bench.perform(Command::Transactions { after: 0, limit: 9, lag_us });
    assert!(matches!(page, Ok(Answer::Transactions { page, last: 1, .. }) if page.len() == 1));
    let lag_us = ago(&bench, placed_at - 50);
    let before = bench.perform(Command::Order { client_order_id: client("a"), lag_us });
    assert_eq!(refused(before), Code::UnknownOrder);
}

#[test]
fn a_post_that_is_not_carried_out_is_counted() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.perform(Command::Arrived(client("a"))).unwrap();
    let late =
        Command::Submit { placement: Box::new(market("a", "1")), window: Window::default(), counted: true };
    bench.perform(late).unwrap();
    let truth = bench.truth();
    assert_eq!((truth[0].posts, truth[0].generations.len()), (1, 1));
    bench.check_replay();
}
