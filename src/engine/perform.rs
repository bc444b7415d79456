//! The fourth of the four steps: what is due is asked of a broker, and its answer is the next input.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::crash::{self, Point};
use crate::domain::decide::{Answered, CancelOne, Decision, Effect, Input, Looked, Wait};
use crate::domain::event::{Deadline, Terms};
use crate::domain::ids::BrokerName;
use crate::domain::ledger::AttemptKind;
use crate::domain::market::Market;
use crate::domain::order::Order;
use crate::domain::report::{Answer, NotSent};
use crate::domain::request::Received;
use crate::domain::risk::RiskApproved;
use crate::planted::{self, Bug};
use crate::ports::broker::{Broker, Due as EmbeddedDue, DueWhat, EmbeddedBroker, Replacing, Submission};

use super::{Admitted, Batch, Engine, EngineError, Waiting, redelivered};

/// Before what could not be recorded or looked up is tried again.
const PAUSE_US: i64 = 250_000;

/// The way to the broker that works the orders.
#[derive(Clone)]
pub enum Link {
    /// It answers inside the recording transaction.
    Embedded(Arc<dyn EmbeddedBroker>),
    /// It has books of its own. So many calls may be under way.
    Remote(Arc<dyn Broker>, Arc<Semaphore>),
}

/// A request whose effect is due.
#[derive(Debug, Clone)]
pub struct Due {
    pub received: Arc<Received>,
    pub(super) effect: Effect,
    /// Read a moment ago; `None`: to be read again.
    pub(super) market: Option<Market>,
}

impl Due {
    /// What the broker is asked, for the metrics.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        match &self.effect {
            Effect::Cancel { .. } | Effect::CancelMany(_) => "cancel",
            Effect::Replace { .. } => "replace",
            Effect::Look { .. } => "query",
            Effect::Submit { .. }
            | Effect::Finish { .. }
            | Effect::Wait(_)
            | Effect::NextPage { .. }
            | Effect::Refused(_)
            | Effect::Nothing => "submit",
        }
    }
}

/// What came of asking: the next inputs about a request.
#[derive(Debug)]
pub struct Reply {
    received: Arc<Received>,
    inputs: Vec<Input>,
}

impl Reply {
    /// What went wrong, for the metrics.
    #[must_use]
    pub fn failure(&self) -> Option<&'static str> {
        let Some(input) = self.inputs.first() else { return Some("unreachable") };
        match input {
            Input::Answered(answered) => match &answered.answer {
                Answer::Accepted(_) => None,
                Answer::Rejected(_) => Some("rejected"),
                Answer::NotSent(_) => Some("not_sent"),
                Answer::Unknown(_) => Some("unknown"),
            },
            _ => None,
        }
    }
}

impl Engine {
    #[must_use]
    pub fn remote(&self) -> Option<&Arc<dyn Broker>> {
        match &self.broker {
            Link::Remote(broker, _) => Some(broker),
            Link::Embedded(_) => None,
        }
    }

    /// By how much the brokers' clocks are ahead of ours.
    pub(super) fn clocks(&self) -> Arc<BTreeMap<BrokerName, i64>> {
        let Some(broker) = self.remote() else { return Arc::default() };
        let offset = broker.clock_offset_us();
        Arc::new(self.rules.brokers.iter().map(|name| (name.clone(), offset)).collect())
    }

    // ---- the embedded broker

    /// Asks the embedded broker for all that is due, in one transaction.
    pub async fn perform(&self, admitted: &mut Admitted) -> Result<(), EngineError> {
        let Link::Embedded(broker) = &self.broker else { return Ok(()) };
        if admitted.due.is_empty() {
            return Ok(());
        }
        let (asked, due): (Vec<_>, Vec<_>) = admitted.due.iter().flat_map(embedded).unzip();
        let decided = match broker.answer(due).await {
            Ok(decided) => decided,
            Err(error) => {
                admitted.forget_markets();
                return Err(error.into());
            }
        };
        admitted.due.clear();
        for (received, decision) in asked.iter().zip(decided) {
            match decision {
                Ok(decision) => {
                    note_resting(broker, &decision);
                    admitted.take(received, decision);
                }
                Err(error) => {
                    tracing::error!(entry_id = %received.key.entry, %error, "the broker's answer cannot be journaled; it will be asked again");
                    admitted.wait(received, Wait::Later { us: PAUSE_US });
                }
            }
        }
        Ok(())
    }

    /// Time passes before the embedded broker answers; what it then goes by is read again.
    pub async fn pass_latency(&self, admitted: &mut Admitted) {
        let latency = self.latency();
        // What was asked before has waited, in whoever's hands: a lease must not run out over it again and again.
        let is_new = |due: &Due| due.received.deliveries < 2;
        if latency.is_zero() || !admitted.due.iter().any(is_new) {
            return;
        }
        tokio::time::sleep(latency).await;
        admitted.forget_markets();
    }

    #[must_use]
    pub fn latency(&self) -> Duration {
        match &self.broker {
            Link::Embedded(broker) => broker.latency(),
            Link::Remote(..) => Duration::ZERO,
        }
    }

