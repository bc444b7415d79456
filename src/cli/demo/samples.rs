//! The orders that the demonstration sends, each with what it is to show and how it has to end.

use crate::adapters::clock::SystemClock;
use crate::cli::fields::Fields;
use crate::domain::status::Status;
use crate::ports::clock::Clock;

use super::market::Market;

/// How long the order lives whose time runs out.
const RUNS_OUT_US: i64 = 1_500_000;

/// An order, or something that wants to be one.
#[derive(Debug)]
pub(super) struct Sample {
    /// What it is to show.
    pub(super) shows: &'static str,
    pub(super) client_order_id: &'static str,
    side: &'static str,
    quantity: &'static str,
    symbol: &'static str,
    kind: Kind,
    time_in_force: &'static str,
    post_only: bool,
    pub(super) then: Then,
    pub(super) expected: Expected,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Market,
    /// So many hundredths of a percent from where the price stands.
    Limit(i64),
    LimitAt(&'static str),
    /// Triggered so many hundredths of a percent from where the price stands.
    Stop(i64),
    /// These bytes in place of an order.
    Raw(&'static str),
}

/// What follows once the request has its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The price is drawn so many hundredths of a percent from where it began.
    Steer(i64),
    Cancel,
}

#[derive(Debug)]
pub(super) struct Expected {
    /// Of the request: a status where it is completed, a code where it fails.
    pub(super) outcome: Result<Status, &'static str>,
    /// Of the order. `None`: no order comes of it.
    pub(super) ends: Option<Status>,
    pub(super) filled: Filled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    Nothing,
    Part,
    All,
}

const fn completed(first: Status, last: Status, filled: Filled) -> Expected {
    Expected { outcome: Ok(first), ends: Some(last), filled }
}

const fn refused(code: &'static str) -> Expected {
    Expected { outcome: Err(code), ends: None, filled: Filled::Nothing }
}

const fn rejected(code: &'static str) -> Expected {
    Expected { outcome: Err(code), ends: Some(Status::Rejected), filled: Filled::Nothing }
}

const fn limit(
    shows: &'static str,
    client_order_id: &'static str,
    (side, quantity, symbol): (&'static str, &'static str, &'static str),
    distance_bp: i64,
    expected: Expected,
) -> Sample {
    let kind = Kind::Limit(distance_bp);
    let (time_in_force, post_only, then) = ("GTC", false, Then::Nothing);
    Sample { shows, client_order_id, side, quantity, symbol, kind, time_in_force, post_only, then, expected }
}

const fn market(
    shows: &'static str,
    client_order_id: &'static str,
    (side, quantity, symbol): (&'static str, &'static str, &'static str),
    expected: Expected,
) -> Sample {
    let kind = Kind::Market;
    let (time_in_force, post_only, then) = ("GTC", false, Then::Nothing);
    Sample { shows, client_order_id, side, quantity, symbol, kind, time_in_force, post_only, then, expected }
}

/// In the order in which they are sent. Prices are offered in sizes of 1 to 2 BTC, 10 to 20 ETH.
#[rustfmt::skip]
pub(super) fn samples() -> Vec<Sample> {
    use Status::{Acknowledged, Cancelled, Expired, Filled as Full};
    vec![
        market("market order, filled at once", "market-buy", ("Buy", "0.5", "BTCUSDT"), completed(Full, Full, Filled::All)),
        Sample { then: Then::Steer(-60), ..limit("limit rests, fills when the price falls", "rests-then-fills", ("Buy", "5", "ETHUSDT"), -40, completed(Acknowledged, Full, Filled::All)) },
        Sample { then: Then::Steer(60), ..limit("limit rests, fills in several parts", "fills-in-parts", ("Sell", "5", "BTCUSDT"), 40, completed(Acknowledged, Full, Filled::All)) },
        Sample { then: Then::Cancel, ..limit("limit rests, then is cancelled", "rests-then-cancelled", ("Buy", "5000", "EUR_USD"), -200, completed(Acknowledged, Cancelled, Filled::Nothing)) },
        Sample { kind: Kind::Stop(60), then: Then::Steer(90), ..market("stop, triggered when the price rises", "stop", ("Buy", "5000", "EUR_USD"), completed(Acknowledged, Full, Filled::All)) },
        Sample { time_in_force: "GTD", ..limit("limit whose time runs out", "runs-out", ("Buy", "5000", "EUR_USD"), -200, completed(Acknowledged, Expired, Filled::Nothing)) },
        market("market order that sells", "market-sell", ("Sell", "10000", "EUR_USD"), completed(Full, Full, Filled::All)),
        Sample { time_in_force: "IOC", ..limit("IOC for more than is offered", "ioc-part", ("Buy", "4", "BTCUSDT"), 100, completed(Cancelled, Cancelled, Filled::Part)) },
        Sample { time_in_force: "FOK", ..limit("FOK that nothing can meet", "fok-nothing", ("Buy", "40", "ETHUSDT"), 100, completed(Cancelled, Cancelled, Filled::Nothing)) },
        Sample { post_only: true, ..limit("post-only that would execute at once", "post-only-crossing", ("Buy", "1", "ETHUSDT"), 100, rejected("BROKER_REJECTED")) },
        Sample { kind: Kind::LimitAt("1.080001"), ..limit("price off the tick size", "off-tick", ("Buy", "1000", "EUR_USD"), 0, refused("VALIDATION_FAILED")) },
        market("symbol that nobody knows", "unknown-symbol", ("Buy", "1", "NOSUCH"), refused("UNKNOWN_SYMBOL")),
        Sample { kind: Kind::Raw("{\"symbol\": \"BTCUSDT\", \"side\": \"Buy\", \"quantity\": "), ..market("payload that is cut off", "", ("", "", ""), refused("INVALID_PAYLOAD")) },
        market("more than one order may have", "too-large", ("Buy", "6", "BTCUSDT"), rejected("RISK_MAX_ORDER_QUANTITY")),
        limit("price too far from the market", "too-far", ("Buy", "1", "ETHUSDT"), 2000, rejected("RISK_PRICE_COLLAR")),
        market("first order again: the same outcome", "market-buy", ("Buy", "0.5", "BTCUSDT"), Expected { outcome: Ok(Full), ends: None, filled: Filled::Nothing }),
        market("its id for another order", "market-buy", ("Buy", "0.7", "BTCUSDT"), refused("DUPLICATE_CLIENT_ORDER_ID")),
    ]
}

impl Sample {
    /// The order's JSON at the prices of the moment.
    pub(super) fn body(&self, market: &Market) -> String {
        let at = |distance| market.price(self.symbol, distance).map(|price| price.to_string());
        let priced = match self.kind {
            Kind::Raw(bytes) => return bytes.to_owned(),
            Kind::Market => None,
            Kind::LimitAt(price) => Some(("Limit", "price", price.to_owned())),
            Kind::Limit(distance) => at(distance).map(|price| ("Limit", "price", price)),
            Kind::Stop(distance) => at(distance).map(|price| ("Stop", "stop_price", price)),
        };
        let mut order = Fields::default();
        order.put("client_order_id", self.client_order_id);
        order.put("symbol", self.symbol);
        order.put("side", self.side);
        order.put("quantity", self.quantity);
        match priced {
            Some((kind, field, price)) => {
                order.put_json("order_type", &format!("{{\"{kind}\":{{\"{field}\":\"{price}\"}}}}"));
            }
            None => order.put("order_type", "Market"),
        }
        if self.time_in_force == "GTD" {
            let end = SystemClock.now().plus_micros(RUNS_OUT_US);
            order.put_json("time_in_force", &format!("{{\"GTD\":{{\"expires_at\":\"{end}\"}}}}"));
        } else {
            order.put("time_in_force", self.time_in_force);
        }
        if self.post_only {
            order.put_json("execution_instructions", "{\"post_only\":true}");
        }
        order.put("strategy_id", "demo");
        order.to_string()
    }

    pub(super) const fn symbol(&self) -> &'static str {
        self.symbol
    }

    /// `Buy 0.5 BTCUSDT`
    pub(super) fn wants(&self) -> String {
        match self.kind {
            Kind::Raw(_) => "half an order".to_owned(),
            Kind::Market | Kind::Limit(_) | Kind::LimitAt(_) | Kind::Stop(_) => {
                format!("{} {} {}", self.side, self.quantity, self.symbol)
            }
        }
    }
}
