//! The database that is measured: a file, or in PostgreSQL a database of the run's own in the configured server.

use std::str::FromStr;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use crate::app::AppError;
use crate::config::{DatabaseKind, Settings};

const ROW_BYTES: usize = 330;
const ROW_BATCH: usize = 256;
const ROW_BATCHES: usize = 200;

/// What an order leaves, table by table.
const ROWS: &str = "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM order_commits) + (SELECT count(*) FROM attempts) \
                    + (SELECT count(*) FROM outcomes) + (SELECT count(*) FROM trades)";

/// A database made for a run.
pub(super) struct OwnDatabase {
    server: PgConnectOptions,
    name: String,
}

fn unreachable(error: &sqlx::Error) -> AppError {
    AppError::Unreachable(format!("database.url: {error}"))
}

impl OwnDatabase {
    /// Makes one in the server that `settings` name, and names it there.
    pub(super) async fn make(settings: &mut Settings) -> Result<Self, AppError> {
        let url = settings.database.url.expose_secret();
        let server = PgConnectOptions::from_str(url).map_err(|error| unreachable(&error))?;
        let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
        let mut conn = server.connect().await.map_err(|error| unreachable(&error))?;
        let sql = format!("CREATE DATABASE {name}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await.map_err(|error| unreachable(&error))?;
        let own = server.clone().database(&name).to_url_lossy();
        settings.database.url = SecretString::from(own.to_string());
        Ok(Self { server, name })
    }

    pub(super) async fn drop_it(self) {
        let Ok(mut conn) = self.server.connect().await else { return };
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if let Err(error) = sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await {
            tracing::warn!(%error, database = self.name, "the bench's database is still there");
        }
    }
}

/// Rows that are in the journal.
pub(super) async fn rows(settings: &Settings) -> Result<u64, AppError> {
    let url = settings.database.url.expose_secret();
    let counted = async {
        match settings.database.kind() {
            DatabaseKind::Sqlite => {
                let mut conn = SqliteConnectOptions::from_str(url)?.connect().await?;
                sqlx::query_scalar::<_, i64>(ROWS).fetch_one(&mut conn).await
            }
            DatabaseKind::Postgres => {
                let mut conn = PgConnectOptions::from_str(url)?.connect().await?;
                sqlx::query_scalar::<_, i64>(ROWS).fetch_one(&mut conn).await
            }
        }
    };
    let rows =
        counted.await.map_err(|error: sqlx::Error| AppError::Failed(format!("counting rows: {error}")))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// Rows a second that the same database takes in batches, a commit each, without any logic.
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures for people, not amounts")]
pub(super) async fn floor(settings: &Settings, folder: &std::path::Path) -> Result<f64, AppError> {
    let url = settings.database.url.expose_secret();
    let body = "x".repeat(ROW_BYTES);
    let measured = async {
        let took = match settings.database.kind() {
            DatabaseKind::Sqlite => {
                of_sqlite(&format!("sqlite://{}/floor.db", folder.display()), &body).await?
            }
            DatabaseKind::Postgres => of_postgres(url, &body).await?,
        };
        Ok::<f64, sqlx::Error>((ROW_BATCH * ROW_BATCHES) as f64 / took)
    };
    measured.await.map_err(|error| AppError::Failed(format!("journal rows cannot be measured: {error}")))
}

async fn of_sqlite(url: &str, body: &str) -> Result<f64, sqlx::Error> {
    let mut conn = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    sqlx::query("CREATE TABLE floor (id INTEGER PRIMARY KEY, body TEXT NOT NULL)").execute(&mut conn).await?;
    let sql = format!("INSERT INTO floor (body) VALUES {}", vec!["(?)"; ROW_BATCH].join(","));
    let started = Instant::now();
    for _ in 0..ROW_BATCHES {
        let mut query = sqlx::query(AssertSqlSafe(sql.as_str()));
        for _ in 0..ROW_BATCH {
            query = query.bind(body);
        }
        query.execute(&mut conn).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}

async fn of_postgres(url: &str, body: &str) -> Result<f64, sqlx::Error> {
    let mut conn: PgConnection = PgConnectOptions::from_str(url)?.connect().await?;
    sqlx::query(
        "CREATE TABLE floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
    )
    .execute(&mut conn)
    .await?;
    let bodies = vec![body; ROW_BATCH];
    let started = Instant::now();
    for _ in 0..ROW_BATCHES {
        let sql = "INSERT INTO floor (body) SELECT * FROM unnest($1::text[])";
        sqlx::query(sql).bind(&bodies).execute(&mut conn).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}
