//! `[broker]`

mod mock;

pub use mock::{MockInstrument, MockProfile, MockSettings};

use super::reader::Reader;
use std::time::Duration;

use super::scalar::{is_name, milliseconds, text};
use super::tree::Kind;

/// Brokers whose tables come with their adapters. In mock mode orders may name them all the same.
const NOT_BUILT_BROKERS: [&str; 4] = ["oanda", "binance_spot", "binance_futures", "mexc"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    pub mode: BrokerMode,
    /// For orders that name no broker and match no route.
    pub default: String,
    /// The first that matches decides.
    pub routes: Vec<Route>,
    /// For so long what provably was not executed is sent again.
    pub retry: Duration,
    pub mock: MockSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerMode {
    /// Every order goes to the simulated broker, whatever broker it names.
    Mock,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Symbols, in which `*` stands for any characters. Not empty.
    pub symbols: Vec<String>,
    pub broker: String,
}

impl BrokerSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        section.not_built(&NOT_BUILT_BROKERS);
        let is_live_armed = section.variable("ORDER_EXECUTION_LIVE") == Some("yes");
        Self {
            mode: section.read("mode", |kind| read_mode(kind, is_live_armed)).unwrap_or(BrokerMode::Mock),
            default: section.read("default", broker_name()).unwrap_or_else(|| "mock".to_owned()),
            routes: section.rows("route", Route::read),
            retry: section.read("retry_ms", milliseconds(0..=3_600_000)).unwrap_or(Duration::from_secs(30)),
            mock: section.section("mock", MockSettings::read),
        }
    }
}

impl Route {
    fn read(row: &mut Reader<'_>) -> Option<Self> {
        let pattern = text("a symbol, in which * stands for any characters", |text| {
            is_name(text, 32, b"._:/-*").then(|| text.to_owned())
        });
        row.require(&["symbols"], "a list of symbols, such as [\"EUR_*\"]");
        row.require(&["broker"], "the name of a broker");
        let symbols = row.list("symbols", pattern);
        let broker = row.read("broker", broker_name());
        if symbols.as_ref().is_some_and(Vec::is_empty) {
            row.refuse("symbols", "must name at least one symbol");
        }
        Some(Self { symbols: symbols?, broker: broker? })
    }
}

fn read_mode(kind: &Kind, is_live_armed: bool) -> Result<BrokerMode, String> {
    const NOT_BUILT: &str = "not built yet in this version; the only mode is \"mock\"";
    match kind {
        Kind::Text(mode) if mode == "mock" => Ok(BrokerMode::Mock),
        Kind::Text(mode) if mode == "live" && !is_live_armed => {
            Err(format!("{NOT_BUILT} (\"live\" will also need ORDER_EXECUTION_LIVE=yes)"))
        }
        Kind::Text(mode) if mode == "practice" || mode == "live" => Err(NOT_BUILT.to_owned()),
        _ => Err("must be \"mock\", \"practice\" or \"live\"".to_owned()),
    }
}

fn broker_name() -> impl Fn(&Kind) -> Result<String, String> {
    text("a broker's name, 1 to 32 of a-z 0-9 _", |text| {
        let is_lowercase = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (is_lowercase && is_name(text, 32, b"_")).then(|| text.to_owned())
    })
}
