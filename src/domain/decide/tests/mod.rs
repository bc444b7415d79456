//! Behaviour of the core through its one entrance: a ledger, an input, what came of it.

mod attempts;
mod cases;
mod commands;
mod fix;
mod holes;
mod instructions;
mod lifecycle;
mod limits;
mod order_lifecycle;
mod properties;
mod trades;
mod trading_state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::domain::amount::Price;
use crate::domain::event::EventKind;
use crate::domain::ids::{ClientOrderId, EntryId, IdSource};
use crate::domain::ledger::SessionKey;
use crate::domain::market::Quote;
use crate::domain::order::OrderSpec;
use crate::domain::order_type::{ExecutionInstructions, OrderType, TimeInForce};
use crate::domain::position::{Book, Position};
use crate::domain::reconcile::reconcile;
use crate::domain::refusal::Code;
use crate::domain::report::{Report, ReportedFill};
use crate::domain::risk::{Limit, LimitRow, Limits};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn rules() -> Rules {
    let mock: BrokerName = "mock".parse().unwrap();
    Rules {
        default_broker: mock.clone(),
        routes: vec![(vec!["EUR_*".to_owned()], "oanda".parse().unwrap())],
        brokers: BTreeSet::from([mock, "oanda".parse().unwrap()]),
        venue: Venue {
            seed: 1,
            failure_rate: rust_decimal::Decimal::ZERO,
            slippage_pct: rust_decimal::Decimal::ZERO,
            commission_pct: rust_decimal::Decimal::ZERO,
            prices: BTreeMap::new(),
            instruments: BTreeMap::new(),
        },
        max_quote_age_us: 5_000_000,
        session_start_us: 0,
        contracts: Arc::default(),
        breaker: None,
        max_request_age_us: None,
        max_deliveries: 5,
        lease_us: 10_000_000,
        profile: Profile::Embedded,
        retry_us: 30_000_000,
    }
}

fn limits() -> LimitRow {
    LimitRow {
        max_order_quantity: Limit::At(100.into()),
        max_order_notional: Limit::At(1_000_000.into()),
        max_position: Limit::At(500.into()),
        max_daily_loss: Limit::At(10_000.into()),
        price_collar_pct: Limit::At(5.into()),
        ..LimitRow::unlimited("*")
    }
}

/// The book that most tests are about.
fn account() -> Book {
    Book::account("mock".parse().unwrap(), "BTCUSDT".parse().unwrap())
}

fn session() -> SessionKey {
    SessionKey { scope: None, book: account() }
}

fn ledger() -> Ledger {
    let mut ledger =
        Ledger::new(NOW, IdSource::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000)));
    ledger.control_mut().limits.insert(limits());
    ledger
}

