//! `watch`: a table that is redrawn in place on a terminal, lines elsewhere, and the truth in both.

use crate::harness::{Lab, PATIENCE, RedisServer, eventually, limit, market, with};
use serde_json::{Value, json};
use std::num::NonZeroU16;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;

/// A terminal with a command in it: what it shows is what a person would see.
struct Terminal {
    child: Child,
    input: pty_process::OwnedWritePty,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Everything that was written to it.
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn of(lab: &Lab, arguments: &[&str], (rows, columns): (u16, u16), environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(pty_process::Size::new(rows, columns)).unwrap();
        let plain = lab.command();
        let mut command =
            pty_process::Command::new(plain.get_program()).args(plain.get_args()).args(arguments);
        for (name, value) in plain.get_envs() {
            command = match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command =
            command.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(environment.iter().copied());
        command = command.current_dir(plain.get_current_dir().unwrap()).kill_on_drop(true);
        let child = command.spawn(pts).expect("the command starts");
        let (mut output, input) = pty.into_split();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(number(rows), number(columns), 0)));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (shown, kept) = (screen.clone(), bytes.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                shown.lock().unwrap().process(&buffer[..count]);
                kept.lock().unwrap().extend(&buffer[..count]);
            }
        });
        Self { child, input, screen, bytes }
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.screen.lock().unwrap();
        let (_, columns) = screen.screen().size();
        screen.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    fn row_of(&self, id: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(id))
    }

    async fn shows(&self, what: &str) -> Vec<String> {
        let shown = async || self.lines().iter().any(|line| line.contains(what)).then(|| self.lines());
        eventually(&format!("{what:?} on the terminal"), shown).await
    }

    async fn row_becomes(&self, id: &str, end: &str) -> String {
        let row = async || self.row_of(id).filter(|row| row.contains(end));
        eventually(&format!("{id} to be shown as {end}"), row).await
    }

    fn is_cursor_hidden(&self) -> bool {
        self.screen.lock().unwrap().screen().hide_cursor()
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(number(rows), number(columns));
        self.input.resize(pty_process::Size::new(rows, columns)).unwrap();
    }

    /// Ctrl-C, as the terminal sends it; the exit code.
    async fn interrupt(&mut self) -> Option<i32> {
        self.input.write_all(b"\x03").await.unwrap();
        ended(&mut self.child).await
    }
}

fn number(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

/// A watch whose output is read line by line.
struct Piped {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    remarks: Arc<Mutex<Vec<String>>>,
}

impl Piped {
    /// Returns once it hears: nothing that is published from then on may be missing.
    async fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = lab.command();
        command.arg("watch").args(arguments);
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let before = subscribers(lab).await;
        let mut child = command.spawn().unwrap();
        let (lines, remarks) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        eventually("the watch to listen", async || (subscribers(lab).await > before).then_some(())).await;
        Self { child, lines, remarks }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn documents(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).expect("a JSON document a line")).collect()
    }

    async fn says(&self, what: &str) -> String {
        let line = async || self.lines().into_iter().find(|line| line.contains(what));
        eventually(&format!("a line with {what:?}"), line).await
    }
}

/// The exit code, in time.
async fn ended(child: &mut Child) -> Option<i32> {
    tokio::time::timeout(PATIENCE, child.wait()).await.expect("the watch ends").unwrap().code()
}

