//! Ranks as processes, driven by lines over their standard streams.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use crate::{job_name, left_behind, patience};

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
            "COBRE_SHM_WAIT",
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
        }
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
            match self.lines.recv_timeout(patience()) {
                Ok(Line { error, text }) => {
                    self.heard += &format!("{} {text}\n", if error { "!" } else { ">" });
                    if !error {
                        return Some(text);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.fail(&format!("silent for {:?}", patience()));
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
            match self.lines.recv_timeout(patience()) {
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

    /// Waits until it sleeps in the kernel: what it does now can only be ended from outside.
    ///
    /// # Panics
    /// If it does not within [`patience`], or ends.
    pub fn until_asleep(&mut self) {
        let stat = format!("/proc/{}/stat", self.pid());
        let begin = std::time::Instant::now();
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
        let begin = std::time::Instant::now();
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
        let (pid, begin) = (self.pid(), std::time::Instant::now());
        let before = naps(pid).unwrap_or(0);
        while begin.elapsed() < patience() {
            if naps(pid).is_some_and(|now| now >= before + times) {
                return;
            }
            std::thread::yield_now();
        }
        self.fail("does not nap");
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

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A job whose ranks are started by hand, without a launcher.
#[derive(Debug)]
pub struct Job {
    program: String,
    name: String,
    ranks: Vec<Vec<String>>,
    variables: Vec<(String, String)>,
}

impl Job {
    /// As many ranks of `program`, with the same arguments.
    #[must_use]
    pub fn of<A: AsRef<str>>(program: &str, ranks: usize, arguments: &[A]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| a.as_ref().to_owned()).collect();
        Self::ranks(program, vec![arguments; ranks])
    }

    /// One rank of `program` for each list of arguments.
    #[must_use]
    pub fn ranks(program: &str, ranks: Vec<Vec<String>>) -> Self {
        Self {
            program: program.to_owned(),
            name: job_name(),
            ranks,
            variables: Vec::new(),
        }
    }

    /// Sets a variable for every rank.
    #[must_use]
    pub fn env(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command that starts one rank.
    #[must_use]
    pub fn command(&self, rank: usize) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.ranks[rank])
            .env("COBRE_SHM_NAME", &self.name)
            .env("COBRE_SHM_RANK", rank.to_string())
            .env("COBRE_SHM_SIZE", self.ranks.len().to_string())
            .env("COBRE_SHM_ATTACH_TIMEOUT", "50")
            .envs(self.variables.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts one rank.
    #[must_use]
    pub fn start_rank(&self, rank: usize) -> Process {
        Process::start(&format!("rank {rank}"), &mut self.command(rank))
    }

    /// Starts every rank.
    #[must_use]
    pub fn start(&self) -> Vec<Process> {
        (0..self.ranks.len())
            .map(|rank| self.start_rank(rank))
            .collect()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(left_behind(&self.name), [""; 0], "left in /dev/shm");
        }
    }
}
