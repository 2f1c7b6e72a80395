//! How a job that goes on is brought to its end: SIGTERM, a grace, SIGKILL; and then it is over,
//! also for those that cannot be killed.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Failures within this time of the first one count as simultaneous, and nobody is terminated
/// before it is over, so that the verdict does not depend on who is fastest.
pub(crate) const SIMULTANEOUS: Duration = Duration::from_millis(100);

/// How long a process that was sent SIGKILL is waited for: longer than the kernel needs, unless it
/// hangs in there or belongs to another user.
const UNKILLABLE: Duration = Duration::from_secs(5);

/// A longer grace is this one: it can be added to any time.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// Why the launcher ends the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// A rank failed.
    Failure,
    /// No rank made progress for `--hang-after`.
    Hang,
    /// `--timeout` passed.
    Timeout,
    /// Nobody reads standard output any more.
    BrokenPipe,
    /// The user wants it now.
    Interrupt,
    /// The guard was killed.
    GuardLost,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// SIGTERM to those that do not learn of it otherwise.
    Terminate,
    /// SIGKILL to everything that is left.
    Kill,
    /// Nothing more: who is left stays.
    GiveUp,
}

/// The end of a job, step by step.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Reason,
    /// When it began, on the machine's clock, for reports.
    pub(crate) since: Instant,
    terminate_at: Option<Instant>,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
}

impl Reason {
    /// Whether another attempt may do better: nobody wanted the job to end.
    pub(crate) fn calls_for_a_restart(self) -> bool {
        matches!(self, Self::Failure | Self::Hang)
    }
}

impl Ending {
    pub(crate) fn new(reason: Reason, now: Instant, grace: Duration) -> Self {
        let grace = grace.min(FOR_EVER);
        let terminate_at = match reason {
            Reason::Failure => Some(now + SIMULTANEOUS.min(grace)),
            Reason::Hang | Reason::Timeout | Reason::BrokenPipe => Some(now),
            Reason::Interrupt | Reason::GuardLost => None,
        };
        let kill_at = match reason {
            Reason::Interrupt | Reason::GuardLost => now,
            Reason::Failure | Reason::Hang | Reason::Timeout | Reason::BrokenPipe => now + grace,
        };
        Self {
            reason,
            since: Instant::now(),
            terminate_at,
            kill_at: Some(kill_at),
            give_up_at: None,
        }
    }

    /// Leaves out what grace remains.
    pub(crate) fn now(&mut self, now: Instant) {
        self.terminate_at = None;
        if self.kill_at.is_some() {
            self.kill_at = Some(now);
        }
    }

    /// When the next step is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.terminate_at.or(self.kill_at).or(self.give_up_at)
    }

    /// The step that is due; each comes once.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Step> {
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.terminate_at = None;
            self.give_up_at = Some(now + UNKILLABLE);
            return Some(Step::Kill);
        }
        if self.terminate_at.is_some_and(|at| at <= now) {
            self.terminate_at = None;
            return Some(Step::Terminate);
        }
        if self.give_up_at.is_some_and(|at| at <= now) {
            self.give_up_at = None;
            return Some(Step::GiveUp);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Reason, SIMULTANEOUS, Step, UNKILLABLE};
    use std::time::{Duration, Instant};

    #[test]
    fn a_failure_terminates_after_the_simultaneous_ones_and_kills_after_the_grace() {
        let start = Instant::now();
        let grace = Duration::from_secs(2);
        let mut ending = Ending::new(Reason::Failure, start, grace);
        assert_eq!(ending.due(start), None);
        assert_eq!(ending.due(start + SIMULTANEOUS), Some(Step::Terminate));
        assert_eq!(ending.due(start + SIMULTANEOUS), None);
        assert_eq!(ending.next(), Some(start + grace));
        let killed = start + grace;
        assert_eq!(ending.due(killed), Some(Step::Kill));
        assert_eq!(ending.due(killed), None);
        assert_eq!(ending.next(), Some(killed + UNKILLABLE));
        assert_eq!(ending.due(killed + UNKILLABLE), Some(Step::GiveUp));
        assert_eq!(ending.next(), None);
    }

    #[test]
    fn a_grace_may_be_as_long_as_anybody_likes() {
        let start = Instant::now();
        let mut ending = Ending::new(Reason::Timeout, start, Duration::MAX);
        assert_eq!(ending.due(start), Some(Step::Terminate));
        assert_eq!(ending.due(start), None);
        assert!(ending.next() > Some(start + Duration::from_secs(1 << 31)));
    }

    #[test]
    fn an_interrupt_kills_at_once_also_within_another_ending() {
        let start = Instant::now();
        let grace = Duration::from_secs(2);
        let mut ending = Ending::new(Reason::Interrupt, start, grace);
        assert_eq!(ending.due(start), Some(Step::Kill));
        let mut ending = Ending::new(Reason::Timeout, start, grace);
        assert_eq!(ending.due(start), Some(Step::Terminate));
        ending.now(start);
        assert_eq!(ending.due(start), Some(Step::Kill));
    }
}
