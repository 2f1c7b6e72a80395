//! Who was the first cause, and the exit code that follows.
//!
//! 1. A rank that had been told of a failure before it ended is never the cause, neither is one
//!    that the launcher signalled.
//! 2. A rank is suspect if its end alone is a failure ([`RankEnd::failure`]), or if the ranks were
//!    told of it (it aborted, or others waited for it).
//! 3. Suspects that ended within a short time of the first failure count as simultaneous: a signal
//!    comes first; then an exit with 0 that others waited for, as their codes follow from it; then
//!    the lowest rank.
//! 4. If ranks go on when one fails (`--keep-going`), there is no first cause: each end counts.
//! 5. If the ranks disagreed about a call, and in no other way anybody failed, nobody is the cause.

use std::time::Duration;

use cobre_comm_trait::{CommError, FailureCause};

use crate::JobExit;
use crate::sys::Usage;
use crate::watch::ending::{Reason, SIMULTANEOUS};
use crate::watch::job::Membership;

/// The exit code of a Rust program that panicked.
const PANIC: i32 = 101;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

/// How a rank ended, and what was known of it then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RankEnd {
    pub(crate) rank: usize,
    pub(crate) pid: i32,
    pub(crate) end: End,
    /// Since the start of the job.
    pub(crate) at: Duration,
    pub(crate) membership: Membership,
    pub(crate) saw_failure: bool,
    /// The launcher had signalled it.
    pub(crate) by_launcher: bool,
    /// What it has used, unless nobody could tell.
    pub(crate) usage: Option<Usage>,
}

impl RankEnd {
    /// What this end alone means to the job: nothing, or a failure of this cause.
    pub(crate) fn failure(&self) -> Option<FailureCause> {
        if self.by_launcher {
            return None;
        }
        match (self.end, self.membership) {
            (End::Signal(signal), _) => Some(FailureCause::Signaled(signal)),
            (End::Code(_), Membership::Panicked) => Some(FailureCause::Panicked),
            (End::Code(code), Membership::Aborted) => Some(FailureCause::Exited(Some(code))),
            (End::Code(0), _) | (End::Code(_), Membership::Left) => None,
            (End::Code(PANIC), _) => Some(FailureCause::Panicked),
            (End::Code(code), Membership::Absent) => Some(FailureCause::Exited(Some(code))),
            // A member that has not left may not be waited for. The segment tells.
            (End::Code(_), _) => None,
        }
    }

    /// Whether it may be the cause of a failure that `named` names.
    fn is_suspect(&self, named: Option<usize>) -> bool {
        let suspect = named == Some(self.rank) || self.failure().is_some();
        suspect && !self.by_launcher && !self.saw_failure
    }

    /// The more telling, the smaller.
    fn weight(&self) -> u8 {
        match self.end {
            End::Signal(_) => 0,
            End::Code(0) => 1,
            End::Code(_) => 2,
        }
    }
}

/// Everything that is known when the last rank has ended.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// One per rank, in rank order.
    pub(crate) ends: &'a [RankEnd],
    /// What the ranks were told.
    pub(crate) told: Option<&'a CommError>,
    /// Why and when the launcher began to end the job, if it had to.
    pub(crate) ending: Option<(Reason, Duration)>,
    /// A rank that fails ends nobody else.
    pub(crate) keep_going: bool,
}

/// What the job comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) exit: JobExit,
    /// The rank that failed first.
    pub(crate) cause: Option<usize>,
}

/// The rank that a failure is about.
pub(crate) fn named(told: Option<&CommError>) -> Option<usize> {
    match told? {
        CommError::RankFailed { rank, .. }
        | CommError::Aborted { rank, .. }
        | CommError::Corrupted { rank, .. } => Some(*rank),
        CommError::PeerRejected { call } => Some(call.rank),
        _ => None,
    }
}

/// Decides.
pub(crate) fn decide(facts: &Facts<'_>) -> Verdict {
    let cause = match facts.ending {
        Some((Reason::Failure, since)) => {
            let named = named(facts.told);
            facts
                .ends
                .iter()
                .filter(|end| end.is_suspect(named) && end.at <= since + SIMULTANEOUS)
                .min_by_key(|end| (end.weight(), end.rank))
        }
        _ => None,
    };
    Verdict {
        exit: exit(facts, cause),
        cause: cause.map(|end| end.rank),
    }
}

fn exit(facts: &Facts<'_>, cause: Option<&RankEnd>) -> JobExit {
    match facts.ending {
        Some((Reason::Hang, _)) => return JobExit::Hang,
        Some((Reason::Timeout, _)) => return JobExit::Timeout,
        Some((Reason::BrokenPipe, _)) => return JobExit::BrokenPipe,
        Some((Reason::GuardLost, _)) => return JobExit::Launcher,
        _ => {}
    }
    if facts.keep_going && facts.ending.is_none() {
        let exits = facts.ends.iter().map(|end| exit_of(end.end));
        return exits
            .max_by_key(|exit| exit.code())
            .unwrap_or(JobExit::Success);
    }
    if let Some(code) = common_code(facts.ends) {
        return JobExit::from_code(code);
    }
    if let Some(cause) = cause {
        return match (cause.end, facts.told) {
            (_, Some(CommError::Aborted { rank, code })) if *rank == cause.rank => failed(*code),
            (End::Signal(signal), _) => JobExit::Signal(signal),
            (End::Code(code), _) => failed(code),
        };
    }
    let lowest = facts
        .ends
        .iter()
        .filter(|end| !end.by_launcher)
        .find(|end| end.end != End::Code(0));
    match (lowest.map(|end| end.end), facts.ending) {
        (_, Some((Reason::Interrupt, _))) => JobExit::Signal(libc::SIGINT),
        (Some(End::Code(code)), None) => JobExit::from_code(code),
        (Some(End::Code(code)), Some(_)) => failed(code),
        (Some(End::Signal(signal)), _) => JobExit::Signal(signal),
        (None, None) => JobExit::Success,
        (None, Some(_)) => JobExit::Launcher,
    }
}

fn exit_of(end: End) -> JobExit {
    match end {
        End::Code(code) => JobExit::from_code(code),
        End::Signal(signal) => JobExit::Signal(signal),
    }
}

/// The code, other than 0, with which all ended.
pub(crate) fn common_code(ends: &[RankEnd]) -> Option<i32> {
    let code_of = |end: &RankEnd| match end.end {
        End::Code(code) => Some(code),
        End::Signal(_) => None,
    };
    let code = code_of(ends.first()?).filter(|&code| code != 0)?;
    ends.iter()
        .all(|end| code_of(end) == Some(code))
        .then_some(code)
}

/// A job that failed does not end with 0, whatever the cause's code.
fn failed(code: i32) -> JobExit {
    match JobExit::from_code(code) {
        JobExit::Success => JobExit::Launcher,
        exit => exit,
    }
}

#[cfg(test)]
mod tests;
