//! What is told of a run: for programs as one document, for people as lines or as a table.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::print::line;
use crate::cli::table::{Align, Table};

use super::generator::Run;
use super::knee::{ACHIEVED_PERCENT, Knee, P99_FACTOR, Point};
use super::schedule::{Arrivals, Schedule};
use super::tally::micros;

/// Rows of the percentile table until half of what is left is reached.
const TICKS_PER_HALF: u32 = 2;

/// One document, whether of one rate or of a sweep.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Each order of each step was completed, once.
    pub(super) ok: bool,
    pub(super) arrivals: Arrivals,
    pub(super) seed: u64,
    pub(super) seconds: u32,
    pub(super) warmup_seconds: u32,
    pub(super) symbols: u32,
    pub(super) tick_us: u64,
    /// What the closed loop reached beforehand, where the rates follow from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) closed_loop_per_second: Option<u32>,
    pub(super) steps: Vec<Step>,
    /// Of a sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) knee: Option<Knee>,
}

/// What one rate has shown.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    pub(super) rate: u32,
    /// Sent in all, with the warm-up.
    pub(super) orders: u32,
    /// Due in the measured time, and over it.
    pub(super) measured: u32,
    pub(super) offered_per_second: f64,
    /// Completions read in the measured time, over it.
    pub(super) achieved_per_second: f64,
    pub(super) completed: u32,
    pub(super) missing: u32,
    pub(super) failed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_failure: Option<String>,
    pub(super) repeated: u32,
    pub(super) latency: Latency,
    pub(super) sender: Sender,
    /// Orders on their way when the last one had been sent, and the time until all had ended.
    pub(super) in_flight_at_end: u32,
    pub(super) drain_seconds: f64,
}

/// From the moment an order was due until its outcome was read.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
    pub(super) percentiles: Vec<Percentile>,
}

/// So many orders took so long or less.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Percentile {
    pub(super) percentile: f64,
    pub(super) latency_us: u64,
    pub(super) orders: u64,
}

/// How late the generator itself was.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sender {
    pub(super) late_p50_us: u64,
    pub(super) late_p99_us: u64,
    pub(super) late_max_us: u64,
    pub(super) pipelines: u64,
    /// Waited for Redis to answer for the orders before, in all: lateness that is the system's, not the generator's.
    pub(super) held_up_us: u64,
    /// More than half of the p99 latency may be the generator's own.
    pub(super) is_bottleneck: bool,
}

#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
impl Step {
    pub(super) fn new(rate: u32, schedule: &Schedule, run: &Run) -> Self {
        let (tally, late) = (&run.tally, &run.sent.late);
        let window = schedule.window();
        let seconds = window.end.saturating_sub(window.start).as_secs_f64();
        let latency = Latency::of(&tally.latency);
        let late_p99_us = late.value_at_quantile(0.99);
        let held_up_us = micros(run.sent.held_up);
        Self {
            rate,
            orders: schedule.orders(),
            measured: schedule.measured(),
            offered_per_second: f64::from(schedule.measured()) / seconds,
            achieved_per_second: f64::from(tally.read_in_window) / seconds,
            completed: tally.completed,
            missing: tally.missing(),
            failed: tally.failed,
            first_failure: tally.first_failure.clone(),
            repeated: tally.repeated,
            sender: Sender {
                late_p50_us: late.value_at_quantile(0.5),
                late_p99_us,
                late_max_us: late.max(),
                pipelines: run.sent.pipelines,
                held_up_us,
                is_bottleneck: late_p99_us > latency.p99_us / 2 && held_up_us < late_p99_us,
            },
            latency,
            in_flight_at_end: run.sent.in_flight,
            drain_seconds: tally.last_read.saturating_sub(window.end).max(Duration::ZERO).as_secs_f64(),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0 && self.failed == 0 && self.repeated == 0
    }

    pub(super) fn point(&self) -> Point {
        Point {
            rate: self.rate,
            offered: self.offered_per_second,
            achieved: self.achieved_per_second,
            p99_us: self.latency.p99_us,
            whole: self.is_whole(),
        }
    }

    fn achieved_percent(&self) -> f64 {
        if self.offered_per_second > 0.0 {
            self.achieved_per_second / self.offered_per_second * 100.0
        } else {
            0.0
        }
    }

    /// What is wrong with the run, one sentence each.
    fn faults(&self) -> Vec<String> {
        let Self { rate, missing, failed, repeated, .. } = self;
        let why = self.first_failure.as_deref().unwrap_or("no reason");
        [
            (*missing, format!("FAILED at {rate}/s: {missing} of {} outcomes are missing", self.orders)),
            (
                *failed,
                format!("FAILED at {rate}/s: {failed} orders were refused or failed, the first with {why}"),
            ),
            (*repeated, format!("FAILED at {rate}/s: {repeated} outcomes came for orders that had one")),
        ]
        .into_iter()
        .filter_map(|(count, text)| (count > 0).then_some(text))
        .collect()
    }

    fn remark(&self) -> Option<String> {
        let Sender { late_p99_us, held_up_us, is_bottleneck, .. } = &self.sender;
        if *held_up_us > 0 {
            let waited = time(*held_up_us);
            return Some(format!(
                "at {}/s the sender waited {waited} in all for Redis to take its orders",
                self.rate
            ));
        }
        is_bottleneck.then(|| {
            format!(
                "at {}/s the generator was the bottleneck: it was {} late (p99), of a latency of {}",
                self.rate,
                time(*late_p99_us),
                time(self.latency.p99_us)
            )
        })
    }
}

#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let mut orders = 0;
        let percentiles = histogram.iter_quantiles(TICKS_PER_HALF).map(|step| {
            orders += step.count_since_last_iteration();
            Percentile {
                percentile: step.quantile_iterated_to() * 100.0,
                latency_us: step.value_iterated_to(),
                orders,
            }
        });
        let percentiles = percentiles.collect();
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max(),
            percentiles,
        }
    }
}

