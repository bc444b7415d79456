//! What `Bug::PublishBeforeCommit` makes of the writer: who asked goes on while the disk is still at work.

use tokio::sync::oneshot;

use crate::domain::decide::Input;
use crate::ports::journal::JournalError;
use crate::ports::publisher::Published;

use super::{Decided, Store, Writer, crash_points};

type Caller = (usize, oneshot::Sender<Result<Decided, JournalError>>);

impl<S: Store> Writer<S> {
    /// Whether it has answered; what cannot be written together is left to the ordinary way.
    pub(super) async fn answer_first(&mut self, inputs: &[Input], callers: &mut Vec<Caller>) -> bool {
        if self.store.begin().await.is_err() {
            return false;
        }
        let Ok((decided, ledger, _)) = self.decide_and_append(inputs).await else {
            self.store.rollback().await;
            return false;
        };
        let points = crash_points(inputs, &decided);
        let mut decided = decided.into_iter();
        for (count, reply) in callers.drain(..) {
            drop(reply.send(Ok(decided.by_ref().take(count).collect())));
        }
        if let Err(error) = self.commit(points).await {
            self.store.rollback().await;
            tracing::error!(%error, "what was answered already could not be committed");
        } else {
            self.recent.take(ledger);
        }
        self.marks = Published::default();
        true
    }
}