    /// Lets resting orders meet new quotes; what that did is to be published.
    pub async fn follow_quotes(&self) -> Result<Batch, EngineError> {
        let mut batch = Batch::default();
        if let Link::Embedded(broker) = &self.broker {
            for decision in broker.follow_quotes().await? {
                batch.take_commits(decision.commits);
            }
        }
        Ok(batch)
    }

    // ---- brokers with books of their own

    /// Asks a remote broker for one thing that is due. Whatever comes of it is in the reply.
    pub async fn ask(&self, due: Due) -> Reply {
        let received = due.received;
        let Link::Remote(broker, calls) = &self.broker else { return Reply { received, inputs: Vec::new() } };
        let inputs = match due.effect {
            Effect::Submit { order, epoch } => {
                let number = order.state.open_attempt.as_ref().map_or(0, |open| u64::from(open.number));
                let answer = {
                    let _permit = calls.acquire().await;
                    crash::point(Point::SubmitSendBefore);
                    submit(broker, &order, epoch, self.deadline(&order)).await
                };
                crash::point(Point::SubmitAnswered);
                let asked = (AttemptKind::Submit, number, false);
                vec![self.answered(&received, &order, epoch, asked, answer, Market::Unknown)]
            }
            Effect::Cancel { order, epoch, number } => {
                let _permit = calls.acquire().await;
                crash::point(Point::CancelSendBefore);
                let answer = broker.cancel(&order).await;
                crash::point(Point::CancelAnswered);
                let asked = (AttemptKind::Cancel, number, false);
                vec![self.answered(&received, &order, epoch, asked, answer, Market::Unknown)]
            }
            Effect::Replace { order, epoch, number, terms, after_us, resent } => {
                tokio::time::sleep(Duration::from_micros(u64::try_from(after_us).unwrap_or(0))).await;
                let _permit = calls.acquire().await;
                crash::point(Point::ReplaceSendBefore);
                let answer = replace(broker, &order, number, &terms).await;
                crash::point(Point::ReplaceAnswered);
                // Another attempt may follow at once: it is judged by the prices of now.
                let market = match &answer {
                    Answer::NotSent(_) => self.market_of(&order).await,
                    Answer::Accepted(_) | Answer::Rejected(_) | Answer::Unknown(_) => Market::Unknown,
                };
                let asked = (AttemptKind::Replace, number, resent);
                vec![self.answered(&received, &order, epoch, asked, answer, market)]
            }
            Effect::Look { order, epoch, kind, number } => {
                let _permit = calls.acquire().await;
                self.look(broker, &received, &order, epoch, kind, number).await
            }
            Effect::CancelMany(orders) => {
                let asked = orders.into_iter().map(|one| self.cancel_one(broker, calls, &received, one));
                futures_util::future::join_all(asked).await
            }
            Effect::Finish { .. }
            | Effect::Wait(_)
            | Effect::NextPage { .. }
            | Effect::Refused(_)
            | Effect::Nothing => Vec::new(),
        };
        Reply { received, inputs }
    }

    /// The one that was journaled with the attempt.
    fn deadline(&self, order: &Order) -> Option<Deadline> {
        if planted::is(Bug::DeadlineAtSend) {
            let ahead_us = self.clocks().get(&order.broker).copied().unwrap_or(0);
            return self.rules.profile(&order.broker).deadline(self.clock.now().plus_micros(ahead_us));
        }
        order.state.open_attempt.as_ref().and_then(|open| open.deadline)
    }

    async fn cancel_one(
        &self,
        broker: &Arc<dyn Broker>,
        calls: &Semaphore,
        received: &Arc<Received>,
        one: CancelOne,
    ) -> Input {
        let _permit = calls.acquire().await;
        crash::point(Point::CancelSendBefore);
        let answer = broker.cancel(&one.order).await;
        crash::point(Point::CancelAnswered);
        let asked = (AttemptKind::Cancel, one.number, false);
        self.answered(received, &one.order, one.epoch, asked, answer, Market::Unknown)
    }

    async fn look(
        &self,
        broker: &Arc<dyn Broker>,
        received: &Arc<Received>,
        order: &Order,
        epoch: u64,
        kind: AttemptKind,
        number: u64,
    ) -> Vec<Input> {
        let finding = match broker.query(order).await {
            Ok(finding) => finding,
            Err(error) => {
                tracing::warn!(order_id = %order.spec.id, %error, "the broker's books cannot be looked at; trying again");
                return Vec::new();
            }
        };
        crash::point(Point::LookAnswered);
        // A new attempt may follow from what was not found: it is judged by the prices of now.
        let market = match (&finding.reports, kind) {
            (Some(_), AttemptKind::Submit | AttemptKind::Cancel) => Market::Unknown,
            // Of a replace the books show the order, under whichever terms.
            (None, _) | (_, AttemptKind::Replace) => self.market_of(order).await,
        };
        vec![Input::Looked(Box::new(Looked {
            order_id: order.spec.id,
            epoch,
            kind,
            number,
            finding,
            key: received.key.clone(),
            hash: received.hash,
            view: self.view(market, &self.clocks()),
        }))]
    }

