//! An order, as producers write it: in the canonical form, and in the flat one of an exchange's dialect.
#![expect(dead_code, reason = "these types describe JSON; no value of them is ever made")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::scalar::{Instant, PositiveDecimal, ShortText, UnsignedDecimal, Uuid};
use crate::domain::ids::{BrokerName, ClientOrderId, Symbol};
use crate::domain::order_type::{Comparison, ConditionType, DistanceType, Side};

/// An order to be executed, in either form.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum SubmittedOrder {
    Canonical(Box<NewOrder>),
    Flat(Box<FlatOrder>),
}

/// The canonical form: the type carries its prices.
#[derive(JsonSchema)]
#[schemars(extend("dependentSchemas" = { "expire_time": either("expire_time", "time_in_force", None) }))]
pub(super) struct NewOrder {
    #[schemars(flatten)]
    pub(super) common: Common,
    pub(super) side: Side,
    pub(super) order_type: NewOrderType,
    /// GTC where it is left out.
    pub(super) time_in_force: Option<NewTimeInForce>,
    pub(super) execution_instructions: Option<NewInstructions>,
    #[schemars(flatten)]
    pub(super) initial: InitialValues,
}

/// The flat form: the type is a name, prices and instructions stand beside it.
#[derive(JsonSchema)]
#[schemars(extend("dependentSchemas" = {
    "type": takes(),
    "expire_time": either("expire_time", "time_in_force", Some("GTD")),
    "time_in_force": gtd_has_a_time(),
}))]
pub(super) struct FlatOrder {
    #[schemars(flatten)]
    pub(super) common: Common,
    pub(super) side: FlatSide,
    pub(super) r#type: FlatType,
    /// GTC where it is left out; GTD needs expire_time.
    pub(super) time_in_force: Option<FlatTimeInForce>,
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) price: Option<PositiveDecimal>,
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) stop_price: Option<PositiveDecimal>,
    /// The same as price.
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) limit_price: Option<PositiveDecimal>,
    /// The same as stop_price, of the types that are touched.
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) trigger_price: Option<PositiveDecimal>,
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) distance: Option<PositiveDecimal>,
    #[schemars(default, with = "FlatDistanceType")]
    pub(super) distance_type: Option<FlatDistanceType>,
    #[schemars(flatten)]
    pub(super) instructions: NewInstructions,
}

/// What both forms share.
#[derive(JsonSchema)]
pub(super) struct Common {
    /// Left out, it is derived from the entry, and a repeat is another order.
    pub(super) client_order_id: Option<ClientOrderId>,
    pub(super) symbol: Symbol,
    pub(super) quantity: PositiveDecimal,
    /// A shorthand for GTD.
    pub(super) expire_time: Option<Instant>,
    pub(super) broker: Option<BrokerName>,
    #[schemars(length(max = 64))]
    pub(super) conditions: Option<Vec<NewCondition>>,
    pub(super) parent_order_id: Option<ShortText>,
    #[schemars(length(max = 64))]
    pub(super) linked_orders: Option<Vec<ShortText>>,
    /// Percent of the reference price.
    pub(super) max_slippage: Option<UnsignedDecimal>,
    pub(super) position_size_check: Option<bool>,
    pub(super) strategy_id: Option<ShortText>,
    pub(super) signal_id: Option<ShortText>,
    pub(super) component_name: Option<ShortText>,
    pub(super) metadata: Option<Map<String, Value>>,
    /// Made by the worker where it is left out.
    pub(super) id: Option<Uuid>,
}

