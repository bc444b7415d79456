//! Readers of single values. Each tells in its error what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use rust_decimal::Decimal;

use super::tree::Kind;

/// As many as the orders on the wire may have.
const SIGNIFICANT_DIGITS: u32 = 28;

/// A whole number, also one written as a string, as environment variables are.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Kind) -> Result<T, String>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |kind| {
        let bounds = format!("between {} and {}", range.start(), range.end());
        let number = match kind {
            Kind::Integer(number) => Some(*number),
            Kind::Text(text) => text.parse::<i128>().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| format!("must be a whole number {bounds}"))?;
        T::try_from(number)
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("must be {bounds}"))
    }
}

/// A whole number of milliseconds.
pub(super) fn milliseconds(range: RangeInclusive<u64>) -> impl Fn(&Kind) -> Result<Duration, String> {
    let read = whole(range);
    move |kind| read(kind).map(Duration::from_millis).map_err(|problem| problem + " (milliseconds)")
}

/// A whole number of seconds.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&Kind) -> Result<Duration, String> {
    let read = whole(range);
    move |kind| read(kind).map(Duration::from_secs).map_err(|problem| problem + " (seconds)")
}

/// An exact decimal of any sign. A TOML float is refused even where its digits would do: it promises a
/// precision that another reader of the same file would not keep.
fn decimal(kind: &Kind) -> Result<Decimal, String> {
    const HINT: &str = "must be a decimal in quotes, such as \"0.25\"";
    match kind {
        Kind::Integer(number) => parse_decimal(&number.to_string()),
        Kind::Text(text) => parse_decimal(text),
        Kind::Real(text) => return Err(format!("write it as a string, \"{text}\": floats are not exact")),
        _ => None,
    }
    .ok_or_else(|| format!("{HINT}, of at most {SIGNIFICANT_DIGITS} digits"))
}

/// Digits, at most one point within them, a minus sign in front; nothing else, and nothing rounded.
fn parse_decimal(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let number = Decimal::from_str_exact(text).ok()?;
    let too_large = number.mantissa().unsigned_abs() >= 10_u128.pow(SIGNIFICANT_DIGITS);
    (!too_large).then_some(number)
}

/// A decimal that is not negative.
pub(super) fn decimal_from_zero(kind: &Kind) -> Result<Decimal, String> {
    decimal(kind).and_then(|number| {
        if number < Decimal::ZERO { Err("must not be negative".to_owned()) } else { Ok(number) }
    })
}

/// A decimal above zero.
pub(super) fn decimal_above_zero(kind: &Kind) -> Result<Decimal, String> {
    decimal(kind).and_then(|number| {
        if number <= Decimal::ZERO { Err("must be above 0".to_owned()) } else { Ok(number) }
    })
}

/// A decimal from 0 to `most`.
pub(super) fn decimal_up_to(most: u32) -> impl Fn(&Kind) -> Result<Decimal, String> {
    move |kind| {
        let number = decimal(kind)?;
        let within = number >= Decimal::ZERO && number <= Decimal::from(most);
        if within { Ok(number) } else { Err(format!("must be between 0 and {most}")) }
    }
}

/// One of the words that a table lists.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Kind) -> Result<T, String> {
    move |kind| {
        let found = match kind {
            Kind::Text(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("must be {}", words.join(" or "))
        })
    }
}

/// `None` for the word, else what `read` makes of it.
pub(super) fn word_or<T>(
    word: &'static str,
    read: impl Fn(&Kind) -> Result<T, String>,
) -> impl Fn(&Kind) -> Result<Option<T>, String> {
    move |kind| match kind {
        Kind::Text(text) if text == word => Ok(None),
        _ => read(kind).map(Some).map_err(|problem| format!("{problem}, or {word:?}")),
    }
}

/// A text that `parse` makes something of; `expected` follows "must be".
pub(super) fn text<T>(
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> impl Fn(&Kind) -> Result<T, String> {
    move |kind| {
        let parsed = match kind {
            Kind::Text(text) | Kind::Time(text) => parse(text),
            _ => None,
        };
        parsed.ok_or_else(|| format!("must be {expected}"))
    }
}

/// 1 to `longest` bytes, each a letter, a digit or one of `others`.
/// Names of the order types.
pub(super) const ORDER_TYPES: [&str; 9] = [
    "Market",
    "Limit",
    "Stop",
    "StopLimit",
    "TrailingStop",
    "MarketIfTouched",
    "LimitIfTouched",
    "Iceberg",
    "Custom",
];

/// One of some words.
pub(super) fn word(words: &'static [&'static str]) -> impl Fn(&Kind) -> Result<String, String> {
    move |kind| match kind {
        Kind::Text(text) if words.contains(&text.as_str()) => Ok(text.clone()),
        _ => Err(format!("must be one of {}", words.join(", "))),
    }
}

pub(super) fn flag() -> impl Fn(&Kind) -> Result<bool, String> {
    |kind| match kind {
        Kind::Boolean(flag) => Ok(*flag),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(super) fn is_name(text: &str, longest: usize, others: &[u8]) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

pub(super) fn is_symbol(text: &str) -> bool {
    is_name(text, 32, b"._:/-")
}

pub(super) fn check_symbol(name: &str) -> Result<(), String> {
    if is_symbol(name) { Ok(()) } else { Err("a symbol is 1 to 32 of A-Z a-z 0-9 . _ : / -".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Kind {
        Kind::Text(text.to_owned())
    }

    #[test]
    fn whole_numbers_are_bounded_whether_written_as_numbers_or_strings() {
        let read = whole(1..=1024_u32);
        for kind in [Kind::Integer(1), string("1"), Kind::Integer(1024), string("1024")] {
            assert!(read(&kind).is_ok());
        }
        for kind in
            [Kind::Integer(0), Kind::Integer(1025), Kind::Integer(-1), Kind::Integer(i128::MAX), string("0")]
        {
            assert_eq!(read(&kind).unwrap_err(), "must be between 1 and 1024");
        }
        for kind in [
            string(""),
            string(" 1"),
            string("1.0"),
            string("1e3"),
            Kind::Real("1.0".into()),
            Kind::Boolean(true),
        ] {
            assert_eq!(read(&kind).unwrap_err(), "must be a whole number between 1 and 1024");
        }
    }

    #[test]
    fn decimals_are_read_digit_by_digit() {
        assert_eq!(decimal(&string("45000.00")).unwrap().to_string(), "45000.00");
        assert_eq!(decimal(&Kind::Integer(-3)).unwrap(), Decimal::from(-3));
        assert!(decimal(&string("9999999999999999999999999999")).is_ok());
        let refused = [
            "",
            "-",
            "1.",
            ".5",
            "+1",
            "1e3",
            "1_000",
            "NaN",
            " 1",
            "10000000000000000000000000000",
            "1.00000000000000000000000000001",
        ];
        for text in refused {
            assert!(decimal(&string(text)).is_err(), "{text}");
        }
        assert_eq!(
            decimal(&Kind::Real("0.1".into())).unwrap_err(),
            "write it as a string, \"0.1\": floats are not exact"
        );
    }
}
