//! What an order counts for while it is worked: in which books, and how much of it.

use crate::planted::{self, Bug};

use super::amount::Quantity;
use super::order::Order;
use super::position::Book;
use super::status::Status;

impl Order {
    /// The books that its fills are added up in: its broker's account, and its strategy's where it names one.
    pub fn books(&self) -> impl Iterator<Item = Book> {
        let account = Book::account(self.broker.clone(), self.spec.symbol.clone());
        let strategy = self.spec.strategy().map(|id| Book { strategy: Some(id.into()), ..account.clone() });
        std::iter::once(account).chain(strategy)
    }

    /// It was sent or is about to be, and is not over.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.state.status.reserves()
    }

    /// The quantity of new terms that are asked for.
    #[must_use]
    pub fn asked_quantity(&self) -> Option<Quantity> {
        self.state.pending_replace.as_ref().and_then(|pending| pending.terms.quantity)
    }

    /// What may still fill, and is reserved against the position limit.
    #[must_use]
    pub fn reserved_quantity(&self) -> Quantity {
        let forgotten = planted::is(Bug::ReleaseOnTimeout) && self.state.status == Status::Submitted;
        if forgotten || !self.is_live() {
            return Quantity::ZERO;
        }
        // While new terms are asked for, either the old or the new ones may be in force.
        let total = self.asked_quantity().map_or(self.spec.quantity, |asked| asked.max(self.spec.quantity));
        total.saturating_sub(self.state.filled_quantity)
    }
}
