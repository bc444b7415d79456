//! The machine's clock.

use chrono::Utc;
use uuid::Uuid;

use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;

/// Wall-clock time, and UUIDs made of it and of the system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock port meets the clock")]
    fn now(&self) -> Timestamp {
        Utc::now().into()
    }

    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_of_this_moment_and_ascend() {
        let clock = SystemClock;
        let before = clock.now().micros() / 1000;
        let (first, second) = (clock.uuid(), clock.uuid());
        let after = clock.now().micros() / 1000;
        assert!(first < second);
        let (seconds, nanos) = first.get_timestamp().unwrap().to_unix();
        let made = i64::try_from(seconds).unwrap() * 1000 + i64::from(nanos / 1_000_000);
        assert!(before <= made && made <= after, "{before} {made} {after}");
    }
}
