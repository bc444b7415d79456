//! One order as the watch knows it: from the messages about it, or from its whole state.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::status_message::{StatusMessage, readable};
use crate::domain::amount;
use crate::domain::status::Status;

/// Steps of a path that are kept, the newest.
const STEPS: usize = 24;

/// The statuses that an order went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path {
    /// A status, and how often in a row.
    steps: Vec<(String, u32)>,
    /// There were others before.
    cut: bool,
}

impl Path {
    fn push(&mut self, status: &str) {
        match self.steps.last_mut() {
            Some((last, times)) if last == status => *times += 1,
            _ => self.steps.push((status.to_owned(), 1)),
        }
        if self.steps.len() > STEPS {
            self.steps.remove(0);
            self.cut = true;
        }
    }

    /// `Created > Submitted > PartiallyFilled x3 > Filled`
    pub(super) fn text(&self) -> String {
        let step = |(status, times): &(String, u32)| match times {
            1 => status.clone(),
            times => format!("{status} x{times}"),
        };
        let cut = self.cut.then(|| "..".to_owned());
        cut.into_iter().chain(self.steps.iter().map(step)).collect::<Vec<_>>().join(" > ")
    }
}

/// The JSON of an order, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct State {
    pub(super) id: String,
    client_order_id: String,
    symbol: String,
    side: String,
    quantity: String,
    status: Value,
    filled_quantity: String,
    average_fill_price: Option<String>,
    pub(super) strategy_id: Option<String>,
    parked: bool,
    pub(super) version: u64,
    updated_at: String,
    events: Vec<Mark>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mark {
    version: u64,
    r#type: String,
}

impl State {
    pub(super) fn bare_status(&self) -> &str {
        match &self.status {
            Value::String(name) => name,
            Value::Object(detailed) => detailed.keys().next().map_or("", String::as_str),
            _ => "",
        }
    }

    fn reason(&self) -> Option<String> {
        self.status.pointer("/Rejected/reason").and_then(Value::as_str).map(str::to_owned)
    }

    /// The path, as far as the newest events tell it.
    fn path(&self) -> Path {
        let mut path =
            Path { cut: self.events.first().is_some_and(|first| first.version > 1), ..Path::default() };
        let (end, last_fill) =
            (self.bare_status(), self.events.iter().rposition(|mark| mark.r#type == "Fill"));
        for (nth, mark) in self.events.iter().enumerate() {
            let has_ended = path.steps.last().is_some_and(|(status, _)| is_terminal(status));
            match mark.r#type.as_str() {
                "Fill" if end == "Filled" && last_fill == Some(nth) => path.push("Filled"),
                // A fill that comes after the end moves quantities only.
                "Fill" if !has_ended => path.push("PartiallyFilled"),
                name if Status::from_text(name).is_some() => path.push(name),
                _ => {}
            }
        }
        path
    }
}

fn is_terminal(status: &str) -> bool {
    Status::from_text(status).is_some_and(Status::is_terminal)
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) order_id: String,
    pub(super) client_order_id: String,
    pub(super) symbol: String,
    pub(super) side: String,
    pub(super) quantity: String,
    pub(super) filled: String,
    pub(super) average: Option<String>,
    pub(super) status: String,
    pub(super) parked: bool,
    pub(super) path: Path,
    pub(super) reason: Option<String>,
    pub(super) updated: String,
    pub(super) version: u64,
}

impl Row {
    pub(super) fn of_message(message: &StatusMessage) -> Self {
        let mut row = Self {
            order_id: message.order_id.clone(),
            client_order_id: message.client_order_id.clone(),
            symbol: message.symbol.clone(),
            side: message.side.clone(),
            quantity: String::new(),
            filled: String::new(),
            average: None,
            status: String::new(),
            parked: false,
            path: Path { cut: message.first_version > 1, ..Path::default() },
            reason: None,
            updated: String::new(),
            version: 0,
        };
        row.take(message);
        row
    }

