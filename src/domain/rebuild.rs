//! Books added up anew from the events of all orders: what a journal's own must be equal to.

use std::collections::BTreeMap;

use super::amount::Quantity;
use super::event::OrderEvent;
use super::order::Order;
use super::order_type::Side;
use super::position::{Book, Position};
use super::trade::TradeChange;

/// Books of which all orders are being read, in any sequence.
#[derive(Debug, Default)]
pub struct Rebuild(BTreeMap<Book, Parts>);

#[derive(Debug)]
struct Parts {
    /// Fills, corrections and busts, each with the side of its order.
    trades: Vec<(Side, OrderEvent)>,
    /// Its reservations, before the trades are booked.
    reserved: Position,
}

/// A book as its events say.
#[derive(Debug)]
pub struct Rebuilt {
    pub book: Book,
    /// `None`: its trades cannot be added up exactly.
    pub position: Option<Position>,
    /// The first trade that is not in its place, and the place that it should have.
    pub misplaced: Option<String>,
}

impl Rebuild {
    /// `order` is the fold of `events`. `None` where its reservation cannot be added.
    #[must_use]
    pub fn add(&mut self, order: &Order, events: &[OrderEvent]) -> Option<()> {
        let trades = events.iter().filter(|event| event.kind.trade().is_some());
        let trades: Vec<&OrderEvent> = trades.collect();
        for book in order.books() {
            let parts =
                self.0.entry(book).or_insert_with(|| Parts { trades: Vec::new(), reserved: Position::FLAT });
            parts.trades.extend(trades.iter().map(|event| (order.spec.side, (*event).clone())));
            parts.reserved.reserve(order.spec.side, Quantity::ZERO, order.reserved_quantity())?;
            parts.reserved.open_orders += u64::from(order.is_live());
        }
        Some(())
    }

    /// By book.
    pub fn finish(self) -> impl Iterator<Item = Rebuilt> {
        self.0.into_iter().map(|(book, parts)| {
            let changes = parts.trades.iter().filter_map(|(side, event)| Some((*side, event.kind.trade()?)));
            let mut changes: Vec<(Side, TradeChange<'_>)> = changes.collect();
            changes.sort_by_key(|(_, change)| change.position_sequence);
            // Those of a strategy leave out the places of others.
            let whole = book.strategy.is_none();
            let mut places = changes.iter().zip(1..).filter(|_| whole);
            let misplaced = places.find(|((_, change), n)| change.position_sequence != *n);
            let misplaced = misplaced.map(|((_, change), n)| {
                format!("trade {} is number {}, expected {n}", change.trade_id, change.position_sequence)
            });
            let added = changes
                .iter()
                .try_fold(parts.reserved, |position, (side, change)| position.booked(*side, change));
            Rebuilt { book, position: added, misplaced }
        })
    }
}
