//! POSIX shared-memory objects by name.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate},
    sys::{mman, stat::Mode},
};

/// Readable and writable by the owner alone.
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Creates the object; fails if the name exists.
pub(crate) fn create(name: &str) -> io::Result<File> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOFOLLOW;
    Ok(mman::shm_open(name, flags, OWNER_ONLY)?.into())
}

/// Opens an existing object; symbolic links are not followed. Close-on-exec, as `shm_open` is.
pub(crate) fn open(name: &str) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW;
    Ok(mman::shm_open(name, flags, Mode::empty())?.into())
}

/// Removes the name; the memory stays until the last descriptor and mapping are gone.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    Ok(mman::shm_unlink(name)?)
}

/// Reserves the pages of a range, which must lie inside the file: a full `/dev/shm` is an error
/// here instead of a `SIGBUS` at the first touch.
pub(crate) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    loop {
        match fallocate(file, FallocateFlags::empty(), offset, len) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Whether the object belongs to this user alone.
pub(crate) fn is_ours(file: &File) -> io::Result<bool> {
    let meta = file.metadata()?;
    Ok(meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o077 == 0)
}

/// Bytes that `/dev/shm` says it has left; `None` if it does not say, or has no limit.
pub(crate) fn free_bytes() -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs("/dev/shm").ok()?;
    // A file system without a limit states no blocks at all.
    (stat.blocks() > 0).then(|| stat.blocks_available() * stat.fragment_size())
}
