//! Requests: admitted once, found again, answered once.

use std::time::Duration;

use order_execution::domain::decide::{Effect, Input, Wait};
use order_execution::domain::market::Market;
use order_execution::domain::order::OrderSpec;
use order_execution::domain::profile::Profile;
use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::request::{OutcomeResult, Refused, Request, RequestKind};
use order_execution::domain::status::Status;
use order_execution::domain::time::Timestamp;
use order_execution::ports::journal::{JournalError, OrderFilter};

use super::super::fixture::{
    LEASE_US, admit, cancel, execute, execute_cancel, limit_order, market_order, outcome, submit,
};
use super::{JournalUnderTest, one, two};

pub(crate) async fn an_order_is_kept_with_everything_that_happened_to_it(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    let admitted = handle.decide((0..2).map(|n| submit("a", n, market_order(n))).collect()).await;
    let answered = handle.decide(admitted.iter().map(execute).collect()).await;
    for (decision, n) in answered.iter().zip(0..) {
        let Effect::Finish { order: Some(order), .. } = &decision.effect else { panic!("{decision:?}") };
        assert_eq!(handle.order(&format!("c{n}")).await, **order);
        let events = handle.reader.events(order.spec.id).await.unwrap();
        assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let commits = handle.reader.commits(order.spec.id).await.unwrap().commits;
        assert_eq!(commits.concat(), events);
    }
    let positions = handle.reader.positions().await.unwrap();
    assert_eq!(positions[0].2.quantity.to_string(), "2");
    assert_eq!(positions[0].2.commission.to_string(), "2");
    handle.assert_replays().await;
}

pub(crate) async fn a_redelivered_request_is_found_again_and_makes_no_second_order(
    under: &impl JournalUnderTest,
) {
    let (a, b) = two(under, Profile::Embedded).await;
    a.decide_one(submit("a", 1, market_order(1))).await;
    // Decoded again, it has another id of ours.
    let again = |worker| {
        admit(
            worker,
            1,
            Request::Submit(Box::new(OrderSpec { id: super::fixture::order_id(99), ..market_order(1) })),
            2,
        )
    };
    let early = b.decide_one(again("b")).await;
    assert!(matches!(early.effect, Effect::Wait(Wait::Undecided(_))), "{early:?}");
    under.pass(Duration::from_micros(LEASE_US.unsigned_abs() + 1_000)).await;
    let taken = b.decide_one(again("b")).await;
    let Effect::Submit { order, epoch } = &taken.effect else { panic!("{taken:?}") };
    assert_eq!((order.spec.id, *epoch), (super::fixture::order_id(1), 2), "the same order, the next epoch");
    let ended = b.decide_one(execute(&taken)).await;
    assert_eq!(outcome(&ended).result, OutcomeResult::Completed(Status::Filled));
    let told = a.decide_one(again("a")).await;
    assert_eq!(outcome(&told), outcome(&ended));
    assert!(told.commits.is_empty());
    let all = OrderFilter { limit: 10, ..OrderFilter::default() };
    assert_eq!(a.reader.orders(&all).await.unwrap().len(), 1);
    a.assert_replays().await;
}

/// Redis may give an entry out as new that was answered before: its first outcome stands.
pub(crate) async fn a_request_that_was_answered_keeps_its_answer(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let Input::Admit(mut unpriced) = submit("a", 0, market_order(0)) else { unreachable!() };
    unpriced.view.market = Market::Unknown;
    let refused = a.decide_one(Input::Admit(unpriced)).await;
    let again = b.decide_one(submit("b", 0, market_order(0))).await;
    for decision in [&refused, &again] {
        assert_eq!(outcome(decision).code(), Some(Code::UnknownSymbol));
    }
    assert_eq!(a.find("c0").await, None);
    let offered = a.reader.unpublished_outcomes(Timestamp::from_micros(i64::MAX), 10).await.unwrap();
    assert_eq!(offered.len(), 1);
}

