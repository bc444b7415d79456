//! Requests that wait: for another request about the same order, or for their order to appear.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::domain::decide::Wait;
use crate::domain::ids::EntryId;
use crate::engine::Waiting;

use super::{Context, requests};

/// Between two looks at one request: doubled from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// Looks at most so many requests together.
const MAX_TOGETHER: usize = 256;

/// How many requests wait. They are counted apart from those in flight: what they wait for may itself
/// have to be taken in first.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

impl Places {
    pub(super) fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn take(&self) -> Place {
        self.0.fetch_add(1, Ordering::AcqRel);
        Place(self.clone())
    }
}

/// One of them; given back when dropped.
pub(super) struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where requests are sent to wait.
#[derive(Clone)]
pub(super) struct Sender {
    places: Places,
    arrivals: mpsc::UnboundedSender<Waits>,
}

impl Sender {
    /// How many requests wait.
    pub(super) fn taken(&self) -> usize {
        self.places.taken()
    }

    pub(super) fn send(&self, item: Waiting) {
        let now = Instant::now();
        let (due, pause) = next_look(&item, PAUSES.0 / 2);
        let waits = Waits { item, place: self.places.take(), since: now, due, pause };
        // The receiver lives as long as the worker.
        drop(self.arrivals.send(waits));
    }
}

/// A way in, its other end, and the count. The count bounds the way: no more is read where too many wait.
pub(super) fn channel() -> (Sender, mpsc::UnboundedReceiver<Waits>, Places) {
    let (arrivals, waits) = mpsc::unbounded_channel();
    let places = Places::default();
    (Sender { places: places.clone(), arrivals }, waits, places)
}

/// A waiting request.
pub(super) struct Waits {
    item: Waiting,
    place: Place,
    since: Instant,
    due: Instant,
    pause: Duration,
}

pub(super) async fn run(context: Context, back: Sender, mut arrivals: mpsc::UnboundedReceiver<Waits>) {
    let mut held: Vec<Waits> = Vec::new();
    loop {
        let next = held.iter().map(|waits| waits.due).min();
        let arrived = match next {
            Some(due) => tokio::select! {
                // Not drawn by chance, so that a run can be repeated.
                biased;
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
        let admitted_up_to = admitted_up_to(&context, &due, &held).await;
        let is_last_look = |waits: &Waits| {
            let all_before = admitted_up_to.is_some_and(|entry| waits.item.received.key.entry <= entry);
            waits.item.wait == Wait::OlderEntries
                && (all_before || waits.since.elapsed() >= context.settings.command_wait)
        };
        let (last_call, patient): (Vec<_>, Vec<_>) = due.into_iter().partition(is_last_look);
        for (group, no_older_entries) in [(patient, false), (last_call, true)] {
            let mut group = group.into_iter().peekable();
            while group.peek().is_some() {
                let together: Vec<Waits> = group.by_ref().take(MAX_TOGETHER).collect();
                held.extend(look(&context, together, no_older_entries, &back).await);
            }
        }
    }
}

/// The newest of the waiting entries up to which every older one has been admitted: an order that the
/// journal does not have by then does not exist. Asked of the newest, and of the oldest where that fails.
async fn admitted_up_to(context: &Context, due: &[Waits], held: &[Waits]) -> Option<EntryId> {
    let unknown = due.iter().filter(|waits| waits.item.wait == Wait::OlderEntries);
    let keys: Vec<_> = unknown.map(|waits| waits.item.received.key.clone()).collect();
    let (newest, oldest) = (keys.iter().max()?, keys.iter().min()?);
    let waiting: HashSet<EntryId> =
        due.iter().chain(held).map(|waits| waits.item.received.key.entry).collect();
    for key in [newest, oldest] {
        match context.engine.older_are_admitted(key.entry, &key.lane, &waiting).await {
            Ok(true) => return Some(key.entry),
            Ok(false) => {}
            Err(error) => {
                context.blame("looking for older requests", &error);
                return None;
            }
        }
    }
    None
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
    let mut places = Vec::with_capacity(together.len());
    for mut waits in together {
        let is_same = |item: &&Waiting| {
            item.received.key == waits.item.received.key && item.received.hash == waits.item.received.hash
        };
        let same = still.iter().find(is_same);
        if let Some(item) = same {
            waits.item = item.clone();
            waiting.push(later(waits));
        } else {
            places.push(waits.place);
        }
    }
    if !places.is_empty() {
        tokio::spawn(requests::finish(context.clone(), admitted, places, back.clone()));
    }
    waiting
}

fn later(waits: Waits) -> Waits {
    let (due, pause) = next_look(&waits.item, waits.pause);
    Waits { due, pause, ..waits }
}

/// When to look again after a pause: at its time, or after a longer pause.
fn next_look(item: &Waiting, pause: Duration) -> (Instant, Duration) {
    let now = Instant::now();
    match item.wait {
        Wait::Later { us } => (now + Duration::from_micros(u64::try_from(us).unwrap_or(0)), PAUSES.0),
        Wait::Undecided(_) | Wait::OlderEntries => {
            let pause = (pause * 2).min(PAUSES.1);
            (now + pause, pause)
        }
    }
}
