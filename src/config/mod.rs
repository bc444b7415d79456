//! The configuration: plain data, read once at start.
//!
//! `config/default.toml`, then `config/<env>.toml`, then the environment (`ORDER_EXECUTION__REDIS__URL` sets
//! `redis.url`); a key that no layer sets has the default that its section's `read` gives it. Nothing here knows
//! what a setting is for, beyond the range that makes sense; nothing outside reads a variable or a file for a
//! setting.

mod app;
mod broker;
mod database;
mod error;
mod expand;
mod http;
mod layers;
mod reader;
mod redis;
mod risk;
mod scalar;
mod streams;
mod tree;
mod worker;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

pub use app::{AppSettings, LogFormat};
pub use broker::{BrokerMode, BrokerSettings, MockInstrument, MockProfile, MockSettings, Route};
pub use database::{DatabaseKind, DatabaseSettings};
pub use error::{ConfigError, ConfigErrors};
pub use http::HttpSettings;
pub use layers::{DEFAULT_DIRECTORY, DEFAULT_ENVIRONMENT, process_environment};
pub use redis::RedisSettings;
pub use risk::{Limit, LimitRow, OptionalLimits, RiskSettings};
pub use streams::StreamSettings;
pub use worker::WorkerSettings;

use reader::{Context, Reader};

/// Everything that can be configured. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    pub app: AppSettings,
    pub redis: RedisSettings,
    pub streams: StreamSettings,
    pub worker: WorkerSettings,
    pub database: DatabaseSettings,
    pub http: HttpSettings,
    pub risk: RiskSettings,
    pub broker: BrokerSettings,
}

/// Reads the configuration of environment `env` from `directory` and `variables` (see
/// [`process_environment`]).
///
/// # Errors
///
/// All that is wrong, of all layers, at once: what cannot be read or parsed, unknown keys, values out of
/// range, `${NAME}` of variables that are not set, settings whose feature does not exist yet.
pub fn load(
    directory: &Path,
    env: &str,
    variables: &BTreeMap<String, String>,
) -> Result<Settings, ConfigErrors> {
    let mut errors = Vec::new();
    let tree = layers::collect(directory, env, variables, &mut errors);
    let context = Context { variables, errors: RefCell::new(errors) };
    let settings = Reader::root(&context, tree, |root| {
        root.not_built(&["grpc", "telemetry", "security"]);
        Settings {
            app: root.section("app", |section| AppSettings::read(section, env)),
            redis: root.section("redis", RedisSettings::read),
            streams: root.section("streams", StreamSettings::read),
            worker: root.section("worker", WorkerSettings::read),
            database: root.section("database", DatabaseSettings::read),
            http: root.section("http", HttpSettings::read),
            risk: root.section("risk", RiskSettings::read),
            broker: root.section("broker", BrokerSettings::read),
        }
    });
    ConfigErrors::check(context.errors.into_inner())?;
    Ok(settings)
}

/// Reads a file that has limits and nothing else, written as in the configuration.
///
/// # Errors
///
/// All that is wrong with it at once, and a file without a row.
pub fn load_limits(file: &Path) -> Result<Vec<LimitRow>, ConfigErrors> {
    let mut errors = Vec::new();
    let tree = layers::file(file, 0, true, &mut errors);
    let variables = BTreeMap::new();
    let context = Context { variables: &variables, errors: RefCell::new(errors) };
    let limits = Reader::root(&context, tree, |root| root.section("risk", RiskSettings::read_limits));
    ConfigErrors::check(context.errors.into_inner())?;
    Ok(limits)
}

#[cfg(test)]
mod tests;
