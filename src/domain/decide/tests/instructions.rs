//! Instructions and bounds at the embedded venue: reduce-only, maximum slippage, and what contradicts itself.

use super::lifecycle::{sized, stop, stop_limit, trailing};
use super::*;
use crate::domain::order_type::DistanceType;

#[test]
fn reduce_only_never_goes_beyond_zero() {
    let reduce = |side, quantity: &str, kind, tif| {
        let mut order = spec("r", side, quantity, kind, tif);
        order.execution_instructions.reduce_only = true;
        order
    };
    use Side::{Buy, Sell};
    // Held, the order, how it ends, what it filled.
    for (held, side, quantity, kind, tif, ends, filled) in [
        (None, Sell, "1", OrderType::Market, TimeInForce::Gtc, Err(Code::BrokerRejected), "0"),
        (Some(Buy), Buy, "1", OrderType::Market, TimeInForce::Gtc, Err(Code::BrokerRejected), "0"),
        (Some(Buy), Sell, "5", OrderType::Market, TimeInForce::Gtc, Ok(Status::Filled), "5"),
        (Some(Buy), Sell, "6", OrderType::Market, TimeInForce::Gtc, Ok(Status::Cancelled), "5"),
        (Some(Sell), Buy, "6", OrderType::Market, TimeInForce::Ioc, Ok(Status::Cancelled), "5"),
        (Some(Buy), Sell, "6", OrderType::Market, TimeInForce::Fok, Ok(Status::Cancelled), "0"),
        (Some(Sell), Buy, "5", OrderType::Market, TimeInForce::Fok, Ok(Status::Filled), "5"),
        (Some(Buy), Sell, "6", limit("100"), TimeInForce::Gtc, Ok(Status::Cancelled), "5"),
        (Some(Sell), Buy, "6", limit("100"), TimeInForce::Gtc, Ok(Status::Cancelled), "5"),
    ] {
        let mut desk = Desk::new();
        if let Some(side) = held {
            desk.holds(side, "5");
        }
        let what = format!("{held:?} {side} {quantity} {kind:?} {tif:?}");
        assert_eq!(ended(&desk.submit(reduce(side, quantity, kind, tif), &fixed("100"))), ends, "{what}");
        assert_eq!(desk.order("r").state.filled_quantity.to_string(), filled, "{what}");
    }
    // One that rests ends when somebody else has closed the position.
    let mut desk = Desk::new();
    desk.holds(Buy, "5");
    let resting = reduce(Sell, "5", limit("102"), TimeInForce::Gtc);
    assert_eq!(ended(&desk.submit(resting, &fixed("100"))), Ok(Status::Acknowledged));
    let mut closing = spec("closing", Sell, "5", OrderType::Market, TimeInForce::Gtc);
    closing.max_slippage = Some("1".parse().unwrap());
    desk.ledger.control_mut().limits.insert(LimitRow { max_position: Limit::Unlimited, ..limits() });
    assert_eq!(ended(&desk.submit(closing, &fixed("100"))), Ok(Status::Filled));
    assert_eq!(desk.quote("r", &sized("102", "9")), Status::Cancelled);
    assert!(desk.position().quantity.get().is_zero());
}

#[test]
fn max_slippage_bounds_a_market_order_as_a_limit_would() {
    // Reference 100, one percent: 101 is the worst price of a buy, 99 that of a sell.
    for (side, bid, ask, status) in [
        (Side::Buy, "99", "101", Status::Filled),
        (Side::Buy, "99", "101.01", Status::Cancelled),
        (Side::Sell, "99", "101", Status::Filled),
        (Side::Sell, "98.99", "101", Status::Cancelled),
    ] {
        for tif in [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Day] {
            let mut desk = Desk::new();
            let mut order = spec("m", side, "1", OrderType::Market, tif);
            order.max_slippage = Some("1".parse().unwrap());
            let Market::Quoted(quote) = quoted(bid, ask, None) else { unreachable!() };
            let market = Market::Quoted(Quote { last: Some(price("100")), ..quote });
            assert_eq!(ended(&desk.submit(order, &market)), Ok(status), "{side} {bid} {ask} {tif:?}");
        }
    }
    // It is journaled with the attempt, on the grid, to the side that is stricter.
    for (side, worst) in [(Side::Buy, "100.5"), (Side::Sell, "99.5")] {
        let mut desk = Desk::new();
        let instrument =
            crate::domain::instrument::Instrument { tick_size: Some(price("0.5")), ..Default::default() };
        desk.rules.venue.instruments.insert("BTCUSDT".parse().unwrap(), instrument);
        let mut order = spec("m", side, "1", OrderType::Market, TimeInForce::Gtc);
        order.max_slippage = Some("0.7".parse().unwrap());
        desk.submit(order, &fixed("100"));
        assert_eq!(desk.order("m").state.worst_price, Some(price(worst)), "{side}");
        desk.check_fold("m");
    }
    // The venue's own slippage stops there.
    let mut desk = Desk::new();
    desk.rules.venue.slippage_pct = 5.into();
    let mut order = spec("m", Side::Buy, "1", OrderType::Market, TimeInForce::Gtc);
    order.max_slippage = Some("1".parse().unwrap());
    desk.submit(order, &fixed("100"));
    assert_eq!(desk.order("m").average_fill_price(), Some(price("101").get()));
}

