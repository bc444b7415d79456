//! Limits of strategies and of the account, breaches that stop by themselves, circuit breakers: as an operator sees them,
//! with several workers.

use crate::harness::{Exchange, Lab, Limits, assert_decimal, eventually, limit, market, with};
use serde_json::{Value, json};

fn of_account(row: Limits) -> Limits {
    row.with("account", "true")
}

fn by(strategy: &str, order: Value) -> Value {
    with(order, json!({"strategy_id": strategy}))
}

/// The uses of one control, by row.
async fn uses(lab: &Lab, control: &str) -> Vec<Value> {
    let all = lab.cli(&["risk", "--json"]).await.succeeded().json();
    let all = all.as_array().expect("an array").clone();
    all.into_iter().filter(|one| one["control"] == control).collect()
}

#[tokio::test]
async fn strategies_and_the_account_have_limits_books_and_results_of_their_own() {
    let lab = Lab::with(|s| {
        s.price("ETHUSDT", "100").limits([
            Limits::unlimited("*"),
            Limits::unlimited("*").with("strategy_id", "\"momentum\"").with("max_position", "\"5\""),
            of_account(Limits::unlimited("*"))
                .with("max_open_orders", "2")
                .with("max_gross_exposure", "\"500000\""),
        ]);
    })
    .await;
    let _workers = [lab.worker().await, lab.worker().await, lab.worker().await];
    lab.execute(&by("momentum", market("a", "BTCUSDT", "Buy", "5"))).await.is_completed("Filled");
    let refused = lab.execute(&by("momentum", market("b", "BTCUSDT", "Buy", "0.1"))).await;
    refused.is_failed("RISK_POSITION_LIMIT").names(&["strategy momentum", "max_position is 5"]);
    lab.execute(&by("reversion", market("c", "BTCUSDT", "Sell", "2"))).await.is_completed("Filled");
    for (id, symbol) in [("r1", "BTCUSDT"), ("r2", "ETHUSDT")] {
        lab.execute(&limit(id, symbol, "Buy", "1", "1")).await.is_completed("Acknowledged");
    }
    let refused = lab.execute(&limit("r3", "ETHUSDT", "Buy", "1", "1")).await;
    refused.is_failed("RISK_MAX_OPEN_ORDERS").names(&["account", "max_open_orders is 2"]);
    let large = lab.execute(&market("d", "BTCUSDT", "Buy", "50")).await;
    large.is_failed("RISK_MAX_OPEN_ORDERS");
    lab.cancel(&json!({"client_order_id": "r1"})).await.is_completed("Cancelled");
    lab.execute(&market("e", "BTCUSDT", "Buy", "50"))
        .await
        .is_failed("RISK_EXPOSURE")
        .names(&["max_gross_exposure"]);

    let gross = uses(&lab, "max_gross_exposure").await;
    assert_eq!((gross.len(), &gross[0]["row"]), (1, &json!("account")));
    assert_decimal(&gross[0]["used"], "135100");
    let open = uses(&lab, "max_open_orders").await;
    assert_eq!((&open[0]["used"], &open[0]["head_room"]), (&json!("1"), &json!("1")));
    let position = uses(&lab, "max_position").await;
    let momentum = position.iter().find(|one| one["row"] == "strategy momentum").expect("its row");
    assert_eq!((&momentum["used"], &momentum["head_room"]), (&json!("5"), &json!("0")));

    lab.cli(&["risk"]).await.succeeded();
    let pnl = async |by: &str| lab.cli(&["pnl", "--by", by, "--json"]).await.succeeded().json();
    let strategies = pnl("strategy").await;
    let named: Vec<&Value> = strategies.as_array().unwrap().iter().map(|row| &row["strategy_id"]).collect();
    assert_eq!(named, ["momentum", "reversion"]);
    let broker = pnl("broker").await;
    assert_eq!(broker.as_array().unwrap().len(), 1);
    assert_decimal(&broker[0]["pnl"], "0");
    assert_eq!(pnl("symbol").await.as_array().unwrap().len(), 2);
    lab.cli(&["pnl"]).await.succeeded();
    lab.cli(&["replay"]).await.succeeded();
}

