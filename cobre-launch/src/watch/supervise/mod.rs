//! The loop that owns the job: signals, ends of ranks, pipes and timers, one after another.

mod ends;
mod outcome;
mod signals;

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use cobre_shm::recording::RankRecord;

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::plan::binding::Lease;
use crate::proc;
use crate::process::guard::{Guard, Started};
use crate::process::signal::Signals;
use crate::relay::files::RankFiles;
use crate::relay::output::{self, Output};
use crate::relay::sink;
use crate::relay::stdin::{self, Broadcast};
use crate::report::attempt::Report;
use crate::report::progress::ProgressLine;
use crate::report::verdict::RankEnd;
use crate::sys::Inheritance;
use crate::watch::clock::{Clock, LONGEST_WAIT};
use crate::watch::ending::{Ending, Reason};
use crate::watch::hang::HangWatch;
use crate::watch::job::{Job, Membership};
use crate::watch::oom::OomKills;
use crate::watch::scene::{self, Doing};
use crate::watch::stacks::{self, Process};
use crate::{JobExit, report};

/// How often the segment is looked at while some ranks have ended and others run: whether one of
/// these waits for one of those is known there only.
const TICK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
struct Rank {
    pid: Pid,
    end: Option<RankEnd>,
}

/// A job whose ranks have been started.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) plan: &'a Plan,
    /// From 0.
    pub(crate) number: u32,
    pub(crate) job: Job,
    pub(crate) guard: Guard,
    pub(crate) ranks: Vec<Started>,
    pub(crate) files: Vec<RankFiles>,
    pub(crate) oom_kills: OomKills,
    /// What gdb gets back.
    pub(crate) inheritance: Inheritance,
    /// The cores of the ranks.
    pub(crate) lease: &'a Lease,
    /// When this attempt began, on the machine's clock.
    pub(crate) since: Instant,
}

/// What an attempt has come to.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) exit: JobExit,
    /// It failed, and nobody wanted it to end: it may be tried again.
    pub(crate) may_restart: bool,
    pub(crate) report: Option<Report>,
    /// What the ranks recorded, if they were to.
    pub(crate) records: Vec<Option<RankRecord>>,
}

/// Watches one job.
#[derive(Debug)]
pub(crate) struct Supervisor<'a> {
    plan: &'a Plan,
    number: u32,
    job: Job,
    guard: Guard,
    signals: &'a mut Signals,
    /// For all but reports.
    clock: &'a mut Clock,
    inheritance: Inheritance,
    lease: &'a Lease,
    oom_kills: OomKills,
    hang: Option<HangWatch>,
    progress: Option<ProgressLine>,
    deadline: Option<Instant>,
    /// What each rank was doing when the end began.
    scene: Option<Vec<Doing>>,
    report: Option<Report>,
    received: Vec<Signal>,
    /// Ranks that could not be killed.
    unkilled: Vec<usize>,
    ranks: Vec<Rank>,
    output: Output,
    stdin: Broadcast,
    /// On the machine's clock, for reports.
    started: Instant,
    ending: Option<Ending>,
    /// All ranks have ended, nothing that they started is left, and their pipes are empty.
    over: bool,
    /// What the launcher ends with, once that is decided.
    exit: Option<JobExit>,
    /// The user does not want to wait for the rest of the output.
    impatient: bool,
    /// When that is not waited for any longer, because the time is up.
    give_up_output: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Ready {
    Signals,
    Guard,
    /// Another job asks who holds a core.
    Lease,
    Output(output::Ready),
    Stdin(stdin::Ready),
}

impl<'a> Supervisor<'a> {
    /// Takes over the ranks that have been started, until `deadline`.
    pub(crate) fn new(
        attempt: Attempt<'a>,
        deadline: Option<Instant>,
        signals: &'a mut Signals,
        clock: &'a mut Clock,
    ) -> Result<Self, LaunchError> {
        let plan = attempt.plan;
        let now = clock.now();
        let mut ranks = Vec::new();
        let mut pipes = Vec::new();
        let mut inputs = Vec::new();
        for rank in attempt.ranks {
            ranks.push(Rank {
                pid: rank.pid,
                end: None,
            });
            pipes.push([rank.stdout, rank.stderr]);
            inputs.extend(rank.stdin);
        }
        let failed = || LaunchError::system("taking over the standard streams");
        let output = Output::new(plan, pipes, attempt.files).map_err(failed())?;
        let terminal = output.is_terminal();
        Ok(Self {
            plan,
            number: attempt.number,
            job: attempt.job,
            guard: attempt.guard,
            signals,
            clock,
            inheritance: attempt.inheritance,
            lease: attempt.lease,
            oom_kills: attempt.oom_kills,
            hang: plan.hang_after.map(|limit| HangWatch::new(limit, now)),
            progress: plan.progress.then(|| ProgressLine::new(terminal, now)),
            deadline,
            scene: None,
            report: None,
            received: Vec::new(),
            unkilled: Vec::new(),
            ranks,
            output,
            stdin: Broadcast::new(inputs).map_err(failed())?,
            started: attempt.since,
            ending: None,
            over: false,
            exit: None,
            impatient: false,
            give_up_output: None,
        })
    }

