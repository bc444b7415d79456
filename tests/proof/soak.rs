//! Workers under load while everything around them fails; then all is healed, comes to rest, and is audited.

use crate::auditor::{self, Fault};
use crate::chaos::{Chaos, Servers};
use crate::harness::{Database, PostgresServer, RedisServer, market};
use crate::load::Load;
use crate::profile::Profile;
use crate::stage::Stage;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Ends after so many workers were killed; without --seconds there is no other end
    #[arg(long)]
    kills: Option<u64>,
    /// Ends after so long (20 where --kills is not given, either)
    #[arg(long)]
    seconds: Option<u64>,
    /// Draws load and troubles; printed, so that a run can be repeated as far as time allows
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value = "embedded")]
    profile: Profile,
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Redis loses all its data now and then
    #[arg(long)]
    flush: bool,
    /// Requests in a second
    #[arg(long, default_value_t = 40)]
    rate: u64,
    /// The database of the journal
    #[arg(long, default_value = "sqlite")]
    journal: Database,
    /// Keeps the files of a run without fault, too
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    pub(crate) fn short(journal: Database, profile: Profile, seconds: u64, flush: bool) -> Self {
        Self {
            kills: None,
            seconds: Some(seconds),
            seed: None,
            profile,
            workers: 3,
            flush,
            rate: 40,
            journal,
            keep: false,
        }
    }

    fn command(&self, seed: u64) -> String {
        use std::fmt::Write;
        let mut line = format!("soak --journal {} --profile {} --seed {seed}", self.journal, self.profile);
        let mut add = |name: &str, value: Option<u64>| {
            if let Some(value) = value {
                let _ = write!(line, " --{name} {value}");
            }
        };
        add("kills", self.kills);
        add("seconds", self.seconds);
        add("workers", Some(self.workers as u64));
        add("rate", Some(self.rate));
        if self.flush {
            line.push_str(" --flush");
        }
        line
    }
}

/// Whether it went without fault.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool, String> {
    let seed = arguments.seed.unwrap_or_else(|| crate::harness::Random(crate::fresh()).next() >> 32);
    let command = arguments.command(seed);
    println!("{command}");
    let redis = RedisServer::start();
    let postgres = match arguments.journal {
        Database::Sqlite => None,
        Database::Postgres => Some(tokio::task::block_in_place(PostgresServer::start)),
    };
    let place = match &postgres {
        Some(postgres) => Some(postgres.database().await),
        None => None,
    };
    let stage = Stage::new(redis.url(), place, arguments.profile).await?;
    let servers = Servers { redis: &redis, postgres: postgres.as_ref() };
    let mut chaos = Chaos::new(&stage, servers, seed, arguments.workers.max(1), arguments.flush);
    let mut load = Load::new(seed ^ 0x10AD);
    let started = Instant::now();
    let seconds = arguments.seconds.or_else(|| arguments.kills.is_none().then_some(20));
    let end = seconds.map(|seconds| started + Duration::from_secs(seconds));

    let stop = AtomicBool::new(false);
    let troubled = async {
        chaos.run(arguments.kills, end).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(troubled, load.run(&stage, arguments.rate, &stop));
    let took = started.elapsed();

    chaos.heal().await;
    // What comes to rest must be able to go on, too.
    let healed = Instant::now();
    let last =
        stage.producer.lock().await.add("order", Some("last"), &market("last", "BTCUSDT", "Buy", "1")).await;
    let bound = Duration::from_secs(60) + took / 4;
    let unrest = tokio::select! {
        unrest = stage.rest(bound) => unrest,
        () = chaos.keep_alive() => None,
    };
    let rest = healed.elapsed();
    chaos.end().await;
    let mut audit = auditor::audit(&stage).await;
    if last.is_none() {
        audit.add(Fault::Run, "Redis does not take requests after all is healed");
    }
    for what in unrest.into_iter().map(|what| format!("not at rest {bound:?} after all was healed: {what}")) {
        audit.add(Fault::Run, what);
    }
    for what in std::mem::take(&mut chaos.wrong) {
        audit.add(Fault::Run, what);
    }
    let maybe = {
        let sent = &stage.producer.lock().await.sent;
        let maybe = sent.iter().filter(|sent| sent.ack == crate::producer::Ack::Maybe).count();
        format!("requests {} ({maybe} without an answer)", sent.len())
    };
    println!(
        "  {} in {:.0?}, at rest after {:.1?}: {}; {maybe}, {}",
        if audit.is_clean() { "clean" } else { "FAULTS" },
        took,
        rest,
        chaos.told(),
        audit.summary()
    );
    let clean = audit.is_clean();
    drop(chaos);
    for line in audit.evidence() {
        println!("  {line}");
    }
    if !clean || arguments.keep {
        println!("  files: {}; again: cargo test --test proof -- {command}", stage.keep().await.display());
    }
    Ok(clean)
}
