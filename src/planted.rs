//! Bugs that a careless engineer could have made, planted on purpose: whoever tests must see each of them.
//!
//! Without the feature `planted-bugs` [`is`] is constantly false, and a build without debug assertions refuses the
//! feature. With it, `worker` asks the environment once, at its start, which of them it is to have:
//!
//! `ORDER_EXECUTION_PLANTED=<name>`
//!
//! What caught each, and what did not, is in `docs/planted-bugs.md`.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!(
    "the feature `planted-bugs` is for tests: a program that can be told to be wrong is not released"
);

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $what:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Bug {
            $($(#[$doc])* $variant,)*
        }

        impl Bug {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The mistake, in a sentence.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)*
                }
            }

            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|bug| bug.as_str() == name)
            }
        }
    };
}

bugs! {
    AckBeforeCommit = "ack-before-commit",
        "a request's entry is acknowledged when it is read, before its admission is committed";
    NoCompareAndSet = "no-compare-and-set",
        "decisions are not fenced by the lease's epoch and the open attempt's number";
    DeadlineAtSend = "deadline-at-send",
        "an attempt's deadline is stamped when it is sent, not when it is journaled";
    UnknownIsRejected = "unknown-is-rejected",
        "an attempt whose answer was lost is taken for rejected";
    DedupeByEntry = "dedupe-by-entry",
        "an order is known by its stream entry, not by its client order id and content";
    PublishBeforeCommit = "publish-before-commit",
        "whoever asked the journal has its answer, and publishes it, before it is committed";
    SynchronousNormal = "synchronous-normal",
        "the journal is opened with `synchronous=NORMAL`";
    FinishWithoutOwner = "finish-without-owner",
        "a request is finished without asking who owns its entry";
    ReleaseOnTimeout = "release-on-timeout",
        "what an order reserved is released when its outcome is unknown";
    RelayWithoutLease = "relay-without-lease",
        "every worker relays, whoever has the lease";
}

/// Whether this process has the bug.
#[inline(always)]
#[must_use]
pub fn is(bug: Bug) -> bool {
    #[cfg(feature = "planted-bugs")]
    return chosen::CHOSEN.get() == Some(&bug);
    #[cfg(not(feature = "planted-bugs"))]
    {
        let _ = bug;
        false
    }
}

/// Takes the bug that the environment names, for as long as this process lives; says which. Nothing else here reads
/// the environment: what asks [`is`] stays a function of its arguments and of how the process was started.
pub fn choose() -> Result<Option<Bug>, String> {
    #[cfg(feature = "planted-bugs")]
    return chosen::from_environment();
    #[cfg(not(feature = "planted-bugs"))]
    Ok(None)
}

/// The same by name, for tests that work inside their own process. The first choice stays.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) -> Result<(), String> {
    let chosen = *chosen::CHOSEN.get_or_init(|| bug);
    if chosen == bug { Ok(()) } else { Err(format!("{} is planted already", chosen.as_str())) }
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::sync::OnceLock;

    use super::Bug;

    pub(super) static CHOSEN: OnceLock<Bug> = OnceLock::new();

    pub(super) fn from_environment() -> Result<Option<Bug>, String> {
        let Some(name) = std::env::var("ORDER_EXECUTION_PLANTED").ok().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let bug = Bug::named(&name).ok_or_else(|| {
            let known: Vec<_> = Bug::ALL.iter().map(|bug| bug.as_str()).collect();
            format!("ORDER_EXECUTION_PLANTED={name} names no bug; there are: {}", known.join(", "))
        })?;
        super::plant(bug)?;
        Ok(Some(bug))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bug_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = Bug::ALL.iter().map(|bug| bug.as_str()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            assert_eq!(Bug::named(bug.as_str()), Some(*bug));
        }
        assert_eq!(Bug::named(""), None);
    }

    #[test]
    fn none_is_there_where_none_was_chosen() {
        for bug in Bug::ALL {
            assert!(!is(*bug), "{}", bug.as_str());
        }
    }
}
