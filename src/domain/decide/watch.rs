//! What is looked at without an order: whether limits are breached by prices alone, and whether brokers answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::amount::Price;
use crate::domain::circuit::{Circuit, Gate};
use crate::domain::control::ControlEvent;
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::ledger::{AttemptKind, Ledger, Mark, SessionKey};
use crate::domain::market::Market;
use crate::domain::position::{Book, Position};
use crate::domain::refusal::Refusal;
use crate::domain::report::Answer;
use crate::domain::risk::{self, ANY, LimitRow};
use crate::domain::trading_state::Scope;

use super::{Answered, Decision, Effect, Rules};

/// What is held, and what it is worth now.
#[derive(Debug, Clone)]
pub struct Watch {
    pub markets: Vec<(BrokerName, Symbol, Market)>,
    /// That have books in these.
    pub strategies: BTreeSet<Arc<str>>,
}

impl Rules {
    pub(super) fn watch(&self, ledger: &mut Ledger, watch: &Watch) -> Decision {
        let control = ledger.control.clone();
        let adds_up = control.limits.rows().any(|row| row.account || row.strategy_id.is_some());
        for (broker, symbol, market) in &watch.markets {
            let Some(price) = self.reference(market, ledger.now) else { continue };
            let (key, mark) = ((broker.clone(), symbol.clone()), Mark { price, at: market.timestamp() });
            if adds_up {
                ledger.risk.set_mark(key, mark);
            } else {
                // Nobody else asks for it.
                ledger.risk.marks.insert(key, mark);
            }
            let rows = control.limits.of(symbol, None);
            self.note_price(ledger, broker, symbol, price, &rows);
            for row in rows {
                let range = self.price_range(ledger, broker, symbol, row);
                if let Some(breach) = range.and_then(|range| risk::price_move_breach(symbol, row, range)) {
                    self.stop(ledger, &breach);
                }
            }
        }
        let books: Vec<(Book, Position)> =
            ledger.positions.iter().map(|(book, position)| (book.clone(), position.clone())).collect();
        let session = ledger.now.session_start(self.session_start_us);
        for (book, position) in &books {
            let key = SessionKey { scope: None, book: book.clone() };
            let mark = self.known_mark(ledger, book);
            self.session_base(ledger, key, position, mark, session);
        }
        for row in control.limits.rows().filter(|row| row.max_daily_loss.at().is_some()) {
            for (scope, its) in scopes(row, &books, &control.limits) {
                let sums = self.add_up(ledger, &control, row, &scope, &its, &|ledger, book| {
                    self.known_mark(ledger, book)
                });
                let symbol = its.first().map(|(book, _)| book.symbol.as_str()).unwrap_or_default();
                if let Some(breach) = risk::daily_loss_breach(row, &scope, &sums, symbol) {
                    self.stop(ledger, &breach);
                }
            }
        }
        Decision::effect(Effect::Nothing)
    }

    fn known_mark(&self, ledger: &Ledger, book: &Book) -> Option<Price> {
        let key = (book.broker.clone(), book.symbol.clone());
        ledger.risk.fresh_mark(&key, ledger.now, self.max_quote_age_us)
    }

    /// Whether an order may go to a broker now; one that does may be a probe.
    pub(super) fn pass_circuit(&self, ledger: &mut Ledger, broker: &BrokerName) -> Option<Refusal> {
        let breaker = self.breaker.as_ref()?;
        match Circuit::gate(ledger.control.circuits.get(broker), breaker, ledger.now) {
            Gate::Passes => None,
            Gate::Refused(refusal) => Some(refusal),
            Gate::Probes(circuit) => {
                ledger.change_control(ControlEvent::Circuit(circuit));
                None
            }
        }
    }

    /// A call to a broker was answered, or was not.
    pub(super) fn note_call(&self, ledger: &mut Ledger, answered: &Answered) {
        let Some(breaker) = &self.breaker else { return };
        // What becomes of cancels neither opens nor closes it: they go there all the same.
        if answered.kind == AttemptKind::Cancel {
            return;
        }
        let Some(broker) = ledger.order(&answered.order_id).map(|record| record.order.broker.clone()) else {
            return;
        };
        let now = ledger.now;
        let why = match &answered.answer {
            Answer::Accepted(_) | Answer::Rejected(_) => None,
            Answer::NotSent(not_sent) if not_sent.unreachable => Some(not_sent.why.as_str()),
            // It answered that it does not want more now, or nobody asked it.
            Answer::NotSent(_) => return,
            Answer::Unknown(why) => Some(why.as_str()),
        };
        let circuit = ledger.control.circuits.get(&broker).cloned();
        let changed = match why {
            None => circuit.and_then(|circuit| circuit.answered(now)),
            Some(why) => {
                ledger.risk.count_failure(broker.clone(), now);
                let from = Circuit::failures_count_from(circuit.as_ref(), breaker, now);
                let failed = ledger.risk.failures.get(&broker).into_iter().flatten();
                let recent = failed.filter(|(at, _)| *at >= from).map(|(_, count)| count).sum();
                Circuit::failed(circuit.as_ref(), &broker, breaker, recent, why, now)
            }
        };
        if let Some(circuit) = changed {
            ledger.change_control(ControlEvent::Circuit(circuit));
        }
    }
}

type Books = Vec<(Book, Position)>;

/// What a row adds up, scope by scope.
fn scopes(row: &LimitRow, books: &Books, limits: &risk::Limits) -> Vec<(Scope, Books)> {
    let is_of = |book: &Book| match (&row.strategy_id, row.account) {
        (_, true) => book.strategy.is_none(),
        (Some(id), false) => {
            book.strategy.as_ref() == Some(id)
                && (&*row.symbol == ANY || *row.symbol == *book.symbol.as_str())
        }
        (None, false) => {
            let own = limits.of_symbol(&book.symbol).is_some_and(|own| own.symbol == row.symbol);
            book.strategy.is_none() && own
        }
    };
    let its: Books = books.iter().filter(|(book, _)| is_of(book)).cloned().collect();
    let Some((first, _)) = its.first() else { return Vec::new() };
    let over_all = row.account || (row.strategy_id.is_some() && &*row.symbol == ANY);
    if over_all {
        return vec![(row.scope(&first.symbol), its)];
    }
    its.into_iter().map(|one| (row.scope(&one.0.symbol), vec![one])).collect()
}
