//! A request under the script of faults.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::domain::ids::ClientOrderId;

use super::super::faults::{Fault, Operation, Script};
use super::super::message::Command;
use super::super::sequencer::{Gone, Now, Sequencer};
use super::connection::Cut;
use super::reply::Reply;

/// Requests that may wait to land late; further ones never land.
const MAX_LATE: usize = 4096;

pub(super) struct Shared {
    pub(super) sequencer: Sequencer,
    pub(super) now: Now,
    script: Mutex<Script>,
    late: Arc<Semaphore>,
}

/// What is left of a request once its connection was cut: nothing of it is sent.
fn nothing(cut: &Cut) -> Response {
    cut.cut();
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

impl Shared {
    pub(super) fn new(sequencer: Sequencer, now: Now) -> Self {
        Self {
            sequencer,
            now,
            script: Mutex::new(Script::default()),
            late: Arc::new(Semaphore::new(MAX_LATE)),
        }
    }

    pub(super) fn script(&self) -> Script {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_script(&self, script: Script) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    pub(super) fn draw(
        &self,
        operation: Operation,
        client_order_id: Option<&ClientOrderId>,
    ) -> Option<Fault> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).draw(operation, client_order_id)
    }

    pub(super) fn tell(&self, reply: Reply) -> Response {
        reply.at((self.now)())
    }

    pub(super) async fn ask(&self, command: Command) -> Result<Reply, Gone> {
        self.sequencer.ask(command).await.map(Reply::of)
    }

    /// Does `work` without a fault. Where the ledger is gone nobody knows what was done: no answer.
    pub(super) async fn plainly(
        &self,
        cut: &Cut,
        work: impl Future<Output = Result<Reply, Gone>>,
    ) -> Response {
        match work.await {
            Ok(reply) => self.tell(reply),
            Err(Gone) => nothing(cut),
        }
    }

    /// Does `work` as far as `fault` lets it, and answers as the fault says.
    pub(super) async fn under<W>(&self, cut: &Cut, fault: Option<Fault>, work: W) -> Response
    where
        W: Future<Output = Result<Reply, Gone>> + Send + 'static,
    {
        match fault {
            // What is shown otherwise is the work's own.
            None | Some(Fault::Lag { .. } | Fault::Repeat {} | Fault::Reorder {}) => {
                self.plainly(cut, work).await
            }
            Some(Fault::ExecuteThenDrop {}) => {
                drop(work.await);
                nothing(cut)
            }
            Some(Fault::ExecuteThenStatus { status }) => {
                self.plainly(cut, async { work.await.map(|_| Reply::failed(status)) }).await
            }
            Some(Fault::Drop {}) => nothing(cut),
            Some(Fault::Status { status, retry_after_s }) => {
                self.tell(Reply::scripted(status, retry_after_s))
            }
            Some(Fault::Garbage {}) => match work.await {
                Ok(_) => "<html>it worked, believe me</html>".into_response(),
                Err(Gone) => nothing(cut),
            },
            Some(Fault::LandLate { after_ms }) => {
                match Arc::clone(&self.late).try_acquire_owned() {
                    Ok(permit) => {
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(after_ms)).await;
                            drop(work.await);
                            drop(permit);
                        });
                    }
                    Err(_) => tracing::warn!("too many requests are to land late: one never does"),
                }
                nothing(cut)
            }
            Some(Fault::Delay { ms }) => {
                let slow = async {
                    let reply = work.await;
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    reply
                };
                self.plainly(cut, slow).await
            }
            Some(Fault::Silence { ms }) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                nothing(cut)
            }
        }
    }
}
