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
    collective::{self, JobRounds},
    memory::{
        object::{self, Agreed, Refused},
        room,
    },
};

/// A pool in a window.
#[derive(Debug)]
pub struct ShmPool<T> {
    memory: Memory<T>,
    len: usize,
    capacity: usize,
    /// Bytes for which there was room when that was checked last, used ones included; the same on every
    /// rank.
    granted: usize,
}

/// Where an append goes.
struct Place {
    /// The elements of this rank.
    mine: Range<usize>,
    /// Where those of all ranks end.
    end: usize,
    /// As in [`ShmPool`].
    granted: usize,
}

/// For so many bytes more than an append needs is room looked for: so often, and not at each append.
const AHEAD: usize = 16 << 20;

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
            granted: 0,
        })
    }

    /// Makes room for `count` elements of this rank. Collective; when it returns, all ranks are appending.
    fn reserve(&self, turn: &mut Turn<'_>, count: usize, site: Site) -> Result<Place, CommError> {
        let signature = Signature {
            other: self.memory.id,
            ..Signature::new(Operation::Append, Element::of::<T>(), count)
        };
        let room = self.capacity - self.len;
        let mut granted = self.granted;
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
            let end = self.len + total.unwrap_or(0);
            let (used, wanted) = (self.len * size_of::<T>(), end * size_of::<T>());
            let refused = |refused: Refused| Err(refused.told(wanted - used));
            if wanted > granted {
                match grant(rounds, wanted - used)? {
                    Ok(more) => granted = used + more,
                    Err(why) => return Ok(refused(why)),
                }
            }
            let touched = self.memory.touch(&mine);
            let agreed = object::agree(rounds, touched, 0)?;
            Ok(agreed.map_or_else(refused, |()| Ok(Place { mine, end, granted })))
        })?
    }
}

/// Whether there is room for `bytes` bytes more, in a memory cgroup too, beyond which the kernel would end
/// a rank instead of refusing. Returns how many there is room for, of those and some more. As for windows,
/// the leader looks.
fn grant(rounds: &mut JobRounds<'_>, bytes: usize) -> Agreed<usize> {
    let mut found = Ok(0);
    if rounds.rank() == 0 {
        let shared = rounds.size() > 1;
        found = room::find(bytes as u64, AHEAD as u64, shared);
    }
    let mut granted = [*found.as_ref().unwrap_or(&0)];
    collective::broadcast(rounds, bytemuck::cast_slice_mut(&mut granted), 0)?;
    let granted = usize::try_from(granted[0]).unwrap_or(usize::MAX);
    if granted >= bytes {
        return Ok(Ok(granted));
    }
    // The leader has the reason.
    Ok(object::agree(rounds, found, 0)?.map(|_| granted))
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
        let Place { mine, end, granted } = self.reserve(&mut turn, count, site)?;
        let failing = FailOnUnwind(core, Operation::Append);
        let start = self.memory.at(mine.start * size_of::<T>(), count);
        // SAFETY: the elements lie in the window, above all that anybody can read before the barrier
        // below; ranges of different ranks do not overlap. Every bit pattern is a `T`.
        let elements = unsafe { slice::from_raw_parts_mut(start, count) };
        turn.fill(|| fill(elements));
        core::mem::forget(failing);
        let signature = self.memory.fence(Towards::Append);
        turn.collective(signature, site, Ok(()), collective::barrier)?;
        drop(turn);
        (self.len, self.granted) = (end, granted);
        Ok(mine)
    }
}
