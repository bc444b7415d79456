//! The open loop: orders come at a rate of their own, and each one's latency counts from when it was due.

mod generator;
mod knee;
mod pacer;
mod plot;
mod plot_file;
mod progress;
mod reader;
mod report;
mod schedule;
mod tally;

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::{AppError, Worker};
use crate::cli::{Call, Ending, print};
use crate::config::Settings;
use crate::runtime::shutdown::{Shutdown, Token};

use super::site::{Controls, Site};
use super::{Bench, load};
use generator::{Counts, Job, Run};
use plot_file::PlotFile;
use progress::Progress;
use report::{Report, Step};
use schedule::{Arrivals, Offer, Schedule};

const MOST_PER_SECOND: i64 = 1_000_000;
/// Of a sweep whose ends are given.
const STEPS: u32 = 9;
/// Ends of a sweep that are not given, in percent of the closed loop's throughput.
const FROM_PERCENT: u32 = 10;
const TO_PERCENT: u32 = 110;
/// Outcomes that are kept for the reader at least: it may fall behind by so many.
const LEAST_HISTORY: u64 = 100_000;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Open loop")]
pub(super) struct Open {
    /// Offer so many orders a second and measure the latency of each
    #[arg(long, value_name = "R", group = "load", value_parser = clap::value_parser!(u32).range(1..=MOST_PER_SECOND))]
    rate: Option<u32>,
    /// Try rates from low to beyond saturation, and find the knee
    #[arg(long, group = "load")]
    sweep: bool,
    /// Lowest rate of the sweep [default: 10 % of the closed loop's throughput, measured first]
    #[arg(long, value_name = "R", requires = "sweep", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=MOST_PER_SECOND))]
    from: Option<u32>,
    /// Highest rate of the sweep [default: 110 % of that throughput]
    #[arg(long, value_name = "R", requires = "sweep", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=MOST_PER_SECOND))]
    to: Option<u32>,
    /// Rates of the sweep, at equal distances [default: 9; without ends closer together from 50 % on]
    #[arg(long, value_name = "N", requires = "sweep", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(2..=100))]
    steps: Option<u32>,
    /// Seconds that each rate is measured for
    #[arg(long, value_name = "S", requires = "load", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Seconds at the same rate before that, which do not count
    #[arg(long, value_name = "S", requires = "load", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
    /// How the orders are spread over time
    #[arg(long, requires = "load", default_value = "uniform")]
    arrivals: Arrivals,
    /// The same seed draws the same Poisson arrivals
    #[arg(long, value_name = "N", requires = "load", default_value_t = 1)]
    seed: u64,
    // Of what conflicts with `--rate` clap would not ask for `--sweep`: hence both.
    /// Draw the sweep's latencies over its rates
    #[arg(long, value_name = "FILE.svg", requires = "sweep", conflicts_with = "rate")]
    plot: Option<PathBuf>,
}

impl Open {
    pub(super) fn is_asked_for(&self) -> bool {
        self.sweep || self.rate.is_some()
    }

    fn offer(&self, rate: u32) -> Offer {
        Offer {
            rate,
            warmup_seconds: self.warmup,
            seconds: self.seconds,
            arrivals: self.arrivals,
            seed: self.seed,
        }
    }

    /// What is wrong with the options, as far as it shows before anything is measured.
    fn check(&self) -> Result<(), AppError> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(AppError::Usage(format!(
                "--from {from} is not below --to {to}: a sweep goes from the lower rate to the higher"
            )));
        }
        for (option, rate) in [("--rate", self.rate), ("--from", self.from), ("--to", self.to)] {
            if let Some(rate) = rate {
                self.offer(rate).check(option)?;
            }
        }
        Ok(())
    }

    /// The rates of a sweep, where the closed loop reached `closed`; none if the ends tell them.
    fn rates(&self, closed: Option<u32>) -> Result<Vec<u32>, AppError> {
        if let (Some(closed), None, None, None) = (closed, self.from, self.to, self.steps) {
            return Ok(knee::around(closed));
        }
        let closed = closed.unwrap_or(0);
        let from = self.from.unwrap_or_else(|| knee::share(closed, FROM_PERCENT));
        let to = self.to.unwrap_or_else(|| knee::share(closed, TO_PERCENT));
        if from >= to {
            return Err(AppError::Usage(format!(
                "the sweep would go from {from} to {to} orders/s, as the closed loop reached {closed}: give both --from and --to"
            )));
        }
        Ok(knee::evenly(from, to, self.steps.unwrap_or(STEPS)))
    }
}

