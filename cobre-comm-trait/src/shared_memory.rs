//! Shared regions: one copy of an array for all ranks, with epochs that keep safe code sound.
//!
//! # Lifecycle
//!
//! ```text
//! create_shared_region ──► SharedRegion (write epoch)         every rank owns its part
//!                              │  fence(self)      ▲ fence(self)
//!                              ▼                   │
//!                          RegionReader (read epoch)          every rank reads everything
//! drop, in either epoch
//! ```
//!
//! 1. *Allocate*: [`SharedMemoryProvider::create_shared_region`], collective; all zero.
//! 2. *Populate*: in the write epoch each rank has `&mut` to its own part, and to nothing else. Or
//!    the leader alone fills everything ([`SharedRegion::populate_by_leader`]), which takes the
//!    parts away from all ranks first.
//! 3. *Fence*: [`SharedRegion::fence`] consumes the write epoch and, when every rank has done so,
//!    grants the read epoch. A fence that fails grants nothing.
//! 4. *Read*: `&` to everything, from any number of threads.
//! 5. *Drop* whenever it suits; the memory goes when the last rank has dropped. A region may be kept
//!    longer than its communicator, to read or write what was granted. But its fences are calls of
//!    a rank that has left then, and fail ([`CommError::Left`]) where there are peers to leave.
//!
//! Fences take `self` by value, so that no reference of the old epoch can outlive it. That is what
//! makes a slice of live shared memory sound: while anybody can hold `&[T]` nobody can hold
//! `&mut [T]`, and the other way round.
//!
//! A part borrowed in the write epoch cannot be kept across the fence:
//! ```compile_fail,E0505
//! use cobre_comm_trait::{LocalComm, SharedMemoryProvider, SharedRegion};
//! let mut region = LocalComm::new().create_shared_region::<f64>(8).unwrap();
//! let part = region.part_mut();
//! let reader = region.fence().unwrap();
//! part[0] = 1.0;
//! ```
//! A slice borrowed in the read epoch cannot be kept into the next write epoch:
//! ```compile_fail,E0505
//! use cobre_comm_trait::{LocalComm, RegionReader, SharedMemoryProvider, SharedRegion};
//! let reader = LocalComm::new().create_shared_region::<f64>(8).unwrap().fence().unwrap();
//! let all: &[f64] = &reader;
//! let region = reader.fence().unwrap();
//! assert_eq!(all[0], 0.0);
//! ```
//! The write epoch does not read other ranks' parts:
//! ```compile_fail,E0599
//! use cobre_comm_trait::{LocalComm, SharedMemoryProvider, SharedRegion};
//! let region = LocalComm::new().create_shared_region::<f64>(8).unwrap();
//! let all = region.as_slice();
//! ```
//! The read epoch does not write:
//! ```compile_fail,E0594
//! use cobre_comm_trait::{LocalComm, SharedMemoryProvider, SharedRegion};
//! let mut reader = LocalComm::new().create_shared_region::<f64>(8).unwrap().fence().unwrap();
//! reader[0] = 1.0;
//! ```

use core::ops::{Deref, Range};

use crate::{CommData, CommError, Communicator, Reducible, SharedExchange, SharedReduction};

/// A communicator whose ranks can share memory.
pub trait SharedMemoryProvider: Communicator {
    /// A region in its write epoch.
    type Region<T: CommData>: SharedRegion<T>;
    /// An array that everybody writes a part of and reads, again and again.
    type Exchange<T: CommData>: SharedExchange<T>;
    /// Operands and their reduction, again and again.
    type Reduction<T: Reducible>: SharedReduction<T>;
    /// The communicator of the ranks that share memory with this one.
    type Local: Communicator;

    /// Allocates one array of `len` zeroed elements for all ranks. Collective.
    ///
    /// The elements are divided into one contiguous part per rank, see [`block_range`]; pages are
    /// first touched, and so placed, by the rank that owns them. `len` may be zero.
    ///
    /// # Errors
    /// [`CommError::AllocationFailed`] on every rank if any of them cannot have its part.
    #[track_caller]
    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<Self::Region<T>, CommError>;

    /// Allocates an exchange to which rank `r` contributes `counts[r]` elements, zero at first, for
    /// gathers and broadcasts without copies. Collective; `counts` must be the same on all ranks.
    ///
    /// # Errors
    /// [`CommError::InvalidBufferSize`] unless there is a count for each rank, and
    /// [`CommError::AllocationFailed`] on every rank if any of them cannot have its part.
    #[track_caller]
    fn create_exchange<T: CommData>(
        &self,
        counts: &[usize],
    ) -> Result<Self::Exchange<T>, CommError>;

