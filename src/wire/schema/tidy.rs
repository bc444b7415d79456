//! What the types do not say of themselves.

use schemars::Schema;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Words of the generator that tell a reader of JSON nothing: the width of our integers, and that what may be
/// left out is null to us.
pub(super) fn quieten(schema: &mut Schema) {
    each_object(schema, &mut |object| {
        object.retain(|keyword, value| match keyword.as_str() {
            "format" => !value.as_str().is_some_and(|format| format.starts_with("uint")),
            "default" => !value.is_null(),
            _ => true,
        });
    });
}

/// Choices of one member (`{"Limit": {…}}`) get a title each, so that generated types have names that stay.
pub(super) fn name_variants(schema: &mut Schema) {
    let Some(root) = schema.as_object_mut() else { return };
    if let Some(Value::String(title)) = root.get("title").cloned() {
        name_choices(&title, root);
    }
    let Some(Value::Object(definitions)) = root.get_mut("$defs") else { return };
    for (name, definition) in definitions.iter_mut() {
        if let Value::Object(definition) = definition {
            name_choices(name, definition);
        }
    }
}

fn name_choices(name: &str, definition: &mut Object) {
    for keyword in ["oneOf", "anyOf"] {
        let Some(Value::Array(choices)) = definition.get_mut(keyword) else { continue };
        for choice in choices.iter_mut().filter_map(Value::as_object_mut) {
            let Some(Value::Object(properties)) = choice.get_mut("properties") else { continue };
            let mut members = properties.iter_mut();
            let (Some((member, inner)), None) = (members.next(), members.next()) else { continue };
            let title = format!("{name}{}", capitalised(member));
            if let Some(inner) = inner.as_object_mut().filter(|inner| inner.contains_key("properties")) {
                inner.insert("title".to_owned(), format!("{title}Details").into());
            }
            choice.insert("title".to_owned(), title.into());
        }
    }
}

/// `client_order_id` as `ClientOrderId`.
fn capitalised(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    };
    name.split('_').map(word).collect()
}

/// No object takes members that it does not list. One that lists none takes any, and so does one that says so.
pub(super) fn close(schema: &mut Schema) {
    each_object(schema, &mut |object| {
        if object.contains_key("properties") && !object.contains_key("additionalProperties") {
            object.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    });
}

/// What may be left out of what workers write is left out where it is not known; it is never null.
pub(super) fn absent_is_not_null(schema: &mut Schema) {
    each_object(schema, &mut |object| {
        let required: Vec<String> = object
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
        for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
            if let Value::Object(property) = property {
                without_null(property);
            }
        }
    });
}

fn without_null(property: &mut Object) {
    let is_null = |choice: &Value| choice["type"] == "null";
    if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
        choices.retain(|choice| !is_null(choice));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            property.remove("anyOf");
            property.extend(only);
        }
    }
    let Some(Value::Array(types)) = property.get_mut("type") else { return };
    types.retain(|name| name != "null");
    if let [only] = types.as_slice() {
        let only = only.clone();
        property.insert("type".to_owned(), only);
    }
}

/// Every schema of an object, however deep, under the keywords that describe it (not those that only test it).
fn each_object(schema: &mut Schema, change: &mut impl FnMut(&mut Object)) {
    if let Some(root) = schema.as_object_mut() {
        descend(root, change);
    }
}

fn descend(object: &mut Object, change: &mut impl FnMut(&mut Object)) {
    change(object);
    for (keyword, value) in object.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(named)) => {
                for value in named.values_mut().filter_map(Value::as_object_mut) {
                    descend(value, change);
                }
            }
            ("anyOf" | "oneOf", Value::Array(choices)) => {
                for choice in choices.iter_mut().filter_map(Value::as_object_mut) {
                    descend(choice, change);
                }
            }
            ("items", Value::Object(items)) => descend(items, change),
            _ => {}
        }
    }
}
