//! Orders, requests and rules that the suites share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use order_execution::domain::amount::{Amount, Price, Quantity};
use order_execution::domain::decide::{
    Admit, Decision, Effect, Execute, ExecuteCommand, Facts, Input, Rules, Told, View,
};
use order_execution::domain::ids::{BrokerName, EntryId, IdSource, OrderId, RequestKey, Symbol};
use order_execution::domain::ledger::{Difference, Ledger};
use order_execution::domain::market::Market;
use order_execution::domain::order::{ContentHash, Order, OrderSpec};
use order_execution::domain::order_type::{ExecutionInstructions, OrderType, Side, TimeInForce};
use order_execution::domain::profile::Profile;
use order_execution::domain::report::{Report, ReportedFill};
use order_execution::domain::request::{OrderRef, Outcome, Received, Request};
use order_execution::domain::risk::{Limit, LimitRow};
use order_execution::domain::time::Timestamp;
use order_execution::domain::venue::Venue;
use rust_decimal::Decimal;
use uuid::Uuid;

/// How long a worker may decide about an order, in the suites.
pub(crate) const LEASE_US: i64 = 10_000_000;
/// How long an attempt that is not found is looked for under `OneShot`.
pub(crate) const SETTLE_US: i64 = 1_000_000;

pub(crate) fn rules(profile: Profile) -> Rules {
    Rules {
        default_broker: broker(),
        routes: Vec::new(),
        brokers: BTreeSet::from([broker()]),
        venue: Venue {
            seed: 1,
            failure_rate: Decimal::ZERO,
            slippage_pct: Decimal::ZERO,
            commission_pct: Decimal::ONE,
            prices: BTreeMap::new(),
            instruments: BTreeMap::new(),
        },
        max_quote_age_us: 5_000_000,
        session_start_us: 0,
        contracts: Arc::default(),
        breaker: None,
        max_request_age_us: None,
        max_deliveries: 5,
        lease_us: LEASE_US,
        profile,
        retry_us: 30_000_000,
    }
}

pub(crate) fn one_shot() -> Rules {
    rules(Profile::OneShot { settle_us: SETTLE_US })
}

pub(crate) fn limits(max_position: Limit) -> LimitRow {
    LimitRow { max_position, ..LimitRow::unlimited("*") }
}

pub(crate) fn broker() -> BrokerName {
    "mock".parse().unwrap()
}

pub(crate) fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub(crate) fn price(text: &str) -> Price {
    text.parse().unwrap()
}

pub(crate) fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) fn order_id(n: u64) -> OrderId {
    OrderId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(n)))
}

/// A market order for one, `c<n>`.
pub(crate) fn market_order(n: u64) -> OrderSpec {
    OrderSpec {
        id: order_id(n),
        client_order_id: format!("c{n}").parse().unwrap(),
        symbol: symbol("BTCUSDT"),
        side: Side::Buy,
        quantity: quantity("1"),
        order_type: OrderType::Market,
        time_in_force: TimeInForce::Gtc,
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
        metadata: Some(serde_json::json!({"note": "ü \u{1f980} 'quoted' \"twice\""})),
    }
}

/// One that rests: the price is 100 in all suites.
pub(crate) fn limit_order(n: u64, size: &str, at: &str) -> OrderSpec {
    let order_type = OrderType::Limit { price: price(at) };
    OrderSpec { quantity: quantity(size), order_type, ..market_order(n) }
}

pub(crate) fn market() -> Market {
    Market::Fixed(price("100"))
}

pub(crate) fn view(worker: &str) -> View {
    View { market: market(), clocks: Arc::default(), worker: worker.into() }
}

pub(crate) fn key(n: u64) -> RequestKey {
    RequestKey { lane: "orders".into(), entry: EntryId { ms: 1, seq: n } }
}

pub(crate) fn hash(n: u64) -> ContentHash {
    ContentHash::of(&n.to_be_bytes())
}

/// The request of entry `n`, as `worker` admits it.
pub(crate) fn admit(worker: &str, n: u64, request: Request, deliveries: u32) -> Input {
    Input::Admit(Box::new(Admit {
        received: Arc::new(Received {
            key: key(n),
            hash: hash(n),
            request,
            made_at: Timestamp::from_micros(0),
            deliveries,
            traceparent: None,
        }),
        no_older_entries: true,
        view: view(worker),
    }))
}

pub(crate) fn submit(worker: &str, n: u64, spec: OrderSpec) -> Input {
    admit(worker, n, Request::Submit(Box::new(spec)), 1)
}

pub(crate) fn cancel(worker: &str, n: u64, client: &str) -> Input {
    admit(worker, n, Request::Cancel(OrderRef::Client(client.parse().unwrap())), 1)
}

/// What the embedded venue is to do about what was decided.
pub(crate) fn execute(decision: &Decision) -> Input {
    let Effect::Submit { order, epoch } = &decision.effect else { panic!("{decision:?}") };
    Input::Execute(Execute {
        order_id: order.spec.id,
        broker: order.broker.clone(),
        symbol: order.spec.symbol.clone(),
        epoch: *epoch,
        market: market(),
    })
}

pub(crate) fn execute_cancel(n: u64, decision: &Decision) -> Input {
    let Effect::Cancel { order, .. } = &decision.effect else { panic!("{decision:?}") };
    Input::ExecuteCommand(ExecuteCommand {
        order_id: order.spec.id,
        broker: order.broker.clone(),
        symbol: order.spec.symbol.clone(),
        key: key(n),
        hash: hash(n),
        replace: None,
    })
}

/// What a broker tells of an order, with how far its feed is read.
pub(crate) fn facts(client: &str, reports: Vec<Report>, cursor: Option<u64>) -> Input {
    let external = Difference {
        broker: broker(),
        kind: "external_order",
        key: client.to_owned(),
        details: "told".into(),
    };
    let order = OrderRef::Client(client.parse().unwrap());
    Input::Facts(Box::new(Facts { broker: broker(), told: vec![Told { order, reports, external }], cursor }))
}

pub(crate) fn fill(trade: &str, size: &str, at: &str) -> Report {
    Report::Fill(ReportedFill {
        trade_id: trade.to_owned(),
        quantity: quantity(size),
        price: price(at),
        commission: None,
        executed_at: Timestamp::from_micros(1_800_000_000_000_000),
    })
}

pub(crate) fn acknowledged() -> Report {
    Report::Acknowledged { broker_order_id: "b".to_owned() }
}

/// The outcome that a decision ends its request with.
pub(crate) fn outcome(decision: &Decision) -> &Outcome {
    let Effect::Finish { outcome, .. } = &decision.effect else { panic!("no outcome: {decision:?}") };
    outcome
}

/// An order whose first attempt is journaled, and its lease's epoch, as a broker is handed it.
pub(crate) fn attempted(spec: OrderSpec, profile: Profile, now: Timestamp) -> (Arc<Order>, u64) {
    let mut ledger = Ledger::new(now, IdSource::new(spec.id.0));
    ledger.control_mut().limits.insert(limits(Limit::Unlimited));
    let input = admit("w", 1, Request::Submit(Box::new(spec)), 1);
    let decision = rules(profile).decide(&mut ledger, &input).unwrap();
    match decision.effect {
        Effect::Submit { order, epoch } => (order, epoch),
        other => panic!("not attempted: {other:?}"),
    }
}
