//! Memory that a formed job makes for itself: one rank creates an object, all get it open.
//!
//! The object has no name, so nothing is left whoever is killed and when: the leader announces its
//! process and descriptor, and the others open `/proc/PID/fd/N`. Where that does not work for
//! everybody (ranks in different PID namespaces, no `/proc`), all take an object with a random name
//! instead, which exists until everybody has opened it.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

use cobre_comm_trait::CommError;

use crate::{
    collective::{self, JobRounds},
    job::names::Announced,
    memory::room,
    point,
    sync::wait::Stopped,
    sys::{
        named,
        ours::{self, Access},
        shm,
    },
};

/// What one rank could not do, so that none can.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) rank: usize,
    pub(crate) error: io::Error,
    /// What limits that rank, and what to do: the end of a message.
    pub(crate) left: String,
}

impl Refused {
    /// What this rank, `rank`, could not do, `mapping` bytes if any.
    pub(crate) fn here(rank: usize, error: io::Error, mapping: usize) -> Self {
        let left = room::left(&error, mapping as u64);
        Self { rank, error, left }
    }

    /// What everybody is told.
    pub(crate) fn told(&self, requested_bytes: usize) -> CommError {
        let Self { rank, error, left } = self;
        CommError::AllocationFailed {
            requested_bytes,
            message: format!("rank {rank}: {error}{left}"),
        }
    }
}

/// What all ranks agree on, if none is stopped.
pub(crate) type Agreed<T> = Result<Result<T, Refused>, Stopped>;

/// Gives every rank an object of `bytes` zeroed bytes, not reserved yet, of which `needed` will be
/// soon. The leader is rank 0.
pub(crate) fn share(rounds: &mut JobRounds<'_>, bytes: usize, needed: usize) -> Agreed<File> {
    let make = || shm::unnamed().and_then(|file| sized(file, bytes, needed));
    match by_descriptor(rounds, bytes, make)? {
        Ok(file) => Ok(Ok(file)),
        Err(_) => by_name(rounds, bytes, needed),
    }
}

/// Bytes of the words in which a rank says what limits it.
const WORDS: usize = 240;

/// Shows every rank how its part went, which was to map `mapping` bytes, if any: all have what they made, or
/// all learn who failed first, and what limits that one (its peers' own limits may be others).
pub(crate) fn agree<T>(
    rounds: &mut JobRounds<'_>,
    mine: io::Result<T>,
    mapping: usize,
) -> Agreed<T> {
    let errno = |error: &io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
    let all = collective::gather_all(rounds, mine.as_ref().map_or_else(errno, |_| 0))?;
    let failed = all.iter().position(|&errno| errno != 0);
    let rank = match (failed, mine) {
        (None, Ok(made)) => return Ok(Ok(made)),
        (Some(rank), _) => rank,
        // Cannot be: an error is not 0. Said rather than assumed.
        (None, Err(error)) => return Ok(Err(Refused::here(rounds.rank(), error, mapping))),
    };
    let error = io::Error::from_raw_os_error(all[rank]);
    let mut words = [0; WORDS];
    if rounds.rank() == rank {
        let left = room::left(&error, mapping as u64);
        // Cut off in the middle of a character, that is replaced.
        let len = left.len().min(WORDS);
        words[..len].copy_from_slice(&left.as_bytes()[..len]);
    }
    collective::broadcast(rounds, &mut words, rank)?;
    let left = String::from_utf8_lossy(&words);
    let left = left.trim_end_matches('\0').to_owned();
    Ok(Err(Refused { rank, error, left }))
}

/// Gives every rank the object of `bytes` bytes that the leader makes with `make`; refused if it cannot
/// be made, or not be opened by everybody.
pub(crate) fn by_descriptor(
    rounds: &mut JobRounds<'_>,
    bytes: usize,
    make: impl FnOnce() -> io::Result<File>,
) -> Agreed<File> {
    // Process, descriptor, device and inode; all 0 if there is none.
    let mut announced = [0_u64; 4];
    let mut file = Err(io::Error::from_raw_os_error(libc::ENOENT));
    if rounds.rank() == 0 {
        file = make();
        point::reached("made");
        if let Ok(file) = &file {
            announced = identify(file).unwrap_or_default();
        }
    }
    collective::broadcast(rounds, bytemuck::cast_slice_mut(&mut announced), 0)?;
    if rounds.rank() != 0 && announced != [0; 4] {
        file = open_announced(&announced).and_then(|file| believed(file, bytes));
    }
    agree(rounds, file, 0)
}

fn identify(file: &File) -> io::Result<[u64; 4]> {
    let meta = file.metadata()?;
    // Descriptors of open files are not negative.
    let fd = file.as_raw_fd() as u64;
    Ok([std::process::id().into(), fd, meta.dev(), meta.ino()])
}

fn open_announced(announced: &[u64; 4]) -> io::Result<File> {
    let [pid, fd, _, _] = announced;
    let path = format!("/proc/{pid}/fd/{fd}");
    let file = ours::open_held(Path::new(&path), Access::ReadWrite)?;
    // In another PID namespace the number is another process'.
    if identify(&file)?[2..] == announced[2..] {
        Ok(file)
    } else {
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }
}

fn by_name(rounds: &mut JobRounds<'_>, bytes: usize, needed: usize) -> Agreed<File> {
    let mut name = Announced::random();
    let mut file = Err(io::Error::from_raw_os_error(libc::ENOENT));
    // Says to those who sweep that the name is needed.
    let mut _lock = None;
    if rounds.rank() == 0 {
        file = named::create(name.as_str()).and_then(|(file, lock)| {
            _lock = Some(lock);
            sized(file, bytes, needed)
        });
    }
    let announced = collective::broadcast(rounds, name.bytes_mut(), 0);
    if rounds.rank() != 0 && announced.is_ok() {
        let opened = ours::open(name.as_str(), Access::ReadWrite);
        file = opened
            .map_err(io::Error::from)
            .and_then(|file| believed(file, bytes));
    }
    let agreed = announced.and_then(|()| agree(rounds, file, 0));
    if rounds.rank() == 0 {
        // Everybody has it open by now, or nobody will any more. It may never have been made.
        let _ = shm::unlink(name.as_str());
    }
    agreed
}

/// The object that was announced, if it is what the leader makes: a shorter one would be a `SIGBUS`
/// at the first touch.
fn believed(file: File, bytes: usize) -> io::Result<File> {
    if file.metadata()?.len() == bytes as u64 {
        Ok(file)
    } else {
        Err(io::Error::from_raw_os_error(libc::EBADF))
    }
}

fn sized(file: File, bytes: usize, needed: usize) -> io::Result<File> {
    // Absurd sizes are refused before ranks reserve their parts one by one until the machine is
    // full.
    room::check(needed as u64)?;
    shm::set_length(&file, bytes as u64)?;
    Ok(file)
}
