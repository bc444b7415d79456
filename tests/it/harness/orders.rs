//! Orders in the canonical form, with as few fields as it takes.

use serde_json::{Value, json};

pub(crate) fn market(id: &str, symbol: &str, side: &str, quantity: &str) -> Value {
    json!({"client_order_id": id, "symbol": symbol, "side": side, "quantity": quantity, "order_type": "Market"})
}

pub(crate) fn limit(id: &str, symbol: &str, side: &str, quantity: &str, price: &str) -> Value {
    let order_type = json!({"Limit": {"price": price}});
    json!({"client_order_id": id, "symbol": symbol, "side": side, "quantity": quantity, "order_type": order_type})
}

/// `order` with the fields of `more` added or replaced.
pub(crate) fn with(mut order: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut order, more) else { panic!("both are objects") };
    fields.extend(more);
    order
}
