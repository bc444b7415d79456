//! One order of the book: the fold of its transactions.

use uuid::Uuid;

use crate::domain::amount::Quantity;
use crate::domain::event::{EventKind, OrderEvent, Trail};
use crate::domain::ids::{BrokerName, OrderId};
use crate::domain::order::{Order, OrderSpec};
use crate::domain::order_type::{ExecutionInstructions, OrderType};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

use super::super::message::{Execution, Generation, OrderStatus, OrderView, Placement};
use super::super::transaction::{Trade, Transaction, TransactionType};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    /// Counts the orders of the book from 1.
    pub(super) number: u64,
    /// As it was sent; what is in force stands in `quantity` and `order_type`.
    pub(super) placement: Placement,
    /// When it was accepted, or is about to be.
    pub(super) placed_us: i64,
    pub(super) quantity: Quantity,
    pub(super) order_type: OrderType,
    pub(super) trail: Option<Trail>,
    pub(super) triggered: bool,
    pub(super) filled: Quantity,
    pub(super) status: OrderStatus,
    pub(super) reason: Option<String>,
    /// Replaces that were carried out, in their order.
    pub(super) replace_ids: Vec<String>,
    pub(super) trades: Vec<Trade>,
    /// Ids of its transactions.
    pub(super) history: Vec<u64>,
}

/// A transaction that cannot be booked on its order.
pub(super) type Unfit = &'static str;

impl Placed {
    pub(super) fn new(number: u64, placement: Placement, placed: Timestamp) -> Self {
        Self {
            number,
            placed_us: placed.micros(),
            quantity: placement.quantity,
            order_type: placement.order_type.clone(),
            trail: None,
            triggered: false,
            placement,
            filled: Quantity::ZERO,
            status: OrderStatus::Open,
            reason: None,
            replace_ids: Vec::new(),
            trades: Vec::new(),
            history: Vec::new(),
        }
    }

    pub(super) fn order_id(&self) -> String {
        format!("x-{}", self.number)
    }

    pub(super) fn is_open(&self) -> bool {
        self.status == OrderStatus::Open
    }

