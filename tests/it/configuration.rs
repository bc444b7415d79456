//! Configuration: layers, variables, and every error at once (CONTRACT 4).

use crate::harness::{Lab, Limits, Ran, Settings, binary, find_key, market};
use serde_json::json;
use std::process::Command;

/// Starts a worker over a configuration that cannot be used; what it says before it ends with 2.
async fn refused(adjust: impl FnOnce(&mut Settings)) -> String {
    let lab = Lab::with(adjust).await;
    let ran = lab.cli(&["worker"]).await.exits(2);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let check = lab.cli(&["check"]).await;
    assert_eq!(check.code, 2, "`check` finds it too: {}", check.said());
    ran.stderr
}

#[tokio::test]
async fn every_error_is_told_at_once_with_its_key() {
    let said = refused(|s| {
        s.text("streams.prefixx", "typo").text("worker.batch_size", "many").text("broker.mode", "casino");
        s.text("broker.mock.failure_rate", "1.5").set("surprise.key", "1");
    })
    .await;
    for named in ["prefixx", "batch_size", "many", "mode", "casino", "failure_rate", "surprise"] {
        assert!(said.contains(named), "{named} is not in\n{said}");
    }
}

#[tokio::test]
async fn a_row_of_limits_needs_all_its_keys() {
    for key in [
        "max_order_quantity",
        "max_order_notional",
        "max_position",
        "max_daily_loss",
        "price_collar_pct",
        "max_orders_per_second",
        "symbol",
    ] {
        let said = refused(|s| {
            s.limits([Limits::unlimited("*").without(key)]);
        })
        .await;
        assert!(said.contains(key), "{key} is not in\n{said}");
    }
    let said = refused(|s| {
        s.limits([Limits::unlimited("*").with("max_position", "\"-1\"").with("max_leverage", "\"3\"")]);
    })
    .await;
    assert!(said.contains("max_position") && said.contains("max_leverage"), "{said}");
}

#[tokio::test]
async fn what_is_not_built_yet_is_refused_and_not_ignored() {
    let said = refused(|s| {
        s.set("security.require_signature", "true");
    })
    .await;
    assert!(said.contains("require_signature"), "{said}");
    let said = refused(|s| {
        s.limits([Limits::unlimited("*").with("check_buying_power", "true")]);
    })
    .await;
    assert!(said.contains("check_buying_power"), "{said}");
    for mode in ["live", "practice"] {
        let said = refused(|s| {
            s.text("broker.mode", mode);
        })
        .await;
        assert!(said.contains(mode), "{said}");
    }
}

#[tokio::test]
async fn a_missing_variable_is_named_and_a_set_one_is_taken() {
    let lab = Lab::with(|s| {
        s.text("streams.group", "${TEST_GROUP_NAME}");
    })
    .await;
    let ran = lab.cli(&["check"]).await.exits(2);
    assert!(ran.stderr.contains("TEST_GROUP_NAME"), "{}", ran.stderr);
    let mut command = lab.command();
    command.arg("check").env("TEST_GROUP_NAME", "execution");
    Ran::of(command).await.succeeded();
}

#[tokio::test]
async fn the_environment_comes_before_the_files_and_the_named_file_before_the_default() {
    let lab = Lab::new().await;
    let added_under = async |prefix: &str| -> usize {
        redis::cmd("XLEN").arg(format!("{prefix}:pending")).query_async(&mut lab.redis()).await.unwrap()
    };
    let submit = ["submit", "--symbol", "BTCUSDT", "--side", "buy", "--quantity", "1", "--type", "market"];
    let (file, variable) = (format!("{}-file", lab.prefix()), format!("{}-variable", lab.prefix()));
    lab.write_config("staging.toml", &format!("[streams]\nprefix = {file:?}\n"));

    lab.cli(&submit).await.succeeded();
    assert_eq!(lab.length("pending").await, 1);
    lab.cli(&[&["--env", "staging"][..], &submit].concat()).await.succeeded();
    assert_eq!(added_under(&file).await, 1);
    let mut command = lab.command();
    command.args(submit).env("APP_ENV", "staging");
    Ran::of(command).await.succeeded();
    assert_eq!(added_under(&file).await, 2);
    let mut command = lab.command();
    command.args(["--env", "staging"]).args(submit).env("ORDER_EXECUTION__STREAMS__PREFIX", &variable);
    Ran::of(command).await.succeeded();
    assert_eq!((added_under(&file).await, added_under(&variable).await), (2, 1));
}

#[tokio::test]
async fn a_variable_that_names_no_setting_is_an_error_too() {
    let lab = Lab::new().await;
    let mut command = lab.command();
    command.arg("check").env("ORDER_EXECUTION__REDIS__URLL", "redis://127.0.0.1:1/");
    let ran = Ran::of(command).await.exits(2);
    assert!(ran.stderr.to_lowercase().contains("urll"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_folder_without_configuration_is_named() {
    let lab = Lab::new().await;
    let mut command = Command::new(binary());
    command.args(["--config", "/nowhere/at/all", "check"]).env_remove("APP_ENV");
    let ran = Ran::of(command).await.exits(2);
    assert!(ran.stderr.contains("/nowhere/at/all"), "{}", ran.stderr);
    lab.write_config("default.toml", "[redis\nurl = ");
    let ran = lab.cli(&["check"]).await.exits(2);
    assert!(ran.stderr.contains("default.toml"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_shipped_configuration_needs_no_variable() {
    let lab = Lab::new().await;
    let mut command = Command::new(binary());
    command
        .current_dir(lab.path(""))
        .args(["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/config"), "--env", "development", "check"])
        .env_remove("APP_ENV")
        .env("ORDER_EXECUTION__REDIS__URL", lab.url())
        .env("ORDER_EXECUTION__DATABASE__URL", lab.database_url());
    Ran::of(command).await.succeeded();
}

#[tokio::test]
async fn limits_are_loaded_once_and_then_live_in_the_database() {
    let mut lab = Lab::with(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"1\"")]);
    })
    .await;
    let mut worker = lab.worker().await;
    lab.execute(&market("first", "BTCUSDT", "Buy", "2")).await.is_failed("RISK_MAX_ORDER_QUANTITY");
    assert_eq!(worker.terminate().await, 0);
    lab.adjust(|s| {
        s.limits([Limits::unlimited("*").with("max_order_quantity", "\"10\"")]);
    });
    let _worker = lab.worker().await;
    lab.execute(&market("second", "BTCUSDT", "Buy", "2")).await.is_failed("RISK_MAX_ORDER_QUANTITY");
}

#[tokio::test]
async fn a_tag_in_the_prefix_and_another_group_are_taken_as_they_are() {
    let tagged = format!("{{t-{}}}", uuid::Uuid::now_v7().simple());
    let lab = Lab::with(|s| {
        s.text("streams.prefix", &tagged);
    })
    .await;
    let _worker = lab.worker().await;
    let order = market("tagged", "BTCUSDT", "Buy", "1").to_string();
    let mut add = redis::cmd("XADD");
    add.arg(format!("{tagged}:pending")).arg("*").arg("order").arg(order);
    let _: String = add.query_async(&mut lab.redis()).await.unwrap();
    crate::harness::eventually("an outcome under the tagged prefix", async || {
        let key = format!("{tagged}:completed");
        let length: usize = redis::cmd("XLEN").arg(key).query_async(&mut lab.redis()).await.unwrap();
        (length == 1).then_some(())
    })
    .await;
    let told = lab.cli(&["order", "tagged", "--json"]).await.succeeded().json();
    assert_eq!(find_key(&told, "client_order_id"), Some(&json!("tagged")));
}
