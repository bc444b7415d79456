//! Rows of limits together, the controls that are off until they are configured, and what a breach leads to.

use super::*;
use crate::domain::contract::{Contract, Contracts};
use crate::domain::instrument::Instrument;
use crate::domain::ledger::Mark;
use crate::domain::risk::OptionalLimits;
use crate::domain::trading_state::{Scope, TradingState};

const MS: i64 = 1000;

pub(super) fn desk(rows: &[LimitRow]) -> Desk {
    let mut desk = Desk::new();
    desk.ledger.control_mut().limits = Limits::of_rows(rows);
    desk
}

pub(super) fn open() -> LimitRow {
    LimitRow::unlimited("*")
}

pub(super) fn with(optional: OptionalLimits) -> LimitRow {
    LimitRow { optional, ..open() }
}

fn of_account(row: LimitRow) -> LimitRow {
    LimitRow { account: true, ..row }
}

fn of_strategy(id: &str, row: LimitRow) -> LimitRow {
    LimitRow { strategy_id: Some(id.into()), ..row }
}

fn order(id: &str, side: Side, quantity: &str, kind: OrderType) -> OrderSpec {
    spec(id, side, quantity, kind, TimeInForce::Gtc)
}

pub(super) fn buys(id: &str, quantity: &str) -> OrderSpec {
    order(id, Side::Buy, quantity, OrderType::Market)
}

pub(super) fn sells(id: &str, quantity: &str) -> OrderSpec {
    order(id, Side::Sell, quantity, OrderType::Market)
}

fn by(strategy: &str, spec: OrderSpec) -> OrderSpec {
    OrderSpec { strategy_id: Some(strategy.to_owned()), ..spec }
}

pub(super) fn in_symbol(symbol: &str, spec: OrderSpec) -> OrderSpec {
    OrderSpec { symbol: symbol.parse().unwrap(), ..spec }
}

impl Desk {
    pub(super) fn ends(&mut self, spec: OrderSpec, market: &Market) -> Result<Status, Code> {
        ended(&self.submit(spec, market))
    }

    fn state_of(&self, scope: &Scope, control: Code) -> Option<TradingState> {
        self.ledger.control.trading.of_control(scope, control).map(|switch| switch.state)
    }
}

fn btc() -> Scope {
    Scope::Symbol("BTCUSDT".parse().unwrap())
}

#[test]
fn of_all_rows_that_an_order_is_under_the_strictest_holds() {
    let limit = |quantity: i64| LimitRow { max_order_quantity: Limit::At(quantity.into()), ..open() };
    let rows = [
        limit(50),
        LimitRow { symbol: "ETHUSDT".into(), ..limit(5) },
        of_strategy("s", limit(20)),
        LimitRow { symbol: "BTCUSDT".into(), ..of_strategy("s", limit(30)) },
        of_account(limit(40)),
    ];
    let mut desk = desk(&rows);
    let mut check = |spec: OrderSpec, expected: Result<Status, Code>| {
        let what = format!("{} {} {:?}", spec.symbol, spec.quantity, spec.strategy_id);
        assert_eq!(desk.ends(spec, &fixed("100")), expected, "{what}");
    };
    let refused = Err(Code::MaxOrderQuantity);
    check(buys("a1", "40"), Ok(Status::Filled));
    check(buys("a2", "40.001"), refused);
    check(by("s", buys("b1", "20")), Ok(Status::Filled));
    check(by("s", buys("b2", "20.001")), refused);
    check(by("t", buys("c1", "40")), Ok(Status::Filled));
    check(in_symbol("ETHUSDT", by("s", buys("d1", "5"))), Ok(Status::Filled));
    check(in_symbol("ETHUSDT", buys("d2", "5.001")), refused);
}

#[test]
fn a_row_for_a_strategy_or_the_account_does_not_stand_in_for_a_symbols() {
    let mut desk = desk(&[of_account(open()), of_strategy("s", open())]);
    assert_eq!(desk.ends(by("s", buys("a", "1")), &fixed("100")), Err(Code::NoLimits));
}

