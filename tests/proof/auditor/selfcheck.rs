//! The auditor finds what it is there for: a small world without fault, and each fault put into it.

use super::facts::{Commit, Generation, Journal, JournalOutcome, Ledger, Order, Position, Redis, Trade};
use super::{Facts, Fault, judge};
use crate::harness::Entry;
use crate::producer::{Ack, Sent};
use crate::profile::Profile;
use redis::streams::StreamId;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

struct World {
    profile: Profile,
    journal: Journal,
    ledger: Ledger,
    redis: Redis,
    sent: Vec<Sent>,
    losses: usize,
}

fn entry(id: &str, fields: &[(&str, String)]) -> Entry {
    let map = fields.iter().map(|(k, v)| ((*k).to_owned(), redis::Value::BulkString(v.clone().into_bytes())));
    Entry::from(StreamId { id: id.to_owned(), map: map.collect(), ..StreamId::default() })
}

fn outcome(filled: &str, status: &str) -> (bool, Entry) {
    let order = json!({"status": status, "quantity": "2", "filled_quantity": filled});
    let fields = [("entry_id", "1-0"), ("request", "submit"), ("order_id", "o"), ("client_order_id", "a")];
    let mut fields: Vec<_> = fields.map(|(k, v)| (k, v.to_owned())).into();
    fields.extend([
        ("status", status.to_owned()),
        ("order", order.to_string()),
        ("timestamp", String::new()),
    ]);
    (true, entry("9-0", &fields))
}

fn event(first: u64, last: u64) -> Entry {
    let events: Value = (first..=last).map(|n| json!({"event_id": format!("e{n}")})).collect();
    let fields = [
        ("order_id", "o".to_owned()),
        ("first_version", first.to_string()),
        ("version", last.to_string()),
        ("events", events.to_string()),
    ];
    entry("9-1", &fields)
}

fn trade(id: &str) -> Trade {
    Trade { id: id.to_owned(), quantity: Decimal::TWO, price: Decimal::TEN }
}

/// One market order, filled.
fn world() -> World {
    let mut world = World {
        profile: Profile::Deadline,
        journal: Journal::default(),
        ledger: Ledger::new(),
        redis: Redis::default(),
        sent: Vec::new(),
        losses: 0,
    };
    let text = str::to_owned;
    world.journal.orders.push(Order {
        id: text("o"),
        client_order_id: text("a"),
        entry: text("1-0"),
        broker: text("mock"),
        symbol: text("X"),
        buys: true,
        quantity: Decimal::TWO,
        asked: None,
        limit: None,
        filled: Decimal::TWO,
        status: text("Filled"),
        version: 3,
        parked: false,
        command: false,
    });
    world.journal.trades.insert(text("o"), vec![trade("t-1")]);
    let commit =
        |first, last| Commit { first, last, event_ids: (first..=last).map(|n| format!("e{n}")).collect() };
    world.journal.commits.insert(text("o"), vec![commit(1, 2), commit(3, 3)]);
    world
        .journal
        .outcomes
        .insert(text("1-0"), JournalOutcome { version: 3, status: Some(text("Filled")), code: None });
    world.journal.entries.insert(text("1-0"));
    world.journal.positions.push(Position {
        broker: text("mock"),
        symbol: text("X"),
        quantity: Decimal::TWO,
        reserved_buy: Decimal::ZERO,
        reserved_sell: Decimal::ZERO,
    });
    world.ledger.insert(text("a"), vec![generation("t-1")]);
    world.redis.outcomes.push(outcome("2", "Filled"));
    world.redis.events = vec![event(1, 2), event(3, 3)];
    let state = json!({"status": "Filled", "version": 3, "filled_quantity": "2", "parked": false});
    world.redis.states = BTreeMap::from([(text("a"), state)]);
    let client_order_id = Some(text("a"));
    world.sent.push(Sent { entry: text("1-0"), kind: "order", client_order_id, ack: Ack::Yes, losses: 0 });
    world
}

fn generation(id: &str) -> Generation {
    let executions = vec![trade(id)];
    Generation { status: "Filled".to_owned(), quantity: Decimal::TWO, price: None, executions }
}

