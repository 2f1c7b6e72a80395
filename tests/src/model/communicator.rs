//! The collectives as exchanges of copies.

use core::any::type_name;
use core::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cobre_comm_trait::{
    Call, CommData, CommError, Communicator, FailureCause, Operation, ReduceOp, Reducible,
    SharedMemoryProvider, check,
};

use super::job::{Brought, Job};
use super::{Fault, ModelExchange, ModelReduction, ModelRegion};

/// One rank of a job of threads.
#[derive(Debug)]
pub struct ModelComm {
    rank: usize,
    job: Arc<Job>,
    counter: Arc<Counter>,
}

/// Shared by a communicator and its regions; the last one to go leaves the job.
#[derive(Debug)]
struct Counter {
    rank: usize,
    job: Arc<Job>,
    calls: AtomicU64,
    broadcasts: AtomicU64,
}

impl Drop for Counter {
    fn drop(&mut self) {
        let cause = if std::thread::panicking() {
            FailureCause::Panicked
        } else {
            FailureCause::Exited(None)
        };
        self.job.leave(self.rank, cause);
    }
}

impl ModelComm {
    /// All ranks of a job, in order, with the same fault.
    #[must_use]
    pub fn job(size: usize, fault: Fault) -> Vec<Self> {
        let job = Job::new(size, fault);
        (0..size)
            .map(|rank| Self::of(Arc::clone(&job), rank))
            .collect()
    }

    fn of(job: Arc<Job>, rank: usize) -> Self {
        let counter = Arc::new(Counter {
            rank,
            job: Arc::clone(&job),
            calls: AtomicU64::new(0),
            broadcasts: AtomicU64::new(0),
        });
        Self { rank, job, counter }
    }

    /// The same rank, for a region that outlives the borrow.
    pub(super) fn handle(&self) -> Self {
        Self {
            rank: self.rank,
            job: Arc::clone(&self.job),
            counter: Arc::clone(&self.counter),
        }
    }

    pub(super) fn leave(&self, cause: FailureCause) {
        self.job.leave(self.rank, cause);
    }

    pub(super) fn fault(&self) -> Fault {
        self.job.fault
    }

    #[track_caller]
    fn call(&self, operation: Operation, arguments: String) -> Call {
        let number = self.counter.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Location::caller();
        let place = format!("{}:{}", place.file(), place.line());
        Call::new(self.rank, number, operation, arguments, Some(place))
    }

    /// Exchanges bytes in one collective.
    #[track_caller]
    pub(super) fn exchange(
        &self,
        operation: Operation,
        arguments: String,
        agreed: Vec<usize>,
        mut bytes: Vec<u8>,
    ) -> Result<Vec<Arc<Vec<u8>>>, CommError> {
        let whole = bytes.len();
        match self.fault() {
            Fault::LostTail => bytes.truncate(whole / 8 * 8),
            Fault::LostBeyond64KiB => bytes.truncate(1 << 16),
            _ => {}
        }
        bytes.resize(whole, 0);
        self.job.meet(Brought {
            call: self.call(operation, arguments),
            agreed,
            bytes: Arc::new(bytes),
        })
    }

    /// Tells the peers if this rank's own arguments are wrong.
    #[track_caller]
    pub(super) fn admit(
        &self,
        operation: Operation,
        outcome: Result<(), CommError>,
    ) -> Result<(), CommError> {
        let Err(error) = outcome else {
            return Ok(());
        };
        let call = self.call(operation, "rejected".to_owned());
        self.job.reject(call);
        Err(error)
    }
}

impl ModelComm {
    /// Agrees to make something of so many elements; its number.
    #[track_caller]
    fn create<T: CommData>(
        &self,
        operation: Operation,
        lens: Vec<usize>,
    ) -> Result<u64, CommError> {
        let len = lens
            .iter()
            .fold(0_usize, |len, &more| len.saturating_add(more));
        let arguments = format!("{}[{len}] {lens:?}", type_name::<T>());
        self.exchange(operation, arguments, lens, Vec::new())?;
        let requested_bytes = len.saturating_mul(size_of::<T>());
        if requested_bytes > 1 << 40 {
            if self.fault() == Fault::FinalAllocationFailure {
                self.job.reject(self.call(operation, String::new()));
            }
            return Err(CommError::AllocationFailed {
                requested_bytes,
                message: "more than anybody has".to_owned(),
            });
        }
        Ok(self.counter.calls.load(Ordering::Relaxed))
    }
}

