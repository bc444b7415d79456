//! The type of an order, in the canonical and in the flat form.

use serde_json::Value;

use super::item::{Item, invalid};
use super::order::OrderFields;
use super::record::record;
use crate::domain::amount::{Price, Quantity};
use crate::domain::order_type::{DistanceType, OrderType};
use crate::domain::refusal::Refusal;

/// What an order's type says.
pub(super) struct Typed {
    pub(super) order_type: OrderType,
    /// The name under which a limit order is post-only by its type.
    pub(super) maker: bool,
}

#[derive(Clone, Copy)]
enum Shape {
    Market,
    Limit,
    LimitMaker,
    Stop,
    StopLimit,
    TrailingStop,
    MarketIfTouched,
    LimitIfTouched,
    Iceberg,
    Custom,
}

const CANONICAL: &[(&str, Shape)] = &[
    ("Market", Shape::Market),
    ("Limit", Shape::Limit),
    ("Stop", Shape::Stop),
    ("StopLimit", Shape::StopLimit),
    ("TrailingStop", Shape::TrailingStop),
    ("MarketIfTouched", Shape::MarketIfTouched),
    ("LimitIfTouched", Shape::LimitIfTouched),
    ("Iceberg", Shape::Iceberg),
    ("Custom", Shape::Custom),
];

/// Types by their name alone, prices beside them; from `LIMIT_MAKER` on in an exchange's dialect.
const FLAT: &[(&str, Shape)] = &[
    ("MARKET", Shape::Market),
    ("LIMIT", Shape::Limit),
    ("STOP", Shape::Stop),
    ("STOP_LIMIT", Shape::StopLimit),
    ("TRAILING_STOP", Shape::TrailingStop),
    ("MARKET_IF_TOUCHED", Shape::MarketIfTouched),
    ("LIMIT_IF_TOUCHED", Shape::LimitIfTouched),
    ("LIMIT_MAKER", Shape::LimitMaker),
    ("STOP_LOSS", Shape::Stop),
    ("STOP_LOSS_LIMIT", Shape::StopLimit),
    ("TAKE_PROFIT", Shape::MarketIfTouched),
    ("TAKE_PROFIT_LIMIT", Shape::LimitIfTouched),
    ("ICEBERG", Shape::Iceberg),
    ("CUSTOM", Shape::Custom),
];

record! {
    /// Every field that some type takes.
    TypeFields, "an order type" {
        price, stop_price, limit_price, trigger_price, distance, distance_type,
        display_quantity, total_quantity, variance, algorithm, params,
    }
}

/// Reads the type: an object carries its own prices (canonical), a name has them beside it (flat).
pub(super) fn read(fields: &OrderFields<'_>) -> Result<Typed, Refusal> {
    let Some(item) = &fields.order_type else {
        return Err(invalid("order_type is missing: an order needs one, such as Market"));
    };
    let beside = TypeFields {
        price: fields.price,
        stop_price: fields.stop_price,
        limit_price: fields.limit_price,
        trigger_price: fields.trigger_price,
        distance: fields.distance,
        distance_type: fields.distance_type,
        ..TypeFields::default()
    };
    if item.is_object() {
        match first(&beside) {
            Some(extra) => {
                Err(extra.invalid(format_args!("stands beside {}, which has its own prices", item.path())))
            }
            None => canonical(item),
        }
    } else {
        flat(item, beside)
    }
}

fn canonical(item: &Item<'_>) -> Result<Typed, Refusal> {
    let object = item.object()?;
    let (shape, variant) = item.variant(&object, CANONICAL)?;
    if matches!(shape, Shape::Market) && variant.is_null() {
        return Ok(Typed { order_type: OrderType::Market, maker: false });
    }
    let details = variant.object()?;
    let fields = TypeFields::read(&details, &variant)?;
    Takes { fields, path: variant.path(), within: true }.order_type(shape)
}

fn flat(item: &Item<'_>, mut fields: TypeFields<'_>) -> Result<Typed, Refusal> {
    let shape = item.choice(FLAT)?;
    match shape {
        Shape::Limit | Shape::LimitMaker => fields.price = same(fields.price, fields.limit_price.take())?,
        Shape::StopLimit => fields.limit_price = same(fields.limit_price, fields.price.take())?,
        Shape::MarketIfTouched => {
            fields.trigger_price = same(fields.trigger_price, fields.stop_price.take())?;
        }
        Shape::LimitIfTouched => {
            fields.limit_price = same(fields.limit_price, fields.price.take())?;
            fields.trigger_price = same(fields.trigger_price, fields.stop_price.take())?;
        }
        Shape::Iceberg | Shape::Custom => {
            return Err(item.invalid("must be written as an object: {\"Iceberg\": {…}} or {\"Custom\": {…}}"));
        }
        Shape::Market | Shape::Stop | Shape::TrailingStop => {}
    }
    Takes { fields, path: item.text()?.into_owned(), within: false }.order_type(shape)
}

