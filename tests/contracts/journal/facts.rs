//! What brokers tell: merged whoever brings it, however late and often.

use futures_util::future::join;
use order_execution::domain::decide::{Effect, Input};
use order_execution::domain::event::{Commission, Terms};
use order_execution::domain::order_type::OrderType;
use order_execution::domain::profile::Profile;
use order_execution::domain::report::{Report, ReportedCorrection, ReportedFill};
use order_execution::domain::status::Status;
use order_execution::domain::time::Timestamp;

use super::super::fixture::{
    acknowledged, amount, broker, execute, facts, fill, limit_order, price, quantity, submit,
};
use super::{Handle, JournalUnderTest, one, two};

/// An order that rests at the broker.
async fn resting(handle: &Handle, n: u64, size: &str) {
    let admitted = handle.decide_one(submit("a", n, limit_order(n, size, "90"))).await;
    handle.decide_one(execute(&admitted)).await;
}

pub(crate) async fn a_fact_that_is_told_again_changes_nothing(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    resting(&a, 0, "9").await;
    for trade in ["t1", "t2"] {
        let first = a.decide_one(facts("c0", vec![fill(trade, "2", "90")], None)).await;
        assert_eq!(first.commits.len(), 1);
        for handle in [&a, &b] {
            let again = handle.decide_one(facts("c0", vec![fill(trade, "2", "90")], None)).await;
            assert!(again.commits.is_empty(), "{again:?}");
        }
    }
    assert_eq!(b.order("c0").await.state.filled_quantity.to_string(), "4");
    let (_, _, position) = b.reader.positions().await.unwrap().remove(0);
    assert_eq!((position.quantity.to_string(), position.reserved_buy.to_string()), ("4".into(), "5".into()));
    b.assert_replays().await;
}

pub(crate) async fn facts_told_through_two_handles_at_once_are_booked_once(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    resting(&a, 0, "50").await;
    // The first by one, the second by both, the third by the other …, as of a feed that two read for a moment.
    let calls = (0..40_u32).map(|n| {
        let told = |handle: &Handle| {
            let journal = handle.journal.clone();
            let input = facts("c0", vec![fill(&format!("t{n}"), "1", "90")], Some(u64::from(n)));
            async move { journal.transact(vec![input]).await.unwrap().remove(0).unwrap() }
        };
        let (one, other) = (n % 3 != 2, n % 3 != 0);
        let (first, second) = (one.then(|| told(&a)), other.then(|| told(&b)));
        join(async { if let Some(call) = first { call.await.commits.len() } else { 0 } }, async {
            if let Some(call) = second { call.await.commits.len() } else { 0 }
        })
    });
    let commits = futures_util::future::join_all(calls).await;
    assert_eq!(commits.iter().map(|(a, b)| a + b).sum::<usize>(), 40);
    assert_eq!(a.order("c0").await.state.filled_quantity.to_string(), "40");
    let (_, _, position) = a.reader.positions().await.unwrap().remove(0);
    assert_eq!(
        (position.quantity.to_string(), position.reserved_buy.to_string()),
        ("40".into(), "10".into())
    );
    a.assert_replays().await;
}

