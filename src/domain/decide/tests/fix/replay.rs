//! Replays a case: what the desk asks goes in as requests, what the broker says as answers, as its feed or as its books.

mod check;

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::super::*;
use super::data::{Ask, Case, Pending, Row, Told as Says};
use crate::domain::amount::Quantity;
use crate::domain::event::Terms;
use crate::domain::ledger::Difference;
use crate::domain::report::ReportedCorrection;
use crate::domain::request::Replace;

/// How the broker's word arrives. Whichever way it takes, the order stands the same afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As the answer to what was asked; the rest by its feed.
    Answers,
    /// Every answer is lost, the feed tells.
    Feed,
    /// … and tells everything twice.
    FeedTwice,
    /// Every answer is lost, a look at its books tells, with all trades so far.
    Books,
}

const WAYS: [Way; 4] = [Way::Answers, Way::Feed, Way::FeedTwice, Way::Books];

/// A request that has not ended.
struct Open {
    of: String,
    received: Arc<Received>,
    order: OrderId,
    /// What the broker was asked: epoch and number. `None`: it waits for what is under way.
    asked: Option<(AttemptKind, u64, u64)>,
}

struct Replay<'a> {
    desk: Desk,
    way: Way,
    case: &'a Case,
    open: Vec<Open>,
    /// The requests that made the orders.
    submits: HashMap<OrderId, Arc<Received>>,
    /// What the broker said of each order's receipt and trades, in sequence.
    history: HashMap<OrderId, Vec<Report>>,
    /// What the trades should come to, by a count of our own.
    trades: BTreeMap<(String, String), (Decimal, Decimal)>,
}

pub(super) fn replay(case: &Case) {
    for way in WAYS {
        let mut desk = Desk::new();
        desk.rules.profile = Profile::DedupesForever;
        desk.ledger.control_mut().limits.insert(unlimited());
        let mut replay = Replay {
            desk,
            way,
            case,
            open: Vec::new(),
            submits: HashMap::new(),
            history: HashMap::new(),
            trades: BTreeMap::new(),
        };
        for row in &case.rows {
            replay.row(row);
        }
        replay.check_folds();
    }
}

/// No limit refuses anything.
pub(super) fn unlimited() -> LimitRow {
    LimitRow::unlimited("*")
}

/// How a request ended, if it did: a status, or a failure code.
fn end_of(decision: &Decision) -> Option<String> {
    matches!(decision.effect, Effect::Finish { .. }).then(|| match ended(decision) {
        Ok(status) => status.as_str().to_owned(),
        Err(code) => code.as_str().to_owned(),
    })
}

