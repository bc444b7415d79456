//! What the publishing script does, all of it at once: see `src/adapters/redis/scripts/publish.lua`.

use std::collections::HashSet;
use std::sync::Arc;

use order_execution::domain::ids::EntryId;
use order_execution::ports::publisher::{
    Answers, Finish, FinishAnswer, OrderAnswer, OrderUpdate, Publication, STALE_MS,
};

use super::super::plant::{Fault, Plant};
use super::{Data, Server, Told};

const REMEMBER_MS: u64 = 6 * STALE_MS;

impl Server {
    pub(super) fn publish(&self, me: &Arc<str>, publication: &Publication) -> Answers {
        let now_ms = self.now_ms();
        let mut data = self.data();
        let (mut answers, mut out, mut ended) = (Answers::default(), Vec::new(), Vec::new());
        for update in &publication.orders {
            answers.orders.push(data.publish_order(update, self.plant, &mut out));
        }
        // Asked of all before any is finished.
        let mut seen = HashSet::new();
        let may: Vec<FinishAnswer> =
            publication.finishes.iter().map(|finish| data.may_finish(me, finish, now_ms)).collect();
        for (finish, may) in publication.finishes.iter().zip(may) {
            let answer = if may == FinishAnswer::FinishedAlready || seen.contains(&finish.entry) {
                data.leave(finish.entry);
                FinishAnswer::FinishedAlready
            } else {
                may
            };
            let answer = if self.plant.is(Fault::FinishWithoutOwner) { FinishAnswer::Done } else { answer };
            let is_behind = finish
                .after
                .is_some_and(|(order, version)| data.versions.get(&order).copied().unwrap_or(0) < version);
            answers.finishes.push(match answer {
                FinishAnswer::Done if is_behind => FinishAnswer::Behind,
                FinishAnswer::Done => {
                    seen.insert(finish.entry);
                    data.finished.insert(finish.entry);
                    data.leave(finish.entry);
                    data.outcomes.push(Told { entry: finish.entry, completed: finish.completed });
                    ended.push((finish.entry, finish.completed));
                    FinishAnswer::Done
                }
                other => other,
            });
        }
        for entry in &publication.forget {
            data.finished.remove(entry);
            data.marked.insert(*entry, now_ms);
        }
        if !publication.forget.is_empty() {
            data.marked.retain(|_, at| now_ms.saturating_sub(*at) <= REMEMBER_MS);
        }
        drop(data);
        if let Some(auditor) = &self.auditor {
            for (order, before, first, version) in out {
                auditor.published(order, before, first, version);
            }
            for (entry, completed) in ended {
                auditor.told(entry, completed);
            }
        }
        answers
    }
}

type Out = (order_execution::domain::ids::OrderId, Option<u64>, u64, u64);

impl Data {
    fn publish_order(&mut self, update: &OrderUpdate, plant: Plant, told: &mut Vec<Out>) -> OrderAnswer {
        let mut out = self.versions.get(&update.order_id).copied();
        let mut gap = false;
        if update.commits.is_empty() {
            if out == Some(update.version) {
                let state = || (update.version, update.state.clone());
                self.states.entry(update.client_order_id.clone()).or_insert_with(state);
            } else if out.is_none() && update.oldest_unpublished {
                self.states.insert(update.client_order_id.clone(), (update.version, update.state.clone()));
                self.versions.insert(update.order_id, update.version);
                out = Some(update.version);
            } else {
                gap = out.is_none_or(|out| out < update.version);
            }
        }
        let before = out;
        for (nth, commit) in update.commits.iter().enumerate() {
            let is_out = out.is_some_and(|out| commit.version <= out);
            if gap || is_out {
                continue;
            }
            let continues = match out {
                Some(out) => commit.first_version == out + 1 || plant.is(Fault::PublishGaps),
                None => nth == 0 && update.oldest_unpublished,
            };
            if continues {
                told.push((update.order_id, out, commit.first_version, commit.version));
                self.events.push((update.order_id, commit.first_version, commit.version));
                out = Some(commit.version);
            } else {
                gap = true;
            }
        }
        if out != before
            && let Some(version) = out
        {
            self.versions.insert(update.order_id, version);
            if !gap && !update.state.is_empty() {
                self.states.insert(update.client_order_id.clone(), (update.version, update.state.clone()));
            }
        }
        let version = out.unwrap_or(0);
        if gap { OrderAnswer::Behind(version) } else { OrderAnswer::Published(version) }
    }

    fn may_finish(&self, me: &Arc<str>, finish: &Finish, now_ms: u64) -> FinishAnswer {
        let held = self.group.as_ref().and_then(|group| group.held.get(&finish.entry));
        if self.finished.contains(&finish.entry) {
            return FinishAnswer::FinishedAlready;
        }
        let exists = self.stream.contains_key(&finish.entry);
        match held {
            Some(held) if held.by == *me => FinishAnswer::Done,
            Some(held) if exists || self.is_alive(&held.by, now_ms) => FinishAnswer::Anothers,
            Some(_) => FinishAnswer::Done,
            None if exists => FinishAnswer::Done,
            None => {
                let word = finish.unpublished_at_ms.filter(|at| *at > 0);
                let fresh = word.is_some_and(|at| now_ms.saturating_sub(at) <= STALE_MS);
                if fresh && !self.marked.contains_key(&finish.entry) {
                    FinishAnswer::Done
                } else {
                    FinishAnswer::Gone
                }
            }
        }
    }

    /// `XACK`, `XDEL`
    fn leave(&mut self, entry: EntryId) {
        self.stream.remove(&entry);
        if let Some(group) = &mut self.group {
            group.held.remove(&entry);
        }
    }
}
