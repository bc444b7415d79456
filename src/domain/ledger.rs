//! The part of the journal that one transaction works on: what was loaded, and what is to be appended.
//!
//! A journal fills it, `decide` works on it, the journal writes what it holds as changed. Nothing here
//! is seen by anybody before that transaction is durable.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use super::amount::Amount;
use super::event::{EventKind, OrderEvent};
use super::ids::{BrokerName, ClientOrderId, IdSource, OrderId, RequestKey, Symbol};
use super::order::{ApplyError, ContentHash, Order};
use super::order_type::Side;
use super::position::Position;
use super::request::{CancelFilter, OrderRef, Outcome, RequestKind};
use super::risk::LimitRow;
use super::status::Status;
use super::time::Timestamp;
use super::venue::Spent;

/// What a decision needs to be loaded before it can be made.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    pub client_ids: Vec<ClientOrderId>,
    pub orders: Vec<OrderId>,
    /// Requests that may be known already.
    pub requests: Vec<RequestKey>,
    /// Entries whose order is wanted, whatever its ids.
    pub entries: Vec<RequestKey>,
    pub instruments: Vec<(BrokerName, Symbol)>,
    /// Orders whose trades must be compared with what the broker tells.
    pub with_trades: Vec<OrderRef>,
    /// Every order that is not terminal and that one of these means, where its request is not known yet.
    pub matching: Vec<(RequestKey, CancelFilter)>,
    /// Pages of the orders that rest in the journal for the embedded venue.
    pub resting: Vec<RestingPage>,
}

#[derive(Debug, Clone)]
pub struct RestingPage {
    pub broker: BrokerName,
    pub symbol: Symbol,
    /// Admission number of the last order of the page before; 0: from the start.
    pub after: u64,
    pub limit: u32,
}

/// An order as the journal keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderRecord {
    pub order: Arc<Order>,
    /// Counts orders in the sequence in which they were admitted; 0 until the journal gave it.
    pub admission: u64,
    /// The request that made it.
    pub request: RequestKey,
    pub request_hash: ContentHash,
    /// Of what was asked for, to tell a repeat from another order under the same id.
    pub content_hash: ContentHash,
    /// The request that made it has its outcome.
    pub answered: bool,
    pub lease: Lease,
}

impl OrderRecord {
    /// Somebody has to do something yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.answered || self.order.is_undecided()
    }
}

/// Who may decide about an order. Judged by the journal's own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub owner: Arc<str>,
    /// Raised with each takeover.
    pub epoch: u64,
    pub until: Timestamp,
}

/// A command as the journal remembers it.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    pub key: RequestKey,
    pub hash: ContentHash,
    pub kind: RequestKind,
    pub order_id: Option<OrderId>,
    /// The version of the event that journaled its attempt; `None`: it made none.
    pub attempt_version: Option<u64>,
    pub received_at: Timestamp,
    /// It has no outcome yet.
    pub open: bool,
}

/// An order that a `cancel_all` means.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub order_id: OrderId,
    pub client_order_id: ClientOrderId,
    /// Known how it ended.
    pub settled: bool,
    /// Why it was not cancelled.
    pub refusal: Option<String>,
}

/// Something about to be asked of a broker, journaled before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    pub order_id: OrderId,
    pub kind: AttemptKind,
    /// Submit: the attempt's number. Cancel, replace: the version of the event that asked for it.
    pub number: u64,
    pub epoch: u64,
    pub journaled_at: Timestamp,
    pub answer: Option<Answered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptKind {
    Submit,
    Cancel,
    Replace,
}

impl AttemptKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Replace => "replace",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub at: Timestamp,
    /// `accepted`, `rejected`, `not_sent`, `unknown`, `parked` or `resolved`.
    pub answer: &'static str,
}

/// Something that a broker has and the journal has not, or otherwise: written down, never guessed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub broker: BrokerName,
    /// `external_order`, `external_fill`, `unknown_to_broker`, `cannot_be_booked` …
    pub kind: &'static str,
    /// What tells it from others of its kind: told twice, it is written once.
    pub key: String,
    pub details: String,
}

