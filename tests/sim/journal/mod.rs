//! A journal in memory. It holds what a database would, decides with the product's own rules on a ledger that it loads
//! for each transaction, and appends all of what was decided or nothing.

mod append;
mod load;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use order_execution::domain::amount::{Amount, Price};
use order_execution::domain::control::{Control, ControlEvent, LimitsChange};
use order_execution::domain::decide::{Decision, Input, Rules, SwitchTo};
use order_execution::domain::event::OrderEvent;
use order_execution::domain::ids::{
    BrokerName, ClientOrderId, EntryId, IdSource, OrderId, RequestKey, Symbol,
};
use order_execution::domain::ledger::{
    AttemptKind, FillsOf, Keys, Ledger, Mark, OrderRecord, RequestRecord, SessionKey, Target,
};
use order_execution::domain::order::{ContentHash, Order};
use order_execution::domain::order_type::Side;
use order_execution::domain::position::{Book, Position};
use order_execution::domain::request::{OrderRef, Outcome};
use order_execution::domain::risk::LimitRow;
use order_execution::domain::time::Timestamp;
use order_execution::domain::trade::BookedTrade;
use order_execution::domain::trading_state::{Scope, TradingState};
use order_execution::domain::venue::Spent;
use order_execution::ports::clock::Clock;
use order_execution::ports::journal::{
    Abandoned, CommitHistory, ControlEntry, History, Journal, JournalError, JournalReader, OrderFilter,
    RiskCounters,
};
use order_execution::ports::publisher::{OutcomeKey, Published};

use super::auditor::Auditor;
use super::line::{Line, NoAnswer};
use super::plant::{Fault, Plant};

/// What one commit did to one order.
pub(crate) struct CommitRow {
    pub(crate) order_id: OrderId,
    pub(crate) first_version: u64,
    pub(crate) version: u64,
    at: Timestamp,
    events: Vec<OrderEvent>,
}

struct WorkLease {
    owner: String,
    until: Timestamp,
}

/// The tables.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) orders: HashMap<OrderId, OrderRecord>,
    by_client_id: HashMap<ClientOrderId, OrderId>,
    by_entry: HashMap<RequestKey, Vec<OrderId>>,
    pub(crate) admissions: BTreeMap<u64, OrderId>,
    commits: Vec<CommitRow>,
    commits_of: HashMap<OrderId, Vec<usize>>,
    outbox_commits: BTreeSet<usize>,
    pub(crate) outcomes: Vec<Outcome>,
    outcomes_of: HashMap<RequestKey, Vec<usize>>,
    outbox_outcomes: BTreeSet<usize>,
    pub(crate) requests: HashMap<RequestKey, Vec<RequestRecord>>,
    attempts: HashSet<(OrderId, AttemptKind, u64)>,
    /// In the order in which they were written.
    trades: HashMap<OrderId, Vec<(String, BookedTrade)>>,
    pub(crate) positions: BTreeMap<Book, Position>,
    pub(crate) control: Arc<Control>,
    control_events: Vec<ControlEntry>,
    outbox_control: BTreeSet<u64>,
    rates: HashMap<Scope, Vec<(Timestamp, u64)>>,
    sessions: BTreeMap<SessionKey, (Timestamp, Amount)>,
    marks: BTreeMap<(BrokerName, Symbol), Mark>,
    prices: HashMap<(BrokerName, Symbol), Vec<(Timestamp, Price)>>,
    fills: HashMap<FillsOf, Vec<(Timestamp, u64)>>,
    contents: HashMap<ContentHash, (ClientOrderId, Timestamp)>,
    failures: HashMap<BrokerName, Vec<(Timestamp, u64)>>,
    spent: HashMap<(BrokerName, Symbol, Side), Spent>,
    targets: HashMap<(RequestKey, ContentHash), Vec<Target>>,
    differences: HashSet<(BrokerName, &'static str, String)>,
    cursors: BTreeMap<BrokerName, u64>,
    leases: HashMap<String, WorkLease>,
    /// Orders of these client order ids cannot be written.
    pub(crate) unwritable: HashSet<String>,
}

/// The database, which every worker reaches over a line of its own.
pub(crate) struct Database {
    tables: Mutex<Tables>,
    clock: Arc<dyn Clock>,
    auditor: Option<Arc<Auditor>>,
    plant: Plant,
}

