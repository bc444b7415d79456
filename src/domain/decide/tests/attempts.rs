//! Attempts whose answer is lost, late or wrong, under each profile: what is decided, by whom, and when.

use super::*;
use crate::domain::event::Terms;
use crate::domain::report::NotSent;
use crate::domain::request::Replace;

const SETTLE: i64 = 1_000_000;
const VALID: i64 = 2_000_000;
const FOREVER: Profile = Profile::DedupesForever;
const DEADLINE: Profile = Profile::Deadline { valid_for_us: VALID, settle_us: SETTLE };
const ONE_SHOT: Profile = Profile::OneShot { settle_us: SETTLE };

/// One order at a broker with books of its own, and the request that made it.
struct Attempt {
    desk: Desk,
    received: Arc<Received>,
    id: OrderId,
}

impl Attempt {
    fn new(profile: Profile) -> Self {
        let mut desk = Desk::new();
        desk.rules.profile = profile;
        let (received, decision) =
            desk.admit(spec("a", Side::Buy, "2", limit("100"), TimeInForce::Gtc), &fixed("100"));
        let Effect::Submit { order, epoch: 1 } = decision.effect else { panic!("{decision:?}") };
        assert_eq!(order.state.open_attempt.as_ref().unwrap().deadline.is_some(), profile == DEADLINE);
        Self { desk, received, id: order.spec.id }
    }

    fn later(&mut self, us: i64) {
        self.desk.ledger.now = self.desk.ledger.now.plus_micros(us);
    }

    fn view(&self, worker: &str) -> View {
        View { market: fixed("100"), clocks: Arc::default(), worker: worker.into() }
    }

    fn answered(&mut self, epoch: u64, number: u64, answer: Answer) -> Decision {
        let (key, hash) = (self.received.key.clone(), self.received.hash);
        let (order_id, kind, view) = (self.id, AttemptKind::Submit, self.view("w1"));
        let input = Answered { order_id, epoch, kind, number, resent: false, answer, key, hash, view };
        self.desk.rules.decide(&mut self.desk.ledger, &Input::Answered(Box::new(input))).unwrap()
    }

    fn looked(&mut self, epoch: u64, number: u64, as_of: i64, reports: Option<Vec<Report>>) -> Decision {
        let (key, hash) = (self.received.key.clone(), self.received.hash);
        let finding = Finding { as_of: NOW.plus_micros(as_of), reports };
        let (order_id, kind, view) = (self.id, AttemptKind::Submit, self.view("w1"));
        let input = Looked { order_id, epoch, kind, number, finding, key, hash, view };
        self.desk.rules.decide(&mut self.desk.ledger, &Input::Looked(Box::new(input))).unwrap()
    }

    fn again(&mut self, worker: &str) -> Decision {
        let received = self.received.clone();
        self.desk.admit_again(&received, &fixed("100"), worker)
    }

    fn status(&self) -> Status {
        self.desk.order("a").state.status
    }

