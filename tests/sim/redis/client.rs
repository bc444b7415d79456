//! A worker's side of Redis: inbox, control, publisher, quotes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use order_execution::domain::ids::{BrokerName, EntryId, OrderId, RequestKey, Symbol};
use order_execution::domain::market::Quote;
use order_execution::domain::order::ContentHash;
use order_execution::domain::request::{Received, Request};
use order_execution::domain::time::Timestamp;
use order_execution::domain::trading_state::Switch;
use order_execution::ports::clock::Clock;
use order_execution::ports::inbox::{Batch, Depth, Inbox, InboxControl, InboxError, Incarnation};
use order_execution::ports::publisher::{Answers, FinishAnswer, Publication, PublishError, Publisher};
use order_execution::ports::quotes::{Quotes, QuotesError};

use super::super::line::{Line, NoAnswer};
use super::super::world::WorldClock;
use super::{Body, Server};

pub(crate) const LANE: &str = "orders";
/// Entries of one read, at most.
const BATCH: usize = 8;
/// A read waits so long for the first.
const BLOCK_US: i64 = 100_000;

/// One consumer's connection.
#[derive(Clone)]
pub(crate) struct MemoryRedis {
    pub(crate) server: Arc<Server>,
    pub(crate) line: Line,
    pub(crate) consumer: Arc<str>,
    stopping: Arc<AtomicBool>,
    /// What `next` gave out and the publisher is not done with.
    handed: Arc<Mutex<BTreeSet<EntryId>>>,
}

impl MemoryRedis {
    pub(crate) fn new(server: Arc<Server>, line: Line, consumer: Arc<str>) -> Self {
        Self { server, line, consumer, stopping: Arc::default(), handed: Arc::default() }
    }

    pub(crate) fn inbox(&self) -> MemoryInbox {
        MemoryInbox { redis: self.clone(), candidates: VecDeque::new(), look_at_us: 0, connected: false }
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Server, &Arc<str>) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (server, me) = (self.server.clone(), self.consumer.clone());
        self.line.call(what, move || work(&server, &me)).await
    }

    async fn control<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Server, &Arc<str>) -> T + Send + 'static,
    ) -> Result<T, InboxError> {
        let answer = self.ask(what, work).await;
        answer.map_err(|why| InboxError { what: what.to_owned(), source: Box::new(why) })
    }

    fn handed(&self) -> MutexGuard<'_, BTreeSet<EntryId>> {
        self.handed.lock().unwrap()
    }

    async fn beat(&self) -> Result<(), InboxError> {
        self.control("heartbeat", |server, me| {
            let until = server.now_ms() + server.claim_idle_ms;
            server.data().heartbeats.insert(me.clone(), until);
        })
        .await
    }
}

pub(crate) struct MemoryInbox {
    redis: MemoryRedis,
    candidates: VecDeque<(EntryId, Arc<str>)>,
    look_at_us: i64,
    connected: bool,
}

impl MemoryInbox {
    fn received(&self, id: EntryId, body: Option<Body>, deliveries: u32) -> Received {
        let made_at = Timestamp::from_micros(i64::try_from(id.ms).unwrap() * 1000);
        let (mut request, hash) = match body {
            Some(body) => (body.request, body.hash),
            None => (Request::Trimmed, ContentHash::of(&[])),
        };
        // Each time that it is decoded an order gets an id of ours.
        if let Request::Submit(spec) = &mut request {
            spec.id = OrderId(WorldClock(self.redis.line.world.clone()).uuid());
        }
        let key = RequestKey { lane: LANE.into(), entry: id };
        Received { key, hash, request, made_at, deliveries, traceparent: None }
    }