/// Microseconds for people: three figures, or whole milliseconds.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a figure for people, not an amount"
)]
fn ms(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    match us {
        0..10_000 => format!("{ms:.2}"),
        10_000..100_000 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

fn time(us: u64) -> String {
    format!("{} ms", ms(us))
}

impl Report {
    pub(super) fn show(&self) {
        match (&self.knee, self.steps.as_slice()) {
            (None, [step]) => self.show_one(step),
            _ => self.show_sweep(),
        }
        self.steps.iter().filter_map(Step::remark).for_each(|text| line(&text));
        self.steps.iter().flat_map(Step::faults).for_each(|text| line(&text));
    }

    fn head(&self) -> String {
        let arrivals = match self.arrivals {
            Arrivals::Uniform => "uniform arrivals".to_owned(),
            Arrivals::Poisson => format!("Poisson arrivals, seed {}", self.seed),
        };
        format!("{} s measured after {} s of warm-up, {arrivals}", self.seconds, self.warmup_seconds)
    }

    fn show_one(&self, step: &Step) {
        let (latency, sender) = (&step.latency, &step.sender);
        line(&format!("open loop at {}/s, {}", step.rate, self.head()));
        line(&format!("orders sent                {:>10}   {} measured", step.orders, step.measured));
        line(&format!(
            "achieved                   {:>10.1}/s {:.1} % of the {:.1}/s offered",
            step.achieved_per_second,
            step.achieved_percent(),
            step.offered_per_second
        ));
        line("latency, from when an order was due until its outcome was read");
        for (name, us) in [
            ("p50", latency.p50_us),
            ("p90", latency.p90_us),
            ("p99", latency.p99_us),
            ("p99.9", latency.p999_us),
            ("max", latency.max_us),
        ] {
            line(&format!("  {name:<25}{:>10} ms", ms(us)));
        }
        line(&format!(
            "sender late, p50           {:>10} ms  p99 {}, max {}; {} pipelines",
            ms(sender.late_p50_us),
            time(sender.late_p99_us),
            time(sender.late_max_us),
            sender.pipelines
        ));
        line(&format!(
            "on their way at the end    {:>10}   all had ended after {:.2} s",
            step.in_flight_at_end, step.drain_seconds
        ));
        line(&format!("outcomes missing           {:>10}", step.missing));
    }

    fn show_sweep(&self) {
        line(&format!("open loop, each rate {}", self.head()));
        if let Some(closed) = self.closed_loop_per_second {
            line(&format!("closed loop beforehand: {closed}/s"));
        }
        let right =
            ["rate/s", "achieved/s", "%", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "late p99 ms"];
        let columns = right.into_iter().map(|name| (name, Align::Right)).chain([("", Align::Left)]);
        let mut table = Table::new(columns.collect());
        let knee = self.knee.filter(|knee| knee.passed).and_then(|knee| knee.rate);
        for step in &self.steps {
            let latency = &step.latency;
            table.row(vec![
                step.rate.to_string(),
                format!("{:.0}", step.achieved_per_second),
                format!("{:.1}", step.achieved_percent()),
                ms(latency.p50_us),
                ms(latency.p90_us),
                ms(latency.p99_us),
                ms(latency.p999_us),
                ms(latency.max_us),
                ms(step.sender.late_p99_us),
                if knee == Some(step.rate) { "<- knee" } else { "" }.to_owned(),
            ]);
        }
        table.print();
        if let Some(knee) = &self.knee {
            line(&knee_line(knee));
        }
    }
}

fn knee_line(knee: &Knee) -> String {
    let bounds = format!(
        "p99 within {} ({P99_FACTOR} x the lowest rate's), {ACHIEVED_PERCENT} % achieved",
        time(knee.p99_limit_us)
    );
    match (knee.rate, knee.passed) {
        (Some(rate), true) => format!("knee: {rate}/s is the highest rate that holds: {bounds}"),
        (Some(rate), false) => format!("no knee up to {rate}/s: every rate holds: {bounds}"),
        (None, _) => format!("no knee: not even the lowest rate holds: {bounds}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::generator::Sent;
    use super::super::schedule::Offer;
    use super::super::tally::{End, Tally, histogram};
    use super::*;

    /// A second at 100/s past one of warm-up. Order n is answered after n milliseconds, unless it is `left_out`.
    fn step(left_out: &[u32], late_us: u64, held_up: Duration) -> Step {
        let offer = Offer { rate: 100, warmup_seconds: 1, seconds: 1, arrivals: Arrivals::Uniform, seed: 1 };
        let schedule = Arc::new(Schedule::new(&offer));
        let mut tally = Tally::new(schedule.clone()).unwrap();
        for order in (0..200).filter(|order| !left_out.contains(order)) {
            let due = schedule.due(order).unwrap();
            assert!(tally.take(order, End::Completed, due + Duration::from_millis(u64::from(order))));
        }
        let mut late = histogram().unwrap();
        late.saturating_record(late_us);
        Step::new(100, &schedule, &Run { tally, sent: Sent { late, pipelines: 200, held_up, in_flight: 3 } })
    }

    #[test]
    fn a_step_tells_what_was_offered_achieved_and_how_long_it_took() {
        let step = step(&[], 10, Duration::ZERO);
        assert_eq!((step.orders, step.measured, step.completed), (200, 100, 200));
        assert_eq!((step.offered_per_second, step.drain_seconds), (100.0, 0.189));
        // Orders 92 to 181 were read within the measured second: 10 n + n ms is between 1000 and 2000.
        assert_eq!(step.achieved_per_second, 91.0);
        let latency = &step.latency;
        let near = |us: u64, ms: u64| us.abs_diff(ms * 1000) < 200;
        assert!(
            near(latency.p50_us, 149) && near(latency.p90_us, 189) && near(latency.p99_us, 198),
            "{latency:?}"
        );
        assert!(near(latency.max_us, 199), "{latency:?}");
        assert_eq!(latency.percentiles.last().map(|last| (last.percentile, last.orders)), Some((100.0, 100)));
        assert!(step.is_whole() && step.faults().is_empty() && step.remark().is_none());
    }

    #[test]
    fn a_step_with_missing_outcomes_has_failed_and_says_how_many() {
        let step = step(&[5, 150], 10, Duration::ZERO);
        assert!(!step.is_whole() && !step.point().whole);
        assert_eq!(step.missing, 2);
        assert_eq!(step.faults(), ["FAILED at 100/s: 2 of 200 outcomes are missing"]);
    }

    #[test]
    fn a_generator_that_made_the_latency_is_named() {
        assert!(step(&[], 98_000, Duration::ZERO).remark().is_none());
        let remark = step(&[], 101_000, Duration::ZERO).remark().unwrap();
        assert!(remark.contains("bottleneck") && remark.contains("101 ms"), "{remark}");
        // Late because Redis took no more: that is the system's doing.
        let held_up = step(&[], 101_000, Duration::from_millis(150));
        assert!(!held_up.sender.is_bottleneck);
        let remark = held_up.remark().unwrap();
        assert!(remark.contains("150 ms") && remark.contains("for Redis"), "{remark}");
    }

    #[test]
    fn figures_are_told_in_milliseconds() {
        assert_eq!([9, 1_234, 12_340, 1_234_567].map(ms), ["0.01", "1.23", "12.3", "1235"]);
    }
}
