//! Brokers.

pub mod exchange;
pub mod simulated;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer};

use crate::domain::order::ContentHash;

/// Characters of a name that a broker gives.
const MAX_IDENTIFIER: usize = 128;

/// What a broker calls a trade, an order or an asset, so that every journal can keep it and find it again. One that none
/// could keep (too long, control characters) stands for itself by its digest: what it is the name of is told all the same.
fn identifier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Err(serde::de::Error::custom("an empty identifier: two of them could not be told apart"));
    }
    let is_fit = (1..=MAX_IDENTIFIER).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    Ok(if is_fit { text } else { format!("sha256:{}", ContentHash::of(text.as_bytes())) })
}
