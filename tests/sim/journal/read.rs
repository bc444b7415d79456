//! What the journal says.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use order_execution::domain::event::OrderEvent;
use order_execution::domain::ids::{BrokerName, EntryId, OrderId, RequestKey, Symbol};
use order_execution::domain::ledger::OrderRecord;
use order_execution::domain::order::Order;
use order_execution::domain::position::{Book, Position};
use order_execution::domain::request::{Outcome, RequestKind};
use order_execution::domain::time::Timestamp;
use order_execution::ports::journal::{
    Abandoned, CommitHistory, ControlEntry, History, OrderFilter, RiskCounters, TradeRow,
};
use rust_decimal::Decimal;

use super::Tables;

fn passes(filter: &OrderFilter, order: &Order) -> bool {
    let (spec, state) = (&order.spec, &order.state);
    filter.symbol.as_ref().is_none_or(|symbol| *symbol == spec.symbol)
        && filter.status.is_none_or(|status| status == state.status)
        && (!filter.open || !state.status.is_terminal())
        && (!filter.parked || state.parked)
        && filter.strategy_id.as_ref().is_none_or(|id| spec.strategy_id.as_ref() == Some(id))
        && filter.client_order_id.as_ref().is_none_or(|id| *id == spec.client_order_id)
        && (filter.statuses.is_empty() || filter.statuses.contains(&state.status))
        && filter.side.is_none_or(|side| side == spec.side)
        && filter.broker.as_ref().is_none_or(|broker| *broker == order.broker)
        && filter
            .client_order_id_prefix
            .as_ref()
            .is_none_or(|prefix| spec.client_order_id.as_str().starts_with(prefix.as_str()))
        && filter.since.is_none_or(|since| state.created_at >= since)
        && filter.until.is_none_or(|until| state.created_at < until)
}

impl Tables {
    fn in_order(&self) -> impl DoubleEndedIterator<Item = &OrderRecord> {
        self.admissions.values().filter_map(|id| self.orders.get(id))
    }