impl Communicator for ModelComm {
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        let ranks = (self.rank, self.job.size);
        let valid = check::allgatherv(ranks, send.len(), recv.len(), counts, displs);
        self.admit(Operation::Allgatherv, valid)?;
        let all = self.exchange(
            Operation::Allgatherv,
            format!("{} counts {counts:?}", type_name::<T>()),
            counts.to_vec(),
            bytemuck::cast_slice(send).to_vec(),
        )?;
        let fault = self.fault();
        let confused = fault == Fault::ConfusedByNothing && counts.len() > 1 && counts[1] == 0;
        let mut end = 0;
        for (rank, bytes) in all.iter().enumerate() {
            let bytes = match rank {
                0 if confused => &all[1],
                _ => bytes,
            };
            let from: &[u8] = bytes;
            let start = match fault {
                Fault::IgnoredDispls => end,
                _ => displs[rank],
            };
            if counts[rank] > 0 {
                let to = &mut recv[start..start + counts[rank]];
                let to: &mut [u8] = bytemuck::cast_slice_mut(to);
                let len = to.len().min(from.len());
                to[..len].copy_from_slice(&from[..len]);
            }
            end += counts[rank];
            let behind = displs[rank] + counts[rank];
            let free = counts
                .iter()
                .zip(displs)
                .all(|(&count, &displ)| !(displ..displ + count).contains(&behind));
            if fault == Fault::OverwrittenGap && free && behind < recv.len() {
                recv[behind] = T::zeroed();
            }
        }
        Ok(())
    }

    fn allreduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        let valid = check::allreduce::<T>(send.len(), recv.len(), op);
        self.admit(Operation::Allreduce, valid)?;
        let all = self.exchange(
            Operation::Allreduce,
            format!("{}[{}], {op}", T::NAME, send.len()),
            vec![send.len(), op as usize],
            bytemuck::cast_slice(send).to_vec(),
        )?;
        let mut operands: Vec<Vec<T>> = all
            .iter()
            .map(|bytes| {
                let mut operands = vec![T::zeroed(); send.len()];
                bytemuck::cast_slice_mut::<T, u8>(&mut operands).copy_from_slice(bytes);
                operands
            })
            .collect();
        match self.fault() {
            Fault::ReduceFromTheLast => operands.reverse(),
            Fault::OwnOperandFirst => operands.swap(0, self.rank),
            _ => {}
        }
        for (i, result) in recv.iter_mut().enumerate() {
            let mut values: Vec<T> = operands.iter().map(|of_rank| of_rank[i]).collect();
            if self.fault() == Fault::ReduceInPairs {
                values = values
                    .chunks(2)
                    .map(|pair| match *pair {
                        [one, other] => one.combine(other, op),
                        _ => pair[0],
                    })
                    .collect();
            }
            let mut rest = values.iter().skip(1);
            let first = values[0];
            *result = rest.by_ref().fold(first, |sum, &v| sum.combine(v, op));
            if self.fault() != Fault::NanAsItComes {
                *result = result.canonical();
            }
        }
        Ok(())
    }

    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        self.admit(Operation::Broadcast, check::broadcast(root, self.job.size))?;
        let stale = self.counter.broadcasts.fetch_add(1, Ordering::Relaxed) % 50 == 49;
        let mine = if root == self.rank {
            bytemuck::cast_slice(buf).to_vec()
        } else {
            Vec::new()
        };
        let all = self.exchange(
            Operation::Broadcast,
            format!("{}[{}] from {root}", type_name::<T>(), buf.len()),
            vec![root, buf.len()],
            mine,
        )?;
        let to: &mut [u8] = bytemuck::cast_slice_mut(buf);
        let stale = stale && self.fault() == Fault::StaleBroadcast;
        if root != self.rank && !stale && all[root].len() == to.len() {
            to.copy_from_slice(&all[root]);
        }
        Ok(())
    }

    fn barrier(&self) -> Result<(), CommError> {
        if self.fault() == Fault::NoBarrier {
            return self.job.failed();
        }
        self.exchange(Operation::Barrier, String::new(), Vec::new(), Vec::new())
            .map(drop)
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.job.size
    }

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

impl SharedMemoryProvider for ModelComm {
    type Region<T: CommData> = ModelRegion<T>;
    type Exchange<T: CommData> = ModelExchange<T>;
    type Reduction<T: Reducible> = ModelReduction<T>;
    type Local = Self;

    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<ModelRegion<T>, CommError> {
        let id = self.create::<T>(Operation::CreateRegion, vec![len])?;
        Ok(ModelRegion::new(self.handle(), id, len))
    }

    fn create_exchange<T: CommData>(
        &self,
        counts: &[usize],
    ) -> Result<ModelExchange<T>, CommError> {
        let valid = check::create_exchange(self.job.size, counts);
        self.admit(Operation::CreateExchange, valid)?;
        let id = self.create::<T>(Operation::CreateExchange, counts.to_vec())?;
        Ok(ModelExchange::new(self.handle(), id, counts))
    }

    fn create_reduction<T: Reducible>(&self, len: usize) -> Result<ModelReduction<T>, CommError> {
        let id = self.create::<T>(Operation::CreateReduction, vec![len])?;
        Ok(ModelReduction::new(self.handle(), id, len))
    }

    fn split_local(&self) -> Result<Self, CommError> {
        let call = self.call(Operation::SplitLocal, String::new());
        let child = self.job.child(call.number);
        self.job.meet(Brought {
            call,
            agreed: Vec::new(),
            bytes: Arc::default(),
        })?;
        Ok(match self.fault() {
            Fault::SharedSplit => self.handle(),
            Fault::ReversedSplit => Self::of(child, self.job.size - 1 - self.rank),
            _ => Self::of(child, self.rank),
        })
    }

    fn is_leader(&self) -> bool {
        self.rank == 0 || self.fault() == Fault::LeaderEverywhere
    }
}
