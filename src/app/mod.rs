//! The composition root: the one place that names adapters.

mod journal;
mod rules;

pub use journal::{deciding_journal, inspect, migrate, probe_journal, reader};
pub use rules::{limits_of, rules, venue};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::adapters::brokers::exchange::ExchangeBroker;
use crate::adapters::brokers::simulated::SimulatedBroker;
use crate::adapters::clock::SystemClock;
use crate::adapters::redis::{Decode, RawEntry, Redis, RedisFault, RedisSettings};
use crate::api::http::{self, HttpError, Sources};
use crate::api::position::Marks;
use crate::config::{self, Settings};
use crate::domain::order::ContentHash;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{Received, Refused, Request, RequestKind};
use crate::domain::time::Timestamp;
use crate::engine::{Engine, Forgettable, Link};
use crate::ports::clock::Clock;
use crate::ports::journal::{JournalError, JournalObserver};
use crate::runtime::health::Health;
use crate::runtime::metrics::Metrics;
use crate::runtime::shutdown::Shutdown;
use crate::wire;
use journal::OpenJournal;
use rules::{broker_name, setting};

use crate::workers::{self, Context, Ended, Limits};

/// A component that has not said for this long that it is well is not.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// Calls to one broker under way at a time.
const MAX_CALLS: usize = 64;

/// What keeps a command from doing its work; the exit code follows from it.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] config::ConfigErrors),
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
    #[error("{0}")]
    Unreachable(String),
    /// Refused by validation or risk; told already.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
}

impl AppError {
    /// Contract, section 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_)
            | Self::Io(..)
            | Self::Journal(JournalError::Input { .. } | JournalError::Corrupt { .. }) => 1,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Refused(_) => 3,
            Self::Redis(_)
            | Self::Journal(JournalError::Unavailable { .. })
            | Self::Http(_)
            | Self::Unreachable(_) => 4,
        }
    }
}

/// A name that no other start of a process has: host, process id and a random part.
#[must_use]
pub fn consumer_name(settings: &Settings, clock: &dyn Clock) -> String {
    settings.worker.consumer.clone().unwrap_or_else(|| {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let random = clock.uuid().simple().to_string();
        format!("{host}-{}-{}", std::process::id(), &random[random.len() - 8..])
    })
}

/// Connects to the configured Redis.
pub async fn redis(settings: &Settings, consumer: String) -> Result<Redis, AppError> {
    Ok(Redis::connect(RedisSettings {
        url: settings.redis.url.clone(),
        pool_size: settings.redis.pool_size,
        prefix: settings.streams.prefix.clone(),
        group: settings.streams.group.clone(),
        consumer,
        batch_size: settings.worker.batch_size.min(settings.worker.max_in_flight),
        claim_idle: settings.worker.claim_idle,
        event_history: settings.streams.event_history,
        outcome_history: settings.streams.outcome_history,
        state_ttl: settings.streams.state_ttl,
        max_quote_age: settings.risk.max_quote_age,
    })
    .await?)
}

/// Commits of this process, for the metrics and for `bench`.
#[derive(Debug)]
pub struct Commits {
    metrics: Metrics,
    commits: AtomicU64,
    inputs: AtomicU64,
    busy_us: AtomicU64,
}

impl Commits {
    fn new(metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            metrics: metrics.clone(),
            commits: AtomicU64::new(0),
            inputs: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
        })
    }

    /// Commits so far, inputs in them, and the time that they took.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, Duration) {
        (
            self.commits.load(Ordering::Relaxed),
            self.inputs.load(Ordering::Relaxed),
            Duration::from_micros(self.busy_us.load(Ordering::Relaxed)),
        )
    }
}

