//! Creation: the leader makes an object without a name ([`crate::object`]); everybody maps it and
//! reserves the pages of its own parts, which so lie near their owner; everybody shows how that went.
//! If anybody failed, all fail.

use core::ops::Range;
use std::{fs::File, io, sync::Arc};

use cobre_comm_trait::{CommData, CommError};

use super::memory::Memory;
use crate::{
    calls::Signature,
    collective::{self, JobRounds},
    core::{Core, Site},
    layout::PAGE,
    object::{self, Agreed, Refused},
    segment::Segment,
    sys::shm,
};

/// The bytes of a window.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// All of them; `None` if there are more than a number can count.
    pub(super) bytes: Option<usize>,
    /// This rank's parts, which it reserves.
    pub(super) own: Vec<Range<usize>>,
}

/// Creates the zeroed memory of a window. Collective.
pub(super) fn memory<T: CommData>(
    core: &Arc<Core>,
    signature: Signature,
    site: Site,
    checked: Result<(), CommError>,
    extent: &Extent,
) -> Result<Memory<T>, CommError> {
    let bytes = extent.bytes;
    let refused = |message: &str| CommError::AllocationFailed {
        requested_bytes: bytes.unwrap_or(usize::MAX),
        message: message.to_owned(),
    };
    let possible = bytes.filter(|bytes| isize::try_from(*bytes).is_ok() && align_of::<T>() <= PAGE);
    let mut id = 0;
    let outcome = core.collective(signature, site, checked, |rounds| {
        id = rounds.signature();
        match possible {
            // The same on every rank; but not before it is known that all ask for the same.
            None => collective::barrier(rounds).map(|()| Err(Refusal::TooLarge)),
            Some(0) => collective::barrier(rounds).map(|()| Ok(None)),
            Some(bytes) if rounds.size() == 1 => {
                let made = Segment::private(bytes);
                let made = made.map_err(|error| Refusal::System(Refused { rank: 0, error }));
                Ok(made.map(Some))
            }
            Some(bytes) => {
                let shared = share(rounds, bytes, &extent.own)?;
                Ok(shared.map(Some).map_err(Refusal::System))
            }
        }
    })?;
    let segment = outcome.map_err(|refusal| match refusal {
        Refusal::TooLarge => refused("it does not fit the address space"),
        Refusal::System(Refused { rank, error }) => {
            let left = shm::free_bytes().map_or_else(String::new, |free| {
                format!("; /dev/shm has {free} bytes left (in a container: --shm-size)")
            });
            refused(&format!("rank {rank}: {error}{left}"))
        }
    })?;
    Ok(Memory::new(core, segment, id))
}

/// Why there is no window.
enum Refusal {
    TooLarge,
    System(Refused),
}

/// Makes the object and maps it everywhere.
fn share(rounds: &mut JobRounds<'_>, bytes: usize, own: &[Range<usize>]) -> Agreed<Segment> {
    match object::share(rounds, bytes)? {
        Ok(file) => object::agree(rounds, attach(&file, bytes, own)),
        Err(refused) => Ok(Err(refused)),
    }
}

/// Maps the window and reserves the pages of this rank's parts.
fn attach(file: &File, bytes: usize, own: &[Range<usize>]) -> io::Result<Segment> {
    for part in own {
        shm::reserve(file, part.start as u64, part.len() as u64)?;
    }
    Segment::map(file, bytes)
}
