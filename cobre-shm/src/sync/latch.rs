//! One record that one writer replaces as often as it likes, and that anybody reads whole.
//!
//! A count of the updates published, and copies that take turns. A reader needs the copy of the last
//! update not to be rewritten while it reads; the count tells. A writer that dies half-way leaves the
//! count, and the copy it stands for, as they were.
//!
//! After H.-J. Boehm, "Can seqlocks get along with programming language memory models?" (MSPC 2012),
//! with the alternating copies of Linux' `seqcount_latch`.

use crate::sync::primitive::{AtomicU64, Ordering, fence, spin_hint};

/// How often a reader begins again before it gives up: the writer has published `COPIES - 1` updates
/// during each attempt.
const ATTEMPTS: u32 = 1000;

/// `COPIES` copies of `WORDS` words.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Latch<const WORDS: usize, const COPIES: usize> {
    updates: Updates,
    copies: [[AtomicU64; WORDS]; COPIES],
}

/// The number of updates published. Its own line, so that copies begin on one.
#[derive(Debug)]
#[repr(C, align(128))]
struct Updates(AtomicU64);

impl<const WORDS: usize, const COPIES: usize> Latch<WORDS, COPIES> {
    /// Publishes `words` as the next update. By the only writer.
    #[inline]
    pub(crate) fn publish(&self, words: &[u64; WORDS]) {
        // Relaxed: written by this writer, or by one that died before the kernel let this one in.
        let next = self.updates.0.load(Ordering::Relaxed).wrapping_add(1);
        // Matches the fence in `settle`: who sees a word stored below also sees the count that the
        // update before stored.
        fence(Ordering::Release);
        for (place, word) in self.copies[Self::copy_of(next)].iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        // Release matches the Acquire in `read`: who sees the count sees the words.
        self.updates.0.store(next, Ordering::Release);
    }

    /// The first `N` words of the last update; zeros before the first. `None` if the writer was
    /// faster all the time.
    #[inline]
    pub(crate) fn read<const N: usize>(&self) -> Option<[u64; N]> {
        const { assert!(N <= WORDS) };
        let settled: Result<_, core::convert::Infallible> = Self::settle(
            // Acquire matches the Release in `publish`.
            || Ok(self.updates.0.load(Ordering::Acquire)),
            |copy| {
                let copy = &self.copies[copy];
                Ok(core::array::from_fn(|at| copy[at].load(Ordering::Relaxed)))
            },
        );
        let Ok(words) = settled;
        words
    }

    /// Reads through `updates` and `copy`, whatever they read from, until nothing changed meanwhile.
    #[inline]
    fn settle<T, E>(
        updates: impl Fn() -> Result<u64, E>,
        copy: impl Fn(usize) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        for _ in 0..ATTEMPTS {
            let before = updates()?;
            let words = copy(Self::copy_of(before))?;
            // Matches the fence in `publish`: had a word been of the update that rewrites this copy,
            // the count of the update before that one would be seen below.
            fence(Ordering::Acquire);
            if updates()?.wrapping_sub(before) < COPIES as u64 - 1 {
                return Ok(Some(words));
            }
            spin_hint();
        }
        Ok(None)
    }

    fn copy_of(update: u64) -> usize {
        (update % COPIES as u64) as usize
    }
}

#[cfg(not(loom))]
impl<const WORDS: usize, const COPIES: usize> Latch<WORDS, COPIES> {
    /// As [`read`](Self::read), of a latch that lies at `offset` of `file`: for those who do not map
    /// what might shrink. Whole and aligned words are copied whole by the kernel.
    pub(crate) fn read_from(
        file: &std::fs::File,
        offset: u64,
    ) -> std::io::Result<Option<[u64; WORDS]>> {
        use std::os::unix::fs::FileExt;
        let copies = offset + core::mem::offset_of!(Self, copies) as u64;
        Self::settle(
            || {
                let mut word = [0; 8];
                file.read_exact_at(&mut word, offset)?;
                Ok(u64::from_ne_bytes(word))
            },
            |copy| {
                let mut words = [0; WORDS];
                let at = copies + (copy * size_of::<[AtomicU64; WORDS]>()) as u64;
                file.read_exact_at(bytemuck::cast_slice_mut(&mut words), at)?;
                Ok(words)
            },
        )
    }
}

#[cfg(any(loom, test))]
impl<const WORDS: usize, const COPIES: usize> Latch<WORDS, COPIES> {
    pub(crate) fn new() -> Self {
        let words = || core::array::from_fn(|_| AtomicU64::new(0));
        Self {
            updates: Updates(AtomicU64::new(0)),
            copies: core::array::from_fn(|_| words()),
        }
    }

    /// The beginning of an update, by a writer that dies after `words` stores.
    pub(crate) fn die_after(&self, words: usize, value: u64) {
        let next = self.updates.0.load(Ordering::Relaxed) + 1;
        fence(Ordering::Release);
        for place in self.copies[Self::copy_of(next)].iter().take(words) {
            place.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Latch;

    #[test]
    fn what_was_published_last_is_read() {
        let latch = Latch::<3, 4>::new();
        assert_eq!(latch.read(), Some([0; 3]));
        for update in 1..10 {
            latch.publish(&[update, 2 * update, 3 * update]);
            assert_eq!(latch.read(), Some([update, 2 * update, 3 * update]));
            assert_eq!(latch.read(), Some([update]));
        }
    }

    /// A death anywhere in an update leaves the last whole one; the next owner goes on from there.
    #[test]
    fn a_writer_that_dies_in_an_update_leaves_the_one_before() {
        for words in 0..=3 {
            let latch = Latch::<3, 4>::new();
            latch.publish(&[7; 3]);
            latch.die_after(words, 9);
            assert_eq!(latch.read(), Some([7; 3]));
            latch.publish(&[8; 3]);
            assert_eq!(latch.read(), Some([8; 3]));
        }
    }
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::Latch;
    use crate::documented::{expect, fields};

    type Record = Latch<24, 4>;

    #[test]
    fn the_page_states_the_board() {
        assert_eq!(size_of::<Record>(), size_of::<crate::board::RecordLatch>());
        let record = fields!(Record { updates, copies });
        expect("### Board", record, size_of::<Record>());
    }
}
