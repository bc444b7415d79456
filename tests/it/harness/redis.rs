//! One Redis for the whole test binary, and private ones for the tests that stop or empty theirs.

use super::{Guarded, Random};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The Redis that most tests share, each under a prefix of its own: `$REDIS_URL`, else a private server.
pub(crate) fn shared_url() -> String {
    static SHARED: OnceLock<Result<String, RedisServer>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| match std::env::var("REDIS_URL") {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => Err(RedisServer::start()),
    });
    match shared {
        Ok(url) => url.clone(),
        Err(server) => server.url(),
    }
}

/// A private server whose data survives `kill` and `restart`: every write is on disk before it is answered.
pub(crate) struct RedisServer {
    program: PathBuf,
    port: u16,
    dir: TempDir,
    process: Mutex<Option<Guarded>>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let server = Self {
            program: find_server(),
            port: free_port(),
            dir: tempfile::tempdir().expect("a temporary folder for Redis"),
            process: Mutex::new(None),
        };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// SIGKILL: what a crash of the server looks like.
    pub(crate) fn kill(&self) {
        *self.process.lock().unwrap() = None;
    }

    /// Starts it (again) over the same folder and port; returns once it answers.
    pub(crate) fn restart(&self) {
        let mut process = Guarded::spawn(
            Command::new(&self.program)
                .args(["--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--loglevel", "warning"])
                .args(["--appendonly", "yes", "--appendfsync", "always"])
                .args(["--port", &self.port.to_string()])
                .arg("--dir")
                .arg(self.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            assert_eq!(
                process.exit_code(),
                None,
                "{} ended at once (port {})",
                self.program.display(),
                self.port
            );
            assert!(
                Instant::now() < deadline,
                "{} does not answer on port {}",
                self.program.display(),
                self.port
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        *self.process.lock().unwrap() = Some(process);
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        let mut answer = [0; 7];
        stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"+PONG\r\n"
    }
}

fn find_server() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|file| file.is_file())
        .expect(
            "these tests need a Redis server: install `redis-server` (Debian, Ubuntu: apt-get install redis-server) \
             or `valkey-server` so that it is on the PATH. $REDIS_URL can name a running one, but the tests that \
             stop or empty their Redis start their own all the same",
        )
}

/// A free port below the range that the kernel takes for outgoing connections: a client that keeps dialling a
/// dead port inside that range may end up connected to itself, and then the server cannot come back.
pub(crate) fn free_port() -> u16 {
    let mut random = Random(uuid::Uuid::now_v7().as_u64_pair().1 ^ u64::from(std::process::id()));
    (0..1000)
        .map(|_| 15_000 + u16::try_from(random.below(15_000)).expect("below 15000"))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port between 15000 and 30000")
}