pub(super) async fn run(call: &Call, bench: &Bench) -> Result<Ending, AppError> {
    let open = &bench.open;
    open.check()?;
    let picture = open.plot.as_deref().map(PlotFile::claim).transpose()?;
    let interrupt = Shutdown::new();
    interrupt.listen().map_err(|error| AppError::Io("signals cannot be caught", error))?;
    let bencher =
        Bencher { configured: &call.settings, bench, stop: interrupt.token(), progress: Progress::new() };
    let measured = match open.rate {
        Some(rate) => bencher.one(rate).await,
        None => bencher.sweep().await,
    };
    bencher.progress.say("");
    let report = measured?;
    if let Some(picture) = picture {
        let drawn = plot::draw(&report);
        picture.write(
            &drawn.map_err(|error| AppError::Failed(format!("the picture cannot be drawn: {error}")))?,
        )?;
    }
    if call.json {
        print::json(&report)?;
    } else {
        report.show();
    }
    Ok(if report.ok { Ending::Done } else { Ending::Failed })
}

struct Bencher<'a> {
    configured: &'a Settings,
    bench: &'a Bench,
    stop: Token,
    progress: Progress,
}

impl Bencher<'_> {
    async fn one(&self, rate: u32) -> Result<Report, AppError> {
        let step = self.step(rate, &format!("{rate}/s")).await?;
        Ok(self.report(None, vec![step]))
    }

    async fn sweep(&self) -> Result<Report, AppError> {
        let open = &self.bench.open;
        let closed = match (open.from, open.to) {
            (Some(_), Some(_)) => None,
            _ => Some(self.closed_loop().await?),
        };
        let rates = open.rates(closed)?;
        for rate in &rates {
            open.offer(*rate).check("the sweep's rate of")?;
        }
        let mut steps: Vec<Step> = Vec::new();
        for (n, rate) in rates.iter().enumerate() {
            let what = format!("rate {} of {}, {rate}/s", n + 1, rates.len());
            let step = self.step(*rate, &what).await?;
            let is_whole = step.is_whole();
            steps.push(step);
            // A higher rate would show nothing but this failure again.
            if !is_whole {
                break;
            }
        }
        let points: Vec<knee::Point> = steps.iter().map(Step::point).collect();
        Ok(Report { knee: knee::knee(&points), ..self.report(closed, steps) })
    }

    fn report(&self, closed: Option<u32>, steps: Vec<Step>) -> Report {
        let open = &self.bench.open;
        Report {
            ok: steps.iter().all(Step::is_whole),
            arrivals: open.arrivals,
            seed: open.seed,
            seconds: open.seconds,
            warmup_seconds: open.warmup,
            symbols: self.bench.symbols,
            tick_us: tally::micros(pacer::TICK),
            closed_loop_per_second: closed,
            steps,
            knee: None,
        }
    }

    /// Orders a second that go through when the next ones wait for nothing but Redis.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, not an amount")]
    async fn closed_loop(&self) -> Result<u32, AppError> {
        self.progress.say(&format!("closed loop: {} orders", self.bench.orders));
        let site = Site::set(self.configured, self.bench, Controls::Basic).await?;
        let loaded = tokio::select! {
            loaded = load::run(&site.settings, self.bench.orders, self.bench.symbols, load::Orders::BothSides) => loaded,
            () = self.stop.cancelled() => Err(AppError::Failed("interrupted: nothing is reported".to_owned())),
        };
        site.clear().await;
        Ok(loaded?.orders_per_second as u32)
    }

    /// One rate: on a site of its own, with a journal and streams that begin empty.
    async fn step(&self, rate: u32, what: &str) -> Result<Step, AppError> {
        let schedule = Arc::new(Schedule::new(&self.bench.open.offer(rate)));
        let mut site = Site::set(self.configured, self.bench, Controls::Basic).await?;
        let history = &mut site.settings.streams.outcome_history;
        *history = history.map(|kept| kept.max(LEAST_HISTORY));
        let run = self.serve(&site.settings, &schedule, what).await;
        site.clear().await;
        Ok(Step::new(rate, &schedule, &run?))
    }

    /// One worker in this process, and the generator beside it.
    async fn serve(
        &self,
        settings: &Settings,
        schedule: &Arc<Schedule>,
        what: &str,
    ) -> Result<Run, AppError> {
        let shutdown = Shutdown::new();
        let worker = Worker::start(settings, &shutdown, false).await?;
        let counts = Arc::new(Counts::default());
        let job = Job {
            settings: settings.clone(),
            symbols: self.bench.symbols,
            schedule: schedule.clone(),
            counts: counts.clone(),
            stop: self.stop.clone(),
        };
        let generating = tokio::task::spawn_blocking(move || generator::generate(&job));
        let run = tokio::select! {
            run = generating => run,
            never = self.progress.follow(what, schedule.orders(), &counts) => match never {},
        };
        shutdown.trigger("the run is over");
        worker.run(&shutdown).await;
        run.map_err(|error| AppError::Failed(format!("the generator: {error}")))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(arguments: &str) -> Result<Bench, String> {
        let words = ["bench"].into_iter().chain(arguments.split_whitespace());
        Command::try_parse_from(words).map(|command| command.bench).map_err(|error| error.to_string())
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        for (arguments, words) in [
            ("--rate 0", ["--rate", "1..=1000000"]),
            ("--rate 100 --sweep", ["--rate", "--sweep"]),
            ("--rate 100 --orders 5", ["--rate", "--orders"]),
            ("--rate 100 --plot a.svg", ["--plot", "--rate"]),
            ("--seconds 5", ["--rate", "--sweep"]),
            ("--from 5", ["--sweep", "--from"]),
            ("--sweep --steps 1", ["--steps", "2..=100"]),
            ("--rate 5 --arrivals sometimes", ["uniform", "poisson"]),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{arguments}: {error}");
        }
        for (arguments, words) in [
            ("--sweep --from 500 --to 100", ["--from 500", "--to 100"]),
            ("--sweep --from 500 --to 500", ["--from 500", "--to 500"]),
            ("--rate 1000000 --seconds 10", ["--rate 1000000", "12000000 orders"]),
            ("--sweep --from 1 --to 1000000 --seconds 10", ["--to 1000000", "12000000 orders"]),
        ] {
            let error = parse(arguments).unwrap().open.check().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{arguments}: {error}");
        }
    }

    #[test]
    fn the_rates_of_a_sweep_follow_from_its_ends_or_from_the_closed_loop() {
        let rates = |arguments: &str, closed| parse(arguments).unwrap().open.rates(closed);
        assert_eq!(rates("--sweep --from 100 --to 300 --steps 3", None).unwrap(), [100, 200, 300]);
        assert_eq!(rates("--sweep --from 100 --to 900", None).unwrap().len(), 9);
        assert_eq!(rates("--sweep", Some(10_000)).unwrap(), knee::around(10_000));
        assert_eq!(rates("--sweep --steps 2", Some(10_000)).unwrap(), [1000, 11_000]);
        assert_eq!(rates("--sweep --to 2000 --steps 2", Some(10_000)).unwrap(), [1000, 2000]);
        let error = rates("--sweep --from 20000", Some(10_000)).unwrap_err().to_string();
        assert!(error.contains("20000") && error.contains("11000") && error.contains("--to"), "{error}");
    }
}
