//! Where is measured: a journal of its own on the chosen disk, names of its own in Redis, or a Redis of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::app::AppError;
use crate::config::{DatabaseKind, Limit, LimitRow, OptionalLimits, Settings};
use crate::runtime::private_redis::{Durability, PrivateRedis};

use super::database::OwnDatabase;
use super::{Bench, load};

pub(super) struct Site {
    pub(super) settings: Settings,
    redis: Option<PrivateRedis>,
    folder: tempfile::TempDir,
    database: Option<OwnDatabase>,
}

impl Site {
    pub(super) async fn set(
        configured: &Settings,
        bench: &Bench,
        controls: Controls,
    ) -> Result<Self, AppError> {
        let mut settings = configured.clone();
        let redis = if bench.private {
            let started = PrivateRedis::start(Durability::EverySecond).await;
            Some(started.map_err(|error| AppError::Unreachable(error.to_string()))?)
        } else {
            None
        };
        if let Some(redis) = &redis {
            settings.redis.url = SecretString::from(redis.url());
        }
        let folder = journal_folder(&settings, bench)?;
        let in_server = bench.journal_dir.is_none() && settings.database.kind() == DatabaseKind::Postgres;
        let database = if in_server { Some(OwnDatabase::make(&mut settings).await?) } else { None };
        prepare(&mut settings, bench, controls);
        if database.is_none() {
            let url = format!("sqlite://{}/journal.db", folder.path().display());
            settings.database.url = SecretString::from(url);
        }
        Ok(Self { settings, redis, folder, database })
    }

    /// The folder of the journal.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes everything away again.
    pub(super) async fn clear(self) {
        load::clean_up(&self.settings).await;
        if let Some(database) = self.database {
            database.drop_it().await;
        }
        if let Some(redis) = self.redis {
            redis.stop().await;
        }
    }
}

/// A folder of its own on the disk that the journal is to be on.
fn journal_folder(settings: &Settings, bench: &Bench) -> Result<tempfile::TempDir, AppError> {
    let url = settings.database.url.expose_secret();
    if settings.database.kind() == DatabaseKind::Postgres && bench.journal_dir.is_none() {
        return tempfile::tempdir().map_err(|error| AppError::Io("no temporary folder", error));
    }
    let path = Path::new(url.trim_start_matches("sqlite://").trim_start_matches("sqlite:"));
    let beside = bench.journal_dir.clone().or_else(|| path.parent().map(Path::to_path_buf));
    let beside = beside.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&beside)
        .map_err(|error| AppError::Io("the folder of the journal cannot be made", error))?;
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(beside)
        .map_err(|error| AppError::Io("no temporary folder for the journal", error))
}

/// The installation as configured, with names, journal, prices and limits of its own: every control
/// works, none refuses.
fn prepare(settings: &mut Settings, bench: &Bench, controls: Controls) {
    let random = uuid::Uuid::now_v7().simple().to_string();
    settings.streams.prefix = format!("bench-{}", &random[20..]);
    settings.broker.mock.prices = (0..bench.symbols).map(|n| (load::symbol(n), 100.into())).collect();
    settings.broker.mock.instruments.clear();
    settings.broker.mock.latency = Duration::ZERO;
    settings.worker.max_request_age = None;
    let basic = LimitRow {
        symbol: "*".to_owned(),
        max_order_quantity: Limit::At(1000.into()),
        max_order_notional: Limit::At(1_000_000.into()),
        max_position: Limit::At(1_000_000_000.into()),
        max_daily_loss: Limit::At(1_000_000_000.into()),
        price_collar_pct: Limit::At(5.into()),
        max_orders_per_second: Limit::At(10_000_000),
        strategy_id: None,
        account: false,
        optional: OptionalLimits::default(),
    };
    settings.risk.limits = match controls {
        Controls::Basic => vec![basic],
        Controls::All => {
            let row = LimitRow { optional: every_control(), ..basic };
            vec![
                LimitRow { account: true, ..row.clone() },
                LimitRow { strategy_id: Some("bench".to_owned()), ..row.clone() },
                row,
            ]
        }
    };
}

/// Which limits hold; none of them refuses anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controls {
    /// The seven keys that every row has.
    Basic,
    /// Every other one as well, for the symbol, the strategy and the account.
    All,
}

fn every_control() -> OptionalLimits {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    OptionalLimits {
        max_open_orders: Some(1_000_000),
        max_gross_exposure: Some(1_000_000_000_000_i64.into()),
        max_net_exposure: Some(1_000_000_000_000_i64.into()),
        max_price_move_pct: Some(10.into()),
        price_move_window_ms: Some(1000),
        price_move_pause_ms: Some(1000),
        max_fills: Some(1_000_000_000),
        fills_window_ms: Some(1000),
        duplicate_window_ms: Some(1000),
        prevent_self_trade: true,
        restricted: false,
        allowed_sides: names(&["Buy", "Sell"]),
        allowed_order_types: names(&["Market", "Limit"]),
        allowed_strategies: names(&["bench"]),
        allowed_symbols: None,
    }
}