#[test]
fn positions_of_a_strategy_are_its_own() {
    let rows = [open(), of_strategy("s", LimitRow { max_position: Limit::At(10.into()), ..open() })];
    let mut desk = desk(&rows);
    assert_eq!(desk.ends(by("t", buys("a", "100")), &fixed("100")), Ok(Status::Filled));
    assert_eq!(desk.ends(by("s", buys("b", "10")), &fixed("100")), Ok(Status::Filled));
    assert_eq!(desk.ends(by("s", buys("c", "0.001")), &fixed("100")), Err(Code::PositionLimit));
    assert_eq!(desk.ends(by("s", sells("d", "20")), &fixed("100")), Ok(Status::Filled));
    assert_eq!(desk.position().quantity.to_string(), "90");
}

#[test]
fn open_orders_are_counted_in_a_symbol_and_in_all() {
    let at_most = |n| with(OptionalLimits { max_open_orders: Some(n), ..OptionalLimits::default() });
    let mut desk = desk(&[at_most(2), of_account(at_most(3))]);
    let rests = |id: &str| order(id, Side::Buy, "1", limit("98"));
    let market = fixed("100");
    assert_eq!(desk.ends(rests("a"), &market), Ok(Status::Acknowledged));
    assert_eq!(desk.ends(rests("b"), &market), Ok(Status::Acknowledged));
    assert_eq!(desk.ends(rests("c"), &market), Err(Code::MaxOpenOrders));
    let eth = |id: &str| in_symbol("ETHUSDT", rests(id));
    assert_eq!(desk.ends(eth("d"), &market), Ok(Status::Acknowledged));
    assert_eq!(desk.ends(eth("e"), &market), Err(Code::MaxOpenOrders), "three are open in all");
    desk.cancel("a");
    assert_eq!(desk.ends(eth("f"), &market), Ok(Status::Acknowledged));
    assert_eq!(desk.position().open_orders, 1);
}

fn mark(desk: &mut Desk, symbol: &str, price: &str, at: Option<Timestamp>) {
    let mark = Mark { price: price.parse().unwrap(), at };
    desk.ledger.risk.set_mark(("mock".parse().unwrap(), symbol.parse().unwrap()), mark);
}

#[test]
fn exposure_is_gross_and_net_over_all_symbols_with_open_orders_filled() {
    let exposure = |gross: &str, net: &str| {
        of_account(with(OptionalLimits {
            max_gross_exposure: Some(gross.parse().unwrap()),
            max_net_exposure: Some(net.parse().unwrap()),
            ..OptionalLimits::default()
        }))
    };
    let fresh = || desk(&[open(), exposure("3000", "1000")]);
    let market = fixed("100");
    let mut one = fresh();
    assert_eq!(one.ends(buys("a", "10"), &market), Ok(Status::Filled));
    assert_eq!(one.ends(buys("b", "0.01"), &market), Err(Code::MaxExposure), "1001 net");
    // Short in another symbol makes room net, and none gross.
    assert_eq!(one.ends(in_symbol("ETHUSDT", sells("c", "20")), &market), Ok(Status::Filled));
    assert_eq!(one.ends(in_symbol("ETHUSDT", sells("d", "0.01")), &market), Err(Code::MaxExposure));
    assert_eq!(one.ends(buys("e", "0.01"), &market), Err(Code::MaxExposure), "3001 gross");
    assert_eq!(one.ends(sells("f", "10"), &market), Ok(Status::Filled), "it shrinks the position");
    // What rests counts as if it were filled.
    let mut two = fresh();
    assert_eq!(two.ends(order("a", Side::Buy, "10", limit("98")), &market), Ok(Status::Acknowledged));
    assert_eq!(two.ends(buys("b", "0.01"), &market), Err(Code::MaxExposure));
}

