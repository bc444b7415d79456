//! A journal in memory, with a few orders that look real.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::super::Sources;
use crate::api::position::Marks;
use crate::domain::control::Control;
use crate::domain::event::{Acknowledgement, Attempt, EventKind, Fill, OrderEvent, Reason, Submission};
use crate::domain::ids::{BrokerName, EntryId, OrderId, Symbol};
use crate::domain::order::{Order, OrderSpec};
use crate::domain::order_type::{ExecutionInstructions, OrderType, Side, TimeInForce};
use crate::domain::position::{Book, Position};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{OrderRef, Outcome};
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::journal::{
    Abandoned, CommitHistory, ControlEntry, History, JournalError, JournalReader, OrderFilter, RiskCounters,
};
use crate::runtime::health::Health;
use crate::runtime::metrics::{Metrics, Stage};

const NOW: i64 = 1_790_000_000_000_000;

pub(super) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NOW)
    }

    fn uuid(&self) -> Uuid {
        Uuid::nil()
    }
}

pub(super) fn sources(journal: FakeJournal, token: Option<&str>) -> Sources {
    let prices = [("BTCUSDT".parse().unwrap(), "45000".parse().unwrap())];
    Sources {
        journal: Arc::new(journal),
        marks: Marks::new(None, prices.into()),
        health: Health::new(),
        metrics: Metrics::new(),
        clock: Arc::new(FixedClock),
        token: token.map(Into::into),
        example: "redis-cli XADD orders:pending '*' order '{\"symbol\":\"BTCUSDT\",\"side\":\"Buy\",\"quantity\":\"0.01\",\"order_type\":\"Market\"}'".into(),
    }
}

pub(super) fn look_busy(sources: &Sources) {
    sources.health.component("redis", None).ok("127.0.0.1:40123 answers in 0.2 ms");
    sources.health.component("journal", None).ok("commits in 1.9 ms (sqlite:///tmp/oe-demo/journal.db)");
    sources.health.component("broker", None).ok("mock is connected");
    sources
        .health
        .component("worker", None)
        .not_ok("no sign of life for 12 s; it last said: reads orders:pending");
    sources.metrics.queue(1432, 256, Some(std::time::Duration::from_millis(2345)));
    sources.metrics.orders_created(12_345_678);
    sources.metrics.orders_filled(9_876);
    sources.metrics.requests_failed("VALIDATION_FAILED", 12);
    sources.metrics.order_latency(Stage::Total, std::time::Duration::from_millis(3));
}

#[derive(Default)]
pub(super) struct FakeJournal {
    /// Newest first.
    orders: Vec<(Order, Vec<OrderEvent>)>,
    positions: Vec<(BrokerName, Symbol, Position)>,
    away: bool,
}

pub(super) const ORDERS: usize = 8;

impl FakeJournal {
    pub(super) fn away() -> Self {
        Self { away: true, ..Self::default() }
    }

