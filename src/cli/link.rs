//! The command line's own way to Redis: one connection, bounded waits, errors that say what to do.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError};
use secrecy::ExposeSecret;

use crate::app::AppError;
use crate::config::Settings;

/// Until the server has taken a connection, and until it has answered a command that does not block.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What may help where Redis cannot be reached.
pub(super) const HINT: &str =
    "start one there (redis-server), or say where it is: redis.url or ORDER_EXECUTION__REDIS__URL";
/// Keys that are removed at a time.
const PAGE: usize = 1000;

#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    /// Without its password.
    pub(super) address: String,
}

impl Link {
    pub(super) fn new(settings: &Settings) -> Result<Self, AppError> {
        let unreadable = |error: RedisError| AppError::Usage(format!("redis.url: {error}"));
        let info = settings.redis.url.expose_secret().into_connection_info().map_err(unreadable)?;
        let address = format!("redis at {}/{}", info.addr(), info.redis_settings().db());
        Ok(Self { client: Client::open(info).map_err(unreadable)?, address })
    }

    /// A connection for commands that do not block.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, AppError> {
        self.open(ANSWER_WITHIN).await
    }

    /// A connection for commands that block for at most `longest`.
    pub(super) async fn connect_to_block(
        &self,
        longest: Duration,
    ) -> Result<MultiplexedConnection, AppError> {
        self.open(longest.saturating_add(ANSWER_WITHIN)).await
    }

    async fn open(&self, answer_within: Duration) -> Result<MultiplexedConnection, AppError> {
        let bounded = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(answer_within));
        let connected = self.client.get_multiplexed_async_connection_with_config(&bounded).await;
        connected.map_err(|error| self.fault(&error))
    }

    /// Hears what is published on `channel` from now on.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<redis::aio::PubSub, AppError> {
        let mut subscribed = self.client.get_async_pubsub().await.map_err(|error| self.fault(&error))?;
        subscribed.subscribe(channel).await.map_err(|error| self.fault(&error))?;
        Ok(subscribed)
    }

    /// Names the server, what is wrong, and what may help.
    pub(super) fn fault(&self, error: &RedisError) -> AppError {
        let why = self.why(error);
        AppError::Unreachable(match error.kind() {
            ErrorKind::AuthenticationFailed => format!("{why}; check user and password in redis.url"),
            _ if error.is_io_error() || error.is_timeout() => format!("{why}; {HINT}"),
            _ => why,
        })
    }

    /// Names the server and what is wrong.
    pub(super) fn why(&self, error: &RedisError) -> String {
        let late = if error.is_timeout() { " does not answer in time" } else { "" };
        format!("{}{late}: {error}", self.address)
    }

    /// Removes every key that begins with `prefix` and a colon.
    pub(super) async fn remove_keys(&self, prefix: &str) -> Result<(), AppError> {
        let mut connection = self.connect().await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}:*")).arg("COUNT").arg(PAGE);
            let found: Result<(u64, Vec<String>), _> = scan.query_async(&mut connection).await;
            let (next, keys) = found.map_err(|error| self.fault(&error))?;
            if !keys.is_empty() {
                let removed = redis::cmd("UNLINK").arg(keys).exec_async(&mut connection).await;
                removed.map_err(|error| self.fault(&error))?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}
