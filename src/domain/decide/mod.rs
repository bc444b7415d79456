//! The second of the four steps: what happened, and what is due. Pure: the ledger brings the time, the
//! ids and all that is known; the shell performs what comes out.

mod admit;
mod attempt;
mod cancel;
mod check;
mod control;
mod facts;
mod judge;
mod replace;
mod resolve;
mod sweep;
mod venue_inputs;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::circuit::Breaker;
use super::contract::Contracts;
use super::event::Terms;
use super::ids::{BrokerName, OrderId, RequestKey, Symbol};
use super::ledger::{AttemptKind, Commit, Keys, Ledger, RestingPage};
use super::market::Market;
use super::order::{ApplyError, ContentHash, Order};
use super::order_type::Side;
use super::profile::Profile;
use super::refusal::Refusal;
use super::report::{Answer, Finding};
use super::request::{OrderRef, Outcome, OutcomeResult, Received, Request, RequestKind};
use super::time::Timestamp;
use super::venue::Venue;

pub use control::{SetLimits, SwitchTo};
pub use facts::{Facts, Told};
pub use resolve::{HandFill, Resolve, Verdict};
pub use sweep::SWEEP_PAGE;
pub use watch::Watch;

/// Something that happened. The broker's answer is just another one.
#[derive(Debug, Clone)]
pub enum Input {
    /// A request came out of the inbox, or is taken up again.
    Admit(Box<Admit>),
    /// The embedded venue is to answer the attempt that is journaled.
    Execute(Execute),
    /// The embedded venue is to carry out a command that is journaled.
    ExecuteCommand(ExecuteCommand),
    /// A symbol has a new quote: the orders that rest at the embedded venue may meet it.
    Quote(QuoteTick),
    /// A broker answered what it was asked.
    Answered(Box<Answered>),
    /// A broker's books were looked at for an attempt whose answer is unknown.
    Looked(Box<Looked>),
    /// A broker's feed, or a comparison with its books, tells of orders.
    Facts(Box<Facts>),
    /// A person says what became of a parked order.
    Resolve(Box<Resolve>),
    /// A person uses the kill switch.
    Switch(Box<SwitchTo>),
    /// A person, or the first worker of all, sets the limits.
    SetLimits(Box<SetLimits>),
    /// What is held is worth something else by now: some limits go by that, whether anybody trades or not.
    Watch(Box<Watch>),
}

/// What brokers and markets are like while a request is decided on.
#[derive(Debug, Clone)]
pub struct View {
    /// For a submit: what its symbol is worth, read just before.
    pub market: Market,
    /// By how much each broker's clock is ahead of the worker's; one that is not in here has the journal's.
    pub clocks: Arc<BTreeMap<BrokerName, i64>>,
    pub worker: Arc<str>,
}

impl View {
    /// What the broker's clock shows at the ledger's instant. A broker's own clock was compared with the worker's; the
    /// journal's, on another machine, says nothing about it.
    fn broker_time(&self, broker: &BrokerName, ledger: &Ledger) -> Timestamp {
        self.clocks.get(broker).map_or(ledger.now, |ahead_us| ledger.worker_now.plus_micros(*ahead_us))
    }
}

#[derive(Debug, Clone)]
pub struct Admit {
    pub received: Arc<Received>,
    /// Every older entry has been admitted, or was waited for long enough: an order that the journal
    /// does not have now does not exist.
    pub no_older_entries: bool,
    pub view: View,
}

#[derive(Debug, Clone)]
pub struct Execute {
    pub order_id: OrderId,
    pub broker: BrokerName,
    pub symbol: Symbol,
    pub epoch: u64,
    pub market: Market,
}

#[derive(Debug, Clone)]
pub struct ExecuteCommand {
    pub order_id: OrderId,
    pub broker: BrokerName,
    pub symbol: Symbol,
    /// The request that it is an attempt of.
    pub key: RequestKey,
    pub hash: ContentHash,
    /// New terms, for a replace; a cancel has none.
    pub replace: Option<Market>,
}

#[derive(Debug, Clone)]
pub struct QuoteTick {
    pub broker: BrokerName,
    pub symbol: Symbol,
    pub market: Market,
    /// Admission number of the last order that saw this quote already.
    pub after: u64,
}

