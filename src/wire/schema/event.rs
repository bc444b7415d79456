//! An event: what all have, and by its type the details.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::time::Timestamp;

/// One definition for each type (`FillEvent`), so that a reader can tell them apart by `type`. They come from
/// the variants of [`EventKind`]: a new one needs nothing here.
impl JsonSchema for OrderEvent {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("OrderEvent")
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = EventKind::json_schema(generator).to_value();
        let variants = kinds["oneOf"].as_array().cloned().unwrap_or_default();
        let choices: Vec<Value> = variants.iter().map(|variant| one_event(generator, variant)).collect();
        json_schema!({
            "description": "One thing that happened to one order, once.",
            "oneOf": choices,
        })
    }
}

/// Defines the event whose type and details `variant` describes; a reference to it.
fn one_event(generator: &mut SchemaGenerator, variant: &Value) -> Value {
    let uuid = generator.subschema_for::<uuid::Uuid>();
    let timestamp = generator.subschema_for::<Timestamp>();
    let own = &variant["properties"];
    let name = own["type"]["const"].as_str().unwrap_or_default();
    let mut event = json!({
        "type": "object",
        "properties": {
            "event_id": uuid,
            "version": { "type": "integer", "minimum": 1, "description": "Counts an order's events, without gaps." },
            "type": own["type"],
            "timestamp": timestamp,
        },
        "required": ["event_id", "version", "type", "timestamp"],
    });
    if let Some(description) = variant.get("description") {
        event["description"] = description.clone();
    }
    if let Some(details) = own.get("details") {
        event["properties"]["details"] = details.clone();
        if let Some(required) = event["required"].as_array_mut() {
            required.push("details".into());
        }
    }
    let definition = format!("{name}Event");
    let reference = json!({ "$ref": format!("#/$defs/{definition}") });
    generator.definitions_mut().insert(definition, event);
    reference
}
