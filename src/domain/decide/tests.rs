//! Behaviour of the core through its one entrance: a ledger, an input, what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::amount::Price;
use crate::domain::event::EventKind;
use crate::domain::ids::{ClientOrderId, EntryId, IdSource};
use crate::domain::market::Quote;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{ExecutionInstructions, OrderType, TimeInForce};
use crate::domain::position::Position;
use crate::domain::refusal::Code;
use crate::domain::reconcile::reconcile;
use crate::domain::report::{Report, ReportedFill};
use crate::domain::risk::{Limit, LimitRow};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn rules() -> Rules {
    let mock: BrokerName = "mock".parse().unwrap();
    Rules {
        default_broker: mock.clone(),
        routes: vec![(vec!["EUR_*".to_owned()], "oanda".parse().unwrap())],
        brokers: BTreeSet::from([mock, "oanda".parse().unwrap()]),
        venue: Venue {
            seed: 1,
            failure_rate: rust_decimal::Decimal::ZERO,
            slippage_pct: rust_decimal::Decimal::ZERO,
            commission_pct: rust_decimal::Decimal::ZERO,
            prices: BTreeMap::new(),
            instruments: BTreeMap::new(),
        },
        max_quote_age_us: 5_000_000,
        session_start_us: 0,
        max_request_age_us: None,
        lease_us: 10_000_000,
    }
}

fn limits() -> LimitRow {
    LimitRow {
        symbol: "*".into(),
        max_order_quantity: Limit::At(100.into()),
        max_order_notional: Limit::At(1_000_000.into()),
        max_position: Limit::At(500.into()),
        max_daily_loss: Limit::At(10_000.into()),
        price_collar_pct: Limit::At(5.into()),
        max_orders_per_second: Limit::Unlimited,
    }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(NOW, IdSource::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000)));
    ledger.limits.insert("*".into(), limits());
    ledger
}

