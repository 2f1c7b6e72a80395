//! Pools: a table that grows while everybody reads it.

use core::ops::{Deref, Range};

use crate::{CommData, CommError, Communicator};

/// A communicator whose ranks can share growing tables.
pub trait PoolProvider: Communicator {
    /// A table that grows.
    type Pool<T: CommData>: SharedPool<T>;

    /// Allocates an empty pool that can grow to `capacity` elements. Collective.
    ///
    /// Address space is taken now, memory as the pool grows.
    ///
    /// # Errors
    /// [`CommError::AllocationFailed`] on every rank if any of them cannot have it.
    #[track_caller]
    fn create_pool<T: CommData>(&self, capacity: usize) -> Result<Self::Pool<T>, CommError>;
}

/// A table of which there is one copy, to which all ranks append, and which all ranks read in place.
///
/// What an SDDP solver keeps its cuts in: each rank appends those it computed, in the memory in which
/// all ranks read them; nothing is copied or moved, however large the pool becomes.
///
/// ```
/// use cobre_comm_trait::{CommError, LocalComm, PoolProvider, SharedPool};
///
/// fn train<C: PoolProvider>(comm: &C, width: usize) -> Result<usize, CommError> {
///     let mut cuts = comm.create_pool::<f64>(1000 * width)?;
///     for iteration in 0..3 {
///         // As many cuts as this rank happens to have, perhaps none.
///         cuts.append(2 * width, |mine| mine.fill(f64::from(iteration)))?;
///         assert!(cuts.chunks(width).all(|cut| cut[0] <= f64::from(iteration)));
///     }
///     Ok(cuts.len())
/// }
/// # assert_eq!(train(&LocalComm::new(), 5), Ok(30));
/// ```
///
/// What was read before cannot be held while the pool grows:
/// ```compile_fail,E0502
/// use cobre_comm_trait::{LocalComm, PoolProvider, SharedPool};
/// let mut pool = LocalComm::new().create_pool::<f64>(8).unwrap();
/// let all: &[f64] = &pool;
/// pool.append(1, |_| ()).unwrap();
/// assert_eq!(all.len(), 0);
/// ```
pub trait SharedPool<T: CommData>: Deref<Target = [T]> + Sized + Send + Sync {
    /// How many elements the pool can have.
    fn capacity(&self) -> usize;

    /// Appends `count` elements of this rank, zero at first and then filled by `fill`, behind those of
    /// the ranks before it. Collective; counts may differ and be zero. Returns where in the pool this
    /// rank's elements are.
    ///
    /// When it returns, every rank reads what all have appended.
    ///
    /// # Errors
    /// [`CommError::AllocationFailed`] on every rank if all together do not fit the capacity or the
    /// machine: nothing is appended. As for every collective otherwise. A panic in `fill` fails the
    /// peers.
    #[track_caller]
    fn append<F: FnOnce(&mut [T])>(
        &mut self,
        count: usize,
        fill: F,
    ) -> Result<Range<usize>, CommError>;
}
