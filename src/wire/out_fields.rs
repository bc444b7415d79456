//! Fields that the worker fills: a producer may send the values they begin with, and no others.

use super::item::Item;
use super::order::OrderFields;
use crate::domain::amount::Quantity;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::status::Status;

pub(super) fn check(fields: &OrderFields<'_>, quantity: Quantity) -> Result<(), Refusal> {
    let absent = [fields.broker_order_id, fields.average_fill_price, fields.trailing, fields.ends_at];
    let zero = [fields.filled_quantity, fields.filled_notional, fields.commission, fields.version];
    let off = [fields.pending_cancel, fields.pending_replace, fields.parked, fields.triggered];
    if let Some(item) = absent.into_iter().flatten().next() {
        return Err(filled_here(&item, "null"));
    }
    for item in zero.into_iter().flatten() {
        if !item.decimal()?.is_zero() {
            return Err(filled_here(&item, "0"));
        }
    }
    for item in off.into_iter().flatten() {
        if item.flag()? {
            return Err(filled_here(&item, "false"));
        }
    }
    for item in [fields.created_at, fields.updated_at].into_iter().flatten() {
        item.time()?;
    }
    lists(fields)?;
    if let Some(item) = fields.status {
        status(&item)?;
    }
    match fields.remaining_quantity {
        Some(item) if item.decimal()? != quantity.get() => Err(item.refuse(
            Code::ValidationFailed,
            format_args!("contradicts quantity {quantity}: nothing is filled yet; leave it out"),
        )),
        _ => Ok(()),
    }
}

fn lists(fields: &OrderFields<'_>) -> Result<(), Refusal> {
    if let Some(item) = fields.commissions
        && item.object()?.members().next().is_some()
    {
        return Err(filled_here(&item, "{}"));
    }
    if let Some(item) = fields.events
        && !item.list()?.is_empty()
    {
        return Err(filled_here(&item, "[]"));
    }
    Ok(())
}

fn status(item: &Item<'_>) -> Result<(), Refusal> {
    let created = Status::Created.as_str();
    if item.is_object() || item.choice(&[(created, ())]).is_err() {
        return Err(filled_here(item, created));
    }
    Ok(())
}

fn filled_here(item: &Item<'_>, initial: &str) -> Refusal {
    item.invalid(format_args!("is the worker's to fill: leave it out, or send {initial}"))
}
