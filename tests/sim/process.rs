//! A worker's process: a runtime of its own, whose clock goes only as the world's does. Killed, all its tasks are
//! dropped wherever they wait; frozen, none is polled while time goes on for the others.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Process {
    runtime: Runtime,
    /// How often the turnstile was polled: a task that is always ready, at the end of the queue again each time. Where
    /// it comes twice in a row, nothing else was ready.
    laps: Arc<AtomicU64>,
    /// What its own clock shows, in the world's microseconds.
    clock_us: i64,
    pub(crate) frozen_until: i64,
    /// What happens to it when next something comes for it, before it can act on that.
    pub(crate) strike: Option<Strike>,
    /// When its timers are looked at again, though nothing came for it.
    pub(crate) look_at: i64,
    pub(crate) dead: Arc<AtomicBool>,
    /// Polled in each round, beside the tasks.
    local: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>>,
}

/// How a rule came out, once it has.
#[derive(Default)]
pub(crate) struct Done(Rc<RefCell<Option<Result<(), String>>>>);

impl Done {
    pub(crate) fn take(&self) -> Option<Result<(), String>> {
        self.0.borrow_mut().take()
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Strike {
    Kill,
    /// For so long, in microseconds.
    Freeze(i64),
}

/// What came of letting a process run for a while.
pub(crate) struct Ran {
    /// Tasks polled.
    pub(crate) polls: u64,
    pub(crate) idle: bool,
}

impl Process {
    pub(crate) fn new(now_us: i64) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // One task, then the scheduler is asked again; what came from outside is first.
            .event_interval(1)
            .global_queue_interval(1)
            .build()
            .expect("a runtime");
        let laps = Arc::new(AtomicU64::new(0));
        let counted = laps.clone();
        drop(runtime.spawn(poll_fn(move |context| {
            counted.fetch_add(1, Ordering::Relaxed);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        })));
        let (dead, local) = (Arc::default(), RefCell::default());
        Self { runtime, laps, clock_us: now_us, frozen_until: 0, strike: None, look_at: 0, dead, local }
    }

    /// Starts what the process is for; nothing is polled yet.
    pub(crate) fn spawn(&self, main: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(main));
    }

    /// Starts a rule of a contract, which may fail by a panic.
    pub(crate) fn spawn_local(&self, rule: Pin<Box<dyn Future<Output = ()>>>) -> Done {
        let done = Done::default();
        let told = done.0.clone();
        self.local.borrow_mut().push(Box::pin(async move {
            let result = AssertUnwindSafe(rule).catch_unwind().await;
            let text = |panic: Box<dyn std::any::Any + Send>| {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default()
            };
            *told.borrow_mut() = Some(result.map_err(text));
        }));
        done
    }

    /// Polls up to `budget` tasks.
    pub(crate) fn run(&mut self, now_us: i64, budget: u64) -> Ran {
        let behind = Duration::from_micros((now_us - self.clock_us).max(0).cast_unsigned());
        self.clock_us = now_us;
        let (laps, local) = (&self.laps, &self.local);
        let (polls, idle) = self.runtime.block_on(async move {
            if !behind.is_zero() {
                tokio::time::advance(behind).await;
            }
            let (mut polls, mut quiet, mut seen) = (0, 0, None);
            poll_fn(move |context| {
                local.borrow_mut().retain_mut(|rule| rule.as_mut().poll(context).is_pending());
                // In each round one task was polled.
                let lap = laps.load(Ordering::Relaxed);
                match seen.replace(lap) {
                    None => {}
                    Some(before) if before == lap => (polls, quiet) = (polls + 1, 0),
                    Some(_) => quiet += 1,
                }
                if quiet == 2 || polls >= budget {
                    return Poll::Ready((polls, quiet == 2));
                }
                // Woken at once, the runtime neither waits nor moves its clock.
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await
        });
        Ran { polls, idle }
    }

    /// SIGKILL.
    pub(crate) fn kill(self) {
        self.dead.store(true, Ordering::Relaxed);
        self.runtime.shutdown_background();
    }
}
