//! How long this process has waited, on a clock that stands still while it is stopped or frozen.

use core::{cell::Cell, time::Duration};
use std::time::Instant;

/// A wait in naps. Each counts for its length at most: what a nap took longer (the job was suspended,
/// its container paused) is time in which nobody could have come.
#[derive(Debug)]
pub(crate) struct Waited {
    looked: Cell<Instant>,
    time: Cell<Duration>,
}

impl Waited {
    pub(crate) fn begin() -> Self {
        Self {
            looked: Cell::new(Instant::now()),
            time: Cell::new(Duration::ZERO),
        }
    }

    /// Since the beginning, if no nap was to take more than `longest`. To be asked after each.
    pub(crate) fn time(&self, longest: Duration) -> Duration {
        let now = Instant::now();
        let nap = now.duration_since(self.looked.replace(now));
        self.time.set(self.time.get() + nap.min(longest));
        self.time.get()
    }
}

#[cfg(test)]
mod tests {
    use super::Waited;
    use core::time::Duration;
    use std::time::Instant;

    #[test]
    fn a_nap_that_was_interrupted_by_a_stop_counts_for_its_length() {
        let nap = Duration::from_millis(20);
        let waited = Waited::begin();
        let stop = Duration::from_secs(3600);
        waited.looked.set(Instant::now().checked_sub(stop).unwrap());
        assert_eq!(waited.time(nap), nap);
        assert!(waited.time(nap) < 2 * nap);
    }
}
