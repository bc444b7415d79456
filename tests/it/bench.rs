//! `bench`: what it measures, as a program reads it. Never how fast: that is the machine's.

use crate::harness::Lab;
use serde_json::Value;

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

/// Every order of the step has ended as it should, and the figures fit each other.
fn is_sound(step: &Value, rate: u64, orders: u64, measured: u64) {
    assert_eq!((&step["rate"], &step["orders"]), (&rate.into(), &orders.into()), "{step}");
    assert_eq!((&step["measured"], &step["completed"]), (&measured.into(), &orders.into()), "{step}");
    for count in ["missing", "failed", "repeated"] {
        assert_eq!(step[count], 0, "{count} in {step}");
    }
    assert!(number(step, "achieved_per_second") > 0.0);
    let latency = &step["latency"];
    let rising = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(|field| number(latency, field));
    assert!(rising[0] > 0.0 && rising.is_sorted(), "{latency}");
    let table = latency["percentiles"].as_array().expect("a table of percentiles");
    assert!(table.len() > 5, "{latency}");
    for pair in table.windows(2) {
        for field in ["percentile", "latency_us", "orders"] {
            assert!(number(&pair[0], field) <= number(&pair[1], field), "{field} in {latency}");
        }
    }
    let last = table.last().unwrap();
    assert_eq!((&last["percentile"], &last["orders"]), (&100.0.into(), &measured.into()), "{last}");
    assert_eq!(last["latency_us"], latency["max_us"]);
    let sender = &step["sender"];
    assert!(number(sender, "late_p50_us") <= number(sender, "late_max_us"), "{sender}");
    assert!((1..=orders).contains(&sender["pipelines"].as_u64().unwrap()), "{sender}");
    assert!(sender["is_bottleneck"].is_boolean(), "{sender}");
}

#[tokio::test]
async fn an_open_loop_tells_the_latency_of_every_order() {
    let lab = Lab::new().await;
    let arguments = ["bench", "--private", "--rate", "200", "--seconds", "2", "--warmup", "1", "--json"];
    let told = lab.cli(&arguments).await.succeeded().json();
    assert_eq!(told["ok"], true);
    assert_eq!(told["arrivals"], "uniform");
    assert_eq!((&told["seconds"], &told["warmup_seconds"]), (&2.into(), &1.into()));
    let steps = told["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 1);
    is_sound(&steps[0], 200, 600, 400);
    assert_eq!(steps[0]["offered_per_second"], 200.0);
    assert!(told.get("knee").is_none(), "one rate has no knee");
}

#[tokio::test]
async fn a_sweep_tries_every_rate_draws_them_and_leaves_nothing_behind() {
    let lab = Lab::new().await;
    let picture = lab.path("sweep.svg");
    // On the configured Redis, without --private.
    let arguments = ["bench", "--sweep", "--from", "50", "--to", "150", "--steps", "3"];
    let more = ["--seconds", "1", "--warmup", "0", "--json", "--plot", picture.to_str().unwrap()];
    let told = lab.cli(&[&arguments[..], &more].concat()).await.succeeded().json();
    assert_eq!(told["ok"], true);
    let steps = told["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 3);
    for (step, rate) in steps.iter().zip([50, 100, 150]) {
        is_sound(step, rate, rate, rate);
    }
    let knee = &told["knee"];
    assert_eq!(number(knee, "p99_limit_us"), number(&steps[0]["latency"], "p99_us") * 10.0);
    assert!(knee["passed"].is_boolean() && (knee["rate"].is_null() || knee["rate"].is_u64()), "{knee}");

    let svg = std::fs::read_to_string(&picture).unwrap();
    let document = roxmltree::Document::parse(&svg).expect("well-formed XML");
    let circles = document.descendants().filter(|node| node.has_tag_name("circle"));
    assert_eq!(circles.count(), 3 * 5, "five percentiles of three rates");

    let mut redis = lab.redis();
    let keys: Vec<String> = redis::cmd("KEYS").arg("bench-*").query_async(&mut redis).await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
    let left: Vec<String> = std::fs::read_dir(lab.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("bench-"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn poisson_arrivals_are_those_of_their_seed() {
    let lab = Lab::new().await;
    let measure = async |seed: &str| {
        let arguments = ["bench", "--rate", "100", "--seconds", "1", "--warmup", "0", "--json"];
        let more = ["--arrivals", "poisson", "--seed", seed];
        let told = lab.cli(&[&arguments[..], &more].concat()).await.succeeded().json();
        assert_eq!(told["arrivals"], "poisson");
        let orders = told["steps"][0]["orders"].as_u64().unwrap();
        is_sound(&told["steps"][0], 100, orders, orders);
        orders
    };
    assert_eq!(measure("7").await, measure("7").await);
}

#[tokio::test]
async fn a_run_whose_orders_fail_is_a_failed_run_and_says_so() {
    let lab = Lab::with(|s| {
        s.text("broker.mock.failure_rate", "1");
    })
    .await;
    let arguments = ["bench", "--rate", "50", "--seconds", "1", "--warmup", "0"];
    let ran = lab.cli(&arguments).await.exits(1);
    assert!(ran.stdout.contains("FAILED at 50/s: 50 orders"), "{}", ran.said());
    assert!(ran.stdout.contains("BROKER_REJECTED"), "it says why: {}", ran.said());
    let told = lab.cli(&[&arguments[..], &["--json"]].concat()).await.exits(1).json();
    assert_eq!((&told["ok"], &told["steps"][0]["failed"]), (&false.into(), &50.into()));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_measured() {
    let lab = Lab::new().await;
    let nowhere = lab.path("nowhere/sweep.svg");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, word) in [
        (&["--rate", "0"][..], "1..=1000000"),
        (&["--sweep", "--from", "200", "--to", "100"], "--from 200 is not below --to 100"),
        (&["--sweep", "--plot", nowhere], nowhere),
        (&["--rate", "1000000"], "12000000 orders"),
    ] {
        let ran = lab.cli(&[&["bench", "--private"], arguments].concat()).await.exits(2);
        assert!(ran.stderr.contains(word), "{word} is not in: {}", ran.said());
        assert_eq!(ran.stdout, "");
    }
    let help = lab.cli(&["bench", "--help"]).await.succeeded().stdout;
    for word in ["Examples:", "--rate", "coordinated omission", "Exit codes:"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}
