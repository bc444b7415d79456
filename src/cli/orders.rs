//! `orders`

use crate::adapters::clock::SystemClock;
use crate::app::AppError;
use crate::domain::ids::{BrokerName, ClientOrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::status::Status;
use crate::ports::clock::Clock;
use crate::ports::journal::OrderFilter;
use crate::wire;

use super::filters::{self, Moment};
use super::order_flags::SideFlag;
use super::table::{Align, Table, cell};
use super::{Call, Ending, again, journal, order, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution orders
  order-execution orders --open --symbol BTCUSDT --side buy
  order-execution orders --status rejected,expired --since 2h
  order-execution orders --client-order-id signal- --limit 200
  order-execution orders --since 2026-05-01T00:00:00Z --until 2026-05-02T00:00:00Z --json | jq length
  order-execution orders --parked

Every filter given must hold. Newest first; where there are more, the command for the next page is
told on standard error. A page begins after an order, so orders that are added meanwhile shift
nothing.
Reads the journal alone: works without Redis and without a worker.
Exit codes: 0 done, also where no order matches, 1 --before names no order, 2 wrong usage or
configuration, 4 the journal is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Orders {
    /// Of this symbol
    #[arg(long)]
    symbol: Option<Symbol>,
    /// Of this side
    #[arg(long, ignore_case = true)]
    side: Option<SideFlag>,
    /// Routed to this broker
    #[arg(long)]
    broker: Option<BrokerName>,
    /// In this status; several: once more, or with commas
    #[arg(long, ignore_case = true, value_delimiter = ',', value_parser = filters::statuses())]
    status: Vec<Status>,
    /// That have not ended
    #[arg(long)]
    open: bool,
    /// Whose outcome at the broker cannot be found out
    #[arg(long)]
    parked: bool,
    /// Of this strategy
    #[arg(long, value_name = "ID")]
    strategy_id: Option<String>,
    /// Whose client order id begins so
    #[arg(long, value_name = "BEGINNING")]
    client_order_id: Option<ClientOrderId>,
    /// Created then or later: an RFC 3339 time, or so long ago: 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Created before then
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// As many at most, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=MOST))]
    limit: u32,
    /// Older than this order: where the next page begins
    #[arg(long, value_name = "CLIENT_ORDER_ID|UUID")]
    before: Option<String>,
}

/// All of a page is in memory at once.
const MOST: i64 = 1_000_000;

pub(super) async fn run(call: &Call, orders: &Orders) -> Result<Ending, AppError> {
    let reader = journal::open(&call.settings).await?;
    let before = match &orders.before {
        Some(id) => Some(order::find(call, &*reader, id).await?.spec.id),
        None => None,
    };
    let now = SystemClock.now();
    let filter = OrderFilter {
        // One more than is shown tells whether there are more.
        limit: orders.limit + 1,
        symbol: orders.symbol.clone(),
        side: orders.side.map(Into::into),
        broker: orders.broker.clone(),
        statuses: orders.status.clone(),
        open: orders.open,
        parked: orders.parked,
        strategy_id: orders.strategy_id.clone(),
        client_order_id_prefix: orders.client_order_id.as_ref().map(ToString::to_string),
        since: orders.since.map(|moment| moment.at(now)),
        until: orders.until.map(|moment| moment.at(now)),
        before,
        ..OrderFilter::default()
    };
    let mut found = reader.orders(&filter).await?;
    let is_more = found.len() > orders.limit as usize;
    found.truncate(orders.limit as usize);
    if call.json {
        let rows: Vec<String> = found.iter().map(wire::order_json).collect();
        print::line(&format!("[{}]", rows.join(",")));
    } else if found.is_empty() {
        print::note("the journal has no such orders");
    } else {
        show(&found);
    }
    if let Some(last) = found.last().filter(|_| is_more) {
        let next = again::with("--before", &last.spec.id.to_string());
        print::note(&format!("there are more; the next page: {next}"));
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
