//! Conditional orders, times in force and instructions at the embedded venue.

use super::*;
use crate::domain::order_type::DistanceType;
use crate::domain::venue::Spent;

const DAY_US: i64 = 86_400_000_000;

pub(super) fn last(price_: &str) -> Market {
    let Market::Quoted(quote) = quoted("90", "110", None) else { unreachable!() };
    Market::Quoted(Quote { last: Some(price(price_)), ..quote })
}

/// A market whose sides offer a size at one price, which is the last price, too.
pub(super) fn sized(at: &str, size: &str) -> Market {
    let Market::Quoted(quote) = quoted(at, at, Some(size)) else { unreachable!() };
    Market::Quoted(Quote { last: Some(price(at)), ..quote })
}

pub(super) fn stop(at: &str) -> OrderType {
    OrderType::Stop { stop_price: price(at) }
}

pub(super) fn stop_limit(at: &str, limit: &str) -> OrderType {
    OrderType::StopLimit { stop_price: price(at), limit_price: price(limit) }
}

fn touched(at: &str) -> OrderType {
    OrderType::MarketIfTouched { trigger_price: price(at) }
}

fn limit_touched(at: &str, limit: &str) -> OrderType {
    OrderType::LimitIfTouched { trigger_price: price(at), limit_price: price(limit) }
}

pub(super) fn trailing(distance: &str, distance_type: DistanceType) -> OrderType {
    OrderType::TrailingStop { distance: price(distance), distance_type }
}

impl Desk {
    pub(super) fn quote(&mut self, id: &str, market: &Market) -> Status {
        self.rests(id);
        // Each quote is a new one: its timestamp is the time at which it is looked at.
        let market = match market {
            Market::Quoted(quote) => {
                Market::Quoted(Quote { timestamp: Some(self.ledger.now), ..quote.clone() })
            }
            other => other.clone(),
        };
        let tick = QuoteTick {
            broker: "mock".parse().unwrap(),
            symbol: "BTCUSDT".parse().unwrap(),
            market,
            after: 0,
        };
        self.rules.decide(&mut self.ledger, &Input::Quote(tick)).unwrap();
        self.later(1_000);
        self.order(id).state.status
    }

    pub(super) fn later(&mut self, us: i64) {
        self.ledger.now = self.ledger.now.plus_micros(us);
    }

    pub(super) fn facts(&mut self, id: &str, reports: Vec<Report>) -> Decision {
        let external = crate::domain::ledger::Difference {
            broker: "mock".parse().unwrap(),
            kind: "external_order",
            key: id.to_owned(),
            details: String::new(),
        };
        let told = Told { order: OrderRef::Client(id.parse().unwrap()), reports, external };
        let facts = Facts { broker: "mock".parse().unwrap(), told: vec![told], cursor: None };
        self.rules.decide(&mut self.ledger, &Input::Facts(Box::new(facts))).unwrap()
    }

    /// Lets the desk hold so much, bought at 100.
    pub(super) fn holds(&mut self, side: Side, quantity: &str) {
        let order = spec(&format!("held-{side}"), side, quantity, OrderType::Market, TimeInForce::Gtc);
        assert_eq!(ended(&self.submit(order, &fixed("100"))), Ok(Status::Filled));
    }

    /// A replace, and the venue's answer where it is due.
    pub(super) fn replace(&mut self, id: &str, terms: Terms, market: &Market) -> Decision {
        let request = crate::domain::request::Replace { client_order_id: id.parse().unwrap(), terms };
        let received = self.received(Request::Replace(Box::new(request)), 1);
        let decision = self.admit_again(&received, market, "w1");
        let Effect::Replace { order, .. } = &decision.effect else { return decision };
        let due = command(order, &received, Some(market.clone()));
        self.rules.decide(&mut self.ledger, &due).unwrap()
    }

    pub(super) fn events(&self, id: &str) -> Vec<String> {
        self.order(id).state.events.iter().map(ToString::to_string).collect()
    }

    /// The whole order, folded anew from its events, is the one that is kept.
    pub(super) fn check_fold(&self, id: &str) {
        let kept = self.order(id);
        let commits = self.ledger.changes.commits.iter().filter(|commit| commit.order_id == kept.spec.id);
        let events: Vec<_> = commits.flat_map(|commit| commit.events.clone()).collect();
        let json = serde_json::to_string(&events).unwrap();
        let read: Vec<crate::domain::event::OrderEvent> = serde_json::from_str(&json).unwrap();
        assert_eq!(Order::fold(&read).unwrap().as_ref(), Some(kept));
    }
}