/// Nobody trades when the price falls: it is seen all the same, told, and in force for all workers.
#[tokio::test]
async fn a_loss_that_prices_make_stops_the_account_by_itself() {
    let lab = Lab::with(|s| {
        s.set("risk.max_quote_age_ms", "60000").limits([
            Limits::unlimited("*"),
            of_account(Limits::unlimited("*")).with("max_daily_loss", "\"100\""),
        ]);
    })
    .await;
    let watch = lab.watch("trading-state").await;
    lab.quote("GOLD", "2000", "2000", &[]).await;
    let _workers = [lab.worker().await, lab.worker().await];
    lab.execute(&market("a", "GOLD", "Buy", "10")).await.is_completed("Filled");
    lab.quote("GOLD", "1989", "1989", &[]).await;
    let told = eventually("the breach is told", async || {
        watch.texts().into_iter().find(|text| text.contains("RISK_DAILY_LOSS"))
    })
    .await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["scope"], &told["state"]), (&json!("all"), &json!("REDUCE_ONLY")));
    assert!(told["why"].as_str().unwrap().contains("is 110, max_daily_loss is 100"), "{told}");
    assert!(told["until"].is_string(), "{told}");
    lab.quote("GOLD", "2100", "2100", &[]).await;
    let refused = lab.execute(&market("b", "BTCUSDT", "Buy", "1")).await;
    refused.is_failed("RISK_DAILY_LOSS").names(&["REDUCE_ONLY", "everything"]);
    lab.execute(&market("c", "GOLD", "Sell", "5")).await.is_completed("Filled");
    let text = lab.cli(&["risk"]).await.succeeded().stdout;
    assert!(text.contains("REDUCE_ONLY in everything"), "{text}");
    lab.cli(&["resume", "--by", "ann", "--why", "looked at it"]).await.succeeded();
    lab.execute(&market("d", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    let log = lab.cli(&["risk", "log"]).await.succeeded().stdout;
    assert!(log.contains("RISK_DAILY_LOSS") && log.contains("ann"), "{log}");
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn contracts_and_currencies_come_to_what_they_are_worth() {
    let lab = Lab::with(|s| {
        s.price("DAX", "100").price("BTCUSD", "50000").price("ETHUSDT", "100");
        s.instrument("DAX", "{ multiplier = \"25\", currency = \"EUR\" }");
        s.instrument("BTCUSD", "{ multiplier = \"100\", inverse = true, currency = \"BTC\" }");
        s.text("risk.currency", "USD").text("risk.fx.EUR", "1.2").text("risk.fx.BTC", "50000");
        s.limits([Limits::unlimited("*").with("max_order_notional", "\"3000\"")]);
    })
    .await;
    let _worker = lab.worker().await;
    lab.execute(&market("a", "DAX", "Buy", "1")).await.is_completed("Filled");
    lab.execute(&market("b", "DAX", "Buy", "1.01")).await.is_failed("RISK_MAX_NOTIONAL").names(&["3030"]);
    lab.execute(&market("c", "BTCUSD", "Buy", "30")).await.is_completed("Filled");
    lab.execute(&market("d", "BTCUSD", "Buy", "31")).await.is_failed("RISK_MAX_NOTIONAL").names(&["3100"]);
    lab.execute(&market("e", "ETHUSDT", "Buy", "1")).await.is_failed("RISK_NO_FX_RATE").names(&["risk.fx"]);
    let dax = lab.position("DAX").await;
    assert_decimal(&dax["average_price"], "100");
    lab.cli(&["replay"]).await.succeeded();
}

/// Exactly ten of three hundred, over three workers, one of which is killed in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_exact_over_three_workers_of_which_one_is_killed() {
    // More of them on demand: each is another timing.
    let rounds = std::env::var("RACE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    for round in 0..rounds {
        let lab = Lab::with(|s| {
            s.limits([Limits::unlimited("*").with("max_position", "\"10\"")]);
            s.set("worker.claim_idle_ms", "600").set("worker.batch_size", "16");
        })
        .await;
        let mut workers = vec![lab.spawn_worker(), lab.spawn_worker(), lab.spawn_worker()];
        for worker in &mut workers {
            worker.ready().await;
        }
        let orders: Vec<Value> =
            (0..300).map(|n| market(&format!("race-{n}"), "BTCUSDT", "Buy", "1")).collect();
        let entries = lab.submit_all(&orders).await;
        tokio::time::sleep(std::time::Duration::from_millis(5 + 7 * (round % 20))).await;
        workers.swap_remove(usize::try_from(round % 3).unwrap()).kill();
        let outcomes = lab.outcomes(&entries).await;
        let filled = outcomes.iter().filter(|outcome| outcome.completed).count();
        let refused =
            outcomes.iter().filter(|o| !o.completed && o.text("code") == "RISK_POSITION_LIMIT").count();
        assert_eq!((filled, refused), (10, 290), "round {round}");
        assert_decimal(&lab.position("BTCUSDT").await["quantity"], "10");
        lab.cli(&["replay"]).await.succeeded();
    }
}

#[tokio::test]
async fn a_circuit_opens_for_all_workers_probes_and_closes() {
    let mut lab = Lab::with(|s| {
        s.set("broker.mock.request_timeout_ms", "300").set("broker.retry_ms", "1000");
        s.set("broker.mock.breaker.failures", "3").set("broker.mock.breaker.window_ms", "30000");
        s.set("broker.mock.breaker.open_ms", "1500");
    })
    .await;
    let mut exchange = Exchange::start(&lab.config_dir(), &["--dedupe", "forever"]);
    let url = exchange.url().to_owned();
    lab.adjust(|s| {
        s.text("broker.mock.url", &url);
    });
    let _workers = [lab.worker().await, lab.worker().await];
    lab.execute(&limit("rests", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    exchange.kill();
    let lost = lab.submit(&market("lost", "BTCUSDT", "Buy", "1")).await;
    eventually("the circuit opens", async || {
        let text = lab.cli(&["risk"]).await.succeeded().stdout;
        text.contains("circuit OPEN of broker mock").then_some(())
    })
    .await;
    let refused = lab.execute(&market("refused", "BTCUSDT", "Buy", "1")).await;
    refused.is_failed("CIRCUIT_OPEN").names(&["mock", "calls failed within 30000 ms"]);
    exchange.restart();
    // Cancels go there all the same.
    lab.cancel(&json!({"client_order_id": "rests"})).await.is_completed("Cancelled");
    let mut n = 0;
    eventually("a probe closes it", async || {
        n += 1;
        let outcome = lab.execute(&market(&format!("probe-{n}"), "BTCUSDT", "Buy", "1")).await;
        outcome.completed.then_some(())
    })
    .await;
    lab.execute(&market("well", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    lab.outcome(&lost).await;
    let log = lab.cli(&["risk", "log"]).await.succeeded().stdout;
    assert!(log.contains("circuit CLOSED of broker mock"), "{log}");
    lab.cli(&["replay"]).await.succeeded();
}

/// The broker's books are the truth about what is held; where they are not ours, somebody has to look.
#[tokio::test]
async fn a_position_that_the_broker_has_otherwise_is_written_down_and_alarmed() {
    let mut lab = Lab::new().await;
    let exchange = Exchange::start(&lab.config_dir(), &["--dedupe", "forever"]);
    let url = exchange.url().to_owned();
    lab.adjust(|s| {
        s.text("broker.mock.url", &url);
    });
    let worker = lab.worker().await;
    lab.execute(&market("a", "BTCUSDT", "Buy", "3")).await.is_completed("Filled");
    lab.execute(&market("b", "ETHUSDT", "Sell", "2")).await.is_completed("Filled");
    worker.kill();
    let mut journal = lab.journal().await;
    journal.execute("UPDATE positions SET quantity = '5' WHERE symbol = 'BTCUSDT'").await;
    let worker = lab.worker().await;
    let rows = eventually("the difference is written down", async || {
        let rows = journal.rows("SELECT * FROM broker_differences WHERE kind = 'position'").await;
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    assert_eq!(rows.len(), 1);
    let details = rows[0].text("details").unwrap();
    assert_eq!(details, "the broker holds 3 of BTCUSDT, the journal 5");
    eventually("the alarm", async || worker.logged("ALARM: the broker's position is not ours")).await;
}

#[tokio::test]
async fn the_documentation_of_the_controls_is_of_this_program() {
    let lab = Lab::new().await;
    let page = lab.cli(&["risk", "controls", "--markdown"]).await.succeeded().stdout;
    let published =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/risk.md")).expect("docs/risk.md");
    assert!(
        page == published,
        "docs/risk.md is old: order-execution risk controls --markdown > docs/risk.md"
    );
    let all = lab.cli(&["risk", "controls", "--json"]).await.succeeded().json();
    assert!(all.as_array().unwrap().iter().any(|control| control["code"] == "RISK_EXPOSURE"), "{all}");
}
