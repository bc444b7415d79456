//! What no scenario shows, or shows for others than us.

use super::super::*;
use super::replay::{facts_of, unlimited};
use super::words::{OrdStatus, ord_status};
use crate::domain::amount::Quantity;
use crate::domain::event::Terms;
use crate::domain::request::Replace;

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.rules.profile = Profile::DedupesForever;
    desk.ledger.control_mut().limits.insert(unlimited());
    desk
}

/// A desk with an order for ten that the broker has.
fn resting() -> Desk {
    let mut desk = desk();
    desk.admit(spec("o", Side::Buy, "10", limit("50"), TimeInForce::Gtc), &fixed("50"));
    tell(&mut desk, Report::Acknowledged { broker_order_id: "b-1".into() });
    desk
}

fn tell(desk: &mut Desk, report: Report) {
    desk.rules.decide(&mut desk.ledger, &facts_of("o", vec![report])).unwrap();
}

fn fill(trade: &str, quantity: &str) -> Report {
    Report::Fill(ReportedFill {
        trade_id: trade.to_owned(),
        quantity: quantity.parse().unwrap(),
        price: price("50"),
        commission: None,
        executed_at: NOW,
    })
}

fn busted(trade: &str) -> Report {
    let busted_at = NOW.plus_micros(1);
    Report::TradeBusted { trade_id: trade.to_owned(), busted_at, reason: "erroneous".to_owned() }
}

/// E.1.a: the broker tells of an order that a telephone made, and nobody here asked for it.
#[test]
fn e_1_a_an_order_that_is_not_ours_is_written_down_and_nothing_else() {
    let mut desk = desk();
    for report in [Report::Acknowledged { broker_order_id: "b-1".into() }, fill("a", "2000")] {
        tell(&mut desk, report);
    }
    let kinds: Vec<_> = desk.ledger.changes.differences.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, ["external_order", "external_order"]);
    assert!(desk.ledger.orders.is_empty() && desk.position() == Position::FLAT);
}

#[test]
fn j_1_a_a_bust_opens_a_filled_order_again() {
    for (trades, status, fix) in [
        (vec![("a", "4"), ("b", "6")], Status::PartiallyFilled, OrdStatus::PartiallyFilled),
        (vec![("b", "10")], Status::Acknowledged, OrdStatus::New),
    ] {
        let mut desk = resting();
        trades.iter().for_each(|(trade, quantity)| tell(&mut desk, fill(trade, quantity)));
        assert_eq!(desk.order("o").state.status, Status::Filled);
        assert_eq!(desk.position().reserved_buy, Quantity::ZERO);
        tell(&mut desk, busted("b"));
        let order = desk.order("o");
        assert_eq!((order.state.status, ord_status(order)), (status, Some(fix)));
        assert_eq!(desk.position().reserved_buy, order.remaining_quantity());
        assert_eq!(desk.position().quantity.get(), order.state.filled_quantity.get());
    }
}

/// It had ended at the broker: that late fills completed it for a while does not make it work again.
#[test]
fn an_order_that_ended_before_late_fills_completed_it_ends_so_again_when_they_are_busted() {
    let reason = || "its end".to_owned();
    for (end, status) in [
        (Report::Cancelled { reason: reason() }, Status::Cancelled),
        (Report::Expired { reason: reason() }, Status::Expired),
    ] {
        for first in [Some("4"), None] {
            let mut desk = resting();
            first.into_iter().for_each(|quantity| tell(&mut desk, fill("a", quantity)));
            tell(&mut desk, end.clone());
            tell(&mut desk, fill("b", if first.is_some() { "6" } else { "10" }));
            assert_eq!(desk.order("o").state.status, Status::Filled, "{status}");
            tell(&mut desk, busted("b"));
            assert_eq!(desk.order("o").state.status, status);
            assert_eq!(desk.order("o").state.filled_quantity.to_string(), first.unwrap_or("0"));
            assert_eq!(desk.position().reserved_buy, Quantity::ZERO, "{status}: nothing of it works");
            tell(&mut desk, fill("c", if first.is_some() { "6" } else { "10" }));
            assert_eq!(desk.order("o").state.status, Status::Filled, "{status}: and again");
        }
    }
}

/// The broker's answer and its feed are two ways: the fill may be told before the replace that was carried out first.
#[test]
fn a_larger_total_in_force_is_open_whichever_is_told_first() {
    for replaced_first in [true, false] {
        let mut desk = resting();
        let terms = Terms { quantity: "12".parse().ok(), ..Terms::default() };
        let replace = Replace { client_order_id: "o".parse().unwrap(), terms: terms.clone() };
        let received = desk.received(Request::Replace(Box::new(replace)), 1);
        let asked = desk.admit_again(&received, &fixed("50"), "w1");
        let Effect::Replace { number, .. } = asked.effect else { panic!("{asked:?}") };
        let replaced = Report::Replaced { number, terms };
        let (first, second) =
            if replaced_first { (replaced, fill("a", "10")) } else { (fill("a", "10"), replaced) };
        tell(&mut desk, first);
        tell(&mut desk, second);
        let order = desk.order("o");
        assert_eq!(order.state.status, Status::PartiallyFilled, "{replaced_first}");
        assert_eq!(order.remaining_quantity().to_string(), "2");
        assert_eq!(desk.position().reserved_buy.to_string(), "2");
        // What works at the broker can be cancelled.
        let received = desk.received(Request::Cancel(OrderRef::Client("o".parse().unwrap())), 1);
        let decision = desk.admit_again(&received, &Market::Unknown, "w1");
        assert!(matches!(decision.effect, Effect::Cancel { .. }), "{decision:?}");
    }
}

/// A cancel overtakes a replace that hangs: of the two the cancel is told, and the end hides neither.
#[test]
fn the_ord_status_of_highest_precedence_is_told() {
    let mut desk = resting();
    tell(&mut desk, fill("a", "4"));
    let told = |desk: &Desk| ord_status(desk.order("o"));
    assert_eq!(told(&desk), Some(OrdStatus::PartiallyFilled));
    let client_order_id: ClientOrderId = "o".parse().unwrap();
    let terms = Terms { quantity: "12".parse().ok(), ..Terms::default() };
    let replace = Replace { client_order_id: client_order_id.clone(), terms };
    for (request, status) in [
        (Request::Replace(Box::new(replace)), OrdStatus::PendingReplace),
        (Request::Cancel(OrderRef::Client(client_order_id)), OrdStatus::PendingCancel),
    ] {
        let received = desk.received(request, 1);
        desk.admit_again(&received, &fixed("50"), "w1");
        assert_eq!(told(&desk), Some(status));
    }
    assert!(desk.order("o").state.pending_replace.is_some());
    tell(&mut desk, Report::CancelRefused { reason: "no".to_owned() });
    assert_eq!(told(&desk), Some(OrdStatus::PendingReplace));
    tell(&mut desk, fill("b", "6"));
    assert_eq!(told(&desk), Some(OrdStatus::Filled));
}
