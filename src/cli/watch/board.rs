//! The orders that are watched. What is kept is bounded: orders that have ended go first, the oldest end first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::cli::status_message::StatusMessage;

use super::row::{Row, State};

/// Orders that are kept, at most, and how many of them have ended.
const ROWS: usize = 10_000;
const ENDED: usize = 500;
/// Orders that are known to be of other strategies, at most; beyond, the state is read once more.
const FOREIGN: usize = 100_000;

#[derive(Debug)]
pub(super) struct Board {
    rows: HashMap<String, Kept>,
    /// Order ids by when they were first heard of.
    by_age: BTreeMap<u64, String>,
    /// Ages of those that have ended, by when they did.
    ended: VecDeque<(u64, String)>,
    next_age: u64,
    changes: u64,
    /// Of those that matched.
    pub(super) messages: u64,
    /// Orders that had not ended when there was no room for them any more.
    pub(super) dropped: u64,
    foreign: BTreeSet<String>,
    most: usize,
}

#[derive(Debug)]
struct Kept {
    age: u64,
    /// Counts changes of all orders.
    changed: u64,
    row: Row,
}

/// What a message is to what is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It went on from there.
    Next,
    /// It tells what is known already.
    Old,
    /// Nothing is known of the versions in between, both included.
    Gap(u64, u64),
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            rows: HashMap::new(),
            by_age: BTreeMap::new(),
            ended: VecDeque::new(),
            next_age: 0,
            changes: 0,
            messages: 0,
            dropped: 0,
            foreign: BTreeSet::new(),
            most: ROWS,
        }
    }

    pub(super) fn knows(&self, order_id: &str) -> bool {
        self.rows.contains_key(order_id)
    }

    pub(super) fn row(&self, order_id: &str) -> Option<&Row> {
        self.rows.get(order_id).map(|kept| &kept.row)
    }

    /// Takes a message. A gap changes nothing: whoever called reads the state.
    pub(super) fn take(&mut self, message: &StatusMessage) -> Heard {
        self.messages += 1;
        let known = self.row(&message.order_id).map_or(0, |row| row.version);
        if message.version <= known {
            return Heard::Old;
        }
        if message.first_version > known + 1 {
            return Heard::Gap(known + 1, message.first_version - 1);
        }
        self.believe(message);
        Heard::Next
    }

    /// Takes a message, whatever went before it.
    pub(super) fn believe(&mut self, message: &StatusMessage) {
        self.changes += 1;
        match self.rows.get_mut(&message.order_id) {
            Some(kept) => {
                let had_ended = kept.row.has_ended();
                kept.row.take(message);
                kept.changed = self.changes;
                let age = kept.age;
                if kept.row.has_ended() && !had_ended {
                    self.end(age, message.order_id.clone());
                }
            }
            None => self.add(Row::of_message(message)),
        }
    }

    /// Takes the truth about an order; says whether that was news.
    pub(super) fn take_state(&mut self, state: &State) -> bool {
        let row = Row::of_state(state);
        self.changes += 1;
        let Some(kept) = self.rows.get_mut(&row.order_id) else {
            self.add(row);
            return true;
        };
        // Parking is told by the state alone, which has an event for it, too.
        let is_news = row.version > kept.row.version;
        if row.version < kept.row.version {
            return false;
        }
        let (had_ended, age, id) = (kept.row.has_ended(), kept.age, row.order_id.clone());
        kept.row = row;
        if is_news {
            kept.changed = self.changes;
        }
        match (had_ended, kept.row.has_ended()) {
            (false, true) => self.end(age, id),
            // Somebody published what is not so.
            (true, false) => self.ended.retain(|(ended, _)| *ended != age),
            (true, true) | (false, false) => {}
        }
        is_news
    }

    fn add(&mut self, row: Row) {
        let (age, id, has_ended) = (self.next_age, row.order_id.clone(), row.has_ended());
        self.next_age += 1;
        self.by_age.insert(age, id.clone());
        self.rows.insert(id.clone(), Kept { age, changed: self.changes, row });
        if has_ended {
            self.end(age, id);
        }
        while self.rows.len() > self.most {
            if let Some((age, id)) = self.ended.pop_front() {
                self.forget(age, &id);
            } else if let Some((age, id)) = self.by_age.pop_first() {
                self.forget(age, &id);
                self.dropped += 1;
            }
        }
    }

    fn end(&mut self, age: u64, id: String) {
        self.ended.push_back((age, id));
        if self.ended.len() > ENDED
            && let Some((age, id)) = self.ended.pop_front()
        {
            self.forget(age, &id);
        }
    }

    fn forget(&mut self, age: u64, id: &str) {
        self.by_age.remove(&age);
        self.rows.remove(id);
    }

    /// Newest first.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.by_age.values().rev().filter_map(|id| self.row(id))
    }

    pub(super) fn open(&self) -> usize {
        self.rows.len() - self.ended.len()
    }

    /// Names of those that have not ended, by their order ids.
    pub(super) fn unfinished(&self) -> Vec<(String, String)> {
        let open = self.rows().filter(|row| !row.has_ended());
        open.map(|row| (row.order_id.clone(), row.client_order_id.clone())).collect()
    }

    /// At most `room` of those that pass, newest first. Where there is no room for all, those that changed last are
    /// shown, two of three of them open ones: what still works, and what just happened.
    pub(super) fn shown(&self, room: usize, passes: impl Fn(&Row) -> bool) -> Vec<&Row> {
        let kept = self.by_age.values().rev().filter_map(|id| self.rows.get(id));
        let (mut ended, mut open): (Vec<&Kept>, Vec<&Kept>) =
            kept.filter(|kept| passes(&kept.row)).partition(|kept| kept.row.has_ended());
        let for_ended = ended.len().min((room / 3).max(room.saturating_sub(open.len())));
        let for_open = open.len().min(room - for_ended);
        for (rows, count) in [(&mut ended, for_ended), (&mut open, for_open)] {
            rows.sort_unstable_by_key(|kept| Reverse(kept.changed));
            rows.truncate(count);
        }
        open.extend(ended);
        open.sort_unstable_by_key(|kept| Reverse(kept.age));
        open.into_iter().map(|kept| &kept.row).collect()
    }

    pub(super) fn is_foreign(&self, order_id: &str) -> bool {
        self.foreign.contains(order_id)
    }

    pub(super) fn note_foreign(&mut self, order_id: &str) {
        // Ids of version 7 begin with their time: the oldest comes first.
        if self.foreign.len() >= FOREIGN {
            self.foreign.pop_first();
        }
        self.foreign.insert(order_id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(id: &str, first: u64, version: u64, status: &str) -> StatusMessage {
        serde_json::from_value(json!({
            "order_id": id, "client_order_id": id, "symbol": "X", "side": "Buy", "passed": [status],
            "status": status, "filled_quantity": "0.5", "remaining_quantity": "0.50", "average_fill_price": null,
            "reason": null, "first_version": first, "version": version, "timestamp": "2026-01-02T03:04:05.000006Z",
        }))
        .unwrap()
    }

    fn state(id: &str, version: u64, status: &str) -> State {
        serde_json::from_value(json!({
            "id": id, "client_order_id": id, "symbol": "X", "side": "Buy", "quantity": "1", "status": status,
            "filled_quantity": "0", "average_fill_price": null, "parked": false, "version": version,
            "updated_at": "2026-01-02T03:04:05.000006Z", "events": [{"version": version, "type": status}],
        }))
        .unwrap()
    }

    #[test]
    fn a_message_goes_on_or_leaves_a_gap() {
        let mut board = Board::new();
        assert_eq!(board.take(&message("a", 1, 3, "PendingSubmit")), Heard::Next);
        assert_eq!(board.take(&message("a", 1, 3, "PendingSubmit")), Heard::Old);
        assert_eq!(board.take(&message("a", 6, 6, "Filled")), Heard::Gap(4, 5));
        assert_eq!(board.row("a").unwrap().status, "PendingSubmit", "a gap is not believed");
        assert!(board.take_state(&state("a", 5, "Acknowledged")));
        assert!(!board.take_state(&state("a", 4, "Submitted")), "never backwards");
        assert_eq!(board.take(&message("a", 6, 6, "Filled")), Heard::Next);
        let row = board.row("a").unwrap();
        assert_eq!((row.status.as_str(), row.quantity.as_str(), row.version), ("Filled", "1", 6));
        assert_eq!(board.take(&message("b", 4, 4, "Filled")), Heard::Gap(1, 3));
        assert_eq!((board.open(), board.messages), (0, 5));
    }

    #[test]
    fn those_that_ended_go_first_and_nothing_grows_without_a_bound() {
        let mut board = Board { most: 3, ..Board::new() };
        board.believe(&message("old", 1, 1, "Acknowledged"));
        board.believe(&message("ended", 1, 1, "Filled"));
        board.believe(&message("new", 1, 1, "Acknowledged"));
        board.believe(&message("newer", 1, 1, "Acknowledged"));
        let names = |board: &Board| board.rows().map(|row| row.order_id.clone()).collect::<Vec<_>>();
        assert_eq!(names(&board), ["newer", "new", "old"]);
        board.believe(&message("newest", 1, 1, "Acknowledged"));
        assert_eq!((names(&board), board.dropped), (vec!["newest".into(), "newer".into(), "new".into()], 1));
        board.believe(&message("newer", 2, 2, "Filled"));
        let shown =
            |room| board.shown(room, |_| true).iter().map(|row| row.order_id.clone()).collect::<Vec<_>>();
        assert_eq!(shown(2), ["newest", "new"], "open ones come first");
        assert_eq!((shown(9).len(), board.open()), (3, 2));
        let mut board = Board::new();
        for nth in 0..9 {
            board.believe(&message(&nth.to_string(), 1, 1, "Acknowledged"));
        }
        board.believe(&message("2", 2, 2, "Filled"));
        board.believe(&message("3", 2, 2, "Cancelled"));
        board.believe(&message("1", 2, 2, "PartiallyFilled"));
        let shown: Vec<_> = board.shown(3, |_| true).iter().map(|row| row.order_id.as_str()).collect();
        assert_eq!(shown, ["8", "3", "1"], "what changed last, two of three open ones, newest first");

        let mut board = Board::new();
        for nth in 0..2 * ENDED {
            board.believe(&message(&nth.to_string(), 1, 1, "Filled"));
        }
        assert_eq!((board.rows.len(), board.by_age.len(), board.ended.len()), (ENDED, ENDED, ENDED));
        for nth in 0..=FOREIGN {
            board.note_foreign(&format!("{nth:06}"));
        }
        assert!(board.foreign.len() == FOREIGN && !board.is_foreign("000000") && board.is_foreign("000001"));
    }
}