#[test]
fn conditional_orders_wait_for_their_price_and_are_worked_from_there() {
    use Side::{Buy, Sell};
    // Order, side, a price that leaves it waiting, the first that sets it free.
    for (kind, side, waits, triggers) in [
        (stop("102"), Buy, "101.99", "102"),
        (stop("98"), Sell, "98.01", "98"),
        (stop_limit("102", "110"), Buy, "101.99", "102"),
        (stop_limit("98", "90"), Sell, "98.01", "98"),
        (touched("98"), Buy, "98.01", "98"),
        (touched("102"), Sell, "101.99", "102"),
        (limit_touched("98", "110"), Buy, "98.01", "98"),
        (limit_touched("102", "90"), Sell, "101.99", "102"),
        (trailing("2", DistanceType::Absolute), Buy, "101.99", "102"),
        (trailing("2", DistanceType::Absolute), Sell, "98.01", "98"),
        (trailing("2", DistanceType::Percent), Buy, "101.99", "102"),
        (trailing("2", DistanceType::Percent), Sell, "98.01", "98"),
    ] {
        let mut desk = Desk::new();
        desk.rules.venue.prices.clear();
        let mut limits = limits();
        limits.price_collar_pct = Limit::Unlimited;
        desk.ledger.control_mut().limits.insert(limits);
        let order = spec("c", side, "1", kind.clone(), TimeInForce::Gtc);
        assert_eq!(ended(&desk.submit(order, &last("100"))), Ok(Status::Acknowledged), "{kind:?} {side}");
        assert!(desk.order("c").awaits_trigger());
        assert_eq!(desk.quote("c", &last(waits)), Status::Acknowledged, "{kind:?} {side} at {waits}");
        assert_eq!(desk.quote("c", &last(triggers)), Status::Filled, "{kind:?} {side} at {triggers}");
        let filled_at = if side == Buy { "110" } else { "90" };
        assert_eq!(desk.order("c").average_fill_price(), Some(price(filled_at).get()), "{kind:?} {side}");
        assert!(desk.events("c").contains(&"Triggered".to_owned()), "{kind:?} {side}");
        desk.check_fold("c");
    }
}

#[test]
fn a_condition_that_holds_already_triggers_at_once() {
    let mut desk = Desk::new();
    let order = spec("s", Side::Buy, "1", stop("99"), TimeInForce::Gtc);
    assert_eq!(ended(&desk.submit(order, &fixed("100"))), Ok(Status::Filled));
    assert_eq!(
        desk.events("s"),
        ["Created", "Validated", "PendingSubmit", "Submitted", "Acknowledged", "Triggered", "Fill"]
    );
}

#[test]
fn what_is_triggered_lives_by_its_time_in_force() {
    // A size of 2 meets an order for 5: what becomes of the rest.
    for (kind, tif, status, filled) in [
        (stop("102"), TimeInForce::Gtc, Status::Cancelled, "2"),
        (stop("102"), TimeInForce::Day, Status::Cancelled, "2"),
        (stop("102"), TimeInForce::Ioc, Status::Cancelled, "2"),
        (stop("102"), TimeInForce::Fok, Status::Cancelled, "0"),
        (stop_limit("102", "103"), TimeInForce::Gtc, Status::PartiallyFilled, "2"),
        (stop_limit("102", "103"), TimeInForce::Day, Status::PartiallyFilled, "2"),
        (stop_limit("102", "103"), TimeInForce::Ioc, Status::Cancelled, "2"),
        (stop_limit("102", "103"), TimeInForce::Fok, Status::Cancelled, "0"),
        // Triggered, and the market is beyond its limit: it rests there.
        (stop_limit("101", "101.5"), TimeInForce::Gtc, Status::Acknowledged, "0"),
        (stop_limit("101", "101.5"), TimeInForce::Ioc, Status::Cancelled, "0"),
    ] {
        let mut desk = Desk::new();
        let order = spec("c", Side::Buy, "5", kind.clone(), tif);
        assert_eq!(ended(&desk.submit(order, &fixed("100"))), Ok(Status::Acknowledged));
        assert_eq!(desk.quote("c", &sized("102", "2")), status, "{kind:?} {tif:?}");
        assert_eq!(desk.order("c").state.filled_quantity.to_string(), filled, "{kind:?} {tif:?}");
        assert!(desk.order("c").state.triggered);
    }
    // Once triggered it is a limit order like another, and no longer looks at its stop price.
    let mut desk = Desk::new();
    desk.submit(spec("c", Side::Buy, "5", stop_limit("101", "101.5"), TimeInForce::Gtc), &fixed("100"));
    desk.quote("c", &sized("102", "9"));
    assert_eq!(desk.quote("c", &sized("100", "9")), Status::Filled);
    assert_eq!(desk.order("c").average_fill_price(), Some(price("101.5").get()), "as a maker, at its price");
}

