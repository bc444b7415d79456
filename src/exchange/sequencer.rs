//! One thread that owns the book and the ledger: it carries commands out one by one, writes what a batch
//! of them changed with one sync, and only then answers them. So nobody, a reader neither, is told of
//! what is not on disk.

use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::time::Timestamp;

use super::book::Book;
use super::ledger::{Ledger, LedgerError};
use super::message::{Answered, Command};

/// Commands that wait; whoever comes then waits to be let in.
const WAITING: usize = 1024;
/// Commands that share a sync.
const BATCH: usize = 256;

/// The wall clock, as an argument.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Debug, Clone)]
pub(super) struct Sequencer {
    jobs: mpsc::Sender<Job>,
    newest: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Job {
    command: Command,
    reply: oneshot::Sender<Answered>,
}

/// The thread has ended: nothing can be told of what became of the command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

impl Sequencer {
    /// Also returns what hears of the ledger's failure, which ends the thread.
    pub(super) fn start(
        book: Book,
        ledger: Ledger,
        now: Now,
    ) -> std::io::Result<(Self, oneshot::Receiver<LedgerError>)> {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let (told, newest) = watch::channel(book.last_transaction());
        let (failed, failure) = oneshot::channel();
        thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            if let Err(error) = run(book, ledger, waiting, &told, &now) {
                // Where nobody listens, the process is ending.
                drop(failed.send(error));
            }
        })?;
        Ok((Self { jobs, newest }, failure))
    }

    pub(super) async fn ask(&self, command: Command) -> Result<Answered, Gone> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { command, reply }).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Hears the id of the newest transaction on disk.
    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }
}

fn run(
    mut book: Book,
    mut ledger: Ledger,
    mut waiting: mpsc::Receiver<Job>,
    newest: &watch::Sender<u64>,
    now: &Now,
) -> Result<(), LedgerError> {
    let mut jobs = Vec::with_capacity(BATCH);
    let mut answers = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut jobs, BATCH) > 0 {
        for job in jobs.drain(..) {
            let (answered, record) = book.perform(job.command, now())?;
            if let Some(record) = record {
                ledger.append(&record)?;
            }
            answers.push((job.reply, answered));
        }
        ledger.sync()?;
        let last = book.last_transaction();
        newest.send_if_modified(|newest| std::mem::replace(newest, last) != last);
        for (reply, answered) in answers.drain(..) {
            // Whoever asked may have gone.
            drop(reply.send(answered));
        }
    }
    Ok(())
}
