//! `[risk]` and `[[risk.limits]]`

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::NaiveTime;
use rust_decimal::Decimal;

use super::reader::Reader;
use super::scalar::{decimal_from_zero, is_symbol, milliseconds, text, whole, word_or};

/// What every row has beside its symbol; one that is forgotten must not mean "no limit".
const REQUIRED: [&str; 6] = [
    "max_order_quantity",
    "max_order_notional",
    "max_position",
    "max_daily_loss",
    "price_collar_pct",
    "max_orders_per_second",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskSettings {
    /// An older quote is no reference price.
    pub max_quote_age: Duration,
    /// When the day begins that daily loss counts from, UTC.
    pub session_start: NaiveTime,
    /// What a journal that has no limits yet begins with. Symbols are unique.
    pub limits: Vec<LimitRow>,
}

/// The limits of one symbol, or of all symbols that have no row of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRow {
    /// A symbol or `*`.
    pub symbol: String,
    pub max_order_quantity: Limit,
    /// In the quote currency.
    pub max_order_notional: Limit,
    /// Position and open orders of one side together, in units.
    pub max_position: Limit,
    /// In the quote currency.
    pub max_daily_loss: Limit,
    /// Distance from the reference price, in percent of it.
    pub price_collar_pct: Limit,
    /// In any rolling second, of all workers together.
    pub max_orders_per_second: Limit<u32>,
}

/// A limit, which is never absent by accident. Inclusive: exactly at it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T = Decimal> {
    Unlimited,
    At(T),
}

impl<T> From<Option<T>> for Limit<T> {
    fn from(limit: Option<T>) -> Self {
        limit.map_or(Self::Unlimited, Self::At)
    }
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
            limits: section.rows("limits", LimitRow::read),
        };
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
        if !seen.insert(&row.symbol) {
            section.refuse("limits", format!("two rows for the symbol {:?}; keep one", row.symbol));
        }
    }
}

impl LimitRow {
    fn read(row: &mut Reader<'_>) -> Option<Self> {
        row.not_built(&["strategy_id", "account"]);
        row.require(&["symbol"], "a symbol or \"*\"");
        row.require(&REQUIRED, "a number in quotes, or \"unlimited\"");
        let symbol = row.read(
            "symbol",
            text("a symbol, 1 to 32 of A-Z a-z 0-9 . _ : / -, or \"*\"", |text| {
                (text == "*" || is_symbol(text)).then(|| text.to_owned())
            }),
        );
        // Each is read before any is missed, so that all of a row's errors are told.
        let mut limit = |key| row.read(key, word_or("unlimited", decimal_from_zero)).map(Limit::from);
        let max_order_quantity = limit("max_order_quantity");
        let max_order_notional = limit("max_order_notional");
        let max_position = limit("max_position");
        let max_daily_loss = limit("max_daily_loss");
        let price_collar_pct = limit("price_collar_pct");
        let max_orders_per_second =
            row.read("max_orders_per_second", word_or("unlimited", whole(0..=u32::MAX))).map(Limit::from);
        Some(Self {
            symbol: symbol?,
            max_order_quantity: max_order_quantity?,
            max_order_notional: max_order_notional?,
            max_position: max_position?,
            max_daily_loss: max_daily_loss?,
            price_collar_pct: price_collar_pct?,
            max_orders_per_second: max_orders_per_second?,
        })
    }
}