impl JournalObserver for Commits {
    fn committed(&self, inputs: usize, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inputs.fetch_add(inputs as u64, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(took_us, Ordering::Relaxed);
        self.metrics.journal_commit(took, u32::try_from(inputs).unwrap_or(u32::MAX));
    }
}

fn decoder(settings: &Settings, clock: Arc<dyn Clock>) -> Decode {
    let max_payload_bytes = settings.worker.max_payload_bytes;
    Arc::new(move |entry| {
        let context = wire::Context { key: entry.key, max_payload_bytes, order_id: clock.uuid() };
        let decode = || wire::decode_entry(entry.fields, &context);
        let received = catch_unwind(AssertUnwindSafe(decode))
            .map(|decoded| decoded.received(entry.key.clone(), entry.deliveries));
        // A fault of ours; the entry ends alone, and its neighbours go on.
        received.unwrap_or_else(|_| undecodable(entry))
    })
}

fn undecodable(entry: &RawEntry<'_>) -> Received {
    tracing::error!(entry_id = %entry.key.entry, "ALARM: decoding a request panicked");
    let bytes: Vec<u8> =
        entry.fields.iter().flat_map(|(name, value)| [*name, *value]).flatten().copied().collect();
    let refused = Refused {
        kind: RequestKind::Unknown,
        refusal: Refusal::new(
            Code::InvalidPayload,
            "the request cannot be decoded: this is a fault of the worker",
        ),
        client_order_id: None,
        order_id: None,
        payload: None,
    };
    Received {
        key: entry.key.clone(),
        hash: ContentHash::of(&bytes),
        request: Request::Refused(Box::new(refused)),
        made_at: Timestamp::from_micros(i64::try_from(entry.key.entry.ms).unwrap_or(0).saturating_mul(1000)),
        deliveries: entry.deliveries,
        traceparent: None,
    }
}

/// A worker under way.
pub struct Worker {
    running: workers::Running,
    health: Health,
    serving: Option<(std::net::SocketAddr, tokio::task::JoinHandle<()>)>,
    stop_http: Shutdown,
    pub metrics: Metrics,
    pub commits: Arc<Commits>,
}

impl Worker {
    /// Connects to everything, loads the limits where there are none, starts all loops and the HTTP server.
    pub async fn start(settings: &Settings, shutdown: &Shutdown, with_http: bool) -> Result<Self, AppError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Metrics::new();
        let rules = Arc::new(rules(settings)?);
        let consumer = consumer_name(settings, &*clock);
        let redis = redis(settings, consumer.clone()).await?;
        if settings.worker.consumer.is_some() && redis.is_alive(&consumer).await? {
            let why = "a worker of this name is alive, or was until a moment ago: give each its own, or wait for worker.claim_idle_ms";
            return Err(setting("worker.consumer", &consumer, why));
        }
        let commits = Commits::new(&metrics);
        let OpenJournal { journal, reader } = journal::open(settings, rules.clone(), commits.clone()).await?;
        // Setting them keeps every worker waiting: only where there are none.
        if reader.control().await?.limits.is_empty()
            && journal.init_limits(&limits_of(&settings.risk.limits)).await?
        {
            tracing::info!(
                rows = settings.risk.limits.len(),
                "risk limits loaded from the configuration: the journal had none"
            );
        }
        let quotes = Arc::new(redis.quotes(clock.clone()));
        let (inbox, control) = redis.inbox(decoder(settings, clock.clone()));
        let name = broker_name("broker", "mock")?;
        let broker = match &settings.broker.mock.url {
            Some(url) => {
                let timeout = settings.broker.mock.request_timeout;
                let exchange = ExchangeBroker::new(name, url.clone(), timeout, clock.clone());
                Link::Remote(
                    Arc::new(exchange.map_err(AppError::Unreachable)?),
                    Arc::new(Semaphore::new(MAX_CALLS)),
                )
            }
            None => Link::Embedded(Arc::new(SimulatedBroker::new(
                name,
                rules.venue.clone(),
                settings.broker.mock.latency,
                journal.clone(),
                reader.clone(),
                quotes.clone(),
            ))),
        };
        let engine = Arc::new(Engine {
            rules: rules.clone(),
            journal: journal.clone(),
            reader: reader.clone(),
            broker,
            publisher: Arc::new(redis.publisher()),
            quotes: quotes.clone(),
            control: Arc::new(control),
            clock: clock.clone(),
            worker: consumer.into(),
            forgettable: Forgettable::default(),
        });
        let health = Health::new();
        let context = Context {
            engine,
            metrics: metrics.clone(),
            calls: metrics.exchange_call("mock", "submit"),
            redis: health.component("redis", Some(STALE_AFTER)),
            journal: health.component("journal", Some(STALE_AFTER)),
            shutdown: shutdown.token(),
            settings: Limits {
                max_in_flight: settings.worker.max_in_flight,
                command_wait: settings.worker.command_wait,
                heartbeat: settings.worker.heartbeat(),
                drain_timeout: settings.worker.drain_timeout,
                claim_idle: settings.worker.claim_idle,
            },
        };
        let stop_http = Shutdown::new();
        let serving = if with_http {
            let sources = Sources {
                journal: reader.clone(),
                marks: Marks::new(Some(quotes), rules.venue.prices.clone()),
                health: health.clone(),
                metrics: metrics.clone(),
                clock,
                token: settings.http.token.clone(),
                example: example(settings),
            };
            Some(http::serve(settings.http.listen, sources, stop_http.token()).await?)
        } else {
            None
        };
        let running = workers::start(context, Box::new(inbox));
        Ok(Self { running, health, serving, stop_http, metrics, commits })
    }

    #[must_use]
    pub fn http_address(&self) -> Option<std::net::SocketAddr> {
        self.serving.as_ref().map(|(address, _)| *address)
    }

    /// Serves until it is asked to stop, then drains.
    pub async fn run(self, shutdown: &Shutdown) -> Ended {
        let (health, token) = (self.health.clone(), shutdown.token());
        let unready = tokio::spawn(async move {
            token.cancelled().await;
            health.drain("the worker was asked to stop");
        });
        let ended = self.running.drained().await;
        unready.abort();
        self.stop_http.trigger("the worker has drained or given up; HTTP ends");
        if let Some((_, serving)) = self.serving {
            drop(serving.await);
        }
        ended
    }
}

/// A command that adds an order, for the page that has none to show.
fn example(settings: &Settings) -> String {
    let symbol = settings.broker.mock.prices.keys().next().map_or("BTCUSDT", String::as_str);
    format!(
        "redis-cli XADD {}:pending '*' order '{{\"symbol\":\"{symbol}\",\"side\":\"Buy\",\"quantity\":\"1\",\"order_type\":\"Market\"}}'",
        settings.streams.prefix
    )
}
