//! The collectives.

use crate::{CommData, CommError, ReduceOp, Reducible};

/// A group of ranks that call collectives together.
///
/// Ranks are numbered `0..size`. All methods except [`rank`](Self::rank), [`size`](Self::size) and
/// [`abort`](Self::abort) are *collective*: every rank must call them, in the same order, with
/// agreeing arguments; a rank that does not is an error on every rank, not a hang. A collective may
/// return on one rank before others have finished it: only [`barrier`](Self::barrier) promises that
/// all have arrived.
///
/// **Determinism.** With the same inputs every rank gets the same bits, on every run: see
/// [`allreduce`](Self::allreduce).
///
/// **Errors.** See [`CommError`] for which are final and what the buffers hold afterwards.
///
/// **Panics.** A collective that a destructor enters while a panic unwinds its rank fails the job, if
/// that has several ranks: the peers are elsewhere in the program.
///
/// **Threads.** One collective at a time: a second thread that calls gets [`CommError::Busy`].
///
/// Methods are generic over the element type and dispatched statically; a solver stays generic
/// over `C: Communicator` and is compiled for the backend it runs on.
///
/// ```
/// use cobre_comm_trait::{CommError, Communicator, LocalComm, ReduceOp};
///
/// fn mean<C: Communicator>(comm: &C, mine: f64) -> Result<f64, CommError> {
///     let mut total = [0.0];
///     comm.allreduce(&[mine], &mut total, ReduceOp::Sum)?;
///     Ok(total[0] / comm.size() as f64)
/// }
/// assert_eq!(mean(&LocalComm::new(), 3.0), Ok(3.0));
/// ```
pub trait Communicator: Send + Sync {
    /// Gathers every rank's elements on every rank (`MPI_Allgatherv`). Collective.
    ///
    /// Rank `i` contributes `send`, `counts[i]` elements, which arrive at
    /// `recv[displs[i]..displs[i] + counts[i]]` on every rank. Elements of `recv` outside these
    /// ranges are untouched. Counts may be zero, all of them too.
    ///
    /// `counts` and the element type must be the same on every rank; `displs` need not be (each
    /// rank lays out its own buffer), may be in any order and leave gaps, but must not overlap.
    ///
    /// # Errors
    /// [`CommError::InvalidBufferSize`] unless `counts` and `displs` have [`size`](Self::size)
    /// elements, `send` has `counts[rank]`, and `recv` holds every range;
    /// [`CommError::OverlappingRanges`]; otherwise as for every collective.
    #[track_caller]
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError>;

    /// Combines every rank's elements and gives the result to every rank (`MPI_Allreduce`).
    /// Collective.
    ///
    /// `recv[k]` becomes `send[k]` of rank 0, combined with that of rank 1, then 2, and so on, left
    /// to right, for every size of message and of job; then every NaN becomes the one canonical
    /// NaN. The meaning of each operation is that of [`Reducible`], to the bit. Rank order does not
    /// make a sum independent of the *number* of ranks: a program that wants that gathers the
    /// values and sums them in an order of its own.
    ///
    /// # Errors
    /// [`CommError::InvalidBufferSize`] if `recv` has another length than `send`, which may be empty;
    /// [`CommError::InvalidReduceOp`] for a bitwise operation on floats; otherwise as for every
    /// collective.
    #[track_caller]
    fn allreduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError>;

    /// Copies `buf` of rank `root` to `buf` of every rank (`MPI_Bcast`). Collective.
    ///
    /// `root`, the element type and the length must be the same on every rank; the length may be
    /// zero. The root may return before anybody has received.
    ///
    /// # Errors
    /// [`CommError::InvalidRoot`]; otherwise as for every collective.
    #[track_caller]
    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError>;

    /// Returns when every rank has called it (`MPI_Barrier`). Collective.
    ///
    /// What a rank did before is visible to every rank afterwards.
    ///
    /// # Errors
    /// As for every collective.
    #[track_caller]
    fn barrier(&self) -> Result<(), CommError>;

    /// This process' number, `0..size`. Not collective.
    fn rank(&self) -> usize;

    /// How many ranks there are, at least 1. Not collective.
    fn size(&self) -> usize;

    /// Ends every process of the job; this one exits with `code`. Not collective.
    ///
    /// Peers inside a collective, or entering one, get [`CommError::Aborted`] and a short grace to
    /// clean up before they are killed.
    fn abort(&self, code: i32) -> !;
}
