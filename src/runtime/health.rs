//! Whether this process can do its work: one state for each thing that it depends on.
//!
//! A component that is given `stale_after` must report again and again: one that says nothing for so long
//! counts as not ok, so that a stuck loop is seen. That is judged whenever somebody looks.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

type Sentence = Cow<'static, str>;

/// Everything's health. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

/// The handle by which one component reports. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Component {
    health: Health,
    index: usize,
}

/// How one component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentHealth {
    pub name: &'static str,
    pub ok: bool,
    /// One sentence for people.
    pub message: Sentence,
    /// For how long it has been ok, or not ok.
    pub lasting: Duration,
}

/// How everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub components: Vec<ComponentHealth>,
    /// Why no new work is taken, where that was asked for.
    pub draining: Option<String>,
}

impl Report {
    /// All components are ok, and new work is taken.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.draining.is_none() && self.components.iter().all(|component| component.ok)
    }
}

#[derive(Debug, Default)]
struct State {
    draining: Option<String>,
    components: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: &'static str,
    stale_after: Option<Duration>,
    reported_ok: bool,
    message: Sentence,
    /// When it last reported that it is ok; before the first report, when it was added.
    last_good: Instant,
    /// As last told, and since when.
    ok: bool,
    since: Instant,
}

impl Health {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component. It is not ok until it reports that it is. A name that is known is the same component.
    pub fn component(&self, name: &'static str, stale_after: Option<Duration>) -> Component {
        let mut state = self.lock();
        let known = state.components.iter().position(|entry| entry.name == name);
        let index = known.unwrap_or_else(|| {
            let now = Instant::now();
            state.components.push(Entry {
                name,
                stale_after,
                reported_ok: false,
                message: "starting".into(),
                last_good: now,
                ok: false,
                since: now,
            });
            state.components.len() - 1
        });
        Component { health: self.clone(), index }
    }

    /// No new work is taken from here on: not ready, whatever the components say.
    pub fn drain(&self, why: &str) {
        self.lock().draining.get_or_insert_with(|| why.to_owned());
    }

    #[must_use]
    pub fn ready(&self) -> bool {
        self.report().ready()
    }

    #[must_use]
    pub fn report(&self) -> Report {
        let mut state = self.lock();
        let now = Instant::now();
        Report {
            components: state.components.iter_mut().map(|entry| entry.look(now)).collect(),
            draining: state.draining.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// Whether it has reported that it is ok within this time.
    #[must_use]
    pub fn was_ok_within(&self, time: Duration) -> bool {
        let state = self.health.lock();
        state.components.get(self.index).is_some_and(|entry| entry.last_good.elapsed() <= time)
    }

    pub fn ok(&self, message: impl Into<Sentence>) {
        self.say(true, message.into());
    }

    /// `message` says what is wrong and where, in one sentence.
    pub fn not_ok(&self, message: impl Into<Sentence>) {
        self.say(false, message.into());
    }

    fn say(&self, ok: bool, message: Sentence) {
        let mut state = self.health.lock();
        let now = Instant::now();
        if let Some(entry) = state.components.get_mut(self.index) {
            // A silence that nobody looked at is told before it ends.
            entry.look(now);
            entry.reported_ok = ok;
            entry.message = message;
            if ok {
                entry.last_good = now;
            }
            entry.look(now);
        }
    }
}

impl Entry {
    fn look(&mut self, now: Instant) -> ComponentHealth {
        let silent = now.duration_since(self.last_good);
        let stale = self.reported_ok && self.stale_after.is_some_and(|limit| silent > limit);
        let ok = self.reported_ok && !stale;
        let message: Sentence = if stale {
            format!("no sign of life for {} s; it last said: {}", silent.as_secs(), self.message).into()
        } else {
            self.message.clone()
        };
        if ok != self.ok {
            let after_ms = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
            (self.ok, self.since) = (ok, now);
            if ok {
                tracing::info!(component = self.name, reason = %message, after_ms, "healthy");
            } else {
                tracing::warn!(component = self.name, reason = %message, after_ms, "not healthy");
            }
        }
        ComponentHealth { name: self.name, ok, message, lasting: now.duration_since(self.since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(health: &Health) -> ComponentHealth {
        health.report().components.remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn ready_is_everything_ok_and_not_draining() {
        let health = Health::new();
        assert!(health.ready());
        let redis = health.component("redis", None);
        let journal = health.component("journal", None);
        redis.ok("answers");
        assert!(!health.ready(), "the journal has not said anything yet");
        journal.ok("commits");
        assert!(health.ready());
        journal.not_ok("the disk is full");
        assert!(!health.ready());
        journal.ok("commits");
        health.drain("SIGTERM");
        assert!(!health.ready());
        assert!(health.report().components.iter().all(|component| component.ok));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_says_nothing_is_not_ok() {
        let health = Health::new();
        let worker = health.component("worker", Some(Duration::from_secs(5)));
        worker.ok("reads");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(only(&health).ok);
        worker.ok("reads");
        tokio::time::advance(Duration::from_secs(6)).await;
        let stale = only(&health);
        assert!(!stale.ok);
        assert_eq!(stale.message, "no sign of life for 6 s; it last said: reads");
        worker.ok("reads");
        assert!(only(&health).ok);
    }

    #[tokio::test(start_paused = true)]
    async fn tells_since_when() {
        let health = Health::new();
        let redis = health.component("redis", None);
        redis.ok("answers");
        tokio::time::advance(Duration::from_secs(3)).await;
        redis.ok("answers");
        assert_eq!(only(&health).lasting, Duration::from_secs(3));
        redis.not_ok("refuses connections");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(only(&health).lasting, Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_name_is_one_component() {
        let health = Health::new();
        health.component("redis", None).not_ok("away");
        health.component("redis", None).ok("back");
        assert_eq!(health.report().components.len(), 1);
        assert!(health.ready());
    }
}
