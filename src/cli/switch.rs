//! `halt`, `reduce-only`, `resume`: the kill switch

use std::sync::Arc;
use std::time::Duration;

use crate::adapters::clock::SystemClock;
use crate::app::{self, AppError};
use crate::domain::control::ControlEvent;
use crate::domain::decide::{Input, SwitchTo};
use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::request::CancelFilter;
use crate::domain::trading_state::{Scope, TradingState};
use crate::ports::clock::Clock;
use crate::ports::journal::{Journal, JournalError, JournalReader, OrderFilter};
use crate::ports::publisher::{Published, Publisher as _};

use tokio::time::Instant;

use super::fields::Fields;
use super::request::{self, Request, Waiting};
use super::{Call, Ending, journal, print, resolve};

pub(super) const HALT_EXAMPLES: &str = "Examples:
  order-execution halt --why 'prices look wrong'
  order-execution halt --symbol BTCUSDT --cancel-open --wait
  order-execution halt --strategy-id momentum --by ann --why 'runaway'

Asks nothing. In force for every attempt that any worker journals after this command has ended, later
attempts of earlier orders included; cancels always pass. Orders that are open stay so, unless
--cancel-open asks for them to be cancelled. It is kept in the journal: it survives restarts, and a
Redis that is away or lost.
Exit codes: 0 in force (with --cancel-open --wait: and each open order is cancelled), 1 one or more
could not be cancelled, 2 wrong usage, 4 the journal is unreachable: nothing is switched; or Redis
is, so that the open orders cannot be cancelled.";

pub(super) const REDUCE_ONLY_EXAMPLES: &str = "Examples:
  order-execution reduce-only --why 'winding down'
  order-execution reduce-only --broker binance_spot --cancel-open

From now on only what shrinks a journaled position passes, and never beyond zero, even with all open
orders of its side filled; cancels always pass. Otherwise like halt.
Exit codes: as halt.";

pub(super) const RESUME_EXAMPLES: &str = "Examples:
  order-execution resume --why 'prices are right again'
  order-execution resume --symbol BTCUSDT

Lifts what was set for this very scope, by a person or by a breach; what is set for others holds on and is told.
Exit codes: 0 done, 2 wrong usage, 4 the journal is unreachable.";

