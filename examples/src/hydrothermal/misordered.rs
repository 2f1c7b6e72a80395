//! A communicator that gathers in the wrong order, to show that the verification notices.

use cobre_shm::{CommData, CommError, Communicator, ReduceOp, Reducible, SharedMemoryProvider};

/// Like the communicator inside, except that the halves of everything gathered change places.
#[derive(Clone, Copy, Debug)]
pub struct Misordered<C>(pub C);

impl<C: Communicator> Communicator for Misordered<C> {
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        self.0.allgatherv(send, recv, counts, displs)?;
        recv.rotate_left(recv.len() / 2);
        Ok(())
    }

    fn allreduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        self.0.allreduce(send, recv, op)
    }

    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        self.0.broadcast(buf, root)
    }

    fn barrier(&self) -> Result<(), CommError> {
        self.0.barrier()
    }

    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn abort(&self, code: i32) -> ! {
        self.0.abort(code)
    }
}

impl<C: SharedMemoryProvider> SharedMemoryProvider for Misordered<C> {
    type Region<T: CommData> = C::Region<T>;
    type Exchange<T: CommData> = C::Exchange<T>;
    type Reduction<T: Reducible> = C::Reduction<T>;
    type Local = C::Local;

    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<C::Region<T>, CommError> {
        self.0.create_shared_region(len)
    }

    fn create_exchange<T: CommData>(&self, counts: &[usize]) -> Result<C::Exchange<T>, CommError> {
        self.0.create_exchange(counts)
    }

    fn create_reduction<T: Reducible>(&self, len: usize) -> Result<C::Reduction<T>, CommError> {
        self.0.create_reduction(len)
    }

    fn split_local(&self) -> Result<C::Local, CommError> {
        self.0.split_local()
    }

    fn is_leader(&self) -> bool {
        self.0.is_leader()
    }
}
