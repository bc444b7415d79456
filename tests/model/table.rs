//! What is printed: a row a case, and the story of a counter-example.

use stateright::Model;

use super::cases::{Case, Expect};
use super::check::Report;
use super::protocol::{Action, Protocol};
use super::state::Worker;

pub(crate) fn head() {
    println!("| case | rule | verdict | states | counter-example, steps | seconds |");
    println!("|---|---|---|---|---|---|");
}

pub(crate) fn row(case: &Case, report: &Report) {
    let expected = match case.expect {
        Expect::Safe => None,
        Expect::Broken(name) => report.counter_example(name).map(|way| (name, way)),
    };
    let first = expected.or_else(|| report.broken.first().map(|(name, way)| (*name, &way[..])));
    let (verdict, steps) = match first {
        None => ("safe".to_owned(), "–".to_owned()),
        Some((name, way)) => (format!("broken: {name}"), way.len().to_string()),
    };
    let mark = if report.is_as_expected(case) { "" } else { " NOT AS EXPECTED" };
    println!(
        "| `{}` | {} | {verdict}{mark} | {} | {steps} | {}.{} |",
        case.name,
        case.rule,
        grouped(report.states),
        report.took.as_secs(),
        report.took.subsec_millis() / 100
    );
}

/// The shortest way to each invariant that was broken.
pub(crate) fn story(case: &Case, report: &Report) {
    println!(
        "{}: {} states, {} steps tried, the farthest {} steps away",
        case.name,
        grouped(report.states),
        grouped(report.generated),
        report.depth
    );
    for (name, way) in &report.broken {
        println!("\nbroken after {} steps: {name}", way.len());
        steps(case, way);
    }
}

pub(crate) fn steps(case: &Case, way: &[Action]) {
    let symmetric = case.expect == Expect::Safe;
    let model = Protocol::new(case.rules, case.scope, symmetric);
    let Some(mut state) = model.init_states().pop() else { return };
    for (place, action) in way.iter().enumerate() {
        let Some(next) = model.next_state(&state, *action) else { return };
        state = next;
        let (order, broker) = (&state.journal.order, &state.broker);
        println!("{:3}  {action:?}", place + 1);
        println!(
            "       journal {:?}{}, attempt {}{}, outcomes {:?}; broker {:?}, executed {}; out {} of {}",
            order.status,
            if order.parked { " parked" } else { "" },
            order.attempts,
            if order.open { " open" } else { "" },
            state.journal.outcomes,
            broker.book,
            broker.executed,
            state.redis.out,
            order.version
        );
        for (w, worker) in
            state.workers.iter().enumerate().filter(|(_, worker)| **worker != Worker::default())
        {
            let lease = if worker.lease { ", lease" } else { "" };
            println!("       worker {w}: {:?}, holds {:03b}{lease}", worker.doing, worker.holds);
        }
    }
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
