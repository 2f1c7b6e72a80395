//! When a job counts as hung: nobody completes anything, and somebody waits.

use std::time::{Duration, Instant};

/// Watches over the progress of a job.
#[derive(Debug)]
pub(crate) struct HangWatch {
    limit: Duration,
    progress: u64,
    since: Instant,
}

impl HangWatch {
    /// A job hangs if it makes no progress for `limit`.
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            progress: 0,
            since: now,
        }
    }

    /// When to look next.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let often = Duration::from_millis(10)..=Duration::from_secs(1);
        now + (self.limit / 20).clamp(*often.start(), *often.end())
    }

    /// Whether the job hangs. `progress` grows whenever a rank begins or ends a collective;
    /// `longest_wait` is asked only if it has not.
    pub(crate) fn is_hung(
        &mut self,
        progress: u64,
        now: Instant,
        longest_wait: impl FnOnce() -> Option<Duration>,
    ) -> bool {
        if progress != self.progress {
            self.progress = progress;
            self.since = now;
        }
        now.duration_since(self.since) >= self.limit
            && longest_wait().is_some_and(|wait| wait >= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::HangWatch;
    use std::time::{Duration, Instant};

    #[test]
    fn only_a_wait_without_any_progress_is_a_hang() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut watch = HangWatch::new(10 * second, start);
        let waits = |seconds: u32| move || Some(seconds * second);
        // Somebody has waited long, but the others get on.
        assert!(!watch.is_hung(1, start + 9 * second, waits(9)));
        assert!(!watch.is_hung(2, start + 18 * second, waits(18)));
        // Nobody gets on, but nobody waits: all compute.
        assert!(!watch.is_hung(2, start + 40 * second, || None));
        assert!(!watch.is_hung(2, start + 41 * second, waits(1)));
        assert!(watch.is_hung(2, start + 50 * second, waits(10)));
    }
}
