//! Short scenes in which a certain mistake cannot stay unseen: those that no crash point makes by itself.

use crate::auditor::{self, Audit, Fault};
use crate::harness::{RedisServer, market};
use crate::process::Process;
use crate::profile::Profile;
use crate::scenario;
use crate::stage::Stage;
use crate::table::Scenario;
use serde_json::json;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scene {
    /// The first order executes, and its answer is lost
    LostAnswer,
    /// The first order is lost on the way, at a broker that promises nothing: it is parked
    LostRequest,
    /// A worker is frozen before it sends; another makes the next attempt; the first wakes while that is under way
    StaleAnswer,
    /// The same order twice
    Repeat,
    /// Two workers, and a Redis that is away: only one of them relays
    Relays,
}

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) scene: Scene,
}

const OUTCOMES_WITHIN: Duration = Duration::from_secs(30);
const REST_WITHIN: Duration = Duration::from_secs(20);
const STEP_WITHIN: Duration = Duration::from_secs(20);

pub(crate) async fn run(arguments: &Arguments) -> Result<bool, String> {
    let started = Instant::now();
    let redis = RedisServer::start();
    let profile = match arguments.scene {
        Scene::LostAnswer | Scene::StaleAnswer => Profile::Deadline,
        Scene::LostRequest => Profile::Oneshot,
        Scene::Repeat | Scene::Relays => Profile::Embedded,
    };
    let stage = Stage::new(redis.url(), None, profile).await?;
    let (audit, more) = match arguments.scene {
        Scene::LostAnswer => (alone(&stage, Scenario::LostAnswer).await?, Vec::new()),
        Scene::LostRequest => (alone(&stage, Scenario::LostRequest).await?, Vec::new()),
        Scene::StaleAnswer => (stale_answer(&stage).await?, Vec::new()),
        Scene::Repeat => repeat(&stage).await?,
        Scene::Relays => relays(&stage, &redis).await?,
    };
    let clean = audit.is_clean() && more.is_empty();
    let verdict = if clean { "ok     " } else { "FAILED " };
    println!("{verdict} {:?}  {:.1?}  {}", arguments.scene, started.elapsed(), audit.summary());
    for line in audit.evidence().into_iter().chain(more) {
        println!("        {line}");
    }
    Ok(clean)
}

/// The workers are told to end once all is at rest; then the auditor.
async fn judged(stage: &Stage, workers: &mut [Process], unfinished: Option<String>) -> Audit {
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
    for what in unfinished.into_iter().chain(unrest.map(|what| format!("not at rest: {what}"))) {
        found.add(Fault::Run, what);
    }
    found
}

/// One worker and one order that executes where it arrives, with no other fault than the scenario's.
async fn alone(stage: &Stage, scenario: Scenario) -> Result<Audit, String> {
    scenario::prepare(stage, scenario).await?;
    let mut worker = stage.worker("worker");
    worker.start(&stage.worker_command());
    add(stage, "only").await?;
    let unfinished = every_outcome(stage).await;
    Ok(judged(stage, &mut [worker], unfinished).await)
}

async fn add(stage: &Stage, id: &str) -> Result<String, String> {
    let order = market(id, "BTCUSDT", "Buy", "1");
    let added = stage.producer.lock().await.add("order", Some(id), &order).await;
    added.ok_or_else(|| "Redis does not take a request".to_owned())
}

async fn every_outcome(stage: &Stage) -> Option<String> {
    match tokio::time::timeout(OUTCOMES_WITHIN, scenario::every_outcome(stage)).await {
        Ok(done) => done.err(),
        Err(_) => Some(format!("no outcomes within {OUTCOMES_WITHIN:?}")),
    }
}

