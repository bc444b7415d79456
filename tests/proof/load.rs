//! A continuous load of every kind of request.

use crate::harness::{Random, limit, market, with};
use crate::stage::{STRATEGY, SYMBOLS, Stage};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Orders that a command may still be about.
const REMEMBERED: usize = 200;
/// Requests between two moves of the market.
const MARKET_EVERY: u64 = 25;

/// Requests between two trades that turn out to be wrong.
const REVISE_EVERY: u64 = 60;

pub(crate) struct Load {
    random: Random,
    count: u64,
    recent: VecDeque<Value>,
    /// Of these, what was meant to rest.
    resting: VecDeque<Value>,
}

/// `price` moved by so many hundredths of a percent.
fn moved(price: i64, bps: i64) -> String {
    (Decimal::from(price) * Decimal::from(10_000 + bps) / Decimal::from(10_000)).normalize().to_string()
}

impl Load {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), count: 0, recent: VecDeque::new(), resting: VecDeque::new() }
    }

    /// Adds requests, so many in a second, until told to stop.
    pub(crate) async fn run(&mut self, stage: &Stage, rate: u64, stop: &AtomicBool) {
        let pause = Duration::from_micros(1_000_000 / rate.max(1));
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let (kind, id, content) = self.request();
            stage.producer.lock().await.add(kind, id.as_deref(), &content).await;
            if self.count.is_multiple_of(MARKET_EVERY) {
                self.move_market(stage).await;
            }
            if self.count.is_multiple_of(REVISE_EVERY) {
                self.revise(stage).await;
            }
        }
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low + 1).unwrap_or(1);
        low + i64::try_from(self.random.below(span)).unwrap_or(0)
    }

    fn pick(&mut self, resting: bool) -> Option<Value> {
        let count = if resting { self.resting.len() } else { self.recent.len() };
        let place = usize::try_from(self.random.below(count.max(1) as u64)).unwrap_or(0);
        if resting { &self.resting } else { &self.recent }.get(place).cloned()
    }

    fn request(&mut self) -> (&'static str, Option<String>, Value) {
        self.count += 1;
        let id_of = |order: &Value| order["client_order_id"].as_str().map(str::to_owned);
        match self.random.below(100) {
            0..=9 => {
                // Of what rests, or of what may not even have been read yet.
                let resting = self.random.below(4) > 0;
                if let Some(order) = self.pick(resting) {
                    return ("cancel", id_of(&order), json!({"client_order_id": order["client_order_id"]}));
                }
            }
            10..=17 => {
                if let Some(order) = self.pick(true) {
                    let mut content = json!({"client_order_id": order["client_order_id"]});
                    if self.random.below(3) > 0 {
                        content["quantity"] = json!(self.between(2, 12).to_string());
                    }
                    if self.random.below(2) > 0 || content.get("quantity").is_none() {
                        content["price"] = json!(self.price(&order));
                    }
                    return ("replace", id_of(&order), content);
                }
            }
            18 => {
                let place = usize::try_from(self.random.below(SYMBOLS.len() as u64)).unwrap_or(0);
                return ("cancel_all", None, json!({"symbol": SYMBOLS[place].0}));
            }
            19..=22 => {
                if let Some(order) = self.pick(false) {
                    return ("order", id_of(&order), order);
                }
            }
            23 => {
                if let Some(order) = self.pick(false) {
                    let other = with(order, json!({"quantity": "77"}));
                    return ("order", id_of(&other), other);
                }
            }
            24 => return ("order", None, json!({"symbol": "BTCUSDT", "side": "Neither"})),
            _ => {}
        }
        let order = self.order();
        self.recent.push_back(order.clone());
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        ("order", id_of(&order), order)
    }

    /// A price on the passive side of the first one, by up to 2 %; sometimes on the other.
    fn price(&mut self, order: &Value) -> String {
        let first =
            SYMBOLS.iter().find(|(symbol, _)| order["symbol"] == *symbol).map_or(1, |(_, price)| *price);
        let passive = if self.random.below(8) == 0 { -1 } else { 1 };
        let away = self.between(5, 200) * passive;
        moved(first, if order["side"] == "Buy" { -away } else { away })
    }

    fn order(&mut self) -> Value {
        let id = format!("p{}", self.count);
        let place = usize::try_from(self.random.below(SYMBOLS.len() as u64)).unwrap_or(0);
        let (symbol, _) = SYMBOLS[place];
        let side = if self.random.below(2) == 0 { "Buy" } else { "Sell" };
        let quantity = self.between(1, 9).to_string();
        let plain = market(&id, symbol, side, &quantity);
        let plain = match self.random.below(3) {
            0 => plain,
            1 => with(plain, json!({"strategy_id": STRATEGY})),
            _ => with(plain, json!({"strategy_id": "beta"})),
        };
        let kind = self.random.below(28);
        if kind >= 20 {
            return self.conditional(kind, plain);
        }
        if kind < 9 {
            return plain;
        }
        let price = self.price(&plain);
        let order = limit(&id, symbol, side, &quantity, &price);
        let order = with(order, json!({"strategy_id": plain["strategy_id"]}));
        match kind {
            9..=14 => {
                self.resting.push_back(order.clone());
                if self.resting.len() > REMEMBERED / 4 {
                    self.resting.pop_front();
                }
                order
            }
            15 | 16 => with(order, json!({"time_in_force": "IOC"})),
            17 => with(order, json!({"time_in_force": "FOK"})),
            18 => with(plain, json!({"time_in_force": "IOC"})),
            _ => with(order, json!({"execution_instructions": {"post_only": true}})),
        }
    }

    /// Orders that wait for a price or a time, and those with instructions.
    fn conditional(&mut self, kind: u64, plain: Value) -> Value {
        let first =
            SYMBOLS.iter().find(|(symbol, _)| plain["symbol"] == *symbol).map_or(1, |(_, price)| *price);
        let buys = plain["side"] == "Buy";
        let (near, far) = (self.between(5, 150), self.between(160, 300));
        // To the side to which the market must move: up for a buy that stops, down for one that is touched.
        let beyond = |bps: i64, stops: bool| moved(first, if buys == stops { bps } else { -bps });
        let soon = chrono::Utc::now() + chrono::TimeDelta::milliseconds(self.between(50, 1500));
        match kind {
            20 => with(plain, json!({"order_type": {"Stop": {"stop_price": beyond(near, true)}}})),
            21 => {
                let kind = json!({"stop_price": beyond(near, true), "limit_price": beyond(far, true)});
                with(plain, json!({"order_type": {"StopLimit": kind}}))
            }
            22 => {
                let kind = json!({"distance": "0.5", "distance_type": "Percent"});
                with(plain, json!({"order_type": {"TrailingStop": kind}}))
            }
            23 => with(
                plain,
                json!({"order_type": {"MarketIfTouched": {"trigger_price": beyond(near, false)}}}),
            ),
            24 => {
                let kind = json!({"trigger_price": beyond(near, false), "limit_price": beyond(5, false)});
                with(plain, json!({"order_type": {"LimitIfTouched": kind}}))
            }
            25 => {
                let kind = json!({"Limit": {"price": beyond(near, false)}});
                let gtd = json!({"GTD": {"expires_at": crate::harness::rfc3339(soon)}});
                with(plain, json!({"order_type": kind, "time_in_force": gtd}))
            }
            26 => with(plain, json!({"execution_instructions": {"reduce_only": true}})),
            _ => with(plain, json!({"max_slippage": "1"})),
        }
    }

    /// A trade that was executed a while ago was wrong.
    async fn revise(&mut self, stage: &Stage) {
        let Some(exchange) = &stage.exchange else { return };
        let draw = self.random.next();
        let exchange = exchange.lock().await;
        // The exchange may be away.
        if let Ok(last) = exchange.last_transaction().await {
            drop(exchange.revise(draw.checked_rem(last.max(1)).unwrap_or(0), draw / 7).await);
        }
    }

    /// Up to 1.5 % away from where it began, sometimes with so little on offer that orders fill in parts.
    async fn move_market(&mut self, stage: &Stage) {
        let place = usize::try_from(self.random.below(SYMBOLS.len() as u64)).unwrap_or(0);
        let (symbol, first) = SYMBOLS[place];
        let bps = self.between(-150, 150);
        let size = (self.random.below(3) == 0).then(|| self.between(2, 9).to_string());
        // Redis or the exchange may be away: then the market stays where it was.
        drop(stage.market(symbol, &moved(first, bps - 2), &moved(first, bps + 2), size.as_deref()).await);
    }
}
