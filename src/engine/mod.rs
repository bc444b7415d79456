//! The four steps: load, decide, append (the journal does these three in one transaction), perform.
//!
//! A batch of requests goes through them together. Every method may be called again with the same
//! argument after it failed: what was journaled before is found, what was published before is skipped.

mod publish;
pub mod replay;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::decide::{Admit, Decision, Effect, Input, Rules, Wait};
use crate::domain::ids::RequestKey;
use crate::domain::ids::{BrokerName, EntryId, Symbol};
use crate::domain::market::Market;
use crate::domain::order::{ContentHash, Order};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::request::{Outcome, Received, Refused, Request};
use crate::domain::status::Status;
use crate::ports::broker::{AnswerError, Due, EmbeddedBroker};
use crate::ports::clock::Clock;
use crate::ports::inbox::{InboxControl, InboxError};
use crate::ports::journal::{Journal, JournalError, JournalReader};
use crate::ports::publisher::{PublishError, Publisher};
use crate::ports::quotes::{Quotes, QuotesError};

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
    pub broker: Arc<dyn EmbeddedBroker>,
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
pub struct Prices(Markets);

/// A request that waits: for its order to be decided, or to appear.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub received: Arc<Received>,
    pub wait: Wait,
}

/// A request whose effect is due.
#[derive(Debug, Clone)]
struct DueEffect {
    due: Due,
    received: Arc<Received>,
}

/// What admission made of a batch.
#[derive(Debug, Default)]
pub struct Admitted {
    due: Vec<DueEffect>,
    pub batch: Batch,
    pub waiting: Vec<Waiting>,
}

impl Admitted {
    /// How much is to be asked of a broker.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.due.len()
    }
}

impl Engine {
    /// Reads the prices that requests are to be judged by, just before they are admitted.
    pub async fn prepare(&self, requests: &[Arc<Received>]) -> Result<Prices, EngineError> {
        Ok(Prices(self.markets(requests).await?))
    }

    /// Admits requests in their order, in one transaction. `no_older_entries`: see `Admit`.
    pub async fn admit(
        &self,
        requests: &[Arc<Received>],
        prices: &Prices,
        no_older_entries: bool,
    ) -> Result<Admitted, EngineError> {
        let markets = &prices.0;
        let inputs =
            requests.iter().map(|received| self.admission(received, markets, no_older_entries)).collect();
        let decided = self.journal.transact(inputs).await?;
        let mut admitted = Admitted::default();
        for (received, decision) in requests.iter().zip(decided) {
            let decision = match decision {
                Ok(decision) => decision,
                // Nothing of it was journaled, so nothing of it was executed: it ends here.
                Err(error) => self.refuse(received, &error).await?,
            };
            admitted.take(received, decision);
        }
        admitted.reuse_markets(markets);
        Ok(admitted)
    }

    fn admission(&self, received: &Arc<Received>, markets: &Markets, no_older_entries: bool) -> Input {
        let market = match &received.request {
            Request::Submit(spec) => {
                let broker = self.rules.route(spec.broker.as_ref(), &spec.symbol);
                markets.get(&(broker, spec.symbol.clone())).cloned().unwrap_or(Market::Unknown)
            }
            Request::Cancel(_) | Request::Refused(_) | Request::Trimmed => Market::Unknown,
        };
        Input::Admit(Box::new(Admit {
            received: received.clone(),
            market,
            no_older_entries,
            worker: self.worker.clone(),
        }))
    }

