//! Whether there is room for shared memory, asked before it is reserved.

use std::io;

use cobre_comm_trait::text::bytes;

use crate::sys::{address_space, memory, shm};

/// The tightest limit on shared memory.
#[derive(Debug)]
pub(crate) struct Room {
    /// Bytes left.
    pub(crate) free: u64,
    /// Whose they are.
    pub(crate) place: String,
    /// How to get more.
    pub(crate) remedy: &'static str,
    /// What the system says beyond it, if it says anything and does not kill.
    errno: i32,
}

/// The tightest limit on shared memory, if the system states any.
fn tightest() -> Option<Room> {
    let dev_shm = shm::free_bytes().map(|free| Room {
        free,
        place: shm::FOLDER.to_owned(),
        remedy: "enlarge /dev/shm (in a container: --shm-size)",
        errno: libc::ENOSPC,
    });
    let file = shm::longest_file().map(|longest| Room {
        free: longest,
        place: "any file of this process".to_owned(),
        remedy: "raise the limit on its size (ulimit -f unlimited)",
        errno: libc::EFBIG,
    });
    [dev_shm, of_memory(), file]
        .into_iter()
        .flatten()
        .min_by_key(|room| room.free)
}

/// The tightest limit on memory of any kind.
fn of_memory() -> Option<Room> {
    memory::headroom().map(|headroom| Room {
        free: headroom.bytes,
        place: headroom.of,
        remedy: if headroom.is_cgroup {
            "raise the limit of memory (in a container: --memory)"
        } else {
            "free memory, or use a machine that has more"
        },
        errno: libc::ENOMEM,
    })
}

/// What limits that which `error` says nothing more about, and what to do: the end of a message.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "; raise this process' limit of open files (ulimit -n)",
        Some(libc::ENFILE) => {
            "; the machine has no more open files: raise its limit (sysctl fs.file-max)"
        }
        Some(libc::ENOSPC) if shm::is_out_of_inodes() => {
            "; /dev/shm may hold no more files: remount it with more (-o remount,nr_inodes=0)"
        }
        _ => "",
    }
}

/// The end of a message about a lack of room, because of which `error` came, maybe on mapping `mapping`
/// bytes; empty if the system states no limit.
pub(crate) fn left(error: &io::Error, mapping: u64) -> String {
    match advice(error) {
        "" if error.raw_os_error() == Some(libc::ENOMEM) => {
            address_space::exhausted(mapping).unwrap_or_else(bytes_left)
        }
        "" => bytes_left(),
        advice => advice.to_owned(),
    }
}

fn bytes_left() -> String {
    tightest().map_or_else(String::new, |room| {
        let Room {
            free,
            place,
            remedy,
            ..
        } = room;
        format!("; {place} has {} left: {remedy}", bytes(free))
    })
}

/// What the system would say, if it said anything.
pub(crate) fn error(room: &Room) -> io::Error {
    io::Error::from_raw_os_error(room.errno)
}

/// The limit beyond which `bytes` more would go.
pub(crate) fn shortage(bytes: u64) -> Option<Room> {
    tightest().filter(|room| room.free < bytes)
}

/// An error if `bytes` more would go beyond a limit.
pub(crate) fn check(bytes: u64) -> io::Result<()> {
    shortage(bytes).map_or(Ok(()), |room| Err(error(&room)))
}

/// How many bytes there is room for, of `bytes` and `more`, in shared memory or in this process' own; an
/// error if they are less than `bytes`.
pub(crate) fn find(bytes: u64, more: u64, shared: bool) -> io::Result<u64> {
    let most = bytes.saturating_add(more);
    let room = if shared { tightest() } else { of_memory() };
    match room {
        Some(room) if room.free < bytes => Err(error(&room)),
        Some(room) => Ok(room.free.min(most)),
        None => Ok(most),
    }
}
