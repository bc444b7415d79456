//! What is counted and measured, for Prometheus. Clones are the same metrics; counters are per process.
//!
//! Recording is an atomic addition or a short lock, and takes a count where a batch is recorded; series whose
//! labels are known beforehand are made once.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// Seconds: 100 µs to 10 s.
const LATENCY_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Inputs in one commit.
const COMMIT_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The parts of a request's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the entry's id to a worker having read it.
    Queue,
    /// From there to the durable admission.
    Admission,
    /// At the broker, from the admission to the recorded answer.
    Broker,
    /// From there to the outcome being readable.
    Finish,
    /// All of it.
    Total,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Queue, Self::Admission, Self::Broker, Self::Finish, Self::Total];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Admission => "admission",
            Self::Broker => "broker",
            Self::Finish => "finish",
            Self::Total => "total",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
    name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    broker: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    broker: Arc<str>,
    call: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    broker: Arc<str>,
    class: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    created: Counter,
    filled: Counter,
    canceled: Counter,
    rejected: Family<CodeLabel, Counter>,
    failed: Family<CodeLabel, Counter>,
    /// By `Stage as usize`.
    latency: [Histogram; 5],
    queue_depth: Gauge<u64, AtomicU64>,
    queue_oldest_age: Gauge<f64, AtomicU64>,
    pending_entries: Gauge<u64, AtomicU64>,
    reclaimed: Counter,
    parked: Gauge<u64, AtomicU64>,
    differences: Gauge<u64, AtomicU64>,
    trading_state: Family<ScopeLabels, Gauge<u64, AtomicU64>>,
    circuit_breaker_state: Family<BrokerLabels, Gauge<u64, AtomicU64>>,
    commit_seconds: Histogram,
    commit_orders: Histogram,
    exchange_requests: Family<CallLabels, Counter>,
    exchange_errors: Family<ErrorLabels, Counter>,
    exchange_latency: Histograms<CallLabels>,
}

/// One kind of call to one broker.
#[derive(Debug, Clone)]
pub struct ExchangeCall {
    requests: Counter,
    latency: Histogram,
}

impl ExchangeCall {
    /// One request was sent and answered, or given up, after `took`.
    pub fn record(&self, took: Duration) {
        self.record_many(1, took);
    }

