//! Every name in Redis, made of the prefix. On Cluster the prefix carries a hash tag, so all share a slot.

use std::sync::Arc;

use crate::domain::ids::{BrokerName, ClientOrderId, OrderId, Symbol};

#[derive(Debug, Clone)]
pub struct Names {
    /// The lane: what journaled requests are keyed by.
    pub prefix: Arc<str>,
    pub pending: String,
    pub completed: String,
    pub failed: String,
    pub events: String,
    /// Set of the entries that are finished and whose journal row does not say so yet.
    pub finished: String,
    /// Sorted set of those whose row says so, by the time at which they were moved here.
    pub marked: String,
    /// There as long as Redis keeps what it was given.
    pub marker: String,
    /// Channel.
    pub status: String,
    /// Channel.
    pub trading_state: String,
    /// What a consumer's heartbeat key begins with.
    pub heartbeats: String,
}

impl Names {
    #[must_use]
    pub fn new(prefix: &str, group: &str) -> Self {
        Self {
            prefix: prefix.into(),
            pending: format!("{prefix}:pending"),
            completed: format!("{prefix}:completed"),
            failed: format!("{prefix}:failed"),
            events: format!("{prefix}:events"),
            finished: format!("{prefix}:finished"),
            marked: format!("{prefix}:finished:marked"),
            marker: format!("{prefix}:marker"),
            status: format!("{prefix}:status"),
            trading_state: format!("{prefix}:trading-state"),
            heartbeats: format!("{prefix}:worker:{group}:"),
        }
    }

    #[must_use]
    pub fn heartbeat(&self, consumer: &str) -> String {
        format!("{}{consumer}", self.heartbeats)
    }

    /// There for a while after a consumer took several entries over at once.
    #[must_use]
    pub fn took_several(&self, consumer: &str) -> String {
        format!("{}{consumer}:took-several", self.heartbeats)
    }

    /// The version of an order that was published last.
    #[must_use]
    pub fn version(&self, order: OrderId) -> String {
        format!("{}:version:{order}", self.prefix)
    }

    #[must_use]
    pub fn state(&self, order: &ClientOrderId) -> String {
        format!("{}:state:{order}", self.prefix)
    }

    #[must_use]
    pub fn quote(&self, symbol: &Symbol) -> String {
        format!("{}:quotes:{symbol}", self.prefix)
    }

    #[must_use]
    pub fn broker_quote(&self, broker: &BrokerName, symbol: &Symbol) -> String {
        format!("{}:quotes:{broker}:{symbol}", self.prefix)
    }
}
