//! Limits over strategies, symbols and the account: exact over two handles at once, counted in the journal, and kept.

use std::time::Duration;

use futures_util::future::join_all;
use order_execution::domain::decide::{Decision, Effect};
use order_execution::domain::market::Market;
use order_execution::domain::order::OrderSpec;
use order_execution::domain::order_type::Side;
use order_execution::domain::profile::Profile;
use order_execution::domain::refusal::Code;
use order_execution::domain::risk::{Limit, LimitRow, OptionalLimits};
use order_execution::domain::trading_state::{Scope, TradingState};
use rust_decimal::Decimal;

use super::super::fixture::{
    self, admit, amount, execute, facts, fill, limit_order, market_order, outcome, price, quantity, symbol,
};
use super::{Handle, JournalUnderTest};
use order_execution::domain::decide::Input;
use order_execution::domain::request::Request;

async fn under_limits(under: &impl JournalUnderTest, rows: &[LimitRow]) -> (Handle, Handle) {
    let handle = under.open(fixture::rules(Profile::Embedded)).await;
    handle.journal.init_limits(rows).await.unwrap();
    (handle, under.open(fixture::rules(Profile::Embedded)).await)
}

fn open() -> LimitRow {
    LimitRow::unlimited("*")
}

fn of_account(optional: OptionalLimits) -> LimitRow {
    LimitRow { account: true, optional, ..open() }
}

fn by(strategy: &str, spec: OrderSpec) -> OrderSpec {
    OrderSpec { strategy_id: Some(strategy.to_owned()), ..spec }
}

fn at(market: &str, n: u64, spec: OrderSpec) -> Input {
    let Input::Admit(mut input) = admit("w", n, Request::Submit(Box::new(spec)), 1) else { unreachable!() };
    input.view.market = Market::Fixed(price(market));
    Input::Admit(input)
}

/// How a submission ended, or `None` where it is attempted.
fn refused(decision: &Decision) -> Option<Code> {
    match &decision.effect {
        Effect::Submit { .. } => None,
        Effect::Finish { .. } => outcome(decision).code(),
        other => panic!("{other:?}"),
    }
}

/// Each through one of two handles, all at once.
async fn at_once(a: &Handle, b: &Handle, inputs: Vec<Input>) -> Vec<Option<Code>> {
    let calls = inputs.into_iter().enumerate().map(|(n, input)| {
        let handle = if n % 2 == 0 { a } else { b };
        async move { refused(&handle.decide_one(input).await) }
    });
    join_all(calls).await
}

fn passed(ends: &[Option<Code>]) -> usize {
    ends.iter().filter(|end| end.is_none()).count()
}

pub(crate) async fn what_the_account_may_have_open_is_exact_over_symbols_and_handles(
    under: &impl JournalUnderTest,
) {
    let row = of_account(OptionalLimits { max_open_orders: Some(10), ..OptionalLimits::default() });
    let (a, b) = under_limits(under, &[open(), row]).await;
    let spec = |n: u64| OrderSpec { symbol: symbol(&format!("S{}", n % 7)), ..limit_order(n, "1", "90") };
    let ends = at_once(&a, &b, (0..40).map(|n| at("100", n, spec(n))).collect()).await;
    assert_eq!(passed(&ends), 10);
    assert!(ends.iter().flatten().all(|code| *code == Code::MaxOpenOrders), "{ends:?}");
    a.assert_replays().await;
}

pub(crate) async fn exposure_is_exact_over_symbols_and_handles(under: &impl JournalUnderTest) {
    let limits = OptionalLimits {
        max_gross_exposure: Some(amount("1000")),
        max_net_exposure: Some(amount("600")),
        ..OptionalLimits::default()
    };
    let (a, b) = under_limits(under, &[open(), of_account(limits)]).await;
    let spec = |n: u64| {
        let side = if n.is_multiple_of(3) { Side::Sell } else { Side::Buy };
        let quantity = quantity(if n.is_multiple_of(2) { "1" } else { "0.5" });
        OrderSpec { symbol: symbol(&format!("S{}", n % 5)), side, quantity, ..limit_order(n, "1", "100") }
    };
    at_once(&a, &b, (0..60).map(|n| at("100", n, spec(n))).collect()).await;
    let books = a.reader.positions().await.unwrap();
    let (mut gross, mut bought, mut sold) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    let hundred = Decimal::ONE_HUNDRED;
    for (_, _, position) in &books {
        let [long, short] = position.worst_cases().unwrap();
        gross += long.abs().max(short.abs()) * hundred;
        bought += long * hundred;
        sold += short * hundred;
    }
    let net = bought.abs().max(sold.abs());
    assert!(gross <= 1000.into() && net <= 600.into(), "gross {gross}, net {net}");
    // What is left of the one or of the other is less than the smallest order.
    assert!(gross > 950.into() || net > 550.into(), "gross {gross}, net {net}");
    a.assert_replays().await;
}