    /// `n` requests were made in one step, each of which took `took`.
    pub fn record_many(&self, n: u64, took: Duration) {
        self.requests.inc_by(n);
        observe(&self.latency, took.as_secs_f64(), n);
    }
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

fn observe(histogram: &Histogram, value: f64, n: u64) {
    for _ in 0..n {
        histogram.observe(value);
    }
}

/// Registers `metric` and hands it back.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The registry adds `_total` to the names of counters by itself.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("order_execution");
        let r = &mut registry;
        let stages: Histograms<StageLabel> = Family::new_with_constructor(latency_histogram);
        let stages = add(r, "order_latency_seconds", "How long each stage of a request took", stages);
        let inner = Inner {
            created: add(r, "orders_created", "Orders journaled", Counter::default()),
            filled: add(r, "orders_filled", "Orders that reached Filled", Counter::default()),
            canceled: add(r, "orders_canceled", "Orders that reached Cancelled", Counter::default()),
            rejected: add(r, "orders_rejected", "Orders that reached Rejected, by code", Family::default()),
            failed: add(
                r,
                "requests_failed",
                "Requests that ended in the failed stream without making an order, by code",
                Family::default(),
            ),
            latency: Stage::ALL
                .map(|stage| stages.get_or_create_owned(&StageLabel { stage: stage.as_str() })),
            queue_depth: add(
                r,
                "queue_depth",
                "Entries in the pending stream, those in flight included",
                Gauge::default(),
            ),
            queue_oldest_age: add(
                r,
                "queue_oldest_age_seconds",
                "Age of the oldest entry in the pending stream; 0 when it is empty",
                Gauge::default(),
            ),
            pending_entries: add(
                r,
                "pending_entries",
                "Entries that a worker has read and not finished",
                Gauge::default(),
            ),
            parked: add(
                r,
                "parked_orders",
                "Orders whose outcome at the broker cannot be found out",
                Gauge::default(),
            ),
            differences: add(
                r,
                "broker_differences",
                "Differences between a broker's books and the journal found so far",
                Gauge::default(),
            ),
            trading_state: add(
                r,
                "trading_state",
                "0 ACTIVE, 1 REDUCE_ONLY, 2 HALTED; of each scope that was ever switched",
                Family::default(),
            ),
            circuit_breaker_state: add(
                r,
                "circuit_breaker_state",
                "0 closed, 1 half-open, 2 open; of each broker whose circuit ever opened",
                Family::default(),
            ),
            reclaimed: add(
                r,
                "reclaimed",
                "Entries taken over from a worker that is gone",
                Counter::default(),
            ),
            commit_seconds: add(
                r,
                "journal_commit_seconds",
                "How long a durable transaction of the journal took",
                latency_histogram(),
            ),
            commit_orders: add(
                r,
                "journal_commit_orders",
                "Inputs that shared one transaction of the journal",
                Histogram::new(COMMIT_BUCKETS),
            ),
            exchange_requests: add(r, "exchange_requests", "Calls to a broker", Family::default()),
            exchange_errors: add(
                r,
                "exchange_errors",
                "Calls to a broker that failed, by class",
                Family::default(),
            ),
            exchange_latency: add(
                r,
                "exchange_latency_seconds",
                "How long a call to a broker took",
                Family::new_with_constructor(latency_histogram as fn() -> Histogram),
            ),
            registry,
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn orders_created(&self, n: u64) {
        self.inner.created.inc_by(n);
    }

    pub fn orders_filled(&self, n: u64) {
        self.inner.filled.inc_by(n);
    }

    pub fn orders_canceled(&self, n: u64) {
        self.inner.canceled.inc_by(n);
    }

    /// Orders that ended `Rejected`, by risk, by the trading state or by the broker.
    pub fn orders_rejected(&self, code: &'static str, n: u64) {
        self.inner.rejected.get_or_create(&CodeLabel { code }).inc_by(n);
    }

    /// Requests that failed and made no order.
    pub fn requests_failed(&self, code: &'static str, n: u64) {
        self.inner.failed.get_or_create(&CodeLabel { code }).inc_by(n);
    }

    pub fn order_latency(&self, stage: Stage, took: Duration) {
        self.order_latency_many(stage, took, 1);
    }

    /// `n` requests took this stage together.
    pub fn order_latency_many(&self, stage: Stage, took: Duration, n: u64) {
        observe(&self.inner.latency[stage as usize], took.as_secs_f64(), n);
    }

    /// The pending stream as it stands; `oldest`: the age of its oldest entry.
    pub fn queue(&self, depth: u64, pending: u64, oldest: Option<Duration>) {
        self.inner.queue_depth.set(depth);
        self.inner.pending_entries.set(pending);
        self.inner.queue_oldest_age.set(oldest.unwrap_or_default().as_secs_f64());
    }

    /// What waits for a person.
    pub fn troubles(&self, parked: u64, differences: u64) {
        self.inner.parked.set(parked);
        self.inner.differences.set(differences);
    }

    /// The trading state of a scope: see its help text.
    pub fn trading_state(&self, scope: &'static str, name: &str, state: u64) {
        self.inner.trading_state.get_or_create(&ScopeLabels { scope, name: name.into() }).set(state);
    }

    /// How a broker's circuit stands: see its help text.
    pub fn circuit_breaker_state(&self, broker: &str, state: u64) {
        self.inner.circuit_breaker_state.get_or_create(&BrokerLabels { broker: broker.into() }).set(state);
    }

    pub fn reclaimed(&self, n: u64) {
        self.inner.reclaimed.inc_by(n);
    }

    /// One durable commit that `inputs` inputs shared.
    pub fn journal_commit(&self, took: Duration, inputs: u32) {
        self.inner.commit_seconds.observe(took.as_secs_f64());
        self.inner.commit_orders.observe(f64::from(inputs));
    }

    /// The series of one kind of call to one broker: to be kept, not asked for at each call.
    #[must_use]
    pub fn exchange_call(&self, broker: &str, call: &'static str) -> ExchangeCall {
        let labels = CallLabels { broker: broker.into(), call };
        ExchangeCall {
            requests: self.inner.exchange_requests.get_or_create_owned(&labels),
            latency: self.inner.exchange_latency.get_or_create_owned(&labels),
        }
    }

    /// `class`: what kind of failure, from a small fixed set (`rejected`, `not_sent`, `unknown`, …).
    pub fn exchange_errors(&self, broker: &str, class: &'static str, n: u64) {
        let labels = ErrorLabels { broker: broker.into(), class };
        self.inner.exchange_errors.get_or_create(&labels).inc_by(n);
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn openmetrics(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        match text::encode(&mut out, &self.inner.registry) {
            Ok(()) => out,
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                String::new()
            }
        }
    }

    /// All metrics in the older Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn prometheus(&self) -> String {
        to_prometheus(&self.openmetrics())
    }
}

