//! `submit`

mod batch;
mod file;
mod sheet;
mod tally;

use std::path::PathBuf;

use crate::adapters::clock::SystemClock;
use crate::app::AppError;
use crate::ports::clock::Clock;

use super::fields::Fields;
use super::order_flags::{OrderFlags, PARTS};
use super::request::{self, Request, Waiting};
use super::{Call, Ending};

use file::{Format, Source};

pub(super) const USAGE: &str =
    "order-execution submit --symbol <SYMBOL> --side <SIDE> --quantity <QUANTITY> --type <TYPE> [OPTIONS]
       order-execution submit --json-order <JSON> [OPTIONS]
       order-execution submit --file <FILE> [OPTIONS]";
pub(super) const EXAMPLES: &str = "Examples:
  order-execution submit --symbol BTCUSDT --side buy --quantity 0.1 --type market --wait
  order-execution submit --symbol EUR_USD --side sell --quantity 50 --type limit --price 1.0850 \\
      --time-in-force ioc --client-order-id signal-42 --wait 5 --json
  order-execution submit --json-order \\
      '{\"symbol\":\"BTCUSDT\",\"side\":\"Buy\",\"quantity\":\"0.1\",\"order_type\":\"Market\"}'
  order-execution submit --file orders.csv --wait
  jq -c '.[]' orders.json | order-execution submit --file - --wait --json

An order keeps its client_order_id: sending the same order again under it never executes it twice.

Files hold one order's JSON, a JSON array, JSON lines (.jsonl, .ndjson) or CSV (.csv), at most
500,000 orders and 64 MiB. The header of a CSV names fields of the flat form, such as
  client_order_id,symbol,side,quantity,type,price,time_in_force,post_only
Amounts pass digit by digit; an empty cell is a field left out; metadata, conditions,
linked_orders and execution_instructions are JSON. The whole file is looked through before
anything of it is sent.

An order of a file that has no client_order_id is named cli-<hash of what it says>-<n>, where n
counts those that say the same. So the same file never executes twice, whether it is run again on
purpose or after it was cut short; orders that were there before are told as such. To execute the
same rows once more, give the run another --batch.

With --wait and several orders a summary follows; with --json a line for each.

Exit codes: 0 added (with --wait: all carried out), 1 failed, or no outcome in time, 2 wrong usage
or a file that cannot be sent, 3 refused by validation or risk (of a file: and nothing worse),
4 Redis is unreachable.";

const WHOLE: &str = "Whole orders in place of these";

#[derive(Debug, clap::Args)]
pub(super) struct Submit {
    #[command(flatten)]
    order: OrderFlags,
    /// The whole order as JSON, passed on as it is
    #[arg(long, value_name = "JSON", conflicts_with = "file", conflicts_with_all = PARTS, help_heading = WHOLE)]
    json_order: Option<String>,
    /// A file of orders; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = PARTS, help_heading = WHOLE)]
    file: Option<PathBuf>,
    /// What the file holds [default: by its extension, else by its content]
    #[arg(long, requires = "file", conflicts_with = "json_order", conflicts_with_all = PARTS, help_heading = WHOLE)]
    format: Option<Format>,
    /// Names the orders of this run anew, so that the same rows are other orders than before
    #[arg(long, value_name = "TEXT", requires = "file", conflicts_with = "json_order", conflicts_with_all = PARTS, help_heading = WHOLE)]
    batch: Option<String>,
    /// The order's name, by which it is executed only once [default: a new one, which is printed]
    #[arg(long, value_name = "ID", help_heading = "The order")]
    client_order_id: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(call: &Call, submit: &Submit) -> Result<Ending, AppError> {
    let given = submit.client_order_id.as_deref();
    if let Some(path) = &submit.file {
        let source = Source {
            path,
            format: submit.format,
            name: given,
            batch: submit.batch.as_deref(),
            max_payload_bytes: call.settings.worker.max_payload_bytes,
        };
        return from_file(call, source.orders()?, &submit.waiting).await;
    }
    let order = match &submit.json_order {
        Some(text) => {
            named(text, given, fresh_id).map_err(|why| AppError::Usage(format!("--json-order: {why}")))?
        }
        None => submit.order.to_fields(&given.map_or_else(fresh_id, str::to_owned))?,
    };
    // A name that was given may have been used before: by the id it is known whose outcome comes.
    let is_name_new = given.is_none() || submit.json_order.is_some() || order.is_given("id");
    let (mut order, mut made_id) = (order, None);
    if !is_name_new {
        let id = SystemClock.uuid().to_string();
        order.put("id", &id);
        made_id = Some(id);
    }
    let client_order_id = order.text("client_order_id");
    let id = order.text("id").or_else(|| client_order_id.clone());
    let request = Request { field: "order", json: order.to_string(), id, client_order_id, made_id };
    request::run(call, &request, &submit.waiting).await
}

async fn from_file(call: &Call, mut rows: Vec<file::Row>, waiting: &Waiting) -> Result<Ending, AppError> {
    if rows.len() > 1 {
        return batch::run(call, rows, waiting.patience()).await;
    }
    let Some(row) = rows.pop() else { return Ok(Ending::Done) };
    let made_id = row.id.clone().filter(|_| row.is_id_ours);
    let id = row.id.or_else(|| Some(row.client_order_id.clone()));
    let client_order_id = Some(row.client_order_id);
    let request = Request { field: "order", json: row.json, id, client_order_id, made_id };
    request::run(call, &request, waiting).await
}

fn fresh_id() -> String {
    format!("cli-{}", SystemClock.uuid().simple())
}

/// An order's JSON with a client order id: its own, the given one, or a fresh one.
fn named(text: &str, given: Option<&str>, fresh: fn() -> String) -> Result<Fields, String> {
    let mut order = Fields::parse(text).map_err(|error| format!("not the JSON of an order: {error}"))?;
    match (order.is_given("client_order_id"), given) {
        (true, Some(_)) => {
            Err("the order has a client_order_id, and --client-order-id gives another".to_owned())
        }
        (true, None) => Ok(order),
        (false, given) => {
            order.remove("client_order_id");
            order.put("client_order_id", &given.map_or_else(fresh, str::to_owned));
            Ok(order)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn raw_orders_keep_their_text_and_get_a_name() {
        let fresh = || "fresh".to_owned();
        let text = |json: &str, given| named(json, given, fresh).map(|order| order.to_string());
        assert_eq!(
            text(r#"{ "quantity": 1.50, "x": [1, 2] }"#, None).unwrap(),
            r#"{"quantity":1.50,"x":[1, 2],"client_order_id":"fresh"}"#
        );
        assert_eq!(text("{}", Some("mine")).unwrap(), r#"{"client_order_id":"mine"}"#);
        assert_eq!(text(r#"{"clientOrderId":null}"#, None).unwrap(), r#"{"client_order_id":"fresh"}"#);
        assert_eq!(text(r#"{"clientOrderId":"own"}"#, None).unwrap(), r#"{"clientOrderId":"own"}"#);
        assert!(text(r#"{"client_order_id":"own"}"#, Some("mine")).unwrap_err().contains("gives another"));
        assert!(text("{oops", None).unwrap_err().contains("not the JSON of an order"));
    }
}