pub(crate) async fn the_rate_of_a_strategy_is_exact_over_symbols_and_handles(under: &impl JournalUnderTest) {
    let row =
        LimitRow { strategy_id: Some("s".into()), max_orders_per_second: Limit::At(5.into()), ..open() };
    let (a, b) = under_limits(under, &[open(), row]).await;
    let spec = |n: u64| by("s", OrderSpec { symbol: symbol(&format!("S{n}")), ..market_order(n) });
    let started = under.now();
    let ends = at_once(&a, &b, (0..12).map(|n| at("100", n, spec(n))).collect()).await;
    let seconds = usize::try_from(under.now().micros_since(started) / 1_000_000).unwrap() + 1;
    assert!((5..=5 * seconds).contains(&passed(&ends)), "{ends:?}");
    assert!(ends.iter().flatten().all(|code| *code == Code::OrderRate), "{ends:?}");
    let other = by("t", OrderSpec { symbol: symbol("S1"), ..market_order(20) });
    assert_eq!(refused(&b.decide_one(at("100", 20, other)).await), None);
}

pub(crate) async fn a_breach_stops_its_scope_for_every_handle_and_is_kept(under: &impl JournalUnderTest) {
    let row = LimitRow { max_daily_loss: Limit::At(50.into()), account: true, ..open() };
    let (a, b) = under_limits(under, &[open(), row]).await;
    // With a commission of 10.
    let bought = a.decide_one(at("100", 1, OrderSpec { quantity: quantity("10"), ..market_order(1) })).await;
    a.decide_one(execute(&bought)).await;
    assert_eq!(refused(&b.decide_one(at("94", 2, market_order(2))).await), Some(Code::DailyLoss));
    let c = under.open(fixture::rules(Profile::Embedded)).await;
    for (n, handle) in [(3, &a), (4, &b), (5, &c)] {
        // It holds on when the price is back.
        assert_eq!(refused(&handle.decide_one(at("100", n, market_order(n))).await), Some(Code::DailyLoss));
        let control = handle.reader.control().await.unwrap();
        let switch = control.trading.of_control(&Scope::All, Code::DailyLoss).unwrap();
        assert_eq!(switch.state, TradingState::ReduceOnly);
        assert!(switch.why.contains("is 70, max_daily_loss is 50"), "{}", switch.why);
    }
    let told = a.reader.unpublished_control(10).await.unwrap();
    assert_eq!(told.len(), 2, "the limits, and the breach once: {told:?}");
    a.assert_replays().await;
    // A person ends it, whoever sees it first, and what is lost from then on counts.
    under.pass(Duration::from_millis(1)).await;
    b.decide_one(super::control::switch(Scope::All, TradingState::Active)).await;
    assert_eq!(refused(&c.decide_one(at("94", 6, market_order(6))).await), None);
    assert_eq!(refused(&a.decide_one(at("88.9", 7, market_order(7))).await), Some(Code::DailyLoss));
    // Whoever reads it anew finds it, beside what the person said before.
    let d = under.open(fixture::rules(Profile::Embedded)).await;
    for (n, handle) in [(8, &d), (9, &b)] {
        assert_eq!(refused(&handle.decide_one(at("100", n, market_order(n))).await), Some(Code::DailyLoss));
        let control = handle.reader.control().await.unwrap();
        assert!(control.trading.of_control(&Scope::All, Code::DailyLoss).is_some(), "{control:?}");
    }
    a.assert_replays().await;
}

/// An empty name is no strategy, whatever a producer writes.
pub(crate) async fn an_empty_strategy_is_none(under: &impl JournalUnderTest) {
    let (a, b) = under_limits(under, &[LimitRow { max_position: Limit::At(3.into()), ..open() }]).await;
    for n in 1..3 {
        let admitted = a.decide_one(at("100", n, by("", market_order(n)))).await;
        b.decide_one(execute(&admitted)).await;
    }
    let admitted = b.decide_one(at("100", 3, market_order(3))).await;
    a.decide_one(execute(&admitted)).await;
    assert_eq!(
        refused(&a.decide_one(at("100", 4, by("", market_order(4)))).await),
        Some(Code::PositionLimit)
    );
    let books = b.reader.books().await.unwrap();
    assert_eq!(books.len(), 1, "{books:?}");
    assert_eq!(books[0].1.quantity.to_string(), "3");
    a.assert_replays().await;
}

