//! What limits have counted: requests, results of the session, prices, fills.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::amount::{Amount, Price};
use crate::domain::ids::{BrokerName, ClientOrderId, Symbol};
use crate::domain::order::ContentHash;
use crate::domain::order_type::Side;
use crate::domain::position::Book;
use crate::domain::time::Timestamp;
use crate::domain::trading_state::Scope;

/// A price that a symbol was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub price: Price,
    /// `None`: from the configuration, it does not age.
    pub at: Option<Timestamp>,
}

/// Whose session it is: a book's, or that of a book within a scope that was resumed after its daily loss.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub scope: Option<Scope>,
    pub book: Book,
}

/// What repeated execution counts by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FillsOf {
    pub strategy: Option<Arc<str>>,
    pub symbol: Symbol,
    pub side: Side,
}

#[derive(Debug, Default)]
pub struct Counters {
    /// Risk-carrying requests of the second that ends now.
    pub recent_orders: HashMap<Scope, u64>,
    /// When the session began, and what the book had earned by then.
    pub sessions: HashMap<SessionKey, (Timestamp, Amount)>,
    /// What each symbol was worth last.
    pub marks: BTreeMap<(BrokerName, Symbol), Mark>,
    /// What it was worth within the windows of moving collars.
    pub prices: HashMap<(BrokerName, Symbol), Vec<(Timestamp, Price)>>,
    /// Fills within the windows that they are counted in.
    pub fills: HashMap<FillsOf, Vec<(Timestamp, u64)>>,
    /// Who asked for this last, whatever the client order id.
    pub contents: HashMap<ContentHash, (ClientOrderId, Timestamp)>,
    /// Calls to brokers that failed, within the windows of their circuit breakers.
    pub failures: HashMap<BrokerName, Vec<(Timestamp, u64)>>,
    pub changes: CounterChanges,
}

#[derive(Debug, Default)]
pub struct CounterChanges {
    pub recent_orders: HashMap<Scope, u64>,
    pub sessions: HashSet<SessionKey>,
    pub marks: HashSet<(BrokerName, Symbol)>,
    pub prices: Vec<(BrokerName, Symbol, Timestamp, Price)>,
    pub fills: HashMap<FillsOf, u64>,
    /// Of these, those that nobody has held against a limit yet.
    pub unwatched_fills: HashSet<FillsOf>,
    pub contents: Vec<(ContentHash, ClientOrderId, Timestamp)>,
    pub failures: HashMap<BrokerName, u64>,
}

impl CounterChanges {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recent_orders.is_empty()
            && self.sessions.is_empty()
            && self.marks.is_empty()
            && self.prices.is_empty()
            && self.fills.is_empty()
            && self.contents.is_empty()
            && self.failures.is_empty()
    }
}

impl Counters {
    pub fn count_order(&mut self, scope: Scope) {
        *self.recent_orders.entry(scope.clone()).or_insert(0) += 1;
        *self.changes.recent_orders.entry(scope).or_insert(0) += 1;
    }

    pub fn count_fill(&mut self, of: FillsOf, now: Timestamp) {
        self.fills.entry(of.clone()).or_default().push((now, 1));
        *self.changes.fills.entry(of.clone()).or_insert(0) += 1;
        self.changes.unwatched_fills.insert(of);
    }

    pub fn count_failure(&mut self, broker: BrokerName, now: Timestamp) {
        self.failures.entry(broker.clone()).or_default().push((now, 1));
        *self.changes.failures.entry(broker).or_insert(0) += 1;
    }

    pub fn begin_session(&mut self, key: SessionKey, from: Timestamp, base: Amount) {
        self.sessions.insert(key.clone(), (from, base));
        self.changes.sessions.insert(key);
    }

    pub fn set_mark(&mut self, key: (BrokerName, Symbol), mark: Mark) {
        if self.marks.insert(key.clone(), mark) != Some(mark) {
            self.changes.marks.insert(key);
        }
    }

    pub fn note_price(&mut self, broker: BrokerName, symbol: Symbol, at: Timestamp, price: Price) {
        self.prices.entry((broker.clone(), symbol.clone())).or_default().push((at, price));
        self.changes.prices.push((broker, symbol, at, price));
    }

    pub fn note_content(&mut self, content: ContentHash, id: ClientOrderId, at: Timestamp) {
        self.contents.insert(content, (id.clone(), at));
        self.changes.contents.push((content, id, at));
    }

    /// The price of a symbol, where it is not too old to count.
    #[must_use]
    pub fn fresh_mark(&self, key: &(BrokerName, Symbol), now: Timestamp, max_age_us: i64) -> Option<Price> {
        let mark = self.marks.get(key)?;
        mark.at.is_none_or(|at| now.micros_since(at).abs() <= max_age_us).then_some(mark.price)
    }
}
