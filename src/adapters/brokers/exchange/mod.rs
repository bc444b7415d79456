//! The simulated exchange as a process of its own: `order-execution exchange`, over HTTP. Every call is made once;
//! what an answer proves is told by one table, and everything that is not in it is unknown.

mod answers;
mod messages;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::event::Deadline;
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::instrument::Instrument;
use crate::domain::order::Order;
use crate::domain::report::{Answer, Finding, NotSent};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::ports::broker::{
    Account, Broker, BrokerError, BrokerOrder, BrokerPosition, BrokerUpdate, Replacing, Submission, Updates,
};
use crate::ports::clock::Clock;

use answers::{Call, Heard, answer};
use messages::{NewOrder, NewTerms, OpenOrders, OrderAnswer, Positions, ServerTime, Transactions};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Transactions of one read of the feed, and how long it waits for the first.
const FEED_PAGE: u32 = 500;
const FEED_WAIT: Duration = Duration::from_millis(500);
/// A request that would arrive this close to its deadline is not sent.
const SEND_MARGIN_US: i64 = 1_000;

pub struct ExchangeBroker {
    name: BrokerName,
    http: Client,
    origin: Url,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    offset_us: AtomicI64,
    connected: AtomicBool,
}

impl ExchangeBroker {
    pub fn new(
        name: BrokerName,
        origin: String,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let origin = Url::parse(&origin).map_err(|error| format!("broker.mock.url {origin}: {error}"))?;
        // Nothing is sent twice or elsewhere behind our back.
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(timeout)
            .build()
            .map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
        let (offset_us, connected) = (AtomicI64::new(0), AtomicBool::new(false));
        Ok(Self { name, http, origin, timeout, clock, offset_us, connected })
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.origin.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.http.request(method, self.url(path)).timeout(self.timeout)
    }

    /// Makes one call, once.
    async fn call<T: Serialize>(&self, method: Method, path: &[&str], body: Option<&T>) -> Heard {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let heard = self.hear(request).await;
        self.connected.store(!matches!(heard, Heard::NotConnected(_)), Ordering::Relaxed);
        heard
    }

    async fn hear(&self, request: RequestBuilder) -> Heard {
        let asked = self.clock.now();
        let mut response = match request.send().await {
            Ok(response) => response,
            // Only where no connection came about was nothing sent.
            Err(error) if error.is_connect() => return Heard::NotConnected(cause(&error)),
            Err(error) => return Heard::Nothing(cause(&error)),
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after_us =
            retry_after.and_then(|text| text.parse::<i64>().ok()).map(|s| s.saturating_mul(1_000_000));
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => {
                    body.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => {
                    return Heard::Nothing(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes"));
                }
                Ok(None) => break,
                Err(error) => return Heard::Nothing(cause(&error)),
            }
        }
        if let Ok(time) = serde_json::from_slice::<ServerTime>(&body) {
            // Half of the way there and back is taken for the way back.
            let middle = asked.plus_micros(self.clock.now().micros_since(asked) / 2);
            self.offset_us.store(time.server_time_us - middle.micros(), Ordering::Relaxed);
        }
        Heard::Answer { status, body, retry_after_us }
    }

    /// A question that changes nothing.
    async fn read<T: DeserializeOwned>(&self, call: &'static str, path: &[&str]) -> Result<T, BrokerError> {
        let heard = self.call::<()>(Method::GET, path, None).await;
        self.understood(call, heard)
    }

    fn understood<T: DeserializeOwned>(&self, call: &'static str, heard: Heard) -> Result<T, BrokerError> {
        let why = match heard {
            Heard::Answer { status: 200, body, .. } => match serde_json::from_slice(&body) {
                Ok(value) => return Ok(value),
                Err(error) => format!("its answer cannot be read: {error}"),
            },
            Heard::Answer { status, body, .. } => {
                format!("it answers with status {status}: {}", answers::shown(&body))
            }
            Heard::NotConnected(why) | Heard::Nothing(why) => why,
        };
        Err(self.error(call, why))
    }

    fn error(&self, call: &'static str, why: String) -> BrokerError {
        BrokerError { broker: self.name.clone(), call, why }
    }

    /// What keeps a request with this deadline from being sent now.
    fn too_late(&self, deadline: Option<Deadline>) -> Option<Answer> {
        let now = self.clock.now().plus_micros(self.clock_offset_us() + SEND_MARGIN_US);
        let deadline = deadline.filter(|deadline| deadline.not_after <= now)?;
        let why = format!("it was not sent before its deadline, {}", deadline.not_after);
        Some(Answer::NotSent(NotSent { why, retry_after_us: None, unreachable: false }))
    }
}

/// The innermost cause: the outer ones only repeat what was called.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    if error.is_timeout() { format!("no answer in time ({inner})") } else { inner.to_string() }
}

fn stamps(deadline: Option<Deadline>) -> (Option<i64>, Option<i64>) {
    let valid = |d: &Deadline| d.not_after.micros_since(d.timestamp);
    (deadline.map(|d| d.timestamp.micros()), deadline.as_ref().map(valid))
}

#[async_trait]
impl Broker for ExchangeBroker {
    fn name(&self) -> &BrokerName {
        &self.name
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.ping().await
    }