#[test]
fn a_trailing_stop_follows_the_best_price_and_never_goes_back() {
    let mut desk = Desk::new();
    desk.ledger.control_mut().limits.insert(LimitRow { price_collar_pct: Limit::Unlimited, ..limits() });
    desk.submit(
        spec("t", Side::Sell, "1", trailing("10", DistanceType::Percent), TimeInForce::Gtc),
        &last("100"),
    );
    let trail = |desk: &Desk| {
        let trail = desk.order("t").state.trail.unwrap();
        (trail.water_mark.to_string(), trail.stop_price.to_string())
    };
    assert_eq!(trail(&desk), ("100".to_owned(), "90".to_owned()));
    for (market, mark, stop) in
        [("95", "100", "90"), ("120", "120", "108"), ("110", "120", "108"), ("120.5", "120.5", "108.45")]
    {
        assert_eq!(desk.quote("t", &last(market)), Status::Acknowledged, "{market}");
        assert_eq!(trail(&desk), (mark.to_owned(), stop.to_owned()), "{market}");
    }
    // Three moves of the mark are three events, with the first.
    assert_eq!(desk.events("t").iter().filter(|name| *name == "Trailed").count(), 3);
    assert_eq!(desk.quote("t", &last("108.46")), Status::Acknowledged);
    assert_eq!(desk.quote("t", &last("108.45")), Status::Filled);
    desk.check_fold("t");
}

#[test]
fn an_aged_quote_triggers_nothing() {
    let mut desk = Desk::new();
    desk.submit(spec("s", Side::Buy, "1", stop("102"), TimeInForce::Gtc), &fixed("100"));
    desk.rests("s");
    let Market::Quoted(quote) = last("105") else { unreachable!() };
    let aged = Quote { timestamp: Some(desk.ledger.now.plus_micros(-5_000_001)), ..quote };
    let tick = QuoteTick {
        broker: "mock".parse().unwrap(),
        symbol: "BTCUSDT".parse().unwrap(),
        market: Market::Quoted(aged),
        after: 0,
    };
    desk.rules.decide(&mut desk.ledger, &Input::Quote(tick)).unwrap();
    assert_eq!(desk.order("s").state.status, Status::Acknowledged);
}

#[test]
fn time_ends_an_order_exactly() {
    let expires_at = NOW.plus_micros(1_000_000);
    let midnight = NOW.session_start(0).plus_micros(DAY_US);
    for (tif, end) in [(TimeInForce::Gtd { expires_at }, expires_at), (TimeInForce::Day, midnight)] {
        for kind in [limit("99"), stop("102"), stop_limit("102", "103"), touched("98")] {
            let order = || spec("o", Side::Buy, "1", kind.clone(), tif);
            // The instant before it may still fill; at the instant itself nothing is executed any more.
            let meets = match kind.trigger() {
                Some(crate::domain::order_type::Trigger::Stop(_)) => sized("102", "9"),
                _ => sized("98", "9"),
            };
            let mut desk = Desk::new();
            assert_eq!(ended(&desk.submit(order(), &fixed("100"))), Ok(Status::Acknowledged));
            desk.ledger.now = end.plus_micros(-1);
            assert_eq!(desk.quote("o", &meets), Status::Filled, "{kind:?} {tif:?}");

            let mut desk = Desk::new();
            desk.submit(order(), &fixed("100"));
            desk.ledger.now = end;
            assert_eq!(desk.quote("o", &meets), Status::Expired, "{kind:?} {tif:?}");
            assert!(desk.order("o").state.filled_quantity.is_zero());
            assert!(desk.position().reserved_buy.is_zero());
            desk.check_fold("o");
        }
    }
}

#[test]
fn an_attempt_that_is_answered_too_late_expires() {
    let expires_at = NOW.plus_micros(1_000_000);
    let mut desk = Desk::new();
    let order = spec("o", Side::Buy, "1", OrderType::Market, TimeInForce::Gtd { expires_at });
    let (_, decision) = desk.admit(order, &fixed("100"));
    let Effect::Submit { order, epoch } = decision.effect else { panic!("{decision:?}") };
    desk.ledger.now = expires_at;
    assert_eq!(ended(&desk.execute(&order, epoch, &fixed("100"))), Ok(Status::Expired));
}

#[test]
fn a_command_that_comes_too_late_finds_the_order_expired() {
    let expires_at = NOW.plus_micros(1_000_000);
    let order = || spec("o", Side::Buy, "1", limit("99"), TimeInForce::Gtd { expires_at });
    let mut desk = Desk::new();
    desk.submit(order(), &fixed("100"));
    desk.ledger.now = expires_at;
    assert_eq!(ended(&desk.cancel("o")), Err(Code::OrderTerminal));
    assert_eq!(desk.order("o").state.status, Status::Expired);

    let mut desk = Desk::new();
    desk.submit(order(), &fixed("100"));
    desk.ledger.now = expires_at;
    let terms = Terms { price: Some(price("100")), ..Terms::default() };
    assert_eq!(ended(&desk.replace("o", terms, &fixed("100"))), Err(Code::OrderTerminal));
    assert_eq!(desk.order("o").state.status, Status::Expired);
}

