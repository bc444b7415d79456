//! The fold of the ledger: all that the exchange knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::amount::{self, Amount, Quantity};
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::market::Market;
use crate::domain::order_type::Side;
use crate::domain::time::Timestamp;

use super::super::message::Placement;
use super::super::transaction::{PriceTerms, Record, Transaction, TransactionType};
use super::placed::Placed;

/// A record that does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    #[error("transaction {id} follows transaction {last}")]
    Gap { id: u64, last: u64 },
    #[error("transaction {id} {why}")]
    Unfit { id: u64, why: &'static str },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    /// In the sequence of their arrival: `x-1` is the first.
    pub(super) orders: Vec<Placed>,
    pub(super) clients: BTreeMap<ClientOrderId, Client>,
    /// Client order ids in the sequence in which they were first used.
    pub(super) arrivals: Vec<ClientOrderId>,
    /// Indices of the open orders, the oldest first.
    pub(super) open: BTreeMap<Symbol, BTreeSet<usize>>,
    /// Open orders that time will end, by when.
    pub(super) ending: BTreeSet<(i64, usize)>,
    /// What all trades of a symbol come to, long positive.
    pub(super) positions: BTreeMap<Symbol, Amount>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) trades: u64,
    /// Indices of the orders, by the ids of their trades.
    pub(super) traded: BTreeMap<String, usize>,
    /// Markets that were set; the others are the configuration's.
    pub(super) markets: BTreeMap<Symbol, Market>,
    /// What trades took of the size that a market offers: `Buy` took of the ask.
    pub(super) spent: BTreeMap<(Symbol, Side), Quantity>,
    pub(super) time_us: i64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Client {
    /// Indices of the orders that were placed under this id.
    pub(super) generations: Vec<usize>,
    pub(super) posts: u64,
}

impl State {
    /// Takes over a line of the ledger.
    pub(super) fn replay(&mut self, record: &Record) -> Result<(), BookError> {
        self.time_us = self.time_us.max(record.time_us);
        if let Some(client_order_id) = &record.post {
            self.count_post(client_order_id);
        }
        self.set_prices(&record.prices, Timestamp::from_micros(record.time_us));
        for transaction in &record.transactions {
            self.apply(transaction, record.order.as_ref())?;
        }
        Ok(())
    }

    pub(super) fn count_post(&mut self, client_order_id: &ClientOrderId) {
        self.client(client_order_id).posts += 1;
    }

    pub(super) fn set_prices(&mut self, prices: &BTreeMap<Symbol, PriceTerms>, now: Timestamp) {
        for (symbol, terms) in prices {
            self.markets.insert(symbol.clone(), terms.market(now));
            for side in [Side::Buy, Side::Sell] {
                self.spent.remove(&(symbol.clone(), side));
            }
        }
    }

    /// `placement`: of the order that an `Accepted` or `Rejected` makes.
    pub(super) fn apply(
        &mut self,
        transaction: &Transaction,
        placement: Option<&Placement>,
    ) -> Result<(), BookError> {
        let id = transaction.id;
        let last = self.last_id();
        if id != last + 1 {
            return Err(BookError::Gap { id, last });
        }
        let unfit = |why| BookError::Unfit { id, why };
        let index = match transaction.kind {
            TransactionType::Accepted | TransactionType::Rejected => {
                let placement = placement.ok_or_else(|| unfit("has no order"))?;
                if placement.client_order_id != transaction.client_order_id {
                    return Err(unfit("is about another order than its record"));
                }
                self.place(placement.clone(), transaction.time_us)
            }
            TransactionType::Trade
            | TransactionType::Cancelled
            | TransactionType::Expired
            | TransactionType::Replaced
            | TransactionType::Trailed
            | TransactionType::Triggered
            | TransactionType::TradeCorrected
            | TransactionType::TradeBusted => self
                .index_of(&transaction.order_id)
                .ok_or_else(|| unfit("is about an order that does not exist"))?,
        };
        let order = self.orders.get_mut(index).ok_or_else(|| unfit("is about no order"))?;
        if order.order_id() != transaction.order_id {
            return Err(unfit("has an order_id out of sequence"));
        }
        let filled = order.filled;
        order.apply(transaction).map_err(unfit)?;
        let (symbol, side, is_open) = (order.placement.symbol.clone(), order.placement.side, order.is_open());
        let moved = amount::sub(order.filled.get(), filled.get()).map(|moved| side.signed(moved));
        let ends_us = order.ends_at().map(|at| at.micros());
        let position = self.positions.entry(symbol.clone()).or_insert(Amount::ZERO);
        *position = moved
            .and_then(|moved| position.checked_add(Amount::of(moved)))
            .ok_or_else(|| unfit("makes a position with too many digits"))?;
        if let Some(trade) = transaction.trade.as_ref().filter(|_| transaction.kind == TransactionType::Trade)
        {
            self.trades += 1;
            self.traded.insert(trade.trade_id.clone(), index);
            let spent = self.spent.entry((symbol.clone(), side)).or_default();
            *spent = spent.checked_add(trade.quantity).unwrap_or(*spent);
        }
        let open = self.open.entry(symbol).or_default();
        if is_open {
            open.insert(index);
        } else {
            open.remove(&index);
        }
        if let Some(ends_us) = ends_us {
            if is_open {
                self.ending.insert((ends_us, index));
            } else {
                self.ending.remove(&(ends_us, index));
            }
        }
        self.transactions.push(transaction.clone());
        Ok(())
    }

    fn place(&mut self, placement: Placement, time_us: i64) -> usize {
        let index = self.orders.len();
        self.client(&placement.client_order_id).generations.push(index);
        self.orders.push(Placed::new(index as u64 + 1, placement, Timestamp::from_micros(time_us)));
        index
    }

    fn client(&mut self, client_order_id: &ClientOrderId) -> &mut Client {
        if !self.clients.contains_key(client_order_id) {
            self.arrivals.push(client_order_id.clone());
        }
        self.clients.entry(client_order_id.clone()).or_default()
    }

    fn index_of(&self, order_id: &str) -> Option<usize> {
        let number: usize = order_id.strip_prefix("x-")?.parse().ok()?;
        number.checked_sub(1).filter(|index| *index < self.orders.len())
    }

    pub(super) fn last_id(&self) -> u64 {
        self.transactions.last().map_or(0, |transaction| transaction.id)
    }

    /// The orders under an id, the newest first.
    pub(super) fn generations(
        &self,
        client_order_id: &ClientOrderId,
    ) -> impl Iterator<Item = (usize, &Placed)> {
        let indices = self.clients.get(client_order_id).map_or(&[][..], |client| &client.generations);
        indices.iter().rev().filter_map(|index| Some((*index, self.orders.get(*index)?)))
    }
}
