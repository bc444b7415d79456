//! Where everything is kept: one durable transaction after another.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::amount::Amount;
use crate::domain::control::{Control, ControlEvent};
use crate::domain::decide::{Decision, Input};
use crate::domain::event::OrderEvent;
use crate::domain::ids::{BrokerName, ClientOrderId, EntryId, OrderId, RequestKey, Symbol};
use crate::domain::ledger::SessionKey;
use crate::domain::order::{ContentHash, Order};
use crate::domain::order_type::Side;
use crate::domain::position::{Book, Position};
use crate::domain::request::{OrderRef, Outcome};
use crate::domain::risk::LimitRow;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::trade::BookedTrade;
use crate::domain::trading_state::Scope;

use super::publisher::OutcomeKey;

use super::publisher::Published;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Away, locked, full: nothing is known to be written, and trying again later is right.
    #[error("journal {what} is unavailable: {why}")]
    Unavailable { what: String, why: String },
    /// This input cannot be decided or written, whenever it is tried; its neighbours were.
    #[error("journal refused one input: {why}")]
    Input { why: String },
    /// What is in the journal cannot be read.
    #[error("journal {what} holds what cannot be read: {why}")]
    Corrupt { what: String, why: String },
}

/// Decides and appends. Every call shares a transaction with whoever else is waiting.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Loads what the inputs name, decides on them in order, appends what was decided, commits durably.
    /// One result for each input: an input that fails does not fail its neighbours.
    async fn transact(&self, inputs: Vec<Input>)
    -> Result<Vec<Result<Decision, JournalError>>, JournalError>;

    /// Notes what is out, with the next transaction. What is not marked is offered again. Returns the outcomes that
    /// another worker is marking at this moment: whether it does is not known, so nothing may rest on it.
    async fn mark_published(&self, published: Published) -> Result<Vec<OutcomeKey>, JournalError>;

    /// Loads these limits if there are none; says whether it did.
    async fn init_limits(&self, rows: &[LimitRow]) -> Result<bool, JournalError>;

    /// A durable write that changes nothing: the journal can commit.
    async fn probe(&self) -> Result<(), JournalError>;

    /// Takes or keeps a piece of work that one worker at a time does; says whether `owner` has it, for `lasts`
    /// from now by the journal's clock.
    async fn lease(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, JournalError>;
}

/// What the journal says, for people, APIs and the loops that follow up.
#[async_trait]
pub trait JournalReader: Send + Sync {
    /// By the journal's clock: what its times are compared with.
    async fn now(&self) -> Result<Timestamp, JournalError>;

    async fn order(&self, order: &OrderRef) -> Result<Option<Order>, JournalError>;

    /// Newest first.
    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, JournalError>;

    async fn events(&self, order: OrderId) -> Result<Vec<OrderEvent>, JournalError>;

    /// Positions of accounts and of strategies; by symbol, broker and strategy.
    async fn books(&self) -> Result<Vec<(Book, Position)>, JournalError>;

    /// Those of accounts alone.
    async fn positions(&self) -> Result<Vec<(BrokerName, Symbol, Position)>, JournalError> {
        let accounts = self.books().await?.into_iter().filter(|(book, _)| book.strategy.is_none());
        Ok(accounts.map(|(book, position)| (book.broker, book.symbol, position)).collect())
    }

    /// The limits in force and the trading state.
    async fn control(&self) -> Result<Control, JournalError>;

    /// What the limits in force have counted.
    async fn risk_counters(&self) -> Result<RiskCounters, JournalError>;

    /// Changes of those before the one of this number, newest first.
    async fn control_events(&self, before: u64, limit: u32) -> Result<Vec<ControlEntry>, JournalError>;

    /// Changes that are not marked as published, oldest first.
    async fn unpublished_control(&self, limit: u32) -> Result<Vec<ControlEntry>, JournalError>;

    /// Which of these entries of a lane have been admitted: the journal knows their request.
    async fn admitted(&self, lane: &str, entries: &[EntryId]) -> Result<Vec<EntryId>, JournalError>;

    /// Symbols in which orders rest at the broker.
    async fn resting_symbols(&self) -> Result<Vec<(BrokerName, Symbol)>, JournalError>;

    /// Where orders rest that time has ended by `now`.
    async fn ending(&self, now: Timestamp) -> Result<Vec<(BrokerName, Symbol)>, JournalError>;

    /// Orders with commits made before then that are not marked as published, oldest first.
    async fn unpublished(&self, before: Timestamp, limit: u32) -> Result<Vec<OrderId>, JournalError>;

