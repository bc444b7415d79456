//! What came back: each order's latency, counted from the moment it was due.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::app::AppError;

use super::schedule::Schedule;

/// Longer latencies count as this one.
const LONGEST_US: u64 = 3_600_000_000;
/// Figures that a latency keeps: it is off by a thousandth at most.
const FIGURES: u8 = 3;

pub(super) fn histogram() -> Result<Histogram<u64>, AppError> {
    Histogram::new_with_bounds(1, LONGEST_US, FIGURES)
        .map_err(|error| AppError::Failed(format!("no histogram up to {LONGEST_US} us: {error}")))
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    /// With its code and its sentence.
    Failed(String),
}

pub(super) struct Tally {
    schedule: Arc<Schedule>,
    /// By order.
    has_ended: Vec<bool>,
    /// Of completed orders past the warm-up, microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) ended: u32,
    pub(super) completed: u32,
    pub(super) failed: u32,
    /// Outcomes of orders that had one already.
    pub(super) repeated: u32,
    /// Completions that were read between warm-up and end of the schedule.
    pub(super) read_in_window: u32,
    pub(super) first_failure: Option<String>,
    pub(super) last_read: Duration,
}

impl Tally {
    pub(super) fn new(schedule: Arc<Schedule>) -> Result<Self, AppError> {
        Ok(Self {
            has_ended: vec![false; schedule.orders() as usize],
            schedule,
            latency: histogram()?,
            ended: 0,
            completed: 0,
            failed: 0,
            repeated: 0,
            read_in_window: 0,
            first_failure: None,
            last_read: Duration::ZERO,
        })
    }

    /// An outcome that was read at `now`. `false`: no order of this schedule.
    pub(super) fn take(&mut self, order: u32, end: End, now: Duration) -> bool {
        let (Some(has_ended), Some(due)) = (self.has_ended.get_mut(order as usize), self.schedule.due(order))
        else {
            return false;
        };
        self.last_read = self.last_read.max(now);
        if std::mem::replace(has_ended, true) {
            self.repeated += 1;
            return true;
        }
        self.ended += 1;
        match end {
            End::Completed => {
                self.completed += 1;
                if self.schedule.window().contains(&now) {
                    self.read_in_window += 1;
                }
                if self.schedule.is_measured(order) {
                    // From when it was due, not from when it was sent: what a stall keeps from being sent waits, too.
                    self.latency.saturating_record(micros(now.saturating_sub(due)));
                }
            }
            End::Failed(why) => {
                self.failed += 1;
                self.first_failure.get_or_insert(why);
            }
        }
        true
    }

    /// Orders without an outcome.
    pub(super) fn missing(&self) -> u32 {
        self.schedule.orders() - self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::pacer::{Pacer, TICK};
    use super::super::schedule::{Arrivals, Offer};
    use super::*;
    use std::ops::Range;

    const ANSWERED_AFTER: Duration = Duration::from_millis(1);

    fn schedule() -> Arc<Schedule> {
        let offer =
            Offer { rate: 1000, warmup_seconds: 1, seconds: 10, arrivals: Arrivals::Uniform, seed: 1 };
        Arc::new(Schedule::new(&offer))
    }

    /// A clock that is turned by hand, tick by tick. Neither sender nor system does anything while it stands
    /// in `stall`; else an order is answered a millisecond after it was sent.
    fn simulate(stall: &Range<Duration>) -> (Tally, Histogram<u64>, Duration) {
        let schedule = schedule();
        let (mut pacer, mut tally) = (Pacer::new(schedule.clone()).unwrap(), Tally::new(schedule).unwrap());
        let mut sent: Vec<(u32, Duration)> = Vec::new();
        let mut slowest_since_sent = Duration::ZERO;
        let mut now = Duration::ZERO;
        while tally.missing() > 0 {
            if !stall.contains(&now) {
                let (answered, waiting) = sent.into_iter().partition(|(_, at)| *at + ANSWERED_AFTER <= now);
                sent = waiting;
                let answered: Vec<(u32, Duration)> = answered;
                for (order, at) in answered {
                    slowest_since_sent = slowest_since_sent.max(now - at);
                    assert!(tally.take(order, End::Completed, now));
                }
                while let Some(orders) = pacer.take(now) {
                    sent.extend(orders.map(|order| (order, now)));
                }
            }
            now += TICK;
            assert!(now < Duration::from_secs(60), "{} orders are never answered", tally.missing());
        }
        (tally, pacer.into_late(), slowest_since_sent)
    }

    #[test]
    fn a_stall_of_a_second_shows_in_the_latency_of_all_orders_that_it_held_up() {
        let (tally, late, slowest_since_sent) = simulate(&(Duration::from_secs(3)..Duration::from_secs(4)));
        assert_eq!(tally.latency.len(), 10_000);
        let at = |quantile| tally.latency.value_at_quantile(quantile);
        assert_eq!(at(0.5), 1000);
        // A tenth of the orders was due in that second; they waited for up to a second, evenly spread.
        assert!(at(0.95).abs_diff(500_000) < 5_000, "{}", at(0.95));
        assert!(at(0.99).abs_diff(900_000) < 5_000, "{}", at(0.99));
        assert!(tally.latency.max().abs_diff(1_001_000) < 2_000, "{}", tally.latency.max());
        // The sender's part is told beside it.
        assert!(late.value_at_quantile(0.99).abs_diff(900_000) < 5_000);
        // Counted from the sending, one order alone would have seen it: 0.01 % of them.
        assert!(slowest_since_sent.as_micros().abs_diff(1_000_000) <= 2_000);
    }

    #[test]
    fn without_a_stall_all_take_the_same() {
        let (tally, late, _) = simulate(&(Duration::ZERO..Duration::ZERO));
        assert_eq!((tally.latency.min(), tally.latency.max()), (1000, 1000));
        assert_eq!(late.max(), 0);
        assert_eq!(tally.read_in_window, 10_000);
    }

    #[test]
    fn every_order_counts_once_however_often_it_is_answered() {
        let mut tally = Tally::new(schedule()).unwrap();
        let at = Duration::from_secs(2);
        for order in [1500, 1500, 0] {
            assert!(tally.take(order, End::Completed, at));
        }
        assert!(tally.take(1501, End::Failed("NO: because".to_owned()), at));
        assert!(tally.take(1502, End::Failed("another".to_owned()), at));
        assert!(!tally.take(11_000, End::Completed, at), "no such order");
        assert_eq!((tally.ended, tally.completed, tally.failed, tally.repeated), (4, 2, 2, 1));
        assert_eq!(tally.missing(), 11_000 - 4);
        assert_eq!(tally.first_failure.as_deref(), Some("NO: because"));
        // Order 0 belongs to the warm-up, and what fails has no latency.
        assert_eq!(tally.latency.len(), 1);
        assert!(tally.latency.max().abs_diff(500_000) < 500);
    }

    #[test]
    fn what_is_read_past_the_end_was_not_achieved_in_time() {
        let mut tally = Tally::new(schedule()).unwrap();
        for (order, ms) in [(0, 900), (1, 1000), (2, 10_999), (3, 11_000), (4, 12_000)] {
            tally.take(order, End::Completed, Duration::from_millis(ms));
        }
        assert_eq!(tally.read_in_window, 2);
    }
}
