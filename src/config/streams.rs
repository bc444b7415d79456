//! `[streams]`

use std::time::Duration;

use super::reader::Reader;
use super::scalar::{is_name, seconds, text, whole};

const YEAR_SECONDS: u64 = 366 * 24 * 3600;
const LONGEST_HISTORY: u64 = 1_000_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// Every name in Redis begins with it and a colon.
    pub prefix: String,
    /// The consumer group on the stream of pending requests.
    pub group: String,
    /// Entries kept in the stream of events, about.
    pub event_history: u64,
    /// Entries kept in each stream of outcomes, about; `None`: all.
    pub outcome_history: Option<u64>,
    /// How long an order's state can be read after it changed last.
    pub state_ttl: Duration,
}

impl StreamSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        section.not_built(&["lanes"]);
        let prefix = text("1 to 64 of A-Z a-z 0-9 . _ : / { } -", |text| {
            is_name(text, 64, b"._:/{}-").then(|| text.to_owned())
        });
        let group = text("1 to 64 of A-Z a-z 0-9 . _ : / -", |text| {
            is_name(text, 64, b"._:/-").then(|| text.to_owned())
        });
        Self {
            prefix: section.read("prefix", prefix).unwrap_or_else(|| "orders".to_owned()),
            group: section.read("group", group).unwrap_or_else(|| "execution".to_owned()),
            event_history: section.read("event_history", whole(1..=LONGEST_HISTORY)).unwrap_or(1_000_000),
            outcome_history: match section.read("outcome_history", whole(0..=LONGEST_HISTORY)) {
                Some(0) => None,
                entries => Some(entries.unwrap_or(1_000_000)),
            },
            state_ttl: section
                .read("state_ttl_seconds", seconds(1..=YEAR_SECONDS))
                .unwrap_or(Duration::from_secs(86_400)),
        }
    }
}
