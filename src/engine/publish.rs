//! Publishing: commits and outcomes go out through one script, in order for each order, an outcome
//! after its order. What went out is marked in the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::event::OrderEvent;
use crate::domain::ids::{EntryId, OrderId};
use crate::domain::ledger::Commit;
use crate::domain::order::Order;
use crate::domain::request::{Outcome, Received, Request};
use crate::domain::status::Status;
use crate::ports::journal::{JournalError, Unpublished};
use crate::ports::publisher::{
    CommitNotice, Finish, FinishAnswer, OrderAnswer, OrderUpdate, Publication, Published,
};
use crate::wire;

use super::{Ended, Engine, EngineError};

/// Rounds of offering what an outcome waits for, before it is left to the next delivery.
const MAX_ROUNDS: usize = 4;

/// What is to be published, collected over one or several decisions.
#[derive(Debug, Default)]
pub struct Batch {
    commits: Vec<Arc<Commit>>,
    ended: Vec<Ended>,
}

impl Batch {
    pub(super) fn take_commits(&mut self, commits: Vec<Arc<Commit>>) {
        self.commits.extend(commits);
    }

    pub(super) fn finish(&mut self, received: &Arc<Received>, outcome: Outcome, order: Option<Arc<Order>>) {
        self.ended.push(Ended { received: received.clone(), outcome, order });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.ended.is_empty()
    }

    #[must_use]
    pub fn commits(&self) -> &[Arc<Commit>] {
        &self.commits
    }

    #[must_use]
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// The commits alone, to be published while the broker takes its time.
    #[must_use]
    pub fn split_commits(&mut self) -> Self {
        Self { commits: std::mem::take(&mut self.commits), ended: Vec::new() }
    }

    /// Commits that could not be published early after all.
    pub fn put_back(&mut self, mut early: Self) {
        early.commits.append(&mut self.commits);
        self.commits = early.commits;
    }

    fn publication(&self) -> Publication {
        let mut by_order: Vec<OrderUpdate> = Vec::with_capacity(self.commits.len());
        let mut places: HashMap<OrderId, usize> = HashMap::with_capacity(self.commits.len());
        let mut states: HashMap<OrderId, Arc<Order>> = HashMap::with_capacity(self.commits.len());
        for commit in &self.commits {
            let place = *places.entry(commit.order_id).or_insert_with(|| {
                by_order.push(OrderUpdate {
                    order_id: commit.order_id,
                    client_order_id: commit.after.spec.client_order_id.clone(),
                    commits: Vec::with_capacity(2),
                    state: Arc::default(),
                    terminal: false,
                    oldest_unpublished: commit.first_version() == 1,
                });
                by_order.len() - 1
            });
            if let Some(update) = by_order.get_mut(place) {
                let json = commit.events_json().unwrap_or_else(|_| wire::events_json(&commit.events).into());
                update.commits.push(notice(
                    json,
                    &commit.events,
                    &commit.passed,
                    commit.reason.as_deref(),
                    &commit.after,
                ));
                update.terminal = commit.after.state.status.is_terminal();
            }
            states.insert(commit.order_id, commit.after.clone());
        }
        for update in &mut by_order {
            update.commits.sort_by_key(|commit| commit.first_version);
            if let Some(order) = states.get(&update.order_id) {
                update.state = wire::order_json(order).into();
            }
        }
        let json: HashMap<OrderId, (u64, Arc<str>)> = by_order
            .iter()
            .filter_map(|u| Some((u.order_id, (states.get(&u.order_id)?.state.version, u.state.clone()))))
            .collect();
        let finishes = self.ended.iter().map(|ended| finish(ended, &json)).collect();
        Publication { finishes, orders: by_order, forget: Vec::new() }
    }
}

