//! The type of an order from the flags of the command line.

use clap::ValueEnum;
use serde::Serialize;

use crate::app::AppError;

use super::fields::Fields;
use super::order_flags::{decimal, json_object};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Market,
    Limit,
    Stop,
    #[value(alias = "stop_limit")]
    StopLimit,
    #[value(alias = "trailing_stop")]
    TrailingStop,
    #[value(alias = "market_if_touched")]
    MarketIfTouched,
    #[value(alias = "limit_if_touched")]
    LimitIfTouched,
    Iceberg,
    Custom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(super) enum Distance {
    Absolute,
    Percent,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Its type")]
pub(super) struct TypeFlags {
    /// The kind of order
    #[arg(id = "type", long = "type", ignore_case = true, value_name = "TYPE", required_unless_present_any = super::order_flags::RAW)]
    kind: Option<Kind>,
    /// The limit price, of the types that have one
    #[arg(long, allow_negative_numbers = true, value_parser = decimal)]
    price: Option<String>,
    /// What triggers a stop or if-touched order
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "PRICE")]
    stop_price: Option<String>,
    /// How far a trailing stop stays behind
    #[arg(long, allow_negative_numbers = true, value_parser = decimal)]
    distance: Option<String>,
    /// What the distance is given in; percent: 5 is 5 % [default: absolute]
    #[arg(long, ignore_case = true, requires = "distance")]
    distance_type: Option<Distance>,
    /// How much of an iceberg is shown at a time
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "QUANTITY")]
    display_quantity: Option<String>,
    /// The whole of an iceberg [default: the quantity]
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "QUANTITY")]
    total_quantity: Option<String>,
    /// By how much the shown part of an iceberg varies
    #[arg(long, allow_negative_numbers = true, value_parser = decimal)]
    variance: Option<String>,
    /// The algorithm that works a custom order
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,
    /// What the algorithm is given: a JSON object
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    params: Option<String>,
}

/// A field of the contract's type and the flag that gives it.
struct Takes {
    field: &'static str,
    flag: &'static str,
    needed: bool,
}

const fn needs(field: &'static str, flag: &'static str) -> Takes {
    Takes { field, flag, needed: true }
}

const fn may_have(field: &'static str, flag: &'static str) -> Takes {
    Takes { field, flag, needed: false }
}

impl Kind {
    /// Its name in the contract, and its fields in their order.
    fn takes(self) -> (&'static str, Vec<Takes>) {
        match self {
            Self::Market => ("Market", Vec::new()),
            Self::Limit => ("Limit", vec![needs("price", "--price")]),
            Self::Stop => ("Stop", vec![needs("stop_price", "--stop-price")]),
            Self::StopLimit => {
                ("StopLimit", vec![needs("stop_price", "--stop-price"), needs("limit_price", "--price")])
            }
            Self::TrailingStop => {
                let unit = may_have("distance_type", "--distance-type");
                ("TrailingStop", vec![needs("distance", "--distance"), unit])
            }
            Self::MarketIfTouched => ("MarketIfTouched", vec![needs("trigger_price", "--stop-price")]),
            Self::LimitIfTouched => (
                "LimitIfTouched",
                vec![needs("trigger_price", "--stop-price"), needs("limit_price", "--price")],
            ),
            Self::Iceberg => (
                "Iceberg",
                vec![
                    needs("display_quantity", "--display-quantity"),
                    needs("total_quantity", "--total-quantity"),
                    may_have("variance", "--variance"),
                ],
            ),
            Self::Custom => {
                ("Custom", vec![needs("algorithm", "--algorithm"), may_have("params", "--params")])
            }
        }
    }
}

impl TypeFlags {
    /// `order_type` as JSON. `quantity`: what an iceberg is the whole of, where no flag says so.
    pub(super) fn order_type(&self, quantity: Option<&str>) -> Result<String, AppError> {
        let kind = self.kind.unwrap_or(Kind::Market);
        let (name, takes) = kind.takes();
        for (flag, _) in self.given().into_iter().filter(|(_, value)| value.is_some()) {
            if !takes.iter().any(|taken| taken.flag == flag) {
                return Err(AppError::Usage(format!("an order of type {name} takes no {flag}")));
            }
        }
        let mut fields = Fields::default();
        for Takes { field, flag, needed } in takes {
            let given =
                self.given().into_iter().find(|(known, _)| *known == flag).and_then(|(_, value)| value);
            let assumed = match flag {
                "--total-quantity" => quantity.map(str::to_owned),
                "--distance-type" => Some("Absolute".to_owned()),
                _ => None,
            };
            match given.or(assumed) {
                Some(value) if field == "params" => fields.put_json(field, &value),
                Some(value) => fields.put(field, &value),
                None if needed => {
                    return Err(AppError::Usage(format!("an order of type {name} needs {flag}")));
                }
                None => {}
            }
        }
        Ok(if kind == Kind::Market { "\"Market\"".to_owned() } else { nested(name, &fields) })
    }

    fn given(&self) -> [(&'static str, Option<String>); 9] {
        let unit = self.distance_type.map(|unit| format!("{unit:?}"));
        [
            ("--price", self.price.clone()),
            ("--stop-price", self.stop_price.clone()),
            ("--distance", self.distance.clone()),
            ("--distance-type", unit),
            ("--display-quantity", self.display_quantity.clone()),
            ("--total-quantity", self.total_quantity.clone()),
            ("--variance", self.variance.clone()),
            ("--algorithm", self.algorithm.clone()),
            ("--params", self.params.clone()),
        ]
    }
}

/// `{"name": {fields}}`
pub(super) fn nested(name: &str, fields: &Fields) -> String {
    let mut outer = Fields::default();
    outer.put(name, fields);
    outer.to_string()
}