/// One worker cannot read an entry, or journal it, that another has made an order of.
pub(crate) async fn what_became_an_order_is_not_refused(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let admitted = a.decide_one(submit("a", 0, market_order(0))).await;
    let refused = || {
        Request::Refused(Box::new(Refused {
            kind: RequestKind::Submit,
            refusal: Refusal::new(Code::ValidationFailed, "cannot be journaled"),
            client_order_id: None,
            order_id: None,
            payload: None,
        }))
    };
    let waits = b.decide_one(admit("b", 0, refused(), 1)).await;
    assert!(matches!(waits.effect, Effect::Wait(Wait::Undecided(_))), "{waits:?}");
    let ended = a.decide_one(execute(&admitted)).await;
    let told = b.decide_one(admit("b", 0, refused(), 1)).await;
    assert_eq!((outcome(&told), outcome(&told).code()), (outcome(&ended), None));
    // What nobody made an order of is.
    let told = b.decide_one(admit("b", 1, refused(), 1)).await;
    assert_eq!(outcome(&told).code(), Some(Code::ValidationFailed));
}

pub(crate) async fn a_repeat_under_another_entry_gets_an_outcome_of_its_own(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let first = a.decide_one(submit("a", 1, market_order(1))).await;
    let repeat = OrderSpec { id: super::fixture::order_id(2), ..market_order(1) };
    let waits = b.decide_one(submit("b", 2, repeat.clone())).await;
    assert!(matches!(waits.effect, Effect::Wait(Wait::Undecided(_))), "{waits:?}");
    let ended = a.decide_one(execute(&first)).await;
    let told = b.decide_one(submit("b", 2, repeat)).await;
    assert_eq!(outcome(&told).result, outcome(&ended).result);
    assert_ne!(outcome(&told).key, outcome(&ended).key);
    assert_eq!(outcome(&told).order_id, outcome(&ended).order_id);
    let another = OrderSpec { id: super::fixture::order_id(3), ..limit_order(1, "5", "90") };
    let refused = b.decide_one(submit("b", 3, another)).await;
    assert_eq!(outcome(&refused).code(), Some(Code::DuplicateClientOrderId));
    assert_eq!(b.order("c1").await.state.filled_quantity.to_string(), "1");
    b.assert_replays().await;
}

pub(crate) async fn a_request_has_one_outcome_however_often_it_is_decided(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let admitted = a.decide_one(submit("a", 1, market_order(1))).await;
    let mut ends = Vec::new();
    for handle in [&a, &b, &a, &b] {
        ends.push(handle.decide_one(execute(&admitted)).await);
    }
    assert!(ends[1..].iter().all(|end| end.commits.is_empty()), "executed twice: {ends:?}");
    let outcomes = a.reader.unpublished_outcomes(Timestamp::from_micros(i64::MAX), 10).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].0, *outcome(&ends[0]));
    assert_eq!(outcomes[0].1, b.find("c1").await);
}

pub(crate) async fn a_redelivered_command_finds_what_it_has_done(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let admitted = a.decide_one(submit("a", 1, limit_order(1, "3", "90"))).await;
    a.decide_one(execute(&admitted)).await;
    let asked = a.decide_one(cancel("a", 2, "c1")).await;
    let done = a.decide_one(execute_cancel(2, &asked)).await;
    assert_eq!(outcome(&done).result, OutcomeResult::Completed(Status::Cancelled));
    let Input::Admit(mut back) = cancel("b", 2, "c1") else { unreachable!() };
    std::sync::Arc::make_mut(&mut back.received).deliveries = 2;
    let again = b.decide_one(Input::Admit(back)).await;
    assert_eq!(outcome(&again), outcome(&done));
    assert!(again.commits.is_empty());
    // Another cancel comes too late.
    let late = b.decide_one(cancel("b", 3, "c1")).await;
    assert!(matches!(outcome(&late).result, OutcomeResult::Failed { .. }), "{late:?}");
    assert!(b.reader.positions().await.unwrap()[0].2.reserved_buy.is_zero());
    b.assert_replays().await;
}

