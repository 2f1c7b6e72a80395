//! Creation: the leader makes an object without a name ([`crate::object`]); everybody maps it and
//! reserves the pages of its own parts, which so lie near their owner; everybody shows how that went.
//! If anybody failed, all fail.

use core::ops::Range;
use std::{fs::File, io, sync::Arc};

use cobre_comm_trait::{CommData, CommError};

use super::{
    arrange::{Arrangement, arrange},
    memory::Memory,
    options::WindowOptions,
    populate,
};
use crate::{
    calls::Signature,
    collective::{self, JobRounds},
    core::{Core, Site},
    layout::PAGE,
    object::{self, Agreed, Refused},
    point, room,
    segment::Segment,
};

/// The bytes of a window.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// All of them; `None` if there are more than a number can count.
    pub(super) bytes: Option<usize>,
    /// This rank's parts, which it reserves.
    pub(super) own: Vec<Range<usize>>,
    /// What else is asked for.
    pub(super) options: WindowOptions,
    /// Nothing has to be there yet: the window grows.
    pub(super) grows: bool,
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
    let possible = bytes.filter(|bytes| isize::try_from(*bytes).is_ok() && align_of::<T>() <= PAGE);
    let mut id = 0;
    let outcome = core.collective(signature, site, checked, |rounds| {
        id = rounds.signature();
        match possible {
            // The same on every rank; but not before it is known that all ask for the same.
            None => collective::barrier(rounds).map(|()| Err(Refusal::TooLarge)),
            Some(0) => collective::barrier(rounds).map(|()| Ok(Made::default())),
            Some(bytes) => {
                let made = if rounds.size() == 1 {
                    alone(rounds, bytes, extent)?
                } else {
                    share(rounds, bytes, extent)?
                };
                Ok(made.map_err(Refusal::System))
            }
        }
    })?;
    let made = outcome.map_err(|refusal| match refusal {
        Refusal::TooLarge => CommError::AllocationFailed {
            requested_bytes: bytes.unwrap_or(usize::MAX),
            message: "it does not fit the address space".to_owned(),
        },
        Refusal::System(Refused { rank, error }) => refused(bytes, rank, &error),
    })?;
    Ok(Memory::new(core, made, id))
}

/// What everybody gets when `rank` was refused memory.
pub(super) fn refused(bytes: Option<usize>, rank: usize, error: &io::Error) -> CommError {
    CommError::AllocationFailed {
        requested_bytes: bytes.unwrap_or(usize::MAX),
        message: format!("rank {rank}: {error}{}", room::left(error)),
    }
}

/// The memory of a window, as one rank has it.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// `None` if there are no bytes to share.
    pub(super) segment: Option<Segment>,
    /// The object behind it, if it grows.
    pub(super) object: Option<File>,
    pub(super) arrangement: Arrangement,
}

/// Why there is no window.
enum Refusal {
    TooLarge,
    System(Refused),
}

/// The window of a job of one: private memory.
fn alone(rounds: &mut JobRounds<'_>, bytes: usize, extent: &Extent) -> Agreed<Made> {
    let made = if extent.grows {
        Segment::private_address_space(bytes)
    } else {
        Segment::private(bytes)
    };
    let segment = match made {
        Ok(segment) => segment,
        Err(error) => return Ok(Err(Refused { rank: 0, error })),
    };
    let arrangement = arrange(rounds, &segment, &extent.own, &extent.options)?;
    Ok(Ok(Made {
        segment: Some(segment),
        object: None,
        arrangement,
    }))
}

/// Makes the object, maps it everywhere, says where its pages shall lie, and touches them.
fn share(rounds: &mut JobRounds<'_>, bytes: usize, extent: &Extent) -> Agreed<Made> {
    let needed = if extent.grows { 0 } else { bytes };
    let object = match object::share(rounds, bytes, needed)? {
        Ok(object) => object,
        Err(refused) => return Ok(Err(refused)),
    };
    let segment = match object::agree(rounds, Segment::map(&object, bytes))? {
        Ok(segment) => segment,
        Err(refused) => return Ok(Err(refused)),
    };
    let arrangement = arrange(rounds, &segment, &extent.own, &extent.options)?;
    let threads = populate::threads(rounds.size());
    let touched = extent
        .own
        .iter()
        .try_for_each(|part| populate::touch(&segment, Some(&object), part, threads));
    point::reached("attach");
    let agreed = object::agree(rounds, touched)?;
    Ok(agreed.map(|()| Made {
        segment: Some(segment),
        object: extent.grows.then_some(object),
        arrangement,
    }))
}
