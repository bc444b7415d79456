//! `orders`

use clap::builder::PossibleValuesParser;

use crate::app::AppError;
use crate::domain::ids::Symbol;
use crate::domain::order::Order;
use crate::domain::status::Status;
use crate::ports::journal::OrderFilter;
use crate::wire;

use super::table::{Align, Table, cell};
use super::{Call, Ending, journal, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution orders
  order-execution orders --open --symbol BTCUSDT
  order-execution orders --parked
  order-execution orders --status rejected --limit 10 --json | jq '.[].status'

Reads the journal alone: works without Redis and without a worker.";

#[derive(Debug, clap::Args)]
pub(super) struct Orders {
    /// Of this symbol
    #[arg(long)]
    symbol: Option<Symbol>,
    /// In this status
    #[arg(long, ignore_case = true, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
    status: Option<String>,
    /// That have not ended
    #[arg(long)]
    open: bool,
    /// Whose outcome at the broker cannot be found out
    #[arg(long)]
    parked: bool,
    /// Of this strategy
    #[arg(long, value_name = "ID")]
    strategy_id: Option<String>,
    /// As many at most, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn run(call: &Call, orders: &Orders) -> Result<Ending, AppError> {
    let status = orders
        .status
        .as_deref()
        .and_then(|name| Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(name)));
    let filter = OrderFilter {
        parked: orders.parked,
        limit: orders.limit,
        symbol: orders.symbol.clone(),
        status,
        open: orders.open,
        strategy_id: orders.strategy_id.clone(),
        client_order_id: None,
    };
    let found = journal::open(&call.settings).await?.orders(&filter).await?;
    if call.json {
        let rows: Vec<String> = found.iter().map(wire::order_json).collect();
        print::line(&format!("[{}]", rows.join(",")));
    } else if found.is_empty() {
        print::note("the journal has no such orders");
    } else {
        show(&found);
    }
    Ok(Ending::Done)
}

fn show(orders: &[Order]) {
    let mut table = Table::new(vec![
        ("created", Align::Left),
        ("client order id", Align::Left),
        ("symbol", Align::Left),
        ("side", Align::Left),
        ("quantity", Align::Right),
        ("type", Align::Left),
        ("status", Align::Left),
        ("filled", Align::Right),
        ("average", Align::Right),
    ]);
    for order in orders {
        let (spec, state) = (&order.spec, &order.state);
        table.row(vec![
            to_seconds(&state.created_at.to_string()),
            spec.client_order_id.to_string(),
            spec.symbol.to_string(),
            spec.side.to_string(),
            spec.quantity.to_string(),
            kind(order),
            status(order),
            state.filled_quantity.to_string(),
            cell(order.average_fill_price().as_ref()),
        ]);
    }
    table.print();
}

/// A parked order stays as it is until a person looks after it: that must be seen.
pub(super) fn status(order: &Order) -> String {
    let parked = if order.state.parked { " (parked)" } else { "" };
    format!("{}{parked}", order.state.status)
}

/// `Limit 45000 IOC`
pub(super) fn kind(order: &Order) -> String {
    let prices = order.spec.order_type.prices();
    let prices = prices.iter().map(|(_, price)| format!(" {price}")).collect::<String>();
    format!("{}{prices} {}", order.spec.order_type.name(), order.spec.time_in_force.name())
}

/// `2026-01-31T12:00:00.123456Z` → `2026-01-31 12:00:00`
pub(super) fn to_seconds(time: &str) -> String {
    time.split('.').next().unwrap_or(time).replace('T', " ")
}
