//! Amounts, compared by their digits: a reading of decimals that shares nothing with the product's.

use serde_json::Value;

/// Names of amounts, in small letters without underscores.
const AMOUNTS: &[&str] = &[
    "quantity",
    "price",
    "stopprice",
    "limitprice",
    "triggerprice",
    "distance",
    "displayquantity",
    "totalquantity",
    "variance",
    "displaysize",
    "maxslippage",
    "triggervalue",
];
/// What a producer may fill with anything.
const FREE: &[&str] = &["metadata", "params", "urgency"];

/// Sign, digits from the first to the last that is not zero, and the power of ten of the last.
type Digits = (bool, String, i64);

/// The amounts in a request, wherever they stand, in order of their digits.
pub(super) fn of(request: &Value) -> Vec<Digits> {
    let mut found = Vec::new();
    collect(request, &mut found);
    found.sort_unstable();
    found
}

fn collect(value: &Value, found: &mut Vec<Digits>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let name: String =
                    key.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
                match value {
                    _ if FREE.contains(&name.as_str()) => {}
                    Value::Number(number) if AMOUNTS.contains(&name.as_str()) => {
                        found.push(digits(&number.to_string()));
                    }
                    Value::String(text) if AMOUNTS.contains(&name.as_str()) => found.push(digits(text)),
                    value => collect(value, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn digits(text: &str) -> Digits {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let negative = mantissa.starts_with('-');
    let (whole, fraction) = mantissa
        .trim_start_matches(['-', '+'])
        .split_once('.')
        .unwrap_or((mantissa.trim_start_matches(['-', '+']), ""));
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let significant = kept.trim_start_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let exponent: i64 = exponent.parse().unwrap_or_else(|_| panic!("{text} was taken for an amount"));
    let power = exponent + (all.len() - kept.len()) as i64 - fraction.len() as i64;
    (negative, significant.to_owned(), power)
}
