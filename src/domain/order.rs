//! An order: what was asked for, and the fold of its events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::amount::{self, Amount, Price, Quantity};
use super::event::{Deadline, EventKind, OrderEvent, Terms, Trail};
use super::ids::{BrokerName, ClientOrderId, OrderId, Symbol};
use super::order_type::{Condition, ExecutionInstructions, OrderType, Side, TimeInForce};
use super::refusal::Refusal;
use super::status::{self, InvalidTransition, Status, Step};
use super::time::Timestamp;
use super::trade::TradeChange;

/// What was asked for: the fields of an order that a producer may give. Never changes, but by a replace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderSpec {
    pub id: OrderId,
    pub client_order_id: ClientOrderId,
    pub symbol: Symbol,
    pub side: Side,
    pub quantity: Quantity,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    /// As asked for in a request; as routed in a journaled order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_order_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked_orders: Vec<String>,
    #[serde(default, skip_serializing_if = "ExecutionInstructions::is_default")]
    pub execution_instructions: ExecutionInstructions,
    /// Percent of the reference price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_slippage: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_size_check: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub metadata: Option<serde_json::Value>,
}

/// SHA-256 of a request's content: two requests with the same one ask for the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl ContentHash {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl OrderSpec {
    /// The hash of what was asked for, the order's own id aside.
    pub fn content_hash(&self) -> Result<ContentHash, serde_json::Error> {
        let nameless = Self { id: OrderId(uuid::Uuid::nil()), ..self.clone() };
        serde_json::to_vec(&nameless).map(|bytes| ContentHash::of(&bytes))
    }

    /// Whose it is, where it says so; an empty name is none.
    #[must_use]
    pub fn strategy(&self) -> Option<&str> {
        self.strategy_id.as_deref().filter(|id| !id.is_empty())
    }

    /// What it comes to for the market: the same for two orders that differ only in who asked for them, and as what.
    pub fn twin_hash(&self) -> Result<ContentHash, serde_json::Error> {
        let terms = (&self.symbol, self.side, self.quantity, &self.order_type, &self.time_in_force);
        serde_json::to_vec(&(terms, &self.broker, &self.strategy_id)).map(|bytes| ContentHash::of(&bytes))
    }
}

/// The newest events that an order's JSON lists; all of them are in the journal.
pub const LISTED_EVENTS: usize = 16;

/// What became of it: the fold of the order's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderState {
    pub status: Status,
    pub version: u64,
    /// Attempts to submit that were journaled.
    pub attempts: u32,
    /// The last of them, while neither answer nor proof has closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_attempt: Option<OpenAttempt>,
    /// Where the last attempt provably came to nothing: when another may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What became of it at the broker is not known and cannot be found out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
    pub broker_order_id: Option<String>,
    pub filled_quantity: Quantity,
    /// Σ price · quantity of the fills, in the quote currency.
    pub filled_notional: Amount,
    pub fills: u32,
    pub last_fill: Option<(Price, Timestamp)>,
    /// By asset; positive: paid.
    pub commissions: BTreeMap<String, Amount>,
    /// Their sum in the quote currency; `None` where a conversion is unknown.
    pub commission: Option<Amount>,
    pub pending_cancel: bool,
    pub pending_replace: Option<PendingReplace>,
    /// Version of the newest replace request that the broker carried out; 0: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u64,
    /// Of a trailing stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail: Option<Trail>,
    /// A conditional order: the price that it waited for was reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub triggered: bool,
    /// The worst price that the last attempt of a market order allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_price: Option<Price>,
    /// When the terms were changed last, by a replace that the broker carried out or by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_at: Option<Timestamp>,
    pub refusal: Option<Refusal>,
    /// How it had ended before late fills were told: `Cancelled`, `Expired` or `Rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_as: Option<Status>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Names of the newest events, the last of them that of `version`.
    pub events: Vec<Cow<'static, str>>,
}

/// An attempt to submit that neither answer nor proof has closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAttempt {
    pub number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    pub journaled_at: Timestamp,
}

