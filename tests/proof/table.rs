//! Which crash point is reached how, with which action, under which profile.

use crate::harness::Random;
use crate::profile::Profile;
use order_execution::crash::Point;
use std::collections::HashSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Action {
    /// SIGKILL.
    Kill,
    /// The transaction fails before it is committed.
    DbError,
    /// It is committed, and its reply is lost.
    LostCommit,
    /// SIGSTOP past the leases, then SIGCONT.
    Stop,
}

impl Action {
    pub(crate) const ALL: [Self; 4] = [Self::Kill, Self::DbError, Self::LostCommit, Self::Stop];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::DbError => "db-error",
            Self::LostCommit => "lost-commit",
            Self::Stop => "stop",
        }
    }
}

/// What leads a worker to a point, beside the requests that every trial adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Nothing: requests of every kind reach it.
    Requests,
    /// The entries are held by a consumer that is dead.
    Takeover,
    /// An order was journaled by a worker that died, and Redis lost its entry.
    Orphan,
    /// A worker died before it published what happened to an order whose request was finished.
    Unpublished,
    /// The first answer of the broker is lost after it executed.
    LostAnswer,
    /// The first request to the broker is lost on the way.
    LostRequest,
}

pub(crate) const fn scenario(point: Point) -> Scenario {
    match point {
        Point::TakeoverClaimed => Scenario::Takeover,
        Point::ReconcileClaimed => Scenario::Orphan,
        Point::RelayBefore | Point::RelayAfter => Scenario::Unpublished,
        Point::LookAnswered => Scenario::LostAnswer,
        Point::ParkCommitAfter => Scenario::LostRequest,
        Point::InboxRead
        | Point::AdmissionCommitBefore
        | Point::AdmissionCommitAfter
        | Point::SubmitSendBefore
        | Point::SubmitAnswered
        | Point::RecordCommitBefore
        | Point::RecordCommitAfter
        | Point::PublishBefore
        | Point::PublishAfter
        | Point::MarkBefore
        | Point::MarkAfter
        | Point::CancelSendBefore
        | Point::CancelAnswered
        | Point::ReplaceSendBefore
        | Point::ReplaceAnswered
        | Point::FeedCommitBefore
        | Point::FeedCommitAfter => Scenario::Requests,
    }
}

/// Why a point cannot be reached under a profile.
pub(crate) const fn impossible(point: Point, profile: Profile) -> Option<&'static str> {
    match (point, profile) {
        (
            Point::SubmitSendBefore
            | Point::SubmitAnswered
            | Point::CancelSendBefore
            | Point::CancelAnswered
            | Point::ReplaceSendBefore
            | Point::ReplaceAnswered,
            Profile::Embedded,
        ) => Some("the embedded simulator answers inside the recording transaction"),
        (Point::LookAnswered | Point::ParkCommitAfter, Profile::Embedded) => {
            Some("no answer of the embedded simulator is ever lost")
        }
        (Point::LookAnswered, Profile::Forever) => Some("what is unknown is sent again, not looked for"),
        (Point::ParkCommitAfter, Profile::Forever | Profile::Deadline) => {
            Some("what became of an attempt can always be found out")
        }
        _ => None,
    }
}

pub(crate) const fn applies(point: Point, action: Action) -> bool {
    match action {
        Action::Kill | Action::Stop => true,
        Action::DbError => matches!(
            point,
            Point::AdmissionCommitBefore | Point::RecordCommitBefore | Point::FeedCommitBefore
        ),
        Action::LostCommit => matches!(
            point,
            Point::AdmissionCommitAfter
                | Point::RecordCommitAfter
                | Point::FeedCommitAfter
                | Point::ParkCommitAfter
        ),
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    pub(crate) point: Point,
    pub(crate) action: Action,
    pub(crate) profile: Profile,
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {} × {}", self.point.as_str(), self.action.as_str(), self.profile)
    }
}

/// Every combination that can be.
pub(crate) fn all() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &point in Point::ALL {
        for action in Action::ALL.into_iter().filter(|action| applies(point, *action)) {
            let profiles = Profile::ALL.into_iter().filter(|profile| impossible(point, *profile).is_none());
            trials.extend(profiles.map(|profile| Trial { point, action, profile }));
        }
    }
    trials
}

/// So few that every pair of point and action, point and profile, action and profile occurs.
pub(crate) fn pairwise(mut trials: Vec<Trial>, seed: u64) -> Vec<Trial> {
    let mut random = Random(seed);
    for place in (1..trials.len()).rev() {
        let other = usize::try_from(random.below(place as u64 + 1)).unwrap_or(0);
        trials.swap(place, other);
    }
    let pairs = |t: &Trial| {
        let (point, action, profile) = (t.point.as_str(), t.action.as_str(), t.profile.as_str());
        [(point, action), (point, profile), (action, profile)]
    };
    let mut covered = HashSet::new();
    let mut chosen = Vec::new();
    loop {
        let news = |t: &Trial| pairs(t).iter().filter(|pair| !covered.contains(*pair)).count();
        let Some(best) = trials.iter().max_by_key(|trial| news(trial)).copied().filter(|t| news(t) > 0)
        else {
            return chosen;
        };
        covered.extend(pairs(&best));
        chosen.push(best);
    }
}
