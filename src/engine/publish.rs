//! Publishing: commits and outcomes go out through one script, in order for each order, an outcome
//! after its order. What went out is marked in the journal.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::crash::{self, Point};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::{EntryId, OrderId};
use crate::domain::ledger::Commit;
use crate::domain::order::Order;
use crate::domain::request::{Outcome, Received, Request};
use crate::domain::status::Status;
use crate::ports::journal::{CommitHistory, JournalError};
use crate::ports::publisher::{
    CommitNotice, Finish, FinishAnswer, OrderAnswer, OrderUpdate, Publication, Published,
};
use crate::wire;

use super::{Ended, Engine, EngineError};

/// Rounds of offering what an outcome waits for, before it is left to the next delivery.
const MAX_ROUNDS: usize = 4;

/// Commits of one order that go out together; orders with more have them in pieces.
const MAX_PIECE: usize = 200;

/// What is to be published, collected over one or several decisions.
#[derive(Debug, Default)]
pub struct Batch {
    commits: Vec<Arc<Commit>>,
    ended: Vec<Ended>,
}

impl Batch {
    pub(super) const fn of(ended: Vec<Ended>) -> Self {
        Self { commits: Vec::new(), ended }
    }

    pub(super) fn take_commits(&mut self, commits: Vec<Arc<Commit>>) {
        self.commits.extend(commits);
    }

