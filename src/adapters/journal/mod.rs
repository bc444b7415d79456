//! The journal in SQL. One writer for every database: it batches, decides and commits (`writer.rs`); what a database
//! does in its own way is a `Store` beneath it.

pub mod postgres;
mod recent;
mod rows;
pub mod sqlite;
mod store;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::domain::control::LimitsChange;
use crate::domain::decide::{Effect, Input, Rules, SetLimits};
use crate::domain::risk::LimitRow;
use crate::ports::clock::Clock;
use crate::ports::journal::{Journal, JournalError, JournalObserver};
use crate::ports::publisher::{OutcomeKey, Published};

use store::Store;
use writer::{Decided, Job, MAX_WAITING, Writer};

/// A journal: the way to its writer, and what reads it.
pub struct SqlJournal<R> {
    jobs: mpsc::Sender<Job>,
    readers: R,
    name: String,
    /// Whose time it is; none: the database's.
    clock: Option<Arc<dyn Clock>>,
}

fn unavailable(name: &str, error: &sqlx::Error) -> JournalError {
    JournalError::Unavailable { what: name.to_owned(), why: error.to_string() }
}

impl<R> SqlJournal<R> {
    /// Starts the task that writes. It ends when the journal is dropped.
    fn start(
        store: impl Store,
        readers: R,
        clock: Option<Arc<dyn Clock>>,
        rules: Arc<Rules>,
        observer: Arc<dyn JournalObserver>,
    ) -> (Self, JoinHandle<()>) {
        let name = store.name().to_owned();
        let (jobs, inbox) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(Writer::new(store, rules, observer).run(inbox));
        (Self { jobs, readers, name, clock }, task)
    }

    /// For reading only.
    fn without_writer(name: String, readers: R, clock: Option<Arc<dyn Clock>>) -> Self {
        let (jobs, _) = mpsc::channel(1);
        Self { jobs, readers, name, clock }
    }

    fn failed(&self, error: &sqlx::Error) -> JournalError {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
                JournalError::Corrupt { what: self.name.clone(), why: error.to_string() }
            }
            _ => unavailable(&self.name, error),
        }
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Job,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let gone = || JournalError::Unavailable {
            what: self.name.clone(),
            why: "its writer has stopped".to_owned(),
        };
        self.jobs.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl<R: Send + Sync> Journal for SqlJournal<R> {
    async fn transact(&self, inputs: Vec<Input>) -> Result<Decided, JournalError> {
        self.ask(|reply| Job::Transact { inputs, reply }).await
    }

    async fn mark_published(&self, published: Published) -> Result<Vec<OutcomeKey>, JournalError> {
        if published.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|reply| Job::MarkPublished { published, reply }).await
    }

    async fn init_limits(&self, rows: &[LimitRow]) -> Result<bool, JournalError> {
        if rows.is_empty() {
            return Ok(false);
        }
        let change = LimitsChange {
            by: "configuration".to_owned(),
            why: "the journal had none".to_owned(),
            rows: rows.to_vec(),
        };
        let input = Input::SetLimits(Box::new(SetLimits { change, instead_of: None }));
        let mut set = true;
        for decision in self.transact(vec![input]).await? {
            set &= !matches!(decision?.effect, Effect::Refused(_));
        }
        Ok(set)
    }

    async fn probe(&self) -> Result<(), JournalError> {
        self.ask(|reply| Job::Probe { reply }).await
    }

    async fn lease(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, JournalError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.ask(|reply| Job::Lease { name, owner, lasts, reply }).await
    }
}
