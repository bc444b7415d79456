//! What a request says, however it is spelled.

use order_execution::domain::ids::{OrderId, RequestKey};
use order_execution::domain::order::OrderSpec;
use order_execution::domain::request::{OrderRef, Request};
use order_execution::wire::spec_json;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{MAX_PAYLOAD, amounts, decode, refusal};

/// The request that was read from `payload`, the value of the request field `name`.
pub(super) fn check(request: &Request, name: &str, payload: &[u8], key: &RequestKey, limit: usize) {
    let canonical = match request {
        Request::Refused(refused) => return refusal::check(refused, name, payload, limit),
        Request::Trimmed | Request::Journaled(_) => panic!("no entry says {request:?}"),
        Request::Submit(spec) => check_order(spec, payload, key),
        Request::Cancel(OrderRef::Client(id)) => json!({ "client_order_id": id.as_str() }).to_string(),
        Request::Cancel(OrderRef::Order(id)) => json!({ "order_id": id.to_string() }).to_string(),
        Request::CancelAll(filter) => json!({
            "symbol": filter.symbol.as_ref().map(|symbol| symbol.as_str()),
            "side": filter.side.map(|side| side.as_str()),
            "broker": filter.broker.as_ref().map(|broker| broker.as_str()),
            "strategy_id": filter.strategy_id,
        })
        .to_string(),
        Request::Replace(replace) => json!({
            "client_order_id": replace.client_order_id.as_str(),
            "quantity": replace.terms.quantity.map(|value| value.to_string()),
            "price": replace.terms.price.map(|value| value.to_string()),
            "stop_price": replace.terms.stop_price.map(|value| value.to_string()),
        })
        .to_string(),
    };
    // Written as the contract spells it, it reads back the same, from whichever entry.
    let elsewhere = super::key(1, 0);
    let again = decode(&[(name.as_bytes(), canonical.as_bytes())], &elsewhere, MAX_PAYLOAD);
    assert_eq!(&again.request, request, "written as {canonical}");

    // The order of members, white space and escapes say nothing.
    let sent: Value = serde_json::from_slice(payload).expect("what was read is JSON");
    let respelled = sent.to_string();
    let again = decode(&[(name.as_bytes(), respelled.as_bytes())], key, MAX_PAYLOAD);
    assert_eq!(&again.request, request, "respelled as {respelled}");

    // No key was given twice, nowhere: of two, one would have been lost.
    let Shape { members, depth } = Shape::of(payload);
    assert_eq!(members, members_of(&sent), "a key stands there twice");
    assert!(depth <= 32, "nested {depth} levels deep");

    // Every amount has the value that was sent, and no other was added.
    let written: Value = serde_json::from_str(&canonical).expect("what is written is JSON");
    assert_eq!(amounts::of(&written), amounts::of(&sent), "written as {canonical}");
}

/// What an order's content is, by its hash; returns the canonical form.
fn check_order(spec: &OrderSpec, payload: &[u8], key: &RequestKey) -> String {
    let json = spec_json(spec);
    let hash = |spec: &OrderSpec| spec.content_hash().expect("an order can be written");
    let content = hash(spec);

    let journaled: OrderSpec = serde_json::from_str(&json).expect("the journal reads what it wrote");
    assert_eq!(&journaled, spec);
    assert_eq!(hash(&journaled), content);

    let renamed = OrderSpec { id: OrderId(Uuid::max()), ..journaled };
    assert_eq!(hash(&renamed), content, "the worker's own id is no part of the content");
    let turned = OrderSpec { side: spec.side.opposite(), ..renamed };
    assert_ne!(hash(&turned), content, "the side is part of the content");
    let component_name = match &spec.component_name {
        Some(_) => None,
        None => Some(String::new()),
    };
    let signed = OrderSpec { component_name, side: spec.side, ..turned };
    assert_ne!(hash(&signed), content, "every field is part of the content");

    check_derived_id(spec, payload, key);
    json
}

/// An order that came without a client order id has one of its entry, the same whenever it is read.
fn check_derived_id(spec: &OrderSpec, payload: &[u8], key: &RequestKey) {
    let sent: Value = serde_json::from_slice(payload).expect("what was read is JSON");
    let is_id = |name: &str| {
        name.eq_ignore_ascii_case("client_order_id") || name.eq_ignore_ascii_case("clientorderid")
    };
    let given = sent.as_object().into_iter().flatten().find(|(name, _)| is_id(name)).map(|(_, id)| id);
    let id = spec.client_order_id.as_str();
    match given.and_then(Value::as_str) {
        Some(given) => assert_eq!(id, given),
        None => {
            let entry = key.entry;
            let derived = format!("RT_{}_{}_{}_{:08x}", spec.symbol, spec.side.as_str(), entry.ms, entry.seq);
            assert_eq!(id, derived);
        }
    }
}

/// What is counted of JSON without reading it.
struct Shape {
    members: usize,
    depth: usize,
}

impl Shape {
    fn of(json: &[u8]) -> Self {
        let (mut shape, mut open) = (Self { members: 0, depth: 0 }, 0);
        let mut bytes = json.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => {
                    while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                        if *byte == b'\\' {
                            bytes.next();
                        }
                    }
                }
                b':' => shape.members += 1,
                b'{' | b'[' => {
                    open += 1;
                    shape.depth = shape.depth.max(open);
                }
                b'}' | b']' => open -= 1,
                _ => {}
            }
        }
        shape
    }
}

fn members_of(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(members_of).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(members_of).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
