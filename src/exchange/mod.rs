//! The simulated exchange in a process of its own: the simulated broker's matching behind HTTP, with a
//! ledger. A sandbox for whoever trades against it, and an oracle: its ledger tells what was executed.

mod book;
mod faults;
mod http;
mod ledger;
mod message;
mod sequencer;
#[cfg(test)]
mod tests;
mod transaction;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::domain::venue::Venue;
use crate::runtime::shutdown::Token;

use book::Book;
pub use book::BookError;
use ledger::Ledger;
pub use ledger::LedgerError;
use message::Command;
pub use message::Dedupe;
pub use sequencer::Now;
use sequencer::Sequencer;

/// Between two looks at what time has ended.
const TICK: Duration = Duration::from_millis(50);

pub struct Settings {
    pub listen: SocketAddr,
    pub ledger: PathBuf,
    pub dedupe: Dedupe,
    pub venue: Venue,
    pub now: Now,
}

#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error(
        "--listen {0}: the exchange has no authentication, so it listens on a loopback address only, such as 127.0.0.1:9191"
    )]
    NotLoopback(SocketAddr),
    #[error("--listen {0}: cannot listen there: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("http ended: {0}")]
    Http(#[source] io::Error),
    #[error("the ledger's thread cannot be started: {0}")]
    Thread(#[source] io::Error),
    #[error("the ledger's thread ended")]
    Ended,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An exchange that has read its ledger and listens.
pub struct Exchange {
    listener: TcpListener,
    address: SocketAddr,
    sequencer: Sequencer,
    failure: oneshot::Receiver<LedgerError>,
    now: Now,
}

impl Exchange {
    pub async fn start(settings: Settings) -> Result<Self, ExchangeError> {
        let Settings { listen, ledger, dedupe, venue, now } = settings;
        // Whoever reaches the port may trade and set prices.
        if !listen.ip().is_loopback() {
            return Err(ExchangeError::NotLoopback(listen));
        }
        let mut book = Book::new(venue, dedupe);
        let ledger = Ledger::open(&ledger, &mut book)?;
        let failed = |error| ExchangeError::Listen(listen, error);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let started = Sequencer::start(book, ledger, now.clone()).map_err(ExchangeError::Thread)?;
        let (sequencer, failure) = started;
        Ok(Self { listener, address, sequencer, failure, now })
    }

    /// Where it listens: a free port where the settings have port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`; an error where the ledger fails, after which nothing is answered any more.
    pub async fn run(self, shutdown: Token) -> Result<(), ExchangeError> {
        let ticking = tick(self.sequencer.clone());
        tokio::select! {
            () = ticking => Err(ExchangeError::Ended),
            ended = http::serve(self.listener, self.sequencer, self.now, shutdown) => {
                ended.map_err(ExchangeError::Http)
            }
            failure = self.failure => Err(failure.map_or(ExchangeError::Ended, ExchangeError::Ledger)),
        }
    }
}

/// Orders end by time also while nobody asks. Returns where the sequencer is gone, once its failure had time to be told.
async fn tick(sequencer: Sequencer) {
    while sequencer.ask(Command::Tick).await.is_ok() {
        tokio::time::sleep(TICK).await;
    }
    tokio::time::sleep(20 * TICK).await;
}