/// New terms that the broker was asked for and that may be in force by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReplace {
    /// Version of the event that asked.
    pub number: u64,
    pub terms: Terms,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    pub asked_at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The broker account that works it: positions and limits are kept per broker.
    pub broker: BrokerName,
    pub spec: OrderSpec,
    pub state: OrderState,
}

/// An event that cannot be booked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("order {order}: {error}")]
    Transition { order: OrderId, error: InvalidTransition },
    #[error("order {order}: event version {found} does not follow version {current}")]
    Version { order: OrderId, current: u64, found: u64 },
    #[error("order {order}: a sum of fill {trade_id} has more digits than an amount can hold")]
    Overflow { order: OrderId, trade_id: String },
    #[error("the first event of an order must be Created, not {0}")]
    NotCreated(&'static str),
    #[error("order {0} was created without a broker")]
    NotRouted(OrderId),
}

impl Order {
    /// The order that a `Created` event makes.
    pub fn create(event: &OrderEvent) -> Result<Self, ApplyError> {
        let EventKind::Created(spec) = &event.kind else {
            return Err(ApplyError::NotCreated(event.kind.name()));
        };
        let mut order = Self {
            broker: spec.broker.clone().ok_or(ApplyError::NotRouted(spec.id))?,
            state: OrderState {
                status: Status::Created,
                version: 0,
                attempts: 0,
                open_attempt: None,
                retry_at: None,
                parked: false,
                broker_order_id: None,
                filled_quantity: Quantity::ZERO,
                filled_notional: Amount::ZERO,
                fills: 0,
                last_fill: None,
                commissions: BTreeMap::new(),
                commission: Some(Amount::ZERO),
                pending_cancel: false,
                pending_replace: None,
                replaced: 0,
                trail: None,
                triggered: false,
                worst_price: None,
                terms_at: None,
                refusal: None,
                ended_as: None,
                created_at: event.timestamp,
                updated_at: event.timestamp,
                events: Vec::with_capacity(8),
            },
            spec: (**spec).clone(),
        };
        if event.version != 1 {
            return Err(ApplyError::Version { order: spec.id, current: 0, found: event.version });
        }
        order.mark(event);
        Ok(order)
    }

