//! The first of the four steps: what the inputs name, and what that turns out to be about.

use std::collections::BTreeSet;

use order_execution::domain::decide::SWEEP_PAGE;
use order_execution::domain::ids::OrderId;
use order_execution::domain::ledger::{Keys, Ledger, OrderRecord, Wanted};
use order_execution::domain::order_type::Side;
use order_execution::domain::position::Book;
use order_execution::domain::request::{OrderRef, RequestKind};
use order_execution::domain::trading_state::Scope;

use super::Tables;

const SECOND_US: i64 = 1_000_000;

impl Tables {
    pub(super) fn find(&self, order: &OrderRef) -> Option<&OrderRecord> {
        match order {
            OrderRef::Client(id) => self.orders.get(self.by_client_id.get(id)?),
            OrderRef::Order(id) => self.orders.get(id),
        }
    }

    pub(super) fn load(&self, keys: &Keys, ledger: &mut Ledger) {
        self.load_orders(keys, ledger);
        self.load_requests(keys, ledger);
        self.load_matching(keys, ledger);
        self.load_trades(keys, ledger);
        self.load_instruments(keys, ledger);
    }

    fn load_orders(&self, keys: &Keys, ledger: &mut Ledger) {
        let mut ids: BTreeSet<OrderId> = keys.orders.iter().copied().collect();
        ids.extend(keys.client_ids.iter().filter_map(|id| self.by_client_id.get(id)));
        ids.extend(
            keys.with_trades.iter().filter_map(|order| self.find(order)).map(|record| record.order.spec.id),
        );
        ids.extend(keys.entries.iter().filter_map(|key| self.by_entry.get(key)).flatten());
        for page in &keys.resting {
            let of_page: Vec<OrderId> = self
                .admissions
                .range(page.after + 1..)
                .filter_map(|(_, id)| self.orders.get(id))
                .map(|record| &record.order)
                .filter(|order| order.state.status.is_working())
                .filter(|order| order.broker == page.broker && order.spec.symbol == page.symbol)
                .take(page.limit as usize)
                .map(|order| order.spec.id)
                .collect();
            ids.extend(&of_page);
            ledger.resting.insert((page.broker.clone(), page.symbol.clone()), of_page);
        }
        for record in ids.iter().filter_map(|id| self.orders.get(id)) {
            let spec = &record.order.spec;
            ledger.by_client_id.insert(spec.client_order_id.clone(), spec.id);
            ledger.orders.insert(spec.id, record.clone());
        }
    }

    fn load_requests(&self, keys: &Keys, ledger: &mut Ledger) {
        let mut named = BTreeSet::new();
        for key in keys.requests.iter().collect::<BTreeSet<_>>() {
            let records = self.requests.get(key).cloned().unwrap_or_default();
            for record in &records {
                named.extend(record.order_id);
                if record.kind == RequestKind::CancelAll && record.open {
                    let at = (record.key.clone(), record.hash);
                    let targets = self.targets.get(&at).cloned().unwrap_or_default();
                    let due = targets.iter().filter(|target| !target.settled).take(SWEEP_PAGE);
                    named.extend(due.map(|target| target.order_id));
                    ledger.targets.insert(at, targets);
                }
            }
            if !records.is_empty() {
                ledger.requests.insert(key.clone(), records);
            }
            let outcomes = self.outcomes_of.get(key).map_or(&[][..], Vec::as_slice);
            let outcomes: Vec<_> = outcomes.iter().map(|place| self.outcomes[*place].clone()).collect();
            named.extend(outcomes.iter().filter_map(|outcome| outcome.order_id));
            if !outcomes.is_empty() {
                ledger.outcomes.insert(key.clone(), outcomes);
            }
        }
        for record in named.iter().filter_map(|id| self.orders.get(id)) {
            ledger.orders.entry(record.order.spec.id).or_insert_with(|| record.clone());
        }
    }

