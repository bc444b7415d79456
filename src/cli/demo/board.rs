//! The samples with what became of each so far.

use rust_decimal::Decimal;

use crate::cli::fields::Fields;
use crate::cli::outcome::Outcome;
use crate::cli::status_message::StatusMessage;

use super::samples::{Filled, Sample, Then};

/// A sample and what is known of it.
pub(super) struct Row {
    pub(super) sample: Sample,
    /// Of its request, once that is added.
    pub(super) entry: Option<String>,
    /// Of the request that cancels it.
    pub(super) cancel_entry: Option<String>,
    /// The statuses that the order went through.
    pub(super) path: Vec<String>,
    last: Option<StatusMessage>,
    outcome: Option<Outcome>,
    cancelled: Option<Outcome>,
    /// That it rests has been told.
    pub(super) rest_told: bool,
    /// Its end has been told.
    pub(super) told: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not sent yet.
    Waiting,
    /// On its way, and as expected so far.
    Alive,
    AsExpected,
    Wrong(String),
}

impl Row {
    pub(super) fn new(sample: Sample) -> Self {
        Self {
            sample,
            entry: None,
            cancel_entry: None,
            path: Vec::new(),
            last: None,
            outcome: None,
            cancelled: None,
            rest_told: false,
            told: false,
        }
    }

    /// Its request is through, and the order waits at the broker. Both are heard, in any order.
    pub(super) fn is_resting(&self) -> bool {
        self.outcome.is_some() && self.path.last().is_some_and(|status| status == "Acknowledged")
    }

    /// Takes a status message; says whether it is about this row's order.
    pub(super) fn take_status(&mut self, message: &StatusMessage) -> bool {
        // Rows that repeat an id make no order.
        let ours =
            self.sample.expected.ends.is_some() && self.sample.client_order_id == message.client_order_id;
        if ours {
            self.path.extend(message.steps().map(str::to_owned));
            self.last = Some(message.clone());
        }
        ours
    }

    /// Takes an outcome if it is of this row's requests.
    pub(super) fn take_outcome(&mut self, outcome: Outcome) -> Option<Outcome> {
        let entry = outcome.field("entry_id").map(str::to_owned);
        if entry.is_some() && entry == self.entry {
            self.outcome = Some(outcome);
        } else if entry.is_some() && entry == self.cancel_entry {
            self.cancelled = Some(outcome);
        } else {
            return Some(outcome);
        }
        None
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.entry.is_none() {
            return Verdict::Waiting;
        }
        let expected = &self.sample.expected;
        let Some(outcome) = &self.outcome else { return Verdict::Alive };
        let wanted = expected.outcome.map_or_else(|code| code, |status| status.as_str());
        let seen = outcome.field(if outcome.completed { "status" } else { "code" }).unwrap_or("nothing");
        if outcome.completed != expected.outcome.is_ok() || seen != wanted {
            return Verdict::Wrong(format!("the request ended {seen}, expected {wanted}"));
        }
        if let Some(cancel) = self.cancelled.as_ref().filter(|cancel| !cancel.completed) {
            return Verdict::Wrong(format!("its cancel failed: {}", cancel.field("error").unwrap_or("")));
        }
        let Some(end) = expected.ends else { return Verdict::AsExpected };
        let Some(last) = &self.last else { return Verdict::Alive };
        let has_ended = ["Filled", "Cancelled", "Rejected", "Expired"].contains(&last.status.as_str());
        let awaits_cancel = self.sample.then == Then::Cancel && self.cancelled.is_none();
        if !has_ended || (awaits_cancel && last.status == end.as_str()) {
            return Verdict::Alive;
        }
        if last.status != end.as_str() {
            return Verdict::Wrong(format!("the order ended {}, expected {}", last.status, end.as_str()));
        }
        match filled(last) {
            Some(filled) if filled == expected.filled => Verdict::AsExpected,
            filled => Verdict::Wrong(format!("{filled:?} of it is filled, expected {:?}", expected.filled)),
        }
    }

    /// What is to be told beside the path: the refusal, else what filled.
    pub(super) fn remark(&self) -> String {
        if let Some(failed) = self.outcome.as_ref().filter(|outcome| !outcome.completed) {
            let field = |name: &str| failed.field(name).unwrap_or_default();
            return format!("{}: {}", field("code"), field("error"));
        }
        match (&self.last, self.sample.expected.ends) {
            (Some(last), _) => last.happened(),
            (None, None) if self.outcome.is_some() => "no second execution".to_owned(),
            (None, _) => String::new(),
        }
    }

    /// The statuses it went through; of a request that makes no order, how that ended.
    pub(super) fn shown_path(&self) -> String {
        match &self.outcome {
            Some(outcome) if self.sample.expected.ends.is_none() && outcome.completed => {
                format!("completed: {}", outcome.field("status").unwrap_or_default())
            }
            Some(_) if self.sample.expected.ends.is_none() => "failed, no order made".to_owned(),
            _ => self.path.join(" > "),
        }
    }

