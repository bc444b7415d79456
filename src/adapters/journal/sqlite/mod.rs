//! The journal in one SQLite file: the embedded default, for any number of workers on one machine.

mod append;
mod follow;
mod load;
mod read;
mod recent;
mod rows;
mod statements;
mod upgrade;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::domain::decide::{Input, Rules};
use crate::domain::risk::LimitRow;
use crate::ports::clock::Clock;
use crate::ports::journal::{Journal, JournalError, JournalObserver};
use crate::ports::publisher::Published;

use writer::{Decided, Job, MAX_WAITING, Writer};

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

pub struct SqliteJournal {
    jobs: mpsc::Sender<Job>,
    readers: SqlitePool,
    name: String,
}

/// What a journal is opened with.
pub struct SqliteSettings {
    /// `sqlite://<path>`
    pub url: String,
    /// Connections that read.
    pub readers: u32,
}

pub(crate) fn unavailable(name: &str, error: &sqlx::Error) -> JournalError {
    JournalError::Unavailable { what: name.to_owned(), why: error.to_string() }
}

/// Brings the schema of the database up to date; says how many migrations it has now.
pub async fn migrate(url: &str) -> Result<usize, JournalError> {
    let mut conn = connect(url).await?;
    let started = Instant::now();
    while let Err(error) = MIGRATIONS.run(&mut conn).await {
        if started.elapsed() > PATIENCE || !error.to_string().contains("locked") {
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

fn options(url: &str) -> Result<SqliteConnectOptions, JournalError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| unavailable(url, &error))?;
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL loses commits in a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(256)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        .disable_statement_logging())
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
    if synchronous >= 2 && mode.eq_ignore_ascii_case("wal") {
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
        let (jobs, inbox) = mpsc::channel(MAX_WAITING);
        let writer = Writer {
            conn,
            rules,
            clock,
            observer,
            statements: append::Statements::new(),
            name: settings.url.clone(),
            marks: Published::default(),
            recent: recent::Recent::default(),
        };
        let task = tokio::spawn(writer.run(inbox));
        Ok((Self { jobs, readers, name: settings.url.clone() }, task))
    }

    /// Opens an existing journal for reading only.
    pub async fn open_reader(settings: &SqliteSettings) -> Result<Self, JournalError> {
        let readers = Self::open_readers(settings).await?;
        let (jobs, _) = mpsc::channel(1);
        Ok(Self { jobs, readers, name: settings.url.clone() })
    }

    async fn open_readers(settings: &SqliteSettings) -> Result<SqlitePool, JournalError> {
        SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(LOCK_WAIT)
            .connect_with(options(&settings.url)?.read_only(true))
            .await
            .map_err(|error| unavailable(&settings.url, &error))
    }

    fn failed(&self, error: &sqlx::Error) -> JournalError {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
                JournalError::Corrupt { what: self.name.clone(), why: error.to_string() }
            }
            _ => unavailable(&self.name, error),
        }
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Job,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let gone = || JournalError::Unavailable {
            what: self.name.clone(),
            why: "its writer has stopped".to_owned(),
        };
        self.jobs.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn transact(&self, inputs: Vec<Input>) -> Result<Decided, JournalError> {
        self.ask(|reply| Job::Transact { inputs, reply }).await
    }

    async fn mark_published(&self, published: Published) -> Result<(), JournalError> {
        if published.is_empty() {
            return Ok(());
        }
        self.ask(|reply| Job::MarkPublished { published, reply }).await
    }

    async fn init_limits(&self, rows: &[LimitRow]) -> Result<bool, JournalError> {
        self.ask(|reply| Job::InitLimits { rows: rows.to_vec(), reply }).await
    }

    async fn probe(&self) -> Result<(), JournalError> {
        self.ask(|reply| Job::Probe { reply }).await
    }

    async fn lease(&self, name: &str, owner: &str, lasts: Duration) -> Result<bool, JournalError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.ask(|reply| Job::Lease { name, owner, lasts, reply }).await
    }
}
