//! An order as a producer sends it, in either form.

use uuid::Uuid;

use super::entry::Context;
use super::item::Item;
use super::record::record;
use super::{instructions, order_type, out_fields, scan};
use crate::domain::ids::{ClientOrderId, OrderId, RequestKey, Symbol};
use crate::domain::order::OrderSpec;
use crate::domain::order_type::Side;
use crate::domain::refusal::{Code, Refusal};

pub(super) const SIDES: &[(&str, Side)] = &[("Buy", Side::Buy), ("Sell", Side::Sell)];

record! {
    /// Every field that an order may have, in the canonical form, the flat one, and as the worker writes it.
    OrderFields, "an order" {
        client_order_id, symbol, side, quantity, order_type | "type", time_in_force, expire_time,
        price, stop_price, limit_price, trigger_price, distance, distance_type,
        post_only, reduce_only, display_size, allow_partial_fills, urgency, would_price_improve,
        broker, conditions, parent_order_id, linked_orders, execution_instructions,
        max_slippage, position_size_check, strategy_id, signal_id, component_name, metadata, id,
        broker_order_id, status, filled_quantity, remaining_quantity, average_fill_price, filled_notional,
        commission, commissions, pending_cancel, pending_replace, parked, triggered, trailing, ends_at, version, created_at, updated_at, events,
    }
}

/// Reads the JSON of an order as the `order` field of a request would be read.
pub fn decode_order(json: &[u8], context: &Context<'_>) -> Result<OrderSpec, Refusal> {
    read(scan::readable("order", json, context.max_payload_bytes)?, context)
}

pub(super) fn read(text: &str, context: &Context<'_>) -> Result<OrderSpec, Refusal> {
    let root = Item::root("order", text);
    let object = root.object()?;
    let fields = OrderFields::read(&object, &root)?;
    let symbol: Symbol = root.required(fields.symbol, "symbol", "an order")?.parsed()?;
    let side = root.required(fields.side, "side", "an order")?.choice(SIDES)?;
    let quantity = root.required(fields.quantity, "quantity", "an order")?.positive_quantity()?;
    let typed = order_type::read(&fields)?;
    out_fields::check(&fields, quantity)?;
    Ok(OrderSpec {
        id: order_id(fields.id, context.order_id)?,
        client_order_id: match fields.client_order_id {
            Some(item) => item.parsed()?,
            None => derived_id(context.key, &symbol, side)?,
        },
        symbol,
        side,
        quantity,
        order_type: typed.order_type,
        time_in_force: instructions::time_in_force(&fields)?,
        broker: fields.broker.map(|item| item.parsed()).transpose()?,
        conditions: instructions::conditions(fields.conditions.as_ref())?,
        parent_order_id: short_text(fields.parent_order_id)?,
        linked_orders: instructions::linked_orders(fields.linked_orders.as_ref())?,
        execution_instructions: instructions::execution(&fields, typed.maker)?,
        max_slippage: fields.max_slippage.map(|item| item.quantity()).transpose()?,
        position_size_check: instructions::flag(fields.position_size_check)?,
        strategy_id: short_text(fields.strategy_id)?,
        signal_id: short_text(fields.signal_id)?,
        component_name: short_text(fields.component_name)?,
        metadata: metadata(fields.metadata)?,
    })
}

fn short_text(field: Option<Item<'_>>) -> Result<Option<String>, Refusal> {
    field.map(|item| item.short_text()).transpose()
}

fn metadata(field: Option<Item<'_>>) -> Result<Option<serde_json::Value>, Refusal> {
    match field {
        Some(item) if !item.is_object() => Err(item.invalid("must be a JSON object")),
        field => field.map(|item| item.value()).transpose(),
    }
}

fn order_id(field: Option<Item<'_>>, fresh: Uuid) -> Result<OrderId, Refusal> {
    let Some(item) = field else { return Ok(OrderId(fresh)) };
    uuid(&item).map(OrderId)
}

pub(super) fn uuid(item: &Item<'_>) -> Result<Uuid, Refusal> {
    let parsed = Uuid::parse_str(&item.text()?).ok().filter(|uuid| !uuid.is_nil());
    parsed.ok_or_else(|| item.invalid("must be a UUID, and not the nil one"))
}

/// The id of an order that came without one: the same at every redelivery of its entry.
fn derived_id(key: &RequestKey, symbol: &Symbol, side: Side) -> Result<ClientOrderId, Refusal> {
    let text = format!("RT_{symbol}_{side}_{}_{:08x}", key.entry.ms, key.entry.seq);
    text.parse().map_err(|error| {
        let reason =
            format!("client_order_id is missing, and the one derived from the entry, {text}, {error}");
        Refusal::new(Code::InvalidPayload, reason)
    })
}
