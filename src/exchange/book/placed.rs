//! One order of the book: the fold of its transactions.

use uuid::Uuid;

use crate::domain::amount::{Price, Quantity};
use crate::domain::event::{EventKind, OrderEvent};
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
    /// As it was sent; what is in force stands in `quantity` and `price`.
    pub(super) placement: Placement,
    pub(super) quantity: Quantity,
    pub(super) price: Option<Price>,
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
    pub(super) fn new(number: u64, placement: Placement) -> Self {
        Self {
            number,
            quantity: placement.quantity,
            price: placement.order_type.limit_price(),
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

    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), Unfit> {
        let first = matches!(transaction.kind, TransactionType::Accepted | TransactionType::Rejected);
        if first != self.history.is_empty() || !self.is_open() {
            return Err("cannot happen to its order as it stands");
        }
        match transaction.kind {
            TransactionType::Accepted => {}
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
            TransactionType::Replaced => {
                let quantity = transaction.quantity.ok_or("has no quantity")?;
                let replace_id = transaction.replace_id.clone().ok_or("has no replace_id")?;
                if quantity <= self.filled {
                    return Err("takes away what was filled");
                }
                self.quantity = quantity;
                self.price = transaction.price;
                self.replace_ids.push(replace_id);
            }
        }
        self.history.push(transaction.id);
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
        let mut then = Self::new(self.number, self.placement.clone());
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
        let order_type = self.price.map_or(OrderType::Market, |price| OrderType::Limit { price });
        let spec = OrderSpec {
            id: OrderId(Uuid::from_u128(u128::from(self.number))),
            client_order_id: placement.client_order_id.clone(),
            symbol: placement.symbol.clone(),
            side: placement.side,
            quantity: self.quantity,
            order_type,
            time_in_force: placement.time_in_force,
            broker: Some(broker),
            conditions: Vec::new(),
            parent_order_id: None,
            linked_orders: Vec::new(),
            execution_instructions: ExecutionInstructions {
                post_only: placement.post_only,
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
            timestamp: Timestamp::from_micros(0),
            kind: EventKind::Created(Box::new(spec)),
        })
        .ok()?;
        order.state.status = Status::PendingSubmit;
        order.state.filled_quantity = self.filled;
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
            price: self.price,
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
            price: self.price,
            executions: self.trades.iter().map(execution).collect(),
        }
    }
}
