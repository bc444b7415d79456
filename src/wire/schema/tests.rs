//! The schemas say what the decoder does. What workers write is held against them by the black-box suite.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ALL, DOCUMENTS, NAMES, new_order, schema, text};
use crate::domain::amount;
use crate::domain::event::OrderEvent;
use crate::domain::request::{Request, RequestKind};
use crate::wire::command::{CancelAllFields, CancelFields, ReplaceFields};
use crate::wire::instructions::{ConditionFields, GtdFields, InstructionFields};
use crate::wire::order::OrderFields;
use crate::wire::order_type::TypeFields;
use crate::wire::tests::decode;

/// What `reference` (`#/$defs/…` of the schema of everything) takes; formats count.
fn definition(name: &str) -> Validator {
    let mut all = schema(ALL).unwrap();
    all["$ref"] = json!(format!("#/$defs/{name}"));
    compiled(&all)
}

fn compiled(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The request of an entry with one field.
fn decoded(field: &str, json: &str) -> Request {
    decode(&[(field.as_bytes(), json.as_bytes())]).request
}

fn is_accepted(field: &str, json: &str) -> bool {
    !matches!(decoded(field, json), Request::Refused(_))
}

fn properties(definition: &str) -> BTreeSet<String> {
    let all = schema(ALL).unwrap();
    all["$defs"][definition]["properties"].as_object().unwrap().keys().cloned().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What the decoder refuses and no schema can: a part of the sentence, and why.
const BEYOND: &[(&str, &str)] = &[
    ("appears twice", "what reads the JSON for a validator keeps one of the two"),
    ("contradicts quantity", "a schema cannot compare two fields"),
    ("deeper than", "a schema cannot count levels"),
    ("NUL", "metadata is whatever the producer likes"),
    ("is not a key that can be kept", "the same"),
    ("significant digits", "a JSON number is a number to a schema, however many digits it has"),
    ("an exponent or more decimals", "the same"),
    ("outside the years", "an offset moves the instant over the bound"),
];

/// An order that the decoder refused with `reason` is refused by the schema, too, or no schema could.
pub(in crate::wire) fn check_form(json: &str, reason: &str) {
    static ORDERS: LazyLock<Validator> = LazyLock::new(|| definition("SubmittedOrder"));
    let Ok(value) = serde_json::from_str::<Value>(json) else { return };
    let is_beyond = BEYOND.iter().any(|(part, _)| reason.contains(part));
    assert!(is_beyond || !ORDERS.is_valid(&value), "the schema takes {json}\n{reason}");
}

#[test]
fn what_is_said_to_be_beyond_a_schema_is() {
    let orders = definition("SubmittedOrder");
    let order = |more: &str| format!(r#"{{"symbol":"X","side":"Buy","order_type":"Market",{more}}}"#);
    let deep = format!(r#""quantity":1,"metadata":{{"a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let cases = [
        r#""quantity":1,"metadata":{"a":1,"a":2}"#,
        r#""quantity":1,"remaining_quantity":2"#,
        &deep,
        r#""quantity":1,"metadata":{"a":"\u0000"}"#,
        r#""quantity":1,"metadata":{"a\u0000":1}"#,
        r#""quantity":1.2345678901234567890123456789"#,
        r#""quantity":1e-29"#,
        r#""quantity":1,"expire_time":"9999-12-31T23:59:59-23:59""#,
    ];
    for ((part, why), case) in BEYOND.iter().zip(cases) {
        let json = order(case);
        let Request::Refused(refused) = decoded("order", &json) else { panic!("{json} is accepted") };
        assert!(refused.refusal.reason.contains(part), "{}", refused.refusal);
        assert!(orders.is_valid(&parsed(&json)), "{json} is refused by the schema, although {why}");
    }
    assert_eq!(cases.len(), BEYOND.len());
}

#[test]
fn every_schema_is_one_and_has_examples() {
    for name in NAMES {
        let schema = schema(name).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parsed(&text(name).unwrap()), schema);
    }
    assert_eq!(schema("orders"), None);
}

#[test]
fn the_examples_are_valid() {
    for document in DOCUMENTS {
        let schema = document.schema();
        let validator = compiled(&schema);
        let examples = schema["examples"].as_array().expect(document.name);
        assert!(!examples.is_empty(), "{} has no examples", document.name);
        for example in examples {
            if let Err(error) = validator.validate(example) {
                panic!("{}: {error}\n{example}", document.name);
            }
            let mut unlike = example.clone();
            unlike.as_object_mut().unwrap().clear();
            assert!(
                document.name == "cancel_all" || !validator.is_valid(&unlike),
                "{} takes {{}}",
                document.name
            );
        }
    }
}

#[test]
fn the_examples_of_requests_are_read() {
    for (name, field) in
        [("new_order", "order"), ("cancel", "cancel"), ("cancel_all", "cancel_all"), ("replace", "replace")]
    {
        for example in schema(name).unwrap()["examples"].as_array().unwrap() {
            let request = decoded(field, &example.to_string());
            assert!(!matches!(request, Request::Refused(_)), "{example}\n{request:?}");
        }
    }
    for example in schema("request").unwrap()["examples"].as_array().unwrap() {
        let fields: Vec<(&[u8], &[u8])> = example
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_str().unwrap().as_bytes()))
            .collect();
        let request = decode(&fields).request;
        assert!(!matches!(request, Request::Refused(_)), "{example}\n{request:?}");
    }
}

