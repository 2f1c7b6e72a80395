//! The backend of a single process: every collective is a copy, every region lives on the heap.

mod exchange;
mod pool;
mod reduction;
mod region;

pub use exchange::LocalExchange;
pub use pool::LocalPool;
pub use reduction::LocalReduction;
pub use region::{LocalReader, LocalRegion};

use std::collections::TryReserveError;

use crate::{
    CommData, CommError, Communicator, PoolProvider, ReduceOp, Reducible, SharedMemoryProvider,
    check,
};

/// A communicator of one rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalComm(());

impl LocalComm {
    /// The communicator; there is nothing to set up.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Communicator for LocalComm {
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        check::allgatherv((0, 1), send.len(), recv.len(), counts, displs)?;
        if !send.is_empty() {
            recv[displs[0]..][..send.len()].copy_from_slice(send);
        }
        Ok(())
    }

    fn allreduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        check::allreduce::<T>(send.len(), recv.len(), op)?;
        reduce_one(send, recv);
        Ok(())
    }

    fn broadcast<T: CommData>(&self, _buf: &mut [T], root: usize) -> Result<(), CommError> {
        check::broadcast(root, 1)
    }

    fn barrier(&self) -> Result<(), CommError> {
        Ok(())
    }

    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

impl PoolProvider for LocalComm {
    type Pool<T: CommData> = LocalPool<T>;

    fn create_pool<T: CommData>(&self, capacity: usize) -> Result<LocalPool<T>, CommError> {
        // What no address space has room for will not be had later either.
        let bytes = capacity.checked_mul(size_of::<T>());
        if bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok()) {
            return Ok(LocalPool::new(capacity));
        }
        Err(CommError::AllocationFailed {
            requested_bytes: bytes.unwrap_or(usize::MAX),
            message: "it does not fit the address space".to_owned(),
        })
    }
}

impl SharedMemoryProvider for LocalComm {
    type Region<T: CommData> = LocalRegion<T>;
    type Exchange<T: CommData> = LocalExchange<T>;
    type Reduction<T: Reducible> = LocalReduction<T>;
    type Local = Self;

    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<LocalRegion<T>, CommError> {
        Ok(LocalRegion::new(zeroed(len)?))
    }

    fn create_exchange<T: CommData>(
        &self,
        counts: &[usize],
    ) -> Result<LocalExchange<T>, CommError> {
        check::create_exchange(1, counts)?;
        Ok(LocalExchange::new(zeroed(counts[0])?, zeroed(counts[0])?))
    }

    fn create_reduction<T: Reducible>(&self, len: usize) -> Result<LocalReduction<T>, CommError> {
        Ok(LocalReduction::new(zeroed(len)?, zeroed(len)?))
    }

    fn split_local(&self) -> Result<Self, CommError> {
        Ok(*self)
    }

    fn is_leader(&self) -> bool {
        true
    }
}

/// So many zeroed elements.
fn zeroed<T: CommData>(len: usize) -> Result<Vec<T>, CommError> {
    let mut elements = Vec::new();
    let room = elements.try_reserve_exact(len);
    room.map_err(|error| refused::<T>(len, &error))?;
    elements.resize(len, T::zeroed());
    Ok(elements)
}

/// There is no memory for `len` elements.
fn refused<T>(len: usize, error: &TryReserveError) -> CommError {
    CommError::AllocationFailed {
        requested_bytes: len.saturating_mul(size_of::<T>()),
        message: error.to_string(),
    }
}

/// The reduction of the operand of a single rank.
fn reduce_one<T: Reducible>(operand: &[T], result: &mut [T]) {
    for (result, value) in result.iter_mut().zip(operand) {
        *result = value.canonical();
    }
}
