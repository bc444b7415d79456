//! An order from the flags of the command line, in the contract's canonical form.

use clap::ValueEnum;
use serde::Serialize;

use crate::app::AppError;
use crate::domain::amount;

use super::fields::Fields;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(super) enum SideFlag {
    Buy,
    Sell,
}

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(super) enum Distance {
    Absolute,
    Percent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TimeInForceFlag {
    Gtc,
    Ioc,
    Fok,
    Day,
    Gtd,
    Moc,
    Loc,
}

/// The order's own flags: none of them beside `--json-order` or `--file`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct OrderFlags {
    /// As the broker spells it: BTCUSDT, EUR_USD
    #[arg(long, required_unless_present_any = RAW, conflicts_with_all = RAW)]
    pub(super) symbol: Option<String>,
    #[arg(long, ignore_case = true, required_unless_present_any = RAW, conflicts_with_all = RAW)]
    pub(super) side: Option<SideFlag>,
    /// A decimal; every digit is passed on as it is typed
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, required_unless_present_any = RAW, conflicts_with_all = RAW)]
    pub(super) quantity: Option<String>,
    #[arg(id = "type", long = "type", ignore_case = true, value_name = "TYPE", required_unless_present_any = RAW, conflicts_with_all = RAW)]
    pub(super) kind: Option<Kind>,
    /// The limit price, of the types that have one
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, conflicts_with_all = RAW)]
    pub(super) price: Option<String>,
    /// What triggers a stop or if-touched order
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "PRICE", conflicts_with_all = RAW)]
    pub(super) stop_price: Option<String>,
    /// How far a trailing stop stays behind
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, conflicts_with_all = RAW)]
    pub(super) distance: Option<String>,
    /// What the distance is given in; percent: 5 is 5 %
    #[arg(long, ignore_case = true, requires = "distance", conflicts_with_all = RAW)]
    pub(super) distance_type: Option<Distance>,
    /// How long it lives [default: gtc]
    #[arg(long, ignore_case = true, value_name = "TIF", conflicts_with_all = RAW)]
    pub(super) time_in_force: Option<TimeInForceFlag>,
    /// When a gtd order ends, RFC 3339: 2026-12-31T17:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with_all = RAW)]
    pub(super) expires_at: Option<String>,
    /// Reject it rather than let it execute at once
    #[arg(long, conflicts_with_all = RAW)]
    pub(super) post_only: bool,
    /// Let it only make a position smaller
    #[arg(long, conflicts_with_all = RAW)]
    pub(super) reduce_only: bool,
    /// Where it goes [default: what broker.route and broker.default say]
    #[arg(long, conflicts_with_all = RAW)]
    pub(super) broker: Option<String>,
    /// Carried through, searchable
    #[arg(long, value_name = "ID", conflicts_with_all = RAW)]
    pub(super) strategy_id: Option<String>,
}

/// The flags that give a whole order.
const RAW: [&str; 2] = ["json_order", "file"];

