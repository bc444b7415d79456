//! One installation to be proven: Redis, a journal, where the profile needs it an exchange, and workers.

use crate::exchange::Exchange;
use crate::harness::{Database, Entry, Journal, Lab, Limits, Place, Row};
use crate::link::Link;
use crate::process::Process;
use crate::producer::Producer;
use crate::profile::Profile;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// An entry is taken over after so long, and an order's lease is as long: a trial waits for both.
pub(crate) const CLAIM_IDLE: Duration = Duration::from_millis(400);

/// Limits tight enough to be met all the time: a symbol's position, that of one strategy, and the account's open orders.
pub(crate) const MAX_POSITION: i64 = 40;
pub(crate) const STRATEGY: &str = "alpha";
pub(crate) const STRATEGY_POSITION: i64 = 12;
pub(crate) const ACCOUNT_OPEN_ORDERS: usize = 40;

/// What is traded, and at which price at first.
pub(crate) const SYMBOLS: [(&str, i64); 3] = [("BTCUSDT", 45_000), ("ETHUSDT", 3_000), ("SOLUSDT", 200)];

pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) profile: Profile,
    pub(crate) exchange: Option<Mutex<Exchange>>,
    pub(crate) producer: Mutex<Producer>,
}

impl Stage {
    /// `place`: where the journal is to be; else in a file of its own.
    pub(crate) async fn new(
        redis_url: String,
        place: Option<Place>,
        profile: Profile,
    ) -> Result<Self, String> {
        let mut lab = Lab::between(Some(redis_url), place, |s| {
            s.set("worker.claim_idle_ms", &CLAIM_IDLE.as_millis().to_string())
                .set("worker.command_wait_ms", "1000")
                // Killed at random, a request is not to blame for its deliveries.
                .set("worker.max_deliveries", "1000")
                .set("worker.batch_size", "32")
                .set("streams.outcome_history", "0")
                .set("streams.event_history", "100000000")
                .set("risk.max_quote_age_ms", "3600000")
                .text("app.log_level", "info")
                .limits([
                    Limits::unlimited("*").with("max_position", &format!("\"{MAX_POSITION}\"")),
                    Limits::unlimited("*")
                        .with("strategy_id", &format!("{STRATEGY:?}"))
                        .with("max_position", &format!("\"{STRATEGY_POSITION}\"")),
                    Limits::unlimited("*")
                        .with("account", "true")
                        .with("max_open_orders", &ACCOUNT_OPEN_ORDERS.to_string()),
                ]);
            for (symbol, price) in SYMBOLS {
                s.price(symbol, &price.to_string());
            }
        })
        .await;
        let over_network = lab.database() == Database::Postgres;
        let mut exchange = None;
        if let Some(setting) = profile.setting() {
            let started = Exchange::start(&lab, profile).await?;
            lab.adjust(|s| {
                s.text("broker.mock.url", started.url())
                    .text("broker.mock.profile", setting)
                    .set("broker.mock.request_timeout_ms", "300")
                    .set("broker.mock.settle_ms", "200")
                    // An attempt that is not sent within it is none: the database is part of that way.
                    .set("broker.mock.recv_window_ms", if over_network { "1000" } else { "400" })
                    .set("broker.retry_ms", "5000");
            });
            exchange = Some(Mutex::new(started));
        }
        let producer = Mutex::new(Producer::new(lab.url(), lab.prefix()));
        let stage = Self { lab, profile, exchange, producer };
        for (symbol, price) in SYMBOLS {
            let price = price.to_string();
            stage.market(symbol, &price, &price, None).await?;
        }
        Ok(stage)
    }

    pub(crate) fn link(&self) -> Link {
        Link::new(self.lab.url())
    }

    pub(crate) fn worker(&self, name: &str) -> Process {
        Process::new(name, self.lab.path(&format!("{name}.log")))
    }

    pub(crate) fn worker_command(&self) -> Command {
        let mut command = self.lab.command();
        command.arg("worker");
        command
    }

