//! From the configuration's plain data to the rules that decisions go by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::config::{self, MockProfile, Settings};
use crate::domain::amount::{Amount, AmountError, Price, Quantity};
use crate::domain::circuit::Breaker;
use crate::domain::contract::{Contract, Contracts};
use crate::domain::decide::Rules;
use crate::domain::ids::{BrokerName, NameError, Symbol};
use crate::domain::instrument::Instrument;
use crate::domain::order_type::Side;
use crate::domain::profile::Profile;
use crate::domain::risk::{Limit, LimitRow, OptionalLimits};
use crate::domain::venue::Venue;

use super::AppError;

/// Broker names that exist in mock mode even without a table of their own: the real brokers' own.
const KNOWN_BROKERS: [&str; 5] = ["mock", "oanda", "binance_spot", "binance_futures", "mexc"];
/// Beyond the time-out of a call, until its answer is recorded.
const CALL_MARGIN: Duration = Duration::from_millis(200);

pub(super) fn setting(key: &str, value: &str, why: impl std::fmt::Display) -> AppError {
    AppError::Usage(format!("{key} = {value}: {why}"))
}

fn symbol(key: &str, text: &str) -> Result<Symbol, AppError> {
    text.parse().map_err(|error: NameError| setting(key, text, error))
}

pub(super) fn broker_name(key: &str, text: &str) -> Result<BrokerName, AppError> {
    text.parse().map_err(|error: NameError| setting(key, text, error))
}

fn price(key: &str, value: Decimal) -> Result<Price, AppError> {
    Price::new(value).map_err(|error: AmountError| setting(key, &value.to_string(), error))
}

fn instrument(rules: &config::MockInstrument, key: &str) -> Result<Instrument, AppError> {
    let quantity = |name: &str, value: Option<Decimal>| {
        let named = |value: Decimal| {
            Quantity::new(value).map_err(|error| setting(&format!("{key}.{name}"), &value.to_string(), error))
        };
        value.map(named).transpose()
    };
    let money = |name: &str, value: Option<Decimal>| {
        value.map(|value| price(&format!("{key}.{name}"), value)).transpose()
    };
    Ok(Instrument {
        tick_size: money("tick_size", rules.tick_size)?,
        step_size: quantity("step_size", rules.step_size)?,
        min_quantity: quantity("min_quantity", rules.min_quantity)?,
        max_quantity: quantity("max_quantity", rules.max_quantity)?,
        min_notional: money("min_notional", rules.min_notional)?,
        trading: rules.trading.unwrap_or(true),
        order_types: rules.order_types.as_ref().map(|types| types.iter().cloned().collect()),
    })
}

/// What fills come to in money.
fn contracts(settings: &Settings) -> Result<Contracts, AppError> {
    let rates = settings.risk.fx.iter();
    let rates = rates.map(|(name, rate)| Ok((name.clone(), price(&format!("risk.fx.{name}"), *rate)?)));
    let instruments = settings.broker.mock.instruments.iter().map(|(name, rules)| {
        let key = format!("broker.mock.instruments.{name}");
        let multiplier = rules.multiplier.map(|value| price(&format!("{key}.multiplier"), value));
        let contract = Contract {
            multiplier: multiplier.transpose()?.filter(|multiplier| multiplier.get() != Decimal::ONE),
            inverse: rules.inverse,
            base: rules.base.clone(),
            currency: rules.currency.clone(),
            fx_rate: None,
        };
        Ok((symbol("broker.mock.instruments", name)?, contract))
    });
    let rates = rates.collect::<Result<BTreeMap<_, _>, AppError>>()?;
    let instruments = instruments.collect::<Result<Vec<_>, AppError>>()?;
    Ok(Contracts::new(settings.risk.currency.clone(), rates, instruments))
}

fn mock_venue(settings: &config::MockSettings) -> Result<Venue, AppError> {
    let prices = settings.prices.iter().map(|(name, value)| {
        Ok((symbol("broker.mock.prices", name)?, price(&format!("broker.mock.prices.{name}"), *value)?))
    });
    let instruments = settings.instruments.iter().map(|(name, rules)| {
        let key = format!("broker.mock.instruments.{name}");
        Ok((symbol("broker.mock.instruments", name)?, instrument(rules, &key)?))
    });
    Ok(Venue {
        seed: settings.seed,
        failure_rate: settings.failure_rate,
        slippage_pct: settings.slippage_pct,
        commission_pct: settings.commission_pct,
        prices: prices.collect::<Result<BTreeMap<_, _>, AppError>>()?,
        instruments: instruments.collect::<Result<BTreeMap<_, _>, AppError>>()?,
    })
}

