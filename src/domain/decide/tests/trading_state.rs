//! The kill switch: what it keeps out, whom, and what always passes.

use super::*;
use crate::domain::report::NotSent;
use crate::domain::request::Replace;
use crate::domain::trading_state::{Scope, TradingState};

fn switch(desk: &mut Desk, scope: Scope, state: TradingState) {
    let to = SwitchTo { scope, state, by: "ann".into(), why: "a test".into() };
    desk.rules.decide(&mut desk.ledger, &Input::Switch(Box::new(to))).unwrap();
}

fn market(id: &str, side: Side, quantity: &str) -> OrderSpec {
    spec(id, side, quantity, OrderType::Market, TimeInForce::Gtc)
}

fn submit(desk: &mut Desk, spec: OrderSpec) -> Result<Status, Code> {
    ended(&desk.submit(spec, &fixed("100")))
}

#[test]
fn halted_lets_nothing_through_but_cancels() {
    let mut desk = Desk::new();
    assert_eq!(submit(&mut desk, market("long", Side::Buy, "5")), Ok(Status::Filled));
    assert_eq!(
        submit(&mut desk, spec("rests", Side::Buy, "1", limit("99"), TimeInForce::Gtc)),
        Ok(Status::Acknowledged)
    );
    switch(&mut desk, Scope::All, TradingState::Halted);
    assert_eq!(submit(&mut desk, market("a", Side::Buy, "1")), Err(Code::TradingHalted));
    assert_eq!(submit(&mut desk, market("b", Side::Sell, "1")), Err(Code::TradingHalted));
    // It made an order: the same request gets the same answer, whatever holds by then.
    assert_eq!(desk.order("a").state.status, Status::Rejected);
    let reason = &desk.order("a").state.refusal.as_ref().unwrap().reason;
    for word in ["HALTED", "everything", "by ann", "a test", "cancels"] {
        assert!(reason.contains(word), "{word}: {reason}");
    }
    assert_eq!(ended(&desk.cancel("rests")), Ok(Status::Cancelled));
    switch(&mut desk, Scope::All, TradingState::Active);
    assert_eq!(submit(&mut desk, market("c", Side::Buy, "1")), Ok(Status::Filled));
    assert_eq!(submit(&mut desk, market("a", Side::Buy, "1")), Err(Code::TradingHalted));
    assert_eq!(desk.ledger.control.revision, 2);
    assert_eq!(desk.ledger.changes.control.len(), 2);
}

/// Known from other systems: looking at the side alone lets `short 1, buy 10` through.
#[test]
fn reduce_only_lets_through_what_shrinks_the_position_and_never_beyond_zero() {
    let check = |side: Side, quantity: &str, right: Result<Status, Code>| {
        let mut desk = Desk::new();
        assert_eq!(submit(&mut desk, market("short", Side::Sell, "1")), Ok(Status::Filled));
        switch(&mut desk, Scope::All, TradingState::ReduceOnly);
        assert_eq!(submit(&mut desk, market("x", side, quantity)), right, "{side} {quantity}");
    };
    check(Side::Buy, "10", Err(Code::ReduceOnly));
    check(Side::Buy, "1.0001", Err(Code::ReduceOnly));
    check(Side::Buy, "1", Ok(Status::Filled));
    check(Side::Buy, "0.5", Ok(Status::Filled));
    check(Side::Sell, "0.0001", Err(Code::ReduceOnly));
}

#[test]
fn reduce_only_counts_what_open_orders_of_the_side_will_close() {
    let mut desk = Desk::new();
    assert_eq!(submit(&mut desk, market("long", Side::Buy, "10")), Ok(Status::Filled));
    switch(&mut desk, Scope::Symbol("BTCUSDT".parse().unwrap()), TradingState::ReduceOnly);
    let sell = |id, quantity| spec(id, Side::Sell, quantity, limit("101"), TimeInForce::Gtc);
    assert_eq!(submit(&mut desk, sell("a", "6")), Ok(Status::Acknowledged));
    assert_eq!(submit(&mut desk, sell("b", "4.1")), Err(Code::ReduceOnly));
    assert_eq!(submit(&mut desk, sell("c", "4")), Ok(Status::Acknowledged));
    assert_eq!(submit(&mut desk, sell("d", "0.1")), Err(Code::ReduceOnly));
    // With one of them gone there is room again.
    assert_eq!(ended(&desk.cancel("a")), Ok(Status::Cancelled));
    assert_eq!(submit(&mut desk, sell("e", "6")), Ok(Status::Acknowledged));
}

