//! A broker with books of its own, in memory. It keeps its profile and no more than that: beyond an order that is open
//! it knows no client order id again, what is asked of it may arrive late, and its books may be shown late.

pub(crate) mod client;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use order_execution::domain::amount::{Price, Quantity};
use order_execution::domain::event::{Deadline, Terms};
use order_execution::domain::order::OrderSpec;
use order_execution::domain::order_type::{OrderType, Side};
use order_execution::domain::profile::Profile;
use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::report::{Answer, NotSent, Report, ReportedFill};
use order_execution::domain::status::Status;
use order_execution::domain::time::Timestamp;
use order_execution::ports::broker::{BrokerOrder, BrokerUpdate, Updates};

use super::auditor::Auditor;
use super::plant::{Fault, Plant};
use super::world::World;

/// What every symbol is worth.
pub(crate) const PRICE: i64 = 100;
/// Transactions of one read of the feed.
const FEED_PAGE: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    Filled,
    Cancelled,
    Rejected,
}

#[derive(Debug, Clone)]
pub(crate) struct Placed {
    id: String,
    symbol: String,
    side: Side,
    pub(crate) quantity: Quantity,
    price: Option<Price>,
    pub(crate) standing: Standing,
    pub(crate) trades: Vec<ReportedFill>,
    replaced: Option<u64>,
    placed_at: i64,
}

impl Placed {
    pub(crate) fn filled(&self) -> Quantity {
        let sum = |sum: Quantity, trade: &ReportedFill| sum.checked_add(trade.quantity).unwrap();
        self.trades.iter().fold(Quantity::ZERO, sum)
    }

    fn left(&self) -> Quantity {
        self.quantity.saturating_sub(self.filled())
    }

    /// What its books say of it, in the sequence in which it happened.
    fn reports(&self) -> Vec<Report> {
        if self.standing == Standing::Rejected {
            return vec![Report::Rejected(refusal())];
        }
        let mut reports = vec![Report::Acknowledged { broker_order_id: self.id.clone() }];
        if let Some(number) = self.replaced {
            let terms = Terms { quantity: Some(self.quantity), price: self.price, stop_price: None };
            reports.push(Report::Replaced { number, terms });
        }
        reports.extend(self.trades.iter().cloned().map(Report::Fill));
        if self.standing == Standing::Cancelled {
            reports.push(Report::Cancelled { reason: "asked for".to_owned() });
        }
        reports
    }
}

fn refusal() -> Refusal {
    Refusal::new(Code::BrokerRejected, "the exchange does not want it")
}

#[derive(Default)]
pub(crate) struct Books {
    /// Under one client order id there may be several, one after another: that is what should not be.
    pub(crate) orders: HashMap<String, Vec<Placed>>,
    log: Vec<(i64, String, Report)>,
    names: u64,
}

impl Books {
    /// How much its feed has to tell.
    pub(crate) fn told(&self) -> u64 {
        self.log.len() as u64
    }
}

pub(crate) struct Exchange {
    books: Mutex<Books>,
    pub(crate) world: Arc<World>,
    auditor: Option<Arc<Auditor>>,
    profile: Profile,
    plant: Plant,
    /// By how much its clock is ahead.
    pub(crate) ahead_us: i64,
    /// Its books show what is older than this.
    pub(crate) lag_us: i64,
    /// It accepts all, and fills nothing of its own accord: at the end of a run.
    pub(crate) calm: std::sync::atomic::AtomicBool,
}

