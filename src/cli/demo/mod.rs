//! `demo`: everything at work, in one process, with nothing to set up and nothing left behind.

mod board;
mod market;
mod news;
mod play;
mod samples;
mod screen;
mod stage;

use std::sync::Arc;

use crate::adapters::redis::Names;
use crate::app::{AppError, Worker};
use crate::runtime::shutdown::Shutdown;
use crate::runtime::telemetry;

use super::link::Link;
use super::{Ending, print};

use market::Market;
use stage::Stage;

pub(super) const EXAMPLES: &str = "Examples:
  order-execution demo
  order-execution demo --once
  order-execution demo --port 8080
  REDIS_URL=redis://127.0.0.1:6379 order-execution demo

Needs no configuration and reads none: it starts a Redis server of its own (redis-server or valkey-server on the
PATH; or takes the one of REDIS_URL, under a prefix of its own), keeps its journal in a temporary folder, and
trades at the simulated broker. Everything is removed at the end.";

/// The prices of every demonstration begin alike.
const SEED: u64 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// End when every sample order has ended: exit code 0 if all ended as they should
    #[arg(long)]
    once: bool,
    /// Port of the page on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

pub(super) async fn run(demo: &Demo, json: bool) -> Result<Ending, AppError> {
    telemetry::init("warn", false).map_err(|error| AppError::Usage(error.to_string()))?;
    let shutdown = Shutdown::new();
    shutdown.listen().map_err(|error| AppError::Io("signals cannot be caught", error))?;
    let stage = Stage::set(demo.port).await?;
    let ended = perform(demo, json, &stage, &shutdown).await;
    let is_clean = stage.strike().await;
    if is_clean && ended.is_ok() && !demo.once && !json {
        print::line("\nstopped; nothing is left behind");
    }
    ended
}

async fn perform(demo: &Demo, json: bool, stage: &Stage, shutdown: &Shutdown) -> Result<Ending, AppError> {
    let link = Arc::new(Link::new(&stage.settings)?);
    let names = Names::new(&stage.settings.streams.prefix, &stage.settings.streams.group);
    let market = Arc::new(Market::new(SEED));
    let mut connection = link.connect().await?;
    market.write(&names, &mut connection).await.map_err(|error| link.fault(&error))?;
    let worker = Worker::start(&stage.settings, shutdown, true).await?;
    let page = worker.http_address().map(|address| format!("http://{address}/")).unwrap_or_default();
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { worker.run(&shutdown).await }
    });
    // The prices outlive the worker's drain.
    let still = Shutdown::new();
    let moving = tokio::spawn({
        let (market, link, names, token) = (market.clone(), link.clone(), names.clone(), still.token());
        async move { market.run(&link, &names, token).await }
    });
    let told = play::Told { once: demo.once, json, page, redis_cli: stage.redis_cli() };
    let ended = play::play(told, &link, &names, &market, shutdown.token()).await;
    shutdown.trigger("the demonstration is over");
    drop(serving.await);
    still.trigger("the demonstration is over");
    drop(moving.await);
    ended
}
