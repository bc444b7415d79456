//! What brokers tell without being asked, and whether their books say what ours say.

use std::collections::{BTreeMap, HashMap};

use crate::domain::amount::Amount;
use crate::domain::decide::{Facts, Input, Told};
use crate::domain::ids::{BrokerName, ClientOrderId, Symbol};
use crate::domain::ledger::Difference;
use crate::domain::order::Order;
use crate::domain::report::Report;
use crate::domain::request::OrderRef;
use crate::domain::status::Status;
use crate::ports::broker::{Broker, BrokerOrder, BrokerUpdate};
use crate::ports::journal::OrderFilter;

use super::publish::Batch;
use super::{Engine, EngineError};

/// Open orders that are compared at most.
const MAX_COMPARED: u32 = 100_000;

/// What a comparison of open orders found.
#[derive(Debug, Default)]
pub struct Compared {
    /// What the broker's word did to our orders: to be published.
    pub batch: Batch,
    pub orders: usize,
    /// Each told once by the journal, however often it is found.
    pub differences: Vec<Difference>,
}

impl Engine {
    /// Merges the next part of the broker's feed; what it did is to be published. `None`: there is no feed.
    pub async fn follow_feed(&self) -> Result<Option<Batch>, EngineError> {
        let Some(broker) = self.remote() else { return Ok(None) };
        let cursor = self.reader.feed_cursor(broker.name()).await?;
        let updates = broker.updates(cursor).await?;
        if updates.told.is_empty() && updates.cursor == cursor {
            return Ok(Some(Batch::default()));
        }
        let told = group(broker.name(), updates.told);
        let facts = Facts { broker: broker.name().clone(), told, cursor: Some(updates.cursor) };
        self.merge(facts).await.map(Some)
    }

    async fn merge(&self, facts: Facts) -> Result<Batch, EngineError> {
        let mut batch = Batch::default();
        for decision in self.journal.transact(vec![Input::Facts(Box::new(facts))]).await? {
            batch.take_commits(decision?.commits);
        }
        Ok(batch)
    }

    /// Compares the broker's open orders with ours: ours that it does not show as open, and has otherwise, are
    /// asked about one by one; what it has and we have not is written down.
    pub async fn compare(&self) -> Result<Compared, EngineError> {
        let mut compared = Compared::default();
        let Some(broker) = self.remote() else { return Ok(compared) };
        // First theirs, then ours: what is new at the broker is journaled before it is there.
        let theirs = broker.open_orders().await?;
        let filter = OrderFilter { limit: MAX_COMPARED, open: true, ..OrderFilter::default() };
        let ours = self.reader.orders(&filter).await?;
        compared.orders = theirs.len();
        let by_id: HashMap<&str, &BrokerOrder> =
            theirs.iter().map(|order| (order.client_order_id.as_str(), order)).collect();
        let mut told = Vec::new();
        for order in &ours {
            let there = by_id.get(order.spec.client_order_id.as_str());
            if there.is_some_and(|there| is_same(order, there)) {
                continue;
            }
            // One that is being submitted is its worker's to resolve, unless the broker shows it.
            let is_ours_to_ask = order.state.status.is_working() || order.state.parked || there.is_some();
            if is_ours_to_ask {
                told.extend(self.ask_about(broker, order, &mut compared.differences).await?);
            }
        }
        let known: HashMap<&str, &Order> =
            ours.iter().map(|order| (order.spec.client_order_id.as_str(), order)).collect();
        for there in theirs.iter().filter(|there| !known.contains_key(there.client_order_id.as_str())) {
            told.extend(self.unlisted(broker, there, &mut compared.differences).await?);
        }
        let cursor = None;
        if !told.is_empty() {
            compared.batch = self.merge(Facts { broker: broker.name().clone(), told, cursor }).await?;
        }
        Ok(compared)
    }

