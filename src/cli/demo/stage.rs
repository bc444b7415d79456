//! Where the demonstration happens: settings, Redis, a folder. It needs no configuration and no folder to run in.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rust_decimal::Decimal;
use tempfile::TempDir;

use crate::adapters::clock::SystemClock;
use crate::app::AppError;
use crate::cli::link::Link;
use crate::cli::print;
use crate::config::{self, Limit, LimitRow, MockInstrument, OptionalLimits, Settings};
use crate::ports::clock::Clock;
use crate::runtime::private_redis::{Durability, PrivateRedis};

use super::market::{INSTRUMENTS, Instrument};

const DRAIN_WITHIN: Duration = Duration::from_secs(3);

pub(super) struct Stage {
    pub(super) settings: Settings,
    /// `None`: the server of `$REDIS_URL`.
    private: Option<PrivateRedis>,
    folder: TempDir,
}

impl Stage {
    pub(super) async fn set(port: u16) -> Result<Self, AppError> {
        let folder = tempfile::Builder::new().prefix("order-execution-demo-").tempdir();
        let folder = folder.map_err(|error| AppError::Io("there is no temporary folder", error))?;
        // An empty folder of configuration, and no variables: the defaults.
        let mut settings = config::load(folder.path(), config::DEFAULT_ENVIRONMENT, &BTreeMap::new())?;
        let given = std::env::var("REDIS_URL").ok().filter(|url| !url.is_empty());
        let private = match given {
            Some(url) => {
                settings.redis.url = url.into();
                settings.streams.prefix = format!("demo-{}", SystemClock.uuid().simple());
                // Away? Then there will be nothing to remove either.
                Link::new(&settings)?.connect().await?;
                None
            }
            None => {
                let started = PrivateRedis::start(Durability::EverySecond).await;
                let redis = started.map_err(|error| AppError::Unreachable(error.to_string()))?;
                settings.redis.url = redis.url().into();
                Some(redis)
            }
        };
        settings.database.url = format!("sqlite://{}", folder.path().join("journal.db").display()).into();
        settings.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        settings.worker.drain_timeout = DRAIN_WITHIN;
        let by_symbol = |instrument: &Instrument| instrument.symbol.to_owned();
        settings.broker.mock.prices = INSTRUMENTS.iter().map(|i| (by_symbol(i), i.start())).collect();
        settings.broker.mock.instruments = INSTRUMENTS.iter().map(|i| (by_symbol(i), rules(i))).collect();
        settings.risk.limits = INSTRUMENTS.iter().map(limits).collect();
        Ok(Self { settings, private, folder })
    }

    /// How to talk to this Redis by hand. A password is not repeated.
    pub(super) fn redis_cli(&self) -> String {
        match &self.private {
            Some(redis) => format!("redis-cli -p {}", redis.port()),
            None => "redis-cli -u \"$REDIS_URL\"".to_owned(),
        }
    }

    /// Leaves nothing behind: no process, no folder, no keys. Says whether that is so.
    pub(super) async fn strike(self) -> bool {
        let prefix = &self.settings.streams.prefix;
        let keys = match self.private {
            Some(redis) => {
                redis.stop().await;
                Ok(())
            }
            None => match Link::new(&self.settings) {
                Ok(link) => link.remove_keys(prefix).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = &keys {
            print::note(&format!("keys that begin with {prefix}: are left behind: {error}"));
        }
        let folder = self.folder.close();
        if let Err(error) = &folder {
            print::note(&format!("a temporary folder is left behind: {error}"));
        }
        keys.is_ok() && folder.is_ok()
    }
}

fn rules(instrument: &Instrument) -> MockInstrument {
    MockInstrument {
        tick_size: Some(instrument.tick()),
        step_size: Some(instrument.step()),
        min_quantity: Some(instrument.step()),
        ..MockInstrument::default()
    }
}

fn limits(instrument: &Instrument) -> LimitRow {
    let largest = instrument.largest_order();
    LimitRow {
        symbol: instrument.symbol.to_owned(),
        max_order_quantity: Limit::At(largest),
        max_order_notional: Limit::At(1_000_000.into()),
        max_position: Limit::At(largest.saturating_mul(Decimal::from(10))),
        max_daily_loss: Limit::At(100_000.into()),
        price_collar_pct: Limit::At(5.into()),
        max_orders_per_second: Limit::At(100),
        strategy_id: None,
        account: false,
        optional: OptionalLimits::default(),
    }
}
