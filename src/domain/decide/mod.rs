//! The second of the four steps: what happened, and what is due. Pure: the ledger brings the time, the
//! ids and all that is known; the shell performs what comes out.

mod admit;
mod cancel;
mod check;
mod venue_inputs;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ids::{BrokerName, OrderId, RequestKey, Symbol};
use super::ledger::{Commit, Keys, Ledger, RestingPage};
use super::market::Market;
use super::order::{ApplyError, ContentHash, Order};
use super::order_type::Side;
use super::request::{OrderRef, Outcome, OutcomeResult, Received, Request, RequestKind};
use super::venue::Venue;

/// Something that happened. The broker's answer is just another one.
#[derive(Debug, Clone)]
pub enum Input {
    /// A request came out of the inbox.
    Admit(Box<Admit>),
    /// The embedded venue is to answer the attempt that is journaled.
    Execute(Execute),
    /// The embedded venue is to carry out a cancel that is journaled.
    ExecuteCancel(ExecuteCancel),
    /// A symbol has a new quote: the orders that rest at the embedded venue may meet it.
    Quote(QuoteTick),
}

#[derive(Debug, Clone)]
pub struct Admit {
    pub received: Arc<Received>,
    /// For a submit: what its symbol is worth, read just before.
    pub market: Market,
    /// Every older entry has been admitted, or was waited for long enough: an order that the journal
    /// does not have now does not exist.
    pub no_older_entries: bool,
    pub worker: Arc<str>,
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
pub struct ExecuteCancel {
    pub order_id: OrderId,
    pub key: RequestKey,
    pub hash: ContentHash,
}

#[derive(Debug, Clone)]
pub struct QuoteTick {
    pub broker: BrokerName,
    pub symbol: Symbol,
    pub market: Market,
    /// Admission number of the last order that saw this quote already.
    pub after: u64,
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
    /// The embedded venue is to answer this attempt.
    Execute {
        order: Arc<Order>,
        epoch: u64,
    },
    /// The embedded venue is to cancel.
    ExecuteCancel {
        order: Arc<Order>,
    },
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
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Another request about the same order is under way, or another worker decides about it.
    Undecided(OrderId),
    /// The journal does not have the order; an older entry may still bring it.
    UnknownOrder,
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

    /// Adds what `input` needs to `keys`.
    pub fn keys(&self, input: &Input, keys: &mut Keys) {
        match input {
            Input::Admit(admit) => self.admit_keys(&admit.received, keys),
            Input::Execute(execute) => {
                keys.orders.push(execute.order_id);
                keys.instruments.push((execute.broker.clone(), execute.symbol.clone()));
            }
            Input::ExecuteCancel(cancel) => {
                keys.orders.push(cancel.order_id);
                keys.requests.push(cancel.key.clone());
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
        }
    }

    fn admit_keys(&self, received: &Received, keys: &mut Keys) {
        // Also of an entry that comes for the first time: Redis may have lost that it was delivered before.
        keys.requests.push(received.key.clone());
        match &received.request {
            Request::Submit(spec) => {
                keys.client_ids.push(spec.client_order_id.clone());
                keys.orders.push(spec.id);
                keys.instruments.push((self.route(spec.broker.as_ref(), &spec.symbol), spec.symbol.clone()));
            }
            Request::Cancel(OrderRef::Client(id)) => keys.client_ids.push(id.clone()),
            Request::Cancel(OrderRef::Order(id)) => keys.orders.push(*id),
            Request::Trimmed => keys.entries.push(received.key.clone()),
            Request::Refused(_) => {}
        }
    }

    /// Decides on one input, on top of all that was decided in this transaction before.
    pub fn decide(&self, ledger: &mut Ledger, input: &Input) -> Result<Decision, ApplyError> {
        match input {
            Input::Admit(admit) => match &admit.received.request {
                Request::Submit(spec) => self.admit_submit(ledger, admit, spec),
                Request::Cancel(order) => self.admit_cancel(ledger, admit, order),
                Request::Refused(refused) => Ok(admit::refuse(ledger, &admit.received, refused)),
                Request::Trimmed => self.admit_trimmed(ledger, admit),
            },
            Input::Execute(execute) => self.execute(ledger, execute),
            Input::ExecuteCancel(cancel) => execute_cancel(ledger, cancel),
            Input::Quote(tick) => self.quote(ledger, tick),
        }
    }
}

use cancel::execute_cancel;

impl Decision {
    fn effect(effect: Effect) -> Self {
        Self { effect, commits: Vec::new() }
    }

    fn finish(outcome: Outcome, order: Option<Arc<Order>>) -> Self {
        Self::effect(Effect::Finish { outcome, order })
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
