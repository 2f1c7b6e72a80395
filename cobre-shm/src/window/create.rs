//! Creation: the leader makes an object without a name ([`crate::memory::object`]); everybody maps it and
//! reserves the pages of its own parts, which so lie near their owner; everybody shows how that went.
//! If anybody failed, all fail.

use core::ops::Range;
use std::{fs::File, sync::Arc};

use cobre_comm_trait::{CommData, CommError};

use super::{
    arrange::{Arrangement, arrange},
    huge::{self, Object},
    memory::Memory,
    options::{HugePages, WindowOptions},
    populate,
};
use crate::{
    call::{
        core::{Core, Site, Turn},
        log::Signature,
    },
    collective::{self, JobRounds},
    memory::{
        layout::PAGE,
        object::{self, Agreed, Refused},
        segment::Segment,
    },
    point,
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

/// Creates the zeroed memory of a window, as an operation of its own. Collective.
pub(super) fn memory<T: CommData>(
    core: &Arc<Core>,
    signature: Signature,
    site: Site,
    checked: Result<(), CommError>,
    extent: &Extent,
) -> Result<Memory<T>, CommError> {
    let mut turn = core.turn(signature.operation)?;
    memory_in(core, &mut turn, signature, site, checked, extent)
}

/// Creates the zeroed memory of a window, in `turn` of `core`. Collective.
pub(super) fn memory_in<T: CommData>(
    core: &Arc<Core>,
    turn: &mut Turn<'_>,
    signature: Signature,
    site: Site,
    checked: Result<(), CommError>,
    extent: &Extent,
) -> Result<Memory<T>, CommError> {
    let bytes = extent.bytes;
    let requested_bytes = bytes.unwrap_or(usize::MAX);
    let aligned = check_alignment::<T>(requested_bytes);
    let possible = bytes.filter(|bytes| isize::try_from(*bytes).is_ok() && aligned.is_ok());
    let mut id = 0;
    let outcome = turn.collective(signature, site, checked, |rounds| {
        id = rounds.signature();
        match possible {
            // The same on every rank; but not before it is known that all ask for the same.
            None => collective::barrier(rounds).map(|()| Err(Refusal::Impossible)),
            Some(0) => collective::barrier(rounds).map(|()| Ok(Made::default())),
            Some(bytes) => {
                let huge = extent.options.huge_pages != HugePages::No;
                let made = if rounds.size() == 1 && !huge {
                    alone(rounds, bytes, extent)?
                } else {
                    share(rounds, bytes, extent, || core.threads())?
                };
                Ok(made.map_err(Refusal::System))
            }
        }
    })?;
    let made = outcome.map_err(|refusal| match refusal {
        Refusal::Impossible => aligned
            .err()
            .unwrap_or_else(|| CommError::AllocationFailed {
                requested_bytes,
                message: "it does not fit the address space".to_owned(),
            }),
        Refusal::System(refused) => refused.told(requested_bytes),
    })?;
    Ok(Memory::new(core, made, id))
}

/// Whether a window, which begins on a page, has places for elements `T`.
pub(crate) fn check_alignment<T>(requested_bytes: usize) -> Result<(), CommError> {
    let align = align_of::<T>();
    if align <= PAGE {
        return Ok(());
    }
    Err(CommError::AllocationFailed {
        requested_bytes,
        message: format!(
            "its elements are aligned to {align} bytes, but a window begins on a page of {PAGE}"
        ),
    })
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
    /// Nowhere, whatever memory there is.
    Impossible,
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
        Err(error) => return Ok(Err(Refused::here(0, error, bytes))),
    };
    let arrangement = arrange(rounds, &segment, PAGE, extent)?;
    Ok(Ok(Made {
        segment: Some(segment),
        object: None,
        arrangement,
    }))
}

/// Makes the object, maps it everywhere, says where its pages shall lie, and touches them.
fn share(
    rounds: &mut JobRounds<'_>,
    bytes: usize,
    extent: &Extent,
    threads: impl Fn() -> usize,
) -> Agreed<Made> {
    let Object {
        file,
        length,
        page,
        small,
    } = match object(rounds, bytes, extent)? {
        Ok(object) => object,
        Err(refused) => return Ok(Err(refused)),
    };
    let segment = match object::agree(rounds, Segment::map(&file, length), length)? {
        Ok(segment) => segment,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut arrangement = arrange(rounds, &segment, page, extent)?;
    // What the leader knows comes before what the kernel said to this rank.
    arrangement.small_pages = small.or(arrangement.small_pages);
    let touched = extent
        .own
        .iter()
        .try_for_each(|part| populate::touch(&segment, Some(&file), part, &threads));
    point::reached("attach");
    let agreed = object::agree(rounds, touched, 0)?;
    Ok(agreed.map(|()| Made {
        segment: Some(segment),
        object: extent.grows.then_some(file),
        arrangement,
    }))
}

/// The object behind a window, of huge pages if they are asked for and available.
fn object(rounds: &mut JobRounds<'_>, bytes: usize, extent: &Extent) -> Agreed<Object> {
    let mut small = None;
    match extent.options.huge_pages {
        HugePages::No => {}
        wanted => match huge::share(rounds, wanted, bytes)? {
            Ok(object) => return Ok(Ok(object)),
            Err(reason) => small = Some(reason),
        },
    }
    let needed = if extent.grows { 0 } else { bytes };
    Ok(object::share(rounds, bytes, needed)?.map(|file| Object {
        file,
        length: bytes,
        page: PAGE,
        small,
    }))
}
