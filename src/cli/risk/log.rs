//! `risk log`

use serde_json::json;

use crate::app::AppError;
use crate::domain::control::ControlEvent;
use crate::ports::journal::ControlEntry;

use super::super::table::{Align, Table};
use super::super::{Call, Ending, journal, print};

#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// As many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

pub(super) async fn run(call: &Call, log: &Log) -> Result<Ending, AppError> {
    let entries = journal::open(&call.settings).await?.control_events(u64::MAX >> 1, log.limit).await?;
    if call.json {
        let rows: Vec<_> = entries
            .iter()
            .map(|entry| json!({"number": entry.number, "timestamp": entry.at, "event": entry.event}))
            .collect();
        print::json(&rows)?;
    } else {
        let columns = ["when", "by", "what", "why"];
        let mut table = Table::new(columns.map(|name| (name, Align::Left)).into());
        for entry in &entries {
            let ControlEntry { at, event, .. } = entry;
            table.row(vec![at.to_string(), event.by().to_owned(), what(event), event.why().to_owned()]);
        }
        table.print();
    }
    Ok(Ending::Done)
}

fn what(event: &ControlEvent) -> String {
    match event {
        ControlEvent::TradingState(switch) => format!("{} in {}", switch.state, switch.scope),
        ControlEvent::Limits(change) => format!("limits: {} rows", change.rows.len()),
        ControlEvent::Circuit(circuit) => {
            format!("circuit {} of broker {}", circuit.state.as_str(), circuit.broker)
        }
    }
}
