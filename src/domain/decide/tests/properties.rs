//! What holds for any sequence of claims.

use proptest::prelude::*;

use super::*;

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
        Just(Report::Rejected(Refusal::new(Code::BrokerRejected, "r"))),
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
        let Effect::Submit { order, .. } = decision.effect else { panic!() };
        let id = order.spec.id;
        let mut booked: BTreeMap<String, rust_decimal::Decimal> = BTreeMap::new();
        for claim in &claims {
            let order = desk.ledger.orders[&id].order.clone();
            let known = |trade: &str| desk.ledger.trades.get(&(id, trade.to_owned())).cloned();
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
        prop_assert_eq!(&Order::fold(&events).unwrap().unwrap(), &**order);
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
            let event = reconcile(&order, claim, |_| None);
            desk.ledger.append(id, event.into_iter().collect()).unwrap();
        }
        for event in desk.ledger.changes.commits.iter().flat_map(|commit| &commit.events) {
            let text = serde_json::to_string(event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<crate::domain::event::OrderEvent>(&text).unwrap(), event);
        }
    }
}