pub(crate) async fn a_cancel_all_means_the_orders_it_found_when_it_was_admitted(
    under: &impl JournalUnderTest,
) {
    let (a, b) = two(under, Profile::Embedded).await;
    for n in 1..=3 {
        let admitted = a.decide_one(submit("a", n, limit_order(n, "1", "90"))).await;
        a.decide_one(execute(&admitted)).await;
    }
    let sweep = |worker| admit(worker, 5, Request::CancelAll(Box::default()), 1);
    a.decide_one(sweep("a")).await;
    // Added after it, and older than it in the stream, whatever: its set is fixed by now.
    let later = b.decide_one(submit("b", 4, limit_order(4, "1", "90"))).await;
    b.decide_one(execute(&later)).await;
    let filter = Request::CancelAll(Box::default());
    let mut step = b.decide_one(admit("b", 5, filter.clone(), 2)).await;
    for _ in 0..10 {
        if let Effect::CancelMany(orders) = &step.effect {
            let inputs = orders.iter().map(|one| {
                let decision = order_execution::domain::decide::Decision {
                    effect: Effect::Cancel { order: one.order.clone(), epoch: one.epoch, number: one.number },
                    commits: Vec::new(),
                };
                execute_cancel(5, &decision)
            });
            b.decide(inputs.collect()).await;
        }
        step = b.decide_one(admit("b", 5, filter.clone(), 2)).await;
        if matches!(step.effect, Effect::Finish { .. }) {
            break;
        }
    }
    let OutcomeResult::Swept(swept) = &outcome(&step).result else { panic!("{step:?}") };
    let names: Vec<_> = swept.cancelled.iter().map(|id| id.as_str()).collect();
    assert_eq!(names, ["c1", "c2", "c3"]);
    assert!(swept.not_cancelled.is_empty());
    assert_eq!(a.order("c4").await.state.status, Status::Acknowledged);
    a.assert_replays().await;
}

pub(crate) async fn one_input_that_cannot_be_written_fails_alone(under: &impl JournalUnderTest) {
    let handle = one(under, Profile::Embedded).await;
    under.refuse_to_write("c6").await;
    let results =
        handle.journal.transact((0..8).map(|n| submit("a", n, market_order(n))).collect()).await.unwrap();
    let failed: Vec<usize> = (0..8).filter(|n| results[*n].is_err()).collect();
    assert_eq!(failed, [6], "{results:?}");
    assert!(matches!(results[6], Err(JournalError::Input { .. })), "{:?}", results[6]);
    let all = OrderFilter { limit: 100, ..OrderFilter::default() };
    assert_eq!(handle.reader.orders(&all).await.unwrap().len(), 7);
    assert_eq!(handle.reader.positions().await.unwrap()[0].2.reserved_buy.to_string(), "7");
    handle.assert_replays().await;
}

pub(crate) async fn what_the_journal_alone_knows_is_taken_up_again(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    a.decide_one(submit("a", 1, market_order(1))).await;
    under.pass(Duration::from_micros(LEASE_US.unsigned_abs() + 1_000)).await;
    let trimmed = b.decide_one(admit("b", 1, Request::Trimmed, 2)).await;
    let Effect::Submit { order, epoch } = &trimmed.effect else { panic!("{trimmed:?}") };
    assert_eq!((order.spec.client_order_id.as_str(), *epoch), ("c1", 2));
    let again = b.decide_one(admit("b", 1, Request::Journaled(None), 2)).await;
    assert!(matches!(again.effect, Effect::Submit { epoch: 2, .. }), "{again:?}");
    let unknown = b.decide_one(admit("b", 7, Request::Journaled(None), 2)).await;
    assert!(matches!(unknown.effect, Effect::Nothing), "{unknown:?}");
}
