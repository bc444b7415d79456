//! Cancels, replaces and `cancel_all` at a broker with books of its own.

use super::*;
use crate::domain::event::Terms;
use crate::domain::report::NotSent;
use crate::domain::request::Replace;

const SETTLE: i64 = 1_000_000;
const DEADLINE: Profile = Profile::Deadline { valid_for_us: 2_000_000, settle_us: SETTLE };
const ONE_SHOT: Profile = Profile::OneShot { settle_us: SETTLE };

/// An order for 5 that rests at the broker.
fn resting(profile: Profile) -> Desk {
    let mut desk = Desk::new();
    desk.rules.profile = profile;
    let (received, decision) =
        desk.admit(spec("a", Side::Buy, "5", limit("100"), TimeInForce::Gtc), &fixed("100"));
    let Effect::Submit { order, epoch } = decision.effect else { panic!() };
    let taken = Answer::Accepted(vec![Report::Acknowledged { broker_order_id: "x-1".into() }]);
    let decision = answered(&mut desk, &received, &order, epoch, AttemptKind::Submit, 1, taken);
    assert_eq!(ended(&decision), Ok(Status::Acknowledged));
    desk
}

fn answered(
    desk: &mut Desk,
    received: &Received,
    order: &Order,
    epoch: u64,
    kind: AttemptKind,
    number: u64,
    answer: Answer,
) -> Decision {
    let view = View { market: fixed("100"), clocks: Arc::default(), worker: "w1".into() };
    let (order_id, key, hash) = (order.spec.id, received.key.clone(), received.hash);
    let input = Answered { order_id, epoch, kind, number, resent: false, answer, key, hash, view };
    desk.rules.decide(&mut desk.ledger, &Input::Answered(Box::new(input))).unwrap()
}

fn looked(
    desk: &mut Desk,
    received: &Received,
    due: &Asked,
    as_of: i64,
    reports: Option<Vec<Report>>,
) -> Decision {
    let view = View { market: fixed("100"), clocks: Arc::default(), worker: "w1".into() };
    let finding = Finding { as_of: NOW.plus_micros(as_of), reports };
    let (order_id, key, hash) = (due.order.spec.id, received.key.clone(), received.hash);
    let (epoch, kind, number) = (due.epoch, AttemptKind::Replace, due.number);
    let input = Looked { order_id, epoch, kind, number, finding, key, hash, view };
    desk.rules.decide(&mut desk.ledger, &Input::Looked(Box::new(input))).unwrap()
}

struct Asked {
    order: Arc<Order>,
    epoch: u64,
    number: u64,
}

fn cancel(desk: &mut Desk) -> (Arc<Received>, Asked) {
    let received = desk.received(Request::Cancel(OrderRef::Client("a".parse().unwrap())), 1);
    let decision = desk.admit_again(&received, &Market::Unknown, "w1");
    let Effect::Cancel { order, epoch, number } = decision.effect else { panic!("{decision:?}") };
    (received, Asked { order, epoch, number })
}

fn replace(desk: &mut Desk, quantity: &str) -> (Arc<Received>, Asked) {
    let terms = Terms { quantity: Some(quantity.parse().unwrap()), ..Terms::default() };
    let request = Replace { client_order_id: "a".parse().unwrap(), terms };
    let received = desk.received(Request::Replace(Box::new(request)), 1);
    let decision = desk.admit_again(&received, &fixed("100"), "w1");
    let Effect::Replace { order, epoch, number, .. } = decision.effect else { panic!("{decision:?}") };
    (received, Asked { order, epoch, number })
}

fn fill(trade: &str, quantity: &str) -> Report {
    Report::Fill(ReportedFill {
        trade_id: trade.into(),
        quantity: quantity.parse().unwrap(),
        price: price("100"),
        commission: None,
        executed_at: NOW,
    })
}

fn cancelled() -> Report {
    Report::Cancelled { reason: "asked for".into() }
}

