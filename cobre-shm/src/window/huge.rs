//! Objects of huge pages, for windows that ask for them; or why there are none.
//!
//! Such an object is a memory file (`memfd_create`): the kernel decides on huge pages for each file
//! system, and `/dev/shm` has what its mount says, which is mostly nothing.

use core::fmt;
use std::{fs, fs::File, io, path::Path};

use super::options::HugePages;
use crate::{
    collective::{self, JobRounds},
    memory::{layout::PAGE, object, segment::Segment},
    sync::wait::Stopped,
    sys::{memory, shm},
};

/// Which huge pages the kernel gives to memory files.
const OFFER: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Why pages are smaller than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmallPages {
    /// The kernel does not offer transparent huge pages to shared memory (`shmem_enabled` is `never` or
    /// `deny`, or there is no such file).
    NotOffered,
    /// There are too few reserved huge pages; the window has transparent ones, as far as the kernel
    /// finds them.
    TooFewReserved {
        /// How many are free, of the kernel's usual size for them.
        free: u64,
        /// How many the window needs.
        needed: u64,
    },
    /// There are too few reserved huge pages, and transparent ones are not offered.
    Neither {
        /// How many are free, of the kernel's usual size for them.
        free: u64,
        /// How many the window needs.
        needed: u64,
    },
    /// The kernel refused, with this error number.
    Refused(i32),
    /// The ranks cannot open each other's memory files, because they are in different PID namespaces
    /// or have no `/proc`.
    NotShared,
}

impl fmt::Display for SmallPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let too_few = |free, needed| {
            format!(
                "{needed} huge pages are needed and {free} reserved ones free (raise vm.nr_hugepages)"
            )
        };
        match *self {
            Self::NotOffered => write!(
                f,
                "{OFFER} does not offer transparent huge pages (write advise to it)"
            ),
            Self::TooFewReserved { free, needed } => {
                write!(f, "{}: they are transparent instead", too_few(free, needed))
            }
            Self::Neither { free, needed } => {
                let reserved = too_few(free, needed);
                write!(f, "{reserved}, and {}", Self::NotOffered)
            }
            Self::Refused(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                write!(f, "the kernel refused: {error}")
            }
            Self::NotShared => f.write_str(
                "the ranks cannot open each other's memory files (different PID namespaces, or no \
                 /proc)",
            ),
        }
    }
}

/// As it travels from the leader to the others: a word for the kind, and its numbers.
pub(super) type Packed = [u64; 3];

impl SmallPages {
    pub(super) fn packed(reason: Option<Self>) -> Packed {
        match reason {
            None => [0; 3],
            Some(Self::NotOffered) => [1, 0, 0],
            Some(Self::TooFewReserved { free, needed }) => [2, free, needed],
            Some(Self::Neither { free, needed }) => [3, free, needed],
            Some(Self::Refused(errno)) => [4, errno.unsigned_abs().into(), 0],
            Some(Self::NotShared) => [5, 0, 0],
        }
    }

    /// What a leader packed; what none packs is taken for the last.
    pub(super) fn unpacked([kind, free, needed]: Packed) -> Option<Self> {
        match kind {
            0 => None,
            1 => Some(Self::NotOffered),
            2 => Some(Self::TooFewReserved { free, needed }),
            3 => Some(Self::Neither { free, needed }),
            4 => Some(Self::Refused(i32::try_from(free).unwrap_or(0))),
            _ => Some(Self::NotShared),
        }
    }
}

/// The object behind a window.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: File,
    /// The bytes asked for, or whole huge pages.
    pub(super) length: usize,
    /// The size of its pages.
    pub(super) page: usize,
    /// Why they are smaller than asked for.
    pub(super) small: Option<SmallPages>,
}

