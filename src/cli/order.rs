//! `order`

use uuid::Uuid;

use crate::app::AppError;
use crate::domain::event::{EventKind, OrderEvent, Terms};
use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::domain::request::OrderRef;
use crate::ports::journal::JournalReader;
use crate::wire;

use super::fields::Fields;
use super::table::{Align, Table, cell};
use super::{Call, Ending, journal, orders, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution order signal-42
  order-execution order 019f6f3e-0000-7000-8000-000000000000 --json | jq .events

Reads the journal alone: works without Redis and without a worker.
Exit codes: 0 done, 1 there is no such order, 2 wrong usage or configuration, 4 the journal is
unreachable.";

#[derive(Debug, clap::Args)]
pub(super) struct OneOrder {
    /// Its client order id, or its UUID
    #[arg(value_name = "CLIENT_ORDER_ID|UUID")]
    id: String,
}

pub(super) async fn run(call: &Call, one: &OneOrder) -> Result<Ending, AppError> {
    let reader = journal::open(&call.settings).await?;
    let order = find(call, &*reader, &one.id).await?;
    tell(call, &*reader, &order).await?;
    Ok(Ending::Done)
}

/// Prints an order with all that happened to it.
pub(super) async fn tell(call: &Call, reader: &dyn JournalReader, order: &Order) -> Result<(), AppError> {
    let events = reader.events(order.spec.id).await?;
    if call.json {
        let mut document = Fields::parse(&wire::order_json(order))
            .map_err(|error| AppError::Failed(format!("order {}: {error}", order.spec.id)))?;
        document.put_json("events", &wire::events_json(&events));
        print::json(&document)?;
    } else {
        show(order, &events);
    }
    Ok(())
}

/// A UUID may be a client order id, too: that comes first.
pub(super) async fn find(call: &Call, reader: &dyn JournalReader, id: &str) -> Result<Order, AppError> {
    if let Ok(name) = id.parse()
        && let Some(order) = reader.order(&OrderRef::Client(name)).await?
    {
        return Ok(order);
    }
    if let Ok(uuid) = Uuid::parse_str(id)
        && let Some(order) = reader.order(&OrderRef::Order(OrderId(uuid))).await?
    {
        return Ok(order);
    }
    let place = journal::place(&call.settings).await?;
    Err(AppError::Failed(format!(
        "the journal at {place} has no order with the client order id or UUID {id}; `order-execution orders \
         --client-order-id <beginning>` looks for one, `order-execution failed show {id}` for one that was refused \
         before it became an order"
    )))
}

fn dash() -> String {
    "-".to_owned()
}

/// The price that sets a conditional order free.
fn waits_for(order: &Order) -> String {
    if !order.awaits_trigger() || order.state.status.is_terminal() {
        return dash();
    }
    match (order.state.trail, order.spec.order_type.stop_price()) {
        (Some(trail), _) => {
            format!("{}, behind the best price so far, {}", trail.stop_price, trail.water_mark)
        }
        (None, stop) => cell(stop.as_ref()),
    }
}

fn show(order: &Order, events: &[OrderEvent]) {
    let (spec, state) = (&order.spec, &order.state);
    let average = order.average_fill_price().map_or_else(String::new, |price| format!(" at {price}"));
    let pending = match (state.pending_cancel, &state.pending_replace) {
        (true, _) => ", a cancel is under way",
        (false, Some(_)) => ", a replace is under way",
        (false, None) => "",
    };
    print::line(&format!("{}  {}{pending}", spec.client_order_id, orders::status(order)));
    let rows = [
        ("order", format!("{} {} {} {}", spec.side, spec.quantity, spec.symbol, orders::kind(order))),
        ("waits for", waits_for(order)),
        (
            "ends",
            order.ends_at().filter(|_| !state.status.is_terminal()).map_or_else(dash, |at| at.to_string()),
        ),
        ("filled", format!("{}{average}, {} not filled", state.filled_quantity, order.remaining_quantity())),
        ("commission", cell(state.commission.as_ref())),
        ("reason", cell(state.refusal.as_ref())),
        ("broker", order.broker.to_string()),
        ("broker order id", cell(state.broker_order_id.as_ref())),
        ("order id", spec.id.to_string()),
        ("strategy id", cell(spec.strategy_id.as_ref())),
        ("created", state.created_at.to_string()),
        ("updated", state.updated_at.to_string()),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| value != "-") {
        print::line(&format!("  {name:<16} {value}"));
    }
    print::line("");
    let mut history = Table::new(vec![
        ("version", Align::Right),
        ("time", Align::Left),
        ("event", Align::Left),
        ("", Align::Left),
    ]);
    for event in events {
        history.row(vec![
            event.version.to_string(),
            event.timestamp.to_string(),
            event.kind.name().to_owned(),
            details(&event.kind),
        ]);
    }
    history.print();
}

/// What an event tells beside its name.
fn details(kind: &EventKind) -> String {
    match kind {
        EventKind::Created(_) | EventKind::Validated => String::new(),
        EventKind::PendingSubmit(attempt) => format!("attempt {}", attempt.attempt),
        EventKind::Submitted(submission) => submission.broker_order_id.clone().unwrap_or_default(),
        EventKind::Acknowledged(ack) => ack.broker_order_id.clone(),
        EventKind::Fill(fill) => format!("{} at {}, trade {}", fill.quantity, fill.price, fill.trade_id),
        EventKind::CancelRequested(why)
        | EventKind::CancelRefused(why)
        | EventKind::ReplaceRefused(why)
        | EventKind::Cancelled(why)
        | EventKind::Expired(why) => why.reason.clone(),
        EventKind::SubmitFailed(why) => why.reason.clone(),
        EventKind::Parked(why) => why.reason.clone(),
        EventKind::ReplaceRequested(asked) => terms(&asked.terms),
        EventKind::Replaced(by) => terms(&by.terms),
        EventKind::Resolved(how) => {
            let verdict = if how.executed { "executed" } else { "not executed" };
            format!("{verdict}, says {}: {}", how.by, how.why)
        }
        EventKind::Rejected(refusal) => refusal.to_string(),
        EventKind::Trailed(trail) => {
            format!("stop price {}, {} was reached", trail.stop_price, trail.water_mark)
        }
        EventKind::Triggered(by) => by.price.map(|price| format!("at {price}")).unwrap_or_default(),
        EventKind::Restated(by) => format!("{}: {}", terms(&by.terms), by.reason),
        EventKind::TradeCorrected(by) => {
            let (was, now) = (&by.was, &by.now);
            format!(
                "trade {}: {} at {} was {} at {}: {}",
                by.trade_id, now.quantity, now.price, was.quantity, was.price, by.reason
            )
        }
        EventKind::TradeBusted(by) => {
            let was = by.was.as_ref().map(|was| format!(" of {} at {}", was.quantity, was.price));
            format!("trade {}{}: {}", by.trade_id, was.unwrap_or_default(), by.reason)
        }
    }
}

fn terms(terms: &Terms) -> String {
    let named = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let parts = [
        named("quantity", terms.quantity.map(|q| q.to_string())),
        named("price", terms.price.map(|p| p.to_string())),
        named("stop price", terms.stop_price.map(|p| p.to_string())),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