    async fn market_of(&self, order: &Order) -> Market {
        let wanted = BTreeSet::from([(order.broker.clone(), order.spec.symbol.clone())]);
        let markets = self.markets(wanted).await;
        markets.ok().and_then(|markets| markets.into_values().next()).unwrap_or(Market::Unknown)
    }

    fn answered(
        &self,
        received: &Arc<Received>,
        order: &Order,
        epoch: u64,
        (kind, number, resent): (AttemptKind, u64, bool),
        answer: Answer,
        market: Market,
    ) -> Input {
        log_answer(order, kind, &answer);
        Input::Answered(Box::new(Answered {
            order_id: order.spec.id,
            epoch,
            kind,
            number,
            resent,
            answer,
            key: received.key.clone(),
            hash: received.hash,
            view: self.view(market, &self.clocks()),
        }))
    }

    /// Records what brokers answered, in one transaction, and says what is due next.
    pub async fn record(&self, replies: &[Reply]) -> Result<Admitted, EngineError> {
        let inputs = replies.iter().flat_map(|reply| reply.inputs.iter().cloned()).collect();
        let mut decided = self.journal.transact(inputs).await?.into_iter();
        let mut admitted = Admitted::default();
        for reply in replies {
            if reply.inputs.is_empty() {
                admitted.wait(&reply.received, Wait::Later { us: PAUSE_US });
            }
            for decision in decided.by_ref().take(reply.inputs.len()) {
                match decision {
                    Ok(decision) => admitted.take(&reply.received, decision),
                    Err(error) => {
                        let entry_id = reply.received.key.entry;
                        tracing::error!(%entry_id, %error, "ALARM: a broker's answer cannot be journaled");
                        admitted.wait(&reply.received, Wait::Later { us: PAUSE_US });
                    }
                }
            }
        }
        Ok(admitted)
    }

    /// A request that the journal has and nobody works on, taken up again.
    #[must_use]
    pub fn waiting_now(received: &Arc<Received>) -> Waiting {
        Waiting { received: redelivered(received), wait: Wait::Later { us: 0 } }
    }
}

async fn submit(broker: &Arc<dyn Broker>, order: &Order, epoch: u64, deadline: Option<Deadline>) -> Answer {
    match RiskApproved::journaled(order) {
        Some(approved) => broker.submit(Submission { order: approved, epoch, deadline }).await,
        None => {
            let why = format!("its attempt is not journaled: it is {}", order.state.status);
            Answer::NotSent(NotSent { why, retry_after_us: None, unreachable: false })
        }
    }
}

async fn replace(broker: &Arc<dyn Broker>, order: &Order, number: u64, terms: &Terms) -> Answer {
    let deadline = order.state.pending_replace.as_ref().and_then(|pending| pending.deadline);
    match RiskApproved::replacing(order, number) {
        Some(order) => broker.replace(Replacing { order, number, terms, deadline }).await,
        None => {
            let why = format!("replace {number} is not journaled");
            Answer::NotSent(NotSent { why, retry_after_us: None, unreachable: false })
        }
    }
}

fn log_answer(order: &Order, kind: AttemptKind, answer: &Answer) {
    let (order_id, attempt) = (order.spec.id, kind.as_str());
    match answer {
        Answer::Accepted(_) | Answer::Rejected(_) => {}
        Answer::NotSent(not_sent) => {
            tracing::warn!(%order_id, attempt, why = not_sent.why, "the broker did not take it");
        }
        Answer::Unknown(why) => {
            tracing::warn!(%order_id, attempt, why, "whether the broker took it is not known; finding out");
        }
    }
}

/// What is due, as the embedded broker is asked for it.
fn embedded(due: &Due) -> Vec<(Arc<Received>, EmbeddedDue)> {
    let (key, hash) = (&due.received.key, due.received.hash);
    let ask = |order: &Arc<Order>, what| {
        (due.received.clone(), EmbeddedDue { order: order.clone(), what, market: due.market.clone() })
    };
    match &due.effect {
        Effect::Submit { order, epoch } => vec![ask(order, DueWhat::Submit { epoch: *epoch })],
        Effect::Cancel { order, .. } => vec![ask(order, DueWhat::Cancel { key: key.clone(), hash })],
        Effect::Replace { order, .. } => vec![ask(order, DueWhat::Replace { key: key.clone(), hash })],
        Effect::CancelMany(orders) => {
            orders.iter().map(|one| ask(&one.order, DueWhat::Cancel { key: key.clone(), hash })).collect()
        }
        Effect::Look { .. }
        | Effect::Finish { .. }
        | Effect::Wait(_)
        | Effect::NextPage { .. }
        | Effect::Refused(_)
        | Effect::Nothing => Vec::new(),
    }
}

fn note_resting(broker: &Arc<dyn EmbeddedBroker>, decision: &Decision) {
    for commit in &decision.commits {
        if commit.after.state.status.is_working() {
            broker.rested(&commit.after.broker, &commit.after.spec.symbol);
        }
    }
}
