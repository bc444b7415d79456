//! Against a real server, a private one for each test.

use std::sync::Arc;
use std::time::Duration;

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

use crate::domain::ids::EntryId;
use crate::domain::order::ContentHash;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{Received, Refused, Request, RequestKind};
use crate::domain::time::Timestamp;
use crate::runtime::private_redis::{Durability, PrivateRedis};

use super::{Decode, RawEntry, Redis, RedisControl, RedisInbox, RedisSettings};

mod drains;
mod inbox;
mod publisher;
mod quotes;
mod reader;
mod takeover;

/// Long enough for that nobody is taken for dead by accident.
const LONG: Duration = Duration::from_secs(60);

struct Lab {
    server: PrivateRedis,
    connection: MultiplexedConnection,
}

impl Lab {
    async fn new() -> Self {
        let server = PrivateRedis::start(Durability::None).await.unwrap();
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { server, connection }
    }

    fn settings(&self, consumer: &str, claim_idle: Duration) -> RedisSettings {
        RedisSettings {
            url: self.server.url().into(),
            pool_size: 4,
            prefix: "t".to_owned(),
            group: "execution".to_owned(),
            consumer: consumer.to_owned(),
            batch_size: 256,
            claim_idle,
            event_history: 1_000_000,
            outcome_history: Some(1_000_000),
            state_ttl: Duration::from_secs(100),
            max_quote_age: Duration::from_secs(5),
        }
    }

    async fn redis(&self, consumer: &str) -> Redis {
        Redis::connect(self.settings(consumer, LONG)).await.unwrap()
    }

    async fn inbox(&self, consumer: &str) -> (RedisInbox, RedisControl) {
        self.redis(consumer).await.inbox(decode())
    }

    /// Of a consumer that is dead after `claim_idle` without a heartbeat.
    async fn inbox_with(&self, consumer: &str, claim_idle: Duration) -> (RedisInbox, RedisControl) {
        Redis::connect(self.settings(consumer, claim_idle)).await.unwrap().inbox(decode())
    }

    /// A command as words, at the server itself.
    async fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        let mut parts = words.split_whitespace();
        let mut cmd = redis::cmd(parts.next().unwrap());
        for part in parts {
            cmd.arg(part);
        }
        let mut connection = self.connection.clone();
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    async fn add(&self, text: &str) -> EntryId {
        self.ask::<String>(&format!("XADD t:pending * order {text}")).await.parse().unwrap()
    }

    async fn make_group(&self) {
        self.ask::<()>("XGROUP CREATE t:pending execution 0 MKSTREAM").await;
    }

    /// Adds an entry that `consumer` then holds.
    async fn held_by(&self, consumer: &str, text: &str) -> EntryId {
        let id = self.add(text).await;
        let _: redis::Value =
            self.ask(&format!("XREADGROUP GROUP execution {consumer} COUNT 1000 STREAMS t:pending >")).await;
        id
    }

    /// Who holds an entry, and how often it was delivered.
    async fn holder(&self, id: EntryId) -> Option<(String, u32)> {
        let held: Vec<(String, String, u64, u32)> =
            self.ask(&format!("XPENDING t:pending execution {id} {id} 1")).await;
        held.into_iter().next().map(|(_, holder, _, deliveries)| (holder, deliveries))
    }
}

/// What the field `order` held becomes the payload.
fn decode() -> Decode {
    Arc::new(|entry: &RawEntry<'_>| {
        let payload =
            entry.fields.iter().find(|(name, _)| *name == b"order").map(|(_, value)| value.to_vec());
        Received {
            key: entry.key.clone(),
            hash: ContentHash::of(b"x"),
            request: Request::Refused(Box::new(Refused {
                kind: RequestKind::Submit,
                refusal: Refusal::new(Code::InvalidPayload, "a test"),
                client_order_id: None,
                order_id: None,
                payload,
            })),
            made_at: Timestamp::from_micros(0),
            deliveries: entry.deliveries,
            traceparent: None,
        }
    })
}

fn ids(requests: &[Received]) -> Vec<EntryId> {
    requests.iter().map(|request| request.key.entry).collect()
}

fn payload(request: &Received) -> Option<&str> {
    let Request::Refused(refused) = &request.request else { panic!("{request:?}") };
    refused.payload.as_deref().map(|bytes| std::str::from_utf8(bytes).unwrap())
}
