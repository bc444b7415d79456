//! PostgreSQL clusters: one that the tests of a process share, and private ones for the tests that stop, freeze or
//! kill theirs. A cluster lives in a temporary folder and ends with the test process, however that ends.

use super::guard::Watchdog;
use super::redis::free_port;
use super::{Place, services};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const USER: &str = "postgres";
const PASSWORD: &str = "s3cr3t-of-postgres";

/// Everything that is not said here is as PostgreSQL comes: `fsync` and `synchronous_commit` are on.
const SETTINGS: &str = "max_connections = 400
shared_buffers = 32MB
unix_socket_directories = ''
logging_collector = off
log_min_messages = warning
";

/// Whoever can connect has to know the password; what can connect is decided by the address it listens on.
const ACCESS: &str = "host all all all scram-sha-256\n";

/// But for whoever only asks whether it answers.
const ENCRYPTED_ACCESS: &str =
    "hostssl all all all scram-sha-256\nhostnossl postgres all all scram-sha-256\n";

/// Sends a cluster to its end: at once, and without leaving its shared memory behind. Frozen processes are woken
/// for it. $1: process id, $2: folder.
const END: &str = "children() { for p in /proc/[0-9]*; do grep -qs \"^PPid:[[:space:]]*$1$\" $p/status && echo \"${p#/proc/}\"; done; }
all=$(children \"$1\"); kill -CONT \"$1\" $all; kill -QUIT \"$1\"
for n in 1 2 3 4 5 6 7 8 9 10; do kill -0 \"$1\" || break; sleep 0.3; done
kill -9 \"$1\" $all; rm -rf \"$2\"";

/// Where a server runs, if not on this host's own network: the words before its command, and the address that it
/// is reached at.
pub(crate) struct Elsewhere {
    pub(crate) wrapper: Vec<String>,
    pub(crate) address: Ipv4Addr,
}

pub(crate) struct PostgresServer {
    programs: PathBuf,
    wrapper: Vec<String>,
    address: SocketAddr,
    dir: TempDir,
    running: Mutex<Option<(Child, Watchdog)>>,
    /// How its databases are to be reached: the value of `sslmode`.
    tls: &'static str,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        Self::start_in(None)
    }

    pub(crate) fn start_in(elsewhere: Option<Elsewhere>) -> Self {
        let server = Self::new(elsewhere, "disable");
        server.restart();
        server
    }

    /// Its databases take encrypted connections alone; certificate and key are PEM.
    pub(crate) fn start_encrypted(certificate: &str, key: &str) -> Self {
        let server = Self::new(None, "require");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = server.data().join(name);
            std::fs::write(&path, text).expect(name);
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
            give_to_server_user(&path);
        }
        server.configure("ssl = on\n");
        std::fs::write(server.data().join("pg_hba.conf"), ENCRYPTED_ACCESS).expect("pg_hba.conf");
        server.restart();
        server
    }

    fn new(elsewhere: Option<Elsewhere>, tls: &'static str) -> Self {
        let programs = find_programs().unwrap_or_else(|| panic!("{}", services::NO_POSTGRES));
        let dir = tempfile::Builder::new().prefix("postgres-").tempdir().expect("a temporary folder");
        give_to_server_user(dir.path());
        let (wrapper, ip) = elsewhere
            .map_or_else(|| (Vec::new(), Ipv4Addr::LOCALHOST), |place| (place.wrapper, place.address));
        let server = Self {
            programs,
            wrapper,
            address: SocketAddr::from((ip, free_port())),
            dir,
            running: Mutex::new(None),
            tls,
        };
        server.initialize();
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn initialize(&self) {
        let secret = self.dir.path().join("password");
        std::fs::write(&secret, PASSWORD).expect("the password's file");
        let mut command = as_server_user(&[], &self.programs.join("initdb"));
        command.current_dir(self.dir.path()).arg("--pgdata").arg(self.data());
        command.args(["--username", USER, "--encoding", "UTF8", "--no-locale", "--no-sync"]);
        command.args(["--auth", "scram-sha-256", "--pwfile"]).arg(&secret);
        let ran = command.stdin(Stdio::null()).output().expect("initdb starts");
        assert!(ran.status.success(), "initdb: {}", String::from_utf8_lossy(&ran.stderr));
        self.configure(SETTINGS);
        std::fs::write(self.data().join("pg_hba.conf"), ACCESS).expect("pg_hba.conf");
    }

    fn configure(&self, settings: &str) {
        let file = std::fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf"));
        file.and_then(|mut file| file.write_all(settings.as_bytes())).expect("postgresql.conf");
    }

    /// Starts it (again) over the same folder and port; returns once it answers. Does nothing where it runs.
    pub(crate) fn restart(&self) {
        let mut running = self.running.lock().unwrap();
        if running.is_some() {
            return;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("its log");
        let mut command = as_server_user(&self.wrapper, &self.programs.join("postgres"));
        command.current_dir(self.dir.path()).arg("-D").arg(self.data());
        command.args(["-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("postgres starts");
        let folder = self.dir.path().display().to_string();
        let watchdog = Watchdog::start(END, &[&child.id().to_string(), &folder]).expect("a shell");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !answers(self.address) {
            let ended = child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "postgres ended at once ({ended:?}): {}", self.said());
            assert!(Instant::now() < deadline, "postgres does not answer: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        *running = Some((child, watchdog));
    }

    /// The end of its log.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    /// SIGKILL for all its processes: what a crash of the machine's database looks like.
    pub(crate) fn kill(&self) {
        let Some((mut child, mut watchdog)) = self.running.lock().unwrap().take() else { return };
        let main = child.id();
        // Stopped first, so that it starts no process that would be missed.
        signal("STOP", &[main]);
        let others = children(main);
        signal("KILL", &others);
        signal("KILL", &[main]);
        let _ = child.wait();
        // Its memory must be nobody's before it can start again.
        until_gone(&others);
        watchdog.call_off();
    }

    /// Ends as `pg_ctl stop -m immediate` does: no checkpoint, so the next start recovers from its log.
    pub(crate) fn stop_immediate(&self) {
        let Some((mut child, mut watchdog)) = self.running.lock().unwrap().take() else { return };
        let others = children(child.id());
        signal("CONT", &others);
        signal("CONT", &[child.id()]);
        signal("QUIT", &[child.id()]);
        let _ = child.wait();
        until_gone(&others);
        watchdog.call_off();
    }

    /// SIGSTOP for all its processes: connections stay open, and nothing is answered.
    pub(crate) fn freeze(&self) {
        if let Some((child, _)) = &*self.running.lock().unwrap() {
            signal("STOP", &[child.id()]);
            signal("STOP", &children(child.id()));
        }
    }

    pub(crate) fn thaw(&self) {
        if let Some((child, _)) = &*self.running.lock().unwrap() {
            signal("CONT", &children(child.id()));
            signal("CONT", &[child.id()]);
        }
    }

    /// Leaves it as a test process does that is killed. Returns what must be gone soon.
    pub(crate) fn abandon(self) -> (Child, PathBuf) {
        let (child, mut watchdog) = self.running.lock().unwrap().take().expect("it runs");
        watchdog.let_go();
        let folder = self.dir.path().to_owned();
        // Dropped, it would remove its folder itself.
        std::mem::forget(self);
        (child, folder)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/{database}?sslmode={}", self.address, self.tls)
    }

    /// A database of its own for one laboratory.
    pub(crate) async fn database(&self) -> Place {
        create_database(&self.url("postgres")).await.expect("CREATE DATABASE")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop_immediate();
    }
}

/// A new database in the cluster that `url` is in; dropped with its last laboratory.
pub(crate) async fn create_database(url: &str) -> Result<Place, sqlx::Error> {
    let admin: PgConnectOptions = url.parse()?;
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let mut connection = connect(&admin, Duration::from_secs(20)).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
    let own = admin.clone().database(&name).to_url_lossy().to_string();
    Ok(Place::Database { url: own, name, admin: url.to_owned() })
}

/// Best effort, and not for long: a cluster that is gone takes its databases with it.
pub(crate) fn drop_database(admin: &str, name: &str) {
    let (admin, name) = (admin.to_owned(), name.to_owned());
    let dropping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let mut connection = connect(&admin.parse().ok()?, Duration::from_secs(2)).await.ok()?;
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let dropped = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection);
            tokio::time::timeout(Duration::from_secs(5), dropped).await.ok()?.ok()
        })
    });
    drop(dropping.join());
}

