//! An order from the flags of the command line, in the contract's canonical form: every field that a producer may give.

use clap::ValueEnum;
use serde::Serialize;
use uuid::Uuid;

use crate::app::AppError;
use crate::domain::amount;
use crate::domain::ids::ClientOrderId;
use crate::domain::order_type::Side;

use super::fields::Fields;
use super::order_type_flags::{TypeFlags, nested};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(super) enum SideFlag {
    Buy,
    Sell,
}

impl From<SideFlag> for Side {
    fn from(side: SideFlag) -> Self {
        match side {
            SideFlag::Buy => Self::Buy,
            SideFlag::Sell => Self::Sell,
        }
    }
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

/// The order's own flags: none of them beside `--json-order` or `--file`, which name each of them.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "The order")]
pub(super) struct OrderFlags {
    /// As the broker spells it: BTCUSDT, EUR_USD
    #[arg(long, required_unless_present_any = RAW)]
    pub(super) symbol: Option<String>,
    /// Buy or sell
    #[arg(long, ignore_case = true, required_unless_present_any = RAW)]
    pub(super) side: Option<SideFlag>,
    /// A decimal; every digit is passed on as it is typed
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, required_unless_present_any = RAW)]
    pub(super) quantity: Option<String>,
    #[command(flatten)]
    typed: TypeFlags,
    #[command(flatten)]
    execution: ExecutionFlags,
    #[command(flatten)]
    carried: CarriedFlags,
}

/// How and when it is to be worked.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How it is worked")]
struct ExecutionFlags {
    /// How long it lives [default: gtc]
    #[arg(long, ignore_case = true, value_name = "TIF")]
    time_in_force: Option<TimeInForceFlag>,
    /// When a gtd order ends, RFC 3339: 2026-12-31T17:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Where it goes [default: what broker.route and broker.default say]
    #[arg(long)]
    broker: Option<String>,
    /// Reject it rather than let it execute at once
    #[arg(long)]
    post_only: bool,
    /// Let it only make a position smaller
    #[arg(long)]
    reduce_only: bool,
    /// How much of it the broker shows to others
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "QUANTITY")]
    display_size: Option<String>,
    /// All or none of it
    #[arg(long)]
    no_partial_fills: bool,
    /// For execution algorithms: how urgent it is, a word or any JSON
    #[arg(long, value_name = "URGENCY")]
    urgency: Option<String>,
    /// For execution algorithms: whether it would improve the price
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    would_price_improve: Option<bool>,
    /// How much worse than the reference price a market order may fill, in percent of it
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "PERCENT")]
    max_slippage: Option<String>,
    /// Asks for the check of the position's size by name; false switches nothing off
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    position_size_check: Option<bool>,
    /// What must hold before it is sent, such as price>=45000; several: once more, and all must hold
    #[arg(long = "condition", value_name = "CONDITION", value_parser = condition)]
    conditions: Vec<Fields>,
    /// The order that it belongs to, of a bracket
    #[arg(long, value_name = "ID")]
    parent_order_id: Option<String>,
    /// An order that ends with it; several: once more
    #[arg(long = "linked-order", value_name = "ID")]
    linked_orders: Vec<String>,
}

/// What is carried through.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Carried through")]
struct CarriedFlags {
    /// Searchable
    #[arg(long, value_name = "ID")]
    strategy_id: Option<String>,
    /// What made the order
    #[arg(long, value_name = "ID")]
    signal_id: Option<String>,
    /// Who made the order
    #[arg(long, value_name = "NAME")]
    component_name: Option<String>,
    /// Anything else: a JSON object
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    metadata: Option<String>,
    /// The order's UUID [default: one that the worker makes]
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
}