impl Exchange {
    pub(crate) fn new(
        world: Arc<World>,
        auditor: Option<Arc<Auditor>>,
        profile: Profile,
        plant: Plant,
        (ahead_us, lag_us): (i64, i64),
    ) -> Arc<Self> {
        let calm = std::sync::atomic::AtomicBool::new(false);
        Arc::new(Self { books: Mutex::default(), world, auditor, profile, plant, ahead_us, lag_us, calm })
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.world.now_us() + self.ahead_us)
    }

    fn is_calm(&self) -> bool {
        self.calm.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn is_late(&self, deadline: Option<Deadline>) -> Option<Answer> {
        let is_late = deadline.is_some_and(|deadline| deadline.not_after < self.now());
        (is_late && !self.plant.is(Fault::IgnoresDeadline)).then(|| not_sent("TIMESTAMP", None))
    }

    /// A new order arrives.
    fn submit(self: &Arc<Self>, spec: &OrderSpec, deadline: Option<Deadline>) -> Answer {
        if let Some(late) = self.is_late(deadline) {
            return late;
        }
        if !self.is_calm() && self.world.chance(20) {
            return not_sent("RATE_LIMITED", Some(self.world.between(0, 300_000)));
        }
        let client = spec.client_order_id.as_str().to_owned();
        let mut books = self.books();
        if let Some(known) = books.orders.get(&client).and_then(|orders| orders.last()) {
            if self.profile == Profile::DedupesForever {
                return answer_of(known);
            }
            if known.standing == Standing::Open {
                return Answer::Unknown("DUPLICATE: an order under this id is open".to_owned());
            }
        }
        books.names += 1;
        let price = match spec.order_type {
            OrderType::Limit { price } => Some(price),
            _ => None,
        };
        let placed = Placed {
            id: format!("x{}", books.names),
            symbol: spec.symbol.to_string(),
            side: spec.side,
            quantity: spec.quantity,
            price,
            standing: Standing::Open,
            trades: Vec::new(),
            replaced: None,
            placed_at: self.world.now_us(),
        };
        let id = placed.id.clone();
        books.orders.entry(client.clone()).or_default().push(placed);
        if !self.is_calm() && self.world.chance(30) {
            self.end(&mut books, &client, Standing::Rejected);
        } else {
            self.note(&mut books, &client, Report::Acknowledged { broker_order_id: id });
            self.meet(&mut books, &client);
        }
        drop(books);
        self.fill_later(client.clone());
        let books = self.books();
        books.orders[&client].last().map_or_else(|| not_sent("gone", None), answer_of)
    }

    fn cancel(&self, client: &str) -> Answer {
        let mut books = self.books();
        match books.orders.get(client).and_then(|orders| orders.last()) {
            None => Answer::Rejected(Refusal::new(Code::BrokerRejected, "UNKNOWN_ORDER")),
            Some(placed) => {
                if placed.standing == Standing::Open {
                    self.end(&mut books, client, Standing::Cancelled);
                }
                Answer::Accepted(books.orders[client].last().map(Placed::reports).unwrap_or_default())
            }
        }
    }

    fn replace(&self, client: &str, number: u64, terms: &Terms, deadline: Option<Deadline>) -> Answer {
        if let Some(late) = self.is_late(deadline) {
            return late;
        }
        let mut books = self.books();
        let Some(placed) = books.orders.get_mut(client).and_then(|orders| orders.last_mut()) else {
            return Answer::Rejected(Refusal::new(Code::BrokerRejected, "UNKNOWN_ORDER"));
        };
        let is_news = placed.standing == Standing::Open && placed.replaced.is_none_or(|known| known < number);
        if is_news {
            let quantity = terms.quantity.unwrap_or(placed.quantity);
            if quantity <= placed.filled() {
                return Answer::Rejected(Refusal::new(Code::BrokerRejected, "so much is filled already"));
            }
            (placed.quantity, placed.price) = (quantity, terms.price.or(placed.price));
            placed.replaced = Some(number);
            let terms = Terms { quantity: Some(quantity), price: placed.price, stop_price: None };
            self.note(&mut books, client, Report::Replaced { number, terms });
            self.meet(&mut books, client);
        }
        Answer::Accepted(books.orders[client].last().map(Placed::reports).unwrap_or_default())
    }

    /// What its books show of an order.
    fn query(&self, client: &str) -> Option<Vec<Report>> {
        let lag = if self.lag_us > 0 && !self.is_calm() { self.world.between(0, self.lag_us) } else { 0 };
        let books = self.books();
        let placed = books.orders.get(client)?.last()?;
        (placed.placed_at <= self.world.now_us() - lag).then(|| placed.reports())
    }

    fn open_orders(&self) -> Vec<BrokerOrder> {
        let books = self.books();
        let mut open: Vec<BrokerOrder> = Vec::new();
        for (client, orders) in &books.orders {
            let Some(placed) = orders.last().filter(|placed| placed.standing == Standing::Open) else {
                continue;
            };
            let filled_quantity = placed.filled();
            open.push(BrokerOrder {
                client_order_id: client.clone(),
                broker_order_id: Some(placed.id.clone()),
                symbol: placed.symbol.clone(),
                status: if filled_quantity.is_zero() {
                    Status::Acknowledged
                } else {
                    Status::PartiallyFilled
                },
                quantity: placed.quantity,
                filled_quantity,
            });
        }
        open.sort_by(|a, b| a.client_order_id.cmp(&b.client_order_id));
        open
    }

    /// The feed after `cursor`, now and then with what was told before.
    fn updates(&self, cursor: u64) -> Updates {
        let books = self.books();
        let lag = if self.is_calm() { 0 } else { self.world.between(0, self.lag_us) };
        let shown = self.world.now_us() - lag;
        let from = usize::try_from(cursor).unwrap();
        let again = if self.is_calm() || from == 0 { 0 } else { usize::from(self.world.chance(100)) * 3 };
        let new = books.log.iter().skip(from).take_while(|(at, ..)| *at <= shown).take(FEED_PAGE).count();
        let start = from.saturating_sub(if new > 0 { again } else { 0 });
        let told = books.log[start..from + new].iter();
        let told = told.map(|(_, client, report)| BrokerUpdate {
            client_order_id: client.clone(),
            report: Some(report.clone()),
            text: format!("{report:?}"),
        });
        Updates { told: told.collect(), cursor: (from + new) as u64 }
    }

    fn note(&self, books: &mut Books, client: &str, report: Report) {
        books.log.push((self.world.now_us(), client.to_owned(), report));
    }

    fn end(&self, books: &mut Books, client: &str, standing: Standing) {
        let Some(placed) = books.orders.get_mut(client).and_then(|orders| orders.last_mut()) else { return };
        placed.standing = standing;
        match standing {
            Standing::Cancelled => {
                self.note(books, client, Report::Cancelled { reason: "asked for".to_owned() });
            }
            Standing::Rejected => self.note(books, client, Report::Rejected(refusal())),
            Standing::Open | Standing::Filled => {}
        }
    }

    /// What can be executed at the price is.
    fn meet(&self, books: &mut Books, client: &str) {
        let Some(placed) = books.orders.get(client).and_then(|orders| orders.last()) else { return };
        let at = rust_decimal::Decimal::from(PRICE);
        let is_met = placed.price.is_none_or(|price| match placed.side {
            Side::Buy => price.get() >= at,
            Side::Sell => price.get() <= at,
        });
        if is_met && placed.standing == Standing::Open {
            let left = placed.left();
            self.execute(books, client, left);
        }
    }

    fn execute(&self, books: &mut Books, client: &str, quantity: Quantity) {
        let now = self.now();
        let Some(placed) = books.orders.get_mut(client).and_then(|orders| orders.last_mut()) else { return };
        if quantity.is_zero() || placed.standing != Standing::Open {
            return;
        }
        let trade = ReportedFill {
            trade_id: format!("{}/{}", placed.id, placed.trades.len() + 1),
            quantity,
            price: placed
                .price
                .unwrap_or_else(|| rust_decimal::Decimal::from(PRICE).to_string().parse().unwrap()),
            commission: None,
            executed_at: now,
        };
        placed.trades.push(trade.clone());
        if placed.left().is_zero() {
            placed.standing = Standing::Filled;
        }
        self.note(books, client, Report::Fill(trade));
        if let Some(auditor) = &self.auditor {
            auditor.executed(client, &books.orders[client]);
        }
    }

    /// One that rests is filled later, in parts, or not.
    fn fill_later(self: &Arc<Self>, client: String) {
        let world = self.world.clone();
        if !world.chance(700) {
            return;
        }
        let here = self.clone();
        world.after(world.between(10_000, 3_000_000), move || {
            if here.is_calm() {
                return;
            }
            let mut books = here.books();
            let Some(placed) = books.orders.get(&client).and_then(|orders| orders.last()) else { return };
            let left = placed.left();
            let one: Quantity = "1".parse().unwrap();
            let part = if here.world.chance(500) && left > one { one } else { left };
            here.execute(&mut books, &client, part);
            let goes_on =
                books.orders[&client].last().is_some_and(|placed| placed.standing == Standing::Open);
            drop(books);
            here.world.effect("fill", 0);
            if goes_on {
                here.fill_later(client);
            }
        });
    }

    /// Everything that is open is cancelled: the exchange closes.
    pub(crate) fn close(&self) {
        let mut books = self.books();
        let mut open: Vec<String> = books.orders.keys().cloned().collect();
        open.sort();
        for client in open {
            if books.orders[&client].last().is_some_and(|placed| placed.standing == Standing::Open) {
                self.end(&mut books, &client, Standing::Cancelled);
            }
        }
    }
}

fn answer_of(placed: &Placed) -> Answer {
    if placed.standing == Standing::Rejected {
        return Answer::Rejected(refusal());
    }
    Answer::Accepted(placed.reports())
}

fn not_sent(why: &str, retry_after_us: Option<i64>) -> Answer {
    Answer::NotSent(NotSent { why: why.to_owned(), retry_after_us, unreachable: false })
}
