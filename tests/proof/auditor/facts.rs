//! What the three sides say, read without the worker's code.

use crate::harness::{self, Entry, Row, bare_status};
use crate::link::Link;
use crate::stage::Stage;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Id = String;

/// One execution, as the exchange and the journal name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Trade {
    pub(crate) id: String,
    pub(crate) quantity: Decimal,
    pub(crate) price: Decimal,
}

#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: Id,
    pub(crate) client_order_id: String,
    pub(crate) entry: String,
    pub(crate) broker: String,
    pub(crate) symbol: String,
    pub(crate) buys: bool,
    pub(crate) quantity: Decimal,
    /// Of new terms that were asked for and may be in force by now.
    pub(crate) asked: Option<Decimal>,
    pub(crate) limit: Option<Decimal>,
    pub(crate) filled: Decimal,
    pub(crate) status: String,
    pub(crate) version: u64,
    pub(crate) parked: bool,
    /// A cancel or replace of it is under way.
    pub(crate) command: bool,
}

impl Order {
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.status.as_str(), "Filled" | "Cancelled" | "Rejected" | "Expired")
    }

    pub(crate) fn rests(&self) -> bool {
        matches!(self.status.as_str(), "Acknowledged" | "PartiallyFilled")
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parked = if self.parked { ", parked" } else { "" };
        write!(
            f,
            "order {} ({} {} {}, filled {}, version {}{parked})",
            self.client_order_id, self.status, self.quantity, self.symbol, self.filled, self.version
        )
    }
}

/// One row of `order_commits`.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) event_ids: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct JournalOutcome {
    /// The order's, when the outcome was decided; 0: no order.
    pub(crate) version: u64,
    pub(crate) status: Option<String>,
    pub(crate) code: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) broker: String,
    pub(crate) symbol: String,
    pub(crate) quantity: Decimal,
    pub(crate) reserved_buy: Decimal,
    pub(crate) reserved_sell: Decimal,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) orders: Vec<Order>,
    pub(crate) trades: BTreeMap<Id, Vec<Trade>>,
    /// Orders of which a trade was corrected or taken back.
    pub(crate) revised: BTreeSet<Id>,
    pub(crate) commits: BTreeMap<Id, Vec<Commit>>,
    pub(crate) outcomes: BTreeMap<String, JournalOutcome>,
    /// Entries of requests, those that made an order and the others.
    pub(crate) entries: BTreeSet<String>,
    pub(crate) positions: Vec<Position>,
    pub(crate) unpublished: i64,
}

/// What the exchange did under one client order id, once more for each time that it took it for a new order.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) status: String,
    pub(crate) quantity: Decimal,
    pub(crate) price: Option<Decimal>,
    pub(crate) executions: Vec<Trade>,
}

pub(crate) type Ledger = BTreeMap<String, Vec<Generation>>;

#[derive(Debug, Default)]
pub(crate) struct Redis {
    /// With the stream that it was in.
    pub(crate) outcomes: Vec<(bool, Entry)>,
    pub(crate) events: Vec<Entry>,
    pub(crate) states: BTreeMap<String, Value>,
    pub(crate) pending: usize,
    pub(crate) held: i64,
}

pub(crate) fn decimal(text: &str) -> Result<Decimal, String> {
    Decimal::from_str_exact(text).map_err(|e| format!("{text:?} is no amount: {e}"))
}

pub(super) fn amount(value: &Value) -> Result<Decimal, String> {
    decimal(value.as_str().ok_or_else(|| format!("an amount that is no string: {value}"))?)
}

fn optional(value: &Value) -> Result<Option<Decimal>, String> {
    if value.is_null() { Ok(None) } else { amount(value).map(Some) }
}

pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn entry_id(ms: i64, seq: i64) -> String {
    format!("{}-{}", ms.cast_unsigned(), seq.cast_unsigned())
}

pub(super) async fn rows(journal: &mut harness::Journal, query: &str) -> Result<Vec<Row>, String> {
    journal.try_rows(query).await.map_err(|e| format!("{query}: {e}"))
}

/// The trades as they are by now: what was corrected in its last form, without what was taken back.
pub(crate) const TRADES: &str = "SELECT * FROM trades t WHERE quantity IS NOT NULL AND revision = \
     (SELECT max(revision) FROM trades r WHERE r.order_id = t.order_id AND r.trade_id = t.trade_id)";

impl Journal {
    pub(crate) async fn read(journal: &mut harness::Journal) -> Result<Self, String> {
        let mut read = Self::default();
        for row in rows(journal, "SELECT * FROM orders ORDER BY admission").await? {
            let order = order(&row)?;
            read.entries.insert(order.entry.clone());
            read.orders.push(order);
        }
        for row in rows(journal, "SELECT DISTINCT order_id FROM trades WHERE revision > 0").await? {
            read.revised.insert(row.text("order_id")?);
        }
        for row in rows(journal, TRADES).await? {
            let (quantity, price) = (decimal(&row.text("quantity")?)?, decimal(&row.text("price")?)?);
            let trade = Trade { id: row.text("trade_id")?, quantity, price };
            read.trades.entry(row.text("order_id")?).or_default().push(trade);
        }
        for row in rows(journal, "SELECT * FROM order_commits ORDER BY order_id, first_version").await? {
            let number = |column: &str| row.number(column).map(i64::cast_unsigned);
            let event_ids = ids(&row.json("events")?);
            let commit = Commit { first: number("first_version")?, last: number("version")?, event_ids };
            read.commits.entry(row.text("order_id")?).or_default().push(commit);
        }
        for row in rows(journal, "SELECT * FROM requests").await? {
            read.entries.insert(entry_of(&row)?);
        }
        for row in rows(journal, "SELECT * FROM outcomes").await? {
            let (status, code) = (row.optional("status")?, row.optional("code")?);
            let version = row.number("order_version")?.cast_unsigned();
            read.outcomes.insert(entry_of(&row)?, JournalOutcome { version, status, code });
        }
        for row in rows(journal, "SELECT * FROM positions WHERE strategy_id = ''").await? {
            let amount = |column: &str| decimal(&row.text(column)?);
            read.positions.push(Position {
                broker: row.text("broker")?,
                symbol: row.text("symbol")?,
                quantity: amount("quantity")?,
                reserved_buy: amount("reserved_buy")?,
                reserved_sell: amount("reserved_sell")?,
            });
        }
        let outboxes =
            "SELECT (SELECT count(*) FROM outbox_commits) + (SELECT count(*) FROM outbox_outcomes)";
        read.unpublished = journal.try_count(outboxes).await.map_err(said)?;
        Ok(read)
    }
}