/// Asks until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> Result<bool, String>) -> Result<(), String> {
    let started = Instant::now();
    while !so().await? {
        if started.elapsed() > STEP_WITHIN {
            return Err(format!("not within {STEP_WITHIN:?}: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(())
}

async fn stale_answer(stage: &Stage) -> Result<Audit, String> {
    let Some(exchange) = &stage.exchange else { return Err("it needs an exchange".to_owned()) };
    // The next attempt executes at once and is answered later than anybody waits; no feed tells of it meanwhile.
    let rules = [
        json!({"on": "submit", "fault": {"delay": {"ms": 500}}, "times": 1}),
        json!({"on": "transactions", "fault": {"lag": {"ms": 5000}}}),
    ];
    exchange.lock().await.faults(1, &rules).await?;
    let hits = stage.lab.path("hits");
    let mut armed = stage.worker_command();
    armed.env("ORDER_EXECUTION_CRASH", "submit-send-before:stop").env("ORDER_EXECUTION_CRASH_HITS", &hits);
    let mut victim = stage.worker("frozen");
    victim.start(&armed);
    add(stage, "stale").await?;
    until("the first worker freezes before it sends", async || Ok(hits.exists())).await?;
    victim.note_frozen(true);
    let mut rescuer = stage.worker("rescuer");
    rescuer.start(&stage.worker_command());
    let second = "SELECT count(*) FROM attempts WHERE kind = 'submit' AND number = 2";
    until("the second worker makes another attempt", async || {
        let mut journal = stage.journal().await.map_err(|e| e.to_string())?;
        // The schema may be under way.
        Ok(matches!(journal.try_count(second).await, Ok(1)))
    })
    .await?;
    victim.go_on();
    let unfinished = every_outcome(stage).await;
    Ok(judged(stage, &mut [victim, rescuer], unfinished).await)
}

async fn repeat(stage: &Stage) -> Result<(Audit, Vec<String>), String> {
    let mut worker = stage.worker("worker");
    worker.start(&stage.worker_command());
    let first = add(stage, "again").await?;
    let mut unfinished = every_outcome(stage).await;
    let second = add(stage, "again").await?;
    unfinished = unfinished.or(every_outcome(stage).await);
    let audit = judged(stage, &mut [worker], unfinished).await;
    // The auditor does not know what was asked for: both were the same order.
    let mut ends = Vec::new();
    for stream in ["completed", "failed"] {
        let entries = stage.link().range(&stage.lab.key(stream)).await.map_err(|e| e.to_string())?;
        ends.extend(entries.into_iter().map(|entry| (stream, entry)));
    }
    let end = |of: &str| {
        let found = ends.iter().find(|(_, outcome)| outcome.text("entry_id") == of);
        found.map(|(stream, outcome)| {
            let field =
                |name: &str| if outcome.has(name) { outcome.text(name).to_owned() } else { String::new() };
            (*stream, field("status"), field("order_id"), field("code"))
        })
    };
    let mut wrong = Vec::new();
    if end(&first) != end(&second) {
        wrong.push(format!(
            "lies: the same order twice: told {:?}, and then {:?}",
            end(&first),
            end(&second)
        ));
    }
    Ok((audit, wrong))
}

/// Whoever relays asks Redis each time, and says so where Redis is away. That two do it harms nothing, since the
/// publishing script knows what is out; that is why no audit of a soak can see it, and it is looked for here.
async fn relays(stage: &Stage, redis: &RedisServer) -> Result<(Audit, Vec<String>), String> {
    let names = ["one", "two"];
    // Two that make the same schema at once may be in each other's way.
    stage.lab.cli(&["migrate"]).await.succeeded();
    let mut workers = names.map(|name| stage.worker(name));
    for worker in &mut workers {
        worker.start(&stage.worker_command());
    }
    let log =
        |name: &str| std::fs::read_to_string(stage.lab.path(&format!("{name}.log"))).unwrap_or_default();
    let consumer = |name: &str| {
        let log = log(name);
        let ready = log.lines().find(|line| line.contains("\"ready\""))?;
        ready.split("\"worker\":\"").nth(1)?.split('"').next().map(str::to_owned)
    };
    until("both workers are ready", async || Ok(names.iter().all(|name| consumer(name).is_some()))).await?;
    let holder = async || -> Result<Option<(String, i64)>, String> {
        let mut journal = stage.journal().await.map_err(|e| e.to_string())?;
        let sql = "SELECT owner, epoch FROM leases WHERE name = 'relay'";
        let rows = journal.try_rows(sql).await.map_err(|e| e.to_string())?;
        rows.first().map(|row| Ok((row.text("owner")?, row.number("epoch")?))).transpose()
    };
    until("one of them has the lease", async || Ok(holder().await?.is_some())).await?;
    let relayed =
        |name: &str| log(name).lines().filter(|line| line.contains("relaying what is not published")).count();
    let mut wrong = Vec::new();
    let mut seen = false;
    for _ in 0..3 {
        let (granted, before) = (holder().await?, names.map(relayed));
        redis.kill();
        let since = |place: usize| relayed(names[place]).saturating_sub(before[place]);
        let started = Instant::now();
        // Long enough for either to do it several times.
        while since(0).max(since(1)) < 4 && started.elapsed() < STEP_WITHIN {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (still, counts) = (holder().await?, [since(0), since(1)]);
        tokio::task::block_in_place(|| redis.restart());
        // It passed on meanwhile: either had it.
        if granted != still {
            continue;
        }
        let Some((owner, epoch)) = granted else { continue };
        seen = true;
        for (name, count) in names.iter().zip(counts) {
            let holds = consumer(name).as_ref() == Some(&owner);
            if holds && count == 0 {
                return Err("the holder of the lease does not relay: this shows nothing".to_owned());
            }
            if !holds && count > 0 {
                let told =
                    format!("worker {name} relayed {count} times while {owner} had the lease, epoch {epoch}");
                wrong.push(format!("leases: {told}: {counts:?}"));
            }
        }
        break;
    }
    if !seen {
        return Err("the lease passed on three times: this shows nothing".to_owned());
    }
    add(stage, "after").await?;
    let unfinished = every_outcome(stage).await;
    let audit = judged(stage, &mut workers, unfinished).await;
    Ok((audit, wrong))
}
