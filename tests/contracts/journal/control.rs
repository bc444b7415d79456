//! What holds for all orders: told to every worker, in force at once, kept with who did it and why.

use std::time::Duration;

use futures_util::future::{join, join_all};
use order_execution::domain::control::ControlEvent;
use order_execution::domain::decide::{Decision, Effect, Input, SwitchTo};
use order_execution::domain::profile::Profile;
use order_execution::domain::refusal::Code;
use order_execution::domain::status::Status;
use order_execution::domain::trading_state::{Scope, TradingState};
use order_execution::ports::publisher::Published;

use super::super::fixture::{market_order, submit};
use super::{JournalUnderTest, two};

pub(crate) fn switch(scope: Scope, state: TradingState) -> Input {
    Input::Switch(Box::new(SwitchTo { scope, state, by: "ann".into(), why: "a test".into() }))
}

fn state(event: &ControlEvent) -> Option<TradingState> {
    match event {
        ControlEvent::TradingState(switch) => Some(switch.state),
        ControlEvent::Limits(_) | ControlEvent::Circuit(_) => None,
    }
}

fn is_halted(decision: &Decision) -> bool {
    matches!(&decision.effect, Effect::Finish { outcome, .. } if outcome.code() == Some(Code::TradingHalted))
}

pub(crate) async fn what_is_switched_holds_for_every_handle(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    // Both have read what holds before it changes.
    for (n, handle) in [(0, &a), (1, &b)] {
        let passed = handle.decide_one(submit("a", n, market_order(n))).await;
        assert!(matches!(passed.effect, Effect::Submit { .. }), "{passed:?}");
    }
    a.decide_one(switch(Scope::All, TradingState::Halted)).await;
    let symbol = Scope::Symbol("BTCUSDT".parse().unwrap());
    b.decide_one(switch(symbol.clone(), TradingState::ReduceOnly)).await;
    let c = under.open(super::fixture::rules(Profile::Embedded)).await;
    for (n, handle) in [(2, &a), (3, &b), (4, &c)] {
        assert!(is_halted(&handle.decide_one(submit("a", n, market_order(n))).await), "handle {n}");
    }
    for handle in [&a, &b, &c] {
        let control = handle.reader.control().await.unwrap();
        let set: Vec<_> = control.trading.iter().map(|switch| (switch.scope.clone(), switch.state)).collect();
        assert_eq!(set, [(Scope::All, TradingState::Halted), (symbol.clone(), TradingState::ReduceOnly)]);
    }
    b.decide_one(switch(Scope::All, TradingState::Active)).await;
    b.decide_one(switch(symbol, TradingState::Active)).await;
    for (n, handle) in [(5, &a), (6, &b), (7, &c)] {
        let passed = handle.decide_one(submit("a", n, market_order(n))).await;
        assert!(matches!(passed.effect, Effect::Submit { .. }), "{passed:?}");
    }
    let all = a.reader.control_events(u64::MAX >> 1, 10).await.unwrap();
    assert!(all.iter().all(|entry| entry.event.by() == "ann" || entry.event.name() == "limits"), "{all:?}");
    let (active, reduce, halted) = (TradingState::Active, TradingState::ReduceOnly, TradingState::Halted);
    let states: Vec<_> = all.iter().filter_map(|entry| state(&entry.event)).collect();
    assert_eq!(states, [active, active, reduce, halted], "newest first");
    assert_eq!(b.reader.control_events(all[1].number, 2).await.unwrap(), all[2..4]);
    a.assert_replays().await;
}

pub(crate) async fn a_change_is_offered_until_it_is_marked(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    for state in [TradingState::Halted, TradingState::ReduceOnly, TradingState::Active] {
        a.decide_one(switch(Scope::All, state)).await;
    }
    let offered = b.reader.unpublished_control(10).await.unwrap();
    // The limits came first.
    assert_eq!(offered.len(), 4);
    let states: Vec<_> = offered.iter().filter_map(|entry| state(&entry.event)).collect();
    assert_eq!(states, [TradingState::Halted, TradingState::ReduceOnly, TradingState::Active]);
    assert_eq!(b.reader.unpublished_control(2).await.unwrap(), offered[..2]);
    let mark = |numbers: &[u64]| Published { control: numbers.to_vec(), ..Published::default() };
    b.journal.mark_published(mark(&[offered[0].number, offered[2].number])).await.unwrap();
    assert_eq!(a.reader.unpublished_control(10).await.unwrap(), [offered[1].clone(), offered[3].clone()]);
    // Marked again, and what was never there.
    a.journal
        .mark_published(mark(&[offered[1].number, offered[2].number, offered[3].number, 1_000_000]))
        .await
        .unwrap();
    assert!(a.reader.unpublished_control(10).await.unwrap().is_empty());
}

pub(crate) async fn whatever_is_decided_after_a_switch_is_decided_under_it(under: &impl JournalUnderTest) {
    let (a, b) = two(under, Profile::Embedded).await;
    let mut next = 0;
    for _ in 0..5 {
        let orders = next..next + 20;
        next += 20;
        // Time goes on between any two of them.
        let one = async |n| {
            under.pass(Duration::from_micros(1)).await;
            b.decide_one(submit("b", n, market_order(n))).await
        };
        let deciding = join_all(orders.map(one));
        let halting = a.decide_one(switch(Scope::All, TradingState::Halted));
        let (decided, _) = join(deciding, halting).await;
        let control = a.reader.control().await.unwrap();
        let at = control.trading.get(&Scope::All).unwrap().timestamp;
        for decision in &decided {
            let order = decision.commits[0].after.clone();
            let passed = order.state.status == Status::PendingSubmit;
            assert!(passed || is_halted(decision), "{decision:?}");
            // The journal's clock need not move between two transactions.
            let created = order.state.created_at;
            assert!(if passed { created <= at } else { created >= at }, "passed: {passed}, {created}, {at}");
        }
        assert!(is_halted(&b.decide_one(submit("b", next, market_order(next))).await));
        next += 1;
        a.decide_one(switch(Scope::All, TradingState::Active)).await;
    }
    a.assert_replays().await;
}
