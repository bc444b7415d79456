//! Redis, the broker, the HTTP port.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
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
    let durability = durability(&mut connection).await;
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = match (field("valkey_version:"), field("redis_version:")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, version) => format!("Redis {}", version.unwrap_or("of an unknown version")),
    };
    let (address, prefix) = (redis.address(), &settings.streams.prefix);
    Ok((format!("{address}: {version}, names begin with {prefix}:, {durability}"), round_trip))
}

/// Settings of Redis by which a request may be lost before it is journaled: what is right, and what else comes of it.
const DURABLE: [(&str, &str, &str); 4] = [
    ("appendonly", "yes", "what is not journaled yet is lost with it"),
    ("appendfsync", "always", "a power cut takes the last requests"),
    ("aof-load-truncated", "no", "a request may be lost after two crashes, see docs/operations.md"),
    ("maxmemory-policy", "noeviction", "it may drop requests"),
];

async fn durability(connection: &mut MultiplexedConnection) -> String {
    let mut values = Vec::new();
    for (name, ..) in DURABLE {
        let mut ask = redis::cmd("CONFIG");
        let told: Result<Vec<String>, _> = ask.arg("GET").arg(name).query_async(connection).await;
        let Ok([_, value]) = told.as_deref() else {
            return "whether it is durable cannot be seen (CONFIG GET is not permitted)".to_owned();
        };
        values.push(value.clone());
    }
    judge(&values)
}

fn judge(values: &[String]) -> String {
    // Without a log its settings do not matter.
    let logs = values.first().is_some_and(|value| value == "yes");
    let matters = |name: &str| logs || matches!(name, "appendonly" | "maxmemory-policy");
    let wrong =
        DURABLE.iter().zip(values).filter(|((name, right, _), value)| value != right && matters(name));
    let remarks: Vec<String> =
        wrong.map(|((name, right, why), value)| format!("{name} is {value}, not {right}: {why}")).collect();
    if remarks.is_empty() { "durable".to_owned() } else { remarks.join("; ") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_may_be_lost_by_is_told() {
        let judge = |values: [&str; 4]| judge(&values.map(str::to_owned));
        assert_eq!(judge(["yes", "always", "no", "noeviction"]), "durable");
        let told = judge(["yes", "no", "yes", "allkeys-lru"]);
        for (name, ..) in &DURABLE[1..] {
            assert!(told.contains(name), "{told}");
        }
        let told = judge(["no", "everysec", "yes", "noeviction"]);
        assert_eq!(told, "appendonly is no, not yes: what is not journaled yet is lost with it");
        let told = judge(["yes", "everysec", "no", "noeviction"]);
        assert_eq!(told, "appendfsync is everysec, not always: a power cut takes the last requests");
    }
}