pub(crate) async fn trades_that_were_wrong_and_restated_terms_are_kept_as_they_are_told(
    under: &impl JournalUnderTest,
) {
    let (a, b) = two(under, Profile::Embedded).await;
    resting(&a, 0, "9").await;
    let commission =
        Commission { asset: "X".to_owned(), amount: amount("0.5"), quote_value: Some(amount("0.25")) };
    let at = Timestamp::from_micros(1_800_000_000_000_000);
    let fill = |id: &str, size: &str| {
        Report::Fill(ReportedFill {
            trade_id: id.to_owned(),
            quantity: quantity(size),
            price: price("90"),
            commission: Some(commission.clone()),
            executed_at: at,
        })
    };
    let corrected = Report::TradeCorrected(ReportedCorrection {
        trade_id: "a".to_owned(),
        quantity: quantity("2"),
        price: price("89"),
        commission: None,
        corrected_at: at.plus_micros(1),
        reason: "misreported".to_owned(),
    });
    let busted =
        Report::TradeBusted { trade_id: "b".to_owned(), busted_at: at, reason: "erroneous".to_owned() };
    let terms = Terms { quantity: Some(quantity("8")), price: Some(price("91")), stop_price: None };
    let restated = Report::Restated { terms, reason: "by telephone".to_owned(), restated_at: at };
    // Each twice, through both handles: what was told before is read back from the journal.
    for report in [fill("a", "3"), fill("b", "4"), corrected, busted, restated] {
        a.decide_one(facts("c0", vec![report.clone()], None)).await;
        b.decide_one(facts("c0", vec![report], None)).await;
        b.assert_replays().await;
    }
    let order = b.order("c0").await;
    assert_eq!(order.state.status, Status::PartiallyFilled);
    assert_eq!((order.state.filled_quantity.to_string().as_str(), order.state.version), ("2", 10));
    assert_eq!(order.spec.quantity.to_string(), "8");
    assert_eq!(order.spec.order_type, OrderType::Limit { price: price("91") });
    let (_, _, position) = b.reader.positions().await.unwrap().remove(0);
    assert_eq!(position.quantity.to_string(), "2");
    assert_eq!(position.average_price().map(|p| p.to_string()).as_deref(), Some("89"));
    assert_eq!(position.commission.to_string(), "0.25");
    assert_eq!(position.reserved_buy.to_string(), "6");
    let trades = b.reader.history(0, 10).await.unwrap().remove(0).trades;
    assert_eq!(trades.len(), 4, "two fills, a correction, a bust: nothing was edited");
}

pub(crate) async fn a_fill_that_comes_after_the_end_is_booked(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    resting(&a, 0, "9").await;
    a.decide_one(facts("c0", vec![Report::Cancelled { reason: "asked for".to_owned() }], None)).await;
    assert_eq!(b.order("c0").await.state.status, Status::Cancelled);
    assert!(b.reader.positions().await.unwrap()[0].2.reserved_buy.is_zero());
    b.decide_one(facts("c0", vec![fill("late", "9", "90")], None)).await;
    let order = a.order("c0").await;
    assert_eq!((order.state.status, order.state.filled_quantity.to_string().as_str()), (Status::Filled, "9"));
    assert_eq!(a.reader.positions().await.unwrap()[0].2.quantity.to_string(), "9");
    a.assert_replays().await;
}

pub(crate) async fn the_same_trade_id_of_two_orders_is_two_trades(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    for n in 0..2 {
        resting(&handle, n, "3").await;
        handle.decide_one(facts(&format!("c{n}"), vec![fill("same", "1", "90")], None)).await;
    }
    assert_eq!(handle.reader.positions().await.unwrap()[0].2.quantity.to_string(), "2");
    handle.assert_replays().await;
}

pub(crate) async fn what_is_told_of_an_unknown_order_is_written_down_once(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    assert_eq!(a.reader.differences().await.unwrap(), 0);
    for handle in [&a, &b, &a] {
        let told = handle.decide_one(facts("nobody", vec![acknowledged()], None)).await;
        assert!(matches!(told.effect, Effect::Nothing) && told.commits.is_empty());
    }
    assert_eq!(b.reader.differences().await.unwrap(), 1);
    b.decide_one(facts("else", vec![acknowledged()], None)).await;
    assert_eq!(a.reader.differences().await.unwrap(), 2);
}

pub(crate) async fn a_feeds_cursor_never_goes_back(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    assert_eq!(a.reader.feed_cursor(&broker()).await.unwrap(), 0);
    let read_up_to = |cursor| {
        let Input::Facts(mut facts) = facts("x", Vec::new(), Some(cursor)) else { unreachable!() };
        facts.told.clear();
        Input::Facts(facts)
    };
    for (handle, cursor, wanted) in [(&a, 5, 5), (&b, 3, 5), (&b, 9, 9), (&a, 9, 9), (&a, 7, 9)] {
        handle.decide_one(read_up_to(cursor)).await;
        assert_eq!(a.reader.feed_cursor(&broker()).await.unwrap(), wanted);
        assert_eq!(b.reader.feed_cursor(&broker()).await.unwrap(), wanted);
    }
}
