//! Commands: requests about orders that exist.

use super::item::{Item, invalid};
use super::order::{SIDES, uuid};
use super::record::record;
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, Symbol};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::OrderRef;

record! { CancelFields, "a cancel" { client_order_id, order_id } }
record! { CancelAllFields, "a cancel_all" { symbol, side, broker, strategy_id } }
record! { ReplaceFields, "a replace" { client_order_id, quantity, price, stop_price } }

pub(super) fn cancel(text: &str) -> Result<OrderRef, Refusal> {
    let root = Item::root("cancel", text);
    let object = root.object()?;
    let fields = CancelFields::read(&object, &root)?;
    match (fields.client_order_id, fields.order_id) {
        (Some(item), None) => Ok(OrderRef::Client(item.parsed()?)),
        (None, Some(item)) => Ok(OrderRef::Order(OrderId(uuid(&item)?))),
        (None, None) => Err(invalid("client_order_id is missing: a cancel needs it, or order_id")),
        (Some(_), Some(item)) => {
            Err(item.invalid("stands beside client_order_id; a cancel takes one of them"))
        }
    }
}

/// Checks its shape; carrying it out is not built yet.
pub(super) fn cancel_all(text: &str) -> Result<Refusal, Refusal> {
    let root = Item::root("cancel_all", text);
    let object = root.object()?;
    let fields = CancelAllFields::read(&object, &root)?;
    fields.symbol.map(|item| item.parsed::<Symbol>()).transpose()?;
    fields.side.map(|item| item.choice(SIDES)).transpose()?;
    fields.broker.map(|item| item.parsed::<BrokerName>()).transpose()?;
    fields.strategy_id.map(|item| item.short_text()).transpose()?;
    Ok(not_built("cancel_all"))
}

/// Checks its shape; carrying it out is not built yet.
pub(super) fn replace(text: &str) -> Result<Refusal, Refusal> {
    let root = Item::root("replace", text);
    let object = root.object()?;
    let fields = ReplaceFields::read(&object, &root)?;
    root.required(fields.client_order_id, "client_order_id", "a replace")?.parsed::<ClientOrderId>()?;
    fields.quantity.map(|item| item.positive_quantity()).transpose()?;
    fields.price.map(|item| item.price()).transpose()?;
    fields.stop_price.map(|item| item.price()).transpose()?;
    if fields.quantity.or(fields.price).or(fields.stop_price).is_none() {
        return Err(invalid("replace changes nothing: give it a quantity, a price or a stop_price"));
    }
    Ok(not_built("replace"))
}

fn not_built(command: &str) -> Refusal {
    Refusal::new(Code::UnsupportedByBroker, format!("{command} is not built yet in this version"))
}
