//! The simulated broker, embedded: one exchange for all workers. Its resting orders are the journal's
//! open orders, its matching is `domain::venue`, and it answers inside the recording transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::amount::Price;
use crate::domain::decide::{Decision, Effect, Execute, ExecuteCommand, Input, QuoteTick};
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::instrument::Instrument;
use crate::domain::market::Market;
use crate::domain::order::Order;
use crate::domain::report::{Answer, Finding, NotSent};
use crate::domain::request::{OrderRef, OutcomeResult};
use crate::domain::venue::Venue;
use crate::ports::broker::{
    Account, AnswerError, Broker, BrokerError, BrokerOrder, BrokerPosition, Due, DueWhat, EmbeddedBroker,
    Replacing, Submission, Updates,
};
use crate::ports::journal::{Journal, JournalError, JournalReader, OrderFilter};
use crate::ports::quotes::Quotes;

/// Orders that `open_orders` returns at most.
const MAX_OPEN: u32 = 10_000;

type Instruments = (BrokerName, Symbol);

pub struct SimulatedBroker {
    name: BrokerName,
    venue: Venue,
    latency: Duration,
    journal: Arc<dyn Journal>,
    reader: Arc<dyn JournalReader>,
    quotes: Arc<dyn Quotes>,
    /// Instruments in which an order came to rest since the last look at the quotes.
    rested: Mutex<HashSet<Instruments>>,
    /// The market that the resting orders of an instrument last met.
    met: Mutex<HashMap<Instruments, Market>>,
}

impl SimulatedBroker {
    #[must_use]
    pub fn new(
        name: BrokerName,
        venue: Venue,
        latency: Duration,
        journal: Arc<dyn Journal>,
        reader: Arc<dyn JournalReader>,
        quotes: Arc<dyn Quotes>,
    ) -> Self {
        let (rested, met) = (Mutex::default(), Mutex::default());
        Self { name, venue, latency, journal, reader, quotes, rested, met }
    }

    fn error(&self, call: &'static str, why: impl ToString) -> BrokerError {
        BrokerError { broker: self.name.clone(), call, why: why.to_string() }
    }

    async fn markets(&self, wanted: &[Instruments]) -> Result<HashMap<Instruments, Market>, AnswerError> {
        let mut quotes = self.quotes.read(wanted).await?;
        let market = |key: &Instruments| (key.clone(), self.venue.market(&key.1, quotes.remove(key)));
        Ok(wanted.iter().map(market).collect())
    }

    /// Runs one instrument's resting orders against its market, page by page.
    async fn meet(&self, key: &Instruments, market: &Market) -> Result<Vec<Decision>, AnswerError> {
        let mut decisions = Vec::new();
        let mut after = 0;
        loop {
            let tick =
                QuoteTick { broker: key.0.clone(), symbol: key.1.clone(), market: market.clone(), after };
            let decided = self.journal.transact(vec![Input::Quote(tick)]).await?;
            let decision = decided.into_iter().next().transpose()?;
            let next = decision.as_ref().map(|decision| decision.effect.clone());
            decisions.extend(decision);
            match next {
                Some(Effect::NextPage { after: last }) => after = last,
                _ => return Ok(decisions),
            }
        }
    }