type Break = fn(&mut World);

const FAULTS: &[(&str, Fault, Break)] = &[
    ("two generations executed", Fault::Double, |w| {
        w.ledger.get_mut("a").unwrap().push(generation("t-2"));
    }),
    ("two orders open", Fault::Double, |w| {
        let open = Generation { status: "Open".to_owned(), executions: Vec::new(), ..generation("") };
        w.ledger.get_mut("a").unwrap().extend([open.clone(), open]);
    }),
    ("booked and not executed", Fault::Double, |w| {
        w.journal.trades.get_mut("o").unwrap()[0].id = "t-9".to_owned();
    }),
    ("executed and not booked", Fault::Loss, |w| w.journal.trades.clear()),
    ("a stranger at the exchange", Fault::Loss, |w| {
        drop(w.ledger.insert("b".to_owned(), vec![generation("t-3")]))
    }),
    ("no outcome", Fault::Loss, |w| w.redis.outcomes.clear()),
    ("no outcome of what was journaled, though Redis lost data", Fault::Loss, |w| {
        w.losses = 1;
        w.redis.outcomes.clear();
    }),
    ("an order left under way", Fault::Loss, |w| w.journal.orders[0].status = "Submitted".to_owned()),
    ("its end at the exchange was missed", Fault::Loss, |w| {
        w.journal.orders[0].status = "PartiallyFilled".to_owned();
    }),
    ("a command left under way", Fault::Loss, |w| w.journal.orders[0].command = true),
    ("an entry left pending", Fault::Loss, |w| w.redis.held = 1),
    ("not published", Fault::Loss, |w| w.journal.unpublished = 1),
    ("events that are not out", Fault::Loss, |w| drop(w.redis.events.pop())),
    ("no state", Fault::Loss, |w| w.redis.states.clear()),
    ("Rejected, and executed", Fault::Lie, |w| w.journal.orders[0].status = "Rejected".to_owned()),
    ("cancelled, and open at the exchange", Fault::Lie, |w| {
        w.ledger.get_mut("a").unwrap()[0].status = "Open".to_owned();
    }),
    ("an outcome that says less", Fault::Lie, |w| w.redis.outcomes[0] = outcome("0", "Cancelled")),
    ("an outcome that the journal has otherwise", Fault::Lie, |w| {
        w.journal.outcomes.get_mut("1-0").unwrap().code = Some("BROKER_REJECTED".to_owned());
    }),
    ("an outcome of nobody's request", Fault::Lie, |w| w.sent.clear()),
    ("a gap between events", Fault::Lie, |w| drop(w.redis.events.remove(0))),
    ("an event that is not journaled", Fault::Lie, |w| w.redis.events[0] = event(1, 1)),
    ("an old state", Fault::Lie, |w| w.redis.states.get_mut("a").unwrap()["version"] = json!(2)),
    ("two outcomes", Fault::Repeat, |w| w.redis.outcomes.push(outcome("2", "Filled"))),
    ("a wrong position", Fault::Books, |w| w.journal.positions[0].quantity = Decimal::ONE),
    ("a reservation left", Fault::Books, |w| w.journal.positions[0].reserved_buy = Decimal::ONE),
    ("parked without need", Fault::Parked, |w| w.journal.orders[0].parked = true),
];

/// What is wrong with the auditor.
pub(crate) fn selfcheck() -> Result<usize, String> {
    let judged = |world: World| {
        let World { profile, journal, ledger, redis, sent, losses } = world;
        judge(&Facts::new(profile, journal, Some(ledger), redis, sent, losses))
    };
    let clean = judged(world());
    if !clean.is_clean() {
        return Err(format!("the auditor finds fault with what has none: {:?}", clean.evidence()));
    }
    for (what, fault, put) in FAULTS {
        let mut broken = world();
        put(&mut broken);
        let found = judged(broken);
        if found.count(*fault) == 0 {
            return Err(format!("the auditor does not see {what}: it finds {:?}", found.evidence()));
        }
    }
    Ok(FAULTS.len())
}