fn collect(output: impl tokio::io::AsyncRead + Unpin + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    tokio::spawn(async move {
        let mut output = BufReader::new(output).lines();
        while let Ok(Some(line)) = output.next_line().await {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}

async fn subscribers(lab: &Lab) -> u64 {
    let mut count = redis::cmd("PUBSUB");
    count.arg("NUMSUB").arg(lab.key("status"));
    let (_, count): (String, u64) = count.query_async(&mut lab.redis()).await.unwrap();
    count
}

async fn publish(lab: &Lab, message: &Value) {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(lab.key("status")).arg(message.to_string());
    publish.exec_async(&mut lab.redis()).await.unwrap();
}

/// A message that says the order is filled, many versions later.
async fn doctored(lab: &Lab, id: &str) -> Value {
    let state = lab.state(id).await.unwrap();
    let version = state["version"].as_u64().unwrap();
    json!({
        "order_id": state["id"], "client_order_id": id, "broker_order_id": null, "symbol": state["symbol"],
        "side": state["side"], "status": "Filled", "passed": ["Filled"], "filled_quantity": state["quantity"],
        "remaining_quantity": "0", "average_fill_price": "1", "reason": null, "first_version": version + 5,
        "version": version + 6, "timestamp": "2026-01-02T03:04:05.000006Z",
    })
}

#[tokio::test]
async fn a_table_is_redrawn_in_place_and_the_terminal_given_back() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("before", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let mut watch = Terminal::of(&lab, &["watch"], (20, 130), &[]);
    let row = watch.row_becomes("before", "Acknowledged").await;
    assert!(row.contains("Created > Validated > PendingSubmit > Submitted > Acknowledged"), "{row}");
    assert!(watch.is_cursor_hidden());

    lab.execute(&market("at-once", "ETHUSDT", "Sell", "0.5")).await.is_completed("Filled");
    let row = watch.row_becomes("at-once", "Filled").await;
    assert!(row.contains("0.5/0.5") && row.contains("3000") && row.contains("Sell"), "{row}");
    lab.cancel(&json!({"client_order_id": "before"})).await.is_completed("Cancelled");
    watch.row_becomes("before", "Acknowledged > Cancelled").await;
    let lines = watch.shows("0 open, 2 ended").await;
    assert!(lines[0].starts_with("TIME"), "{lines:?}");
    assert!(lines[1].contains("at-once") && lines[2].contains("before"), "newest first: {lines:?}");
    assert!(lines[4..].iter().all(String::is_empty), "drawn over, not below: {lines:?}");

    // Keys that are pressed by the way disturb nothing.
    watch.input.write_all(b"abc\r\r").await.unwrap();
    lab.execute(&market("third", "ETHUSDT", "Sell", "0.5")).await.is_completed("Filled");
    watch.row_becomes("third", "Filled").await;
    let lines = watch.shows("0 open, 3 ended").await;
    assert!(lines[0].starts_with("TIME") && lines[1].contains("third"), "{lines:?}");
    assert!(lines[5..].iter().all(String::is_empty), "{lines:?}");

    // Narrower: what matters most stays, and nothing is wider than the terminal.
    watch.resize(12, 60);
    let lines = eventually("the narrow table", async || {
        let lines = watch.lines();
        lines[0].starts_with("CLIENT ORDER ID").then_some(lines)
    })
    .await;
    assert!(
        lines[2].contains("at-once") && lines[2].contains(".. > ") && lines[2].contains("Filled"),
        "{lines:?}"
    );
    assert!(lines[5..].iter().all(String::is_empty), "{lines:?}");

    assert_eq!(watch.interrupt().await, Some(0));
    eventually("the cursor", async || (!watch.is_cursor_hidden()).then_some(())).await;
    let text = String::from_utf8_lossy(&watch.bytes.lock().unwrap()).into_owned();
    assert!(text.contains("\u{1b}[32mFilled"), "coloured");
    assert!(!text.contains("\u{1b}[?1049h"), "no other screen");
    assert!(watch.row_of("at-once").is_some(), "what was shown last stays");
}

#[tokio::test]
async fn a_low_terminal_shows_what_works_and_what_just_happened() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    for nth in 0..12 {
        let order = limit(&format!("rest-{nth:02}"), "BTCUSDT", "Buy", "1", "40000");
        lab.execute(&order).await.is_completed("Acknowledged");
    }
    let mut watch = Terminal::of(&lab, &["watch"], (9, 130), &[("NO_COLOR", "1")]);
    watch.shows("12 open, 0 ended").await;
    lab.cancel(&json!({"client_order_id": "rest-00"})).await.is_completed("Cancelled");
    watch.row_becomes("rest-00", "Cancelled").await;
    let lines = watch.shows("11 open, 1 ended").await;
    assert_eq!(lines.iter().filter(|line| line.contains("rest-")).count(), 6, "{lines:?}");
    assert!(lines[0].starts_with("TIME") && lines[8].is_empty(), "{lines:?}");
    assert_eq!(watch.interrupt().await, Some(0));
    let text = String::from_utf8_lossy(&watch.bytes.lock().unwrap()).into_owned();
    assert!(text.contains("Acknowledged") && !text.contains("\u{1b}[2m") && !text.contains("\u{1b}[1m"));
}

#[tokio::test]
async fn piped_it_writes_a_line_a_message() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("before", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let heard = lab.watch("status").await;
    let lines = Piped::start(&lab, &["--for", "4"]).await;
    let mut json = Piped::start(&lab, &["--for", "4", "--json"]).await;
    let said = lines.says("before").await;
    assert!(said.contains("open at the start"), "{said}");
    lab.execute(&market("one", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    let last = lines.says("Filled").await;
    assert!(last.contains("one  Buy BTCUSDT  Submitted > Filled  1 at 45000"), "{last}");
    // Ends by itself.
    assert_eq!(ended(&mut json.child).await, Some(0));
    eventually("each message", async || (json.lines().len() == heard.texts().len()).then_some(())).await;
    assert_eq!(json.lines(), heard.texts(), "as received");
    let about_one = lines.lines().iter().filter(|line| line.contains("one")).count();
    assert_eq!(about_one, heard.about("one").len());
    assert!(!lines.lines().concat().contains('\u{1b}'), "nothing moves a cursor or colours");
}

#[tokio::test]
async fn after_a_gap_the_state_is_read_and_believed() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    lab.execute(&limit("gap", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let table = Terminal::of(&lab, &["watch"], (20, 130), &[]);
    table.row_becomes("gap", "Acknowledged").await;
    let (lines, json) = (Piped::start(&lab, &[]).await, Piped::start(&lab, &["--json"]).await);
    lines.says("open at the start").await;
    let message = doctored(&lab, "gap").await;
    let version = lab.state("gap").await.unwrap()["version"].as_u64().unwrap();
    publish(&lab, &message).await;

    let said = lines.says("were missed").await;
    let versions = format!("(versions {} to {} were missed", version + 1, version + 4);
    assert!(said.contains("Acknowledged") && said.contains(&versions), "{said}");
    json.says("missed").await;
    let told = json.documents();
    let [received, state] = &told[told.len() - 2..] else { panic!("{told:?}") };
    assert_eq!(*received, message, "the message as it was received comes first");
    assert_eq!(state["missed"], json!({"first_version": version + 1, "version": version + 4}));
    assert_eq!(
        (&state["client_order_id"], &state["state"]["status"]),
        (&json!("gap"), &json!("Acknowledged"))
    );
    table.shows("1 messages").await;
    let row = table.row_of("gap").unwrap();
    assert!(row.ends_with("Acknowledged"), "the state is the truth, not the message: {row}");
    // And from there on it goes without a gap.
    lab.cancel(&json!({"client_order_id": "gap"})).await.is_completed("Cancelled");
    table.row_becomes("gap", "Cancelled").await;
    assert!(!lines.lines().last().unwrap().contains("missed"));

    // What nobody knows the beginning of is read, too; what is no message at all is said and survived.
    publish(&lab, &json!({"oops": 1})).await;
    lab.execute(&market("after", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    table.row_becomes("after", "Filled").await;
    let remarks = lines.remarks.lock().unwrap().clone();
    assert!(remarks.iter().any(|remark| remark.contains("no status message")), "{remarks:?}");
}

#[tokio::test]
async fn it_waits_for_redis_and_reads_what_it_did_not_hear() {
    let server = RedisServer::start();
    let mut lab = Lab::on(&server, |_| {}).await;
    let mut worker = lab.worker().await;
    lab.execute(&limit("resting", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let mut table = Terminal::of(&lab, &["watch"], (20, 130), &[]);
    let lines = Piped::start(&lab, &[]).await;
    table.row_becomes("resting", "Acknowledged").await;
    assert_eq!(worker.terminate().await, 0);

    // Its subscription is cut, and the order changes before it is back: nobody publishes that again.
    let mut state = lab.state("resting").await.unwrap();
    let version = state["version"].as_u64().unwrap() + 1;
    state["status"] = json!("Expired");
    state["version"] = json!(version);
    state["events"].as_array_mut().unwrap().push(json!({"version": version, "type": "Expired"}));
    let mut cut = redis::pipe();
    cut.cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").ignore();
    cut.cmd("SET").arg(lab.key("state:resting")).arg(state.to_string()).ignore();
    cut.exec_async(&mut lab.redis()).await.unwrap();
    table.row_becomes("resting", "Acknowledged > Expired").await;
    let said = lines.says("not heard of meanwhile").await;
    assert!(said.contains("resting") && said.contains("Expired"), "{said}");

    server.kill();
    table.shows("not up to date").await;
    server.restart();
    lab.reconnect().await;
    eventually("the watch to be back", async || {
        table
            .lines()
            .iter()
            .any(|line| line.contains("1 ended") && !line.contains("not up to date"))
            .then_some(())
    })
    .await;
    eventually("both to listen", async || (subscribers(&lab).await == 2).then_some(())).await;
    let _worker = lab.worker().await;
    lab.execute(&market("later", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    table.row_becomes("later", "Filled").await;
    lines.says("later").await;
    let remarks = lines.remarks.lock().unwrap().join("\n");
    assert!(remarks.contains("trying again") && remarks.contains("heard again"), "{remarks}");
    assert_eq!(table.interrupt().await, Some(0));
}

#[tokio::test]
async fn filters_leave_out_what_is_not_meant() {
    let lab = Lab::new().await;
    let _worker = lab.worker().await;
    let old = with(limit("old", "BTCUSDT", "Buy", "1", "40000"), json!({"strategy_id": "s-1"}));
    lab.execute(&old).await.is_completed("Acknowledged");
    let start = async |arguments: &[&str]| Piped::start(&lab, &[arguments, &["--json"]].concat()).await;
    let symbol = start(&["--symbol", "ETHUSDT"]).await;
    let strategy = start(&["--strategy-id", "s-1"]).await;
    let name = start(&["--client-order-id", "b"]).await;
    let filled = start(&["--status", "filled,rejected"]).await;
    let open = start(&["--open", "--status", "acknowledged"]).await;
    let mut table = Terminal::of(&lab, &["watch", "--open", "--strategy-id", "s-1"], (20, 130), &[]);
    table.row_becomes("old", "Acknowledged").await;
    let orders = [
        with(market("a", "ETHUSDT", "Buy", "1"), json!({"strategy_id": "s-1"})),
        with(market("b", "BTCUSDT", "Buy", "1"), json!({"strategy_id": "s-2"})),
        with(limit("c", "ETHUSDT", "Buy", "1", "2900"), json!({"strategy_id": "s-1"})),
        market("d", "BTCUSDT", "Buy", "1"),
    ];
    for order in &orders {
        assert!(lab.execute(order).await.completed);
    }
    let ids = |watch: &Piped| {
        let mut ids: Vec<String> =
            watch.documents().iter().map(|doc| doc["client_order_id"].as_str().unwrap().to_owned()).collect();
        ids.dedup();
        ids
    };
    for (watch, expected) in [
        (&symbol, &["a", "c"][..]),
        (&strategy, &["a", "c"]),
        (&name, &["b"]),
        (&filled, &["a", "b", "d"]),
        (&open, &["c"]),
    ] {
        eventually(&format!("{expected:?}"), async || (ids(watch) == *expected).then_some(())).await;
    }
    table.row_becomes("c", "Acknowledged").await;
    assert!(table.row_of("b ").is_none() && table.row_of("a ").is_none(), "{:?}", table.lines());
    // What ends leaves the table of open ones.
    lab.cancel(&json!({"client_order_id": "old"})).await.is_completed("Cancelled");
    eventually("the end of old", async || table.row_of("old ").is_none().then_some(())).await;
    assert_eq!(table.interrupt().await, Some(0));
}

#[tokio::test]
async fn it_ends_where_nobody_reads_and_says_what_is_away() {
    let mut lab = Lab::new().await;
    // No journal: it begins empty, and says so.
    let mut watch = Piped::start(&lab, &[]).await;
    let remarks = watch.remarks.clone();
    eventually("the remark", async || {
        remarks.lock().unwrap().iter().any(|remark| remark.contains("there is no journal")).then_some(())
    })
    .await;
    drop(watch.child.kill().await);

    let mut command = lab.command();
    command.args(["watch", "--json"]);
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let before = subscribers(&lab).await;
    let mut child = command.spawn().unwrap();
    eventually("the watch to listen", async || (subscribers(&lab).await > before).then_some(())).await;
    drop(child.stdout.take());
    let _worker = lab.worker().await;
    lab.execute(&market("unread", "BTCUSDT", "Buy", "1")).await.is_completed("Filled");
    assert_eq!(ended(&mut child).await, Some(0));

    lab.adjust(|s| {
        s.text("redis.url", "redis://127.0.0.1:1/");
    });
    let ran = lab.cli(&["watch"]).await.exits(4);
    assert!(
        ran.stderr.contains("127.0.0.1:1") && ran.stderr.contains("ORDER_EXECUTION__REDIS__URL"),
        "{}",
        ran.stderr
    );
    for wrong in [&["watch", "--status", "gone"][..], &["watch", "--for", "0"]] {
        lab.cli(wrong).await.exits(2);
    }
}
