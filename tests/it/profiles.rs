//! A broker in a process of its own whose answers are lost, late or wrong: what each profile makes of it. The
//! exchange's ledger is the truth.

use crate::harness::{Exchange, Lab, Outcome, Row, assert_decimal, eventually, limit, market, with};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Profile {
    Forever,
    Deadline,
    OneShot,
}
use Profile::{Deadline, Forever, OneShot};

struct Desk {
    lab: Lab,
    exchange: Exchange,
}

impl Desk {
    async fn new(profile: Profile) -> Self {
        let (name, dedupe) = match profile {
            Forever => ("dedupes_forever", "forever"),
            Deadline => ("deadline", "open"),
            OneShot => ("one_shot", "none"),
        };
        let mut lab = Lab::with(|s| {
            s.text("broker.mock.profile", name)
                .set("broker.mock.request_timeout_ms", "400")
                .set("broker.mock.settle_ms", "300")
                .set("broker.mock.recv_window_ms", "400")
                // More than a loaded machine needs for all attempts of a test.
                .set("broker.retry_ms", "20000")
                .set("worker.claim_idle_ms", "600");
        })
        .await;
        let exchange = Exchange::start(Path::new(&lab.config_dir()), &["--dedupe", dedupe]);
        let url = exchange.url().to_owned();
        lab.adjust(|s| {
            s.text("broker.mock.url", &url);
        });
        Self { lab, exchange }
    }

    async fn fault(&self, on: &str, fault: Value, times: u32) {
        let rule = json!({"on": on, "fault": fault, "times": times});
        self.exchange.faults(json!({"seed": 1, "rules": [rule]})).await;
    }

    /// What the exchange executed under an id, over all the orders that it made of it.
    async fn executed(&self, id: &str) -> (usize, Vec<Value>) {
        let Some(truth) = self.exchange.truth(id).await else { return (0, Vec::new()) };
        let generations = truth["generations"].as_array().expect("generations").clone();
        let executions =
            generations.iter().flat_map(|g| g["executions"].as_array().unwrap().clone()).collect();
        (generations.len(), executions)
    }

    async fn check(&self) {
        self.lab.cli(&["replay"]).await.succeeded();
    }
}

async fn ask(lab: &Lab, field: &str, request: &Value) -> Outcome {
    let entry = lab.add(&[(field, request.to_string().as_bytes())]).await;
    lab.outcome(&entry).await
}

