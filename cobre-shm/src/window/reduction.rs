//! An operand of each rank, and their result, which each rank folds a share of.

#![allow(unsafe_code)]

use core::{panic::Location, slice};
use std::sync::Arc;

use cobre_comm_trait::{
    CommError, Operation, ReduceOp, Reducible, SharedReduction, block_range, check,
};

use super::{
    create::{self, Extent},
    memory::Memory,
    options::WindowOptions,
};
use crate::{
    call::{
        core::{Core, Site},
        log::{Element, Signature},
    },
    collective::{self, reduce},
    memory::layout::PAGE,
};

/// A reduction in a window.
#[derive(Debug)]
pub struct ShmReduction<T> {
    memory: Memory<T>,
    len: usize,
    /// Whether the last reduction that began its rounds also ended them.
    granted: bool,
}

/// Bytes from one operand to the next, and from the last one to the result.
fn stride<T>(len: usize) -> Option<usize> {
    len.checked_mul(size_of::<T>())?
        .checked_next_multiple_of(PAGE)
}

/// All bytes, and those of this rank's operand and its share of the result.
fn extent<T>(core: &Core, len: usize) -> Option<Extent> {
    let (rank, size, stride) = (core.rank(), core.size(), stride::<T>(len)?);
    let result = stride.checked_mul(size)?;
    let bytes = result.checked_add(len * size_of::<T>())?;
    let operand = rank * stride;
    let share = block_range(len, size, rank);
    let share = result + share.start * size_of::<T>()..result + share.end * size_of::<T>();
    Some(Extent {
        bytes: Some(bytes),
        own: vec![operand..operand + len * size_of::<T>(), share],
        options: WindowOptions::new(),
        grows: false,
    })
}

impl<T: Reducible> ShmReduction<T> {
    /// Creates a reduction. Collective.
    pub(crate) fn create(core: &Arc<Core>, len: usize, site: Site) -> Result<Self, CommError> {
        let signature = Signature::new(Operation::CreateReduction, Element::of::<T>(), len);
        let extent = extent::<T>(core, len).unwrap_or_default();
        Ok(Self {
            memory: create::memory(core, signature, site, Ok(()), &extent)?,
            len,
            granted: true,
        })
    }

    /// Elements of the operand and of the result that are granted.
    fn granted(&self) -> usize {
        if self.granted { self.len } else { 0 }
    }

    /// `len` elements of the operand of `rank`, or of the result, which lies behind the last one.
    fn at(&self, rank: usize, len: usize) -> *mut T {
        // It could be counted when the memory was made.
        let stride = stride::<T>(self.len).unwrap_or(0);
        self.memory.at(rank * stride, len)
    }
}

impl<T: Reducible> SharedReduction<T> for ShmReduction<T> {
    fn result(&self) -> &[T] {
        let len = self.granted();
        let start = self.at(self.memory.core.size(), len);
        // SAFETY: the result is written within `reduce` only, after all ranks have arrived there, with
        // `&mut self`. Every bit pattern is a `T`.
        unsafe { slice::from_raw_parts(start, len) }
    }

    fn split_mut(&mut self) -> (&mut [T], &[T]) {
        let len = self.granted();
        let start = self.at(self.memory.core.rank(), len);
        // SAFETY: a rank's operand is read by others within `reduce` only, between its two rounds,
        // in both of which this rank takes part with `&mut self`. Every bit pattern is a `T`.
        let operand = unsafe { slice::from_raw_parts_mut(start, len) };
        (operand, self.result())
    }

    #[track_caller]
    fn reduce(&mut self, op: ReduceOp) -> Result<&[T], CommError> {
        let signature = Signature {
            other: self.memory.id,
            reduce: Some(op),
            ..Signature::new(Operation::Allreduce, Element::of::<T>(), self.len)
        };
        let checked = check::allreduce::<T>(self.len, self.len, op);
        let (rank, size) = (self.memory.core.rank(), self.memory.core.size());
        let share = block_range(self.len, size, rank);
        let source = |rank| {
            self.at(rank, self.len)
                .wrapping_add(share.start)
                .cast_const()
        };
        let result = self.at(size, self.len).wrapping_add(share.start);
        let mut granted = self.granted;
        let core = &self.memory.core;
        let outcome = core.collective(signature, Location::caller(), checked, |rounds| {
            // It may succeed elsewhere and fail here.
            granted = false;
            collective::barrier(rounds)?;
            // SAFETY: all have arrived, so nobody has a slice of the result, and each rank writes its
            // own share of it alone.
            let result = unsafe { slice::from_raw_parts_mut(result, share.len()) };
            // SAFETY: nor has anybody a slice of operands, and nobody writes them before the next round.
            // The share lies inside each of them, and none of them in the result.
            unsafe { reduce::fold(op, result, size, source, reduce::modes::<T>()) };
            collective::barrier(rounds)?;
            granted = true;
            Ok(())
        });
        self.granted = granted;
        outcome?;
        Ok(self.result())
    }
}
