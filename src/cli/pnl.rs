//! `pnl`

use clap::ValueEnum;

use crate::api::pnl::{self, By, PnlRow};
use crate::app::{self, AppError};

use super::table::{Align, Table, cell};
use super::{Call, Ending, journal, positions, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution pnl
  order-execution pnl --by strategy
  order-execution pnl --by broker --json

Realized is less commission, each fill at the rate of its time (risk.fx); unrealized is at the prices of orders:quotes:*
and of the configuration, and at the rate of now. The session begins at risk.session_start, with the first order after it.
Exit codes: 0 done, 2 wrong usage or configuration, 4 the journal is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Pnl {
    /// What a row adds up
    #[arg(long, value_enum, default_value = "symbol")]
    by: ByName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ByName {
    Symbol,
    Strategy,
    Broker,
}

pub(super) async fn run(call: &Call, arguments: &Pnl) -> Result<Ending, AppError> {
    let reader = journal::open(&call.settings).await?;
    let books = reader.books().await?;
    let counters = reader.risk_counters().await?;
    let (rules, now) = (app::rules(&call.settings)?, reader.now().await?);
    let marks = positions::prices(call, &books).await?;
    let state = pnl::State {
        books: &books,
        counters: &counters,
        marks: &marks,
        contracts: &rules.contracts,
        session_start: now.session_start(rules.session_start_us),
    };
    let by = match arguments.by {
        ByName::Symbol => By::Symbol,
        ByName::Strategy => By::Strategy,
        ByName::Broker => By::Broker,
    };
    let rows = pnl::rows(&state, by);
    if call.json {
        print::json(&rows)?;
    } else if rows.is_empty() {
        print::note("the journal has no positions");
    } else {
        show(&rows, by, rules.contracts.currency());
    }
    Ok(Ending::Done)
}

fn show(rows: &[PnlRow], by: By, currency: Option<&str>) {
    let mut columns = vec![("broker", Align::Left)];
    match by {
        By::Symbol => columns.push(("symbol", Align::Left)),
        By::Strategy => columns.push(("strategy", Align::Left)),
        By::Broker => {}
    }
    let money = ["realized", "unrealized", "together", "this session"];
    columns.extend(money.map(|name| (name, Align::Right)));
    let mut table = Table::new(columns);
    for row in rows {
        let mut cells = vec![row.broker.to_string()];
        match by {
            By::Symbol => cells.push(cell(row.symbol.as_ref())),
            By::Strategy => cells.push(cell(row.strategy_id.as_ref())),
            By::Broker => {}
        }
        cells.extend([
            row.realized_pnl.to_string(),
            cell(row.unrealized_pnl.as_ref()),
            cell(row.pnl.as_ref()),
            cell(row.session_pnl.as_ref()),
        ]);
        table.row(cells);
    }
    table.print();
    if let Some(currency) = currency {
        print::note(&format!("in {currency}"));
    }
    let unvalued: u64 = rows.iter().map(|row| row.unvalued_commissions).sum();
    if unvalued > 0 {
        print::note(&format!(
            "the commission of {unvalued} fills is in none of this: no rate leads from its asset to the symbol's currency (risk.fx)"
        ));
    }
}
