//! POSIX shared-memory objects by name.

use core::ops::Range;
use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman,
        resource::{Resource, getrlimit},
        stat::Mode,
    },
    unistd::{AccessFlags, access},
};

/// Readable and writable by the owner alone.
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Where the system keeps shared-memory objects.
pub(crate) const FOLDER: &str = "/dev/shm";

/// Creates the object; fails if the name exists.
pub(crate) fn create(name: &str) -> io::Result<File> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOFOLLOW;
    Ok(mman::shm_open(name, flags, OWNER_ONLY)?.into())
}

/// Creates an object that has no name, for others to open through `/proc/PID/fd`.
pub(crate) fn unnamed() -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    if let Ok(file) = nix::fcntl::open(FOLDER, flags, OWNER_ONLY) {
        return Ok(file.into());
    }
    // A file system that cannot do that: a name for as long as it takes to remove it. A sweep may
    // be faster.
    let name = crate::job::names::random_job_name();
    let file = create(&name)?;
    let _ = unlink(&name);
    Ok(file)
}

/// Creates a memory file, which has no name and lies on no mounted file system; of reserved huge pages
/// of `huge` bytes, a power of two, if that is given.
pub(crate) fn memory_file(huge: Option<usize>) -> io::Result<File> {
    let mut flags = MFdFlags::MFD_CLOEXEC;
    if let Some(page) = huge {
        let size = page.trailing_zeros() << libc::MFD_HUGE_SHIFT;
        flags |= MFdFlags::MFD_HUGETLB | MFdFlags::from_bits_retain(size);
    }
    let file = File::from(memfd_create(c"cobre-window", flags)?);
    file.set_permissions(Permissions::from_mode(OWNER_ONLY.bits()))?;
    Ok(file)
}

/// Another open file of the same object, for locks of its own; without `/proc` the same one again, so
/// that a mapping, in forked children too, keeps the locks.
pub(crate) fn reopen(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = OpenOptions::new().read(true).write(true).open(path);
    again.or_else(|_| file.try_clone())
}

/// Gives an object that has no name the name `name`, unless it exists.
#[cfg(feature = "boards")]
pub(crate) fn link(file: &File, name: &str) -> io::Result<()> {
    use nix::{
        fcntl::{AT_FDCWD, AtFlags},
        unistd::linkat,
    };
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let to = format!("{FOLDER}{name}");
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(
        AT_FDCWD,
        from.as_str(),
        AT_FDCWD,
        to.as_str(),
        follow,
    )?)
}

/// Removes the name; the memory stays until the last descriptor and mapping are gone.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    Ok(mman::shm_unlink(name)?)
}

/// Makes the file `bytes` long. Beyond what this process may write into one file (`ulimit -f`) that is an
/// error, and not the signal (SIGXFSZ) by which the kernel says so and ends a process that does not expect it.
pub(crate) fn set_length(file: &File, bytes: u64) -> io::Result<()> {
    if longest_file().is_some_and(|longest| bytes > longest) {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    file.set_len(bytes)
}

/// The longest file that this process may make; `None` if there is no limit.
pub(crate) fn longest_file() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    (soft != libc::RLIM_INFINITY).then_some(soft)
}

/// Reserves the pages of a range, which must lie inside the file: a full `/dev/shm` is an error
/// here instead of a `SIGBUS` at the first touch.
pub(crate) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let end = offset.checked_add(len);
    let Some(end) = end.filter(|&end| libc::off_t::try_from(end).is_ok()) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    in_pieces(offset..end, |at, len| {
        // No wrap: both are at most `end`, which fits.
        fallocate(
            file,
            FallocateFlags::empty(),
            at as libc::off_t,
            len as libc::off_t,
        )
    })
}

/// The most that one system call reserves, and the least after signals, in bytes.
const PIECE: u64 = 64 << 20;
const SMALL_PIECE: u64 = 64 << 10;

/// Calls `reserve` with offset and length of one piece of `range` after the other.
///
/// Older kernels give up when a signal comes, and give back all that the call had reserved so far: with a
/// signal every few milliseconds (a profiler's timer) a large range in one call would never be done.
fn in_pieces(
    range: Range<u64>,
    mut reserve: impl FnMut(u64, u64) -> nix::Result<()>,
) -> io::Result<()> {
    let mut piece = PIECE;
    let mut at = range.start;
    while at < range.end {
        let len = piece.min(range.end - at);
        match reserve(at, len) {
            Ok(()) => at += len,
            Err(Errno::EINTR) => piece = (piece / 2).max(SMALL_PIECE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What keeps objects from being made here at all.
pub(crate) fn unusable() -> Option<&'static str> {
    match nix::sys::statvfs::statvfs(FOLDER) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Some("is not there"),
        Ok(stat) if stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) => {
            Some("is read-only")
        }
        _ if access(FOLDER, AccessFlags::W_OK | AccessFlags::X_OK) == Err(Errno::EACCES) => {
            Some("is closed to this user (chmod 1777 /dev/shm)")
        }
        _ => None,
    }
}

/// Whether `/dev/shm` has room for no further object, however small.
pub(crate) fn is_out_of_inodes() -> bool {
    let stat = nix::sys::statvfs::statvfs(FOLDER);
    // A file system without a limit states none at all.
    stat.is_ok_and(|stat| stat.files() > 0 && stat.files_available() == 0)
}

/// Bytes that `/dev/shm` says it has left; `None` if it does not say, or has no limit.
pub(crate) fn free_bytes() -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(FOLDER).ok()?;
    // A file system without a limit states no blocks at all.
    (stat.blocks() > 0).then(|| stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use nix::errno::Errno;

    use super::{in_pieces, reserve, set_length, unnamed};

    /// A kernel that reserves a megabyte between two signals.
    #[test]
    fn a_range_is_reserved_although_signals_come_all_the_time() {
        let (range, mut done, mut calls) = (5000..500_000_000, 5000, 0);
        let kernel = |at: u64, len: u64| {
            calls += 1;
            assert!(calls < 1000, "it makes no progress");
            assert_eq!(at, done, "nothing is left out, or reserved again");
            if len > 1 << 20 {
                return Err(Errno::EINTR);
            }
            done += len;
            Ok(())
        };
        in_pieces(range.clone(), kernel).expect("room");
        assert_eq!(done, range.end);
        let full = |_, _| Err(Errno::ENOSPC);
        let error = in_pieces(range, full).expect_err("no room");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }

    #[test]
    fn the_pages_of_a_range_are_reserved() {
        let file = unnamed().expect("an object");
        set_length(&file, 3 << 20).expect("a length");
        reserve(&file, 1 << 20, 1 << 20).expect("room");
        reserve(&file, 0, 0).expect("nothing to do");
        assert_eq!(file.metadata().expect("its state").blocks() * 512, 1 << 20);
        assert!(reserve(&file, u64::MAX, 2).is_err());
    }
}