    pub(super) fn of_state(state: &State) -> Self {
        Self {
            order_id: state.id.clone(),
            client_order_id: state.client_order_id.clone(),
            symbol: state.symbol.clone(),
            side: state.side.clone(),
            quantity: state.quantity.clone(),
            filled: state.filled_quantity.clone(),
            average: state.average_fill_price.as_deref().map(readable),
            status: state.bare_status().to_owned(),
            parked: state.parked,
            path: state.path(),
            reason: state.reason(),
            updated: state.updated_at.clone(),
            version: state.version,
        }
    }

    /// What the next commit did.
    pub(super) fn take(&mut self, message: &StatusMessage) {
        message.steps().for_each(|status| self.path.push(status));
        self.quantity = sum(&message.filled_quantity, &message.remaining_quantity);
        self.filled.clone_from(&message.filled_quantity);
        self.average = message.average_fill_price.as_deref().map(readable);
        self.status.clone_from(&message.status);
        self.reason.clone_from(&message.reason);
        self.updated.clone_from(&message.timestamp);
        self.version = message.version;
        // Of these the messages do not tell; a parked order that moves is parked no more, or its state says so.
        self.parked = false;
    }

    pub(super) fn has_ended(&self) -> bool {
        is_terminal(&self.status)
    }

    /// `12:00:00`, of an RFC 3339 time.
    pub(super) fn time(&self) -> &str {
        clock(&self.updated)
    }
}

/// `2026-01-31T12:00:00.123456Z` → `12:00:00`
pub(super) fn clock(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// What is filled and what is not make the whole.
fn sum(filled: &str, remaining: &str) -> String {
    let read = |text: &str| text.parse::<Decimal>().ok();
    let whole = read(filled).zip(read(remaining)).and_then(|(a, b)| amount::add(a, b));
    whole.map_or_else(|| "?".to_owned(), |whole| whole.normalize().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(status: &Value, first: u64, events: &[&str]) -> State {
        let marks: Vec<_> = events
            .iter()
            .zip(first..)
            .map(|(name, version)| json!({"version": version, "type": name}))
            .collect();
        let state = json!({
            "id": "o", "client_order_id": "c", "symbol": "X", "side": "Buy", "quantity": "3", "status": status,
            "filled_quantity": "1", "average_fill_price": "1.2345678", "parked": false,
            "version": first + events.len() as u64 - 1, "updated_at": "2026-01-02T03:04:05.000006Z", "events": marks,
        });
        serde_json::from_value(state).unwrap()
    }

    #[test]
    fn a_state_tells_the_path_by_its_events() {
        let path =
            |status: Value, first, events: &[&str]| Row::of_state(&state(&status, first, events)).path.text();
        assert_eq!(
            path(
                json!("Filled"),
                1,
                &["Created", "Validated", "PendingSubmit", "Submitted", "Fill", "Fill", "Fill"]
            ),
            "Created > Validated > PendingSubmit > Submitted > PartiallyFilled x2 > Filled"
        );
        assert_eq!(
            path(json!("Cancelled"), 1, &["Acknowledged", "CancelRequested", "Cancelled", "Fill"]),
            "Acknowledged > Cancelled",
            "a late fill is no step"
        );
        assert_eq!(
            path(json!({"Rejected": {"reason": "no"}}), 9, &["Parked", "Resolved", "Rejected"]),
            ".. > Rejected"
        );
        let rejected =
            Row::of_state(&state(&json!({"Rejected": {"reason": "no"}}), 1, &["Created", "Rejected"]));
        assert_eq!((rejected.status.as_str(), rejected.reason.as_deref()), ("Rejected", Some("no")));
        assert_eq!((rejected.time(), rejected.average.as_deref()), ("03:04:05", Some("1.23457")));
    }

    #[test]
    fn a_path_is_bounded() {
        let mut path = Path::default();
        for _ in 0..STEPS {
            path.push("Acknowledged");
            path.push("PartiallyFilled");
            path.push("PartiallyFilled");
        }
        assert_eq!(path.steps.len(), STEPS);
        assert!(path.text().starts_with(".. > Acknowledged > PartiallyFilled x2 > "), "{}", path.text());
    }
}
