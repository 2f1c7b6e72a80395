//! Whether there is room for shared memory, asked before it is reserved.

use std::io;

use crate::sys::{memory, shm};

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

/// The tightest limit, if the system states any.
pub(crate) fn tightest() -> Option<Room> {
    let dev_shm = shm::free_bytes().map(|free| Room {
        free,
        place: shm::FOLDER.to_owned(),
        remedy: "enlarge /dev/shm (in a container: --shm-size)",
        errno: libc::ENOSPC,
    });
    let memory = memory::headroom().map(|headroom| Room {
        free: headroom.bytes,
        place: headroom.of,
        remedy: if headroom.is_cgroup {
            "raise the limit of memory (in a container: --memory)"
        } else {
            "free memory, or use a machine that has more"
        },
        errno: libc::ENOMEM,
    });
    let file = shm::longest_file().map(|longest| Room {
        free: longest,
        place: "any file of this process".to_owned(),
        remedy: "raise the limit on its size (ulimit -f unlimited)",
        errno: libc::EFBIG,
    });
    [dev_shm, memory, file]
        .into_iter()
        .flatten()
        .min_by_key(|room| room.free)
}

/// The end of a message about a lack of room; empty if the system states no limit.
pub(crate) fn left() -> String {
    tightest().map_or_else(String::new, |room| {
        let Room {
            free,
            place,
            remedy,
            ..
        } = room;
        format!("; {place} has {free} bytes left: {remedy}")
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
