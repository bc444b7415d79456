//! `risk apply`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::app::{self, AppError};
use crate::config;
use crate::domain::control::{Control, LimitsChange};
use crate::domain::decide::{Effect, Input, SetLimits};
use crate::domain::risk::LimitRow;

use super::super::{Call, Ending, journal, print, resolve, switch};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution risk apply limits.toml --dry-run
  order-execution risk apply limits.toml --by ann --why 'half size over the weekend'

The file has [[risk.limits]] rows as in the configuration, all that are to be in force: what it
leaves out is gone. Shows the difference first; with --dry-run that is all. A file with an error is
refused whole, with every error. In force for every attempt that any worker journals after this
command has ended; orders that are open stay.
Exit codes: 0 in force, or nothing would change, 2 wrong usage or an error in the file, 3 somebody
changed limits or the trading state meanwhile, 4 the journal is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The new limits
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show the difference and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Who does it [default: the user of this process]
    #[arg(long, value_name = "WHO", value_parser = resolve::name)]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = resolve::reason, default_value = "by hand")]
    why: String,
}

/// One limit that changes; null: there is no such row.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    row: String,
    control: String,
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn run(call: &Call, apply: &Apply) -> Result<Ending, AppError> {
    let rows = app::limits_of(&config::load_limits(&apply.file)?);
    let before = journal::open_if_there(&call.settings).await?;
    let control = match &before {
        Some(reader) => reader.control().await?,
        None => Control::default(),
    };
    let differences = differences(&control, &rows);
    if call.json {
        print::json(&differences)?;
    } else {
        differences.iter().for_each(|difference| print::line(&said(difference)));
    }
    if differences.is_empty() {
        print::note("these limits are in force already");
        return Ok(Ending::Done);
    }
    if apply.dry_run {
        print::note("nothing was changed: --dry-run");
        return Ok(Ending::Done);
    }
    let by = apply.by.clone().unwrap_or_else(switch::user);
    let change = LimitsChange { by, why: apply.why.clone(), rows };
    let instead_of = (!control.limits.is_empty()).then_some(control.revision);
    let set = SetLimits { change, instead_of };
    let journal = app::deciding_journal(&call.settings).await?;
    for decision in journal.transact(vec![Input::SetLimits(Box::new(set))]).await? {
        if let Effect::Refused(refusal) = decision?.effect {
            return Err(AppError::Refused(refusal.reason));
        }
    }
    print::note(&format!("in force; {} limits are other than before", differences.len()));
    Ok(Ending::Done)
}

fn differences(control: &Control, rows: &[LimitRow]) -> Vec<Difference> {
    let old: BTreeMap<String, Keys> = control.limits.rows().map(|row| (row.name(), keys(row))).collect();
    let new: BTreeMap<String, Keys> = rows.iter().map(|row| (row.name(), keys(row))).collect();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    for row in names {
        let (old, new) = (old.get(row), new.get(row));
        let controls: BTreeSet<&String> = [old, new].into_iter().flatten().flat_map(BTreeMap::keys).collect();
        for control in controls {
            let at = |row: Option<&Keys>| row.and_then(|row| row.get(control).cloned());
            let (from, to) = (at(old), at(new));
            if from != to {
                found.push(Difference { row: row.clone(), control: control.clone(), from, to });
            }
        }
    }
    found
}

/// What a row says, by key.
type Keys = BTreeMap<String, String>;

fn keys(row: &LimitRow) -> Keys {
    let mut keys = Keys::new();
    let optional = serde_json::to_value(&row.optional);
    let all = serde_json::to_value(row).into_iter().chain(optional).filter_map(|value| match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    for (key, value) in all.flatten() {
        let text = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        if !matches!(key.as_str(), "symbol" | "strategy_id" | "account" | "optional") {
            keys.insert(key, text);
        }
    }
    keys
}

fn said(difference: &Difference) -> String {
    let Difference { row, control, from, to } = difference;
    let text = |limit: &Option<String>| limit.clone().unwrap_or_else(|| "none".to_owned());
    format!("{row}  {control}: {} -> {}", text(from), text(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::risk::{Limit, Limits};

    fn row(symbol: &str, max_position: Limit) -> LimitRow {
        LimitRow { max_order_notional: Limit::At(5.into()), max_position, ..LimitRow::unlimited(symbol) }
    }

    #[test]
    fn only_what_changes_is_told() {
        let limits = Limits::of_rows(&[row("*", Limit::At(1.into())), row("OLD", Limit::Unlimited)]);
        let control = Control { limits, ..Control::default() };
        assert!(
            differences(&control, &[row("OLD", Limit::Unlimited), row("*", Limit::At(1.into()))]).is_empty()
        );
        let found = differences(&control, &[row("*", Limit::At(2.into())), row("OLD", Limit::Unlimited)]);
        assert_eq!(found.iter().map(said).collect::<Vec<_>>(), ["symbol *  max_position: 1 -> 2"]);
        let found = differences(&control, &[row("*", Limit::At(1.into()))]);
        assert_eq!(found.len(), 6, "{found:?}");
        assert_eq!(said(&found[1]), "symbol OLD  max_order_notional: 5 -> none");
    }
}
