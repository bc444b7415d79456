//! Answers: a JSON object with the exchange's time in it, always.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::time::Timestamp;

use super::super::message::{Answer, Answered, Code, OrderView};
use super::super::transaction::Transaction;

#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    fields: Map<String, Value>,
    retry_after_s: Option<u32>,
}

impl Reply {
    pub(super) fn done() -> Self {
        Self { status: StatusCode::OK, fields: Map::new(), retry_after_s: None }
    }

    pub(super) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, ..Self::done() }.with("code", code).with("message", &message.into())
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "INVALID", message)
    }

    /// The status that a script of faults asks for.
    pub(super) fn scripted(status: u16, retry_after_s: Option<u32>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS => "RATE_LIMITED",
            StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
            _ => "INTERNAL",
        };
        let retry_after_s = retry_after_s.or(limited.then_some(1));
        Self { retry_after_s, ..Self::error(status, code, "a fault of the script") }
    }

    /// Done, and answered as if it had failed.
    pub(super) fn failed(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::error(status, "INTERNAL", "a fault of the script")
    }

    pub(super) fn with<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => {
                self.fields.insert(name.to_owned(), value);
            }
            Err(error) => tracing::error!(%error, name, "an answer cannot be written as JSON"),
        }
        self
    }

    pub(super) fn of(answered: Answered) -> Self {
        match answered {
            Ok(Answer::Done) => Self::done(),
            Ok(Answer::Order(order)) => Self::done().with("order", &order),
            Ok(Answer::Orders(orders)) => Self::done().with("orders", &orders),
            Ok(Answer::Positions(positions)) => Self::done().with("positions", &positions),
            Ok(Answer::Truth(orders)) => Self::done().with("orders", &orders),
            Ok(Answer::Transactions { page, last, .. }) => Self::page(&page, last),
            Err(refused) => Self::refused(refused.code, refused.message, refused.order.as_deref()),
        }
    }

    pub(super) fn page(transactions: &[Transaction], last: u64) -> Self {
        Self::done().with("transactions", transactions).with("last", &last)
    }

    fn refused(code: Code, message: String, order: Option<&OrderView>) -> Self {
        let (status, code) = match code {
            Code::Rejected => (StatusCode::UNPROCESSABLE_ENTITY, "REJECTED"),
            Code::Timestamp => (StatusCode::BAD_REQUEST, "TIMESTAMP"),
            Code::Duplicate => (StatusCode::CONFLICT, "DUPLICATE"),
            Code::UnknownTrade => (StatusCode::NOT_FOUND, "UNKNOWN_TRADE"),
            Code::UnknownOrder => (StatusCode::NOT_FOUND, "UNKNOWN_ORDER"),
            Code::NotOpen => (StatusCode::CONFLICT, "NOT_OPEN"),
        };
        let reply = Self::error(status, code, message);
        match order {
            Some(order) => reply.with("order", order),
            None => reply,
        }
    }

    pub(super) fn at(self, now: Timestamp) -> Response {
        let reply = self.with("server_time_us", &now.micros());
        let mut response = (reply.status, Json(reply.fields)).into_response();
        if let Some(seconds) = reply.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
