//! Runs the real launcher, under a watchdog.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::print_stderr, clippy::unwrap_used)]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use cobre_comm_trait::Communicator;
use cobre_shm::ShmComm;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Only a hang takes so long.
const HANG: Duration = Duration::from_secs(120);

/// What a finished launcher left.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The lines of standard output, sorted: ranks write in any order.
    pub fn sorted(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.stdout.lines().collect();
        lines.sort_unstable();
        lines
    }

    /// Standard error without the line that says when it happened.
    pub fn stderr_without_times(&self) -> String {
        let lines = self.stderr.split_inclusive('\n');
        let is_time =
            |line: &str| line.starts_with("  at 2") && line.ends_with(" after the start\n");
        lines.filter(|line| !is_time(line)).collect()
    }

    /// The same, with the number after each `pid ` as `PID`.
    pub fn stderr_without_pids(&self) -> String {
        let text = self.stderr_without_times();
        let mut parts = text.split("(pid ");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str("(pid PID");
            text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        text
    }
}

/// A launcher that runs.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    seen: String,
    disarm: mpsc::Sender<()>,
}

/// `cobre-launch` with these arguments.
pub fn launcher<A: AsRef<OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cobre-launch"));
    command
        .args(args)
        .env_remove("OMP_NUM_THREADS")
        .env_remove("RAYON_NUM_THREADS")
        .env_remove("RUST_BACKTRACE")
        .env("COLUMNS", "100");
    command
}

/// The same with signals at their defaults, whatever started the tests.
pub fn signal_launcher<A: AsRef<OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT,QUIT,HUP,TERM,USR1,USR2,TSTP,CONT"])
        .arg(env!("CARGO_BIN_EXE_cobre-launch"))
        .args(args);
    command
}

const ROLE: &str = "COBRE_TEST_ROLE";

/// For a test named `rank`, which does nothing unless [`rank_of`] starts it as a rank.
pub fn play(roles: &[(&str, fn())]) {
    let Ok(wanted) = std::env::var(ROLE) else {
        return;
    };
    let (_, role) = roles.iter().find(|(name, _)| *name == wanted).unwrap();
    role();
}

/// The words of a command line that start `ranks` ranks with this role.
pub fn rank_of(role: &str, ranks: &str, options: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let role = format!("{ROLE}={role}");
    let program = program.to_str().unwrap();
    let before = ["-n", ranks, "--env", &role].into_iter();
    let words = before.chain(options.iter().copied());
    let words = words.chain([program, "--exact", "rank", "--nocapture"]);
    words.map(str::to_owned).collect()
}

/// A rank that has joined, with all others.
pub fn join() -> ShmComm {
    let comm = cobre_shm::init().unwrap();
    comm.barrier().unwrap();
    comm
}

/// Starts the launcher with this command line of a shell on a terminal of its own, which `script`
/// makes and types what it is written into; nothing if there is no `script`. No shell stays between
/// the two: one that waits for the launcher would be interrupted as well.
pub fn start_on_terminal(arguments: &str, default_signals: &str) -> Option<Running> {
    let launch = format!("exec {} {arguments}", env!("CARGO_BIN_EXE_cobre-launch"));
    start_line_on_terminal(&launch, default_signals)
}

/// Starts this command line of a shell in the same way.
pub fn start_line_on_terminal(line: &str, default_signals: &str) -> Option<Running> {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no `script` to make a terminal with");
        return None;
    }
    let mut command = Command::new("env");
    command.arg(format!("--default-signal={default_signals}"));
    command.args(["script", "-qefc", line, "/dev/null"]);
    Some(start(command))
}

/// Runs to the end, with no standard input.
pub fn run(args: &[&str]) -> Outcome {
    start(launcher(args)).finish()
}

/// Starts `command` with pipes; its watchdog kills it and names the test.
pub fn start(command: Command) -> Running {
    start_writing_to(command, Stdio::piped())
}

