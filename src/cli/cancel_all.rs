//! `cancel-all`

use crate::app::AppError;
use crate::domain::ids::{BrokerName, Symbol};

use super::fields::Fields;
use super::order_flags::SideFlag;
use super::request::{self, Request, Waiting};
use super::{Call, Ending};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution cancel-all --wait
  order-execution cancel-all --symbol BTCUSDT --side sell --wait 60 --json | jq .not_cancelled

Means every order that matches and is open or under way when the request is taken up; without a
filter, all of them.
Exit codes: 0 added (with --wait: each of them is cancelled), 1 one or more could not be
cancelled, or no outcome in time, 2 wrong usage, 3 refused, 4 Redis is unreachable.";

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
    let request = Request { field: "cancel_all", json: filter.to_string(), id: None, client_order_id: None };
    request::run(call, &request, &cancel.waiting).await
}
