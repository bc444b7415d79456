//! Brokers.

pub mod exchange;
pub mod simulated;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer};

/// What a broker may call a trade, an order or an asset: every journal can keep it and find it again.
const MAX_IDENTIFIER: usize = 128;

fn identifier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_bounded = (1..=MAX_IDENTIFIER).contains(&text.chars().count());
    if is_bounded && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    let expected = format!("1 to {MAX_IDENTIFIER} characters, none of them a control character");
    let shown: String = text.chars().take(MAX_IDENTIFIER).collect();
    Err(serde::de::Error::custom(format!("an identifier {shown:?}; expected are {expected}")))
}
