//! A Redis server of our own, in a temporary folder, that ends with us.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Another program may take the port between our look and the server's.
const ATTEMPTS: usize = 10;
/// Below the range that kernels take for outgoing connections: a client that dials a dead port inside that
/// range over and over may end up connected to itself.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// When a write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Never: nothing outlives the process.
    None,
    /// Within a second.
    #[default]
    EverySecond,
    /// Before it is answered.
    Always,
}

impl Durability {
    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::None => ["--appendonly", "no", "--appendfsync", "no"],
            Self::EverySecond => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Self::Always => ["--appendonly", "yes", "--appendfsync", "always"],
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PrivateRedisError {
    #[error(
        "no Redis server is installed: neither redis-server nor valkey-server is on the PATH. Install one \
         (Debian, Ubuntu: apt-get install redis-server; Fedora: dnf install valkey; macOS: brew install redis)"
    )]
    NotInstalled,
    #[error("{program} cannot be started: {source}")]
    Start { program: PathBuf, source: io::Error },
    #[error("{program} ended at once ({status}): {log}")]
    Ended { program: PathBuf, status: ExitStatus, log: String },
    #[error("{program} does not answer on 127.0.0.1:{port} within {READY_WITHIN:?}")]
    Silent { program: PathBuf, port: u16 },
    #[error("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)]
    NoPort,
}

/// The running server; killed, and its folder removed, when this is dropped.
#[derive(Debug)]
pub struct PrivateRedis {
    server: Guarded,
    port: u16,
    // After the server: fields are dropped in this order.
    dir: TempDir,
}

impl PrivateRedis {
    /// Starts a server and waits until it answers.
    pub async fn start(durability: Durability) -> Result<Self, PrivateRedisError> {
        let program = find(std::env::var_os("PATH")).ok_or(PrivateRedisError::NotInstalled)?;
        let mut last = PrivateRedisError::NoPort;
        for _ in 0..ATTEMPTS {
            let Some(port) = free_port() else { return Err(PrivateRedisError::NoPort) };
            match Self::start_on(&program, port, durability).await {
                Err(error @ PrivateRedisError::Ended { .. }) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    async fn start_on(program: &Path, port: u16, durability: Durability) -> Result<Self, PrivateRedisError> {
        let failed = |source| PrivateRedisError::Start { program: program.to_owned(), source };
        let dir = tempfile::Builder::new().prefix("order-execution-redis-").tempdir().map_err(failed)?;
        let log = dir.path().join("server.log");
        let mut command = Command::new(program);
        command
            .args(["--bind", "127.0.0.1", "--protected-mode", "yes", "--daemonize", "no"])
            .args(["--save", "", "--loglevel", "warning", "--port", &port.to_string()])
            .args(durability.arguments())
            // Its log is thrown away with it: nothing is won by rewriting it meanwhile.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .arg("--dir")
            .arg(dir.path())
            .arg("--logfile")
            .arg(&log)
            .current_dir(dir.path());
        let mut server = Guarded::spawn(&mut command).map_err(failed)?;
        let deadline = Instant::now() + READY_WITHIN;
        while !answers(port, server.id()) {
            if let Some(status) = server.ended() {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let log = log.lines().last().unwrap_or("it says nothing").to_owned();
                return Err(PrivateRedisError::Ended { program: program.to_owned(), status, log });
            }
            if Instant::now() > deadline {
                return Err(PrivateRedisError::Silent { program: program.to_owned(), port });
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(Self { server, port, dir })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.server.id()
    }

    /// Where its log and its data lie.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills it and waits until it is gone.
    pub async fn stop(self) {
        // It ends when the kernel has let go of its files: a moment, but not ours.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// A child process in a process group of its own (Ctrl-C in a terminal is for us, and we still need it while
/// we stop), with a watchdog: a shell that waits for its standard input to close, which the kernel does when we
/// end, also by SIGKILL, and then kills the child. `PR_SET_PDEATHSIG` (setpriv) would fire when the *thread*
/// that started the child ends, which is not when we do.
#[derive(Debug)]
struct Guarded {
    child: Child,
    watchdog: Option<Child>,
}

impl Guarded {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        let quiet = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()
        };
        let child = quiet(command.stdin(Stdio::null()))?;
        let mut guarded = Self { child, watchdog: None };
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", "read -r _; kill -9 \"$0\" 2>/dev/null"]).arg(guarded.id().to_string());
        guarded.watchdog = Some(quiet(watchdog.stdin(Stdio::piped()))?);
        Ok(guarded)
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // First the watchdog: the child's number may stand for another process once it is waited for.
        for process in self.watchdog.iter_mut().chain([&mut self.child]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn find(path: Option<OsString>) -> Option<PathBuf> {
    let path = path?;
    PROGRAMS
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|file| file.is_file())
}

fn free_port() -> Option<u16> {
    use std::hash::BuildHasher;
    let random = std::hash::RandomState::new().hash_one(std::process::id());
    let count = u64::from(PORTS.end - PORTS.start);
    (0..count)
        .filter_map(|n| u16::try_from((random % count + n) % count).ok())
        .map(|offset| PORTS.start + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// The server on `port` answers, and is the process that we started.
fn answers(port: u16, process: u32) -> bool {
    let patience = Duration::from_secs(1);
    let ask = || -> io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
        let mut answer = String::new();
        stream.take(1 << 16).read_to_string(&mut answer)?;
        Ok(answer.starts_with("+PONG") && answer.contains(&format!("process_id:{process}\r\n")))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_server_on_the_path_it_is_said_what_to_install() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(find(Some(empty.path().into())), None);
        assert!(PrivateRedisError::NotInstalled.to_string().contains("apt-get install redis-server"));
        std::fs::write(empty.path().join("valkey-server"), "").unwrap();
        assert_eq!(find(Some(empty.path().into())), Some(empty.path().join("valkey-server")));
    }

    #[tokio::test]
    async fn a_server_answers_while_it_is_held_and_leaves_nothing_behind() {
        let server = PrivateRedis::start(Durability::Always).await.unwrap();
        let (port, process, dir) = (server.port(), server.process_id(), server.dir().to_owned());
        assert!(answers(port, process));
        assert!(!answers(port, process + 1), "another process is not ours");
        server.stop().await;
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(!dir.exists());
    }

    #[tokio::test]
    async fn the_watchdog_kills_the_server_when_its_input_closes() {
        let mut server = PrivateRedis::start(Durability::None).await.unwrap();
        drop(server.server.watchdog.as_mut().unwrap().stdin.take());
        let deadline = Instant::now() + READY_WITHIN;
        while server.server.ended().is_none() {
            assert!(Instant::now() < deadline);
            sleep(LOOK_AGAIN).await;
        }
    }
}
