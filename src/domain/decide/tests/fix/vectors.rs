//! Whether the restatement says what the matrices say, row by row, where a transcript of them lies beside the project.

use std::path::Path;

use serde::Deserialize;

use super::super::order_lifecycle::events;
use super::data::{Ask, Pending, Row, Scenario, Told, scenarios};
use super::words::{OrdStatus, exec_type};
use crate::domain::amount::{Price, Quantity};
use crate::domain::status::Status;

const TRANSCRIPT: &str = "../shared/vectors/fix_order_state_scenarios.json";

#[derive(Deserialize)]
struct Matrices {
    scenarios: Vec<Matrix>,
}

#[derive(Deserialize)]
struct Matrix {
    id: String,
    applies: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    time: String,
    dir: String,
    msg: String,
    #[serde(rename = "ClOrdID")]
    name: Option<String>,
    #[serde(rename = "OrigClOrdID")]
    original: Option<String>,
    #[serde(rename = "ExecType")]
    exec_type: Option<String>,
    #[serde(rename = "OrdStatus")]
    ord_status: Option<String>,
    canonical_status: Option<String>,
    #[serde(rename = "OrderQty")]
    quantity: Option<serde_json::Number>,
    #[serde(rename = "CumQty")]
    filled: Option<serde_json::Number>,
    #[serde(rename = "LeavesQty")]
    open: Option<serde_json::Number>,
    #[serde(rename = "LastQty")]
    last: Option<serde_json::Number>,
    #[serde(rename = "LastPx")]
    price: Option<serde_json::Number>,
    #[serde(rename = "ExecID")]
    trade: Option<String>,
    #[serde(rename = "ExecRefID")]
    trade_meant: Option<String>,
    #[serde(rename = "TimeInForce")]
    time_in_force: Option<String>,
    #[serde(default)]
    alternative: bool,
    #[serde(default)]
    crosses: bool,
}

#[test]
fn the_restatement_says_what_the_matrices_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRANSCRIPT);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {TRANSCRIPT} beside the project");
        return;
    };
    let matrices: Matrices = serde_json::from_str(&text).unwrap();
    let ours = scenarios();
    let mut compared = 0;
    for matrix in &matrices.scenarios {
        let restated = ours.iter().find(|scenario| scenario.id == matrix.id);
        match (matrix.applies.as_str(), restated) {
            ("not_applicable", None) => {}
            ("core" | "extended" | "alt_only", Some(restated)) => compared += compare(matrix, restated),
            (applies, restated) => panic!("{}: {applies}, restated: {}", matrix.id, restated.is_some()),
        }
    }
    assert!(ours.iter().all(|scenario| matrices.scenarios.iter().any(|matrix| matrix.id == scenario.id)));
    assert!(compared > 200, "only {compared} rows were compared");
}

/// The rows compared: each of the matrix stands in the restatement, in its place, and each there is of the matrix.
fn compare(matrix: &Matrix, restated: &Scenario) -> usize {
    let mut rows = restated.rows.iter().filter(|row| !row.ours).peekable();
    let mut compared = 0;
    for step in &matrix.steps {
        let what = format!("{} at {}: {step:?}", matrix.id, step.time);
        let is_it = |row: &&Row| row.at == step.time && row.alternative == step.alternative;
        let Some(row) = rows.next_if(|row| is_it(row)) else {
            // What is told of a filled order that is replaced does not come to pass here.
            assert!(matrix.applies == "alt_only" && !step.alternative, "{what} is not restated");
            continue;
        };
        assert_eq!(row.crosses, step.crosses, "{what}");
        match step.dir.as_str() {
            "in" => same_request(step, row, &what),
            "out" => same_word(step, row, &what),
            _ => assert!(row.event.is_some(), "{what}"),
        }
        compared += 1;
    }
    assert!(rows.next().is_none(), "{}: more rows than the matrix has", matrix.id);
    compared
}

fn quantity(number: &serde_json::Number) -> Quantity {
    number.to_string().parse().unwrap()
}

fn same_request(step: &Step, row: &Row, what: &str) {
    let ask = match step.msg.as_str() {
        "NewOrderSingle" => Ask::Submit,
        "OrderCancelRequest" => Ask::Cancel,
        "OrderCancelReplaceRequest" => Ask::Replace,
        "OrderStatusRequest" => Ask::Look,
        other => panic!("{what}: {other}"),
    };
    assert_eq!((row.ask, &row.of), (Some(ask), &step.name), "{what}");
    if let (Ask::Submit | Ask::Replace, Some(asked)) = (ask, &step.quantity) {
        assert_eq!(row.quantity, Some(quantity(asked)), "{what}");
    }
    let lives = step.time_in_force.as_deref().unwrap_or("GTC").to_uppercase();
    assert_eq!(row.time_in_force.name(), lives, "{what}");
}