#[test]
fn the_examples_of_events_are_read_and_show_every_type() {
    let examples = schema("event").unwrap()["examples"].clone();
    let mut shown = BTreeSet::new();
    for example in examples.as_array().unwrap() {
        let event: OrderEvent = serde_json::from_str(&example.to_string()).unwrap();
        assert_eq!(parsed(&serde_json::to_string(&event).unwrap()), *example);
        shown.insert(format!("{}Event", event.kind.name()));
    }
    let all = schema("event").unwrap();
    let types: BTreeSet<String> =
        all["$defs"].as_object().unwrap().keys().filter(|name| name.ends_with("Event")).cloned().collect();
    assert_eq!(shown, types, "the types in examples/event.json, and those of EventKind");
}

#[test]
fn no_two_schemas_give_one_name_to_different_things() {
    let mut seen: Map<String, Value> = Map::new();
    for document in DOCUMENTS {
        let mut schema = (document.make)().to_value();
        let root = schema.as_object_mut().unwrap();
        root.remove("$schema");
        let mut own = root.remove("$defs").unwrap_or_else(|| json!({}));
        let title = root.remove("title").unwrap();
        own[title.as_str().unwrap()] = schema;
        for (name, value) in own.as_object().unwrap() {
            if let Some(other) = seen.insert(name.clone(), value.clone()) {
                assert_eq!(other, *value, "{name} of {}", document.name);
            }
        }
    }
}

#[test]
fn the_fields_are_those_of_the_decoder() {
    let mut order = properties("NewOrder");
    order.extend(properties("FlatOrder"));
    assert!(order.remove("type"), "another name of order_type");
    assert_eq!(order, set(OrderFields::NAMES));
    assert_eq!(properties("NewInstructions"), set(InstructionFields::NAMES));
    assert_eq!(properties("NewCondition"), set(ConditionFields::NAMES));
    assert_eq!(properties("CancelAll"), set(CancelAllFields::NAMES));
    assert_eq!(properties("Replace"), set(ReplaceFields::NAMES));
    let all = schema(ALL).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let cancel = all["$defs"]["Cancel"]["anyOf"].as_array().unwrap();
    let cancel: BTreeSet<String> = cancel.iter().flat_map(|way| keys(&way["properties"])).collect();
    assert_eq!(cancel, set(CancelFields::NAMES));
    let ways = all["$defs"]["NewTimeInForce"]["oneOf"].as_array().unwrap();
    let gtd = ways.iter().find_map(|way| way["properties"].get("GTD")).unwrap();
    assert_eq!(keys(&gtd["properties"]), GtdFields::NAMES);
    let types = all["$defs"]["NewOrderType"]["oneOf"].as_array().unwrap();
    let inner =
        types.iter().filter_map(|choice| choice["properties"].as_object()).flat_map(|one| one.values());
    let members: BTreeSet<String> = inner.flat_map(|details| keys(&details["properties"])).collect();
    assert_eq!(members, set(TypeFields::NAMES));
}

