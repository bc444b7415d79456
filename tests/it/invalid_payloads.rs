//! Requests that cannot be read: each is refused alone, with a sentence that names what is wrong.

use crate::harness::{Lab, Outcome, market};
use crate::schemas::check_form;
use serde_json::{Value, json};

type Fields = Vec<(&'static str, Vec<u8>)>;

struct Bad {
    what: &'static str,
    fields: Fields,
    codes: &'static [&'static str],
    /// One of these must stand in the error.
    names: &'static [&'static str],
}

const UNREADABLE: &[&str] = &["INVALID_PAYLOAD"];
/// Readable JSON with a value out of its range: the contract leaves open which of the two it is.
const UNREADABLE_OR_INVALID: &[&str] = &["INVALID_PAYLOAD", "VALIDATION_FAILED"];

fn order(text: impl Into<Vec<u8>>) -> Fields {
    vec![("order", text.into())]
}

/// A good order with this put before its closing brace.
fn good_and(more: &str) -> Fields {
    order(format!(r#"{{"symbol":"BTCUSDT","side":"Buy","quantity":"1","order_type":"Market",{more}}}"#))
}

fn quantity(written: &str) -> Fields {
    order(format!(r#"{{"symbol":"BTCUSDT","side":"Buy","quantity":{written},"order_type":"Market"}}"#))
}

fn unreadable(what: &'static str, fields: Fields, names: &'static [&'static str]) -> Bad {
    Bad { what, fields, codes: UNREADABLE, names }
}

fn out_of_range(what: &'static str, fields: Fields, names: &'static [&'static str]) -> Bad {
    Bad { what, fields, codes: UNREADABLE_OR_INVALID, names }
}

/// Adds every bad request between two good ones, in one pipeline, and checks each answer.
async fn check(cases: Vec<Bad>) {
    cases.iter().for_each(|case| check_form(case.what, &case.fields));
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let mut burst = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        burst.push(vec![(
            "order",
            market(&format!("neighbour-{n}"), "BTCUSDT", "Buy", "1").to_string().into_bytes(),
        )]);
        burst.push(case.fields.clone());
    }
    burst.push(vec![("order", market("neighbour-last", "BTCUSDT", "Buy", "1").to_string().into_bytes())]);
    let entries = lab.burst(&burst).await;
    let outcomes = lab.outcomes(&entries).await;
    for outcome in outcomes.iter().step_by(2) {
        outcome.is_completed("Filled");
    }
    for (case, outcome) in cases.iter().zip(outcomes.iter().skip(1).step_by(2)) {
        println!("{}: {}", case.what, outcome.entry);
        outcome.is_failed_as(case.codes).names(case.names);
        assert_eq!(outcome.status(), "Rejected");
        if outcome.text("code") == "INVALID_PAYLOAD" {
            check_undecoded(case, outcome);
        }
    }
}

fn check_undecoded(case: &Bad, outcome: &Outcome) {
    let request = outcome.text("request");
    if let [(field, bytes)] = case.fields.as_slice()
        && ["order", "cancel"].contains(field)
    {
        let own = if *field == "order" { "submit" } else { "cancel" };
        assert!(request == own || request == "unknown", "{}: request is {request:?}", case.what);
        let payload = outcome.entry.bytes("payload").unwrap_or_else(|| panic!("{}: no payload", case.what));
        assert!(payload.len() <= 65_536, "{}: a payload of {} bytes", case.what, payload.len());
        let end = bytes.len().min(65_536);
        assert_eq!(payload, &bytes[..end], "{}: the payload is what was received", case.what);
        assert!(!outcome.entry.has("order"), "{}: what did not decode has no order", case.what);
    } else {
        let alike = case.fields.iter().all(|(field, _)| *field == "order");
        assert!(
            request == "unknown" || (alike && request == "submit"),
            "{}: request is {request:?}",
            case.what
        );
    }
}

#[tokio::test]
async fn text_that_is_no_order() {
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    check(vec![
        unreadable("empty", order(""), &["order", "empty", "json", "eof"]),
        unreadable("no JSON", order("buy me some"), &["order", "json", "expected"]),
        unreadable("cut off", order(r#"{"symbol":"BTCUSDT","#), &["order", "json", "eof", "end"]),
        unreadable(
            "two documents",
            order(r#"{"symbol":"BTCUSDT"} {}"#),
            &["trailing", "json", "order", "missing"],
        ),
        unreadable("an array", order(r#"["Buy","BTCUSDT"]"#), &["object", "order", "map"]),
        unreadable("null", order("null"), &["object", "order", "null"]),
        unreadable("an empty object", order("{}"), &["symbol", "side", "quantity", "order_type"]),
        unreadable("invalid UTF-8", order(&b"{\"symbol\":\"BTC\xff\xfeUSDT\"}"[..]), &["utf-8", "utf8"]),
        unreadable(
            "NUL byte",
            order(&b"{\"symbol\":\"BTC\0USDT\"}"[..]),
            &["symbol", "control", "nul", "json"],
        ),
        unreadable(
            "deep arrays",
            order(deep("[", "]", 20_000)),
            &["deep", "nest", "depth", "recursion", "order"],
        ),
        unreadable(
            "deep objects",
            good_and(&format!(r#""metadata":{}"#, deep(r#"{"a":"#, "}", 500))),
            &["deep", "nest", "depth", "recursion", "metadata"],
        ),
        unreadable(
            "oversized",
            good_and(&format!(r#""metadata":{{"note":"{}"}}"#, "x".repeat(70_000))),
            &["65536", "bytes", "large", "long"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn entries_without_exactly_one_request() {
    let good = || market("twice", "BTCUSDT", "Buy", "1").to_string().into_bytes();
    let cancel = || br#"{"client_order_id":"twice"}"#.to_vec();
    check(vec![
        unreadable("no request field", vec![("note", b"hello".to_vec())], &["order", "request", "field"]),
        unreadable("wrong name", vec![("orders", good())], &["order", "request", "field"]),
        unreadable(
            "two requests",
            vec![("order", good()), ("cancel", cancel())],
            &["cancel", "order", "one"],
        ),
        unreadable(
            "the same field twice",
            vec![("order", good()), ("order", good())],
            &["order", "one", "twice"],
        ),
        unreadable(
            "three requests",
            vec![("replace", b"{}".to_vec()), ("cancel_all", b"{}".to_vec()), ("cancel", cancel())],
            &["cancel", "replace", "one"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn fields_that_are_unknown_repeated_missing_or_of_a_wrong_type() {
    let long_name = format!(r#""evil\n\u0007\u001b[31m{}":1"#, "x".repeat(3000));
    check(vec![
        unreadable("unknown field", good_and(r#""quantitty":"1""#), &["quantitty"]),
        unreadable("unknown field with a name that is an attack", good_and(&long_name), &["evil"]),
        unreadable("symbol twice", good_and(r#""symbol":"ETHUSDT""#), &["symbol"]),
        unreadable("quantity twice, equal", good_and(r#""quantity":"1""#), &["quantity"]),
        unreadable("twice in two cases", good_and(r#""QUANTITY":"2""#), &["quantity"]),
        unreadable("order_type and type", good_and(r#""type":"Market""#), &["type"]),
        unreadable(
            "price twice, nested",
            order(r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"1","order_type":{"Limit":{"price":"1","price":"2"}}}"#),
            &["price"],
        ),
        unreadable("key twice in metadata", good_and(r#""metadata":{"desk":"a","desk":"b"}"#), &["desk", "metadata"]),
        unreadable("unknown instruction", good_and(r#""execution_instructions":{"hidden":true}"#), &["hidden"]),
        unreadable(
            "two order types",
            order(
                r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"1",
                "order_type":{"Limit":{"price":"1"},"Stop":{"stop_price":"2"}}}"#,
            ),
            &["order_type"],
        ),
        unreadable("symbol is a number", order(r#"{"symbol":1,"side":"Buy","quantity":"1","order_type":"Market"}"#), &["symbol"]),
        unreadable("side is unknown", order(r#"{"symbol":"BTCUSDT","side":"Hold","quantity":"1","order_type":"Market"}"#), &["side"]),
        unreadable("type is unknown", order(r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"1","order_type":"Guess"}"#), &["type"]),
        unreadable("time in force is unknown", good_and(r#""time_in_force":"GTX""#), &["time_in_force"]),
        unreadable("post_only is text", good_and(r#""execution_instructions":{"post_only":"yes"}"#), &["post_only"]),
        unreadable("no symbol", order(r#"{"side":"Buy","quantity":"1","order_type":"Market"}"#), &["symbol"]),
        unreadable("no side", order(r#"{"symbol":"BTCUSDT","quantity":"1","order_type":"Market"}"#), &["side"]),
        unreadable("no quantity", order(r#"{"symbol":"BTCUSDT","side":"Buy","order_type":"Market"}"#), &["quantity"]),
        unreadable("no type", order(r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"1"}"#), &["type"]),
        unreadable("id is no UUID", good_and(r#""id":"seven""#), &["id", "uuid"]),
    ])
    .await;
}

#[tokio::test]
async fn amounts_that_are_none() {
    check(vec![
        unreadable("NaN", quantity("NaN"), &["quantity", "nan", "json", "expected"]),
        unreadable("NaN as text", quantity(r#""NaN""#), &["quantity"]),
        unreadable("infinite", quantity(r#""Infinity""#), &["quantity"]),
        unreadable("words", quantity(r#""a lot""#), &["quantity"]),
        unreadable("empty text", quantity(r#""""#), &["quantity"]),
        unreadable("a boolean", quantity("true"), &["quantity"]),
        unreadable("null", quantity("null"), &["quantity"]),
        unreadable("an array", quantity("[1]"), &["quantity"]),
        unreadable("with a space", quantity(r#"" 1""#), &["quantity"]),
        unreadable("with a separator", quantity(r#""1_000""#), &["quantity"]),
        unreadable("29 digits as text", quantity(r#""12345678901234567890123456789""#), &["quantity"]),
        unreadable("29 digits as a number", quantity("1.2345678901234567890123456789"), &["quantity"]),
        unreadable("more digits than any", quantity(&format!("0.{}", "123456789".repeat(100))), &["quantity"]),
        unreadable("an exponent far out", quantity("1e400"), &["quantity"]),
        unreadable("an exponent further out", quantity("1e99999999999999999999"), &["quantity"]),
        unreadable("an exponent too small", quantity(r#""1e-400""#), &["quantity"]),
        unreadable(
            "a limit price",
            order(r#"{"symbol":"BTCUSDT","side":"Buy","quantity":"1","order_type":{"Limit":{"price":"cheap"}}}"#),
            &["price"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn values_out_of_their_range() {
    let symbol = |s: &str| {
        order(json!({"symbol": s, "side": "Buy", "quantity": "1", "order_type": "Market"}).to_string())
    };
    let id = |s: &str| good_and(&format!(r#""client_order_id":{}"#, Value::from(s)));
    check(vec![
        out_of_range("zero", quantity("0"), &["quantity"]),
        out_of_range("zero with digits", quantity(r#""0.000""#), &["quantity"]),
        out_of_range("negative", quantity("-1"), &["quantity"]),
        out_of_range("negative text", quantity(r#""-0.5""#), &["quantity"]),
        out_of_range("empty symbol", symbol(""), &["symbol"]),
        out_of_range("symbol with a space", symbol("BTC USDT"), &["symbol"]),
        out_of_range("symbol with a NUL", symbol("BTC\0USDT"), &["symbol"]),
        out_of_range("symbol that is no ASCII", symbol("BTCÜSDT"), &["symbol"]),
        out_of_range("symbol with 33 letters", symbol(&"A".repeat(33)), &["symbol"]),
        out_of_range("empty id", id(""), &["client_order_id"]),
        out_of_range("id with 65 letters", id(&"a".repeat(65)), &["client_order_id"]),
        out_of_range("id with a space", id("a b"), &["client_order_id"]),
        out_of_range("id with a line break", id("a\nb"), &["client_order_id"]),
        out_of_range("id with a brace", id("{a}"), &["client_order_id"]),
        out_of_range(
            "NUL in a carried field",
            good_and(r#""strategy_id":"a\u0000b""#),
            &["strategy_id", "nul"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn out_fields_with_other_than_their_initial_values() {
    check(vec![
        out_of_range("status", good_and(r#""status":"Filled""#), &["status"]),
        out_of_range("a rejected status", good_and(r#""status":{"Rejected":{"reason":"no"}}"#), &["status"]),
        out_of_range("filled", good_and(r#""filled_quantity":"0.5""#), &["filled_quantity"]),
        out_of_range("remaining", good_and(r#""remaining_quantity":"0.5""#), &["remaining_quantity"]),
        out_of_range("average", good_and(r#""average_fill_price":"45000""#), &["average_fill_price"]),
        out_of_range("commission", good_and(r#""commission":"1""#), &["commission"]),
        out_of_range("broker's id", good_and(r#""broker_order_id":"B-1""#), &["broker_order_id"]),
        out_of_range("events", good_and(r#""events":[{"type":"Created"}]"#), &["events"]),
        out_of_range("a time that is none", good_and(r#""created_at":"yesterday""#), &["created_at"]),
    ])
    .await;
}

#[tokio::test]
async fn the_initial_values_that_a_rust_producer_serialises_are_accepted() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = json!({
        "id": "0190a1b2-0000-7000-8000-000000000001",
        "client_order_id": "serialised",
        "broker_order_id": null,
        "symbol": "BTCUSDT",
        "side": "Buy",
        "quantity": "1.50",
        "order_type": {"Limit": {"price": "45000"}},
        "time_in_force": "GTC",
        "status": "Created",
        "filled_quantity": "0",
        "remaining_quantity": "1.5",
        "average_fill_price": null,
        "commission": "0",
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00.123456789Z",
        "events": [],
        "strategy_id": null,
        "signal_id": null,
        "parent_order_id": null,
        "expire_time": null,
        "max_slippage": null,
        "linked_orders": [],
        "conditions": [],
        "metadata": {},
    });
    let outcome = lab.execute(&order).await;
    outcome.is_completed("Filled");
    assert_eq!(outcome.order()["id"], order["id"]);
}

#[tokio::test]
async fn the_bound_on_a_payload_is_configurable_and_bounds_what_is_echoed() {
    let lab = Lab::with(|s| {
        s.set("worker.max_payload_bytes", "2000");
    })
    .await;
    let _worker = lab.worker().await;
    let padded = |id: &str, bytes: usize| {
        let text = |note: usize| {
            let order = market(id, "BTCUSDT", "Buy", "1");
            crate::harness::with(order, json!({"metadata": {"note": "x".repeat(note)}})).to_string()
        };
        let text = text(bytes - text(0).len());
        assert_eq!(text.len(), bytes);
        text
    };
    let (fits, too_long) = (padded("fits", 1900), padded("too-long", 2001));
    let entries = lab
        .burst(&[vec![("order", fits.into_bytes())], vec![("order", too_long.clone().into_bytes())]])
        .await;
    let outcomes = lab.outcomes(&entries).await;
    outcomes[0].is_completed("Filled");
    outcomes[1].is_failed("INVALID_PAYLOAD").names(&["2000"]);
    let payload = outcomes[1].entry.bytes("payload").expect("a payload");
    assert_eq!(payload, &too_long.as_bytes()[..payload.len()]);
    assert!(payload.len() <= 2000, "{} bytes", payload.len());
}

#[tokio::test]
async fn a_timestamp_that_is_none_is_refused() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let order = market("untimely", "BTCUSDT", "Buy", "1").to_string();
    for bad in ["yesterday", "1700000000", "2024-02-30T00:00:00Z"] {
        let entry = lab.add(&[("order", order.as_bytes()), ("timestamp", bad.as_bytes())]).await;
        lab.outcome(&entry)
            .await
            .is_failed_as(&["INVALID_PAYLOAD", "VALIDATION_FAILED"])
            .names(&["timestamp"]);
    }
}
