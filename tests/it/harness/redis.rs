//! A Redis server as a process of this machine. One serves most tests; those that stop or empty theirs start their own.

use super::postgres::Elsewhere;
use super::{Guarded, Random, services};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A private server whose data survives `kill` and `restart`: every write is on disk before it is answered.
pub(crate) struct RedisServer {
    program: PathBuf,
    wrapper: Vec<String>,
    address: SocketAddr,
    dir: TempDir,
    process: Mutex<Option<Guarded>>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_in(None)
    }

    pub(crate) fn start_in(elsewhere: Option<Elsewhere>) -> Self {
        let (wrapper, ip) = elsewhere
            .map_or_else(|| (Vec::new(), Ipv4Addr::LOCALHOST), |place| (place.wrapper, place.address));
        let server = Self {
            program: find_server().unwrap_or_else(|| panic!("{}", services::NO_REDIS)),
            wrapper,
            address: SocketAddr::from((ip, free_port())),
            dir: tempfile::tempdir().expect("a temporary folder for Redis"),
            process: Mutex::new(None),
        };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// SIGKILL: what a crash of the server looks like.
    pub(crate) fn kill(&self) {
        *self.process.lock().unwrap() = None;
    }

    /// As deploy/redis.sh does: Redis 7 itself leaves half a transaction in a log whose end is torn off.
    fn repair_log(&self) {
        let manifest = self.dir.path().join("appendonlydir/appendonly.aof.manifest");
        if !manifest.exists() {
            return;
        }
        let name = self.program.file_name().map(|name| name.to_string_lossy().replace("server", "check-aof"));
        let mut repair = Command::new(self.program.with_file_name(name.unwrap_or_default()))
            .arg("--fix")
            .arg(manifest)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-check-aof, which comes with redis-server");
        let _ = repair.stdin.take().expect("a pipe").write_all(b"y\n");
        assert!(repair.wait().expect("an end").success(), "Redis's log cannot be repaired");
    }

    /// Starts it (again) over the same folder and port; returns once it answers.
    pub(crate) fn restart(&self) {
        self.repair_log();
        let mut words = self.wrapper.iter().map(std::ffi::OsStr::new).chain([self.program.as_os_str()]);
        let first = words.next().expect("a program");
        let mut process = Guarded::spawn(
            Command::new(first)
                .args(words)
                .args(["--bind", &self.address.ip().to_string(), "--protected-mode", "no"])
                .args(["--daemonize", "no", "--save", "", "--loglevel", "warning"])
                .args(["--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "no"])
                .args(["--port", &self.address.port().to_string()])
                .arg("--dir")
                .arg(self.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answers(self.address) {
            assert_eq!(
                process.exit_code(),
                None,
                "{} ended at once ({})",
                self.program.display(),
                self.address
            );
            assert!(
                Instant::now() < deadline,
                "{} does not answer at {}",
                self.program.display(),
                self.address
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        *self.process.lock().unwrap() = Some(process);
    }
}

pub(crate) fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    let mut answer = [0; 7];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"+PONG\r\n"
}

pub(crate) fn find_server() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|file| file.is_file())
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
