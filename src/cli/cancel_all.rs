//! `cancel-all`

use crate::app::AppError;
use crate::domain::ids::{BrokerName, Symbol};
use crate::ports::journal::OrderFilter;

use super::fields::Fields;
use super::order_flags::SideFlag;
use super::request::{self, Request, Waiting};
use super::{Call, Ending, journal, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution cancel-all --wait
  order-execution cancel-all --symbol BTCUSDT --side sell --wait 60 --json | jq .not_cancelled

Means every order that matches and is open or under way when the request is taken up; without a
filter, all of them: nothing asks whether that is meant.
Exit codes: 0 added (with --wait: each of them is cancelled), 1 one or more could not be
cancelled, or no outcome in time, 2 wrong usage, 3 refused, 4 Redis is unreachable.";

/// Further than this nobody counts before everything is cancelled.
const COUNTED: u32 = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct CancelAll {
    /// Only of this symbol
    #[arg(long)]
    symbol: Option<Symbol>,
    /// Only of this side
    #[arg(long, ignore_case = true)]
    side: Option<SideFlag>,
    /// Only at this broker
    #[arg(long)]
    broker: Option<BrokerName>,
    /// Only of this strategy
    #[arg(long, value_name = "ID")]
    strategy_id: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(call: &Call, cancel: &CancelAll) -> Result<Ending, AppError> {
    let mut filter = Fields::default();
    filter.put_some("symbol", cancel.symbol.as_ref());
    filter.put_some("side", cancel.side.as_ref());
    filter.put_some("broker", cancel.broker.as_ref());
    filter.put_some("strategy_id", cancel.strategy_id.as_ref());
    // It names no order, so there is nothing to announce.
    let request = Request {
        field: "cancel_all",
        json: filter.to_string(),
        id: None,
        client_order_id: None,
        made_id: None,
    };
    let waits = cancel.waiting.patience().is_some();
    // Counting must not keep the cancel waiting.
    let counting = async { if waits { None } else { matching(call, cancel).await } };
    let (ending, matching) = tokio::join!(request::run(call, &request, &cancel.waiting), counting);
    let ending = ending?;
    if let Some(count) = matching {
        print::note(&format!("{count} open orders matched; --wait tells what becomes of each"));
    }
    Ok(ending)
}

/// How many orders the journal says match, for whoever does not wait. Where it cannot be read, nobody knows.
async fn matching(call: &Call, cancel: &CancelAll) -> Option<String> {
    let reader = journal::open(&call.settings).await.ok()?;
    let filter = OrderFilter {
        limit: COUNTED + 1,
        open: true,
        symbol: cancel.symbol.clone(),
        side: cancel.side.map(Into::into),
        broker: cancel.broker.clone(),
        strategy_id: cancel.strategy_id.clone(),
        ..OrderFilter::default()
    };
    let found = reader.orders(&filter).await.ok()?.len();
    Some(if found > COUNTED as usize { format!("more than {COUNTED}") } else { found.to_string() })
}