/// Two names for one price, in the flat form.
fn same<'o>(own: Option<Item<'o>>, other: Option<Item<'o>>) -> Result<Option<Item<'o>>, Refusal> {
    match (own, other) {
        (Some(own), Some(other)) => {
            Err(invalid(format!("{} and {} are the same field here", own.path(), other.path())))
        }
        (own, other) => Ok(own.or(other)),
    }
}

/// The fields given for a type, taken one by one; what is left over was one too many.
struct Takes<'o> {
    fields: TypeFields<'o>,
    /// What a sentence calls the type.
    path: String,
    /// The fields are members of the type, rather than beside it.
    within: bool,
}

impl<'o> Takes<'o> {
    fn order_type(mut self, shape: Shape) -> Result<Typed, Refusal> {
        let order_type = match shape {
            Shape::Market => OrderType::Market,
            Shape::Limit | Shape::LimitMaker => {
                let price = self.fields.price.take();
                OrderType::Limit { price: self.price(price, "price")? }
            }
            Shape::Stop => OrderType::Stop { stop_price: self.stop_price()? },
            Shape::StopLimit => {
                OrderType::StopLimit { stop_price: self.stop_price()?, limit_price: self.limit_price()? }
            }
            Shape::TrailingStop => self.trailing_stop()?,
            Shape::MarketIfTouched => OrderType::MarketIfTouched { trigger_price: self.trigger_price()? },
            Shape::LimitIfTouched => OrderType::LimitIfTouched {
                trigger_price: self.trigger_price()?,
                limit_price: self.limit_price()?,
            },
            Shape::Iceberg => self.iceberg()?,
            Shape::Custom => self.custom()?,
        };
        if let Some(extra) = first(&self.fields) {
            return Err(extra.invalid(format_args!("is not taken by an order of type {}", self.path)));
        }
        Ok(Typed { order_type, maker: matches!(shape, Shape::LimitMaker) })
    }

    fn needed(&self, item: Option<Item<'o>>, name: &str) -> Result<Item<'o>, Refusal> {
        item.ok_or_else(|| {
            let path = if self.within { format!("{}.{name}", self.path) } else { name.to_owned() };
            invalid(format!("{path} is missing: an order of type {} needs it", self.path))
        })
    }

    fn price(&self, item: Option<Item<'o>>, name: &str) -> Result<Price, Refusal> {
        self.needed(item, name)?.price()
    }

    fn quantity(&self, item: Option<Item<'o>>, name: &str) -> Result<Quantity, Refusal> {
        self.needed(item, name)?.positive_quantity()
    }

    fn stop_price(&mut self) -> Result<Price, Refusal> {
        let item = self.fields.stop_price.take();
        self.price(item, "stop_price")
    }

    fn limit_price(&mut self) -> Result<Price, Refusal> {
        let item = self.fields.limit_price.take();
        self.price(item, if self.within { "limit_price" } else { "price" })
    }

    fn trigger_price(&mut self) -> Result<Price, Refusal> {
        let item = self.fields.trigger_price.take();
        self.price(item, if self.within { "trigger_price" } else { "stop_price" })
    }

    fn trailing_stop(&mut self) -> Result<OrderType, Refusal> {
        let (distance, unit) = (self.fields.distance.take(), self.fields.distance_type.take());
        let distance = self.price(distance, "distance")?;
        let units = [("Absolute", DistanceType::Absolute), ("Percent", DistanceType::Percent)];
        let distance_type = self.needed(unit, "distance_type")?.choice(&units)?;
        Ok(OrderType::TrailingStop { distance, distance_type })
    }

    fn iceberg(&mut self) -> Result<OrderType, Refusal> {
        let (display, total) = (self.fields.display_quantity.take(), self.fields.total_quantity.take());
        Ok(OrderType::Iceberg {
            display_quantity: self.quantity(display, "display_quantity")?,
            total_quantity: self.quantity(total, "total_quantity")?,
            variance: self.fields.variance.take().map(|item| item.quantity()).transpose()?,
        })
    }

    fn custom(&mut self) -> Result<OrderType, Refusal> {
        let algorithm = self.fields.algorithm.take();
        let algorithm = self.needed(algorithm, "algorithm")?.short_text()?;
        let params = self.fields.params.take().map(|item| item.value()).transpose()?;
        Ok(OrderType::Custom { algorithm, params: params.unwrap_or(Value::Null) })
    }
}

fn first<'o>(fields: &TypeFields<'o>) -> Option<Item<'o>> {
    [
        fields.price,
        fields.stop_price,
        fields.limit_price,
        fields.trigger_price,
        fields.distance,
        fields.distance_type,
        fields.display_quantity,
        fields.total_quantity,
        fields.variance,
        fields.algorithm,
        fields.params,
    ]
    .into_iter()
    .flatten()
    .next()
}
