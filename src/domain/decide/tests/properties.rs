//! What holds for any sequence of claims.

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;

/// A broker's claims, as they may come: each maybe twice, in any order.
fn claims() -> impl Strategy<Value = Vec<Report>> {
    let fill = (1u32..6, 1i64..40).prop_map(|(trade, quantity)| {
        Report::Fill(ReportedFill {
            trade_id: format!("t{trade}"),
            quantity: Decimal::new(quantity, 1).to_string().parse().unwrap(),
            price: price("100"),
            commission: None,
            executed_at: NOW,
        })
    });
    let other = prop_oneof![
        Just(Report::Acknowledged { broker_order_id: "b".into() }),
        Just(Report::Cancelled { reason: "r".into() }),
        Just(Report::Expired { reason: "r".into() }),
        Just(Report::Rejected(Refusal::new(Code::BrokerRejected, "r"))),
        Just(Report::CancelRefused { reason: "r".into() }),
    ];
    prop::collection::vec(prop_oneof![2 => fill, 1 => other], 0..25)
}

proptest! {
    /// Whatever a broker claims, however often and in whatever order: each trade is booked once, the
    /// status follows the quantities, a terminal order moves only as markets know, the position and
    /// the reservation follow, and folding the events gives the projection.
    #[test]
    fn claims_are_booked_once_and_the_fold_is_the_projection(claims in claims()) {
        let mut desk = Desk::new();
        let (_, decision) = desk.admit(spec("a", Side::Buy, "10", limit("100"), TimeInForce::Gtc), &fixed("101"));
        let Effect::Submit { order, .. } = decision.effect else { panic!() };
        let id = order.spec.id;
        let mut booked: BTreeMap<String, Decimal> = BTreeMap::new();
        for claim in &claims {
            let order = desk.ledger.orders[&id].order.clone();
            let known = |trade: &str| desk.ledger.trades.get(&(id, trade.to_owned())).cloned();
            let Some(event) = reconcile(&order, claim, known) else { continue };
            if let EventKind::Fill(fill) = &event {
                prop_assert!(booked.insert(fill.trade_id.clone(), fill.quantity.get()).is_none(), "booked twice");
            }
            let is_fill = matches!(event, EventKind::Fill(_));
            desk.ledger.append(id, vec![event]).unwrap();
            let after = &desk.ledger.orders[&id].order;
            if order.state.status.is_terminal() && after.state.status != order.state.status {
                prop_assert!(is_fill, "{} moved to {}", order.state.status, after.state.status);
            }
        }
        let order = &desk.ledger.orders[&id].order;
        let filled: Decimal = booked.values().copied().sum();
        prop_assert_eq!(order.state.filled_quantity.get(), filled);
        let total = filled + order.remaining_quantity().get();
        prop_assert_eq!(total, filled.max(order.spec.quantity.get()));
        prop_assert_eq!(order.state.status == Status::Filled, filled >= order.spec.quantity.get());
        prop_assert!(filled.is_zero() || order.state.status != Status::Rejected);
        let events: Vec<_> = desk.ledger.changes.commits.iter().flat_map(|commit| commit.events.clone()).collect();
        prop_assert_eq!(&Order::fold(&events).unwrap().unwrap(), &**order);
        prop_assert_eq!(desk.position().quantity.get(), filled);
        prop_assert_eq!(desk.position().reserved_buy, order.reserved_quantity());
        let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
        prop_assert_eq!(versions, (1..=events.len() as u64).collect::<Vec<_>>());
    }

    /// Every event reads back as it was written.
    #[test]
    fn events_read_back(claims in claims()) {
        let mut desk = Desk::new();
        desk.submit(spec("a", Side::Sell, "10", limit("100"), TimeInForce::Gtc), &fixed("99"));
        let id = desk.order("a").spec.id;
        for claim in &claims {
            let order = desk.ledger.orders[&id].order.clone();
            let event = reconcile(&order, claim, |_| None);
            desk.ledger.append(id, event.into_iter().collect()).unwrap();
        }
        for event in desk.ledger.changes.commits.iter().flat_map(|commit| &commit.events) {
            let text = serde_json::to_string(event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<crate::domain::event::OrderEvent>(&text).unwrap(), event);
        }
    }
}

