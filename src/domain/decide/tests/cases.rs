//! One behaviour a test.

use super::*;
use crate::domain::trading_state::Scope;

#[test]
fn orders_meet_the_market() {
    use Side::{Buy, Sell};
    use TimeInForce::{Fok, Gtc, Ioc};
    let check = |side, quantity, kind, tif, market: Market, expected, filled: &str| {
        let mut desk = Desk::new();
        let label = format!("{side} {quantity} {kind:?} {tif:?} {market:?}");
        let decision = desk.submit(spec("a", side, quantity, kind, tif), &market);
        assert_eq!(ended(&decision), expected, "{label}");
        assert_eq!(desk.order("a").state.filled_quantity.to_string(), filled, "{label}");
        assert_eq!(desk.position().quantity.get(), side.signed(desk.order("a").state.filled_quantity.get()));
    };
    let market = || quoted("99", "101", None);
    let sized = || quoted("99", "101", Some("3"));
    check(Buy, "1", OrderType::Market, Gtc, fixed("100"), Ok(Status::Filled), "1");
    check(Buy, "1", OrderType::Market, Gtc, market(), Ok(Status::Filled), "1");
    check(Buy, "5", OrderType::Market, Gtc, sized(), Ok(Status::Cancelled), "3");
    check(Sell, "5", OrderType::Market, Fok, sized(), Ok(Status::Cancelled), "0");
    check(Buy, "1", limit("101"), Gtc, market(), Ok(Status::Filled), "1");
    check(Buy, "1", limit("100.99"), Gtc, market(), Ok(Status::Acknowledged), "0");
    check(Sell, "1", limit("99"), Gtc, market(), Ok(Status::Filled), "1");
    check(Sell, "1", limit("99.01"), Gtc, market(), Ok(Status::Acknowledged), "0");
    check(Buy, "5", limit("102"), Gtc, sized(), Ok(Status::PartiallyFilled), "3");
    check(Buy, "5", limit("102"), Ioc, sized(), Ok(Status::Cancelled), "3");
    check(Buy, "5", limit("102"), Fok, sized(), Ok(Status::Cancelled), "0");
    check(Buy, "3", limit("102"), Fok, sized(), Ok(Status::Filled), "3");
    check(Buy, "1", limit("100"), Ioc, market(), Ok(Status::Cancelled), "0");
}

#[test]
fn post_only_never_takes() {
    let mut desk = Desk::new();
    let post_only = |id, at| OrderSpec {
        execution_instructions: ExecutionInstructions { post_only: true, ..ExecutionInstructions::default() },
        ..spec(id, Side::Buy, "1", limit(at), TimeInForce::Gtc)
    };
    let market = quoted("99", "101", None);
    assert_eq!(ended(&desk.submit(post_only("a", "101"), &market)), Err(Code::BrokerRejected));
    assert_eq!(ended(&desk.submit(post_only("b", "100"), &market)), Ok(Status::Acknowledged));
    assert_eq!(desk.position().reserved_buy.to_string(), "1");
}

#[test]
fn the_size_of_a_quote_is_spent_once() {
    let mut desk = Desk::new();
    let market = quoted("99", "101", Some("3"));
    let buy = |id| spec(id, Side::Buy, "2", OrderType::Market, TimeInForce::Gtc);
    assert_eq!(ended(&desk.submit(buy("a"), &market)), Ok(Status::Filled));
    assert_eq!(ended(&desk.submit(buy("b"), &market)), Ok(Status::Cancelled));
    assert_eq!(desk.order("b").state.filled_quantity.to_string(), "1");
    let Market::Quoted(quote) = &market else { panic!() };
    let newer = Market::Quoted(Quote { timestamp: Some(NOW.plus_micros(1)), ..quote.clone() });
    assert_eq!(ended(&desk.submit(buy("c"), &newer)), Ok(Status::Filled));
}

#[test]
fn a_resting_order_fills_at_its_own_price_when_the_quote_reaches_it() {
    let mut desk = Desk::new();
    desk.submit(spec("a", Side::Buy, "5", limit("98"), TimeInForce::Gtc), &quoted("99", "101", None));
    desk.rests("a");
    let tick = |market| {
        Input::Quote(QuoteTick {
            broker: "mock".parse().unwrap(),
            symbol: "BTCUSDT".parse().unwrap(),
            market,
            after: 0,
        })
    };
    let untouched = desk.rules.decide(&mut desk.ledger, &tick(quoted("98", "98.5", Some("2")))).unwrap();
    assert!(untouched.commits.is_empty());
    desk.rests("a");
    desk.rules.decide(&mut desk.ledger, &tick(quoted("96", "97", Some("2")))).unwrap();
    assert_eq!(desk.order("a").state.status, Status::PartiallyFilled);
    assert_eq!(desk.order("a").average_fill_price().unwrap().to_string(), "98");
    assert_eq!(desk.position().reserved_buy.to_string(), "3");
}

