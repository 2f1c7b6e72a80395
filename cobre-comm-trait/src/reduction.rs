//! Reductions without copies.

use crate::{CommError, ReduceOp, Reducible};

/// An operand of each rank and their reduction, all in shared memory, over and over.
///
/// ```
/// use cobre_comm_trait::{CommError, LocalComm, ReduceOp, SharedMemoryProvider, SharedReduction};
///
/// fn visits<C: SharedMemoryProvider>(comm: &C) -> Result<u64, CommError> {
///     let mut visits = comm.create_reduction::<u64>(1000)?;
///     for iteration in 0..3 {
///         visits.operand_mut()[iteration] += 1;
///         let everywhere = visits.reduce(ReduceOp::Sum)?;
///         assert_eq!(everywhere[iteration], comm.size() as u64);
///     }
///     Ok(visits.result().iter().sum())
/// }
/// # assert_eq!(visits(&LocalComm::new()), Ok(3));
/// ```
///
/// No slice outlives the next reduction:
/// ```compile_fail,E0499
/// use cobre_comm_trait::{LocalComm, ReduceOp, SharedMemoryProvider, SharedReduction};
/// let mut reduction = LocalComm::new().create_reduction::<f64>(8).unwrap();
/// let operand = reduction.operand_mut();
/// reduction.reduce(ReduceOp::Sum).unwrap();
/// operand[0] = 1.0;
/// ```
pub trait SharedReduction<T: Reducible>: Sized + Send + Sync {
    /// The last result, zero before the first. Empty after a reduction that failed on the way.
    fn result(&self) -> &[T];

    /// My operand, as I left it, and the last result.
    fn split_mut(&mut self) -> (&mut [T], &[T]);

    /// Combines the operands of all ranks, element by element in rank order; returns the result,
    /// which all ranks read in one place. Collective.
    ///
    /// Each rank folds its share of the elements straight from the operands. The bits are those of an
    /// [`allreduce`](crate::Communicator::allreduce).
    ///
    /// # Errors
    /// As for `allreduce`. If it failed on the way, nothing is granted any more: all slices are empty
    /// from then on.
    #[track_caller]
    fn reduce(&mut self, op: ReduceOp) -> Result<&[T], CommError>;

    /// My operand, as I left it (zero at first). Empty after a reduction that failed on the way.
    fn operand_mut(&mut self) -> &mut [T] {
        self.split_mut().0
    }
}
