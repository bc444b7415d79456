//! One trial: a worker is armed at a crash point, another comes to the rescue, and the auditor has the last word.

use crate::auditor::{self, Audit, Fault};
use crate::harness::{Database, Place, PostgresServer, RedisServer};
use crate::link::Link;
use crate::process::Process;
use crate::profile::Profile;
use crate::scenario;
use crate::stage::{CLAIM_IDLE, Stage};
use crate::table::{self, Action, Trial};
use order_execution::crash::Point;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// Every combination; else a choice in which every pair of point, action and profile occurs
    #[arg(long)]
    pub(crate) all: bool,
    /// Only this point
    #[arg(long)]
    pub(crate) point: Option<String>,
    #[arg(long)]
    pub(crate) action: Option<Action>,
    #[arg(long)]
    pub(crate) profile: Option<Profile>,
    /// Draws the choice
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Trials at a time
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Begins no more trials after one in which the auditor found something
    #[arg(long)]
    pub(crate) stop_at_first: bool,
    /// How often each is done
    #[arg(long)]
    pub(crate) times: Option<usize>,
    /// The database of the journal
    #[arg(long, default_value = "sqlite")]
    pub(crate) journal: Database,
}

/// The servers that all trials share, each under its own prefix and in its own database.
struct Servers {
    redis: RedisServer,
    postgres: Option<PostgresServer>,
}

impl Servers {
    fn start(journal: Database) -> Self {
        let postgres = (journal == Database::Postgres).then(PostgresServer::start);
        Self { redis: RedisServer::start(), postgres }
    }

    async fn place(&self) -> Option<Place> {
        match &self.postgres {
            Some(postgres) => Some(postgres.database().await),
            None => None,
        }
    }
}

/// How long the armed worker may take to reach its point.
const HIT_WITHIN: Duration = Duration::from_secs(20);
/// A worker that is frozen inside a transaction keeps all others out: it is woken after so long.
const LONGEST_FREEZE: Duration = Duration::from_millis(2500);
const OUTCOMES_WITHIN: Duration = Duration::from_secs(60);
const REST_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: &Arguments) -> Result<bool, String> {
    if !cfg!(feature = "crash-points") {
        return Err("crash points are compiled in with --features crash-points".to_owned());
    }
    let seed = arguments.seed.unwrap_or_else(crate::fresh);
    let wanted = |trial: &Trial| {
        arguments.point.as_ref().is_none_or(|point| trial.point.as_str() == point)
            && arguments.action.is_none_or(|action| trial.action == action)
            && arguments.profile.is_none_or(|profile| trial.profile == profile)
    };
    let exchange = crate::exchange::exists();
    if !exchange {
        println!("there is no command `exchange`: only the embedded simulator is tried");
    }
    let mut trials = table::all();
    trials.retain(|trial| wanted(trial) && (exchange || trial.profile == Profile::Embedded));
    let count = trials.len();
    if count == 0 {
        return Err("no trial is of this point, action and profile".to_owned());
    }
    if !arguments.all {
        trials = table::pairwise(trials, seed);
    }
    let trials: Vec<Trial> =
        std::iter::repeat_n(trials, arguments.times.unwrap_or(1).max(1)).flatten().collect();
    let journal = arguments.journal;
    println!("crash points on {journal}: {} trials of {count} combinations, seed {seed}", trials.len());
    let started = Instant::now();
    let servers = Arc::new(tokio::task::block_in_place(|| Servers::start(journal)));
    let places = Arc::new(Semaphore::new(arguments.jobs.unwrap_or(3).max(1)));
    let stop_at_first = arguments.stop_at_first;
    let tasks: Vec<_> = trials
        .into_iter()
        .map(|trial| {
            let (servers, places, here) = (servers.clone(), places.clone(), Handle::current());
            // A thread each: the future of a database query cannot always be shown to be `Send`.
            let task = tokio::task::spawn_blocking(move || {
                here.block_on(async {
                    // Closed: what follows is not done any more.
                    let Ok(_place) = places.acquire().await else { return Ok(true) };
                    let audit = one(&servers, trial).await?;
                    if stop_at_first && audit.tells_of_more_than_the_run() {
                        places.close();
                    }
                    Ok::<_, String>(audit.is_clean())
                })
            });
            (trial, task)
        })
        .collect();
    let (mut fine, mut failed) = (0, 0);
    for (trial, task) in tasks {
        let passed = match task.await {
            Ok(Ok(passed)) => passed,
            Ok(Err(why)) => {
                println!("FAILED  {trial}: {why}");
                false
            }
            Err(panic) => {
                println!("FAILED  {trial}: {panic}");
                false
            }
        };
        *(if passed { &mut fine } else { &mut failed }) += 1;
    }
    println!("crash points on {journal}: {fine} passed, {failed} failed, in {:.0?}", started.elapsed());
    Ok(failed == 0)
}