/// Takes the text if it is a decimal number. Whether it fits is the worker's to say.
pub(super) fn decimal(text: &str) -> Result<String, String> {
    amount::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn usage(sentence: &str) -> AppError {
    AppError::Usage(sentence.to_owned())
}

impl OrderFlags {
    /// The order's fields in the order of the contract.
    pub(super) fn to_fields(&self, client_order_id: &str) -> Result<Fields, AppError> {
        let mut order = Fields::default();
        order.put("client_order_id", client_order_id);
        order.put_some("symbol", self.symbol.as_ref());
        order.put_some("side", self.side.as_ref());
        order.put_some("quantity", self.quantity.as_ref());
        order.put_json("order_type", &self.order_type()?);
        match (self.time_in_force, &self.expires_at) {
            (Some(TimeInForceFlag::Gtd), None) => {
                return Err(usage("--time-in-force gtd needs --expires-at"));
            }
            (Some(TimeInForceFlag::Gtd) | None, Some(at)) => {
                let mut gtd = Fields::default();
                gtd.put("expires_at", at);
                order.put_json("time_in_force", &nested("GTD", &gtd));
            }
            (Some(_), Some(_)) => return Err(usage("--expires-at is for --time-in-force gtd")),
            (given, None) => order.put_some("time_in_force", given.as_ref()),
        }
        order.put_some("broker", self.broker.as_ref());
        let mut instructions = Fields::default();
        for (name, on) in [("post_only", self.post_only), ("reduce_only", self.reduce_only)] {
            instructions.put_some(name, on.then_some(&true));
        }
        if self.post_only || self.reduce_only {
            order.put("execution_instructions", &instructions);
        }
        order.put_some("strategy_id", self.strategy_id.as_ref());
        Ok(order)
    }

    fn order_type(&self) -> Result<String, AppError> {
        let (name, price, stop, distance) = match self.kind.unwrap_or(Kind::Market) {
            Kind::Market => ("Market", None, None, false),
            Kind::Limit => ("Limit", Some("price"), None, false),
            Kind::Stop => ("Stop", None, Some("stop_price"), false),
            Kind::StopLimit => ("StopLimit", Some("limit_price"), Some("stop_price"), false),
            Kind::TrailingStop => ("TrailingStop", None, None, true),
            Kind::MarketIfTouched => ("MarketIfTouched", None, Some("trigger_price"), false),
            Kind::LimitIfTouched => ("LimitIfTouched", Some("limit_price"), Some("trigger_price"), false),
        };
        let mut fields = Fields::default();
        let wanted = [
            ("--stop-price", stop, &self.stop_price),
            ("--price", price, &self.price),
            ("--distance", distance.then_some("distance"), &self.distance),
        ];
        for (flag, field, given) in wanted {
            match (field, given) {
                (Some(field), Some(value)) => fields.put(field, value),
                (Some(_), None) => {
                    return Err(AppError::Usage(format!("an order of type {name} needs {flag}")));
                }
                (None, Some(_)) => {
                    return Err(AppError::Usage(format!("an order of type {name} takes no {flag}")));
                }
                (None, None) => {}
            }
        }
        if distance {
            fields.put("distance_type", &self.distance_type.unwrap_or(Distance::Absolute));
        }
        Ok(if name == "Market" { "\"Market\"".to_owned() } else { nested(name, &fields) })
    }
}

/// `{"name": {fields}}`
fn nested(name: &str, fields: &Fields) -> String {
    let mut outer = Fields::default();
    outer.put(name, fields);
    outer.to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        order: OrderFlags,
        #[arg(long)]
        json_order: Option<String>,
        #[arg(long)]
        file: Option<String>,
    }

    fn built(more: &str) -> Result<String, String> {
        let line = format!("x --symbol X --side sell {more}");
        let parsed = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        parsed.order.to_fields("c-1").map(|order| order.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_make_the_canonical_form_digit_by_digit() {
        let head = r#"{"client_order_id":"c-1","symbol":"X","side":"Sell""#;
        for (flags, rest) in [
            ("--quantity 1.0 --type market", r#","quantity":"1.0","order_type":"Market"}"#),
            (
                "--quantity 0.1000000000000000000000000001 --type LIMIT --price 45000.10 --time-in-force IOC --post-only --strategy-id s",
                r#","quantity":"0.1000000000000000000000000001","order_type":{"Limit":{"price":"45000.10"}},"time_in_force":"IOC","execution_instructions":{"post_only":true},"strategy_id":"s"}"#,
            ),
            (
                "--quantity -1 --type stop-limit --price 2 --stop-price 1 --broker mock",
                r#","quantity":"-1","order_type":{"StopLimit":{"stop_price":"1","limit_price":"2"}},"broker":"mock"}"#,
            ),
            (
                "--quantity 1e2 --type trailing-stop --distance 5 --distance-type percent --reduce-only",
                r#","quantity":"1e2","order_type":{"TrailingStop":{"distance":"5","distance_type":"Percent"}},"execution_instructions":{"reduce_only":true}}"#,
            ),
            (
                "--quantity 1 --type limit-if-touched --price 2 --stop-price 1 --expires-at 2030-01-01T00:00:00Z",
                r#","quantity":"1","order_type":{"LimitIfTouched":{"trigger_price":"1","limit_price":"2"}},"time_in_force":{"GTD":{"expires_at":"2030-01-01T00:00:00Z"}}}"#,
            ),
        ] {
            assert_eq!(built(flags).unwrap(), format!("{head}{rest}"), "{flags}");
        }
    }

    #[test]
    fn what_cannot_be_an_order_is_wrong_usage() {
        for (flags, told) in [
            ("--quantity much --type market", "is not a decimal number"),
            ("--quantity NaN --type market", "is not a decimal number"),
            ("--type market", "--quantity"),
            ("--quantity 1", "--type"),
            ("--quantity 1 --type limit", "needs --price"),
            ("--quantity 1 --type market --price 1", "takes no --price"),
            ("--quantity 1 --type limit --price 1 --stop-price 1", "takes no --stop-price"),
            ("--quantity 1 --type market --time-in-force gtd", "needs --expires-at"),
            ("--quantity 1 --type market --time-in-force ioc --expires-at x", "is for --time-in-force gtd"),
            ("--json-order {}", "cannot be used with"),
        ] {
            let problem = built(flags).unwrap_err();
            assert!(problem.contains(told), "{flags}: {problem}");
        }
        assert!(Line::try_parse_from(["x", "--json-order", "{}"]).is_ok());
        assert!(Line::try_parse_from(["x", "--file", "-"]).is_ok());
    }
}