fn spec(id: &str, side: Side, quantity: &str, order_type: OrderType, time_in_force: TimeInForce) -> OrderSpec {
    OrderSpec {
        id: OrderId(Uuid::from_u128(u128::from_be_bytes(ContentHash::of(id.as_bytes()).0[..16].try_into().unwrap()))),
        client_order_id: id.parse().unwrap(),
        symbol: "BTCUSDT".parse().unwrap(),
        side,
        quantity: quantity.parse().unwrap(),
        order_type,
        time_in_force,
        broker: None,
        conditions: Vec::new(),
        parent_order_id: None,
        linked_orders: Vec::new(),
        execution_instructions: ExecutionInstructions::default(),
        max_slippage: None,
        position_size_check: None,
        strategy_id: None,
        signal_id: None,
        component_name: None,
        metadata: None,
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn limit(at: &str) -> OrderType {
    OrderType::Limit { price: price(at) }
}

fn fixed(at: &str) -> Market {
    Market::Fixed(price(at))
}

fn quoted(bid: &str, ask: &str, size: Option<&str>) -> Market {
    Market::Quoted(Quote {
        bid: Some(price(bid)),
        ask: Some(price(ask)),
        last: None,
        bid_size: size.map(|s| s.parse().unwrap()),
        ask_size: size.map(|s| s.parse().unwrap()),
        timestamp: Some(NOW),
    })
}

/// One entry after another, each with an id of its own.
struct Desk {
    rules: Rules,
    ledger: Ledger,
    entries: u64,
}

impl Desk {
    fn new() -> Self {
        Self { rules: rules(), ledger: ledger(), entries: 0 }
    }

    fn received(&mut self, request: Request, deliveries: u32) -> Arc<Received> {
        self.entries += 1;
        Arc::new(Received {
            key: RequestKey { lane: "orders".into(), entry: EntryId { ms: self.entries, seq: 0 } },
            hash: ContentHash::of(&self.entries.to_be_bytes()),
            request,
            made_at: NOW,
            deliveries,
            traceparent: None,
        })
    }

    fn admit_again(&mut self, received: &Arc<Received>, market: &Market, worker: &str) -> Decision {
        let input = Input::Admit(Box::new(Admit {
            received: received.clone(),
            market: market.clone(),
            no_older_entries: true,
            worker: worker.into(),
        }));
        self.rules.decide(&mut self.ledger, &input).unwrap()
    }

    fn admit(&mut self, spec: OrderSpec, market: &Market) -> (Arc<Received>, Decision) {
        let received = self.received(Request::Submit(Box::new(spec)), 1);
        let decision = self.admit_again(&received, market, "w1");
        (received, decision)
    }

    fn execute(&mut self, order: &Order, epoch: u64, market: &Market) -> Decision {
        let input = Input::Execute(Execute {
            order_id: order.spec.id,
            broker: order.broker.clone(),
            symbol: order.spec.symbol.clone(),
            epoch,
            market: market.clone(),
        });
        self.rules.decide(&mut self.ledger, &input).unwrap()
    }

    /// Admission and, where it is due, the venue's answer.
    fn submit(&mut self, spec: OrderSpec, market: &Market) -> Decision {
        let (_, decision) = self.admit(spec, market);
        match &decision.effect {
            Effect::Execute { order, epoch } => {
                let (order, epoch) = (order.clone(), *epoch);
                self.execute(&order, epoch, market)
            }
            _ => decision,
        }
    }

    fn cancel(&mut self, id: &str) -> Decision {
        let received = self.received(Request::Cancel(OrderRef::Client(id.parse().unwrap())), 1);
        let decision = self.admit_again(&received, &Market::Unknown, "w1");
        match &decision.effect {
            Effect::ExecuteCancel { order } => {
                let due = ExecuteCancel { order_id: order.spec.id, key: received.key.clone(), hash: received.hash };
                self.rules.decide(&mut self.ledger, &Input::ExecuteCancel(due)).unwrap()
            }
            _ => decision,
        }
    }

    fn order(&self, id: &str) -> &Order {
        let id: ClientOrderId = id.parse().unwrap();
        &self.ledger.orders[&self.ledger.by_client_id[&id]].order
    }

    fn position(&self) -> Position {
        self.ledger.position(&("mock".parse().unwrap(), "BTCUSDT".parse().unwrap()))
    }
}

fn ended(decision: &Decision) -> Result<Status, Code> {
    match &decision.effect {
        Effect::Finish { outcome, .. } => match &outcome.result {
            OutcomeResult::Completed(status) => Ok(*status),
            OutcomeResult::Failed { refusal, .. } => Err(refusal.code),
        },
        other => panic!("not ended: {other:?}"),
    }
}

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
    desk.ledger.resting = vec![desk.order("a").spec.id];
    let tick = |market| {
        Input::Quote(QuoteTick { broker: "mock".parse().unwrap(), symbol: "BTCUSDT".parse().unwrap(), market, after: 0 })
    };
    let untouched = desk.rules.decide(&mut desk.ledger, &tick(quoted("98", "98.5", Some("2")))).unwrap();
    assert!(untouched.commits.is_empty());
    desk.ledger.resting = vec![desk.order("a").spec.id];
    desk.rules.decide(&mut desk.ledger, &tick(quoted("96", "97", Some("2")))).unwrap();
    assert_eq!(desk.order("a").state.status, Status::PartiallyFilled);
    assert_eq!(desk.order("a").average_fill_price().unwrap().to_string(), "98");
    assert_eq!(desk.position().reserved_buy.to_string(), "3");
}

#[test]
fn a_redelivered_submit_resumes_and_never_executes_twice() {
    let mut desk = Desk::new();
    let market = fixed("100");
    let (received, first) = desk.admit(spec("a", Side::Buy, "1", OrderType::Market, TimeInForce::Gtc), &market);
    let Effect::Execute { order, epoch } = first.effect else { panic!() };
    let waits = desk.admit_again(&received, &market, "w2");
    assert!(matches!(waits.effect, Effect::Wait(Wait::Undecided(_))), "its lease is not over");
    desk.ledger.now = NOW.plus_micros(10_000_001);
    let taken = desk.admit_again(&received, &market, "w2");
    let Effect::Execute { epoch: second, .. } = taken.effect else { panic!("{taken:?}") };
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
    let Effect::Execute { order, epoch } = first.effect else { panic!() };
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
    assert!(matches!(under_way.effect, Effect::Execute { .. }));
    assert!(matches!(desk.cancel("b").effect, Effect::Wait(Wait::Undecided(_))), "it waits for its submit");
}

#[test]
fn a_redelivered_cancel_finds_what_it_did() {
    let mut desk = Desk::new();
    desk.submit(spec("a", Side::Buy, "5", limit("98"), TimeInForce::Gtc), &quoted("99", "101", None));
    let received = desk.received(Request::Cancel(OrderRef::Client("a".parse().unwrap())), 1);
    let asked = desk.admit_again(&received, &Market::Unknown, "w1");
    let Effect::ExecuteCancel { order } = asked.effect else { panic!("{asked:?}") };
    let again = desk.admit_again(&received, &Market::Unknown, "w2");
    assert!(matches!(again.effect, Effect::ExecuteCancel { .. }), "journaled, not done: done again");
    let due = Input::ExecuteCancel(ExecuteCancel { order_id: order.spec.id, key: received.key.clone(), hash: received.hash });
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
            Effect::Execute { .. } => None,
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
    check(nothing, market("1"), Market::Quoted(Quote { timestamp: Some(NOW), ..Quote::default() }), Some(Code::NoReferencePrice));
    let aged = |by: i64| {
        let Market::Quoted(quote) = quoted("99", "101", None) else { panic!() };
        Market::Quoted(Quote { timestamp: Some(NOW.plus_micros(-by)), ..quote })
    };
    check(nothing, market("1"), aged(5_000_000), None);
    check(nothing, market("1"), aged(5_000_001), Some(Code::StalePrice));
    check(nothing, market("1"), aged(-5_000_001), Some(Code::StalePrice));
    check(nothing, market("1"), quoted("101", "99", None), Some(Code::StalePrice));
    check(|desk| desk.ledger.limits.clear(), market("1"), fixed("100"), Some(Code::NoLimits));
    let held: fn(&mut Desk) = |desk| {
        let key = ("mock".parse().unwrap(), "BTCUSDT".parse().unwrap());
        let position = Position { quantity: "400".parse().unwrap(), cost: "40000".parse().unwrap(), reserved_buy: "50".parse().unwrap(), ..Position::FLAT };
        desk.ledger.positions.insert(key, position);
    };
    check(held, market("50"), fixed("100"), None);
    check(held, market("50.001"), fixed("100"), Some(Code::PositionLimit));
    let losing: fn(&mut Desk) = |desk| {
        let key: (BrokerName, Symbol) = ("mock".parse().unwrap(), "BTCUSDT".parse().unwrap());
        let position = Position { quantity: "10".parse().unwrap(), cost: "1000".parse().unwrap(), realized_pnl: "-10000".parse().unwrap(), ..Position::FLAT };
        desk.ledger.positions.insert(key.clone(), position);
        desk.ledger.sessions.insert(key, (NOW.session_start(0), crate::domain::amount::Amount::ZERO));
    };
    check(losing, market("1"), fixed("100"), None);
    check(losing, market("1"), fixed("99.99"), Some(Code::DailyLoss));
    check(losing, spec("a", Side::Sell, "10", OrderType::Market, TimeInForce::Gtc), fixed("99.99"), None);
    check(losing, spec("a", Side::Sell, "10.01", OrderType::Market, TimeInForce::Gtc), fixed("99.99"), Some(Code::DailyLoss));
    let busy: fn(&mut Desk) = |desk| {
        let row = LimitRow { max_orders_per_second: Limit::At(2.into()), ..limits() };
        desk.ledger.limits.insert("*".into(), row);
        desk.ledger.recent_orders.insert("BTCUSDT".parse().unwrap(), 1);
    };
    check(busy, market("1"), fixed("100"), None);
    let full: fn(&mut Desk) = |desk| {
        let row = LimitRow { max_orders_per_second: Limit::At(2.into()), ..limits() };
        desk.ledger.limits.insert("*".into(), row);
        desk.ledger.recent_orders.insert("BTCUSDT".parse().unwrap(), 2);
    };
    check(full, market("1"), fixed("100"), Some(Code::OrderRate));
}

#[test]
fn the_rate_counts_what_other_controls_refuse_and_not_what_it_refused() {
    let mut desk = Desk::new();
    desk.ledger.limits.insert("*".into(), LimitRow { max_orders_per_second: Limit::At(2.into()), ..limits() });
    let submit = |desk: &mut Desk, id, quantity| {
        ended(&desk.submit(spec(id, Side::Buy, quantity, OrderType::Market, TimeInForce::Gtc), &fixed("100")))
    };
    assert_eq!(submit(&mut desk, "a", "101"), Err(Code::MaxOrderQuantity));
    assert_eq!(submit(&mut desk, "b", "1"), Ok(Status::Filled));
    assert_eq!(submit(&mut desk, "c", "1"), Err(Code::OrderRate));
    assert_eq!(submit(&mut desk, "d", "1"), Err(Code::OrderRate));
    assert_eq!(desk.ledger.changes.counted_orders.values().sum::<u64>(), 2);
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

/// A broker's claims, as they may come: each maybe twice, in any order.
fn claims() -> impl Strategy<Value = Vec<Report>> {
    let fill = (1u32..6, 1i64..40).prop_map(|(trade, quantity)| {
        Report::Fill(ReportedFill {
            trade_id: format!("t{trade}"),
            quantity: rust_decimal::Decimal::new(quantity, 1).to_string().parse().unwrap(),
            price: price("100"),
            commission: None,
            executed_at: NOW,
        })
    });
    let other = prop_oneof![
        Just(Report::Acknowledged { broker_order_id: "b".into() }),
        Just(Report::Cancelled { reason: "r".into() }),
        Just(Report::Expired { reason: "r".into() }),
        Just(Report::Rejected(crate::domain::refusal::Refusal::new(Code::BrokerRejected, "r"))),
        Just(Report::CancelRefused { reason: "r".into() }),
    ];
    prop::collection::vec(prop_oneof![2 => fill, 1 => other], 0..25)
}

proptest! {
    /// Whatever a broker claims, however often and in whatever order: each trade is booked once, the
    /// status follows the quantities, a terminal order moves only as markets know, the position and
    /// the reservation follow, and folding the events gives the projection.
    #[test]
    fn claims_are_booked_once_and_the_fold_is_the_projection(claims in claims()) {
        let mut desk = Desk::new();
        let (_, decision) = desk.admit(spec("a", Side::Buy, "10", limit("100"), TimeInForce::Gtc), &fixed("101"));
        let Effect::Execute { order, .. } = decision.effect else { panic!() };
        let id = order.spec.id;
        let mut booked: BTreeMap<String, rust_decimal::Decimal> = BTreeMap::new();
        for claim in &claims {
            let order = desk.ledger.orders[&id].order.clone();
            let known = |trade: &str| desk.ledger.trades.contains(&(id, trade.to_owned()));
            let Some(event) = reconcile(&order, claim, known) else { continue };
            if let EventKind::Fill(fill) = &event {
                prop_assert!(booked.insert(fill.trade_id.clone(), fill.quantity.get()).is_none(), "booked twice");
            }
            let is_fill = matches!(event, EventKind::Fill(_));
            desk.ledger.append(id, vec![event]).unwrap();
            let after = &desk.ledger.orders[&id].order;
            if order.state.status.is_terminal() && after.state.status != order.state.status {
                prop_assert!(is_fill, "{} moved to {}", order.state.status, after.state.status);
            }
        }
        let order = &desk.ledger.orders[&id].order;
        let filled: rust_decimal::Decimal = booked.values().copied().sum();
        prop_assert_eq!(order.state.filled_quantity.get(), filled);
        let total = filled + order.remaining_quantity().get();
        prop_assert_eq!(total, filled.max(order.spec.quantity.get()));
        prop_assert_eq!(order.state.status == Status::Filled, filled >= order.spec.quantity.get());
        prop_assert!(filled.is_zero() || order.state.status != Status::Rejected);
        let events: Vec<_> = desk.ledger.changes.commits.iter().flat_map(|commit| commit.events.clone()).collect();
        prop_assert_eq!(Order::fold(&events).unwrap(), Some(order.clone()));
        prop_assert_eq!(desk.position().quantity.get(), filled);
        prop_assert_eq!(desk.position().reserved_buy, order.reserved_quantity());
        let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
        prop_assert_eq!(versions, (1..=events.len() as u64).collect::<Vec<_>>());
    }

    /// Every event reads back as it was written.
    #[test]
    fn events_read_back(claims in claims()) {
        let mut desk = Desk::new();
        desk.submit(spec("a", Side::Sell, "10", limit("100"), TimeInForce::Gtc), &fixed("99"));
        let id = desk.order("a").spec.id;
        for claim in &claims {
            let order = desk.ledger.orders[&id].order.clone();
            let event = reconcile(&order, claim, |_| false);
            desk.ledger.append(id, event.into_iter().collect()).unwrap();
        }
        for event in desk.ledger.changes.commits.iter().flat_map(|commit| &commit.events) {
            let text = serde_json::to_string(event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<crate::domain::event::OrderEvent>(&text).unwrap(), event);
        }
    }
}
