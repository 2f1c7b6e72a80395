//! Ranks as processes, driven by lines over their standard streams.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use cobre_shm::inspect::{self, RankView};
use cobre_shm::{Activity, observer::Membership};

use crate::patience;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        let code = status.code().map(Self::Code);
        code.unwrap_or_else(|| Self::Signal(status.signal().unwrap_or_default()))
    }
}

/// A program under test; killed when dropped.
///
/// Everything it writes is kept and shown when an expectation fails. Every wait ends after
/// [`patience`] without a line.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// `None` when both streams have ended.
    lines: Receiver<Line>,
    unread: VecDeque<String>,
    heard: String,
    patience: Duration,
}

#[derive(Debug)]
struct Line {
    error: bool,
    text: String,
}

fn relay(stream: impl Read + Send + 'static, error: bool, to: Sender<Line>) {
    std::thread::spawn(move || {
        for text in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&text).into_owned();
            if to.send(Line { error, text }).is_err() {
                return;
            }
        }
    });
}

impl Process {
    /// Starts `command`; `name` is for messages. Variables of a job around this one are taken away,
    /// unless `command` sets them.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let set: Vec<_> = command.get_envs().map(|(key, _)| key.to_owned()).collect();
        for variable in [
            "COBRE_COMM_BACKEND",
            "COBRE_SHM_NAME",
            "COBRE_SHM_RANK",
            "COBRE_SHM_SIZE",
            "COBRE_SHM_LAUNCHER",
            "COBRE_SHM_STAGING",
            "COBRE_SHM_ATTACH_TIMEOUT",
            "COBRE_SHM_TIMEOUT",
            "COBRE_SHM_WAIT",
            // How wide tables are.
            "COLUMNS",
            // What says that another launcher has started the tests.
            "OMPI_COMM_WORLD_RANK",
            "PMI_RANK",
            "PMIX_RANK",
            "SLURM_STEP_ID",
            "TORCHELASTIC_RUN_ID",
        ] {
            if !set.iter().any(|key| key == variable) {
                command.env_remove(variable);
            }
        }
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let (to, lines) = channel();
        relay(child.stdout.take().expect("piped"), false, to.clone());
        relay(child.stderr.take().expect("piped"), true, to);
        Self {
            name: name.to_owned(),
            child,
            lines,
            unread: VecDeque::new(),
            heard: String::new(),
            patience: patience(),
        }
    }

    /// Every wait for a line may take this long: a program that is silent while it works.
    #[must_use]
    pub fn silent_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input. A process that has gone does not hear it.
    pub fn say(&mut self, line: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        }
    }

    /// The next line of its standard output; `None` when both streams have ended.
    ///
    /// # Panics
    /// If nothing comes for [`patience`].
    pub fn line(&mut self) -> Option<String> {
        if let Some(line) = self.unread.pop_front() {
            return Some(line);
        }
        loop {
            match self.lines.recv_timeout(self.patience) {
                Ok(Line { error, text }) => {
                    self.heard += &format!("{} {text}\n", if error { "!" } else { ">" });
                    if !error {
                        return Some(text);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.fail(&format!("silent for {:?}", self.patience));
                }
            }
        }
    }

    /// The next line of its standard error; lines of standard output before it stay to be read.
    ///
    /// # Panics
    /// If nothing comes for [`patience`], or its output ends.
    pub fn complaint(&mut self) -> String {
        loop {
            match self.lines.recv_timeout(self.patience) {
                Ok(Line { error, text }) => {
                    self.heard += &format!("{} {text}\n", if error { "!" } else { ">" });
                    if error {
                        return text;
                    }
                    self.unread.push_back(text);
                }
                Err(why) => self.fail(&format!("no complaint: {why}")),
            }
        }
    }

    /// Reads on until a line of its standard output begins with `beginning`, and returns the rest.
    ///
    /// # Panics
    /// If its output ends before.
    pub fn hear(&mut self, beginning: &str) -> String {
        loop {
            match self.line() {
                None => self.fail(&format!("never said {beginning:?}")),
                Some(line) => {
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return rest.trim().to_owned();
                    }
                }
            }
        }
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait();
        ended.expect("a child can be waited for").is_some()
    }

    /// Reads on to the end of its output and waits for it.
    ///
    /// # Panics
    /// If nothing comes for [`patience`] although it has not ended.
    pub fn end(&mut self) -> End {
        drop(self.child.stdin.take());
        let mut later = VecDeque::new();
        while let Some(line) = self.line() {
            later.push_back(line);
        }
        self.unread = later;
        End::from(self.child.wait().expect("a child can be waited for"))
    }

    /// Everything it has written so far, as far as it was read: `> ` before a line of standard
    /// output, `! ` before one of standard error.
    #[must_use]
    pub fn heard(&self) -> &str {
        &self.heard
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it is gone and reaped.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("the process can be signalled");
    }

    /// Waits until it is a rank of a job, which may still form.
    ///
    /// # Panics
    /// If it is not within [`patience`], or ends.
    pub fn until_joined(&mut self) {
        self.until("join a job", |rank| {
            matches!(rank.membership, Membership::Joined { .. })
        });
    }

    /// Waits until it waits for other ranks in a collective.
    ///
    /// # Panics
    /// If it does not within [`patience`], or ends.
    pub fn until_waiting(&mut self) {
        self.until("wait for others", |rank| {
            matches!(rank.activity, Activity::Waiting { .. })
        });
    }

    /// Waits until the control segment of its job says so of its rank.
    fn until(&mut self, what: &str, so: impl Fn(&RankView) -> bool) {
        let begin = Instant::now();
        loop {
            if self.ranks().iter().any(&so) {
                return;
            }
            if self.has_ended() || begin.elapsed() > self.patience {
                self.fail(&format!("does not {what}"));
            }
            std::thread::yield_now();
        }
    }

    /// What the control segments that it has open say of the ranks that it is.
    fn ranks(&self) -> Vec<RankView> {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let links = links.into_iter().flatten().flatten();
        let segments = links.filter_map(|link| inspect::open(&link.path()));
        let jobs = segments.filter_map(|segment| inspect::read(&segment).ok());
        let ranks = jobs.flat_map(|job| job.ranks);
        ranks.filter(|rank| rank.pid == self.pid()).collect()
    }

    /// Waits until it sleeps in the kernel, in whatever it waits for. That says nothing of what it has
    /// done before: see [`until_joined`](Self::until_joined) and [`until_waiting`](Self::until_waiting).
    ///
    /// # Panics
    /// If it does not within [`patience`], or ends.
    pub fn until_asleep(&mut self) {
        let stat = format!("/proc/{}/stat", self.pid());
        let begin = Instant::now();
        let mut asleep = 0;
        while begin.elapsed() < patience() {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            let state = text.rsplit(')').next().map(str::trim_start);
            // Twice in a row, because it may sleep for another reason in passing.
            asleep = match state {
                Some(state) if state.starts_with('S') => asleep + 1,
                Some(state) if state.starts_with('Z') => break,
                _ => 0,
            };
            if asleep == 20 {
                return;
            }
            std::thread::yield_now();
        }
        self.fail("does not fall asleep");
    }

    /// Waits until it has been stopped by a signal.
    ///
    /// # Panics
    /// If it is not within [`patience`].
    pub fn until_stopped(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < patience() {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
            let stat = stat.unwrap_or_default();
            let state = stat.rsplit(')').next().map(str::trim_start);
            if state.is_some_and(|state| state.starts_with('T')) {
                return;
            }
            std::thread::yield_now();
        }
        self.fail("is not stopped");
    }

    /// Waits until it has given up the processor of its own will `times` more: woken from a nap,
    /// and asleep again.
    ///
    /// # Panics
    /// If it does not within [`patience`].
    pub fn until_napped(&mut self, times: u64) {
        let naps = |pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse::<u64>().ok())
        };
        let (pid, begin) = (self.pid(), Instant::now());
        let before = naps(pid).unwrap_or(0);
        while begin.elapsed() < patience() {
            if naps(pid).is_some_and(|now| now >= before + times) {
                return;
            }
            std::thread::yield_now();
        }
        self.fail("does not nap");
    }

    /// Reads to the end of both its streams; its standard output and standard error.
    fn read_to_end(&mut self) -> (String, String) {
        drop(self.child.stdin.take());
        let (mut said, mut complained) = (String::new(), String::new());
        loop {
            match self.lines.recv_timeout(self.patience) {
                Ok(Line { error, text }) => {
                    self.heard += &format!("{} {text}\n", if error { "!" } else { ">" });
                    let stream = if error { &mut complained } else { &mut said };
                    *stream += &(text + "\n");
                }
                Err(RecvTimeoutError::Disconnected) => return (said, complained),
                Err(RecvTimeoutError::Timeout) => self.fail("does not end"),
            }
        }
    }

    fn fail(&mut self, why: &str) -> ! {
        let _ = self.child.kill();
        panic!(
            "{} (pid {}): {why}; it wrote\n{}",
            self.name,
            self.pid(),
            self.heard
        )
    }
}

/// Runs `command` to its end: its exit code, its standard output and its standard error, of whole lines.
///
/// # Panics
/// If it is silent for [`patience`], or a signal ends it.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let name = format!("{command:?}");
    let mut process = Process::start(&name, command);
    let (said, complained) = process.read_to_end();
    match process.end() {
        End::Code(code) => (code, said, complained),
        End::Signal(_) => process.fail("is killed"),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
