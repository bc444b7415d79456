//! The journal in PostgreSQL: for any number of workers on any number of machines.

mod append;
mod connect;
mod control;
mod follow;
mod load;
mod read;
mod readers;
mod risk;
mod store;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::domain::decide::Rules;
use crate::ports::clock::Clock;
use crate::ports::journal::{JournalError, JournalObserver};

use super::{SqlJournal, unavailable};
use readers::Readers;

pub use connect::{Found, inspect, migrate};

pub type PostgresJournal = SqlJournal<Readers>;

/// What a journal is opened with.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/…/ca.pem`
    pub url: String,
    /// Connections that read.
    pub readers: u32,
    pub timeouts: Timeouts,
    pub time: Timekeeper,
}

/// How long the database may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    /// One statement, in the server.
    pub statement: Duration,
    /// Waiting for a lock, in the server.
    pub lock: Duration,
}

impl Timeouts {
    /// From how long one statement may take.
    #[must_use]
    pub fn of(statement: Duration) -> Self {
        Self { connect: statement, statement, lock: statement / 2 }
    }

    /// How long the answer to one statement is awaited: the server gives up first, where it can be reached.
    #[must_use]
    pub(crate) const fn answer(&self) -> Duration {
        self.statement.saturating_add(Duration::from_secs(1))
    }

    /// The same for a batch of statements.
    #[must_use]
    pub(crate) fn batch(&self) -> Duration {
        self.statement * 2 + Duration::from_secs(1)
    }
}

/// Whose time it is: leases and events go by the database's clock, whatever the workers' clocks say.
#[derive(Clone)]
pub enum Timekeeper {
    Database,
    /// Another clock, for tests that move it.
    Given(Arc<dyn Clock>),
}

impl Timekeeper {
    fn clock(&self) -> Option<Arc<dyn Clock>> {
        match self {
            Self::Database => None,
            Self::Given(clock) => Some(clock.clone()),
        }
    }
}

impl std::fmt::Debug for Timekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Database => "Database",
            Self::Given(_) => "Given",
        })
    }
}

impl PostgresJournal {
    /// Opens the journal, brings its schema up to date, and starts the task that writes. That task ends when the
    /// journal is dropped.
    pub async fn open(
        settings: &PostgresSettings,
        rules: Arc<Rules>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn JournalObserver>,
    ) -> Result<(Self, JoinHandle<()>), JournalError> {
        migrate(settings).await?;
        let options = connect::options(&settings.url, &settings.timeouts)?;
        let name = connect::shown(&options);
        let conn = connect::connect(&options, settings.timeouts.connect)
            .await
            .map_err(|error| unavailable(&name, &error))?;
        let readers = Self::open_readers(settings, false).await?;
        let (timeouts, time) = (settings.timeouts, settings.time.clone());
        let given = time.clock();
        let store = store::PgStore::new(options, name, conn, timeouts, time, clock);
        Ok(Self::start(store, readers, given, rules, observer))
    }

    /// Opens an existing journal for reading only, on a standby, too.
    pub async fn open_reader(settings: &PostgresSettings) -> Result<Self, JournalError> {
        let name = connect::shown(&connect::options(&settings.url, &settings.timeouts)?);
        let readers = Self::open_readers(settings, true).await?;
        Ok(Self::without_writer(name, readers, settings.time.clock()))
    }

    async fn open_readers(settings: &PostgresSettings, lags: bool) -> Result<Readers, JournalError> {
        let options = connect::options(&settings.url, &settings.timeouts)?;
        let name = connect::shown(&options);
        Readers::open(options, settings, lags).await.map_err(|error| unavailable(&name, &error))
    }
}
