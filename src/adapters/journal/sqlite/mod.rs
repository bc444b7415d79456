//! The journal in one SQLite file: the embedded default, for any number of workers on one machine.

mod append;
mod follow;
mod load;
mod read;
mod statements;
mod store;
mod upgrade;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
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
    let mut conn = connect(url).await?;
    let started = Instant::now();
    loop {
        let before = applied(&mut conn).await;
        let Err(error) = MIGRATIONS.run(&mut conn).await else { break };
        // Another worker starts, too: it has the lock, or its schema was in the way of ours.
        let raced = error.to_string().contains("locked") || applied(&mut conn).await > before;
        if started.elapsed() > PATIENCE || !raced {
            return Err(JournalError::Unavailable {
                what: url.to_owned(),
                why: format!("the schema cannot be brought up to date: {error}"),
            });
        }
        tokio::time::sleep(LOCK_STEP).await;
    }
    upgrade::find_closings(&mut conn).await.map_err(|error| unavailable(url, &error))?;
    conn.close().await.map_err(|error| unavailable(url, &error))?;
    Ok(MIGRATIONS.iter().count())
}

/// How many migrations the file has; 0 where it has no schema yet.
async fn applied(conn: &mut SqliteConnection) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(conn).await;
    count.unwrap_or(0)
}

fn options(url: &str) -> Result<SqliteConnectOptions, JournalError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| unavailable(url, &error))?;
    Ok(options
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

async fn connect(url: &str) -> Result<SqliteConnection, JournalError> {
    let options = options(url)?.create_if_missing(true);
    if let Some(parent) = options.get_filename().parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directory(parent, url).await?;
    }
    let mut conn = options.connect().await.map_err(|error| unavailable(url, &error))?;
    assert_durable(&mut conn, url).await?;
    Ok(conn)
}

async fn create_directory(path: &Path, url: &str) -> Result<(), JournalError> {
    tokio::fs::create_dir_all(path).await.map_err(|error| JournalError::Unavailable {
        what: url.to_owned(),
        why: format!("the folder {} cannot be made: {error}", path.display()),
    })
}

/// Settings that durability rests on are read back, not assumed.
async fn assert_durable(conn: &mut SqliteConnection, url: &str) -> Result<(), JournalError> {
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut *conn)
        .await
        .map_err(|e| unavailable(url, &e))?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *conn)
        .await
        .map_err(|e| unavailable(url, &e))?;
    if (synchronous >= 2 || is_careless()) && mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(JournalError::Unavailable {
        what: url.to_owned(),
        why: format!(
            "journal_mode is {mode} and synchronous is {synchronous}; needed are wal and 2 (FULL): is the file on a network file system?"
        ),
    })
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
        migrate(&settings.url).await?;
        let mut conn = connect(&settings.url).await?;
        let step = LOCK_STEP.as_millis();
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {step}")))
            .execute(&mut conn)
            .await
            .map_err(|error| unavailable(&settings.url, &error))?;
        let readers = Self::open_readers(settings).await?;
        let statements = append::Statements::new();
        let store = SqliteStore { conn, clock, statements, name: settings.url.clone() };
        Ok(Self::start(store, readers, rules, observer))
    }

    /// Opens an existing journal for reading only.
    pub async fn open_reader(settings: &SqliteSettings) -> Result<Self, JournalError> {
        let readers = Self::open_readers(settings).await?;
        Ok(Self::without_writer(settings.url.clone(), readers))
    }

    async fn open_readers(settings: &SqliteSettings) -> Result<SqlitePool, JournalError> {
        SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(LOCK_WAIT)
            .connect_with(options(&settings.url)?.read_only(true))
            .await
            .map_err(|error| unavailable(&settings.url, &error))
    }
}
