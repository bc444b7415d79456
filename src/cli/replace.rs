//! `replace`

use crate::app::AppError;
use crate::domain::ids::ClientOrderId;

use super::fields::Fields;
use super::order_flags::decimal;
use super::request::{self, Request, Waiting};
use super::{Call, Ending};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution replace signal-42 --price 1.0860 --wait
  order-execution replace signal-42 --quantity 75 --price 1.0860 --json

The quantity is the new total, what is filled already included. Risk is checked as for a new
order; what is not given stays as it is.
Exit codes: 0 added (with --wait: the new terms are in force), 1 failed (no such order, too late,
the broker said no), or no outcome in time, 2 wrong usage, 3 refused by validation or risk, 4 Redis
is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Replace {
    /// The order's name
    client_order_id: ClientOrderId,
    #[command(flatten)]
    terms: TermFlags,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct TermFlags {
    /// The new total; every digit is passed on as it is typed
    #[arg(long, allow_negative_numbers = true, value_parser = decimal)]
    quantity: Option<String>,
    /// The new limit price
    #[arg(long, allow_negative_numbers = true, value_parser = decimal)]
    price: Option<String>,
    /// The new trigger
    #[arg(long, allow_negative_numbers = true, value_parser = decimal, value_name = "PRICE")]
    stop_price: Option<String>,
}

pub(super) async fn run(call: &Call, replace: &Replace) -> Result<Ending, AppError> {
    let client_order_id = replace.client_order_id.to_string();
    let mut fields = Fields::default();
    fields.put("client_order_id", &client_order_id);
    fields.put_some("quantity", replace.terms.quantity.as_ref());
    fields.put_some("price", replace.terms.price.as_ref());
    fields.put_some("stop_price", replace.terms.stop_price.as_ref());
    let request = Request {
        field: "replace",
        json: fields.to_string(),
        id: Some(client_order_id.clone()),
        client_order_id: Some(client_order_id),
        made_id: None,
    };
    request::run(call, &request, &replace.waiting).await
}
