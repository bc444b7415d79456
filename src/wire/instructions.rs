//! How long an order lives, how it is to be worked, and what must hold before it is sent.

use super::item::{Item, invalid};
use super::order::OrderFields;
use super::record::record;
use crate::domain::order_type::{Comparison, Condition, ConditionType, ExecutionInstructions, TimeInForce};
use crate::domain::refusal::{Code, Refusal};

/// Conditions, and linked orders, that one order may name.
const MAX_LISTED: usize = 64;

const GTD: &str = "GTD";

/// `None`: GTD, whose time stands elsewhere.
const TIMES_IN_FORCE: &[(&str, Option<TimeInForce>)] = &[
    ("GTC", Some(TimeInForce::Gtc)),
    (GTD, None),
    ("IOC", Some(TimeInForce::Ioc)),
    ("FOK", Some(TimeInForce::Fok)),
    ("MOC", Some(TimeInForce::Moc)),
    ("LOC", Some(TimeInForce::Loc)),
    ("DAY", Some(TimeInForce::Day)),
];

const COMPARISONS: &[(&str, Comparison)] = &[
    ("GreaterOrEqual", Comparison::GreaterOrEqual),
    ("LessOrEqual", Comparison::LessOrEqual),
    ("Greater", Comparison::Greater),
    ("Less", Comparison::Less),
    ("Equal", Comparison::Equal),
];

record! { GtdFields, "GTD" { expires_at } }
record! { ConditionFields, "a condition" { condition_type, trigger_value, comparison } }
record! {
    InstructionFields, "execution_instructions" {
        post_only, reduce_only, display_size, allow_partial_fills, urgency, would_price_improve,
    }
}

/// `time_in_force`, with `expire_time` as a shorthand for GTD; GTC where both are left out.
pub(super) fn time_in_force(fields: &OrderFields<'_>) -> Result<TimeInForce, Refusal> {
    let shorthand =
        fields.expire_time.map(|item| Ok(TimeInForce::Gtd { expires_at: item.time()? })).transpose()?;
    let Some(item) = fields.time_in_force else { return Ok(shorthand.unwrap_or_default()) };
    let named = if item.is_object() { Some(gtd(&item)?) } else { item.choice(TIMES_IN_FORCE)? };
    match (named, shorthand, fields.expire_time) {
        (Some(named), None, _) => Ok(named),
        (None, Some(shorthand), _) => Ok(shorthand),
        (Some(named), Some(shorthand), _) if named == shorthand => Ok(named),
        (Some(named), _, Some(expires)) => Err(expires.refuse(
            Code::ValidationFailed,
            format_args!("contradicts time_in_force {}; leave one of them out", named.name()),
        )),
        (_, None, _) | (Some(_), Some(_), None) => Err(invalid(
            "expire_time is missing: time_in_force GTD needs it, or {\"GTD\": {\"expires_at\": …}}",
        )),
    }
}

fn gtd(item: &Item<'_>) -> Result<TimeInForce, Refusal> {
    let object = item.object()?;
    let ((), variant) = item.variant(&object, &[(GTD, ())])?;
    let details = variant.object()?;
    let fields = GtdFields::read(&details, &variant)?;
    let expires = variant.required(fields.expires_at, "expires_at", GTD)?;
    Ok(TimeInForce::Gtd { expires_at: expires.time()? })
}

/// `execution_instructions`, or the same fields beside it; `maker`: the order's type says post-only.
pub(super) fn execution(fields: &OrderFields<'_>, maker: bool) -> Result<ExecutionInstructions, Refusal> {
    let object = fields.execution_instructions.as_ref().map(|of| Ok((of.object()?, of))).transpose()?;
    let within = match &object {
        Some((object, of)) => InstructionFields::read(object, of)?,
        None => InstructionFields::default(),
    };
    let post_only = once(fields.post_only, within.post_only)?;
    let post_only_flag = flag(post_only)?;
    if let (true, Some(item), Some(false)) = (maker, post_only, post_only_flag) {
        return Err(
            item.refuse(Code::ValidationFailed, "contradicts the type LIMIT_MAKER, which is post-only")
        );
    }
    let display_size = once(fields.display_size, within.display_size)?;
    let urgency = once(fields.urgency, within.urgency)?;
    Ok(ExecutionInstructions {
        post_only: maker || post_only_flag.unwrap_or(false),
        reduce_only: flag(once(fields.reduce_only, within.reduce_only)?)?.unwrap_or(false),
        display_size: display_size.map(|item| item.quantity()).transpose()?,
        allow_partial_fills: flag(once(fields.allow_partial_fills, within.allow_partial_fills)?)?,
        urgency: urgency.map(|item| item.value()).transpose()?,
        would_price_improve: flag(once(fields.would_price_improve, within.would_price_improve)?)?,
    })
}

pub(super) fn flag(item: Option<Item<'_>>) -> Result<Option<bool>, Refusal> {
    item.map(|item| item.flag()).transpose()
}

fn once<'o>(beside: Option<Item<'o>>, within: Option<Item<'o>>) -> Result<Option<Item<'o>>, Refusal> {
    match (beside, within) {
        (Some(beside), Some(within)) => {
            Err(invalid(format!("{} and {} are the same field", beside.path(), within.path())))
        }
        (beside, within) => Ok(beside.or(within)),
    }
}

pub(super) fn conditions(item: Option<&Item<'_>>) -> Result<Vec<Condition>, Refusal> {
    listed(item, condition)
}

pub(super) fn linked_orders(item: Option<&Item<'_>>) -> Result<Vec<String>, Refusal> {
    listed(item, |element| element.short_text())
}

fn listed<T>(
    item: Option<&Item<'_>>,
    read: impl Fn(&Item<'_>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let Some(item) = item else { return Ok(Vec::new()) };
    let elements = item.list()?;
    if elements.len() > MAX_LISTED {
        return Err(
            item.invalid(format_args!("has {} elements; at most {MAX_LISTED} are taken", elements.len()))
        );
    }
    elements.iter().map(read).collect()
}

fn condition(item: &Item<'_>) -> Result<Condition, Refusal> {
    let object = item.object()?;
    let fields = ConditionFields::read(&object, item)?;
    let (kind, value) = (fields.condition_type, fields.trigger_value);
    let needed = "a condition";
    Ok(Condition {
        condition_type: item
            .required(kind, "condition_type", needed)?
            .choice(&[("Price", ConditionType::Price)])?,
        trigger_value: item.required(value, "trigger_value", needed)?.price()?,
        comparison: item.required(fields.comparison, "comparison", needed)?.choice(COMPARISONS)?,
    })
}
