//! `halt`, `reduce-only` and `resume`: what they keep out, from whom, and what they survive.

use crate::harness::{Lab, RedisServer, eventually, limit, market, with};
use serde_json::{Value, json};

async fn told(lab: &Lab, state: &str) -> Value {
    let watch = lab.watch("trading-state").await;
    lab.cli(&["halt", "--symbol", "ETHUSDT", "--by", "ann", "--why", "odd prices"]).await.succeeded();
    let messages = eventually("the new trading state", async || {
        let texts = watch.texts();
        texts.iter().any(|text| text.contains(state)).then_some(texts)
    })
    .await;
    let found = messages.iter().find(|text| text.contains(state)).expect("it was found");
    serde_json::from_str(found).expect("JSON")
}

#[tokio::test]
async fn halt_stops_every_worker_at_once_and_cancels_pass() {
    let lab = Lab::new().await;
    let _workers = [lab.worker().await, lab.worker().await, lab.worker().await];
    for n in 0..6 {
        let id = format!("r{n}");
        lab.execute(&limit(&id, "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    }
    let said =
        lab.cli(&["halt", "--by", "ann", "--why", "prices look wrong", "--json"]).await.succeeded().json();
    assert_eq!(
        (&said["scope"], &said["state"], &said["by"]),
        (&json!("all"), &json!("HALTED"), &json!("ann"))
    );
    for n in 0..12 {
        let outcome = lab.execute(&market(&format!("h{n}"), "BTCUSDT", "Sell", "1")).await;
        outcome.is_failed("TRADING_HALTED");
        assert_eq!(outcome.text("status"), "Rejected");
        for word in ["HALTED", "ann", "prices look wrong"] {
            assert!(outcome.text("error").contains(word), "{}", outcome.text("error"));
        }
    }
    let replace = json!({"client_order_id": "r0", "quantity": "2"});
    let entry = lab.add(&[("replace", replace.to_string().as_bytes())]).await;
    lab.outcome(&entry).await.is_failed("TRADING_HALTED");
    for n in 0..6 {
        lab.cancel(&json!({"client_order_id": format!("r{n}")})).await.is_completed("Cancelled");
    }
    lab.cli(&["resume", "--by", "ann"]).await.succeeded();
    lab.execute(&market("after", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    // A refusal is remembered.
    lab.execute(&market("h0", "BTCUSDT", "Sell", "1")).await.is_failed("TRADING_HALTED");
    lab.cli(&["replay"]).await.succeeded();
}

/// No worker, no Redis, a Redis that lost everything: the journal has it.
#[tokio::test]
async fn a_switch_survives_restarts_and_a_lost_redis() {
    // A server of its own: it is about to lose everything.
    let server = RedisServer::start();
    let mut lab = Lab::on(&server, |_| {}).await;
    lab.worker().await.kill();
    lab.adjust(|s| {
        s.text("redis.url", "redis://127.0.0.1:1");
    });
    let halted =
        lab.cli(&["reduce-only", "--strategy-id", "mean reversion", "--by", "ann"]).await.succeeded();
    assert!(halted.said().contains("workers obey it all the same"), "{}", halted.said());
    let url = lab.url().to_owned();
    lab.adjust(|s| {
        s.text("redis.url", &url);
    });
    redis::cmd("FLUSHALL").exec_async(&mut lab.redis()).await.unwrap();
    let watch = lab.watch("trading-state").await;
    let _worker = lab.worker().await;
    let strategy = json!({"strategy_id": "mean reversion"});
    let order = with(market("a", "BTCUSDT", "Buy", "1"), strategy.clone());
    lab.execute(&order).await.is_failed("REDUCE_ONLY");
    lab.execute(&market("b", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    // What nobody could tell then, a worker tells now.
    let text = eventually("the trading state to be told", async || watch.texts().first().cloned()).await;
    let message: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&message["scope"], &message["state"]), (&strategy, &json!("REDUCE_ONLY")));
    lab.cli(&["resume", "--strategy-id", "mean reversion"]).await.succeeded();
    let order = with(market("c", "BTCUSDT", "Buy", "1"), strategy);
    lab.execute(&order).await.is_completed("Filled");
}

#[tokio::test]
async fn a_switch_is_told_and_cancels_what_is_open_where_that_is_asked_for() {
    let lab = Lab::new().await;
    let message = told(&lab, "HALTED").await;
    assert_eq!(message["scope"], json!({"symbol": "ETHUSDT"}));
    assert_eq!((&message["by"], &message["why"]), (&json!("ann"), &json!("odd prices")));
    crate::harness::assert_timestamp(message["timestamp"].as_str().unwrap());
    let _worker = lab.worker().await;
    lab.execute(&limit("btc", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    lab.execute(&limit("eth", "ETHUSDT", "Buy", "1", "2000")).await.is_failed("TRADING_HALTED");
    lab.cli(&["resume", "--symbol", "ETHUSDT"]).await.succeeded();
    lab.execute(&limit("eth2", "ETHUSDT", "Buy", "1", "2000")).await.is_completed("Acknowledged");
    let ran = lab.cli(&["halt", "--symbol", "ETHUSDT", "--cancel-open", "--wait"]).await.succeeded();
    assert!(ran.said().contains("eth2"), "{}", ran.said());
    assert_eq!(lab.state("eth2").await.unwrap()["status"], "Cancelled");
    assert_eq!(lab.state("btc").await.unwrap()["status"], "Acknowledged");
    // What else is set is told.
    let ran = lab.cli(&["reduce-only", "--broker", "oanda"]).await.succeeded();
    assert!(ran.said().contains("HALTED in symbol ETHUSDT"), "{}", ran.said());
    let ran = lab.cli(&["halt", "--strategy-id", "mispelled"]).await.succeeded();
    assert!(ran.said().contains("neither an order nor a position"), "{}", ran.said());
    // Usage.
    let said = lab.cli(&["halt", "--broker", "nobody"]).await.exits(2).said();
    assert!(said.contains("configured are"), "{said}");
    lab.cli(&["halt", "--wait"]).await.exits(2);
    lab.cli(&["halt", "--symbol", "A", "--broker", "b"]).await.exits(2);
    lab.cli(&["halt", "--why", ""]).await.exits(2);
}

/// The command ends after the last attempt that was journaled before it: whatever is journaled later is kept out.
#[tokio::test]
async fn nothing_is_attempted_after_the_command_has_returned() {
    let lab = Lab::new().await;
    let _workers = [lab.worker().await, lab.worker().await, lab.worker().await];
    let mut kept_out = 0;
    for round in 0..3 {
        let orders: Vec<_> =
            (0..2000).map(|n| market(&format!("o{round}-{n}"), "BTCUSDT", "Buy", "1")).collect();
        let entries = lab.submit_all(&orders).await;
        lab.cli(&["halt", "--by", "ann"]).await.succeeded();
        let mut journal = lab.journal().await;
        let sql = "SELECT count(*) FROM attempts WHERE kind = 'submit'";
        let attempted = journal.count(sql).await;
        let outcomes = lab.outcomes(&entries).await;
        let refused = outcomes.iter().filter(|outcome| !outcome.completed).count();
        assert_eq!(journal.count(sql).await, attempted, "round {round}: attempted after the halt");
        eprintln!("round {round}: {refused} of {} were kept out", entries.len());
        kept_out += refused;
        lab.cli(&["resume"]).await.succeeded();
    }
    assert!(kept_out > 0, "every order was through before the command was");
}
