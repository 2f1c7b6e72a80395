//! The backend of a single process: every collective is a copy, every region lives on the heap.

use core::ops::{Deref, Range};

use crate::{
    CommData, CommError, Communicator, ReduceOp, Reducible, RegionReader, SharedMemoryProvider,
    SharedRegion, check,
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
        for (result, value) in recv.iter_mut().zip(send) {
            *result = value.canonical();
        }
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

impl SharedMemoryProvider for LocalComm {
    type Region<T: CommData> = LocalRegion<T>;
    type Local = Self;

    fn create_shared_region<T: CommData>(&self, len: usize) -> Result<LocalRegion<T>, CommError> {
        let mut elements = Vec::new();
        elements
            .try_reserve_exact(len)
            .map_err(|error| CommError::AllocationFailed {
                requested_bytes: len.saturating_mul(size_of::<T>()),
                message: error.to_string(),
            })?;
        elements.resize(len, T::zeroed());
        Ok(LocalRegion { elements })
    }

    fn split_local(&self) -> Result<Self, CommError> {
        Ok(*self)
    }

    fn is_leader(&self) -> bool {
        true
    }
}

/// A region of a [`LocalComm`] in its write epoch.
#[derive(Debug)]
pub struct LocalRegion<T> {
    elements: Vec<T>,
}

/// A region of a [`LocalComm`] in its read epoch.
#[derive(Debug)]
pub struct LocalReader<T> {
    elements: Vec<T>,
}

impl<T: CommData> SharedRegion<T> for LocalRegion<T> {
    type Reader = LocalReader<T>;

    fn len(&self) -> usize {
        self.elements.len()
    }

    fn part(&self) -> Range<usize> {
        0..self.elements.len()
    }

    fn part_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }

    fn fence(self) -> Result<LocalReader<T>, CommError> {
        Ok(LocalReader {
            elements: self.elements,
        })
    }

    fn populate_by_leader<F: FnOnce(&mut [T])>(
        mut self,
        populate: F,
    ) -> Result<LocalReader<T>, CommError> {
        populate(&mut self.elements);
        self.fence()
    }
}

impl<T> Deref for LocalReader<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T: CommData> RegionReader<T> for LocalReader<T> {
    type Writer = LocalRegion<T>;

    fn fence(self) -> Result<LocalRegion<T>, CommError> {
        Ok(LocalRegion {
            elements: self.elements,
        })
    }
}
