//! A histogram of times with buckets of nearly constant relative width.

use crate::sync::primitive::{AtomicU32, Ordering};

/// Four per octave, and one below and one above all.
const BUCKETS: usize = 128;
/// The octave at which the buckets begin: 16 ns.
const FIRST_OCTAVE: u32 = 4;

/// The histogram in a record. Written by its owner alone.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Counts([AtomicU32; BUCKETS]);

impl Counts {
    pub(super) fn add(&self, time: u64) {
        let count = &self.0[bucket(time)];
        // Relaxed: a single writer, and readers to whom one more or less does not matter.
        let more = count.load(Ordering::Relaxed).saturating_add(1);
        count.store(more, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Histogram {
        let count = |bucket: &AtomicU32| bucket.load(Ordering::Relaxed);
        Histogram(self.0.iter().map(count).map(u64::from).collect())
    }
}

/// How many times were about how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Histogram {
    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// A time, in nanoseconds, that the fraction `q` of all times does not exceed, at most a quarter
    /// above the smallest such; 0 if there are no times.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        // Exact enough for any number of calls; at least one time lies below the answer.
        let wanted = ((total as f64 * q).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(bucket);
            }
        }
        0
    }
}

fn bucket(time: u64) -> usize {
    if time < 1 << FIRST_OCTAVE {
        return 0;
    }
    let octave = time.ilog2();
    let quarter = time >> (octave - 2) & 3;
    let bucket = (octave - FIRST_OCTAVE) as usize * 4 + quarter as usize + 1;
    bucket.min(BUCKETS - 1)
}

/// The first time beyond the bucket.
fn upper_end(bucket: usize) -> u64 {
    let (octave, quarter) = (bucket / 4, bucket % 4);
    (4 + quarter as u64) << octave << (FIRST_OCTAVE - 2)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, bucket, upper_end};

    #[test]
    fn buckets_follow_one_another_and_are_narrow() {
        for last in 0..BUCKETS - 1 {
            let next = upper_end(last);
            assert_eq!(bucket(next - 1), last);
            assert_eq!(bucket(next), last + 1);
        }
        for time in [16_u64, 17, 100, 12_345, 1 << 30] {
            let end = upper_end(bucket(time));
            assert!(time < end && end * 4 <= time * 5, "{time} {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_found_in_the_sum_of_histograms() {
        let one = |time: u64, count| {
            let mut histogram = Histogram::default();
            histogram.0[bucket(time)] = count;
            histogram
        };
        let mut all = one(100, 99);
        all.merge(&one(1_000_000, 1));
        assert_eq!(all.quantile(0.5), upper_end(bucket(100)));
        assert_eq!(all.quantile(0.99), upper_end(bucket(100)));
        assert_eq!(all.quantile(0.995), upper_end(bucket(1_000_000)));
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
