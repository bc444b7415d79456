//! What is asked of the workers: orders, commands about them, repeats, and what cannot be read.

use std::sync::{Arc, Mutex};

use order_execution::domain::event::Terms;
use order_execution::domain::ids::EntryId;
use order_execution::domain::order::{ContentHash, OrderSpec};
use order_execution::domain::order_type::Side;
use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::request::{OrderRef, Refused, Replace, Request, RequestKind};

use super::contracts::fixture;
use super::redis::{Body, Server};
use super::site::SYMBOLS;
use super::world::World;

#[derive(Default)]
struct Sent {
    orders: Vec<OrderSpec>,
    entries: Vec<EntryId>,
}

pub(crate) struct Producer {
    world: Arc<World>,
    server: Arc<Server>,
    sent: Mutex<Sent>,
}

impl Producer {
    pub(crate) fn new(world: Arc<World>, server: Arc<Server>) -> Arc<Self> {
        Arc::new(Self { world, server, sent: Mutex::default() })
    }

    /// So many requests within so long.
    pub(crate) fn schedule(self: &Arc<Self>, requests: u64, within_us: i64) {
        for _ in 0..requests {
            let here = self.clone();
            self.world.after(self.world.between(0, within_us), move || here.send());
        }
    }

    fn send(&self) {
        let mut sent = self.sent.lock().unwrap();
        let request = self.draw(&mut sent);
        drop(sent);
        self.add(request);
    }

    fn add(&self, request: Request) {
        // Of the content alone, as that of the bytes would be.
        let hash = match &request {
            Request::Submit(spec) => spec.content_hash().unwrap(),
            other => ContentHash::of(format!("{other:?}").as_bytes()),
        };
        let entry = self.server.add(Body { request, hash });
        self.world.effect("add", entry.ms ^ entry.seq << 48);
        self.sent.lock().unwrap().entries.push(entry);
    }

    pub(crate) fn cancel_all(&self) {
        self.add(Request::CancelAll(Box::default()));
    }

    fn draw(&self, sent: &mut Sent) -> Request {
        let world = &self.world;
        let known = sent.orders.len() as u64;
        let any = |sent: &Sent| {
            // Mostly one of the newest.
            let back = if world.chance(700) { world.below(known.min(4)) } else { world.below(known) };
            sent.orders[usize::try_from(known - 1 - back).unwrap()].clone()
        };
        match world.below(100) {
            0..12 if known > 0 => Request::Cancel(OrderRef::Client(any(sent).client_order_id)),
            12..20 if known > 0 => {
                let client_order_id = any(sent).client_order_id;
                let price = (world.chance(500)).then(|| fixture::price(&world.between(95, 105).to_string()));
                let quantity = fixture::quantity(&world.between(1, 6).to_string());
                let terms = Terms { quantity: Some(quantity), price, stop_price: None };
                Request::Replace(Box::new(Replace { client_order_id, terms }))
            }
            20..28 if known > 0 => Request::Submit(Box::new(any(sent))),
            28..30 if known > 0 => {
                let other = OrderSpec { quantity: fixture::quantity("7"), ..any(sent) };
                Request::Submit(Box::new(other))
            }
            30 if known > 0 => Request::CancelAll(Box::default()),
            31 => Request::Refused(Box::new(Refused {
                kind: RequestKind::Unknown,
                refusal: Refusal::new(Code::InvalidPayload, "it cannot be read"),
                client_order_id: None,
                order_id: None,
                payload: None,
            })),
            32 => Request::Cancel(OrderRef::Client("unheard-of".parse().unwrap())),
            _ => {
                let spec = self.order(known);
                sent.orders.push(spec.clone());
                Request::Submit(Box::new(spec))
            }
        }
    }

    fn order(&self, n: u64) -> OrderSpec {
        let world = &self.world;
        let size = world.between(1, 5).to_string();
        let spec = if world.chance(500) {
            OrderSpec { quantity: fixture::quantity(&size), ..fixture::market_order(n) }
        } else {
            fixture::limit_order(n, &size, &world.between(96, 104).to_string())
        };
        let symbol = SYMBOLS[usize::try_from(world.below(SYMBOLS.len() as u64)).unwrap()];
        let side = if world.chance(500) { Side::Buy } else { Side::Sell };
        OrderSpec { symbol: fixture::symbol(symbol), side, metadata: None, ..spec }
    }

    pub(crate) fn entries(&self) -> Vec<EntryId> {
        self.sent.lock().unwrap().entries.clone()
    }
}
