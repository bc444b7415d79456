//! The four steps: load, decide, append (the journal does these three in one transaction), perform.
//!
//! A batch of requests goes through them together. Every method may be called again with the same
//! argument after it failed: what was journaled before is found, what was published before is skipped.

mod feed;
mod follow_up;
mod perform;
mod publish;
pub mod replay;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::decide::{Admit, Decision, Effect, Input, Rules, View, Wait};
use crate::domain::ids::{BrokerName, EntryId, RequestKey, Symbol};
use crate::domain::market::Market;
use crate::domain::order::Order;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{OrderRef, Outcome, Received, Refused, Request};
use crate::domain::status::Status;
use crate::ports::broker::{AnswerError, BrokerError};
use crate::ports::clock::Clock;
use crate::ports::inbox::{InboxControl, InboxError};
use crate::ports::journal::{Journal, JournalError, JournalReader};
use crate::ports::publisher::{PublishError, Publisher};
use crate::ports::quotes::{Quotes, QuotesError};

pub use feed::Compared;
pub use perform::{Due, Link, Reply};
pub use publish::{Batch, Forgettable};

/// Older entries that are looked at to tell whether a command came before its order.
const OLDER_ENTRIES: usize = 1000;

/// Something outside is away. Nothing is lost: the same call may be made again.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Quotes(#[from] QuotesError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Inbox(#[from] InboxError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Redis does not show yet what outcomes rest on.
    #[error("{requests} outcomes wait for events of their orders that are not published yet")]
    Behind { requests: usize },
}

impl From<AnswerError> for EngineError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Journal(error) => Self::Journal(error),
            AnswerError::Quotes(error) => Self::Quotes(error),
        }
    }
}

pub struct Engine {
    pub rules: Arc<Rules>,
    pub journal: Arc<dyn Journal>,
    pub reader: Arc<dyn JournalReader>,
    pub broker: Link,
    pub publisher: Arc<dyn Publisher>,
    pub quotes: Arc<dyn Quotes>,
    pub control: Arc<dyn InboxControl>,
    pub clock: Arc<dyn Clock>,
    /// This worker's name: the owner of its leases.
    pub worker: Arc<str>,
    /// Finished entries that the journal has marked: the publisher need not remember them any more.
    pub forgettable: Forgettable,
}

/// What the symbols of some requests are worth now.
#[derive(Debug)]
pub struct Prices {
    markets: Markets,
    /// What requests about existing orders turned out to be about.
    instruments: HashMap<RequestKey, (BrokerName, Symbol)>,
}

/// A request that waits: for its order to be decided, to appear, or for its time.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub received: Arc<Received>,
    pub wait: Wait,
}

/// What decisions made of some requests.
#[derive(Debug, Default)]
pub struct Admitted {
    due: Vec<Due>,
    pub batch: Batch,
    pub waiting: Vec<Waiting>,
}

type Markets = HashMap<(BrokerName, Symbol), Market>;

impl Engine {
    /// Reads the prices that requests are to be judged by, just before they are admitted.
    pub async fn prepare(&self, requests: &[Arc<Received>]) -> Result<Prices, EngineError> {
        let (mut wanted, mut instruments) = (BTreeSet::new(), HashMap::new());
        for received in requests {
            if let Request::Replace(replace) = &received.request {
                let named = OrderRef::Client(replace.client_order_id.clone());
                if let Some(order) = self.reader.order(&named).await? {
                    instruments.insert(received.key.clone(), (order.broker, order.spec.symbol));
                }
            }
            wanted.extend(self.instrument_of(received, &instruments));
        }
        Ok(Prices { markets: self.markets(wanted).await?, instruments })
    }

    fn instrument_of(
        &self,
        received: &Received,
        instruments: &HashMap<RequestKey, (BrokerName, Symbol)>,
    ) -> Option<(BrokerName, Symbol)> {
        match &received.request {
            Request::Submit(spec) => {
                Some((self.rules.route(spec.broker.as_ref(), &spec.symbol), spec.symbol.clone()))
            }
            Request::Journaled(instrument) => instrument.clone(),
            Request::Replace(_) => instruments.get(&received.key).cloned(),
            Request::Cancel(_) | Request::CancelAll(_) | Request::Refused(_) | Request::Trimmed => None,
        }
    }