    fn load_matching(&self, keys: &Keys, ledger: &mut Ledger) {
        for (key, hash, filter) in &keys.matching {
            if ledger.request_of(key, hash).is_some() || ledger.outcome_of(key, hash).is_some() {
                continue;
            }
            let is_meant = |record: &&OrderRecord| {
                let order = &record.order;
                !order.state.status.is_terminal()
                    && (record.request.lane != key.lane || record.request.entry < key.entry)
                    && filter.matches(&order.broker, &order.spec)
            };
            let meant = self.admissions.values().filter_map(|id| self.orders.get(id)).filter(is_meant);
            let meant = meant.map(|record| (record.order.spec.id, record.order.spec.client_order_id.clone()));
            ledger.matching.insert(key.clone(), meant.collect());
        }
    }

    fn load_trades(&self, keys: &Keys, ledger: &mut Ledger) {
        let told =
            keys.with_trades.iter().filter_map(|order| self.find(order)).map(|record| record.order.spec.id);
        let ids: BTreeSet<OrderId> = ledger.resting.values().flatten().copied().chain(told).collect();
        for id in ids {
            // The newest revision comes last, and stays.
            for (trade_id, trade) in self.trades.get(&id).into_iter().flatten() {
                ledger.trades.insert((id, trade_id.clone()), trade.clone());
            }
        }
    }

    fn load_instruments(&self, keys: &Keys, ledger: &mut Ledger) {
        ledger.control = self.control.clone();
        let wanted = ledger.wanted(keys);
        self.load_counters(&wanted, ledger);
        let is_wanted = |book: &Book| {
            let named = wanted.instruments.contains(&(book.broker.clone(), book.symbol.clone()))
                && book.strategy.as_ref().is_none_or(|id| wanted.strategies.contains(id));
            let summed = wanted.sums.iter().any(|scope| match scope {
                Scope::All => book.strategy.is_none(),
                Scope::StrategyId(id) => book.strategy.as_ref() == Some(id),
                _ => false,
            });
            named || summed
        };
        let books = self.positions.iter().filter(|(book, _)| is_wanted(book));
        ledger.positions.extend(books.map(|(book, position)| (book.clone(), position.clone())));
        let sessions = self.sessions.iter().filter(|(key, _)| is_wanted(&key.book));
        ledger.risk.sessions.extend(sessions.map(|(key, session)| (key.clone(), *session)));
        for (broker, symbol) in &wanted.instruments {
            for side in [Side::Buy, Side::Sell] {
                let at = (broker.clone(), symbol.clone(), side);
                if let Some(spent) = self.spent.get(&at) {
                    ledger.spent.insert(at, *spent);
                }
            }
        }
        for record in self.orders.values() {
            let order = &record.order;
            let key = (order.broker.clone(), order.spec.symbol.clone());
            if order.is_live() && wanted.open_orders.contains(&key) {
                ledger.orders.entry(order.spec.id).or_insert_with(|| record.clone());
            }
        }
    }

    fn load_counters(&self, wanted: &Wanted, ledger: &mut Ledger) {
        let now = ledger.now;
        for scope in &wanted.rates {
            let recent = self.rates.get(scope).into_iter().flatten();
            let recent: u64 =
                recent.filter(|(at, _)| now.micros_since(*at) < SECOND_US).map(|(_, n)| n).sum();
            if recent > 0 {
                ledger.risk.recent_orders.insert(scope.clone(), recent);
            }
        }
        if !wanted.sums.is_empty() {
            ledger.risk.marks.clone_from(&self.marks);
        }
        if wanted.fills_within_us.is_some() {
            ledger.risk.fills.clone_from(&self.fills);
        }
        if wanted.prices_within_us.is_some() {
            ledger.risk.prices.clone_from(&self.prices);
        }
        if wanted.failures_within_us.is_some() {
            ledger.risk.failures.clone_from(&self.failures);
        }
        let known = wanted.contents.iter().filter_map(|hash| Some((*hash, self.contents.get(hash)?.clone())));
        ledger.risk.contents.extend(known);
    }
}
