//! For orchestrators and monitors: alive, ready, and the numbers.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use crate::runtime::health::{ComponentHealth, Report};

use super::Shows;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn health(State(shared): Shows) -> Response {
    let report = shared.sources.health.report();
    let now = shared.sources.clock.now();
    let body = json!({
        "ready": report.ready(),
        "draining": report.draining,
        "components": report.components.iter().map(|c| component(c, now)).collect::<Vec<_>>(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status(&report), Json(body)).into_response()
}

/// This process answers; it says nothing about what it depends on, since a restart would not mend that.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

pub(super) async fn ready(State(shared): Shows) -> Response {
    let report = shared.sources.health.report();
    let draining = report.draining.iter().map(|why| format!("draining: {why}"));
    let not_ok = report.components.iter().filter(|component| !component.ok);
    let reasons: Vec<_> = draining.chain(not_ok.map(|c| format!("{}: {}", c.name, c.message))).collect();
    (status(&report), Json(json!({ "ready": report.ready(), "reasons": reasons }))).into_response()
}

fn status(report: &Report) -> StatusCode {
    if report.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn component(component: &ComponentHealth, now: Timestamp) -> Value {
    let lasting = i64::try_from(component.lasting.as_micros()).unwrap_or(i64::MAX);
    json!({
        "name": component.name,
        "ok": component.ok,
        "message": component.message,
        "since": now.plus_micros(-lasting),
    })
}

/// OpenMetrics for who asks for it (Prometheus does), else the older text format.
pub(super) async fn metrics(State(shared): Shows, headers: HeaderMap) -> Response {
    let metrics = &shared.sources.metrics;
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let openmetrics = accepts.into_iter().any(|accept| accept.contains("application/openmetrics-text"));
    let (kind, text) =
        if openmetrics { (OPENMETRICS, metrics.openmetrics()) } else { (PROMETHEUS, metrics.prometheus()) };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
