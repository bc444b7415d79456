//! Average cost, profit and loss.

use super::*;
use crate::domain::event::Commission;
use crate::domain::time::Timestamp;
use crate::domain::trade::TradeTerms;
use proptest::prelude::*;

fn terms(quantity: &str, price: &str, commission: &str) -> TradeTerms {
    TradeTerms {
        quantity: quantity.parse().unwrap(),
        price: price.parse().unwrap(),
        commission: Some(Commission {
            asset: "USD".into(),
            amount: commission.parse().unwrap(),
            quote_value: Some(commission.parse().unwrap()),
        }),
        contract: None,
    }
}

/// The next in sequence. `was`: what is taken back, and where it was booked.
fn change<'a>(
    position: &Position,
    was: Option<(&'a TradeTerms, u64)>,
    now: Option<&'a TradeTerms>,
) -> TradeChange<'a> {
    let was = was.map(|(was, at)| (was.traded(), at));
    TradeChange {
        trade_id: "t",
        was,
        now: now.map(TradeTerms::traded),
        at: Timestamp::from_micros(0),
        position_sequence: position.sequence + 1,
    }
}

fn bought(position: &Position, side: Side, quantity: &str, price: &str) -> Position {
    position.booked(side, &change(&position, None, Some(&terms(quantity, price, "0")))).unwrap()
}

fn check(fills: &[(Side, &str, &str)], quantity: &str, average: Option<&str>, realized: &str) {
    let position = fills.iter().fold(Position::FLAT, |p, (side, q, price)| bought(&p, *side, q, price));
    assert_eq!(position.quantity.to_string(), quantity, "{fills:?}");
    assert_eq!(position.average_price().map(|a| a.to_string()).as_deref(), average, "{fills:?}");
    assert_eq!(position.realized_pnl.to_string(), realized, "{fills:?}");
}

#[test]
fn average_cost() {
    use Side::{Buy, Sell};
    check(&[(Buy, "1", "100"), (Buy, "1", "110")], "2", Some("105"), "0");
    check(&[(Buy, "2", "105"), (Sell, "1", "115")], "1", Some("105"), "10");
    check(&[(Sell, "2", "100"), (Buy, "1", "90")], "-1", Some("100"), "10");
    check(&[(Buy, "1", "100"), (Sell, "3", "110")], "-2", Some("110"), "10");
    check(&[(Sell, "1", "100"), (Buy, "3", "110")], "2", Some("110"), "-10");
    check(&[(Buy, "3", "10"), (Sell, "3", "11")], "0", None, "3");
    check(
        &[(Buy, "12", "100"), (Buy, "17", "99"), (Sell, "9", "101"), (Sell, "4", "105"), (Buy, "3", "103")],
        "19",
        Some("99.9800362976406534"),
        "36.6206896551724138",
    );
}

fn stands(position: &Position, quantity: &str, average: Option<&str>, realized: &str) {
    assert_eq!(position.quantity.to_string(), quantity);
    assert_eq!(position.average_price().map(|a| a.to_string()).as_deref(), average);
    assert_eq!(position.realized_pnl.to_string(), realized);
}

#[test]
fn a_trade_of_which_nothing_was_closed_since_leaves_as_it_came() {
    let first = terms("10", "100", "1");
    let position = Position::FLAT.booked(Side::Buy, &change(&Position::FLAT, None, Some(&first))).unwrap();
    let position = bought(&position, Side::Buy, "10", "110");
    stands(&position, "20", Some("105"), "0");
    let busted = position.booked(Side::Buy, &change(&position, Some((&first, 1)), None)).unwrap();
    stands(&busted, "10", Some("110"), "0");
    assert_eq!((busted.commission, busted.sequence), (Amount::ZERO, 3));
    let corrected =
        position.booked(Side::Buy, &change(&position, Some((&first, 1)), Some(&terms("5", "104", "2"))));
    let corrected = corrected.unwrap();
    stands(&corrected, "15", Some("108"), "0");
    assert_eq!(corrected.commission.to_string(), "2");
    // A bust that flattens leaves no cost behind.
    let flat = busted.booked(Side::Buy, &change(&busted, Some((&terms("10", "110", "0"), 2)), None)).unwrap();
    assert_eq!((flat.cost, flat.average_price()), (Amount::ZERO, None));
}

#[test]
fn a_trade_of_which_something_was_closed_is_closed_at_its_own_price() {
    let first = terms("10", "100", "0");
    let position = Position::FLAT.booked(Side::Buy, &change(&Position::FLAT, None, Some(&first))).unwrap();
    let position = bought(&position, Side::Buy, "10", "110");
    let position = bought(&position, Side::Sell, "15", "120");
    stands(&position, "5", Some("105"), "225");
    // Without it the five would have been sold short: 1200 - 1100 realized, 5 short at 120.
    let busted = position.booked(Side::Buy, &change(&position, Some((&first, 1)), None)).unwrap();
    stands(&busted, "-5", Some("100"), "200");
    let mark = Decimal::from(115);
    let never_bought = bought(&bought(&Position::FLAT, Side::Buy, "10", "110"), Side::Sell, "15", "120");
    assert_eq!(busted.equity(mark), never_bought.equity(mark));
}

proptest! {
    /// cash + position · mark = realized − commission + unrealized, for any sequence of fills, corrections and busts.
    #[test]
    fn money_is_conserved(
        steps in prop::collection::vec(
            (any::<bool>(), 1i64..100_000, 1i64..1_000_000, -500i64..500, 0u8..6, any::<prop::sample::Index>()),
            1..60,
        ),
        mark in 1i64..1_000_000,
    ) {
        let mut position = Position::FLAT;
        let mut cash = Decimal::ZERO;
        let worth = |side: Side, t: &TradeTerms| {
            side.signed(t.quantity.get() * t.price.get()) + t.commission.as_ref().unwrap().amount.get()
        };
        // Of each side, what is booked of every trade, and where.
        let mut booked: Vec<(Side, TradeTerms, u64)> = Vec::new();
        for (buys, quantity, price, paid, what, which) in steps {
            let text = |value: i64, scale: u32| Decimal::new(value, scale).to_string();
            let new = terms(&text(quantity, 3), &text(price, 2), &text(paid, 2));
            let place = position.sequence + 1;
            let old = (what < 2 && !booked.is_empty()).then(|| booked.remove(which.index(booked.len())));
            let side = old.as_ref().map_or(if buys { Side::Buy } else { Side::Sell }, |(side, ..)| *side);
            let now = (what != 0 || old.is_none()).then_some(&new);
            let was = old.as_ref().map(|(_, was, at)| (was, *at));
            position = position.booked(side, &change(&position, was, now)).unwrap();
            cash += was.map_or(Decimal::ZERO, |(was, _)| worth(side, was));
            if let Some(now) = now {
                cash -= worth(side, now);
                booked.push((side, now.clone(), place));
            }
            let held: Decimal = booked.iter().map(|(side, t, _)| side.signed(t.quantity.get())).sum();
            prop_assert_eq!(position.quantity.get(), held);
            let long = position.quantity.get().is_sign_positive();
            prop_assert!(position.cost.get().is_zero() || position.cost.get().is_sign_positive() == long);
        }
        let mark = Decimal::new(mark, 2);
        let worth = cash + position.quantity.get() * mark;
        prop_assert_eq!(worth, position.equity(mark).unwrap().get());
        if position.quantity.get().is_zero() {
            prop_assert_eq!(position.cost, Amount::ZERO);
        }
    }
}