#[derive(Debug, Clone)]
pub struct Answered {
    pub order_id: OrderId,
    /// Of the order's lease when the attempt was journaled.
    pub epoch: u64,
    pub kind: AttemptKind,
    /// See `AttemptRecord`.
    pub number: u64,
    /// A replace that may have been sent before.
    pub resent: bool,
    pub answer: Answer,
    /// The request that it is an attempt of.
    pub key: RequestKey,
    pub hash: ContentHash,
    pub view: View,
}

#[derive(Debug, Clone)]
pub struct Looked {
    pub order_id: OrderId,
    pub epoch: u64,
    pub kind: AttemptKind,
    pub number: u64,
    pub finding: Finding,
    pub key: RequestKey,
    pub hash: ContentHash,
    pub view: View,
}

/// What was decided on one input: appended by now, if the transaction commits.
#[derive(Debug, Clone)]
pub struct Decision {
    pub effect: Effect,
    pub commits: Vec<Arc<Commit>>,
}

/// The one thing that is due next.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The attempt that is journaled is to be handed to the order's broker.
    Submit {
        order: Arc<Order>,
        epoch: u64,
    },
    /// The broker is to be asked to cancel.
    Cancel {
        order: Arc<Order>,
        epoch: u64,
        number: u64,
    },
    /// The broker is to be asked for new terms, no sooner than `after_us` from now.
    Replace {
        order: Arc<Order>,
        epoch: u64,
        number: u64,
        terms: Terms,
        after_us: i64,
        /// It may have been sent before: that this call does nothing then proves nothing.
        resent: bool,
    },
    /// The broker's books are to be looked at for what became of an attempt.
    Look {
        order: Arc<Order>,
        epoch: u64,
        kind: AttemptKind,
        number: u64,
    },
    /// Several orders of one `cancel_all` are to be cancelled; then it is to be decided on again.
    CancelMany(Vec<CancelOne>),
    /// The request has ended; `order` as it stands.
    Finish {
        outcome: Outcome,
        order: Option<Arc<Order>>,
    },
    /// The request waits: come back with it.
    Wait(Wait),
    /// A page of resting orders is done; more orders follow after this one.
    NextPage {
        after: u64,
    },
    /// What a person asked for cannot be done.
    Refused(Refusal),
    Nothing,
}

#[derive(Debug, Clone)]
pub struct CancelOne {
    pub order: Arc<Order>,
    pub epoch: u64,
    pub number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Another request about the same order is under way, or another worker decides about it.
    Undecided(OrderId),
    /// The journal does not have the order; an older entry may still bring it.
    OlderEntries,
    /// There is nothing to do until about so much time has passed.
    Later { us: i64 },
}

/// What the decisions go by; the same on every worker.
#[derive(Debug, Clone)]
pub struct Rules {
    pub default_broker: BrokerName,
    /// First match wins. `*` in a pattern stands for any characters, or none.
    pub routes: Vec<(Vec<String>, BrokerName)>,
    /// Names that an order may ask for.
    pub brokers: BTreeSet<BrokerName>,
    /// The simulated broker, which works every order in mock mode.
    pub venue: Venue,
    /// What fills come to in money.
    pub contracts: Arc<Contracts>,
    /// Of the broker that works the orders; `None`: its circuit never opens.
    pub breaker: Option<Breaker>,
    /// Of the broker that works the orders.
    pub profile: Profile,
    /// For so long what provably was not executed is sent again.
    pub retry_us: i64,
    pub max_quote_age_us: i64,
    /// From 00:00 UTC.
    pub session_start_us: i64,
    pub max_request_age_us: Option<i64>,
    /// A request that was begun so often without anything journaled of it is given up.
    pub max_deliveries: u32,
    /// How long a worker may decide about an order before another may take it over.
    pub lease_us: i64,
}

/// Orders of one page of resting orders.
pub const RESTING_PAGE: u32 = 500;

impl Rules {
    /// The broker that an order goes to: the one it names, else the first route, else the default.
    #[must_use]
    pub fn route(&self, asked: Option<&BrokerName>, symbol: &Symbol) -> BrokerName {
        let routed = || {
            let matches = |pattern: &String| matches(pattern, symbol.as_str());
            self.routes
                .iter()
                .find(|(patterns, _)| patterns.iter().any(matches))
                .map(|(_, broker)| broker.clone())
        };
        asked.cloned().or_else(routed).unwrap_or_else(|| self.default_broker.clone())
    }