fn same_word(step: &Step, row: &Row, what: &str) {
    let told = match (step.msg.as_str(), step.exec_type.as_deref()) {
        ("OrderCancelReject", _) => match row.told {
            Some(told @ (Told::CancelRefused | Told::ReplaceRefused)) => told,
            _ => Told::Nothing,
        },
        (_, Some("New")) => Told::Acknowledged,
        (_, Some("Trade")) => Told::Fill,
        (_, Some("Rejected")) => Told::Rejected,
        (_, Some("PendingCancel" | "PendingReplace")) => Told::Taken,
        (_, Some("Canceled")) => Told::Cancelled,
        (_, Some("Replaced")) => Told::Replaced,
        (_, Some("DoneForDay")) => Told::Expired,
        (_, Some("Restated")) => Told::Restated,
        (_, Some("Triggered")) => Told::Triggered,
        (_, Some("TradeCorrect")) => Told::TradeCorrected,
        (_, Some("TradeCancel")) => Told::TradeBusted,
        (_, Some("OrderStatus")) => Told::Nothing,
        (_, other) => panic!("{what}: {other:?}"),
    };
    // Where it is no news to us, it is said why.
    let silent = row.told == Some(Told::Nothing) && row.because.is_some();
    assert!(row.told == Some(told) || silent, "{what}: {row:?}");
    assert!(row.told != Some(Told::Nothing) || row.because.is_some(), "{what}: nothing is told, and not why");
    let answers = matches!(told, Told::Taken | Told::CancelRefused | Told::ReplaceRefused | Told::Replaced)
        || (told == Told::Cancelled && step.original.is_some());
    if answers && row.because.is_none() {
        assert_eq!(row.of, step.name, "{what}");
    }
    if let (Told::Fill | Told::TradeCorrected, Some(last)) = (told, &step.last) {
        assert_eq!(row.last, Some(quantity(last)), "{what}");
        let price: Option<Price> = step.price.as_ref().map(|price| price.to_string().parse().unwrap());
        assert_eq!(row.price, price, "{what}");
    }
    if let (Told::Fill | Told::TradeCorrected | Told::TradeBusted, Some(trade)) =
        (told, step.trade_meant.as_ref().or(step.trade.as_ref()))
    {
        assert_eq!(row.trade.as_ref(), Some(trade), "{what}");
    }
    // The end of a day is another report there.
    if let Some(exec) = step.exec_type.as_deref().filter(|exec| !silent && *exec != "DoneForDay") {
        let name = match exec {
            "PendingCancel" => "CancelRequested".to_owned(),
            "PendingReplace" => "ReplaceRequested".to_owned(),
            _ => format!("{told:?}"),
        };
        let event = events().into_iter().find(|event| event.name() == name);
        let named = event.as_ref().and_then(exec_type).unwrap_or_else(|| panic!("{what}: no event {name}"));
        assert_eq!(named.split(' ').next(), Some(exec), "{what}");
    }
    same_state(step, row, what);
}

fn same_state(step: &Step, row: &Row, what: &str) {
    let named = |status: Option<OrdStatus>| status.map(|status| format!("{status:?}"));
    let Some(then) = &row.then else {
        assert_eq!(step.canonical_status, None, "{what}: there is no such order");
        assert_eq!(named(row.theirs), step.ord_status, "{what}");
        return;
    };
    for (theirs, ours) in
        [(&step.quantity, then.quantity), (&step.filled, then.filled), (&step.open, then.open)]
    {
        assert!(theirs.as_ref().is_none_or(|theirs| quantity(theirs) == ours), "{what}: {then:?}");
    }
    assert_eq!(named(row.theirs.or(then.fix)), step.ord_status, "{what}");
    let differs = row.theirs.is_some();
    assert!(!differs || (row.theirs != then.fix && row.because.is_some()), "{what}: differs, and not why");
    let canonical = step.canonical_status.as_deref();
    let pending = match canonical {
        Some("PendingCancel") => Some(Pending::Cancel),
        Some("PendingReplace") => Some(Pending::Replace),
        _ => None,
    };
    assert!(differs || then.pending == pending, "{what}: {then:?}");
    if pending.is_none() {
        assert_eq!(canonical.and_then(Status::from_text), Some(then.status), "{what}");
    }
}
