//! `[broker.mock]`

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::config::reader::Reader;
use crate::config::scalar::{check_symbol, decimal_above_zero, decimal_up_to, milliseconds, whole};

const NOT_BUILT: [&str; 6] =
    ["url", "profile", "request_timeout_ms", "settle_ms", "max_open_orders", "breaker"];

/// The simulated broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockSettings {
    /// How long each answer takes.
    pub latency: Duration,
    /// The share of submissions that it rejects, 0 to 1.
    pub failure_rate: Decimal,
    /// The same seed draws the same.
    pub seed: u64,
    /// By symbol; what a symbol without a quote is traded at.
    pub prices: BTreeMap<String, Decimal>,
    /// Of the notional, in percent.
    pub commission_pct: Decimal,
    /// Of the price, in percent, against the order.
    pub slippage_pct: Decimal,
    /// By symbol; one without an entry has no rules.
    pub instruments: BTreeMap<String, MockInstrument>,
}

/// Trading rules. All above zero; `None`: no such rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MockInstrument {
    pub tick_size: Option<Decimal>,
    pub step_size: Option<Decimal>,
    pub min_quantity: Option<Decimal>,
    pub max_quantity: Option<Decimal>,
    /// In the quote currency.
    pub min_notional: Option<Decimal>,
}

impl MockSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        section.not_built(&NOT_BUILT);
        Self {
            latency: section.read("latency_ms", milliseconds(0..=60_000)).unwrap_or(Duration::ZERO),
            failure_rate: section.read("failure_rate", decimal_up_to(1)).unwrap_or(Decimal::ZERO),
            seed: section.read("seed", whole(0..=u64::MAX)).unwrap_or(1),
            prices: section.map("prices", check_symbol, decimal_above_zero),
            commission_pct: section.read("commission_pct", decimal_up_to(100)).unwrap_or(Decimal::ZERO),
            slippage_pct: section.read("slippage_pct", decimal_up_to(100)).unwrap_or(Decimal::ZERO),
            instruments: section.map_of_tables("instruments", check_symbol, MockInstrument::read),
        }
    }
}

impl MockInstrument {
    fn read(table: &mut Reader<'_>) -> Self {
        let instrument = Self {
            tick_size: table.read("tick_size", decimal_above_zero),
            step_size: table.read("step_size", decimal_above_zero),
            min_quantity: table.read("min_quantity", decimal_above_zero),
            max_quantity: table.read("max_quantity", decimal_above_zero),
            min_notional: table.read("min_notional", decimal_above_zero),
        };
        instrument.validate(table);
        instrument
    }

    fn validate(&self, table: &Reader<'_>) {
        if let (Some(least), Some(most)) = (self.min_quantity, self.max_quantity)
            && least > most
        {
            table.refuse("max_quantity", format!("must be at least min_quantity, {least}"));
        }
    }
}