/// A fill in the table of trades.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeRecord {
    pub broker: BrokerName,
    pub symbol: Symbol,
    pub order_id: OrderId,
    pub side: Side,
    pub fill: super::event::Fill,
}

/// What one decision did to one order: one journal row, one entry of `orders:events`, one status message.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    pub order_id: OrderId,
    pub events: Vec<OrderEvent>,
    /// The statuses that it took the order through.
    pub passed: Vec<Status>,
    pub reason: Option<String>,
    /// The order after it.
    pub after: Arc<Order>,
    /// The events as JSON: once for the journal and once for the stream.
    json: OnceLock<Arc<str>>,
}

impl Commit {
    #[must_use]
    pub fn first_version(&self) -> u64 {
        self.events.first().map_or(0, |event| event.version)
    }

    /// The events as a JSON array.
    pub fn events_json(&self) -> Result<Arc<str>, serde_json::Error> {
        if let Some(json) = self.json.get() {
            return Ok(json.clone());
        }
        let json: Arc<str> = serde_json::to_string(&self.events)?.into();
        Ok(self.json.get_or_init(|| json).clone())
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        self.events.last().map_or(0, |event| event.version)
    }
}

#[derive(Debug)]
pub struct Ledger {
    /// The journal's clock: one instant for the whole transaction.
    pub now: Timestamp,
    pub ids: IdSource,
    pub orders: HashMap<OrderId, OrderRecord>,
    pub by_client_id: HashMap<ClientOrderId, OrderId>,
    pub requests: HashMap<RequestKey, Vec<RequestRecord>>,
    pub outcomes: HashMap<RequestKey, Vec<Outcome>>,
    pub positions: BTreeMap<(BrokerName, Symbol), Position>,
    pub limits: HashMap<Arc<str>, LimitRow>,
    /// Risk-carrying requests of the second that ends now.
    pub recent_orders: HashMap<Symbol, u64>,
    /// Start of the session, and the profit and loss at that time.
    pub sessions: HashMap<(BrokerName, Symbol), (Timestamp, Amount)>,
    pub spent: HashMap<(BrokerName, Symbol, Side), Spent>,
    /// Trade ids booked for the loaded orders.
    pub trades: HashSet<(OrderId, String)>,
    /// The pages asked for, oldest order first.
    pub resting: HashMap<(BrokerName, Symbol), Vec<OrderId>>,
    /// Orders that are not terminal, for the filters asked for; in order of admission.
    pub matching: HashMap<RequestKey, Vec<(OrderId, ClientOrderId)>>,
    /// By the `cancel_all` that means them; in order of admission.
    pub targets: HashMap<(RequestKey, ContentHash), Vec<Target>>,
    pub changes: Changes,
}

/// What is to be appended, in the order in which it was decided.
#[derive(Debug, Default)]
pub struct Changes {
    pub commits: Vec<Arc<Commit>>,
    pub new_orders: Vec<OrderId>,
    pub changed_orders: HashSet<OrderId>,
    /// Of these, those that were given new terms.
    pub replaced_orders: HashSet<OrderId>,
    /// What `cancel_all` requests learned of their orders, the last of each counts.
    pub targets: Vec<(RequestKey, ContentHash, Target)>,
    /// What brokers tell of orders that the journal does not have, or has otherwise.
    pub differences: Vec<Difference>,
    /// How far a broker's feed is merged.
    pub cursors: BTreeMap<BrokerName, u64>,
    pub requests: Vec<RequestRecord>,
    pub outcomes: Vec<Outcome>,
    pub attempts: Vec<AttemptRecord>,
    pub answers: Vec<AttemptRecord>,
    pub trades: Vec<TradeRecord>,
    pub positions: HashSet<(BrokerName, Symbol)>,
    pub counted_orders: HashMap<Symbol, u64>,
    pub sessions: HashSet<(BrokerName, Symbol)>,
    pub spent: HashSet<(BrokerName, Symbol, Side)>,
}