/// Every flat type with every set of prices: what the schema takes is what the decoder takes.
#[test]
fn each_flat_type_takes_the_prices_that_the_decoder_gives_it() {
    let validator = definition("FlatOrder");
    let all = schema(ALL).unwrap();
    let names = all["$defs"]["FlatType"]["enum"].as_array().unwrap();
    let mut accepted = 0;
    for name in names {
        for chosen in 0..1_usize << new_order::PRICES.len() {
            let mut order = json!({ "symbol": "X", "side": "BUY", "quantity": "1", "type": name });
            for (bit, price) in new_order::PRICES.iter().enumerate() {
                if chosen & (1 << bit) != 0 {
                    order[price] = if *price == "distance_type" { json!("PERCENT") } else { json!(5) };
                }
            }
            let taken = validator.is_valid(&order);
            assert_eq!(taken, is_accepted("order", &order.to_string()), "{order}");
            accepted += usize::from(taken);
        }
    }
    // 1 MARKET, 2 each LIMIT and LIMIT_MAKER, 1 each STOP, 2 each STOP_LIMIT, 1, 2 each touched, 4 each limit-touched.
    assert_eq!(accepted, 1 + 4 + 2 + 4 + 1 + 4 + 8);
}

/// Every canonical type, time in force and so on, with each of its members left out in turn.
#[test]
fn what_the_canonical_form_requires_the_decoder_requires() {
    let full = parsed(include_str!("../../../tests/data/wire/canonical_full.json"));
    let validator = definition("NewOrder");
    assert!(validator.is_valid(&full), "{:?}", validator.validate(&full));
    let check = |order: &Value| {
        assert_eq!(validator.is_valid(order), is_accepted("order", &order.to_string()), "{order}");
    };
    for name in full.as_object().unwrap().keys() {
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(name);
        check(&without);
        let mut renamed = without.clone();
        renamed[format!("{name}s")] = full[name].clone();
        assert!(!validator.is_valid(&renamed), "{renamed}");
    }
    let types = [
        json!("Market"),
        json!({"Limit": {"price": "1"}}),
        json!({"Stop": {"stop_price": "1"}}),
        json!({"StopLimit": {"stop_price": "1", "limit_price": "2"}}),
        json!({"TrailingStop": {"distance": "1", "distance_type": "Absolute"}}),
        json!({"MarketIfTouched": {"trigger_price": "1"}}),
        json!({"LimitIfTouched": {"trigger_price": "1", "limit_price": "2"}}),
        json!({"Iceberg": {"display_quantity": "1", "total_quantity": "2", "variance": "0"}}),
        json!({"Custom": {"algorithm": "TWAP", "params": {"slices": 4}}}),
    ];
    let order =
        |order_type: &Value| json!({"symbol": "X", "side": "Sell", "quantity": 1, "order_type": order_type});
    for order_type in types {
        assert!(validator.is_valid(&order(&order_type)), "{order_type}");
        check(&order(&order_type));
        let Some((variant, members)) = order_type.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        for name in members.as_object().unwrap().keys() {
            let mut fewer = members.clone();
            fewer.as_object_mut().unwrap().remove(name);
            check(&order(&json!({ variant: fewer })));
            let mut more = members.clone();
            more["prise"] = json!("1");
            check(&order(&json!({ variant: more })));
        }
    }
    for time in ["GTC", "IOC", "FOK", "DAY", "MOC", "LOC", "GTX"] {
        let mut order = order(&json!("Market"));
        order["time_in_force"] = json!(time);
        check(&order);
        order["expire_time"] = json!("2030-01-01T00:00:00Z");
        check(&order);
    }
}

/// Every time in force with a time to expire, without one, and with null.
#[test]
fn a_flat_order_expires_only_where_it_is_gtd() {
    let validator = definition("FlatOrder");
    let mut taken = 0;
    for time in
        [json!("GTC"), json!("IOC"), json!("FOK"), json!("DAY"), json!("GTD"), json!("GTX"), Value::Null]
    {
        for expires in [Some(json!("2030-01-01T00:00:00Z")), Some(json!("soon")), Some(Value::Null), None] {
            let mut order = json!({ "symbol": "X", "side": "BUY", "quantity": "1", "type": "MARKET", "time_in_force": time });
            if let Some(expires) = expires {
                order["expire_time"] = expires;
            }
            assert_eq!(validator.is_valid(&order), is_accepted("order", &order.to_string()), "{order}");
            taken += usize::from(validator.is_valid(&order));
        }
    }
    assert_eq!(taken, 4 * 2 + 1 + 3, "without a time four and none, with one GTD and none");
}