fn finish(ended: &Ended, json: &HashMap<OrderId, (u64, Arc<str>)>) -> Finish {
    let known = ended.order.as_ref().and_then(|order| {
        json.get(&order.spec.id)
            .filter(|(version, _)| *version == order.state.version)
            .map(|(_, text)| text.clone())
    });
    let written: Option<Arc<str>> = match (&ended.order, &known, &ended.received.request) {
        (Some(order), None, _) => Some(wire::order_json(order).into()),
        // Refused before it became an order: what was asked for.
        (None, _, Request::Submit(spec)) => Some(wire::spec_json(spec).into()),
        (Some(_), Some(_), _) | (None, _, Request::Cancel(_) | Request::Refused(_)) => None,
    };
    let (completed, fields) = wire::outcome_fields(&ended.outcome, None);
    let after = ended.order.as_ref().map(|order| (order.spec.id, order.state.version));
    Finish { entry: ended.outcome.key.entry, completed, fields, order: known.or(written), after }
}

fn notice(
    json: Arc<str>,
    events: &[OrderEvent],
    passed: &[Status],
    reason: Option<&str>,
    after: &Order,
) -> CommitNotice {
    let first_version = events.first().map_or(0, |event| event.version);
    let timestamp = events.last().map_or(after.state.updated_at, |event| event.timestamp);
    CommitNotice {
        first_version,
        version: events.last().map_or(0, |event| event.version),
        status: after.state.status.as_str(),
        events: json,
        message: wire::status_message(after, passed, first_version, reason, timestamp),
    }
}

impl Engine {
    /// Publishes a batch: every commit, then every outcome whose entry is still this consumer's.
    pub async fn publish(&self, batch: &Batch) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut publication = Publication { forget: self.forgettable.take(), ..batch.publication() };
        let mut waiting: Vec<usize> = (0..publication.finishes.len()).collect();
        let mut published = Published::default();
        for round in 0..MAX_ROUNDS {
            let answers = self.publisher.publish(&publication).await?;
            let mut behind: Vec<OrderId> = Vec::new();
            for (update, answer) in publication.orders.iter().zip(&answers.orders) {
                match answer {
                    OrderAnswer::Published(version) => published.orders.push((update.order_id, *version)),
                    OrderAnswer::Behind(_) => behind.push(update.order_id),
                }
            }
            let mut still = Vec::new();
            for ((place, finish), answer) in waiting.iter().zip(&publication.finishes).zip(&answers.finishes)
            {
                match answer {
                    FinishAnswer::Done | FinishAnswer::FinishedAlready => {
                        published.outcomes.extend(batch.ended.get(*place).map(|e| e.outcome.key.clone()));
                    }
                    // Whoever owns the entry now finds the outcome in the journal and finishes it.
                    FinishAnswer::Anothers => {
                        tracing::warn!(entry_id = %finish.entry, "another worker took the request over; it will publish the outcome");
                    }
                    FinishAnswer::Gone => {
                        tracing::error!(entry_id = %finish.entry, "the request is gone from Redis before its outcome was published: Redis lost data; the outcome is in the journal");
                    }
                    FinishAnswer::Behind => {
                        behind.extend(finish.after.map(|(order, _)| order));
                        still.push(*place);
                    }
                }
            }
            if behind.is_empty() && still.is_empty() {
                break;
            }
            if round + 1 == MAX_ROUNDS {
                tracing::warn!(
                    requests = still.len(),
                    "outcomes still wait for their orders' events; they stay pending"
                );
                break;
            }
            publication = self.catch_up(batch, &behind, &still).await?;
            waiting = still;
        }
        self.mark(published);
        Ok(())
    }

    /// All that the journal holds unpublished of these orders, and the outcomes that wait for it.
    async fn catch_up(
        &self,
        batch: &Batch,
        behind: &[OrderId],
        still: &[usize],
    ) -> Result<Publication, EngineError> {
        let mut orders = behind.to_vec();
        orders.sort_unstable();
        orders.dedup();
        let limit = u32::try_from(orders.len()).unwrap_or(u32::MAX).max(1);
        let unpublished = self.reader.unpublished(&orders, self.clock.now(), limit).await?;
        let updates: Vec<OrderUpdate> = unpublished.iter().map(update_of).collect::<Result<_, _>>()?;
        let offered: Vec<OrderId> = updates.iter().map(|update| update.order_id).collect();
        let json = HashMap::new();
        let finishes = still.iter().filter_map(|place| batch.ended.get(*place)).map(|ended| {
            let mut finish = finish(ended, &json);
            // All of it was marked as published: Redis let go of the version, or lost it.
            finish.after = finish.after.filter(|(order, _)| offered.contains(order));
            finish
        });
        Ok(Publication { finishes: finishes.collect(), orders: updates, forget: Vec::new() })
    }

    /// Publishes what has waited since before `older_than_us` ago: whoever journaled it could not.
    /// Says how many orders it offered.
    pub async fn relay(&self, older_than_us: i64, limit: u32) -> Result<usize, EngineError> {
        let before = self.clock.now().plus_micros(-older_than_us);
        let unpublished = self.reader.unpublished(&[], before, limit).await?;
        if unpublished.is_empty() {
            return Ok(0);
        }
        let orders: Vec<OrderUpdate> = unpublished.iter().map(update_of).collect::<Result<_, _>>()?;
        let publication = Publication { orders, ..Publication::default() };
        let answers = self.publisher.publish(&publication).await?;
        let mut published = Published::default();
        for (update, answer) in publication.orders.iter().zip(&answers.orders) {
            match answer {
                OrderAnswer::Published(version) => published.orders.push((update.order_id, *version)),
                OrderAnswer::Behind(version) => tracing::warn!(
                    order_id = %update.order_id, client_order_id = %update.client_order_id, version,
                    "Redis published less of this order than the journal has marked"
                ),
            }
        }
        self.mark(published);
        Ok(publication.orders.len())
    }

    /// Marks in the journal what is out, behind the back of the next batch; only then may the publisher
    /// forget the entries.
    fn mark(&self, published: Published) {
        if published.is_empty() {
            return;
        }
        let (journal, forgettable) = (self.journal.clone(), self.forgettable.clone());
        tokio::spawn(async move {
            let entries: Vec<EntryId> = published.outcomes.iter().map(|key| key.entry).collect();
            match journal.mark_published(published).await {
                Ok(()) => forgettable.add(entries),
                Err(error) => {
                    tracing::warn!(%error, "what was published could not be marked; it will be offered again")
                }
            }
        });
    }
}

