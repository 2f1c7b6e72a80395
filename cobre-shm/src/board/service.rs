//! How long items take: a moving average, and a histogram that forgets slowly.

use core::time::Duration;

/// Powers of two of nanoseconds: up to 18 minutes, and all above.
const BUCKETS: usize = 41;
/// When the histogram holds this many items all its buckets are halved.
const MEMORY: u64 = 1024;

/// The service times of one member.
#[derive(Clone, Debug)]
pub(crate) struct ServiceTimes {
    mean_ns: u64,
    counts: [u64; BUCKETS],
    total: u64,
}

impl Default for ServiceTimes {
    fn default() -> Self {
        Self {
            mean_ns: 0,
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl ServiceTimes {
    /// Counts an item.
    pub(crate) fn add(&mut self, service: Duration) {
        // At least 1, since 0 says that there was none.
        let ns = u64::try_from(service.as_nanos())
            .unwrap_or(u64::MAX)
            .clamp(1, u64::MAX >> 3);
        self.mean_ns = match self.mean_ns {
            0 => ns,
            // 1/8 of the new one (Jacobson's round-trip estimator), at least 1.
            mean => ((7 * mean + ns) / 8).max(1),
        };
        self.counts[(ns.ilog2() as usize).min(BUCKETS - 1)] += 1;
        self.total += 1;
        if self.total == MEMORY {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// The moving average, in nanoseconds; 0 if there was no item.
    pub(crate) fn mean_ns(&self) -> u64 {
        self.mean_ns
    }

    /// The time within which `quantile` of the items were done, rounded up to a power of two; 0 if
    /// there was no item.
    pub(crate) fn quantile_ns(&self, quantile: f64) -> u64 {
        let wanted = (self.total as f64 * quantile).ceil() as u64;
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below > 0 && below >= wanted
        });
        bucket.map_or(0, |bucket| 2 << bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceTimes;
    use core::time::Duration;

    #[test]
    fn nothing_is_known_before_the_first_item() {
        let times = ServiceTimes::default();
        assert_eq!((times.mean_ns(), times.quantile_ns(0.9)), (0, 0));
    }

    #[test]
    fn rare_slow_items_move_the_percentile_only_when_they_are_a_tenth() {
        let mut times = ServiceTimes::default();
        (0..95).for_each(|_| times.add(Duration::from_nanos(1000)));
        (0..5).for_each(|_| times.add(Duration::from_millis(1)));
        assert_eq!(times.quantile_ns(0.9), 1024);
        (0..20).for_each(|_| times.add(Duration::from_millis(1)));
        assert_eq!(times.quantile_ns(0.9), 1 << 20);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut times = ServiceTimes::default();
        (0..5000).for_each(|_| times.add(Duration::from_secs(3600 * 24)));
        (0..20_000).for_each(|_| times.add(Duration::from_nanos(100)));
        assert_eq!(times.quantile_ns(0.9), 128);
        assert!(times.mean_ns() < 200, "{}", times.mean_ns());
    }
}
