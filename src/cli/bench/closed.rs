//! The closed loop: as many orders as go through, beside what Redis and the disk take without logic.

use std::path::Path;

use serde::Serialize;

use crate::app::AppError;
use crate::cli::Call;
use crate::cli::print::line;
use crate::config::Settings;

use super::load::Orders;
use super::site::{Controls, Site};
use super::{Bench, floors, load};

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
    let site = Site::set(&call.settings, bench, Controls::Basic).await?;
    let measured = measure(&site.settings, bench, site.folder()).await;
    site.clear().await;
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
    let load = load::run(settings, bench.orders, bench.symbols, Orders::BothSides).await?;
    let floors =
        floors::Floors { redis_orders_per_second: redis_floor, disk: floors::disk(settings, folder).await? };
    let rows = load.orders_per_second * load.journal_rows_per_order;
    Ok(Figures {
        orders: bench.orders,
        of_redis_floor: ratio(load.orders_per_second, floors.redis_orders_per_second),
        of_journal_floor: ratio(rows, floors.disk.rows_per_second_256),
        load,
        floors,
    })
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
