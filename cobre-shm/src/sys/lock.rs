//! Liveness held by the kernel: locks that die with their process.
//!
//! Open-file-description locks (Linux 3.15) on single bytes of the control segment. They belong to
//! the open file, not to the process, so several ranks may live in one process, each with its own
//! open file; and the kernel drops them when the open file goes, with its last descriptor and its
//! last mapping. So the open file that carries a rank's locks is never mapped (a forked child would
//! inherit the mapping), and children lose the descriptor ([`ForkGuarded`]): the locks are gone at
//! the latest when the rank's process is. Locks work across PID namespaces that share one
//! `/dev/shm`, where process numbers mean nothing.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::MetadataExt,
    },
};

use super::{process::ForkGuarded, shm};

/// The byte that stands for the process that founded the job. Ranks lock the byte of their number.
pub(crate) const FOUNDER: usize = 1 << 20;

/// The byte of a process that is about to remove the name of an abandoned segment. Not the founder's:
/// what is being removed must not look like a job that forms.
pub(crate) const REMOVER: usize = FOUNDER + 1;

fn flock(byte: usize) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

fn fcntl(fd: RawFd, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: `lock` is a valid `struct flock`, which both OFD commands take and may write.
    match unsafe { libc::fcntl(fd, command, &raw mut *lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An open file that carries a process' locks on a control segment, and nothing else.
#[derive(Debug)]
pub(crate) struct LockFile(ForkGuarded);

impl LockFile {
    /// Takes an open file of its own; see the module for why.
    pub(crate) fn new(file: File) -> Self {
        Self(ForkGuarded::new(file))
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Takes the lock on `byte` through this open file. Returns whether it was free.
    pub(crate) fn try_lock(&self, byte: usize) -> io::Result<bool> {
        match fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &mut flock(byte)) {
            Ok(()) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives back the lock on `byte`.
    #[cfg(feature = "boards")]
    pub(crate) fn unlock(&self, byte: usize) -> io::Result<()> {
        let mut lock = flock(byte);
        lock.l_type = libc::F_UNLCK as libc::c_short;
        fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &mut lock)
    }

    /// Reserves pages of the locked object; see [`shm::reserve`].
    pub(crate) fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        shm::reserve(&self.0, offset, len)
    }

    /// The number of the object in its file system.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.ino())
    }

    /// Whether another open file holds the lock on `byte`.
    pub(crate) fn is_held(&self, byte: usize) -> io::Result<bool> {
        is_held(&self.0, byte)
    }
}

fn is_conflict(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

/// Whether another open file than this holds the lock on `byte`.
pub(crate) fn is_held(file: &File, byte: usize) -> io::Result<bool> {
    let mut lock = flock(byte);
    fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Whether another open file than this holds the lock on any of the first `bytes` bytes.
pub(crate) fn is_any_held(file: &File, bytes: usize) -> io::Result<bool> {
    let mut lock = flock(0);
    lock.l_len = bytes as libc::off_t;
    fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    use super::LockFile;
    use crate::sys::{
        ours::{self, Access},
        shm,
    };

    #[test]
    fn a_lock_belongs_to_the_open_file_and_goes_with_it() {
        let name = format!("/cobre-test-{}", uuid::Uuid::new_v4().simple());
        let one = LockFile::new(shm::create(&name).unwrap());
        let other = LockFile::new(ours::open(&name, Access::ReadWrite).unwrap());
        shm::unlink(&name).unwrap();
        assert!(!other.is_held(3).unwrap());
        assert!(one.try_lock(3).unwrap());
        assert!(other.is_held(3).unwrap());
        assert!(!other.try_lock(3).unwrap());
        assert!(!other.is_held(4).unwrap());
        drop(one);
        assert!(!other.is_held(3).unwrap());
    }
}
