//! Work that ranks take as they become free: indices handed out in chunks, results by index.
//!
//! *Claims.* One word in shared memory holds the next index that nobody has; a rank takes a chunk by
//! moving it with a compare-exchange. This is the one line that all ranks write while all is well: a
//! claim is as rare as a chunk is long.
//!
//! *Results.* Each index has a place and a mark. Who holds the chunk writes the place, then the mark
//! (Release). [`Dynamic::finish`] is a fence: after it all ranks see the same marks, so all get the
//! results, or all the same error. After a failure the marks say what was not done (Acquire).

#![allow(unsafe_code)]

mod chunking;
mod error;

use core::{
    marker::PhantomData,
    mem::{align_of, size_of},
    ops::{Deref, Range},
    panic::Location,
    slice,
};
use std::{sync::Arc, time::Instant};

use cobre_comm_trait::{CommData, CommError, Operation};

pub use self::{chunking::Chunking, error::WorkError};
use crate::{
    call::{
        core::{Core, Site},
        log::{Element, Signature},
    },
    collective,
    sync::primitive::{AtomicU8, AtomicU64, Ordering},
    window::{self, ShmRegion, WindowOptions},
};

/// The word of the claims, and each rank's line.
const LINE: usize = 128;

/// How fast a rank has been; written by it alone.
#[derive(Debug)]
#[repr(C, align(128))]
struct Pace {
    items: AtomicU64,
    ns: AtomicU64,
}

/// A range of indices that the ranks share out among them while they work, with a result for each.
///
/// ```
/// use cobre_shm::Chunking;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let comm = cobre_shm::init()?;
/// let squares = comm.dynamic::<u64>(0..100, Chunking::Guided)?;
/// for chunk in &squares {
///     chunk?.complete(|index| (index * index) as u64);
/// }
/// let squares = squares.finish()?;
/// assert_eq!(squares[7], 49);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Dynamic<T> {
    core: Arc<Core>,
    region: ShmRegion<u8>,
    range: Range<usize>,
    chunking: Chunking,
    results: PhantomData<T>,
}

/// Where things lie in the region.
fn marks_at(size: usize) -> usize {
    LINE + size * size_of::<Pace>()
}

fn results_at<T>(size: usize, len: usize) -> Option<usize> {
    let marks = marks_at(size).checked_add(len)?;
    marks.checked_next_multiple_of(align_of::<T>().max(LINE))
}

fn total_bytes<T>(size: usize, len: usize) -> Option<usize> {
    len.checked_mul(size_of::<T>())?
        .checked_add(results_at::<T>(size, len)?)
}

/// Makes a schedule of `range`. Collective.
pub(crate) fn create<T: CommData>(
    core: &Arc<Core>,
    range: Range<usize>,
    chunking: Chunking,
    site: Site,
) -> Result<Dynamic<T>, CommError> {
    // First, so that ranks that disagree about more than the bytes learn it.
    let signature = Signature {
        other: range.start as u64,
        detail: chunking.code(),
        ..Signature::new(Operation::CreateRegion, Element::of::<T>(), range.len())
    };
    let mut turn = core.turn(Operation::CreateRegion)?;
    turn.collective(signature, site, Ok(()), collective::barrier)?;
    // What does not fit the address space is refused by the window, on every rank.
    let bytes = total_bytes::<T>(core.size(), range.len()).unwrap_or(usize::MAX);
    window::check_alignment::<T>(bytes)?;
    Ok(Dynamic {
        region: ShmRegion::create_in(core, &mut turn, bytes, &WindowOptions::default(), site)?,
        core: Arc::clone(core),
        range,
        chunking,
        results: PhantomData,
    })
}

impl<T: CommData> Dynamic<T> {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn next_index(&self) -> &AtomicU64 {
        // SAFETY: the region begins with this word, zeroed, on a page; only atomics use it. It lives
        // as long as `self`.
        unsafe { &*self.region.address().cast() }
    }

    fn pace(&self, rank: usize) -> &Pace {
        assert!(rank < self.core.size());
        let pace = self.region.address().wrapping_add(LINE);
        // SAFETY: one line per rank follows the first; atomics, valid for every bit pattern.
        unsafe { &*pace.cast::<Pace>().wrapping_add(rank) }
    }

    fn marks(&self) -> &[AtomicU8] {
        let marks = self
            .region
            .address()
            .wrapping_add(marks_at(self.core.size()));
        // SAFETY: one byte per index, used as atomics alone, for as long as `self` lives.
        unsafe { slice::from_raw_parts(marks.cast(), self.len()) }
    }

    /// Where the result of the `place`-th index lies.
    fn result(&self, place: usize) -> *mut T {
        assert!(place < self.len());
        let results = results_at::<T>(self.core.size(), self.len()).unwrap_or_default();
        let results = self.region.address().wrapping_add(results);
        results.cast::<T>().wrapping_add(place)
    }

