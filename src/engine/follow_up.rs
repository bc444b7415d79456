//! What follows up: commits and outcomes that are journaled and not published, requests that nobody works on any
//! more, and what Redis lost. Everything goes through the same admission and the same script as the first time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::crash::{self, Point};
use crate::domain::circuit::CircuitState;
use crate::domain::control::ControlEvent;
use crate::domain::ids::{EntryId, OrderId};
use crate::domain::order::Order;
use crate::domain::request::{Received, Request};
use crate::domain::time::Timestamp;
use crate::ports::journal::{Abandoned, JournalError};
use crate::ports::publisher::{OrderAnswer, OrderUpdate, Publication, Published};

use super::publish::{Batch, update_after, update_unmarked, update_with};
use super::{Ended, Engine, EngineError, Waiting};

/// Orders that are looked at which are not marked as published: all there can be within reason.
const MOST_UNMARKED: u32 = 1_000_000;
/// Orders whose state is put back at a time.
const REFRESH_PAGE: u32 = 500;

impl Engine {
    /// Publishes the commits that have waited since before `older_than_us` ago: whoever journaled them could not.
    /// Says how many orders it offered.
    pub async fn relay(&self, older_than_us: i64, limit: u32) -> Result<usize, EngineError> {
        let before = self.reader.now().await?.plus_micros(-older_than_us);
        let due = self.reader.unpublished(before, limit).await?;
        self.offer(due.iter().map(|order| (*order, None)).collect()).await?;
        Ok(due.len())
    }

