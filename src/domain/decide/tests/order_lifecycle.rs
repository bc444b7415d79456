//! `docs/order-lifecycle.md` says what the code does: its diagrams and tables are made here, from the code.

use std::fmt::Write;
use std::path::Path;

use rust_decimal::Decimal;

use super::fix::words::{OrdStatus, exec_type, of_status};
use super::*;
use crate::domain::amount::Quantity;
use crate::domain::event::OrderEvent;
use crate::domain::status::{Step, next};

const DOC: &str = "docs/order-lifecycle.md";
const UPDATE: &str = "UPDATE_DOCS";

/// Every kind of event, as the journal writes it. A new one is added to `exec_type` first, which lists them all.
const EVENTS: &[(&str, &str)] = &[
    (
        "Created",
        r#"{"id":"0190a1b2-0000-7000-8000-000000000001","client_order_id":"a","symbol":"S","side":"Buy","quantity":"1","order_type":"Market","time_in_force":"GTC","broker":"mock"}"#,
    ),
    ("Validated", "null"),
    ("PendingSubmit", r#"{"attempt":1}"#),
    ("Submitted", r#"{"attempt":1}"#),
    ("SubmitFailed", r#"{"reason":"","retry_at":"2026-01-01T00:00:00Z"}"#),
    ("Acknowledged", r#"{"broker_order_id":"b"}"#),
    (
        "Fill",
        r#"{"trade_id":"t","quantity":"1","price":"1","executed_at":"2026-01-01T00:00:00Z","position_sequence":1}"#,
    ),
    ("CancelRequested", r#"{"reason":""}"#),
    ("CancelRefused", r#"{"reason":""}"#),
    ("ReplaceRequested", r#"{"terms":{}}"#),
    ("ReplaceRefused", r#"{"reason":""}"#),
    ("Replaced", r#"{"terms":{},"number":1}"#),
    ("Parked", r#"{"reason":""}"#),
    ("Resolved", r#"{"executed":true,"by":"","why":""}"#),
    ("Cancelled", r#"{"reason":""}"#),
    ("Rejected", r#"{"code":"BROKER_REJECTED","reason":""}"#),
    ("Expired", r#"{"reason":""}"#),
    ("Trailed", r#"{"water_mark":"1","stop_price":"1"}"#),
    ("Triggered", "{}"),
    ("Restated", r#"{"terms":{},"reason":"","restated_at":"2026-01-01T00:00:00Z"}"#),
    (
        "TradeCorrected",
        r#"{"trade_id":"t","was":{"quantity":"1","price":"1"},"now":{"quantity":"1","price":"1"},"corrected_at":"2026-01-01T00:00:00Z","booked_at":1,"position_sequence":2,"reason":""}"#,
    ),
    (
        "TradeBusted",
        r#"{"trade_id":"t","was":{"quantity":"1","price":"1"},"busted_at":"2026-01-01T00:00:00Z","booked_at":1,"position_sequence":2,"reason":""}"#,
    ),
];

pub(super) fn events() -> Vec<EventKind> {
    let read = |(name, details): &(&str, &str)| {
        let json = format!(
            r#"{{"event_id":"0190a1b2-0000-7000-8000-000000000002","version":1,"timestamp":"2026-01-01T00:00:00Z","type":"{name}","details":{details}}}"#
        );
        serde_json::from_str::<OrderEvent>(&json).unwrap_or_else(|e| panic!("{name}: {e}")).kind
    };
    EVENTS.iter().map(read).collect()
}

const fn words(step: Step) -> &'static str {
    match step {
        Step::Validate => "checked",
        Step::Attempt => "attempt journaled",
        Step::Submit => "submitted",
        Step::Acknowledge => "acknowledged",
        Step::FillPart => "part filled",
        Step::FillRest => "rest filled",
        Step::UnfillPart => "filled in part only",
        Step::UnfillAll => "filled no more",
        Step::Cancel => "cancelled",
        Step::Reject => "rejected",
        Step::Expire => "expired",
        Step::Note => "noted",
    }
}

const fn opens(step: Step) -> bool {
    matches!(step, Step::UnfillPart | Step::UnfillAll)
}

/// Every step that moves the status: from, step, to.
fn moves() -> Vec<(Status, Step, Status)> {
    let all = Status::ALL.into_iter().flat_map(|from| Step::ALL.into_iter().map(move |step| (from, step)));
    all.filter_map(|(from, step)| Some((from, step, next(from, step).ok()?)))
        .filter(|(from, _, to)| from != to)
        .collect()
}

/// A later status, to which the order may go first, takes the same step to the same end: it is drawn there.
fn is_drawn_later(from: Status, step: Step, to: Status) -> bool {
    let later = |status: &Status| *status > from && *status != to && status.reserves();
    let leads = |status: &Status| Step::ALL.into_iter().any(|step| next(from, step) == Ok(*status));
    from.reserves()
        && Status::ALL.iter().filter(|status| later(status)).any(|s| leads(s) && next(*s, step) == Ok(to))
}

/// A mermaid diagram of some moves; the steps from one status to another in one arrow.
fn diagram(start: &str, moves: &[(Status, Step, Status)]) -> String {
    let mut out = format!("```mermaid\nstateDiagram-v2\n{start}");
    for from in Status::ALL {
        for to in Status::ALL {
            let steps = moves.iter().filter(|(f, _, t)| (*f, *t) == (from, to));
            let names: Vec<_> = steps.map(|(_, step, _)| words(*step)).collect();
            if !names.is_empty() {
                writeln!(out, "    {from} --> {to}: {}", names.join(" or ")).unwrap();
            }
        }
    }
    out + "```\n"
}

fn usual() -> String {
    let usual: Vec<_> = moves()
        .into_iter()
        .filter(|(from, step, to)| !from.is_terminal() && !opens(*step) && !is_drawn_later(*from, *step, *to))
        .collect();
    diagram("    [*] --> Created\n", &usual)
}

fn late() -> String {
    let late: Vec<_> =
        moves().into_iter().filter(|(from, step, _)| from.is_terminal() || opens(*step)).collect();
    diagram("", &late)
}

fn table() -> String {
    let mut out = "| is |".to_owned();
    for step in Step::ALL {
        write!(out, " {} |", words(step)).unwrap();
    }
    out += "\n|---|";
    out += &"---|".repeat(Step::ALL.len());
    for from in Status::ALL {
        write!(out, "\n| **{from}** |").unwrap();
        for step in Step::ALL {
            match next(from, step) {
                Ok(to) if to == from => out += " stays |",
                Ok(to) => write!(out, " {to} |").unwrap(),
                Err(_) => out += "  |",
            }
        }
    }
    out + "\n"
}

fn ord_statuses() -> String {
    let mut rows: Vec<(u8, String)> = Vec::new();
    let mut row = |status: Option<OrdStatus>, what: String| {
        let (rank, name) = match status {
            Some(status) => (status.precedence(), format!("`{status:?}` ({})", status.code())),
            None => (0, "none: FIX tells of it only once it is submitted".to_owned()),
        };
        let precedence = if rank == 0 { String::new() } else { rank.to_string() };
        rows.push((rank, format!("| {what} | {name} | {precedence} |")));
    };
    row(Some(OrdStatus::PendingCancel), "`pending_cancel`".to_owned());
    row(Some(OrdStatus::PendingReplace), "`pending_replace`".to_owned());
    for status in Status::ALL {
        row(of_status(status), format!("`{status}`"));
    }
    rows.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    format!("| ours | OrdStatus (39) | precedence |\n|---|---|---|\n{}\n", rows.join("\n"))
}

fn event_steps() -> String {
    let mut out = "| event | step | ExecType (150) |\n|---|---|---|".to_owned();
    for kind in events() {
        let mut steps: Vec<&str> = Vec::new();
        for (open, filled) in [(1, 1), (1, 0), (0, 1)] {
            let filled = Quantity::new(Decimal::from(filled)).unwrap();
            let step = kind.step(Decimal::from(open), filled).map_or("makes the order", words);
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        let told = exec_type(&kind).map_or_else(|| "–".to_owned(), |name| format!("`{name}`"));
        write!(out, "\n| `{}` | {} | {told} |", kind.name(), steps.join(", or ")).unwrap();
    }
    out + "\n"
}

fn blocks() -> [(&'static str, String); 7] {
    [
        ("diagram", usual()),
        ("late", late()),
        ("table", table()),
        ("events", event_steps()),
        ("ord-status", ord_statuses()),
        ("scenarios", fix::scenario_table()),
        ("differences", fix::difference_table()),
    ]
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(DOC)
}

/// `text` with what stands between the marks of a block made anew.
fn with_block(text: &str, name: &str, made: &str) -> String {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{DOC} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{DOC} has no {end}"));
    format!("{before}{begin}\n{made}\n{end}{after}")
}

#[test]
fn the_document_is_what_the_code_makes_of_it() {
    let found = std::fs::read_to_string(path()).unwrap();
    let made = blocks().iter().fold(found.clone(), |text, (name, made)| with_block(&text, name, made));
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path(), made).unwrap();
        return;
    }
    let differs = found.lines().zip(made.lines()).find(|(found, made)| found != made);
    assert!(
        found == made,
        "{DOC} is not current: {UPDATE}=1 cargo test --all-features --lib order_lifecycle\nfirst: {differs:?}"
    );
}

#[test]
fn the_document_describes_every_status_event_and_flag() {
    let text = std::fs::read_to_string(path()).unwrap();
    let generated = blocks().iter().fold(text.clone(), |text, (name, _)| with_block(&text, name, ""));
    for status in Status::ALL {
        assert!(generated.contains(&format!("| `{status}` |")), "{status} is not described");
    }
    for kind in events() {
        assert!(generated.contains(&format!("`{}`", kind.name())), "{} is not described", kind.name());
    }
    for flag in ["pending_cancel", "pending_replace", "parked"] {
        assert!(generated.contains(&format!("| `{flag}` |")), "{flag} is not described");
    }
}

/// What the diagram leaves out follows from what it shows, and the table leaves nothing out.
#[test]
fn each_move_is_drawn_there_or_at_a_later_status() {
    let (usual, late) = (usual(), late());
    let drawn = |from: Status, step: Step, to: Status| {
        let arrow = format!("    {from} --> {to}: ");
        let lines = usual.lines().chain(late.lines()).filter(|line| line.starts_with(&arrow));
        lines.flat_map(|line| line[arrow.len()..].split(" or ")).any(|name| name == words(step))
    };
    for (from, step, to) in moves() {
        let later = Status::ALL.into_iter().filter(|status| *status >= from);
        let mut drawn_at = later.filter(|status| drawn(*status, step, to));
        let at = drawn_at.next().unwrap_or_else(|| panic!("{from} to {to} by {step:?} is not drawn"));
        assert_eq!(next(at, step), Ok(to));
        assert!(at == from || (from.reserves() && at.reserves()), "{from} to {to} is drawn at {at}");
    }
}