#[test]
fn a_redelivered_submit_resumes_and_never_executes_twice() {
    let mut desk = Desk::new();
    let market = fixed("100");
    let (received, first) =
        desk.admit(spec("a", Side::Buy, "1", OrderType::Market, TimeInForce::Gtc), &market);
    let Effect::Submit { order, epoch } = first.effect else { panic!() };
    let waits = desk.admit_again(&received, &market, "w2");
    assert!(matches!(waits.effect, Effect::Wait(Wait::Undecided(_))), "its lease is not over");
    desk.ledger.now = NOW.plus_micros(10_000_001);
    let taken = desk.admit_again(&received, &market, "w2");
    let Effect::Submit { epoch: second, .. } = taken.effect else { panic!("{taken:?}") };
    assert_eq!((epoch, second), (1, 2));
    let late = desk.execute(&order, epoch, &market);
    assert!(late.commits.is_empty(), "the old owner is fenced: {late:?}");
    assert_eq!(ended(&desk.execute(&order, second, &market)), Ok(Status::Filled));
    assert_eq!(ended(&desk.execute(&order, second, &market)), Ok(Status::Filled));
    assert_eq!(ended(&desk.admit_again(&received, &market, "w3")), Ok(Status::Filled));
    assert_eq!(desk.position().quantity.to_string(), "1");
    assert_eq!(desk.ledger.changes.outcomes.len(), 1);
}

#[test]
fn the_same_id_is_the_same_order_or_refused() {
    let mut desk = Desk::new();
    let market = fixed("100");
    let one = || spec("a", Side::Buy, "1", OrderType::Market, TimeInForce::Gtc);
    let (_, first) = desk.admit(one(), &market);
    let (_, repeat) = desk.admit(one(), &market);
    assert!(matches!(repeat.effect, Effect::Wait(Wait::Undecided(_))), "its order is under way");
    let Effect::Submit { order, epoch } = first.effect else { panic!() };
    desk.execute(&order, epoch, &market);
    let (_, repeat) = desk.admit(OrderSpec { id: OrderId(Uuid::from_u128(9)), ..one() }, &market);
    assert_eq!(ended(&repeat), Ok(Status::Filled));
    let (_, other) = desk.admit(spec("a", Side::Buy, "2", OrderType::Market, TimeInForce::Gtc), &market);
    assert_eq!(ended(&other), Err(Code::DuplicateClientOrderId));
    assert_eq!(desk.position().quantity.to_string(), "1");
}

#[test]
fn cancels() {
    let mut desk = Desk::new();
    let market = quoted("99", "101", None);
    assert_eq!(ended(&desk.cancel("a")), Err(Code::UnknownOrder));
    desk.submit(spec("a", Side::Buy, "5", limit("98"), TimeInForce::Gtc), &market);
    assert_eq!(ended(&desk.cancel("a")), Ok(Status::Cancelled));
    assert!(desk.position().reserved_buy.is_zero());
    assert!(!desk.order("a").state.pending_cancel);
    assert_eq!(ended(&desk.cancel("a")), Err(Code::OrderTerminal));
    let (_, under_way) = desk.admit(spec("b", Side::Buy, "5", limit("98"), TimeInForce::Gtc), &market);
    assert!(matches!(under_way.effect, Effect::Submit { .. }));
    assert!(matches!(desk.cancel("b").effect, Effect::Wait(Wait::Undecided(_))), "it waits for its submit");
}

#[test]
fn a_redelivered_cancel_finds_what_it_did() {
    let mut desk = Desk::new();
    desk.submit(spec("a", Side::Buy, "5", limit("98"), TimeInForce::Gtc), &quoted("99", "101", None));
    let received = desk.received(Request::Cancel(OrderRef::Client("a".parse().unwrap())), 1);
    let asked = desk.admit_again(&received, &Market::Unknown, "w1");
    let Effect::Cancel { order, .. } = asked.effect else { panic!("{asked:?}") };
    let waits = desk.admit_again(&received, &Market::Unknown, "w2");
    assert!(matches!(waits.effect, Effect::Wait(Wait::Undecided(_))), "its lease is not over");
    desk.ledger.now = NOW.plus_micros(10_000_001);
    let again = desk.admit_again(&received, &Market::Unknown, "w2");
    assert!(matches!(again.effect, Effect::Cancel { .. }), "journaled, not done: done again");
    let due = command(&order, &received, None);
    assert_eq!(ended(&desk.rules.decide(&mut desk.ledger, &due).unwrap()), Ok(Status::Cancelled));
    assert_eq!(ended(&desk.admit_again(&received, &Market::Unknown, "w3")), Ok(Status::Cancelled));
    desk.ledger.outcomes.clear();
    assert_eq!(ended(&desk.admit_again(&received, &Market::Unknown, "w3")), Ok(Status::Cancelled));
}