    /// What the broker of these orders promises.
    #[must_use]
    pub fn profile(&self, _broker: &BrokerName) -> Profile {
        // In mock mode the simulated broker works every order, whatever broker it names.
        self.profile
    }

    /// Adds what `input` needs to `keys`.
    pub fn keys(&self, input: &Input, keys: &mut Keys) {
        match input {
            Input::Admit(admit) => self.admit_keys(&admit.received, keys),
            Input::Execute(execute) => {
                keys.orders.push(execute.order_id);
                keys.instruments.push((execute.broker.clone(), execute.symbol.clone()));
            }
            Input::ExecuteCommand(command) => {
                keys.orders.push(command.order_id);
                keys.requests.push(command.key.clone());
                keys.instruments.push((command.broker.clone(), command.symbol.clone()));
            }
            Input::Quote(tick) => {
                keys.instruments.push((tick.broker.clone(), tick.symbol.clone()));
                keys.resting.push(RestingPage {
                    broker: tick.broker.clone(),
                    symbol: tick.symbol.clone(),
                    after: tick.after,
                    limit: RESTING_PAGE,
                });
            }
            Input::Answered(answered) => {
                keys.with_trades.push(OrderRef::Order(answered.order_id));
                keys.requests.push(answered.key.clone());
                if matches!(answered.answer, Answer::NotSent(_) | Answer::Unknown(_)) {
                    keys.failures_within_us = self.breaker.map(|breaker| breaker.window_us);
                }
            }
            Input::Looked(looked) => {
                keys.with_trades.push(OrderRef::Order(looked.order_id));
                keys.requests.push(looked.key.clone());
            }
            Input::Facts(facts) => keys.with_trades.extend(facts.told.iter().map(|told| told.order.clone())),
            Input::Resolve(resolve) => keys.with_trades.push(resolve.order.clone()),
            Input::Switch(_) | Input::SetLimits(_) => keys.control = true,
            Input::Watch(watch) => {
                keys.instruments.extend(watch.markets.iter().map(|(b, s, _)| (b.clone(), s.clone())));
                keys.strategies.extend(watch.strategies.iter().cloned());
            }
        }
    }

    fn admit_keys(&self, received: &Arc<Received>, keys: &mut Keys) {
        // Also of an entry that comes for the first time: Redis may have lost that it was delivered before.
        keys.requests.push(received.key.clone());
        match &received.request {
            Request::Submit(spec) => {
                keys.client_ids.push(spec.client_order_id.clone());
                keys.orders.push(spec.id);
                keys.instruments.push((self.route(spec.broker.as_ref(), &spec.symbol), spec.symbol.clone()));
                keys.submitted.push(received.clone());
            }
            Request::Cancel(OrderRef::Client(id)) => keys.client_ids.push(id.clone()),
            Request::Cancel(OrderRef::Order(id)) => keys.orders.push(*id),
            Request::Replace(replace) => keys.client_ids.push(replace.client_order_id.clone()),
            Request::CancelAll(filter) => {
                keys.matching.push((received.key.clone(), received.hash, (**filter).clone()))
            }
            Request::Trimmed | Request::Journaled(_) | Request::Refused(_) => {
                keys.entries.push(received.key.clone());
            }
        }
    }

    /// Decides on one input, on top of all that was decided in this transaction before.
    pub fn decide(&self, ledger: &mut Ledger, input: &Input) -> Result<Decision, ApplyError> {
        ledger.contracts = self.contracts.clone();
        let decision = self.decide_on(ledger, input)?;
        if let Input::Answered(answered) = input {
            self.note_call(ledger, answered);
        }
        self.watch_fills(ledger);
        Ok(decision)
    }

