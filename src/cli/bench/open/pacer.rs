//! Hands out the orders that are due, and keeps book of how late it was asked for them.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::app::AppError;

use super::super::load::PIPELINE;
use super::schedule::Schedule;
use super::tally::{histogram, micros};

/// Orders that become due within it go in one pipeline.
pub(super) const TICK: Duration = Duration::from_millis(1);

pub(super) struct Pacer {
    schedule: Arc<Schedule>,
    next: u32,
    /// From the moment an order was due until it was taken, microseconds; without the warm-up.
    late: Histogram<u64>,
}

impl Pacer {
    pub(super) fn new(schedule: Arc<Schedule>) -> Result<Self, AppError> {
        Ok(Self { schedule, next: 0, late: histogram()? })
    }

    /// The next orders that are due, one pipeline at most.
    pub(super) fn take(&mut self, now: Duration) -> Option<Range<u32>> {
        let most = self.next.saturating_add(u32::try_from(PIPELINE).unwrap_or(u32::MAX));
        let orders = self.next..self.schedule.due_by(now).min(most);
        if orders.is_empty() {
            return None;
        }
        for order in orders.clone().filter(|order| self.schedule.is_measured(*order)) {
            let due = self.schedule.due(order).unwrap_or(now);
            self.late.saturating_record(micros(now.saturating_sub(due)));
        }
        self.next = orders.end;
        Some(orders)
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.schedule.orders()
    }

    pub(super) fn into_late(self) -> Histogram<u64> {
        self.late
    }
}

/// Wakes the sender when the next order is due, once a tick at most, from a thread of its own: the
/// runtime's timer counts in whole milliseconds and waits for a free turn. A sender that is still busy with
/// the last call is not called again: it takes what has become due meanwhile.
pub(super) fn keep_time(schedule: &Schedule, start: Instant, wake: &mpsc::Sender<()>) {
    let (mut next, mut last) = (0, Duration::ZERO);
    while let Some(due) = schedule.due(next) {
        thread::sleep(due.max(last + TICK).saturating_sub(start.elapsed()));
        last = start.elapsed();
        if matches!(wake.try_send(()), Err(TrySendError::Closed(()))) {
            return;
        }
        next = schedule.due_by(last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Arrivals, Offer};
    use super::*;

    fn pacer(rate: u32) -> Pacer {
        let offer = Offer { rate, warmup_seconds: 0, seconds: 2, arrivals: Arrivals::Uniform, seed: 1 };
        Pacer::new(Arc::new(Schedule::new(&offer))).unwrap()
    }

    #[test]
    fn orders_of_one_tick_go_together_and_each_goes_once() {
        let mut pacer = pacer(5000);
        assert_eq!(pacer.take(Duration::from_millis(1)), Some(0..6));
        assert_eq!(pacer.take(Duration::from_millis(1)), None);
        assert_eq!(pacer.take(Duration::from_millis(2)), Some(6..11));
        assert!(!pacer.is_done());
    }

    #[test]
    fn a_stalled_sender_makes_up_for_every_order_and_tells_how_late_it_was() {
        let mut pacer = pacer(1000);
        assert_eq!(pacer.take(Duration::ZERO), Some(0..1));
        // Nobody asks for a second: what became due meanwhile is neither left out nor moved.
        let now = Duration::from_millis(1000);
        let mut taken = Vec::new();
        while let Some(orders) = pacer.take(now) {
            assert!(orders.len() <= PIPELINE);
            taken.extend(orders);
        }
        assert_eq!(taken, (1..1001).collect::<Vec<_>>());
        let late = pacer.into_late();
        assert_eq!(late.len(), 1001);
        assert!(late.max() >= 998_000, "{}", late.max());
        assert!(late.value_at_quantile(0.5).abs_diff(500_000) < 2_000, "{}", late.value_at_quantile(0.5));
    }

    #[test]
    fn the_last_order_ends_it() {
        let mut pacer = pacer(3);
        assert_eq!(pacer.take(Duration::from_secs(60)), Some(0..6));
        assert!(pacer.is_done());
    }

    #[test]
    fn time_is_kept_until_the_last_order_is_due() {
        let offer = Offer { rate: 50, warmup_seconds: 0, seconds: 1, arrivals: Arrivals::Uniform, seed: 1 };
        let schedule = Schedule::new(&offer);
        let (wake, mut woken) = mpsc::channel(64);
        let start = Instant::now();
        keep_time(&schedule, start, &wake);
        assert!(start.elapsed() >= schedule.due(49).unwrap());
        let calls = std::iter::from_fn(|| woken.try_recv().ok()).count();
        assert!((1..=50).contains(&calls), "{calls} calls for 50 orders");
        drop(woken);
        let again = Instant::now();
        keep_time(&schedule, again, &wake);
        assert!(again.elapsed() < Duration::from_millis(900), "a sender that has gone is not called");
    }
}
