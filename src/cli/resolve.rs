//! `resolve`

use std::collections::HashSet;
use std::str::FromStr;

use crate::app::{self, AppError};
use crate::domain::amount::{Price, Quantity};
use crate::domain::decide::{Effect, HandFill, Input, Resolve, Verdict};
use crate::domain::request::OrderRef;

use super::{Call, Ending, journal, order};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution orders --parked
  order-execution resolve signal-42 --not-executed --by ann --why 'not in the statement of May 2'
  order-execution resolve signal-42 --executed 0.5@45000#t-9,0.25@45010#t-10 \\
      --by ann --why 'statement, page 2'
  order-execution resolve signal-42 --executed --by ann --why 'the new price shows'

The last one is for a parked replace. What the fills leave of the quantity counts as not executed.
Give the broker's trade ids: without them the same fills are booked a second time if the broker
tells of them later.
Writes to the journal alone: works without Redis and beside workers, which publish what it did.
Exit codes: 0 resolved, 1 there is no such order, 2 wrong usage, 3 refused (it is not parked, the
fills are more than was ordered), 4 the journal is unreachable.";

/// Longest name and reason that are journaled, in characters; both go into one sentence.
const LONGEST_NAME: usize = 64;
const LONGEST_REASON: usize = 300;

#[derive(Debug, clap::Args)]
pub(super) struct ResolveArguments {
    /// The parked order: its client order id, or its UUID
    #[arg(value_name = "CLIENT_ORDER_ID|UUID")]
    id: String,
    /// It was executed, with these fills and no others; may be repeated. Without a value: a parked replace is in force
    #[arg(
        long,
        value_name = "QUANTITY@PRICE[#TRADE ID]",
        num_args = 0..=1,
        value_delimiter = ',',
        value_parser = fill,
        required_unless_present = "not_executed",
        conflicts_with = "not_executed"
    )]
    executed: Option<Vec<HandFill>>,
    /// It was not executed, and never will be
    #[arg(long)]
    not_executed: bool,
    /// Who says so
    #[arg(long, value_name = "WHO", value_parser = name)]
    by: String,
    /// How that is known
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: String,
}

pub(super) async fn run(call: &Call, arguments: &ResolveArguments) -> Result<Ending, AppError> {
    let verdict = match &arguments.executed {
        None => Verdict::NotExecuted,
        Some(fills) => Verdict::Executed(distinct(fills)?),
    };
    // Looked up first: opening a journal to write would make one where there is none.
    let reader = journal::open(&call.settings).await?;
    let id = order::find(call, &*reader, &arguments.id).await?.spec.id;
    let resolve =
        Resolve { order: OrderRef::Order(id), verdict, by: arguments.by.clone(), why: arguments.why.clone() };
    let journal = app::deciding_journal(&call.settings).await?;
    let decided = journal.transact(vec![Input::Resolve(Box::new(resolve))]).await?;
    for decision in decided {
        if let Effect::Refused(refusal) = decision?.effect {
            return Err(AppError::Refused(refusal.reason));
        }
    }
    let resolved = order::find(call, &*reader, &id.to_string()).await?;
    order::tell(call, &*reader, &resolved).await?;
    Ok(Ending::Done)
}

/// A trade is booked once: the same one twice is a slip of the hand, and which of the two is right is not ours to say.
fn distinct(fills: &[HandFill]) -> Result<Vec<HandFill>, AppError> {
    let mut seen = HashSet::new();
    for id in fills.iter().filter_map(|fill| fill.trade_id.as_deref()) {
        if !seen.insert(id) {
            return Err(AppError::Usage(format!("--executed gives the trade {id} twice")));
        }
    }
    Ok(fills.to_vec())
}

/// `0.5@45000#t-9`
fn fill(text: &str) -> Result<HandFill, String> {
    let wanted = "is not <quantity>@<price> or <quantity>@<price>#<trade id>";
    let (amounts, trade_id) = match text.split_once('#') {
        Some((amounts, id)) => (amounts, Some(line(id, "the trade id", LONGEST_NAME)?)),
        None => (text, None),
    };
    let (quantity, price) = amounts.split_once('@').ok_or(wanted)?;
    let quantity: Quantity = amount("quantity", quantity)?;
    if quantity.is_zero() {
        return Err("a fill of nothing is none".to_owned());
    }
    Ok(HandFill { quantity, price: amount::<Price>("price", price)?, trade_id })
}

fn amount<T: FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error| format!("{what} {text:?}: {error}"))
}

pub(super) fn name(text: &str) -> Result<String, String> {
    line(text, "it", LONGEST_NAME)
}

pub(super) fn reason(text: &str) -> Result<String, String> {
    line(text, "it", LONGEST_REASON)
}

/// What is journaled for good: something, on one line.
fn line(text: &str, what: &str, longest: usize) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) || text.chars().count() > longest {
        return Err(format!("{what} must be 1 to {longest} characters on one line"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_is_read_digit_by_digit() {
        let read = fill("0.50@45000.10#t-9#a").unwrap();
        assert_eq!((read.quantity.to_string(), read.price.to_string()), ("0.5".into(), "45000.1".into()));
        assert_eq!(read.trade_id.as_deref(), Some("t-9#a"));
        assert_eq!(fill("1@2").unwrap().trade_id, None);
        for wrong in ["", "1", "@", "1@", "@1", "0@1", "-1@1", "1@0", "1@x", "1@1#", "1@1#a\nb", "1e400@1"] {
            assert!(fill(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_trade_is_given_once() {
        let fills = |texts: &[&str]| distinct(&texts.iter().map(|t| fill(t).unwrap()).collect::<Vec<_>>());
        assert_eq!(fills(&["1@2#a", "1@2#b", "1@2", "1@2"]).unwrap().len(), 4);
        assert!(fills(&["1@2#a", "1@3#a"]).is_err());
    }

    #[test]
    fn who_and_why_are_one_line() {
        assert_eq!(name(" ann ").unwrap(), "ann");
        for wrong in ["", "  ", "a\nb", &"x".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