    fn decide_on(&self, ledger: &mut Ledger, input: &Input) -> Result<Decision, ApplyError> {
        match input {
            Input::Admit(admit) => match &admit.received.request {
                Request::Submit(spec) => self.admit_submit(ledger, admit, spec),
                Request::Cancel(order) => self.admit_cancel(ledger, admit, order),
                Request::CancelAll(filter) => self.admit_cancel_all(ledger, admit, Some(filter)),
                Request::Replace(replace) => self.admit_replace(ledger, admit, replace),
                Request::Refused(refused) => Ok(admit::refuse(ledger, &admit.received, refused)),
                Request::Trimmed | Request::Journaled(_) => self.admit_journaled(ledger, admit),
            },
            Input::Execute(execute) => self.execute(ledger, execute),
            Input::ExecuteCommand(command) => self.execute_command(ledger, command),
            Input::Quote(tick) => self.quote(ledger, tick),
            Input::Answered(answered) => match answered.kind {
                AttemptKind::Submit => self.submit_answered(ledger, answered),
                AttemptKind::Cancel => self.cancel_answered(ledger, answered),
                AttemptKind::Replace => self.replace_answered(ledger, answered),
            },
            Input::Looked(looked) => match looked.kind {
                AttemptKind::Replace => self.replace_looked(ledger, looked),
                AttemptKind::Submit | AttemptKind::Cancel => self.submit_looked(ledger, looked),
            },
            Input::Facts(facts) => Ok(facts::merge(ledger, facts)),
            Input::Resolve(resolve) => resolve::resolve(ledger, resolve),
            Input::Switch(switch) => Ok(control::switch(ledger, switch)),
            Input::SetLimits(set) => Ok(control::set_limits(ledger, set)),
            Input::Watch(watch) => Ok(self.watch(ledger, watch)),
        }
    }

    /// The right to decide about an order: its epoch where this worker has it or may take it.
    fn take_lease(&self, ledger: &mut Ledger, id: OrderId, worker: &Arc<str>) -> Option<u64> {
        let now = ledger.now;
        let record = ledger.orders.get_mut(&id)?;
        let left = record.lease.until.micros_since(now);
        if record.lease.owner != *worker {
            if left > 0 {
                return None;
            }
            record.lease.owner = worker.clone();
            record.lease.epoch += 1;
        } else if left > self.lease_us / 2 {
            return Some(record.lease.epoch);
        }
        record.lease.until = now.plus_micros(self.lease_us);
        let epoch = record.lease.epoch;
        ledger.changes.changed_orders.insert(id);
        Some(epoch)
    }

    /// The same for a new attempt at an order about which nothing is undecided: whoever had it is done.
    /// It lasts so much longer as the attempt is made later.
    fn seize_lease(&self, ledger: &mut Ledger, id: OrderId, worker: &Arc<str>, after_us: i64) -> u64 {
        let until = ledger.now.plus_micros(self.lease_us.saturating_add(after_us));
        let Some(record) = ledger.orders.get_mut(&id) else { return 0 };
        record.lease = super::ledger::Lease { owner: worker.clone(), epoch: record.lease.epoch + 1, until };
        ledger.changes.changed_orders.insert(id);
        record.lease.epoch
    }
}

impl Decision {
    fn effect(effect: Effect) -> Self {
        Self { effect, commits: Vec::new() }
    }

    fn finish(outcome: Outcome, order: Option<Arc<Order>>) -> Self {
        Self::effect(Effect::Finish { outcome, order })
    }

    fn wait(wait: Wait) -> Self {
        Self::effect(Effect::Wait(wait))
    }

    /// After what was committed on the way to it.
    fn after(mut self, mut commits: Vec<Arc<Commit>>) -> Self {
        commits.append(&mut self.commits);
        Self { commits, ..self }
    }
}

/// Ends a request: journals its outcome and returns it.
fn conclude(
    ledger: &mut Ledger,
    key: &RequestKey,
    hash: ContentHash,
    request: RequestKind,
    order: Option<&Order>,
    result: OutcomeResult,
) -> Outcome {
    let outcome = Outcome {
        key: key.clone(),
        hash,
        request,
        order_id: order.map(|order| order.spec.id),
        client_order_id: order.map(|order| order.spec.client_order_id.clone()),
        result,
        order_version: order.map_or(0, |order| order.state.version),
        timestamp: ledger.now,
    };
    ledger.conclude(outcome.clone());
    outcome
}

/// Whether `text` is what `pattern` describes, `*` standing for any characters, or none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or("");
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

/// The sizes of a quote that are spent, by the side of the order that took them.
type SpentKey = (BrokerName, Symbol, Side);

#[cfg(test)]
mod tests;
