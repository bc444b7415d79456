//! A power cut: the journal's file system is shut down without a flush while workers commit to it, and mounted again.
//!
//! What was written and not synced is gone then; what was told outside (outcomes in Redis, executions at the
//! exchange, both on another file system) must be in the journal all the same.

use crate::auditor::{self, Audit, Fault};
use crate::disk::{Disk, impossible};
use crate::harness::{Random, RedisServer};
use crate::load::Load;
use crate::process::Process;
use crate::profile::Profile;
use crate::stage::Stage;
use serde_json::Value;
use sqlx::{Connection, Row, SqliteConnection};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Power cuts, one after another on the same journal
    #[arg(long, default_value_t = 6)]
    pub(crate) rounds: u64,
    /// Draws load and moments
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[arg(long, default_value = "forever")]
    pub(crate) profile: Profile,
    /// Requests in a second
    #[arg(long, default_value_t = 150)]
    pub(crate) rate: u64,
    /// It runs in a mount namespace of its own already
    #[arg(long, hide = true)]
    inside: bool,
}

impl Arguments {
    pub(crate) const fn short() -> Self {
        Self { rounds: 2, seed: None, profile: Profile::Forever, rate: 150, inside: false }
    }
}

/// Outcomes that a round waits for before its end is drawn: so each cuts into work.
const AT_LEAST: usize = 40;
const WORK_WITHIN: Duration = Duration::from_secs(30);
const REST_WITHIN: Duration = Duration::from_secs(40);

pub(crate) async fn run(arguments: &Arguments) -> Result<bool, String> {
    if let Some(why) = impossible() {
        println!("SKIPPED: power cuts: {why}");
        return Ok(true);
    }
    let seed = arguments.seed.unwrap_or_else(crate::fresh);
    if arguments.inside { cuts(arguments, seed).await } else { inside(arguments, seed) }
}

/// The same again where its mounts are nobody else's and end with it, however it ends.
fn inside(arguments: &Arguments, seed: u64) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(program);
    command.args(["power-cut", "--inside", "--seed", &seed.to_string()]);
    command.args(["--rounds", &arguments.rounds.to_string(), "--rate", &arguments.rate.to_string()]);
    command.args(["--profile", arguments.profile.as_str()]);
    let status = tokio::task::block_in_place(|| command.status());
    status.map(|status| status.success()).map_err(|e| format!("unshare: {e}"))
}

async fn cuts(arguments: &Arguments, seed: u64) -> Result<bool, String> {
    let (profile, rounds) = (arguments.profile, arguments.rounds);
    println!("power-cut --profile {profile} --rounds {rounds} --seed {seed} --rate {}", arguments.rate);
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let disk = match Disk::new(folder.path()) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED: power cuts: {why}");
            return Ok(true);
        }
    };
    println!("  the method: {}", disk.check_the_method()?);
    let redis = RedisServer::start();
    let stage = Stage::new(redis.url(), None, profile).await?;
    let journal = disk.path("journal.db");
    std::os::unix::fs::symlink(&journal, stage.lab.path("journal.db")).map_err(|e| e.to_string())?;
    // The schema is there before the first cut, whatever the workers sync.
    stage.lab.cli(&["migrate"]).await.succeeded();
    let mut load = Load::new(seed ^ 0x10AD);
    let mut random = Random(seed);
    let mut workers: Vec<Process> = (0..2).map(|n| stage.worker(&format!("worker-{n}"))).collect();
    let mut audit = Audit::default();
    let started = Instant::now();
    for round in 1..=rounds {
        for worker in &mut workers {
            worker.start(&stage.worker_command());
        }
        let before = stage.answered(&mut stage.link()).await?.len();
        let stop = AtomicBool::new(false);
        let cut = async {
            let done = until_cut(&stage, &disk, &mut workers, before + AT_LEAST, random.below(700)).await;
            stop.store(true, Ordering::Relaxed);
            done
        };
        let (done, ()) = tokio::join!(cut, load.run(&stage, arguments.rate, &stop));
        for worker in &mut workers {
            worker.kill();
        }
        done?;
        let told = Told::read(&stage).await?;
        disk.unmount().await?;
        disk.mount()?;
        let lost = told.lost(&kept(&stage, &journal).await?);
        println!(
            "  cut {round}: {} outcomes and {} orders at the exchange were told outside; not in the journal: {} and {}",
            told.outcomes.len(),
            told.orders.len(),
            lost.outcomes.len(),
            lost.orders.len()
        );
        if let Some(first) = lost.outcomes.first() {
            let count = lost.outcomes.len();
            audit.add(
                Fault::Loss,
                format!("a power cut took {count} outcomes that were told, {first} for one"),
            );
        }
        if let Some(first) = lost.orders.first() {
            let count = lost.orders.len();
            audit.add(
                Fault::Loss,
                format!("a power cut took {count} orders that the exchange has, {first} for one"),
            );
        }
        if !audit.is_clean() {
            break;
        }
    }
    // What was lost cannot come to rest.
    if audit.is_clean() {
        audit = healed(&stage, &mut workers).await;
    }
    for worker in &mut workers {
        worker.kill();
    }
    let verdict = if audit.is_clean() { "clean" } else { "FAULTS" };
    println!("  {verdict} in {:.0?}: {}", started.elapsed(), audit.summary());
    for line in audit.evidence() {
        println!("  {line}");
    }
    Ok(audit.is_clean())
}

