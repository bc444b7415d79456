//! Trades that the broker corrects or takes back, and terms that it changes by itself.

use super::*;
use crate::domain::report::ReportedCorrection;

fn fill_of(trade: &str, quantity: &str, at: &str) -> Report {
    Report::Fill(ReportedFill {
        trade_id: trade.to_owned(),
        quantity: quantity.parse().unwrap(),
        price: price(at),
        commission: None,
        executed_at: NOW,
    })
}

fn corrected(trade: &str, quantity: &str, at: &str, us: i64) -> Report {
    Report::TradeCorrected(ReportedCorrection {
        trade_id: trade.to_owned(),
        quantity: quantity.parse().unwrap(),
        price: price(at),
        commission: None,
        corrected_at: NOW.plus_micros(us),
        reason: "erroneous".to_owned(),
    })
}

fn busted(trade: &str) -> Report {
    let busted_at = NOW.plus_micros(9);
    Report::TradeBusted { trade_id: trade.to_owned(), busted_at, reason: "erroneous".to_owned() }
}

/// A desk with an order for ten that rests at 99.
fn resting() -> Desk {
    let mut desk = Desk::new();
    desk.submit(spec("o", Side::Buy, "10", limit("99"), TimeInForce::Gtc), &fixed("100"));
    desk
}

fn stands(desk: &Desk) -> (Status, String, Option<String>, String, Option<String>, String) {
    let (order, position) = (desk.order("o"), desk.position());
    (
        order.state.status,
        order.state.filled_quantity.to_string(),
        order.average_fill_price().map(|p| p.to_string()),
        position.quantity.to_string(),
        position.average_price().map(|p| p.to_string()),
        position.reserved_buy.to_string(),
    )
}

fn stood(
    status: Status,
    filled: &str,
    average: Option<&str>,
    reserved: &str,
) -> (Status, String, Option<String>, String, Option<String>, String) {
    let average = average.map(str::to_owned);
    (status, filled.to_owned(), average.clone(), filled.to_owned(), average, reserved.to_owned())
}

#[test]
fn trades_that_were_wrong_move_quantities_average_and_position() {
    let mut desk = resting();
    desk.facts("o", vec![fill_of("a", "4", "99"), fill_of("b", "6", "98")]);
    assert_eq!(stands(&desk), stood(Status::Filled, "10", Some("98.4"), "0"));
    desk.facts("o", vec![corrected("b", "6", "97", 1)]);
    assert_eq!(stands(&desk), stood(Status::Filled, "10", Some("97.8"), "0"));
    // What it had filled is open again, and reserved.
    desk.facts("o", vec![corrected("b", "1", "97", 2)]);
    assert_eq!(stands(&desk), stood(Status::PartiallyFilled, "5", Some("98.6"), "5"));
    desk.facts("o", vec![busted("a")]);
    assert_eq!(stands(&desk), stood(Status::PartiallyFilled, "1", Some("97"), "9"));
    desk.facts("o", vec![busted("b")]);
    assert_eq!(stands(&desk), stood(Status::Acknowledged, "0", None, "10"));
    desk.facts("o", vec![fill_of("c", "10", "96")]);
    assert_eq!(stands(&desk), stood(Status::Filled, "10", Some("96"), "0"));
    // Each is an event of its own: nothing was edited.
    assert_eq!(
        desk.events("o")[5..],
        ["Fill", "Fill", "TradeCorrected", "TradeCorrected", "TradeBusted", "TradeBusted", "Fill"]
    );
    desk.check_fold("o");
}

#[test]
fn what_was_said_of_a_trade_is_booked_once_in_whatever_order_it_comes() {
    let facts = [
        fill_of("a", "4", "99"),
        corrected("a", "5", "98", 1),
        corrected("a", "3", "97", 2),
        fill_of("b", "2", "96"),
        busted("b"),
    ];
    // Every order of five, each twice over.
    let mut orders = vec![vec![]];
    for n in 0..facts.len() {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, n);
                    longer
                })
            })
            .collect();
    }
    assert_eq!(orders.len(), 120);
    for order in orders {
        let mut desk = resting();
        for n in order.iter().chain(&order) {
            desk.facts("o", vec![facts[*n].clone()]);
        }
        assert_eq!(stands(&desk), stood(Status::PartiallyFilled, "3", Some("97"), "7"), "{order:?}");
        desk.check_fold("o");
    }
}