    pub(super) fn json(&self) -> Fields {
        let verdict = self.verdict();
        let mut out = Fields::default();
        out.put("shows", self.sample.shows);
        out.put("client_order_id", self.sample.client_order_id);
        out.put("entry_id", &self.entry);
        out.put("path", &self.path);
        let field = |name: &str| self.outcome.as_ref().and_then(|outcome| outcome.field(name));
        for name in ["status", "code", "error"] {
            out.put_some(if name == "status" { "outcome" } else { name }, field(name).as_ref());
        }
        let last = self.last.as_ref();
        out.put_some("filled_quantity", last.map(|last| &last.filled_quantity));
        out.put_some("average_fill_price", last.and_then(|last| last.average_fill_price.as_ref()));
        out.put("ok", &(verdict == Verdict::AsExpected));
        if let Verdict::Wrong(why) = verdict {
            out.put("why", &why);
        }
        out
    }
}

fn filled(message: &StatusMessage) -> Option<Filled> {
    let amount = |text: &str| text.parse::<Decimal>().ok();
    let (filled, open) = (amount(&message.filled_quantity)?, amount(&message.remaining_quantity)?);
    Some(match (filled.is_zero(), open.is_zero()) {
        (true, _) => Filled::Nothing,
        (false, true) => Filled::All,
        (false, false) => Filled::Part,
    })
}

#[cfg(test)]
mod tests {
    use redis::Value;
    use redis::streams::StreamId;
    use serde_json::json;

    use super::super::samples::samples;
    use super::*;

    fn row(client_order_id: &str) -> Row {
        let sample = samples().into_iter().find(|sample| sample.client_order_id == client_order_id).unwrap();
        Row { entry: Some("1-0".to_owned()), ..Row::new(sample) }
    }

    fn status(id: &str, passed: &[&str], filled: &str, remaining: &str) -> StatusMessage {
        let message = json!({
            "client_order_id": id, "symbol": "X", "side": "Buy", "passed": passed, "status": passed.last().unwrap(),
            "filled_quantity": filled, "remaining_quantity": remaining, "average_fill_price": null, "reason": null,
            "order_id": id, "first_version": 1, "version": 1, "timestamp": "2026-01-02T03:04:05.000006Z",
        });
        serde_json::from_value(message).unwrap()
    }

    fn outcome(entry: &str, completed: bool, fields: &[(&str, &str)]) -> Outcome {
        let entry = [("entry_id", entry)];
        let all = fields.iter().chain(&entry);
        let map = all.map(|(n, v)| ((*n).to_owned(), Value::BulkString(v.as_bytes().to_vec()))).collect();
        Outcome::of(completed, StreamId { id: "9-0".to_owned(), map, ..StreamId::default() })
    }

    #[test]
    fn a_sample_is_as_expected_once_request_order_and_quantity_are() {
        let mut row = row("ioc-part");
        assert!(!row.take_status(&status("other", &["Filled"], "1", "0")));
        assert!(row.take_outcome(outcome("2-0", true, &[("status", "Cancelled")])).is_some(), "another's");
        row.take_outcome(outcome("1-0", true, &[("status", "Cancelled")]));
        assert_eq!(row.verdict(), Verdict::Alive, "its order has not been heard of");
        row.take_status(&status("ioc-part", &["Created", "PartiallyFilled", "Cancelled"], "1", "3"));
        assert_eq!(row.verdict(), Verdict::AsExpected);
        row.take_status(&status("ioc-part", &["Cancelled"], "0", "4"));
        assert!(matches!(row.verdict(), Verdict::Wrong(why) if why.contains("Nothing")));
    }

    #[test]
    fn another_end_is_told_as_wrong() {
        let mut filled = row("rests-then-fills");
        filled.take_outcome(outcome("1-0", true, &[("status", "Acknowledged")]));
        filled.take_status(&status("rests-then-fills", &["Created", "Acknowledged"], "0", "5"));
        assert!(filled.is_resting());
        assert_eq!(filled.verdict(), Verdict::Alive);
        filled.take_status(&status("rests-then-fills", &["Cancelled"], "0", "5"));
        assert!(matches!(filled.verdict(), Verdict::Wrong(why) if why.contains("ended Cancelled")));
        let mut refused = row("off-tick");
        refused.take_outcome(outcome("1-0", false, &[("code", "UNKNOWN_SYMBOL")]));
        assert!(matches!(refused.verdict(), Verdict::Wrong(why) if why.contains("VALIDATION_FAILED")));
    }

    #[test]
    fn a_cancel_counts_with_its_own_outcome() {
        let mut row = row("rests-then-cancelled");
        row.take_outcome(outcome("1-0", true, &[("status", "Acknowledged")]));
        row.cancel_entry = Some("3-0".to_owned());
        row.take_status(&status("rests-then-cancelled", &["Cancelled"], "0", "5000"));
        assert_eq!(row.verdict(), Verdict::Alive);
        row.take_outcome(outcome("3-0", true, &[("status", "Cancelled")]));
        assert_eq!(row.verdict(), Verdict::AsExpected);
        row.take_outcome(outcome("3-0", false, &[("error", "too late")]));
        assert!(matches!(row.verdict(), Verdict::Wrong(why) if why.contains("too late")));
    }
}
