//! One line on stderr that tells how far a run is, where somebody sits there.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::generator::Counts;

const REDRAW: Duration = Duration::from_millis(250);

pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { shown: io::stderr().is_terminal() }
    }

    /// In place of what the line said; an empty text takes it away.
    pub(super) fn say(&self, text: &str) {
        if self.shown {
            let mut out = io::stderr().lock();
            // Whoever watched has gone: no reason to fail.
            drop(write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()));
        }
    }

    /// Tells of one run for as long as it is polled.
    pub(super) async fn follow(&self, what: &str, orders: u32, counts: &Counts) -> std::convert::Infallible {
        loop {
            let (sent, ended) = (counts.sent.load(Ordering::Relaxed), counts.ended.load(Ordering::Relaxed));
            let in_flight = sent.saturating_sub(ended);
            self.say(&format!("{what}: {sent} of {orders} orders sent, {in_flight} on their way"));
            tokio::time::sleep(REDRAW).await;
        }
    }
}
