//! A journal on PostgreSQL: the server killed, stopped, frozen, its connections cut, and addresses that lead nowhere.

use crate::harness::{
    Database, Lab, PATIENCE, PostgresServer, assert_decimal, eventually, eventually_within, limit, market,
};
use crate::outages::{TOLD_WITHIN, becomes, health};
use order_execution::adapters::journal::postgres::{PostgresJournal, PostgresSettings, Timekeeper, Timeouts};
use order_execution::ports::journal::{JournalReader, OrderFilter};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::time::Duration;

/// A private cluster, and a laboratory in it whose work takes a while.
async fn private() -> (PostgresServer, Lab) {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("PostgreSQL");
    let place = server.database().await;
    let lab = Lab::between(None, Some(place), |s| {
        s.set("broker.mock.latency_ms", "20")
            .set("worker.batch_size", "16")
            .set("worker.claim_idle_ms", "1000");
    })
    .await;
    (server, lab)
}

async fn load(lab: &Lab, from: usize, count: usize) -> Vec<String> {
    let order = |n| market(&format!("load-{n}"), "BTCUSDT", "Buy", "1");
    lab.submit_all(&(from..from + count).map(order).collect::<Vec<_>>()).await
}

/// Every request answered once and carried out once.
async fn check(lab: &Lab, entries: &[String]) {
    for outcome in lab.outcomes_within(Duration::from_secs(90), entries).await {
        outcome.is_completed("Filled");
    }
    let all = i64::try_from(entries.len()).unwrap();
    assert_eq!(lab.trades().await, (all, all), "one execution an order");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], &entries.len().to_string());
    lab.cli(&["replay"]).await.succeeded();
}

