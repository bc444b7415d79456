//! Commands: requests about orders that exist.

use super::item::{Item, invalid};
use super::order::{SIDES, uuid};
use super::record::record;
use crate::domain::event::Terms;
use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, Symbol};
use crate::domain::refusal::Refusal;
use crate::domain::request::{CancelFilter, OrderRef, Replace};

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

pub(super) fn cancel_all(text: &str) -> Result<CancelFilter, Refusal> {
    let root = Item::root("cancel_all", text);
    let object = root.object()?;
    let fields = CancelAllFields::read(&object, &root)?;
    Ok(CancelFilter {
        symbol: fields.symbol.map(|item| item.parsed::<Symbol>()).transpose()?,
        side: fields.side.map(|item| item.choice(SIDES)).transpose()?,
        broker: fields.broker.map(|item| item.parsed::<BrokerName>()).transpose()?,
        strategy_id: fields.strategy_id.map(|item| item.short_text()).transpose()?,
    })
}

pub(super) fn replace(text: &str) -> Result<Replace, Refusal> {
    let root = Item::root("replace", text);
    let object = root.object()?;
    let fields = ReplaceFields::read(&object, &root)?;
    let client_order_id =
        root.required(fields.client_order_id, "client_order_id", "a replace")?.parsed::<ClientOrderId>()?;
    let terms = Terms {
        quantity: fields.quantity.map(|item| item.positive_quantity()).transpose()?,
        price: fields.price.map(|item| item.price()).transpose()?,
        stop_price: fields.stop_price.map(|item| item.price()).transpose()?,
    };
    if terms == Terms::default() {
        return Err(invalid("replace changes nothing: give it a quantity, a price or a stop_price"));
    }
    Ok(Replace { client_order_id, terms })
}