impl Database {
    pub(crate) fn new(clock: Arc<dyn Clock>, auditor: Option<Arc<Auditor>>, plant: Plant) -> Arc<Self> {
        Arc::new(Self { tables: Mutex::default(), clock, auditor, plant })
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// All inputs in one transaction; where one of them stands in the way, each half by itself.
    fn transact(&self, rules: &Rules, inputs: &[Input]) -> Vec<Result<Decision, JournalError>> {
        match self.try_commit(rules, inputs) {
            Ok(decided) => decided,
            Err(why) if inputs.len() == 1 => vec![Err(JournalError::Input { why })],
            Err(_) => {
                let (first, second) = inputs.split_at(inputs.len() / 2);
                let mut decided = self.transact(rules, first);
                decided.extend(self.transact(rules, second));
                decided
            }
        }
    }

    fn try_commit(
        &self,
        rules: &Rules,
        inputs: &[Input],
    ) -> Result<Vec<Result<Decision, JournalError>>, String> {
        let mut keys = Keys::default();
        for input in inputs {
            rules.keys(input, &mut keys);
        }
        let mut tables = self.tables();
        let mut ledger = Ledger::new(self.clock.now(), IdSource::new(self.clock.uuid()));
        ledger.control = tables.control.clone();
        tables.load(&keys, &mut ledger);
        if self.plant.is(Fault::TradesForgotten) {
            ledger.trades.clear();
        }
        let mut decided = Vec::with_capacity(inputs.len());
        for input in inputs {
            let decision = catch_unwind(AssertUnwindSafe(|| rules.decide(&mut ledger, input)))
                .map_err(|_| "deciding panicked".to_owned())?;
            decided.push(decision.map_err(|error| JournalError::Input { why: error.to_string() }));
        }
        if !ledger.is_unchanged() {
            tables.check(&ledger, self.plant)?;
            if let Some(auditor) = &self.auditor {
                auditor.before_commit(&tables, &ledger);
            }
            tables.append(&mut ledger);
            if let Some(auditor) = &self.auditor {
                auditor.after_commit(&tables, &ledger);
            }
        }
        Ok(decided)
    }

    /// A person uses the kill switch.
    pub(crate) fn switch(&self, rules: &Rules, scope: Scope, state: TradingState) {
        let to = SwitchTo { scope, state, by: "operator".to_owned(), why: "a trial".to_owned() };
        self.transact(rules, &[Input::Switch(Box::new(to))]);
    }

    fn lease(&self, name: &str, owner: &str, lasts: Duration) -> bool {
        let now = self.clock.now();
        let until = now.plus_micros(i64::try_from(lasts.as_micros()).unwrap());
        let mut tables = self.tables();
        match tables.leases.get_mut(name) {
            Some(held) if held.owner != owner && held.until >= now => false,
            Some(held) => {
                *held = WorkLease { owner: owner.to_owned(), until };
                true
            }
            None => {
                tables.leases.insert(name.to_owned(), WorkLease { owner: owner.to_owned(), until });
                true
            }
        }
    }

    /// Whether the journal has this end of an entry.
    pub(crate) fn has_outcome(&self, entry: EntryId, completed: bool) -> bool {
        let tables = self.tables();
        let of_entry = |key: &RequestKey| key.entry == entry;
        let ends = tables.outcomes_of.iter().filter(|(key, _)| of_entry(key)).flat_map(|(_, rows)| rows);
        ends.map(|row| &tables.outcomes[*row]).any(|outcome| outcome.code().is_none() == completed)
    }

    /// Whether this very commit is in the journal: only what is may be published.
    pub(crate) fn has_commit(&self, order: OrderId, first_version: u64, version: u64) -> bool {
        let tables = self.tables();
        let rows = tables.commits_of.get(&order).map_or(&[][..], Vec::as_slice);
        rows.iter().any(|row| {
            let row = &tables.commits[*row];
            row.first_version == first_version && row.version == version
        })
    }

    /// An order's lease ends now, whoever has it: as if its worker had slept for long.
    pub(crate) fn end_lease(&self, nth: u64) {
        let now = self.clock.now();
        let mut tables = self.tables();
        let count = tables.admissions.len() as u64;
        let Some(id) = tables.admissions.values().nth(usize::try_from(nth % count.max(1)).unwrap()).copied()
        else {
            return;
        };
        if let Some(record) = tables.orders.get_mut(&id) {
            record.lease.until = now.plus_micros(-1);
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        let tables = self.tables();
        tables.outbox_commits.is_empty()
            && tables.outbox_outcomes.is_empty()
            && tables.outbox_control.is_empty()
            && tables.orders.values().all(|record| !record.is_open())
            && tables.requests.values().flatten().all(|request| !request.open)
    }
}

/// A worker's way to the database.
#[derive(Clone)]
pub(crate) struct MemoryJournal {
    pub(crate) database: Arc<Database>,
    pub(crate) line: Line,
    pub(crate) rules: Arc<Rules>,
}

fn unavailable(why: NoAnswer) -> JournalError {
    JournalError::Unavailable { what: "journal in memory".to_owned(), why: why.to_string() }
}

impl MemoryJournal {
    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T, JournalError> {
        let database = self.database.clone();
        self.line.call(what, move || work(&database)).await.map_err(unavailable)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables) -> T + Send + 'static,
    ) -> Result<T, JournalError> {
        self.ask("read", move |database| work(&database.tables())).await
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn transact(
        &self,
        inputs: Vec<Input>,
    ) -> Result<Vec<Result<Decision, JournalError>>, JournalError> {
        let rules = self.rules.clone();
        self.ask("transact", move |database| database.transact(&rules, &inputs)).await
    }

    async fn mark_published(&self, published: Published) -> Result<Vec<OutcomeKey>, JournalError> {
        self.ask("mark", move |database| database.tables().mark(&published)).await?;
        Ok(Vec::new())
    }

    async fn init_limits(&self, rows: &[LimitRow]) -> Result<bool, JournalError> {
        let rows = rows.to_vec();
        self.ask("limits", move |database| {
            let mut tables = database.tables();
            if !tables.control.limits.is_empty() {
                return false;
            }
            let change =
                LimitsChange { by: "configuration".to_owned(), why: "there are none".to_owned(), rows };
            let event = ControlEvent::Limits(change);
            Arc::make_mut(&mut tables.control).apply(&event);
            let at = database.clock.now();
            tables.note_control(event, at);
            true
        })
        .await
    }

    async fn probe(&self) -> Result<(), JournalError> {
        self.ask("probe", |_| ()).await
    }

    async fn lease(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, JournalError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.ask("lease", move |database| database.lease(&name, &owner, lasts)).await
    }
}

#[async_trait]
impl JournalReader for MemoryJournal {
    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.ask("read", |database| database.clock.now()).await
    }

    async fn order(&self, order: &OrderRef) -> Result<Option<Order>, JournalError> {
        let order = order.clone();
        self.read(move |tables| tables.find(&order).map(|record| (*record.order).clone())).await
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, JournalError> {
        let filter = filter.clone();
        self.read(move |tables| tables.orders_by(&filter)).await
    }

    async fn events(&self, order: OrderId) -> Result<Vec<OrderEvent>, JournalError> {
        self.read(move |tables| tables.events(order)).await
    }

    async fn books(&self) -> Result<Vec<(Book, Position)>, JournalError> {
        self.read(|tables| tables.books()).await
    }

    async fn control(&self) -> Result<Control, JournalError> {
        self.read(|tables| (*tables.control).clone()).await
    }

    async fn risk_counters(&self) -> Result<RiskCounters, JournalError> {
        self.ask("counters", |database| {
            let now = database.clock.now();
            database.tables().risk_counters(now)
        })
        .await
    }

    async fn control_events(&self, before: u64, limit: u32) -> Result<Vec<ControlEntry>, JournalError> {
        self.read(move |tables| {
            let newest = tables.control_events.iter().rev().filter(|entry| entry.number < before);
            newest.take(limit as usize).cloned().collect()
        })
        .await
    }

    async fn unpublished_control(&self, limit: u32) -> Result<Vec<ControlEntry>, JournalError> {
        self.read(move |tables| tables.unpublished_control(limit)).await
    }

    async fn admitted(&self, lane: &str, entries: &[EntryId]) -> Result<Vec<EntryId>, JournalError> {
        let (lane, entries): (Arc<str>, _) = (lane.into(), entries.to_vec());
        self.read(move |tables| tables.admitted(&lane, &entries)).await
    }

    async fn resting_symbols(&self) -> Result<Vec<(BrokerName, Symbol)>, JournalError> {
        self.read(|tables| tables.resting(|_| true)).await
    }

    async fn ending(&self, now: Timestamp) -> Result<Vec<(BrokerName, Symbol)>, JournalError> {
        self.read(move |tables| tables.resting(|order| order.ends_at().is_some_and(|at| at <= now))).await
    }

    async fn unpublished(&self, before: Timestamp, limit: u32) -> Result<Vec<OrderId>, JournalError> {
        self.read(move |tables| tables.unpublished(before, limit)).await
    }

    async fn unpublished_outcomes(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Outcome, Option<Order>)>, JournalError> {
        self.read(move |tables| tables.unpublished_outcomes(before, limit)).await
    }

    async fn abandoned(&self, now: Timestamp, limit: u32) -> Result<Vec<Abandoned>, JournalError> {
        self.read(move |tables| tables.abandoned(now, limit)).await
    }

    async fn unfinished_sweeps(&self, before: Timestamp, limit: u32) -> Result<Vec<Abandoned>, JournalError> {
        self.read(move |tables| tables.unfinished_sweeps(before, limit)).await
    }

    async fn parked(&self) -> Result<u64, JournalError> {
        self.read(|tables| tables.orders.values().filter(|record| record.order.state.parked).count() as u64)
            .await
    }

    async fn working(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, JournalError> {
        self.read(move |tables| tables.working(after, limit)).await
    }

    async fn place(&self, since: Timestamp) -> Result<u64, JournalError> {
        self.read(move |tables| tables.commits.iter().take_while(|row| row.at < since).count() as u64).await
    }

    async fn ended(&self, after: u64, limit: u32) -> Result<Vec<(u64, Order)>, JournalError> {
        self.read(move |tables| tables.ended(after, limit)).await
    }

    async fn feed_cursor(&self, broker: &BrokerName) -> Result<u64, JournalError> {
        let broker = broker.clone();
        self.read(move |tables| tables.cursors.get(&broker).copied().unwrap_or(0)).await
    }

    async fn differences(&self) -> Result<u64, JournalError> {
        self.read(|tables| tables.differences.len() as u64).await
    }

    async fn commits(&self, order: OrderId) -> Result<CommitHistory, JournalError> {
        self.read(move |tables| tables.commit_history(order)).await
    }

    async fn history(&self, after: u64, limit: u32) -> Result<Vec<History>, JournalError> {
        self.read(move |tables| tables.history(after, limit)).await
    }
}
