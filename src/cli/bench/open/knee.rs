//! Where the system begins to fall behind, and which rates to try to find that.

use serde::Serialize;

/// The p99 may grow to so many times that of the lowest rate.
pub(super) const P99_FACTOR: u64 = 10;
/// Share of the offered rate that is to be achieved, percent.
pub(super) const ACHIEVED_PERCENT: f64 = 99.0;
/// Of the closed loop's throughput, percent.
const AROUND: [u32; 9] = [10, 25, 50, 60, 70, 80, 90, 100, 110];

/// What of a step decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) rate: u32,
    pub(super) offered: f64,
    pub(super) achieved: f64,
    pub(super) p99_us: u64,
    /// Each order was completed, once.
    pub(super) whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Knee {
    /// The highest rate that holds, as do all lower ones; none: not even the lowest does.
    pub(super) rate: Option<u32>,
    /// A higher rate was tried and did not hold. Else the knee lies beyond what was tried.
    pub(super) passed: bool,
    pub(super) p99_limit_us: u64,
    pub(super) achieved_percent: f64,
}

/// `points` by rising rate.
pub(super) fn knee(points: &[Point]) -> Option<Knee> {
    let p99_limit_us = points.first()?.p99_us.saturating_mul(P99_FACTOR);
    let holding = points.iter().take_while(|point| holds(point, p99_limit_us)).count();
    Some(Knee {
        rate: points[..holding].last().map(|point| point.rate),
        passed: holding < points.len(),
        p99_limit_us,
        achieved_percent: ACHIEVED_PERCENT,
    })
}

#[expect(clippy::float_arithmetic, reason = "rates, not amounts")]
fn holds(point: &Point, p99_limit_us: u64) -> bool {
    point.whole && point.p99_us <= p99_limit_us && point.achieved * 100.0 >= point.offered * ACHIEVED_PERCENT
}

/// `steps` rates at equal distances, both ends among them.
pub(super) fn evenly(from: u32, to: u32, steps: u32) -> Vec<u32> {
    let (from, span, gaps) = (u64::from(from), u64::from(to - from), u64::from(steps.max(2) - 1));
    let mut rates: Vec<u32> = (0..=gaps).filter_map(|n| u32::try_from(from + span * n / gaps).ok()).collect();
    rates.dedup();
    rates
}

/// Rates on both sides of a throughput, most of them near it.
pub(super) fn around(throughput: u32) -> Vec<u32> {
    let mut rates: Vec<u32> = AROUND.iter().map(|percent| share(throughput, *percent)).collect();
    rates.dedup();
    rates
}

/// So many percent of a throughput, in two figures.
pub(super) fn share(throughput: u32, percent: u32) -> u32 {
    let exact = u64::from(throughput) * u64::from(percent) / 100;
    let mut unit = 1;
    while exact / unit >= 100 {
        unit *= 10;
    }
    u32::try_from((exact + unit / 2) / unit * unit).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(table: &[(u32, f64, u64)]) -> Vec<Point> {
        let point = |&(rate, achieved, p99_us)| Point {
            rate,
            offered: f64::from(rate),
            achieved,
            p99_us,
            whole: true,
        };
        table.iter().map(point).collect()
    }

    fn check(table: &[(u32, f64, u64)], rate: Option<u32>, passed: bool) {
        let knee = knee(&points(table)).unwrap();
        assert_eq!((knee.rate, knee.passed), (rate, passed), "{table:?}");
    }

    #[test]
    fn the_knee_is_the_last_rate_before_one_that_does_not_hold() {
        let (low, middle) = ((100, 100.0, 5_000), (200, 200.0, 9_000));
        // Too slow; exactly at the limit still holds.
        check(&[low, middle, (300, 300.0, 50_000), (400, 400.0, 50_001)], Some(300), true);
        // Too few; exactly at 99 % still holds.
        check(&[low, middle, (300, 297.0, 9_000), (400, 395.9, 9_000)], Some(300), true);
        // All hold: it lies further on.
        check(&[low, middle], Some(200), false);
        // Not even the lowest rate is achieved.
        check(&[(100, 90.0, 5_000), middle], None, true);
        // What holds behind a rate that does not is no knee.
        check(&[low, (200, 150.0, 9_000), (300, 300.0, 9_000)], Some(100), true);
        check(&[low], Some(100), false);
        assert_eq!(knee(&[]), None);
    }

    #[test]
    fn a_step_that_lost_an_order_does_not_hold() {
        let mut points = points(&[(100, 100.0, 5_000), (200, 200.0, 5_000)]);
        points[1].whole = false;
        assert_eq!(knee(&points).unwrap().rate, Some(100));
    }

    #[test]
    fn rates_reach_from_end_to_end() {
        assert_eq!(evenly(100, 500, 5), [100, 200, 300, 400, 500]);
        assert_eq!(evenly(1000, 2000, 4), [1000, 1333, 1666, 2000]);
        assert_eq!(evenly(7, 7, 3), [7]);
        assert_eq!(evenly(1, 1_000_000, 2), [1, 1_000_000]);
    }

    #[test]
    fn rates_around_a_throughput_are_round() {
        assert_eq!(around(10_431), [1000, 2600, 5200, 6300, 7300, 8300, 9400, 10_000, 11_000]);
        assert_eq!(around(0), [1]);
        assert!(around(3).is_sorted());
    }
}