    /// Folds a whole history.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a OrderEvent>) -> Result<Option<Self>, ApplyError> {
        let mut order: Option<Self> = None;
        for event in events {
            match &mut order {
                None => order = Some(Self::create(event)?),
                Some(order) => order.apply(event)?,
            }
        }
        Ok(order)
    }

    /// Books one event, wholly or not at all.
    pub fn apply(&mut self, event: &OrderEvent) -> Result<(), ApplyError> {
        let order = self.spec.id;
        if event.version != self.state.version + 1 {
            return Err(ApplyError::Version { order, current: self.state.version, found: event.version });
        }
        let booked = match event.kind.trade() {
            None => None,
            Some(trade) => Some(
                self.booked(&trade)
                    .ok_or_else(|| ApplyError::Overflow { order, trade_id: trade.trade_id.to_owned() })?,
            ),
        };
        let terms = match &event.kind {
            EventKind::Replaced(by) => Some(&by.terms),
            EventKind::Restated(by) => Some(&by.terms),
            _ => None,
        };
        let total = terms.and_then(|terms| terms.quantity).unwrap_or(self.spec.quantity);
        let filled = booked.as_ref().map_or(self.state.filled_quantity, |booked| booked.filled_quantity);
        // What is left must be exact too, or the reservation would be lost.
        let open = amount::sub(total.get(), filled.get())
            .ok_or_else(|| ApplyError::Overflow { order, trade_id: event.kind.name().to_owned() })?;
        let step = event.kind.step(open, filled).ok_or(ApplyError::Transition {
            order,
            error: InvalidTransition { status: self.state.status, step: Step::Validate },
        })?;
        let to = self.after(step).map_err(|error| ApplyError::Transition { order, error })?;
        let from = std::mem::replace(&mut self.state.status, to);
        if to != from && matches!(from, Status::Cancelled | Status::Expired | Status::Rejected) {
            self.state.ended_as = Some(from);
        }
        if let Some(booked) = booked {
            self.state.filled_quantity = booked.filled_quantity;
            self.state.filled_notional = booked.filled_notional;
            self.state.commissions = booked.commissions;
            self.state.commission = booked.commission;
            self.state.fills += u32::from(matches!(event.kind, EventKind::Fill(_)));
        }
        self.note(event);
        if !matches!(to, Status::PendingSubmit | Status::Submitted) {
            // The broker has spoken: there is nothing to find out about the attempt any more.
            self.state.open_attempt = None;
            self.state.retry_at = None;
            self.state.parked &= self.state.pending_replace.is_some();
        }
        if to.is_terminal() {
            self.state.pending_cancel = false;
            self.state.pending_replace = None;
            self.state.parked = false;
        }
        self.mark(event);
        Ok(())
    }

    /// Where `step` takes it. What a wrong trade opens ends again at once where the order had ended before late fills
    /// completed it.
    fn after(&self, step: Step) -> Result<Status, InvalidTransition> {
        let to = status::next(self.state.status, step)?;
        match self.state.ended_as {
            Some(Status::Cancelled) if !to.is_terminal() => status::next(to, Step::Cancel),
            Some(Status::Expired) if !to.is_terminal() => status::next(to, Step::Expire),
            // What of it was executed denies the rejection; with nothing executed it stands again.
            Some(Status::Rejected) if step == Step::UnfillAll => status::next(to, Step::Reject),
            _ => Ok(to),
        }
    }

    fn note(&mut self, event: &OrderEvent) {
        match &event.kind {
            EventKind::Created(_)
            | EventKind::Validated
            | EventKind::Cancelled(_)
            | EventKind::Expired(_) => {}
            EventKind::TradeCorrected(by) => self.revise_last_fill(by.was.price, Some(by.now.price)),
            EventKind::TradeBusted(by) => {
                if let Some(was) = &by.was {
                    self.revise_last_fill(was.price, None);
                }
            }
            EventKind::Trailed(trail) => self.state.trail = Some(*trail),
            EventKind::Triggered(_) => self.state.triggered = true,
            EventKind::Restated(by) => {
                self.state.terms_at = Some(by.restated_at);
                self.spec.take(&by.terms);
            }
            EventKind::PendingSubmit(attempt) => {
                self.state.worst_price = attempt.limit_price;
                self.state.attempts = attempt.attempt;
                self.state.retry_at = None;
                self.state.open_attempt = Some(OpenAttempt {
                    number: attempt.attempt,
                    deadline: attempt.deadline,
                    journaled_at: event.timestamp,
                });
            }
            EventKind::SubmitFailed(failure) => {
                self.state.open_attempt = None;
                self.state.retry_at = Some(failure.retry_at);
            }
            EventKind::Parked(_) => self.state.parked = true,
            EventKind::Resolved(_) => self.state.parked = false,
            EventKind::Submitted(submission) => {
                if let Some(id) = &submission.broker_order_id {
                    self.state.broker_order_id = Some(id.clone());
                }
            }
            EventKind::Acknowledged(ack) => self.state.broker_order_id = Some(ack.broker_order_id.clone()),
            EventKind::Fill(fill) => {
                // Fills arrive out of order: the last one is the latest by the broker's clock.
                if self.state.last_fill.is_none_or(|(_, at)| at <= fill.executed_at) {
                    self.state.last_fill = Some((fill.price, fill.executed_at));
                }
            }
            EventKind::CancelRequested(_) => self.state.pending_cancel = !self.state.status.is_terminal(),
            EventKind::CancelRefused(_) => self.state.pending_cancel = false,
            EventKind::ReplaceRequested(asked) => {
                self.state.pending_replace = (!self.state.status.is_terminal()).then(|| PendingReplace {
                    number: event.version,
                    terms: asked.terms.clone(),
                    deadline: asked.deadline,
                    asked_at: event.timestamp,
                });
            }
            EventKind::ReplaceRefused(_) => {
                self.state.pending_replace = None;
                self.state.parked &= self.state.open_attempt.is_some();
            }
            EventKind::Replaced(by) => {
                self.state.pending_replace.take_if(|pending| pending.number <= by.number);
                self.state.parked &= self.state.pending_replace.is_some();
                self.state.replaced = by.number;
                self.state.terms_at = self.state.terms_at.max(Some(event.timestamp));
                self.spec.take(&by.terms);
            }
            EventKind::Rejected(refusal) => self.state.refusal = Some(refusal.clone()),
        }
    }

    /// No price is shown at which nothing was executed.
    fn revise_last_fill(&mut self, was: Price, now: Option<Price>) {
        if let Some((_, at)) = self.state.last_fill.filter(|(price, _)| *price == was) {
            self.state.last_fill = now.map(|now| (now, at));
        }
    }

    fn mark(&mut self, event: &OrderEvent) {
        self.state.version = event.version;
        self.state.updated_at = self.state.updated_at.max(event.timestamp);
        if self.state.events.len() == LISTED_EVENTS {
            self.state.events.remove(0);
        }
        self.state.events.push(Cow::Borrowed(event.kind.name()));
    }

    /// The sums with one trade taken back and another booked in its place.
    fn booked(&self, trade: &TradeChange<'_>) -> Option<Booked> {
        let state = &self.state;
        let (mut quantity, mut notional) = (state.filled_quantity.get(), state.filled_notional);
        let (mut commissions, mut commission) = (state.commissions.clone(), state.commission);
        let was = trade.was.map(|(was, _)| (was, Decimal::NEGATIVE_ONE));
        let now = trade.now.map(|now| (now, Decimal::ONE));
        for (terms, sign) in was.into_iter().chain(now) {
            quantity = amount::add(quantity, sign * terms.quantity.get())?;
            let worth = amount::mul(terms.quantity.get(), terms.price.get())?;
            notional = notional.checked_add(Amount::of(sign * worth))?;
            if let Some(paid) = terms.commission {
                let sum = commissions.entry(paid.asset.clone()).or_insert(Amount::ZERO);
                *sum = sum.checked_add(Amount::of(sign * paid.amount.get()))?;
                commission = match (commission, paid.quote_value) {
                    (Some(sum), Some(value)) => Some(sum.checked_add(Amount::of(sign * value.get()))?),
                    _ => None,
                };
            }
        }
        let filled_quantity = Quantity::new(quantity).ok()?;
        Some(Booked { filled_quantity, filled_notional: notional, commissions, commission })
    }

    /// When time ends it; from that instant on nothing of it is executed.
    #[must_use]
    pub const fn ends_at(&self) -> Option<Timestamp> {
        self.spec.time_in_force.ends_at(self.state.created_at)
    }

    /// It waits for a price, and is not worked until that is reached.
    #[must_use]
    pub const fn awaits_trigger(&self) -> bool {
        self.spec.order_type.trigger().is_some() && !self.state.triggered
    }

    /// What was not executed; zero where more than the quantity was.
    #[must_use]
    pub fn remaining_quantity(&self) -> Quantity {
        self.spec.quantity.saturating_sub(self.state.filled_quantity)
    }

    /// Something is asked of the broker, or still to be, and nobody knows yet how it ends.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        let submitting = matches!(self.state.status, Status::PendingSubmit | Status::Submitted);
        !self.state.parked
            && (submitting || self.state.pending_cancel || self.state.pending_replace.is_some())
    }

    #[must_use]
    pub fn average_fill_price(&self) -> Option<Decimal> {
        if self.state.filled_quantity.is_zero() {
            return None;
        }
        amount::average(self.state.filled_notional.get(), self.state.filled_quantity.get())
    }
}

impl OrderSpec {
    /// Puts new terms in force.
    pub(super) fn take(&mut self, terms: &Terms) {
        if let Some(quantity) = terms.quantity {
            self.quantity = quantity;
        }
        self.order_type.reprice(terms.price, terms.stop_price);
    }
}

struct Booked {
    filled_quantity: Quantity,
    filled_notional: Amount,
    commissions: BTreeMap<String, Amount>,
    commission: Option<Amount>,
}
