//! An orderly end: the first signal asks everybody to stop, the second does not ask.

use std::future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Says when to stop. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stopping: Arc<watch::Sender<bool>>,
}

/// Hears when to stop. A token whose [`Shutdown`] is gone never hears it.
#[derive(Debug, Clone)]
pub struct Token {
    stopping: watch::Receiver<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self { stopping: Arc::new(watch::Sender::new(false)) }
    }

    #[must_use]
    pub fn token(&self) -> Token {
        Token { stopping: self.stopping.subscribe() }
    }

    /// Asks everybody to stop; asking again changes nothing. `why` is for the log.
    pub fn trigger(&self, why: &str) {
        let first = self.stopping.send_if_modified(|stopping| !std::mem::replace(stopping, true));
        if first {
            tracing::info!(why, "stopping");
        }
    }

    /// Triggers on SIGTERM, SIGINT or SIGHUP (the terminal is gone). A signal while stopping ends the process at once, with code 1. Signals
    /// are caught from the moment this returns.
    pub fn listen(&self) -> io::Result<JoinHandle<()>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let shutdown = self.clone();
        Ok(tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hang_up.recv() => "SIGHUP",
                };
                if *shutdown.stopping.borrow() {
                    give_up(name);
                }
                shutdown.trigger(name);
            }
        }))
    }
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "asked twice: whoever waits for the drain has lost patience"
)]
fn give_up(signal: &str) -> ! {
    tracing::error!(
        signal,
        "signalled while stopping: ending at once; what was begun is taken over by other workers"
    );
    std::process::exit(1)
}

impl Token {
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns once it is time to stop; at once if it already is.
    pub async fn cancelled(&self) {
        let mut stopping = self.stopping.clone();
        if stopping.wait_for(|stopping| *stopping).await.is_err() {
            future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn everybody_hears_it_those_who_come_late_too() {
        let shutdown = Shutdown::new();
        let early = shutdown.token();
        let waiting = tokio::spawn({
            let token = early.clone();
            async move { token.cancelled().await }
        });
        assert!(!early.is_cancelled());
        shutdown.trigger("test");
        shutdown.trigger("test");
        waiting.await.unwrap();
        assert!(early.is_cancelled());
        shutdown.token().cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_hears_what_nobody_said() {
        let token = Shutdown::new().token();
        assert!(timeout(Duration::from_secs(3600), token.cancelled()).await.is_err());
    }

    #[tokio::test]
    async fn a_signal_triggers_it() {
        let shutdown = Shutdown::new();
        let listening = shutdown.listen().unwrap();
        let kill = format!("kill -TERM {}", std::process::id());
        let status = tokio::process::Command::new("sh").args(["-c", &kill]).status().await.unwrap();
        assert!(status.success());
        timeout(Duration::from_secs(10), shutdown.token().cancelled()).await.unwrap();
        listening.abort();
    }
}
