//! `positions`

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::adapters::clock::SystemClock;
use crate::api::position::{Marks, PositionRow};
use crate::app::{self, AppError};
use crate::config::Settings;
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::position::{Book, Position};
use crate::ports::clock::Clock;
use crate::ports::quotes::Quotes;

use super::table::{Align, Table, cell};
use super::{Call, Ending, journal, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution positions
  order-execution positions --json | jq '.[] | select(.quantity != \"0\")'

Reads the journal; prices come from orders:quotes:* and from the configuration. Where Redis is away, what
open positions would bring now (unrealized_pnl) is left out.
Exit codes: 0 done, 2 wrong usage or configuration, 4 the journal is unreachable.";

/// Prices are worth so long a wait, and no longer.
const PRICES_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn run(call: &Call) -> Result<Ending, AppError> {
    let positions = journal::open(&call.settings).await?.positions().await?;
    let rows = valued(call, positions).await?;
    if call.json {
        print::json(&rows)?;
    } else if rows.is_empty() {
        print::note("the journal has no positions");
    } else {
        show(&rows);
    }
    Ok(Ending::Done)
}

/// Positions at the prices of the moment.
async fn valued(
    call: &Call,
    positions: Vec<(BrokerName, Symbol, Position)>,
) -> Result<Vec<PositionRow>, AppError> {
    let is_open = positions.iter().any(|(_, _, position)| !position.quantity.get().is_zero());
    let marks = if is_open { marks(&call.settings).await? } else { Marks::new(None, Default::default()) };
    Ok(marks.value(positions).await)
}

/// The prices of the moment of what is held or has open orders.
pub(super) async fn prices(
    call: &Call,
    books: &[(Book, Position)],
) -> Result<HashMap<(BrokerName, Symbol), Decimal>, AppError> {
    let open = books.iter().filter(|(_, p)| !p.quantity.get().is_zero() || p.open_orders > 0);
    let open: BTreeSet<_> = open.map(|(book, _)| (book.broker.clone(), book.symbol.clone())).collect();
    if open.is_empty() {
        return Ok(HashMap::new());
    }
    let open: Vec<_> = open.into_iter().collect();
    Ok(marks(&call.settings).await?.of(&open).await)
}

/// Without Redis there are no marks: a configured price is not what a quoted symbol is worth.
async fn marks(settings: &Settings) -> Result<Marks, AppError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let connecting = app::redis(settings, app::consumer_name(settings, &*clock));
    let why = match tokio::time::timeout(PRICES_WITHIN, connecting).await {
        Ok(Ok(redis)) => {
            let quotes: Arc<dyn Quotes> = Arc::new(redis.quotes(clock));
            return Ok(Marks::new(Some(quotes), app::rules(settings)?.venue.prices));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("Redis did not answer within {PRICES_WITHIN:?}"),
    };
    print::note(&format!("without prices, so unrealized_pnl is left out: {why}"));
    Ok(Marks::new(None, Default::default()))
}

fn show(rows: &[PositionRow]) {
    let mut table = Table::new(vec![
        ("symbol", Align::Left),
        ("broker", Align::Left),
        ("quantity", Align::Right),
        ("average", Align::Right),
        ("realized", Align::Right),
        ("unrealized", Align::Right),
        ("commission", Align::Right),
    ]);
    for row in rows {
        table.row(vec![
            row.symbol.to_string(),
            row.broker.to_string(),
            row.quantity.to_string(),
            cell(row.average_price.as_ref()),
            row.realized_pnl.to_string(),
            cell(row.unrealized_pnl.as_ref()),
            row.commission.to_string(),
        ]);
    }
    table.print();
}
