//! One level of a JSON object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::item::is_name;

/// The members of a JSON object, in their order, values still raw.
pub(super) struct Object<'o>(Vec<(Cow<'o, str>, &'o str)>);

impl<'o> Object<'o> {
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'o str)> {
        self.0.iter().map(|(key, raw)| (key.as_ref(), *raw))
    }

    /// Reads an object whatever else is wrong with it: for the ids of what is refused.
    pub(super) fn leniently(text: &'o str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The content of the only member called `name`, where it is a string.
    pub(super) fn only_text(&self, name: &str) -> Option<String> {
        let mut named = self.members().filter(|(key, _)| is_name(key, name));
        match (named.next(), named.next()) {
            (Some((_, raw)), None) => serde_json::from_str(raw).ok(),
            _ => None,
        }
    }

    pub(super) fn first_repeated_key(&self) -> Option<&str> {
        /// Up to here comparing all pairs is cheaper than sorting.
        const FEW: usize = 24;
        let keys = &self.0;
        if keys.len() <= FEW {
            let seen = |(at, key): (usize, &'_ str)| keys[..at].iter().any(|(k, _)| k == key);
            return self
                .members()
                .map(|(key, _)| key)
                .enumerate()
                .find(|pair| seen(*pair))
                .map(|(_, key)| key);
        }
        let mut sorted: Vec<&str> = self.members().map(|(key, _)| key).collect();
        sorted.sort_unstable();
        sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A key, borrowed where it has no escapes (which `Cow`'s own implementation never does).
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}
