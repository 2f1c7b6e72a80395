//! Creation: the leader makes an object without a name ([`crate::object`]); everybody maps it and
//! reserves the pages of its own part, which so lie near their owner; everybody shows how that went.
//! If anybody failed, all fail.

use core::ops::Range;
use std::{fs::File, io, sync::Arc};

use cobre_comm_trait::{CommData, CommError, Operation, block_range};

use super::{memory::Memory, region::ShmRegion};
use crate::{
    calls::{Element, Signature},
    collective::{self, JobRounds},
    core::{Core, Site},
    layout::PAGE,
    object::{self, Agreed, Refused},
    point,
    segment::Segment,
    sys::shm,
};

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
    Ok(ShmRegion(Memory::new(core, segment, len, id)))
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
    point::reached("attach");
    Segment::map(file, bytes)
}