    async fn taken_over(&mut self) -> Result<Option<Batch>, InboxError> {
        let world = self.redis.line.world.clone();
        if world.now_us() >= self.look_at_us {
            let handed = self.redis.handed().clone();
            let look = move |server: &Server, me: &Arc<str>| {
                server.data().look_around(me, &handed, server.claim_idle_ms, server.now_ms())
            };
            let (found, seen) = self.redis.control("look around", look).await?;
            self.redis.handed().retain(|id| seen.contains(id));
            self.candidates = found.into();
            let every = i64::try_from(self.redis.server.claim_idle_ms).unwrap() * 250;
            self.look_at_us = world.now_us() + every.clamp(250_000, 1_000_000);
        }
        while !self.candidates.is_empty() {
            let tried: Vec<_> = self.candidates.iter().take(BATCH).cloned().collect();
            let count = tried.len();
            let begin = move |server: &Server, me: &Arc<str>| {
                server.data().begin(me, &tried, server.claim_idle_ms, server.now_ms())
            };
            let (looked, taken) = self.redis.control("begin", begin).await?;
            self.candidates.drain(..looked.clamp(1, count));
            if !taken.is_empty() {
                self.redis.handed().extend(taken.iter().map(|(id, ..)| *id));
                let requests = taken.into_iter().map(|(id, n, body)| self.received(id, body, n)).collect();
                return Ok(Some(Batch { requests, reclaimed: true }));
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Batch, InboxError> {
        if !self.connected {
            self.redis.beat().await?;
            self.connected = true;
        }
        let world = self.redis.line.world.clone();
        let until = world.now_us() + BLOCK_US;
        loop {
            if self.redis.stopping.load(Ordering::Relaxed) {
                return Ok(Batch::default());
            }
            let read = |server: &Server, me: &Arc<str>| server.data().read(me, BATCH, server.now_ms());
            let new = self.redis.control("read", read).await.inspect_err(|_| {
                // Entries may have been delivered with an answer that never came: they are looked for at once.
                (self.connected, self.look_at_us) = (false, 0);
            })?;
            if !new.is_empty() {
                self.redis.handed().extend(new.iter().map(|(id, _)| *id));
                let requests = new.into_iter().map(|(id, body)| self.received(id, Some(body), 1)).collect();
                return Ok(Batch { requests, reclaimed: false });
            }
            if world.now_us() >= until {
                return Ok(Batch::default());
            }
            self.redis.line.sleep(world.between(5_000, 25_000)).await;
        }
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn next(&mut self) -> Result<Batch, InboxError> {
        if self.redis.stopping.load(Ordering::Relaxed) {
            return Ok(Batch::default());
        }
        match self.taken_over().await? {
            Some(batch) => Ok(batch),
            None => self.read().await,
        }
    }

    async fn next_abandoned(&mut self) -> Result<Batch, InboxError> {
        if self.redis.stopping.load(Ordering::Relaxed) {
            return Ok(Batch::default());
        }
        if let Some(batch) = self.taken_over().await? {
            return Ok(batch);
        }
        self.redis.line.sleep(50_000).await;
        Ok(Batch::default())
    }
}

#[async_trait]
impl InboxControl for MemoryRedis {
    async fn release(&self) -> Result<(), InboxError> {
        self.stopping.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn heartbeat(&self) -> Result<(), InboxError> {
        self.beat().await
    }

    async fn older_than(&self, entry: EntryId, limit: usize) -> Result<Vec<EntryId>, InboxError> {
        let older = move |server: &Server, _: &Arc<str>| {
            server.data().stream.range(..entry).map(|(id, _)| *id).take(limit).collect()
        };
        self.control("older", older).await
    }

    async fn present(&self, entries: &[EntryId]) -> Result<Vec<EntryId>, InboxError> {
        let entries = entries.to_vec();
        let present = move |server: &Server, _: &Arc<str>| {
            let data = server.data();
            entries.into_iter().filter(|id| data.stream.contains_key(id)).collect()
        };
        self.control("present", present).await
    }

    async fn renew(&self, idle: Duration) -> Result<usize, InboxError> {
        let idle_ms = u64::try_from(idle.as_millis()).unwrap();
        self.control("renew", move |server, me| server.data().renew(me, idle_ms, server.now_ms())).await
    }

    async fn incarnation(&self) -> Result<Incarnation, InboxError> {
        let ask = |server: &Server, _: &Arc<str>| Incarnation {
            run: server.run().to_string(),
            kept: server.data().marker == Some(true),
        };
        self.control("incarnation", ask).await
    }

    async fn mark_filling(&self) -> Result<(), InboxError> {
        let mark = |server: &Server, _: &Arc<str>| {
            server.data().marker.get_or_insert(false);
        };
        self.control("mark filling", mark).await
    }

    async fn mark_kept(&self) -> Result<bool, InboxError> {
        let mark = |server: &Server, _: &Arc<str>| {
            let marker = &mut server.data().marker;
            *marker = marker.map(|_| true);
            marker.is_some()
        };
        self.control("mark kept", mark).await
    }

    async fn leave(&self) -> Result<bool, InboxError> {
        let leave = |server: &Server, me: &Arc<str>| {
            let mut data = server.data();
            data.heartbeats.remove(me);
            data.holds_nothing(me)
        };
        self.control("leave", leave).await
    }

    async fn depth(&self) -> Result<Depth, InboxError> {
        let depth = |server: &Server, _: &Arc<str>| {
            let data = server.data();
            Depth {
                waiting: data.stream.len() as u64,
                pending: data.group.as_ref().map_or(0, |group| group.held.len() as u64),
                oldest: data.stream.first_key_value().map(|(id, _)| *id),
            }
        };
        self.control("depth", depth).await
    }

    async fn ping(&self) -> Result<(), InboxError> {
        self.control("ping", |_, _| ()).await
    }
}

#[async_trait]
impl Publisher for MemoryRedis {
    async fn now_ms(&self) -> Result<u64, PublishError> {
        let answer = self.ask("time", |server, _| server.now_ms()).await;
        answer.map_err(|why| PublishError { what: "time".to_owned(), source: Box::new(why) })
    }

    async fn publish(&self, publication: &Publication) -> Result<Answers, PublishError> {
        let sent = publication.clone();
        let answer = self.ask("publish", move |server, me| server.publish(me, &sent)).await;
        if let Ok(answers) = &answer {
            let mut handed = self.handed();
            for (finish, answer) in publication.finishes.iter().zip(&answers.finishes) {
                if *answer != FinishAnswer::Behind {
                    handed.remove(&finish.entry);
                }
            }
        }
        answer.map_err(|why| PublishError { what: "publication".to_owned(), source: Box::new(why) })
    }

    async fn tell_switch(&self, _switch: &Switch) -> Result<(), PublishError> {
        let answer = self.ask("tell", |_, _| ()).await;
        answer.map_err(|why| PublishError { what: "trading state".to_owned(), source: Box::new(why) })
    }
}

/// Nothing but configured prices.
#[async_trait]
impl Quotes for MemoryRedis {
    async fn read(
        &self,
        _wanted: &[(BrokerName, Symbol)],
    ) -> Result<HashMap<(BrokerName, Symbol), Quote>, QuotesError> {
        let answer = self.ask("quotes", |_, _| HashMap::new()).await;
        answer.map_err(|why| QuotesError { what: "quotes".to_owned(), source: Box::new(why) })
    }
}
