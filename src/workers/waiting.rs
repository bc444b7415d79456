//! Requests that wait: for another request about the same order, or for their order to appear.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use crate::domain::decide::Wait;
use crate::engine::Waiting;

use super::{Context, requests};

/// Between two looks at one request: doubled from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// Looks at most so many requests together.
const MAX_TOGETHER: usize = 256;

pub(super) type Sender = mpsc::UnboundedSender<Waits>;

/// A waiting request. It keeps its permit, so there are never more than may be in flight.
pub(super) struct Waits {
    item: Waiting,
    permit: OwnedSemaphorePermit,
    since: Instant,
    due: Instant,
    pause: Duration,
}

impl Waits {
    pub(super) fn new(item: Waiting, permit: OwnedSemaphorePermit) -> Self {
        let now = Instant::now();
        Self { item, permit, since: now, due: now + PAUSES.0, pause: PAUSES.0 }
    }
}

pub(super) async fn run(context: Context, back: Sender, mut arrivals: mpsc::UnboundedReceiver<Waits>) {
    let mut held: Vec<Waits> = Vec::new();
    loop {
        let next = held.iter().map(|waits| waits.due).min();
        let arrived = match next {
            Some(due) => tokio::select! {
                arrived = arrivals.recv() => arrived,
                () = tokio::time::sleep_until(due) => None,
            },
            None => match arrivals.recv().await {
                Some(arrived) => Some(arrived),
                None => return,
            },
        };
        held.extend(arrived);
        while let Ok(more) = arrivals.try_recv() {
            held.push(more);
        }
        let now = Instant::now();
        let (due, rest): (Vec<_>, Vec<_>) = held.into_iter().partition(|waits| waits.due <= now);
        held = rest;
        let (mut patient, mut last_call) = (Vec::new(), Vec::new());
        for waits in due {
            if last_look(&context, &waits).await { last_call.push(waits) } else { patient.push(waits) }
        }
        for (group, no_older_entries) in [(patient, false), (last_call, true)] {
            let mut group = group.into_iter().peekable();
            while group.peek().is_some() {
                let together: Vec<Waits> = group.by_ref().take(MAX_TOGETHER).collect();
                held.extend(look(&context, together, no_older_entries, &back).await);
            }
        }
    }
}

/// Whether an order that the journal does not have by now does not exist.
async fn last_look(context: &Context, waits: &Waits) -> bool {
    if waits.item.wait != Wait::UnknownOrder {
        return false;
    }
    if waits.since.elapsed() >= context.settings.command_wait {
        return true;
    }
    let key = &waits.item.received.key;
    match context.engine.older_are_admitted(key.entry, &key.lane).await {
        Ok(admitted) => admitted,
        Err(error) => {
            context.blame("looking for older requests", &error);
            false
        }
    }
}

/// Admits them again; those that still wait are returned.
async fn look(context: &Context, together: Vec<Waits>, no_older_entries: bool, back: &Sender) -> Vec<Waits> {
    let requests: Vec<_> = together.iter().map(|waits| waits.item.received.clone()).collect();
    let admitted = async {
        let prices = context.engine.prepare(&requests).await?;
        context.engine.admit(&requests, &prices, no_older_entries).await
    };
    let mut admitted = match admitted.await {
        Ok(admitted) => admitted,
        Err(error) => {
            context.blame("admitting requests that waited", &error);
            return together.into_iter().map(later).collect();
        }
    };
    let still: Vec<Waiting> = std::mem::take(&mut admitted.waiting);
    let mut waiting = Vec::with_capacity(still.len());
    let mut permits: Option<OwnedSemaphorePermit> = None;
    for mut waits in together {
        let same = still.iter().find(|item| item.received.key == waits.item.received.key);
        if let Some(item) = same {
            waits.item = item.clone();
            waiting.push(later(waits));
        } else {
            match &mut permits {
                None => permits = Some(waits.permit),
                Some(permits) => permits.merge(waits.permit),
            }
        }
    }
    if let Some(permits) = permits {
        tokio::spawn(requests::finish(context.clone(), admitted, permits, back.clone()));
    }
    waiting
}

fn later(waits: Waits) -> Waits {
    let pause = (waits.pause * 2).min(PAUSES.1);
    Waits { due: Instant::now() + pause, pause, ..waits }
}
