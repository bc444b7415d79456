//! The journal in one SQLite file: the embedded default, for any number of workers on one machine.

mod append;
mod control;
mod follow;
mod load;
mod read;
mod risk;
mod statements;
mod store;
mod upgrade;

#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::task::JoinHandle;

use crate::domain::decide::Rules;
use crate::planted::{self, Bug};
use crate::ports::clock::Clock;
use crate::ports::journal::{JournalError, JournalObserver};

use super::{SqlJournal, unavailable};
use store::SqliteStore;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a transaction waits for another process that holds the file.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// SQLite itself waits so long, in steps that grow: against a busy process it hardly ever wins. So it is asked
/// again, often.
const LOCK_STEP: Duration = Duration::from_millis(5);
/// At its start a worker has more patience: its schema comes first.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pages of the write-ahead log between checkpoints: 16 MiB.
const CHECKPOINT_PAGES: &str = "4096";

pub type SqliteJournal = SqlJournal<SqlitePool>;

/// What a journal is opened with.
pub struct SqliteSettings {
    /// `sqlite://<path>`
    pub url: String,
    /// Connections that read.
    pub readers: u32,
}

/// Brings the schema of the database up to date; says how many migrations it has now.
pub async fn migrate(url: &str) -> Result<usize, JournalError> {
    let conn = connect(url).await?;
    conn.close().await.map_err(|error| unavailable(url, &error))?;
    Ok(MIGRATIONS.iter().count())
}

/// A connection to the file, made if there is none, with its schema up to date.
async fn connect(url: &str) -> Result<SqliteConnection, JournalError> {
    let started = Instant::now();
    loop {
        let before = applied(url).await;
        let error = match connect_now(url).await {
            Ok(conn) => return Ok(conn),
            Err(error) => error,
        };
        // Another worker starts, too: it has the lock, or its schema was in the way of ours.
        let raced = error.is_busy() || applied(url).await > before;
        if started.elapsed() > PATIENCE || !raced {
            return Err(JournalError::Unavailable { what: url.to_owned(), why: error.to_string() });
        }
        tokio::time::sleep(LOCK_STEP).await;
    }
}

async fn connect_now(url: &str) -> Result<SqliteConnection, OpenError> {
    // To make a file takes a lock for which SQLite does not wait.
    let mut conn = open_file(url).await?;
    MIGRATIONS.run(&mut conn).await?;
    upgrade::rebuild_positions(&mut conn).await?;
    Ok(conn)
}

/// How many migrations the file has; 0 where it has no schema yet, or cannot be asked.
async fn applied(url: &str) -> i64 {
    let Ok(options) = options(url) else { return 0 };
    let Ok(mut conn) = options.read_only(true).connect().await else { return 0 };
    let count = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&mut conn).await;
    count.unwrap_or(0)
}

fn options(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(SqliteConnectOptions::from_str(url)?
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL loses commits in a power cut.
        .synchronous(if is_careless() { SqliteSynchronous::Normal } else { SqliteSynchronous::Full })
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(256)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        .disable_statement_logging())
}

fn is_careless() -> bool {
    planted::is(Bug::SynchronousNormal)
}

async fn open_file(url: &str) -> Result<SqliteConnection, OpenError> {
    let options = options(url)?.create_if_missing(true);
    if let Some(parent) = options.get_filename().parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let made = tokio::fs::create_dir_all(parent).await;
        made.map_err(|error| format!("the folder {} cannot be made: {error}", parent.display()))?;
    }
    let mut conn = options.connect().await?;
    assert_durable(&mut conn).await?;
    Ok(conn)
}

/// Settings that durability rests on are read back, not assumed.
async fn assert_durable(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *conn).await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *conn).await?;
    if (synchronous >= 2 || is_careless()) && mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(format!(
        "journal_mode is {mode} and synchronous is {synchronous}; needed are wal and 2 (FULL): is the file on a network file system?"
    )
    .into())
}

/// Why a file could not be opened, or its schema not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the schema cannot be brought up to date: {0}")]
    Schema(#[from] MigrateError),
    #[error("{0}")]
    Unfit(String),
}

impl OpenError {
    /// Another process holds the file.
    fn is_busy(&self) -> bool {
        match self {
            Self::Database(error)
            | Self::Schema(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                store::is_busy(error)
            }
            Self::Schema(_) | Self::Unfit(_) => false,
        }
    }
}

impl From<String> for OpenError {
    fn from(why: String) -> Self {
        Self::Unfit(why)
    }
}

impl SqliteJournal {
    /// Opens the journal, brings its schema up to date, and starts the task that writes. That task ends
    /// when the journal is dropped.
    pub async fn open(
        settings: &SqliteSettings,
        rules: Arc<Rules>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn JournalObserver>,
    ) -> Result<(Self, JoinHandle<()>), JournalError> {
        let mut conn = connect(&settings.url).await?;
        let step = LOCK_STEP.as_millis();
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {step}")))
            .execute(&mut conn)
            .await
            .map_err(|error| unavailable(&settings.url, &error))?;
        let readers = Self::open_readers(settings).await?;
        let statements = append::Statements::new();
        let store = SqliteStore {
            conn,
            clock: clock.clone(),
            statements,
            name: settings.url.clone(),
            control: Arc::default(),
        };
        Ok(Self::start(store, readers, Some(clock), rules, observer))
    }

    /// Opens an existing journal for reading only.
    pub async fn open_reader(settings: &SqliteSettings) -> Result<Self, JournalError> {
        let readers = Self::open_readers(settings).await?;
        Ok(Self::without_writer(settings.url.clone(), readers, None))
    }

    async fn open_readers(settings: &SqliteSettings) -> Result<SqlitePool, JournalError> {
        let options = options(&settings.url).map_err(|error| unavailable(&settings.url, &error))?;
        SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(LOCK_WAIT)
            .connect_with(options.read_only(true))
            .await
            .map_err(|error| unavailable(&settings.url, &error))
    }
}
