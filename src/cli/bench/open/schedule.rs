//! When each order is due. Fixed before the first one is sent, and never moved by what the system does.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use crate::app::AppError;

/// Orders of one run, warm-up included: the schedule is held in memory.
const MOST_ORDERS: u64 = 5_000_000;
const NANOS: u64 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Arrivals {
    /// Equal gaps
    Uniform,
    /// Gaps drawn at random, as of producers that know nothing of each other
    Poisson,
}

/// What is offered to the system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// Orders a second.
    pub(super) rate: u32,
    pub(super) warmup_seconds: u32,
    pub(super) seconds: u32,
    pub(super) arrivals: Arrivals,
    pub(super) seed: u64,
}

impl Offer {
    /// `option` is the one that the rate came from.
    pub(super) fn check(&self, option: &str) -> Result<(), AppError> {
        let seconds = u64::from(self.warmup_seconds) + u64::from(self.seconds);
        let orders = u64::from(self.rate) * seconds;
        if orders <= MOST_ORDERS {
            return Ok(());
        }
        Err(AppError::Usage(format!(
            "{option} {} for {seconds} s, warm-up included, makes {orders} orders; {MOST_ORDERS} are the most of \
             one run: lower the rate, --seconds or --warmup",
            self.rate
        )))
    }
}

/// The moments at which orders are due, counted from the start.
#[derive(Debug)]
pub(super) struct Schedule {
    due_ns: Vec<u64>,
    /// The orders that are measured: those due past the warm-up.
    measured: Range<u32>,
    window: Range<Duration>,
}

impl Schedule {
    pub(super) fn new(offer: &Offer) -> Self {
        let (warmup, seconds) = (u64::from(offer.warmup_seconds), u64::from(offer.seconds));
        let end_ns = (warmup + seconds) * NANOS;
        let due_ns = match offer.arrivals {
            Arrivals::Uniform => {
                let rate = u64::from(offer.rate.max(1));
                (0..rate * (warmup + seconds)).map(|n| n * NANOS / rate).collect()
            }
            Arrivals::Poisson => poisson(offer, end_ns),
        };
        let first = position(due_ns.partition_point(|due| *due < warmup * NANOS));
        let measured = first..position(due_ns.len());
        Self { due_ns, measured, window: Duration::from_secs(warmup)..Duration::from_nanos(end_ns) }
    }

    pub(super) fn orders(&self) -> u32 {
        position(self.due_ns.len())
    }

    pub(super) fn due(&self, order: u32) -> Option<Duration> {
        self.due_ns.get(order as usize).copied().map(Duration::from_nanos)
    }

    /// How many orders are due by then.
    pub(super) fn due_by(&self, now: Duration) -> u32 {
        position(self.due_ns.partition_point(|due| u128::from(*due) <= now.as_nanos()))
    }

    pub(super) fn is_measured(&self, order: u32) -> bool {
        self.measured.contains(&order)
    }

    /// Orders that are measured.
    pub(super) fn measured(&self) -> u32 {
        self.measured.end - self.measured.start
    }

    /// From the end of the warm-up to that of the schedule.
    pub(super) fn window(&self) -> &Range<Duration> {
        &self.window
    }
}

fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// A Poisson process: independent gaps of exponential length. The same seed draws the same.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "moments of a schedule, not amounts"
)]
fn poisson(offer: &Offer, end_ns: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(offer.seed);
    let mean_ns = 1e9 / f64::from(offer.rate.max(1));
    let mut due_ns = Vec::new();
    let mut at_ns = 0.0_f64;
    loop {
        // Of (0, 1]: the logarithm of 0 is none.
        at_ns -= (1.0 - random.f64()).ln() * mean_ns;
        let due = at_ns as u64;
        if due >= end_ns {
            return due_ns;
        }
        due_ns.push(due);
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "figures, not amounts")]
mod tests {
    use super::*;

    fn offer(rate: u32, arrivals: Arrivals, seed: u64) -> Offer {
        Offer { rate, warmup_seconds: 1, seconds: 9, arrivals, seed }
    }

    #[test]
    fn uniform_orders_are_due_at_equal_gaps_over_the_whole_run() {
        let schedule = Schedule::new(&offer(300, Arrivals::Uniform, 1));
        assert_eq!(schedule.orders(), 3000);
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        assert_eq!(schedule.due(1), Some(Duration::from_nanos(3_333_333)));
        // No rounding adds up: after each second the rate has been met exactly.
        assert_eq!(schedule.due(2700), Some(Duration::from_secs(9)));
        assert_eq!(schedule.due(3000), None);
    }

    #[test]
    fn an_order_is_due_at_its_moment_and_not_before() {
        let schedule = Schedule::new(&offer(1000, Arrivals::Uniform, 1));
        assert_eq!(schedule.due_by(Duration::ZERO), 1);
        assert_eq!(schedule.due_by(Duration::from_nanos(999_999)), 1);
        assert_eq!(schedule.due_by(Duration::from_millis(1)), 2);
        assert_eq!(schedule.due_by(Duration::from_secs(60)), 10_000);
    }

    #[test]
    fn orders_of_the_warm_up_are_not_measured() {
        let schedule = Schedule::new(&offer(100, Arrivals::Uniform, 1));
        assert!(!schedule.is_measured(99));
        assert!(schedule.is_measured(100));
        assert!(schedule.is_measured(999));
        assert_eq!(schedule.measured(), 900);
        assert_eq!(*schedule.window(), Duration::from_secs(1)..Duration::from_secs(10));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_their_rate() {
        let schedule = Schedule::new(&offer(2000, Arrivals::Poisson, 7));
        let due: Vec<f64> = (0..schedule.orders()).map(|n| schedule.due(n).unwrap().as_secs_f64()).collect();
        assert!(due.is_sorted());
        // 20000 are expected, with a standard deviation of 141: five of them either way.
        assert!((due.len() as f64 - 20_000.0).abs() < 710.0, "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // An exponential distribution's standard deviation is its mean; equal gaps would have none.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{} of {mean}", variance.sqrt());
    }

    #[test]
    fn a_seed_names_one_schedule() {
        let due = |seed| Schedule::new(&offer(500, Arrivals::Poisson, seed)).due_ns;
        assert_eq!(due(3), due(3));
        assert_ne!(due(3), due(4));
    }

    #[test]
    fn more_orders_than_fit_are_refused_with_the_figures() {
        let most = Offer { rate: 500_000, ..offer(0, Arrivals::Uniform, 1) };
        assert!(most.check("--rate").is_ok());
        let error = Offer { rate: 500_001, ..most }.check("--rate").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        for word in ["--rate 500001", "10 s", "5000010 orders", "5000000", "--seconds"] {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
}
