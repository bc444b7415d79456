//! `[broker.mock]`

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::config::reader::Reader;
use crate::config::risk::currency;
use crate::config::scalar::{
    ORDER_TYPES, check_symbol, decimal_above_zero, decimal_up_to, flag, milliseconds, whole, word,
};
use crate::config::tree::Kind;

const NOT_BUILT: [&str; 1] = ["max_open_orders"];

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
    /// Origin of an `exchange` process; `None`: the simulator is part of the worker.
    pub url: Option<String>,
    /// What that process is started with: see its `--dedupe`.
    pub profile: MockProfile,
    /// Until a call without an answer is given up.
    pub request_timeout: Duration,
    /// So long past an attempt's deadline until a query counts as proof; without deadlines, how long an attempt is
    /// searched for before its order is parked.
    pub settle: Duration,
    /// How long after it is journaled an attempt may be executed.
    pub recv_window: Duration,
    /// `None`: calls that fail keep nothing from being sent.
    pub breaker: Option<BreakerSettings>,
}

/// When calls that fail keep new orders from a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many within the window.
    pub failures: u64,
    pub window: Duration,
    /// For so long.
    pub open: Duration,
    /// Orders that are let through then, until one of them is answered.
    pub probes: u64,
}

impl BreakerSettings {
    fn read(table: &mut Reader<'_>) -> Self {
        let span = || milliseconds(100..=86_400_000);
        Self {
            failures: table.read("failures", whole(1..=1_000_000)).unwrap_or(5),
            window: table.read("window_ms", span()).unwrap_or(Duration::from_secs(10)),
            open: table.read("open_ms", span()).unwrap_or(Duration::from_secs(5)),
            probes: table.read("probes", whole(1..=1000)).unwrap_or(1),
        }
    }
}

/// What an exchange promises about attempts that are made again: `domain::profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockProfile {
    DedupesForever,
    Deadline,
    OneShot,
}

/// Trading rules, and what is traded. All above zero; `None`: no such rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MockInstrument {
    pub tick_size: Option<Decimal>,
    pub step_size: Option<Decimal>,
    pub min_quantity: Option<Decimal>,
    pub max_quantity: Option<Decimal>,
    /// In the quote currency.
    pub min_notional: Option<Decimal>,
    /// What one unit stands for; 1 where it is left out.
    pub multiplier: Option<Decimal>,
    /// Settled in the currency that it is not quoted in.
    pub inverse: bool,
    /// Of a spot pair: what is bought.
    pub base: Option<String>,
    /// What profit and loss are in.
    pub currency: Option<String>,
    /// `Some(false)`: it does not trade now.
    pub trading: Option<bool>,
    /// The types of orders that it takes.
    pub order_types: Option<Vec<String>>,
}

impl MockSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        section.not_built(&NOT_BUILT);
        let defaults = Duration::from_millis(5000);
        Self {
            url: section.read("url", read_url),
            profile: section.read("profile", read_profile).unwrap_or(MockProfile::DedupesForever),
            request_timeout: section
                .read("request_timeout_ms", milliseconds(10..=60_000))
                .unwrap_or(defaults),
            settle: section.read("settle_ms", milliseconds(0..=600_000)).unwrap_or(defaults),
            recv_window: section.read("recv_window_ms", milliseconds(10..=60_000)).unwrap_or(defaults),
            breaker: section.contains("breaker").then(|| section.section("breaker", BreakerSettings::read)),
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

fn read_profile(kind: &Kind) -> Result<MockProfile, String> {
    let Kind::Text(text) = kind else {
        return Err("must be a profile's name".to_owned());
    };
    // As the names are written in prose, in code and in configuration.
    match text.replace(['_', '-'], "").to_ascii_lowercase().as_str() {
        "dedupesforever" => Ok(MockProfile::DedupesForever),
        "deadline" => Ok(MockProfile::Deadline),
        "oneshot" => Ok(MockProfile::OneShot),
        _ => Err("must be \"dedupes_forever\", \"deadline\" or \"one_shot\"".to_owned()),
    }
}

/// An origin: http for loopback only, since nothing is encrypted on the way.
fn read_url(kind: &Kind) -> Result<String, String> {
    const WHAT: &str = "must be the origin of an exchange on this machine, such as \"http://127.0.0.1:9200\"";
    let Kind::Text(text) = kind else { return Err(WHAT.to_owned()) };
    let origin = text.trim_end_matches('/');
    let host = origin.strip_prefix("http://").ok_or(WHAT)?;
    let (host, port) = host.rsplit_once(':').ok_or(WHAT)?;
    let loopback = matches!(host, "localhost" | "[::1]")
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    if loopback && port.parse::<u16>().is_ok_and(|port| port > 0) {
        Ok(origin.to_owned())
    } else {
        Err(WHAT.to_owned())
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
            multiplier: table.read("multiplier", decimal_above_zero),
            inverse: table.read("inverse", flag()).unwrap_or(false),
            base: table.read("base", currency()),
            currency: table.read("currency", currency()),
            trading: table.read("trading", flag()),
            order_types: table.list("order_types", word(&ORDER_TYPES)),
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
        if self.inverse && self.base.is_some() {
            table.refuse("base", "is for spot pairs, which are not inverse: leave one of both out");
        }
    }
}
