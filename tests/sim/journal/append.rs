//! The third of the four steps: everything that was decided, at once.

use std::collections::HashSet;

use order_execution::domain::control::ControlEvent;
use order_execution::domain::ledger::Ledger;
use order_execution::domain::time::Timestamp;
use order_execution::ports::journal::ControlEntry;
use order_execution::ports::publisher::Published;

use super::super::plant::{Fault, Plant};
use super::{CommitRow, Tables};

/// Rate rows older than this say nothing any more.
const RATE_KEPT_US: i64 = 2_000_000;

impl Tables {
    /// What a database's constraints would refuse.
    pub(super) fn check(&self, ledger: &Ledger, plant: Plant) -> Result<(), String> {
        let changes = &ledger.changes;
        let mut names = HashSet::new();
        for id in &changes.new_orders {
            let Some(record) = ledger.orders.get(id) else { continue };
            let name = &record.order.spec.client_order_id;
            let is_taken = self.orders.contains_key(id) || self.by_client_id.contains_key(name);
            if is_taken || !names.insert(name) || self.unwritable.contains(name.as_str()) {
                return Err(format!("order {id} ({name}) cannot be written"));
            }
        }
        for commit in &changes.commits {
            let rows = self.commits_of.get(&commit.order_id).map_or(&[][..], Vec::as_slice);
            if rows.iter().any(|row| self.commits[*row].first_version == commit.first_version()) {
                return Err(format!(
                    "order {} has a version {} already",
                    commit.order_id,
                    commit.first_version()
                ));
            }
        }
        for attempt in &changes.attempts {
            if self.attempts.contains(&(attempt.order_id, attempt.kind, attempt.number)) {
                return Err(format!("attempt {attempt:?} was journaled before"));
            }
        }
        for trade in changes.trades.iter().filter(|_| !plant.is(Fault::TradesForgotten)) {
            let known = self.trades.get(&trade.order_id).into_iter().flatten();
            if known.into_iter().any(|(id, t)| *id == trade.trade_id && t.revision == trade.trade.revision) {
                return Err(format!("trade {} is booked already", trade.trade_id));
            }
        }
        Ok(())
    }

    pub(super) fn append(&mut self, ledger: &mut Ledger) {
        let now = ledger.now;
        self.append_orders(ledger);
        let changes = std::mem::take(&mut ledger.changes);
        for commit in &changes.commits {
            let place = self.commits.len();
            self.commits.push(CommitRow {
                order_id: commit.order_id,
                first_version: commit.first_version(),
                version: commit.version(),
                at: commit.events.last().map_or(now, |event| event.timestamp),
                events: commit.events.clone(),
            });
            self.commits_of.entry(commit.order_id).or_default().push(place);
            self.outbox_commits.insert(place);
        }
        for request in &changes.requests {
            let known = self.requests.entry(request.key.clone()).or_default();
            if known.iter().all(|one| one.hash != request.hash) {
                known.push(request.clone());
            }
        }
        for outcome in &changes.outcomes {
            let places = self.outcomes_of.entry(outcome.key.clone()).or_default();
            if places.iter().all(|place| self.outcomes[*place].hash != outcome.hash) {
                places.push(self.outcomes.len());
                self.outbox_outcomes.insert(self.outcomes.len());
                self.outcomes.push(outcome.clone());
            }
            for request in self.requests.get_mut(&outcome.key).into_iter().flatten() {
                request.open &= request.hash != outcome.hash;
            }
        }
        for (key, hash, target) in &changes.targets {
            let targets = self.targets.entry((key.clone(), *hash)).or_default();
            match targets.iter_mut().find(|known| known.order_id == target.order_id) {
                Some(known) => *known = target.clone(),
                None => targets.push(target.clone()),
            }
        }
        for difference in &changes.differences {
            self.differences.insert((difference.broker.clone(), difference.kind, difference.key.clone()));
        }
        for (broker, cursor) in &changes.cursors {
            let known = self.cursors.entry(broker.clone()).or_default();
            *known = (*known).max(*cursor);
        }
        for attempt in &changes.attempts {
            self.attempts.insert((attempt.order_id, attempt.kind, attempt.number));
        }
        for trade in &changes.trades {
            let trades = self.trades.entry(trade.order_id).or_default();
            trades.push((trade.trade_id.clone(), trade.trade.clone()));
        }
        for key in &changes.positions {
            if let Some(position) = ledger.positions.get(key) {
                self.positions.insert(key.clone(), position.clone());
            }
        }
        self.append_counters(ledger);
        for key in &changes.spent {
            if let Some(spent) = ledger.spent.get(key) {
                self.spent.insert(key.clone(), *spent);
            }
        }
        if !changes.control.is_empty() {
            self.control = ledger.control.clone();
            for event in &changes.control {
                self.note_control(event.clone(), now);
            }
        }
        ledger.changes = changes;
    }

    fn append_counters(&mut self, ledger: &mut Ledger) {
        let now = ledger.now;
        let changes = std::mem::take(&mut ledger.risk.changes);
        for (scope, count) in changes.recent_orders {
            let rates = self.rates.entry(scope).or_default();
            rates.retain(|(at, _)| now.micros_since(*at) <= RATE_KEPT_US);
            rates.push((now, count));
        }
        for key in changes.sessions {
            if let Some(session) = ledger.risk.sessions.get(&key) {
                self.sessions.insert(key, *session);
            }
        }
        for key in changes.marks {
            if let Some(mark) = ledger.risk.marks.get(&key) {
                self.marks.insert(key, *mark);
            }
        }
        for (broker, symbol, at, price) in changes.prices {
            self.prices.entry((broker, symbol)).or_default().push((at, price));
        }
        for (of, count) in changes.fills {
            self.fills.entry(of).or_default().push((now, count));
        }
        for (broker, count) in changes.failures {
            self.failures.entry(broker).or_default().push((now, count));
        }
        for (content, id, at) in changes.contents {
            self.contents.insert(content, (id, at));
        }
    }

    pub(super) fn note_control(&mut self, event: ControlEvent, at: Timestamp) {
        let number = self.control_events.len() as u64 + 1;
        self.control_events.push(ControlEntry { number, at, event });
        self.outbox_control.insert(number);
    }

    fn append_orders(&mut self, ledger: &Ledger) {
        let changes = &ledger.changes;
        for id in &changes.new_orders {
            let Some(record) = ledger.orders.get(id) else { continue };
            let mut record = record.clone();
            record.admission = self.admissions.last_key_value().map_or(1, |(last, _)| last + 1);
            self.admissions.insert(record.admission, *id);
            self.by_client_id.insert(record.order.spec.client_order_id.clone(), *id);
            self.by_entry.entry(record.request.clone()).or_default().push(*id);
            self.orders.insert(*id, record);
        }
        for id in changes.changed_orders.iter().filter(|id| !changes.new_orders.contains(id)) {
            if let (Some(record), Some(known)) = (ledger.orders.get(id), self.orders.get_mut(id)) {
                *known = record.clone();
            }
        }
    }

    pub(super) fn mark(&mut self, published: &Published) {
        self.outbox_control.retain(|number| !published.control.contains(number));
        for (order, version) in &published.orders {
            for place in self.commits_of.get(order).into_iter().flatten() {
                if self.commits[*place].version <= *version {
                    self.outbox_commits.remove(place);
                }
            }
        }
        for (key, hash) in &published.outcomes {
            let places = self.outcomes_of.get(key).into_iter().flatten();
            for place in places.filter(|place| self.outcomes[**place].hash == *hash) {
                self.outbox_outcomes.remove(place);
            }
        }
    }
}