#[test]
fn what_contradicts_itself_or_is_not_there_is_refused() {
    let with = |kind: OrderType, tif, change: fn(&mut OrderSpec)| {
        let mut order = spec("o", Side::Sell, "2", kind, tif);
        change(&mut order);
        ended(&Desk::new().submit(order, &fixed("100")))
    };
    use Code::{UnsupportedByBroker as Unsupported, ValidationFailed as Invalid};
    let gtc = TimeInForce::Gtc;
    let nothing: fn(&mut OrderSpec) = |_| {};
    assert_eq!(with(OrderType::Market, TimeInForce::Moc, nothing), Err(Unsupported));
    assert_eq!(with(limit("100"), TimeInForce::Loc, nothing), Err(Unsupported));
    assert_eq!(with(trailing("100", DistanceType::Absolute), gtc, nothing), Err(Invalid));
    assert_eq!(with(trailing("100", DistanceType::Percent), gtc, nothing), Err(Invalid));
    let maker: fn(&mut OrderSpec) = |o| o.execution_instructions.post_only = true;
    assert_eq!(with(stop("98"), gtc, maker), Err(Invalid));
    assert_eq!(with(limit("102"), TimeInForce::Ioc, maker), Err(Invalid));
    assert_eq!(with(stop_limit("98", "97"), gtc, maker), Err(Unsupported));
    assert_eq!(with(limit("102"), TimeInForce::Day, maker), Ok(Status::Acknowledged));
    let shown = |o: &mut OrderSpec, q: &str| o.execution_instructions.display_size = Some(q.parse().unwrap());
    assert_eq!(
        with(limit("102"), gtc, |o| o.execution_instructions.display_size = "3".parse().ok()),
        Err(Invalid)
    );
    let mut order = spec("o", Side::Sell, "2", limit("102"), gtc);
    shown(&mut order, "1");
    assert_eq!(ended(&Desk::new().submit(order, &fixed("100"))), Err(Unsupported));
    let bounded: fn(&mut OrderSpec) = |o| o.max_slippage = "1".parse().ok();
    assert_eq!(with(limit("102"), gtc, bounded), Err(Invalid));
    assert_eq!(with(stop("98"), gtc, bounded), Err(Unsupported));
    assert_eq!(with(OrderType::Market, gtc, |o| o.max_slippage = "100".parse().ok()), Err(Invalid));
    let whole: fn(&mut OrderSpec) = |o| o.execution_instructions.allow_partial_fills = Some(false);
    assert_eq!(with(OrderType::Market, gtc, whole), Err(Unsupported));
    assert_eq!(with(OrderType::Market, TimeInForce::Fok, whole), Ok(Status::Filled));
}

#[test]
fn the_collar_and_the_notional_know_every_price_that_an_order_leads_to() {
    // A collar of 5 %, a notional of 1,000 at most, a reference of 100.
    let with = |kind: OrderType, side, quantity: &str, slippage: Option<&str>| {
        let mut desk = Desk::new();
        let row = LimitRow { max_order_notional: Limit::At(1000.into()), ..limits() };
        desk.ledger.control_mut().limits.insert(row);
        let mut order = spec("o", side, quantity, kind, TimeInForce::Gtc);
        order.max_slippage = slippage.map(|pct| pct.parse().unwrap());
        ended(&desk.submit(order, &fixed("100")))
    };
    let (market, percent) = (OrderType::Market, DistanceType::Percent);
    for side in [Side::Buy, Side::Sell] {
        assert_eq!(with(market.clone(), side, "1", Some("5")), Ok(Status::Filled), "{side}");
        assert_eq!(with(market.clone(), side, "1", Some("5.01")), Err(Code::PriceCollar), "{side}");
        assert_eq!(with(trailing("5", percent), side, "1", None), Ok(Status::Acknowledged), "{side}");
        assert_eq!(with(trailing("5.01", percent), side, "1", None), Err(Code::PriceCollar), "{side}");
        assert_eq!(with(market.clone(), side, "10", None), Ok(Status::Filled), "{side}");
    }
    // What a buy may pay at its bound counts; a sell brings in no more than the bid.
    assert_eq!(with(market.clone(), Side::Buy, "9.8", Some("2")), Ok(Status::Filled));
    assert_eq!(with(market.clone(), Side::Buy, "9.9", Some("2")), Err(Code::MaxNotional));
    assert_eq!(with(market, Side::Sell, "10", Some("2")), Ok(Status::Filled));
}
