//! A window in its write epoch, and in the leader's.

#![allow(unsafe_code)]

use core::{ops::Range, panic::Location, slice};
use std::sync::Arc;

use cobre_comm_trait::{
    CommData, CommError, FailureCause, Operation, SharedRegion, block_range, check,
};

use super::{
    create::{self, Extent},
    memory::{Memory, Towards},
    options::{WindowOptions, WindowPlacement},
    reader::ShmReader,
};
use crate::{
    call::{
        core::{Core, Site, Turn},
        log::{Element, Signature},
    },
    collective,
    sync::failure::Kind,
};

/// A window in its write epoch.
#[derive(Debug)]
pub struct ShmRegion<T>(pub(super) Table<T>);

/// One array of elements, in no epoch.
#[derive(Debug)]
pub(super) struct Table<T> {
    memory: Memory<T>,
    len: usize,
    /// This rank's part.
    part: Range<usize>,
}

impl<T: CommData> Table<T> {
    /// All elements.
    pub(super) fn all(&self) -> (*mut T, usize) {
        (self.memory.at(0, self.len), self.len)
    }

    pub(super) fn placement(&self) -> WindowPlacement {
        self.memory.placement()
    }

    /// The turn for a call that has taken the window by value.
    fn turn(&self) -> Result<Turn<'_>, CommError> {
        self.memory.core.next_turn(Operation::Fence)
    }

    pub(super) fn fence(&self, towards: Towards, site: Site) -> Result<(), CommError> {
        self.fence_in(&mut self.turn()?, towards, site)
    }

    fn fence_in(&self, turn: &mut Turn<'_>, towards: Towards, site: Site) -> Result<(), CommError> {
        let signature = self.memory.fence(towards);
        turn.collective(signature, site, Ok(()), collective::barrier)
    }
}

impl<T: CommData> Table<T> {
    /// The leader's epoch, from either of the others, and then the read epoch.
    pub(super) fn led<F: FnOnce(&mut [T])>(&self, write: F, site: Site) -> Result<(), CommError> {
        let mut turn = self.turn()?;
        self.fence_in(&mut turn, Towards::Leader, site)?;
        if self.memory.core.rank() == 0 {
            let failing = FailOnUnwind(&self.memory.core, Operation::Fence);
            let (start, len) = self.all();
            // SAFETY: every rank has passed the fence into the leader's epoch, in which only rank 0
            // has access, here; it ends with the fence below. Every bit pattern is a `T`.
            let elements = unsafe { slice::from_raw_parts_mut(start, len) };
            turn.fill(|| write(elements));
            core::mem::forget(failing);
        }
        self.fence_in(&mut turn, Towards::Read, site)
    }
}

impl<T: CommData> ShmRegion<T> {
    /// Creates a region of `len` zeroed elements. Collective.
    pub(crate) fn create(
        core: &Arc<Core>,
        len: usize,
        options: &WindowOptions,
        site: Site,
    ) -> Result<Self, CommError> {
        let mut turn = core.turn(Operation::CreateRegion)?;
        Self::create_in(core, &mut turn, len, options, site)
    }

    /// As [`create`](Self::create), in `turn` of `core`.
    pub(crate) fn create_in(
        core: &Arc<Core>,
        turn: &mut Turn<'_>,
        len: usize,
        options: &WindowOptions,
        site: Site,
    ) -> Result<Self, CommError> {
        let parts = options.parts.as_deref();
        let checked = parts.map_or(Ok(()), |parts| check::parts(core.size(), len, parts));
        let part = match parts {
            None => block_range(len, core.size(), core.rank()),
            Some(parts) => parts.get(core.rank()).cloned().unwrap_or_default(),
        };
        let own =
            part.start.saturating_mul(size_of::<T>())..part.end.saturating_mul(size_of::<T>());
        let extent = Extent {
            bytes: len.checked_mul(size_of::<T>()),
            own: vec![own],
            options: options.clone(),
            grows: false,
        };
        let signature = Signature {
            detail: options.code(),
            ..Signature::new(Operation::CreateRegion, Element::of::<T>(), len)
        };
        let memory = create::memory_in(core, turn, signature, site, checked, &extent)?;
        Ok(Self(Table { memory, len, part }))
    }

    /// The elements, for a program that keeps an order of accesses of its own instead of the epochs.
    pub(crate) fn address(&self) -> *mut T {
        self.0.all().0
    }

    /// Ends the accesses of a program that keeps that order: the elements are results from here on. Collective.
    pub(crate) fn finish(&self, site: Site) -> Result<(), CommError> {
        self.0.fence(Towards::Results, site)
    }

    /// Where the pages were asked to lie, and where they are. Not collective.
    #[must_use]
    pub fn placement(&self) -> WindowPlacement {
        self.0.placement()
    }
}

impl<T: CommData> SharedRegion<T> for ShmRegion<T> {
    type Reader = ShmReader<T>;

    fn len(&self) -> usize {
        self.0.len
    }

    fn part(&self) -> Range<usize> {
        self.0.part.clone()
    }

    fn part_mut(&mut self) -> &mut [T] {
        let part = self.part();
        let start = self.0.all().0.wrapping_add(part.start);
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
        self.0.led(populate, Location::caller())?;
        Ok(ShmReader(self.0))
    }
}

/// Fails the job if code of the program unwinds within the operation, while others wait for what it writes.
pub(super) struct FailOnUnwind<'a>(pub(super) &'a Core, pub(super) Operation);

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        let panicked = Kind::RankFailed(FailureCause::Panicked);
        self.0.fail(Some(self.1), panicked);
    }
}