    /// The journal, beside the workers that have it open.
    pub(crate) async fn journal(&self) -> Result<Journal, sqlx::Error> {
        self.lab.try_journal(Duration::from_secs(1)).await
    }

    pub(crate) const fn database(&self) -> Database {
        self.lab.database()
    }

    /// What `symbol` trades at from now on; `size`: how much of it on each side, else any.
    pub(crate) async fn market(
        &self,
        symbol: &str,
        bid: &str,
        ask: &str,
        size: Option<&str>,
    ) -> Result<(), String> {
        let mut quote = json!({"bid": bid, "ask": ask, "last": bid});
        if let Some(size) = size {
            quote["bid_size"] = json!(size);
            quote["ask_size"] = json!(size);
        }
        if let Some(exchange) = &self.exchange {
            return exchange.lock().await.prices(&json!({symbol: quote})).await;
        }
        let key = self.lab.key(&format!("quotes:{symbol}"));
        let mut pipe = redis::pipe();
        let now = crate::harness::rfc3339(chrono::Utc::now());
        let put = pipe.atomic().cmd("DEL").arg(&key).ignore().cmd("HSET").arg(&key).arg("timestamp").arg(now);
        for (field, value) in quote.as_object().into_iter().flatten() {
            put.arg(field).arg(value.as_str());
        }
        pipe.ignore();
        self.link().run::<()>(&pipe).await.map_err(|e| e.to_string())
    }

    /// Entries that have an outcome in Redis now.
    pub(crate) async fn answered(&self, link: &mut Link) -> Result<BTreeSet<String>, String> {
        let mut found = BTreeSet::new();
        for stream in ["completed", "failed"] {
            let entries = link.range(&self.lab.key(stream)).await.map_err(|e| e.to_string())?;
            found.extend(entries.iter().map(|entry: &Entry| entry.text("entry_id").to_owned()));
        }
        Ok(found)
    }

    /// What still moves, in words; `None`: all is at rest.
    pub(crate) async fn unrest(&self) -> Result<Option<String>, String> {
        let mut link = self.link();
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let pending = self.lab.key("pending");
        let waiting: i64 = link.ask(redis::cmd("XLEN").arg(&pending)).await.map_err(|e| text(&e))?;
        if waiting > 0 {
            return Ok(Some(format!("{waiting} requests are pending")));
        }
        let mut journal = self.journal().await.map_err(|e| text(&e))?;
        let queries = [
            ("commits are not marked as published", "SELECT count(*) FROM outbox_commits"),
            ("outcomes are not marked as published", "SELECT count(*) FROM outbox_outcomes"),
        ];
        let queries = queries.into_iter().chain([(
            "orders are about to expire",
            "SELECT count(*) FROM orders WHERE status IN ('Acknowledged', 'PartiallyFilled') \
             AND ends_us - created_us < 60000000",
        )]);
        let queries = queries.chain([(
            "journaled requests have no outcome",
            "SELECT count(*) FROM (SELECT lane, entry_ms, entry_seq FROM orders \
             UNION SELECT lane, entry_ms, entry_seq FROM requests) k WHERE NOT EXISTS (SELECT 1 FROM outcomes o \
             WHERE o.lane = k.lane AND o.entry_ms = k.entry_ms AND o.entry_seq = k.entry_seq)",
        )]);
        for (what, query) in queries {
            let count = journal.try_count(query).await.map_err(|e| text(&e))?;
            if count > 0 {
                return Ok(Some(format!("{count} {what}")));
            }
        }
        let living = "SELECT status, state FROM orders WHERE status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired')";
        let mut under_way = 0;
        for row in journal.try_rows(living).await.map_err(|e| text(&e))? {
            under_way += usize::from(is_under_way(&row)?);
        }
        if under_way > 0 {
            return Ok(Some(format!("{under_way} orders are under way")));
        }
        let open = "SELECT client_order_id FROM orders WHERE status IN ('Acknowledged', 'PartiallyFilled')";
        let open = journal.try_rows(open).await.map_err(|e| text(&e))?;
        let open: Result<Vec<_>, _> = open.iter().map(|row| row.text("client_order_id")).collect();
        let keys: Vec<String> = open?.iter().map(|id| self.lab.key(&format!("state:{id}"))).collect();
        if !keys.is_empty() {
            let there: usize = link.ask(redis::cmd("EXISTS").arg(&keys)).await.map_err(|e| text(&e))?;
            if there < keys.len() {
                return Ok(Some(format!("{} open orders have no state in Redis", keys.len() - there)));
            }
        }
        if let Some(exchange) = &self.exchange {
            let ledger = exchange.lock().await.ledger().await?;
            let executed = executions(&ledger);
            let rows = journal.try_rows(crate::auditor::TRADES).await.map_err(|e| text(&e))?;
            let booked = |row: &Row| {
                let amount = |column| row.text(column).map(|text| plain(&text));
                Ok::<_, String>((row.text("trade_id")?, amount("quantity")?, amount("price")?))
            };
            let booked: BTreeSet<_> = rows.iter().map(booked).collect::<Result<_, _>>()?;
            // Either way: what was taken back is booked until that is heard.
            let apart = executed.symmetric_difference(&booked).count();
            if apart > 0 {
                return Ok(Some(format!(
                    "{apart} trades are not in the journal as they are at the exchange"
                )));
            }
        }
        Ok(None)
    }