/// Fills are facts: what goes beyond its order is booked, and written down for somebody to look at.
pub(crate) async fn a_fill_beyond_its_order_is_booked_and_told(under: &impl JournalUnderTest) {
    let (a, b) = under_limits(under, &[LimitRow { max_position: Limit::At(3.into()), ..open() }]).await;
    let rests = a.decide_one(at("100", 1, limit_order(1, "2", "90"))).await;
    a.decide_one(execute(&rests)).await;
    b.decide_one(facts("c1", vec![fill("t1", "5", "90")], None)).await;
    let (_, _, position) = a.reader.positions().await.unwrap().remove(0);
    assert_eq!((position.quantity.to_string().as_str(), position.reserved_buy.is_zero()), ("5", true));
    assert_eq!(a.reader.differences().await.unwrap(), 1);
    assert_eq!(refused(&b.decide_one(at("100", 2, market_order(2))).await), Some(Code::PositionLimit));
    a.assert_replays().await;
}

pub(crate) async fn windows_are_counted_over_handles(under: &impl JournalUnderTest) {
    let limits = OptionalLimits {
        max_fills: Some(2),
        fills_window_ms: Some(60_000),
        duplicate_window_ms: Some(60_000),
        max_price_move_pct: Some(amount("5")),
        price_move_window_ms: Some(60_000),
        price_move_pause_ms: Some(86_400_000),
        max_open_orders: Some(100),
        prevent_self_trade: true,
        ..OptionalLimits::default()
    };
    let (a, b) = under_limits(under, &[LimitRow { optional: limits, ..open() }]).await;
    let sized = |n: u64, size: &str| by("s", OrderSpec { quantity: quantity(size), ..market_order(n) });
    let first = a.decide_one(at("100", 1, sized(1, "1"))).await;
    b.decide_one(execute(&first)).await;
    assert_eq!(refused(&b.decide_one(at("100", 2, sized(2, "1"))).await), Some(Code::Duplicate));
    let resting = OrderSpec { side: Side::Sell, ..limit_order(3, "1", "101") };
    let rests = a.decide_one(at("100", 3, resting)).await;
    a.decide_one(execute(&rests)).await;
    let crossing = limit_order(4, "3", "101");
    assert_eq!(refused(&b.decide_one(at("100", 4, crossing)).await), Some(Code::SelfTrade));
    let below = |n: u64, size: &str| by("s", limit_order(n, size, "100"));
    for n in [5, 6] {
        let bought = b.decide_one(at("100", n, below(n, &n.to_string()))).await;
        a.decide_one(execute(&bought)).await;
    }
    let ended = refused(&b.decide_one(at("100", 7, below(7, "7"))).await);
    assert_eq!(ended, Some(Code::RepeatedExecution), "three fills of one strategy");
    let moved = by("t", limit_order(8, "1", "106"));
    assert_eq!(refused(&b.decide_one(at("106", 8, moved)).await), Some(Code::PriceMove));
    assert_eq!(
        refused(&a.decide_one(at("100", 9, by("u", limit_order(9, "1", "99")))).await),
        Some(Code::PriceMove)
    );
    let control = a.reader.control().await.unwrap();
    assert_eq!(control.trading.iter().count(), 2, "{control:?}");
    a.assert_replays().await;
}

pub(crate) async fn strategies_have_books_of_their_own(under: &impl JournalUnderTest) {
    let (a, b) = under_limits(under, &[open()]).await;
    let sides =
        [("s", Side::Buy, "3"), ("t", Side::Sell, "1"), ("s", Side::Sell, "1"), ("u", Side::Buy, "2")];
    for (n, (strategy, side, size)) in (1..).zip(sides) {
        let spec = by(strategy, OrderSpec { side, quantity: quantity(size), ..market_order(n) });
        let admitted = a.decide_one(at("100", n, spec)).await;
        b.decide_one(execute(&admitted)).await;
    }
    let rests = a.decide_one(at("100", 9, by("u", limit_order(9, "4", "90")))).await;
    b.decide_one(execute(&rests)).await;
    let books = b.reader.books().await.unwrap();
    let shown: Vec<_> = books
        .iter()
        .map(|(book, position)| {
            let strategy = book.strategy.as_deref().unwrap_or("-");
            format!("{strategy} {} {} {}", position.quantity, position.reserved_buy, position.open_orders)
        })
        .collect();
    assert_eq!(shown, ["- 3 4 1", "s 2 0 0", "t -1 0 0", "u 2 4 1"]);
    assert_eq!(a.reader.positions().await.unwrap().len(), 1);
    a.assert_replays().await;
}