    async fn refuse(&self, received: &Arc<Received>, error: &JournalError) -> Result<Decision, EngineError> {
        tracing::error!(entry_id = %received.key.entry, %error, "a request cannot be journaled");
        let (client_order_id, order_id) = match &received.request {
            Request::Submit(spec) => (Some(spec.client_order_id.clone()), None),
            Request::Cancel(_) | Request::Trimmed => (None, None),
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
        let input = self.admission(&refused, &HashMap::new(), true);
        let decided = self.journal.transact(vec![input]).await?;
        decided
            .into_iter()
            .next()
            .unwrap_or(Ok(Decision { effect: Effect::Nothing, commits: Vec::new() }))
            .map_err(Into::into)
    }

    async fn markets(&self, requests: &[Arc<Received>]) -> Result<Markets, EngineError> {
        let wanted: BTreeSet<(BrokerName, Symbol)> = requests
            .iter()
            .filter_map(|received| match &received.request {
                Request::Submit(spec) => {
                    Some((self.rules.route(spec.broker.as_ref(), &spec.symbol), spec.symbol.clone()))
                }
                Request::Cancel(_) | Request::Refused(_) | Request::Trimmed => None,
            })
            .collect();
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

    /// Asks the broker for what is due, and records its answers in one transaction.
    pub async fn perform(&self, admitted: &mut Admitted) -> Result<(), EngineError> {
        if admitted.due.is_empty() {
            return Ok(());
        }
        let due = admitted.due.iter().map(|effect| effect.due.clone()).collect();
        let decided = match self.broker.answer(due).await {
            Ok(decided) => decided,
            Err(error) => {
                admitted.forget_markets();
                return Err(error.into());
            }
        };
        let asked = std::mem::take(&mut admitted.due);
        for (effect, decision) in asked.into_iter().zip(decided) {
            match decision {
                Ok(decision) => {
                    self.note_resting(&decision);
                    admitted.take(&effect.received, decision);
                }
                Err(error) => {
                    let order = effect.due.order();
                    tracing::error!(
                        order_id = %order.spec.id, client_order_id = %order.spec.client_order_id, %error,
                        "the broker's answer cannot be journaled; it will be asked again"
                    );
                    let wait = Wait::Undecided(order.spec.id);
                    admitted.waiting.push(Waiting { received: redelivered(&effect.received), wait });
                }
            }
        }
        Ok(())
    }

    /// Time passes before the broker answers; what it then goes by is read again.
    pub async fn pass_latency(&self, admitted: &mut Admitted) {
        let latency = self.broker.latency();
        if latency.is_zero() || admitted.due.is_empty() {
            return;
        }
        tokio::time::sleep(latency).await;
        admitted.forget_markets();
    }

    #[must_use]
    pub fn broker_takes_time(&self) -> bool {
        !self.broker.latency().is_zero()
    }

    fn note_resting(&self, decision: &Decision) {
        for commit in &decision.commits {
            if commit.after.state.status.is_working() {
                self.broker.rested(&commit.after.broker, &commit.after.spec.symbol);
            }
        }
    }

    /// Lets resting orders meet new quotes; what that did is to be published.
    pub async fn follow_quotes(&self) -> Result<Batch, EngineError> {
        let mut batch = Batch::default();
        for decision in self.broker.follow_quotes().await? {
            batch.take_commits(decision.commits);
        }
        Ok(batch)
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

type Markets = HashMap<(BrokerName, Symbol), Market>;

/// The journal may know it by now.
pub fn redelivered(received: &Arc<Received>) -> Arc<Received> {
    Arc::new(Received { deliveries: received.deliveries.max(2), ..(**received).clone() })
}

impl Admitted {
    fn take(&mut self, received: &Arc<Received>, decision: Decision) {
        self.batch.take_commits(decision.commits);
        match decision.effect {
            Effect::Execute { order, epoch } => {
                let due = Due::Submit { order, epoch, market: None };
                self.due.push(DueEffect { due, received: received.clone() });
            }
            Effect::ExecuteCancel { order } => {
                let (key, hash): (RequestKey, ContentHash) = (received.key.clone(), received.hash);
                self.due
                    .push(DueEffect { due: Due::Cancel { order, key, hash }, received: received.clone() });
            }
            Effect::Finish { outcome, order } => self.batch.finish(received, outcome, order),
            Effect::Wait(wait) => self.waiting.push(Waiting { received: redelivered(received), wait }),
            Effect::NextPage { .. } | Effect::Nothing => {}
        }
    }

    /// Time has passed: what the broker answers by is to be read again.
    fn forget_markets(&mut self) {
        for effect in &mut self.due {
            if let Due::Submit { market, .. } = &mut effect.due {
                *market = None;
            }
        }
    }

    /// The quotes were read a moment ago: an answer without latency goes by the same ones.
    fn reuse_markets(&mut self, markets: &Markets) {
        for effect in &mut self.due {
            if let Due::Submit { order, market, .. } = &mut effect.due {
                *market = markets.get(&(order.broker.clone(), order.spec.symbol.clone())).cloned();
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
}

impl Ended {
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.order.as_ref().map(|order| order.state.status)
    }
}