#[test]
fn a_sum_without_a_price_for_a_part_of_it_is_no_sum() {
    let row = of_account(LimitRow { max_daily_loss: Limit::At(50.into()), ..open() });
    let mut desk = desk(&[open(), row]);
    let quoted_at = |at: Timestamp| {
        let (bid, ask) = (Some(price("99")), Some(price("101")));
        Market::Quoted(Quote { bid, ask, timestamp: Some(at), ..Quote::default() })
    };
    assert_eq!(desk.ends(buys("a", "1"), &quoted_at(NOW)), Ok(Status::Filled));
    let eth = |id: &str| in_symbol("ETHUSDT", buys(id, "1"));
    assert_eq!(desk.ends(eth("b"), &fixed("10")), Ok(Status::Filled));
    desk.later(6_000_000);
    assert_eq!(desk.ends(eth("c"), &fixed("10")), Err(Code::StalePrice), "BTCUSDT has no price now");
    let sale = in_symbol("ETHUSDT", sells("d", "1"));
    assert_eq!(desk.ends(sale, &fixed("10")), Ok(Status::Filled), "what shrinks passes");
    let now = desk.ledger.now;
    mark(&mut desk, "BTCUSDT", "100", Some(now));
    assert_eq!(desk.ends(eth("e"), &fixed("10")), Ok(Status::Filled));
}

#[test]
fn a_daily_loss_of_the_account_stops_everything_until_the_next_session_or_a_person() {
    let row = of_account(LimitRow { max_daily_loss: Limit::At(50.into()), ..open() });
    let mut desk = desk(&[open(), row]);
    assert_eq!(desk.ends(buys("a", "10"), &fixed("100")), Ok(Status::Filled));
    assert_eq!(desk.ends(buys("b", "1"), &fixed("95")), Ok(Status::Filled), "50 lost: at the limit");
    assert_eq!(desk.ends(in_symbol("ETHUSDT", buys("c", "1")), &fixed("10")), Ok(Status::Filled));
    assert_eq!(desk.ends(buys("d", "1"), &fixed("94.9")), Err(Code::DailyLoss));
    assert_eq!(desk.state_of(&Scope::All, Code::DailyLoss), Some(TradingState::ReduceOnly));
    let events = desk.ledger.changes.control.len();
    // It holds on when prices recover, for every symbol, and is told once.
    assert_eq!(desk.ends(in_symbol("ETHUSDT", buys("e", "1")), &fixed("10")), Err(Code::DailyLoss));
    assert_eq!(desk.ends(buys("f", "1"), &fixed("200")), Err(Code::DailyLoss));
    assert_eq!(desk.ends(sells("g", "1"), &fixed("95")), Ok(Status::Filled));
    assert_eq!(desk.ledger.changes.control.len(), events);
    let switch = desk.ledger.control.trading.of_control(&Scope::All, Code::DailyLoss).unwrap().clone();
    assert_eq!(switch.until, Some(NOW.session_start(0).plus_micros(86_400_000_000)));
    assert!(
        switch.why.contains("the loss of account in this session is 51.1, max_daily_loss is 50"),
        "{}",
        switch.why
    );
    // A person: from then on what is lost counts anew.
    resume(&mut desk, Scope::All);
    assert_eq!(desk.ends(buys("h", "1"), &fixed("95")), Ok(Status::Filled));
    assert_eq!(desk.ends(buys("i", "1"), &fixed("90")), Err(Code::DailyLoss), "55 lost since");
    desk.ledger.now = switch.until.unwrap();
    assert_eq!(desk.ends(buys("j", "1"), &fixed("90")), Ok(Status::Filled), "the next session");
}

fn resume(desk: &mut Desk, scope: Scope) {
    desk.later(MS);
    let to = SwitchTo { scope, state: TradingState::Active, by: "ann".into(), why: "looked at it".into() };
    desk.rules.decide(&mut desk.ledger, &Input::Switch(Box::new(to))).unwrap();
}

#[test]
fn a_strategys_loss_stops_the_strategy_and_nobody_else() {
    let row = of_strategy("s", LimitRow { max_daily_loss: Limit::At(50.into()), ..open() });
    let mut desk = desk(&[open(), row]);
    assert_eq!(desk.ends(by("s", buys("a", "10")), &fixed("100")), Ok(Status::Filled));
    assert_eq!(desk.ends(by("t", buys("b", "10")), &fixed("94.99")), Ok(Status::Filled));
    assert_eq!(desk.ends(by("s", buys("c", "1")), &fixed("94.99")), Err(Code::DailyLoss));
    assert_eq!(
        desk.state_of(&Scope::StrategyId("s".into()), Code::DailyLoss),
        Some(TradingState::ReduceOnly)
    );
    // It may close what is its own, though the account is longer than that.
    assert_eq!(desk.ends(by("s", sells("d", "10.01")), &fixed("94.99")), Err(Code::DailyLoss));
    assert_eq!(desk.ends(by("s", sells("e", "10")), &fixed("94.99")), Ok(Status::Filled));
    assert_eq!(desk.ends(by("t", buys("f", "1")), &fixed("90")), Ok(Status::Filled));
}