/// The current goes `after_ms` after enough was done.
///
/// The workers are frozen just before: the kernel lets an `fsync` that is under way while the file system is shut down
/// return as if it had succeeded, which no disk does. A frozen worker tells nothing after the cut.
async fn until_cut(
    stage: &Stage,
    disk: &Disk,
    workers: &mut [Process],
    outcomes: usize,
    after_ms: u64,
) -> Result<(), String> {
    let (mut link, started) = (stage.link(), Instant::now());
    while stage.answered(&mut link).await?.len() < outcomes {
        if started.elapsed() > WORK_WITHIN {
            return Err(format!("no {outcomes} outcomes within {WORK_WITHIN:?}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    for worker in workers {
        if !worker.is_running() {
            return Err("a worker ended by itself before the cut".to_owned());
        }
        tokio::task::block_in_place(|| worker.stop_all());
    }
    tokio::task::block_in_place(|| disk.cut())
}

/// All goes on, comes to rest, and is audited.
async fn healed(stage: &Stage, workers: &mut [Process]) -> Audit {
    for worker in &mut *workers {
        worker.start(&stage.worker_command());
    }
    let unrest = stage.rest(REST_WITHIN).await;
    let mut audit = Audit::default();
    for worker in workers {
        let code = worker.terminate(Duration::from_secs(15)).await;
        if code != Some(0) {
            audit.add(Fault::Run, format!("a worker told to end: exit code {code:?}"));
        }
    }
    let mut found = auditor::audit(stage).await;
    found.take(audit);
    if let Some(what) = unrest {
        found.add(Fault::Run, format!("not at rest: {what}"));
    }
    found
}

/// What was told outside of the journal, or is in it.
#[derive(Default)]
struct Told {
    /// Entries of requests that have an outcome.
    outcomes: BTreeSet<String>,
    /// Client order ids that the exchange executed or works.
    orders: BTreeSet<String>,
}

impl Told {
    async fn read(stage: &Stage) -> Result<Self, String> {
        let outcomes = stage.answered(&mut stage.link()).await?;
        let mut orders = BTreeSet::new();
        if let Some(exchange) = &stage.exchange {
            let ledger = exchange.lock().await.ledger().await?;
            let is_real = |generation: &Value| {
                generation["status"] == "Open"
                    || generation["executions"].as_array().is_some_and(|e| !e.is_empty())
            };
            for order in ledger["orders"].as_array().into_iter().flatten() {
                if order["generations"].as_array().into_iter().flatten().any(is_real) {
                    orders.extend(order["client_order_id"].as_str().map(str::to_owned));
                }
            }
        }
        Ok(Self { outcomes, orders })
    }

    fn lost(&self, kept: &Self) -> Self {
        Self { outcomes: &self.outcomes - &kept.outcomes, orders: &self.orders - &kept.orders }
    }
}

/// What the journal has, read from a copy: the worker is the first that opens the file itself.
async fn kept(stage: &Stage, journal: &Path) -> Result<Told, String> {
    let copy = stage.lab.path("copy.db");
    for end in ["", "-wal"] {
        let (from, to) = (format!("{}{end}", journal.display()), format!("{}{end}", copy.display()));
        match std::fs::copy(&from, &to) {
            Ok(_) => {}
            // A log, or a journal, that was never synced is not there at all.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => drop(std::fs::remove_file(&to)),
            Err(error) => return Err(format!("{from}: {error}")),
        }
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&copy).create_if_missing(true);
    let said = |e: sqlx::Error| format!("the journal after the cut: {e}");
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(said)?;
    let sound: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut conn).await.map_err(said)?;
    if sound != "ok" {
        return Err(format!("the journal after the cut: {sound}"));
    }
    let mut kept = Told::default();
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name IN ('outcomes', 'orders')")
            .fetch_one(&mut conn)
            .await
            .map_err(said)?;
    // Not even the schema was synced.
    if tables < 2 {
        return Ok(kept);
    }
    let rows =
        sqlx::query("SELECT entry_ms, entry_seq FROM outcomes").fetch_all(&mut conn).await.map_err(said)?;
    for row in rows {
        let number = |name: &str| row.try_get::<i64, _>(name).map(i64::cast_unsigned).map_err(said);
        kept.outcomes.insert(format!("{}-{}", number("entry_ms")?, number("entry_seq")?));
    }
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT client_order_id FROM orders").fetch_all(&mut conn).await.map_err(said)?;
    kept.orders.extend(ids);
    conn.close().await.map_err(said)?;
    Ok(kept)
}