/// The same with this as its standard output.
pub fn start_writing_to(mut command: Command, stdout: Stdio) -> Running {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It holds our copy of the other ends.
    drop(command);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let (disarm, fuse) = mpsc::channel();
    std::thread::spawn(move || {
        if fuse.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {test} hangs; killing launcher {pid}");
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    Running {
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        child,
        seen: String::new(),
        disarm,
    }
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Writes to standard input.
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads standard output until `text` has come `times` times; returns all of it so far.
    pub fn read_until(&mut self, text: &str, times: usize) -> String {
        let stdout = self.stdout.as_mut().unwrap();
        let mut buffer = [0; 4096];
        while self.seen.matches(text).count() < times {
            let count = stdout.read(&mut buffer).unwrap();
            assert!(count > 0, "no {times} x {text:?} in {:?}", self.seen);
            self.seen
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        self.seen.clone()
    }

    /// Reads standard error until `text` has come `times` times; returns what it has read.
    pub fn read_stderr_until(&mut self, text: &str, times: usize) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while seen.matches(text).count() < times {
            let count = stderr.read(&mut buffer).unwrap();
            assert!(count > 0, "no {times} x {text:?} in {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        seen
    }

    /// Reads no more of standard output.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends its standard input, reads all output, and waits.
    pub fn finish(mut self) -> Outcome {
        self.stdin = None;
        let mut stderr = self.child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut rest = Vec::new();
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_end(&mut rest).unwrap();
        }
        let status = self.child.wait().unwrap();
        let _ = self.disarm.send(());
        let stderr = errors.join().unwrap();
        let Some(code) = status.code() else {
            panic!("the launcher was killed by {:?}: {stderr}", status.signal());
        };
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        Outcome {
            code,
            stdout: std::mem::take(&mut self.seen),
            stderr,
        }
    }
}

impl Drop for Running {
    /// A test that fails leaves no job behind: the guard sees to the ranks.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For a test in which a job with the time limit `limit` has to run for less than that, on a
/// machine that may be slow: `attempt` returns for how long it ran, and what came of it; the first
/// that ran for less counts.
pub fn within(limit: Duration, attempt: impl Fn() -> (Duration, Outcome)) -> Outcome {
    // While a job is stopped, so much may still count as running.
    let enough = limit - Duration::from_millis(500);
    let mut too_long = Vec::new();
    for _ in 0..20 {
        let (ran, outcome) = attempt();
        if ran < enough {
            return outcome;
        }
        too_long.push(ran);
    }
    panic!("the machine is too slow: {too_long:?} instead of {enough:?}");
}

/// An empty folder of this test's own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cobre-launch-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether a process has ended (a zombie has).
pub fn is_gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

/// The state of a process, as `ps` shows it.
fn state(pid: &str) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.chars().next().unwrap()
}

/// Waits until a process is in a state of that kind.
pub fn wait_for_state(pid: &str, wanted: impl Fn(char) -> bool) {
    let deadline = std::time::Instant::now() + HANG;
    while !wanted(state(pid)) {
        assert!(
            std::time::Instant::now() < deadline,
            "{pid} is {}",
            state(pid)
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The child of `parent` that has this name.
pub fn child_named(parent: Pid, name: &str) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let is_it = |child: &&str| {
        let comm = std::fs::read_to_string(format!("/proc/{child}/comm"));
        comm.is_ok_and(|comm| comm.trim() == name)
    };
    children
        .ok()?
        .split_whitespace()
        .find(is_it)
        .map(str::to_owned)
}

/// Waits for what no handshake can tell: that a process is gone.
pub fn wait_until_gone(pid: &str) {
    let deadline = std::time::Instant::now() + HANG;
    while !is_gone(pid) {
        assert!(std::time::Instant::now() < deadline, "process {pid} stays");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for what no handshake can tell: that a file has some text.
pub fn wait_for_text(path: &str) {
    let deadline = std::time::Instant::now() + HANG;
    while std::fs::read_to_string(path).unwrap_or_default().is_empty() {
        assert!(std::time::Instant::now() < deadline, "no {path}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