#[test]
fn a_cancel_ends_as_the_brokers_answer_says() {
    let check = |answer: Answer, expected: Result<Status, Code>, status: Status, filled: &str| {
        let mut desk = resting(ONE_SHOT);
        let (received, due) = cancel(&mut desk);
        assert!(desk.order("a").state.pending_cancel);
        let label = format!("{answer:?}");
        let decision =
            answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Cancel, due.number, answer);
        assert_eq!(ended(&decision), expected, "{label}");
        let state = &desk.order("a").state;
        assert_eq!((state.status, state.pending_cancel), (status, false), "{label}");
        assert_eq!(state.filled_quantity.to_string(), filled);
    };
    let refused = || Answer::Rejected(Refusal::new(Code::BrokerRejected, "no"));
    check(Answer::Accepted(vec![cancelled()]), Ok(Status::Cancelled), Status::Cancelled, "0");
    // It met fills on the way.
    check(
        Answer::Accepted(vec![fill("t1", "2"), cancelled()]),
        Ok(Status::Cancelled),
        Status::Cancelled,
        "2",
    );
    check(Answer::Accepted(vec![fill("t1", "5")]), Err(Code::OrderTerminal), Status::Filled, "5");
    check(refused(), Err(Code::BrokerRejected), Status::Acknowledged, "0");
}

#[test]
fn a_cancel_is_sent_again_until_its_time_is_over() {
    for (answer, code) in [
        (
            Answer::NotSent(NotSent { why: "429".into(), retry_after_us: None, unreachable: false }),
            Code::BrokerUnavailable,
        ),
        (Answer::Unknown("no answer".into()), Code::OutcomeUnknown),
    ] {
        let mut desk = resting(ONE_SHOT);
        let (received, due) = cancel(&mut desk);
        let ask = |desk: &mut Desk| {
            answered(desk, &received, &due.order, due.epoch, AttemptKind::Cancel, due.number, answer.clone())
        };
        assert!(matches!(ask(&mut desk).effect, Effect::Wait(Wait::Later { .. })));
        let again = desk.admit_again(&received, &Market::Unknown, "w1");
        assert!(matches!(again.effect, Effect::Cancel { .. }));
        desk.ledger.now = NOW.plus_micros(30_000_001);
        assert_eq!(ended(&ask(&mut desk)), Err(code));
        assert_eq!(desk.order("a").state.status, Status::Acknowledged);
    }
}

#[test]
fn a_second_cancel_waits_for_the_first_and_comes_too_late() {
    let mut desk = resting(ONE_SHOT);
    let (received, due) = cancel(&mut desk);
    assert!(matches!(desk.cancel("a").effect, Effect::Wait(Wait::Undecided(_))));
    let done = Answer::Accepted(vec![cancelled()]);
    answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Cancel, due.number, done);
    assert_eq!(ended(&desk.cancel("a")), Err(Code::OrderTerminal));
}

#[test]
fn a_replace_reserves_the_larger_of_both_until_it_is_decided() {
    for (quantity, during, after) in [("8", "8", "8"), ("2", "5", "2")] {
        let mut desk = resting(ONE_SHOT);
        let (received, due) = replace(&mut desk, quantity);
        assert_eq!(desk.position().reserved_buy.to_string(), during);
        let terms = due.order.state.pending_replace.clone().unwrap().terms;
        let carried_out = Answer::Accepted(vec![Report::Replaced { number: due.number, terms }]);
        let (epoch, number) = (due.epoch, due.number);
        let decision =
            answered(&mut desk, &received, &due.order, epoch, AttemptKind::Replace, number, carried_out);
        assert_eq!(ended(&decision), Ok(Status::Acknowledged));
        assert_eq!(desk.position().reserved_buy.to_string(), after);
        assert_eq!(desk.order("a").spec.quantity.to_string(), quantity);
        assert!(desk.order("a").state.pending_replace.is_none());
    }
    let mut desk = resting(ONE_SHOT);
    let (received, due) = replace(&mut desk, "8");
    let refused = Answer::Rejected(Refusal::new(Code::BrokerRejected, "no"));
    let decision =
        answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Replace, due.number, refused);
    assert_eq!(ended(&decision), Err(Code::BrokerRejected));
    assert_eq!(desk.position().reserved_buy.to_string(), "5");
}

