//! For tests: a job of one that forgets a collective now and then.

use std::sync::atomic::{AtomicU64, Ordering};

use cobre_comm_trait::{
    CommData, CommError, Communicator, LocalComm, LocalExchange, LocalReduction, LocalRegion,
    ReduceOp, Reducible, SharedMemoryProvider,
};

/// A job of one that forgets a collective now and then.
pub(crate) struct Forgetful {
    inner: LocalComm,
    calls: AtomicU64,
    every: u64,
}

impl Forgetful {
    pub(crate) fn new(every: u64) -> Self {
        Self {
            inner: LocalComm::new(),
            calls: AtomicU64::new(0),
            every,
        }
    }

    fn forgets<T>(&self, send: &[T]) -> bool {
        // What agrees and sums up the samples must arrive.
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        send.len() > 100 && call.is_multiple_of(self.every)
    }
}

impl Communicator for Forgetful {
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        if self.forgets(send) {
            return Ok(());
        }
        self.inner.allgatherv(send, recv, counts, displs)
    }

    fn allreduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        if self.forgets(send) {
            return Ok(());
        }
        self.inner.allreduce(send, recv, op)
    }

    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        self.inner.broadcast(buf, root)
    }

    fn barrier(&self) -> Result<(), CommError> {
        self.inner.barrier()
    }

    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn abort(&self, code: i32) -> ! {
        self.inner.abort(code)
    }
}

impl SharedMemoryProvider for Forgetful {
    type Region<T: CommData> = LocalRegion<T>;
    type Exchange<T: CommData> = LocalExchange<T>;
    type Reduction<T: Reducible> = LocalReduction<T>;
    type Local = LocalComm;

    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<LocalRegion<T>, CommError> {
        self.inner.create_shared_region(len)
    }

    fn create_exchange<T: CommData>(
        &self,
        counts: &[usize],
    ) -> Result<LocalExchange<T>, CommError> {
        self.inner.create_exchange(counts)
    }

    fn create_reduction<T: Reducible>(&self, len: usize) -> Result<LocalReduction<T>, CommError> {
        self.inner.create_reduction(len)
    }

    fn split_local(&self) -> Result<LocalComm, CommError> {
        self.inner.split_local()
    }

    fn is_leader(&self) -> bool {
        true
    }
}
