//! Waiting and calling over the rank's time, in a fixed number of buckets that grow longer.

use crate::sync::primitive::{AtomicU32, AtomicU64, Ordering};

/// Between half of them and all are in use.
const BUCKETS: usize = 512;
/// The logarithm of a bucket's first length: about 1 ms.
const FIRST_SHIFT: u32 = 20;
/// Buckets of 417 days hold any time. What memory says beyond it is not believed.
const LAST_SHIFT: u32 = u64::BITS - BUCKETS.ilog2();

/// The timeline in a record. Written by its owner alone.
#[derive(Debug)]
#[repr(C)]
pub(super) struct TimelineMemory {
    /// Which half is valid (bit 0), and by how much [`FIRST_SHIFT`] is exceeded (the rest).
    state: AtomicU32,
    halves: [[Bucket; BUCKETS]; 2],
}

#[derive(Debug)]
#[repr(C)]
struct Bucket {
    waiting: AtomicU64,
    calling: AtomicU64,
}

/// What the time was spent on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spent {
    Waiting,
    Calling,
}

impl Bucket {
    fn of(&self, spent: Spent) -> &AtomicU64 {
        match spent {
            Spent::Waiting => &self.waiting,
            Spent::Calling => &self.calling,
        }
    }

    fn get(&self) -> [u64; 2] {
        [&self.waiting, &self.calling].map(|sum| sum.load(Ordering::Relaxed))
    }

    fn set(&self, [waiting, calling]: [u64; 2]) {
        self.waiting.store(waiting, Ordering::Relaxed);
        self.calling.store(calling, Ordering::Relaxed);
    }
}

impl TimelineMemory {
    /// Adds the time from `from` until `to`, nanoseconds since the rank's begin.
    pub(super) fn add(&self, spent: Spent, from: u64, to: u64) {
        let mut state = self.state.load(Ordering::Relaxed);
        while to >> shift(state) >= BUCKETS as u64 {
            state = self.put_together(state);
        }
        let half = self.half(state);
        let mut start = from;
        while start < to {
            let shift = shift(state);
            let bucket = start >> shift;
            let end = to.min((start | ((1 << shift) - 1)).saturating_add(1));
            let sum = half[bucket as usize].of(spent);
            // Saturating, here and below: anything may have written over the sums.
            let more = sum.load(Ordering::Relaxed).saturating_add(end - start);
            sum.store(more, Ordering::Relaxed);
            start = end;
        }
    }

    /// Doubles the buckets' length; a reader has the old half or the new one.
    #[cold]
    fn put_together(&self, state: u32) -> u32 {
        let next = (state ^ 1) + 2;
        let (old, new) = (self.half(state), self.half(next));
        for (index, bucket) in new.iter().enumerate() {
            let pair = old.get(2 * index..2 * index + 2).unwrap_or_default();
            let sums = pair.iter().map(Bucket::get);
            let both =
                |[a, b]: [u64; 2], [c, d]: [u64; 2]| [a.saturating_add(c), b.saturating_add(d)];
            bucket.set(sums.fold([0, 0], both));
        }
        // Release matches the Acquire in `read`.
        self.state.store(next, Ordering::Release);
        next
    }

    fn half(&self, state: u32) -> &[Bucket; BUCKETS] {
        &self.halves[(state & 1) as usize]
    }

    /// The length of a bucket in nanoseconds, and the sums (waiting, calling) of each.
    pub(super) fn read(&self) -> (u64, Vec<[u64; 2]>) {
        // Acquire matches the Release in `put_together`.
        let state = self.state.load(Ordering::Acquire);
        (
            1 << shift(state),
            self.half(state).iter().map(Bucket::get).collect(),
        )
    }
}

/// The logarithm of a bucket's length.
fn shift(state: u32) -> u32 {
    (FIRST_SHIFT + (state >> 1)).min(LAST_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, FIRST_SHIFT, LAST_SHIFT, Spent, TimelineMemory};
    use crate::sync::primitive::Ordering;

    fn empty() -> Box<TimelineMemory> {
        #![allow(unsafe_code)]
        // SAFETY: atomics are valid when zero.
        Box::new(unsafe { core::mem::zeroed() })
    }

    #[test]
    fn times_are_divided_among_the_buckets_they_lie_in() {
        let timeline = empty();
        let bucket = 1 << FIRST_SHIFT;
        timeline.add(Spent::Calling, bucket - 10, 2 * bucket + 5);
        timeline.add(Spent::Waiting, bucket, bucket + 7);
        let (length, sums) = timeline.read();
        assert_eq!(length, bucket);
        assert_eq!(sums[..4], [[0, 10], [7, bucket], [0, 5], [0, 0]]);
    }

    #[test]
    fn a_full_timeline_doubles_its_buckets_and_loses_nothing() {
        let timeline = empty();
        let bucket = 1_u64 << FIRST_SHIFT;
        for index in 0..BUCKETS as u64 {
            timeline.add(Spent::Calling, index * bucket, index * bucket + index);
        }
        // Beyond four times the length.
        let far = 5 * BUCKETS as u64 * bucket;
        timeline.add(Spent::Waiting, far, far + 1);
        let (length, sums) = timeline.read();
        assert_eq!(length, 8 * bucket);
        assert_eq!(sums[0], [0, (0..8).sum()]);
        assert_eq!(sums[1], [0, (8..16).sum()]);
        assert_eq!(sums[5 * BUCKETS / 8], [1, 0]);
        let total: u64 = sums.iter().map(|[_, calling]| calling).sum();
        assert_eq!(total, (0..BUCKETS as u64).sum::<u64>());
    }

    #[test]
    fn whatever_has_been_written_over_it_every_time_can_be_added() {
        let timeline = empty();
        for state in [0, 1, 2, 87, 88, 100, u32::MAX - 1, u32::MAX] {
            for sum in [0, 1, u64::MAX] {
                timeline.state.store(state, Ordering::Relaxed);
                timeline.half(state)[0].set([sum, sum]);
                for (from, to) in [(0, 1), (0, u64::MAX), (u64::MAX - 1, u64::MAX), (5, 3)] {
                    timeline.add(Spent::Waiting, from, to);
                }
                let (length, sums) = timeline.read();
                assert!(length <= 1 << LAST_SHIFT && sums.len() == BUCKETS);
            }
        }
    }
}
