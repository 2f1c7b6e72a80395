//! Two copies of an array: one is written while the other is read, and a fence swaps them.

#![allow(unsafe_code)]

use core::{ops::Range, panic::Location, slice};
use std::sync::Arc;

use cobre_comm_trait::{
    CommData, CommError, Operation, ReduceOp, Reducible, SharedExchange, check,
};

use super::{
    create::{self, Extent},
    memory::{Memory, Towards},
    options::WindowOptions,
};
use crate::{
    call::{
        core::{Core, Site},
        log::{Element, Signature, hash_counts},
    },
    collective::{self, reduce},
    memory::layout::PAGE,
};

/// An exchange in a window.
#[derive(Debug)]
pub struct ShmExchange<T> {
    memory: Memory<T>,
    /// Where each rank's part begins, in elements, and where the last one ends.
    starts: Box<[usize]>,
    /// Where the copies begin, in bytes: the one that is written and the one that is shown.
    written: usize,
    shown: usize,
    /// Whether the last fence that began its rounds also ended them.
    granted: bool,
}

/// Where the parts begin, where the last one ends, and where in bytes the second copy begins.
fn layout<T>(counts: &[usize]) -> Option<(Box<[usize]>, usize)> {
    let mut end = 0_usize;
    let mut starts = vec![0];
    for &count in counts {
        end = end.checked_add(count)?;
        starts.push(end);
    }
    let second = end.checked_mul(size_of::<T>())?;
    let second = second.checked_next_multiple_of(PAGE)?;
    Some((starts.into(), second))
}

impl<T: CommData> ShmExchange<T> {
    /// Creates an exchange. Collective.
    pub(crate) fn create(
        core: &Arc<Core>,
        counts: &[usize],
        site: Site,
    ) -> Result<Self, CommError> {
        let checked = check::create_exchange(core.size(), counts);
        let (total, detail) = hash_counts(counts);
        let signature = Signature {
            count: total,
            detail,
            ..Signature::new(Operation::CreateExchange, Element::of::<T>(), 0)
        };
        let layout = layout::<T>(counts);
        let extent = match (&checked, &layout) {
            (Ok(()), Some((starts, second))) => extent::<T>(core, starts, *second),
            _ => Extent::default(),
        };
        let memory = create::memory(core, signature, site, checked, &extent)?;
        // Memory was had, so its layout can be counted.
        let (starts, second) = layout.unwrap_or_default();
        Ok(Self {
            memory,
            starts,
            written: 0,
            shown: second,
            granted: true,
        })
    }

    /// The elements of a copy that are granted to me, and none after a fence that failed on the way.
    fn grant(&self, part: Range<usize>) -> Range<usize> {
        if self.granted { part } else { 0..0 }
    }

    fn at(&self, copy: usize, part: &Range<usize>) -> *mut T {
        self.memory
            .at(copy + part.start * size_of::<T>(), part.len())
    }

    /// Everything that is shown.
    fn all(&self) -> Range<usize> {
        self.grant(0..self.starts.last().copied().unwrap_or(0))
    }
}

/// All bytes, and those of this rank's two parts.
fn extent<T>(core: &Core, starts: &[usize], second: usize) -> Extent {
    let bytes = |elements: usize| elements.saturating_mul(size_of::<T>());
    let own = bytes(starts[core.rank()])..bytes(starts[core.rank() + 1]);
    let again = own.start.saturating_add(second)..own.end.saturating_add(second);
    Extent {
        bytes: bytes(starts[core.size()]).checked_add(second),
        own: vec![own, again],
        options: WindowOptions::new(),
        grows: false,
    }
}

impl<T: CommData> SharedExchange<T> for ShmExchange<T> {
    fn part_of(&self, rank: usize) -> Range<usize> {
        self.starts[rank]..self.starts[rank + 1]
    }

    fn shown(&self) -> &[T] {
        let all = self.all();
        let start = self.at(self.shown, &all);
        // SAFETY: until this rank arrives at the next fence, which takes `&mut self`, nobody writes the
        // copy that is shown: who has passed that fence writes it, and nobody passes it before all
        // have arrived. Every bit pattern is a `T`.
        unsafe { slice::from_raw_parts(start, all.len()) }
    }

    fn split_mut(&mut self) -> (&mut [T], &[T]) {
        let part = self.grant(self.part_of(self.memory.core.rank()));
        let start = self.at(self.written, &part);
        // SAFETY: of the copy that is written each rank has access to its own part alone, parts do not
        // overlap, and both slices borrow from `self`, which the fence takes by `&mut`; so this is the
        // only reference to it. Every bit pattern is a `T`.
        let part = unsafe { slice::from_raw_parts_mut(start, part.len()) };
        (part, self.shown())
    }

    #[track_caller]
    fn fence(&mut self) -> Result<(), CommError> {
        let signature = self.memory.fence(Towards::Exchange);
        let granted = &mut self.granted;
        let core = &self.memory.core;
        core.collective(signature, Location::caller(), Ok(()), |rounds| {
            // It may succeed elsewhere and fail here.
            *granted = false;
            collective::barrier(rounds)?;
            *granted = true;
            Ok(())
        })?;
        core::mem::swap(&mut self.written, &mut self.shown);
        Ok(())
    }

    fn reduce_into(&self, out: &mut [T], op: ReduceOp) -> Result<(), CommError>
    where
        T: Reducible,
    {
        let size = self.memory.core.size();
        let parts = || (0..size).map(|rank| self.grant(self.part_of(rank)));
        check::reduce_into::<T>(parts().map(|part| part.len()), out.len(), op)?;
        let source = |rank| self.shown_by(rank).as_ptr();
        // SAFETY: every part has `out.len()` elements, checked above, and is not written while `self`
        // is borrowed; `out` is another `&mut` slice.
        unsafe { reduce::fold(op, out, size, source, reduce::modes::<T>()) };
        Ok(())
    }
}
