//! The memory of a window, in no epoch.

use core::{marker::PhantomData, ops::Range};
use std::{fs::File, io, ptr::NonNull, sync::Arc};

use cobre_comm_trait::{CommData, Operation};

use super::{arrange::Arrangement, create::Made, options::WindowPlacement, populate};
use crate::{
    call::{
        core::Core,
        log::{Element, Signature},
    },
    memory::{layout::PAGE, segment::Segment},
    numa,
};

/// Where a fence leads; in its signature, and in [`crate::call::log`] for people.
#[derive(Clone, Copy, Debug)]
pub(super) enum Towards {
    Read = 0,
    Write = 1,
    Leader = 2,
    Exchange = 3,
    Append = 4,
    Results = 5,
}

/// The memory of a window of elements `T`.
#[derive(Debug)]
pub(super) struct Memory<T> {
    pub(super) core: Arc<Core>,
    /// `None` if there are no bytes to share.
    segment: Option<Segment>,
    /// The object behind it, if it grows.
    object: Option<File>,
    /// The same on every rank, another for every window of the communicator.
    pub(super) id: u64,
    arrangement: Arrangement,
    elements: PhantomData<T>,
}

impl<T: CommData> Memory<T> {
    pub(super) fn new(core: &Arc<Core>, made: Made, id: u64) -> Self {
        let Made {
            segment,
            object,
            arrangement,
        } = made;
        Self {
            core: Arc::clone(core),
            segment,
            object,
            id,
            arrangement,
            elements: PhantomData,
        }
    }

    /// The address of `len` elements at `offset` bytes, which is a multiple of the page or of the
    /// elements' size.
    ///
    /// # Panics
    /// If they do not lie in the window.
    pub(super) fn at(&self, offset: usize, len: usize) -> *mut T {
        match &self.segment {
            // A mapping begins on a page; `create` refuses types of larger alignment.
            Some(segment) => segment.at(offset, len * size_of::<T>()).cast(),
            None => {
                assert!(len * size_of::<T>() == 0, "{len} elements of no window");
                NonNull::dangling().as_ptr()
            }
        }
    }

    /// Touches the pages of these elements.
    pub(super) fn touch(&self, elements: &Range<usize>) -> io::Result<()> {
        let Some(segment) = &self.segment else {
            return Ok(());
        };
        let bytes = elements.start * size_of::<T>()..elements.end * size_of::<T>();
        let threads = || self.core.threads();
        populate::touch(segment, self.object.as_ref(), &bytes, threads)
    }

    /// What was asked for, and where the pages are now.
    pub(super) fn placement(&self) -> WindowPlacement {
        let Arrangement {
            requested,
            unplaced,
            small_pages,
            page,
        } = self.arrangement.clone();
        let bytes = self.segment.as_ref().map_or(0..0, |segment| {
            let start = segment.at(0, segment.len()).addr();
            start..start + segment.len()
        });
        WindowPlacement {
            requested,
            unplaced,
            small_pages,
            page_size: page.max(PAGE),
            pages: numa::pages_in(&bytes),
            huge_bytes: numa::huge_bytes_in(&bytes),
        }
    }

    /// The signature of a fence.
    pub(super) fn fence(&self, towards: Towards) -> Signature {
        Signature {
            other: self.id,
            ..Signature::new(Operation::Fence, Element::of::<T>(), towards as usize)
        }
    }
}