/// Gives every rank an object of `bytes` bytes of huge pages, or the reason why there is none. The leader
/// is rank 0.
pub(super) fn share(
    rounds: &mut JobRounds<'_>,
    wanted: HugePages,
    bytes: usize,
) -> Result<Result<Object, SmallPages>, Stopped> {
    let mut made = Err(SmallPages::NotShared);
    let mut announced = [0; 5];
    if rounds.rank() == 0 {
        made = make(wanted, bytes);
        let (length, page, small) = match &made {
            Ok(object) => (object.length, object.page, object.small),
            Err(reason) => (0, 0, Some(*reason)),
        };
        let [kind, free, needed] = SmallPages::packed(small);
        announced = [length as u64, page as u64, kind, free, needed];
    }
    collective::broadcast(rounds, bytemuck::cast_slice_mut(&mut announced), 0)?;
    let [length, page, small @ ..] = announced;
    let small = SmallPages::unpacked(small);
    let (Ok(length), Ok(page)) = (usize::try_from(length), usize::try_from(page)) else {
        return Ok(Err(SmallPages::NotShared));
    };
    if length < bytes || page == 0 {
        return Ok(Err(small.unwrap_or(SmallPages::NotShared)));
    }
    let missing = || io::Error::from_raw_os_error(libc::ENOENT);
    let file = made.map(|object| object.file).map_err(|_| missing());
    let shared = object::by_descriptor(rounds, length, || file)?;
    Ok(shared
        .map_err(|_| SmallPages::NotShared)
        .map(|file| Object {
            file,
            length,
            page,
            small,
        }))
}

/// Makes an object as huge as it can be.
fn make(wanted: HugePages, bytes: usize) -> Result<Object, SmallPages> {
    let mut small = None;
    if wanted == HugePages::Reserved {
        match reserved(bytes) {
            Ok(object) => return Ok(object),
            Err((free, needed)) if transparent_offered() => {
                small = Some(SmallPages::TooFewReserved { free, needed });
            }
            Err((free, needed)) => return Err(SmallPages::Neither { free, needed }),
        }
    }
    if !transparent_offered() {
        return Err(SmallPages::NotOffered);
    }
    // What does not fit is refused with all that is to be said about it when there are small pages.
    if memory::headroom().is_some_and(|room| room.bytes < bytes as u64) {
        return Err(SmallPages::Refused(libc::ENOMEM));
    }
    let made = shm::memory_file(None).and_then(|file| {
        shm::set_length(&file, bytes as u64)?;
        Ok(file)
    });
    let refused = |error: io::Error| SmallPages::Refused(error.raw_os_error().unwrap_or(0));
    Ok(Object {
        file: made.map_err(refused)?,
        length: bytes,
        page: PAGE,
        small,
    })
}

/// An object of reserved huge pages; or how many are free and how many it needs.
fn reserved(bytes: usize) -> Result<Object, (u64, u64)> {
    let Some(page) = reserved_size() else {
        return Err((0, bytes.div_ceil(2 << 20) as u64));
    };
    let needed = bytes.div_ceil(page);
    let length = needed * page;
    let made = shm::memory_file(Some(page)).and_then(|file| {
        shm::set_length(&file, length as u64)?;
        // The kernel sets the pages aside for the object when it is first mapped, or refuses.
        Segment::map(&file, length)?;
        Ok(file)
    });
    match made {
        Ok(file) => Ok(Object {
            file,
            length,
            page,
            small: None,
        }),
        Err(_) => Err((reserved_free(page), needed as u64)),
    }
}

/// Bytes of a huge page of the kernel's usual size for reserved ones; `None` if it has none.
fn reserved_size() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let kibibytes: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10).filter(|&page| page.is_power_of_two() && page >= PAGE)
}

/// Reserved huge pages that nobody has, or has been promised.
fn reserved_free(page: usize) -> u64 {
    let folder = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", page >> 10);
    let number = |file: &str| -> u64 {
        let text = fs::read_to_string(Path::new(&folder).join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    number("free_hugepages").saturating_sub(number("resv_hugepages"))
}

/// Whether the kernel gives transparent huge pages to memory files that ask for them.
fn transparent_offered() -> bool {
    let offered = fs::read_to_string(OFFER).unwrap_or_default();
    let chosen = offered.split(['[', ']']).nth(1).unwrap_or("never");
    matches!(chosen, "always" | "within_size" | "advise" | "force")
}

#[cfg(test)]
mod tests {
    use super::SmallPages;

    #[test]
    fn reasons_travel() {
        let (free, needed) = (3, 9);
        for reason in [
            None,
            Some(SmallPages::NotOffered),
            Some(SmallPages::TooFewReserved { free, needed }),
            Some(SmallPages::Neither { free, needed }),
            Some(SmallPages::Refused(12)),
            Some(SmallPages::NotShared),
        ] {
            assert_eq!(SmallPages::unpacked(SmallPages::packed(reason)), reason);
        }
    }
}
