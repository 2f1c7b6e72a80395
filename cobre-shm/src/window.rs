//! Windows: one copy of an array for all ranks.
//!
//! *Creation.* The leader makes an object without a name ([`crate::object`]); everybody maps it and
//! reserves the pages of its own part, which so lie near their owner; everybody shows how that went.
//! If anybody failed, all fail.
//!
//! *Epochs.* In the write epoch a rank can reach its own part only, as `&mut`; in the read epoch all
//! of it, as `&`. The fence between them is a barrier whose signature names the region and the epoch
//! it leads to, so ranks cannot come to be in different ones. It takes the region by value and gives
//! it back as the other type, so no reference of the old epoch is left. The barrier's Release and
//! Acquire make the writes visible.

#![allow(unsafe_code)]

use core::{
    marker::PhantomData,
    ops::{Deref, Range},
    panic::Location,
    slice,
};
use std::{fs::File, io, ptr::NonNull, sync::Arc};

use cobre_comm_trait::{
    CommData, CommError, FailureCause, Operation, RegionReader, SharedRegion, block_range,
};

use crate::{
    calls::{Element, Signature},
    collective::{self, JobRounds},
    core::{Core, Site},
    failure::Kind,
    layout::PAGE,
    object::{self, Agreed, Refused},
    segment::Segment,
    sys::shm,
};

/// Where a fence leads; in its signature, and in [`crate::calls`] for people.
#[derive(Clone, Copy, Debug)]
enum Towards {
    Read = 0,
    Write = 1,
    Leader = 2,
}

/// The memory of a window, in no epoch.
#[derive(Debug)]
struct Memory<T> {
    core: Arc<Core>,
    /// `None` if there are no bytes to share.
    segment: Option<Segment>,
    len: usize,
    /// The same on every rank, another for every region of the communicator.
    id: u64,
    elements: PhantomData<T>,
}

/// A window in its write epoch.
#[derive(Debug)]
pub struct ShmRegion<T>(Memory<T>);

/// A window in its read epoch.
#[derive(Debug)]
pub struct ShmReader<T>(Memory<T>);

impl<T: CommData> Memory<T> {
    fn address(&self) -> *mut T {
        match &self.segment {
            // A mapping begins on a page; `create` refuses types of larger alignment.
            Some(segment) => segment.at(0, self.len * size_of::<T>()).cast(),
            None => NonNull::dangling().as_ptr(),
        }
    }

    fn part(&self) -> Range<usize> {
        block_range(self.len, self.core.size(), self.core.rank())
    }

    fn fence(&self, towards: Towards, site: Site) -> Result<(), CommError> {
        let signature = Signature {
            other: self.id,
            ..Signature::new(Operation::Fence, Element::of::<T>(), towards as usize)
        };
        self.core
            .collective(signature, site, Ok(()), collective::barrier)
    }
}

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

impl<T: CommData> Deref for ShmReader<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: in the read epoch every rank has `&` access to the whole window and none has
        // `&mut`; the epoch ends with a fence that takes `self`. Every bit pattern is a `T`.
        unsafe { slice::from_raw_parts(self.0.address(), self.0.len) }
    }
}

impl<T: CommData> RegionReader<T> for ShmReader<T> {
    type Writer = ShmRegion<T>;

    #[track_caller]
    fn fence(self) -> Result<ShmRegion<T>, CommError> {
        self.0.fence(Towards::Write, Location::caller())?;
        Ok(ShmRegion(self.0))
    }
}

/// Creates a window of `len` zeroed elements. Collective.
pub(crate) fn create<T: CommData>(
    core: &Arc<Core>,
    len: usize,
    site: Site,
) -> Result<ShmRegion<T>, CommError> {
    let signature = Signature::new(Operation::CreateRegion, Element::of::<T>(), len);
    let refused = |bytes, message: &str| CommError::AllocationFailed {
        requested_bytes: bytes,
        message: message.to_owned(),
    };
    let bytes = len
        .checked_mul(size_of::<T>())
        .filter(|bytes| isize::try_from(*bytes).is_ok() && align_of::<T>() <= PAGE);
    let mut id = 0;
    let outcome = core.collective(signature, site, Ok(()), |rounds| {
        id = rounds.signature();
        match bytes {
            // The same on every rank; but not before it is known that all ask for the same.
            None => collective::barrier(rounds).map(|()| Err(Refusal::TooLarge)),
            Some(0) => collective::barrier(rounds).map(|()| Ok(None)),
            Some(bytes) if rounds.size() == 1 => {
                let made = Segment::private(bytes);
                let made = made.map_err(|error| Refusal::System(Refused { rank: 0, error }));
                Ok(made.map(Some))
            }
            Some(bytes) => {
                let shared = share(rounds, bytes, own_bytes::<T>(rounds, len))?;
                Ok(shared.map(Some).map_err(Refusal::System))
            }
        }
    })?;
    let segment = outcome.map_err(|refusal| match refusal {
        Refusal::TooLarge => refused(
            bytes.unwrap_or(usize::MAX),
            "it does not fit the address space",
        ),
        Refusal::System(Refused { rank, error }) => {
            let left = shm::free_bytes().map_or_else(String::new, |free| {
                format!("; /dev/shm has {free} bytes left (in a container: --shm-size)")
            });
            let message = format!("rank {rank}: {error}{left}");
            refused(bytes.unwrap_or(usize::MAX), &message)
        }
    })?;
    Ok(ShmRegion(Memory {
        core: Arc::clone(core),
        segment,
        len,
        id,
        elements: PhantomData,
    }))
}

/// Why there is no window.
enum Refusal {
    TooLarge,
    System(Refused),
}

/// The bytes of this rank's part.
fn own_bytes<T>(rounds: &JobRounds<'_>, len: usize) -> Range<usize> {
    let part = block_range(len, rounds.size(), rounds.rank());
    part.start * size_of::<T>()..part.end * size_of::<T>()
}

/// Makes the object and maps it everywhere.
fn share(rounds: &mut JobRounds<'_>, bytes: usize, own: Range<usize>) -> Agreed<Segment> {
    match object::share(rounds, bytes)? {
        Ok(file) => object::agree(rounds, attach(&file, bytes, own)),
        Err(refused) => Ok(Err(refused)),
    }
}

/// Maps the window and reserves the pages of this rank's part.
fn attach(file: &File, bytes: usize, own: Range<usize>) -> io::Result<Segment> {
    shm::reserve(file, own.start as u64, own.len() as u64)?;
    Segment::map(file, bytes)
}
