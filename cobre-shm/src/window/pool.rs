//! A window that grows: its address space is there from the beginning, its pages come as it grows.
//!
//! *Append.* All ranks show how many elements they bring, so each knows where its own begin; it touches
//! their pages and fills them; a barrier ends it. Ranks that have not called yet read on meanwhile:
//! what they can see ends where the pool ended before.

#![allow(unsafe_code)]

use core::{
    ops::{Deref, Range},
    panic::Location,
    slice,
};
use std::sync::Arc;

use cobre_comm_trait::{CommData, CommError, Operation, SharedPool, check};

use super::{
    create::{self, Extent},
    memory::{Memory, Towards},
    options::WindowOptions,
    region::FailOnUnwind,
};
use crate::{
    call::{
        core::{Core, Site, Turn},
        log::{Element, Signature},
    },
    collective,
    memory::object::{self, Refused},
};

/// A pool in a window.
#[derive(Debug)]
pub struct ShmPool<T> {
    memory: Memory<T>,
    len: usize,
    capacity: usize,
}

impl<T: CommData> ShmPool<T> {
    /// Creates an empty pool. Collective.
    pub(crate) fn create(core: &Arc<Core>, capacity: usize, site: Site) -> Result<Self, CommError> {
        let signature = Signature::new(Operation::CreatePool, Element::of::<T>(), capacity);
        let extent = Extent {
            bytes: capacity.checked_mul(size_of::<T>()),
            own: Vec::new(),
            options: WindowOptions::new(),
            grows: true,
        };
        let memory = create::memory(core, signature, site, Ok(()), &extent)?;
        Ok(Self {
            memory,
            len: 0,
            capacity,
        })
    }

    /// Makes room for `count` elements of this rank. Returns where they are, and where those of all
    /// ranks end. Collective; when it returns, all ranks are appending.
    fn reserve(
        &self,
        turn: &mut Turn<'_>,
        count: usize,
        site: Site,
    ) -> Result<(Range<usize>, usize), CommError> {
        let signature = Signature {
            other: self.memory.id,
            ..Signature::new(Operation::Append, Element::of::<T>(), count)
        };
        let room = self.capacity - self.len;
        turn.collective(signature, site, Ok(()), |rounds| {
            let counts = collective::gather_all(rounds, count as u64)?;
            let sum = |counts: &[u64]| {
                let mut counts = counts.iter();
                counts.try_fold(0_usize, |sum, &count| {
                    sum.checked_add(usize::try_from(count).ok()?)
                })
            };
            // The same on every rank.
            let total = sum(&counts);
            if let Err(error) = check::append::<T>(total, room) {
                return Ok(Err(error));
            }
            let before = sum(&counts[..rounds.rank()]).unwrap_or(0);
            let start = self.len + before;
            let mine = start..start + count;
            let touched = self.memory.touch(&mine);
            let agreed = object::agree(rounds, touched)?;
            let end = self.len + total.unwrap_or(0);
            Ok(match agreed {
                Ok(()) => Ok((mine, end)),
                Err(Refused { rank, error }) => Err(create::refused(
                    total.map(|total| total * size_of::<T>()),
                    rank,
                    &error,
                )),
            })
        })?
    }
}

impl<T: CommData> Deref for ShmPool<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let start = self.memory.at(0, self.len);
        // SAFETY: nobody writes below `len`: ranks that append write above it, and `len` grows only
        // behind the barrier at which all have finished writing. Every bit pattern is a `T`.
        unsafe { slice::from_raw_parts(start, self.len) }
    }
}

impl<T: CommData> SharedPool<T> for ShmPool<T> {
    fn capacity(&self) -> usize {
        self.capacity
    }

    #[track_caller]
    fn append<F: FnOnce(&mut [T])>(
        &mut self,
        count: usize,
        fill: F,
    ) -> Result<Range<usize>, CommError> {
        let site = Location::caller();
        let core = &self.memory.core;
        let mut turn = core.turn(Operation::Append)?;
        let (mine, end) = self.reserve(&mut turn, count, site)?;
        let failing = FailOnUnwind(core);
        let start = self.memory.at(mine.start * size_of::<T>(), count);
        // SAFETY: the elements lie in the window, above all that anybody can read before the barrier
        // below; ranges of different ranks do not overlap. Every bit pattern is a `T`.
        let elements = unsafe { slice::from_raw_parts_mut(start, count) };
        turn.fill(|| fill(elements));
        core::mem::forget(failing);
        let signature = self.memory.fence(Towards::Append);
        turn.collective(signature, site, Ok(()), collective::barrier)?;
        drop(turn);
        self.len = end;
        Ok(mine)
    }
}
