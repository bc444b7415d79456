//! Requests out of Redis Streams, results into them, quotes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::ports::clock::Clock;

mod connect;
mod control;
mod handed;
mod inbox;
mod names;
mod outcomes;
mod publisher;
mod quotes;
mod raw;
mod takeover;
#[cfg(test)]
mod tests;

pub use connect::RedisFault;
pub use control::RedisControl;
pub use inbox::{Decode, RawEntry, RedisInbox};
pub use names::Names;
pub use outcomes::{RedisOutcomes, StreamEntry};
pub use publisher::RedisPublisher;
pub use quotes::RedisQuotes;
pub use raw::{entries, pairs};

#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`; secret, since it may hold a password.
    pub url: SecretString,
    /// Connections beside the reader's own.
    pub pool_size: usize,
    /// Every name begins with it and a colon.
    pub prefix: String,
    pub group: String,
    /// This consumer's name, unique to this start of the process.
    pub consumer: String,
    /// Entries of one read, at most.
    pub batch_size: usize,
    /// How long an entry lies idle, and its holder is silent, before it is taken over.
    pub claim_idle: Duration,
    /// Entries kept in the stream of events, about.
    pub event_history: u64,
    /// Entries kept in each stream of outcomes, about; `None`: all.
    pub outcome_history: Option<u64>,
    /// How long an order's state can be read after it changed last.
    pub state_ttl: Duration,
    /// A broker's own quote that is older gives way to the symbol's.
    pub max_quote_age: Duration,
}

/// One Redis and the names of one lane in it; makes the adapters.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    settings: RedisSettings,
    names: Names,
    link: connect::Link,
    handed: handed::Handed,
}

impl Redis {
    /// Connects and checks the server's version.
    pub async fn connect(settings: RedisSettings) -> Result<Self, RedisFault> {
        let link = connect::Link::open(&settings.url, settings.pool_size).await?;
        let names = Names::new(&settings.prefix, &settings.group);
        let handed = handed::Handed::default();
        Ok(Self { shared: Arc::new(Shared { settings, names, link, handed }) })
    }

    /// Whether a consumer of this name is alive: its heartbeat is there.
    pub async fn is_alive(&self, consumer: &str) -> Result<bool, RedisFault> {
        let mut ask = redis::cmd("EXISTS");
        ask.arg(self.shared.names.heartbeat(consumer));
        let found: i64 = self.shared.link.query(&ask).await?;
        Ok(found > 0)
    }

    /// The inbox, and what can be asked of it meanwhile. One of each for a connection.
    #[must_use]
    pub fn inbox(&self, decode: Decode) -> (RedisInbox, RedisControl) {
        let control = RedisControl::new(Arc::clone(&self.shared));
        (RedisInbox::new(Arc::clone(&self.shared), control.phase(), decode), control)
    }

    #[must_use]
    pub fn publisher(&self) -> RedisPublisher {
        RedisPublisher::new(Arc::clone(&self.shared))
    }

    #[must_use]
    pub fn outcomes(&self) -> RedisOutcomes {
        RedisOutcomes::new(Arc::clone(&self.shared))
    }

    #[must_use]
    pub fn quotes(&self, clock: Arc<dyn Clock>) -> RedisQuotes {
        RedisQuotes::new(Arc::clone(&self.shared), clock)
    }

    #[must_use]
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The server's address, without its password.
    #[must_use]
    pub fn address(&self) -> &str {
        self.shared.link.address()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.address()).field("names", self.names()).finish()
    }
}