    pub(super) fn sample() -> Self {
        let limit = |price: &str| OrderType::Limit { price: price.parse().unwrap() };
        let stop = OrderType::StopLimit {
            stop_price: "1.0715".parse().unwrap(),
            limit_price: "1.0705".parse().unwrap(),
        };
        let refused = |code, text: &str| vec![EventKind::Rejected(Refusal::new(code, text))];
        let sent = |then: Vec<EventKind>| {
            let before = [
                EventKind::Validated,
                EventKind::PendingSubmit(Attempt { attempt: 1, deadline: None, limit_price: None }),
                EventKind::Submitted(Submission { attempt: 1, broker_order_id: None }),
            ];
            before.into_iter().chain(then).collect::<Vec<_>>()
        };
        let rests = || EventKind::Acknowledged(Acknowledgement { broker_order_id: "b-1".into() });
        let fill = |quantity: &str, price: &str| {
            EventKind::Fill(Fill {
                trade_id: format!("{quantity}@{price}"),
                quantity: quantity.parse().unwrap(),
                price: price.parse().unwrap(),
                commission: None,
                executed_at: Timestamp::from_micros(NOW),
                position_sequence: 1,
                contract: None,
            })
        };
        let cancelled = EventKind::Cancelled(Reason { reason: "as asked".into() });
        let specs = [
            (
                "RT_BTCUSDT_Buy_1790000000000_00000000",
                "BTCUSDT",
                Side::Buy,
                "0.5",
                OrderType::Market,
                sent(vec![fill("0.5", "45001.25")]),
            ),
            ("desk/book-1", "BTCUSDT", Side::Buy, "1.5", limit("44250"), sent(vec![rests()])),
            (
                "momentum-2026-09-21-0007",
                "ETHUSDT",
                Side::Sell,
                "12",
                limit("2555.5"),
                sent(vec![rests(), fill("4", "2555.5"), fill("3", "2556.75")]),
            ),
            (
                "a-very-long-client-order-id-that-a-producer-made-up-to-fill-64-c",
                "EUR_USD",
                Side::Sell,
                "25000",
                stop,
                sent(vec![rests(), cancelled]),
            ),
            (
                "too-big",
                "BTCUSDT",
                Side::Buy,
                "250",
                OrderType::Market,
                refused(
                    Code::MaxOrderQuantity,
                    "quantity 250 exceeds the limit max_order_quantity 100 of BTCUSDT",
                ),
            ),
            (
                "collar-<b>1</b>",
                "ETHUSDT",
                Side::Buy,
                "1",
                limit("3000"),
                refused(
                    Code::PriceCollar,
                    "price 3000 is 20 % above the reference price 2500 and the collar allows 5 %: at most 2625; <script>alert(1)</script>",
                ),
            ),
            (
                "fast",
                "GBP_USD",
                Side::Sell,
                "1000",
                limit("1.27105"),
                vec![
                    EventKind::Validated,
                    EventKind::PendingSubmit(Attempt { attempt: 1, deadline: None, limit_price: None }),
                ],
            ),
            (
                "thirds",
                "ETHUSDT",
                Side::Buy,
                "3",
                OrderType::Market,
                sent(vec![fill("1", "2500"), fill("2", "2500.01")]),
            ),
        ];
        assert_eq!(specs.len(), ORDERS);
        let orders = specs
            .into_iter()
            .enumerate()
            .map(|(n, (id, symbol, side, quantity, order_type, kinds))| {
                order(n, id, symbol, side, quantity, order_type, kinds)
            })
            .collect();
        Self { orders, positions: positions(), away: false }
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.away {
            return Err(JournalError::Unavailable { what: "read".into(), why: "the disk is gone".into() });
        }
        Ok(())
    }
}

fn positions() -> Vec<(BrokerName, Symbol, Position)> {
    let position = |symbol: &str, quantity: &str, cost: &str, realized: &str| {
        let position = Position {
            quantity: quantity.parse().unwrap(),
            cost: cost.parse().unwrap(),
            realized_pnl: realized.parse().unwrap(),
            commission: "0.33".parse().unwrap(),
            ..Position::FLAT
        };
        ("mock".parse().unwrap(), symbol.parse().unwrap(), position)
    };
    vec![
        position("EUR_USD", "-50", "-54.1", "-3.25"),
        position("BTCUSDT", "0.75", "33675.375", "12.5"),
        position("ETHUSDT", "0", "0", "0"),
    ]
}

fn order(
    n: usize,
    id: &str,
    symbol: &str,
    side: Side,
    quantity: &str,
    order_type: OrderType,
    kinds: Vec<EventKind>,
) -> (Order, Vec<OrderEvent>) {
    let post_only = id == "desk/book-1";
    let spec = OrderSpec {
        id: OrderId(Uuid::from_u128(0x0190_0000_0000_7abc_8000_0000_0000_0000 + n as u128)),
        client_order_id: id.replace(['<', '>'], ".").parse().unwrap(),
        symbol: symbol.parse().unwrap(),
        side,
        quantity: quantity.parse().unwrap(),
        order_type,
        time_in_force: TimeInForce::Gtc,
        broker: Some("mock".parse().unwrap()),
        conditions: Vec::new(),
        parent_order_id: None,
        linked_orders: Vec::new(),
        execution_instructions: ExecutionInstructions { post_only, ..ExecutionInstructions::default() },
        max_slippage: None,
        position_size_check: None,
        strategy_id: (n % 3 == 2).then(|| "momentum".to_owned()),
        signal_id: None,
        component_name: None,
        metadata: None,
    };
    let events: Vec<_> = [EventKind::Created(Box::new(spec))]
        .into_iter()
        .chain(kinds)
        .zip(1_u64..)
        .map(|(kind, version)| OrderEvent {
            event_id: Uuid::from_u128(u128::from(version)),
            version,
            timestamp: Timestamp::from_micros(NOW).plus_micros(-i64::try_from(n).unwrap() * 61_000_000),
            kind,
        })
        .collect();
    (Order::fold(&events).unwrap().unwrap(), events)
}

