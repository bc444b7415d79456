//! Connections that read. What they may take is bounded here as well as in the server: one that is cut off, or stands
//! still, answers nothing.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Error, PgConnection, PgPool, Postgres};

use tokio::runtime::Handle;

use super::PostgresSettings;
use super::connect::timed_out;

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// A bounded number of connections, none of which waits without an end.
pub struct Readers {
    pool: PgPool,
    bound: Duration,
}

impl Readers {
    /// `lags`: whether a standby will do, which may not have yet what was committed.
    pub(super) async fn open(
        options: PgConnectOptions,
        settings: &PostgresSettings,
        lags: bool,
    ) -> Result<Self, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(settings.timeouts.connect)
            .after_connect(move |conn, _| Box::pin(assert_primary(conn, lags)))
            .connect_with(options.options([("default_transaction_read_only", "on")]))
            .await?;
        Ok(Self { pool, bound: settings.timeouts.answer() })
    }

    pub(super) async fn all(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, Error> {
        let mut held = Held { conn: self.pool.acquire().await?, bound: self.bound };
        match tokio::time::timeout(self.bound, statement.fetch_all(&mut *held.conn)).await {
            Ok(rows) => rows,
            Err(_) => Err(timed_out("reading", self.bound)),
        }
    }

    pub(super) async fn first(&self, statement: Statement<'_>) -> Result<Option<PgRow>, Error> {
        self.all(statement).await.map(|rows| rows.into_iter().next())
    }
}

/// A connection, as long as somebody reads on it.
struct Held {
    conn: PoolConnection<Postgres>,
    bound: Duration,
}

impl Drop for Held {
    /// Before the pool takes it back it asks whether it still answers, behind what whoever read has not awaited: one that
    /// does not is closed, so that another can be made.
    fn drop(&mut self) {
        let back = self.conn.return_to_pool();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(self.bound, back));
        }
    }
}

async fn assert_primary(conn: &mut PgConnection, lags: bool) -> Result<(), Error> {
    let is_standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(conn).await?;
    if is_standby && !lags {
        return Err(Error::Configuration("this server is a standby; needed is the primary".into()));
    }
    Ok(())
}
