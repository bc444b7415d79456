//! The circuit breaker, and holes of other systems, each with a test by name.

use super::limits::{buys, desk, in_symbol, open, sells, with};
use super::*;
use crate::domain::contract::{Contract, Contracts};
use crate::domain::control::ControlEvent;
use crate::domain::ledger::AttemptKind;
use crate::domain::risk::OptionalLimits;
use crate::domain::trading_state::{Scope, TradingState};

// ---- the circuit breaker

fn answered(order: &Order, kind: AttemptKind, answer: Answer) -> Input {
    Input::Answered(Box::new(Answered {
        order_id: order.spec.id,
        epoch: 1,
        kind,
        number: 1,
        resent: false,
        answer,
        key: RequestKey { lane: "orders".into(), entry: EntryId { ms: 1, seq: 0 } },
        hash: ContentHash::of(b"x"),
        view: View { market: fixed("100"), clocks: Arc::default(), worker: "w1".into() },
    }))
}

#[test]
fn a_circuit_counts_what_is_not_answered_and_refused_orders_are_no_duplicates() {
    use crate::domain::circuit::{Breaker, CircuitState};
    use AttemptKind::{Cancel, Submit};
    let mut desk =
        desk(&[with(OptionalLimits { duplicate_window_ms: Some(60_000), ..OptionalLimits::default() })]);
    desk.rules.profile = Profile::DedupesForever;
    desk.rules.breaker = Some(Breaker { failures: 2, window_us: 10_000_000, open_us: 1_000_000, probes: 1 });
    let (_, first) = desk.admit(buys("a", "1"), &fixed("100"));
    let Effect::Submit { order, .. } = first.effect else { panic!() };
    let lost = || Answer::Unknown("no answer".into());
    let busy = || {
        let why = "429".to_owned();
        Answer::NotSent(crate::domain::report::NotSent { why, retry_after_us: None, unreachable: false })
    };
    let state = |desk: &Desk| desk.ledger.control.circuits.values().next().map(|circuit| circuit.state);
    for input in [(Submit, busy()), (Cancel, lost()), (Cancel, lost()), (Submit, lost())] {
        desk.rules.decide(&mut desk.ledger, &answered(&order, input.0, input.1)).unwrap();
        assert_eq!(state(&desk), None);
    }
    desk.rules.decide(&mut desk.ledger, &answered(&order, Submit, lost())).unwrap();
    assert_eq!(state(&desk), Some(CircuitState::Open));
    assert_eq!(desk.ends(buys("b", "2"), &fixed("100")), Err(Code::CircuitOpen));
    desk.later(1_000_000);
    let (_, probe) = desk.admit(buys("c", "2"), &fixed("100"));
    assert!(matches!(probe.effect, Effect::Submit { .. }), "what was refused is no duplicate: {probe:?}");
    assert_eq!(desk.ends(buys("d", "3"), &fixed("100")), Err(Code::CircuitOpen), "one probe");
    desk.rules.decide(&mut desk.ledger, &answered(&order, Cancel, Answer::Accepted(Vec::new()))).unwrap();
    assert_eq!(state(&desk), Some(CircuitState::HalfOpen));
    desk.rules.decide(&mut desk.ledger, &answered(&order, Submit, Answer::Accepted(Vec::new()))).unwrap();
    assert_eq!(state(&desk), Some(CircuitState::Closed));
}

// ---- holes of other systems

#[test]
fn a_notional_counts_the_contract_multiplier_and_the_rate_of_exchange() {
    let row = LimitRow { max_order_notional: Limit::At(12_000.into()), ..open() };
    let mut desk = desk(&[row]);
    let contract =
        Contract { multiplier: Some("50".parse().unwrap()), currency: Some("EUR".into()), ..Contract::PLAIN };
    let rates = BTreeMap::from([("EUR".to_owned(), "1.2".parse().unwrap())]);
    let contracts = Contracts::new(Some("USD".into()), rates, [("BTCUSDT".parse().unwrap(), contract)]);
    desk.rules.contracts = Arc::new(contracts);
    assert_eq!(desk.ends(buys("a", "2"), &fixed("100")), Ok(Status::Filled), "2 · 50 · 100 · 1.2 = 12000");
    assert_eq!(desk.ends(buys("b", "2.001"), &fixed("100")), Err(Code::MaxNotional));
    assert_eq!(desk.position().cost.to_string(), "10000");
    // A currency without a rate is not taken to be worth 1.
    let unknown = in_symbol("ETHUSDT", buys("c", "1"));
    assert_eq!(desk.ends(unknown, &fixed("100")), Err(Code::NoFxRate));
}

#[test]
fn a_market_order_without_a_price_does_not_pass() {
    let mut desk = desk(&[limits()]);
    let bid_only =
        Market::Quoted(Quote { bid: Some(price("100")), timestamp: Some(NOW), ..Quote::default() });
    assert_eq!(desk.ends(buys("a", "1"), &bid_only), Err(Code::NoReferencePrice));
    let last_only = Market::Quoted(Quote {
        last: Some(price("100")),
        bid: Some(price("100")),
        timestamp: Some(NOW),
        ..Quote::default()
    });
    assert_eq!(desk.ends(buys("b", "1"), &last_only), Err(Code::NoReferencePrice), "nobody offers anything");
}

#[test]
fn values_are_checked_for_market_orders_too() {
    let row = LimitRow { max_order_notional: Limit::At(100.into()), ..open() };
    let mut desk = desk(&[row]);
    assert_eq!(desk.ends(buys("a", "1"), &quoted("99", "101", None)), Err(Code::MaxNotional), "at the ask");
    assert_eq!(desk.ends(buys("b", "1"), &quoted("99", "100", None)), Ok(Status::Filled));
}

#[test]
fn reduce_only_looks_at_the_position_and_not_at_the_side_alone() {
    let mut desk = desk(&[open()]);
    assert_eq!(desk.ends(sells("a", "1"), &fixed("100")), Ok(Status::Filled));
    let reduce =
        SwitchTo { scope: Scope::All, state: TradingState::ReduceOnly, by: "ann".into(), why: String::new() };
    desk.rules.decide(&mut desk.ledger, &Input::Switch(Box::new(reduce))).unwrap();
    assert_eq!(desk.ends(buys("b", "10"), &fixed("100")), Err(Code::ReduceOnly), "short 1, buy 10");
    assert_eq!(desk.ends(buys("c", "1"), &fixed("100")), Ok(Status::Filled));
}

#[test]
fn a_breach_is_journaled_with_its_figures() {
    let mut desk = desk(&[LimitRow { max_daily_loss: Limit::At(5.into()), ..open() }]);
    assert_eq!(desk.ends(buys("a", "1"), &fixed("100")), Ok(Status::Filled));
    assert_eq!(desk.ends(buys("b", "1"), &fixed("94")), Err(Code::DailyLoss));
    let Some(ControlEvent::TradingState(switch)) = desk.ledger.changes.control.last() else { panic!() };
    assert_eq!((switch.by.as_str(), switch.control), ("RISK_DAILY_LOSS", Some(Code::DailyLoss)));
    assert!(switch.why.contains("is 6, max_daily_loss is 5"), "{}", switch.why);
    assert_eq!(switch.timestamp, NOW);
}
