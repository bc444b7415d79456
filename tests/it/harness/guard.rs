//! Child processes that do not outlive the tests, however the tests end.

use std::process::{Child, Command, Stdio};

/// A shell that waits for its standard input to close, which the kernel does when the test process ends (also by
/// SIGKILL), and then runs a script. (`PR_SET_PDEATHSIG` would fire when the *thread* that started the child ends:
/// each test is a thread.)
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// `words` are `$1`, `$2`, … of the script.
    pub(crate) fn start(script: &str, words: &[&str]) -> std::io::Result<Self> {
        Command::new("sh")
            .args(["-c", &format!("trap '' INT TERM; read -r _; {script}"), "watchdog"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// What the end of the test process comes to.
    pub(crate) fn let_go(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Ends without running its script.
    pub(crate) fn call_off(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A child process and its watchdog.
pub(crate) struct Guarded {
    child: Child,
    watchdog: Watchdog,
}

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let mut child = command.spawn()?;
        let pid = child.id().to_string();
        let watchdog = Watchdog::start("kill -9 \"$1\" 2>/dev/null", &[&pid]).inspect_err(|_| {
            let _ = child.kill();
        })?;
        Ok(Self { child, watchdog })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name} {} failed", self.child.id());
        // A signal to stop is obeyed a moment later: what is looked at then should be at rest.
        let stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
            stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'))
        };
        let started = std::time::Instant::now();
        while name == "STOP" && !stopped() && started.elapsed().as_secs() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// The exit code, where it has ended. A process that a signal ended has 128 + the signal, as in a shell.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.try_wait().expect("the child can be waited for")?;
        status.code().or_else(|| status.signal().map(|s| 128 + s))
    }

    pub(crate) fn kill(&mut self) {
        self.watchdog.call_off();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}
