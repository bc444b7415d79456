//! Prices from the market-data feed.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::domain::ids::{BrokerName, Symbol};
use crate::domain::market::Quote;

/// The quotes could not be read: what needs a price is not decided until they can.
#[derive(Debug, thiserror::Error)]
#[error("quotes {what}: {source}")]
pub struct QuotesError {
    pub what: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

#[async_trait]
pub trait Quotes: Send + Sync {
    /// The quote of each (broker, symbol): the broker's own where it is fresh, else the symbol's. Pairs
    /// without any quote are left out. One round trip.
    async fn read(
        &self,
        wanted: &[(BrokerName, Symbol)],
    ) -> Result<HashMap<(BrokerName, Symbol), Quote>, QuotesError>;
}
