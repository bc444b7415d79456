//! `risk`: the limits in force

mod apply;
mod log;

use clap::Subcommand;

use crate::api::risk::{self, LimitUse};
use crate::app::{self, AppError};
use crate::domain::circuit::CircuitState;
use crate::domain::risk::Limit;
use crate::domain::risk::controls;
use crate::domain::trading_state::{Switch, TradingState};

use super::table::{Align, Table, cell};
use super::{Call, Ending, journal, positions, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution risk
  order-execution risk --json | jq '.[] | select(.head_room != null and (.head_room | tonumber) <= 0)'
  order-execution risk apply limits.toml --dry-run
  order-execution risk apply limits.toml --by ann --why 'half size over the weekend'
  order-execution risk log

Reads the journal: the limits there are in force, for every worker, whatever a configuration says.
The loss of a session counts the prices of orders:quotes:* and of the configuration.
Exit codes: 0 done, 2 wrong usage or an error in the file, 3 somebody changed limits or the
trading state meanwhile,
4 the journal is unreachable.";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Risk {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put other limits in force, all of them at once
    #[command(after_long_help = apply::EXAMPLES)]
    Apply(apply::Apply),
    /// Who changed limits and the trading state, when and why; newest first
    Log(log::Log),
    /// Every control there is, what it is configured with and what passes it
    Controls(Controls),
}

pub(super) async fn run(call: &Call, arguments: &Risk) -> Result<Ending, AppError> {
    match &arguments.what {
        None => show(call).await,
        Some(What::Apply(apply)) => apply::run(call, apply).await,
        Some(What::Log(log)) => log::run(call, log).await,
        Some(What::Controls(how)) => show_controls(call, how),
    }
}

#[derive(Debug, clap::Args)]
struct Controls {
    /// As the page of the documentation
    #[arg(long)]
    markdown: bool,
}

fn show_controls(call: &Call, how: &Controls) -> Result<Ending, AppError> {
    if how.markdown {
        print::raw(&controls::markdown());
    } else if call.json {
        print::json(&controls::ALL)?;
    } else {
        let columns = vec![("code", Align::Left), ("control", Align::Left), ("keys", Align::Left)];
        let mut table = Table::new(columns);
        for control in controls::ALL {
            let keys = if control.keys.is_empty() { "always on".to_owned() } else { control.keys.join(", ") };
            table.row(vec![control.code.to_string(), control.name.to_owned(), keys]);
        }
        table.print();
    }
    Ok(Ending::Done)
}

async fn show(call: &Call) -> Result<Ending, AppError> {
    let reader = journal::open(&call.settings).await?;
    let control = reader.control().await?;
    let books = reader.books().await?;
    let counters = reader.risk_counters().await?;
    let (rules, now) = (app::rules(&call.settings)?, reader.now().await?);
    let marks = positions::prices(call, &books).await?;
    let uses = risk::usage(&risk::State {
        control: &control,
        books: &books,
        counters: &counters,
        marks: &marks,
        contracts: &rules.contracts,
        session_start: now.session_start(rules.session_start_us),
    });
    if call.json {
        print::json(&uses)?;
        return Ok(Ending::Done);
    }
    let in_force = |switch: &&Switch| switch.state != TradingState::Active && !switch.is_over(now);
    for switch in control.trading.iter().filter(in_force) {
        print::line(&format!(
            "{} in {} since {}, by {}: {}",
            switch.state, switch.scope, switch.timestamp, switch.by, switch.why
        ));
    }
    for circuit in control.circuits.values().filter(|circuit| circuit.state != CircuitState::Closed) {
        let (state, broker) = (circuit.state.as_str(), &circuit.broker);
        print::line(&format!(
            "circuit {state} of broker {broker} since {}: {}",
            circuit.timestamp, circuit.why
        ));
    }
    if uses.is_empty() {
        print::note(
            "no limits are in force, so nothing is traded: a worker loads those of its configuration",
        );
    } else {
        table(&uses);
    }
    Ok(Ending::Done)
}

fn table(uses: &[LimitUse]) {
    let mut table = Table::new(vec![
        ("row", Align::Left),
        ("symbol", Align::Left),
        ("broker", Align::Left),
        ("control", Align::Left),
        ("limit", Align::Right),
        ("used", Align::Right),
        ("head-room", Align::Right),
    ]);
    for one in uses {
        table.row(vec![
            one.row.clone(),
            cell(one.symbol.as_ref()),
            cell(one.broker.as_ref()),
            one.control.to_owned(),
            match one.limit {
                Limit::Unlimited => "-".to_owned(),
                Limit::At(limit) => limit.to_string(),
            },
            cell(one.used.as_ref()),
            cell(one.head_room.as_ref()),
        ]);
    }
    table.print();
}
