//! The programs in `examples/`, run as they are against a worker: killed, cut off, and compared with the journal.

use crate::harness::tools::{node, python, source};
use crate::harness::{
    Guarded, Lab, Ran, RedisServer, assert_decimal, bare_status, eventually, eventually_within, limit,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

// ---- examples/python_signals.py

/// Signals of every kind: executed at once, resting, refused by a limit, refused before there is an order.
fn signals() -> Vec<Value> {
    let market = (0..24)
        .map(|n| json!({"signal": format!("m-{n}"), "symbol": "BTCUSDT", "side": "Buy", "quantity": "0.25"}));
    let resting = (0..4).map(
        |n| json!({"signal": format!("l-{n}"), "symbol": "GOLD", "side": "Buy", "quantity": "1.50", "limit": "98"}),
    );
    let refused = [
        json!({"signal": "big", "symbol": "ETHUSDT", "side": "Sell", "quantity": "500"}),
        json!({"signal": "nowhere", "symbol": "NOPE", "side": "Buy", "quantity": "1"}),
    ];
    market.chain(resting).chain(refused).collect()
}

const ORDERS: usize = 30;
/// Those that end executed: market orders, and the resting ones once the price meets them.
const EXECUTED: i64 = 28;

struct Signals<'l> {
    lab: &'l Lab,
    python: PathBuf,
}

impl<'l> Signals<'l> {
    fn new(lab: &'l Lab, python: PathBuf) -> Self {
        let lines: String = signals().iter().map(|signal| format!("{signal}\n")).collect();
        fs::write(lab.path("signals.jsonl"), lines).unwrap();
        Self { lab, python }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(source("examples/python_signals.py"));
        // Nothing is left in the source tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(["--redis", self.lab.url(), "--prefix", self.lab.prefix(), "--state"]);
        command.arg(self.lab.path("signals.json")).arg("--signals").arg(self.lab.path("signals.jsonl"));
        command
    }

    fn start(&self, more: &[&str]) -> Guarded {
        let log = File::options().create(true).append(true).open(self.lab.path("signals.log")).unwrap();
        let mut command = self.command();
        command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Guarded::spawn(&mut command).expect("the component starts")
    }