/// Finished entries whose outcome the journal has marked as published.
#[derive(Debug, Clone, Default)]
pub struct Forgettable(Arc<Mutex<Vec<EntryId>>>);

impl Forgettable {
    fn add(&self, entries: Vec<EntryId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    fn take(&self) -> Vec<EntryId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The update that offers an order's unpublished commits, made from its whole history.
fn update_of(unpublished: &Unpublished) -> Result<OrderUpdate, JournalError> {
    let corrupt =
        |why: String| JournalError::Corrupt { what: format!("order {}", unpublished.order_id), why };
    let mut order: Option<Order> = None;
    let mut notices = Vec::new();
    for (place, events) in unpublished.commits.iter().enumerate() {
        let mut passed = Vec::new();
        for event in events {
            let before = order.as_ref().map(|order| order.state.status);
            match &mut order {
                None => order = Some(Order::create(event).map_err(|error| corrupt(error.to_string()))?),
                Some(order) => order.apply(event).map_err(|error| corrupt(error.to_string()))?,
            }
            let after = order.as_ref().map(|order| order.state.status);
            passed.extend(after.filter(|_| after != before));
        }
        if let Some(order) = order.as_ref().filter(|_| place >= unpublished.published) {
            let reason = crate::domain::ledger::reason_of(events);
            notices.push(notice(wire::events_json(events).into(), events, &passed, reason.as_deref(), order));
        }
    }
    let order = order.ok_or_else(|| corrupt("no events".to_owned()))?;
    Ok(OrderUpdate {
        order_id: unpublished.order_id,
        client_order_id: order.spec.client_order_id.clone(),
        commits: notices,
        state: wire::order_json(&order).into(),
        terminal: order.state.status.is_terminal(),
        oldest_unpublished: true,
    })
}