/// Each control at its limit, and one unit over.
#[test]
fn controls() {
    let check = |setup: fn(&mut Desk), spec: OrderSpec, market: Market, expected: Option<Code>| {
        let mut desk = Desk::new();
        setup(&mut desk);
        let label = format!("{spec:?}");
        let (_, decision) = desk.admit(spec, &market);
        let code = match &decision.effect {
            Effect::Submit { .. } => None,
            _ => Some(ended(&decision).unwrap_err()),
        };
        assert_eq!(code, expected, "{label}");
        if let Some(code) = code.filter(|code| code.makes_an_order()) {
            assert_eq!(desk.order("a").state.refusal.as_ref().unwrap().code, code);
        }
    };
    let buy = |quantity, kind| spec("a", Side::Buy, quantity, kind, TimeInForce::Gtc);
    let market = |quantity| buy(quantity, OrderType::Market);
    let nothing: fn(&mut Desk) = |_| {};
    check(nothing, market("100"), fixed("100"), None);
    check(nothing, market("100.0001"), fixed("100"), Some(Code::MaxOrderQuantity));
    check(nothing, market("100"), fixed("10000"), None);
    check(nothing, market("100"), fixed("10000.01"), Some(Code::MaxNotional));
    check(nothing, buy("1", limit("105")), fixed("100"), None);
    check(nothing, buy("1", limit("105.01")), fixed("100"), Some(Code::PriceCollar));
    check(nothing, buy("1", limit("95")), fixed("100"), None);
    check(nothing, buy("1", limit("94.99")), fixed("100"), Some(Code::PriceCollar));
    check(nothing, market("1"), Market::Unknown, Some(Code::UnknownSymbol));
    check(
        nothing,
        market("1"),
        Market::Quoted(Quote { timestamp: Some(NOW), ..Quote::default() }),
        Some(Code::NoReferencePrice),
    );
    let aged = |by: i64| {
        let Market::Quoted(quote) = quoted("99", "101", None) else { panic!() };
        Market::Quoted(Quote { timestamp: Some(NOW.plus_micros(-by)), ..quote })
    };
    check(nothing, market("1"), aged(5_000_000), None);
    check(nothing, market("1"), aged(5_000_001), Some(Code::StalePrice));
    check(nothing, market("1"), aged(-5_000_001), Some(Code::StalePrice));
    check(nothing, market("1"), quoted("101", "99", None), Some(Code::StalePrice));
    check(|desk| desk.ledger.control_mut().limits.clear(), market("1"), fixed("100"), Some(Code::NoLimits));
    let held: fn(&mut Desk) = |desk| {
        let key = account();
        let position = Position {
            quantity: "400".parse().unwrap(),
            cost: "40000".parse().unwrap(),
            reserved_buy: "50".parse().unwrap(),
            ..Position::FLAT
        };
        desk.ledger.positions.insert(key, position);
    };
    check(held, market("50"), fixed("100"), None);
    check(held, market("50.001"), fixed("100"), Some(Code::PositionLimit));
    let losing: fn(&mut Desk) = |desk| {
        let key = account();
        let position = Position {
            quantity: "10".parse().unwrap(),
            cost: "1000".parse().unwrap(),
            realized_pnl: "-10000".parse().unwrap(),
            account_pnl: "-10000".parse().unwrap(),
            ..Position::FLAT
        };
        desk.ledger.positions.insert(key.clone(), position);
        desk.ledger
            .risk
            .sessions
            .insert(session(), (NOW.session_start(0), crate::domain::amount::Amount::ZERO));
    };
    check(losing, market("1"), fixed("100"), None);
    check(losing, market("1"), fixed("99.99"), Some(Code::DailyLoss));
    check(losing, spec("a", Side::Sell, "10", OrderType::Market, TimeInForce::Gtc), fixed("99.99"), None);
    check(
        losing,
        spec("a", Side::Sell, "10.01", OrderType::Market, TimeInForce::Gtc),
        fixed("99.99"),
        Some(Code::DailyLoss),
    );
    let busy: fn(&mut Desk) = |desk| {
        let row = LimitRow { max_orders_per_second: Limit::At(2.into()), ..limits() };
        desk.ledger.control_mut().limits.insert(row);
        desk.ledger.risk.recent_orders.insert(Scope::Symbol("BTCUSDT".parse().unwrap()), 1);
    };
    check(busy, market("1"), fixed("100"), None);
    let full: fn(&mut Desk) = |desk| {
        let row = LimitRow { max_orders_per_second: Limit::At(2.into()), ..limits() };
        desk.ledger.control_mut().limits.insert(row);
        desk.ledger.risk.recent_orders.insert(Scope::Symbol("BTCUSDT".parse().unwrap()), 2);
    };
    check(full, market("1"), fixed("100"), Some(Code::OrderRate));
}

