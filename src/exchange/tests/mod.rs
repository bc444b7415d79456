mod book;
mod faults;
mod ledger;
mod lifecycle;
mod replaces;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use super::book::Book;
use super::message::{
    Answer, Answered, Change, Code, Command, Dedupe, OrderStatus, OrderView, Placement, Revision, Truth,
    Window,
};
use super::transaction::{PriceTerms, Record, Transaction, TransactionType};
use crate::domain::ids::ClientOrderId;
use crate::domain::instrument::Instrument;
use crate::domain::order_type::{OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::domain::venue::Venue;

fn venue() -> Venue {
    let grid = Instrument { tick_size: Some("0.5".parse().unwrap()), ..Instrument::default() };
    Venue {
        seed: 7,
        failure_rate: Decimal::ZERO,
        slippage_pct: Decimal::ZERO,
        commission_pct: Decimal::new(1, 1),
        prices: [("BTCUSDT", "45000"), ("ETHUSDT", "3000")]
            .map(|(symbol, price)| (symbol.parse().unwrap(), price.parse().unwrap()))
            .into(),
        instruments: [("ETHUSDT".parse().unwrap(), grid)].into(),
    }
}

/// A book, its ledger in memory, and a clock that is set by hand.
struct Bench {
    book: Book,
    records: Vec<Record>,
    now: i64,
}

impl Bench {
    fn new(dedupe: Dedupe) -> Self {
        Self::at(venue(), dedupe)
    }

    fn at(venue: Venue, dedupe: Dedupe) -> Self {
        Self { book: Book::new(venue, dedupe), records: Vec::new(), now: 10_000_000 }
    }

    fn perform(&mut self, command: Command) -> Answered {
        let (answered, record) = self.book.perform(command, Timestamp::from_micros(self.now)).unwrap();
        self.records.extend(record);
        self.now += 1000;
        answered
    }

    fn submit(&mut self, placement: Placement) -> Answered {
        self.submit_within(placement, Window::default())
    }

    fn submit_within(&mut self, placement: Placement, window: Window) -> Answered {
        self.perform(Command::Submit { placement: Box::new(placement), window, counted: false })
    }

    fn cancel(&mut self, id: &str) -> Answered {
        self.perform(Command::Cancel(client(id)))
    }

    fn replace(
        &mut self,
        id: &str,
        replace_id: &str,
        quantity: Option<&str>,
        price: Option<&str>,
    ) -> Answered {
        let change = Change {
            quantity: quantity.map(|quantity| quantity.parse().unwrap()),
            price: price.map(|price| price.parse().unwrap()),
            stop_price: None,
            replace_id: replace_id.to_owned(),
        };
        self.perform(Command::Replace { client_order_id: client(id), change, window: Window::default() })
    }

    /// `{"BTCUSDT": "45000"}`
    fn prices(&mut self, json: &str) {
        let prices: BTreeMap<_, PriceTerms> = serde_json::from_str(json).unwrap();
        self.perform(Command::Prices(prices)).unwrap();
    }

    fn query(&mut self, id: &str) -> Answered {
        self.perform(Command::Order { client_order_id: client(id), lag_us: 0 })
    }

    fn transactions(&mut self, after: u64) -> Vec<Transaction> {
        match self.perform(Command::Transactions { after, limit: 1000, lag_us: 0 }) {
            Ok(Answer::Transactions { page, .. }) => page,
            other => panic!("no page: {other:?}"),
        }
    }

    fn truth(&mut self) -> Vec<Truth> {
        match self.perform(Command::Truth) {
            Ok(Answer::Truth(truth)) => truth,
            other => panic!("no truth: {other:?}"),
        }
    }

    /// Replays the ledger, as its lines, into a new book: it must be the same.
    fn check_replay(&self) {
        let mut again = Book::new(venue(), Dedupe::Forever);
        for record in &self.records {
            let line = serde_json::to_string(record).unwrap();
            again.replay(&serde_json::from_str(&line).unwrap()).unwrap();
        }
        assert!(again.has_the_state_of(&self.book), "{again:#?}\n{:#?}", self.book);
    }
}

fn client(id: &str) -> ClientOrderId {
    id.parse().unwrap()
}

fn market(id: &str, quantity: &str) -> Placement {
    Placement {
        client_order_id: client(id),
        symbol: "BTCUSDT".parse().unwrap(),
        side: Side::Buy,
        quantity: quantity.parse().unwrap(),
        order_type: OrderType::Market,
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        reduce_only: false,
        worst_price: None,
    }
}

fn limit(id: &str, quantity: &str, price: &str) -> Placement {
    let order_type = OrderType::Limit { price: price.parse().unwrap() };
    Placement { order_type, ..market(id, quantity) }
}

#[track_caller]
fn order(answered: Answered) -> OrderView {
    match answered {
        Ok(Answer::Order(order)) => *order,
        other => panic!("no order: {other:?}"),
    }
}

#[track_caller]
fn refused(answered: Answered) -> Code {
    match answered {
        Err(refused) => refused.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// Status, filled quantity and the prices of its trades.
fn gist(order: &OrderView) -> (OrderStatus, String, Vec<String>) {
    let prices = order.trades.iter().map(|trade| trade.price.to_string()).collect();
    (order.status, order.filled_quantity.to_string(), prices)
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}
