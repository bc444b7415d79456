//! Redis, the broker, the HTTP port.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::adapters::clock::SystemClock;
use crate::app;
use crate::cli::link::{HINT, Link};
use crate::config::Settings;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The latency is that of one round trip on an open connection.
pub(super) async fn redis(settings: &Settings) -> (Result<String, String>, Duration) {
    let started = Instant::now();
    match ask_redis(settings).await {
        Ok((detail, round_trip)) => (Ok(detail), round_trip),
        Err(problem) => (Err(problem), started.elapsed()),
    }
}

async fn ask_redis(settings: &Settings) -> Result<(String, Duration), String> {
    // As a worker connects, with the checks that it makes.
    let consumer = app::consumer_name(settings, &SystemClock);
    let redis = app::redis(settings, consumer).await.map_err(|error| format!("{error}; {HINT}"))?;
    let link = Link::new(settings).map_err(|error| error.to_string())?;
    let mut connection = link.connect().await.map_err(|error| error.to_string())?;
    let mut info = redis::cmd("INFO");
    let about: String =
        info.arg("server").query_async(&mut connection).await.map_err(|error| link.why(&error))?;
    let started = Instant::now();
    redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| link.why(&error))?;
    let round_trip = started.elapsed();
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = match (field("valkey_version:"), field("redis_version:")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, version) => format!("Redis {}", version.unwrap_or("of an unknown version")),
    };
    Ok((format!("{}: {version}, names begin with {}:", redis.address(), settings.streams.prefix), round_trip))
}

/// The simulated broker is part of each worker: its rules are all that can be wrong with it.
pub(super) async fn broker(settings: &Settings) -> Result<String, String> {
    let rules = app::rules(settings).map_err(|error| error.to_string())?;
    let (prices, instruments) = (rules.venue.prices.len(), rules.venue.instruments.len());
    Ok(format!(
        "simulated, inside each worker: {prices} configured prices, trading rules of {instruments} symbols"
    ))
}

/// Free, or taken by a worker that serves there already.
pub(super) async fn http(settings: &Settings) -> Result<String, String> {
    let address = settings.http.listen;
    let error = match TcpListener::bind(address).await {
        Ok(_) if address.port() == 0 => return Ok(format!("{address}: any free port")),
        Ok(_) => return Ok(format!("{address}: free")),
        Err(error) => error,
    };
    match timeout(ANSWER_WITHIN, is_a_worker(address)).await {
        Ok(Ok(true)) => Ok(format!("{address}: a worker serves there")),
        _ => Err(format!(
            "http.listen {address}: {error}; give another address or ORDER_EXECUTION__HTTP__LISTEN"
        )),
    }
}

async fn is_a_worker(address: std::net::SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