#[tokio::test]
async fn orders_live_their_lives_at_an_exchange() {
    for profile in [Forever, Deadline, OneShot] {
        let desk = Desk::new(profile).await;
        let lab = &desk.lab;
        let mut worker = lab.worker().await;
        lab.execute(&market("m", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
        lab.execute(&limit("r", "BTCUSDT", "Buy", "2", "40000")).await.is_completed("Acknowledged");
        lab.execute(&with(limit("i", "BTCUSDT", "Buy", "2", "40000"), json!({"time_in_force": "IOC"})))
            .await
            .is_completed("Cancelled");
        let post_only = json!({"execution_instructions": {"post_only": true}});
        lab.execute(&with(limit("p", "BTCUSDT", "Buy", "2", "46000"), post_only))
            .await
            .is_failed("BROKER_REJECTED");
        let change = json!({"client_order_id": "r", "quantity": "3", "price": "41000"});
        let replaced = ask(lab, "replace", &change).await;
        replaced.is_completed("Acknowledged");
        assert_decimal(&replaced.order()["quantity"], "3");
        // The market moves: the feed tells.
        desk.exchange.prices(json!({"BTCUSDT": "40500"})).await;
        lab.state_becomes("r", "Filled").await;
        lab.execute(&limit("x", "ETHUSDT", "Buy", "2", "2000")).await.is_completed("Acknowledged");
        lab.cancel(&json!({"client_order_id": "x"})).await.is_completed("Cancelled");
        lab.cancel(&json!({"client_order_id": "x"})).await.is_failed("ORDER_TERMINAL");
        lab.execute(&limit("y", "ETHUSDT", "Buy", "2", "2000")).await.is_completed("Acknowledged");
        let all = ask(lab, "cancel_all", &json!({})).await;
        assert_eq!(all.entry.json("cancelled"), json!(["y"]), "{}", all.entry);
        assert_decimal(&lab.position("BTCUSDT").await["quantity"], "4");
        assert_eq!(desk.executed("r").await.1.len(), 1);
        assert_eq!(worker.terminate().await, 0, "{profile:?}");
        desk.check().await;
    }
}

/// The answer to a submission is lost, late or wrong.
#[tokio::test]
async fn an_order_whose_answer_is_lost_executes_once() {
    let done = [
        json!({"execute_then_drop": {}}),
        json!({"execute_then_status": {"status": 500}}),
        json!({"execute_then_status": {"status": 400}}),
        json!({"garbage": {}}),
        json!({"delay": {"ms": 900}}),
        json!({"land_late": {"after_ms": 150}}),
    ];
    for profile in [Forever, Deadline, OneShot] {
        let desk = Desk::new(profile).await;
        let _worker = desk.lab.worker().await;
        for (n, fault) in done.iter().enumerate() {
            let id = format!("o{n}");
            desk.fault("submit", fault.clone(), 1).await;
            let outcome = desk.lab.execute(&market(&id, "BTCUSDT", "Buy", "1")).await;
            outcome.is_completed("Filled");
            let (orders, executions) = desk.executed(&id).await;
            assert_eq!((orders, executions.len()), (1, 1), "{profile:?} {fault}");
        }
        assert_decimal(&desk.lab.position("BTCUSDT").await["quantity"], &done.len().to_string());
        desk.check().await;
    }
}

/// Nothing was done, and nobody was told.
#[tokio::test]
async fn an_order_that_never_arrived_is_sent_again_where_that_is_safe() {
    for profile in [Forever, Deadline, OneShot] {
        let desk = Desk::new(profile).await;
        let _worker = desk.lab.worker().await;
        for (n, fault) in [json!({"drop": {}}), json!({"silence": {"ms": 700}})].iter().enumerate() {
            let id = format!("o{n}");
            desk.fault("submit", fault.clone(), 1).await;
            let outcome = desk.lab.execute(&market(&id, "BTCUSDT", "Buy", "1")).await;
            if profile == OneShot {
                outcome.is_failed("OUTCOME_UNKNOWN");
                assert_eq!(outcome.status(), "Submitted");
                assert_eq!(outcome.order()["parked"], true);
                assert_eq!(desk.lab.state(&id).await.unwrap()["parked"], true);
                assert_eq!(desk.executed(&id).await.0, 0);
            } else {
                outcome.is_completed("Filled");
                assert_eq!(desk.executed(&id).await.1.len(), 1, "{profile:?} {fault}");
            }
        }
        desk.check().await;
    }
}

/// Proof that nothing was executed is no reason to park or to give up.
#[tokio::test]
async fn what_was_turned_away_is_sent_again() {
    for profile in [Forever, Deadline, OneShot] {
        let mut desk = Desk::new(profile).await;
        desk.lab.adjust(|s| {
            s.set("broker.retry_ms", "5000");
        });
        let _worker = desk.lab.worker().await;
        desk.fault("submit", json!({"status": {"status": 429, "retry_after_s": 1}}), 2).await;
        let outcome = desk.lab.execute(&market("a", "BTCUSDT", "Buy", "1")).await;
        outcome.is_completed("Filled");
        let events = outcome.order()["events"].to_string();
        assert_eq!(events.matches("SubmitFailed").count(), 2, "{events}");
        desk.fault("submit", json!({"status": {"status": 429}}), 1000).await;
        let outcome = desk.lab.execute(&market("b", "BTCUSDT", "Buy", "1")).await;
        outcome.is_failed("BROKER_UNAVAILABLE").names(&["retry_ms"]);
        assert_eq!(outcome.status(), "Rejected");
        assert_eq!(desk.executed("b").await.0, 0);
        desk.exchange.no_faults().await;
        // Remembered and repeated; the reservation is back.
        desk.lab.execute(&market("b", "BTCUSDT", "Buy", "1")).await.is_failed("BROKER_UNAVAILABLE");
        desk.check().await;
    }
}

#[tokio::test]
async fn an_exchange_that_is_down_is_waited_for() {
    let mut desk = Desk::new(OneShot).await;
    let _worker = desk.lab.worker().await;
    desk.exchange.kill();
    let entry = desk.lab.submit(&market("a", "BTCUSDT", "Buy", "1")).await;
    eventually("an attempt that did not leave", async || {
        let state = desk.lab.state("a").await?;
        state["events"].to_string().contains("SubmitFailed").then_some(())
    })
    .await;
    desk.exchange.restart();
    desk.lab.outcome(&entry).await.is_completed("Filled");
    assert_eq!(desk.executed("a").await.1.len(), 1);
    desk.check().await;
}

/// Queries that lag behind the books prove nothing before the settling time is over.
#[tokio::test]
async fn a_lagging_query_is_no_proof() {
    for profile in [Deadline, OneShot] {
        let desk = Desk::new(profile).await;
        let _worker = desk.lab.worker().await;
        let rules = json!([
            {"on": "submit", "fault": {"execute_then_drop": {}}, "times": 1},
            {"on": "query", "fault": {"lag": {"ms": 250}}},
            {"on": "transactions", "fault": {"lag": {"ms": 60000}}},
        ]);
        desk.exchange.faults(json!({"seed": 1, "rules": rules})).await;
        desk.lab.execute(&market("a", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
        assert_eq!(desk.executed("a").await, (1, desk.executed("a").await.1));
        assert_eq!(desk.executed("a").await.1.len(), 1);
        desk.check().await;
    }
}

/// It lands after its order was parked: what turns up corrects it.
#[tokio::test]
async fn a_parked_order_that_executes_after_all_is_corrected_by_the_feed() {
    let desk = Desk::new(OneShot).await;
    let _worker = desk.lab.worker().await;
    desk.fault("submit", json!({"land_late": {"after_ms": 2500}}), 1).await;
    let outcome = desk.lab.execute(&market("a", "BTCUSDT", "Buy", "1")).await;
    outcome.is_failed("OUTCOME_UNKNOWN");
    // Kept: the position limit counts it all the while.
    let state = desk.lab.state_becomes("a", "Filled").await;
    assert_ne!(state["parked"], true);
    desk.lab.execute(&market("a", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    assert_eq!(desk.executed("a").await.1.len(), 1);
    desk.check().await;
}

/// After its deadline it is not executed, and a second attempt was made: one execution.
#[tokio::test]
async fn an_attempt_that_lands_after_its_deadline_does_nothing() {
    let desk = Desk::new(Deadline).await;
    let _worker = desk.lab.worker().await;
    desk.fault("submit", json!({"land_late": {"after_ms": 2000}}), 1).await;
    desk.lab.execute(&market("a", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    let (orders, executions) = desk.executed("a").await;
    assert_eq!((orders, executions.len()), (1, 1));
    desk.check().await;
}

#[tokio::test]
async fn cancels_and_replaces_whose_answer_is_lost_are_found_out() {
    let faults = [
        json!({"execute_then_drop": {}}),
        json!({"execute_then_status": {"status": 500}}),
        json!({"drop": {}}),
        json!({"status": {"status": 429}}),
        json!({"silence": {"ms": 600}}),
    ];
    for profile in [Forever, Deadline, OneShot] {
        let desk = Desk::new(profile).await;
        let _worker = desk.lab.worker().await;
        for (n, fault) in faults.iter().enumerate() {
            let id = format!("o{n}");
            desk.exchange.no_faults().await;
            desk.lab.execute(&limit(&id, "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
            desk.fault("replace", fault.clone(), 1).await;
            let change = json!({"client_order_id": id, "quantity": "2"});
            let outcome = ask(&desk.lab, "replace", &change).await;
            let never_arrived = fault.get("drop").is_some() || fault.get("silence").is_some();
            if profile == OneShot && never_arrived {
                outcome.is_failed("OUTCOME_UNKNOWN");
                assert_eq!(outcome.order()["parked"], true, "{}", outcome.entry);
            } else {
                outcome.is_completed("Acknowledged");
                assert_decimal(&outcome.order()["quantity"], "2");
            }
            desk.fault("cancel", fault.clone(), 1).await;
            desk.lab.cancel(&json!({"client_order_id": id})).await.is_completed("Cancelled");
            assert_eq!(desk.executed(&id).await.1.len(), 0, "{profile:?} {fault}");
        }
        desk.check().await;
    }
}

/// Trades come twice and in the wrong order.
#[tokio::test]
async fn a_feed_that_repeats_and_reorders_books_each_fill_once() {
    let desk = Desk::new(Forever).await;
    let rules = json!([{"on": "transactions", "fault": {"reorder": {}}, "share": 0.5}, {"on": "transactions", "fault": {"repeat": {}}}]);
    desk.exchange.faults(json!({"seed": 3, "rules": rules})).await;
    let _worker = desk.lab.worker().await;
    for n in 0..10 {
        let order = limit(&format!("o{n}"), "BTCUSDT", "Buy", "4", "40000");
        desk.lab.execute(&order).await.is_completed("Acknowledged");
    }
    for size in ["11", "5", "7", "17"] {
        desk.exchange
            .prices(json!({"BTCUSDT": {"bid": "39000", "ask": "39900", "bid_size": size, "ask_size": size}}))
            .await;
    }
    for n in 0..10 {
        desk.lab.state_becomes(&format!("o{n}"), "Filled").await;
    }
    assert_decimal(&desk.lab.position("BTCUSDT").await["quantity"], "40");
    desk.check().await;
}

/// Somebody else trades on the same account.
#[tokio::test]
async fn what_is_not_ours_is_written_down_and_left_alone() {
    let desk = Desk::new(Forever).await;
    let place = |id: &str, kind: Value| {
        json!({"client_order_id": id, "symbol": "BTCUSDT", "side": "Buy", "quantity": "1", "order_type": kind,
               "time_in_force": "GTC", "post_only": false})
    };
    for (id, kind) in [("theirs", json!("Market")), ("resting", json!({"Limit": {"price": "40000"}}))] {
        assert_eq!(desk.exchange.ask("POST", "/orders", Some(place(id, kind))).await.0, 200);
    }
    let _worker = desk.lab.worker().await;
    desk.lab.execute(&market("ours", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    let kinds = eventually("the differences", async || {
        let mut journal = desk.lab.journal().await;
        let rows = journal.rows("SELECT kind, key FROM broker_differences ORDER BY kind, key").await;
        let text = |row: &Row, column| row.text(column).unwrap();
        let kinds: Vec<_> = rows.iter().map(|row| (text(row, "kind"), text(row, "key"))).collect();
        (kinds.len() >= 3).then_some(kinds)
    })
    .await;
    assert!(kinds.iter().any(|(kind, _)| kind == "external_fill"), "{kinds:?}");
    assert!(kinds.iter().any(|(kind, _)| kind == "external_order"), "{kinds:?}");
    assert_decimal(&desk.lab.position("BTCUSDT").await["quantity"], "1");
    desk.check().await;
}

/// What happened while nobody listened is found by comparing the books.
#[tokio::test]
async fn a_worker_learns_at_its_start_what_became_of_open_orders() {
    let desk = Desk::new(Forever).await;
    let mut worker = desk.lab.worker().await;
    for id in ["a", "b"] {
        desk.lab.execute(&limit(id, "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    }
    assert_eq!(worker.terminate().await, 0);
    // The feed shows nothing: the comparison has to.
    let rules = json!([{"on": "transactions", "fault": {"lag": {"ms": 600000}}}]);
    desk.exchange.faults(json!({"seed": 1, "rules": rules})).await;
    assert_eq!(desk.exchange.ask("DELETE", "/orders/b", None).await.0, 200);
    desk.exchange.prices(json!({"BTCUSDT": "39000"})).await;
    let _worker = desk.lab.worker().await;
    desk.lab.state_becomes("a", "Filled").await;
    desk.lab.state_becomes("b", "Cancelled").await;
    desk.check().await;
}