    fn reserved(&self) -> String {
        self.desk.position().reserved_buy.to_string()
    }
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

fn acknowledged() -> Report {
    Report::Acknowledged { broker_order_id: "x-1".into() }
}

fn unknown() -> Answer {
    Answer::Unknown("no answer".into())
}

fn not_sent() -> Answer {
    Answer::NotSent(NotSent { why: "429".into(), retry_after_us: None, unreachable: false })
}

fn refused() -> Answer {
    Answer::Rejected(Refusal::new(Code::BrokerRejected, "no"))
}

fn waits(decision: &Decision) -> i64 {
    match decision.effect {
        Effect::Wait(Wait::Later { us }) => us,
        ref other => panic!("{other:?}"),
    }
}

fn is_fenced(decision: &Decision) -> bool {
    matches!(decision.effect, Effect::Wait(Wait::Undecided(_))) && decision.commits.is_empty()
}

/// The broker's clock was compared with the worker's; the journal's may show anything.
#[test]
fn a_deadline_is_by_the_brokers_clock_whatever_the_journals_shows() {
    for (journal_us, ahead_us) in [(0, 7), (-3_600_000_000, 0), (90_000_000, -250_000)] {
        let mut desk = Desk::new();
        desk.rules.profile = DEADLINE;
        desk.ledger.now = NOW.plus_micros(journal_us);
        let received = desk.received(
            Request::Submit(Box::new(spec("a", Side::Buy, "2", limit("100"), TimeInForce::Gtc))),
            1,
        );
        let clocks = Arc::new(BTreeMap::from([("mock".parse().unwrap(), ahead_us)]));
        let view = View { market: fixed("100"), clocks, worker: "w1".into() };
        let admit = Admit { received, no_older_entries: true, view };
        let decision = desk.rules.decide(&mut desk.ledger, &Input::Admit(Box::new(admit))).unwrap();
        let Effect::Submit { order, .. } = decision.effect else { panic!("{decision:?}") };
        let deadline = order.state.open_attempt.as_ref().unwrap().deadline.unwrap();
        assert_eq!(deadline.timestamp, NOW.plus_micros(ahead_us));
        assert_eq!(deadline.not_after, NOW.plus_micros(ahead_us + VALID));
    }
}

#[test]
fn an_answer_ends_the_request_under_every_profile() {
    for profile in [FOREVER, DEADLINE, ONE_SHOT] {
        let mut one = Attempt::new(profile);
        let decision = one.answered(1, 1, Answer::Accepted(vec![acknowledged(), fill("t1", "2")]));
        assert_eq!(ended(&decision), Ok(Status::Filled));
        assert_eq!(one.reserved(), "0");
        let mut one = Attempt::new(profile);
        assert_eq!(ended(&one.answered(1, 1, refused())), Err(Code::BrokerRejected));
        assert_eq!(one.reserved(), "0");
    }
}

#[test]
fn an_unknown_outcome_is_sent_again_only_to_a_broker_that_dedupes_for_ever() {
    let mut one = Attempt::new(FOREVER);
    waits(&one.answered(1, 1, unknown()));
    assert!(matches!(one.again("w1").effect, Effect::Submit { epoch: 1, .. }));
    for profile in [DEADLINE, ONE_SHOT] {
        let mut one = Attempt::new(profile);
        let decision = one.answered(1, 1, unknown());
        assert!(matches!(decision.effect, Effect::Look { number: 1, .. }), "{decision:?}");
        assert_eq!((one.status(), one.reserved().as_str()), (Status::Submitted, "2"));
        assert!(matches!(one.again("w1").effect, Effect::Look { .. }), "never blindly");
    }
}

#[test]
fn a_deadline_is_proof_only_once_it_is_over_and_settled_by_the_brokers_clock() {
    let mut one = Attempt::new(DEADLINE);
    one.answered(1, 1, unknown());
    let proof = VALID + SETTLE;
    waits(&one.looked(1, 1, 0, None));
    waits(&one.looked(1, 1, proof, None));
    assert_eq!(one.status(), Status::Submitted);
    // Our own clock says nothing about it.
    one.later(10 * proof);
    waits(&one.looked(1, 1, proof, None));
    let decision = one.looked(1, 1, proof + 1, None);
    let Effect::Submit { order, epoch: 1 } = &decision.effect else { panic!("{decision:?}") };
    let open = order.state.open_attempt.as_ref().unwrap();
    assert_eq!((order.state.attempts, open.number), (2, 2));
    assert_eq!(open.deadline.unwrap().timestamp, NOW.plus_micros(10 * proof), "stamped anew, when journaled");
    assert_eq!(one.reserved(), "2", "once, not twice");
    assert!(is_fenced(&one.looked(1, 1, proof + 2, None)), "the first attempt is closed");
    assert!(is_fenced(&one.answered(1, 1, refused())), "so its refusal says nothing of the second");
}

#[test]
fn one_shot_is_looked_for_and_then_parked_with_its_reservation() {
    let mut one = Attempt::new(ONE_SHOT);
    one.answered(1, 1, unknown());
    waits(&one.looked(1, 1, 0, None));
    one.later(SETTLE);
    waits(&one.looked(1, 1, SETTLE, None));
    one.later(1);
    let decision = one.looked(1, 1, SETTLE + 1, None);
    assert_eq!(ended(&decision), Err(Code::OutcomeUnknown));
    assert!(one.desk.order("a").state.parked);
    assert_eq!((one.status(), one.reserved().as_str()), (Status::Submitted, "2"));
    assert_eq!(ended(&one.again("w2")), Err(Code::OutcomeUnknown));
    // The broker speaks after all.
    let told = Told {
        order: OrderRef::Client("a".parse().unwrap()),
        reports: vec![acknowledged(), fill("t1", "2")],
        external: crate::domain::ledger::Difference {
            broker: "mock".parse().unwrap(),
            kind: "external_fill",
            key: "t1".into(),
            details: String::new(),
        },
    };
    let facts = Facts { broker: "mock".parse().unwrap(), told: vec![told.clone(), told], cursor: Some(7) };
    one.desk.rules.decide(&mut one.desk.ledger, &Input::Facts(Box::new(facts))).unwrap();
    assert!(!one.desk.order("a").state.parked);
    assert_eq!((one.status(), one.reserved().as_str()), (Status::Filled, "0"));
    assert_eq!(one.desk.position().quantity.to_string(), "2", "told twice, booked once");
    let again = spec("a", Side::Buy, "2", limit("100"), TimeInForce::Gtc);
    assert_eq!(ended(&one.desk.admit(again, &fixed("100")).1), Ok(Status::Filled), "a repeat hears of it");
}

#[test]
fn decisions_are_fenced_and_facts_are_not() {
    for profile in [FOREVER, DEADLINE, ONE_SHOT] {
        let mut one = Attempt::new(profile);
        assert!(is_fenced(&one.again("w2")), "its lease is not over");
        one.later(10_000_001);
        let taken = one.again("w2");
        assert!(
            matches!(taken.effect, Effect::Submit { epoch: 2, .. } | Effect::Look { epoch: 2, .. }),
            "{taken:?}"
        );
        for late in [refused(), not_sent(), unknown()] {
            assert!(is_fenced(&one.answered(1, 1, late)), "{profile:?}");
        }
        assert!(is_fenced(&one.looked(1, 1, 1_000_000_000, None)));
        assert!(matches!(one.status(), Status::PendingSubmit | Status::Submitted));
        let decision = one.answered(1, 1, Answer::Accepted(vec![acknowledged(), fill("t1", "1")]));
        assert_eq!(ended(&decision), Ok(Status::PartiallyFilled), "a fact is one whoever brings it");
        assert_eq!(ended(&one.again("w2")), Ok(Status::PartiallyFilled));
        let decision = one.looked(2, 1, 0, Some(vec![acknowledged(), fill("t1", "1")]));
        assert_eq!(ended(&decision), Ok(Status::PartiallyFilled));
        assert_eq!(one.desk.position().quantity.to_string(), "1");
    }
}

#[test]
fn what_provably_was_not_executed_is_attempted_again_until_its_time_is_over() {
    for profile in [FOREVER, DEADLINE, ONE_SHOT] {
        let mut one = Attempt::new(profile);
        let us = waits(&one.answered(1, 1, not_sent()));
        assert!((1..5_000_000).contains(&us), "{us}");
        assert!(waits(&one.again("w1")) > 0, "not before its time");
        one.later(us);
        let decision = one.again("w1");
        let Effect::Submit { order, .. } = &decision.effect else { panic!("{decision:?}") };
        assert_eq!(order.state.attempts, 2);
        assert_eq!(one.reserved(), "2");
        one.later(30_000_001);
        assert_eq!(ended(&one.answered(1, 2, not_sent())), Err(Code::BrokerUnavailable));
        assert_eq!((one.status(), one.reserved().as_str()), (Status::Rejected, "0"));
    }
}

/// An earlier call under the same id may have executed: what proves nothing of it must not close it.
#[test]
fn a_call_that_did_nothing_says_nothing_of_one_before_it() {
    let mut one = Attempt::new(FOREVER);
    waits(&one.answered(1, 1, unknown()));
    one.again("w1");
    one.later(60_000_000);
    waits(&one.answered(1, 1, not_sent()));
    assert_eq!((one.status(), one.reserved().as_str()), (Status::Submitted, "2"));
    // The same for whoever takes it over: the one before it may have sent it.
    let mut one = Attempt::new(FOREVER);
    one.later(10_000_001);
    assert!(matches!(one.again("w2").effect, Effect::Submit { epoch: 2, .. }));
    one.later(60_000_000);
    waits(&one.answered(2, 1, not_sent()));
    assert_eq!(one.status(), Status::Submitted);
    assert_eq!(
        ended(&one.answered(2, 1, Answer::Accepted(vec![acknowledged(), fill("t1", "2")]))),
        Ok(Status::Filled)
    );
}

/// A later attempt is judged like the first: here by a limit that was lowered meanwhile.
#[test]
fn a_later_attempt_passes_the_controls_of_its_own_time() {
    let mut one = Attempt::new(FOREVER);
    let us = waits(&one.answered(1, 1, not_sent()));
    one.later(us);
    let lowered = LimitRow { max_position: Limit::At(2.into()), ..limits() };
    one.desk.ledger.control_mut().limits.insert(lowered);
    assert!(
        matches!(one.again("w1").effect, Effect::Submit { .. }),
        "its own reservation does not count against it"
    );
    let us = waits(&one.answered(1, 2, not_sent()));
    one.later(us);
    one.desk.ledger.control_mut().limits.insert(LimitRow { max_position: Limit::At(1.into()), ..limits() });
    assert_eq!(ended(&one.again("w1")), Err(Code::PositionLimit));
    assert_eq!((one.status(), one.reserved().as_str()), (Status::Rejected, "0"));
}

fn resolve(desk: &mut Desk, verdict: Verdict) -> Decision {
    let order = OrderRef::Client("a".parse().unwrap());
    let input = Resolve { order, verdict, by: "ann".into(), why: "seen".into() };
    desk.rules.decide(&mut desk.ledger, &Input::Resolve(Box::new(input))).unwrap()
}

fn parked() -> Attempt {
    let mut one = Attempt::new(ONE_SHOT);
    one.answered(1, 1, unknown());
    one.later(SETTLE + 1);
    one.looked(1, 1, SETTLE + 1, None);
    one
}

#[test]
fn a_person_closes_what_is_parked_and_nothing_else() {
    let hand =
        |quantity: &str| HandFill { quantity: quantity.parse().unwrap(), price: price("99"), trade_id: None };
    let is_refused =
        |decision: &Decision| matches!(decision.effect, Effect::Refused(_)) && decision.commits.is_empty();
    let mut open = Attempt::new(ONE_SHOT);
    assert!(is_refused(&resolve(&mut open.desk, Verdict::NotExecuted)), "it is not parked");
    let check = |verdict: Verdict, status: Status, position: &str| {
        let mut one = parked();
        resolve(&mut one.desk, verdict);
        assert_eq!((one.status(), one.reserved().as_str()), (status, "0"));
        assert_eq!(one.desk.position().quantity.to_string(), position);
        assert!(!one.desk.order("a").state.parked);
        assert!(is_refused(&resolve(&mut one.desk, Verdict::NotExecuted)), "once");
    };
    check(Verdict::NotExecuted, Status::Rejected, "0");
    check(Verdict::Executed(vec![hand("2")]), Status::Filled, "2");
    check(Verdict::Executed(vec![hand("0.5"), hand("1")]), Status::Cancelled, "1.5");
    for wrong in [vec![], vec![hand("1"), hand("1.1")]] {
        let mut one = parked();
        assert!(is_refused(&resolve(&mut one.desk, Verdict::Executed(wrong))));
        assert!(one.desk.order("a").state.parked);
    }
}

#[test]
fn commands_about_a_parked_order_say_so() {
    let mut one = parked();
    assert_eq!(ended(&one.desk.cancel("a")), Err(Code::OutcomeUnknown));
    let terms = Terms { quantity: Some("3".parse().unwrap()), ..Terms::default() };
    let replace = Replace { client_order_id: "a".parse().unwrap(), terms };
    let received = one.desk.received(Request::Replace(Box::new(replace)), 1);
    assert_eq!(ended(&one.desk.admit_again(&received, &fixed("100"), "w1")), Err(Code::OutcomeUnknown));
}