#[async_trait]
impl JournalReader for FakeJournal {
    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(FixedClock.now())
    }

    async fn order(&self, order: &OrderRef) -> Result<Option<Order>, JournalError> {
        self.check()?;
        let found = self.orders.iter().find(|(o, _)| match order {
            OrderRef::Client(id) => o.spec.client_order_id == *id,
            OrderRef::Order(id) => o.spec.id == *id,
        });
        Ok(found.map(|(order, _)| order.clone()))
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, JournalError> {
        self.check()?;
        let matching = self.orders.iter().map(|(order, _)| order).filter(|order| {
            filter.symbol.as_ref().is_none_or(|symbol| *symbol == order.spec.symbol)
                && filter.status.is_none_or(|status| status == order.state.status)
                && !(filter.open && order.state.status.is_terminal())
        });
        Ok(matching.take(filter.limit as usize).cloned().collect())
    }

    async fn events(&self, order: OrderId) -> Result<Vec<OrderEvent>, JournalError> {
        self.check()?;
        Ok(self.orders.iter().find(|(o, _)| o.spec.id == order).map(|(_, e)| e.clone()).unwrap_or_default())
    }

    async fn books(&self) -> Result<Vec<(Book, Position)>, JournalError> {
        self.check()?;
        let book = |(broker, symbol, position): (BrokerName, Symbol, Position)| {
            (Book::account(broker, symbol), position)
        };
        Ok(self.positions.iter().cloned().map(book).collect())
    }

    async fn risk_counters(&self) -> Result<RiskCounters, JournalError> {
        Ok(RiskCounters::default())
    }

    async fn control_events(&self, _before: u64, _limit: u32) -> Result<Vec<ControlEntry>, JournalError> {
        Ok(Vec::new())
    }

    async fn unpublished_control(&self, _limit: u32) -> Result<Vec<ControlEntry>, JournalError> {
        Ok(Vec::new())
    }

    async fn control(&self) -> Result<Control, JournalError> {
        Ok(Control::default())
    }

    async fn admitted(&self, _: &str, _: &[EntryId]) -> Result<Vec<EntryId>, JournalError> {
        Ok(Vec::new())
    }

    async fn resting_symbols(&self) -> Result<Vec<(BrokerName, Symbol)>, JournalError> {
        Ok(Vec::new())
    }

    async fn ending(&self, _: Timestamp) -> Result<Vec<(BrokerName, Symbol)>, JournalError> {
        Ok(Vec::new())
    }

    async fn unpublished(&self, _: Timestamp, _: u32) -> Result<Vec<OrderId>, JournalError> {
        Ok(Vec::new())
    }

    async fn unpublished_outcomes(
        &self,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<(Outcome, Option<Order>)>, JournalError> {
        Ok(Vec::new())
    }

    async fn abandoned(&self, _: Timestamp, _: u32) -> Result<Vec<Abandoned>, JournalError> {
        Ok(Vec::new())
    }

    async fn unfinished_sweeps(&self, _: Timestamp, _: u32) -> Result<Vec<Abandoned>, JournalError> {
        Ok(Vec::new())
    }

    async fn parked(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    async fn working(&self, _: u64, _: u32) -> Result<Vec<(u64, Order)>, JournalError> {
        Ok(Vec::new())
    }

    async fn place(&self, _: Timestamp) -> Result<u64, JournalError> {
        Ok(0)
    }

    async fn ended(&self, _: u64, _: u32) -> Result<Vec<(u64, Order)>, JournalError> {
        Ok(Vec::new())
    }

    async fn feed_cursor(&self, _: &BrokerName) -> Result<u64, JournalError> {
        Ok(0)
    }

    async fn differences(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    async fn commits(&self, order_id: OrderId) -> Result<CommitHistory, JournalError> {
        Ok(CommitHistory { order_id, commits: Vec::new(), published: 0 })
    }

    async fn history(&self, _: u64, _: u32) -> Result<Vec<History>, JournalError> {
        Ok(Vec::new())
    }
}