    /// When time ends it.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.placement.time_in_force.ends_at(Timestamp::from_micros(self.placed_us))
    }

    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), Unfit> {
        let first = matches!(transaction.kind, TransactionType::Accepted | TransactionType::Rejected);
        let revises =
            matches!(transaction.kind, TransactionType::TradeCorrected | TransactionType::TradeBusted);
        if first != self.history.is_empty() || !(self.is_open() || revises) {
            return Err("cannot happen to its order as it stands");
        }
        match transaction.kind {
            TransactionType::Accepted => self.placed_us = transaction.time_us,
            TransactionType::Rejected => self.end(OrderStatus::Rejected, transaction),
            TransactionType::Cancelled => self.end(OrderStatus::Cancelled, transaction),
            TransactionType::Expired => self.end(OrderStatus::Expired, transaction),
            TransactionType::Trade => {
                let trade = transaction.trade.as_ref().ok_or("has no trade")?;
                let (filled, leaves) =
                    self.after(trade.quantity).ok_or("trades more than its order leaves")?;
                self.filled = filled;
                self.trades.push(trade.clone());
                if leaves.is_zero() {
                    self.status = OrderStatus::Filled;
                }
            }
            TransactionType::TradeCorrected | TransactionType::TradeBusted => {
                self.revise(transaction.trade.as_ref().ok_or("has no trade")?)?;
            }
            TransactionType::Trailed => self.trail = Some(transaction.trail.ok_or("has no trail")?),
            TransactionType::Triggered => self.triggered = true,
            TransactionType::Replaced => {
                let quantity = transaction.quantity.ok_or("has no quantity")?;
                let replace_id = transaction.replace_id.clone().ok_or("has no replace_id")?;
                if quantity <= self.filled {
                    return Err("takes away what was filled");
                }
                self.quantity = quantity;
                self.order_type.reprice(transaction.price, transaction.stop_price);
                self.replace_ids.push(replace_id);
            }
        }
        self.history.push(transaction.id);
        Ok(())
    }

    /// A trade is another, or was taken back: what it had filled is open again, where the order had ended by being filled.
    pub(super) fn revise(&mut self, revised: &Trade) -> Result<(), Unfit> {
        let trade = self.trades.iter_mut().find(|trade| trade.trade_id == revised.trade_id);
        let trade = trade.ok_or("revises a trade that its order does not have")?;
        let rest = self.filled.checked_sub(trade.counts()).ok_or("takes back more than was filled")?;
        let filled = rest.checked_add(revised.counts()).ok_or("fills more than can be counted")?;
        let leaves = self.quantity.checked_sub(filled).ok_or("fills more than its order's quantity")?;
        *trade = revised.clone();
        self.filled = filled;
        self.status = match self.status {
            OrderStatus::Open | OrderStatus::Filled if leaves.is_zero() => OrderStatus::Filled,
            OrderStatus::Open | OrderStatus::Filled => OrderStatus::Open,
            ended => ended,
        };
        Ok(())
    }

    fn end(&mut self, status: OrderStatus, transaction: &Transaction) {
        self.status = status;
        self.reason.clone_from(&transaction.reason);
    }

    /// The filled and the open quantity after a fill; `None` where it is too much or not exact.
    pub(super) fn after(&self, fill: Quantity) -> Option<(Quantity, Quantity)> {
        let filled = self.filled.checked_add(fill)?;
        Some((filled, self.quantity.checked_sub(filled)?))
    }

    /// As it stood at that moment; `None` where it did not exist.
    pub(super) fn as_of(&self, moment: Timestamp, transactions: &[Transaction]) -> Option<Self> {
        let placed = Timestamp::from_micros(self.placed_us);
        let mut then = Self::new(self.number, self.placement.clone(), placed);
        let of_id = |id: &u64| transactions.get(usize::try_from(id.checked_sub(1)?).ok()?);
        for transaction in self.history.iter().filter_map(of_id) {
            if transaction.time_us > moment.micros() {
                break;
            }
            then.apply(transaction).ok()?;
        }
        (!then.history.is_empty()).then_some(then)
    }

    /// The same in the terms of `domain::venue`. It stands where an order stands that is handed to a
    /// broker: what an exchange receives is past its sender's risk controls.
    pub(super) fn order(&self) -> Option<Order> {
        let broker: BrokerName = "exchange".parse().ok()?;
        let placement = &self.placement;
        let spec = OrderSpec {
            id: OrderId(Uuid::from_u128(u128::from(self.number))),
            client_order_id: placement.client_order_id.clone(),
            symbol: placement.symbol.clone(),
            side: placement.side,
            quantity: self.quantity,
            order_type: self.order_type.clone(),
            time_in_force: placement.time_in_force,
            broker: Some(broker),
            conditions: Vec::new(),
            parent_order_id: None,
            linked_orders: Vec::new(),
            execution_instructions: ExecutionInstructions {
                post_only: placement.post_only,
                reduce_only: placement.reduce_only,
                ..ExecutionInstructions::default()
            },
            max_slippage: None,
            position_size_check: None,
            strategy_id: None,
            signal_id: None,
            component_name: None,
            metadata: None,
        };
        let mut order = Order::create(&OrderEvent {
            event_id: Uuid::nil(),
            version: 1,
            timestamp: Timestamp::from_micros(self.placed_us),
            kind: EventKind::Created(Box::new(spec)),
        })
        .ok()?;
        order.state.status = Status::PendingSubmit;
        order.state.filled_quantity = self.filled;
        order.state.worst_price = placement.worst_price;
        order.state.triggered = self.triggered;
        order.state.trail = self.trail;
        order.state.fills = u32::try_from(self.trades.len()).ok()?;
        Some(order)
    }

    pub(super) fn view(&self) -> OrderView {
        OrderView {
            client_order_id: self.placement.client_order_id.clone(),
            order_id: self.order_id(),
            symbol: self.placement.symbol.clone(),
            side: self.placement.side,
            quantity: self.quantity,
            order_type: self.order_type.clone(),
            time_in_force: self.placement.time_in_force,
            price: self.order_type.limit_price(),
            stop_price: self.order_type.stop_price(),
            triggered: self.triggered,
            trail: self.trail,
            filled_quantity: self.filled,
            status: self.status,
            reason: self.reason.clone(),
            replace_id: self.replace_ids.last().cloned(),
            trades: self.trades.clone(),
        }
    }

    pub(super) fn generation(&self) -> Generation {
        let execution = |trade: &Trade| Execution {
            trade_id: trade.trade_id.clone(),
            quantity: trade.quantity,
            price: trade.price,
        };
        Generation {
            order_id: self.order_id(),
            status: self.status,
            quantity: self.quantity,
            filled_quantity: self.filled,
            price: self.order_type.limit_price(),
            executions: self.trades.iter().filter(|trade| trade.busted_us.is_none()).map(execution).collect(),
        }
    }
}
