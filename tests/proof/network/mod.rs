//! Two workers, Redis and the database, each as on a machine of its own: the network between one worker and one
//! service is cut, one way or both, while the other worker goes on.

mod namespaces;

use crate::auditor::{self, Audit, Fault};
use crate::harness::{Database, PostgresServer, Ran, RedisServer};
use crate::load::Load;
use crate::process::{Process, behind};
use crate::profile::Profile;
use crate::stage::Stage;
use namespaces::{Network, Node, Way};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The database of the journal; a file cannot be cut off, so then it is Redis only
    #[arg(long, default_value = "postgres")]
    journal: Database,
    /// Draws the load
    #[arg(long)]
    seed: Option<u64>,
    /// How often every cut is made
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Keeps the files of a run without fault, too
    #[arg(long)]
    keep: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { journal: Database::Postgres, seed: None, times: 1, keep: false }
    }
}

/// Requests in a second.
const RATE: u64 = 30;
/// How long a cut lasts at least.
const SHORTEST_CUT: Duration = Duration::from_secs(2);
/// What was added before a cut, or in its first moments, is answered so soon, while it lasts.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);
const REST_WITHIN: Duration = Duration::from_secs(60);
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Why there can be no networks to cut, if so.
pub(crate) fn impossible() -> Option<String> {
    Network::new(0).err()
}

pub(crate) async fn run(arguments: &Arguments) -> Result<bool, String> {
    let seed = arguments.seed.unwrap_or_else(crate::fresh);
    let network = match Network::new(seed) {
        Ok(network) => network,
        Err(why) => {
            println!("SKIPPED: cut networks: {why}");
            return Ok(true);
        }
    };
    println!("network --journal {} --seed {seed} --times {}", arguments.journal, arguments.times);
    let (redis, postgres) = tokio::task::block_in_place(|| {
        let redis = RedisServer::start_in(Some(network.elsewhere(Node::Redis)));
        let is_postgres = arguments.journal == Database::Postgres;
        (redis, is_postgres.then(|| PostgresServer::start_in(Some(network.elsewhere(Node::Database)))))
    });
    let place = match &postgres {
        Some(postgres) => Some(postgres.database().await),
        None => None,
    };
    let stage = Stage::new(redis.url(), place, Profile::Embedded).await?;
    let mut workers = Workers::start(&stage, &network);
    workers.ready().await?;

    let (stop, started) = (AtomicBool::new(false), Instant::now());
    let mut load = Load::new(seed);
    let cuts = async {
        let mut wrong = Vec::new();
        for _ in 0..arguments.times {
            for (service, way) in cuts(arguments.journal) {
                let what = format!("{} cut from one worker, {}", service.as_str(), way.as_str());
                match cut(&stage, &network, service, way).await {
                    Ok(took) => println!("  {what}: all that was waiting was answered {took:.1?} into it"),
                    Err(why) => wrong.push(format!("{what}: {why}")),
                }
                wrong.extend(workers.fallen().map(|why| format!("{what}: {why}")));
            }
        }
        stop.store(true, Ordering::Relaxed);
        wrong
    };
    let (wrong, ()) = tokio::join!(cuts, load.run(&stage, RATE, &stop));
    let took = started.elapsed();
    let unrest = stage.rest(REST_WITHIN).await;
    let mut audit = Audit::default();
    for what in
        wrong.into_iter().chain(unrest.map(|what| format!("not at rest {REST_WITHIN:?} after: {what}")))
    {
        audit.add(Fault::Run, what);
    }
    workers.end(&mut audit).await;
    let mut found = auditor::audit(&stage).await;
    found.take(audit);
    let verdict = if found.is_clean() { "clean" } else { "FAULTS" };
    println!("  {verdict} in {took:.0?}: {}", found.summary());
    for line in found.evidence() {
        println!("  {line}");
    }
    let clean = found.is_clean();
    if !clean || arguments.keep {
        println!("  files: {}", stage.keep().await.display());
    }
    Ok(clean)
}

fn cuts(journal: Database) -> impl Iterator<Item = (Node, Way)> {
    let services = [Node::Database, Node::Redis];
    let services =
        services.into_iter().filter(move |node| *node == Node::Redis || journal == Database::Postgres);
    services.flat_map(|node| Way::ALL.into_iter().map(move |way| (node, way)))
}

/// Cuts the first worker from a service until the second has answered whatever waited, then heals it. Returns how
/// long that took.
async fn cut(stage: &Stage, network: &Network, service: Node, way: Way) -> Result<Duration, String> {
    let started = Instant::now();
    network.cut(Node::First, service, way)?;
    // What comes in its first moments is the cut worker's, too: until it notices, it reads on.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waiting: BTreeSet<String> =
        stage.producer.lock().await.sent.iter().map(|sent| sent.entry.clone()).collect();
    let answered = tokio::time::timeout(TAKEN_OVER_WITHIN, async {
        let mut link = stage.link();
        loop {
            let answered = stage.answered(&mut link).await?;
            if waiting.is_subset(&answered) {
                return Ok::<_, String>(started.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let (answered, found) = tokio::join!(answered, check(stage, network));
    let took = started.elapsed();
    let outcome = match answered {
        Ok(answered) => answered,
        Err(_) => {
            let mut link = stage.link();
            let open = waiting.difference(&stage.answered(&mut link).await?).count();
            Err(format!("{open} requests have no outcome after {TAKEN_OVER_WITHIN:?} of it"))
        }
    };
    tokio::time::sleep(SHORTEST_CUT.saturating_sub(took)).await;
    network.heal()?;
    // The cut was one, and is none any more.
    if found.code != 4 {
        return Err(format!("`check` reaches the service: exit code {}: {}", found.code, found.said()));
    }
    let found = check(stage, network).await;
    if found.code != 0 {
        return Err(format!("healed, `check` says {}: {}", found.code, found.said()));
    }
    outcome
}

/// What the command `check` says where the first worker is.
async fn check(stage: &Stage, network: &Network) -> Ran {
    let mut command = stage.lab.command();
    command.arg("check");
    let words = network.wrapper(Node::First);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ran::of(behind(&words, &command)).await
}

/// The one that is cut, and the one that is not.
struct Workers([Process; 2]);

impl Workers {
    fn start(stage: &Stage, network: &Network) -> Self {
        let mut workers = [stage.worker("first"), stage.worker("second")];
        for (worker, node) in workers.iter_mut().zip([Node::First, Node::Second]) {
            let words = network.wrapper(node);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            worker.start(&behind(&words, &stage.worker_command()));
        }
        Self(workers)
    }

    /// What is cut before a worker has started keeps it from starting.
    async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        for worker in &mut self.0 {
            while !worker.said("\"message\":\"ready\"") {
                if !worker.is_running() || Instant::now() > deadline {
                    return Err(format!("a worker does not start: exit codes {:?}", worker.exits));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// A worker that gave up: a network that is cut is no reason to.
    fn fallen(&mut self) -> Option<String> {
        let [first, second] = &mut self.0;
        let (first, second) = (first.is_running(), second.is_running());
        (!first || !second)
            .then(|| format!("a worker has ended: the first runs: {first}, the second: {second}"))
    }

    async fn end(&mut self, audit: &mut Audit) {
        for worker in &mut self.0 {
            let code = worker.terminate(Duration::from_secs(15)).await;
            if code != Some(0) {
                audit.add(Fault::Run, format!("a worker told to end: exit code {code:?}"));
            }
        }
    }
}