#[test]
fn an_order_that_ended_stays_ended_when_its_trades_were_wrong() {
    for end in [
        Report::Cancelled { reason: "by request".to_owned() },
        Report::Expired { reason: "its time".to_owned() },
    ] {
        let mut desk = resting();
        desk.facts("o", vec![fill_of("a", "4", "99"), end]);
        let status = desk.order("o").state.status;
        desk.facts("o", vec![corrected("a", "3", "99", 1)]);
        assert_eq!(stands(&desk), stood(status, "3", Some("99"), "0"));
        desk.facts("o", vec![busted("a"), fill_of("b", "2", "98")]);
        assert_eq!(stands(&desk), stood(status, "2", Some("98"), "0"));
        // Unless the trades complete it.
        desk.facts("o", vec![corrected("b", "10", "98", 3)]);
        assert_eq!(stands(&desk), stood(Status::Filled, "10", Some("98"), "0"));
        // That was wrong, too: it had ended long ago.
        desk.facts("o", vec![corrected("b", "2", "98", 4)]);
        assert_eq!(stands(&desk), stood(status, "2", Some("98"), "0"));
        desk.check_fold("o");
    }
}

#[test]
fn a_rejection_that_was_denied_by_a_wrong_trade_stands_again() {
    let mut desk = resting();
    let refusal = Refusal::new(Code::BrokerRejected, "no");
    desk.facts("o", vec![Report::Rejected(refusal), fill_of("a", "4", "99")]);
    assert_eq!(desk.order("o").state.status, Status::PartiallyFilled);
    desk.facts("o", vec![busted("a")]);
    assert_eq!(stands(&desk), stood(Status::Rejected, "0", None, "0"));
    desk.check_fold("o");
}

#[test]
fn no_price_is_shown_at_which_nothing_was_executed() {
    let mut desk = resting();
    desk.facts("o", vec![fill_of("a", "4", "99"), fill_of("b", "2", "98")]);
    let last = |desk: &Desk| desk.order("o").state.last_fill.map(|(price, _)| price.to_string());
    desk.facts("o", vec![corrected("b", "2", "97", 1)]);
    assert_eq!(last(&desk).as_deref(), Some("97"));
    desk.facts("o", vec![busted("b")]);
    assert_eq!(last(&desk), None);
}

#[test]
fn terms_that_the_broker_changed_by_itself_are_taken_over() {
    let mut desk = resting();
    let terms = Terms { quantity: Some("11".parse().unwrap()), price: Some(price("98")), stop_price: None };
    let restated = |terms, us| {
        let (reason, restated_at) = ("agreed by telephone".to_owned(), NOW.plus_micros(us));
        Report::Restated { terms, reason, restated_at }
    };
    // Told again, also after an older word that comes late, it is no news.
    let older = Terms { price: Some(price("97")), ..Terms::default() };
    for told in [restated(terms.clone(), 2), restated(older, 1), restated(terms, 2)] {
        desk.facts("o", vec![told]);
    }
    assert_eq!(desk.order("o").spec.quantity.to_string(), "11");
    assert_eq!(desk.order("o").spec.order_type, limit("98"));
    assert_eq!(desk.position().reserved_buy.to_string(), "11");
    assert_eq!(desk.events("o").iter().filter(|name| *name == "Restated").count(), 1);
    desk.check_fold("o");
    // Also where the fill of the old total is told first.
    let terms = Terms { quantity: Some("12".parse().unwrap()), ..Terms::default() };
    desk.facts("o", vec![fill_of("a", "11", "98"), restated(terms, 3)]);
    assert_eq!(stands(&desk), stood(Status::PartiallyFilled, "11", Some("98"), "1"));
    desk.check_fold("o");
}

#[test]
fn a_fact_that_cannot_be_booked_keeps_no_other_out() {
    let mut desk = resting();
    let inexact = |id: &str| fill_of(id, "0.00000000000001", "98.000000000000001");
    desk.facts("o", vec![inexact("a"), fill_of("b", "4", "99"), inexact("c")]);
    assert_eq!(stands(&desk), stood(Status::PartiallyFilled, "4", Some("99"), "6"));
    let differences = &desk.ledger.changes.differences;
    assert_eq!(differences.iter().map(|d| d.kind).collect::<Vec<_>>(), ["cannot_be_booked"; 2]);
    assert_ne!(differences[0].key, differences[1].key, "each is written down");
    desk.check_fold("o");
}