    /// Watches until the job is over and everything has been said.
    pub(crate) fn run(mut self) -> Result<Finished, LaunchError> {
        self.say_verbose(|this| {
            let pids = this.ranks.iter().map(|rank| rank.pid.as_raw());
            report::begin(this.plan, &this.job.name, pids)
        });
        loop {
            let now = self.clock.now();
            let next = self.timers(now);
            if !self.over && self.ranks.iter().all(|rank| rank.end.is_some()) {
                self.guard.finish();
                self.job.remove_name();
                self.output.finish(now);
                self.show_progress(now, true);
                self.stdin = Broadcast::default();
                self.over = true;
                let is_timeout = |ending: &Ending| ending.reason == Reason::Timeout;
                if self.ending.as_ref().is_some_and(is_timeout) {
                    self.give_up_output = now.checked_add(self.plan.kill_grace);
                }
                self.exit = Some(self.conclude());
            }
            let is_late = self.give_up_output.is_some_and(|at| at <= now);
            if let Some(exit) = self.exit
                && (self.output.is_idle() || self.impatient || is_late)
            {
                return Ok(self.finished(exit));
            }
            for ready in self.wait(next)? {
                self.handle(ready);
            }
        }
    }

    /// Waits until something is ready, or `until`.
    fn wait(&mut self, until: Option<Instant>) -> Result<Vec<Ready>, LaunchError> {
        let mut whats = Vec::new();
        let mut fds = Vec::new();
        for fd in self.signals.interests() {
            whats.push(Ready::Signals);
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        if let Some(guard) = self.guard.interest() {
            whats.push(Ready::Guard);
            fds.push(PollFd::new(guard, PollFlags::POLLIN));
        }
        for question in self.lease.questions() {
            whats.push(Ready::Lease);
            fds.push(PollFd::new(question, PollFlags::POLLIN));
        }
        for (what, fd, events) in self.output.interests() {
            whats.push(Ready::Output(what));
            fds.push(PollFd::new(fd, events));
        }
        for (what, fd, events) in self.stdin.interests() {
            whats.push(Ready::Stdin(what));
            fds.push(PollFd::new(fd, events));
        }
        let rest = until.map(|until| until.saturating_duration_since(self.clock.now()));
        let longest = rest.map(|rest| rest.min(LONGEST_WAIT));
        // Rounded up, so that the timer is due when the wait is over.
        let millis = longest.map(|longest| longest.as_micros().div_ceil(1000));
        let timeout = millis.map_or(PollTimeout::NONE, |millis| {
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(LaunchError::system("waiting for the ranks")(errno)),
        }
        self.clock.wake(longest);
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let ready = whats.into_iter().zip(&fds).filter(|(_, fd)| ready(fd));
        Ok(ready.map(|(what, _)| what).collect())
    }

    fn handle(&mut self, ready: Ready) {
        let now = self.clock.now();
        match ready {
            Ready::Signals => self.hear_signals(now),
            Ready::Guard => self.hear_guard(now),
            Ready::Lease => self.lease.clear(),
            Ready::Output(what) => {
                if let Err(error) = self.output.handle(what, now) {
                    self.stdout_failed(&error, now);
                }
            }
            Ready::Stdin(what) => self.stdin.handle(what),
        }
    }

    fn stdout_failed(&mut self, error: &std::io::Error, now: Instant) {
        if sink::is_unread(error) {
            self.begin_end(Reason::BrokenPipe, now);
            if self.exit == Some(JobExit::Success) {
                self.exit = Some(JobExit::BrokenPipe);
            }
        } else {
            self.output.say(&format!(
                "cobre-launch: standard output is cut short: {error}\n"
            ));
        }
    }

    /// Does what is due, and returns when to look again.
    fn timers(&mut self, now: Instant) -> Option<Instant> {
        self.hear_signals(now);
        if self.over {
            let dues = [self.signals.due(), self.give_up_output];
            return dues.into_iter().flatten().min();
        }
        let unfinished = self.output.relay_due(now);
        self.show_progress(now, false);
        let progress = self.progress.as_ref().map(ProgressLine::next);
        let running = self.ranks.iter().any(|rank| rank.end.is_none());
        let some_ended = self.ranks.iter().any(|rank| rank.end.is_some());
        let watched = running && some_ended && self.ending.is_none();
        if watched {
            self.look_at_segment(now);
        }
        let timeout = self.deadline.filter(|_| self.ending.is_none());
        if running && timeout.is_some_and(|at| at <= now) {
            self.begin_end(Reason::Timeout, now);
        }
        if running && self.hangs(now) {
            self.begin_end(Reason::Hang, now);
        }
        let hang = self.hang.as_ref().map(|hang| hang.next(now));
        if let Some(step) = self.ending.as_mut().and_then(|ending| ending.due(now)) {
            self.end_ranks(step);
        }
        [
            self.signals.due(),
            unfinished,
            progress.filter(|_| running),
            timeout.filter(|_| self.ending.is_none()),
            (watched && self.ending.is_none()).then(|| now + TICK),
            hang.filter(|_| running && self.ending.is_none()),
            self.ending.as_ref().and_then(Ending::next),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Draws how far the ranks are, if that is wanted; `last` for the last time.
    fn show_progress(&mut self, now: Instant, last: bool) {
        let job = &self.job;
        let progress = self.progress.as_mut();
        let progress = progress.filter(|progress| last || progress.next() <= now);
        let line = progress.and_then(|line| line.look(&job.told_progress(), now, last));
        if let Some(line) = line {
            self.output.draw(&line);
        }
        if last {
            self.output.end_drawing();
        }
    }

    fn hangs(&mut self, now: Instant) -> bool {
        let job = &self.job;
        let hang = self.hang.as_mut().filter(|_| self.ending.is_none());
        hang.is_some_and(|hang| {
            let longest_wait = || scene::longest_wait(&job.scene());
            hang.is_hung(job.progress(), now, longest_wait)
        })
    }

    /// Begins to end the job, unless that has begun.
    fn begin_end(&mut self, reason: Reason, now: Instant) {
        if self.ending.is_none() {
            self.look_around();
            let mut now = now;
            if self.plan.stacks && matches!(reason, Reason::Hang | Reason::Timeout) {
                self.say_stacks();
                // The grace is for the ranks.
                self.clock.wake(None);
                now = self.clock.now();
            }
            self.ending = Some(Ending::new(reason, now, self.plan.kill_grace));
        }
    }

    /// Notes what each rank is doing, the first time that something is wrong.
    fn look_around(&mut self) {
        if self.scene.is_none() {
            self.scene = Some(self.current_scene());
        }
    }

    /// Where the threads of the ranks are.
    fn say_stacks(&mut self) {
        let ranks = self.ranks.iter().enumerate();
        let running = ranks.filter(|(_, state)| state.end.is_none());
        let processes = running.map(|(rank, _)| Process {
            rank,
            pid: self.process_of(rank),
        });
        let processes: Vec<Process> = processes.collect();
        let stacks = stacks::of(&processes, self.plan.cores, self.inheritance);
        self.output.say(&format!(
            "cobre-launch: the stacks of the ranks, by gdb:\n{stacks}"
        ));
    }

    /// The process that has joined as `rank`: that of the rank, or one that it has started. The
    /// number that a rank has written down is not trusted: it may be of another PID namespace, or
    /// overwritten.
    fn process_of(&self, rank: usize) -> Pid {
        let own = self.ranks[rank].pid;
        let Membership::Joined { pid } = self.job.membership(rank) else {
            return own;
        };
        let joined = Pid::from_raw(pid.cast_signed());
        let is_its = proc::ancestors(joined).any(|ancestor| ancestor == own);
        if is_its { joined } else { own }
    }

    /// What each rank is doing now.
    fn current_scene(&self) -> Vec<Doing> {
        let mut scene = self.job.scene();
        for (rank, doing) in scene.iter_mut().enumerate() {
            let Rank { pid, end } = self.ranks[rank];
            let its = [pid, self.process_of(rank)];
            doing.set_stopped(end.is_none() && its.into_iter().any(proc::is_stopped));
        }
        scene
    }

    fn say_verbose(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.plan.verbose {
            let text = text(self);
            self.output.say(&text);
        }
    }
}
