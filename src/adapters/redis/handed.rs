//! What the inbox gave out and the publisher has not finished: of this consumer's pending list, the rest never reached
//! it, or came back. A server that lost the end of its log may hold again what was finished in it, under the name of
//! whoever held it then; and what another took over may become free again when that one dies.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::EntryId;

#[derive(Debug, Default)]
pub(super) struct Handed(Mutex<HashSet<EntryId>>);

impl Handed {
    fn lock(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, entry: EntryId) {
        self.lock().insert(entry);
    }

    /// The publisher is done with it, whoever finished it.
    pub(super) fn end(&self, entry: EntryId) {
        self.lock().remove(&entry);
    }

    /// Lets go of what is no longer pending.
    pub(super) fn keep(&self, pending: &HashSet<EntryId>) {
        self.lock().retain(|entry| pending.contains(entry));
    }

    pub(super) fn copy(&self) -> HashSet<EntryId> {
        self.lock().clone()
    }
}
