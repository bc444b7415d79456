//! Pre-trade controls: each a pure function with its own code. What cannot be judged is refused.

pub mod controls;
mod limits;
mod order;
mod scope;
mod sums;

use std::sync::Arc;

use super::amount::Quantity;
use super::contract::Contract;
use super::ids::ClientOrderId;
use super::instrument::Instrument;
use super::market::Market;
use super::order::{Order, OrderSpec};
use super::position::Position;
use super::refusal::{Code, Refusal};
use super::status::Status;
use super::time::Timestamp;
use super::trading_state::{Scope, Switch};

pub use limits::{ANY, Limit, LimitRow, Limits, OptionalLimits};
pub use order::{expected_price, price_move_breach, resting_price, slippage_bound};
pub use scope::daily_loss_breach;
pub use sums::{BookValue, Sums};

/// Something that passed every control. Only such an order can be given to a broker.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskApproved<T>(T);

impl<T> RiskApproved<T> {
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl<'a> RiskApproved<&'a Order> {
    /// An order whose attempt was journaled was approved in that transaction.
    #[must_use]
    pub fn journaled(order: &'a Order) -> Option<Self> {
        matches!(order.state.status, Status::PendingSubmit | Status::Submitted).then_some(Self(order))
    }

    /// An order whose new terms were journaled was approved with them in that transaction.
    #[must_use]
    pub fn replacing(order: &'a Order, number: u64) -> Option<Self> {
        order
            .state
            .pending_replace
            .as_ref()
            .is_some_and(|pending| pending.number == number)
            .then_some(Self(order))
    }
}

/// What an order is judged by.
#[derive(Debug)]
pub struct RiskView<'a> {
    /// Every switch that the order is under, with the position that it may shrink there.
    pub switches: Vec<(&'a Switch, Position)>,
    /// Every row of limits that the order is under, its symbol's first; without any nothing is traded.
    pub rows: Vec<RowView<'a>>,
    pub market: &'a Market,
    pub instrument: Option<&'a Instrument>,
    pub contract: &'a Contract,
    /// Its money can be told in the account's currency.
    pub has_rate: bool,
    /// Of the account, in the order's symbol.
    pub position: &'a Position,
    /// The order counts among the open ones already.
    pub is_counted: bool,
    /// What may still fill of the order, and is not reserved yet.
    pub open_quantity: Quantity,
    /// Another order that asked for the same a moment ago, and when.
    pub same_content: Option<(ClientOrderId, Timestamp)>,
    /// An open order of the other side that this one would trade against.
    pub would_trade_with: Option<ClientOrderId>,
    pub now: Timestamp,
    pub max_quote_age_us: i64,
}

/// One row of limits and what it has to go by.
#[derive(Debug)]
pub struct RowView<'a> {
    pub row: &'a LimitRow,
    pub scope: Scope,
    /// In the order's symbol, without what the order itself reserves.
    pub position: Position,
    /// Over all books of the scope, without the order itself.
    pub sums: Sums,
    /// Risk-carrying requests in the second that ends now; `None`: this one was counted before.
    pub recent_orders: Option<u64>,
    /// The lowest and the highest reference price within the window of the moving collar.
    pub price_range: Option<(rust_decimal::Decimal, rust_decimal::Decimal)>,
}

/// A limit that was exceeded by what happened, not by an order: it stops its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub scope: Scope,
    pub code: Code,
    pub why: String,
    /// For the moving collar, how long it stops the symbol.
    pub pause_ms: Option<u64>,
}

/// The judgement; whether it counts in the order rate is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub refusal: Option<Refusal>,
    pub counts_in_rate: bool,
    pub breaches: Vec<Breach>,
}

/// Judges an order by every control. Of several rows every one must let it pass, so that the strictest holds.
#[must_use]
pub fn judge(order: &OrderSpec, view: &RiskView<'_>) -> Judgement {
    let breaches: Vec<Breach> = view.rows.iter().filter_map(|row| breach(order, row)).collect();
    let refused =
        |refusal| Judgement { refusal: Some(refusal), counts_in_rate: true, breaches: breaches.clone() };
    if let Err(refusal) = scope::trading_state(order, view) {
        return refused(refusal);
    }
    if view.rows.is_empty() {
        return refused(order::no_limits(&order.symbol));
    }
    if let Some(refusal) = view.rows.iter().find_map(|row| scope::order_rate(order, row)) {
        return Judgement { counts_in_rate: false, ..refused(refusal) };
    }
    match judge_content(order, view) {
        Ok(()) => Judgement { refusal: None, counts_in_rate: true, breaches },
        Err(refusal) => refused(refusal),
    }
}

fn judge_content(order: &OrderSpec, view: &RiskView<'_>) -> Result<(), Refusal> {
    let each = |control: fn(&OrderSpec, &RowView<'_>, &RiskView<'_>) -> Result<(), Refusal>| {
        view.rows.iter().try_for_each(|row| control(order, row, view))
    };
    each(order::permission)?;
    order::market_state(order, view)?;
    order::stale_price(order, view)?;
    let reference = view.market.reference().ok_or_else(|| order::no_reference_price(&order.symbol))?;
    let price = expected_price(order, view.market).ok_or_else(|| order::no_reference_price(&order.symbol))?;
    order::rate_of_exchange(order, view)?;
    each(order::price_move)?;
    each(order::quantity)?;
    view.rows.iter().try_for_each(|row| order::notional(order, row, view, price))?;
    view.rows.iter().try_for_each(|row| order::price_collar(order, row, view, reference))?;
    order::duplicate(order, view)?;
    order::self_trade(order, view)?;
    each(scope::worst_case_position)?;
    each(scope::open_orders)?;
    each(scope::daily_loss)?;
    view.rows.iter().try_for_each(|row| scope::exposure(order, row, view, reference))
}

/// What a row shows to be exceeded already, whatever becomes of the order.
fn breach(order: &OrderSpec, row: &RowView<'_>) -> Option<Breach> {
    let range = || row.price_range.and_then(|range| price_move_breach(&order.symbol, row.row, range));
    daily_loss_breach(row.row, &row.scope, &row.sums, order.symbol.as_str()).or_else(range)
}

/// The contract of a symbol, plain where nothing else is known of it.
#[must_use]
pub fn contract_or_plain(contract: Option<&Arc<Contract>>) -> &Contract {
    contract.map_or(&Contract::PLAIN, |contract| contract)
}
