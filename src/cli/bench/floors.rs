//! The floors: what Redis and the disk take for the same work without any logic.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::app::AppError;
use crate::config::Settings;

use super::database;
use super::load::{PIPELINE, connect, failed, order};

/// Sizes of what one order leaves in Redis, as measured of this system's own messages.
const OUTCOME_BYTES: usize = 1100;
const EVENTS_BYTES: usize = 700;
const MESSAGE_BYTES: usize = 420;
const SYNCS: usize = 400;

#[derive(Debug, Serialize)]
pub(super) struct Floors {
    pub(super) redis_orders_per_second: f64,
    pub(super) disk: Disk,
}

#[derive(Debug, Serialize)]
pub(super) struct Disk {
    pub(super) sync_p50_us: f64,
    pub(super) sync_p99_us: f64,
    pub(super) rows_per_second_256: f64,
}

/// The Redis commands of an order, pipelined, by two clients as in the load: one adds, one reads,
/// publishes and acknowledges.
#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
pub(super) async fn redis(settings: &Settings, orders: u32) -> Result<f64, AppError> {
    let prefix = format!("{}:floor", settings.streams.prefix);
    let pending = format!("{prefix}:pending");
    let mut conn = connect(settings).await?;
    redis::cmd("XGROUP")
        .arg("CREATE")
        .arg(&pending)
        .arg("floor")
        .arg("0")
        .arg("MKSTREAM")
        .query_async::<()>(&mut conn)
        .await
        .map_err(|error| failed(&error))?;
    let started = Instant::now();
    let mut producer = connect(settings).await?;
    let stream = pending.clone();
    let adding = tokio::spawn(async move {
        for chunk in (0..orders).collect::<Vec<_>>().chunks(PIPELINE) {
            let mut pipe = redis::pipe();
            for n in chunk {
                pipe.cmd("XADD").arg(&stream).arg("*").arg("order").arg(order(*n, 1)).ignore();
            }
            pipe.query_async::<()>(&mut producer).await?;
        }
        Ok::<(), redis::RedisError>(())
    });
    let mut done = 0;
    while done < orders {
        let read: redis::streams::StreamReadReply = redis::cmd("XREADGROUP")
            .arg("GROUP")
            .arg("floor")
            .arg("reader")
            .arg("COUNT")
            .arg(PIPELINE)
            .arg("BLOCK")
            .arg(1000)
            .arg("STREAMS")
            .arg(&pending)
            .arg(">")
            .query_async(&mut conn)
            .await
            .map_err(|error| failed(&error))?;
        let ids: Vec<String> = read.keys.into_iter().flat_map(|key| key.ids).map(|entry| entry.id).collect();
        if ids.is_empty() {
            continue;
        }
        done += u32::try_from(ids.len()).unwrap_or(u32::MAX);
        finish(&mut conn, &prefix, &pending, &ids).await?;
    }
    adding.await.map_err(|error| AppError::Failed(error.to_string()))?.map_err(|error| failed(&error))?;
    Ok(f64::from(orders) / started.elapsed().as_secs_f64())
}

async fn finish(
    conn: &mut redis::aio::MultiplexedConnection,
    prefix: &str,
    pending: &str,
    ids: &[String],
) -> Result<(), AppError> {
    let (outcome, events, message) =
        ("x".repeat(OUTCOME_BYTES), "x".repeat(EVENTS_BYTES), "x".repeat(MESSAGE_BYTES));
    let (events_key, completed, status) =
        (format!("{prefix}:events"), format!("{prefix}:completed"), format!("{prefix}:status"));
    let mut pipe = redis::pipe();
    for id in ids {
        for _ in 0..2 {
            pipe.cmd("XADD").arg(&events_key).arg("*").arg("events").arg(&events).ignore();
            pipe.cmd("PUBLISH").arg(&status).arg(&message).ignore();
        }
        pipe.cmd("SET").arg(format!("{prefix}:state:{id}")).arg(&outcome).arg("EX").arg(60).ignore();
        pipe.cmd("XADD").arg(&completed).arg("*").arg("order").arg(&outcome).ignore();
    }
    pipe.cmd("XACK").arg(pending).arg("floor").arg(ids).ignore();
    pipe.cmd("XDEL").arg(pending).arg(ids).ignore();
    pipe.query_async(conn).await.map_err(|error| failed(&error))
}

pub(super) async fn disk(settings: &Settings, folder: &Path) -> Result<Disk, AppError> {
    let path = folder.join("floor.sync");
    let syncs = tokio::task::spawn_blocking(move || sync_latencies(&path)).await;
    let syncs = syncs.map_err(|error| AppError::Failed(error.to_string()))?;
    let syncs = syncs.map_err(|error| AppError::Io("fdatasync cannot be measured", error))?;
    let at = |share: usize| syncs.get(syncs.len() * share / 100).copied().unwrap_or(0.0);
    Ok(Disk {
        sync_p50_us: at(50),
        sync_p99_us: at(99),
        rows_per_second_256: database::floor(settings, folder).await?,
    })
}

#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
fn sync_latencies(path: &Path) -> std::io::Result<Vec<f64>> {
    let mut file = std::fs::File::create(path)?;
    let block = [7_u8; 4096];
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.seek(SeekFrom::End(0))?;
        file.write_all(&block)?;
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}
