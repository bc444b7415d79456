//! A script of faults: what goes wrong on purpose, drawn by a seed. Pure.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::domain::amount;
use crate::domain::ids::ClientOrderId;

/// Rules that a script may have.
const MAX_RULES: usize = 100;
/// The longest that an answer is held back: shorter than the time after which an idle connection is closed.
const MAX_HELD_MS: u64 = 60_000;
/// The longest that execution or sight is put off.
const MAX_LATE_MS: u64 = 600_000;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    Submit,
    Cancel,
    Replace,
    Query,
    OpenOrders,
    Transactions,
    /// In a rule: each of the others.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fault {
    /// Done; the connection is closed without an answer.
    ExecuteThenDrop {},
    /// Done; answered with this status.
    ExecuteThenStatus { status: u16 },
    /// Nothing done; the connection is closed without an answer.
    Drop {},
    /// Nothing done; answered with this status.
    Status {
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
    },
    /// Done; the answer is no JSON.
    Garbage {},
    /// The connection is closed at once; done later, if it is still allowed then.
    LandLate { after_ms: u64 },
    /// Done; the answer comes later.
    Delay { ms: u64 },
    /// Nothing done; no answer for so long, then the connection is closed.
    Silence { ms: u64 },
    /// What is younger is not shown.
    Lag { ms: u64 },
    /// Trades are shown twice, and once more before the next page.
    Repeat {},
    /// The page is turned round.
    Reorder {},
}

impl Fault {
    /// Nothing is carried out before the request has been answered, or at all.
    #[must_use]
    pub(super) const fn puts_off(self) -> bool {
        match self {
            Self::Drop {} | Self::Status { .. } | Self::LandLate { .. } | Self::Silence { .. } => true,
            Self::ExecuteThenDrop {}
            | Self::ExecuteThenStatus { .. }
            | Self::Garbage {}
            | Self::Delay { .. }
            | Self::Lag { .. }
            | Self::Repeat {}
            | Self::Reorder {} => false,
        }
    }

    const fn means_something_to(self, operation: Operation) -> bool {
        use Operation as O;
        match self {
            Self::Lag { .. } => {
                matches!(operation, O::Query | O::OpenOrders | O::Transactions | O::Any)
            }
            Self::Repeat {} | Self::Reorder {} => matches!(operation, O::Transactions | O::Any),
            Self::ExecuteThenDrop {}
            | Self::ExecuteThenStatus { .. }
            | Self::Drop {}
            | Self::Status { .. }
            | Self::Garbage {}
            | Self::LandLate { .. }
            | Self::Delay { .. }
            | Self::Silence { .. } => true,
        }
    }

    fn check(self) -> Result<(), String> {
        let within = |name: &str, ms: u64, most: u64| {
            if ms <= most { Ok(()) } else { Err(format!("{name} {ms} is above {most}")) }
        };
        match self {
            Self::ExecuteThenStatus { status } | Self::Status { status, .. } => {
                if (300..=599).contains(&status) {
                    Ok(())
                } else {
                    Err(format!("status {status} is not within 300 and 599"))
                }
            }
            Self::LandLate { after_ms } => within("after_ms", after_ms, MAX_LATE_MS),
            Self::Lag { ms } => within("ms", ms, MAX_LATE_MS),
            Self::Delay { ms } | Self::Silence { ms } => within("ms", ms, MAX_HELD_MS),
            Self::ExecuteThenDrop {}
            | Self::Drop {}
            | Self::Garbage {}
            | Self::Repeat {}
            | Self::Reorder {} => Ok(()),
        }
    }
}

/// From 0 to 1. A JSON number or a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(Decimal);

impl Default for Share {
    fn default() -> Self {
        Self(Decimal::ONE)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            _ => return Err(de::Error::custom("share must be a number from 0 to 1")),
        };
        let share = amount::parse(&text).ok();
        let share = share.filter(|share| (Decimal::ZERO..=Decimal::ONE).contains(share));
        share.map(Self).ok_or_else(|| de::Error::custom(format!("share {text} is not from 0 to 1")))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: Number = self.0.to_string().parse().map_err(ser::Error::custom)?;
        number.serialize(serializer)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    on: Operation,
    fault: Fault,
    #[serde(default)]
    share: Share,
    /// How often at most; left out: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    /// What the client order id begins with; left out: requests without one, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_order_id: Option<String>,
    #[serde(default, skip_deserializing)]
    hits: u64,
    #[serde(skip)]
    draws: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    #[serde(default = "first_seed")]
    seed: u64,
    rules: Vec<Rule>,
}

const fn first_seed() -> u64 {
    1
}

impl Default for Script {
    fn default() -> Self {
        Self { seed: first_seed(), rules: Vec::new() }
    }
}

impl Script {
    #[must_use]
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    #[must_use]
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is wrong with it, in one sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.rules.len() > MAX_RULES {
            return Err(format!("{} rules are more than {MAX_RULES}", self.rules.len()));
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let named = |why: String| format!("rules[{at}]: {why}");
            rule.fault.check().map_err(named)?;
            if !rule.fault.means_something_to(rule.on) {
                return Err(named("this fault means nothing to that operation".to_owned()));
            }
        }
        Ok(())
    }

    /// The fault of the next request: of the first rule that matches and draws. The same script draws the
    /// same for the same sequence of requests.
    pub(super) fn draw(
        &mut self,
        operation: Operation,
        client_order_id: Option<&ClientOrderId>,
    ) -> Option<Fault> {
        for (at, rule) in self.rules.iter_mut().enumerate() {
            if rule.matches(operation, client_order_id) && rule.draws_it(self.seed, at) {
                rule.hits += 1;
                return Some(rule.fault);
            }
        }
        None
    }
}

impl Rule {
    fn matches(&self, operation: Operation, client_order_id: Option<&ClientOrderId>) -> bool {
        let named = match (&self.client_order_id, client_order_id) {
            (None, _) => true,
            (Some(prefix), Some(id)) => id.as_str().starts_with(prefix.as_str()),
            (Some(_), None) => false,
        };
        named
            && (self.on == operation || self.on == Operation::Any)
            && self.fault.means_something_to(operation)
            && self.times.is_none_or(|times| self.hits < times)
    }

    fn draws_it(&mut self, seed: u64, at: usize) -> bool {
        self.draws += 1;
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update((at as u64).to_be_bytes());
        hash.update(self.draws.to_be_bytes());
        let draw = hash.finalize().iter().take(4).fold(0u32, |n, byte| (n << 8) | u32::from(*byte));
        Decimal::from(draw) < self.share.0.saturating_mul(Decimal::from(1u64 << 32))
    }
}
