//! What each section takes and refuses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;
use secrecy::ExposeSecret;

use super::{errors_of, given, read};
use crate::config::{Limit, LogFormat, MockProfile, load};

const ROW: &str = r#"
    [[risk.limits]]
    symbol = "*"
    max_order_quantity = "100"
    max_order_notional = 1000000
    max_position = "unlimited"
    max_daily_loss = "0.5"
    price_collar_pct = "5"
    max_orders_per_second = 100
"#;

fn project(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

#[test]
fn nothing_configured_gives_the_documented_defaults() {
    let settings = given(&[], &[]).load("development").unwrap();
    assert_eq!(settings.app.environment, "development");
    assert_eq!((settings.app.log_level.as_str(), settings.app.log_format), ("info", LogFormat::Json));
    assert_eq!(settings.redis.url.expose_secret(), "redis://127.0.0.1:6379");
    assert_eq!(settings.redis.pool_size, 16);
    assert_eq!((settings.streams.prefix.as_str(), settings.streams.group.as_str()), ("orders", "execution"));
    assert_eq!(settings.streams.event_history, 1_000_000);
    assert_eq!(settings.streams.outcome_history, Some(1_000_000));
    assert_eq!(settings.streams.state_ttl, Duration::from_secs(86_400));
    assert_eq!(settings.worker.consumer, None);
    assert_eq!((settings.worker.batch_size, settings.worker.max_in_flight), (256, 1024));
    assert_eq!(settings.worker.claim_idle, Duration::from_secs(10));
    assert_eq!(settings.worker.drain_timeout, Duration::from_secs(10));
    assert_eq!(settings.worker.max_request_age, None);
    assert_eq!(settings.worker.command_wait, Duration::from_secs(5));
    assert_eq!((settings.worker.max_payload_bytes, settings.worker.max_deliveries), (65_536, 5));
    assert_eq!(settings.database.url.expose_secret(), "sqlite://./data/dev.db");
    assert_eq!(settings.database.pool_size, 4);
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:9091");
    assert!(settings.http.token.is_none());
    assert_eq!(settings.risk.max_quote_age, Duration::from_secs(5));
    assert_eq!(settings.risk.session_start.to_string(), "00:00:00");
    assert!(settings.risk.limits.is_empty() && settings.broker.routes.is_empty());
    assert_eq!(settings.broker.default, "mock");
    let mock = settings.broker.mock;
    assert_eq!((mock.latency, mock.failure_rate, mock.seed), (Duration::ZERO, Decimal::ZERO, 1));
    assert!(mock.prices.is_empty() && mock.instruments.is_empty());
}

#[test]
fn the_shipped_files_are_valid_and_say_what_the_code_defaults_to() {
    let directory = project("config");
    let none = BTreeMap::new();
    let development = load(&directory, "development", &none).unwrap();
    assert_eq!(development.app.log_format, LogFormat::Pretty);
    assert_eq!(development.broker.mock.prices["BTCUSDT"], Decimal::from(45_000));
    assert_eq!(development.risk.limits[0].symbol, "*");
    assert_eq!(development.risk.limits[0].max_position, Limit::At(Decimal::from(500)));

    let built_in = given(&[], &[]).load("development").unwrap();
    let shipped = load(&directory, "development", &none).unwrap();
    assert_eq!(shipped.streams, built_in.streams);
    assert_eq!(shipped.worker, built_in.worker);
    assert_eq!(shipped.redis.pool_size, built_in.redis.pool_size);
    assert_eq!(shipped.redis.url.expose_secret(), built_in.redis.url.expose_secret());
    assert_eq!(shipped.database.pool_size, built_in.database.pool_size);
    assert_eq!(shipped.database.url.expose_secret(), built_in.database.url.expose_secret());
    assert_eq!(shipped.http.listen, built_in.http.listen);
    assert_eq!(shipped.risk.max_quote_age, built_in.risk.max_quote_age);
    assert_eq!(shipped.risk.session_start, built_in.risk.session_start);
    assert_eq!(shipped.broker.default, built_in.broker.default);

    for env in ["staging", "production"] {
        let variables =
            [("REDIS_URL", "rediss://u:pw@cache:6380"), ("DATABASE_URL", "sqlite:///var/lib/o.db")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let settings = load(&directory, env, &variables).unwrap();
        assert_eq!(settings.app.log_format, LogFormat::Json, "{env}");
        assert_eq!(settings.redis.url.expose_secret(), "rediss://u:pw@cache:6380");
        let errors = load(&directory, env, &none).unwrap_err().to_string();
        assert!(errors.contains("redis.url: the environment variable REDIS_URL is not set"), "{errors}");
        assert!(
            errors.contains("database.url: the environment variable DATABASE_URL is not set"),
            "{errors}"
        );
    }
}

#[test]
fn a_file_cannot_choose_the_environment() {
    assert_eq!(read("app.environment = \"development\"").app.environment, "development");
    let errors = errors_of("app.environment = \"production\"");
    assert!(errors[0].starts_with("app.environment: is chosen by --env or APP_ENV"), "{errors:?}");
}

#[test]
fn an_exchange_is_on_this_machine_and_its_profile_known() {
    let mock = |text: &str| read(text).broker.mock;
    assert_eq!(mock("broker.mock.url = \"http://127.0.0.1:9200/\"").url.unwrap(), "http://127.0.0.1:9200");
    for url in [
        "https://127.0.0.1:9200",
        "http://10.0.0.1:9200",
        "http://127.0.0.1",
        "127.0.0.1:9200",
        "http://u@127.0.0.1:1",
    ] {
        let errors = errors_of(&format!("broker.mock.url = {url:?}"));
        assert!(errors[0].contains("origin of an exchange on this machine"), "{errors:?}");
    }
    for (name, profile) in [
        ("dedupes_forever", MockProfile::DedupesForever),
        ("Deadline", MockProfile::Deadline),
        ("OneShot", MockProfile::OneShot),
        ("one_shot", MockProfile::OneShot),
    ] {
        assert_eq!(mock(&format!("broker.mock.profile = {name:?}")).profile, profile);
    }
    let errors = errors_of("broker.mock.profile = \"twice\"");
    assert!(errors[0].contains("\"dedupes_forever\", \"deadline\" or \"one_shot\""), "{errors:?}");
}

#[test]
fn what_does_not_exist_yet_is_refused_by_name() {
    for (text, key) in [
        ("streams.lanes = [\"{orders-0}\"]", "streams.lanes"),
        ("broker.mock.max_open_orders = 1", "broker.mock.max_open_orders"),
        ("[broker.oanda]", "broker.oanda"),
        ("[broker.binance_spot]", "broker.binance_spot"),
        ("[broker.binance_futures]", "broker.binance_futures"),
        ("[broker.mexc]", "broker.mexc"),
        ("[grpc]", "grpc"),
        ("[telemetry]", "telemetry"),
        ("[security]", "security"),
    ] {
        let sentence = format!("default.toml:1: {key}: not built yet in this version; remove it");
        assert_eq!(errors_of(text), [sentence]);
    }
    let row = format!("{ROW}check_buying_power = true\n");
    assert_eq!(
        errors_of(&row),
        ["default.toml:10: risk.limits[0].check_buying_power: not built yet in this version; remove it"]
    );
}

#[test]
fn rows_of_limits_are_checked_as_they_belong_together() {
    let limits = |more: &str| read(&format!("{ROW}{more}")).risk.limits.remove(0);
    assert_eq!(limits("strategy_id = \"s\"\n").strategy_id.as_deref(), Some("s"));
    assert!(limits("account = true\n").account);
    let row = limits("max_open_orders = 5\nprevent_self_trade = true\nallowed_sides = [\"Buy\"]\n");
    assert_eq!((row.optional.max_open_orders, row.optional.prevent_self_trade), (Some(5), true));
    for (more, problem) in [
        ("account = true\nstrategy_id = \"s\"\n", "account: a row of the whole account has symbol"),
        ("max_fills = 3\n", "fills_window_ms: required with max_fills"),
        ("fills_window_ms = 3\n", "max_fills: required with fills_window_ms"),
        ("max_price_move_pct = \"3\"\n", "price_move_window_ms: required with max_price_move_pct"),
        ("price_move_pause_ms = 3\n", "max_price_move_pct: required with price_move_pause_ms"),
        ("prevent_self_trade = true\n", "max_open_orders: required with prevent_self_trade, at most 1000"),
        ("allowed_symbols = [\"BTCUSDT\"]\n", "allowed_symbols: is for rows with strategy_id or account"),
        ("allowed_sides = [\"Long\"]\n", "allowed_sides[0] = \"Long\": must be one of Buy, Sell"),
        ("max_gross_exposure = \"-1\"\n", "max_gross_exposure = \"-1\": must not be negative"),
    ] {
        let errors = errors_of(&format!("{ROW}{more}"));
        assert!(errors.len() == 1 && errors[0].contains(problem), "{more}: {errors:?}");
    }
    let twice = errors_of(&format!("{ROW}strategy_id = \"s\"\n{ROW}strategy_id = \"s\"\n"));
    assert!(twice[0].contains("two rows for the strategy \"s\" and the symbol \"*\"; keep one"), "{twice:?}");
    let rates = errors_of("[risk.fx]\nEUR = \"1.1\"");
    assert!(rates[0].contains("risk.currency: required with risk.fx"), "{rates:?}");
}

#[test]
fn a_limit_row_is_read_with_its_unlimited_ones() {
    let settings = read(ROW);
    let [row] = settings.risk.limits.as_slice() else { panic!("one row") };
    assert_eq!(row.symbol, "*");
    assert_eq!(row.max_order_quantity, Limit::At(Decimal::from(100)));
    assert_eq!(row.max_order_notional, Limit::At(Decimal::from(1_000_000)));
    assert_eq!(row.max_position, Limit::Unlimited);
    assert_eq!(row.max_daily_loss, Limit::At(Decimal::new(5, 1)));
    assert_eq!(row.max_orders_per_second, Limit::At(100));
}

#[test]
fn a_limit_row_is_whole_or_refused() {
    for key in [
        "symbol",
        "max_order_quantity",
        "max_order_notional",
        "max_position",
        "max_daily_loss",
        "price_collar_pct",
        "max_orders_per_second",
    ] {
        let without: Vec<_> = ROW.lines().filter(|line| !line.trim().starts_with(key)).collect();
        let errors = errors_of(&without.join("\n"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(&format!("default.toml:2: risk.limits[0].{key}: required: ")),
            "{errors:?}"
        );
    }
    for (from, to, expected) in [
        (
            "\"0.5\"",
            "0.5",
            "default.toml:7: risk.limits[0].max_daily_loss = 0.5: write it as a string, \"0.5\"",
        ),
        ("\"0.5\"", "\"-0.5\"", "risk.limits[0].max_daily_loss = \"-0.5\": must not be negative"),
        ("\"0.5\"", "\"none\"", "must be a decimal in quotes"),
        ("\"0.5\"", "true", "or \"unlimited\""),
        ("second = 100", "second = \"1.5\"", "max_orders_per_second = \"1.5\": must be a whole number"),
        ("\"*\"", "\"EUR_*\"", "risk.limits[0].symbol = \"EUR_*\": must be a symbol"),
    ] {
        let errors = errors_of(&ROW.replace(from, to));
        assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
    }
    assert_eq!(errors_of(&format!("{ROW}{ROW}")), ["risk.limits: two rows for the symbol \"*\"; keep one"]);
}

#[test]
fn routes_may_name_any_broker_in_mock_mode() {
    let route = "broker.default = \"oanda\"\n[[broker.route]]\nsymbols = [\"EUR_*\", \"*\"]\nbroker = \"binance_spot\"";
    let settings = read(route);
    assert_eq!(settings.broker.default, "oanda");
    assert_eq!(settings.broker.routes[0].symbols, ["EUR_*", "*"]);
    assert_eq!(settings.broker.routes[0].broker, "binance_spot");

    let errors = errors_of(
        "[[broker.route]]\nsymbols = []\nbroker = \"OANDA\"\n[[broker.route]]\nsymbols = [\"a b\", 5]\n[[broker.route]]\nbroker = \"b\"",
    );
    assert_eq!(
        errors,
        [
            "default.toml:3: broker.route[0].broker = \"OANDA\": must be a broker's name, 1 to 32 of a-z 0-9 _",
            "default.toml:1: broker.route[0].symbols: must name at least one symbol",
            "default.toml:4: broker.route[1].broker: required: the name of a broker",
            "default.toml:5: broker.route[1].symbols[0] = \"a b\": must be a symbol, in which * stands for any characters",
            "default.toml:5: broker.route[1].symbols[1] = 5: must be a symbol, in which * stands for any characters",
            "default.toml:6: broker.route[2].symbols: required: a list of symbols, such as [\"EUR_*\"]",
        ]
    );
}

#[test]
fn the_simulated_brokers_numbers_are_bounded() {
    let errors = errors_of(
        r#"
[broker.mock]
latency_ms = 60001
failure_rate = "1.1"
seed = -1
commission_pct = 0.1
slippage_pct = "-1"
[broker.mock.prices]
BTCUSDT = 0
"a b" = "1"
[broker.mock.instruments.BTCUSDT]
tick_size = "0"
lot = "1"
min_quantity = "2"
max_quantity = "1"
"#,
    );
    let expected = [
        "default.toml:3: broker.mock.latency_ms = 60001: must be between 0 and 60000 (milliseconds)",
        "default.toml:4: broker.mock.failure_rate = \"1.1\": must be between 0 and 1",
        "default.toml:5: broker.mock.seed = -1: must be between 0 and 18446744073709551615",
        "default.toml:9: broker.mock.prices.BTCUSDT = 0: must be above 0",
        "default.toml:10: broker.mock.prices.a b: a symbol is 1 to 32 of A-Z a-z 0-9 . _ : / -",
        "default.toml:6: broker.mock.commission_pct = 0.1: write it as a string, \"0.1\": floats are not exact",
        "default.toml:7: broker.mock.slippage_pct = \"-1\": must be between 0 and 100",
        "default.toml:12: broker.mock.instruments.BTCUSDT.tick_size = \"0\": must be above 0",
        "default.toml:11: broker.mock.instruments.BTCUSDT.max_quantity: must be at least min_quantity, 2",
        "default.toml:13: broker.mock.instruments.BTCUSDT.lot: unknown key; known here: base, currency, inverse, max_quantity, min_notional, min_quantity, multiplier, order_types, step_size, tick_size, trading",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn what_is_off_by_default_can_be_switched_on_and_off() {
    assert_eq!(
        read("worker.max_request_age_ms = 250").worker.max_request_age,
        Some(Duration::from_millis(250))
    );
    assert_eq!(read("worker.max_request_age_ms = \"off\"").worker.max_request_age, None);
    assert_eq!(read("streams.outcome_history = 0").streams.outcome_history, None);
    assert_eq!(
        errors_of("worker.max_request_age_ms = 0"),
        [
            "default.toml:1: worker.max_request_age_ms = 0: must be between 1 and 31622400000 (milliseconds), or \"off\""
        ]
    );
}