/// What the worker fills. A producer that serialises a whole order sends the values that these begin with.
#[derive(JsonSchema)]
pub(super) struct InitialValues {
    #[schemars(extend("enum" = ["Created", null]))]
    pub(super) status: Option<String>,
    #[schemars(extend("type" = "null"))]
    pub(super) broker_order_id: Option<String>,
    #[schemars(extend("type" = "null"))]
    pub(super) average_fill_price: Option<String>,
    pub(super) filled_quantity: Option<Zero>,
    /// Equal to quantity.
    pub(super) remaining_quantity: Option<PositiveDecimal>,
    pub(super) filled_notional: Option<Zero>,
    pub(super) commission: Option<Zero>,
    #[schemars(extend("maxProperties" = 0))]
    pub(super) commissions: Option<Map<String, Value>>,
    #[schemars(extend("enum" = [false, null]))]
    pub(super) pending_cancel: Option<bool>,
    #[schemars(extend("enum" = [false, null]))]
    pub(super) pending_replace: Option<bool>,
    #[schemars(extend("enum" = [false, null]))]
    pub(super) parked: Option<bool>,
    #[schemars(extend("enum" = [false, null]))]
    pub(super) triggered: Option<bool>,
    #[schemars(extend("type" = "null"))]
    pub(super) trailing: Option<String>,
    #[schemars(extend("type" = "null"))]
    pub(super) ends_at: Option<String>,
    pub(super) version: Option<Zero>,
    pub(super) created_at: Option<Instant>,
    pub(super) updated_at: Option<Instant>,
    #[schemars(length(max = 0))]
    pub(super) events: Option<Vec<Value>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Zero {
    Text(#[schemars(regex(pattern = r"^[+-]?0+(?:\.0+)?$"))] String),
    Number(#[schemars(range(min = 0, max = 0))] u64),
}

#[derive(JsonSchema)]
pub(super) enum NewOrderType {
    Market,
    Limit {
        price: PositiveDecimal,
    },
    Stop {
        stop_price: PositiveDecimal,
    },
    StopLimit {
        stop_price: PositiveDecimal,
        limit_price: PositiveDecimal,
    },
    TrailingStop {
        distance: PositiveDecimal,
        distance_type: DistanceType,
    },
    MarketIfTouched {
        trigger_price: PositiveDecimal,
    },
    LimitIfTouched {
        trigger_price: PositiveDecimal,
        limit_price: PositiveDecimal,
    },
    Iceberg {
        display_quantity: PositiveDecimal,
        total_quantity: PositiveDecimal,
        variance: Option<UnsignedDecimal>,
    },
    Custom {
        algorithm: ShortText,
        #[schemars(default)]
        params: Value,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
pub(super) enum NewTimeInForce {
    Gtc,
    Ioc,
    Fok,
    Day,
    Moc,
    Loc,
    Gtd { expires_at: Instant },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
pub(super) enum FlatTimeInForce {
    Gtc,
    Ioc,
    Fok,
    Day,
    Moc,
    Loc,
    Gtd,
}

/// How an order is to be worked.
#[derive(JsonSchema)]
pub(super) struct NewInstructions {
    pub(super) post_only: Option<bool>,
    pub(super) reduce_only: Option<bool>,
    pub(super) display_size: Option<UnsignedDecimal>,
    /// False: all or none.
    pub(super) allow_partial_fills: Option<bool>,
    #[schemars(default)]
    pub(super) urgency: Value,
    pub(super) would_price_improve: Option<bool>,
}

/// Something that must hold before the order is sent.
#[derive(JsonSchema)]
pub(super) struct NewCondition {
    pub(super) condition_type: ConditionType,
    pub(super) trigger_value: PositiveDecimal,
    pub(super) comparison: Comparison,
}

#[derive(JsonSchema)]
pub(super) enum FlatSide {
    #[schemars(rename = "BUY")]
    UpperBuy,
    #[schemars(rename = "SELL")]
    UpperSell,
    Buy,
    Sell,
}

#[derive(JsonSchema)]
pub(super) enum FlatDistanceType {
    #[schemars(rename = "ABSOLUTE")]
    UpperAbsolute,
    #[schemars(rename = "PERCENT")]
    UpperPercent,
    Absolute,
    Percent,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FlatType {
    Market,
    Limit,
    LimitMaker,
    Stop,
    StopLoss,
    StopLimit,
    StopLossLimit,
    TrailingStop,
    MarketIfTouched,
    TakeProfit,
    LimitIfTouched,
    TakeProfitLimit,
}

pub(super) const PRICES: [&str; 6] =
    ["price", "stop_price", "limit_price", "trigger_price", "distance", "distance_type"];

/// What each type takes: exactly one field of each group, and no other price.
const TAKES: &[(&[&str], &[&[&str]])] = &[
    (&["MARKET"], &[]),
    (&["LIMIT", "LIMIT_MAKER"], &[&["price", "limit_price"]]),
    (&["STOP", "STOP_LOSS"], &[&["stop_price"]]),
    (&["STOP_LIMIT", "STOP_LOSS_LIMIT"], &[&["stop_price"], &["price", "limit_price"]]),
    (&["TRAILING_STOP"], &[&["distance"], &["distance_type"]]),
    (&["MARKET_IF_TOUCHED", "TAKE_PROFIT"], &[&["stop_price", "trigger_price"]]),
    (
        &["LIMIT_IF_TOUCHED", "TAKE_PROFIT_LIMIT"],
        &[&["stop_price", "trigger_price"], &["price", "limit_price"]],
    ),
];

/// The prices that go with a type, and that a `LIMIT_MAKER` is post-only.
fn takes() -> Value {
    let mut rules: Vec<Value> = TAKES.iter().map(|(names, groups)| rule(names, groups)).collect();
    rules.push(json!({
        "if": { "properties": { "type": { "const": "LIMIT_MAKER" } } },
        "then": { "properties": { "post_only": { "not": { "const": false } } } },
    }));
    json!({ "allOf": rules })
}

fn rule(names: &[&str], groups: &[&[&str]]) -> Value {
    let is_taken = |price: &&str| groups.iter().any(|group| group.contains(price));
    let others: Map<String, Value> = PRICES
        .iter()
        .filter(|price| !is_taken(price))
        .map(|price| ((*price).to_owned(), false.into()))
        .collect();
    let one_of = |group: &&[&str]| {
        let choices: Vec<Value> = group.iter().map(|name| json!({ "required": [name] })).collect();
        json!({ "oneOf": choices })
    };
    let mut then = json!({ "properties": others });
    if !groups.is_empty() {
        then["allOf"] = groups.iter().map(one_of).collect();
    }
    json!({ "if": { "properties": { "type": { "enum": names } } }, "then": then })
}

/// Of two fields at most one is given, unless the second has the value that goes with the first.
fn either(one: &str, other: &str, unless: Option<&str>) -> Value {
    let mut choices = vec![
        json!({ "properties": { one: { "type": "null" } } }),
        json!({ "properties": { other: { "type": "null" } } }),
    ];
    choices.extend(unless.map(|value| json!({ "properties": { other: { "const": value } } })));
    json!({ "anyOf": choices })
}

fn gtd_has_a_time() -> Value {
    json!({
        "if": { "properties": { "time_in_force": { "const": "GTD" } } },
        "then": { "required": ["expire_time"], "properties": { "expire_time": { "type": "string" } } },
    })
}
