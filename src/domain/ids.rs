//! Names of things, each a type of its own, checked where they are made.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Why a text is not such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {max} characters of A-Z a-z 0-9 . _ : / -")]
pub struct NameError {
    max: usize,
}

fn is_name(text: &str, max: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-');
    !text.is_empty() && text.len() <= max && text.bytes().all(allowed)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub const MAX_LEN: usize = $max;

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text, $max) { Ok(Self(text.into())) } else { Err(NameError { max: $max }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// The producer's name for an order: the idempotency key.
    ClientOrderId,
    64
);
name!(
    /// An instrument as its broker spells it (`EUR_USD`, `BTCUSDT`).
    Symbol,
    32
);
name!(
    /// A configured broker's name.
    BrokerName,
    32
);

/// Our own name for an order: a UUID, version 7 where the worker made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A stream entry's id: milliseconds and a sequence number, ordered as Redis orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub ms: u64,
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let (ms, seq) = text.split_once('-').ok_or(EntryIdError)?;
        Ok(Self { ms: ms.parse().map_err(|_| EntryIdError)?, seq: seq.parse().map_err(|_| EntryIdError)? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stream entry id is <milliseconds>-<sequence>")]
pub struct EntryIdError;

/// Where a request came from: the lane (the prefix of its names) and its entry. The key under which it is journaled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    pub lane: Arc<str>,
    pub entry: EntryId,
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.lane, self.entry)
    }
}

/// Unique ids made of one random UUID: the shell draws it, the pure core counts on from there.
///
/// A version 7 UUID keeps its time and 12 random bits; the counter is added to its last 62 bits.
#[derive(Debug, Clone)]
pub struct IdSource {
    base: Uuid,
    used: u64,
}

impl IdSource {
    #[must_use]
    pub fn new(base: Uuid) -> Self {
        Self { base, used: 0 }
    }

    pub fn draw(&mut self) -> Uuid {
        const LOW: u128 = (1 << 62) - 1;
        let bits = self.base.as_u128();
        let counted = (bits & LOW).wrapping_add(u128::from(self.used)) & LOW;
        self.used += 1;
        Uuid::from_u128((bits & !LOW) | counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("EUR_USD".parse::<Symbol>().is_ok());
        assert!("".parse::<Symbol>().is_err());
        assert!("a b".parse::<Symbol>().is_err());
        assert!("ä".parse::<ClientOrderId>().is_err());
        assert!("x".repeat(64).parse::<ClientOrderId>().is_ok());
        assert!("x".repeat(65).parse::<ClientOrderId>().is_err());
        assert!("x".repeat(33).parse::<Symbol>().is_err());
    }

    #[test]
    fn entry_ids_order_as_numbers() {
        let id = |text: &str| text.parse::<EntryId>().unwrap();
        assert!(id("9-0") < id("10-0") && id("10-2") < id("10-10"));
        assert_eq!(id("1700000000000-3").to_string(), "1700000000000-3");
        assert!("x-1".parse::<EntryId>().is_err());
    }

    #[test]
    fn drawn_ids_are_version_7_and_distinct() {
        let mut ids = IdSource::new(Uuid::from_u128(0x0190_0000_0000_7abc_bfff_ffff_ffff_ffff));
        let (a, b) = (ids.draw(), ids.draw());
        assert_ne!(a, b);
        assert_eq!((a.get_version_num(), b.get_version_num()), (7, 7));
        assert_eq!(b.get_variant(), uuid::Variant::RFC4122);
    }
}
