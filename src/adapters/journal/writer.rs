//! The one task that writes: it takes what is waiting, up to a bound, and commits once for all of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::crash::{self, Point};
use crate::domain::decide::{Decision, Input, Rules};
use crate::domain::event::EventKind;
use crate::domain::ledger::{Keys, Ledger};
#[cfg(feature = "planted-bugs")]
use crate::planted::{self, Bug};
use crate::ports::journal::{JournalError, JournalObserver};
use crate::ports::publisher::{OutcomeKey, Published};

use super::recent::Recent;
use super::store::{Failure, Store};

/// Inputs that one transaction takes at most: bounds both its length and what a failure has to repeat.
const MAX_INPUTS: usize = 1024;
/// Calls that may wait for the writer; more wait in their callers.
pub(super) const MAX_WAITING: usize = 256;

/// How often a batch is decided again because another worker was faster, before one of its inputs is blamed.
const MAX_RACES: usize = 8;

#[cfg(feature = "planted-bugs")]
mod careless;

/// Whoever marks waits for what became of his outcomes.
type Marked = Vec<(Vec<OutcomeKey>, oneshot::Sender<Result<Vec<OutcomeKey>, JournalError>>)>;

pub(super) type Decided = Vec<Result<Decision, JournalError>>;

pub(super) enum Job {
    Transact { inputs: Vec<Input>, reply: oneshot::Sender<Result<Decided, JournalError>> },
    MarkPublished { published: Published, reply: oneshot::Sender<Result<Vec<OutcomeKey>, JournalError>> },
    Probe { reply: oneshot::Sender<Result<(), JournalError>> },
    Lease { name: String, owner: String, lasts: Duration, reply: oneshot::Sender<Result<bool, JournalError>> },
}

pub(super) struct Writer<S> {
    store: S,
    rules: Arc<Rules>,
    observer: Arc<dyn JournalObserver>,
    /// Marks of this round: losing them costs only a repeated offer.
    marks: Published,
    /// Of the marks of this round: what another worker is marking, too.
    left: Vec<OutcomeKey>,
    recent: Recent,
    /// Inputs that a transaction takes at most for now: fewer after one that the database gave up for its length.
    most: usize,
}

