//! A worker's side of the exchange: every call is made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use order_execution::domain::ids::{BrokerName, Symbol};
use order_execution::domain::instrument::Instrument;
use order_execution::domain::order::Order;
use order_execution::domain::refusal::{Code, Refusal};
use order_execution::domain::report::{Answer, Finding, NotSent};
use order_execution::ports::broker::{
    Account, Broker, BrokerError, BrokerOrder, BrokerPosition, Replacing, Submission, Updates,
};

use super::super::line::{Line, NoAnswer};
use super::super::plant::Fault;
use super::Exchange;

pub(crate) struct MemoryBroker {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) line: Line,
    name: BrokerName,
    connected: AtomicBool,
}

impl MemoryBroker {
    pub(crate) fn new(exchange: Arc<Exchange>, line: Line) -> Self {
        Self { exchange, line, name: "mock".parse().unwrap(), connected: AtomicBool::new(false) }
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Arc<Exchange>) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let exchange = self.exchange.clone();
        let answer = self.line.call(what, move || work(&exchange)).await;
        self.connected.store(!matches!(answer, Err(NoAnswer::NotConnected)), Ordering::Relaxed);
        answer
    }

    fn understood<T>(&self, call: &'static str, answer: Result<T, NoAnswer>) -> Result<T, BrokerError> {
        answer.map_err(|why| BrokerError { broker: self.name.clone(), call, why: why.to_string() })
    }

    fn answer(&self, answer: Result<Answer, NoAnswer>) -> Answer {
        match answer {
            Ok(answer) => answer,
            Err(NoAnswer::NotConnected) => Answer::NotSent(NotSent {
                why: "no connection".to_owned(),
                retry_after_us: None,
                unreachable: true,
            }),
            Err(NoAnswer::Lost) if self.exchange.plant.is(Fault::LostIsRefused) => {
                Answer::Rejected(Refusal::new(Code::BrokerRejected, "no answer"))
            }
            Err(NoAnswer::Lost) => Answer::Unknown("no answer in time".to_owned()),
        }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn name(&self) -> &BrokerName {
        &self.name
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.ping().await
    }

    async fn disconnect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        let answer = self.ask("broker ping", |_| ()).await;
        self.understood("time", answer)
    }

    fn clock_offset_us(&self) -> i64 {
        self.exchange.ahead_us
    }

    async fn submit(&self, submission: Submission<'_>) -> Answer {
        let (spec, deadline) = (submission.order.get().spec.clone(), submission.deadline);
        if deadline.is_some_and(|deadline| deadline.not_after <= self.exchange.now()) {
            return Answer::NotSent(NotSent {
                why: "too late".to_owned(),
                retry_after_us: None,
                unreachable: false,
            });
        }
        let first = {
            let spec = spec.clone();
            self.ask("submit", move |exchange| exchange.submit(&spec, deadline)).await
        };
        if first == Err(NoAnswer::Lost) && self.exchange.plant.is(Fault::SendsAgain) {
            let again = self.ask("submit", move |exchange| exchange.submit(&spec, deadline)).await;
            return self.answer(again);
        }
        self.answer(first)
    }

    async fn cancel(&self, order: &Order) -> Answer {
        let client = order.spec.client_order_id.to_string();
        let answer = self.ask("cancel", move |exchange| exchange.cancel(&client)).await;
        self.answer(answer)
    }

    async fn replace(&self, replacing: Replacing<'_>) -> Answer {
        let client = replacing.order.get().spec.client_order_id.to_string();
        let (number, terms, deadline) = (replacing.number, replacing.terms.clone(), replacing.deadline);
        if deadline.is_some_and(|deadline| deadline.not_after <= self.exchange.now()) {
            return Answer::NotSent(NotSent {
                why: "too late".to_owned(),
                retry_after_us: None,
                unreachable: false,
            });
        }
        let replace = move |exchange: &Arc<Exchange>| exchange.replace(&client, number, &terms, deadline);
        let answer = self.ask("replace", replace).await;
        self.answer(answer)
    }

    async fn query(&self, order: &Order) -> Result<Finding, BrokerError> {
        let client = order.spec.client_order_id.to_string();
        let look = move |exchange: &Arc<Exchange>| Finding {
            as_of: exchange.now(),
            reports: exchange.query(&client),
        };
        let answer = self.ask("query", look).await;
        self.understood("query", answer)
    }

    async fn open_orders(&self) -> Result<Vec<BrokerOrder>, BrokerError> {
        let answer = self.ask("open orders", |exchange| exchange.open_orders()).await;
        self.understood("open_orders", answer)
    }

    async fn account(&self) -> Result<Option<Account>, BrokerError> {
        Ok(None)
    }

    async fn positions(&self) -> Result<Vec<BrokerPosition>, BrokerError> {
        self.understood("positions", Err(NoAnswer::NotConnected))
    }

    async fn instruments(&self) -> Result<Vec<(Symbol, Instrument)>, BrokerError> {
        Ok(Vec::new())
    }

    async fn updates(&self, cursor: u64) -> Result<Updates, BrokerError> {
        let world = self.line.world.clone();
        let until = world.now_us() + 500_000;
        loop {
            let answer = self.ask("feed", move |exchange| exchange.updates(cursor)).await;
            let updates = self.understood("updates", answer)?;
            if !updates.told.is_empty() || world.now_us() >= until {
                return Ok(updates);
            }
            self.line.sleep(world.between(20_000, 100_000)).await;
        }
    }
}
