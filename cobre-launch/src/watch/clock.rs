//! The clock of every limit, grace and window: it stands still while the launcher is stopped or
//! frozen.

use std::time::{Duration, Instant};

/// No wait is longer while something is timed: so much of a stop may count as time that passed.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// A wait that takes so much longer than it was to take has not been late, but stopped. A machine
/// that is merely busy wakes a process that has slept sooner.
const LATE: Duration = Duration::from_millis(200);

/// Running time: that of the machine, without the time for which the launcher was stopped (Ctrl-Z,
/// SIGSTOP) or frozen with its ranks (a paused container, the freezer of cgroups). What the machine
/// itself sleeps is not on Linux's monotonic clock either.
#[derive(Debug)]
pub(crate) struct Clock {
    woke: Instant,
    stood: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            woke: Instant::now(),
            stood: Duration::ZERO,
        }
    }

    /// When the last wait ended; to be compared only with other times of this clock.
    pub(crate) fn now(&self) -> Instant {
        self.woke - self.stood
    }

    /// A wait has ended that was to take `longest`, or any time.
    pub(crate) fn wake(&mut self, longest: Option<Duration>) {
        self.wake_at(Instant::now(), longest);
    }

    fn wake_at(&mut self, now: Instant, longest: Option<Duration>) {
        let took = now.duration_since(self.woke);
        self.woke = now;
        if let Some(longest) = longest.filter(|&longest| took > longest + LATE) {
            self.stood += took - longest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, LATE, LONGEST_WAIT};
    use std::time::Duration;

    #[test]
    fn the_clock_stands_still_while_the_launcher_does() {
        let mut clock = Clock::start();
        let begin = clock.now();
        let mut machine = begin;
        let mut wait = |took: Duration, longest: Option<Duration>| {
            machine += took;
            clock.wake_at(machine, longest);
            clock.now() - begin
        };
        let tenth = Duration::from_millis(100);
        let hour = Duration::from_secs(3600);
        // Woken early by something, on time, and late on a busy machine.
        assert_eq!(wait(tenth, Some(LONGEST_WAIT)), tenth);
        assert_eq!(wait(tenth, Some(tenth)), 2 * tenth);
        assert_eq!(wait(tenth + LATE, Some(tenth)), 3 * tenth + LATE);
        // Stopped for an hour.
        assert_eq!(wait(hour, Some(tenth)), 4 * tenth + LATE);
        // Nothing was timed.
        assert_eq!(wait(hour, None), hour + 4 * tenth + LATE);
    }
}
