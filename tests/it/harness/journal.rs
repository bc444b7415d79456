//! The journal as tests look at it: beside the workers, in either database, by the same queries.

use super::postgres;
use serde_json::{Map, Value};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, PgConnection, Row as _, TypeInfo, ValueRef};
use std::path::PathBuf;
use std::time::Duration;

/// The kind of database that journals are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    #[default]
    Sqlite,
    Postgres,
}

impl Database {
    /// By `$TEST_JOURNAL`; SQLite where it says nothing.
    pub(crate) fn chosen() -> Self {
        match std::env::var("TEST_JOURNAL").as_deref() {
            Err(_) | Ok("" | "sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("TEST_JOURNAL is sqlite or postgres, not {other:?}"),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where one laboratory has its journal.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File(PathBuf),
    /// `admin`: an address to create and drop it from.
    Database {
        url: String,
        name: String,
        admin: String,
    },
}

impl Place {
    /// `database.url`.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite://{}", path.display()),
            Self::Database { url, .. } => url.clone(),
        }
    }

    pub(crate) const fn database(&self) -> Database {
        match self {
            Self::File(_) => Database::Sqlite,
            Self::Database { .. } => Database::Postgres,
        }
    }

    /// A file goes with its folder.
    pub(crate) fn remove(&self) {
        if let Self::Database { name, admin, .. } = self {
            postgres::drop_database(admin, name);
        }
    }
}

/// A connection to a journal. Queries are in the words that both databases know; what a column holds is told as JSON.
pub(crate) enum Journal {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Journal {
    /// `patience`: how long it waits for locks, and for a server that does not answer.
    pub(crate) async fn open(place: &Place, patience: Duration) -> Result<Self, sqlx::Error> {
        match place {
            Place::File(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let options = options.foreign_keys(false).busy_timeout(patience);
                Ok(Self::Sqlite(SqliteConnection::connect_with(&options).await?))
            }
            Place::Database { url, .. } => {
                let mut connection = postgres::connect(&url.parse()?, patience).await?;
                let patience = format!("SET lock_timeout = {}", patience.as_millis());
                connection.execute(AssertSqlSafe(patience)).await?;
                Ok(Self::Postgres(connection))
            }
        }
    }

    /// How many rows were changed.
    pub(crate) async fn try_execute(&mut self, statement: &str) -> Result<u64, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        match self {
            Self::Sqlite(connection) => Ok(query.execute(connection).await?.rows_affected()),
            Self::Postgres(connection) => Ok(query.execute(connection).await?.rows_affected()),
        }
    }

    pub(crate) async fn execute(&mut self, statement: &str) -> u64 {
        self.try_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"))
    }

    pub(crate) async fn try_rows(&mut self, query: &str) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(connection).await?;
                rows.iter().map(of_sqlite).collect()
            }
            Self::Postgres(connection) => {
                let query = format!("SELECT row_to_json(t)::text FROM ({query}) t");
                let rows: Vec<String> =
                    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await?;
                let parse = |text: String| serde_json::from_str(&text).map(Row);
                rows.into_iter().map(|text| parse(text).map_err(|e| sqlx::Error::Decode(e.into()))).collect()
            }
        }
    }

    pub(crate) async fn rows(&mut self, query: &str) -> Vec<Row> {
        self.try_rows(query).await.unwrap_or_else(|e| panic!("{query}: {e}"))
    }

    /// Of a query for one number.
    pub(crate) async fn try_count(&mut self, query: &str) -> Result<i64, sqlx::Error> {
        let query = AssertSqlSafe(query.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(query).fetch_one(connection).await,
            Self::Postgres(connection) => sqlx::query_scalar(query).fetch_one(connection).await,
        }
    }

    pub(crate) async fn count(&mut self, query: &str) -> i64 {
        self.try_count(query).await.unwrap_or_else(|e| panic!("{query}: {e}"))
    }

    /// Keeps everybody else from writing orders, until `unlock` or the end of this connection.
    pub(crate) async fn lock(&mut self) -> Result<(), sqlx::Error> {
        let statement = match self {
            Self::Sqlite(_) => "BEGIN EXCLUSIVE",
            Self::Postgres(_) => "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE",
        };
        self.try_execute(statement).await.map(drop)
    }

    pub(crate) async fn unlock(&mut self) {
        self.execute("ROLLBACK").await;
    }

    /// Does not wait for a server that is frozen.
    pub(crate) async fn close(self) {
        let closing = async {
            match self {
                Self::Sqlite(connection) => connection.close().await,
                Self::Postgres(connection) => connection.close().await,
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(1), closing).await);
    }
}

/// One row, by column.
#[derive(Debug)]
pub(crate) struct Row(Map<String, Value>);

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Value::Object(self.0.clone()))
    }
}

impl Row {
    fn value(&self, column: &str) -> Result<&Value, String> {
        self.0.get(column).ok_or_else(|| format!("no column {column} in {:?}", self.0))
    }

    /// A text, or a number with its digits as they are.
    pub(crate) fn text(&self, column: &str) -> Result<String, String> {
        self.optional(column)?.ok_or_else(|| format!("{column} is null in {:?}", self.0))
    }

    pub(crate) fn optional(&self, column: &str) -> Result<Option<String>, String> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            Value::Number(number) => Ok(Some(number.to_string())),
            other => Err(format!("{column} is no text: {other}")),
        }
    }

    pub(crate) fn number(&self, column: &str) -> Result<i64, String> {
        self.text(column)?.parse().map_err(|_| format!("{column} is no whole number in {:?}", self.0))
    }

    /// A JSON document, whether the database knows it as one or as text.
    pub(crate) fn json(&self, column: &str) -> Result<Value, String> {
        match self.value(column)? {
            Value::String(text) => serde_json::from_str(text).map_err(|e| format!("{column}: {e}")),
            other => Ok(other.clone()),
        }
    }
}

fn of_sqlite(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let mut values = Map::new();
    for column in row.columns() {
        let place = column.ordinal();
        let raw = row.try_get_raw(place)?;
        let kind = raw.type_info().name().to_owned();
        let value = match kind.as_str() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" => Value::from(row.try_get::<i64, _>(place)?),
            // As PostgreSQL tells them.
            "BLOB" => {
                let bytes: Vec<u8> = row.try_get(place)?;
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                Value::from(format!("\\x{digits}"))
            }
            _ => Value::from(row.try_get::<String, _>(place)?),
        };
        values.insert(column.name().to_owned(), value);
    }
    Ok(Row(values))
}