impl Changes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
            && self.changed_orders.is_empty()
            && self.requests.is_empty()
            && self.outcomes.is_empty()
            && self.counted_orders.is_empty()
            && self.sessions.is_empty()
            && self.targets.is_empty()
            && self.differences.is_empty()
            && self.cursors.is_empty()
            && self.answers.is_empty()
    }
}

impl Ledger {
    #[must_use]
    pub fn new(now: Timestamp, ids: IdSource) -> Self {
        Self {
            now,
            ids,
            orders: HashMap::new(),
            by_client_id: HashMap::new(),
            requests: HashMap::new(),
            outcomes: HashMap::new(),
            positions: BTreeMap::new(),
            limits: HashMap::new(),
            recent_orders: HashMap::new(),
            sessions: HashMap::new(),
            spent: HashMap::new(),
            trades: HashSet::new(),
            resting: HashMap::new(),
            matching: HashMap::new(),
            targets: HashMap::new(),
            changes: Changes::default(),
        }
    }

    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&OrderRecord> {
        self.orders.get(id)
    }

    #[must_use]
    pub fn limits_of(&self, symbol: &Symbol) -> Option<&LimitRow> {
        self.limits.get(symbol.as_str()).or_else(|| self.limits.get("*"))
    }

    /// The outcome that the journal has for this very request.
    #[must_use]
    pub fn outcome_of(&self, key: &RequestKey, hash: &ContentHash) -> Option<&Outcome> {
        self.outcomes.get(key)?.iter().find(|outcome| outcome.hash == *hash)
    }

    #[must_use]
    pub fn request_of(&self, key: &RequestKey, hash: &ContentHash) -> Option<&RequestRecord> {
        self.requests.get(key)?.iter().find(|request| request.hash == *hash)
    }

    pub fn remember_request(&mut self, record: RequestRecord) {
        self.requests.entry(record.key.clone()).or_default().push(record.clone());
        self.changes.requests.push(record);
    }

    pub fn conclude(&mut self, outcome: Outcome) {
        let own = outcome.order_id.and_then(|id| self.orders.get_mut(&id)).filter(|record| {
            !record.answered && record.request == outcome.key && record.request_hash == outcome.hash
        });
        if let Some(record) = own {
            record.answered = true;
            self.changes.changed_orders.insert(record.order.spec.id);
        }
        self.outcomes.entry(outcome.key.clone()).or_default().push(outcome.clone());
        self.changes.outcomes.push(outcome);
    }

    /// Makes an order from its first events. The caller has made sure that neither id is taken.
    pub fn create(
        &mut self,
        kinds: Vec<EventKind>,
        make: impl FnOnce(Arc<Order>) -> OrderRecord,
    ) -> Result<Arc<Commit>, ApplyError> {
        let events = self.stamp(0, kinds);
        let mut order = None;
        let mut passed = Vec::with_capacity(events.len());
        for event in &events {
            match &mut order {
                None => order = Some(Order::create(event)?),
                Some(order) => order.apply(event)?,
            }
            passed.extend(order.as_ref().map(|order| order.state.status));
        }
        let order = order.ok_or(ApplyError::NotCreated("nothing"))?;
        let key = (order.broker.clone(), order.spec.symbol.clone());
        if !order.reserved_quantity().is_zero() {
            let mut position = self.position(&key);
            position
                .reserve(order.spec.side, super::amount::Quantity::ZERO, order.reserved_quantity())
                .ok_or_else(|| overflow(&order))?;
            self.set_position(key, position);
        }
        let record = make(Arc::new(order));
        let commit = Arc::new(Commit {
            order_id: record.order.spec.id,
            reason: reason_of(&events),
            events,
            passed,
            after: record.order.clone(),
            json: OnceLock::new(),
        });
        let id = commit.order_id;
        self.by_client_id.insert(record.order.spec.client_order_id.clone(), id);
        self.orders.insert(id, record);
        self.changes.new_orders.push(id);
        self.changes.commits.push(commit.clone());
        Ok(commit)
    }

