//! Whether any attempt ever was beyond its limits: the events are gone through in the sequence in which they were
//! journaled, and what was held and open at each of them is added up anew.

use super::facts::{amount, rows, said};
use super::{Audit, Fault};
use crate::harness;
use crate::stage::{ACCOUNT_OPEN_ORDERS, MAX_POSITION, STRATEGY, STRATEGY_POSITION};
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;

/// An order as far as its events have told.
#[derive(Default, Clone, Debug)]
struct Known {
    name: String,
    /// Its books: the account's in its symbol, and its strategy's.
    books: Vec<(String, String, Option<String>)>,
    buys: bool,
    quantity: Decimal,
    asked: Option<Decimal>,
    trades: BTreeMap<String, Decimal>,
    live: bool,
    ended: bool,
}

impl Known {
    fn filled(&self) -> Decimal {
        self.trades.values().sum()
    }

    fn open(&self) -> Decimal {
        let total = self.asked.map_or(self.quantity, |asked| asked.max(self.quantity));
        if self.is_live() { (total - self.filled()).max(Decimal::ZERO) } else { Decimal::ZERO }
    }

    fn is_live(&self) -> bool {
        self.live && !self.ended && self.filled() < self.quantity
    }

    fn create(&mut self, spec: &Value) -> Result<(), String> {
        let text = |key: &str| spec[key].as_str().unwrap_or_default().to_owned();
        let account = (text("broker"), text("symbol"), None);
        let strategy =
            spec["strategy_id"].as_str().map(|id| (text("broker"), text("symbol"), Some(id.to_owned())));
        self.name = text("client_order_id");
        self.books = std::iter::once(account).chain(strategy).collect();
        self.buys = spec["side"] == "Buy";
        self.quantity = amount(&spec["quantity"])?;
        Ok(())
    }

    fn take(&mut self, event: &Value) -> Result<(), String> {
        let details = &event["details"];
        let total = |terms: &Value| terms.get("quantity").map(amount).transpose();
        let trade = || details["trade_id"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "Created" => self.create(details)?,
            "PendingSubmit" => self.live = true,
            "Fill" => drop(self.trades.insert(trade(), amount(&details["quantity"])?)),
            "TradeCorrected" => drop(self.trades.insert(trade(), amount(&details["now"]["quantity"])?)),
            "TradeBusted" => drop(self.trades.remove(&trade())),
            "ReplaceRequested" => self.asked = total(&details["terms"])?,
            "ReplaceRefused" => self.asked = None,
            "Replaced" => {
                self.asked = None;
                self.quantity = total(&details["terms"])?.unwrap_or(self.quantity);
            }
            "Restated" => self.quantity = total(&details["terms"])?.unwrap_or(self.quantity),
            "Cancelled" | "Rejected" | "Expired" => self.ended = true,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default, Clone, Debug)]
struct Book {
    position: Decimal,
    buys: Decimal,
    sells: Decimal,
}

impl Book {
    fn put(&mut self, order: &Known, sign: Decimal) {
        let filled = if order.buys { order.filled() } else { -order.filled() };
        self.position += sign * filled;
        *(if order.buys { &mut self.buys } else { &mut self.sells }) += sign * order.open();
    }
}

pub(super) async fn judge(journal: &mut harness::Journal, audit: &mut Audit) -> Result<(), String> {
    let mut orders: BTreeMap<String, Known> = BTreeMap::new();
    let mut books: BTreeMap<(String, String, Option<String>), Book> = BTreeMap::new();
    let mut live = 0_usize;
    for row in rows(journal, "SELECT * FROM order_commits ORDER BY seq").await? {
        let known = orders.entry(row.text("order_id")?).or_default();
        let before = known.clone();
        let events = row.json("events")?;
        let mut attempts = None;
        for event in events.as_array().into_iter().flatten() {
            known.take(event).map_err(said)?;
            match event["type"].as_str().unwrap_or_default() {
                "PendingSubmit" => attempts = Some(known.quantity),
                "ReplaceRequested" => attempts = Some(known.asked.unwrap_or(known.quantity)),
                _ => {}
            }
        }
        for key in &known.books {
            let book = books.entry(key.clone()).or_default();
            book.put(&before, Decimal::NEGATIVE_ONE);
            if let Some(total) = attempts {
                let most = if key.2.is_none() { MAX_POSITION } else { STRATEGY_POSITION };
                let limited = key.2.as_deref().is_none_or(|strategy| strategy == STRATEGY);
                if let Some(worst) = beyond(book, known, total, most.into()).filter(|_| limited) {
                    let what = format!("{} may bring {key:?} to {worst}, the limit is {most}", known.name);
                    audit.add(Fault::Limits, what);
                }
            }
            book.put(known, Decimal::ONE);
        }
        if attempts.is_some() && !before.is_live() && live >= ACCOUNT_OPEN_ORDERS {
            audit.add(Fault::Limits, format!("{} is the {}th open order", known.name, live + 1));
        }
        live = live + usize::from(known.is_live()) - usize::from(before.is_live());
    }
    Ok(())
}

/// What an order may come to with `total` filled, in a book without it, where that is more than it may be.
fn beyond(book: &Book, order: &Known, total: Decimal, most: Decimal) -> Option<Decimal> {
    let (open, sign) =
        if order.buys { (book.buys, Decimal::ONE) } else { (book.sells, Decimal::NEGATIVE_ONE) };
    let filled = if order.buys { order.filled() } else { -order.filled() };
    let before = book.position + filled + sign * open;
    let after = before + sign * (total - order.filled());
    (after.abs() > most && after.abs() >= before.abs()).then_some(after)
}