#[test]
fn the_rate_counts_what_other_controls_refuse_and_not_what_it_refused() {
    let mut desk = Desk::new();
    desk.ledger
        .control_mut()
        .limits
        .insert(LimitRow { max_orders_per_second: Limit::At(2.into()), ..limits() });
    let submit = |desk: &mut Desk, id, quantity| {
        ended(&desk.submit(spec(id, Side::Buy, quantity, OrderType::Market, TimeInForce::Gtc), &fixed("100")))
    };
    assert_eq!(submit(&mut desk, "a", "101"), Err(Code::MaxOrderQuantity));
    assert_eq!(submit(&mut desk, "b", "1"), Ok(Status::Filled));
    assert_eq!(submit(&mut desk, "c", "1"), Err(Code::OrderRate));
    assert_eq!(submit(&mut desk, "d", "1"), Err(Code::OrderRate));
    assert_eq!(desk.ledger.risk.changes.recent_orders.values().sum::<u64>(), 2);
}

#[test]
fn orders_are_routed_by_name_then_symbol_then_default() {
    let rules = rules();
    let name = |asked: Option<&str>, symbol: &str| {
        let asked = asked.map(|name| name.parse().unwrap());
        rules.route(asked.as_ref(), &symbol.parse().unwrap()).to_string()
    };
    assert_eq!(name(Some("mock"), "EUR_USD"), "mock");
    assert_eq!(name(None, "EUR_USD"), "oanda");
    assert_eq!(name(None, "BTCUSDT"), "mock");
}

#[test]
fn a_trimmed_entry_ends_as_its_first_owner_journaled_it() {
    let mut desk = Desk::new();
    let market = fixed("100");
    let (received, first) =
        desk.admit(spec("a", Side::Buy, "1", OrderType::Market, TimeInForce::Gtc), &market);
    let trimmed = Arc::new(Received {
        hash: ContentHash::of(&[]),
        request: Request::Trimmed,
        deliveries: 2,
        ..(*received).clone()
    });
    desk.ledger.now = NOW.plus_micros(10_000_001);
    let taken = desk.admit_again(&trimmed, &Market::Unknown, "w2");
    let Effect::Submit { order, epoch } = taken.effect else { panic!("{taken:?}") };
    assert!(matches!(first.effect, Effect::Submit { epoch: 1, .. }));
    desk.execute(&order, epoch, &market);
    assert_eq!(ended(&desk.admit_again(&trimmed, &Market::Unknown, "w3")), Ok(Status::Filled));
    let unknown = desk.received(Request::Trimmed, 2);
    assert_eq!(ended(&desk.admit_again(&unknown, &Market::Unknown, "w3")), Err(Code::InvalidPayload));
}

#[test]
fn a_request_that_brought_its_worker_down_too_often_is_given_up_unless_it_is_journaled() {
    let mut desk = Desk::new();
    let market = fixed("100");
    let order = |id| spec(id, Side::Buy, "1", OrderType::Market, TimeInForce::Gtc);
    let fresh = desk.received(Request::Submit(Box::new(order("a"))), 6);
    assert_eq!(ended(&desk.admit_again(&fresh, &market, "w1")), Err(Code::MaxDeliveries));
    let often = desk.received(Request::Submit(Box::new(order("b"))), 5);
    assert!(matches!(desk.admit_again(&often, &market, "w1").effect, Effect::Submit { .. }));
    let again = Arc::new(Received { deliveries: 9, ..(*often).clone() });
    desk.ledger.now = NOW.plus_micros(10_000_001);
    assert!(matches!(desk.admit_again(&again, &market, "w2").effect, Effect::Submit { epoch: 2, .. }));
    let cancel = desk.received(Request::Cancel(OrderRef::Client("b".parse().unwrap())), 6);
    assert_eq!(ended(&desk.admit_again(&cancel, &Market::Unknown, "w1")), Err(Code::MaxDeliveries));
}

