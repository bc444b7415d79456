//! The scenarios as `tests/data/fix` has them, and the cases that each is replayed in.

use serde::Deserialize;

use super::words::OrdStatus;
use crate::domain::amount::{Price, Quantity};
use crate::domain::order_type::TimeInForce;
use crate::domain::status::Status;

const FILES: [&str; 2] = [
    include_str!("../../../../../tests/data/fix/a_to_g.json"),
    include_str!("../../../../../tests/data/fix/h_to_l_and_exchanges.json"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "source")]
    _source: String,
    scenarios: Vec<Scenario>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
}

/// See `tests/data/fix/README.md`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) at: String,
    pub(super) ask: Option<Ask>,
    pub(super) told: Option<Told>,
    pub(super) event: Option<String>,
    pub(super) of: Option<String>,
    #[serde(default = "first_order")]
    pub(super) order: String,
    pub(super) quantity: Option<Quantity>,
    #[serde(default)]
    pub(super) time_in_force: TimeInForce,
    pub(super) stop_price: Option<Price>,
    pub(super) trade: Option<String>,
    pub(super) last: Option<Quantity>,
    pub(super) price: Option<Price>,
    #[serde(default = "yes")]
    pub(super) news: bool,
    #[serde(default)]
    pub(super) waits: bool,
    pub(super) ends: Option<String>,
    #[serde(default)]
    pub(super) over: bool,
    pub(super) then: Option<Stand>,
    pub(super) asked_first: Option<Stand>,
    #[serde(default)]
    pub(super) alternative: bool,
    #[serde(default)]
    pub(super) crosses: bool,
    #[serde(default)]
    pub(super) ours: bool,
    pub(super) theirs: Option<OrdStatus>,
    pub(super) because: Option<String>,
}

fn first_order() -> String {
    "X".to_owned()
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    Submit,
    Cancel,
    Replace,
    Look,
    Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Told {
    Acknowledged,
    Fill,
    Rejected,
    Taken,
    CancelRefused,
    ReplaceRefused,
    Cancelled,
    Replaced,
    Expired,
    Triggered,
    Restated,
    TradeCorrected,
    TradeBusted,
    Nothing,
}

/// How an order stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stand {
    pub(super) status: Status,
    pub(super) quantity: Quantity,
    pub(super) filled: Quantity,
    pub(super) open: Quantity,
    pub(super) pending: Option<Pending>,
    pub(super) fix: Option<OrdStatus>,
    pub(super) position: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pending {
    Cancel,
    Replace,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub(super) quantity: Quantity,
    pub(super) average: Option<Price>,
}

/// One way through a scenario.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) rows: Vec<Row>,
    /// Of two rows that cross, the request left first.
    pub(super) asked_first: bool,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let read = |text: &&str| serde_json::from_str::<File>(text).unwrap().scenarios;
    FILES.iter().flat_map(read).collect()
}

impl Scenario {
    /// The whole of it, and each alternative with what leads to it; where rows cross, in both orders.
    pub(super) fn cases(&self) -> Vec<Case> {
        let alternatives = (0..self.rows.len()).filter(|at| self.rows[*at].alternative);
        let ends: Vec<_> = alternatives.chain([self.rows.len()]).collect();
        let case = |asked_first, end| self.case(end, asked_first);
        let told_first = ends.iter().filter_map(|end| case(false, *end));
        let crosses = |end: usize| self.rows[..end].iter().any(|row| row.crosses);
        let asked_first = ends.iter().filter(|end| crosses(**end)).filter_map(|end| case(true, *end));
        told_first.chain(asked_first).collect()
    }

    /// Up to the row at `end`, and that row; `None` where it is never reached.
    fn case(&self, end: usize, asked_first: bool) -> Option<Case> {
        let mut rows: Vec<_> = self.rows[..end].iter().filter(|row| !row.alternative).cloned().collect();
        let mut name = self.id.clone();
        if let Some(row) = self.rows.get(end) {
            name = format!("{name} instead of {}", row.at);
            rows.push(row.clone());
        }
        if let Some(at) = rows.iter().position(|row| row.crosses) {
            assert!(rows[at].ask.is_some() && rows[at + 1].told.is_some() && rows[at + 1].crosses, "{name}");
            name = format!("{name}, {} first", if asked_first { "asked" } else { "told" });
            if !asked_first {
                rows.swap(at, at + 1);
            }
        }
        if let Some(at) = rows.iter().position(|row| row.over && !asked_first) {
            if self.rows.get(end).is_some() {
                return None;
            }
            rows.truncate(at + 1);
        }
        Some(Case { name, rows, asked_first })
    }
}

impl Row {
    pub(super) fn stands(&self, asked_first: bool) -> Option<&Stand> {
        self.asked_first.as_ref().filter(|_| asked_first).or(self.then.as_ref())
    }

    pub(super) fn ends(&self, asked_first: bool) -> Option<&str> {
        self.ends.as_deref().filter(|_| !(self.over && asked_first))
    }
}
