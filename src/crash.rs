//! Named places at which a test makes this process die, freeze, or lose an answer of its database.
//!
//! Without the feature `crash-points` everything here is nothing, and a build without debug assertions refuses
//! the feature. With it, the environment arms one point, once for each process:
//!
//! `ORDER_EXECUTION_CRASH=<point>:<action>[:<nth>]`: `kill` and `stop` act in [`point`], `db-error` and
//! `lost-commit` in [`fails`]; `nth` counts the passings of that function at that point from 1.
//! `ORDER_EXECUTION_CRASH_HITS=<file>`: a line `<point> <action>` is appended before it acts, so that a test knows
//! that the place was reached.

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("the feature `crash-points` is for tests: a program that can be told to die is not released");

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[$doc])* $variant,)*
        }

        impl Point {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

points! {
    /// Entries were read or taken over; nothing else was done.
    InboxRead = "inbox-read",
    AdmissionCommitBefore = "admission-commit-before",
    /// Committed, and whoever asked does not know it yet. So for every `…-commit-after`.
    AdmissionCommitAfter = "admission-commit-after",
    SubmitSendBefore = "submit-send-before",
    /// The broker's answer is here and not recorded. So for every `…-answered`.
    SubmitAnswered = "submit-answered",
    RecordCommitBefore = "record-commit-before",
    RecordCommitAfter = "record-commit-after",
    PublishBefore = "publish-before",
    PublishAfter = "publish-after",
    /// Before the journal is told what is published.
    MarkBefore = "mark-before",
    MarkAfter = "mark-after",
    TakeoverClaimed = "takeover-claimed",
    CancelSendBefore = "cancel-send-before",
    CancelAnswered = "cancel-answered",
    ReplaceSendBefore = "replace-send-before",
    ReplaceAnswered = "replace-answered",
    /// The broker's books were looked at after an unknown outcome.
    LookAnswered = "look-answered",
    ParkCommitAfter = "park-commit-after",
    /// What a broker's feed tells, or a new quote does at the embedded one.
    FeedCommitBefore = "feed-commit-before",
    FeedCommitAfter = "feed-commit-after",
    RelayBefore = "relay-before",
    RelayAfter = "relay-after",
    /// The reconciliation has taken something that nobody works on.
    ReconcileClaimed = "reconcile-claimed",
}

/// Dies or freezes here, where that is armed.
#[inline(always)]
pub fn point(at: Point) {
    #[cfg(feature = "crash-points")]
    armed::point(at);
    #[cfg(not(feature = "crash-points"))]
    let _ = at;
}

/// Whether the database is to seem to have failed here. Asked before a `COMMIT`, it was not carried out; asked
/// after one, its reply was lost.
#[inline(always)]
#[must_use]
pub fn fails(at: Point) -> bool {
    #[cfg(feature = "crash-points")]
    return armed::fails(at);
    #[cfg(not(feature = "crash-points"))]
    {
        let _ = at;
        false
    }
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Action {
        Kill,
        Stop,
        DbError,
        LostCommit,
    }

    impl Action {
        pub(super) const ALL: [Self; 4] = [Self::Kill, Self::Stop, Self::DbError, Self::LostCommit];

        pub(super) const fn as_str(self) -> &'static str {
            match self {
                Self::Kill => "kill",
                Self::Stop => "stop",
                Self::DbError => "db-error",
                Self::LostCommit => "lost-commit",
            }
        }

        const fn is_signal(self) -> bool {
            matches!(self, Self::Kill | Self::Stop)
        }
    }

    #[derive(Debug)]
    pub(super) struct Armed {
        pub(super) at: Point,
        pub(super) action: Action,
        pub(super) nth: u32,
        passed: AtomicU32,
    }

    impl Armed {
        pub(super) fn parse(text: &str) -> Option<Self> {
            let mut parts = text.split(':');
            let at = parts.next()?;
            let action = parts.next()?;
            let nth = parts.next().map_or(Ok(1), str::parse).ok()?;
            let armed = Self {
                at: Point::ALL.iter().copied().find(|point| point.as_str() == at)?,
                action: Action::ALL.into_iter().find(|known| known.as_str() == action)?,
                nth,
                passed: AtomicU32::new(0),
            };
            (parts.next().is_none() && nth > 0).then_some(armed)
        }

        /// Whether this passing is the one. After it none is.
        pub(super) fn is_due(&self, at: Point, signal: bool) -> bool {
            at == self.at
                && signal == self.action.is_signal()
                && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
        }
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let text = std::env::var("ORDER_EXECUTION_CRASH").ok().filter(|text| !text.is_empty())?;
            let armed = Armed::parse(&text);
            if armed.is_none() {
                give_up(&format!("ORDER_EXECUTION_CRASH={text} names no point, action or passing"));
            }
            armed
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn point(at: Point) {
        let Some(armed) = armed().filter(|armed| armed.is_due(at, true)) else { return };
        tell(armed);
        let signal = if armed.action == Action::Kill { Signal::KILL } else { Signal::STOP };
        if let Err(error) = kill_process(getpid(), signal) {
            give_up(&format!("{signal:?} to ourselves: {error}"));
        }
        // Any thread may be the first that the signal reaches: this one does not go on before it is stopped, too.
        std::thread::sleep(Duration::from_millis(20));
    }

    pub(super) fn fails(at: Point) -> bool {
        let due = armed().filter(|armed| armed.is_due(at, false));
        due.inspect(|armed| tell(armed)).is_some()
    }

    /// A line that is not written would be a point that seems not to have been reached.
    fn tell(armed: &Armed) {
        let Some(path) = std::env::var_os("ORDER_EXECUTION_CRASH_HITS") else { return };
        let line = format!("{} {}\n", armed.at.as_str(), armed.action.as_str());
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            give_up(&format!("ORDER_EXECUTION_CRASH_HITS: {error}"));
        }
    }

    #[expect(
        clippy::print_stderr,
        reason = "logging may not be set up, and a test waits for what will not come"
    )]
    fn give_up(why: &str) {
        eprintln!("crash points: {why}");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Point::ALL.iter().map(|point| point.as_str()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }

    #[test]
    fn nothing_happens_where_nothing_is_armed() {
        for at in Point::ALL {
            point(*at);
            assert!(!fails(*at));
        }
    }

    #[cfg(feature = "crash-points")]
    #[test]
    fn a_point_is_due_once_at_its_passing_and_in_its_function() {
        use super::armed::{Action, Armed};

        let armed = Armed::parse("publish-before:kill:2").unwrap();
        assert_eq!((armed.at, armed.action, armed.nth), (Point::PublishBefore, Action::Kill, 2));
        assert!(!armed.is_due(Point::PublishAfter, true));
        assert!(!armed.is_due(Point::PublishBefore, false), "an action for the other function");
        let due: Vec<bool> = (0..4).map(|_| armed.is_due(Point::PublishBefore, true)).collect();
        assert_eq!(due, [false, true, false, false]);

        let armed = Armed::parse("record-commit-after:lost-commit").unwrap();
        assert!(armed.is_due(Point::RecordCommitAfter, false));
        for wrong in [
            "",
            "publish-before",
            "publish:kill",
            "publish-before:die",
            "publish-before:kill:0",
            "publish-before:kill:1:2",
        ] {
            assert!(Armed::parse(wrong).is_none(), "{wrong}");
        }
    }
}