/// The flags that give a whole order.
pub(super) const RAW: [&str; 2] = ["json_order", "file"];
/// The flags that give parts of one: none of them stands beside those.
pub(super) const PARTS: [&str; 32] = [
    "symbol",
    "side",
    "quantity",
    "type",
    "price",
    "stop_price",
    "distance",
    "distance_type",
    "display_quantity",
    "total_quantity",
    "variance",
    "algorithm",
    "params",
    "time_in_force",
    "expires_at",
    "broker",
    "post_only",
    "reduce_only",
    "display_size",
    "no_partial_fills",
    "urgency",
    "would_price_improve",
    "max_slippage",
    "position_size_check",
    "conditions",
    "parent_order_id",
    "linked_orders",
    "strategy_id",
    "signal_id",
    "component_name",
    "metadata",
    "id",
];

/// Takes the text if it is a decimal number. Whether it fits is the worker's to say.
pub(super) fn decimal(text: &str) -> Result<String, String> {
    amount::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Takes the text if it is a JSON object.
pub(super) fn json_object(text: &str) -> Result<String, String> {
    Fields::parse(text).map(|_| text.to_owned()).map_err(|error| format!("is not a JSON object: {error}"))
}

/// `price>=45000`, or without the first word.
fn condition(text: &str) -> Result<Fields, String> {
    const COMPARISONS: [(&str, &str); 6] = [
        (">=", "GreaterOrEqual"),
        ("<=", "LessOrEqual"),
        ("==", "Equal"),
        (">", "Greater"),
        ("<", "Less"),
        ("=", "Equal"),
    ];
    const WANTED: &str = "is not a condition such as price>=45000; comparisons are >=, <=, >, < and =";
    let at = text.find(['>', '<', '=']).ok_or(WANTED)?;
    let (what, rest) = text.split_at(at);
    let found = COMPARISONS.into_iter().find_map(|(sign, name)| Some((name, rest.strip_prefix(sign)?)));
    let (comparison, value) = found.ok_or(WANTED)?;
    if !matches!(what.trim().to_ascii_lowercase().as_str(), "" | "price") {
        return Err(format!("{:?} cannot be compared, price can", what.trim()));
    }
    let mut fields = Fields::default();
    fields.put("condition_type", "Price");
    fields.put("trigger_value", &decimal(value.trim()).map_err(|why| format!("{:?} {why}", value.trim()))?);
    fields.put("comparison", comparison);
    Ok(fields)
}

fn usage(sentence: &str) -> AppError {
    AppError::Usage(sentence.to_owned())
}

impl OrderFlags {
    /// The order's fields in the order of the contract.
    pub(super) fn to_fields(&self, client_order_id: &str) -> Result<Fields, AppError> {
        if let Err(error) = client_order_id.parse::<ClientOrderId>() {
            return Err(AppError::Usage(format!("--client-order-id {client_order_id:?}: {error}")));
        }
        let mut order = Fields::default();
        order.put_some("id", self.carried.id.as_ref());
        order.put("client_order_id", client_order_id);
        order.put_some("symbol", self.symbol.as_ref());
        order.put_some("side", self.side.as_ref());
        order.put_some("quantity", self.quantity.as_ref());
        order.put_json("order_type", &self.typed.order_type(self.quantity.as_deref())?);
        self.execution.put(&mut order)?;
        let carried = &self.carried;
        order.put_some("strategy_id", carried.strategy_id.as_ref());
        order.put_some("signal_id", carried.signal_id.as_ref());
        order.put_some("component_name", carried.component_name.as_ref());
        if let Some(metadata) = &carried.metadata {
            order.put_json("metadata", metadata);
        }
        Ok(order)
    }
}

impl ExecutionFlags {
    fn put(&self, order: &mut Fields) -> Result<(), AppError> {
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
        if !self.conditions.is_empty() {
            order.put("conditions", &self.conditions);
        }
        order.put_some("parent_order_id", self.parent_order_id.as_ref());
        if !self.linked_orders.is_empty() {
            order.put("linked_orders", &self.linked_orders);
        }
        let instructions = self.instructions();
        if !instructions.is_empty() {
            order.put("execution_instructions", &instructions);
        }
        order.put_some("max_slippage", self.max_slippage.as_ref());
        order.put_some("position_size_check", self.position_size_check.as_ref());
        Ok(())
    }

    fn instructions(&self) -> Fields {
        let mut fields = Fields::default();
        fields.put_some("post_only", self.post_only.then_some(&true));
        fields.put_some("reduce_only", self.reduce_only.then_some(&true));
        fields.put_some("display_size", self.display_size.as_ref());
        fields.put_some("allow_partial_fills", self.no_partial_fills.then_some(&false));
        if let Some(urgency) = &self.urgency {
            fields.put_json("urgency", urgency);
        }
        fields.put_some("would_price_improve", self.would_price_improve.as_ref());
        fields
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        order: OrderFlags,
        #[arg(long, conflicts_with_all = PARTS)]
        json_order: Option<String>,
        #[arg(long, conflicts_with_all = PARTS)]
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
            (
                "--quantity 9 --type iceberg --display-quantity 1 --variance 0.10",
                r#","quantity":"9","order_type":{"Iceberg":{"display_quantity":"1","total_quantity":"9","variance":"0.10"}}}"#,
            ),
            (
                r#"--quantity 9 --type custom --algorithm twap --params {"n":0.10} --id 019f6f3e-0000-7000-8000-000000000000"#,
                r#","quantity":"9","order_type":{"Custom":{"algorithm":"twap","params":{"n":0.10}}}}"#,
            ),
            (
                "--quantity 9 --type market --condition price>=1.50 --condition <2 --parent-order-id p --linked-order a --linked-order b",
                r#","quantity":"9","order_type":"Market","conditions":[{"condition_type":"Price","trigger_value":"1.50","comparison":"GreaterOrEqual"},{"condition_type":"Price","trigger_value":"2","comparison":"Less"}],"parent_order_id":"p","linked_orders":["a","b"]}"#,
            ),
            (
                r#"--quantity 9 --type market --display-size 1.0 --no-partial-fills --urgency high --would-price-improve --max-slippage 0.5 --position-size-check false --signal-id g --component-name c --metadata {"a":1.0}"#,
                r#","quantity":"9","order_type":"Market","execution_instructions":{"display_size":"1.0","allow_partial_fills":false,"urgency":"high","would_price_improve":true},"max_slippage":"0.5","position_size_check":false,"signal_id":"g","component_name":"c","metadata":{"a":1.0}}"#,
            ),
        ] {
            let head = match flags.split_once("--id ") {
                Some((_, id)) => head.replacen('{', &format!(r#"{{"id":"{id}","#), 1),
                None => head.to_owned(),
            };
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
            ("--quantity 1 --type iceberg", "needs --display-quantity"),
            ("--quantity 1 --type market --algorithm x", "takes no --algorithm"),
            ("--quantity 1 --type market --params []", "is not a JSON object"),
            ("--quantity 1 --type market --condition volume>1", "cannot be compared"),
            ("--quantity 1 --type market --condition 5", "is not a condition"),
            ("--quantity 1 --type market --condition price>x", "is not a decimal number"),
            ("--json-order {}", "cannot be used with"),
        ] {
            let problem = built(flags).unwrap_err();
            assert!(problem.contains(told), "{flags}: {problem}");
        }
        assert!(Line::try_parse_from(["x", "--json-order", "{}"]).is_ok());
        assert!(Line::try_parse_from(["x", "--file", "-"]).is_ok());
        let line = Line::command();
        let mut parts: Vec<_> = line.get_arguments().map(|part| part.get_id().as_str()).collect();
        parts.retain(|part| !RAW.contains(part));
        assert_eq!(parts.len(), PARTS.len());
        assert!(parts.iter().all(|part| PARTS.contains(part)), "{parts:?}");
    }
}