    /// Offers what Redis lacks of some orders: after the version that it has (0: all), or where that was not asked, what
    /// the journal has not marked.
    async fn offer(&self, mut lacking: BTreeMap<OrderId, Option<u64>>) -> Result<(), EngineError> {
        let mut published = Published::default();
        // Once as the journal has marked it, and once more as Redis answers.
        for _ in 0..2 {
            let mut orders = Vec::with_capacity(lacking.len());
            for (order, version) in &lacking {
                let history = self.reader.commits(*order).await;
                let update = history.and_then(|history| match version {
                    None => update_unmarked(&history),
                    Some(version) => update_after(&history, *version),
                });
                match update {
                    Ok(update) => orders.extend(update),
                    Err(error @ JournalError::Corrupt { .. }) => {
                        tracing::error!(order_id = %order, %error, "ALARM: an order's events cannot be read");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if orders.is_empty() {
                break;
            }
            let behind = self.publish_orders(orders, &mut published).await?;
            lacking = behind.into_iter().map(|(order, version)| (order, Some(version))).collect();
        }
        self.mark(published);
        Ok(())
    }

    /// Returns the orders that Redis has an older version of than the update continues.
    async fn publish_orders(
        &self,
        orders: Vec<OrderUpdate>,
        published: &mut Published,
    ) -> Result<BTreeMap<OrderId, u64>, EngineError> {
        let publication = Publication { orders, ..Publication::default() };
        crash::point(Point::RelayBefore);
        let answers = self.publisher.publish(&publication).await?;
        crash::point(Point::RelayAfter);
        let mut behind = BTreeMap::new();
        for (update, answer) in publication.orders.iter().zip(&answers.orders) {
            match answer {
                OrderAnswer::Published(version) => published.orders.push((update.order_id, *version)),
                OrderAnswer::Behind(version) => drop(behind.insert(update.order_id, *version)),
            }
        }
        Ok(behind)
    }

    /// Publishes the outcomes that have waited since before `older_than_us` ago, also of requests whose entry Redis
    /// lost. Says how many it offered.
    pub async fn relay_outcomes(&self, older_than_us: i64, limit: u32) -> Result<usize, EngineError> {
        // Asked before the journal is: what is published later than this is known to the script.
        let now_ms = self.publisher.now_ms().await?;
        let before = self.reader.now().await?.plus_micros(-older_than_us);
        let due = self.reader.unpublished_outcomes(before, limit).await?;
        let count = due.len();
        let ended = due.into_iter().map(|(mut outcome, order)| {
            let order = order.map(Arc::new);
            if let Some(order) = &order {
                outcome.tell_with(order);
            }
            let received = Arc::new(Received {
                key: outcome.key.clone(),
                hash: outcome.hash,
                request: Request::Journaled(None),
                made_at: outcome.timestamp,
                deliveries: 2,
                traceparent: None,
            });
            Ended { received, outcome, order, unpublished_at_ms: Some(now_ms) }
        });
        let batch = Batch::of(ended.collect());
        self.publish(&batch).await?;
        Ok(count)
    }

    /// Requests that the journal has, undecided, and that nobody has the right to decide about: to be taken up.
    pub async fn abandoned(&self, grace_us: i64, limit: u32) -> Result<Vec<Waiting>, EngineError> {
        let now = self.reader.now().await?;
        let mut found = self.reader.abandoned(now.plus_micros(-grace_us), limit).await?;
        let since = now.plus_micros(-self.rules.lease_us - grace_us);
        let sweeps = self.reader.unfinished_sweeps(since, limit).await?;
        if !sweeps.is_empty() {
            // As long as the entry is there, somebody has it or will.
            let entries: Vec<EntryId> = sweeps.iter().map(|sweep| sweep.key.entry).collect();
            let there: HashSet<EntryId> = self.control.present(&entries).await?.into_iter().collect();
            found.extend(sweeps.into_iter().filter(|sweep| !there.contains(&sweep.key.entry)));
        }
        Ok(found.into_iter().map(|abandoned| Self::waiting_now(&Arc::new(received(abandoned)))).collect())
    }

    /// Puts back what Redis lost of the states of orders that are open or changed since then; those that changed
    /// since `recently` are compared version by version. Both by the journal's clock. Says how many it looked at.
    pub async fn refresh(&self, since: Timestamp, recently: Timestamp) -> Result<usize, EngineError> {
        // Asked first: what ends meanwhile lies after it.
        let place = self.reader.place(since).await?;
        // These too: what is marked meanwhile may have been published before Redis lost it, by whoever marks it now.
        let unmarked = self.reader.unpublished(Timestamp::from_micros(i64::MAX), MOST_UNMARKED).await?;
        if unmarked.len() >= MOST_UNMARKED as usize {
            tracing::error!(
                orders = unmarked.len(),
                "ALARM: more orders are not published than are looked at"
            );
        }
        for page in unmarked.chunks(REFRESH_PAGE as usize) {
            self.offer(page.iter().map(|order| (*order, Some(0))).collect()).await?;
        }
        let (mut after, mut count) = (0, unmarked.len());
        loop {
            let page = self.reader.working(after, REFRESH_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            count += self.put_back(&page, recently).await?;
        }
        let mut after = place;
        loop {
            let page = self.reader.ended(after, REFRESH_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(count) };
            after = *last;
            count += self.put_back(&page, recently).await?;
        }
    }

    async fn put_back(&self, page: &[(u64, Order)], recently: Timestamp) -> Result<usize, EngineError> {
        // What happened of late may be lost with the version that says so.
        let update =
            |(_, order): &(u64, Order)| update_with(order, Vec::new(), order.state.updated_at < recently);
        let mut published = Published::default();
        let behind = self.publish_orders(page.iter().map(update).collect(), &mut published).await?;
        self.mark(published);
        self.offer(behind.into_iter().map(|(order, version)| (order, Some(version))).collect()).await?;
        Ok(page.len())
    }

    /// Tells whoever listens of changes of the trading state that nobody has told of; says how many.
    pub async fn relay_control(&self, limit: u32) -> Result<usize, EngineError> {
        let changes = self.reader.unpublished_control(limit).await?;
        for change in &changes {
            match &change.event {
                ControlEvent::TradingState(switch) => self.publisher.tell_switch(switch).await?,
                ControlEvent::Circuit(circuit) if circuit.state == CircuitState::Open => {
                    tracing::error!(broker = %circuit.broker, why = circuit.why, "ALARM: a broker's circuit is open");
                }
                ControlEvent::Limits(_) | ControlEvent::Circuit(_) => {}
            }
        }
        let control: Vec<u64> = changes.iter().map(|change| change.number).collect();
        self.journal.mark_published(Published { control, ..Published::default() }).await?;
        Ok(changes.len())
    }

    /// Whether this worker does a piece of work for all, until `lasts` from now.
    pub async fn leads(&self, name: &str, lasts: Duration) -> Result<bool, EngineError> {
        Ok(self.journal.lease(name, &self.worker, lasts).await?)
    }

    /// How many orders are parked, and how many differences with brokers were found.
    pub async fn troubles(&self) -> Result<(u64, u64), EngineError> {
        Ok((self.reader.parked().await?, self.reader.differences().await?))
    }
}

fn received(abandoned: Abandoned) -> Received {
    Received {
        key: abandoned.key,
        hash: abandoned.hash,
        request: Request::Journaled(abandoned.instrument),
        made_at: abandoned.received_at,
        deliveries: 2,
        traceparent: None,
    }
}