async fn one(servers: &Servers, trial: Trial) -> Result<Audit, String> {
    let started = Instant::now();
    let stage = Stage::new(servers.redis.url(), servers.place().await, trial.profile).await?;
    let mut audit = judge(&stage, trial).await?;
    let hits = std::fs::read_to_string(stage.lab.path("hits")).unwrap_or_default();
    let expected = format!("{} {}\n", trial.point.as_str(), trial.action.as_str());
    if hits != expected {
        audit.add(Fault::Run, if hits.is_empty() { "NOT HIT".to_owned() } else { format!("hits: {hits:?}") });
    }
    let verdict = if audit.is_clean() { "ok     " } else { "FAILED " };
    let mut lines = vec![format!("{verdict} {trial}  {:.1?}  {}", started.elapsed(), audit.summary())];
    lines.extend(audit.evidence().into_iter().map(|line| format!("        {line}")));
    if !audit.is_clean() {
        lines.push(format!("        files: {}", stage.keep().await.display()));
    }
    println!("{}", lines.join("\n"));
    Ok(audit)
}

async fn judge(stage: &Stage, trial: Trial) -> Result<Audit, String> {
    scenario::prepare(stage, table::scenario(trial.point)).await?;
    let hits = stage.lab.path("hits");
    let mut armed = stage.worker_command();
    armed.env("ORDER_EXECUTION_CRASH", format!("{}:{}", trial.point.as_str(), trial.action.as_str()));
    armed.env("ORDER_EXECUTION_CRASH_HITS", &hits);
    let mut victim = stage.worker("armed");
    victim.start(&armed);
    let mut rescuer = stage.worker("rescuer");
    let requests = tokio::time::timeout(OUTCOMES_WITHIN, async {
        scenario::requests(stage).await?;
        // What does not come from a request may take its time.
        let started = Instant::now();
        while !was_hit(&hits) && started.elapsed() < HIT_WITHIN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scenario::every_outcome(stage).await
    });
    let unfinished = tokio::select! {
        done = requests => match done {
            Ok(done) => done.err(),
            Err(_) => Some(format!("no outcomes within {OUTCOMES_WITHIN:?}")),
        },
        never = rescue(stage, trial, &mut victim, &mut rescuer) => match never {},
    };
    if trial.action == Action::Stop && victim.is_frozen() {
        // Others may be done before its leases have run out.
        tokio::time::sleep(CLAIM_IDLE * 2).await;
    }
    victim.go_on();
    if !rescuer.is_running() {
        rescuer.start(&stage.worker_command());
    }
    // What was taken from Redis behind the workers' backs has its outcome, too, once all is at rest.
    let unrest = stage.rest(REST_WITHIN).await;
    let mut audit = Audit::default();
    for worker in [&mut victim, &mut rescuer] {
        let running = worker.is_running();
        let code = worker.terminate(Duration::from_secs(15)).await;
        if running && code != Some(0) {
            audit.add(Fault::Run, format!("a worker told to end: exit code {code:?}"));
        }
    }
    let mut found = auditor::audit(stage).await;
    found.take(audit);
    for what in unfinished.into_iter().chain(unrest.map(|what| format!("not at rest: {what}"))) {
        found.add(Fault::Run, what);
    }
    Ok(found)
}

/// Starts the second worker once the first has reached its point, and wakes a frozen one in the end.
async fn rescue(
    stage: &Stage,
    trial: Trial,
    victim: &mut Process,
    rescuer: &mut Process,
) -> std::convert::Infallible {
    let hits = stage.lab.path("hits");
    let started = Instant::now();
    while !was_hit(&hits) && started.elapsed() < HIT_WITHIN && victim.is_running() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let frozen = Instant::now();
    let mut link = stage.link();
    let mut is_frozen = trial.action == Action::Stop && was_hit(&hits);
    victim.note_frozen(is_frozen);
    loop {
        // At its start a worker that is frozen inside a transaction may be in its way.
        if !rescuer.is_running() {
            rescuer.start(&stage.worker_command());
        }
        let slept = frozen.elapsed();
        if is_frozen
            && (slept > LONGEST_FREEZE || slept > CLAIM_IDLE * 3 && nothing_pending(stage, &mut link).await)
        {
            victim.go_on();
            is_frozen = false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn was_hit(hits: &Path) -> bool {
    std::fs::metadata(hits).is_ok_and(|file| file.len() > 0)
}

async fn nothing_pending(stage: &Stage, link: &mut Link) -> bool {
    let pending: Result<i64, _> = link.ask(redis::cmd("XLEN").arg(stage.lab.key("pending"))).await;
    matches!(pending, Ok(0))
}

/// The points that no trial reaches, and why.
pub(crate) fn list() {
    for &point in Point::ALL {
        let actions: Vec<_> =
            Action::ALL.into_iter().filter(|a| table::applies(point, *a)).map(Action::as_str).collect();
        println!("{:<24} {:?}: {}", point.as_str(), table::scenario(point), actions.join(", "));
        for profile in Profile::ALL {
            if let Some(why) = table::impossible(point, profile) {
                println!("{:24}   not under {profile}: {why}", "");
            }
        }
    }
}
