//! `[risk]`

mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveTime;
use rust_decimal::Decimal;

use super::reader::Reader;
use super::scalar::{decimal_above_zero, is_name, milliseconds, text};
use super::tree::Kind;

pub use limits::{Limit, LimitRow, OptionalLimits};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskSettings {
    /// An older quote is no reference price.
    pub max_quote_age: Duration,
    /// When the day begins that daily loss counts from, UTC.
    pub session_start: NaiveTime,
    /// The account's: what limits of money are in. `None`: all money is taken to be in one currency.
    pub currency: Option<String>,
    /// So much of it for one unit of each other one.
    pub fx: BTreeMap<String, Decimal>,
    /// What a journal that has no limits yet begins with. No two are for the same.
    pub limits: Vec<LimitRow>,
}

impl RiskSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        let time = text("a time of day in UTC, such as \"22:00\"", |text| {
            NaiveTime::parse_from_str(text, "%H:%M:%S")
                .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"))
                .ok()
        });
        let settings = Self {
            max_quote_age: section
                .read("max_quote_age_ms", milliseconds(1..=86_400_000))
                .unwrap_or(Duration::from_millis(5_000)),
            session_start: section.read("session_start", time).unwrap_or(NaiveTime::MIN),
            currency: section.read("currency", currency()),
            fx: section.map("fx", check_currency, decimal_above_zero),
            limits: section.rows("limits", LimitRow::read),
        };
        if settings.currency.is_none() && !settings.fx.is_empty() {
            section.refuse("currency", "required with risk.fx: the currency that these rates lead to");
        }
        check_rows(&settings.limits, section);
        settings
    }

    /// The limits alone, of which there must be some.
    pub(super) fn read_limits(section: &mut Reader<'_>) -> Vec<LimitRow> {
        let mut rows = 0;
        let limits: Vec<LimitRow> = section.rows("limits", |row| {
            rows += 1;
            LimitRow::read(row)
        });
        check_rows(&limits, section);
        if rows == 0 {
            section.refuse(
                "limits",
                "required: one row at least; without any nothing is traded, which `halt` says better",
            );
        }
        limits
    }
}

fn check_rows(limits: &[LimitRow], section: &Reader<'_>) {
    let mut seen = BTreeSet::new();
    for row in limits {
        if !seen.insert(row.subject()) {
            section.refuse("limits", format!("two rows for {}; keep one", row.subject()));
        }
    }
}

/// A currency or asset, such as `USD` or `BNB`.
pub(super) fn currency() -> impl Fn(&Kind) -> Result<String, String> {
    text("a currency, 1 to 16 of A-Z a-z 0-9", |text| is_name(text, 16, b"").then(|| text.to_owned()))
}

fn check_currency(name: &str) -> Result<(), String> {
    if is_name(name, 16, b"") { Ok(()) } else { Err("a currency is 1 to 16 of A-Z a-z 0-9".to_owned()) }
}
