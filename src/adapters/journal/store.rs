//! What the writer asks of a database.

use crate::domain::ledger::{Keys, Ledger};
use crate::ports::publisher::{OutcomeKey, Published};

use super::recent::Recent;

/// Why a transaction was not committed.
pub(super) enum Failure {
    /// The database's fault: nothing was written.
    Database(sqlx::Error),
    /// One of the inputs cannot be decided or written.
    Inputs(String),
    /// The database gave it up in time: nothing was written, and fewer inputs together may do.
    TimedOut(sqlx::Error),
    /// Another worker committed something that this transaction had not seen: decided again, it will.
    Raced(String),
}

/// Who has a lease, and for how long from now by the journal's clock; negative: it has run out.
pub(super) struct Holder {
    pub(super) owner: String,
    pub(super) left_us: i64,
}

/// One connection to a database. Between `begin` and `commit` or `rollback` lies a transaction that nothing else
/// of this process shares, and in which what was loaded cannot be changed by another.
pub(super) trait Store: Send + 'static {
    /// For errors.
    fn name(&self) -> &str;

    /// Whether the connection is a new one: what was read and written before may not be there any more.
    fn begin(&mut self) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// What the decisions on some inputs need, and the instant that they are made at.
    fn load(
        &mut self,
        keys: &Keys,
        recent: &Recent,
    ) -> impl Future<Output = Result<Ledger, sqlx::Error>> + Send;

    fn append(&mut self, ledger: &Ledger) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Takes what is published out of the outboxes, but for what another transaction is taking out; returns the
    /// outcomes among that.
    fn mark(
        &mut self,
        marks: &Published,
    ) -> impl Future<Output = Result<Vec<OutcomeKey>, sqlx::Error>> + Send;

    /// An error leaves open whether it was committed.
    fn commit(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    fn rollback(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether the last transaction was committed, after its COMMIT was not answered. `false` also where that
    /// cannot be found out: its inputs are then tried again, as ones that may have been journaled.
    fn is_committed(&mut self, ledger: &Ledger) -> impl Future<Output = bool> + Send;

    /// Writes without changing anything: what fails here fails for orders too.
    fn touch(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    fn holder(&mut self, name: &str) -> impl Future<Output = Result<Option<Holder>, sqlx::Error>> + Send;

    /// Takes or keeps a lease that is free, has run out, or is the owner's; says whether it did.
    fn take_lease(
        &mut self,
        name: &str,
        owner: &str,
        lasts_us: i64,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    fn classify(error: sqlx::Error) -> Failure;
}
