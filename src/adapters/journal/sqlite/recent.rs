//! Orders as this process committed them last, so that the next transaction need not read them whole:
//! their version and epoch in the database say whether they still are so.

use std::collections::HashMap;

use crate::domain::ids::OrderId;
use crate::domain::ledger::{Ledger, OrderRecord};

/// Orders kept at most; when there are more, all are let go of.
const MAX_KEPT: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Recent {
    orders: HashMap<OrderId, OrderRecord>,
}

impl Recent {
    /// Keeps what a committed transaction left unfinished.
    pub(super) fn take(&mut self, mut ledger: Ledger) {
        if self.orders.len() > MAX_KEPT {
            self.orders.clear();
        }
        let changes = std::mem::take(&mut ledger.changes);
        for id in changes.new_orders.iter().chain(&changes.changed_orders) {
            match ledger.orders.remove(id) {
                Some(record) if !record.order.state.status.is_terminal() => {
                    drop(self.orders.insert(*id, record))
                }
                _ => drop(self.orders.remove(id)),
            }
        }
    }

    pub(super) fn get(&self, id: &OrderId) -> Option<&OrderRecord> {
        self.orders.get(id)
    }
}
