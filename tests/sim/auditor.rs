//! Looks at every effect: what must hold at each moment, and what must hold at the end. It goes by what the fakes saw,
//! not by what the workers say of themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use order_execution::domain::event::{EventKind, OrderEvent};
use order_execution::domain::ids::{BrokerName, EntryId, OrderId, Symbol};
use order_execution::domain::ledger::{Ledger, OrderRecord};
use order_execution::domain::order::Order;
use order_execution::domain::order_type::Side;
use order_execution::domain::position::{Book, Position};
use order_execution::domain::status::Status;
use order_execution::domain::trading_state::TradingState;
use rust_decimal::Decimal;

use super::exchange::Placed;
use super::journal::{Database, Tables};
use super::world::World;

#[derive(Default, Clone, Copy)]
struct Sums {
    filled: Decimal,
    reserved_buy: Decimal,
    reserved_sell: Decimal,
}

#[derive(Default)]
struct Seen {
    /// By client order id: what the exchange executed.
    executed: HashMap<String, Decimal>,
    /// The largest quantity that was ever asked for.
    asked: HashMap<String, Decimal>,
    /// Told to be rejected: nothing was and nothing will be executed.
    rejected: HashSet<String>,
    sums: BTreeMap<(BrokerName, Symbol), Sums>,
    /// What the orders of this transaction added to the sums before it.
    before: Vec<((BrokerName, Symbol), Sums)>,
    /// How each request ended first.
    outcomes: HashMap<(String, [u8; 32]), Option<&'static str>>,
    told: HashMap<EntryId, u32>,
    redis_lost_data: bool,
}

pub(crate) struct Auditor {
    seen: Mutex<Seen>,
    world: Arc<World>,
    database: OnceLock<Weak<Database>>,
    max_position: Decimal,
}

fn key(order: &Order) -> (BrokerName, Symbol) {
    (order.broker.clone(), order.spec.symbol.clone())
}

fn book(order: &Order) -> Book {
    Book::account(order.broker.clone(), order.spec.symbol.clone())
}

/// The accounts' among some books.
fn accounts(books: &HashSet<Book>) -> impl Iterator<Item = (BrokerName, Symbol)> {
    let accounts = books.iter().filter(|book| book.strategy.is_none());
    accounts.map(|book| (book.broker.clone(), book.symbol.clone()))
}

fn share(record: &OrderRecord) -> Sums {
    let order = &record.order;
    // Added up here, not asked of the order: what may still be executed, as long as it is not over.
    let filled = order.state.filled_quantity.get();
    let asked = order.state.pending_replace.as_ref().and_then(|pending| pending.terms.quantity);
    let most = asked.map_or(order.spec.quantity, |asked| asked.max(order.spec.quantity)).get();
    let is_over = order.state.status.is_terminal();
    let reserved = if is_over { Decimal::ZERO } else { (most - filled).max(Decimal::ZERO) };
    match order.spec.side {
        Side::Buy => Sums { filled, reserved_buy: reserved, reserved_sell: Decimal::ZERO },
        Side::Sell => Sums { filled: -filled, reserved_buy: Decimal::ZERO, reserved_sell: reserved },
    }
}