/// The formats differ in this: OpenMetrics describes a counter under its name without `_total`, and ends with
/// a line that says so.
fn to_prometheus(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help: Option<&str> = None;
    for line in openmetrics.lines() {
        if line == "# EOF" {
            continue;
        }
        if line.starts_with("# HELP ") {
            help = Some(line);
            continue;
        }
        let counter = line.strip_prefix("# TYPE ").and_then(|described| described.strip_suffix(" counter"));
        let described = help.take().map(|help| match counter {
            Some(name) => help.replacen(name, &format!("{name}_total"), 1),
            None => help.to_owned(),
        });
        let line = counter.map_or_else(|| line.to_owned(), |name| format!("# TYPE {name}_total counter"));
        for line in described.into_iter().chain([line]) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Metrics {
        let metrics = Metrics::new();
        metrics.orders_created(3);
        metrics.orders_filled(2);
        metrics.orders_canceled(1);
        metrics.orders_rejected("RISK_NO_LIMITS", 4);
        metrics.requests_failed("INVALID_PAYLOAD", 5);
        metrics.order_latency_many(Stage::Queue, Duration::from_micros(300), 7);
        metrics.queue(9, 8, Some(Duration::from_millis(1500)));
        metrics.reclaimed(6);
        metrics.journal_commit(Duration::from_millis(2), 3);
        metrics.exchange_call("mock", "submit").record(Duration::from_millis(1));
        metrics.exchange_errors("mock", "rejected", 2);
        metrics
    }

    #[test]
    fn names_and_labels_are_those_of_the_contract() {
        for text in [filled().openmetrics(), filled().prometheus()] {
            for line in [
                "order_execution_orders_created_total 3",
                "order_execution_orders_filled_total 2",
                "order_execution_orders_canceled_total 1",
                "order_execution_orders_rejected_total{code=\"RISK_NO_LIMITS\"} 4",
                "order_execution_requests_failed_total{code=\"INVALID_PAYLOAD\"} 5",
                "order_execution_order_latency_seconds_bucket{le=\"0.00025\",stage=\"queue\"} 0",
                "order_execution_order_latency_seconds_bucket{le=\"0.0005\",stage=\"queue\"} 7",
                "order_execution_order_latency_seconds_count{stage=\"queue\"} 7",
                "order_execution_order_latency_seconds_count{stage=\"total\"} 0",
                "order_execution_queue_depth 9",
                "order_execution_queue_oldest_age_seconds 1.5",
                "order_execution_pending_entries 8",
                "order_execution_reclaimed_total 6",
                "order_execution_journal_commit_seconds_count 1",
                "order_execution_journal_commit_orders_bucket{le=\"4.0\"} 1",
                "order_execution_journal_commit_orders_sum 3.0",
                "order_execution_exchange_requests_total{broker=\"mock\",call=\"submit\"} 1",
                "order_execution_exchange_errors_total{broker=\"mock\",class=\"rejected\"} 2",
                "order_execution_exchange_latency_seconds_count{broker=\"mock\",call=\"submit\"} 1",
            ] {
                assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
            }
        }
    }

    #[test]
    fn each_format_is_itself() {
        let metrics = filled();
        assert!(metrics.openmetrics().ends_with("\n# EOF\n"));
        assert!(metrics.openmetrics().contains("# TYPE order_execution_orders_created counter\n"));
        let text = metrics.prometheus();
        assert!(!text.contains("EOF"));
        assert!(text.contains(
            "# HELP order_execution_orders_created_total Orders journaled.\n# TYPE order_execution_orders_created_total counter\n"
        ));
        assert!(text.contains("# TYPE order_execution_order_latency_seconds histogram\n"));
        assert!(text.contains("# TYPE order_execution_queue_depth gauge\n"));
    }

    #[test]
    fn every_stage_has_its_place() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }
}
