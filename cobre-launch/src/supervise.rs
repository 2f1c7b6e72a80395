//! The loop that owns the job: signals, ends of ranks, pipes and timers, one after another.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use cobre_comm_trait::FailureCause;
use cobre_shm::recording::RankRecord;

use crate::channel::RankSet;
use crate::ending::{Ending, Reason, Step};
use crate::error::LaunchError;
use crate::files::RankFiles;
use crate::guard::{Ended, Guard, Started};
use crate::hang::HangWatch;
use crate::job::{Job, Membership};
use crate::last_words::{self, Known, Report};
use crate::oom::OomKills;
use crate::output::{self, Output};
use crate::plan::Plan;
use crate::scene::{self, Doing};
use crate::signal::{Event, Signals};
use crate::stdin::{self, Broadcast};
use crate::sys::{Reaped, reap};
use crate::verdict::{End, Facts, RankEnd, decide};
use crate::{JobExit, descendants, report};

/// How often the segment is looked at while some ranks have ended and others run: whether one of
/// these waits for one of those is known there only.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
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
    /// When this attempt began.
    pub(crate) since: Instant,
    /// When the time of all attempts together is up.
    pub(crate) deadline: Option<Instant>,
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
    oom_kills: OomKills,
    hang: Option<HangWatch>,
    deadline: Option<Instant>,
    /// What each rank was doing when the end began.
    scene: Option<Vec<Doing>>,
    report: Option<Report>,
    received: Vec<Signal>,
    ranks: Vec<Rank>,
    output: Output,
    stdin: Broadcast,
    started: Instant,
    ending: Option<Ending>,
    /// All ranks have ended, nothing that they started is left, and their pipes are empty.
    over: bool,
    /// What the launcher ends with, once that is decided.
    exit: Option<JobExit>,
    /// What ranks wrote could not be written: the job does not end with 0.
    output_lost: bool,
    /// The user does not want to wait for the rest of the output.
    impatient: bool,
}

#[derive(Clone, Copy, Debug)]
enum Ready {
    Signals,
    Guard,
    Output(output::Ready),
    Stdin(stdin::Ready),
}

impl<'a> Supervisor<'a> {
    /// Takes over the ranks that have been started.
    pub(crate) fn new(attempt: Attempt<'a>, signals: &'a mut Signals) -> Result<Self, LaunchError> {
        let Attempt { plan, since, .. } = attempt;
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
        Ok(Self {
            plan,
            number: attempt.number,
            job: attempt.job,
            guard: attempt.guard,
            signals,
            oom_kills: attempt.oom_kills,
            hang: plan.hang_after.map(|limit| HangWatch::new(limit, since)),
            deadline: attempt.deadline,
            scene: None,
            report: None,
            received: Vec::new(),
            ranks,
            output: Output::new(plan, pipes, attempt.files).map_err(failed())?,
            stdin: Broadcast::new(inputs).map_err(failed())?,
            started: since,
            ending: None,
            over: false,
            exit: None,
            output_lost: false,
            impatient: false,
        })
    }

    /// Watches until the job is over and everything has been said.
    pub(crate) fn run(mut self) -> Result<Finished, LaunchError> {
        self.say_verbose(|this| {
            let pids = this.ranks.iter().map(|rank| rank.pid.as_raw());
            report::begin(this.plan, &this.job.name, pids)
        });
        loop {
            let now = Instant::now();
            let next = self.timers(now);
            if !self.over && self.ranks.iter().all(|rank| rank.end.is_some()) {
                self.guard.finish();
                self.job.remove_name();
                self.output.finish(now);
                self.stdin = Broadcast::default();
                self.over = true;
                self.exit = Some(self.conclude());
            }
            if let Some(exit) = self.exit
                && (self.output.is_idle() || self.impatient)
            {
                return Ok(self.finished(exit));
            }
            for ready in self.wait(next)? {
                self.handle(ready);
            }
        }
    }

    fn finished(mut self, exit: JobExit) -> Finished {
        let exit = match exit {
            JobExit::Success if self.output_lost => JobExit::Launcher,
            exit => exit,
        };
        if let Some(report) = &mut self.report {
            report.set_exit(exit);
        }
        Finished {
            exit,
            may_restart: self.may_restart(),
            records: self.job.records(),
            report: self.report,
        }
    }

