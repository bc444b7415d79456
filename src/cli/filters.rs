//! What lists and the watch are narrowed by.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::domain::status::Status;
use crate::domain::time::Timestamp;

/// Takes a status by its name, in any case.
pub(super) fn statuses() -> impl TypedValueParser<Value = Status> {
    PossibleValuesParser::new(Status::ALL.map(Status::as_str)).try_map(|name| {
        let named = |status: &Status| status.as_str().eq_ignore_ascii_case(&name);
        Status::ALL.into_iter().find(named).ok_or("is no status")
    })
}

/// An instant, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    At(Timestamp),
    /// Microseconds.
    Ago(i64),
}

impl Moment {
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(micros) => now.plus_micros(-micros),
        }
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        const WANTED: &str =
            "is neither an RFC 3339 time such as 2026-01-31T12:00:00Z nor so long ago as 90s, 30m, 2h or 7d";
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WANTED)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(WANTED),
        };
        // Only digits: a sign would turn "ago" around.
        let number =
            Some(number).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).ok_or(WANTED)?;
        let micros = number.parse::<i64>().ok().and_then(|n| n.checked_mul(seconds * 1_000_000));
        micros.map(Self::Ago).ok_or(WANTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-01-31T10:00:00+01:00", "2026-01-31T09:00:00Z"),
            ("90s", "2026-01-31T11:58:30Z"),
            ("30m", "2026-01-31T11:30:00Z"),
            ("2h", "2026-01-31T10:00:00Z"),
            ("7d", "2026-01-24T12:00:00Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().at(now), time.parse().unwrap(), "{text}");
        }
        for wrong in ["", "h", "-2h", "2", "2w", "yesterday", "é", "99999999999999d"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