async fn under_way(lab: &Lab, count: usize) {
    eventually("some outcomes", async || (lab.length("completed").await >= count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_under_load_and_back_loses_nothing_and_repeats_nothing() {
    let (server, lab) = private().await;
    let mut worker = lab.worker().await;
    let (live, ready) = health(&mut worker).await;
    becomes(&ready, 200, TOLD_WITHIN).await;
    let mut entries = load(&lab, 0, 300).await;
    under_way(&lab, 40).await;
    for round in 0..2 {
        server.kill();
        becomes(&ready, 503, TOLD_WITHIN).await;
        becomes(&live, 200, TOLD_WITHIN).await;
        assert!(!worker.has_ended(), "the worker gave up");
        // Added while it is away: they wait.
        let added = load(&lab, entries.len(), 50).await;
        server.restart();
        becomes(&ready, 200, PATIENCE).await;
        entries.extend(added);
        under_way(&lab, 100 + 50 * round).await;
    }
    check(&lab, &entries).await;
    assert_eq!(worker.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_stopped_for_five_seconds_keeps_requests_waiting_and_no_longer() {
    let (server, lab) = private().await;
    let (mut one, mut two) = (lab.worker().await, lab.worker().await);
    let mut entries = load(&lab, 0, 200).await;
    under_way(&lab, 40).await;
    server.stop_immediate();
    tokio::time::sleep(Duration::from_secs(5)).await;
    entries.extend(load(&lab, 200, 50).await);
    assert!(lab.length("completed").await < 250, "answered what is in no journal");
    assert_eq!(lab.length("failed").await, 0, "a journal that is away is no reason to refuse");
    server.restart();
    check(&lab, &entries).await;
    assert_eq!((one.terminate().await, two.terminate().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_freezes_is_told_and_nothing_is_lost() {
    let (server, lab) = private().await;
    let mut worker = lab.worker().await;
    let (live, ready) = health(&mut worker).await;
    let entries = load(&lab, 0, 200).await;
    under_way(&lab, 40).await;
    server.freeze();
    becomes(&ready, 503, TOLD_WITHIN).await;
    becomes(&live, 200, TOLD_WITHIN).await;
    server.thaw();
    becomes(&ready, 200, PATIENCE).await;
    check(&lab, &entries).await;
    assert_eq!(worker.terminate().await, 0);
}

/// What only reads waits neither for a lock that nobody lets go of nor for a server that stands still.
#[tokio::test(flavor = "multi_thread")]
async fn what_reads_gives_up_in_time_and_reads_again() {
    let (server, lab) = private().await;
    let mut worker = lab.worker().await;
    let entries = load(&lab, 0, 3).await;
    lab.outcomes_within(PATIENCE, &entries).await;
    let settings = PostgresSettings {
        url: lab.place().url(),
        readers: 1,
        timeouts: Timeouts::of(Duration::from_millis(500)),
        time: Timekeeper::Database,
    };
    let reader = PostgresJournal::open_reader(&settings).await.unwrap();
    let filter = OrderFilter { limit: 10, ..OrderFilter::default() };
    assert_eq!(reader.orders(&filter).await.unwrap().len(), 3);
    let asked = async || {
        let asked = tokio::time::timeout(Duration::from_secs(10), reader.orders(&filter)).await;
        asked.expect("it waits for ever").unwrap_err().to_string()
    };
    // In the midst of a statement, whose own time-out stands still with the server.
    let mut other = lab.journal().await;
    other.lock().await.unwrap();
    let freeze = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.freeze();
    };
    let (error, ()) = tokio::join!(asked(), freeze);
    assert!(error.contains("reading: no answer within 1500 ms"), "{error}");
    let error = asked().await;
    assert!(error.contains("timed out"), "{error}");
    server.thaw();
    other.unlock().await;
    let again = async || reader.orders(&filter).await.ok().map(|orders| orders.len());
    assert_eq!(eventually("an answer", again).await, 3);
    assert_eq!(worker.terminate().await, 0);
}

/// Somebody holds a row of one symbol for longer than a lock is waited for, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn orders_of_a_symbol_that_is_locked_wait_and_are_not_refused() {
    let lab = Lab::of(Database::Postgres, |s| {
        s.set("database.timeout_ms", "1000");
    })
    .await;
    let mut worker = lab.worker().await;
    let (_, ready) = health(&mut worker).await;
    lab.execute(&limit("before", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let mut other = lab.journal().await;
    other.execute("BEGIN").await;
    other.rows("SELECT quantity::text FROM positions WHERE symbol = 'BTCUSDT' FOR UPDATE").await;
    let entries = load(&lab, 0, 20).await;
    becomes(&ready, 503, TOLD_WITHIN).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((lab.length("completed").await, lab.length("failed").await), (1, 0));
    other.execute("ROLLBACK").await;
    for outcome in lab.outcomes_within(PATIENCE, &entries).await {
        outcome.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (20, 20));
    lab.cli(&["replay"]).await.succeeded();
    assert_eq!(worker.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_again_and_again_lose_nothing() {
    let lab = Lab::of(Database::Postgres, |s| {
        s.set("broker.mock.latency_ms", "10").set("worker.batch_size", "16");
    })
    .await;
    let (mut one, mut two) = (lab.worker().await, lab.worker().await);
    let entries = load(&lab, 0, 300).await;
    let mut journal = lab.journal().await;
    let mut ended = 0;
    let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for round in 1..=8 {
        under_way(&lab, round * 25).await;
        ended += journal.count(all).await;
    }
    assert!(ended >= 8, "only {ended} connections were there to be cut");
    check(&lab, &entries).await;
    assert_eq!((one.terminate().await, two.terminate().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_holds_on_the_orders_is_waited_out() {
    let lab = Lab::of(Database::Postgres, |_| {}).await;
    let mut worker = lab.worker().await;
    let (_, ready) = health(&mut worker).await;
    lab.execute(&limit("before", "BTCUSDT", "Buy", "1", "40000")).await.is_completed("Acknowledged");
    let mut other = lab.journal().await;
    other.lock().await.unwrap();
    let entries = load(&lab, 0, 30).await;
    becomes(&ready, 503, TOLD_WITHIN).await;
    assert_eq!(lab.length("completed").await, 1, "an order was answered that is not in the journal");
    // Commands that only read do not wait for ever.
    let ran = lab.cli(&["orders"]).await;
    assert!(matches!(ran.code, 0 | 4), "exit code {}: {}", ran.code, ran.said());
    other.unlock().await;
    becomes(&ready, 200, PATIENCE).await;
    for entry in &entries {
        lab.outcome(entry).await.is_completed("Filled");
    }
    assert_eq!(lab.trades().await, (30, 30));
    assert_eq!(worker.terminate().await, 0);
}

/// A worker's role need not be able to make the schema.
#[tokio::test]
async fn a_role_that_may_only_work_in_the_schema_is_enough() {
    let mut lab = Lab::of(Database::Postgres, |_| {}).await;
    lab.cli(&["migrate"]).await.succeeded();
    let role = format!("worker_{}", uuid::Uuid::now_v7().simple());
    let mut journal = lab.journal().await;
    for statement in [
        format!("CREATE ROLE {role} LOGIN PASSWORD 'w0rker'"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
        format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
    ] {
        journal.execute(&statement).await;
    }
    let url = lab.database_url();
    let place = url.rsplit('@').next().unwrap();
    lab.adjust(|s| {
        s.text("database.url", &format!("postgres://{role}:w0rker@{place}"));
    });
    lab.cli(&["check"]).await.succeeded();
    let worker = lab.worker().await;
    let entries = load(&lab, 0, 10).await;
    for outcome in lab.outcomes_within(Duration::from_secs(30), &entries).await {
        outcome.is_completed("Filled");
    }
    lab.cli(&["replay"]).await.succeeded();
    drop(worker);
    journal.execute(&format!("DROP OWNED BY {role}")).await;
    journal.execute(&format!("DROP ROLE {role}")).await;
}

/// Whatever its commits could be lost by, and a server that cannot be written to.
#[tokio::test]
async fn a_server_that_would_lose_commits_or_only_reads_is_refused() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("PostgreSQL");
    let lab = Lab::between(None, Some(server.database().await), |_| {}).await;
    lab.cli(&["migrate"]).await.succeeded();
    let mut journal = lab.journal().await;
    // Its own session is to go on writing.
    journal.execute("SET default_transaction_read_only = off").await;
    for (setting, bad) in
        [("fsync", "off"), ("full_page_writes", "off"), ("default_transaction_read_only", "on")]
    {
        let mut worker = lab.worker().await;
        let (_, ready) = health(&mut worker).await;
        becomes(&ready, 200, PATIENCE).await;
        journal.execute(&format!("ALTER SYSTEM SET {setting} = {bad}")).await;
        journal.execute("SELECT pg_reload_conf()").await;
        // One that runs hears of it.
        becomes(&ready, 503, TOLD_WITHIN).await;
        for command in ["worker", "check"] {
            let ran = lab.cli(&[command]).await.exits(4);
            let word = if bad == "on" { "only reads" } else { setting };
            assert!(ran.said().contains(word), "{command}, {setting}: {}", ran.said());
        }
        journal.execute(&format!("ALTER SYSTEM RESET {setting}")).await;
        journal.execute("SELECT pg_reload_conf()").await;
        becomes(&ready, 200, PATIENCE).await;
        assert_eq!(worker.terminate().await, 0);
    }
}

/// What is acknowledged before it is on disk is no journal.
#[tokio::test]
async fn a_database_that_does_not_wait_for_its_disk_is_refused_at_the_start() {
    let lab = Lab::of(Database::Postgres, |_| {}).await;
    lab.cli(&["check"]).await.succeeded();
    let mut journal = lab.journal().await;
    let name = lab.database_url();
    let name = name.rsplit('/').next().and_then(|rest| rest.split('?').next()).unwrap().to_owned();
    for value in ["off", "on"] {
        journal.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = {value}")).await;
        if value == "on" {
            // Mended, it starts.
            let mut worker = lab.worker().await;
            assert_eq!(worker.terminate().await, 0);
            return;
        }
        for command in ["worker", "check"] {
            let ran = lab.cli(&[command]).await;
            assert!(matches!(ran.code, 2 | 4), "{command}, exit code {}: {}", ran.code, ran.said());
            assert!(ran.said().contains("synchronous_commit"), "{command}: {}", ran.said());
            assert!(!ran.said().contains("panicked"), "{}", ran.said());
        }
    }
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_told_with_what_is_wrong_and_without_the_password() {
    let mut lab = Lab::of(Database::Postgres, |_| {}).await;
    let good = lab.database_url();
    let (scheme, rest) = good.split_once("://").unwrap();
    let (user_and_password, host_and_more) = rest.rsplit_once('@').unwrap();
    let (user, password) = user_and_password.split_once(':').unwrap();
    let (host, more) = host_and_more.split_once('/').unwrap();
    let more_query = more.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
    let cases = [
        (format!("{scheme}://{user}:wr0ng-w0rd@{host}/{more}"), &["password", "authentication"][..]),
        (format!("{scheme}://{user}:{password}@{host}/no_such_database{more_query}"), &["no_such_database"]),
        (format!("{scheme}://{user}:{password}@127.0.0.1:1/{more}"), &["127.0.0.1"]),
        (format!("{scheme}://{user}:{password}@no-such-host.invalid:5432/{more}"), &["no-such-host.invalid"]),
    ];
    for (url, words) in cases {
        lab.adjust(|s| {
            s.text("database.url", &url);
        });
        for command in ["worker", "check", "orders", "migrate", "replay"] {
            let ran = lab.cli(&[command]).await.exits(4);
            let said = ran.said().to_lowercase();
            assert!(words.iter().any(|word| said.contains(word)), "{command}: none of {words:?} in {said}");
            assert!(!said.contains("wr0ng-w0rd") && !said.contains(password), "a password in {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

/// The second of two that start at once finds the schema being made, and waits.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_start_together_make_one_schema() {
    let lab = Lab::of(Database::Postgres, |_| {}).await;
    let mut workers: Vec<_> = (0..4).map(|_| lab.spawn_worker()).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    let entries = load(&lab, 0, 40).await;
    check(&lab, &entries).await;
    for worker in &mut workers {
        let within = Duration::from_secs(15);
        worker.signal("TERM");
        eventually_within(within, "a worker to end", async || worker.has_ended().then_some(())).await;
        assert_eq!(worker.exit_code().await, 0);
    }
}

/// A certificate for 127.0.0.1 and its key, and that of the authority which signed it.
fn certificates() -> (String, String, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    (certificate.pem(), key.serialize_pem(), authority_pem)
}

#[tokio::test]
async fn a_connection_is_encrypted_and_its_server_is_who_it_says() {
    let (certificate, key, authority) = certificates();
    let server = tokio::task::spawn_blocking(move || PostgresServer::start_encrypted(&certificate, &key));
    let server = server.await.expect("PostgreSQL");
    let mut lab = Lab::between(None, Some(server.database().await), |_| {}).await;
    let folder = tempfile::tempdir().unwrap();
    let pem = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (pem("right.pem", &authority), pem("wrong.pem", &certificates().2));
    let base = lab.database_url();
    let base = base.split_once('?').unwrap().0;
    let full = format!("verify-full&sslrootcert={right}");
    let refused = [
        ("disable", "no encryption"),
        ("verify-full", "invalid peer certificate"),
        (&format!("verify-full&sslrootcert={wrong}"), "invalid peer certificate"),
    ];
    for (mode, word) in refused {
        lab.adjust(|s| {
            s.text("database.url", &format!("{base}?sslmode={mode}"));
        });
        for command in ["check", "worker"] {
            let ran = lab.cli(&[command]).await.exits(4);
            assert!(ran.said().contains(word), "{command} with sslmode={mode}: {}", ran.said());
        }
    }
    for mode in ["prefer", "require", &full] {
        lab.adjust(|s| {
            s.text("database.url", &format!("{base}?sslmode={mode}"));
        });
        let ran = lab.cli(&["check"]).await.succeeded();
        assert!(ran.said().contains("TLS"), "sslmode={mode}: {}", ran.said());
    }
    let worker = lab.worker().await;
    let entries = load(&lab, 0, 10).await;
    check(&lab, &entries).await;
    let mut journal = lab.journal().await;
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE NOT ssl AND datname = current_database()";
    assert_eq!(journal.count(plain).await, 0);
    drop(worker);
}

/// Workers that take the same symbols in any sequence lock them in one; and they open no more connections than they
/// were given, however many ask.
#[tokio::test(flavor = "multi_thread")]
async fn workers_on_the_same_symbols_never_deadlock_and_keep_to_their_connections() {
    const SYMBOLS: [&str; 6] = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "EUR_USD", "GOLD", "XAG"];
    let lab = Lab::of(Database::Postgres, |s| {
        for symbol in SYMBOLS {
            s.text(&format!("broker.mock.prices.{symbol}"), "100");
        }
        s.set("database.pool_size", "3").set("worker.batch_size", "64");
    })
    .await;
    let (mut workers, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut worker = lab.spawn_worker();
        addresses.push(worker.http().await);
        worker.ready().await;
        workers.push(worker);
    }
    let order = |n: usize| market(&format!("lock-{n}"), SYMBOLS[n * 7 % SYMBOLS.len()], "Buy", "1");
    let entries = lab.submit_all(&(0..900).map(order).collect::<Vec<_>>()).await;
    let mut journal = lab.journal().await;
    let clients = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                   AND backend_type = 'client backend'";
    let mut most = 0;
    let asking = (0..60).map(|n| reqwest::get(format!("{}/api/orders?limit=100", addresses[n % 3])));
    let asking = tokio::spawn(futures_util::future::join_all(asking.collect::<Vec<_>>()));
    while !asking.is_finished() || lab.length("pending").await > 0 {
        most = most.max(journal.count(clients).await);
    }
    assert!((6..=3 * 4).contains(&most), "{most} connections of three workers with a pool of 3 each");
    for answer in asking.await.unwrap() {
        assert_eq!(answer.unwrap().status(), 200);
    }
    for outcome in lab.outcomes_within(Duration::from_secs(60), &entries).await {
        outcome.is_completed("Filled");
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(journal.count(deadlocks).await, 0);
    lab.cli(&["replay"]).await.succeeded();
}
