//! The memory of a window, in no epoch, and the fence between epochs.

use core::{marker::PhantomData, ops::Range};
use std::{ptr::NonNull, sync::Arc};

use cobre_comm_trait::{CommData, CommError, Operation, block_range};

use crate::{
    calls::{Element, Signature},
    collective,
    core::{Core, Site},
    segment::Segment,
};

/// Where a fence leads; in its signature, and in [`crate::calls`] for people.
#[derive(Clone, Copy, Debug)]
pub(super) enum Towards {
    Read = 0,
    Write = 1,
    Leader = 2,
}

/// The memory of a window, in no epoch.
#[derive(Debug)]
pub(super) struct Memory<T> {
    pub(super) core: Arc<Core>,
    /// `None` if there are no bytes to share.
    segment: Option<Segment>,
    pub(super) len: usize,
    /// The same on every rank, another for every region of the communicator.
    id: u64,
    elements: PhantomData<T>,
}

impl<T: CommData> Memory<T> {
    pub(super) fn new(core: &Arc<Core>, segment: Option<Segment>, len: usize, id: u64) -> Self {
        Self {
            core: Arc::clone(core),
            segment,
            len,
            id,
            elements: PhantomData,
        }
    }

    pub(super) fn address(&self) -> *mut T {
        match &self.segment {
            // A mapping begins on a page; `create` refuses types of larger alignment.
            Some(segment) => segment.at(0, self.len * size_of::<T>()).cast(),
            None => NonNull::dangling().as_ptr(),
        }
    }

    pub(super) fn part(&self) -> Range<usize> {
        block_range(self.len, self.core.size(), self.core.rank())
    }

    pub(super) fn fence(&self, towards: Towards, site: Site) -> Result<(), CommError> {
        let signature = Signature {
            other: self.id,
            ..Signature::new(Operation::Fence, Element::of::<T>(), towards as usize)
        };
        self.core
            .collective(signature, site, Ok(()), collective::barrier)
    }
}