    async fn ask_about(
        &self,
        broker: &std::sync::Arc<dyn Broker>,
        order: &Order,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<Told>, EngineError> {
        let finding = broker.query(order).await?;
        let id = order.spec.id;
        let Some(reports) = finding.reports else {
            if order.state.status.is_working() {
                let details = format!(
                    "order {} ({id}) is {} here and unknown to the broker as of {}",
                    order.spec.client_order_id, order.state.status, finding.as_of
                );
                differences.push(difference(broker.name(), "unknown_to_broker", &id.to_string(), details));
            }
            return Ok(None);
        };
        let external = difference(broker.name(), "order", &id.to_string(), format!("{reports:?}"));
        Ok(Some(Told { order: OrderRef::Order(id), reports, external }))
    }

    /// An order that is open at the broker and not among our open ones.
    async fn unlisted(
        &self,
        broker: &std::sync::Arc<dyn Broker>,
        there: &BrokerOrder,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<Told>, EngineError> {
        let id: Option<ClientOrderId> = there.client_order_id.parse().ok();
        let order = match id {
            Some(id) => self.reader.order(&OrderRef::Client(id)).await?,
            None => None,
        };
        let Some(order) = order else {
            differences.push(external_order(broker.name(), there));
            return Ok(None);
        };
        // It may have ended between the two looks: asked again, the broker says the latest.
        let finding = broker.query(&order).await?;
        let Some(reports) = finding.reports else { return Ok(None) };
        let still_open = !reports.iter().any(|report| {
            matches!(report, Report::Cancelled { .. } | Report::Expired { .. } | Report::Rejected(_))
        }) && there.status.is_working();
        let ended = matches!(order.state.status, Status::Cancelled | Status::Rejected | Status::Expired);
        if still_open && ended {
            let details = format!(
                "order {} is {} here and open at the broker",
                order.spec.client_order_id, order.state.status
            );
            differences.push(difference(
                broker.name(),
                "open_at_broker",
                &order.spec.id.to_string(),
                details,
            ));
        }
        let external = difference(broker.name(), "order", &order.spec.id.to_string(), format!("{reports:?}"));
        Ok(Some(Told { order: OrderRef::Order(order.spec.id), reports, external }))
    }

    /// Where the broker's positions are other than ours: by symbol, theirs and ours. What is on its way between the two
    /// shows for a moment.
    pub async fn compare_positions(&self) -> Result<BTreeMap<Symbol, (Amount, Amount)>, EngineError> {
        let Some(broker) = self.remote() else { return Ok(BTreeMap::new()) };
        let mut both: BTreeMap<Symbol, (Amount, Amount)> = BTreeMap::new();
        for position in broker.positions().await? {
            both.entry(position.symbol).or_insert((Amount::ZERO, Amount::ZERO)).0 = position.quantity;
        }
        // In mock mode one exchange works the orders of all brokers.
        for (_, symbol, position) in self.reader.positions().await? {
            let ours = &mut both.entry(symbol).or_insert((Amount::ZERO, Amount::ZERO)).1;
            *ours = ours.checked_add(position.quantity).unwrap_or(*ours);
        }
        both.retain(|_, (theirs, ours)| theirs != ours);
        Ok(both)
    }

    /// The same as differences to be written down.
    #[must_use]
    pub fn position_differences(&self, found: &BTreeMap<Symbol, (Amount, Amount)>) -> Vec<Difference> {
        let Some(broker) = self.remote() else { return Vec::new() };
        let told = found.iter().map(|(symbol, (theirs, ours))| {
            let details = format!("the broker holds {theirs} of {symbol}, the journal {ours}");
            difference(broker.name(), "position", &format!("{symbol} {theirs} {ours}"), details)
        });
        told.collect()
    }

    /// Writes differences down; says how many are new.
    pub async fn note_differences(&self, differences: Vec<Difference>) -> Result<u64, EngineError> {
        if differences.is_empty() {
            return Ok(0);
        }
        let before = self.reader.differences().await?;
        let mut by_broker: BTreeMap<BrokerName, Vec<Told>> = BTreeMap::new();
        for external in differences {
            // Of no order that the journal has: so it is written down as it is.
            let order = OrderRef::Order(crate::domain::ids::OrderId(uuid::Uuid::nil()));
            let told = Told { order, reports: Vec::new(), external: external.clone() };
            by_broker.entry(external.broker).or_default().push(told);
        }
        for (broker, told) in by_broker {
            self.merge(Facts { broker, told, cursor: None }).await?;
        }
        Ok(self.reader.differences().await?.saturating_sub(before))
    }
}

fn is_same(order: &Order, there: &BrokerOrder) -> bool {
    order.state.status.is_working()
        && !order.is_undecided()
        && !order.state.parked
        && there.filled_quantity == order.state.filled_quantity
        && there.quantity == order.spec.quantity
}

/// Characters of a key, whatever a broker sends: it is one in the journal's tables, too.
const LONGEST_KEY: usize = 200;

fn difference(broker: &BrokerName, kind: &'static str, key: &str, details: String) -> Difference {
    Difference { broker: broker.clone(), kind, key: key.chars().take(LONGEST_KEY).collect(), details }
}

fn external_order(broker: &BrokerName, there: &BrokerOrder) -> Difference {
    let key = there.broker_order_id.as_deref().unwrap_or(&there.client_order_id);
    let details = format!(
        "{} {} of {} (client order id {}), filled {}",
        there.status, there.quantity, there.symbol, there.client_order_id, there.filled_quantity
    );
    difference(broker, "external_order", key, details)
}

/// The feed by order: each order's claims stay in their sequence.
fn group(broker: &BrokerName, updates: Vec<BrokerUpdate>) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for update in updates {
        let id: Option<ClientOrderId> = update.client_order_id.parse().ok();
        let (kind, key) = match &update.report {
            Some(Report::Fill(fill)) => ("external_fill", fill.trade_id.clone()),
            Some(_) => ("external_order", update.client_order_id.clone()),
            None => ("unreadable", update.text.clone()),
        };
        let id = id.filter(|_| update.report.is_some());
        let place = places.get(&update.client_order_id).copied();
        match (place.and_then(|place| told.get_mut(place)), id) {
            // Each external fill is written down by itself.
            (Some(same), Some(_)) if same.external.kind == kind => same.reports.extend(update.report),
            (_, id) => {
                let order = id.map_or_else(
                    || OrderRef::Order(crate::domain::ids::OrderId(uuid::Uuid::nil())),
                    OrderRef::Client,
                );
                places.insert(update.client_order_id, told.len());
                let external = difference(broker, kind, &key, update.text);
                told.push(Told { order, reports: update.report.into_iter().collect(), external });
            }
        }
    }
    told
}
