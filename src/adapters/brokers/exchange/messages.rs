//! What goes over the wire, and what it says in our words.

use serde::{Deserialize, Serialize};

use crate::domain::amount::{Amount, Price, Quantity};
use crate::domain::event::{Commission, Terms, Trail};
use crate::domain::ids::{ClientOrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::order_type::{OrderType, Side, TimeInForce};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::{Report, ReportedCorrection, ReportedFill};
use crate::domain::time::Timestamp;

use super::super::identifier;

#[derive(Debug, Serialize)]
pub(super) struct NewOrder<'a> {
    pub(super) client_order_id: &'a ClientOrderId,
    pub(super) symbol: &'a Symbol,
    pub(super) side: Side,
    pub(super) quantity: Quantity,
    pub(super) order_type: &'a OrderType,
    pub(super) time_in_force: TimeInForce,
    pub(super) post_only: bool,
    pub(super) reduce_only: bool,
    /// Of a market order with `max_slippage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worst_price: Option<Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timestamp_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) valid_for_us: Option<i64>,
}

impl NewOrder<'_> {
    /// How long an order lives is fixed when it is journaled: its day is not the exchange's, should it arrive on the next.
    pub(super) fn time_in_force(order: &Order) -> TimeInForce {
        match (order.spec.time_in_force, order.ends_at()) {
            (TimeInForce::Day, Some(expires_at)) => TimeInForce::Gtd { expires_at },
            (tif, _) => tif,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct NewTerms {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantity: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) price: Option<Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_price: Option<Price>,
    pub(super) replace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timestamp_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) valid_for_us: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerTime {
    pub(super) server_time_us: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) server_time_us: i64,
    /// Where the exchange says how the order stands.
    pub(super) order: Option<OrderView>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OrderAnswer {
    pub(super) order: OrderView,
    pub(super) server_time_us: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct OpenOrders {
    pub(super) orders: Vec<OrderView>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Positions {
    pub(super) positions: Vec<PositionView>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PositionView {
    pub(super) symbol: Symbol,
    pub(super) quantity: Amount,
}

#[derive(Debug, Deserialize)]
pub(super) struct OrderView {
    pub(super) client_order_id: String,
    #[serde(deserialize_with = "identifier")]
    pub(super) order_id: String,
    pub(super) symbol: String,
    pub(super) quantity: Quantity,
    pub(super) price: Option<Price>,
    stop_price: Option<Price>,
    triggered: bool,
    trail: Option<Trail>,
    pub(super) filled_quantity: Quantity,
    pub(super) status: ViewStatus,
    pub(super) reason: Option<String>,
    pub(super) replace_id: Option<String>,
    pub(super) trades: Vec<Trade>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum ViewStatus {
    Open,
    Filled,
    Cancelled,
    Rejected,
    Expired,
}

#[derive(Debug, Deserialize)]
pub(super) struct Trade {
    #[serde(deserialize_with = "identifier")]
    trade_id: String,
    quantity: Quantity,
    price: Price,
    commission: Option<Paid>,
    time_us: i64,
    corrected_us: Option<i64>,
    busted_us: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Paid {
    #[serde(deserialize_with = "identifier")]
    asset: String,
    amount: Amount,
}

impl Trade {
    /// The trade as it is by now.
    fn report(&self, reason: impl Fn() -> String) -> Report {
        if let Some(at) = self.busted_us {
            let busted_at = Timestamp::from_micros(at);
            return Report::TradeBusted { trade_id: self.trade_id.clone(), busted_at, reason: reason() };
        }
        // The simulated exchange charges in the quote currency.
        let commission = self.commission.as_ref().map(|paid| Commission {
            asset: paid.asset.clone(),
            amount: paid.amount,
            quote_value: Some(paid.amount),
        });
        if let Some(at) = self.corrected_us {
            return Report::TradeCorrected(ReportedCorrection {
                trade_id: self.trade_id.clone(),
                quantity: self.quantity,
                price: self.price,
                commission,
                corrected_at: Timestamp::from_micros(at),
                reason: reason(),
            });
        }
        Report::Fill(ReportedFill {
            trade_id: self.trade_id.clone(),
            quantity: self.quantity,
            price: self.price,
            commission,
            executed_at: Timestamp::from_micros(self.time_us),
        })
    }
}

impl OrderView {
    /// What the exchange says of `order`, in the sequence in which it happened.
    pub(super) fn reports(&self, order: &Order) -> Result<Vec<Report>, String> {
        if self.client_order_id != order.spec.client_order_id.as_str() {
            return Err(format!("it answers with another order, {}", self.client_order_id));
        }
        let reason = || self.reason.clone().unwrap_or_else(|| "the exchange gives no reason".to_owned());
        if self.status == ViewStatus::Rejected {
            return Ok(vec![Report::Rejected(Refusal::new(Code::BrokerRejected, reason()))]);
        }
        let mut reports = vec![Report::Acknowledged { broker_order_id: self.order_id.clone() }];
        // One that is not a number is somebody else's.
        if let Some(number) = self.replace_id.as_deref().and_then(|number| replace_number(number).ok()) {
            let terms =
                Terms { quantity: Some(self.quantity), price: self.price, stop_price: self.stop_price };
            reports.push(Report::Replaced { number, terms });
        }
        reports.extend(self.trail.map(Report::Trailed));
        reports.extend(self.triggered.then_some(Report::Triggered { price: None }));
        reports.extend(self.trades.iter().map(|trade| trade.report(reason)));
        match self.status {
            ViewStatus::Cancelled => reports.push(Report::Cancelled { reason: reason() }),
            ViewStatus::Expired => reports.push(Report::Expired { reason: reason() }),
            ViewStatus::Open | ViewStatus::Filled | ViewStatus::Rejected => {}
        }
        Ok(reports)
    }
}

fn replace_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("its replace_id {text} is not one that was sent"))
}

#[derive(Debug, Deserialize)]
pub(super) struct Transactions {
    pub(super) transactions: Vec<Transaction>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Transaction {
    pub(super) id: u64,
    pub(super) client_order_id: String,
    #[serde(deserialize_with = "identifier")]
    order_id: String,
    r#type: TransactionType,
    symbol: String,
    side: Side,
    trade: Option<Trade>,
    reason: Option<String>,
    quantity: Option<Quantity>,
    price: Option<Price>,
    stop_price: Option<Price>,
    replace_id: Option<String>,
    trail: Option<Trail>,
    trigger_price: Option<Price>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum TransactionType {
    Accepted,
    Rejected,
    Trade,
    Cancelled,
    Expired,
    Replaced,
    Trailed,
    Triggered,
    TradeCorrected,
    TradeBusted,
}

impl Transaction {
    pub(super) fn report(&self) -> Result<Report, String> {
        let reason = || self.reason.clone().unwrap_or_else(|| "the exchange gives no reason".to_owned());
        let lacks = |what: &str| format!("transaction {} lacks its {what}", self.id);
        Ok(match self.r#type {
            TransactionType::Accepted => Report::Acknowledged { broker_order_id: self.order_id.clone() },
            TransactionType::Rejected => Report::Rejected(Refusal::new(Code::BrokerRejected, reason())),
            TransactionType::Trade | TransactionType::TradeCorrected | TransactionType::TradeBusted => {
                self.trade.as_ref().ok_or_else(|| lacks("trade"))?.report(reason)
            }
            TransactionType::Trailed => Report::Trailed(self.trail.ok_or_else(|| lacks("trail"))?),
            TransactionType::Triggered => Report::Triggered { price: self.trigger_price },
            TransactionType::Cancelled => Report::Cancelled { reason: reason() },
            TransactionType::Expired => Report::Expired { reason: reason() },
            TransactionType::Replaced => {
                let number = replace_number(self.replace_id.as_deref().ok_or_else(|| lacks("replace_id"))?)?;
                let (quantity, price, stop_price) = (self.quantity, self.price, self.stop_price);
                let terms = Terms { quantity, price, stop_price };
                Report::Replaced { number, terms }
            }
        })
    }

    /// For a person, where the order is not one of ours.
    pub(super) fn text(&self) -> String {
        let trade = self.trade.as_ref();
        let trade = trade
            .map(|t| format!(" {} at {}, trade {}", t.quantity, t.price, t.trade_id))
            .unwrap_or_default();
        let (kind, side, symbol) = (self.r#type, self.side, &self.symbol);
        format!("transaction {}: {kind:?} of {} ({side} {symbol}){trade}", self.id, self.client_order_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventKind, OrderEvent};
    use crate::domain::order::OrderSpec;

    #[test]
    fn a_name_that_no_journal_could_keep_stands_by_its_digest() {
        let read = |id: &str| {
            let trade = serde_json::json!({"trade_id": id, "quantity": "1", "price": "2", "time_us": 3});
            serde_json::from_value::<Trade>(trade).map(|trade| trade.trade_id)
        };
        for id in ["t-1", "x", &"7".repeat(128), "é✓"] {
            assert_eq!(read(id).unwrap(), id);
        }
        let mut names = std::collections::HashSet::new();
        assert!(read("").is_err(), "two trades of one name");
        for id in ["a\0b", "a\nb", &"7".repeat(129), &"7".repeat(130)] {
            let name = read(id).unwrap();
            assert!(name.starts_with("sha256:") && name.len() == 71, "{name}");
            assert!(names.insert(name), "two trades of one name");
        }
    }

    /// Whenever it arrives, its day is the one in which it was journaled.
    #[test]
    fn a_day_order_is_sent_with_the_end_of_its_own_day() {
        let spec = r#"{"id":"0190a1b2-0000-7000-8000-000000000001","client_order_id":"c","symbol":"X","side":"Buy",
            "quantity":"1","order_type":"Market","time_in_force":"DAY","broker":"mock"}"#;
        let spec: OrderSpec = serde_json::from_str(spec).unwrap();
        let created = |timestamp: &str| {
            let kind = EventKind::Created(Box::new(spec.clone()));
            let timestamp = timestamp.parse().unwrap();
            Order::create(&OrderEvent { event_id: uuid::Uuid::nil(), version: 1, timestamp, kind }).unwrap()
        };
        for (at, end) in [
            ("2026-01-31T23:59:59.999999Z", "2026-02-01T00:00:00Z"),
            ("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"),
        ] {
            let expires_at = end.parse().unwrap();
            assert_eq!(NewOrder::time_in_force(&created(at)), TimeInForce::Gtd { expires_at }, "{at}");
        }
    }
}