impl Replay<'_> {
    fn row(&mut self, row: &Row) {
        let what = format!("{}, {:?}, at {}", self.case.name, self.way, row.at);
        self.desk.ledger.now = self.desk.ledger.now.plus_micros(1_000);
        let version = |replay: &Self| replay.order(&row.order).map_or(0, |order| order.state.version);
        let before = version(self);
        let called = self.order(&row.order).is_some_and(|order| order.state.status == Status::PendingSubmit);
        let mut ends = Vec::new();
        match (row.ask, row.told) {
            (Some(ask), None) => ends.extend(self.asks(ask, row, &what)),
            (None, Some(says)) => ends.extend(self.tells(says, row, &what)),
            _ => assert!(row.event.is_some(), "{what}: neither asked nor told nor an event"),
        }
        let newest = self.order(&row.order).and_then(|order| order.state.events.last().cloned());
        let newest = newest.filter(|_| version(self) != before);
        assert_eq!(newest.as_deref(), self.news(row).as_deref(), "{what}: the newest event");
        if row.told.is_some() && newest.is_some() {
            // However often it is told; the first word of all also says that the call was made.
            assert_eq!(version(self) - before, if called { 2 } else { 1 }, "{what}: events");
        }
        ends.extend(self.take_up(&what));
        let expected = row.ends(self.case.asked_first).map(|end| (row.of.clone().unwrap(), end.to_owned()));
        assert_eq!(ends, expected.into_iter().collect::<Vec<_>>(), "{what}: the requests that ended");
        self.check(row, &what);
    }

    /// The name of the newest event that a row makes, if it makes one.
    fn news(&self, row: &Row) -> Option<String> {
        let ended = row.ends(self.case.asked_first).is_some();
        let asked = match row.ask {
            // Where an answer is lost, a call was made: it is journaled that the order was submitted.
            Some(Ask::Submit) if self.way == Way::Answers => "PendingSubmit",
            Some(Ask::Submit) => "Submitted",
            Some(Ask::Again)
                if row.then.as_ref().is_some_and(|then| then.pending == Some(Pending::Replace)) =>
            {
                "ReplaceRequested"
            }
            Some(Ask::Cancel | Ask::Again) => "CancelRequested",
            Some(Ask::Replace) => "ReplaceRequested",
            Some(Ask::Look) | None => "",
        };
        if row.ask.is_some() {
            return (!asked.is_empty() && !ended && !row.waits).then(|| asked.to_owned());
        }
        let says = row.told.filter(|says| !matches!(says, Says::Nothing | Says::Taken) && row.news)?;
        Some(format!("{says:?}"))
    }

    fn order(&self, name: &str) -> Option<&Order> {
        let id: ClientOrderId = name.parse().unwrap();
        Some(&self.desk.ledger.orders[self.desk.ledger.by_client_id.get(&id)?].order)
    }

    /// The desk asks for something; how that ended, if at once.
    fn asks(&mut self, ask: Ask, row: &Row, what: &str) -> Option<(String, String)> {
        let of = row.of.clone().unwrap_or_else(|| panic!("{what}: it has no name"));
        let client_order_id: ClientOrderId = row.order.parse().unwrap();
        let received = match ask {
            // Whoever looks reads what is journaled: that is compared after every row.
            Ask::Look => return None,
            Ask::Again => {
                let at = self.open.iter().position(|open| open.of == of && open.asked.is_none());
                self.open.remove(at.unwrap_or_else(|| panic!("{what}: nothing waits"))).received
            }
            Ask::Submit => self.desk.received(Request::Submit(Box::new(asked_for(row))), 1),
            Ask::Cancel => self.desk.received(Request::Cancel(OrderRef::Client(client_order_id)), 1),
            Ask::Replace => {
                let terms = Terms { quantity: row.quantity, ..Terms::default() };
                self.desk.received(Request::Replace(Box::new(Replace { client_order_id, terms })), 1)
            }
        };
        let decision = self.desk.admit_again(&received, &fixed("50"), "w1");
        if let Some(end) = end_of(&decision) {
            return Some((of, end));
        }
        let (order, asked) = match &decision.effect {
            Effect::Submit { order, epoch } => {
                self.submits.insert(order.spec.id, received.clone());
                (order.spec.id, Some((AttemptKind::Submit, *epoch, 1)))
            }
            Effect::Cancel { order, epoch, number } => {
                (order.spec.id, Some((AttemptKind::Cancel, *epoch, *number)))
            }
            Effect::Replace { order, epoch, number, .. } => {
                (order.spec.id, Some((AttemptKind::Replace, *epoch, *number)))
            }
            Effect::Wait(Wait::Undecided(id)) => (*id, None),
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!(asked.is_none(), row.waits, "{what}: it waits");
        self.open.push(Open { of: of.clone(), received, order, asked });
        if ask == Ask::Submit && self.way != Way::Answers {
            let lost = self.answer(&of, Answer::Unknown("no answer".into()), what);
            assert!(lost.is_none(), "{what}: a lost answer ended it");
        }
        None
    }

    /// The broker says something; the request that ended with it.
    fn tells(&mut self, says: Says, row: &Row, what: &str) -> Option<(String, String)> {
        let lost = || Answer::Unknown("no answer".into());
        let refused = || Answer::Rejected(Refusal::new(Code::BrokerRejected, "refused"));
        let directly = self.way == Way::Answers;
        let of = row.of.as_deref();
        let named = || of.unwrap_or_else(|| panic!("{what}: it answers no request"));
        match says {
            Says::Nothing => None,
            Says::Taken => {
                self.answer(named(), if directly { Answer::Accepted(Vec::new()) } else { lost() }, what)
            }
            // A broker tells of this refusal in its answer alone.
            Says::ReplaceRefused => self.answer(named(), refused(), what),
            Says::Rejected | Says::CancelRefused if directly && of.is_some() => {
                self.answer(named(), refused(), what)
            }
            _ => {
                let report = self.report(says, row, what);
                match of {
                    Some(of) if directly => self.answer(of, Answer::Accepted(vec![report]), what),
                    Some(_) | None => {
                        self.merges(&row.order, report);
                        None
                    }
                }
            }
        }
    }

    fn report(&mut self, says: Says, row: &Row, what: &str) -> Report {
        let now = self.desk.ledger.now;
        let reason = "said so".to_owned();
        let terms = Terms { quantity: row.quantity, ..Terms::default() };
        let trade_id = row.trade.clone().unwrap_or_default();
        let key = (row.order.clone(), trade_id.clone());
        let price = row.price.unwrap_or_else(|| price("50"));
        let quantity = row.last.unwrap_or(Quantity::ZERO);
        match says {
            Says::Acknowledged => Report::Acknowledged { broker_order_id: format!("b-{}", row.order) },
            Says::Fill => {
                self.trades.insert(key, (quantity.get(), price.get()));
                let (commission, executed_at) = (None, now);
                Report::Fill(ReportedFill { trade_id, quantity, price, commission, executed_at })
            }
            Says::TradeCorrected => {
                let booked = self.trades.get_mut(&key).unwrap_or_else(|| panic!("{what}: no such trade"));
                booked.0 = quantity.get();
                let price = Price::new(booked.1).unwrap();
                let (commission, corrected_at) = (None, now);
                let now = ReportedCorrection { trade_id, quantity, price, commission, corrected_at, reason };
                Report::TradeCorrected(now)
            }
            Says::TradeBusted => {
                self.trades.remove(&key).unwrap_or_else(|| panic!("{what}: no such trade"));
                Report::TradeBusted { trade_id, busted_at: now, reason }
            }
            Says::Rejected => Report::Rejected(Refusal::new(Code::BrokerRejected, reason)),
            Says::CancelRefused => Report::CancelRefused { reason },
            Says::Cancelled => Report::Cancelled { reason },
            Says::Expired => Report::Expired { reason },
            Says::Triggered => Report::Triggered { price: row.price },
            Says::Restated => Report::Restated { terms, reason, restated_at: now },
            Says::Replaced => {
                let pending = self.order(&row.order).and_then(|order| order.state.pending_replace.clone());
                let pending = pending.unwrap_or_else(|| panic!("{what}: no replace is under way"));
                Report::Replaced { number: pending.number, terms: pending.terms }
            }
            Says::Taken | Says::ReplaceRefused | Says::Nothing => panic!("{what}: nothing is reported"),
        }
    }

    /// The broker's answer to a request; how that ended, if it did.
    fn answer(&mut self, of: &str, answer: Answer, what: &str) -> Option<(String, String)> {
        let at = self.open.iter().position(|open| open.of == of);
        let at = at.unwrap_or_else(|| panic!("{what}: no request {of} is open"));
        let open = &self.open[at];
        let (kind, epoch, number) = open.asked.unwrap_or_else(|| panic!("{what}: {of} was not asked"));
        let (order_id, key, hash) = (open.order, open.received.key.clone(), open.received.hash);
        let view = View { market: fixed("50"), clocks: Arc::default(), worker: "w1".into() };
        let input = Answered { order_id, epoch, kind, number, resent: false, answer, key, hash, view };
        let decision =
            self.desk.rules.decide(&mut self.desk.ledger, &Input::Answered(Box::new(input))).unwrap();
        let end = end_of(&decision)?;
        self.open.remove(at);
        Some((of.to_owned(), end))
    }

    /// The broker's word comes by its feed or by a look at its books, as the way is.
    fn merges(&mut self, name: &str, report: Report) {
        let id = self.order(name).unwrap().spec.id;
        let lasting =
            matches!(report, Report::Acknowledged { .. } | Report::Fill(_) | Report::TradeCorrected(_))
                || matches!(report, Report::TradeBusted { .. });
        let history = self.history.entry(id).or_default();
        let mut books = history.clone();
        books.push(report.clone());
        if lasting {
            history.clone_from(&books);
        }
        match self.way {
            Way::Answers | Way::Feed => self.feed(name, &report),
            Way::FeedTwice => {
                self.feed(name, &report);
                self.feed(name, &report);
            }
            Way::Books => {
                let submit = &self.submits[&id];
                let finding = Finding { as_of: self.desk.ledger.now, reports: Some(books) };
                let view = View { market: fixed("50"), clocks: Arc::default(), worker: "w1".into() };
                let (key, hash) = (submit.key.clone(), submit.hash);
                let kind = AttemptKind::Submit;
                let looked = Looked { order_id: id, epoch: 1, kind, number: 1, finding, key, hash, view };
                let input = Input::Looked(Box::new(looked));
                // It may end the submit in passing; whoever takes that up is told so again.
                self.desk.rules.decide(&mut self.desk.ledger, &input).unwrap();
            }
        }
    }

    fn feed(&mut self, name: &str, report: &Report) {
        let facts = facts_of(name, vec![report.clone()]);
        self.desk.rules.decide(&mut self.desk.ledger, &facts).unwrap();
        assert!(
            self.desk.ledger.changes.differences.is_empty(),
            "{:?}",
            self.desk.ledger.changes.differences
        );
    }

    /// What a worker does with requests that the broker was asked for: it comes back with them. Those that end now.
    fn take_up(&mut self, what: &str) -> Vec<(String, String)> {
        let mut ends = Vec::new();
        for open in std::mem::take(&mut self.open) {
            // While the first call of a submit is under way nobody comes back with it.
            let calling = |kind| kind == AttemptKind::Submit && self.way == Way::Answers;
            let asked = open.asked.filter(|(kind, ..)| !calling(*kind));
            let decision = asked.map(|_| self.desk.admit_again(&open.received, &fixed("50"), "w1"));
            match decision.as_ref().and_then(end_of) {
                Some(end) => ends.push((open.of, end)),
                None => self.open.push(open),
            }
            if let Some(Effect::Wait(_)) = decision.map(|decision| decision.effect) {
                panic!("{what}: what was asked waits");
            }
        }
        ends
    }
}

/// What a broker's feed tells of an order.
pub(super) fn facts_of(name: &str, reports: Vec<Report>) -> Input {
    let broker: BrokerName = "mock".parse().unwrap();
    let external = Difference {
        broker: broker.clone(),
        kind: "external_order",
        key: name.to_owned(),
        details: String::new(),
    };
    let told = Told { order: OrderRef::Client(name.parse().unwrap()), reports, external };
    Input::Facts(Box::new(Facts { broker, told: vec![told], cursor: None }))
}

/// The order that a row asks for.
fn asked_for(row: &Row) -> OrderSpec {
    let order_type = match row.stop_price {
        Some(stop_price) => OrderType::Stop { stop_price },
        None => OrderType::Limit { price: row.price.unwrap_or_else(|| price("50")) },
    };
    let quantity = row.quantity.unwrap().to_string();
    spec(&row.order, Side::Buy, &quantity, order_type, row.time_in_force)
}
