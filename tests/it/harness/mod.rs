//! What the tests share: servers, worker processes, a laboratory per test, and ways to wait.

mod command;
pub(crate) mod containers;
mod exchange;
pub(crate) mod guard;
mod journal;
mod lab;
mod orders;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod schema;
pub(crate) mod services;
mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod tools;
mod wire;
mod worker;

pub(crate) use command::{Ran, binary, program};
pub(crate) use exchange::Exchange;
pub(crate) use guard::Guarded;
pub(crate) use journal::{Database, Journal, Place, Row};
pub(crate) use lab::{Lab, bare_status};
pub(crate) use orders::{limit, market, with};
pub(crate) use postgres::PostgresServer;
pub(crate) use redis::{RedisServer, free_port};
pub(crate) use settings::{Limits, Settings};
pub(crate) use wire::{Entry, Outcome, assert_decimal, assert_timestamp, decimal, find_key, rfc3339};
pub(crate) use worker::{Worker, log_field};

use std::time::{Duration, Instant};

/// How long a condition may take on a loaded machine before the test calls it broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until `probe` has an answer; fails with `what` when `within` has passed.
pub(crate) async fn eventually_within<T>(
    within: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe).await
}

/// A seed for what a test draws at random: printed, and taken from `$TEST_SEED` to repeat a run.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("TEST_SEED") {
        Ok(text) => text.parse().expect("TEST_SEED is a number"),
        Err(_) => u64::from(uuid::Uuid::now_v7().as_fields().1) ^ uuid::Uuid::now_v7().as_u64_pair().1,
    };
    eprintln!("seed: TEST_SEED={seed}");
    seed
}

/// A small generator (splitmix64), so that a seed means the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