/// What happens to one of several orders.
#[derive(Debug, Clone)]
enum Step {
    Submit {
        side: Side,
        quantity: i64,
        strategy: u8,
        symbol: u8,
    },
    Answer {
        order: prop::sample::Index,
        claim: u8,
        quantity: i64,
    },
    Cancel {
        order: prop::sample::Index,
    },
    Replace {
        order: prop::sample::Index,
        quantity: i64,
    },
    /// The worker dies: another takes over what was under way, later.
    Crash {
        order: prop::sample::Index,
    },
    Revise {
        order: prop::sample::Index,
        quantity: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    prop::collection::vec(
        prop_oneof![
            4 => (side, 1i64..20, 0u8..3, 0u8..2)
                .prop_map(|(side, quantity, strategy, symbol)| Step::Submit { side, quantity, strategy, symbol }),
            6 => (index(), 0u8..6, 1i64..12)
                .prop_map(|(order, claim, quantity)| Step::Answer { order, claim, quantity }),
            2 => index().prop_map(|order| Step::Cancel { order }),
            2 => (index(), 1i64..30).prop_map(|(order, quantity)| Step::Replace { order, quantity }),
            1 => index().prop_map(|order| Step::Crash { order }),
            1 => (index(), 0i64..12).prop_map(|(order, quantity)| Step::Revise { order, quantity }),
        ],
        1..60,
    )
}

/// Orders at a broker that answers what the steps say.
struct Books {
    desk: Desk,
    ids: Vec<OrderId>,
    trades: u32,
}

impl Books {
    fn new() -> Self {
        let mut desk = Desk::new();
        desk.rules.profile = Profile::DedupesForever;
        desk.ledger.control_mut().limits = Limits::of_rows(&[
            LimitRow { max_position: Limit::At(40.into()), ..LimitRow::unlimited("*") },
            LimitRow {
                max_position: Limit::At(25.into()),
                strategy_id: Some("s1".into()),
                ..LimitRow::unlimited("*")
            },
        ]);
        Self { desk, ids: Vec::new(), trades: 0 }
    }

    fn one(&self, index: &prop::sample::Index) -> Option<OrderId> {
        (!self.ids.is_empty()).then(|| self.ids[index.index(self.ids.len())])
    }

    fn tell(&mut self, id: OrderId, report: Report) {
        let external = crate::domain::ledger::Difference {
            broker: "mock".parse().unwrap(),
            kind: "x",
            key: String::new(),
            details: String::new(),
        };
        let told = vec![Told { order: OrderRef::Order(id), reports: vec![report], external }];
        let facts = Facts { broker: "mock".parse().unwrap(), told, cursor: None };
        self.desk.rules.decide(&mut self.desk.ledger, &Input::Facts(Box::new(facts))).unwrap();
    }

