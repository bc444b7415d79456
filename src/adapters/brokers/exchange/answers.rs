//! What an answer proves: one table for every call.

use crate::domain::order::Order;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::{Answer, NotSent};
use crate::domain::time::Timestamp;

use super::messages::{Failure, OrderAnswer};

/// What came of one call.
#[derive(Debug)]
pub(super) enum Heard {
    Answer {
        status: u16,
        body: Vec<u8>,
        retry_after_us: Option<i64>,
    },
    /// No connection came about: nothing was sent.
    NotConnected(String),
    /// It was sent, or a part of it, and there is no answer.
    Nothing(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Submit,
    Cancel,
    Replace,
}

/// The table: status and code, and what they prove. Whatever is not in it is unknown.
pub(super) fn answer(call: Call, order: &Order, heard: Heard) -> Answer {
    let (status, body, retry_after_us) = match heard {
        Heard::NotConnected(why) => {
            let why = format!("no connection to the exchange: {why}");
            return Answer::NotSent(NotSent { why, retry_after_us: None, unreachable: true });
        }
        Heard::Nothing(why) => return Answer::Unknown(why),
        Heard::Answer { status, body, retry_after_us } => (status, body, retry_after_us),
    };
    let unknown = || Answer::Unknown(format!("status {status}: {}", shown(&body)));
    if status == 200 {
        let told = serde_json::from_slice::<OrderAnswer>(&body).ok();
        return told.and_then(|told| told.order.reports(order).ok()).map_or_else(unknown, Answer::Accepted);
    }
    let Ok(failure) = serde_json::from_slice::<Failure>(&body) else { return unknown() };
    let message = format!("{}: {}", failure.code, failure.message);
    match (status, failure.code.as_str()) {
        // A later attempt may be timely, or let through.
        (400, "TIMESTAMP") => not_sent(message, None),
        (429, "RATE_LIMITED") => not_sent(message, retry_after_us),
        // It lies in the request itself, so it is the same for every attempt.
        (422, "REJECTED") | (400, "INVALID") => {
            Answer::Rejected(Refusal::new(Code::BrokerRejected, failure.message))
        }
        // How the order stands says what became of the command.
        (409, "NOT_OPEN") if call != Call::Submit => {
            let reports = failure.order.and_then(|view| view.reports(order).ok());
            reports.map_or_else(unknown, Answer::Accepted)
        }
        (404, "UNKNOWN_ORDER") if call != Call::Submit => Answer::Rejected(Refusal::new(
            Code::BrokerRejected,
            format!("the exchange does not know the order: {message}"),
        )),
        // An order under this id is open there: an earlier attempt of ours, or somebody else's.
        _ => unknown(),
    }
}

/// The exchange does not know the order, as of this time by its clock.
pub(super) fn unknown_order(heard: &Heard) -> Option<Timestamp> {
    let Heard::Answer { status: 404, body, .. } = heard else { return None };
    let failure = serde_json::from_slice::<Failure>(body).ok()?;
    (failure.code == "UNKNOWN_ORDER").then(|| Timestamp::from_micros(failure.server_time_us))
}

fn not_sent(why: String, retry_after_us: Option<i64>) -> Answer {
    Answer::NotSent(NotSent { why, retry_after_us, unreachable: false })
}

/// The start of an answer, for the log.
pub(super) fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned()
}
