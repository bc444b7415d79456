//! The time, as an argument.

use uuid::Uuid;

use crate::domain::time::Timestamp;

/// Wall-clock time and fresh ids: the two things that make a program unrepeatable, in one place.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// A fresh version 7 UUID.
    fn uuid(&self) -> Uuid;
}
