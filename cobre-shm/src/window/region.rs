//! A window in its write epoch, and in the leader's.

#![allow(unsafe_code)]

use core::{ops::Range, panic::Location, slice};

use cobre_comm_trait::{CommData, CommError, FailureCause, Operation, SharedRegion};

use super::{
    memory::{Memory, Towards},
    reader::ShmReader,
};
use crate::{core::Core, failure::Kind};

/// A window in its write epoch.
#[derive(Debug)]
pub struct ShmRegion<T>(pub(super) Memory<T>);

impl<T: CommData> SharedRegion<T> for ShmRegion<T> {
    type Reader = ShmReader<T>;

    fn len(&self) -> usize {
        self.0.len
    }

    fn part(&self) -> Range<usize> {
        self.0.part()
    }

    fn part_mut(&mut self) -> &mut [T] {
        let part = self.0.part();
        let start = self.0.address().wrapping_add(part.start);
        // SAFETY: the part lies inside the window. In the write epoch each rank has access to its
        // own part alone, parts do not overlap, and a fence that takes `self` ends the epoch; so
        // this `&mut` is the only reference. Every bit pattern is a `T`.
        unsafe { slice::from_raw_parts_mut(start, part.len()) }
    }

    #[track_caller]
    fn fence(self) -> Result<ShmReader<T>, CommError> {
        self.0.fence(Towards::Read, Location::caller())?;
        Ok(ShmReader(self.0))
    }

    #[track_caller]
    fn populate_by_leader<F: FnOnce(&mut [T])>(
        self,
        populate: F,
    ) -> Result<ShmReader<T>, CommError> {
        let memory = self.0;
        memory.fence(Towards::Leader, Location::caller())?;
        if memory.core.rank() == 0 {
            let failing = FailOnUnwind(&memory.core);
            // SAFETY: every rank has passed the fence into the leader's epoch, in which only rank 0
            // has access, here; it ends with the fence below. Every bit pattern is a `T`.
            populate(unsafe { slice::from_raw_parts_mut(memory.address(), memory.len) });
            core::mem::forget(failing);
        }
        memory.fence(Towards::Read, Location::caller())?;
        Ok(ShmReader(memory))
    }
}

/// Fails the job if the leader unwinds while the others wait for what it populates.
struct FailOnUnwind<'a>(&'a Core);

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        let panicked = Kind::RankFailed(FailureCause::Panicked);
        self.0.fail(Some(Operation::Fence), panicked);
    }
}