    async fn disconnect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.read::<ServerTime>("time", &["time"]).await.map(drop)
    }

    fn clock_offset_us(&self) -> i64 {
        self.offset_us.load(Ordering::Relaxed)
    }

    async fn submit(&self, submission: Submission<'_>) -> Answer {
        if let Some(answer) = self.too_late(submission.deadline) {
            return answer;
        }
        let order = submission.order.get();
        let (timestamp_us, valid_for_us) = stamps(submission.deadline);
        let body = NewOrder {
            client_order_id: &order.spec.client_order_id,
            symbol: &order.spec.symbol,
            side: order.spec.side,
            quantity: order.spec.quantity,
            order_type: &order.spec.order_type,
            time_in_force: NewOrder::time_in_force(order),
            worst_price: order.state.worst_price,
            post_only: order.spec.execution_instructions.post_only,
            reduce_only: order.spec.execution_instructions.reduce_only,
            timestamp_us,
            valid_for_us,
        };
        answer(Call::Submit, order, self.call(Method::POST, &["orders"], Some(&body)).await)
    }

    async fn cancel(&self, order: &Order) -> Answer {
        let path = ["orders", order.spec.client_order_id.as_str()];
        answer(Call::Cancel, order, self.call::<()>(Method::DELETE, &path, None).await)
    }

    async fn replace(&self, replacing: Replacing<'_>) -> Answer {
        if let Some(answer) = self.too_late(replacing.deadline) {
            return answer;
        }
        let (timestamp_us, valid_for_us) = stamps(replacing.deadline);
        let body = NewTerms {
            quantity: replacing.terms.quantity,
            price: replacing.terms.price,
            stop_price: replacing.terms.stop_price,
            replace_id: replacing.number.to_string(),
            timestamp_us,
            valid_for_us,
        };
        let order = replacing.order.get();
        let path = ["orders", order.spec.client_order_id.as_str()];
        answer(Call::Replace, order, self.call(Method::PUT, &path, Some(&body)).await)
    }

    async fn query(&self, order: &Order) -> Result<Finding, BrokerError> {
        let path = ["orders", order.spec.client_order_id.as_str()];
        let asked = self.clock.now();
        let heard = self.call::<()>(Method::GET, &path, None).await;
        if let Some(told_at) = answers::unknown_order(&heard) {
            // It looked when it was asked, or later; the answer may have taken its time.
            let as_of = told_at.plus_micros(-self.clock.now().micros_since(asked));
            return Ok(Finding { as_of, reports: None });
        }
        let found: OrderAnswer = self.understood("query", heard)?;
        let reports = found.order.reports(order).map_err(|why| self.error("query", why))?;
        Ok(Finding { as_of: Timestamp::from_micros(found.server_time_us), reports: Some(reports) })
    }

    async fn open_orders(&self) -> Result<Vec<BrokerOrder>, BrokerError> {
        let open: OpenOrders = self.read("open_orders", &["orders"]).await?;
        let order = |view: messages::OrderView| BrokerOrder {
            status: if view.filled_quantity.is_zero() {
                Status::Acknowledged
            } else {
                Status::PartiallyFilled
            },
            client_order_id: view.client_order_id,
            broker_order_id: Some(view.order_id),
            symbol: view.symbol,
            quantity: view.quantity,
            filled_quantity: view.filled_quantity,
        };
        Ok(open.orders.into_iter().map(order).collect())
    }

    /// It keeps no money.
    async fn account(&self) -> Result<Option<Account>, BrokerError> {
        Ok(None)
    }

    async fn positions(&self) -> Result<Vec<BrokerPosition>, BrokerError> {
        let held: Positions = self.read("positions", &["positions"]).await?;
        let position = |view: messages::PositionView| BrokerPosition {
            symbol: view.symbol,
            quantity: view.quantity,
            average_price: None,
        };
        Ok(held.positions.into_iter().map(position).collect())
    }

    async fn instruments(&self) -> Result<Vec<(Symbol, Instrument)>, BrokerError> {
        Err(self.error("instruments", "the simulated exchange does not tell its rules".to_owned()))
    }

    async fn updates(&self, cursor: u64) -> Result<Updates, BrokerError> {
        let mut url = self.url(&["transactions"]);
        url.query_pairs_mut()
            .append_pair("after", &cursor.to_string())
            .append_pair("limit", &FEED_PAGE.to_string())
            .append_pair("wait_ms", &FEED_WAIT.as_millis().to_string());
        let request = self.http.get(url).timeout(self.timeout + FEED_WAIT);
        let heard = self.hear(request).await;
        // What happened while the feed was away is found by comparing the books once it is back.
        if !matches!(heard, Heard::Answer { .. }) {
            self.connected.store(false, Ordering::Relaxed);
        }
        let feed: Transactions = self.understood("updates", heard)?;
        let cursor =
            feed.transactions.iter().map(|transaction| transaction.id).max().unwrap_or(cursor).max(cursor);
        let mut transactions = feed.transactions;
        transactions.sort_by_key(|transaction| transaction.id);
        let mut told = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            let text = transaction.text();
            // One that is not understood must not keep those behind it out.
            let report = transaction
                .report()
                .inspect_err(|why| tracing::error!(why, text, "ALARM: a transaction cannot be read"))
                .ok();
            told.push(BrokerUpdate { client_order_id: transaction.client_order_id, report, text });
        }
        Ok(Updates { told, cursor })
    }
}
