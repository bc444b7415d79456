//! Rebuilds every projection from the events and compares it with what is stored.

use std::collections::BTreeMap;

use crate::domain::control::Control;
use crate::domain::event::OrderEvent;
use crate::domain::order::Order;
use crate::domain::position::{Book, Position};
use crate::domain::rebuild::{Rebuild, Rebuilt};
use crate::domain::trade::BookedTrade;
use crate::ports::journal::{History, JournalError, JournalReader, TradeRow};

/// Orders read at a time.
const PAGE: u32 = 500;
/// Beyond every number of an event.
const NEWEST: u64 = u64::MAX >> 1;
/// Differences that are told one by one; more are counted.
const MAX_TOLD: usize = 100;

#[derive(Debug, Default)]
pub struct Report {
    pub orders: u64,
    pub events: u64,
    pub positions: u64,
    pub control_events: u64,
    pub differences: Vec<String>,
    pub more_differences: u64,
}

impl Report {
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    fn differ(&mut self, what: String) {
        if self.differences.len() < MAX_TOLD {
            self.differences.push(what);
        } else {
            self.more_differences += 1;
        }
    }
}

/// Reads the whole journal, oldest order first. Meant for a journal at rest: what is written meanwhile
/// may show as a difference.
pub async fn replay(reader: &dyn JournalReader) -> Result<Report, JournalError> {
    let mut report = Report::default();
    let mut rebuild = Rebuild::default();
    let mut after = 0;
    loop {
        let page = reader.history(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.admission;
        for history in &page {
            compare_order(history, &mut rebuild, &mut report);
        }
    }
    compare_control(reader, &mut report).await?;
    let stored = reader.books().await?;
    compare_positions(rebuild, stored, &mut report);
    Ok(report)
}

/// What holds for all orders follows from its changes, from the first on.
async fn compare_control(reader: &dyn JournalReader, report: &mut Report) -> Result<(), JournalError> {
    let (mut changes, mut before) = (Vec::new(), NEWEST);
    loop {
        let page = reader.control_events(before, PAGE).await?;
        let Some(last) = page.last() else { break };
        before = last.number;
        changes.extend(page);
    }
    let mut expected = Control::default();
    changes.iter().rev().for_each(|entry| expected.apply(&entry.event));
    let stored = reader.control().await?;
    report.control_events = changes.len() as u64;
    if stored != expected {
        report.differ(format!("limits and trading state: stored {stored:?}, events say {expected:?}"));
    }
    Ok(())
}

fn compare_order(history: &History, rebuild: &mut Rebuild, report: &mut Report) {
    let id = history.order.spec.id;
    report.orders += 1;
    report.events += history.events.len() as u64;
    let order = match Order::fold(&history.events) {
        Ok(Some(order)) => order,
        Ok(None) => return report.differ(format!("order {id}: it has no events")),
        Err(error) => {
            return report.differ(format!("order {id}: its events do not follow from each other: {error}"));
        }
    };
    if order != history.order {
        let (stored, folded) = (&history.order.state, &order.state);
        report.differ(format!(
            "order {id}: stored {} version {} filled {}, events say {} version {} filled {}",
            stored.status,
            stored.version,
            stored.filled_quantity,
            folded.status,
            folded.version,
            folded.filled_quantity
        ));
    }
    for (column, stored) in &history.columns {
        let expected = column_of(&order, column);
        if *stored != expected {
            report.differ(format!("order {id}: column {column} is {stored:?}, events say {expected:?}"));
        }
    }
    let trades: Vec<&OrderEvent> =
        history.events.iter().filter(|event| event.kind.trade().is_some()).collect();
    compare_trades(history, &trades, report);
    if rebuild.add(&order, &history.events).is_none() {
        report.differ(format!("order {id}: the reservations of {} are too large to add", order.spec.symbol));
    }
}

fn column_of(order: &Order, column: &str) -> String {
    match column {
        "status" => order.state.status.to_string(),
        "quantity" => order.spec.quantity.to_string(),
        "filled_quantity" => order.state.filled_quantity.to_string(),
        "ends_us" => order.ends_at().map(|at| at.micros().to_string()).unwrap_or_default(),
        "parked" => order.state.parked.to_string(),
        "average_fill_price" => order.average_fill_price().map(|price| price.to_string()).unwrap_or_default(),
        _ => order.state.version.to_string(),
    }
}

fn compare_trades(history: &History, events: &[&OrderEvent], report: &mut Report) {
    let id = history.order.spec.id;
    let mut stored = history.trades.clone();
    let mut expected: Vec<TradeRow> = Vec::with_capacity(events.len());
    for change in events.iter().filter_map(|event| event.kind.trade()) {
        let before = expected.iter().rev().find(|row| row.trade_id == change.trade_id).map(|row| &row.trade);
        let trade = BookedTrade::after(before, &change);
        expected.push(TradeRow { trade_id: change.trade_id.to_owned(), trade });
    }
    stored.sort_by_key(|row| row.trade.booked_at);
    expected.sort_by_key(|row| row.trade.booked_at);
    if stored != expected {
        report.differ(format!(
            "order {id}: {} trades are stored, events say {} others",
            stored.len(),
            expected.len()
        ));
    }
}

fn compare_positions(rebuild: Rebuild, stored: Vec<(Book, Position)>, report: &mut Report) {
    let mut stored: BTreeMap<Book, Position> = stored.into_iter().collect();
    for Rebuilt { book, position, misplaced } in rebuild.finish() {
        if let Some(misplaced) = misplaced {
            report.differ(format!("position {book}: {misplaced}"));
        }
        let found = stored.remove(&book).unwrap_or(Position::FLAT);
        report.positions += 1;
        match position {
            Some(expected) if expected == found => {}
            Some(expected) => {
                report.differ(format!("position {book}: stored {found:?}, events say {expected:?}"));
            }
            None => report.differ(format!("position {book}: its trades are too large to add")),
        }
    }
    for (book, position) in stored {
        if position != Position::FLAT {
            report.differ(format!("position {book}: stored {position:?}, events know nothing of it"));
        }
    }
}