    /// Waits until nothing moves, twice in a row; else says what did when the time was up.
    pub(crate) async fn rest(&self, within: Duration) -> Option<String> {
        let deadline = Instant::now() + within;
        let mut calm = 0;
        loop {
            let unrest = self.unrest().await.unwrap_or_else(Some);
            calm = if unrest.is_none() { calm + 1 } else { 0 };
            if calm == 2 {
                return None;
            }
            if Instant::now() > deadline {
                return unrest;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Leaves the files for whoever looks into a failure; what a database server held, as a file of JSON lines.
    pub(crate) async fn keep(self) -> PathBuf {
        let folder = self.lab.path("");
        if self.database() == Database::Postgres
            && let Ok(mut journal) = self.journal().await
        {
            let mut text = String::new();
            for table in
                ["orders", "order_commits", "requests", "attempts", "outcomes", "trades", "positions"]
            {
                let rows = journal.try_rows(&format!("SELECT * FROM {table}")).await.unwrap_or_default();
                text.extend(rows.iter().map(|row| format!("{table} {row}\n")));
            }
            drop(std::fs::write(folder.join("journal.txt"), text));
        }
        // Dropped, it would take the folder with it.
        std::mem::forget(self.lab);
        folder
    }
}

/// Whether somebody has to do something about it yet.
fn is_under_way(row: &Row) -> Result<bool, String> {
    let state = row.json("state")?;
    let asked = state["pending_cancel"] == true || !state["pending_replace"].is_null();
    let rests = matches!(row.text("status")?.as_str(), "Acknowledged" | "PartiallyFilled");
    Ok(state["parked"] != true && (asked || !rests))
}

/// An amount in one form, however many zeros it was written with.
fn plain(text: &str) -> String {
    Decimal::from_str_exact(text).map_or_else(|_| text.to_owned(), |amount| amount.normalize().to_string())
}

/// Each with its id, quantity and price.
fn executions(ledger: &Value) -> BTreeSet<(String, String, String)> {
    let orders = ledger["orders"].as_array().into_iter().flatten();
    let generations = orders.flat_map(|order| order["generations"].as_array().into_iter().flatten());
    let executions =
        generations.flat_map(|generation| generation["executions"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let amount = |value: &Value| plain(value.as_str().unwrap_or_default());
    executions.map(|e| (text(&e["trade_id"]), amount(&e["quantity"]), amount(&e["price"]))).collect()
}