#[test]
fn what_a_person_has_stopped_a_breach_does_not_start_again() {
    let row = LimitRow { max_daily_loss: Limit::At(50.into()), ..open() };
    let mut desk = desk(&[row]);
    assert_eq!(desk.ends(buys("a", "10"), &fixed("100")), Ok(Status::Filled));
    let halt = SwitchTo { scope: btc(), state: TradingState::Halted, by: "ann".into(), why: String::new() };
    desk.rules.decide(&mut desk.ledger, &Input::Switch(Box::new(halt))).unwrap();
    assert_eq!(desk.ends(sells("b", "1"), &fixed("90")), Err(Code::TradingHalted));
    assert_eq!(desk.state_of(&btc(), Code::DailyLoss), Some(TradingState::ReduceOnly));
    desk.later(86_400_000_000);
    assert_eq!(desk.ends(sells("c", "1"), &fixed("90")), Err(Code::TradingHalted), "the halt has no end");
}

#[test]
fn a_price_that_moves_too_far_within_the_window_stops_the_symbol_for_a_while() {
    let row = with(OptionalLimits {
        max_price_move_pct: Some("2".parse().unwrap()),
        price_move_window_ms: Some(1000),
        price_move_pause_ms: Some(3000),
        ..OptionalLimits::default()
    });
    let mut desk = desk(&[row]);
    assert_eq!(desk.ends(buys("a", "1"), &fixed("100")), Ok(Status::Filled));
    desk.later(500 * MS);
    assert_eq!(desk.ends(buys("b", "1"), &fixed("101.99")), Ok(Status::Filled));
    desk.later(500 * MS);
    assert_eq!(desk.ends(buys("c", "1"), &fixed("102")), Err(Code::PriceMove), "2 % within a second");
    assert_eq!(desk.state_of(&btc(), Code::PriceMove), Some(TradingState::Halted));
    assert_eq!(desk.ends(in_symbol("ETHUSDT", buys("d", "1")), &fixed("100")), Ok(Status::Filled));
    desk.later(2999 * MS);
    assert_eq!(desk.ends(sells("e", "1"), &fixed("102")), Err(Code::PriceMove), "for three seconds");
    desk.later(MS);
    assert_eq!(desk.ends(buys("f", "1"), &fixed("102")), Ok(Status::Filled));
    desk.later(1001 * MS);
    assert_eq!(desk.ends(buys("g", "1"), &fixed("106")), Ok(Status::Filled), "the window has passed");
}

#[test]
fn fills_beyond_the_limit_latch_until_a_person_looks() {
    let row =
        with(OptionalLimits { max_fills: Some(3), fills_window_ms: Some(1000), ..OptionalLimits::default() });
    let mut desk = desk(&[row]);
    let market = fixed("100");
    for n in 0..3 {
        assert_eq!(desk.ends(by("s", buys(&format!("a{n}"), "1")), &market), Ok(Status::Filled));
    }
    assert_eq!(
        desk.ends(by("s", sells("b", "1")), &market),
        Ok(Status::Filled),
        "the other side has its own"
    );
    assert_eq!(desk.ends(by("t", buys("c", "1")), &market), Ok(Status::Filled), "so has another strategy");
    desk.later(1000 * MS);
    assert_eq!(desk.ends(by("s", buys("d0", "1")), &market), Ok(Status::Filled), "the window has passed");
    for n in 1..4 {
        assert_eq!(desk.ends(by("s", buys(&format!("d{n}"), "1")), &market), Ok(Status::Filled));
    }
    let scope = Scope::StrategySymbol("s".into(), "BTCUSDT".parse().unwrap());
    assert_eq!(desk.state_of(&scope, Code::RepeatedExecution), Some(TradingState::ReduceOnly));
    desk.later(86_400_000_000);
    assert_eq!(desk.ends(by("s", buys("e", "1")), &market), Err(Code::RepeatedExecution));
    assert_eq!(desk.ends(by("s", in_symbol("ETHUSDT", buys("f", "1"))), &market), Ok(Status::Filled));
    assert_eq!(desk.ends(by("t", buys("g", "1")), &market), Ok(Status::Filled));
    assert_eq!(desk.ends(by("s", sells("h", "1")), &market), Ok(Status::Filled));
    resume(&mut desk, scope);
    assert_eq!(desk.ends(by("s", buys("i", "1")), &market), Ok(Status::Filled));
}

