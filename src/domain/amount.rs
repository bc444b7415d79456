//! Exact decimals. Everything that counts money or quantity passes through here, digit by digit.
//!
//! `rust_decimal`'s own operators round silently when a result has more digits than fit; the
//! functions here refuse instead, so that no amount is ever nearly right.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Digits that every amount can hold, from the first that is not zero to the last.
pub const MAX_DIGITS: usize = 28;
/// Digits behind the decimal point that an amount can hold.
pub const MAX_SCALE: i64 = 28;
/// Digits behind the point of a derived average; the contract promises at least 12.
const AVERAGE_SCALE: u32 = 16;
const MAX_MANTISSA: i128 = 79_228_162_514_264_337_593_543_950_335;

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("is not a decimal number")]
    NotANumber,
    #[error("has more than {MAX_DIGITS} significant digits")]
    TooManyDigits,
    #[error(
        "has an exponent or more decimals than an amount can hold ({MAX_SCALE} decimals, {MAX_DIGITS} digits)"
    )]
    OutOfRange,
    #[error("must not be negative")]
    Negative,
    #[error("must be greater than 0")]
    NotPositive,
}

/// Reads the digits of a JSON number or of a string (`"0.1"`, `1e-3`), exactly or not at all.
pub fn parse(text: &str) -> Result<Decimal, AmountError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let has_point = digits.contains('.');
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || (has_point && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(AmountError::NotANumber);
    }
    let mut mantissa: i128 = 0;
    let mut significant = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if significant > 0 || digit != b'0' {
            significant += 1;
        }
        if significant > MAX_DIGITS {
            return Err(AmountError::TooManyDigits);
        }
        mantissa = mantissa * 10 + i128::from(digit - b'0');
    }
    if mantissa == 0 {
        return Ok(Decimal::ZERO);
    }
    let fraction_len = i64::try_from(fraction.len()).map_err(|_| AmountError::OutOfRange)?;
    let mut scale = fraction_len.checked_sub(exponent).ok_or(AmountError::OutOfRange)?;
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    while scale < 0 {
        mantissa = mantissa.checked_mul(10).filter(|m| *m <= MAX_MANTISSA).ok_or(AmountError::OutOfRange)?;
        scale += 1;
    }
    if scale > MAX_SCALE || decimal_digits(mantissa) > MAX_DIGITS {
        return Err(AmountError::OutOfRange);
    }
    let scale = u32::try_from(scale).map_err(|_| AmountError::OutOfRange)?;
    let signed = if negative { -mantissa } else { mantissa };
    Decimal::try_from_i128_with_scale(signed, scale).map_err(|_| AmountError::OutOfRange)
}

fn decimal_digits(mut mantissa: i128) -> usize {
    let mut digits = 0;
    while mantissa > 0 {
        mantissa /= 10;
        digits += 1;
    }
    digits
}

fn parse_exponent(text: &str) -> Result<i64, AmountError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AmountError::NotANumber);
    }
    text.strip_prefix('+').unwrap_or(text).parse().map_err(|_| AmountError::OutOfRange)
}

/// `a · b`, or `None` where the exact product has more digits than an amount can hold.
#[must_use]
pub fn mul(a: Decimal, b: Decimal) -> Option<Decimal> {
    let (a, b) = (a.normalize(), b.normalize());
    let mantissa = a.mantissa().checked_mul(b.mantissa())?;
    exact(mantissa, a.scale() + b.scale())
}

/// `a + b`, or `None` where the exact sum has more digits than an amount can hold.
#[must_use]
pub fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    let (a, b) = if a.scale() >= b.scale() { (a, b) } else { (b, a) };
    let factor = 10_i128.checked_pow(a.scale() - b.scale())?;
    let sum = a.mantissa().checked_add(b.mantissa().checked_mul(factor)?)?;
    exact(sum, a.scale())
}

/// `a − b`, or `None` where the exact difference has more digits than an amount can hold.
#[must_use]
pub fn sub(a: Decimal, b: Decimal) -> Option<Decimal> {
    add(a, -b)
}