    pub(super) fn finish(&mut self, received: &Arc<Received>, outcome: Outcome, order: Option<Arc<Order>>) {
        self.ended.push(Ended { received: received.clone(), outcome, order, unpublished_at_ms: None });
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
                    version: 0,
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
                update.version = order.state.version;
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
        (Some(_), Some(_), _) | (None, _, _) => None,
    };
    let (completed, fields) = wire::outcome_fields(&ended.outcome, None);
    let after = ended.order.as_ref().map(|order| (order.spec.id, order.state.version));
    let entry = ended.outcome.key.entry;
    Finish {
        entry,
        completed,
        fields,
        order: known.or(written),
        after,
        unpublished_at_ms: ended.unpublished_at_ms,
    }
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
        let mut publication = batch.publication();
        let mut waiting: Vec<usize> = (0..publication.finishes.len()).collect();
        let mut published = Published::default();
        for _ in 0..MAX_ROUNDS {
            crash::point(Point::PublishBefore);
            let answers = self.publisher.publish(&publication).await?;
            crash::point(Point::PublishAfter);
            let mut behind: BTreeMap<OrderId, u64> = BTreeMap::new();
            for (update, answer) in publication.orders.iter().zip(&answers.orders) {
                match answer {
                    OrderAnswer::Published(version) => published.orders.push((update.order_id, *version)),
                    OrderAnswer::Behind(version) => drop(behind.insert(update.order_id, *version)),
                }
            }
            let mut still = Vec::new();
            for ((place, finish), answer) in waiting.iter().zip(&publication.finishes).zip(&answers.finishes)
            {
                match answer {
                    FinishAnswer::Done | FinishAnswer::FinishedAlready => {
                        let ended = batch.ended.get(*place).map(|e| (e.outcome.key.clone(), e.outcome.hash));
                        published.outcomes.extend(ended);
                    }
                    // Whoever owns the entry now finds the outcome in the journal and finishes it.
                    FinishAnswer::Anothers => tracing::warn!(
                        entry_id = %finish.entry,
                        "another worker took the request over; it will publish the outcome"
                    ),
                    FinishAnswer::Gone => tracing::warn!(
                        entry_id = %finish.entry,
                        "Redis no longer has the request; the relay publishes its outcome"
                    ),
                    FinishAnswer::Behind => {
                        if let Some((order, _)) = finish.after {
                            behind.entry(order).or_insert(0);
                        }
                        still.push(*place);
                    }
                }
            }
            if behind.is_empty() && still.is_empty() {
                self.mark(published);
                return Ok(());
            }
            publication = self.catch_up(batch, &behind, &still).await?;
            waiting = still;
        }
        self.mark(published);
        Err(EngineError::Behind { requests: waiting.len() })
    }

    /// What Redis lacks of these orders, and the outcomes that wait for it.
    async fn catch_up(
        &self,
        batch: &Batch,
        behind: &BTreeMap<OrderId, u64>,
        still: &[usize],
    ) -> Result<Publication, EngineError> {
        let mut orders = Vec::with_capacity(behind.len());
        for (order, version) in behind {
            let history = self.reader.commits(*order).await?;
            orders.extend(update_after(&history, *version)?);
        }
        let offered: Vec<OrderId> = orders.iter().map(|update| update.order_id).collect();
        let json = HashMap::new();
        let finishes = still.iter().filter_map(|place| batch.ended.get(*place)).map(|ended| {
            let mut finish = finish(ended, &json);
            finish.after = finish.after.filter(|(order, _)| offered.contains(order));
            finish
        });
        Ok(Publication { finishes: finishes.collect(), orders, forget: Vec::new() })
    }

    /// Lets the publisher forget the entries that need not be remembered any more.
    pub async fn forget_finished(&self) -> Result<(), EngineError> {
        let forget = self.forgettable.take();
        if forget.is_empty() {
            return Ok(());
        }
        let publication = Publication { forget, ..Publication::default() };
        match self.publisher.publish(&publication).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.forgettable.add(publication.forget);
                Err(error.into())
            }
        }
    }

    /// Marks in the journal what is out, behind the back of the next batch; only then may the publisher
    /// forget the entries.
    pub(super) fn mark(&self, published: Published) {
        if published.is_empty() {
            return;
        }
        let (journal, forgettable) = (self.journal.clone(), self.forgettable.clone());
        tokio::spawn(async move {
            let mut outcomes = published.outcomes.clone();
            crash::point(Point::MarkBefore);
            let marked = journal.mark_published(published).await;
            crash::point(Point::MarkAfter);
            match marked {
                Ok(left) => {
                    outcomes.retain(|key| !left.contains(key));
                    forgettable.add(outcomes.into_iter().map(|(key, _)| key.entry).collect());
                }
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

/// The update that offers what the journal has not marked as published, made from an order's whole history. It
/// continues what was published before: Redis takes it only where it still knows that. Nothing: none.
pub(super) fn update_unmarked(history: &CommitHistory) -> Result<Vec<OrderUpdate>, JournalError> {
    update(history, |place, _| place >= history.published, history.published == 0)
}

/// What comes after the version that Redis has; all of it, where Redis knows nothing of the order (0): it lost that, or
/// let go of it long ago. What is marked as published may be lost with it, and what follows must not leave a gap.
pub(super) fn update_after(history: &CommitHistory, version: u64) -> Result<Vec<OrderUpdate>, JournalError> {
    if version > 0 {
        return update(history, |_, first| first > version, false);
    }
    update_from(history, 0)
}

/// The same with every commit from that place on, published before or not.
fn update_from(history: &CommitHistory, from: usize) -> Result<Vec<OrderUpdate>, JournalError> {
    update(history, |place, _| place >= from, true)
}

fn update(
    history: &CommitHistory,
    lacks: impl Fn(usize, u64) -> bool,
    oldest_unpublished: bool,
) -> Result<Vec<OrderUpdate>, JournalError> {
    let corrupt = |why: String| JournalError::Corrupt { what: format!("order {}", history.order_id), why };
    let mut order: Option<Order> = None;
    let mut notices = Vec::new();
    for (place, events) in history.commits.iter().enumerate() {
        let mut passed = Vec::new();
        for event in events {
            let before = order.as_ref().map(|order| order.state.status);
            match &mut order {
                None => order = Some(Order::create(event).map_err(|error| corrupt(error.to_string()))?),
                Some(order) => order.apply(event).map_err(|error| corrupt(error.to_string()))?,
            }
            let after = order.as_ref().map(|order| order.state.status);
            passed.extend(after.filter(|_| after != before || matches!(event.kind, EventKind::Fill(_))));
        }
        passed.dedup();
        let is_lacking = events.first().is_some_and(|event| lacks(place, event.version));
        if let Some(order) = order.as_ref().filter(|_| is_lacking) {
            let reason = crate::domain::ledger::reason_of(events);
            notices.push(notice(wire::events_json(events).into(), events, &passed, reason.as_deref(), order));
        }
    }
    let order = order.ok_or_else(|| corrupt("no events".to_owned()))?;
    Ok(pieces(&order, notices, oldest_unpublished))
}

/// An order may have more commits than one call is to carry; only the last piece brings the state.
fn pieces(order: &Order, mut notices: Vec<CommitNotice>, oldest_unpublished: bool) -> Vec<OrderUpdate> {
    let mut pieces = Vec::with_capacity(notices.len().div_ceil(MAX_PIECE));
    while notices.len() > MAX_PIECE {
        let later = notices.split_off(MAX_PIECE);
        let commits = std::mem::replace(&mut notices, later);
        pieces.push(OrderUpdate {
            order_id: order.spec.id,
            client_order_id: order.spec.client_order_id.clone(),
            version: commits.last().map_or(0, |commit| commit.version),
            commits,
            state: Arc::default(),
            terminal: false,
            oldest_unpublished: oldest_unpublished && pieces.is_empty(),
        });
    }
    if !notices.is_empty() {
        pieces.push(update_with(order, notices, oldest_unpublished && pieces.is_empty()));
    }
    pieces
}

pub(super) fn update_with(
    order: &Order,
    commits: Vec<CommitNotice>,
    oldest_unpublished: bool,
) -> OrderUpdate {
    OrderUpdate {
        order_id: order.spec.id,
        client_order_id: order.spec.client_order_id.clone(),
        commits,
        state: wire::order_json(order).into(),
        version: order.state.version,
        terminal: order.state.status.is_terminal(),
        oldest_unpublished,
    }
}
