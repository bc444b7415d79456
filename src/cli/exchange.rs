//! `exchange`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::adapters::clock::SystemClock;
use crate::app::{self, AppError};
use crate::exchange::{Dedupe, Exchange, ExchangeError, Settings};
use crate::ports::clock::Clock;
use crate::runtime::shutdown::Shutdown;

use super::print::line;
use super::{Call, log_as_configured};

pub(super) const EXAMPLES: &str = "\
Prices, trading rules, seed, commission and slippage are those of [broker.mock]; docs/exchange.md tells the rest.

Examples:
  order-execution exchange --ledger exchange.jsonl
  curl -X PUT http://127.0.0.1:9191/control/prices -d '{\"BTCUSDT\": \"45000\"}'";

#[derive(Debug, clap::Args)]
pub(super) struct ExchangeArguments {
    /// A loopback address: there is no authentication. Port 0: any free one
    #[arg(long, default_value = "127.0.0.1:9191", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The file that remembers everything; begun where it is missing, else continued
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    /// What becomes of a client order id that was used before
    #[arg(long, value_enum, default_value_t = Dedupe::Forever)]
    dedupe: Dedupe,
}

pub(super) async fn run(call: &Call, arguments: &ExchangeArguments) -> Result<(), AppError> {
    log_as_configured(&call.settings)?;
    let shutdown = Shutdown::new();
    shutdown.listen().map_err(|error| AppError::Io("signals cannot be caught", error))?;
    let settings = Settings {
        listen: arguments.listen,
        ledger: arguments.ledger.clone(),
        dedupe: arguments.dedupe,
        venue: app::venue(&call.settings)?,
        now: Arc::new(|| SystemClock.now()),
    };
    let exchange = Exchange::start(settings).await.map_err(told)?;
    line(&format!("exchange listening on http://{}", exchange.address()));
    exchange.run(shutdown.token()).await.map_err(told)
}

fn told(error: ExchangeError) -> AppError {
    let text = error.to_string();
    match error {
        ExchangeError::NotLoopback(_) => AppError::Usage(text),
        ExchangeError::Listen(..) => AppError::Unreachable(text),
        ExchangeError::Http(_)
        | ExchangeError::Thread(_)
        | ExchangeError::Ended
        | ExchangeError::Ledger(_) => AppError::Failed(text),
    }
}