    pub(crate) async fn markets(
        &self,
        wanted: BTreeSet<(BrokerName, Symbol)>,
    ) -> Result<Markets, EngineError> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut quotes = self.quotes.read(&wanted).await?;
        let market = |key: (BrokerName, Symbol)| {
            let market = self.rules.venue.market(&key.1, quotes.remove(&key));
            (key, market)
        };
        Ok(wanted.into_iter().map(market).collect())
    }

    /// Admits requests in their order, in one transaction. `no_older_entries`: see `Admit`.
    pub async fn admit(
        &self,
        requests: &[Arc<Received>],
        prices: &Prices,
        no_older_entries: bool,
    ) -> Result<Admitted, EngineError> {
        let clocks = self.clocks();
        let admission = |received| self.admission(received, prices, &clocks, no_older_entries);
        let decided = self.journal.transact(requests.iter().map(admission).collect()).await?;
        let mut admitted = Admitted::default();
        for (received, decision) in requests.iter().zip(decided) {
            let decision = match decision {
                Ok(decision) => decision,
                // Nothing of it was journaled, so nothing of it was executed: it ends here.
                Err(error) if received.deliveries < 2 => self.refuse(received, &error).await?,
                Err(error) => {
                    tracing::error!(entry_id = %received.key.entry, %error, "a request cannot be taken up again");
                    Decision { effect: Effect::Wait(Wait::Later { us: 1_000_000 }), commits: Vec::new() }
                }
            };
            admitted.take(received, decision);
        }
        admitted.reuse_markets(&prices.markets);
        Ok(admitted)
    }

    fn admission(
        &self,
        received: &Arc<Received>,
        prices: &Prices,
        clocks: &Arc<BTreeMap<BrokerName, i64>>,
        no_older_entries: bool,
    ) -> Input {
        let instrument = self.instrument_of(received, &prices.instruments);
        let market = instrument.and_then(|key| prices.markets.get(&key).cloned()).unwrap_or(Market::Unknown);
        let view = self.view(market, clocks);
        Input::Admit(Box::new(Admit { received: received.clone(), no_older_entries, view }))
    }

    fn view(&self, market: Market, clocks: &Arc<BTreeMap<BrokerName, i64>>) -> View {
        View { market, clocks: clocks.clone(), worker: self.worker.clone() }
    }

    async fn refuse(&self, received: &Arc<Received>, error: &JournalError) -> Result<Decision, EngineError> {
        tracing::error!(entry_id = %received.key.entry, %error, "a request cannot be journaled");
        let (client_order_id, order_id) = match &received.request {
            Request::Submit(spec) => (Some(spec.client_order_id.clone()), None),
            Request::Replace(replace) => (Some(replace.client_order_id.clone()), None),
            Request::Cancel(_) | Request::CancelAll(_) | Request::Trimmed | Request::Journaled(_) => {
                (None, None)
            }
            Request::Refused(refused) => (refused.client_order_id.clone(), refused.order_id),
        };
        let refused = Arc::new(Received {
            request: Request::Refused(Box::new(Refused {
                kind: received.request.kind(),
                refusal: Refusal::new(
                    Code::ValidationFailed,
                    format!("the request cannot be journaled: {error}"),
                ),
                client_order_id,
                order_id,
                payload: None,
            })),
            ..(**received).clone()
        });
        let unread = Prices { markets: HashMap::new(), instruments: HashMap::new() };
        let input = self.admission(&refused, &unread, &Arc::default(), true);
        let decided = self.journal.transact(vec![input]).await?;
        decided
            .into_iter()
            .next()
            .unwrap_or(Ok(Decision { effect: Effect::Nothing, commits: Vec::new() }))
            .map_err(Into::into)
    }

    /// Whether every entry older than this one is known to the journal, but for those that are `waiting`
    /// here: what waits for an order does not bring one.
    pub async fn older_are_admitted(
        &self,
        entry: EntryId,
        lane: &str,
        waiting: &HashSet<EntryId>,
    ) -> Result<bool, EngineError> {
        let mut older = self.control.older_than(entry, OLDER_ENTRIES).await?;
        if older.len() >= OLDER_ENTRIES {
            return Ok(false);
        }
        older.retain(|entry| !waiting.contains(entry));
        Ok(older.is_empty() || self.reader.admitted(lane, &older).await?.len() == older.len())
    }
}

/// The journal may know it by now.
pub fn redelivered(received: &Arc<Received>) -> Arc<Received> {
    Arc::new(Received { deliveries: received.deliveries.max(2), ..(**received).clone() })
}

impl Admitted {
    /// How much is to be asked of a broker.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.due.len()
    }

    /// What is to be asked of a broker, handed over.
    #[must_use]
    pub fn take_due(&mut self) -> Vec<Due> {
        std::mem::take(&mut self.due)
    }

    fn take(&mut self, received: &Arc<Received>, decision: Decision) {
        self.batch.take_commits(decision.commits);
        match decision.effect {
            Effect::Finish { outcome, order } => self.batch.finish(received, outcome, order),
            Effect::Wait(wait) => self.wait(received, wait),
            Effect::NextPage { .. } | Effect::Refused(_) | Effect::Nothing => {}
            effect @ (Effect::Submit { .. }
            | Effect::Cancel { .. }
            | Effect::Replace { .. }
            | Effect::Look { .. }
            | Effect::CancelMany(_)) => {
                self.due.push(Due { received: received.clone(), effect, market: None });
            }
        }
    }

    /// Several answers to one request come back with it once.
    fn wait(&mut self, received: &Arc<Received>, wait: Wait) {
        let is_same =
            |item: &Waiting| item.received.key == received.key && item.received.hash == received.hash;
        if !self.waiting.iter().rev().take(1024).any(is_same) {
            self.waiting.push(Waiting { received: redelivered(received), wait });
        }
    }

    /// Time has passed: what the broker answers by is to be read again.
    fn forget_markets(&mut self) {
        for due in &mut self.due {
            due.market = None;
        }
    }

    /// The quotes were read a moment ago: an answer without latency goes by the same ones.
    fn reuse_markets(&mut self, markets: &Markets) {
        for due in &mut self.due {
            if let Effect::Submit { order, .. } = &due.effect {
                due.market = markets.get(&(order.broker.clone(), order.spec.symbol.clone())).cloned();
            }
        }
    }
}

/// A request that has ended, for the metrics and the log.
#[derive(Debug, Clone)]
pub struct Ended {
    pub received: Arc<Received>,
    pub outcome: Outcome,
    pub order: Option<Arc<Order>>,
    /// See `Finish`.
    unpublished_at_ms: Option<u64>,
}

impl Ended {
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.order.as_ref().map(|order| order.state.status)
    }
}