    fn take(&mut self, step: &Step) {
        let quantity = |n: i64| Decimal::new(n, 0).to_string();
        match step {
            Step::Submit { side, quantity: n, strategy, symbol } => {
                let name = format!("o{}", self.ids.len() + self.desk.ledger.orders.len());
                let spec = OrderSpec {
                    strategy_id: (*strategy > 0).then(|| format!("s{strategy}")),
                    symbol: if *symbol == 0 { "BTCUSDT" } else { "ETHUSDT" }.parse().unwrap(),
                    ..spec(&name, *side, &quantity(*n), limit("100"), TimeInForce::Gtc)
                };
                let (_, decision) = self.desk.admit(spec, &fixed("100"));
                if let Effect::Submit { order, .. } = decision.effect {
                    self.ids.push(order.spec.id);
                }
            }
            Step::Answer { order, claim, quantity: n } => {
                let Some(id) = self.one(order) else { return };
                self.trades += 1;
                let report = match claim {
                    0 => Report::Acknowledged { broker_order_id: "b".into() },
                    1 => Report::Cancelled { reason: "r".into() },
                    2 => Report::Rejected(Refusal::new(Code::BrokerRejected, "r")),
                    3 => Report::Expired { reason: "r".into() },
                    _ => Report::Fill(ReportedFill {
                        trade_id: format!("t{}", self.trades),
                        quantity: quantity(*n).parse().unwrap(),
                        price: price("100"),
                        commission: None,
                        executed_at: NOW,
                    }),
                };
                self.tell(id, report);
            }
            Step::Cancel { order } => {
                let Some(id) = self.one(order) else { return };
                let received = self.desk.received(Request::Cancel(OrderRef::Order(id)), 1);
                self.desk.admit_again(&received, &Market::Unknown, "w1");
            }
            Step::Replace { order, quantity: n } => {
                let Some(id) = self.one(order) else { return };
                let client_order_id = self.desk.ledger.orders[&id].order.spec.client_order_id.clone();
                let terms = Terms { quantity: Some(quantity(*n).parse().unwrap()), ..Terms::default() };
                let replace = crate::domain::request::Replace { client_order_id, terms };
                let received = self.desk.received(Request::Replace(Box::new(replace)), 2);
                self.desk.admit_again(&received, &fixed("100"), "w1");
            }
            Step::Crash { order } => {
                let Some(id) = self.one(order) else { return };
                self.desk.ledger.now = self.desk.ledger.now.plus_micros(20_000_000);
                let key = self.desk.ledger.orders[&id].request.clone();
                let received = self.desk.received(Request::Journaled(None), 2);
                let received = Arc::new(Received { key, ..(*received).clone() });
                self.desk.admit_again(&received, &fixed("100"), "w2");
            }
            Step::Revise { order, quantity: n } => {
                let Some(id) = self.one(order) else { return };
                let known =
                    self.desk.ledger.trades.keys().filter(|(of, _)| *of == id).map(|(_, t)| t.clone());
                let Some(trade_id) = known.min() else { return };
                let (at, reason) = (self.desk.ledger.now, "r".to_owned());
                self.tell(
                    id,
                    Report::TradeCorrected(crate::domain::report::ReportedCorrection {
                        trade_id,
                        quantity: quantity(*n).parse().unwrap(),
                        price: price("99"),
                        commission: None,
                        corrected_at: at.plus_micros(i64::from(self.trades)),
                        reason,
                    }),
                );
            }
        }
    }

    /// What the orders themselves come to, book by book.
    fn check(&self) {
        let mut sums: BTreeMap<Book, (Decimal, Decimal, Decimal, u64)> = BTreeMap::new();
        for record in self.desk.ledger.orders.values() {
            let order = &record.order;
            for book in order.books() {
                let sum = sums.entry(book).or_default();
                sum.0 += order.spec.side.signed(order.state.filled_quantity.get());
                let live = matches!(
                    order.state.status,
                    Status::PendingSubmit
                        | Status::Submitted
                        | Status::Acknowledged
                        | Status::PartiallyFilled
                );
                let asked = order.state.pending_replace.as_ref().and_then(|pending| pending.terms.quantity);
                let total = asked.map_or(order.spec.quantity, |asked| asked.max(order.spec.quantity));
                let open = total.saturating_sub(order.state.filled_quantity).get();
                let open = if live { open } else { Decimal::ZERO };
                let side = match order.spec.side {
                    Side::Buy => &mut sum.1,
                    Side::Sell => &mut sum.2,
                };
                *side += open;
                sum.3 += u64::from(live);
            }
        }
        let known: BTreeSet<&Book> = sums.keys().chain(self.desk.ledger.positions.keys()).collect();
        for book in known {
            let position = self.desk.ledger.book(book);
            let found = (
                position.quantity.get(),
                position.reserved_buy.get(),
                position.reserved_sell.get(),
                position.open_orders,
            );
            assert_eq!(found, sums.get(book).copied().unwrap_or_default(), "{book}");
        }
    }
}

proptest! {
    /// For any sequence of orders, fills, cancels, replaces, rejections, corrections and crashes: what is reserved is
    /// what is open, in the account's books and in the strategies', and nothing once all have ended.
    #[test]
    fn reservations_are_what_is_open_and_zero_when_all_is_quiet(steps in steps()) {
        let mut books = Books::new();
        for step in &steps {
            books.take(step);
            books.check();
        }
        for id in books.ids.clone() {
            books.tell(id, Report::Cancelled { reason: "the end".into() });
        }
        books.check();
        for (book, position) in &books.desk.ledger.positions {
            let left = (position.reserved_buy.get(), position.reserved_sell.get(), position.open_orders);
            prop_assert_eq!(left, (Decimal::ZERO, Decimal::ZERO, 0), "{}", book);
        }
    }
}