/// The matching rules of the simulated broker, for the exchange that is a process of its own.
pub fn venue(settings: &Settings) -> Result<Venue, AppError> {
    mock_venue(&settings.broker.mock)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What recovery may do where an attempt's answer is lost.
fn profile(settings: &Settings) -> Profile {
    let mock = &settings.broker.mock;
    let settle_us = micros(mock.settle);
    match (&mock.url, mock.profile) {
        (None, _) => Profile::Embedded,
        (Some(_), MockProfile::DedupesForever) => Profile::DedupesForever,
        (Some(_), MockProfile::Deadline) => {
            Profile::Deadline { valid_for_us: micros(mock.recv_window), settle_us }
        }
        // It may still be under way for as long as the worker would have waited for its answer.
        (Some(_), MockProfile::OneShot) => {
            Profile::OneShot { settle_us: micros(mock.request_timeout).saturating_add(settle_us) }
        }
    }
}

/// The rules that decisions go by, made of the configuration.
pub fn rules(settings: &Settings) -> Result<Rules, AppError> {
    let broker = &settings.broker;
    let routes: Vec<(Vec<String>, BrokerName)> = broker
        .routes
        .iter()
        .map(|route| Ok((route.symbols.clone(), broker_name("broker.route", &route.broker)?)))
        .collect::<Result<_, AppError>>()?;
    let default_broker = broker_name("broker.default", &broker.default)?;
    let mut brokers: BTreeSet<BrokerName> = routes.iter().map(|(_, broker)| broker.clone()).collect();
    brokers.insert(default_broker.clone());
    for name in KNOWN_BROKERS {
        brokers.insert(broker_name("broker", name)?);
    }
    let midnight = settings.risk.session_start.signed_duration_since(chrono::NaiveTime::MIN);
    Ok(Rules {
        default_broker,
        routes,
        brokers,
        venue: mock_venue(&broker.mock)?,
        max_quote_age_us: micros(settings.risk.max_quote_age),
        session_start_us: midnight.num_microseconds().unwrap_or(0),
        max_request_age_us: settings.worker.max_request_age.map(micros),
        max_deliveries: settings.worker.max_deliveries,
        contracts: Arc::new(contracts(settings)?),
        breaker: broker.mock.breaker.map(|breaker| Breaker {
            failures: breaker.failures,
            window_us: micros(breaker.window),
            open_us: micros(breaker.open),
            probes: breaker.probes,
        }),
        profile: profile(settings),
        retry_us: micros(broker.retry),
        // A call that is under way must not lose its order to another worker.
        lease_us: micros(match broker.mock.url {
            None => settings.worker.claim_idle,
            Some(_) => settings.worker.claim_idle.max(broker.mock.request_timeout + CALL_MARGIN),
        }),
    })
}

fn limit(limit: config::Limit) -> Limit {
    match limit {
        config::Limit::Unlimited => Limit::Unlimited,
        config::Limit::At(value) => Limit::At(value),
    }
}

fn optional(limits: &config::OptionalLimits) -> OptionalLimits {
    let sides = |sides: &Vec<String>| {
        let side = |name: &String| if name == Side::Buy.as_str() { Side::Buy } else { Side::Sell };
        sides.iter().map(side).collect()
    };
    OptionalLimits {
        max_open_orders: limits.max_open_orders,
        max_gross_exposure: limits.max_gross_exposure.map(Amount::of),
        max_net_exposure: limits.max_net_exposure.map(Amount::of),
        max_price_move_pct: limits.max_price_move_pct.map(Amount::of),
        price_move_window_ms: limits.price_move_window_ms,
        price_move_pause_ms: limits.price_move_pause_ms,
        max_fills: limits.max_fills,
        fills_window_ms: limits.fills_window_ms,
        duplicate_window_ms: limits.duplicate_window_ms,
        prevent_self_trade: limits.prevent_self_trade,
        check_buying_power: false,
        restricted: limits.restricted,
        allowed_sides: limits.allowed_sides.as_ref().map(sides),
        allowed_order_types: limits.allowed_order_types.clone(),
        allowed_strategies: limits.allowed_strategies.clone(),
        allowed_symbols: limits.allowed_symbols.clone(),
    }
}

/// Limits as they are put in force.
#[must_use]
pub fn limits_of(rows: &[config::LimitRow]) -> Vec<LimitRow> {
    let row = |row: &config::LimitRow| LimitRow {
        symbol: row.symbol.as_str().into(),
        strategy_id: row.strategy_id.as_deref().map(Arc::from),
        account: row.account,
        max_order_quantity: limit(row.max_order_quantity),
        max_order_notional: limit(row.max_order_notional),
        max_position: limit(row.max_position),
        max_daily_loss: limit(row.max_daily_loss),
        price_collar_pct: limit(row.price_collar_pct),
        max_orders_per_second: match row.max_orders_per_second {
            config::Limit::Unlimited => Limit::Unlimited,
            config::Limit::At(orders) => Limit::At(orders.into()),
        },
        optional: optional(&row.optional),
    };
    rows.iter().map(row).collect()
}
