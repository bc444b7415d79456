//! Compares what the exchange did with what the journal, Redis and the outcomes say of it.
//!
//! It shares no code with the worker: what both had wrong in the same way would go unseen.

mod books;
mod facts;
mod limits;
mod orders;
mod published;
mod requests;
mod selfcheck;

use crate::producer::Sent;
use crate::profile::Profile;
use crate::stage::Stage;
pub(crate) use facts::TRADES;
use facts::{Journal, Ledger, Redis};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

pub(crate) use selfcheck::selfcheck;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Executed more than once, or more than was asked for; booked more than was executed.
    Double,
    /// A request without an end, an order nobody follows, an execution that is not booked.
    Loss,
    /// Something told that is not so.
    Lie,
    /// A second outcome for one request.
    Repeat,
    /// Positions or reservations that do not follow from orders and executions.
    Books,
    /// An attempt beyond its limits.
    Limits,
    /// The worker's own comparison of its projections with its events fails.
    Replay,
    /// Waits for a person although the profile lets the truth be found out.
    Parked,
    /// The run itself: a worker that fell over, a point that was not reached.
    Run,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::Double,
        Self::Loss,
        Self::Lie,
        Self::Repeat,
        Self::Books,
        Self::Limits,
        Self::Replay,
        Self::Parked,
        Self::Run,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Double => "doubles",
            Self::Loss => "losses",
            Self::Lie => "lies",
            Self::Repeat => "repeated",
            Self::Books => "books",
            Self::Limits => "limits",
            Self::Replay => "replay",
            Self::Parked => "wrongly-parked",
            Self::Run => "run",
        }
    }
}

/// What is told of one kind before the rest is only counted.
const TOLD: usize = 12;

#[derive(Default)]
pub(crate) struct Audit {
    found: BTreeMap<Fault, Vec<String>>,
    pub(crate) orders: usize,
    pub(crate) executions: usize,
    pub(crate) outcomes: usize,
    pub(crate) parked: usize,
}

impl Audit {
    pub(crate) fn add(&mut self, fault: Fault, what: impl Into<String>) {
        self.found.entry(fault).or_default().push(what.into());
    }

    /// What was found elsewhere, too.
    pub(crate) fn take(&mut self, other: Self) {
        for (fault, found) in other.found {
            self.found.entry(fault).or_default().extend(found);
        }
    }

    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.found.get(&fault).map_or(0, Vec::len)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// Something is wrong with what was done, not only with the run itself.
    pub(crate) fn tells_of_more_than_the_run(&self) -> bool {
        self.found.keys().any(|fault| *fault != Fault::Run)
    }

    /// Every counter in one line.
    pub(crate) fn summary(&self) -> String {
        let faults: Vec<String> =
            Fault::ALL.iter().map(|fault| format!("{} {}", fault.as_str(), self.count(*fault))).collect();
        format!(
            "orders {}, executions {}, outcomes {}, parked {}; {}",
            self.orders,
            self.executions,
            self.outcomes,
            self.parked,
            faults.join(", ")
        )
    }

    pub(crate) fn evidence(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (fault, found) in &self.found {
            lines.extend(found.iter().take(TOLD).map(|what| format!("{}: {what}", fault.as_str())));
            if found.len() > TOLD {
                lines.push(format!("{}: … and {} more", fault.as_str(), found.len() - TOLD));
            }
        }
        lines
    }
}

/// All that is compared.
struct Facts {
    profile: Profile,
    journal: Journal,
    /// `None`: the embedded simulator, whose executions are the journal's trades.
    ledger: Option<Ledger>,
    redis: Redis,
    sent: Vec<Sent>,
    /// How often Redis lost its data.
    losses: usize,
    executed: BTreeMap<String, Decimal>,
}

impl Facts {
    fn new(
        profile: Profile,
        journal: Journal,
        ledger: Option<Ledger>,
        redis: Redis,
        sent: Vec<Sent>,
        losses: usize,
    ) -> Self {
        let mut executed: BTreeMap<String, Decimal> = BTreeMap::new();
        // Every order, so that this also tells which the journal knows.
        for order in &journal.orders {
            let booked = journal.trades.get(&order.id).into_iter().flatten();
            executed.insert(order.client_order_id.clone(), booked.map(|trade| trade.quantity).sum());
        }
        if let Some(ledger) = &ledger {
            for (id, executed) in &mut executed {
                let generations = ledger.get(id).into_iter().flatten();
                *executed = generations.flat_map(|one| &one.executions).map(|trade| trade.quantity).sum();
            }
        }
        Self { profile, journal, ledger, redis, sent, losses, executed }
    }

    fn knows(&self, client_order_id: &str) -> bool {
        self.executed.contains_key(client_order_id)
    }

    /// What was really executed of an order.
    fn executed(&self, client_order_id: &str) -> Decimal {
        self.executed.get(client_order_id).copied().unwrap_or(Decimal::ZERO)
    }
}

/// Reads everything and judges it. The workers have ended, or are at rest.
pub(crate) async fn audit(stage: &Stage) -> Audit {
    try_audit(stage).await.unwrap_or_else(|why| {
        let mut audit = Audit::default();
        audit.add(Fault::Run, format!("it cannot be audited: {why}"));
        audit
    })
}

async fn try_audit(stage: &Stage) -> Result<Audit, String> {
    let mut conn = stage.journal().await.map_err(|e| e.to_string())?;
    let journal = Journal::read(&mut conn).await?;
    let ledger = match &stage.exchange {
        Some(exchange) => Some(facts::ledger(&exchange.lock().await.ledger().await?)?),
        None => None,
    };
    let redis = Redis::read(stage).await?;
    let (sent, losses) = {
        let producer = stage.producer.lock().await;
        (producer.sent.clone(), producer.losses)
    };
    let facts = Facts::new(stage.profile, journal, ledger, redis, sent, losses);
    let mut audit = judge(&facts);
    limits::judge(&mut conn, &mut audit).await?;
    let replay = stage.lab.cli(&["replay"]).await;
    if replay.code != 0 {
        let said = replay.said();
        let lines: Vec<&str> = said.lines().take(6).collect();
        audit.add(Fault::Replay, format!("exit code {}: {}", replay.code, lines.join(" | ")));
    }
    Ok(audit)
}

fn judge(facts: &Facts) -> Audit {
    let mut audit = Audit {
        orders: facts.journal.orders.len(),
        executions: facts.journal.trades.values().map(Vec::len).sum(),
        outcomes: facts.redis.outcomes.len(),
        parked: facts.journal.orders.iter().filter(|order| order.parked).count(),
        ..Audit::default()
    };
    orders::judge(facts, &mut audit);
    requests::judge(facts, &mut audit);
    published::judge(facts, &mut audit);
    books::judge(facts, &mut audit);
    audit
}