#[test]
fn what_a_person_has_looked_at_does_not_latch_again() {
    let row = with(OptionalLimits {
        max_fills: Some(2),
        fills_window_ms: Some(3_600_000),
        ..OptionalLimits::default()
    });
    let mut desk = desk(&[row]);
    let market = fixed("100");
    for n in 0..3 {
        assert_eq!(desk.ends(buys(&format!("a{n}"), "1"), &market), Ok(Status::Filled));
    }
    assert_eq!(desk.ends(buys("b", "1"), &market), Err(Code::RepeatedExecution));
    resume(&mut desk, btc());
    for n in 0..3 {
        desk.later(MS);
        assert_eq!(desk.ends(buys(&format!("c{n}"), "1"), &market), Ok(Status::Filled));
    }
    assert_eq!(desk.ends(buys("d", "1"), &market), Err(Code::RepeatedExecution), "three more since");
}

#[test]
fn money_without_a_rate_is_not_added_up() {
    let row = of_account(LimitRow { max_daily_loss: Limit::At(50.into()), ..open() });
    let mut desk = desk(&[open(), row]);
    let contract = |currency: &str| Contract { currency: Some(currency.into()), ..Contract::PLAIN };
    let contracts = |rates: &[(&str, &str)]| {
        let rates = rates.iter().map(|(name, rate)| ((*name).to_owned(), rate.parse().unwrap())).collect();
        let symbols = [("BTCUSDT", "USD"), ("ETHUSDT", "BTC")];
        let all = symbols.map(|(symbol, currency)| (symbol.parse().unwrap(), contract(currency)));
        Arc::new(Contracts::new(Some("USD".into()), rates, all))
    };
    desk.rules.contracts = contracts(&[("BTC", "50000")]);
    assert_eq!(desk.ends(in_symbol("ETHUSDT", buys("a", "1")), &fixed("10")), Ok(Status::Filled));
    mark(&mut desk, "ETHUSDT", "10", None);
    assert_eq!(desk.ends(buys("b", "1"), &fixed("10")), Ok(Status::Filled));
    // The rate is taken away while something is held.
    desk.rules.contracts = contracts(&[]);
    assert_eq!(desk.ends(buys("c", "1"), &fixed("10")), Err(Code::StalePrice));
}

#[test]
fn a_commission_is_booked_in_the_currency_of_the_contract() {
    let mut desk = desk(&[open()]);
    let contract = Contract { inverse: true, currency: Some("BTC".into()), ..Contract::PLAIN };
    let rates = BTreeMap::from([
        ("BTC".to_owned(), "50000".parse().unwrap()),
        ("USDT".to_owned(), "1".parse().unwrap()),
    ]);
    let contracts = Contracts::new(Some("USD".into()), rates, [("BTCUSDT".parse().unwrap(), contract)]);
    desk.rules.contracts = Arc::new(contracts);
    desk.rules.venue.commission_pct = rust_decimal::Decimal::ONE;
    assert_eq!(desk.ends(buys("a", "1"), &fixed("50000")), Ok(Status::Filled));
    assert_eq!(desk.position().commission.to_string(), "0.01", "500 USDT");
}

#[test]
fn the_same_under_another_name_is_refused_within_the_window() {
    let window = |ms| with(OptionalLimits { duplicate_window_ms: Some(ms), ..OptionalLimits::default() });
    let mut desk = desk(&[window(1000)]);
    let market = fixed("100");
    assert_eq!(desk.ends(buys("a", "1"), &market), Ok(Status::Filled));
    assert_eq!(desk.ends(buys("b", "2"), &market), Ok(Status::Filled));
    assert_eq!(
        desk.ends(by("s", buys("c", "1")), &market),
        Ok(Status::Filled),
        "another strategy's is another"
    );
    desk.later(999 * MS);
    assert_eq!(desk.ends(buys("d", "1"), &market), Err(Code::Duplicate));
    desk.later(MS);
    assert_eq!(desk.ends(buys("e", "1"), &market), Ok(Status::Filled), "what was refused does not count");
    assert_eq!(desk.ends(buys("e", "1"), &market), Ok(Status::Filled), "the same id is the same order");
}

