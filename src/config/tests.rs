//! The layers and the errors; the sections are in `sections`.

mod sections;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{LogFormat, Settings, load};

/// A configuration directory and an environment, made up for one test.
struct Given {
    directory: TempDir,
    variables: BTreeMap<String, String>,
}

fn given(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Given {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Given { directory, variables: variables.collect() }
}

impl Given {
    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn load(&self, env: &str) -> Result<Settings, Vec<String>> {
        load(self.directory.path(), env, &self.variables).map_err(|errors| {
            let directory = format!("{}/", self.directory.path().display());
            let lines = errors.to_string().replace(&directory, "");
            assert_eq!(errors.iter().count(), lines.lines().count(), "{lines}");
            lines.lines().map(str::to_owned).collect()
        })
    }

    fn errors(&self) -> Vec<String> {
        self.load("development").expect_err("there is something wrong")
    }
}

/// What is wrong where `default.toml` holds no more than `text`.
fn errors_of(text: &str) -> Vec<String> {
    given(&[("default.toml", text)], &[]).errors()
}

fn read(text: &str) -> Settings {
    given(&[("default.toml", text)], &[]).load("development").unwrap()
}

#[test]
fn a_later_layer_wins_key_by_key_and_replaces_lists_whole() {
    let settings = given(
        &[
            (
                "default.toml",
                r#"
                worker = { batch_size = 10, max_deliveries = 7 }
                [broker.mock.prices]
                BTCUSDT = "1"
                [[broker.route]]
                symbols = ["A", "B"]
                broker = "one"
                [[broker.route]]
                symbols = ["C"]
                broker = "two"
                "#,
            ),
            (
                "test.toml",
                r#"
                worker.batch_size = 20
                worker.max_in_flight = 30
                [broker.mock.prices]
                ETHUSDT = "2"
                [[broker.route]]
                symbols = ["D"]
                broker = "three"
                "#,
            ),
        ],
        &[("ORDER_EXECUTION__WORKER__MAX_IN_FLIGHT", "40"), ("UNRELATED__WORKER__BATCH_SIZE", "1")],
    )
    .load("test")
    .unwrap();
    assert_eq!(settings.worker.max_deliveries, 7);
    assert_eq!(settings.worker.batch_size, 20);
    assert_eq!(settings.worker.max_in_flight, 40);
    assert_eq!(settings.broker.mock.prices.len(), 2);
    assert_eq!(settings.broker.routes.len(), 1);
    assert_eq!(
        (settings.broker.routes[0].symbols[0].as_str(), settings.app.environment.as_str()),
        ("D", "test")
    );
}

#[test]
fn the_environment_sets_any_single_value_and_symbols_keep_their_case() {
    let settings = given(
        &[("default.toml", "[broker.mock.prices]\nBTCUSDT = 1\nbtcusdt = \"2\"\n\"BRK.B\" = \"3.10\"")],
        &[
            ("ORDER_EXECUTION__APP__LOG_FORMAT", "pretty"),
            ("ORDER_EXECUTION__WORKER__BATCH_SIZE", "64"),
            ("ORDER_EXECUTION__worker__command_wait_ms", "250"),
            ("ORDER_EXECUTION__BROKER__MOCK__PRICES__BTCUSDT", "45000"),
            ("ORDER_EXECUTION__BROKER__MOCK__PRICES__EUR_USD", "1.08"),
            ("ORDER_EXECUTION__BROKER__MOCK__INSTRUMENTS__EUR_USD__TICK_SIZE", "0.00001"),
            ("ORDER_EXECUTION__BROKER__MOCK__SEED", "18446744073709551615"),
            ("ORDER_EXECUTION__BROKER__MOCK__FAILURE_RATE", "0.25"),
            ("ORDER_EXECUTION__RISK__SESSION_START", "22:30"),
        ],
    )
    .load("development")
    .unwrap();
    assert_eq!(settings.app.log_format, LogFormat::Pretty);
    assert_eq!(settings.worker.batch_size, 64);
    assert_eq!(settings.worker.command_wait, Duration::from_millis(250));
    let prices: Vec<_> =
        settings.broker.mock.prices.iter().map(|(name, price)| format!("{name}={price}")).collect();
    assert_eq!(prices, ["BRK.B=3.10", "BTCUSDT=45000", "EUR_USD=1.08", "btcusdt=2"]);
    let rules = &settings.broker.mock.instruments["EUR_USD"];
    assert_eq!(rules.tick_size.unwrap().to_string(), "0.00001");
    assert_eq!(settings.broker.mock.seed, u64::MAX);
    assert_eq!(settings.broker.mock.failure_rate.to_string(), "0.25");
    assert_eq!(settings.risk.session_start.to_string(), "22:30:00");
}

#[test]
fn a_variable_that_finds_no_place_is_an_error() {
    let errors = given(
        &[],
        &[
            ("ORDER_EXECUTION__WORKER", "5"),
            ("ORDER_EXECUTION__WORKER__BATCH_SIZE", "5"),
            ("ORDER_EXECUTION__REDIS__POOL_SIZE", "5"),
            ("ORDER_EXECUTION__redis__pool_size", "6"),
            ("ORDER_EXECUTION__HTTP____LISTEN", "x"),
            ("ORDER_EXECUTION__HTTP__LISTEN", "caf\u{fffd}"),
            ("ORDER_EXECUTION__RISK__LIMITS", "none"),
        ],
    )
    .errors();
    let expected = [
        "ORDER_EXECUTION__HTTP__LISTEN: http.listen: must be UTF-8 text",
        "ORDER_EXECUTION__HTTP____LISTEN: must be ORDER_EXECUTION__SECTION__KEY",
        "ORDER_EXECUTION__WORKER__BATCH_SIZE: worker.batch_size: is set twice by the environment, or as a table and a value",
        "ORDER_EXECUTION__redis__pool_size: redis.pool_size: is set twice by the environment, or as a table and a value",
        "ORDER_EXECUTION__WORKER: worker = \"5\": must be a table",
        "ORDER_EXECUTION__RISK__LIMITS: risk.limits = \"none\": must be a list, which only a file can hold",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn every_error_of_every_layer_is_told_at_once_with_its_place() {
    let errors = given(
        &[
            (
                "default.toml",
                "[worker]\nbatch_size = 0\nmax_in_flight = \"many\"\nbatchsize = 5\n[app]\nlog_level = \"loud\"\n",
            ),
            ("development.toml", "[http]\nlisten = \"localhost\"\n[wroker]\nx = 1\n"),
        ],
        &[("ORDER_EXECUTION__STREAMS__STATE_TTL_SECONDS", "-1")],
    )
    .errors();
    let expected = [
        "default.toml:6: app.log_level = \"loud\": must be a level (off, error, warn, info, debug, trace) or a list such as \"info,redis=warn\"",
        "ORDER_EXECUTION__STREAMS__STATE_TTL_SECONDS: streams.state_ttl_seconds = \"-1\": must be between 1 and 31622400 (seconds)",
        "default.toml:2: worker.batch_size = 0: must be between 1 and 1024",
        "default.toml:3: worker.max_in_flight = \"many\": must be a whole number between 1 and 65536",
        "default.toml:4: worker.batchsize: unknown key; known here: batch_size, claim_idle_ms, command_wait_ms, consumer, drain_timeout_ms, max_deliveries, max_in_flight, max_payload_bytes, max_request_age_ms",
        "development.toml:2: http.listen = \"localhost\": must be an IP address and a port, such as \"127.0.0.1:9091\"",
        "development.toml:3: wroker: unknown key; known here: app, broker, database, http, redis, risk, streams, worker",
    ];
    let mut sorted = errors.clone();
    sorted.sort();
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(sorted, expected);
}

#[test]
fn a_syntax_error_tells_its_line_not_its_text_and_hides_no_other_error() {
    let errors = given(
        &[
            ("default.toml", "[http]\ntoken = \"hunter2\n[worker]\nbatch_size = 0\nmax_in_flight = \n"),
            ("development.toml", "[redis]\npool_size = 0\npool_size = 1\n"),
        ],
        &[],
    )
    .errors();
    let (syntax, others): (Vec<_>, Vec<_>) = errors.into_iter().partition(|line| line.contains(": TOML: "));
    let places: Vec<_> = syntax.iter().map(|line| line.split(": TOML").next().unwrap()).collect();
    assert_eq!(places, ["default.toml:2", "default.toml:5", "development.toml:3"]);
    assert!(!syntax.join("\n").contains("hunter2"), "{syntax:?}");
    assert_eq!(
        others,
        [
            "development.toml:2: redis.pool_size = 0: must be between 1 and 1024",
            "default.toml:4: worker.batch_size = 0: must be between 1 and 1024",
        ]
    );

    let errors = errors_of("[app]\nlog_level = \"\"\"\n[http]\ntoken = \"hunter2\"\n");
    assert!(errors.len() == 1 && !errors[0].contains("hunter2"), "{errors:?}");
}

#[test]
fn a_file_that_a_named_environment_lacks_is_an_error_naming_it() {
    let nothing = given(&[], &[]);
    assert_eq!(
        nothing.load("staging").unwrap_err(),
        ["staging.toml: no such file; every named environment needs one"]
    );
    for name in ["../staging", "", "Production", "a/b"] {
        let errors = nothing.load(name).unwrap_err();
        assert_eq!(errors, [format!("app.environment = {name:?}: must be 1 to 32 of a-z 0-9 _ -")]);
    }
    let directory = nothing.directory.path().join("elsewhere");
    let errors = load(&directory, "development", &BTreeMap::new()).unwrap_err();
    assert!(errors.to_string().ends_with("elsewhere: no such configuration directory"), "{errors}");
}

#[test]
fn variables_inside_values_are_expanded_only_where_the_value_counts() {
    let files = [(
        "default.toml",
        "[redis]\nurl = \"redis://:${PW}@h\"\n[streams]\nprefix = \"o-${LANE}\"\ngroup = \"${NONE}\"",
    )];
    let settings =
        given(&files, &[("PW", "s3cret"), ("LANE", "7"), ("ORDER_EXECUTION__STREAMS__GROUP", "g")])
            .load("development")
            .unwrap();
    assert_eq!(settings.redis.url.expose_secret(), "redis://:s3cret@h");
    assert_eq!((settings.streams.prefix.as_str(), settings.streams.group.as_str()), ("o-7", "g"));

    let errors = given(&files, &[("LANE", "a space, s3cret")]).errors();
    assert_eq!(
        errors,
        [
            "default.toml:2: redis.url: the environment variable PW is not set",
            "default.toml:4: streams.prefix = \"o-${LANE}\": must be 1 to 64 of A-Z a-z 0-9 . _ : / { } -",
            "default.toml:5: streams.group = \"${NONE}\": the environment variable NONE is not set",
        ]
    );
}

#[test]
fn secrets_come_from_files_too_and_the_later_layer_wins() {
    let mut given = given(
        &[
            ("default.toml", "[redis]\nurl = \"redis://from-the-file\"\n"),
            ("url", "redis://:from-a-secret@h\r\n"),
            ("token", "t0ken\n"),
            ("empty", "\n"),
        ],
        &[],
    );
    let set = |given: &mut Given, name: &str, file: &str| {
        let path = given.path(file);
        given.variables.insert(format!("ORDER_EXECUTION__{name}"), path);
    };
    set(&mut given, "REDIS__URL_FILE", "url");
    set(&mut given, "HTTP__TOKEN_FILE", "token");
    let settings = given.load("development").unwrap();
    assert_eq!(settings.redis.url.expose_secret(), "redis://:from-a-secret@h");
    assert_eq!(settings.http.token.as_ref().unwrap().expose_secret(), "t0ken");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("from-a-secret") && !shown.contains("t0ken"), "{shown}");

    set(&mut given, "HTTP__TOKEN_FILE", "empty");
    set(&mut given, "DATABASE__URL_FILE", "missing");
    given.variables.insert("ORDER_EXECUTION__REDIS__URL".to_owned(), "redis://x".to_owned());
    let errors = given.errors().join("\n");
    assert!(errors.contains("redis.url: set together with url_file; keep one of them"), "{errors}");
    assert!(errors.contains("http.token_file: \"empty\" is empty"), "{errors}");
    assert!(errors.contains("database.url_file: \"missing\" cannot be read: "), "{errors}");
}

#[test]
fn no_error_tells_a_secret() {
    let errors = given(
        &[("default.toml", "[http]\ntoken = \"hunter2 \"\ntokn = \"hunter2\"\n[database]\nurl = \"postgres://u:hunter2@h\"\n[broker.oanda]\napi_token = \"hunter2\"")],
        &[("ORDER_EXECUTION__REDIS__URL", "htp://u:hunter2@h")],
    )
    .errors();
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert!(!errors.join("\n").contains("hunter2"), "{errors:?}");
}