    /// Its state file: what it would know after a crash at this moment.
    fn held(&self) -> BTreeMap<String, Value> {
        let text = fs::read_to_string(self.lab.path("signals.json"))
            .unwrap_or_else(|_| r#"{"orders":{}}"#.to_owned());
        let state: Value = serde_json::from_str(&text).expect("the state file is whole at every moment");
        serde_json::from_value(state["orders"].clone()).unwrap()
    }

    fn answered(&self) -> usize {
        self.held().values().filter(|view| !view["outcome"].is_null()).count()
    }

    /// Runs it to its end; its view, by client order id.
    async fn finish(&self) -> BTreeMap<String, Value> {
        let ran = Ran::of(self.command()).await.succeeded();
        let views =
            ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        views.map(|view| (view["client_order_id"].as_str().expect("an id").to_owned(), view)).collect()
    }
}

/// The component's view is the journal's, order by order.
async fn agrees_with_the_journal(lab: &Lab, views: &BTreeMap<String, Value>) {
    let orders = lab.cli(&["orders", "--limit", "100", "--json"]).await.succeeded().json();
    let orders = orders.as_array().unwrap();
    for order in orders {
        let id = order["client_order_id"].as_str().unwrap();
        let view = views.get(id).unwrap_or_else(|| panic!("the component does not know {id}"));
        assert_eq!(view["status"], bare_status(&order["status"]), "{view}\n{order}");
        for field in ["filled_quantity", "average_fill_price", "version"] {
            assert_eq!(view[field], order[field], "{field} of {view}\n{order}");
        }
    }
    assert_eq!((views.len(), orders.len()), (ORDERS, ORDERS - 1), "all but the one that became no order");
    assert_eq!(views["py-nowhere"]["outcome"], "failed");
    assert_eq!(views["py-nowhere"]["version"], 0);
    assert!(views["py-big"]["error"].as_str().unwrap().contains("max_order_quantity"), "{}", views["py-big"]);
}

#[tokio::test]
async fn the_python_component_killed_anywhere_executes_each_order_once_and_knows_what_became_of_it() {
    let Some(python) = python() else { return };
    let server = RedisServer::start();
    let mut lab = Lab::on(&server, |s| {
        s.set("broker.mock.latency_ms", "20").set("worker.batch_size", "2");
        s.set("worker.claim_idle_ms", "1000");
        s.limits = vec![crate::harness::Limits::unlimited("*").with("max_order_quantity", "\"100\"")];
    })
    .await;
    lab.quote("GOLD", "99", "100", &[]).await;

    // Written down, and Redis takes nothing: the order may have been sent, or not.
    {
        let signals = Signals::new(&lab, python.clone());
        let mut pause = redis::cmd("CLIENT");
        pause.arg("PAUSE").arg(60_000).arg("WRITE").query_async::<()>(&mut lab.redis()).await.unwrap();
        let mut component = signals.start(&[]);
        // Sooner than the client gives up: what is written only after sending is not there.
        let within = Duration::from_secs(8);
        eventually_within(within, "an order in the state file", async || {
            (!signals.held().is_empty()).then_some(())
        })
        .await;
        component.kill();
        redis::cmd("CLIENT").arg("UNPAUSE").query_async::<()>(&mut lab.redis()).await.unwrap();
        assert_eq!(signals.answered(), 0);

        // Somebody else's request, whose bytes come back in its outcome, which all read.
        lab.add(&[("order", b"{\"symbol\":\"\xff\"}")]).await;

        // Sent, and nobody answers: there is no worker.
        let mut component = signals.start(&[]);
        eventually("all orders in the stream", async || (lab.length("pending").await > ORDERS).then_some(()))
            .await;
        component.kill();
        assert_eq!(signals.answered(), 0);

        // In the middle of the answers, several times.
        let _worker = lab.worker().await;
        for count in [1, 9, 17] {
            let mut component = signals.start(&[]);
            eventually("some more outcomes", async || (signals.answered() >= count).then_some(())).await;
            component.kill();
        }
    }

    // Redis dies and comes back while it runs.
    let worker = lab.worker().await;
    let mut component = Signals::new(&lab, python.clone()).start(&["--follow"]);
    server.kill();
    let is_told =
        |lab: &Lab| fs::read_to_string(lab.path("signals.log")).is_ok_and(|log| log.contains("trying again"));
    eventually("the component to notice", async || is_told(&lab).then_some(())).await;
    server.restart();
    lab.reconnect().await;
    let signals = Signals::new(&lab, python);
    eventually("all outcomes", async || (signals.answered() == ORDERS).then_some(())).await;
    assert_eq!(component.exit_code(), None, "with --follow it goes on");
    component.kill();

    // What happens while it is away it reads when it comes back.
    lab.quote("GOLD", "97", "97.5", &[]).await;
    for n in 0..4 {
        lab.state_becomes(&format!("py-l-{n}"), "Filled").await;
    }
    let views = signals.finish().await;
    agrees_with_the_journal(&lab, &views).await;
    assert_eq!(lab.trades().await, (EXECUTED, EXECUTED), "each order executed exactly once");
    assert!(lab.length("completed").await + lab.length("failed").await >= ORDERS);
    lab.cli(&["replay"]).await.succeeded();
    drop(worker);
}

#[tokio::test]
async fn the_python_component_takes_a_gap_from_the_state_and_never_goes_back() {
    let Some(python) = python() else { return };
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    let signals = Signals::new(&lab, python);
    let line = json!({"signal": "l-0", "symbol": "GOLD", "side": "Buy", "quantity": "1", "limit": "98"});
    fs::write(lab.path("signals.jsonl"), format!("{line}\n")).unwrap();
    let _component = signals.start(&["--follow"]);
    let becomes = async |status: &str, version: u64| {
        eventually(&format!("{status} in the component's view"), async || {
            let view = signals.held().remove("py-l-0")?;
            (view["status"] == status && view["version"] == version).then_some(view)
        })
        .await
    };
    becomes("Acknowledged", 5).await;
    jump(&lab, "py-l-0").await;
    lab.quote("GOLD", "97", "97.5", &[]).await;
    let view = becomes("Filled", 6).await;
    assert_decimal(&view["filled_quantity"], "1");
}

/// Says on the status channel what is not so: old news, and news from beyond a gap. Neither may be believed.
async fn jump(lab: &Lab, client_order_id: &str) {
    let state = lab.state(client_order_id).await.expect("a state");
    for (first, last) in [(1, 3), (8, 9)] {
        let message = json!({
            "order_id": state["id"], "client_order_id": client_order_id, "broker_order_id": null, "symbol": "GOLD",
            "side": "Buy", "status": "Expired", "passed": ["Expired"], "filled_quantity": "0",
            "remaining_quantity": "1", "average_fill_price": null, "reason": null, "first_version": first,
            "version": last, "timestamp": "2026-01-31T12:00:00.000000Z",
        });
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(lab.key("status")).arg(message.to_string());
        let heard: i64 = publish.query_async(&mut lab.redis()).await.unwrap();
        assert!(heard >= 1, "nobody listens");
    }
}

#[tokio::test]
async fn the_python_example_is_typed() {
    let Some(python) = python() else { return };
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.args(["-m", "mypy", "--strict", "--cache-dir"]).arg(cache.path());
    command.arg(source("examples/python_signals.py")).arg(source("docs/types/order_execution.py"));
    command.env("MYPYPATH", source("docs/types"));
    Ran::of(command).await.succeeded();
}

// ---- examples/order_preview.ts

/// The example, type-checked against `docs/types` and compiled beside its libraries.
struct Preview {
    _folder: tempfile::TempDir,
    module: PathBuf,
}

fn copy(from: &str, folder: &Path) {
    let to = folder.join(from);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(source(from), to).unwrap();
}

impl Preview {
    async fn compiled(tools: &Path) -> Self {
        let folder = tempfile::tempdir_in(tools).unwrap();
        let files = ["order_preview.ts", "tsconfig.json", "package.json"];
        files.iter().for_each(|file| copy(&format!("examples/{file}"), folder.path()));
        copy("docs/types/order-execution.d.ts", folder.path());
        let mut compile = Command::new(tools.join("node_modules/.bin/tsc"));
        compile.arg("-p").arg(folder.path().join("examples")).arg("--outDir").arg(folder.path().join("out"));
        Ran::of(compile).await.succeeded();
        let module = folder.path().join("out/examples/order_preview.js");
        fs::copy(source("examples/package.json"), folder.path().join("out/package.json")).unwrap();
        Self { _folder: folder, module }
    }

