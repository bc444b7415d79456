//! One value of a request: its raw text, and the path that names it in a sentence.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::object::Object;
use super::scan;
use crate::domain::amount::{self, AmountError, Price, Quantity};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Timestamp;

/// Longest free text (ids of strategies, signals, linked orders), in characters.
pub(super) const MAX_TEXT: usize = 256;
/// Keys by which `serde_json` hands raw text from one of its own types to another: never data.
const RESERVED_KEYS: &str = "$serde_json::private::";
/// Characters of a value that a sentence repeats.
const SHOWN: usize = 40;
const EARLIEST_MICROS: i64 = -62_135_596_800_000_000;
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

pub(super) fn invalid(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidPayload, sentence)
}

/// The first characters of `text`, control characters escaped.
pub(super) fn cut(text: &str) -> String {
    let mut out = String::with_capacity(SHOWN + 4);
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `cut`, in quotes that no JSON value begins or ends with.
pub(super) fn shown(text: &str) -> String {
    format!("`{}`", cut(text))
}

/// A key in a path: one that would not be seen there, such as an empty one, stands in quotes.
pub(super) fn key_shown(key: &str) -> String {
    let begins_visibly = key.starts_with(|c: char| !c.is_whitespace() && c != '`');
    if begins_visibly { cut(key) } else { shown(key) }
}

/// Whether `key` is `name` (in `snake_case`) in any case, with its underscores or without any.
pub(super) fn is_name(key: &str, name: &str) -> bool {
    let initial = |text: &str| text.as_bytes().first().map(u8::to_ascii_lowercase);
    // Most names are told apart by their first letter: every field of an order is compared with dozens.
    if initial(key) != initial(name) {
        return false;
    }
    key.eq_ignore_ascii_case(name)
        || (key.len() < name.len()
            && !key.contains('_')
            && key.bytes().map(|b| b.to_ascii_lowercase()).eq(name.bytes().filter(|b| *b != b'_')))
}

/// Whether a text is the enumerated value `name`, in any case and with underscores or without.
fn is_value(text: &str, name: &str) -> bool {
    let letters = |b: &u8| *b != b'_';
    let lower = |b: u8| b.to_ascii_lowercase();
    text.bytes().filter(letters).map(lower).eq(name.bytes().filter(letters).map(lower))
}

fn names_of<T>(values: &[(&str, T)]) -> String {
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// A value, borrowed from the payload, and the values around it.
#[derive(Clone, Copy)]
pub(super) struct Item<'o> {
    parent: Option<&'o Item<'o>>,
    step: Step<'o>,
    raw: &'o str,
}

#[derive(Clone, Copy)]
enum Step<'o> {
    Key(&'o str),
    Index(usize),
}

impl<'o> Item<'o> {
    /// The whole payload of the request field `name`.
    pub(super) fn root(name: &'o str, text: &'o str) -> Self {
        Self { parent: None, step: Step::Key(name), raw: text }
    }

    pub(super) fn member(of: &'o Self, key: &'o str, raw: &'o str) -> Self {
        Self { parent: Some(of), step: Step::Key(key), raw }
    }

    /// `order_type.Limit.price`, as the producer spelled it; the request field's name for the root.
    pub(super) fn path(&self) -> String {
        let own = match self.step {
            Step::Key(key) => key_shown(key),
            Step::Index(index) => index.to_string(),
        };
        match self.parent {
            Some(parent) if parent.parent.is_some() => format!("{}.{own}", parent.path()),
            _ => own,
        }
    }

    /// A refusal whose sentence is the path, the value and `predicate`.
    pub(super) fn refuse(&self, code: Code, predicate: impl Display) -> Refusal {
        Refusal::new(code, format!("{} {} {predicate}", self.path(), shown(self.raw)))
    }

    pub(super) fn invalid(&self, predicate: impl Display) -> Refusal {
        self.refuse(Code::InvalidPayload, predicate)
    }

    pub(super) fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub(super) fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    fn not(&self, wanted: &str) -> Refusal {
        self.invalid(format_args!("must be {wanted}"))
    }

    /// Reads `T` from the raw text: syntax was checked where the parent was read, but not, say, lone surrogates.
    fn parse<T: Deserialize<'o>>(&self) -> Result<T, Refusal> {
        serde_json::from_str(self.raw).map_err(|error| match self.parent {
            None => scan::syntax(&self.path(), self.raw, &error),
            Some(_) => self.invalid(format_args!("is not valid JSON: {error}")),
        })
    }

    /// The members of an object in which no key appears twice.
    pub(super) fn object(&self) -> Result<Object<'o>, Refusal> {
        let is_root = self.parent.is_none();
        if !self.raw.trim_start().starts_with('{') && (!is_root || self.parse::<&RawValue>().is_ok()) {
            return Err(self.not("a JSON object"));
        }
        let object: Object<'o> = self.parse()?;
        match object.first_repeated_key() {
            Some(key) => Err(invalid(format!("{} appears twice", self.path_of(key)))),
            None => Ok(object),
        }
    }

    /// The path of the member `key`.
    pub(super) fn path_of(&self, key: &str) -> String {
        Item::member(self, key, "").path()
    }

    /// The member `name`, which `what` cannot be without.
    pub(super) fn required<'i>(
        &self,
        member: Option<Item<'i>>,
        name: &str,
        what: &str,
    ) -> Result<Item<'i>, Refusal> {
        member.ok_or_else(|| invalid(format!("{} is missing: {what} needs it", self.path_of(name))))
    }

    pub(super) fn list(&'o self) -> Result<Vec<Item<'o>>, Refusal> {
        if !self.raw.starts_with('[') {
            return Err(self.not("an array"));
        }
        let raws: Vec<&'o RawValue> = self.parse()?;
        let element = |(index, raw): (usize, &'o RawValue)| Item {
            parent: Some(self),
            step: Step::Index(index),
            raw: raw.get(),
        };
        Ok(raws.into_iter().enumerate().map(element).collect())
    }

    /// A string's content, which has no NUL.
    pub(super) fn text(&self) -> Result<Cow<'o, str>, Refusal> {
        let content = self.raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let Some(content) = content else { return Err(self.not("a string")) };
        if !content.contains('\\') {
            return Ok(Cow::Borrowed(content));
        }
        // The parent's syntax was checked, escapes included: what is left is half a pair.
        let text: String = serde_json::from_str(self.raw)
            .map_err(|_| self.invalid("has a lone surrogate, which is no character"))?;
        if text.contains('\0') {
            return Err(self.invalid("has a NUL character; none is taken"));
        }
        Ok(Cow::Owned(text))
    }

    /// A string of at most [`MAX_TEXT`] printable characters.
    pub(super) fn short_text(&self) -> Result<String, Refusal> {
        let text = self.text()?;
        if text.chars().count() > MAX_TEXT {
            return Err(self.invalid(format_args!("has more than {MAX_TEXT} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(self.invalid("has a control character; none is taken"));
        }
        Ok(text.into_owned())
    }

    /// A string that `T` can be made of; `T`'s error says what would be right.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self) -> Result<T, Refusal> {
        self.text()?.parse().map_err(|error: T::Err| self.invalid(error))
    }

    /// One of the enumerated values, in any case.
    pub(super) fn choice<T: Copy>(&self, values: &[(&str, T)]) -> Result<T, Refusal> {
        let text = self.text()?;
        let found = values.iter().find(|(name, _)| is_value(&text, name));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.invalid(format_args!("is none of {}", names_of(values))))
    }

    /// The only member of this item's `object`, whose key is one of the enumerated values, in any case.
    pub(super) fn variant<T: Copy>(
        &'o self,
        object: &'o Object<'o>,
        values: &[(&str, T)],
    ) -> Result<(T, Item<'o>), Refusal> {
        let mut members = object.members();
        let (Some((key, raw)), None) = (members.next(), members.next()) else {
            let names = names_of(values);
            return Err(self.invalid(format_args!("must have exactly one member, one of {names}")));
        };
        let member = Item::member(self, key, raw);
        match values.iter().find(|(name, _)| is_value(key, name)) {
            Some((_, value)) => Ok((*value, member)),
            None => Err(invalid(format!("{} is none of {}", member.path(), names_of(values)))),
        }
    }

    pub(super) fn decimal(&self) -> Result<Decimal, Refusal> {
        let digits = match self.raw.as_bytes().first() {
            Some(b'"') => self.text()?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(self.raw),
            _ => return Err(self.not("a decimal number, or a string of one")),
        };
        amount::parse(&digits).map_err(|error| self.amount(error))
    }

    fn amount(&self, error: AmountError) -> Refusal {
        let code = match error {
            AmountError::NotANumber | AmountError::TooManyDigits | AmountError::OutOfRange => {
                Code::InvalidPayload
            }
            AmountError::Negative | AmountError::NotPositive => Code::ValidationFailed,
        };
        self.refuse(code, error)
    }

    /// An amount that may be 0.
    pub(super) fn quantity(&self) -> Result<Quantity, Refusal> {
        Quantity::new(self.decimal()?).map_err(|error| self.amount(error))
    }

    pub(super) fn positive_quantity(&self) -> Result<Quantity, Refusal> {
        let value = self.decimal()?;
        if value <= Decimal::ZERO {
            return Err(self.amount(AmountError::NotPositive));
        }
        Quantity::new(value).map_err(|error| self.amount(error))
    }

    pub(super) fn price(&self) -> Result<Price, Refusal> {
        Price::new(self.decimal()?).map_err(|error| self.amount(error))
    }

    pub(super) fn flag(&self) -> Result<bool, Refusal> {
        match self.raw {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.not("true or false")),
        }
    }

    pub(super) fn time(&self) -> Result<Timestamp, Refusal> {
        let time: Timestamp = self.parsed()?;
        if is_writable(time) {
            return Ok(time);
        }
        Err(self.refuse(Code::ValidationFailed, "is outside the years 1 to 9999 (UTC)"))
    }

    /// Any JSON, numbers with the digits they have, no key twice anywhere.
    pub(super) fn value(&self) -> Result<Value, Refusal> {
        Ok(match self.raw.as_bytes().first() {
            Some(b'{') => {
                let mut map = Map::new();
                for (key, raw) in self.object()?.members() {
                    let member = Item::member(self, key, raw);
                    if key.starts_with(RESERVED_KEYS) || key.contains('\0') {
                        return Err(invalid(format!("{} is not a key that can be kept", member.path())));
                    }
                    map.insert(key.to_owned(), member.value()?);
                }
                Value::Object(map)
            }
            Some(b'[') => Value::Array(self.list()?.iter().map(Item::value).collect::<Result<_, _>>()?),
            Some(b'"') => Value::String(self.text()?.into_owned()),
            Some(b't' | b'f') => Value::Bool(self.flag()?),
            Some(b'n') => Value::Null,
            _ => Value::Number(self.parse::<Number>()?),
        })
    }
}

/// Whether RFC 3339 can spell it, so that what is written can be read back.
pub(super) fn is_writable(time: Timestamp) -> bool {
    (EARLIEST_MICROS..=LATEST_MICROS).contains(&time.micros())
}
