//! The published schemas (`schemas/all.json`), and whatever the suite reads of what workers write held against
//! them. Readers must take fields that they do not know, so the published schemas do; here none may come.

use super::Entry;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

pub(crate) fn published(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

static DEFINITIONS: LazyLock<Value> = LazyLock::new(|| {
    let mut all = published("all");
    let definitions = all["$defs"].as_object_mut().expect("definitions");
    definitions.values_mut().for_each(close);
    all
});

/// Objects take no members but those that they list.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            for keyword in ["properties", "anyOf", "oneOf", "items", "contentSchema"] {
                match object.get_mut(keyword) {
                    Some(Value::Object(inner)) if keyword == "properties" => {
                        inner.values_mut().for_each(close);
                    }
                    Some(inner) => close(inner),
                    None => {}
                }
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(close),
        _ => {}
    }
}

/// Compiles a schema that may refer to the definitions, each once.
fn validator(schema: &Value) -> Arc<Validator> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        let whole = json!({ "$defs": DEFINITIONS["$defs"], "allOf": [schema] });
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&whole).unwrap_or_else(|e| panic!("{schema}: {e}")))
    };
    Arc::clone(compiled.entry(schema.to_string()).or_insert_with(compile))
}

fn reference(definition: &str) -> Value {
    assert!(DEFINITIONS["$defs"].get(definition).is_some(), "no definition {definition}");
    json!({ "$ref": format!("#/$defs/{definition}") })
}

/// What is wrong with `value` as a `definition`.
pub(crate) fn fault(definition: &str, value: &Value) -> Option<String> {
    fault_of(&reference(definition), value)
}

fn fault_of(schema: &Value, value: &Value) -> Option<String> {
    let validator = validator(schema);
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|e| format!("{} at {:?}", e, e.instance_path().to_string()))
        .collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// An entry's fields as the schemas see them, and the JSON that some of them hold.
pub(crate) fn entry_fault(definition: &str, fields: &Map<String, Value>) -> Option<String> {
    let own = fault(definition, &Value::Object(fields.clone()));
    let inner = fields.iter().find_map(|(name, value)| {
        let schema = DEFINITIONS["$defs"][definition]["properties"].get(name)?.get("contentSchema")?;
        let content = match serde_json::from_str(value.as_str()?) {
            Ok(content) => content,
            Err(error) => return Some(format!("{name} is not JSON: {error}")),
        };
        fault_of(schema, &content).map(|fault| format!("{name}: {fault}"))
    });
    own.or(inner)
}

/// Fails where a message is not what its schema says.
#[track_caller]
pub(crate) fn assert_is(definition: &str, value: &Value) {
    if let Some(fault) = fault(definition, value) {
        panic!("this is no {definition}: {fault}\n{value}");
    }
}

/// The same of an entry of `stream`; of streams that workers do not write, nothing is said.
#[track_caller]
pub(super) fn assert_entry(stream: &str, entry: &Entry) {
    let definition = match stream {
        "events" => "EventEntry",
        "failed" => "FailedOutcome",
        "completed" if entry.has("cancelled") => "SweptOutcome",
        "completed" => "CompletedOutcome",
        _ => return,
    };
    if let Some(fault) = entry_fault(definition, &entry.texts()) {
        panic!("this is no {definition}: {fault}\n{entry}");
    }
}
