//! What is promised of a journal: `ports::journal`.

pub(crate) mod control;
pub(crate) mod facts;
pub(crate) mod fences;
pub(crate) mod follow;
pub(crate) mod limits;
pub(crate) mod outbox;
pub(crate) mod queries;
pub(crate) mod requests;

use std::sync::Arc;
use std::time::Duration;

use order_execution::domain::decide::{Decision, Input, Rules};
use order_execution::domain::order::Order;
use order_execution::domain::profile::Profile;
use order_execution::domain::request::OrderRef;
use order_execution::domain::risk::Limit;
use order_execution::domain::time::Timestamp;
use order_execution::engine::replay::replay;
use order_execution::ports::journal::{Journal, JournalReader};

use super::fixture;

/// Makes handles on one journal, as several workers have them.
pub(crate) trait JournalUnderTest {
    /// One more handle, with a connection and a memory of its own.
    async fn open(&self, rules: Rules) -> Handle;

    /// Lets time go on by the clock that the journal judges leases by.
    async fn pass(&self, time: Duration);

    /// That clock, about.
    fn now(&self) -> Timestamp;

    /// From now on the journal cannot write an order of this client order id, for a reason that no decision foresees.
    async fn refuse_to_write(&self, client_order_id: &str);
}

pub(crate) struct Handle {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) reader: Arc<dyn JournalReader>,
}

impl Handle {
    pub(crate) async fn decide(&self, inputs: Vec<Input>) -> Vec<Decision> {
        self.journal.transact(inputs).await.unwrap().into_iter().map(Result::unwrap).collect()
    }

    pub(crate) async fn decide_one(&self, input: Input) -> Decision {
        self.decide(vec![input]).await.remove(0)
    }

    pub(crate) async fn order(&self, client: &str) -> Order {
        self.find(client).await.unwrap_or_else(|| panic!("{client} is not there"))
    }

    pub(crate) async fn find(&self, client: &str) -> Option<Order> {
        self.reader.order(&OrderRef::Client(client.parse().unwrap())).await.unwrap()
    }

    pub(crate) async fn assert_replays(&self) {
        let report = replay(&*self.reader).await.unwrap();
        assert!(report.is_equal(), "{report:?}");
    }
}

/// A handle on a journal whose limits lift every bound.
async fn one(under: &impl JournalUnderTest, profile: Profile) -> Handle {
    let handle = under.open(fixture::rules(profile)).await;
    handle.journal.init_limits(&[fixture::limits(Limit::Unlimited)]).await.unwrap();
    handle
}

/// Two workers' handles on one journal.
async fn two(under: &impl JournalUnderTest, profile: Profile) -> (Handle, Handle) {
    (one(under, profile).await, under.open(fixture::rules(profile)).await)
}

/// Hands the rules' names on to a macro: see `contracts::as_tests`.
macro_rules! journal_rules {
    ($then:ident, $suite:path, $factory:expr) => {
        $crate::contracts::$then! { $suite, $factory;
            requests::an_order_is_kept_with_everything_that_happened_to_it,
            requests::a_redelivered_request_is_found_again_and_makes_no_second_order,
            requests::a_request_that_was_answered_keeps_its_answer,
            requests::what_became_an_order_is_not_refused,
            requests::a_repeat_under_another_entry_gets_an_outcome_of_its_own,
            requests::a_request_has_one_outcome_however_often_it_is_decided,
            requests::a_redelivered_command_finds_what_it_has_done,
            requests::a_cancel_all_means_the_orders_it_found_when_it_was_admitted,
            requests::one_input_that_cannot_be_written_fails_alone,
            requests::what_the_journal_alone_knows_is_taken_up_again,
            facts::a_fact_that_is_told_again_changes_nothing,
            facts::facts_told_through_two_handles_at_once_are_booked_once,
            facts::trades_that_were_wrong_and_restated_terms_are_kept_as_they_are_told,
            facts::a_fill_that_comes_after_the_end_is_booked,
            facts::the_same_trade_id_of_two_orders_is_two_trades,
            facts::what_is_told_of_an_unknown_order_is_written_down_once,
            facts::a_feeds_cursor_never_goes_back,
            fences::only_the_holder_of_the_lease_decides,
            fences::of_two_that_take_a_lease_at_once_one_has_it,
            fences::of_two_that_decide_at_once_one_is_heard,
            fences::a_decision_of_an_epoch_before_is_not_heard,
            fences::what_another_handle_changed_is_not_decided_on_from_memory,
            fences::a_client_order_id_is_one_order_between_two_handles,
            fences::a_position_limit_is_exact_over_two_handles_at_once,
            fences::a_rate_limit_is_exact_over_two_handles_at_once,
            fences::positions_and_reservations_are_exact_over_two_handles_at_once,
            fences::the_events_are_what_the_projections_follow_from,
            control::what_is_switched_holds_for_every_handle,
            control::a_change_is_offered_until_it_is_marked,
            control::whatever_is_decided_after_a_switch_is_decided_under_it,
            limits::what_the_account_may_have_open_is_exact_over_symbols_and_handles,
            limits::exposure_is_exact_over_symbols_and_handles,
            limits::the_rate_of_a_strategy_is_exact_over_symbols_and_handles,
            limits::a_breach_stops_its_scope_for_every_handle_and_is_kept,
            limits::windows_are_counted_over_handles,
            limits::an_empty_strategy_is_none,
            limits::a_fill_beyond_its_order_is_booked_and_told,
            limits::strategies_have_books_of_their_own,
            outbox::commits_are_offered_until_they_are_marked,
            outbox::a_mark_is_of_one_content_alone,
            outbox::outcomes_are_offered_until_they_are_marked,
            outbox::marks_of_one_handle_count_for_the_other,
            outbox::what_is_offered_comes_oldest_first,
            outbox::what_is_younger_than_asked_for_is_not_offered,
            follow::work_of_one_worker_is_leased_until_its_time_is_over,
            follow::of_two_that_ask_for_a_lease_at_once_one_gets_it,
            follow::requests_are_abandoned_once_their_lease_is_over,
            follow::a_command_is_abandoned_with_its_order,
            follow::an_unfinished_sweep_is_found,
            follow::orders_that_work_and_that_ended_are_paged_once_all_of_them_is_published,
            follow::a_place_is_between_what_was_before_and_since,
            follow::limits_are_loaded_once,
            follow::a_journal_that_can_commit_says_so,
            follow::nothing_to_decide_on_is_answered,
            queries::orders_are_found_by_every_filter,
            queries::orders_come_newest_first_page_by_page,
            queries::entries_that_were_admitted_are_known,
            queries::symbols_with_resting_orders_are_told,
            queries::instruments_where_time_has_ended_an_order_are_told,
            queries::parked_orders_are_counted,
            queries::what_is_not_there_is_absent_and_no_error,
            queries::history_comes_in_order_of_admission,
        }
    };
}
pub(crate) use journal_rules;