fn entry_of(row: &Row) -> Result<String, String> {
    Ok(entry_id(row.number("entry_ms")?, row.number("entry_seq")?))
}

fn order(row: &Row) -> Result<Order, String> {
    let (spec, state) = (row.json("spec")?, row.json("state")?);
    Ok(Order {
        id: row.text("id")?,
        client_order_id: row.text("client_order_id")?,
        entry: entry_of(row)?,
        broker: row.text("broker")?,
        symbol: row.text("symbol")?,
        buys: row.text("side")? == "Buy",
        quantity: amount(&spec["quantity"])?,
        asked: optional(&state["pending_replace"]["terms"]["quantity"])?,
        limit: limit(&spec["order_type"])?,
        filled: decimal(&row.text("filled_quantity")?)?,
        status: row.text("status")?,
        version: row.number("version")?.cast_unsigned(),
        parked: state["parked"] == true,
        command: state["pending_cancel"] == true || !state["pending_replace"].is_null(),
    })
}

/// The worst price that it is worked at.
fn limit(order_type: &Value) -> Result<Option<Decimal>, String> {
    let own = ["StopLimit", "LimitIfTouched"].into_iter().find(|name| !order_type[*name].is_null());
    match own {
        Some(name) => optional(&order_type[name]["limit_price"]),
        None => optional(&order_type["Limit"]["price"]),
    }
}

pub(crate) fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().into_iter().flatten();
    events.map(|event| event["event_id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// `GET /control/ledger`.
pub(crate) fn ledger(answer: &Value) -> Result<Ledger, String> {
    let mut ledger = Ledger::new();
    for order in answer["orders"].as_array().ok_or("the ledger has no orders")? {
        let id = order["client_order_id"].as_str().ok_or("an order without an id")?;
        let generations = order["generations"].as_array().ok_or("an order without generations")?;
        let generations: Result<Vec<_>, _> = generations.iter().map(generation).collect();
        ledger.insert(id.to_owned(), generations?);
    }
    Ok(ledger)
}

fn generation(value: &Value) -> Result<Generation, String> {
    let mut executions = Vec::new();
    for execution in value["executions"].as_array().into_iter().flatten() {
        let id = execution["trade_id"].as_str().ok_or("an execution without an id")?.to_owned();
        let (quantity, price) = (amount(&execution["quantity"])?, amount(&execution["price"])?);
        executions.push(Trade { id, quantity, price });
    }
    Ok(Generation {
        status: value["status"].as_str().unwrap_or_default().to_owned(),
        quantity: amount(&value["quantity"])?,
        price: optional(&value["price"])?,
        executions,
    })
}

impl Redis {
    pub(crate) async fn read(stage: &Stage) -> Result<Self, String> {
        let lab = &stage.lab;
        let mut link = stage.link();
        let producer = stage.producer.lock().await;
        let mut read = Self::default();
        for (completed, stream, before) in
            [(true, "completed", &producer.archive.completed), (false, "failed", &producer.archive.failed)]
        {
            read.outcomes.extend(before.iter().cloned().map(|entry| (completed, entry)));
            let now = link.range(&lab.key(stream)).await.map_err(said)?;
            read.outcomes.extend(now.into_iter().map(|entry| (completed, entry)));
        }
        read.events.extend(producer.archive.events.iter().cloned());
        read.events.extend(link.range(&lab.key("events")).await.map_err(said)?);
        let pending = lab.key("pending");
        read.pending = link.ask(redis::cmd("XLEN").arg(&pending)).await.map_err(said)?;
        let held: Result<(i64, redis::Value, redis::Value, redis::Value), _> =
            link.ask(redis::cmd("XPENDING").arg(&pending).arg("execution")).await;
        // Without a group there is nothing in it.
        read.held = held.map_or(0, |held| held.0);
        read.states = states(&mut link, &lab.key("state:")).await?;
        Ok(read)
    }
}

async fn states(link: &mut Link, prefix: &str) -> Result<BTreeMap<String, Value>, String> {
    let mut found = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(1000);
        let (next, keys): (u64, Vec<String>) = link.ask(&scan).await.map_err(said)?;
        if !keys.is_empty() {
            let texts: Vec<Option<String>> = link.ask(redis::cmd("MGET").arg(&keys)).await.map_err(said)?;
            for (key, text) in keys.iter().zip(texts) {
                let Some(text) = text else { continue };
                let state = serde_json::from_str(&text).map_err(|e| format!("{key}: {e}"))?;
                found.insert(key[prefix.len()..].to_owned(), state);
            }
        }
        if next == 0 {
            return Ok(found);
        }
        cursor = next;
    }
}

/// The bare status of an order's JSON.
pub(crate) fn status_of(order: &Value) -> String {
    if order["status"].is_null() { String::new() } else { bare_status(&order["status"]).to_owned() }
}
