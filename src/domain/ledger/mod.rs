//! The part of the journal that one transaction works on: what was loaded, and what is to be appended.
//!
//! A journal fills it, `decide` works on it, the journal writes what it holds as changed. Nothing here
//! is seen by anybody before that transaction is durable.

mod records;
mod risk;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use crate::domain::amount::{Price, Quantity};
use crate::domain::contract::Contracts;
use crate::domain::control::{Control, ControlEvent};
use crate::domain::event::{Commission, EventKind, OrderEvent};
use crate::domain::ids::{BrokerName, ClientOrderId, IdSource, OrderId, RequestKey, Symbol};
use crate::domain::order::{ApplyError, ContentHash, Order, OrderSpec};
use crate::domain::order_type::Side;
use crate::domain::position::{Book, Position};
use crate::domain::request::{CancelFilter, OrderRef, Outcome, Received, Request};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::trade::{BookedTrade, TradeChange};
use crate::domain::venue::Spent;

pub use risk::{CounterChanges, Counters, FillsOf, Mark, SessionKey};
pub use wanted::Wanted;

pub use records::{
    Answered, AttemptKind, AttemptRecord, Commit, Difference, Lease, OrderRecord, RequestRecord, Target,
    TradeRecord, reason_of,
};

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
    /// Orders that are submitted, for what is counted by their strategies and contents.
    pub submitted: Vec<Arc<Received>>,
    /// Orders whose trades must be compared with what the broker tells.
    pub with_trades: Vec<OrderRef>,
    /// Every order that is not terminal and that one of these means, where its request is not known yet.
    pub matching: Vec<(RequestKey, ContentHash, CancelFilter)>,
    /// Calls to the orders' brokers that failed so long ago at most are wanted.
    pub failures_within_us: Option<i64>,
    /// Of books that are looked at.
    pub strategies: BTreeSet<Arc<str>>,
    /// Pages of the orders that rest in the journal for the embedded venue.
    pub resting: Vec<RestingPage>,
    /// What holds for all orders is to be changed: nobody decides on an order meanwhile.
    pub control: bool,
}

impl Keys {
    /// What is submitted.
    pub fn specs(&self) -> impl Iterator<Item = &OrderSpec> {
        self.submitted.iter().filter_map(|received| match &received.request {
            Request::Submit(spec) => Some(&**spec),
            _ => None,
        })
    }
}

#[derive(Debug, Clone)]
pub struct RestingPage {
    pub broker: BrokerName,
    pub symbol: Symbol,
    /// Admission number of the last order of the page before; 0: from the start.
    pub after: u64,
    pub limit: u32,
}

#[derive(Debug)]
pub struct Ledger {
    /// The journal's clock: one instant for the whole transaction.
    pub now: Timestamp,
    /// The worker's clock at that instant: what it has compared the brokers' clocks with.
    pub worker_now: Timestamp,
    pub ids: IdSource,
    pub orders: HashMap<OrderId, OrderRecord>,
    pub by_client_id: HashMap<ClientOrderId, OrderId>,
    pub requests: HashMap<RequestKey, Vec<RequestRecord>>,
    pub outcomes: HashMap<RequestKey, Vec<Outcome>>,
    pub positions: BTreeMap<Book, Position>,
    /// What fills come to in money.
    pub contracts: Arc<Contracts>,
    /// The limits in force and the trading state.
    pub control: Arc<Control>,
    /// What limits have counted.
    pub risk: Counters,
    pub spent: HashMap<(BrokerName, Symbol, Side), Spent>,
    /// What is booked of the loaded orders' trades.
    pub trades: HashMap<(OrderId, String), BookedTrade>,
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
    pub positions: HashSet<Book>,
    pub spent: HashSet<(BrokerName, Symbol, Side)>,
    /// What people, or breaches of limits, changed for all orders.
    pub control: Vec<ControlEvent>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.commits.is_empty()
            && self.changed_orders.is_empty()
            && self.requests.is_empty()
            && self.outcomes.is_empty()
            && self.targets.is_empty()
            && self.differences.is_empty()
            && self.cursors.is_empty()
            && self.answers.is_empty()
            && self.control.is_empty()
    }
}

