//! `[worker]`

use std::time::Duration;

use super::reader::Reader;
use super::scalar::{is_name, milliseconds, text, whole, word_or};

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 366 * 24 * HOUR_MS;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The consumer's name; `None`: made at start, unique.
    pub consumer: Option<String>,
    /// Requests read, and admitted in one transaction, at most.
    pub batch_size: usize,
    /// Requests that are read and have no outcome yet, at most.
    pub max_in_flight: usize,
    /// How long an entry lies idle before it is taken from a consumer that is gone.
    pub claim_idle: Duration,
    /// How long a worker that was told to stop goes on with what it has begun.
    pub drain_timeout: Duration,
    /// Older requests are refused; `None`: never.
    pub max_request_age: Option<Duration>,
    /// How long a command waits for an order that the journal does not know yet.
    pub command_wait: Duration,
    /// Longer requests are refused.
    pub max_payload_bytes: usize,
    /// A request delivered more often, without an outcome, is given up.
    pub max_deliveries: u32,
}

impl WorkerSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        let consumer = text("1 to 128 of A-Z a-z 0-9 . _ : / -", |text| {
            is_name(text, 128, b"._:/-").then(|| text.to_owned())
        });
        Self {
            consumer: section.read("consumer", consumer),
            batch_size: section.read("batch_size", whole(1..=1024_u32)).unwrap_or(256) as usize,
            max_in_flight: section.read("max_in_flight", whole(1..=65_536_u32)).unwrap_or(1024) as usize,
            claim_idle: section
                .read("claim_idle_ms", milliseconds(100..=HOUR_MS))
                .unwrap_or(Duration::from_millis(10_000)),
            drain_timeout: section
                .read("drain_timeout_ms", milliseconds(0..=HOUR_MS))
                .unwrap_or(Duration::from_millis(10_000)),
            max_request_age: section
                .read("max_request_age_ms", word_or("off", milliseconds(1..=YEAR_MS)))
                .flatten(),
            command_wait: section
                .read("command_wait_ms", milliseconds(0..=HOUR_MS))
                .unwrap_or(Duration::from_millis(5_000)),
            max_payload_bytes: section
                .read("max_payload_bytes", whole(1024..=16_777_216_u32))
                .unwrap_or(65_536) as usize,
            max_deliveries: section.read("max_deliveries", whole(1..=1000_u32)).unwrap_or(5),
        }
    }

    /// How often a consumer says that it lives: three times before anyone may doubt it.
    pub fn heartbeat(&self) -> Duration {
        self.claim_idle / 3
    }
}
