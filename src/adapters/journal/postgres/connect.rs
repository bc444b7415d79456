//! Connections, and what they must be like before anything is trusted to them.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row as _};

use crate::adapters::journal::unavailable;
use crate::ports::journal::JournalError;

use super::{PostgresSettings, Timeouts};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Statements kept prepared on a connection.
const STATEMENTS: usize = 256;

pub(super) fn timed_out(what: &str, after: Duration) -> sqlx::Error {
    let why = format!("{what}: no answer within {} ms", after.as_millis());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// Bounds what a server that is gone, or stands still, can take.
pub(super) async fn within<T>(
    bound: Duration,
    what: &str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(bound, work).await {
        Ok(done) => done,
        Err(_) => Err(timed_out(what, bound)),
    }
}

/// The address without its password, for errors and logs.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database} at {}", options.get_username(), socket.display()),
        None => format!(
            "postgres://{}@{}:{}/{database}",
            options.get_username(),
            options.get_host(),
            options.get_port()
        ),
    }
}

pub(super) fn options(url: &str, timeouts: &Timeouts) -> Result<PgConnectOptions, JournalError> {
    let parsed = PgConnectOptions::from_str(url).map_err(|error| JournalError::Unavailable {
        what: "postgres".to_owned(),
        why: format!("database.url: {error}"),
    })?;
    let ms = |time: Duration| time.as_millis().to_string();
    Ok(parsed
        .application_name("order-execution")
        .statement_cache_capacity(STATEMENTS)
        .options([
            ("statement_timeout", ms(timeouts.statement)),
            ("lock_timeout", ms(timeouts.lock)),
            // A worker that stops in the middle of a transaction must not hold its locks for ever.
            ("idle_in_transaction_session_timeout", ms(timeouts.statement)),
            ("tcp_user_timeout", ms(timeouts.statement * 2)),
            ("tcp_keepalives_idle", "5".to_owned()),
            ("tcp_keepalives_interval", "2".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            // A plan that was made while a table was empty would read all of it until statistics say how it has grown.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            ("jit", "off".to_owned()),
        ])
        .disable_statement_logging())
}

/// A connection that writes durably, to a server that may be written to.
pub(super) async fn connect(
    options: &PgConnectOptions,
    bound: Duration,
) -> Result<PgConnection, sqlx::Error> {
    let connected = async {
        let mut conn = options.connect().await?;
        assert_durable(&mut conn).await?;
        Ok(conn)
    };
    within(bound, "connecting", connected).await
}

/// Settings that durability rests on are read, not assumed, on every connection: roles and databases may change them.
/// What `synchronous_commit` is, it stays for this connection, whatever becomes of the server's configuration.
pub(super) async fn assert_durable(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false) AS synchronous_commit, \
               current_setting('fsync') AS fsync, \
               current_setting('full_page_writes') AS full_page_writes, \
               pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only";
    let row = sqlx::query(sql).fetch_one(conn).await?;
    for setting in ["synchronous_commit", "fsync", "full_page_writes"] {
        if row.try_get::<&str, _>(setting)? == "off" {
            return Err(sqlx::Error::Configuration(
                format!("{setting} is off: commits would be lost in a power cut; needed is {setting} = on")
                    .into(),
            ));
        }
    }
    if row.try_get("read_only")? {
        return Err(sqlx::Error::Configuration(
            "this server only reads (a standby?); needed is the primary".into(),
        ));
    }
    Ok(())
}

/// Brings the schema of the database up to date; says how many migrations it has now.
pub async fn migrate(settings: &PostgresSettings) -> Result<usize, JournalError> {
    let options = options(&settings.url, &settings.timeouts)?;
    let name = shown(&options);
    // A migration may take longer than a statement of an order may, and waits for others that migrate.
    let options = options.options([
        ("statement_timeout", "0"),
        ("lock_timeout", "60s"),
        ("idle_in_transaction_session_timeout", "0"),
    ]);
    let failed = |error: &sqlx::Error| unavailable(&name, error);
    let mut conn = connect(&options, settings.timeouts.connect).await.map_err(|error| failed(&error))?;
    // A role that may only work in the schema need not be able to make it.
    let newest = "SELECT count(*), coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
    let bound = settings.timeouts.answer();
    let there = sqlx::query_as::<_, (i64, i64)>(newest).fetch_one(&mut conn);
    let there = within(bound, "reading the schema's version", there).await;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let count = MIGRATIONS.iter().count();
    let pending = "SELECT EXISTS (SELECT 1 FROM upgrades)";
    let pending =
        within(bound, "reading what is to be computed", sqlx::query_scalar(pending).fetch_one(&mut conn));
    let is_done = matches!(pending.await, Ok(false));
    if is_done && there.is_ok_and(|there| there == (i64::try_from(count).unwrap_or(i64::MAX), known)) {
        within(bound, "closing", conn.close()).await.map_err(|error| failed(&error))?;
        return Ok(count);
    }
    MIGRATIONS.run(&mut conn).await.map_err(|error| JournalError::Unavailable {
        what: name.clone(),
        why: format!("the schema cannot be brought up to date: {error}"),
    })?;
    super::upgrade::rebuild_positions(&mut conn).await.map_err(|error| failed(&error))?;
    within(bound, "closing", conn.close()).await.map_err(|error| failed(&error))?;
    Ok(count)
}

/// What a look at the database found.
#[derive(Debug)]
pub struct Found {
    /// The address, without its password.
    pub address: String,
    /// Of the server.
    pub server: String,
    pub synchronous_commit: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Of the schema there is; 0: none yet.
    pub version: i64,
    /// Of this program's schema.
    pub known: i64,
}

/// Looks at the database without changing anything.
pub async fn inspect(settings: &PostgresSettings) -> Result<Found, JournalError> {
    let options = options(&settings.url, &settings.timeouts)?;
    let address = shown(&options);
    let look = async {
        let mut conn = connect(&options, settings.timeouts.connect).await?;
        let sql = "SELECT current_setting('server_version') AS server, \
                   current_setting('synchronous_commit') AS synchronous_commit, \
                   coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls, \
                   to_regclass('_sqlx_migrations') IS NOT NULL AS migrated";
        let row = sqlx::query(sql).fetch_one(&mut conn).await?;
        let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        let version =
            if row.try_get("migrated")? { sqlx::query_scalar(newest).fetch_one(&mut conn).await? } else { 0 };
        let (server, synchronous_commit) = (row.try_get("server")?, row.try_get("synchronous_commit")?);
        let tls = row.try_get("tls")?;
        conn.close().await?;
        Ok((server, synchronous_commit, tls, version))
    };
    let (server, synchronous_commit, tls, version) = within(settings.timeouts.batch(), "looking at it", look)
        .await
        .map_err(|error| unavailable(&address, &error))?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    Ok(Found { address, server, synchronous_commit, tls, version, known })
}
