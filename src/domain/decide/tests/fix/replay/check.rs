//! What must hold after each row, and once a case is over.

use rust_decimal::Decimal;

use super::super::super::*;
use super::super::data::{Pending, Row, Stand};
use super::super::words::ord_status;
use super::{Replay, Way};
use crate::domain::amount::Quantity;
use crate::domain::event::OrderEvent;

impl Replay<'_> {
    pub(super) fn check(&self, row: &Row, what: &str) {
        let expected = row.stands(self.case.asked_first).cloned();
        let found = self.order(&row.order).map(stand);
        let mut compared = expected.clone();
        if let Some(stand) = &mut compared {
            stand.position = None;
            if self.way == Way::Answers && stand.status == Status::Submitted {
                // The call is under way, and nobody knows yet whether it was made.
                (stand.status, stand.fix) = (Status::PendingSubmit, None);
            }
        }
        assert_eq!(found, compared, "{what}");
        let position = self.desk.position();
        let bought: Decimal = self.trades.values().map(|(quantity, _)| *quantity).sum();
        let paid: Decimal = self.trades.values().map(|(quantity, price)| quantity * price).sum();
        let average = (!bought.is_zero()).then(|| paid / bought);
        assert_eq!(
            (position.quantity.get(), position.average_price()),
            (bought, average),
            "{what}: position"
        );
        if let Some(held) = expected.and_then(|stand| stand.position) {
            let average = held.average.map(Price::get);
            assert_eq!(
                (bought, position.average_price()),
                (held.quantity.get(), average),
                "{what}: position"
            );
        }
        let orders = self.desk.ledger.orders.values();
        let reserved: Decimal = orders.map(|record| record.order.reserved_quantity().get()).sum();
        assert_eq!(position.reserved_buy.get(), reserved, "{what}: what is reserved");
    }

    /// Each order, folded anew from its events as they are written and read, is the one that is kept.
    pub(super) fn check_folds(&self) {
        for record in self.desk.ledger.orders.values() {
            let id = record.order.spec.id;
            let commits = self.desk.ledger.changes.commits.iter().filter(|commit| commit.order_id == id);
            let events: Vec<_> = commits.flat_map(|commit| commit.events.clone()).collect();
            let json = serde_json::to_string(&events).unwrap();
            let read: Vec<OrderEvent> = serde_json::from_str(&json).unwrap();
            assert_eq!(Order::fold(&read).unwrap().as_ref(), Some(&*record.order), "{}", self.case.name);
        }
    }
}

fn stand(order: &Order) -> Stand {
    let state = &order.state;
    assert!(!(state.pending_cancel && state.pending_replace.is_some()), "both are under way");
    let pending = if state.pending_cancel { Some(Pending::Cancel) } else { None };
    Stand {
        status: state.status,
        quantity: order.spec.quantity,
        filled: state.filled_quantity,
        open: if state.status.is_terminal() { Quantity::ZERO } else { order.remaining_quantity() },
        pending: pending.or(state.pending_replace.as_ref().map(|_| Pending::Replace)),
        fix: ord_status(order),
        position: None,
    }
}
