//! What the end of a rank means for the others.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

use cobre_comm_trait::FailureCause;
use nix::sys::signal::Signal;

use super::Supervisor;
use crate::process::guard::Ended;
use crate::process::{child, descendants};
use crate::report;
use crate::report::verdict::{End, RankEnd};
use crate::sys::{Reaped, reap};
use crate::watch::ending::Reason;
use crate::watch::job::Membership;

impl Supervisor<'_> {
    /// Takes note of the ranks that have ended.
    pub(super) fn hear_guard(&mut self, now: Instant) {
        let mut ended = Vec::new();
        while let Some(end) = self.guard.next() {
            self.record(end);
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

    /// The guard and the witness are the only children, as long as the guard lives. That one of
    /// them has been stopped is told like an end.
    pub(super) fn look_after_children(&mut self, now: Instant) {
        while let Reaped::Child(pid, ..) = reap() {
            if pid == self.guard.pid {
                self.guard_lost(now);
            }
        }
        self.guard.keep_going();
        self.signals.keep_going();
    }

    /// Nothing would end the job if this process were killed too: it does not go on. The kernel has
    /// killed the ranks with the guard, and given the rest to this process.
    fn guard_lost(&mut self, now: Instant) {
        self.hear_guard(now);
        self.guard.forget();
        self.begin_end(Reason::GuardLost, now);
        descendants::kill_all();
        self.take_for_killed();
    }

    /// Does not wait any longer for ranks that have been sent SIGKILL and are still there.
    pub(super) fn give_up(&mut self) {
        self.guard.finish();
        let mut left = self.take_for_killed();
        // What the guard has left to this process is there; of the others only the news is missing.
        left.retain(|&rank| child::is_ours(self.ranks[rank].pid));
        self.unkilled = left;
    }

    /// Takes those of whose end nobody will tell for killed; returns them.
    fn take_for_killed(&mut self) -> Vec<usize> {
        let ranks = 0..self.ranks.len();
        let running: Vec<usize> = ranks
            .filter(|&rank| self.ranks[rank].end.is_none())
            .collect();
        for &rank in &running {
            let end = Ended {
                rank,
                status: ExitStatus::from_raw(Signal::SIGKILL as i32),
                by_launcher: true,
                usage: None,
            };
            self.record(end);
        }
        running
    }

    fn record(&mut self, ended: Ended) {
        let Ended { rank, status, .. } = ended;
        let state = &mut self.ranks[rank];
        let end = RankEnd {
            rank,
            pid: state.pid.as_raw(),
            end: match status.signal() {
                Some(signal) => End::Signal(signal),
                None => End::Code(status.code().unwrap_or_default()),
            },
            at: self.started.elapsed(),
            membership: self.job.membership(rank),
            saw_failure: self.job.saw_failure(rank),
            by_launcher: ended.by_launcher,
            usage: ended.usage,
        };
        state.end = Some(end);
        // A failure has a report of its own, which says more than the code.
        if let End::Code(code) = end.end
            && end.failure().is_none()
        {
            self.job
                .report_exit(rank, state.pid.as_raw().unsigned_abs(), code);
        }
        self.say_verbose(|_| report::ended(&end));
    }

    /// Looks for failures that only the segment knows of.
    pub(super) fn look_at_segment(&mut self, now: Instant) {
        if self.job.first_failure().is_some() || self.job.not_formed().is_some() {
            self.fail(now);
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
        self.fail(now);
    }

    /// Ends the job because of a failure, unless its ranks do without each other.
    fn fail(&mut self, now: Instant) {
        if !self.plan.keep_going {
            self.begin_end(Reason::Failure, now);
        }
    }
}