#[test]
fn nobody_trades_with_himself() {
    let row = with(OptionalLimits {
        prevent_self_trade: true,
        max_open_orders: Some(100),
        ..OptionalLimits::default()
    });
    let mut desk = desk(&[row]);
    let market = fixed("100");
    assert_eq!(desk.ends(order("a", Side::Sell, "5", limit("102")), &market), Ok(Status::Acknowledged));
    assert_eq!(desk.ends(order("b", Side::Buy, "1", limit("102")), &market), Err(Code::SelfTrade));
    assert_eq!(desk.ends(buys("c", "1"), &market), Err(Code::SelfTrade), "without a price it crosses any");
    assert_eq!(desk.ends(order("d", Side::Buy, "1", limit("99")), &market), Ok(Status::Acknowledged));
    let eth = in_symbol("ETHUSDT", buys("e", "1"));
    assert_eq!(desk.ends(eth, &market), Ok(Status::Filled), "another symbol is another market");
    let stop = OrderType::Stop { stop_price: price("104") };
    assert_eq!(desk.ends(order("f", Side::Buy, "1", stop), &market), Ok(Status::Acknowledged), "it waits");
    desk.cancel("a");
    assert_eq!(desk.ends(order("g", Side::Buy, "1", limit("100")), &market), Ok(Status::Filled));
}

#[test]
fn what_is_not_permitted_is_refused_by_name() {
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let check = |optional: OptionalLimits, account: bool, expected: Result<Status, Code>| {
        let row = LimitRow { account, ..with(optional.clone()) };
        let rows = if account { vec![open(), row] } else { vec![row] };
        assert_eq!(desk(&rows).ends(by("s", buys("a", "1")), &fixed("100")), expected, "{optional:?}");
    };
    let (yes, no) = (Ok(Status::Filled), Err(Code::Permission));
    let none = OptionalLimits::default;
    check(OptionalLimits { allowed_sides: Some(vec![Side::Buy]), ..none() }, false, yes);
    check(OptionalLimits { allowed_sides: Some(vec![Side::Sell]), ..none() }, false, no);
    check(OptionalLimits { allowed_order_types: list(&["Limit", "Market"]), ..none() }, false, yes);
    check(OptionalLimits { allowed_order_types: list(&["Limit"]), ..none() }, false, no);
    check(OptionalLimits { allowed_strategies: list(&["s"]), ..none() }, false, yes);
    check(OptionalLimits { allowed_strategies: list(&["t"]), ..none() }, false, no);
    check(OptionalLimits { allowed_symbols: list(&["BTCUSDT"]), ..none() }, true, yes);
    check(OptionalLimits { allowed_symbols: list(&["ETHUSDT"]), ..none() }, true, no);
    check(OptionalLimits { restricted: true, ..none() }, false, no);
}

#[test]
fn a_symbol_that_does_not_trade_takes_cancels_only() {
    let mut desk = desk(&[open()]);
    let rests = order("a", Side::Buy, "1", limit("98"));
    assert_eq!(desk.ends(rests, &fixed("100")), Ok(Status::Acknowledged));
    let set = |desk: &mut Desk, instrument: Instrument| {
        desk.rules.venue.instruments.insert("BTCUSDT".parse().unwrap(), instrument);
    };
    set(&mut desk, Instrument { trading: false, ..Instrument::default() });
    assert_eq!(desk.ends(buys("b", "1"), &fixed("100")), Err(Code::MarketState));
    let types = Some(["Limit".to_owned()].into());
    set(&mut desk, Instrument { order_types: types, ..Instrument::default() });
    assert_eq!(desk.ends(buys("c", "1"), &fixed("100")), Err(Code::MarketState));
    set(&mut desk, Instrument { trading: false, ..Instrument::default() });
    assert_eq!(ended(&desk.cancel("a")), Ok(Status::Cancelled));
}