fn spec(
    id: &str,
    side: Side,
    quantity: &str,
    order_type: OrderType,
    time_in_force: TimeInForce,
) -> OrderSpec {
    OrderSpec {
        id: OrderId(Uuid::from_u128(u128::from_be_bytes(
            ContentHash::of(id.as_bytes()).0[..16].try_into().unwrap(),
        ))),
        client_order_id: id.parse().unwrap(),
        symbol: "BTCUSDT".parse().unwrap(),
        side,
        quantity: quantity.parse().unwrap(),
        order_type,
        time_in_force,
        broker: None,
        conditions: Vec::new(),
        parent_order_id: None,
        linked_orders: Vec::new(),
        execution_instructions: ExecutionInstructions::default(),
        max_slippage: None,
        position_size_check: None,
        strategy_id: None,
        signal_id: None,
        component_name: None,
        metadata: None,
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn limit(at: &str) -> OrderType {
    OrderType::Limit { price: price(at) }
}

fn fixed(at: &str) -> Market {
    Market::Fixed(price(at))
}

fn quoted(bid: &str, ask: &str, size: Option<&str>) -> Market {
    Market::Quoted(Quote {
        bid: Some(price(bid)),
        ask: Some(price(ask)),
        last: None,
        bid_size: size.map(|s| s.parse().unwrap()),
        ask_size: size.map(|s| s.parse().unwrap()),
        timestamp: Some(NOW),
    })
}

/// One entry after another, each with an id of its own.
struct Desk {
    rules: Rules,
    ledger: Ledger,
    entries: u64,
}

impl Desk {
    fn new() -> Self {
        Self { rules: rules(), ledger: ledger(), entries: 0 }
    }

    fn received(&mut self, request: Request, deliveries: u32) -> Arc<Received> {
        self.entries += 1;
        Arc::new(Received {
            key: RequestKey { lane: "orders".into(), entry: EntryId { ms: self.entries, seq: 0 } },
            hash: ContentHash::of(&self.entries.to_be_bytes()),
            request,
            made_at: NOW,
            deliveries,
            traceparent: None,
        })
    }

    fn admit_again(&mut self, received: &Arc<Received>, market: &Market, worker: &str) -> Decision {
        let input = Input::Admit(Box::new(Admit {
            received: received.clone(),
            no_older_entries: true,
            view: View { market: market.clone(), clocks: Arc::default(), worker: worker.into() },
        }));
        self.rules.decide(&mut self.ledger, &input).unwrap()
    }

    fn admit(&mut self, spec: OrderSpec, market: &Market) -> (Arc<Received>, Decision) {
        let received = self.received(Request::Submit(Box::new(spec)), 1);
        let decision = self.admit_again(&received, market, "w1");
        (received, decision)
    }

    fn execute(&mut self, order: &Order, epoch: u64, market: &Market) -> Decision {
        let input = Input::Execute(Execute {
            order_id: order.spec.id,
            broker: order.broker.clone(),
            symbol: order.spec.symbol.clone(),
            epoch,
            market: market.clone(),
        });
        self.rules.decide(&mut self.ledger, &input).unwrap()
    }

    /// Admission and, where it is due, the venue's answer.
    fn submit(&mut self, spec: OrderSpec, market: &Market) -> Decision {
        let (_, decision) = self.admit(spec, market);
        match &decision.effect {
            Effect::Submit { order, epoch } => {
                let (order, epoch) = (order.clone(), *epoch);
                self.execute(&order, epoch, market)
            }
            _ => decision,
        }
    }

    fn cancel(&mut self, id: &str) -> Decision {
        let received = self.received(Request::Cancel(OrderRef::Client(id.parse().unwrap())), 1);
        let decision = self.admit_again(&received, &Market::Unknown, "w1");
        match &decision.effect {
            Effect::Cancel { order, .. } => {
                let due = command(order, &received, None);
                self.rules.decide(&mut self.ledger, &due).unwrap()
            }
            _ => decision,
        }
    }

    /// The page of resting orders that a quote is to meet.
    fn rests(&mut self, id: &str) {
        let order = self.order(id);
        let key = (order.broker.clone(), order.spec.symbol.clone());
        let id = order.spec.id;
        self.ledger.resting.insert(key, vec![id]);
    }

    fn order(&self, id: &str) -> &Order {
        let id: ClientOrderId = id.parse().unwrap();
        &self.ledger.orders[&self.ledger.by_client_id[&id]].order
    }

    fn position(&self) -> Position {
        self.ledger.position(&"mock".parse().unwrap(), &"BTCUSDT".parse().unwrap())
    }
}

/// The embedded venue's input for a command that is due.
fn command(order: &Order, received: &Received, replace: Option<Market>) -> Input {
    Input::ExecuteCommand(ExecuteCommand {
        order_id: order.spec.id,
        broker: order.broker.clone(),
        symbol: order.spec.symbol.clone(),
        key: received.key.clone(),
        hash: received.hash,
        replace,
    })
}

fn ended(decision: &Decision) -> Result<Status, Code> {
    match &decision.effect {
        Effect::Finish { outcome, .. } => match &outcome.result {
            OutcomeResult::Completed(status) => Ok(*status),
            OutcomeResult::Swept(swept) => panic!("{swept:?}"),
            OutcomeResult::Failed { refusal, .. } => Err(refusal.code),
        },
        other => panic!("not ended: {other:?}"),
    }
}