/// A busy journal is asked again for so long.
const TRIED_FOR: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Telling on Redis is worth so long a wait; a worker tells where this does not.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// Changes told at a time.
const TOLD: u32 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Scoped {
    /// Only this symbol
    #[arg(long, conflicts_with = "broker")]
    symbol: Option<Symbol>,
    /// Only this broker
    #[arg(long, conflicts_with = "strategy_id")]
    broker: Option<BrokerName>,
    /// Only this strategy; with --symbol: only what it does there
    #[arg(long, value_name = "ID")]
    strategy_id: Option<String>,
    /// Who does it [default: the user of this process]
    #[arg(long, value_name = "WHO", value_parser = resolve::name)]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = resolve::reason, default_value = "by hand")]
    why: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    #[command(flatten)]
    scoped: Scoped,
    /// Ask for every open order in the scope to be cancelled, too
    #[arg(long)]
    cancel_open: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Scoped {
    fn scope(&self) -> Scope {
        match (&self.symbol, &self.broker, &self.strategy_id) {
            (Some(symbol), _, Some(id)) => Scope::StrategySymbol(id.as_str().into(), symbol.clone()),
            (Some(symbol), _, None) => Scope::Symbol(symbol.clone()),
            (_, Some(broker), _) => Scope::Broker(broker.clone()),
            (_, _, Some(id)) => Scope::StrategyId(id.as_str().into()),
            (None, None, None) => Scope::All,
        }
    }
}

/// `halt` and `reduce-only`
pub(super) async fn stop(call: &Call, state: TradingState, stop: &Stop) -> Result<Ending, AppError> {
    if !stop.cancel_open && stop.waiting.patience().is_some() {
        return Err(AppError::Usage("--wait waits for the orders of --cancel-open: give both".to_owned()));
    }
    set(call, state, &stop.scoped).await?;
    if !stop.cancel_open {
        return Ok(Ending::Done);
    }
    let filter = stop.scoped.scope().filter();
    let mut fields = Fields::default();
    fields.put_some("symbol", filter.symbol.as_ref());
    fields.put_some("broker", filter.broker.as_ref());
    fields.put_some("strategy_id", filter.strategy_id.as_ref());
    let request = Request {
        field: "cancel_all",
        json: fields.to_string(),
        id: None,
        client_order_id: None,
        made_id: None,
    };
    request::run(call, &request, &stop.waiting).await.inspect_err(|_| {
        print::note(
            "the switch is in force, but the open orders were not asked to be cancelled: try `cancel-all`",
        );
    })
}

pub(super) async fn resume(call: &Call, scoped: &Scoped) -> Result<Ending, AppError> {
    set(call, TradingState::Active, scoped).await.map(|()| Ending::Done)
}

async fn set(call: &Call, state: TradingState, scoped: &Scoped) -> Result<(), AppError> {
    let scope = scoped.scope();
    let by = scoped.by.clone().unwrap_or_else(user);
    let to = SwitchTo { scope: scope.clone(), state, by, why: scoped.why.clone() };
    if let Scope::Broker(name) = &scope {
        let known = app::rules(&call.settings)?.brokers;
        if !known.contains(name) {
            let known: Vec<&str> = known.iter().map(BrokerName::as_str).collect();
            let why = format!("--broker {name} is not configured; configured are {}", known.join(", "));
            return Err(AppError::Usage(why));
        }
    }
    let journal = journal_it(call, &to).await?;
    // It is in force: what fails from here on is only not told.
    if let Err(error) = show(call, &*journal, &scope).await {
        print::note(&format!("{state} in {scope} is in force; what else is set cannot be told: {error}"));
    }
    Ok(())
}

async fn show(call: &Call, journal: &dyn Journal, scope: &Scope) -> Result<(), AppError> {
    let reader = journal::open(&call.settings).await?;
    let control = reader.control().await?;
    let set = control.trading.get(scope);
    if call.json {
        print::json(&set)?;
    } else if let Some(set) = set {
        print::line(&format!("{} in {}, by {}: {}", set.state, set.scope, set.by, set.why));
    }
    for other in control.trading.iter() {
        if other.scope != *scope && other.state != TradingState::Active {
            print::note(&format!(
                "{} in {} since {}, by {}: {}",
                other.state, other.scope, other.timestamp, other.by, other.why
            ));
        }
    }
    if !is_known(&*reader, scope).await? {
        print::note(&format!(
            "neither an order nor a position is in {scope} yet: is that how it is spelled?"
        ));
    }
    if let Err(why) = tell(call, journal, &*reader).await {
        print::note(&format!("workers obey it all the same; nobody is told on Redis yet: {why}"));
    }
    Ok(())
}

/// Whether the journal has anything of it: a scope that is misspelled holds nothing back.
async fn is_known(reader: &dyn JournalReader, scope: &Scope) -> Result<bool, AppError> {
    let CancelFilter { symbol, strategy_id, .. } = scope.filter();
    if symbol.is_none() && strategy_id.is_none() {
        return Ok(true);
    }
    let filter = OrderFilter { limit: 1, symbol, strategy_id, ..OrderFilter::default() };
    Ok(!reader.orders(&filter).await?.is_empty())
}

/// A journal that is locked for a moment is no reason to leave trading on.
async fn journal_it(call: &Call, to: &SwitchTo) -> Result<Arc<dyn Journal>, AppError> {
    let until = Instant::now() + TRIED_FOR.max(call.settings.database.timeout * 2);
    loop {
        let switched = async {
            let journal = app::deciding_journal(&call.settings).await?;
            for decision in journal.transact(vec![Input::Switch(Box::new(to.clone()))]).await? {
                decision?;
            }
            Ok(journal)
        };
        match switched.await {
            Err(AppError::Journal(JournalError::Unavailable { .. })) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            switched => return switched,
        }
    }
}

/// Tells whoever listens on Redis. A worker does where this cannot.
async fn tell(call: &Call, journal: &dyn Journal, reader: &dyn JournalReader) -> Result<(), String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let telling = async {
        let name = app::consumer_name(&call.settings, &*clock);
        let redis = app::redis(&call.settings, name).await.map_err(|error| error.to_string())?;
        let publisher = redis.publisher();
        let mut control = Vec::new();
        for change in reader.unpublished_control(TOLD).await.map_err(|error| error.to_string())? {
            match &change.event {
                ControlEvent::TradingState(switch) => {
                    publisher.tell_switch(switch).await.map_err(|error| error.to_string())?;
                }
                ControlEvent::Limits(_) | ControlEvent::Circuit(_) => {}
            }
            control.push(change.number);
        }
        let published = Published { control, ..Published::default() };
        journal.mark_published(published).await.map(drop).map_err(|error| error.to_string())
    };
    match tokio::time::timeout(TOLD_WITHIN, telling).await {
        Ok(told) => told,
        Err(_) => Err(format!("Redis did not answer within {TOLD_WITHIN:?}")),
    }
}

/// Who runs this process, as far as it says.
pub(super) fn user() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let name = names.filter_map(|name| resolve::name(&name).ok()).next();
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let who = format!("{}@{host}", name.unwrap_or_else(|| "somebody".to_owned()));
    who.chars().take(64).collect()
}