#[test]
fn a_replace_without_an_answer_follows_the_profile() {
    let lost = || Answer::Unknown("no answer".into());
    let old = |n: &str| Some(vec![Report::Acknowledged { broker_order_id: n.into() }]);
    // Sent again.
    let mut desk = resting(Profile::DedupesForever);
    let (received, due) = replace(&mut desk, "8");
    answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Replace, due.number, lost());
    let again = desk.admit_again(&received, &fixed("100"), "w1");
    assert!(matches!(again.effect, Effect::Replace { number, .. } if number == due.number), "{again:?}");
    // Looked for, and attempted anew once the deadline is proof.
    let mut desk = resting(DEADLINE);
    let (received, due) = replace(&mut desk, "8");
    let decision =
        answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Replace, due.number, lost());
    assert!(matches!(decision.effect, Effect::Look { kind: AttemptKind::Replace, .. }), "{decision:?}");
    let decision = looked(&mut desk, &received, &due, 3_000_000, old("x-1"));
    assert!(matches!(decision.effect, Effect::Wait(Wait::Later { .. })));
    let decision = looked(&mut desk, &received, &due, 3_000_001, old("x-1"));
    let Effect::Replace { number, .. } = decision.effect else { panic!("{decision:?}") };
    assert!(number > due.number);
    assert_eq!(desk.position().reserved_buy.to_string(), "8");
    // Looked for, then parked: the order lives, what it may fill stays reserved.
    let mut desk = resting(ONE_SHOT);
    let (received, due) = replace(&mut desk, "8");
    answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Replace, due.number, lost());
    desk.ledger.now = NOW.plus_micros(SETTLE + 1);
    let decision = looked(&mut desk, &received, &due, SETTLE + 1, old("x-1"));
    assert_eq!(ended(&decision), Err(Code::OutcomeUnknown));
    assert!(desk.order("a").state.parked);
    assert_eq!(
        (desk.order("a").state.status, desk.position().reserved_buy.to_string().as_str()),
        (Status::Acknowledged, "8")
    );
    // Cancels always pass.
    let (_, due) = cancel(&mut desk);
    assert!(due.order.state.pending_cancel);
}

#[test]
fn a_cancel_overtakes_a_replace_that_hangs() {
    let mut desk = resting(ONE_SHOT);
    let (replacing, asked) = replace(&mut desk, "8");
    let (received, due) = cancel(&mut desk);
    let done = Answer::Accepted(vec![cancelled()]);
    let decision =
        answered(&mut desk, &received, &due.order, due.epoch, AttemptKind::Cancel, due.number, done);
    assert_eq!(ended(&decision), Ok(Status::Cancelled));
    assert_eq!(desk.position().reserved_buy.to_string(), "0");
    let late = Answer::Unknown("no answer".into());
    let decision =
        answered(&mut desk, &replacing, &asked.order, asked.epoch, AttemptKind::Replace, asked.number, late);
    assert_eq!(ended(&decision), Err(Code::OrderTerminal));
}

/// What an older look says of the terms is over.
#[test]
fn terms_never_go_back() {
    let mut desk = resting(ONE_SHOT);
    let id = desk.order("a").spec.id;
    let told = |number, quantity: &str| Report::Replaced {
        number,
        terms: Terms { quantity: Some(quantity.parse().unwrap()), ..Terms::default() },
    };
    for (report, quantity) in
        [(told(5, "8"), "8"), (told(4, "6"), "8"), (told(5, "7"), "8"), (told(6, "9"), "9")]
    {
        let order = desk.ledger.orders[&id].order.clone();
        let event = reconcile(&order, &report, |_| None);
        desk.ledger.append(id, event.into_iter().collect()).unwrap();
        assert_eq!(desk.order("a").spec.quantity.to_string(), quantity);
    }
}

#[test]
fn a_cancel_all_settles_each_of_its_orders_and_then_ends() {
    let mut desk = resting(ONE_SHOT);
    let id = desk.order("a").spec.id;
    let received = desk.received(Request::CancelAll(Box::default()), 1);
    desk.ledger.matching.insert(received.key.clone(), vec![(id, "a".parse().unwrap())]);
    desk.admit_again(&received, &Market::Unknown, "w1");
    let decision = desk.admit_again(&received, &Market::Unknown, "w1");
    let Effect::CancelMany(due) = &decision.effect else { panic!("{decision:?}") };
    let one = due[0].clone();
    assert_eq!(due.len(), 1);
    // Whoever comes after a crash goes on with the same set, though another order would match now.
    let refused = Answer::Rejected(Refusal::new(Code::BrokerRejected, "locked"));
    answered(&mut desk, &received, &one.order, one.epoch, AttemptKind::Cancel, one.number, refused);
    let mut decision = desk.admit_again(&received, &Market::Unknown, "w1");
    if !matches!(decision.effect, Effect::Finish { .. }) {
        decision = desk.admit_again(&received, &Market::Unknown, "w1");
    }
    let Effect::Finish { outcome, order: None } = &decision.effect else { panic!("{decision:?}") };
    let OutcomeResult::Swept(swept) = &outcome.result else { panic!("{outcome:?}") };
    assert!(swept.cancelled.is_empty());
    assert_eq!(swept.not_cancelled[0].client_order_id.as_str(), "a");
    assert!(swept.not_cancelled[0].reason.contains("locked"), "{swept:?}");
}
