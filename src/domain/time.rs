//! Instants, always UTC, to the microsecond.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 with six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is not an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an RFC 3339 time such as 2026-01-31T12:00:00Z")]
pub struct TimestampError;

impl Timestamp {
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds from `earlier` to `self`; negative where `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The latest start of a daily session at or before `self`; `start_of_day` in microseconds from 00:00 UTC.
    #[must_use]
    pub const fn session_start(self, start_of_day: i64) -> Self {
        const DAY: i64 = 86_400_000_000;
        Self((self.0 - start_of_day).div_euclid(DAY) * DAY + start_of_day)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Utc.timestamp_micros(self.0).single() {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        DateTime::parse_from_rfc3339(text).map(|t| t.with_timezone(&Utc).into()).map_err(|_| TimestampError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_microseconds_and_reads_any_offset() {
        let t: Timestamp = "2026-01-31T12:00:00.5+02:00".parse().unwrap();
        assert_eq!(t.to_string(), "2026-01-31T10:00:00.500000Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_session_starts_at_its_time_of_day() {
        let t = |text: &str| text.parse::<Timestamp>().unwrap();
        let ten = 10 * 3_600_000_000;
        assert_eq!(t("2026-01-31T12:00:00Z").session_start(ten), t("2026-01-31T10:00:00Z"));
        assert_eq!(t("2026-01-31T09:59:59Z").session_start(ten), t("2026-01-30T10:00:00Z"));
        assert_eq!(t("2026-01-31T10:00:00Z").session_start(ten), t("2026-01-31T10:00:00Z"));
    }
}