    pub(super) fn orders_by(&self, filter: &OrderFilter) -> Vec<Order> {
        let before = match filter.before {
            Some(id) => self.orders.get(&id).map_or(0, |record| record.admission),
            None => u64::MAX,
        };
        let newest_first = self.admissions.range(..before).rev().filter_map(|(_, id)| self.orders.get(id));
        newest_first
            .map(|record| &*record.order)
            .filter(|order| passes(filter, order))
            .take(filter.limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn events(&self, order: OrderId) -> Vec<OrderEvent> {
        let rows = self.commits_of.get(&order).into_iter().flatten();
        rows.flat_map(|row| self.commits[*row].events.iter().cloned()).collect()
    }

    pub(super) fn books(&self) -> Vec<(Book, Position)> {
        let mut all: Vec<_> =
            self.positions.iter().map(|(book, position)| (book.clone(), position.clone())).collect();
        all.sort_by(|(a, _), (b, _)| {
            (&a.symbol, &a.broker, &a.strategy).cmp(&(&b.symbol, &b.broker, &b.strategy))
        });
        all
    }

    pub(super) fn admitted(&self, lane: &Arc<str>, entries: &[EntryId]) -> Vec<EntryId> {
        let is_known = |entry: &&EntryId| {
            let key = RequestKey { lane: lane.clone(), entry: **entry };
            self.by_entry.contains_key(&key) || self.requests.contains_key(&key)
        };
        entries.iter().filter(is_known).copied().collect()
    }

    pub(super) fn resting(&self, which: impl Fn(&Order) -> bool) -> Vec<(BrokerName, Symbol)> {
        let working = self.in_order().map(|record| &*record.order);
        let working = working.filter(|order| order.state.status.is_working() && which(order));
        let found: BTreeSet<_> =
            working.map(|order| (order.broker.clone(), order.spec.symbol.clone())).collect();
        found.into_iter().collect()
    }

    pub(super) fn unpublished(&self, before: Timestamp, limit: u32) -> Vec<OrderId> {
        let mut found = Vec::new();
        for place in &self.outbox_commits {
            let row = &self.commits[*place];
            if row.at <= before && !found.contains(&row.order_id) {
                found.push(row.order_id);
            }
            if found.len() == limit as usize {
                break;
            }
        }
        found
    }

    pub(super) fn unpublished_outcomes(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Vec<(Outcome, Option<Order>)> {
        let due = self.outbox_outcomes.iter().map(|place| &self.outcomes[*place]);
        due.filter(|outcome| outcome.timestamp <= before)
            .take(limit as usize)
            .map(|outcome| {
                let order = outcome.order_id.and_then(|id| self.orders.get(&id));
                (outcome.clone(), order.map(|record| (*record.order).clone()))
            })
            .collect()
    }

    pub(super) fn abandoned(&self, now: Timestamp, limit: u32) -> Vec<Abandoned> {
        let mut found = Vec::new();
        let instrument =
            |record: &OrderRecord| Some((record.order.broker.clone(), record.order.spec.symbol.clone()));
        for record in self.in_order().filter(|record| record.lease.until < now) {
            if record.is_open() && !record.answered {
                found.push(Abandoned {
                    key: record.request.clone(),
                    hash: record.request_hash,
                    instrument: instrument(record),
                    received_at: record.order.state.created_at,
                });
            }
        }
        for request in self.requests.values().flatten().filter(|request| request.open) {
            let Some(record) = request.order_id.and_then(|id| self.orders.get(&id)) else { continue };
            if record.lease.until < now {
                found.push(Abandoned {
                    key: request.key.clone(),
                    hash: request.hash,
                    instrument: instrument(record),
                    received_at: request.received_at,
                });
            }
        }
        found.sort_by(|a, b| (a.received_at, &a.key, a.hash.0).cmp(&(b.received_at, &b.key, b.hash.0)));
        found.truncate(limit as usize);
        found
    }

    pub(super) fn unfinished_sweeps(&self, before: Timestamp, limit: u32) -> Vec<Abandoned> {
        let open = self.requests.values().flatten().filter(|request| {
            request.open && request.kind == RequestKind::CancelAll && request.received_at < before
        });
        let mut found: Vec<Abandoned> = open
            .map(|request| Abandoned {
                key: request.key.clone(),
                hash: request.hash,
                instrument: None,
                received_at: request.received_at,
            })
            .collect();
        found.sort_by(|a, b| (a.received_at, &a.key).cmp(&(b.received_at, &b.key)));
        found.truncate(limit as usize);
        found
    }

    /// What the outboxes hold, for a person.
    pub(crate) fn unmarked(&self) -> Vec<String> {
        let commits = self.outbox_commits.iter().map(|place| &self.commits[*place]);
        let commits = commits.map(|row| format!("{} {}", row.order_id, row.version));
        let outcomes = self.outbox_outcomes.iter().map(|place| &self.outcomes[*place]);
        commits.chain(outcomes.map(|outcome| format!("outcome of {}", outcome.key))).collect()
    }

    fn waiting(&self) -> BTreeSet<OrderId> {
        self.outbox_commits.iter().map(|place| self.commits[*place].order_id).collect()
    }

    pub(super) fn working(&self, after: u64, limit: u32) -> Vec<(u64, Order)> {
        let waiting = self.waiting();
        self.admissions
            .range(after + 1..)
            .filter_map(|(admission, id)| Some((*admission, self.orders.get(id)?)))
            .filter(|(_, record)| {
                !record.order.state.status.is_terminal() && !waiting.contains(&record.order.spec.id)
            })
            .take(limit as usize)
            .map(|(admission, record)| (admission, (*record.order).clone()))
            .collect()
    }

    pub(super) fn ended(&self, after: u64, limit: u32) -> Vec<(u64, Order)> {
        let waiting = self.waiting();
        let rows = self.commits.iter().enumerate().skip(usize::try_from(after).unwrap_or(usize::MAX));
        rows.filter_map(|(row, commit)| Some((row as u64 + 1, commit, self.orders.get(&commit.order_id)?)))
            .filter(|(_, commit, record)| {
                let state = &record.order.state;
                state.status.is_terminal()
                    && commit.version == state.version
                    && !waiting.contains(&commit.order_id)
            })
            .take(limit as usize)
            .map(|(place, _, record)| (place, (*record.order).clone()))
            .collect()
    }

    pub(super) fn commit_history(&self, order_id: OrderId) -> CommitHistory {
        let rows = self.commits_of.get(&order_id).map_or(&[][..], Vec::as_slice);
        let published = rows.iter().take_while(|row| !self.outbox_commits.contains(row)).count();
        let commits = rows.iter().map(|row| self.commits[*row].events.clone()).collect();
        CommitHistory { order_id, commits, published }
    }

    pub(super) fn history(&self, after: u64, limit: u32) -> Vec<History> {
        let page = self.admissions.range(after + 1..).take(limit as usize);
        page.filter_map(|(admission, id)| Some((*admission, self.orders.get(id)?)))
            .map(|(admission, record)| {
                let order = (*record.order).clone();
                let id = order.spec.id;
                let trades = self.trades.get(&id).into_iter().flatten();
                let trades = trades
                    .map(|(trade_id, trade)| TradeRow { trade_id: trade_id.clone(), trade: trade.clone() });
                History {
                    admission,
                    columns: columns(&order),
                    events: self.events(id),
                    trades: trades.collect(),
                    order,
                }
            })
            .collect()
    }

    /// How far the broker's feed is merged.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursors.values().copied().max().unwrap_or(0)
    }

    /// What the trades of an order add up to, for the auditor.
    pub(crate) fn booked(&self, order: OrderId) -> Decimal {
        let trades = self.trades.get(&order).into_iter().flatten();
        trades.filter_map(|(_, trade)| trade.terms.as_ref()).map(|terms| terms.quantity.get()).sum()
    }

    /// By client order id, for the auditor.
    pub(crate) fn by_client(&self) -> HashMap<&str, &OrderRecord> {
        self.orders.values().map(|record| (record.order.spec.client_order_id.as_str(), record)).collect()
    }
}

fn columns(order: &Order) -> [(&'static str, String); 7] {
    let state = &order.state;
    [
        ("status", state.status.to_string()),
        ("quantity", order.spec.quantity.to_string()),
        ("filled_quantity", state.filled_quantity.to_string()),
        ("average_fill_price", order.average_fill_price().map(|price| price.to_string()).unwrap_or_default()),
        ("version", state.version.to_string()),
        ("ends_us", order.ends_at().map(|at| at.micros().to_string()).unwrap_or_default()),
        ("parked", state.parked.to_string()),
    ]
}

impl Tables {
    pub(super) fn unpublished_control(&self, limit: u32) -> Vec<ControlEntry> {
        let unpublished =
            self.control_events.iter().filter(|entry| self.outbox_control.contains(&entry.number));
        unpublished.take(limit as usize).cloned().collect()
    }

    pub(super) fn risk_counters(&self, now: Timestamp) -> RiskCounters {
        let recent = |rates: &Vec<(Timestamp, u64)>| -> u64 {
            rates.iter().filter(|(at, _)| now.micros_since(*at) < 1_000_000).map(|(_, count)| count).sum()
        };
        let counted = self.rates.iter().map(|(scope, rates)| (scope.clone(), recent(rates)));
        RiskCounters {
            recent_orders: counted.filter(|(_, count)| *count > 0).collect(),
            sessions: self.sessions.clone(),
        }
    }
}
