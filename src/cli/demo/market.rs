//! Prices that move: a seeded random walk, which can be steered so that what is to happen happens.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use rust_decimal::Decimal;

use crate::adapters::clock::SystemClock;
use crate::adapters::redis::Names;
use crate::app::AppError;
use crate::cli::link::Link;
use crate::cli::print;
use crate::ports::clock::Clock;
use crate::runtime::shutdown::Token;

const EVERY: Duration = Duration::from_millis(200);
/// The part of the way to its target that a price goes in one step.
const PULL: i64 = 6;

/// What is traded. Prices are counted in ticks, quantities in steps.
#[derive(Debug)]
pub(super) struct Instrument {
    pub(super) symbol: &'static str,
    tick_scale: u32,
    step_scale: u32,
    start_ticks: i64,
    /// Half the distance of bid and ask.
    half_spread: i64,
    /// Longest random step.
    jump: i64,
    /// Least and most that is offered.
    sizes: (i64, i64),
    largest_order: i64,
}

pub(super) const INSTRUMENTS: [Instrument; 3] = [
    Instrument {
        symbol: "BTCUSDT",
        tick_scale: 2,
        step_scale: 3,
        start_ticks: 4_500_000,
        half_spread: 50,
        jump: 900,
        sizes: (1_000, 2_000),
        largest_order: 5_000,
    },
    Instrument {
        symbol: "ETHUSDT",
        tick_scale: 2,
        step_scale: 2,
        start_ticks: 250_000,
        half_spread: 10,
        jump: 60,
        sizes: (1_000, 2_000),
        largest_order: 5_000,
    },
    Instrument {
        symbol: "EUR_USD",
        tick_scale: 5,
        step_scale: 0,
        start_ticks: 108_000,
        half_spread: 3,
        jump: 12,
        sizes: (50_000, 200_000),
        largest_order: 100_000,
    },
];

impl Instrument {
    pub(super) fn tick(&self) -> Decimal {
        Decimal::new(1, self.tick_scale)
    }

    pub(super) fn step(&self) -> Decimal {
        Decimal::new(1, self.step_scale)
    }

    pub(super) fn start(&self) -> Decimal {
        self.price(self.start_ticks)
    }

    pub(super) fn largest_order(&self) -> Decimal {
        self.size(self.largest_order)
    }

    fn price(&self, ticks: i64) -> Decimal {
        Decimal::new(ticks, self.tick_scale)
    }

    fn size(&self, steps: i64) -> Decimal {
        Decimal::new(steps, self.step_scale)
    }
}

/// All prices, as they stand.
pub(super) struct Market {
    state: Mutex<State>,
}

struct State {
    random: Random,
    walks: Vec<Walk>,
}

struct Walk {
    of: &'static Instrument,
    mid: i64,
    target: i64,
    bid_size: i64,
    ask_size: i64,
}

impl Market {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let walk = |of: &'static Instrument| {
            let (bid_size, ask_size) = (random.between(of.sizes), random.between(of.sizes));
            Walk { of, mid: of.start_ticks, target: of.start_ticks, bid_size, ask_size }
        };
        let walks = INSTRUMENTS.iter().map(walk).collect();
        Self { state: Mutex::new(State { random, walks }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The price so many hundredths of a percent from where `symbol` stands, on its grid.
    pub(super) fn price(&self, symbol: &str, distance_bp: i64) -> Option<Decimal> {
        let state = self.lock();
        let walk = state.walks.iter().find(|walk| walk.of.symbol == symbol)?;
        Some(walk.of.price(walk.mid + walk.mid * distance_bp / 10_000))
    }

    /// Draws a price so many hundredths of a percent away from where it began.
    pub(super) fn steer(&self, symbol: &str, distance_bp: i64) {
        let mut state = self.lock();
        for walk in state.walks.iter_mut().filter(|walk| walk.of.symbol == symbol) {
            walk.target = walk.of.start_ticks + walk.of.start_ticks * distance_bp / 10_000;
        }
    }

    fn step(&self) {
        let State { random, walks } = &mut *self.lock();
        for walk in walks {
            let noise = random.between((-walk.of.jump, walk.of.jump));
            walk.mid = (walk.mid + noise + (walk.target - walk.mid) / PULL).max(walk.of.half_spread + 1);
            walk.bid_size = random.between(walk.of.sizes);
            walk.ask_size = random.between(walk.of.sizes);
        }
    }

    /// `BTCUSDT 45000.50  ETHUSDT 2500.10`
    pub(super) fn describe(&self) -> String {
        let state = self.lock();
        let shown = state.walks.iter().map(|walk| format!("{} {}", walk.of.symbol, walk.of.price(walk.mid)));
        shown.collect::<Vec<_>>().join("   ")
    }

    /// Writes every quote as a market-data feed does.
    pub(super) async fn write(
        &self,
        names: &Names,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), redis::RedisError> {
        let now = SystemClock.now().to_string();
        let mut pipe = redis::pipe();
        for walk in &self.lock().walks {
            let price = |ticks: i64| walk.of.price(ticks).to_string();
            let size = |steps: i64| walk.of.size(steps).to_string();
            pipe.cmd("HSET").arg(format!("{}:quotes:{}", names.prefix, walk.of.symbol));
            pipe.arg("bid").arg(price(walk.mid - walk.of.half_spread));
            pipe.arg("ask").arg(price(walk.mid + walk.of.half_spread));
            pipe.arg("last").arg(price(walk.mid));
            pipe.arg("bid_size").arg(size(walk.bid_size)).arg("ask_size").arg(size(walk.ask_size));
            pipe.arg("timestamp").arg(&now).arg("source").arg("demo").ignore();
        }
        pipe.exec_async(connection).await
    }

    /// Moves and writes the prices until it is time to stop.
    pub(super) async fn run(&self, link: &Link, names: &Names, stop: Token) -> Result<(), AppError> {
        let mut connection = link.connect().await?;
        let mut is_away = false;
        while !stop.is_cancelled() {
            self.step();
            match self.write(names, &mut connection).await {
                Ok(()) => is_away = false,
                Err(error) if is_away => drop(error),
                Err(error) => {
                    is_away = true;
                    print::note(&format!("the prices stand still: {}", link.why(&error)));
                }
            }
            if is_away && let Ok(again) = link.connect().await {
                connection = again;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Both ends included.
    fn between(&mut self, (least, most): (i64, i64)) -> i64 {
        let count = most.abs_diff(least) + 1;
        least + i64::try_from(self.next() % count).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_stay_near_home_and_follow_where_they_are_steered() {
        for seed in 0..50 {
            let market = Market::new(seed);
            let above = |bp: i64| market.price("ETHUSDT", 0).unwrap() > Decimal::new(250_000 + 25 * bp, 2);
            for _ in 0..200 {
                market.step();
                assert!(!above(30) && above(-30), "seed {seed}: {}", market.describe());
            }
            market.steer("ETHUSDT", 60);
            let steps = (0..50)
                .take_while(|_| !{
                    market.step();
                    above(40)
                })
                .count();
            assert!(steps < 25, "seed {seed}: {steps} steps");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let walk = |seed| {
            let market = Market::new(seed);
            (0..20).for_each(|_| market.step());
            market.describe()
        };
        assert_eq!(walk(7), walk(7));
        assert_ne!(walk(7), walk(8));
    }
}
