//! The load: orders added in pipelines while one worker executes them.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::app::{AppError, Worker};
use crate::config::Settings;
use crate::runtime::shutdown::Shutdown;

use super::database;

/// Orders of one pipeline.
pub(super) const PIPELINE: usize = 256;
/// Orders added one by one to measure the latency of an idle system.
const SINGLES: usize = 200;
/// Nothing ended for so long: the load hangs.
const STALLED: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
pub(super) struct Load {
    pub(super) seconds: f64,
    pub(super) ended: u64,
    pub(super) orders_per_second: f64,
    pub(super) commits: u64,
    pub(super) inputs_per_commit: f64,
    /// Share of the load's time in which a transaction was under way.
    pub(super) journal_busy: f64,
    /// Rows that an order leaves in the journal's tables, counted after the load.
    pub(super) journal_rows_per_order: f64,
    pub(super) single: Single,
}

#[derive(Debug, Serialize)]
pub(super) struct Single {
    pub(super) orders: usize,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

pub(super) fn symbol(n: u32) -> String {
    format!("BENCH{n}")
}

pub(super) fn failed(error: &redis::RedisError) -> AppError {
    AppError::Unreachable(format!("redis: {error}"))
}

pub(super) async fn connect(settings: &Settings) -> Result<MultiplexedConnection, AppError> {
    let client = redis::Client::open(settings.redis.url.expose_secret()).map_err(|error| failed(&error))?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| failed(&error))
}

/// A market or a limit order that fills at once; buys and sells in turn, so that positions stay small.
pub(super) fn order(n: u32, symbols: u32) -> String {
    let side = if n.is_multiple_of(2) { "Buy" } else { "Sell" };
    let kind = if n.is_multiple_of(4) { r#"{"Limit":{"price":"100"}}"# } else { r#""Market""# };
    format!(
        r#"{{"client_order_id":"bench-{n:08}","symbol":"{}","side":"{side}","quantity":"0.{}","order_type":{kind},"strategy_id":"bench"}}"#,
        symbol(n / 2 % symbols),
        1 + n % 9,
    )
}

/// What is traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    /// Buys and sells in turn.
    BothSides,
    /// In each symbol one side only, and no two orders alike: nothing for controls that look out for that to refuse.
    OneSided,
}

