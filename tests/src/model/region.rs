//! Regions of which every rank has a copy.

use core::ops::{Deref, Range};
use std::sync::Arc;

use cobre_comm_trait::{
    CommData, CommError, Communicator, FailureCause, Operation, RegionReader, SharedMemoryProvider,
    SharedRegion, block_range,
};

use super::{Fault, ModelComm};

/// A region of a [`ModelComm`] in its write epoch.
#[derive(Debug)]
pub struct ModelRegion<T> {
    comm: ModelComm,
    /// The number of the call that created it.
    id: u64,
    whole: Vec<T>,
}

/// A region of a [`ModelComm`] in its read epoch.
#[derive(Debug)]
pub struct ModelReader<T> {
    comm: ModelComm,
    /// The number of the call that created it.
    id: u64,
    whole: Vec<T>,
}

/// One fence of region `id`, at the end of which all go on `towards` the same.
#[track_caller]
fn exchange(
    comm: &ModelComm,
    id: u64,
    towards: &str,
    mine: Vec<u8>,
) -> Result<Vec<Arc<Vec<u8>>>, CommError> {
    let arguments = format!("region {id} towards {towards}");
    comm.exchange(Operation::Fence, arguments, Vec::new(), mine)
}

/// Fails the job if the leader unwinds while it populates.
struct FailOnUnwind<'a>(&'a ModelComm);

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.leave(FailureCause::Panicked);
    }
}

impl<T: CommData> ModelRegion<T> {
    pub(super) fn new(comm: ModelComm, id: u64, len: usize) -> Self {
        let mut whole = vec![T::zeroed(); len];
        if comm.fault() == Fault::DirtyRegion {
            bytemuck::cast_slice_mut::<T, u8>(&mut whole).fill(1);
        }
        Self { comm, id, whole }
    }

    fn part_of(&self, rank: usize) -> Range<usize> {
        let size = self.comm.size();
        let rank = match self.comm.fault() {
            Fault::PartsInReverse => size - 1 - rank,
            _ => rank,
        };
        block_range(self.whole.len(), size, rank)
    }

    /// Puts everybody's parts together.
    #[track_caller]
    fn collect(&mut self, towards: &str) -> Result<(), CommError> {
        let mine = bytemuck::cast_slice(self.part_mut()).to_vec();
        let all = exchange(&self.comm, self.id, towards, mine)?;
        if self.comm.fault() == Fault::NoSharing {
            return Ok(());
        }
        for (rank, bytes) in all.iter().enumerate() {
            let part = self.part_of(rank);
            bytemuck::cast_slice_mut::<T, u8>(&mut self.whole[part]).copy_from_slice(bytes);
        }
        Ok(())
    }
}

impl<T: CommData> SharedRegion<T> for ModelRegion<T> {
    type Reader = ModelReader<T>;

    fn len(&self) -> usize {
        self.whole.len()
    }

    fn part(&self) -> Range<usize> {
        self.part_of(self.comm.rank())
    }

    fn part_mut(&mut self) -> &mut [T] {
        let part = self.part();
        &mut self.whole[part]
    }

    fn fence(mut self) -> Result<ModelReader<T>, CommError> {
        self.collect("read")?;
        let Self { comm, id, whole } = self;
        Ok(ModelReader { comm, id, whole })
    }

    fn populate_by_leader<F: FnOnce(&mut [T])>(
        mut self,
        populate: F,
    ) -> Result<ModelReader<T>, CommError> {
        self.collect("populate")?;
        let mut mine = Vec::new();
        if self.comm.is_leader() {
            let failing = FailOnUnwind(&self.comm);
            populate(&mut self.whole);
            core::mem::forget(failing);
            mine = bytemuck::cast_slice(&self.whole).to_vec();
        }
        let all = exchange(&self.comm, self.id, "read", mine)?;
        bytemuck::cast_slice_mut::<T, u8>(&mut self.whole).copy_from_slice(&all[0]);
        let Self { comm, id, whole } = self;
        Ok(ModelReader { comm, id, whole })
    }
}

impl<T> Deref for ModelReader<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.whole
    }
}

impl<T: CommData> RegionReader<T> for ModelReader<T> {
    type Writer = ModelRegion<T>;

    fn fence(self) -> Result<ModelRegion<T>, CommError> {
        exchange(&self.comm, self.id, "write", Vec::new())?;
        let Self {
            comm,
            id,
            mut whole,
        } = self;
        if comm.fault() == Fault::ForgetfulRegion {
            whole.fill(T::zeroed());
        }
        Ok(ModelRegion { comm, id, whole })
    }
}