impl<S: Store> Writer<S> {
    pub(super) fn new(store: S, rules: Arc<Rules>, observer: Arc<dyn JournalObserver>) -> Self {
        Self {
            store,
            rules,
            observer,
            marks: Published::default(),
            left: Vec::new(),
            recent: Recent::default(),
            most: MAX_INPUTS,
        }
    }

    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // What did not fit into the transaction before.
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut inputs = weight(&first);
            let mut batch = vec![first];
            while inputs < self.most {
                let Ok(job) = jobs.try_recv() else { break };
                inputs += weight(&job);
                if inputs > self.most {
                    held = Some(job);
                    break;
                }
                batch.push(job);
            }
            self.take(batch).await;
        }
    }

    async fn take(&mut self, jobs: Vec<Job>) {
        let mut callers = Vec::new();
        let mut marked = Marked::new();
        let mut inputs: Vec<Input> = Vec::new();
        for job in jobs {
            match job {
                Job::Transact { inputs: more, reply } => {
                    callers.push((more.len(), reply));
                    inputs.extend(more);
                }
                Job::MarkPublished { published, reply } => {
                    self.marks.orders.extend(published.orders);
                    self.marks.control.extend(published.control);
                    marked.push((published.outcomes.clone(), reply));
                    self.marks.outcomes.extend(published.outcomes);
                }
                // A caller that went away needs no answer.
                Job::Probe { reply } => drop(reply.send(self.probe().await)),
                Job::Lease { name, owner, lasts, reply } => {
                    drop(reply.send(self.lease(&name, &owner, lasts).await));
                }
            }
        }
        if inputs.is_empty() {
            let result = self.commit_marks().await;
            self.answer_marked(marked, result.err().map(|error| error.to_string()));
            // Whoever had nothing to decide on waits for an answer all the same.
            for (_, reply) in callers {
                drop(reply.send(Ok(Vec::new())));
            }
            return;
        }
        #[cfg(feature = "planted-bugs")]
        if planted::is(Bug::PublishBeforeCommit) && self.answer_first(&inputs, &mut callers).await {
            return self.answer_marked(marked, None);
        }
        let mut decided = Vec::with_capacity(inputs.len());
        let result = self.transact(&inputs, callers.len() == 1, &mut decided).await;
        // What was told to be unmarked stays so: it is offered again.
        let unmarked = (!std::mem::take(&mut self.marks).is_empty()).then(|| "not committed".to_owned());
        self.answer_marked(marked, unmarked);
        let mut decided = decided.into_iter();
        for (count, reply) in callers {
            let mine: Decided = decided.by_ref().take(count).collect();
            // A part of the batch may have been committed before the database went away.
            let answer = match &result {
                Err(error) if mine.len() < count => Err(self.unavailable(error)),
                _ => Ok(mine),
            };
            drop(reply.send(answer));
        }
    }

    fn answer_marked(&mut self, marked: Marked, failed: Option<String>) {
        let left = std::mem::take(&mut self.left);
        for (mut outcomes, reply) in marked {
            outcomes.retain(|key| left.contains(key));
            let answer = failed.clone().map_or(Ok(outcomes), |why| Err(self.failed(why)));
            drop(reply.send(answer));
        }
    }

    /// Commits all inputs together; where that fails because of an input, halves them until the
    /// offender stands alone.
    async fn transact(
        &mut self,
        inputs: &[Input],
        are_one_callers: bool,
        decided: &mut Decided,
    ) -> Result<(), sqlx::Error> {
        let mut parts = vec![inputs];
        let mut races = 0;
        while let Some(part) = parts.pop() {
            let started = Instant::now();
            let done = match self.try_commit(part).await {
                Err(Failure::Raced(why)) if races < MAX_RACES => {
                    races += 1;
                    tracing::debug!(why, races, "another worker was faster: deciding again");
                    parts.push(part);
                    continue;
                }
                Err(Failure::Raced(why)) => Err(Failure::Inputs(why)),
                done => done,
            };
            races = 0;
            match done {
                Ok(results) => {
                    decided.extend(results);
                    self.observer.committed(part.len(), started.elapsed());
                    self.most = (self.most + self.most / 8 + 1).min(MAX_INPUTS);
                }
                Err(Failure::Inputs(why)) if part.len() == 1 => {
                    decided.push(Err(JournalError::Input { why }));
                }
                Err(Failure::Inputs(_)) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
                Err(Failure::TimedOut(error)) => {
                    self.most = (self.most.min(part.len()) / 2).max(1);
                    tracing::warn!(%error, inputs = part.len(), "a transaction takes too long: the next has fewer inputs");
                    // Of a caller's inputs all are committed or none, but where they are too many by themselves.
                    if !are_one_callers || part.len() == 1 {
                        return Err(error);
                    }
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(Failure::Database(error)) => return Err(error),
                Err(Failure::Raced(_)) => {}
            }
        }
        Ok(())
    }

    async fn try_commit(&mut self, inputs: &[Input]) -> Result<Decided, Failure> {
        if self.store.begin().await.map_err(Failure::Database)? {
            self.recent = Recent::default();
        }
        let done = self.decide_and_append(inputs).await;
        match done {
            Ok((decided, ledger, left)) => {
                if let Err(error) = self.commit(crash_points(inputs, &decided)).await {
                    self.store.rollback().await;
                    // Nobody told us whether it was committed: the database is asked.
                    if !self.store.is_committed(&ledger).await {
                        return Err(Failure::Database(error));
                    }
                    tracing::warn!(%error, "the commit was done, though its answer was lost");
                }
                self.marks = Published::default();
                self.left.extend(left);
                self.recent.take(ledger);
                Ok(decided)
            }
            Err(failure) => {
                self.store.rollback().await;
                Err(failure)
            }
        }
    }

    async fn decide_and_append(
        &mut self,
        inputs: &[Input],
    ) -> Result<(Decided, Ledger, Vec<OutcomeKey>), Failure> {
        let mut keys = Keys::default();
        for input in inputs {
            self.rules.keys(input, &mut keys);
        }
        let (mut decided, mut ledger) = self.decide(inputs, &keys).await?;
        if !ledger.changes.control.is_empty() && !keys.control {
            // A limit was breached: what stops its scope is decided while nobody else decides on anything.
            keys.control = true;
            self.store.rollback().await;
            if self.store.begin().await.map_err(Failure::Database)? {
                self.recent = Recent::default();
            }
            (decided, ledger) = self.decide(inputs, &keys).await?;
        }
        if !ledger.is_unchanged() {
            self.store.append(&ledger).await.map_err(S::classify)?;
        }
        let left = self.store.mark(&self.marks).await.map_err(Failure::Database)?;
        Ok((decided, ledger, left))
    }

    async fn decide(&mut self, inputs: &[Input], keys: &Keys) -> Result<(Decided, Ledger), Failure> {
        let mut ledger = self.store.load(keys, &self.recent).await.map_err(S::classify)?;
        let mut decided = Vec::with_capacity(inputs.len());
        for input in inputs {
            let decision = catch_unwind(AssertUnwindSafe(|| self.rules.decide(&mut ledger, input)))
                .map_err(|panic| Failure::Inputs(panic_text(&*panic)))?;
            decided.push(decision.map_err(|error| JournalError::Input { why: error.to_string() }));
        }
        Ok((decided, ledger))
    }

    async fn commit(&mut self, points: Option<(Point, Point)>) -> Result<(), sqlx::Error> {
        let Some((before, after)) = points else { return self.store.commit().await };
        crash::point(before);
        if crash::fails(before) {
            return Err(sqlx::Error::Protocol("a test says that the database failed".to_owned()));
        }
        self.store.commit().await?;
        crash::point(after);
        if crash::fails(after) {
            return Err(sqlx::Error::Protocol("a test says that the reply was lost".to_owned()));
        }
        Ok(())
    }

    async fn commit_marks(&mut self) -> Result<(), JournalError> {
        let marks = std::mem::take(&mut self.marks);
        if !marks.is_empty() {
            let left = self.write(async |store| store.mark(&marks).await).await?;
            self.left.extend(left);
        }
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), JournalError> {
        self.write(async |store| store.touch().await).await
    }

    async fn lease(&mut self, name: &str, owner: &str, lasts: Duration) -> Result<bool, JournalError> {
        let lasts = i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX);
        // Whoever asks often writes seldom.
        let held = self.store.holder(name).await.map_err(|error| self.unavailable(&error))?;
        if let Some(held) = held {
            let is_mine = held.owner == owner;
            if is_mine && held.left_us > lasts / 2 || !is_mine && held.left_us >= 0 {
                return Ok(is_mine);
            }
        }
        self.write(async |store| store.take_lease(name, owner, lasts).await).await
    }

    async fn write<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut S) -> Result<T, sqlx::Error>,
    ) -> Result<T, JournalError> {
        let result = async {
            if self.store.begin().await? {
                self.recent = Recent::default();
            }
            let value = work(&mut self.store).await?;
            self.store.commit().await?;
            Ok(value)
        }
        .await;
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.store.rollback().await;
                Err(self.unavailable(&error))
            }
        }
    }

    fn failed(&self, why: String) -> JournalError {
        JournalError::Unavailable { what: self.store.name().to_owned(), why }
    }

    fn unavailable(&self, error: &sqlx::Error) -> JournalError {
        super::unavailable(self.store.name(), error)
    }
}