    /// Allocates a reduction of `len` elements from each rank, zero at first, for reductions without
    /// copies. Collective.
    ///
    /// # Errors
    /// [`CommError::AllocationFailed`] on every rank if any of them cannot have its part.
    #[track_caller]
    fn create_reduction<T: Reducible>(&self, len: usize) -> Result<Self::Reduction<T>, CommError>;

    /// The communicator of the ranks on this node (`MPI_Comm_split_type` with
    /// `MPI_COMM_TYPE_SHARED`), ordered as here. Collective.
    ///
    /// It is independent: its collectives do not interfere with those of `self`.
    ///
    /// # Errors
    /// As for every collective, and [`CommError::AllocationFailed`] on every rank if any of them
    /// cannot have its part.
    #[track_caller]
    fn split_local(&self) -> Result<Self::Local, CommError>;

    /// Whether this is the rank that populates for its node: exactly one per node. Not collective.
    fn is_leader(&self) -> bool;
}

/// A shared region in its write epoch: this rank may write its own part.
pub trait SharedRegion<T: CommData>: Sized + Send {
    /// The same region in its read epoch.
    type Reader: RegionReader<T, Writer = Self>;

    /// Elements in the whole region.
    fn len(&self) -> usize;

    /// Whether the region has no elements.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of the whole region that this rank may write.
    fn part(&self) -> Range<usize>;

    /// This rank's part; `part_mut()[0]` is element `part().start` of the region.
    ///
    /// It holds what was there at the end of the last epoch (zero after allocation).
    fn part_mut(&mut self) -> &mut [T];

    /// Ends the write epoch. Collective.
    ///
    /// When it returns, every rank's writes are visible and nobody writes.
    ///
    /// # Errors
    /// As for every collective; the region is dropped.
    #[track_caller]
    fn fence(self) -> Result<Self::Reader, CommError>;

    /// Lets the leader alone write everything. Collective; `populate` is called on the leader only.
    ///
    /// It is handed the whole region, as it was at the end of the last epoch, with what the ranks
    /// wrote to their parts in this one.
    ///
    /// # Errors
    /// As for every collective; the region is dropped. A panic in `populate` fails the peers.
    #[track_caller]
    fn populate_by_leader<F: FnOnce(&mut [T])>(
        self,
        populate: F,
    ) -> Result<Self::Reader, CommError>;
}

/// A shared region in its read epoch: every rank may read everything (as a slice, by deref).
pub trait RegionReader<T: CommData>: Sized + Send + Sync + Deref<Target = [T]> {
    /// The same region in its write epoch.
    type Writer: SharedRegion<T, Reader = Self>;

    /// The whole region.
    fn as_slice(&self) -> &[T] {
        self
    }

    /// Ends the read epoch and begins a write epoch. Collective.
    ///
    /// When it returns, nobody reads.
    ///
    /// # Errors
    /// As for every collective; the region is dropped.
    #[track_caller]
    fn fence(self) -> Result<Self::Writer, CommError>;

    /// Ends the read epoch, lets the leader alone write, and begins a read epoch. Collective; `update` is
    /// called on the leader only, with the whole region as it is.
    ///
    /// # Errors
    /// As for every collective; the region is dropped. A panic in `update` fails the peers.
    #[track_caller]
    fn update_by_leader<F: FnOnce(&mut [T])>(self, update: F) -> Result<Self, CommError> {
        self.fence()?.populate_by_leader(update)
    }
}

/// The part of `len` elements that belongs to `rank` of `size`: contiguous blocks in rank order,
/// the first `len % size` of them one element longer.
///
/// ```
/// use cobre_comm_trait::block_range;
/// let parts: Vec<_> = (0..3).map(|rank| block_range(8, 3, rank)).collect();
/// assert_eq!(parts, [0..3, 3..6, 6..8]);
/// ```
///
/// # Panics
/// If `rank` is not below `size`.
#[must_use]
pub fn block_range(len: usize, size: usize, rank: usize) -> Range<usize> {
    assert!(rank < size, "rank {rank} of {size}");
    let (each, longer) = (len / size, len % size);
    let start = rank * each + rank.min(longer);
    start..start + each + usize::from(rank < longer)
}