#[test]
fn a_command_is_taken_as_the_decoder_takes_it() {
    let id = "0190a1b2-0000-7000-8000-000000000001";
    let check = |field: &str, definition_name: &str, cases: &[Value]| {
        let validator = definition(definition_name);
        for case in cases {
            assert_eq!(validator.is_valid(case), is_accepted(field, &case.to_string()), "{field} {case}");
        }
        assert!(cases.iter().any(|case| validator.is_valid(case)), "{field}: no case is good");
    };
    check(
        "cancel",
        "Cancel",
        &[
            json!({}),
            json!({"client_order_id": "a"}),
            json!({"order_id": id}),
            json!({"order_id": "00000000-0000-0000-0000-000000000000"}),
            json!({"client_order_id": "a", "order_id": id}),
            json!({"client_order_id": "a b"}),
            json!({"client_order_id": "a", "why": ""}),
            json!("a"),
        ],
    );
    check(
        "cancel_all",
        "CancelAll",
        &[
            json!({}),
            json!({"symbol": "X", "side": "Buy", "broker": "mock", "strategy_id": "s"}),
            json!({"symbol": null}),
            json!({"side": "Hold"}),
            json!({"symbols": "X"}),
        ],
    );
    check(
        "replace",
        "Replace",
        &[
            json!({"client_order_id": "a"}),
            json!({"client_order_id": "a", "quantity": "2"}),
            json!({"client_order_id": "a", "price": 2.5, "stop_price": "1"}),
            json!({"client_order_id": "a", "quantity": "0"}),
            json!({"client_order_id": "a", "price": "-1"}),
            json!({"quantity": "1"}),
            json!({"client_order_id": "a", "side": "Buy"}),
        ],
    );
}

#[test]
fn an_entry_has_exactly_one_request() {
    let validator = compiled(&schema("request").unwrap());
    let (order, cancel) =
        (r#"{"symbol":"X","side":"Buy","quantity":"1","order_type":"Market"}"#, r#"{"order_id":"a"}"#);
    for (entry, is_one) in [
        (json!({"order": order}), true),
        (json!({"order": order, "note": "hello"}), true),
        (json!({"order": order, "timestamp": "2026-01-31T12:00:00Z"}), true),
        (json!({"order": order, "timestamp": "yesterday"}), false),
        (json!({"order": order, "cancel": cancel}), false),
        (json!({"note": "hello"}), false),
    ] {
        assert_eq!(validator.is_valid(&entry), is_one, "{entry}");
        let kind = if is_one { RequestKind::Submit } else { RequestKind::Unknown };
        let fields: Vec<(&[u8], &[u8])> = entry
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.as_bytes(), v.as_str().unwrap().as_bytes()))
            .collect();
        let decoded = decode(&fields).request;
        assert!(is_one != matches!(decoded, Request::Refused(_)), "{entry}");
        assert!(decoded.kind() == kind || entry.get("timestamp").is_some(), "{entry}");
    }
}

proptest! {
    /// Text of an amount: the pattern takes exactly what the decoder takes, exponents aside.
    #[test]
    fn amounts_as_text(sign in "[+-]?", whole in "0{0,3}[0-9]{0,30}", fraction in "(\\.0{0,29}[0-9]{0,30}0{0,9})?") {
        let text = format!("{sign}{whole}{fraction}");
        let value = amount::parse(&text);
        let value = value.ok().filter(|_| !text.starts_with('-'));
        let takes = |definition: &str| {
            let schema = schema(ALL).unwrap()["$defs"][definition]["anyOf"][0].clone();
            jsonschema::validator_for(&schema).unwrap().is_valid(&json!(text))
        };
        prop_assert_eq!(takes("UnsignedDecimal"), value.is_some(), "{}", text);
        prop_assert_eq!(takes("PositiveDecimal"), value.is_some_and(|value| !value.is_zero()), "{}", text);
    }
}

#[test]
fn the_patterns_refuse_what_is_no_name() {
    let takes = |name: &str, text: &str| definition(name).is_valid(&json!(text));
    assert!(takes("Symbol", "EUR_USD") && !takes("Symbol", "EUR USD") && !takes("Symbol", &"A".repeat(33)));
    assert!(takes("ClientOrderId", &"a".repeat(64)) && !takes("ClientOrderId", "a\n"));
    assert!(takes("ShortText", &"é".repeat(256)) && !takes("ShortText", &"é".repeat(257)));
    assert!(!takes("ShortText", "a\0b") && !takes("ShortText", "a\u{85}b"));
    assert!(takes("Instant", "2026-01-31T12:00:00+02:00") && !takes("Instant", "2026-02-30T12:00:00Z"));
    assert!(!takes("Instant", "0000-01-31T12:00:00Z") && !takes("Instant", "2026-01-31"));
    assert!(!takes("Uuid", "00000000-0000-0000-0000-000000000000") && !takes("Uuid", "seven"));
}
