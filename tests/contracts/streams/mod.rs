//! What is promised of the streams: `ports::inbox` and `ports::publisher`. One server stands behind both.

pub(crate) mod inbox;
pub(crate) mod publisher;

use std::sync::Arc;
use std::time::Duration;

use order_execution::domain::ids::{EntryId, OrderId};
use order_execution::domain::request::Received;
use order_execution::ports::inbox::{Inbox, InboxControl};
use order_execution::ports::publisher::Publisher;

/// Makes consumers of one stream, and looks at the server from outside.
pub(crate) trait StreamsUnderTest {
    /// One more consumer, or another start of one that had this name.
    async fn consumer(&self, name: &str) -> Consumer;

    /// How long an entry lies idle, and its holder is silent, before it is taken over.
    fn claim_idle(&self) -> Duration;

    /// A producer adds a request.
    async fn add(&self, text: &str) -> EntryId;

    /// Lets time go on.
    async fn pass(&self, time: Duration);

    /// The server loses everything.
    async fn lose_all(&self);

    /// What the server holds now is what it holds again after `fall_back`: it lost what it was told in between.
    async fn remember(&self);

    async fn fall_back(&self);

    /// Somebody removes the bodies of all entries.
    async fn trim(&self);

    /// What went out of an order: first and last version of each commit.
    async fn versions_out(&self, order: OrderId) -> Vec<(u64, u64)>;

    async fn state(&self, client_order_id: &str) -> Option<String>;

    /// Entries whose outcome was told, and whether as completed: the completed ones first.
    async fn outcomes(&self) -> Vec<(EntryId, bool)>;
}

pub(crate) struct Consumer {
    pub(crate) inbox: Box<dyn Inbox>,
    pub(crate) control: Arc<dyn InboxControl>,
    pub(crate) publisher: Arc<dyn Publisher>,
}

fn ids(requests: &[Received]) -> Vec<EntryId> {
    requests.iter().map(|request| request.key.entry).collect()
}

impl Consumer {
    /// Reads until something comes, saying all the while that it lives.
    async fn some(&mut self) -> (Vec<Received>, bool) {
        for _ in 0..500 {
            self.control.heartbeat().await.unwrap();
            let batch = self.inbox.next().await.unwrap();
            if !batch.requests.is_empty() {
                return (batch.requests, batch.reclaimed);
            }
        }
        panic!("nothing came");
    }

    /// Reads until so many came.
    async fn all(&mut self, count: usize) -> Vec<EntryId> {
        let mut got = Vec::new();
        while got.len() < count {
            got.extend(ids(&self.some().await.0));
        }
        got
    }
}

/// Hands the rules' names on to a macro: see `contracts::as_tests`.
macro_rules! streams_rules {
    ($then:ident, $suite:path, $factory:expr) => {
        $crate::contracts::$then! { $suite, $factory;
            inbox::what_was_added_before_any_consumer_came_is_read_in_order,
            inbox::an_entry_is_given_to_one_consumer,
            inbox::what_a_silent_consumer_holds_is_taken_over,
            inbox::what_a_living_consumer_holds_is_not_taken_over,
            inbox::after_a_second_death_entries_come_one_by_one_and_are_counted,
            inbox::a_name_that_comes_back_takes_up_what_it_held,
            inbox::a_released_inbox_reads_nothing_new,
            inbox::what_is_renewed_is_not_idle,
            inbox::a_trimmed_entry_is_given_out_as_such,
            inbox::a_consumer_leaves_only_with_empty_hands,
            inbox::depth_tells_what_waits_and_what_is_held,
            inbox::older_entries_and_present_ones_are_told,
            inbox::a_server_that_was_emptied_is_noticed_and_read_on,
            inbox::what_was_finished_in_a_lost_moment_is_given_out_again,
            inbox::what_another_took_over_is_taken_back_when_that_one_dies,
            publisher::commits_go_out_in_order_and_once,
            publisher::a_gap_holds_back_what_lies_behind_it,
            publisher::after_all_is_lost_the_oldest_unpublished_commit_goes_on,
            publisher::a_lost_state_is_put_back,
            publisher::a_finished_entry_leaves_with_its_outcome_and_is_remembered,
            publisher::who_lost_an_entry_finishes_nothing,
            publisher::an_outcome_waits_for_its_order,
            publisher::an_entry_that_nobody_holds_is_finished_where_it_lies,
            publisher::a_lost_entry_is_finished_on_the_journals_fresh_word_once,
        }
    };
}
pub(crate) use streams_rules;
