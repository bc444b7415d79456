//! A JSON object whose fields keep their order and whose values keep their digits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Sets a field, in its old place where it has one.
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let Ok(value) = to_raw_value(value) else { unreachable!("every key here is a string") };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(super) fn put_some<T: Serialize>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Sets a field to JSON text; to a string of it where it is none.
    pub(super) fn put_json(&mut self, name: &str, text: &str) {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => self.put(name, raw),
            Err(_) => self.put(name, text),
        }
    }

    /// Takes out every field of this name, however it is spelt.
    pub(super) fn remove(&mut self, name: &str) {
        let unwanted = plain(name);
        self.0.retain(|(known, _)| plain(known) != unwanted);
    }

    /// The content of a field that is a string. Names are matched as the wire does: in any case, with
    /// underscores or without.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// It has the field, and not as null, which is the same as left out.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.get() != "null")
    }

    fn value(&self, name: &str) -> Option<&RawValue> {
        let wanted = plain(name);
        self.0.iter().find(|(known, _)| plain(known) == wanted).map(|(_, value)| &**value)
    }
}

/// Whether both are spellings of one name.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Fields(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_digits_and_repeated_fields_are_kept() {
        let text = r#"{"b":1.10,"a":{"y":0.1000000000000000000000000001,"x":[1]},"b":"2"}"#;
        assert_eq!(Fields::parse(text).unwrap().to_string(), text);
        for wrong in ["", "[1]", "\"x\"", "{\"a\":}", "{} {}"] {
            assert!(Fields::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_are_set_in_place_and_found_in_any_spelling() {
        let mut fields = Fields::parse(r#"{"clientOrderId":"c-1","events":[]}"#).unwrap();
        assert_eq!(fields.text("client_order_id").as_deref(), Some("c-1"));
        assert!(fields.is_given("Events") && !fields.is_given("id"));
        assert!(!Fields::parse(r#"{"ID":null}"#).unwrap().is_given("id"));
        assert_eq!(fields.text("events"), None);
        fields.put_json("events", "[1.50]");
        fields.put_json("payload", "{oops");
        fields.put("more", &true);
        let mut fewer = fields.clone();
        fewer.remove("client_order_id");
        assert_eq!(fewer.to_string(), r#"{"events":[1.50],"payload":"{oops","more":true}"#);
        assert_eq!(
            fields.to_string(),
            r#"{"clientOrderId":"c-1","events":[1.50],"payload":"{oops","more":true}"#
        );
    }
}