/// Where a test may make this batch's commit fail. What people change for all orders has no such point.
fn crash_points(inputs: &[Input], decided: &Decided) -> Option<(Point, Point)> {
    let any = |matches: fn(&Input) -> bool| inputs.iter().any(matches);
    if !any(|input| !matches!(input, Input::Switch(_) | Input::SetLimits(_))) {
        return None;
    }
    let parks = decided
        .iter()
        .flatten()
        .flat_map(|decision| &decision.commits)
        .any(|commit| commit.events.iter().any(|event| matches!(event.kind, EventKind::Parked(_))));
    Some(if parks {
        (Point::RecordCommitBefore, Point::ParkCommitAfter)
    } else if any(|input| matches!(input, Input::Admit(_))) {
        (Point::AdmissionCommitBefore, Point::AdmissionCommitAfter)
    } else if any(|input| matches!(input, Input::Quote(_) | Input::Facts(_))) {
        (Point::FeedCommitBefore, Point::FeedCommitAfter)
    } else {
        (Point::RecordCommitBefore, Point::RecordCommitAfter)
    })
}

fn weight(job: &Job) -> usize {
    match job {
        Job::Transact { inputs, .. } => inputs.len(),
        Job::MarkPublished { .. } | Job::Probe { .. } | Job::Lease { .. } => 1,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("deciding panicked: {}", text.unwrap_or("without a message"))
}