    /// Takes the next chunk, as places from 0.
    fn claim(&self) -> Option<Range<usize>> {
        let (len, next) = (self.len(), self.next_index());
        // Relaxed: a claim hands over nothing but the numbers.
        let mut start = next.load(Ordering::Relaxed);
        loop {
            let left = len.checked_sub(usize::try_from(start).ok()?)?;
            if left == 0 {
                return None;
            }
            let chunk = self.chunking.next(left, self.core.size(), || self.share());
            let end = start + chunk as u64;
            match next.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start as usize..end as usize),
                Err(now) => start = now,
            }
        }
    }

    /// How fast this rank has been, relative to all: 1 is the average, or not known yet.
    fn share(&self) -> f64 {
        let pace = |rank| {
            let pace = self.pace(rank);
            let (items, ns) = (&pace.items, &pace.ns);
            let (items, ns) = (items.load(Ordering::Relaxed), ns.load(Ordering::Relaxed));
            (items > 0 && ns > 0).then(|| items as f64 / ns as f64)
        };
        let known: Vec<f64> = (0..self.core.size()).filter_map(pace).collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        pace(self.core.rank()).map_or(1.0, |own| own / mean)
    }

    /// Indices without a result.
    fn unfinished(&self) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (place, mark) in self.marks().iter().enumerate() {
            // Acquire matches the Release in `Chunk::record`.
            if mark.load(Ordering::Acquire) != 0 {
                continue;
            }
            let index = self.range.start + place;
            match ranges.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => ranges.push(index..index + 1),
            }
        }
        ranges
    }

    fn failed(&self, cause: CommError) -> WorkError {
        WorkError::Failed {
            cause,
            unfinished: self.unfinished(),
        }
    }

    /// Waits until all ranks have worked off their chunks, and gives every rank all results.
    /// Collective.
    ///
    /// # Errors
    /// [`WorkError`]; of those that name no failure every rank gets the same.
    #[track_caller]
    pub fn finish(self) -> Result<Results<T>, WorkError> {
        if let Err(cause) = self.region.finish(Location::caller()) {
            return Err(self.failed(cause));
        }
        let unfinished = self.unfinished();
        if !unfinished.is_empty() {
            return Err(WorkError::NotRecorded { unfinished });
        }
        let (results, len) = (self.result_or_dangling(), self.len());
        Ok(Results {
            results,
            len,
            range: self.range,
            _region: self.region,
        })
    }

    fn result_or_dangling(&self) -> *const T {
        if self.len() == 0 {
            return core::ptr::dangling();
        }
        self.result(0)
    }
}

/// The chunks that this rank takes; ends when none is left, or after an error.
#[derive(Debug)]
pub struct Claims<'a, T> {
    work: &'a Dynamic<T>,
    over: bool,
}

impl<'a, T: CommData> IntoIterator for &'a Dynamic<T> {
    type Item = Result<Chunk<'a, T>, WorkError>;
    type IntoIter = Claims<'a, T>;

    fn into_iter(self) -> Claims<'a, T> {
        Claims {
            work: self,
            over: false,
        }
    }
}

impl<'a, T: CommData> Iterator for Claims<'a, T> {
    type Item = Result<Chunk<'a, T>, WorkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        if let Some(cause) = self.work.core.failed() {
            self.over = true;
            return Some(Err(self.work.failed(cause)));
        }
        let places = self.work.claim()?;
        Some(Ok(Chunk {
            work: self.work,
            places,
            begun: Instant::now(),
        }))
    }
}

/// Indices that are this rank's alone, to compute and record.
#[derive(Debug)]
pub struct Chunk<'a, T> {
    work: &'a Dynamic<T>,
    places: Range<usize>,
    begun: Instant,
}

impl<T: CommData> Chunk<'_, T> {
    /// The indices.
    #[must_use]
    pub fn indices(&self) -> Range<usize> {
        let first = self.work.range.start;
        first + self.places.start..first + self.places.end
    }

    /// Records the result of `index`.
    ///
    /// # Panics
    /// If the index is not of this chunk, or has been recorded.
    pub fn record(&mut self, index: usize, result: T) {
        let place = index.wrapping_sub(self.work.range.start);
        assert!(
            self.places.contains(&place),
            "index {index} is not of the chunk {:?}",
            self.indices()
        );
        let mark = &self.work.marks()[place];
        // Relaxed: only this chunk writes it.
        let recorded = mark.load(Ordering::Relaxed) != 0;
        assert!(!recorded, "index {index} has been recorded");
        // SAFETY: the place lies inside the region and is aligned for `T`. No other chunk has it, and
        // nobody reads it before the mark and the fence.
        unsafe { self.work.result(place).write(result) };
        // Release matches the Acquire in `Dynamic::unfinished`.
        mark.store(1, Ordering::Release);
    }

    /// Computes and records the result of every index.
    pub fn complete(mut self, mut compute: impl FnMut(usize) -> T) {
        for index in self.indices() {
            self.record(index, compute(index));
        }
    }
}

impl<T> Drop for Chunk<'_, T> {
    fn drop(&mut self) {
        let rank = self.work.core.rank();
        let line = self.work.region.address().wrapping_add(LINE);
        // SAFETY: as in `Dynamic::pace`; a rank of the job has a line.
        let pace = unsafe { &*line.cast::<Pace>().wrapping_add(rank) };
        let ns = self.begun.elapsed().as_nanos() as u64;
        // Relaxed: an estimate.
        pace.items
            .fetch_add(self.places.len() as u64, Ordering::Relaxed);
        pace.ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// The results of all indices, in their order, the same on every rank.
#[derive(Debug)]
pub struct Results<T> {
    results: *const T,
    len: usize,
    range: Range<usize>,
    _region: ShmRegion<u8>,
}

// SAFETY: nobody writes the results any more; they are as good as a `&[T]`, and `T` is plain data.
unsafe impl<T: CommData> Send for Results<T> {}
// SAFETY: as above.
unsafe impl<T: CommData> Sync for Results<T> {}

impl<T> Results<T> {
    /// The indices, of which the first has the first result.
    #[must_use]
    pub fn indices(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl<T: CommData> Deref for Results<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: after the fence every index has a result, which nobody writes any more: chunks
        // borrow the schedule that `finish` took, on every rank. The region lives as long as `self`.
        unsafe { slice::from_raw_parts(self.results, self.len) }
    }
}
