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

/// Shows every rank how its part went: all have what they made, or all learn who failed first.
pub(crate) fn agree<T>(rounds: &mut JobRounds<'_>, mine: io::Result<T>) -> Agreed<T> {
    let errno = |error: &io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
    let all = collective::gather_all(rounds, mine.as_ref().map_or_else(errno, |_| 0))?;
    let failed = all.iter().position(|&errno| errno != 0);
    Ok(match (failed, mine) {
        (None, Ok(made)) => Ok(made),
        (Some(rank), _) => Err(Refused {
            rank,
            error: io::Error::from_raw_os_error(all[rank]),
        }),
        // Cannot be: an error is not 0. Said rather than assumed.
        (None, Err(error)) => Err(Refused {
            rank: rounds.rank(),
            error,
        }),
    })
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
    agree(rounds, file)
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
    let agreed = announced.and_then(|()| agree(rounds, file));
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
    if let Some(room) = room::shortage(needed as u64) {
        return Err(room::error(&room));
    }
    shm::set_length(&file, bytes as u64)?;
    Ok(file)
}
