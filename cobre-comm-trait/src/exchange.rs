//! Exchanges: gathers and broadcasts without copies, one fence each.

use core::ops::Range;

use crate::{CommData, CommError, ReduceOp, Reducible};

/// An array that every rank writes a part of and reads all of, over and over.
///
/// Between two fences a rank holds, at the same time, everything that was written before the last
/// fence ([`shown`](Self::shown)) and its own part of what the next fence will show
/// ([`part_mut`](Self::part_mut)). The two lie in different copies of the array, which the fence swaps;
/// so one fence per iteration does, nothing is copied, and nothing is allocated after creation.
///
/// What an SDDP solver sends is written where it is computed, and read where it was written:
///
/// ```
/// use cobre_comm_trait::{CommError, LocalComm, SharedExchange, SharedMemoryProvider};
///
/// fn train<C: SharedMemoryProvider>(comm: &C, states: usize) -> Result<f64, CommError> {
///     // Trial points: so many from each rank, perhaps none from some.
///     let counts = vec![2 * states; comm.size()];
///     let mut trial_points = comm.create_exchange::<f64>(&counts)?;
///     let mut sum = 0.0;
///     for iteration in 0..3 {
///         for point in trial_points.part_mut().chunks_mut(states) {
///             point.fill(f64::from(iteration)); // the forward pass
///         }
///         trial_points.fence()?;
///         // The backward pass: the points of all ranks, in rank order.
///         for point in trial_points.shown().chunks(states) {
///             sum += point[0];
///         }
///     }
///     Ok(sum)
/// }
/// # assert_eq!(train(&LocalComm::new(), 4), Ok(6.0));
/// ```
///
/// A broadcast is an exchange in which only the root has a part: `counts` of 0 for everybody else.
///
/// No slice outlives the fence:
/// ```compile_fail,E0502
/// use cobre_comm_trait::{LocalComm, SharedExchange, SharedMemoryProvider};
/// let mut exchange = LocalComm::new().create_exchange::<f64>(&[8]).unwrap();
/// let old = exchange.shown();
/// exchange.fence().unwrap();
/// assert_eq!(old[0], 0.0);
/// ```
/// ```compile_fail,E0499
/// use cobre_comm_trait::{LocalComm, SharedExchange, SharedMemoryProvider};
/// let mut exchange = LocalComm::new().create_exchange::<f64>(&[8]).unwrap();
/// let part = exchange.part_mut();
/// exchange.fence().unwrap();
/// part[0] = 1.0;
/// ```
pub trait SharedExchange<T: CommData>: Sized + Send + Sync {
    /// Where the part of `rank` lies in what is shown.
    ///
    /// # Panics
    /// If `rank` is not below the number of ranks.
    fn part_of(&self, rank: usize) -> Range<usize>;

    /// Everything that was written before the last fence, rank after rank; zero before the first.
    ///
    /// Empty after a fence that failed.
    fn shown(&self) -> &[T];

    /// My part of what the next fence shows, and what the last one showed.
    fn split_mut(&mut self) -> (&mut [T], &[T]);

    /// Shows what has been written. Collective, at the cost of a barrier.
    ///
    /// # Errors
    /// As for every collective. If the fence failed on the way, nothing is granted any more: all
    /// slices are empty from then on.
    #[track_caller]
    fn fence(&mut self) -> Result<(), CommError>;

    /// My part of what the next fence shows. It holds what I wrote two fences ago (zero at first).
    ///
    /// Empty after a fence that failed.
    fn part_mut(&mut self) -> &mut [T] {
        self.split_mut().0
    }

    /// What `rank` wrote before the last fence.
    ///
    /// # Panics
    /// If `rank` is not below the number of ranks.
    fn shown_by(&self, rank: usize) -> &[T] {
        self.shown().get(self.part_of(rank)).unwrap_or_default()
    }

    /// Combines the parts that are shown, element by element in rank order, into a buffer of mine:
    /// the same bits as those of an [`allreduce`](crate::Communicator::allreduce) of the parts.
    ///
    /// Not a collective: each rank folds what it needs, when it needs it.
    ///
    /// # Errors
    /// [`CommError::InvalidBufferSize`] if a part has another length than `out`;
    /// [`CommError::InvalidReduceOp`]. Neither is final.
    fn reduce_into(&self, out: &mut [T], op: ReduceOp) -> Result<(), CommError>
    where
        T: Reducible;
}
