//! Orders as this process committed them last, so that the next transaction need not read them whole:
//! their version and epoch in the database say whether they still are so.

use std::collections::{BTreeSet, HashMap};

use crate::domain::ids::{ClientOrderId, OrderId, Symbol};
use crate::domain::ledger::{Keys, Ledger, OrderRecord};
use crate::domain::request::OrderRef;

/// Orders kept at most; when there are more, all are let go of.
const MAX_KEPT: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Recent {
    orders: HashMap<OrderId, OrderRecord>,
    by_client_id: HashMap<ClientOrderId, OrderId>,
}

impl Recent {
    /// Keeps what a committed transaction left unfinished.
    pub(super) fn take(&mut self, mut ledger: Ledger) {
        if self.orders.len() > MAX_KEPT {
            self.orders.clear();
            self.by_client_id.clear();
        }
        let changes = std::mem::take(&mut ledger.changes);
        for id in changes.new_orders.iter().chain(&changes.changed_orders) {
            match ledger.orders.remove(id) {
                Some(record) if !record.order.state.status.is_terminal() => {
                    self.by_client_id.insert(record.order.spec.client_order_id.clone(), *id);
                    self.orders.insert(*id, record);
                }
                _ => {
                    if let Some(ended) = self.orders.remove(id) {
                        self.by_client_id.remove(&ended.order.spec.client_order_id);
                    }
                }
            }
        }
    }

    pub(super) fn get(&self, id: &OrderId) -> Option<&OrderRecord> {
        self.orders.get(id)
    }

    /// What a transaction is about, as far as it is known before anything is read: the symbols of instruments that its
    /// inputs name, and of orders that this process committed last.
    pub(super) fn symbols(&self, keys: &Keys) -> BTreeSet<Symbol> {
        let named = keys.instruments.iter().map(|(_, symbol)| symbol);
        let resting = keys.resting.iter().map(|page| &page.symbol);
        let clients = keys.client_ids.iter().filter_map(|id| self.symbol(&OrderRef::Client(id.clone())));
        let orders = keys.orders.iter().filter_map(|id| self.symbol(&OrderRef::Order(*id)));
        let told = keys.with_trades.iter().filter_map(|order| self.symbol(order));
        named.chain(resting).chain(clients).chain(orders).chain(told).cloned().collect()
    }

    /// What an order trades, which never changes; `None`: it is not kept.
    fn symbol(&self, order: &OrderRef) -> Option<&Symbol> {
        let id = match order {
            OrderRef::Order(id) => id,
            OrderRef::Client(id) => self.by_client_id.get(id)?,
        };
        self.orders.get(id).map(|record| &record.order.spec.symbol)
    }
}
