//! `bench`: throughput of this installation, beside the raw cost of the same Redis and disk work,
//! measured in the same run.

mod floors;
mod load;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::app::AppError;
use crate::config::{Limit, LimitRow, Settings};
use crate::runtime::private_redis::{Durability, PrivateRedis};
use crate::runtime::telemetry;

use super::Call;
use super::print::line;

/// Measure throughput and latency of this installation, beside the floors of its Redis and its disk
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// Orders of the load
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    orders: u32,
    /// Symbols that the orders are spread over
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    symbols: u32,
    /// Take a private Redis with an append-only file (everysec) in place of the configured one
    #[arg(long)]
    private: bool,
    /// Folder of the journal that is measured [default: that of database.url]
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
}

/// All that one run measured.
#[derive(Debug, Serialize)]
struct Figures {
    orders: u32,
    load: load::Load,
    floors: floors::Floors,
    /// Throughput over that of the same Redis work without logic.
    of_redis_floor: f64,
    /// Journal rows a second that the load wrote, over what the same disk takes in batches of 256.
    of_journal_floor: f64,
}

pub(super) async fn run(call: &Call, bench: &Bench) -> Result<(), AppError> {
    telemetry::init("warn", false).map_err(|error| AppError::Usage(error.to_string()))?;
    let mut settings = call.settings.clone();
    let private = if bench.private {
        let started = PrivateRedis::start(Durability::EverySecond).await;
        Some(started.map_err(|error| AppError::Unreachable(error.to_string()))?)
    } else {
        None
    };
    if let Some(redis) = &private {
        settings.redis.url = SecretString::from(redis.url());
    }
    let folder = journal_folder(&settings, bench)?;
    prepare(&mut settings, bench, folder.path());
    let measured = measure(&settings, bench, folder.path()).await;
    load::clean_up(&settings).await;
    if let Some(redis) = private {
        redis.stop().await;
    }
    let figures = measured?;
    if call.json {
        let text = serde_json::to_string(&figures).map_err(|error| AppError::Failed(error.to_string()))?;
        line(&text);
    } else {
        show(&figures);
    }
    Ok(())
}

#[expect(clippy::float_arithmetic, reason = "a figure for people, not an amount")]
async fn measure(settings: &Settings, bench: &Bench, folder: &Path) -> Result<Figures, AppError> {
    let redis_floor = floors::redis(settings, bench.orders.min(50_000)).await?;
    let load = load::run(settings, bench.orders, bench.symbols).await?;
    let floors = floors::Floors { redis_orders_per_second: redis_floor, disk: floors::disk(folder).await? };
    let rows = load.orders_per_second * load.journal_rows_per_order;
    Ok(Figures {
        orders: bench.orders,
        of_redis_floor: ratio(load.orders_per_second, floors.redis_orders_per_second),
        of_journal_floor: ratio(rows, floors.disk.rows_per_second_256),
        load,
        floors,
    })
}

/// A folder of its own on the disk that the journal is to be on.
fn journal_folder(settings: &Settings, bench: &Bench) -> Result<tempfile::TempDir, AppError> {
    let url = settings.database.url.expose_secret();
    let path = Path::new(url.trim_start_matches("sqlite://").trim_start_matches("sqlite:"));
    let beside = bench.journal_dir.clone().or_else(|| path.parent().map(Path::to_path_buf));
    let beside = beside.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&beside)
        .map_err(|error| AppError::Io("the folder of the journal cannot be made", error))?;
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(beside)
        .map_err(|error| AppError::Io("no temporary folder for the journal", error))
}

/// The installation as configured, with names, journal, prices and limits of its own: every control
/// works, none refuses.
fn prepare(settings: &mut Settings, bench: &Bench, folder: &Path) {
    let random = uuid::Uuid::now_v7().simple().to_string();
    settings.streams.prefix = format!("bench-{}", &random[20..]);
    settings.database.url = SecretString::from(format!("sqlite://{}/journal.db", folder.display()));
    settings.broker.mock.prices = (0..bench.symbols).map(|n| (load::symbol(n), 100.into())).collect();
    settings.broker.mock.instruments.clear();
    settings.broker.mock.latency = Duration::ZERO;
    settings.worker.max_request_age = None;
    settings.risk.limits = vec![LimitRow {
        symbol: "*".to_owned(),
        max_order_quantity: Limit::At(1000.into()),
        max_order_notional: Limit::At(1_000_000.into()),
        max_position: Limit::At(1_000_000_000.into()),
        max_daily_loss: Limit::At(1_000_000_000.into()),
        price_collar_pct: Limit::At(5.into()),
        max_orders_per_second: Limit::At(10_000_000),
    }];
}

#[expect(clippy::float_arithmetic, reason = "a figure for people, not an amount")]
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(clippy::float_arithmetic, reason = "a figure for people, not an amount")]
fn show(figures: &Figures) {
    let (load, floors, disk) = (&figures.load, &figures.floors, &figures.floors.disk);
    line(&format!(
        "orders                     {:>10}   all {} in {:.2} s",
        figures.orders, load.ended, load.seconds
    ));
    line(&format!(
        "orders/s, end to end       {:>10.0}   XADD to outcome, one worker, durable journal",
        load.orders_per_second
    ));
    line(&format!(
        "  journal commits          {:>10}   {:.0} inputs each; {:.0} % of the time",
        load.commits,
        load.inputs_per_commit,
        load.journal_busy * 100.0
    ));
    line(&format!(
        "  latency of one order     {:>7.2} ms   idle system, p50 of {}; p99 {:.2} ms",
        load.single.p50_ms, load.single.orders, load.single.p99_ms
    ));
    line("floors, same run");
    line(&format!(
        "  same Redis work, no logic{:>10.0}/s  this is {:.0} % of it",
        floors.redis_orders_per_second,
        figures.of_redis_floor * 100.0
    ));
    line(&format!(
        "  journal rows/s, batch 256{:>10.0}/s  this writes {:.0} rows an order: {:.0} % of it",
        disk.rows_per_second_256,
        load.journal_rows_per_order,
        figures.of_journal_floor * 100.0
    ));
    line(&format!(
        "  fdatasync of 4 KiB       {:>7.0} us   p50; p99 {:.0} us",
        disk.sync_p50_us, disk.sync_p99_us
    ));
}
