//! Orders that wait, orders that time ends, trades that are corrected and taken back.

use super::*;
use crate::domain::order_type::DistanceType;

fn stop(id: &str, at: &str) -> Placement {
    let order_type = OrderType::Stop { stop_price: at.parse().unwrap() };
    Placement { order_type, ..market(id, "1") }
}

impl Bench {
    fn clock(&mut self, us: i64) {
        self.now = us;
    }

    fn revise(&mut self, trade_id: &str, terms: Option<(&str, &str)>) -> Answered {
        let terms = terms.map(|(quantity, price)| (quantity.parse().unwrap(), price.parse().unwrap()));
        let reason = "erroneous".to_owned();
        self.perform(Command::Revise(Revision { trade_id: trade_id.to_owned(), terms, reason }))
    }

    fn kinds(&mut self) -> Vec<TransactionType> {
        self.transactions(0).into_iter().map(|transaction| transaction.kind).collect()
    }
}

#[test]
fn a_stop_waits_is_triggered_and_fills() {
    let mut bench = Bench::new(Dedupe::Forever);
    let placed = order(bench.submit(stop("s", "46000")));
    assert_eq!((placed.status, placed.triggered), (OrderStatus::Open, false));
    bench.prices(r#"{"BTCUSDT": "45999.99"}"#);
    assert_eq!(order(bench.query("s")).status, OrderStatus::Open);
    bench.prices(r#"{"BTCUSDT": "46000"}"#);
    let filled = order(bench.query("s"));
    assert_eq!((filled.status, filled.triggered), (OrderStatus::Filled, true));
    use TransactionType::{Accepted, Trade, Triggered};
    assert_eq!(bench.kinds(), [Accepted, Triggered, Trade]);
    bench.check_replay();
}

#[test]
fn a_trailing_stop_is_where_it_was_after_a_restart() {
    let mut bench = Bench::new(Dedupe::Forever);
    let order_type =
        OrderType::TrailingStop { distance: "1".parse().unwrap(), distance_type: DistanceType::Percent };
    let placed = Placement { order_type, side: Side::Sell, ..market("t", "1") };
    assert_eq!(order(bench.submit(placed)).trail.unwrap().stop_price.to_string(), "44550");
    bench.prices(r#"{"BTCUSDT": "50000"}"#);
    bench.prices(r#"{"BTCUSDT": "49501"}"#);
    bench.check_replay();
    assert_eq!(order(bench.query("t")).trail.unwrap().stop_price.to_string(), "49500");
    bench.prices(r#"{"BTCUSDT": "49500"}"#);
    assert_eq!(order(bench.query("t")).status, OrderStatus::Filled);
    bench.check_replay();
}

#[test]
fn an_order_expires_before_anything_else_happens_at_that_instant() {
    let end = 15_000_000;
    let gtd = TimeInForce::Gtd { expires_at: Timestamp::from_micros(end) };
    // Whatever comes first at that instant finds it expired.
    let firsts: [fn(&mut Bench); 4] = [
        |bench| bench.prices(r#"{"BTCUSDT": "40000"}"#),
        |bench| assert_eq!(refused(bench.cancel("o")), Code::NotOpen),
        |bench| assert_eq!(refused(bench.replace("o", "r", None, Some("46000"))), Code::NotOpen),
        |bench| drop(bench.perform(Command::Tick)),
    ];
    for first in firsts {
        let mut bench = Bench::new(Dedupe::Forever);
        bench.submit(Placement { time_in_force: gtd, ..limit("o", "1", "44000") }).unwrap();
        bench.clock(end);
        first(&mut bench);
        let found = order(bench.query("o"));
        assert_eq!((found.status, found.filled_quantity.is_zero()), (OrderStatus::Expired, true));
        bench.check_replay();
        // An instant earlier it fills.
        let mut bench = Bench::new(Dedupe::Forever);
        bench.submit(Placement { time_in_force: gtd, ..limit("o", "1", "44000") }).unwrap();
        bench.clock(end - 1);
        bench.prices(r#"{"BTCUSDT": "40000"}"#);
        assert_eq!(order(bench.query("o")).status, OrderStatus::Filled);
    }
    let mut bench = Bench::new(Dedupe::Forever);
    bench.clock(end);
    let past = Placement { time_in_force: gtd, ..limit("o", "1", "44000") };
    let past = order(bench.submit(past));
    assert_eq!((past.status, past.filled_quantity.is_zero()), (OrderStatus::Expired, true));
    bench.check_replay();
}

#[test]
fn a_day_ends_at_midnight() {
    let mut bench = Bench::new(Dedupe::Forever);
    let midnight = 86_400_000_000;
    bench.clock(midnight - 10_000);
    bench.submit(Placement { time_in_force: TimeInForce::Day, ..limit("a", "1", "44000") }).unwrap();
    bench.clock(midnight);
    bench.submit(Placement { time_in_force: TimeInForce::Day, ..limit("b", "1", "44000") }).unwrap();
    assert_eq!(order(bench.query("a")).status, OrderStatus::Expired);
    assert_eq!(order(bench.query("b")).status, OrderStatus::Open);
    bench.clock(2 * midnight - 1);
    assert_eq!(order(bench.query("b")).status, OrderStatus::Open);
    bench.clock(2 * midnight);
    assert_eq!(order(bench.query("b")).status, OrderStatus::Expired);
    bench.check_replay();
}

#[test]
fn reduce_only_counts_what_all_trades_come_to() {
    let mut bench = Bench::new(Dedupe::Forever);
    let reduce = |id, quantity| Placement { side: Side::Sell, reduce_only: true, ..market(id, quantity) };
    assert_eq!(refused(bench.submit(reduce("a", "1"))), Code::Rejected);
    bench.submit(market("b", "3")).unwrap();
    let reduced = order(bench.submit(reduce("c", "5")));
    assert_eq!(gist(&reduced), (OrderStatus::Cancelled, "3".to_owned(), vec!["45000".to_owned()]));
    // What is taken back was never held.
    bench.submit(market("d", "2")).unwrap();
    let trade = order(bench.query("d")).trades[0].trade_id.clone();
    bench.revise(&trade, None).unwrap();
    assert_eq!(refused(bench.submit(reduce("e", "1"))), Code::Rejected);
    bench.check_replay();
}

#[test]
fn a_trade_that_is_revised_opens_what_it_had_filled() {
    let mut bench = Bench::new(Dedupe::Forever);
    bench.submit(limit("o", "2", "45000")).unwrap();
    let trade = order(bench.query("o")).trades[0].trade_id.clone();
    assert_eq!(refused(bench.revise(&trade, Some(("2.5", "45000")))), Code::Rejected, "more than its order");
    assert_eq!(refused(bench.revise("t-77", None)), Code::UnknownTrade);
    bench.revise(&trade, Some(("1.5", "44999"))).unwrap();
    let open = order(bench.query("o"));
    assert_eq!(gist(&open), (OrderStatus::Open, "1.5".to_owned(), vec!["44999".to_owned()]));
    bench.prices(r#"{"BTCUSDT": "44000"}"#);
    assert_eq!(order(bench.query("o")).status, OrderStatus::Filled);
    bench.revise(&trade, None).unwrap();
    assert_eq!(refused(bench.revise(&trade, Some(("1", "45000")))), Code::Rejected, "it was taken back");
    assert_eq!(order(bench.query("o")).filled_quantity.to_string(), "0.5");
    assert_eq!(bench.truth()[0].generations[0].executions.len(), 1);
    // A market order does not rest: what is opened of it is cancelled.
    bench.submit(market("m", "1")).unwrap();
    let trade = order(bench.query("m")).trades[0].trade_id.clone();
    bench.revise(&trade, None).unwrap();
    assert_eq!(order(bench.query("m")).status, OrderStatus::Cancelled);
    bench.check_replay();
}