    /// Outcomes journaled before then that are not marked as published, with their orders as they stand now;
    /// oldest first.
    async fn unpublished_outcomes(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Outcome, Option<Order>)>, JournalError>;

    /// Requests without an outcome whose order nobody has the right to decide about at `now`, oldest first.
    async fn abandoned(&self, now: Timestamp, limit: u32) -> Result<Vec<Abandoned>, JournalError>;

    /// `cancel_all` requests without an outcome that were received before then.
    async fn unfinished_sweeps(&self, before: Timestamp, limit: u32) -> Result<Vec<Abandoned>, JournalError>;

    /// How many orders are parked.
    async fn parked(&self) -> Result<u64, JournalError>;

    /// Orders that are not over, all of whose commits are marked as published; in order of admission after the given
    /// one.
    async fn working(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, JournalError>;

    /// A place in the journal that everything lies after which was committed since then, and little else.
    async fn place(&self, since: Timestamp) -> Result<u64, JournalError>;

    /// Orders that are over, all of whose commits are marked as published, with the place of their last commit; in its
    /// order after the given one.
    async fn ended(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, JournalError>;

    /// How far a broker's feed is merged; 0: from its start.
    async fn feed_cursor(&self, broker: &BrokerName) -> Result<u64, JournalError>;

    /// How many differences between a broker's books and the journal were found so far.
    async fn differences(&self) -> Result<u64, JournalError>;

    /// Everything that ever happened to an order, and from where on it is not marked as published.
    async fn commits(&self, order: OrderId) -> Result<CommitHistory, JournalError>;

    /// Orders with everything that is kept of them, in order of admission, after the given one.
    async fn history(&self, after: u64, limit: u32) -> Result<Vec<History>, JournalError>;
}

#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    pub limit: u32,
    pub symbol: Option<Symbol>,
    pub status: Option<Status>,
    /// Only those that are not terminal.
    pub open: bool,
    /// Only those whose outcome at the broker cannot be found out.
    pub parked: bool,
    pub strategy_id: Option<String>,
    pub client_order_id: Option<ClientOrderId>,
    /// In any of these; empty: in whichever.
    pub statuses: Vec<Status>,
    pub side: Option<Side>,
    /// Routed to this one.
    pub broker: Option<BrokerName>,
    /// What their client order id begins with.
    pub client_order_id_prefix: Option<String>,
    /// Created then or later.
    pub since: Option<Timestamp>,
    /// Created before then.
    pub until: Option<Timestamp>,
    /// Admitted before this order: where the next page begins, whatever has been added since. An order that the
    /// journal does not have has none before it.
    pub before: Option<OrderId>,
}

/// A request that the journal has and nobody works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    pub key: RequestKey,
    pub hash: ContentHash,
    /// What its order trades.
    pub instrument: Option<(BrokerName, Symbol)>,
    pub received_at: Timestamp,
}

/// An order's history, commit by commit.
#[derive(Debug, Clone)]
pub struct CommitHistory {
    pub order_id: OrderId,
    /// Oldest first.
    pub commits: Vec<Vec<OrderEvent>>,
    /// How many of them, from the oldest, are marked as published.
    pub published: usize,
}

/// An order as stored, beside the events that it must follow from.
#[derive(Debug, Clone)]
pub struct History {
    pub admission: u64,
    pub order: Order,
    /// The searchable columns, by name.
    pub columns: [(&'static str, String); 7],
    pub events: Vec<OrderEvent>,
    pub trades: Vec<TradeRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeRow {
    pub trade_id: String,
    pub trade: BookedTrade,
}

/// What limits have counted so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RiskCounters {
    /// Risk-carrying requests of the second that ends now.
    pub recent_orders: BTreeMap<Scope, u64>,
    /// The newest session's start, and what the book had earned by then.
    pub sessions: BTreeMap<SessionKey, (Timestamp, Amount)>,
}

impl RiskCounters {
    #[must_use]
    pub fn recent(&self, scope: &Scope) -> u64 {
        self.recent_orders.get(scope).copied().unwrap_or(0)
    }
}

/// A change of what holds for all orders, as it is journaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlEntry {
    pub number: u64,
    pub at: Timestamp,
    pub event: ControlEvent,
}

/// Is told of each commit, for the metrics.
pub trait JournalObserver: Send + Sync {
    fn committed(&self, inputs: usize, took: Duration);
}