fn one_sided(n: u32, symbols: u32) -> String {
    let side = if (n % symbols).is_multiple_of(2) { "Buy" } else { "Sell" };
    let kind = if (n / symbols).is_multiple_of(2) { r#"{"Limit":{"price":"100"}}"# } else { r#""Market""# };
    format!(
        r#"{{"client_order_id":"bench-{n:08}","symbol":"{}","side":"{side}","quantity":"0.{:08}","order_type":{kind},"strategy_id":"bench"}}"#,
        symbol(n % symbols),
        n + 1,
    )
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures for people, not amounts")]
pub(super) async fn run(
    settings: &Settings,
    orders: u32,
    symbols: u32,
    kind: Orders,
) -> Result<Load, AppError> {
    let order = match kind {
        Orders::BothSides => order,
        Orders::OneSided => one_sided,
    };
    let bodies: Vec<String> = (0..orders).map(|n| order(n, symbols)).collect();
    let shutdown = Shutdown::new();
    let worker = Worker::start(settings, &shutdown, false).await?;
    let commits = worker.commits.clone();
    let mut conn = connect(settings).await?;
    let started = Instant::now();
    let adding = tokio::spawn(add(connect(settings).await?, pending(settings), bodies));
    let ended = wait_for(&mut conn, settings, u64::from(orders)).await;
    let seconds = started.elapsed().as_secs_f64();
    drop(adding.await);
    let ended = ended?;
    let (commits, inputs, busy) = commits.totals();
    let single = singles(
        &mut conn,
        settings,
        &(orders..).take(SINGLES).map(|n| order(n, symbols)).collect::<Vec<_>>(),
    )
    .await?;
    shutdown.trigger("the load is over");
    worker.run(&shutdown).await;
    let rows = database::rows(settings).await?;
    Ok(Load {
        seconds,
        ended,
        orders_per_second: f64::from(orders) / seconds,
        commits,
        inputs_per_commit: inputs as f64 / commits.max(1) as f64,
        journal_busy: busy.as_secs_f64() / seconds,
        journal_rows_per_order: rows as f64 / (f64::from(orders) + SINGLES as f64),
        single,
    })
}

fn pending(settings: &Settings) -> String {
    format!("{}:pending", settings.streams.prefix)
}

async fn add(mut conn: MultiplexedConnection, pending: String, bodies: Vec<String>) -> Result<(), AppError> {
    for chunk in bodies.chunks(PIPELINE) {
        let mut pipe = redis::pipe();
        for body in chunk {
            pipe.cmd("XADD").arg(&pending).arg("*").arg("order").arg(body).ignore();
        }
        pipe.query_async::<()>(&mut conn).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

async fn outcomes(conn: &mut MultiplexedConnection, settings: &Settings) -> Result<(u64, u64), AppError> {
    let prefix = &settings.streams.prefix;
    let mut pipe = redis::pipe();
    pipe.cmd("XLEN").arg(format!("{prefix}:completed")).cmd("XLEN").arg(format!("{prefix}:failed"));
    pipe.query_async(conn).await.map_err(|error| failed(&error))
}

async fn wait_for(
    conn: &mut MultiplexedConnection,
    settings: &Settings,
    wanted: u64,
) -> Result<u64, AppError> {
    let (mut before, mut moved) = (0, Instant::now());
    loop {
        let (completed, refused) = outcomes(conn, settings).await?;
        if refused > 0 {
            return Err(AppError::Failed(format!(
                "{refused} orders of the load were refused: see {}:failed",
                settings.streams.prefix
            )));
        }
        if completed >= wanted {
            return Ok(completed);
        }
        if completed > before {
            (before, moved) = (completed, Instant::now());
        } else if moved.elapsed() > STALLED {
            return Err(AppError::Failed(format!("the load hangs at {completed} of {wanted} orders")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One order at a time, from XADD to the outcome being read.
#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
async fn singles(
    conn: &mut MultiplexedConnection,
    settings: &Settings,
    bodies: &[String],
) -> Result<Single, AppError> {
    let completed = format!("{}:completed", settings.streams.prefix);
    let mut took = Vec::with_capacity(SINGLES);
    for body in bodies {
        let last: Vec<(String, Vec<String>)> = redis::cmd("XREVRANGE")
            .arg(&completed)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(conn)
            .await
            .map_err(|error| failed(&error))?;
        let last = last.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id);
        let started = Instant::now();
        redis::cmd("XADD")
            .arg(pending(settings))
            .arg("*")
            .arg("order")
            .arg(body)
            .query_async::<()>(conn)
            .await
            .map_err(|error| failed(&error))?;
        redis::cmd("XREAD")
            .arg("BLOCK")
            .arg(5000)
            .arg("STREAMS")
            .arg(&completed)
            .arg(&last)
            .query_async::<redis::Value>(conn)
            .await
            .map_err(|error| failed(&error))?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(0.0);
    Ok(Single { orders: SINGLES, p50_ms: at(50), p99_ms: at(99) })
}

/// Takes every key of the load out of Redis.
pub(super) async fn clean_up(settings: &Settings) {
    let Ok(mut conn) = connect(settings).await else { return };
    let mut cursor = 0_u64;
    loop {
        let scan = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{}:*", settings.streams.prefix))
            .arg("COUNT")
            .arg(1000)
            .query_async::<(u64, Vec<String>)>(&mut conn)
            .await;
        let Ok((next, keys)) = scan else { return };
        if !keys.is_empty() && redis::cmd("UNLINK").arg(keys).query_async::<()>(&mut conn).await.is_err() {
            return;
        }
        if next == 0 {
            return;
        }
        cursor = next;
    }
}
