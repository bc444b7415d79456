//! `risk`, `risk apply`, `risk log`: the limits in force, changed under workers at work.

use crate::harness::{Lab, Limits, decimal, limit, market};
use rust_decimal::Decimal;
use serde_json::{Value, json};

fn write(lab: &Lab, rows: &[Limits]) -> String {
    let text: String = rows.iter().map(Limits::to_toml).collect();
    let path = lab.path("limits.toml");
    std::fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}

fn find<'a>(uses: &'a Value, control: &str, symbol: &str) -> &'a Value {
    let all = uses.as_array().expect("an array");
    let found = all.iter().find(|one| one["control"] == control && one["symbol"] == symbol);
    found.unwrap_or_else(|| panic!("no {control} of {symbol} in {uses}"))
}

#[tokio::test]
async fn limits_are_replaced_whole_for_every_worker_at_once() {
    let lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"5\"")]);
    })
    .await;
    let _workers = [lab.worker().await, lab.worker().await];
    lab.execute(&market("a", "BTCUSDT", "Buy", "5")).await.is_completed("Filled");
    lab.execute(&market("b", "BTCUSDT", "Buy", "6")).await.is_failed("RISK_MAX_ORDER_QUANTITY");
    let rows = [
        Limits::unlimited("*").with("max_order_quantity", "\"7\""),
        Limits::unlimited("ETHUSDT").with("max_order_quantity", "\"1\""),
    ];
    let file = write(&lab, &rows);
    let shown = lab.cli(&["risk", "apply", &file, "--dry-run"]).await.succeeded();
    assert!(shown.said().contains("symbol *  max_order_quantity: 5 -> 7"), "{}", shown.said());
    lab.execute(&market("c", "BTCUSDT", "Buy", "6")).await.is_failed("RISK_MAX_ORDER_QUANTITY");
    let done =
        lab.cli(&["risk", "apply", &file, "--by", "ann", "--why", "more room", "--json"]).await.succeeded();
    let differences = done.json();
    assert_eq!(differences.as_array().unwrap().len(), 7, "{differences}");
    assert_eq!(
        differences[0],
        json!({"row": "symbol *", "control": "max_order_quantity", "from": "5", "to": "7"})
    );
    for n in 0..4 {
        lab.execute(&market(&format!("d{n}"), "BTCUSDT", "Buy", "6")).await.is_completed("Filled");
        lab.execute(&market(&format!("e{n}"), "ETHUSDT", "Buy", "2"))
            .await
            .is_failed("RISK_MAX_ORDER_QUANTITY");
    }
    // The same again is no change, and no event.
    lab.cli(&["risk", "apply", &file]).await.succeeded();
    let log = lab.cli(&["risk", "log", "--json"]).await.succeeded().json();
    let who: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["event"]["by"].clone()).collect();
    assert_eq!(who, [json!("ann"), json!("configuration")]);
    lab.cli(&["replay"]).await.succeeded();
}

#[tokio::test]
async fn a_file_with_an_error_is_refused_whole_with_every_error() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let rows = [
        Limits::unlimited("BTCUSDT").with("max_position", "\"-1\""),
        Limits::unlimited("ETHUSDT").without("max_daily_loss"),
        Limits::unlimited("*"),
        Limits::unlimited("*"),
    ];
    let file = write(&lab, &rows);
    let said = lab.cli(&["risk", "apply", &file]).await.exits(2).said();
    for words in
        ["risk.limits[0].max_position", "risk.limits[1].max_daily_loss", "two rows for the symbol \"*\""]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    lab.cli(&["risk", "apply", "/nowhere/limits.toml"]).await.exits(2);
    std::fs::write(&file, "[worker]\nbatch_size = 3\n").unwrap();
    let said = lab.cli(&["risk", "apply", &file]).await.exits(2).said();
    assert!(said.contains("unknown key") && said.contains("one row at least"), "{said}");
    std::fs::write(&file, "[risk]\nlimits = []\n").unwrap();
    let said = lab.cli(&["risk", "apply", &file]).await.exits(2).said();
    assert!(said.contains("one row at least"), "{said}");
    let log = lab.cli(&["risk", "log", "--json"]).await.succeeded().json();
    assert_eq!(log.as_array().unwrap().len(), 1, "{log}");
}

#[tokio::test]
async fn risk_tells_what_of_each_limit_is_used_and_what_is_left() {
    let lab = Lab::with(|s| {
        let row = Limits::unlimited("*").with("max_position", "\"10\"").with("max_daily_loss", "\"1000\"");
        s.limits([row.with("max_orders_per_second", "50")]);
    })
    .await;
    let _worker = lab.worker().await;
    lab.quote("BTCUSDT", "100", "100", &[]).await;
    lab.execute(&market("a", "BTCUSDT", "Buy", "3")).await.is_completed("Filled");
    lab.execute(&limit("b", "BTCUSDT", "Buy", "2", "99")).await.is_completed("Acknowledged");
    lab.execute(&limit("c", "BTCUSDT", "Sell", "1", "101")).await.is_completed("Acknowledged");
    lab.quote("BTCUSDT", "90", "90", &[]).await;
    let uses = lab.cli(&["risk", "--json"]).await.succeeded().json();
    let position = find(&uses, "max_position", "BTCUSDT");
    assert_eq!((&position["used"], &position["head_room"]), (&json!("5"), &json!("5")), "{position}");
    assert_eq!((&position["row"], &position["broker"]), (&json!("symbol *"), &json!("mock")));
    // Three bought at 100 are worth 90 each.
    let loss = find(&uses, "max_daily_loss", "BTCUSDT");
    assert!(decimal(&loss["used"]) >= Decimal::from(30), "{loss}");
    assert_eq!(decimal(&loss["used"]) + decimal(&loss["head_room"]), Decimal::from(1000), "{loss}");
    let quantity = find(&uses, "max_order_quantity", "BTCUSDT");
    assert_eq!((&quantity["limit"], &quantity["used"]), (&json!("unlimited"), &Value::Null));
    let text = lab.cli(&["risk"]).await.succeeded().said();
    assert!(text.contains("HEAD-ROOM") && text.contains("max_daily_loss"), "{text}");
}
