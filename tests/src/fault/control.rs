//! The controller's side: it starts the ranks, and meets one of them at a point.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kind::Fault;
use super::rank::VARIABLE;
use super::told::{Told, now};
use crate::{End, Job, Process, patience};

/// The programs that a controller starts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `cobre-launch`.
    pub launcher: PathBuf,
    /// `workload-rank`.
    pub rank: PathBuf,
}

impl Programs {
    /// Those that lie beside this program, as Cargo builds them.
    ///
    /// # Panics
    /// If this program's own place is not known.
    #[must_use]
    pub fn beside_this() -> Self {
        let this = std::env::current_exe().expect("the path of this program");
        Self {
            launcher: this.with_file_name("launch"),
            rank: this.with_file_name("workload-rank"),
        }
    }
}

/// A place where a rank will stop and ask.
#[derive(Debug)]
pub(super) struct Ambush {
    name: String,
    listener: UnixListener,
    rank: usize,
    variable: String,
}

/// A rank that has stopped at a point.
#[derive(Debug)]
pub(super) struct Caught {
    stream: UnixStream,
    pub(super) pid: u32,
}

impl Ambush {
    /// Where `rank` will stop in this step at this point.
    pub(super) fn new(rank: usize, step: &str, point: &str) -> Self {
        static USED: AtomicU64 = AtomicU64::new(0);
        let serial = USED.fetch_add(1, Ordering::Relaxed);
        let name = format!("cobre-fault-{}-{serial}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("a fresh name");
        listener.set_nonblocking(true).expect("a socket of ours");
        Self {
            variable: format!("{step} {point} {name}"),
            name,
            listener,
            rank,
        }
    }

    /// Waits for the rank to come; `None` if the job ends without it.
    ///
    /// # Panics
    /// If neither happens within [`patience`].
    pub(super) fn wait(&self, ranks: &mut Ranks) -> Option<Caught> {
        let begin = Instant::now();
        loop {
            let mut ready = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut ready, PollTimeout::from(10_u8));
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).expect("a socket of ours");
                let mut line = String::new();
                let read = BufReader::new(&stream).read_line(&mut line);
                read.expect("a rank says who it is");
                let pid = line.trim().parse().expect("a process number");
                return Some(Caught { stream, pid });
            }
            if ranks.have_ended() {
                return None;
            }
            let (name, variable) = (&self.name, &self.variable);
            assert!(
                begin.elapsed() < patience(),
                "nobody at {variable} ({name})"
            );
        }
    }
}

impl Caught {
    /// Makes it suffer; returns when (see [`now`]). A stopped one goes on when it is continued.
    pub(super) fn suffer(mut self, fault: Fault, seed: u64) -> u64 {
        let at = now();
        match fault {
            Fault::Kill => self.signal(Signal::SIGKILL),
            _ => {
                if fault == Fault::Stop {
                    self.signal(Signal::SIGSTOP);
                }
                let _ = writeln!(self.stream, "{} {seed}", fault.name());
            }
        }
        at
    }

    /// Lets it go on.
    pub(super) fn go_on(mut self) {
        let _ = writeln!(self.stream, "{} 0", Fault::Stop.name());
    }

    fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }
}

/// Sends a signal to a process that may be gone.
pub(super) fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// The ranks of one job, under a launcher or not.
#[derive(Debug)]
pub(super) struct Ranks {
    /// The launcher, or every rank.
    processes: Vec<Process>,
    size: usize,
    pub(super) launched: bool,
    /// Only in a job without a launcher; looked at for leftovers when dropped.
    job: Option<Job>,
}

impl Ranks {
    /// Starts `size` ranks that do `work` (the arguments of `workload-rank`), some of them into an
    /// ambush.
    pub(super) fn start(
        programs: &Programs,
        (size, launched): (usize, bool),
        work: &[String],
        variables: &[(&str, String)],
        ambushes: &[&Ambush],
    ) -> Self {
        let own = |rank: usize| ambushes.iter().find(move |ambush| ambush.rank == rank);
        if launched {
            let mut command = Command::new(&programs.launcher);
            for rank in 0..size {
                if rank > 0 {
                    command.arg(":");
                }
                command.args(["-n", "1"]);
                if let Some(ambush) = own(rank) {
                    command.args(["--env", &format!("{VARIABLE}={}", ambush.variable)]);
                }
                command.arg(&programs.rank).args(work);
            }
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            return Self {
                processes: vec![Process::start("the launcher", &mut command)],
                size,
                launched,
                job: None,
            };
        }
        let program = programs.rank.to_str().expect("a path in UTF-8");
        let job = Job::of(program, size, work);
        let processes = (0..size).map(|rank| {
            let mut command = job.command(rank);
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            if let Some(ambush) = own(rank) {
                command.env(VARIABLE, &ambush.variable);
            }
            Process::start(&format!("rank {rank}"), &mut command)
        });
        Self {
            processes: processes.collect(),
            size,
            launched,
            job: Some(job),
        }
    }

    /// Waits until every rank has said that it has started; their process numbers.
    pub(super) fn pids(&mut self) -> Vec<u32> {
        let each = if self.launched { self.size } else { 1 };
        for process in &mut self.processes {
            for _ in 0..each {
                while process.line().is_some_and(|line| !line.contains(" start ")) {}
            }
        }
        let heard = self.heard();
        (0..self.size)
            .filter_map(|rank| Told::by(rank, &heard).pid)
            .collect()
    }

    /// The launcher's process number, if there is one.
    pub(super) fn launcher(&self) -> Option<u32> {
        self.launched.then(|| self.processes[0].pid())
    }

    fn have_ended(&mut self) -> bool {
        self.processes.iter_mut().all(Process::has_ended)
    }

    /// Waits for everybody's end: of the launcher, or of each rank.
    pub(super) fn end(&mut self) -> Vec<End> {
        self.processes.iter_mut().map(Process::end).collect()
    }

    /// Everything that was written.
    pub(super) fn heard(&self) -> String {
        self.processes.iter().map(Process::heard).collect()
    }

    /// Waits until each of these processes sleeps in the kernel, is stopped, or is gone.
    pub(super) fn until_quiet(pids: &[u32]) {
        let begin = Instant::now();
        let mut quiet = 0;
        // More than once, because they may sleep for another reason in passing.
        while quiet < 20 {
            let all = pids.iter().all(|pid| !runs(*pid));
            quiet = if all { quiet + 1 } else { 0 };
            assert!(
                begin.elapsed() < patience(),
                "one of {pids:?} does not fall asleep"
            );
            std::thread::yield_now();
        }
    }

    /// Names of the job that are still in /dev/shm; removes them.
    pub(super) fn take_names(&mut self) -> Vec<String> {
        let heard = self.heard();
        let told = (0..self.size).map(|rank| Told::by(rank, &heard).job);
        let mut named = self.job.iter().map(|job| job.name().to_owned()).chain(told);
        let Some(name) = named.find(|name| !name.is_empty()) else {
            return Vec::new();
        };
        let left = crate::left_behind(&name);
        for name in &left {
            let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
        }
        left
    }
}

/// Whether a process runs, rather than sleeps, is stopped or has ended.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with(['R', 'D']))
}

/// Whether there is such a process, a zombie included.
pub(super) fn exists(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).unwrap_or(true)
}