impl Ledger {
    /// For a worker whose clock is the journal's.
    #[must_use]
    pub fn new(now: Timestamp, ids: IdSource) -> Self {
        Self {
            now,
            worker_now: now,
            ids,
            orders: HashMap::new(),
            by_client_id: HashMap::new(),
            requests: HashMap::new(),
            outcomes: HashMap::new(),
            positions: BTreeMap::new(),
            contracts: Arc::default(),
            control: Arc::default(),
            risk: Counters::default(),
            spent: HashMap::new(),
            trades: HashMap::new(),
            resting: HashMap::new(),
            matching: HashMap::new(),
            targets: HashMap::new(),
            changes: Changes::default(),
        }
    }

    /// Nothing is to be appended.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty() && self.risk.changes.is_empty()
    }

    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&OrderRecord> {
        self.orders.get(id)
    }

    /// For whoever fills the ledger.
    pub fn control_mut(&mut self) -> &mut Control {
        Arc::make_mut(&mut self.control)
    }

    /// Changes what holds for all orders, from this very transaction on.
    pub fn change_control(&mut self, event: ControlEvent) {
        Arc::make_mut(&mut self.control).apply(&event);
        self.changes.control.push(event);
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
        if order.is_live() {
            for book in order.books() {
                let mut position = self.book(&book);
                position
                    .reserve(order.spec.side, Quantity::ZERO, order.reserved_quantity())
                    .ok_or_else(|| overflow(&order))?;
                position.open_orders += 1;
                self.set_position(book, position);
            }
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
        let mut books = Books::of(self, &order);
        let mut trades = Vec::new();
        let mut passed: Vec<Status> = Vec::with_capacity(kinds.len());
        let mut events = self.stamp(order.state.version, kinds);
        let (mut replaced, mut fills) = (false, 0);
        for event in &mut events {
            value(&mut event.kind, &order.spec.symbol, &self.contracts);
            let most = order.spec.quantity.max(order.asked_quantity().unwrap_or(order.spec.quantity));
            if let Some(trade_id) = place(&mut event.kind, books.sequence() + 1, |trade_id| {
                self.booked(&trades, id, trade_id).map(|trade| trade.booked_at)
            }) && let Some(change) = event.kind.trade()
            {
                books.book(&change).ok_or_else(|| overflow(&order))?;
                let trade = BookedTrade::after(self.booked(&trades, id, &trade_id), &change);
                trades.push(TradeRecord {
                    broker: order.broker.clone(),
                    symbol: order.spec.symbol.clone(),
                    order_id: id,
                    side: order.spec.side,
                    trade_id,
                    trade,
                });
            }
            fills += u32::from(matches!(event.kind, EventKind::Fill(_)));
            let from = order.state.status;
            order.apply(event)?;
            if let EventKind::Fill(fill) = &event.kind
                && order.state.filled_quantity > most
            {
                self.changes.differences.push(beyond(&order, &fill.trade_id, most));
            }
            if order.state.status != from || matches!(event.kind, EventKind::Fill(_)) {
                passed.push(order.state.status);
            }
            replaced |= matches!(event.kind, EventKind::Replaced(_) | EventKind::Restated(_));
        }
        if replaced {
            self.changes.replaced_orders.insert(id);
        }
        self.count_fills(&order, fills);
        passed.dedup();
        for (book, position) in books.after(&order).ok_or_else(|| overflow(&order))? {
            if self.positions.get(&book) != Some(&position) {
                self.set_position(book, position);
            }
        }
        self.trades.extend(trades.iter().map(|trade| ((id, trade.trade_id.clone()), trade.trade.clone())));
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

    /// Where a limit counts them.
    fn count_fills(&mut self, order: &Order, fills: u32) {
        let strategy = order.spec.strategy();
        let limits = &self.control.limits;
        if fills == 0
            || !limits.of(&order.spec.symbol, strategy).iter().any(|r| r.optional.max_fills.is_some())
        {
            return;
        }
        let of = FillsOf {
            strategy: strategy.map(Arc::from),
            symbol: order.spec.symbol.clone(),
            side: order.spec.side,
        };
        (0..fills).for_each(|_| self.risk.count_fill(of.clone(), self.now));
    }

    /// What is booked under a trade id, with what `more` books.
    fn booked<'a>(&'a self, more: &'a [TradeRecord], id: OrderId, trade_id: &str) -> Option<&'a BookedTrade> {
        let newest = more.iter().rev().find(|record| record.trade_id == trade_id).map(|record| &record.trade);
        newest.or_else(|| self.trades.get(&(id, trade_id.to_owned())))
    }

    /// The account's.
    #[must_use]
    pub fn position(&self, broker: &BrokerName, symbol: &Symbol) -> Position {
        self.book(&Book::account(broker.clone(), symbol.clone()))
    }

    #[must_use]
    pub fn book(&self, book: &Book) -> Position {
        self.positions.get(book).cloned().unwrap_or(Position::FLAT)
    }

    fn set_position(&mut self, book: Book, position: Position) {
        self.changes.positions.insert(book.clone());
        self.positions.insert(book, position);
    }

    fn stamp(&mut self, version: u64, kinds: Vec<EventKind>) -> Vec<OrderEvent> {
        let (now, ids) = (self.now, &mut self.ids);
        let stamped = kinds.into_iter().zip(version + 1..);
        stamped
            .map(|(kind, version)| OrderEvent { event_id: ids.draw(), version, timestamp: now, kind })
            .collect()
    }
}

/// The books that an order's fills are added up in, the account's first.
struct Books {
    side: Side,
    was_live: bool,
    reserved: Quantity,
    books: Vec<(Book, Position)>,
}

impl Books {
    fn of(ledger: &Ledger, order: &Order) -> Self {
        let books = order.books().map(|book| {
            let position = ledger.book(&book);
            (book, position)
        });
        Self {
            side: order.spec.side,
            was_live: order.is_live(),
            reserved: order.reserved_quantity(),
            books: books.collect(),
        }
    }

    /// Of the last trade of the symbol at the broker.
    fn sequence(&self) -> u64 {
        self.books.first().map_or(0, |(_, position)| position.sequence)
    }

    fn book(&mut self, change: &TradeChange<'_>) -> Option<()> {
        for (_, position) in &mut self.books {
            *position = position.booked(self.side, change)?;
        }
        Some(())
    }

    /// With what the order by now reserves.
    fn after(mut self, order: &Order) -> Option<Vec<(Book, Position)>> {
        for (_, position) in &mut self.books {
            position.reserve(self.side, self.reserved, order.reserved_quantity())?;
            position.open_orders = position.open_orders.checked_sub(u64::from(self.was_live))?;
            position.open_orders += u64::from(order.is_live());
        }
        Some(self.books)
    }
}

/// Writes down with a fill what it comes to in money, where that is not quantity times price: what the instrument is
/// like by now, and what its commission is worth.
fn value(kind: &mut EventKind, symbol: &Symbol, contracts: &Contracts) {
    // Where it is known in which currency the symbol's money is, a broker's own idea of that does not count.
    let is_known = contracts.of(symbol).is_some_and(|contract| contract.currency.is_some());
    let commission = |paid: &mut Option<Commission>, price: Price| {
        if let Some(paid) = paid.as_mut().filter(|paid| is_known || paid.quote_value.is_none()) {
            paid.quote_value = contracts.commission_value(symbol, paid, price);
        }
    };
    match kind {
        EventKind::Fill(fill) => {
            fill.contract = contracts.of(symbol).cloned();
            commission(&mut fill.commission, fill.price);
        }
        EventKind::TradeCorrected(by) => commission(&mut by.now.commission, by.now.price),
        _ => {}
    }
}

/// Gives an event about a trade its place among the fills of its position; also says which trade.
fn place(kind: &mut EventKind, sequence: u64, booked_at: impl Fn(&str) -> Option<u64>) -> Option<String> {
    match kind {
        EventKind::Fill(fill) => {
            fill.position_sequence = sequence;
            Some(fill.trade_id.clone())
        }
        EventKind::TradeCorrected(by) => {
            by.booked_at = booked_at(&by.trade_id).unwrap_or(0);
            by.position_sequence = sequence;
            Some(by.trade_id.clone())
        }
        EventKind::TradeBusted(by) => {
            by.booked_at = booked_at(&by.trade_id).unwrap_or(0);
            by.position_sequence = sequence;
            Some(by.trade_id.clone())
        }
        _ => None,
    }
}

/// Fills are facts, also those that nobody asked for.
fn beyond(order: &Order, trade_id: &str, most: Quantity) -> Difference {
    let (name, filled) = (&order.spec.client_order_id, order.state.filled_quantity);
    Difference {
        broker: order.broker.clone(),
        kind: "filled_beyond_order",
        key: format!("{} {trade_id}", order.spec.id),
        details: format!(
            "trade {trade_id} fills {filled} of order {name}, which asked for {most}: booked as it was told"
        ),
    }
}

fn overflow(order: &Order) -> ApplyError {
    ApplyError::Overflow { order: order.spec.id, trade_id: "position".to_owned() }
}