#[test]
fn only_a_good_quote_sets_the_mark_of_a_session() {
    let mut desk = Desk::new();
    let lost = Position {
        quantity: "1".parse().unwrap(),
        cost: "100".parse().unwrap(),
        realized_pnl: "-14000".parse().unwrap(),
        account_pnl: "-14000".parse().unwrap(),
        ..Position::FLAT
    };
    desk.ledger.positions.insert(account(), lost);
    let bid_only =
        Market::Quoted(Quote { bid: Some(price("100")), timestamp: Some(NOW), ..Quote::default() });
    let buy = |id| spec(id, Side::Buy, "1", OrderType::Market, TimeInForce::Gtc);
    assert_eq!(ended(&desk.submit(buy("a"), &bid_only)), Err(Code::NoReferencePrice));
    assert!(!desk.ledger.risk.sessions.contains_key(&session()));
    assert_eq!(ended(&desk.submit(buy("b"), &fixed("100"))), Ok(Status::Filled));
    assert_eq!(desk.ledger.risk.sessions[&session()].1.to_string(), "-14000");
}

#[test]
fn nobody_trades_on_an_aged_or_crossed_quote() {
    let mut desk = Desk::new();
    desk.submit(spec("a", Side::Buy, "5", limit("98"), TimeInForce::Gtc), &quoted("99", "101", None));
    let Market::Quoted(met) = quoted("96", "97", None) else { panic!() };
    let aged = Quote { timestamp: Some(NOW.plus_micros(-5_000_001)), ..met.clone() };
    let crossed = Quote { bid: Some(price("100")), ..met.clone() };
    for (quote, filled) in [(aged, "0"), (crossed, "0"), (met, "5")] {
        desk.rests("a");
        let tick = QuoteTick {
            broker: "mock".parse().unwrap(),
            symbol: "BTCUSDT".parse().unwrap(),
            market: Market::Quoted(quote),
            after: 0,
        };
        desk.rules.decide(&mut desk.ledger, &Input::Quote(tick)).unwrap();
        assert_eq!(desk.order("a").state.filled_quantity.to_string(), filled);
    }
}

#[test]
fn what_is_left_of_an_order_is_exact_or_the_fill_is_refused() {
    let mut desk = Desk::new();
    let dust = quoted("99", "101", Some("0.000000000000000000000000001"));
    let decision = desk.submit(spec("a", Side::Buy, "100", limit("102"), TimeInForce::Gtc), &dust);
    assert_eq!(ended(&decision), Err(Code::BrokerRejected));
    assert_eq!(desk.order("a").remaining_quantity().to_string(), "100");
    assert!(desk.position().reserved_buy.is_zero() && desk.position().quantity.get().is_zero());
}

#[test]
fn patterns_of_routes() {
    for (pattern, symbol, expected) in [
        ("EUR_*", "EUR_USD", true),
        ("EUR_*", "XEUR_USD", false),
        ("*USDT", "BTCUSDT", true),
        ("*USDT", "USDTBTC", false),
        ("*_*", "EUR_USD", true),
        ("B*U*T", "BTCUSDT", true),
        ("B*X*T", "BTCUSDT", false),
        ("*", "anything", true),
        ("AB*BC", "ABC", false),
        ("BTCUSDT", "BTCUSDT", true),
    ] {
        assert_eq!(matches(pattern, symbol), expected, "{pattern} {symbol}");
    }
}

#[test]
fn an_outcome_told_late_tells_the_order_as_it_stands_then() {
    let mut desk = Desk::new();
    let market = quoted("99", "101", None);
    let resting = spec("a", Side::Buy, "5", limit("98"), TimeInForce::Gtc);
    let (received, first) = desk.admit(resting, &market);
    let Effect::Submit { order, epoch } = first.effect else { panic!() };
    assert_eq!(ended(&desk.execute(&order, epoch, &market)), Ok(Status::Acknowledged));
    desk.rests("a");
    let tick = QuoteTick {
        broker: "mock".parse().unwrap(),
        symbol: "BTCUSDT".parse().unwrap(),
        market: quoted("96", "97", None),
        after: 0,
    };
    desk.rules.decide(&mut desk.ledger, &Input::Quote(tick)).unwrap();
    assert_eq!(ended(&desk.admit_again(&received, &market, "w2")), Ok(Status::Filled));
}
