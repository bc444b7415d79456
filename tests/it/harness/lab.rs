//! A laboratory: one test's prefix, journal, configuration and connection.

use super::command::program;
use super::{Database, Entry, Journal, Outcome, PATIENCE, Place, Ran, RedisServer, Settings, Worker};
use super::{decimal, eventually, rfc3339, schema, services};
use chrono::Utc;
use futures_util::StreamExt;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) struct Lab {
    dir: TempDir,
    place: Place,
    url: String,
    prefix: String,
    settings: Settings,
    redis: MultiplexedConnection,
    /// Entries that were held against their schema, by stream and id.
    checked: Mutex<BTreeSet<String>>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A laboratory on the shared servers, its configuration changed by `adjust`.
    pub(crate) async fn with(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::of(Database::chosen(), adjust).await
    }

    /// The same in this kind of database: for tests that are about one.
    pub(crate) async fn of(database: Database, adjust: impl FnOnce(&mut Settings)) -> Self {
        let dir = folder();
        let place = services::place(database, dir.path()).await;
        Self::at(dir, services::redis_url().await, place, adjust).await
    }

    /// One on a private Redis, for tests that stop or empty it.
    pub(crate) async fn on(server: &RedisServer, adjust: impl FnOnce(&mut Settings)) -> Self {
        let dir = folder();
        let place = services::place(Database::chosen(), dir.path()).await;
        Self::at(dir, server.url(), place, adjust).await
    }

    /// One on private servers; `None`: a file of its own, or the shared Redis.
    pub(crate) async fn between(
        redis_url: Option<String>,
        place: Option<Place>,
        adjust: impl FnOnce(&mut Settings),
    ) -> Self {
        let dir = folder();
        let place = place.unwrap_or_else(|| Place::File(dir.path().join("journal.db")));
        let url = match redis_url {
            Some(url) => url,
            None => services::redis_url().await,
        };
        Self::at(dir, url, place, adjust).await
    }

    async fn at(dir: TempDir, url: String, place: Place, adjust: impl FnOnce(&mut Settings)) -> Self {
        let prefix = format!("test-{}", uuid::Uuid::now_v7().simple());
        let mut settings = Settings::new(&url, &prefix, &place.url());
        adjust(&mut settings);
        let redis = connect(&url).await;
        let lab = Self { dir, place, url, prefix, settings, redis, checked: Mutex::default() };
        lab.write_settings();
        lab
    }

    /// Changes the configuration for the processes started from now on.
    pub(crate) fn adjust(&mut self, adjust: impl FnOnce(&mut Settings)) {
        adjust(&mut self.settings);
        self.write_settings();
    }

    fn write_settings(&self) {
        self.write_config("default.toml", &self.settings.to_toml());
        if !self.config_dir().join("development.toml").exists() {
            self.write_config("development.toml", "");
        }
    }

    pub(crate) fn write_config(&self, file: &str, text: &str) {
        std::fs::create_dir_all(self.config_dir()).unwrap();
        std::fs::write(self.config_dir().join(file), text).unwrap();
    }

    pub(crate) fn config_dir(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    pub(crate) fn redis(&self) -> MultiplexedConnection {
        self.redis.clone()
    }

    /// A new connection, after the server was restarted.
    pub(crate) async fn reconnect(&mut self) {
        self.redis = connect(&self.url).await;
    }

    // ---- processes

    /// The binary with this laboratory's configuration and nothing of the caller's environment that it reads.
    pub(crate) fn command(&self) -> Command {
        let mut command = program(&self.config_dir());
        command.current_dir(self.dir.path());
        command
    }

    pub(crate) fn spawn_worker(&self) -> Worker {
        let mut command = self.command();
        command.arg("worker");
        Worker::spawn(command)
    }

    pub(crate) async fn worker(&self) -> Worker {
        let mut worker = self.spawn_worker();
        worker.ready().await;
        worker
    }

    pub(crate) async fn cli(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command();
        command.args(arguments);
        Ran::of(command).await
    }

    pub(crate) const fn database(&self) -> Database {
        self.place.database()
    }

    pub(crate) fn database_url(&self) -> String {
        self.place.url()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The journal, opened beside whoever has it open.
    pub(crate) async fn journal(&self) -> Journal {
        self.try_journal(Duration::from_secs(20)).await.expect("the journal opens")
    }

    /// Waits so long for locks and for a server that does not answer.
    pub(crate) async fn try_journal(&self, patience: Duration) -> Result<Journal, sqlx::Error> {
        Journal::open(&self.place, patience).await
    }

    /// Whether somebody has made it.
    pub(crate) async fn has_journal(&self) -> bool {
        match &self.place {
            Place::File(path) => path.exists(),
            Place::Database { .. } => {
                let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
                self.journal().await.count(tables).await > 0
            }
        }
    }

    /// How many executions the journal holds, and of how many orders.
    pub(crate) async fn trades(&self) -> (i64, i64) {
        let mut journal = self.journal().await;
        let trades = journal.count("SELECT count(*) FROM trades").await;
        (trades, journal.count("SELECT count(DISTINCT order_id) FROM trades").await)
    }

    // ---- requests

    /// Adds entries in one pipeline; returns their ids.
    pub(crate) async fn burst(&self, entries: &[Vec<(&str, Vec<u8>)>]) -> Vec<String> {
        let mut pipe = redis::pipe();
        for entry in entries {
            let command = pipe.cmd("XADD").arg(self.key("pending")).arg("*");
            for (field, value) in entry {
                command.arg(*field).arg(value.as_slice());
            }
        }
        pipe.query_async(&mut self.redis()).await.expect("XADD")
    }

    pub(crate) async fn add(&self, fields: &[(&str, &[u8])]) -> String {
        let entry = fields.iter().map(|(field, value)| (*field, value.to_vec())).collect();
        self.burst(&[entry]).await.remove(0)
    }

    pub(crate) async fn submit(&self, order: &Value) -> String {
        self.add(&[("order", order.to_string().as_bytes())]).await
    }

    pub(crate) async fn submit_all(&self, orders: &[Value]) -> Vec<String> {
        let entries: Vec<_> = orders.iter().map(|o| vec![("order", o.to_string().into_bytes())]).collect();
        self.burst(&entries).await
    }

    /// Submits and waits for what becomes of it.
    pub(crate) async fn execute(&self, order: &Value) -> Outcome {
        let entry = self.submit(order).await;
        self.outcome(&entry).await
    }

    /// A cancel request and what becomes of it.
    pub(crate) async fn cancel(&self, which: &Value) -> Outcome {
        let entry = self.add(&[("cancel", which.to_string().as_bytes())]).await;
        self.outcome(&entry).await
    }

    // ---- answers

    pub(crate) async fn range(&self, stream: &str) -> Vec<Entry> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.key(stream)).arg("-").arg("+");
        let reply: StreamRangeReply = command.query_async(&mut self.redis()).await.expect("XRANGE");
        let entries: Vec<Entry> = reply.ids.into_iter().map(Entry::from).collect();
        for entry in &entries {
            if self.checked.lock().unwrap().insert(format!("{stream} {}", entry.id)) {
                schema::assert_entry(stream, entry);
            }
        }
        entries
    }

    pub(crate) async fn length(&self, stream: &str) -> usize {
        redis::cmd("XLEN").arg(self.key(stream)).query_async(&mut self.redis()).await.expect("XLEN")
    }

    pub(crate) async fn all_outcomes(&self) -> Vec<Outcome> {
        let mut all = Vec::new();
        for (stream, completed) in [("completed", true), ("failed", false)] {
            all.extend(self.range(stream).await.into_iter().map(|entry| Outcome { completed, entry }));
        }
        all
    }

    pub(crate) async fn outcome_now(&self, entry_id: &str) -> Option<Outcome> {
        let mut found: Vec<_> =
            self.all_outcomes().await.into_iter().filter(|o| o.text("entry_id") == entry_id).collect();
        assert!(found.len() < 2, "request {entry_id} has {} outcomes", found.len());
        found.pop()
    }

    pub(crate) async fn outcome(&self, entry_id: &str) -> Outcome {
        eventually(&format!("the outcome of {entry_id}"), async || self.outcome_now(entry_id).await).await
    }

    /// The outcomes of `entries`, in their order, once all are there and nothing is pending any more: so each has
    /// exactly one, now and for ever.
    pub(crate) async fn outcomes(&self, entries: &[String]) -> Vec<Outcome> {
        self.outcomes_within(PATIENCE * 2, entries).await
    }

    pub(crate) async fn outcomes_within(&self, within: Duration, entries: &[String]) -> Vec<Outcome> {
        let what = format!("{} outcomes and an empty pending stream", entries.len());
        super::eventually_within(within, &what, async || {
            let there = self.length("completed").await + self.length("failed").await;
            (there >= entries.len() && self.length("pending").await == 0).then_some(())
        })
        .await;
        assert_eq!(self.pending_entries().await, 0, "entries left in the group's pending list");
        // For its own sake: what is read is held against its schema.
        self.range("events").await;
        let wanted: BTreeSet<&str> = entries.iter().map(String::as_str).collect();
        let mut by_id = BTreeMap::new();
        for outcome in self.all_outcomes().await {
            let id = outcome.text("entry_id").to_owned();
            if let Some(first) = by_id.insert(id.clone(), outcome) {
                panic!("request {id} has two outcomes, the first {}", first.entry);
            }
        }
        assert!(
            wanted.iter().all(|id| by_id.contains_key(*id)),
            "outcomes of other requests than those added"
        );
        entries.iter().map(|id| by_id[id].clone()).collect()
    }

    /// How many entries the group has delivered and not acknowledged.
    pub(crate) async fn pending_entries(&self) -> i64 {
        let mut command = redis::cmd("XPENDING");
        command.arg(self.key("pending")).arg("execution");
        let reply: (i64, redis::Value, redis::Value, redis::Value) =
            command.query_async(&mut self.redis()).await.expect("XPENDING");
        reply.0
    }

    /// The names of the group's consumers.
    pub(crate) async fn consumers(&self) -> Vec<String> {
        let mut command = redis::cmd("XINFO");
        command.arg("CONSUMERS").arg(self.key("pending")).arg("execution");
        let reply: redis::streams::StreamInfoConsumersReply =
            command.query_async(&mut self.redis()).await.expect("XINFO CONSUMERS");
        reply.consumers.into_iter().map(|c| c.name).collect()
    }

    pub(crate) async fn state(&self, client_order_id: &str) -> Option<Value> {
        let key = self.key(&format!("state:{client_order_id}"));
        let text: Option<String> =
            redis::cmd("GET").arg(key).query_async(&mut self.redis()).await.expect("GET");
        let state = text.map(|t| serde_json::from_str(&t).expect("the state is JSON"));
        state.inspect(|order| schema::assert_is("Order", order))
    }

    /// Waits until the order's published state is as wanted.
    pub(crate) async fn state_becomes_with(
        &self,
        client_order_id: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(&format!("a change of {client_order_id}"), async || {
            self.state(client_order_id).await.filter(|state| wanted(state))
        })
        .await
    }

    /// Waits until the order's published state has this bare status.
    pub(crate) async fn state_becomes(&self, client_order_id: &str, status: &str) -> Value {
        eventually(&format!("{client_order_id} to be {status}"), async || {
            self.state(client_order_id).await.filter(|state| bare_status(&state["status"]) == status)
        })
        .await
    }

    /// The entries of `orders:events` of one order, oldest first.
    pub(crate) async fn history(&self, order_id: &str) -> Vec<Entry> {
        let all = self.range("events").await;
        all.into_iter().filter(|entry| entry.text("order_id") == order_id).collect()
    }

    /// Subscribes to a channel; messages are kept from now on.
    pub(crate) async fn watch(&self, channel: &'static str) -> Watch {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut pubsub = client.get_async_pubsub().await.expect("a pub/sub connection");
        pubsub.subscribe(self.key(channel)).await.expect("SUBSCRIBE");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut messages = pubsub.into_on_message();
            while let Some(message) = messages.next().await {
                sink.lock().unwrap().push(String::from_utf8_lossy(message.get_payload_bytes()).into_owned());
            }
        });
        Watch { channel, seen }
    }

    // ---- market data

    /// Writes a quote as of now with both prices and their middle; `more` are further fields (sizes).
    pub(crate) async fn quote(&self, symbol: &str, bid: &str, ask: &str, more: &[(&str, &str)]) {
        let middle = (decimal(&json!(bid)) + decimal(&json!(ask))) / rust_decimal::Decimal::TWO;
        let (last, now) = (middle.normalize().to_string(), rfc3339(Utc::now()));
        let mut fields =
            vec![("bid", bid), ("ask", ask), ("last", &last), ("timestamp", &now), ("source", "test")];
        fields.extend(more);
        self.quote_fields(symbol, &fields).await;
    }

    /// Both sides at one price, so that it is known whatever price a mark is taken from.
    pub(crate) async fn trade_at(&self, symbol: &str, price: &str) {
        self.quote(symbol, price, price, &[]).await;
    }

    /// Replaces the quote by exactly these fields, in one step.
    pub(crate) async fn quote_fields(&self, symbol: &str, fields: &[(&str, &str)]) {
        let key = self.key(&format!("quotes:{symbol}"));
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("DEL").arg(&key).ignore();
        pipe.cmd("HSET").arg(&key).arg(fields).ignore();
        pipe.query_async::<()>(&mut self.redis()).await.expect("HSET");
    }

    /// A position as `positions --json` tells it.
    pub(crate) async fn position(&self, symbol: &str) -> Value {
        let ran = self.cli(&["positions", "--json"]).await.succeeded();
        let rows = ran.json();
        let rows = rows.as_array().expect("an array of positions").clone();
        let mut rows: Vec<_> = rows.into_iter().filter(|row| row["symbol"] == symbol).collect();
        assert_eq!(rows.len(), 1, "rows of {symbol} in {}", ran.stdout);
        rows.remove(0)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.place.remove();
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap_or_else(|e| panic!("{url} is no Redis address: {e}"));
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap_or_else(|e| panic!("no Redis answers at {url}: {e}"))
}

pub(crate) fn bare_status(status: &Value) -> &str {
    match status {
        Value::String(name) => name,
        Value::Object(map) if map.len() == 1 => map.keys().next().expect("one key"),
        other => panic!("no status: {other}"),
    }
}

/// Messages of a channel, as they came.
pub(crate) struct Watch {
    channel: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    pub(crate) fn texts(&self) -> Vec<String> {
        let texts = self.seen.lock().unwrap().clone();
        for text in texts.iter().filter(|_| self.channel == "status") {
            schema::assert_is("StatusMessage", &serde_json::from_str(text).expect("a message is JSON"));
        }
        texts
    }

    /// The messages about one order.
    pub(crate) fn about(&self, client_order_id: &str) -> Vec<Value> {
        let parse = |text: String| serde_json::from_str::<Value>(&text).expect("a message is JSON");
        self.texts().into_iter().map(parse).filter(|m| m["client_order_id"] == client_order_id).collect()
    }
}
