//! What goes over the wire, as JSON Schema (draft 2020-12), made from the types of this crate.
//!
//! What workers write is described by the types that are written: the domain's, and those of `encode`. What
//! producers send is read without such types (see `item`), so it has some of its own in `new_order` and
//! `command`, which say the same: the tests beside this file compare them with the decoder, and the black-box
//! suite holds every message that it reads against the published schemas.
//!
//! A schema of a request is narrower than the decoder: it has one spelling for each name, and what it takes the
//! decoder takes, but for what no schema can say (`docs/schemas.md` lists that).

mod command;
mod entry;
mod event;
mod new_order;
mod scalar;
#[cfg(test)]
pub(super) mod tests;
mod tidy;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::encode::{OrderJson, StatusMessage};
use crate::domain::event::OrderEvent;
use crate::domain::trading_state::Switch;

/// The name of the schema that holds the definitions of all others, and no example.
pub const ALL: &str = "all";

/// One schema: what it describes, and how it is made.
struct Document {
    name: &'static str,
    make: fn() -> Schema,
    /// A JSON array, shown in the schema.
    examples: &'static str,
}

macro_rules! documents {
    ($($name:literal: $side:ident $type:ty,)*) => {
        const DOCUMENTS: &[Document] = &[$(Document {
            name: $name,
            make: $side::<$type>,
            examples: include_str!(concat!("examples/", $name, ".json")),
        }),*];

        /// Every name that [`schema`] knows.
        pub const NAMES: &[&str] = &[$($name,)* ALL];
    };
}

documents! {
    "request": read entry::Request,
    "new_order": read new_order::SubmittedOrder,
    "cancel": read command::Cancel,
    "cancel_all": read command::CancelAll,
    "replace": read command::Replace,
    "order": written OrderJson<'static>,
    "outcome": written entry::Outcome,
    "status_message": written StatusMessage<'static>,
    "event_entry": written entry::EventEntry,
    "event": written OrderEvent,
    "trading_state": written Switch,
}

/// What workers read: nothing but what is listed.
fn read<T: JsonSchema>() -> Schema {
    let mut schema =
        SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>();
    tidy::quieten(&mut schema);
    tidy::name_variants(&mut schema);
    tidy::close(&mut schema);
    schema
}

/// What workers write: readers must take fields that are added later.
fn written<T: JsonSchema>() -> Schema {
    let mut schema =
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    tidy::quieten(&mut schema);
    tidy::name_variants(&mut schema);
    tidy::absent_is_not_null(&mut schema);
    schema
}

/// The schema called `name`, one of [`NAMES`].
#[must_use]
pub fn schema(name: &str) -> Option<Value> {
    if name == ALL {
        return Some(all());
    }
    DOCUMENTS.iter().find(|document| document.name == name).map(Document::schema)
}

/// The same as the text of a file.
#[must_use]
pub fn text(name: &str) -> Option<String> {
    schema(name).map(|schema| format!("{schema:#}\n"))
}

impl Document {
    fn schema(&self) -> Value {
        let mut schema = (self.make)();
        let examples: Value = serde_json::from_str(self.examples).unwrap_or(Value::Null);
        schema.insert("examples".to_owned(), examples);
        schema.to_value()
    }
}

/// All definitions side by side, as generators of types want them.
fn all() -> Value {
    let mut definitions = Map::new();
    for document in DOCUMENTS {
        let mut schema = (document.make)().to_value();
        let Some(root) = schema.as_object_mut() else { continue };
        root.remove("$schema");
        if let Some(Value::Object(own)) = root.remove("$defs") {
            definitions.extend(own);
        }
        if let Some(Value::String(title)) = root.get("title").cloned() {
            definitions.insert(title, schema);
        }
    }
    definitions.sort_keys();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "OrderExecution",
        "description": "Every message of the order-execution worker, each under its name in $defs.",
        "$defs": definitions,
    })
}