#[test]
fn a_switch_holds_for_its_scope_and_the_strictest_counts() {
    let mut desk = Desk::new();
    let momentum = |id| OrderSpec { strategy_id: Some("momentum".into()), ..market(id, Side::Buy, "1") };
    switch(&mut desk, Scope::StrategyId("momentum".into()), TradingState::Halted);
    assert_eq!(submit(&mut desk, momentum("a")), Err(Code::TradingHalted));
    assert_eq!(submit(&mut desk, market("b", Side::Buy, "1")), Ok(Status::Filled));
    switch(&mut desk, Scope::StrategyId("momentum".into()), TradingState::Active);
    assert_eq!(submit(&mut desk, momentum("c")), Ok(Status::Filled));
    switch(&mut desk, Scope::Broker("oanda".parse().unwrap()), TradingState::Halted);
    assert_eq!(submit(&mut desk, market("d", Side::Buy, "1")), Ok(Status::Filled));
    let routed = OrderSpec { broker: Some("oanda".parse().unwrap()), ..market("e", Side::Buy, "1") };
    assert_eq!(submit(&mut desk, routed), Err(Code::TradingHalted));
    switch(&mut desk, Scope::Symbol("ETHUSDT".parse().unwrap()), TradingState::Halted);
    assert_eq!(submit(&mut desk, market("f", Side::Buy, "1")), Ok(Status::Filled));
    // A milder word about everything does not lift a stricter one about a part, nor the other way round.
    switch(&mut desk, Scope::All, TradingState::ReduceOnly);
    switch(&mut desk, Scope::Symbol("BTCUSDT".parse().unwrap()), TradingState::Halted);
    assert_eq!(submit(&mut desk, market("g", Side::Sell, "1")), Err(Code::TradingHalted));
    switch(&mut desk, Scope::Symbol("BTCUSDT".parse().unwrap()), TradingState::Active);
    assert_eq!(submit(&mut desk, market("h", Side::Buy, "1")), Err(Code::ReduceOnly));
    assert_eq!(submit(&mut desk, market("i", Side::Sell, "1")), Ok(Status::Filled));
}

/// The attempt before it provably came to nothing: the next one is made under the state of its own time.
#[test]
fn a_later_attempt_does_not_pass_a_halt() {
    let mut desk = Desk::new();
    desk.rules.profile = Profile::DedupesForever;
    let (received, decision) = desk.admit(market("a", Side::Buy, "1"), &fixed("100"));
    let Effect::Submit { order, epoch } = decision.effect else { panic!("{decision:?}") };
    let answered = |desk: &mut Desk, kind, number, answer, key: &Received| {
        let view = View { market: fixed("100"), clocks: Arc::default(), worker: "w1".into() };
        let (order_id, resent) = (order.spec.id, false);
        let (key, hash) = (key.key.clone(), key.hash);
        let input = Answered { order_id, epoch, kind, number, resent, answer, key, hash, view };
        desk.rules.decide(&mut desk.ledger, &Input::Answered(Box::new(input))).unwrap()
    };
    let not_sent =
        || Answer::NotSent(NotSent { why: "429".into(), retry_after_us: None, unreachable: false });
    answered(&mut desk, AttemptKind::Submit, 1, not_sent(), &received);
    switch(&mut desk, Scope::All, TradingState::Halted);
    desk.ledger.now = desk.ledger.now.plus_micros(10_000_000);
    assert_eq!(ended(&desk.admit_again(&received, &fixed("100"), "w1")), Err(Code::TradingHalted));
    assert_eq!(desk.order("a").state.status, Status::Rejected);
    assert_eq!(desk.position().reserved_buy.to_string(), "0");
}

#[test]
fn neither_a_replace_nor_its_later_attempt_passes_a_halt() {
    for halted_before in [true, false] {
        let mut desk = Desk::new();
        desk.rules.profile = Profile::DedupesForever;
        let order = spec("a", Side::Buy, "1", limit("99"), TimeInForce::Gtc);
        let (received, decision) = desk.admit(order, &fixed("100"));
        let Effect::Submit { order, epoch } = decision.effect else { panic!("{decision:?}") };
        let answer = |desk: &mut Desk, epoch, kind, number, answer, of: &Received| {
            let view = View { market: fixed("100"), clocks: Arc::default(), worker: "w1".into() };
            let (order_id, resent, key, hash) = (order.spec.id, false, of.key.clone(), of.hash);
            let input = Answered { order_id, epoch, kind, number, resent, answer, key, hash, view };
            desk.rules.decide(&mut desk.ledger, &Input::Answered(Box::new(input))).unwrap()
        };
        let acknowledged = Report::Acknowledged { broker_order_id: "b-1".into() };
        let taken = Answer::Accepted(vec![acknowledged]);
        answer(&mut desk, epoch, AttemptKind::Submit, 1, taken, &received);
        if halted_before {
            switch(&mut desk, Scope::All, TradingState::Halted);
        }
        let terms = Terms { price: Some(price("98")), ..Terms::default() };
        let replace = Replace { client_order_id: "a".parse().unwrap(), terms };
        let asked = desk.received(Request::Replace(Box::new(replace)), 1);
        let decision = desk.admit_again(&asked, &fixed("100"), "w1");
        if halted_before {
            assert_eq!(ended(&decision), Err(Code::TradingHalted));
        } else {
            let Effect::Replace { epoch, number, .. } = decision.effect else { panic!("{decision:?}") };
            switch(&mut desk, Scope::All, TradingState::Halted);
            let not_sent =
                Answer::NotSent(NotSent { why: "429".into(), retry_after_us: None, unreachable: false });
            let decision = answer(&mut desk, epoch, AttemptKind::Replace, number, not_sent, &asked);
            assert_eq!(ended(&decision), Err(Code::TradingHalted));
        }
        let order = desk.order("a");
        assert!(order.state.pending_replace.is_none());
        assert_eq!(order.spec.order_type.limit_price(), Some(price("99")));
    }
}