    async fn run(&self, lab: &Lab, client_order_id: &str, words: &str) -> Vec<Value> {
        let mut command = Command::new("node");
        command.arg(&self.module).args(words.split(' '));
        command
            .env("REDIS_URL", lab.url())
            .env("PREFIX", lab.prefix())
            .env("CLIENT_ORDER_ID", client_order_id);
        let ran = Ran::of(command).await.succeeded();
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

fn told<'t>(lines: &'t [Value], what: &str) -> Vec<&'t Value> {
    lines.iter().filter(|line| line["what"] == what).collect()
}

/// States in their order, none twice; the last is the order's.
async fn ends_as_the_order_does(lab: &Lab, id: &str, states: &[&Value]) {
    let versions: Vec<u64> = states.iter().map(|state| state["version"].as_u64().unwrap()).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let (last, order) = (states.last().expect("a state"), lab.state(id).await.unwrap());
    assert_eq!(last["status"], bare_status(&order["status"]));
    for field in ["version", "filled_quantity", "remaining_quantity", "average_fill_price"] {
        assert_eq!(last[field], order[field], "{field}");
    }
}

#[tokio::test]
async fn the_order_preview_submits_follows_and_cancels() {
    let Some(tools) = node() else { return };
    let preview = Preview::compiled(&tools).await;
    let lab = Lab::with(|s| {
        s.limits = vec![crate::harness::Limits::unlimited("*").with("max_order_quantity", "\"100\"")];
    })
    .await;
    let _worker = lab.worker().await;

    let lines = preview.run(&lab, "bought", "buy 0.5 BTCUSDT").await;
    assert_eq!(told(&lines, "outcome")[0]["status"], "Filled");
    ends_as_the_order_does(&lab, "bought", &told(&lines, "state")).await;

    let lines =
        preview.run(&lab, "changed-my-mind", "sell 0.50 BTCUSDT at 46000.100000000000001 cancel").await;
    let outcomes = told(&lines, "outcome");
    assert_eq!(
        (&outcomes[0]["status"], &outcomes[1]["status"]),
        (&json!("Acknowledged"), &json!("Cancelled"))
    );
    assert_eq!(outcomes[1]["request"], "cancel");
    ends_as_the_order_does(&lab, "changed-my-mind", &told(&lines, "state")).await;
    let order = lab.state("changed-my-mind").await.unwrap();
    assert_decimal(&order["order_type"]["Limit"]["price"], "46000.100000000000001");

    // Sent again under its id it is the same order.
    let lines = preview.run(&lab, "bought", "buy 0.5 BTCUSDT").await;
    assert_eq!(told(&lines, "outcome")[0]["status"], "Filled");
    assert_eq!(lab.trades().await, (1, 1));

    let lines = preview.run(&lab, "too-big", "buy 500 BTCUSDT").await;
    assert_eq!(told(&lines, "outcome")[0]["code"], "RISK_MAX_ORDER_QUANTITY");
    ends_as_the_order_does(&lab, "too-big", &told(&lines, "state")).await;
    let lines = preview.run(&lab, "nowhere", "buy 1 NOPE").await;
    assert_eq!((told(&lines, "outcome")[0]["code"].as_str(), lines.len()), (Some("UNKNOWN_SYMBOL"), 1));
}

#[tokio::test]
async fn the_order_preview_takes_a_gap_from_the_state_and_never_goes_back() {
    let Some(tools) = node() else { return };
    let preview = Preview::compiled(&tools).await;
    // A server of its own: every subscriber is about to be cut off.
    let server = RedisServer::start();
    let lab = Lab::on(&server, |_| {}).await;
    let _worker = lab.worker().await;
    lab.quote("GOLD", "99", "100", &[]).await;
    lab.execute(&limit("watched", "GOLD", "Buy", "1", "98")).await.is_completed("Acknowledged");

    let seen = lab.path("seen");
    let mut command = Command::new("node");
    command.arg(source("tests/data/preview_driver.mjs")).arg(&preview.module);
    command.args([lab.url(), lab.prefix(), "follow", "watched"]);
    command
        .stdin(Stdio::null())
        .stdout(File::create(&seen).unwrap())
        .stderr(File::create(lab.path("err")).unwrap());
    let _driver = Guarded::spawn(&mut command).expect("node starts");
    let views = || -> Vec<Value> {
        let text = fs::read_to_string(&seen).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let statuses =
        || views().iter().map(|view| view["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    eventually("what is known at first", async || (statuses() == ["Acknowledged"]).then_some(())).await;

    jump(&lab, "watched").await;
    // Cut off while the order fills: the message of the fill is never heard.
    let kill = async || {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub").query_async::<i64>(&mut lab.redis()).await.unwrap()
    };
    let mut block = redis::cmd("ACL");
    block.arg("SETUSER").arg("default").arg("-subscribe");
    block.query_async::<()>(&mut lab.redis()).await.unwrap();
    assert!(kill().await >= 1);
    lab.quote("GOLD", "97", "97.5", &[]).await;
    lab.state_becomes("watched", "Filled").await;
    let mut allow = redis::cmd("ACL");
    allow.arg("SETUSER").arg("default").arg("+subscribe");
    allow.query_async::<()>(&mut lab.redis()).await.unwrap();
    eventually("the fill", async || (statuses() == ["Acknowledged", "Filled"]).then_some(())).await;
    assert_decimal(&views()[1]["filled_quantity"], "1");
}

#[tokio::test]
async fn the_order_preview_takes_an_outcome_that_is_there_before_the_answer_to_its_request() {
    let Some(tools) = node() else { return };
    let preview = Preview::compiled(&tools).await;
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let mut command = Command::new("node");
    command.arg(source("tests/data/preview_driver.mjs")).arg(&preview.module);
    command.args([lab.url(), lab.prefix(), "late", "late-1"]);
    let told = Ran::of(command).await.succeeded().json();
    assert_eq!((told["client_order_id"].as_str(), told["status"].as_str()), (Some("late-1"), Some("Filled")));
}