    /// Appends events to an order, with all that follows from them: position, reservation, trades.
    /// Wholly or not at all. `None` where there was nothing to append.
    pub fn append(&mut self, id: OrderId, kinds: Vec<EventKind>) -> Result<Option<Arc<Commit>>, ApplyError> {
        let Some(record) = self.orders.get(&id) else { return Ok(None) };
        if kinds.is_empty() {
            return Ok(None);
        }
        let mut order = (*record.order).clone();
        let key = (order.broker.clone(), order.spec.symbol.clone());
        let mut position = self.position(&key);
        let before = (position.clone(), order.reserved_quantity());
        let mut trades = Vec::new();
        let mut passed: Vec<Status> = Vec::with_capacity(kinds.len());
        let mut events = self.stamp(order.state.version, kinds);
        for event in &mut events {
            if let EventKind::Fill(fill) = &mut event.kind {
                fill.position_sequence = position.sequence + 1;
                position = position.booked(order.spec.side, fill).ok_or_else(|| overflow(&order))?;
                trades.push(TradeRecord {
                    broker: order.broker.clone(),
                    symbol: order.spec.symbol.clone(),
                    order_id: id,
                    side: order.spec.side,
                    fill: fill.clone(),
                });
            }
            let from = order.state.status;
            order.apply(event)?;
            if order.state.status != from || matches!(event.kind, EventKind::Fill(_)) {
                passed.push(order.state.status);
            }
            if matches!(event.kind, EventKind::Replaced(_)) {
                self.changes.replaced_orders.insert(id);
            }
        }
        passed.dedup();
        position
            .reserve(order.spec.side, before.1, order.reserved_quantity())
            .ok_or_else(|| overflow(&order))?;
        if position != before.0 {
            self.set_position(key, position);
        }
        self.trades.extend(trades.iter().map(|trade| (id, trade.fill.trade_id.clone())));
        self.changes.trades.extend(trades);
        self.changes.changed_orders.insert(id);
        let order = Arc::new(order);
        let commit = Arc::new(Commit {
            order_id: id,
            reason: reason_of(&events),
            events,
            passed,
            after: order.clone(),
            json: OnceLock::new(),
        });
        if let Some(record) = self.orders.get_mut(&id) {
            record.order = order;
        }
        self.changes.commits.push(commit.clone());
        Ok(Some(commit))
    }

    #[must_use]
    pub fn position(&self, key: &(BrokerName, Symbol)) -> Position {
        self.positions.get(key).cloned().unwrap_or(Position::FLAT)
    }

    fn set_position(&mut self, key: (BrokerName, Symbol), position: Position) {
        self.changes.positions.insert(key.clone());
        self.positions.insert(key, position);
    }

    fn stamp(&mut self, version: u64, kinds: Vec<EventKind>) -> Vec<OrderEvent> {
        let (now, ids) = (self.now, &mut self.ids);
        let stamped = kinds.into_iter().zip(version + 1..);
        stamped
            .map(|(kind, version)| OrderEvent { event_id: ids.draw(), version, timestamp: now, kind })
            .collect()
    }
}

fn overflow(order: &Order) -> ApplyError {
    ApplyError::Overflow { order: order.spec.id, trade_id: "position".to_owned() }
}

/// The last reason that the events give.
#[must_use]
pub fn reason_of(events: &[OrderEvent]) -> Option<String> {
    events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Rejected(refusal) => Some(refusal.reason.clone()),
        EventKind::SubmitFailed(failure) => Some(failure.reason.clone()),
        EventKind::Cancelled(why)
        | EventKind::Expired(why)
        | EventKind::CancelRequested(why)
        | EventKind::CancelRefused(why)
        | EventKind::Parked(why)
        | EventKind::ReplaceRefused(why) => Some(why.reason.clone()),
        EventKind::Resolved(how) => Some(format!("resolved by {}: {}", how.by, how.why)),
        EventKind::Created(_)
        | EventKind::Validated
        | EventKind::PendingSubmit(_)
        | EventKind::Submitted(_)
        | EventKind::Acknowledged(_)
        | EventKind::Fill(_)
        | EventKind::ReplaceRequested(_)
        | EventKind::Replaced(_) => None,
    })
}
