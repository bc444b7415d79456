//! Connections: a pool for commands that do not block, and what the reader needs to make its own.

use std::fmt;
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError};
use secrecy::{ExposeSecret, SecretString};

/// Until the server has taken a connection, and until it has answered a command that does not block.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A dead peer is noticed by the kernel after about this and three probes.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// `SMISMEMBER`, exclusive ranges and `XPENDING … IDLE` came with it.
const OLDEST_SERVER: (u32, u32) = (6, 2);

/// Redis is away, or answers with an error. Names the server without its password.
#[derive(Debug, Clone)]
pub struct RedisFault {
    address: String,
    cause: Cause,
}

#[derive(Debug, Clone)]
enum Cause {
    Redis(RedisError),
    Other(String),
}

impl RedisFault {
    /// The first word of the server's error (`NOGROUP`), if it was the server that said no.
    pub(super) fn code(&self) -> Option<&str> {
        match &self.cause {
            Cause::Redis(error) => error.code(),
            Cause::Other(_) => None,
        }
    }
}

impl fmt::Display for RedisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Redis(error) if error.is_timeout() => {
                write!(f, "{} does not answer in time: {error}", self.address)
            }
            Cause::Redis(error) => write!(f, "{}: {error}", self.address),
            Cause::Other(text) => write!(f, "{}: {text}", self.address),
        }
    }
}

impl std::error::Error for RedisFault {}

/// A script by its hash, loaded where the server does not have it (yet, or after a restart).
pub(super) struct Script {
    lua: &'static str,
    sha: String,
}

impl Script {
    pub(super) fn new(lua: &'static str) -> Self {
        Self { lua, sha: redis::Script::new(lua).get_hash().to_owned() }
    }

    /// The command that runs it; the keys come first, then the other arguments.
    pub(super) fn command(&self, arguments: usize, bytes: usize, keys: usize) -> Cmd {
        let mut cmd = Cmd::with_capacity(arguments + 3, bytes + 64);
        cmd.arg("EVALSHA").arg(&self.sha).arg(keys);
        cmd
    }
}

/// The way to one server.
pub(super) struct Link {
    pool: Pool,
    client: Client,
    address: String,
}

impl Link {
    /// Connects, and checks what answers.
    pub(super) async fn open(url: &SecretString, pool_size: usize) -> Result<Self, RedisFault> {
        let unreadable = |error| RedisFault { address: "redis.url".to_owned(), cause: Cause::Redis(error) };
        let info = url.expose_secret().into_connection_info().map_err(unreadable)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP2);
        let address = format!("redis at {}/{}", info.addr(), settings.db());
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        let fault = |cause| RedisFault { address: address.clone(), cause };
        let bounded = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let client = Client::open(info.clone()).map_err(|e| fault(Cause::Redis(e)))?;
        let manager = Manager::new_with_config(info, bounded).map_err(|e| fault(Cause::Redis(e)))?;
        let pool = Pool::builder(manager)
            .max_size(pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(ANSWER_WITHIN))
            .create_timeout(Some(ANSWER_WITHIN))
            .recycle_timeout(Some(ANSWER_WITHIN))
            .build()
            .map_err(|e| fault(Cause::Other(e.to_string())))?;
        let link = Self { pool, client, address };
        let about: String = link.query(redis::cmd("INFO").arg("server")).await?;
        check_version(&about).map_err(|problem| link.fault(problem))?;
        Ok(link)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A connection that waits for ever for an answer: the default gives up after 500 ms, while the server goes on.
    pub(super) async fn reader(&self) -> Result<MultiplexedConnection, RedisFault> {
        let unbounded = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(None);
        self.client
            .get_multiplexed_async_connection_with_config(&unbounded)
            .await
            .map_err(|e| self.fault_of(e))
    }

    pub(super) async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, RedisFault> {
        let mut connection = self.connection().await?;
        let answer = cmd.query_async(&mut connection).await;
        self.settle(connection, answer)
    }

    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, RedisFault> {
        let mut connection = self.connection().await?;
        let answer = pipe.query_async(&mut connection).await;
        self.settle(connection, answer)
    }

    /// `cmd` was made by `script`.
    pub(super) async fn run<T: FromRedisValue>(&self, script: &Script, cmd: &Cmd) -> Result<T, RedisFault> {
        let mut connection = self.connection().await?;
        let mut answer = cmd.query_async(&mut connection).await;
        if matches!(&answer, Err(error) if error.code() == Some("NOSCRIPT")) {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(script.lua).exec_async(&mut connection).await;
            answer = match load {
                Ok(()) => cmd.query_async(&mut connection).await,
                Err(error) => Err(error),
            };
        }
        self.settle(connection, answer)
    }

    async fn connection(&self) -> Result<Connection, RedisFault> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => self.fault_of(error),
            other => self.fault(other.to_string()),
        })
    }

    /// A connection to a server that is no longer the master would be handed out again and again: it answers PING.
    fn settle<T>(&self, connection: Connection, answer: Result<T, RedisError>) -> Result<T, RedisFault> {
        answer.map_err(|error| {
            if error.is_io_error() || is_of_the_server(&error) {
                drop(Connection::take(connection));
            }
            self.fault_of(error)
        })
    }

    pub(super) fn fault_of(&self, error: RedisError) -> RedisFault {
        RedisFault { address: self.address.clone(), cause: Cause::Redis(error) }
    }

    pub(super) fn fault(&self, text: impl Into<String>) -> RedisFault {
        RedisFault { address: self.address.clone(), cause: Cause::Other(text.into()) }
    }
}

/// The error tells of the server rather than of the command.
fn is_of_the_server(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "LOADING" | "MOVED" | "CLUSTERDOWN" | "NOAUTH"))
}

fn check_version(about: &str) -> Result<(), String> {
    let (major, minor) = OLDEST_SERVER;
    let version =
        about.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(a)), Some(Ok(b))) if (a, b) >= OLDEST_SERVER => Ok(()),
        _ => Err(format!("the server's version is {version}, at least {major}.{minor} is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::check_version;

    #[test]
    fn old_servers_are_refused() {
        for version in ["6.2.0", "7.0.15", "10.0.0", "255.255.255"] {
            assert_eq!(check_version(&format!("# Server\r\nredis_version:{version}\r\nos:x\r\n")), Ok(()));
        }
        let problem = check_version("redis_version:6.0.16\r\n").unwrap_err();
        assert_eq!(problem, "the server's version is 6.0.16, at least 6.2 is needed");
        assert!(check_version("").is_err());
    }
}
