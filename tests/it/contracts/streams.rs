//! Redis, a private server for each rule.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_execution::adapters::redis::{Decode, RawEntry, Redis, RedisSettings};
use order_execution::domain::ids::{EntryId, OrderId};
use order_execution::domain::order::ContentHash;
use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::request::{Received, Refused, Request, RequestKind};
use order_execution::domain::time::Timestamp;
use redis::FromRedisValue;

use crate::contracts::streams::{Consumer, StreamsUnderTest, streams_rules};
use crate::harness::RedisServer;

/// Long enough for that a living one says so in time on a loaded machine.
const CLAIM_IDLE: Duration = Duration::from_millis(1500);

struct Server {
    server: RedisServer,
    connection: redis::aio::MultiplexedConnection,
    /// The stream of requests as it was.
    dump: Mutex<Vec<u8>>,
}

impl Server {
    async fn new() -> Self {
        let server = tokio::task::spawn_blocking(RedisServer::start).await.unwrap();
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { server, connection, dump: Mutex::default() }
    }

    async fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        let mut parts = words.split_whitespace();
        let mut cmd = redis::cmd(parts.next().unwrap());
        for part in parts {
            cmd.arg(part);
        }
        let mut connection = self.connection.clone();
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    /// Of each entry of a stream these fields.
    async fn fields(&self, stream: &str, names: &[&str]) -> Vec<Vec<String>> {
        let entries: Vec<(String, std::collections::BTreeMap<String, String>)> =
            self.ask(&format!("XRANGE t:{stream} - +")).await;
        entries.iter().map(|(_, fields)| names.iter().map(|name| fields[*name].clone()).collect()).collect()
    }
}

/// What the field `order` holds is the content.
fn decode() -> Decode {
    Arc::new(|entry: &RawEntry<'_>| {
        let order = entry.fields.iter().find(|(name, _)| *name == b"order").map(|(_, value)| value.to_vec());
        let payload = order.unwrap_or_default();
        Received {
            key: entry.key.clone(),
            hash: ContentHash::of(&payload),
            request: Request::Refused(Box::new(Refused {
                kind: RequestKind::Submit,
                refusal: Refusal::new(Code::InvalidPayload, "a test"),
                client_order_id: None,
                order_id: None,
                payload: Some(payload),
            })),
            made_at: Timestamp::from_micros(0),
            deliveries: entry.deliveries,
            traceparent: None,
        }
    })
}

impl StreamsUnderTest for Server {
    async fn consumer(&self, name: &str) -> Consumer {
        let settings = RedisSettings {
            url: self.server.url().into(),
            pool_size: 4,
            prefix: "t".to_owned(),
            group: "execution".to_owned(),
            consumer: name.to_owned(),
            batch_size: 256,
            claim_idle: CLAIM_IDLE,
            event_history: 1_000_000,
            outcome_history: Some(1_000_000),
            state_ttl: Duration::from_secs(100),
            max_quote_age: Duration::from_secs(5),
        };
        let redis = Redis::connect(settings).await.unwrap();
        let (inbox, control) = redis.inbox(decode());
        Consumer {
            inbox: Box::new(inbox),
            control: Arc::new(control),
            publisher: Arc::new(redis.publisher()),
        }
    }

    fn claim_idle(&self) -> Duration {
        CLAIM_IDLE
    }

    async fn add(&self, text: &str) -> EntryId {
        self.ask::<String>(&format!("XADD t:pending * order {text}")).await.parse().unwrap()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose_all(&self) {
        self.ask::<()>("FLUSHALL").await;
    }

    async fn remember(&self) {
        let mut connection = self.connection.clone();
        let dump: Vec<u8> = redis::cmd("DUMP").arg("t:pending").query_async(&mut connection).await.unwrap();
        *self.dump.lock().unwrap() = dump;
    }

    async fn fall_back(&self) {
        self.lose_all().await;
        let dump = self.dump.lock().unwrap().clone();
        let mut connection = self.connection.clone();
        let restore = redis::cmd("RESTORE").arg("t:pending").arg(0).arg(dump).to_owned();
        restore.query_async::<()>(&mut connection).await.unwrap();
    }

    async fn trim(&self) {
        self.ask::<i64>("XTRIM t:pending MAXLEN 0").await;
    }

    async fn versions_out(&self, order: OrderId) -> Vec<(u64, u64)> {
        let rows = self.fields("events", &["order_id", "first_version", "version"]).await;
        let of_order = rows.into_iter().filter(|row| row[0] == order.to_string());
        of_order.map(|row| (row[1].parse().unwrap(), row[2].parse().unwrap())).collect()
    }

    async fn state(&self, client_order_id: &str) -> Option<String> {
        self.ask(&format!("GET t:state:{client_order_id}")).await
    }

    async fn outcomes(&self) -> Vec<(EntryId, bool)> {
        let mut all = Vec::new();
        for (stream, completed) in [("completed", true), ("failed", false)] {
            let rows = self.fields(stream, &["entry_id"]).await;
            all.extend(rows.into_iter().map(|row| (row[0].parse().unwrap(), completed)));
        }
        all
    }
}

streams_rules!(as_tests, crate::contracts::streams, Server::new());
