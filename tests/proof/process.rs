//! A process under test: killed, frozen, limited, and started again as a supervisor would.

use crate::harness::Guarded;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Process {
    name: String,
    /// What it says on standard error, all its lives one after the other.
    log: PathBuf,
    guarded: Option<Guarded>,
    frozen: bool,
    /// SIGTERM was sent to this life of it: a second one would end it at once.
    told_to_end: bool,
    /// Exit codes of lives that ended by themselves.
    pub(crate) exits: Vec<i32>,
}

impl Process {
    pub(crate) fn new(name: &str, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            log,
            guarded: None,
            frozen: false,
            told_to_end: false,
            exits: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, command: &Command) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let mut log = log.unwrap_or_else(|e| panic!("{}: {e}", self.log.display()));
        let mut command = shielded(command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut guarded = Guarded::spawn(&mut command).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        // Through a pipe: a file would fall under the limit of `fill_disk`.
        let stderr = guarded.child().stderr.take();
        std::thread::spawn(move || stderr.map(|mut stderr| std::io::copy(&mut stderr, &mut log)));
        self.guarded = Some(guarded);
        self.frozen = false;
        self.told_to_end = false;
    }

    /// Whether its log has these words.
    pub(crate) fn said(&self, words: &str) -> bool {
        std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(words))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.reap();
        self.guarded.is_some()
    }

    /// A frozen one runs, and does nothing.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Notes that it has ended by itself.
    fn reap(&mut self) {
        if let Some(code) = self.guarded.as_mut().and_then(Guarded::exit_code) {
            self.guarded = None;
            self.frozen = false;
            self.exits.push(code);
        }
    }

    /// SIGKILL. Returns whether there was anything to kill.
    pub(crate) fn kill(&mut self) -> bool {
        self.reap();
        self.frozen = false;
        self.guarded.take().is_some_and(|mut guarded| {
            guarded.kill();
            true
        })
    }

    pub(crate) fn stop(&mut self) {
        self.signal("STOP");
        self.frozen = self.guarded.is_some();
    }

    /// The same, until each of its threads stands still: one that is inside a system call ends that first.
    pub(crate) fn stop_all(&mut self) {
        self.stop();
        let Some(pid) = self.guarded.as_mut().map(|guarded| guarded.child().id()) else { return };
        let stands =
            |stat: &str| stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'));
        let all_stand = || {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let mut stats = threads.filter_map(|one| std::fs::read_to_string(one.path().join("stat")).ok());
            stats.all(|stat| stands(&stat))
        };
        let started = Instant::now();
        while !all_stand() && started.elapsed().as_secs() < 10 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// It stopped, or did not stop, by itself.
    pub(crate) fn note_frozen(&mut self, frozen: bool) {
        self.frozen = frozen && self.guarded.is_some();
    }

    pub(crate) fn go_on(&mut self) {
        self.signal("CONT");
        self.frozen = false;
    }

    pub(crate) fn signal(&mut self, name: &str) {
        self.reap();
        if let Some(guarded) = &self.guarded {
            guarded.signal(name);
        }
    }

    /// Writes beyond the first pages of any file fail from now on (EFBIG), or go through again.
    pub(crate) fn fill_disk(&mut self, full: bool) {
        let Some(guarded) = &mut self.guarded else { return };
        let limit = if full { "--fsize=4096:unlimited" } else { "--fsize=unlimited:unlimited" };
        let pid = guarded.child().id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, limit]).stderr(Stdio::null()).status();
        // It may have ended meanwhile.
        assert!(status.is_ok(), "prlimit (util-linux) is needed for a journal that cannot grow");
    }

    /// SIGTERM, once.
    pub(crate) fn tell_to_end(&mut self) {
        if !std::mem::replace(&mut self.told_to_end, true) {
            self.signal("TERM");
        }
    }

    /// SIGTERM, unless it was told before, and the exit code of its last life; `None` where it did not end in
    /// time and was killed.
    pub(crate) async fn terminate(&mut self, within: Duration) -> Option<i32> {
        self.tell_to_end();
        let deadline = Instant::now() + within;
        while self.is_running() {
            if Instant::now() > deadline {
                self.kill();
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.exits.pop()
    }
}

/// The same, so that a write beyond the process's limit is an error and no signal that ends it. What is ignored
/// stays ignored over an `exec`.
fn shielded(command: &Command) -> Command {
    behind(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"], command)
}

/// The same command, run by the one that `words` begin.
pub(crate) fn behind(words: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(words.first().copied().unwrap_or("env"));
    outer.args(words.iter().skip(1)).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}