impl Auditor {
    pub(crate) fn new(world: Arc<World>, max_position: Decimal) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), world, database: OnceLock::new(), max_position })
    }

    pub(crate) fn watch(&self, database: &Arc<Database>) {
        let _ = self.database.set(Arc::downgrade(database));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn fail(&self, what: String) {
        self.world.fail(what);
    }

    // ---- the journal

    pub(crate) fn before_commit(&self, tables: &Tables, ledger: &Ledger) {
        let changed = ledger.changes.changed_orders.iter().filter_map(|id| tables.orders.get(id));
        self.seen().before = changed.map(|record| (key(&record.order), share(record))).collect();
    }

    pub(crate) fn after_commit(&self, tables: &Tables, ledger: &Ledger) {
        let changes = &ledger.changes;
        let mut seen = self.seen();
        for (key, before) in std::mem::take(&mut seen.before) {
            let sums = seen.sums.entry(key).or_default();
            sums.filled -= before.filled;
            sums.reserved_buy -= before.reserved_buy;
            sums.reserved_sell -= before.reserved_sell;
        }
        let new = changes.new_orders.iter().filter(|id| !changes.changed_orders.contains(id));
        let mut touched: Vec<(BrokerName, Symbol)> = Vec::new();
        for record in changes.changed_orders.iter().chain(new).filter_map(|id| tables.orders.get(id)) {
            let (key, share) = (key(&record.order), share(record));
            let sums = seen.sums.entry(key.clone()).or_default();
            sums.filled += share.filled;
            sums.reserved_buy += share.reserved_buy;
            sums.reserved_sell += share.reserved_sell;
            touched.push(key);
        }
        for key in touched.into_iter().chain(accounts(&changes.positions)) {
            // One that was never written is flat.
            let position = tables
                .positions
                .get(&Book::account(key.0.clone(), key.1.clone()))
                .cloned()
                .unwrap_or(Position::FLAT);
            let sums = seen.sums.entry(key.clone()).or_default();
            let has = (position.quantity.get(), position.reserved_buy.get(), position.reserved_sell.get());
            if has != (sums.filled, sums.reserved_buy, sums.reserved_sell) {
                self.fail(format!(
                    "books: {key:?} stands at {has:?}, its orders add up to {:?}",
                    sums.filled
                ));
            }
        }
        for commit in &changes.commits {
            let order = &commit.after;
            let client = order.spec.client_order_id.as_str();
            let asked = seen.asked.entry(client.to_owned()).or_default();
            let pending = order.state.pending_replace.as_ref().and_then(|pending| pending.terms.quantity);
            *asked = (*asked).max(order.spec.quantity.get()).max(pending.map_or(Decimal::ZERO, |q| q.get()));
            let new_risk =
                commit.events.iter().any(|event| matches!(event.kind, EventKind::PendingSubmit(_)));
            if new_risk {
                self.check_limit(tables, order);
            }
            let replaced = |event: &OrderEvent| matches!(event.kind, EventKind::ReplaceRequested(_));
            if new_risk || commit.events.iter().any(replaced) {
                self.check_trading_state(tables, ledger, order);
            }
            if commit.events.iter().any(|event| matches!(event.kind, EventKind::Rejected(_))) {
                if seen.executed.get(client).is_some_and(|executed| !executed.is_zero()) {
                    self.fail(format!("lie: {client} is told to be rejected, and was executed"));
                }
                seen.rejected.insert(client.to_owned());
            }
        }
        for outcome in &changes.outcomes {
            // What a worker concludes again the journal keeps as it was; it must come to the same, since it is told.
            let code = outcome.code().map(|code| code.as_str());
            let first = *seen.outcomes.entry((outcome.key.to_string(), outcome.hash.0)).or_insert(code);
            if first != code {
                self.fail(format!("request {} ended with {first:?} and then with {code:?}", outcome.key));
            }
        }
    }

    fn check_limit(&self, tables: &Tables, order: &Order) {
        let position = tables.positions.get(&book(order)).cloned().unwrap_or(Position::FLAT);
        let quantity = position.quantity.get();
        let worst = match order.spec.side {
            Side::Buy => quantity + position.reserved_buy.get(),
            Side::Sell => -quantity + position.reserved_sell.get(),
        };
        if worst > self.max_position && !order.spec.execution_instructions.reduce_only {
            self.fail(format!(
                "limit: {} may come to {worst}, {} is the most",
                order.spec.symbol, self.max_position
            ));
        }
    }

    /// No attempt passes the kill switch as it stood when its transaction began.
    fn check_trading_state(&self, tables: &Tables, ledger: &Ledger, order: &Order) {
        let client = &order.spec.client_order_id;
        let over = ledger.control.trading.over(&order.broker, &order.spec, ledger.now);
        match over.map(|switch| switch.state).max() {
            Some(TradingState::Halted) => self.fail(format!("halt: {client} is attempted all the same")),
            Some(TradingState::ReduceOnly) => {
                let position = tables.positions.get(&book(order)).cloned().unwrap_or(Position::FLAT);
                let held = match order.spec.side {
                    Side::Buy => -position.quantity.get(),
                    Side::Sell => position.quantity.get(),
                };
                // Of a replace the new terms count, while the larger of both is reserved.
                let own = order.reserved_quantity().get();
                let asked = order.state.pending_replace.as_ref().and_then(|pending| pending.terms.quantity);
                let most = asked.unwrap_or(order.spec.quantity).get() - order.state.filled_quantity.get();
                let may_close = position.reserved(order.spec.side).get() - own + most;
                if may_close > held {
                    self.fail(format!("reduce-only: {client} lets {may_close} be closed of {held}"));
                }
            }
            Some(TradingState::Active) | None => {}
        }
    }

    // ---- the exchange

    pub(crate) fn executed(&self, client: &str, placed: &[Placed]) {
        let mut seen = self.seen();
        let with_trades = placed.iter().filter(|placed| !placed.trades.is_empty()).count();
        let all: Decimal = placed.iter().map(|placed| placed.filled().get()).sum();
        seen.executed.insert(client.to_owned(), all);
        let asked = seen.asked.get(client).copied().unwrap_or_default();
        if with_trades > 1 || all > asked {
            self.fail(format!("double: {client} asked for {asked}, executed {all} in {with_trades} orders"));
        }
        if seen.rejected.contains(client) {
            self.fail(format!("lie: {client} was told to be rejected, and is executed"));
        }
    }

    // ---- Redis

    pub(crate) fn published(&self, order: OrderId, before: Option<u64>, first: u64, version: u64) {
        let continues = match before {
            Some(before) => first == before + 1,
            None => first == 1 || self.seen().redis_lost_data,
        };
        if !continues {
            self.fail(format!("gap: order {order} goes on from {before:?} to {first}"));
        }
        let database = self.database.get().and_then(Weak::upgrade);
        if database.is_some_and(|database| !database.has_commit(order, first, version)) {
            self.fail(format!(
                "order {order}: versions {first} to {version} are published and not journaled"
            ));
        }
    }

    pub(crate) fn told(&self, entry: EntryId, completed: bool) {
        let database = self.database.get().and_then(Weak::upgrade);
        if database.is_some_and(|database| !database.has_outcome(entry, completed)) {
            self.fail(format!("lie: entry {entry} is told an outcome that the journal does not have"));
        }
        let mut seen = self.seen();
        let times = seen.told.entry(entry).or_default();
        *times += 1;
        if *times > 1 && !seen.redis_lost_data {
            self.fail(format!("entry {entry} has a second outcome in Redis"));
        }
    }

    pub(crate) fn redis_lost_data(&self) {
        self.seen().redis_lost_data = true;
    }

    pub(crate) fn has_lost_data(&self) -> bool {
        self.seen().redis_lost_data
    }

    pub(crate) fn was_told(&self, entry: EntryId) -> bool {
        self.seen().told.contains_key(&entry)
    }

    /// What must hold when all is quiet: the journal and the exchange say the same.
    /// Under `embedded` there is no exchange: what was executed is what was booked.
    pub(crate) fn compare(&self, tables: &Tables, books: &HashMap<String, Vec<Placed>>, embedded: bool) {
        let journal = tables.by_client();
        for (client, placed) in books {
            let filled: Decimal = placed.iter().map(|placed| placed.filled().get()).sum();
            match journal.get(client.as_str()) {
                None => self.fail(format!("lost: {client} is at the exchange and not in the journal")),
                Some(record) => {
                    let booked = record.order.state.filled_quantity.get();
                    if booked != filled {
                        self.fail(format!("lost: {client} executed {filled}, the journal has {booked}"));
                    }
                }
            }
        }
        for (client, record) in &journal {
            let state = &record.order.state;
            if !state.status.is_terminal() && !state.parked {
                self.fail(format!("lost: {client} stands at {} when all is quiet", state.status));
            }
            let booked: Decimal = tables.booked(record.order.spec.id);
            if booked != state.filled_quantity.get() || booked > record.order.spec.quantity.get() {
                self.fail(format!(
                    "double: {client} asked for {}, has {booked} booked and {} filled",
                    record.order.spec.quantity, state.filled_quantity
                ));
            }
            if !state.filled_quantity.is_zero() && !embedded && !books.contains_key(*client) {
                self.fail(format!("lie: {client} is filled, and the exchange does not know it"));
            }
            if state.status == Status::Filled && state.filled_quantity != record.order.spec.quantity {
                self.fail(format!("lie: {client} is Filled with {}", state.filled_quantity));
            }
        }
    }
}