#[test]
fn a_time_that_is_past_is_refused() {
    for (us, expected) in [(0, Err(Code::ValidationFailed)), (1, Ok(Status::Acknowledged))] {
        let expires_at = NOW.plus_micros(us);
        let order = spec("o", Side::Buy, "1", limit("99"), TimeInForce::Gtd { expires_at });
        assert_eq!(ended(&Desk::new().submit(order, &fixed("100"))), expected, "{us}");
    }
}

#[test]
fn a_stop_price_is_replaced_until_it_was_reached() {
    let mut desk = Desk::new();
    desk.submit(spec("s", Side::Buy, "1", stop_limit("102", "103"), TimeInForce::Gtc), &fixed("100"));
    let terms = |stop: &str| Terms { stop_price: Some(price(stop)), ..Terms::default() };
    assert_eq!(ended(&desk.replace("s", terms("104"), &fixed("100"))), Ok(Status::Acknowledged));
    assert_eq!(desk.quote("s", &sized("102", "9")), Status::Acknowledged);
    // The new terms may set it free at once.
    assert_eq!(ended(&desk.replace("s", terms("101"), &fixed("102"))), Ok(Status::Filled));
    desk.check_fold("s");

    let mut desk = Desk::new();
    desk.submit(spec("s", Side::Buy, "1", stop_limit("101", "101.5"), TimeInForce::Gtc), &fixed("100"));
    desk.quote("s", &sized("102", "9"));
    assert_eq!(ended(&desk.replace("s", terms("104"), &fixed("102"))), Err(Code::ValidationFailed));
    let mut desk = Desk::new();
    desk.submit(
        spec("s", Side::Sell, "1", trailing("2", DistanceType::Absolute), TimeInForce::Gtc),
        &fixed("100"),
    );
    assert_eq!(ended(&desk.replace("s", terms("99"), &fixed("100"))), Err(Code::ValidationFailed));
}

#[test]
fn a_quotes_size_is_spent_by_what_it_triggers() {
    let mut desk = Desk::new();
    desk.submit(spec("s", Side::Buy, "3", stop("102"), TimeInForce::Gtc), &fixed("100"));
    desk.quote("s", &sized("102", "4"));
    let key = ("mock".parse().unwrap(), "BTCUSDT".parse().unwrap(), Side::Buy);
    assert_eq!(
        desk.ledger.spent.get(&key).map(|spent: &Spent| spent.quantity.to_string()).as_deref(),
        Some("3")
    );
}

#[test]
fn an_older_word_of_a_trailing_stop_is_no_news() {
    let mut desk = Desk::new();
    desk.submit(
        spec("t", Side::Sell, "1", trailing("2", DistanceType::Absolute), TimeInForce::Gtc),
        &last("100"),
    );
    let trail = |mark: &str, stop: &str| {
        Report::Trailed(crate::domain::event::Trail { water_mark: price(mark), stop_price: price(stop) })
    };
    for told in [trail("105", "103"), trail("103", "101"), trail("105", "103")] {
        desk.facts("t", vec![told]);
    }
    assert_eq!(desk.order("t").state.trail.unwrap().water_mark, price("105"));
    assert_eq!(
        desk.events("t").iter().filter(|name| *name == "Trailed").count(),
        2,
        "placed, and moved once"
    );
}

#[test]
fn a_quote_between_a_replace_and_its_execution_is_looked_at() {
    let mut desk = Desk::new();
    desk.submit(spec("s", Side::Buy, "10", limit("99"), TimeInForce::Gtc), &fixed("100"));
    let terms = Terms { quantity: Some("5".parse().unwrap()), ..Terms::default() };
    let request = crate::domain::request::Replace { client_order_id: "s".parse().unwrap(), terms };
    let received = desk.received(Request::Replace(Box::new(request)), 1);
    let decision = desk.admit_again(&received, &fixed("100"), "w1");
    let Effect::Replace { order, .. } = &decision.effect else { panic!("{decision:?}") };
    let due = command(order, &received, Some(fixed("100")));
    desk.quote("s", &sized("98", "6"));
    let decision = desk.rules.decide(&mut desk.ledger, &due).unwrap();
    assert_eq!(ended(&decision), Err(Code::ValidationFailed));
    let order = desk.order("s");
    assert_eq!(
        (order.spec.quantity.to_string().as_str(), order.state.status),
        ("10", Status::PartiallyFilled)
    );
    assert!(order.state.pending_replace.is_none());
}