    /// One journaled attempt, as its caller would see it from a real broker.
    async fn one(&self, due: Due) -> Answer {
        tokio::time::sleep(self.latency).await;
        let answered = match self.answer(vec![due]).await {
            Ok(answered) => answered,
            Err(error) => return Answer::Unknown(error.to_string()),
        };
        match answered.into_iter().next() {
            Some(Ok(decision)) => match decision.effect {
                Effect::Finish { outcome, .. } => match outcome.result {
                    OutcomeResult::Failed { refusal, .. } => Answer::Rejected(refusal),
                    OutcomeResult::Completed(_) | OutcomeResult::Swept(_) => Answer::Accepted(Vec::new()),
                },
                _ => Answer::Unknown("another worker decides about the order".to_owned()),
            },
            Some(Err(error)) => Answer::Unknown(error.to_string()),
            None => Answer::Unknown("the journal gave no answer".to_owned()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What it guards is only a hint of what to look at: a panic elsewhere cannot have broken it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl EmbeddedBroker for SimulatedBroker {
    fn latency(&self) -> Duration {
        self.latency
    }

    async fn answer(&self, due: Vec<Due>) -> Result<Vec<Result<Decision, JournalError>>, AnswerError> {
        let key = |due: &Due| (due.order.broker.clone(), due.order.spec.symbol.clone());
        let unread = due.iter().filter(|due| due.needs_market() && due.market.is_none()).map(key);
        let unread: Vec<Instruments> = unread.collect::<HashSet<_>>().into_iter().collect();
        let markets = if unread.is_empty() { HashMap::new() } else { self.markets(&unread).await? };
        let inputs = due.into_iter().map(|due| {
            let (broker, symbol) = key(&due);
            let order_id = due.order_id();
            let read = |market: Option<Market>, key: &Instruments| {
                market.or_else(|| markets.get(key).cloned()).unwrap_or(Market::Unknown)
            };
            let at = (broker.clone(), symbol.clone());
            match due.what {
                DueWhat::Submit { epoch } => {
                    let market = read(due.market, &at);
                    Input::Execute(Execute { order_id, broker, symbol, epoch, market })
                }
                DueWhat::Cancel { key, hash } => Input::ExecuteCommand(ExecuteCommand {
                    order_id,
                    broker,
                    symbol,
                    key,
                    hash,
                    replace: None,
                }),
                DueWhat::Replace { key, hash } => {
                    let replace = Some(read(due.market, &at));
                    Input::ExecuteCommand(ExecuteCommand { order_id, broker, symbol, key, hash, replace })
                }
            }
        });
        Ok(self.journal.transact(inputs.collect()).await?)
    }

    fn rested(&self, broker: &BrokerName, symbol: &Symbol) {
        locked(&self.rested).insert((broker.clone(), symbol.clone()));
    }

    async fn follow_quotes(&self) -> Result<Vec<Decision>, AnswerError> {
        // Taken before the journal is asked: what comes to rest meanwhile is looked at the next time.
        let rested = std::mem::take(&mut *locked(&self.rested));
        let result = self.follow(&rested).await;
        if result.is_err() {
            locked(&self.rested).extend(rested);
        }
        result
    }
}

impl SimulatedBroker {
    async fn follow(&self, rested: &HashSet<Instruments>) -> Result<Vec<Decision>, AnswerError> {
        let mut decisions = Vec::new();
        let resting = self.reader.resting_symbols().await?;
        if resting.is_empty() {
            return Ok(decisions);
        }
        let ending: HashSet<Instruments> =
            self.reader.ending(self.reader.now().await?).await?.into_iter().collect();
        // In one sequence whenever it is repeated.
        let markets: BTreeMap<Instruments, Market> = self.markets(&resting).await?.into_iter().collect();
        for (key, market) in markets {
            let moved = locked(&self.met).get(&key) != Some(&market);
            if moved || rested.contains(&key) || ending.contains(&key) {
                decisions.extend(self.meet(&key, &market).await?);
                locked(&self.met).insert(key, market);
            }
        }
        Ok(decisions)
    }
}

#[async_trait]
impl Broker for SimulatedBroker {
    fn name(&self) -> &BrokerName {
        &self.name
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.ping().await
    }

    async fn disconnect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    /// It is part of this process.
    fn is_connected(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.journal.probe().await.map_err(|error| self.error("ping", error))
    }

    fn clock_offset_us(&self) -> i64 {
        0
    }

    async fn submit(&self, submission: Submission<'_>) -> Answer {
        let order = Arc::new((*submission.order.get()).clone());
        self.one(Due { order, what: DueWhat::Submit { epoch: submission.epoch }, market: None }).await
    }

    /// Commands are carried out only as answers to a journaled request: see `answer`.
    async fn cancel(&self, _order: &Order) -> Answer {
        let why = "a cancel at the embedded broker goes through `answer`, with its request".to_owned();
        Answer::NotSent(NotSent { why, retry_after_us: None, unreachable: false })
    }

    async fn replace(&self, _replacing: Replacing<'_>) -> Answer {
        let why = "a replace at the embedded broker goes through `answer`, with its request".to_owned();
        Answer::NotSent(NotSent { why, retry_after_us: None, unreachable: false })
    }

    /// Its books are the journal: it has nothing to say that is not there.
    async fn query(&self, order: &Order) -> Result<Finding, BrokerError> {
        let id = OrderRef::Order(order.spec.id);
        let found = self.reader.order(&id).await.map_err(|error| self.error("query", error))?;
        let as_of = found.as_ref().map_or(order.state.updated_at, |found| found.state.updated_at);
        Ok(Finding { as_of, reports: found.map(|_| Vec::new()) })
    }

    async fn open_orders(&self) -> Result<Vec<BrokerOrder>, BrokerError> {
        let filter = OrderFilter { limit: MAX_OPEN, open: true, ..OrderFilter::default() };
        let found = self.reader.orders(&filter).await.map_err(|error| self.error("open_orders", error))?;
        Ok(found.iter().filter(|order| order.state.status.is_working()).map(as_the_broker_has_it).collect())
    }

    async fn account(&self) -> Result<Option<Account>, BrokerError> {
        Ok(None)
    }

    async fn positions(&self) -> Result<Vec<BrokerPosition>, BrokerError> {
        let found = self.reader.positions().await.map_err(|error| self.error("positions", error))?;
        Ok(found
            .into_iter()
            .map(|(_, symbol, position)| BrokerPosition {
                symbol,
                quantity: position.quantity,
                average_price: position.average_price().and_then(|price| Price::new(price).ok()),
            })
            .collect())
    }

    async fn instruments(&self) -> Result<Vec<(Symbol, Instrument)>, BrokerError> {
        Ok(self.venue.instruments.iter().map(|(symbol, rules)| (symbol.clone(), rules.clone())).collect())
    }

    /// Nothing happens at it that is not journaled as it happens: see `follow_quotes`.
    async fn updates(&self, cursor: u64) -> Result<Updates, BrokerError> {
        Ok(Updates { told: Vec::new(), cursor })
    }
}

fn as_the_broker_has_it(order: &Order) -> BrokerOrder {
    BrokerOrder {
        client_order_id: order.spec.client_order_id.to_string(),
        broker_order_id: order.state.broker_order_id.clone(),
        symbol: order.spec.symbol.to_string(),
        status: order.state.status,
        quantity: order.spec.quantity,
        filled_quantity: order.state.filled_quantity,
    }
}
