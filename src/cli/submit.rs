//! `submit`

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::adapters::clock::SystemClock;
use crate::app::AppError;
use crate::ports::clock::Clock;

use super::fields::Fields;
use super::order_flags::OrderFlags;
use super::request::{self, Request, Waiting};
use super::{Call, Ending};

/// Longer orders are not read; no worker takes them either.
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

pub(super) const USAGE: &str =
    "order-execution submit --symbol <SYMBOL> --side <SIDE> --quantity <QUANTITY> --type <TYPE> [OPTIONS]
       order-execution submit --json-order <JSON> [OPTIONS]
       order-execution submit --file <FILE> [OPTIONS]";
pub(super) const EXAMPLES: &str = "Examples:
  order-execution submit --symbol BTCUSDT --side buy --quantity 0.1 --type market --wait
  order-execution submit --symbol EUR_USD --side sell --quantity 50 --type limit --price 1.0850 \\
      --time-in-force ioc --client-order-id signal-42 --wait 5 --json
  order-execution submit --json-order '{\"symbol\":\"BTCUSDT\",\"side\":\"Buy\",\"quantity\":\"0.1\",\"order_type\":\"Market\"}'
  order-execution submit --file order.json

An order keeps its client_order_id: sending the same order again under it never executes it twice.
Exit codes: 0 added (with --wait: carried out), 1 failed, or no outcome in time, 2 wrong usage,
3 refused by validation or risk, 4 Redis is unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct Submit {
    #[command(flatten)]
    order: OrderFlags,
    /// The whole order as JSON, passed on as it is
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    json_order: Option<String>,
    /// A file with the order's JSON; - reads standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The order's name, by which it is executed only once [default: a new one, which is printed]
    #[arg(long, value_name = "ID")]
    client_order_id: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(call: &Call, submit: &Submit) -> Result<Ending, AppError> {
    let given = submit.client_order_id.as_deref();
    let raw = match (&submit.json_order, &submit.file) {
        (Some(json), _) => Some(("--json-order".to_owned(), json.clone())),
        (None, Some(path)) => Some((path.display().to_string(), read(path)?)),
        (None, None) => None,
    };
    let order = match raw {
        Some((place, text)) => {
            named(&text, given, fresh_id).map_err(|why| AppError::Usage(format!("{place}: {why}")))?
        }
        None => submit.order.to_fields(&given.map_or_else(fresh_id, str::to_owned))?,
    };
    let client_order_id = order.text("client_order_id");
    let id = order.text("id").or_else(|| client_order_id.clone());
    let request = Request { field: "order", json: order.to_string(), id, client_order_id };
    request::run(call, &request, &submit.waiting).await
}

fn fresh_id() -> String {
    format!("cli-{}", SystemClock.uuid().simple())
}

/// An order's JSON with a client order id: its own, the given one, or a fresh one.
fn named(text: &str, given: Option<&str>, fresh: fn() -> String) -> Result<Fields, String> {
    let order = Fields::parse(text).map_err(|error| format!("not the JSON of an order: {error}"))?;
    match (order.has("client_order_id"), given) {
        (true, Some(_)) => {
            Err("the order has a client_order_id, and --client-order-id gives another".to_owned())
        }
        (true, None) => Ok(order),
        (false, given) => {
            let mut order = order;
            order.put("client_order_id", &given.map_or_else(fresh, str::to_owned));
            Ok(order)
        }
    }
}

/// Runs where nothing else does yet: it may block.
fn read(path: &Path) -> Result<String, AppError> {
    let mut text = String::new();
    let done = if path == Path::new("-") {
        std::io::stdin().take(LONGEST_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST_FILE).read_to_string(&mut text))
    };
    done.map_err(|error| AppError::Usage(format!("{}: {error}", path.display())))?;
    Ok(text)
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
        assert_eq!(text(r#"{"clientOrderId":"own"}"#, None).unwrap(), r#"{"clientOrderId":"own"}"#);
        assert!(text(r#"{"client_order_id":"own"}"#, Some("mine")).unwrap_err().contains("gives another"));
        assert!(text("{oops", None).unwrap_err().contains("not the JSON of an order"));
    }
}