fn exact(mut mantissa: i128, mut scale: u32) -> Option<Decimal> {
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    // What is written must read back: no more digits than `parse` takes.
    if i64::from(scale) > MAX_SCALE || decimal_digits(mantissa.abs()) > MAX_DIGITS {
        return None;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// `notional / quantity` for people to read, rounded half to even at 16 decimals.
#[must_use]
pub fn average(notional: Decimal, quantity: Decimal) -> Option<Decimal> {
    notional.checked_div(quantity).map(|a| a.round_dp(AVERAGE_SCALE).normalize())
}

/// `value · percent / 100`, exact.
#[must_use]
pub fn percent_of(value: Decimal, percent: Decimal) -> Option<Decimal> {
    mul(mul(value, percent)?, Decimal::new(1, 2))
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Takes a decimal that is in this type's range.
            pub fn new(value: Decimal) -> Result<Self, AmountError> {
                let check: fn(&Decimal) -> Option<AmountError> = $check;
                match check(&value) {
                    None => Ok(Self(value.normalize())),
                    Some(error) => Err(error),
                }
            }

            #[must_use]
            pub const fn get(self) -> Decimal {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = AmountError;

            fn from_str(text: &str) -> Result<Self, AmountError> {
                parse(text).and_then(Self::new)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
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

amount!(
    /// How much of an instrument, in its own unit; never negative.
    Quantity,
    |value| value.is_sign_negative().then_some(AmountError::Negative).filter(|_| !value.is_zero())
);
amount!(
    /// Quote currency for one unit of the instrument; always positive.
    Price,
    |value| (*value <= Decimal::ZERO).then_some(AmountError::NotPositive)
);
amount!(
    /// A signed amount: a position (long positive), money, profit and loss, a commission (paid positive).
    Amount,
    |_| None
);

impl Quantity {
    pub const ZERO: Self = Self(Decimal::ZERO);

    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        add(self.0, other.0).map(Self)
    }

    /// `self − other`, or `None` where that is negative or has too many digits.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        sub(self.0, other.0).filter(|rest| !rest.is_sign_negative() || rest.is_zero()).map(Self)
    }

    /// What is left after `other` is taken away; zero where `other` is more, or where the rest has too
    /// many digits.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        sub(self.0, other.0).filter(|d| !d.is_sign_negative()).map_or(Self::ZERO, Self)
    }
}

impl Amount {
    pub const ZERO: Self = Self(Decimal::ZERO);

    #[must_use]
    pub fn of(value: Decimal) -> Self {
        Self(value.normalize())
    }

    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        add(self.0, other.0).map(Self)
    }

    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        sub(self.0, other.0).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<&str, AmountError>) {
        assert_eq!(parse(text).map(|d| d.to_string()), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn parses_digit_by_digit() {
        check("0.1", Ok("0.1"));
        check("0.1000000000000000055", Ok("0.1000000000000000055"));
        check("45000.00", Ok("45000"));
        check("-7", Ok("-7"));
        check("1e3", Ok("1000"));
        check("1.5E-3", Ok("0.0015"));
        check("0e999999999999999999999", Err(AmountError::OutOfRange));
        check("0.000", Ok("0"));
        check("1234567890123456789012345678", Ok("1234567890123456789012345678"));
        check("12345678901234567890123456789", Err(AmountError::TooManyDigits));
        check("0.12345678901234567890123456789", Err(AmountError::TooManyDigits));
        check("1e28", Err(AmountError::OutOfRange));
        check("1e-28", Ok("0.0000000000000000000000000001"));
        check("1e-29", Err(AmountError::OutOfRange));
        for text in
            ["", "-", ".5", "5.", "NaN", "Infinity", "1,5", "0x10", "1e", "1e+", " 1", "--1", "1_000", "١"]
        {
            check(text, Err(AmountError::NotANumber));
        }
    }

    #[test]
    fn refuses_a_product_or_sum_that_would_be_rounded() {
        let d = |text: &str| parse(text).unwrap();
        assert_eq!(mul(d("0.00000000000001"), d("0.00000000000001")), Some(d("1e-28")));
        assert_eq!(mul(d("0.000000000000001"), d("0.00000000000001")), None);
        assert_eq!(add(d("9999999999999999999999999999"), d("0.1")), None);
        assert_eq!(add(d("0.1"), d("0.2")), Some(d("0.3")));
        assert_eq!(percent_of(d("45000"), d("5")), Some(d("2250")));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(mantissa in 0i128..9_999_999_999_999_999_999_999_999_999, scale in 0u32..=28) {
            let value = Decimal::try_from_i128_with_scale(mantissa, scale).unwrap().normalize();
            prop_assert_eq!(parse(&value.to_string()), Ok(value));
        }

        /// Whatever comes out of a calculation can be read again.
        #[test]
        fn results_read_back(a in -9_999_999_999_999_999_999_999_999_999i128..9_999_999_999_999_999_999_999_999_999, b in -9_999_999_999_999_999_999_999_999_999i128..9_999_999_999_999_999_999_999_999_999, s in 0u32..=28, t in 0u32..=28, small in -99i64..99) {
            let (x, y) = (Decimal::from_i128_with_scale(a, s), Decimal::from_i128_with_scale(b, t));
            for result in [add(x, y), sub(x, y), mul(x, Decimal::new(small, 1)), mul(x, y)].into_iter().flatten() {
                prop_assert_eq!(parse(&result.to_string()), Ok(result));
            }
        }

        #[test]
        fn exact_arithmetic_agrees_with_integers(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000, s in 0u32..6, t in 0u32..6) {
            let (x, y) = (Decimal::new(a, s), Decimal::new(b, t));
            let product = mul(x, y).unwrap();
            prop_assert_eq!(product, Decimal::from_i128_with_scale(i128::from(a) * i128::from(b), s + t));
            let wide = |v: i64, scale: u32| i128::from(v) * 10i128.pow(6 - scale);
            prop_assert_eq!(add(x, y).unwrap(), Decimal::from_i128_with_scale(wide(a, s) + wide(b, t), 6));
        }
    }
}