    /// Whether the job failed, and nobody wanted it to end.
    fn may_restart(&self) -> bool {
        let wanted = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ];
        let reason = self.ending.as_ref().map(|ending| ending.reason);
        reason.is_some_and(Reason::calls_for_a_restart)
            && !self.received.iter().any(|signal| wanted.contains(signal))
    }

    /// Waits until something is ready, or `until`.
    fn wait(&self, until: Option<Instant>) -> Result<Vec<Ready>, LaunchError> {
        let mut whats = vec![Ready::Signals];
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(guard) = self.guard.interest() {
            whats.push(Ready::Guard);
            fds.push(PollFd::new(guard, PollFlags::POLLIN));
        }
        for (what, fd, events) in self.output.interests() {
            whats.push(Ready::Output(what));
            fds.push(PollFd::new(fd, events));
        }
        for (what, fd, events) in self.stdin.interests() {
            whats.push(Ready::Stdin(what));
            fds.push(PollFd::new(fd, events));
        }
        let timeout = match until {
            None => PollTimeout::NONE,
            // Rounded up, so that the timer is due when the wait is over.
            Some(until) => {
                let rest = until.saturating_duration_since(Instant::now());
                let millis = rest.as_micros().div_ceil(1000);
                PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(LaunchError::system("waiting for the ranks")(errno)),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let ready = whats.into_iter().zip(&fds).filter(|(_, fd)| ready(fd));
        Ok(ready.map(|(what, _)| what).collect())
    }

    fn handle(&mut self, ready: Ready) {
        let now = Instant::now();
        match ready {
            Ready::Signals => {
                while let Some(event) = self.signals.next(now) {
                    self.handle_signal(event, now);
                }
            }
            Ready::Guard => self.hear_guard(now),
            Ready::Output(what) => {
                if let Err(error) = self.output.handle(what, now) {
                    self.stdout_failed(&error, now);
                }
            }
            Ready::Stdin(what) => self.stdin.handle(what),
        }
    }

    fn handle_signal(&mut self, event: Event, now: Instant) {
        match event {
            Event::Children => self.reap(now),
            Event::Stop { everybody_has_it } => {
                if !everybody_has_it {
                    self.guard
                        .signal(Signal::SIGTSTP, self.those(|_| true), false);
                }
                self.signals.stop();
            }
            Event::Continued => {
                self.guard
                    .signal(Signal::SIGCONT, self.those(|_| true), false);
                if let Some(hang) = &mut self.hang {
                    hang.restart(now);
                }
            }
            Event::KillNow => {
                self.impatient |= self.over;
                match &mut self.ending {
                    Some(ending) => ending.now(now),
                    None => self.begin_end(Reason::Interrupt, now),
                }
            }
            Event::Job {
                signal,
                everybody_has_it,
            } => {
                self.impatient |= self.over;
                self.received.push(signal);
                if signal == Signal::SIGQUIT {
                    self.say_who_is_where(now);
                }
                if !everybody_has_it {
                    self.guard.signal(signal, self.those(|_| true), false);
                }
            }
        }
    }

    /// Before anybody acts on the signal that asks for it.
    fn say_who_is_where(&mut self, now: Instant) {
        let after = now.duration_since(self.started).as_secs_f64();
        let stand = last_words::stand(&self.job.scene());
        self.output.say(&format!(
            "cobre-launch: SIGQUIT {after:.1} s after the start; what each rank is doing:\n{stand}"
        ));
    }

    fn stdout_failed(&mut self, error: &std::io::Error, now: Instant) {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPIPE | Errno::EIO) => {
                self.begin_end(Reason::BrokenPipe, now);
                if self.exit == Some(JobExit::Success) {
                    self.exit = Some(JobExit::BrokenPipe);
                }
            }
            _ => {
                self.output_lost = true;
                self.output.say(&format!(
                    "cobre-launch: standard output is cut short: {error}\n"
                ));
            }
        }
    }

    /// Does what is due, and returns when to look again.
    fn timers(&mut self, now: Instant) -> Option<Instant> {
        if self.over {
            return None;
        }
        let prompts = self.output.relay_prompts(now);
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
            self.signal_ranks(step);
        }
        [
            prompts,
            timeout.filter(|_| self.ending.is_none()),
            (watched && self.ending.is_none()).then(|| now + TICK),
            hang.filter(|_| running && self.ending.is_none()),
            self.ending.as_ref().and_then(Ending::next),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn hangs(&mut self, now: Instant) -> bool {
        let job = &self.job;
        let hang = self.hang.as_mut().filter(|_| self.ending.is_none());
        hang.is_some_and(|hang| {
            let longest_wait = || scene::longest_wait(&job.scene());
            hang.is_hung(job.progress(), now, longest_wait)
        })
    }

    fn signal_ranks(&mut self, step: Step) {
        let failure = self
            .ending
            .as_ref()
            .is_some_and(|e| e.reason == Reason::Failure);
        let (signal, whom) = match step {
            // Its collective tells a joined rank, which may be cleaning up already.
            Step::Terminate if failure => (
                Signal::SIGTERM,
                self.those(|rank| !self.job.is_joined(rank)),
            ),
            Step::Terminate => (Signal::SIGTERM, self.those(|_| true)),
            Step::Kill => (Signal::SIGKILL, self.those(|_| true)),
        };
        self.guard.signal(signal, whom, true);
    }

    /// Those of the ranks that still run.
    fn those(&self, which: impl Fn(usize) -> bool) -> RankSet {
        let ranks = self.ranks.iter().enumerate();
        let running = ranks.filter(|(rank, state)| state.end.is_none() && which(*rank));
        running.map(|(rank, _)| rank).collect()
    }

    /// Takes note of the ranks that have ended.
    fn hear_guard(&mut self, now: Instant) {
        let mut ended = Vec::new();
        while let Some(end) = self.guard.next() {
            self.record(end, now);
            ended.push(end.rank);
        }
        for rank in ended {
            let end = self.ranks[rank].end;
            if let Some(cause) = end.and_then(|end| end.failure()) {
                self.rank_failed(rank, cause, now);
            }
        }
        if self.ending.is_none() {
            self.look_at_segment(now);
        }
    }

    /// The only child is the guard, as long as it lives.
    fn reap(&mut self, now: Instant) {
        while let Reaped::Child(pid, _) = reap() {
            if pid == self.guard.pid {
                self.guard_lost(now);
            }
        }
    }

    /// Nothing would end the job if this process were killed too: it does not go on. The kernel has
    /// killed the ranks with the guard, and given the rest to this process.
    fn guard_lost(&mut self, now: Instant) {
        self.hear_guard(now);
        self.guard.forget();
        self.begin_end(Reason::GuardLost, now);
        descendants::kill_all();
        for rank in 0..self.ranks.len() {
            if self.ranks[rank].end.is_none() {
                let end = Ended {
                    rank,
                    status: ExitStatus::from_raw(Signal::SIGKILL as i32),
                    by_launcher: true,
                };
                self.record(end, now);
            }
        }
    }

    fn record(&mut self, ended: Ended, now: Instant) {
        let Ended { rank, status, .. } = ended;
        let state = &mut self.ranks[rank];
        let end = RankEnd {
            rank,
            pid: state.pid.as_raw(),
            end: match status.signal() {
                Some(signal) => End::Signal(signal),
                None => End::Code(status.code().unwrap_or_default()),
            },
            at: now.duration_since(self.started),
            membership: self.job.membership(rank),
            saw_failure: self.job.saw_failure(rank),
            by_launcher: ended.by_launcher,
        };
        state.end = Some(end);
        if let End::Code(code) = end.end {
            self.job
                .report_exit(rank, state.pid.as_raw().unsigned_abs(), code);
        }
        self.say_verbose(|_| report::ended(&end));
    }

    /// Looks for failures that only the segment knows of.
    fn look_at_segment(&mut self, now: Instant) {
        if self.job.first_failure().is_some() {
            self.begin_end(Reason::Failure, now);
            return;
        }
        // Ranks that have joined wait for all others: one that has ended without will never come.
        let never_came = self.ranks.iter().enumerate().find_map(|(rank, state)| {
            let absent = self.job.membership(rank) == Membership::Absent;
            match state.end?.end {
                End::Code(code) if absent => Some((rank, code)),
                _ => None,
            }
        });
        let Some((rank, code)) = never_came else {
            return;
        };
        let somebody_waits = self
            .ranks
            .iter()
            .enumerate()
            .any(|(rank, state)| state.end.is_none() && self.job.is_joined(rank));
        if somebody_waits {
            self.rank_failed(rank, FailureCause::Exited(Some(code)), now);
        }
    }

    fn rank_failed(&mut self, rank: usize, cause: FailureCause, now: Instant) {
        // Before the others are told.
        self.look_around();
        // A rank's own process may be a shell around the process that joined.
        let pid = match self.job.membership(rank) {
            Membership::Joined { pid } => pid,
            _ => self.ranks[rank].pid.as_raw().unsigned_abs(),
        };
        self.job.report_failure(rank, pid, cause);
        self.begin_end(Reason::Failure, now);
    }

    /// Begins to end the job, unless that has begun.
    fn begin_end(&mut self, reason: Reason, now: Instant) {
        if self.ending.is_none() {
            self.look_around();
            self.ending = Some(Ending::new(reason, now, self.plan.kill_grace));
        }
    }

    /// Notes what each rank is doing, the first time that something is wrong.
    fn look_around(&mut self) {
        self.scene.get_or_insert_with(|| self.job.scene());
    }

    /// The exit of the job, and its last words.
    fn conclude(&mut self) -> JobExit {
        let ends: Vec<RankEnd> = self.ranks.iter().filter_map(|rank| rank.end).collect();
        let told = self.job.first_failure();
        let facts = Facts {
            ends: &ends,
            told: told.as_ref(),
            ending: self
                .ending
                .as_ref()
                .map(|ending| (ending.reason, ending.since.duration_since(self.started))),
        };
        let verdict = decide(&facts);
        let known = Known {
            plan: self.plan,
            attempt: self.number,
            facts,
            verdict,
            received: &self.received,
            scene: self.scene.as_deref(),
            out_of_memory: self.oom_kills.verdict(),
            started: SystemTime::now() - self.started.elapsed(),
            output: &self.output,
        };
        let (words, report) = known.tell();
        self.report = Some(report);
        if let Some(words) = words {
            self.output.say(&words);
        }
        if self.may_restart() && self.number < self.plan.max_restarts {
            let (next, most) = (self.number + 1, self.plan.max_restarts);
            self.output.say(&format!(
                "cobre-launch: starting the job again: restart {next} of at most {most}\n"
            ));
        }
        verdict.exit
    }

    fn say_verbose(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.plan.verbose {
            let text = text(self);
            self.output.say(&text);
        }
    }
}
