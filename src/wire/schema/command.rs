//! Commands, as producers write them.
#![expect(dead_code, reason = "these types describe JSON; no value of them is ever made")]

use schemars::JsonSchema;

use super::scalar::{PositiveDecimal, ShortText, Uuid};
use crate::domain::ids::{BrokerName, ClientOrderId, Symbol};
use crate::domain::order_type::Side;

/// Asks for one order to be cancelled, by either of its ids.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Cancel {
    ByClientOrderId { client_order_id: ClientOrderId },
    ByOrderId { order_id: Uuid },
}

/// Asks for every order that matches to be cancelled; what is left out matches every order.
#[derive(JsonSchema)]
pub(super) struct CancelAll {
    pub(super) symbol: Option<Symbol>,
    pub(super) side: Option<Side>,
    pub(super) broker: Option<BrokerName>,
    pub(super) strategy_id: Option<ShortText>,
}

/// Asks for new terms of an open order: at least one of quantity, price and stop_price.
#[derive(JsonSchema)]
#[schemars(extend("minProperties" = 2))]
pub(super) struct Replace {
    pub(super) client_order_id: ClientOrderId,
    /// The new total, fills included.
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) quantity: Option<PositiveDecimal>,
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) price: Option<PositiveDecimal>,
    #[schemars(default, with = "PositiveDecimal")]
    pub(super) stop_price: Option<PositiveDecimal>,
}