/// A server that does not answer is an error, not a wait without end.
pub(crate) async fn connect(
    options: &PgConnectOptions,
    within: Duration,
) -> Result<PgConnection, sqlx::Error> {
    match tokio::time::timeout(within, options.connect()).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Whether it lets somebody in: what it asks back is then the password. During a start it refuses.
pub(crate) fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    let words = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + words.len()).expect("a short message");
    let mut message = length.to_be_bytes().to_vec();
    message.extend(196_608_u32.to_be_bytes()); // protocol 3.0
    message.extend(words);
    let mut first = [0];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(&message).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && &first == b"R"
}

/// The folder of `initdb` and `postgres`: the newest of the system's packages, else of the PATH.
pub(crate) fn find_programs() -> Option<PathBuf> {
    let has_both = |folder: &Path| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut packaged: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| has_both(folder))
        .collect();
    packaged.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged
        .pop()
        .map(|(_, folder)| folder)
        .or_else(|| std::env::split_paths(&path).find(|folder| has_both(folder)))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// PostgreSQL refuses to run as root: then it runs as the user of its package, or as nobody.
fn server_user() -> (String, String) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    });
    found.expect("a user `postgres` or `nobody`, since PostgreSQL refuses to run as root")
}

fn as_server_user(wrapper: &[String], program: &Path) -> Command {
    let mut words: Vec<String> = wrapper.to_vec();
    if is_root() {
        let (user, group) = server_user();
        words.extend(["setpriv".to_owned(), format!("--reuid={user}"), format!("--regid={group}")]);
        words.push("--clear-groups".to_owned());
    }
    let mut words = words.into_iter();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

fn give_to_server_user(folder: &Path) {
    if is_root() {
        let (user, group) = server_user();
        let number = |text: String| text.parse().expect("the number of a user");
        std::os::unix::fs::chown(folder, Some(number(user)), Some(number(group))).expect("chown");
    }
}

/// The processes that it started.
fn children(parent: u32) -> Vec<u32> {
    let wanted = format!("PPid:\t{parent}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line == wanted)
    })
    .collect()
}

fn signal(name: &str, processes: &[u32]) {
    if !processes.is_empty() {
        let ids = processes.iter().map(u32::to_string);
        // One that has ended meanwhile is no fault.
        drop(Command::new("kill").arg(format!("-{name}")).args(ids).stderr(Stdio::null()).status());
    }
}

fn until_gone(processes: &[u32]) {
    let started = Instant::now();
    // One whose parent has not asked after it yet holds nothing any more.
    let holds = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    while processes.iter().any(holds) && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(2));
    }
}
