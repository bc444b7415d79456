//! Which journal the configuration means.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::adapters::clock::SystemClock;
use crate::adapters::journal::postgres::{
    self, Found, PostgresJournal, PostgresSettings, Timekeeper, Timeouts,
};
use crate::adapters::journal::sqlite::{self, SqliteJournal, SqliteSettings};
use crate::config::{DatabaseKind, Settings};
use crate::domain::decide::Rules;
use crate::ports::journal::{Journal, JournalObserver, JournalReader};

use super::{AppError, Commits, Metrics, rules};

/// A journal under way.
pub(super) struct OpenJournal {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) reader: Arc<dyn JournalReader>,
}

fn sqlite(settings: &Settings) -> SqliteSettings {
    SqliteSettings {
        url: settings.database.url.expose_secret().to_owned(),
        readers: settings.database.pool_size,
    }
}

fn postgres(settings: &Settings) -> PostgresSettings {
    PostgresSettings {
        url: settings.database.url.expose_secret().to_owned(),
        readers: settings.database.pool_size,
        timeouts: Timeouts::of(settings.database.timeout),
        time: Timekeeper::Database,
    }
}

/// The journal as commands read it: nothing is written, no worker is needed.
pub async fn reader(settings: &Settings) -> Result<Arc<dyn JournalReader>, AppError> {
    Ok(match settings.database.kind() {
        DatabaseKind::Sqlite => Arc::new(SqliteJournal::open_reader(&sqlite(settings)).await?),
        DatabaseKind::Postgres => Arc::new(PostgresJournal::open_reader(&postgres(settings)).await?),
    })
}

/// Brings the schema up to date; says how many migrations it has.
pub async fn migrate(settings: &Settings) -> Result<usize, AppError> {
    Ok(match settings.database.kind() {
        DatabaseKind::Sqlite => sqlite::migrate(settings.database.url.expose_secret()).await?,
        DatabaseKind::Postgres => postgres::migrate(&postgres(settings)).await?,
    })
}

/// What there is at a PostgreSQL address.
pub async fn inspect(settings: &Settings) -> Result<Found, AppError> {
    Ok(postgres::inspect(&postgres(settings)).await?)
}

/// A durable commit that changes nothing, in the journal as it is configured.
pub async fn probe_journal(settings: &Settings) -> Result<(), AppError> {
    Ok(open_for_command(settings).await?.journal.probe().await?)
}

/// The journal for a command that decides something itself, beside workers or without any.
pub async fn deciding_journal(settings: &Settings) -> Result<Arc<dyn Journal>, AppError> {
    Ok(open_for_command(settings).await?.journal)
}

async fn open_for_command(settings: &Settings) -> Result<OpenJournal, AppError> {
    open(settings, Arc::new(rules(settings)?), Commits::new(&Metrics::new())).await
}

/// A journal that also writes.
pub(super) async fn open(
    settings: &Settings,
    rules: Arc<Rules>,
    observer: Arc<dyn JournalObserver>,
) -> Result<OpenJournal, AppError> {
    let clock = Arc::new(SystemClock);
    Ok(match settings.database.kind() {
        DatabaseKind::Sqlite => {
            let (journal, _writer) = SqliteJournal::open(&sqlite(settings), rules, clock, observer).await?;
            let journal = Arc::new(journal);
            OpenJournal { journal: journal.clone(), reader: journal }
        }
        DatabaseKind::Postgres => {
            let (journal, _writer) =
                PostgresJournal::open(&postgres(settings), rules, clock, observer).await?;
            let journal = Arc::new(journal);
            OpenJournal { journal: journal.clone(), reader: journal }
        }
    })
}
