//! Liveness held by the kernel: locks that die with their process.
//!
//! Open-file-description locks (Linux 3.15) on single bytes of the control segment. They belong to
//! the open file, not to the process, so several ranks may live in one process, each with its own
//! open file; and the kernel drops them when the last descriptor of that open file is closed, which
//! is at the latest when its process is gone. Locks work across PID namespaces that share one
//! `/dev/shm`, where process numbers mean nothing.

#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
};

/// The byte that stands for the process that founded the job. Ranks lock the byte of their number.
pub(crate) const FOUNDER: usize = 1 << 20;

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

/// Takes the lock on `byte` through this open file.
///
/// Returns whether it was free.
pub(crate) fn try_lock(file: &File, byte: usize) -> io::Result<bool> {
    match fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut flock(byte)) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAGAIN) | Some(libc::EACCES)
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether another open file holds the lock on `byte`.
pub(crate) fn is_held(file: &File, byte: usize) -> io::Result<bool> {
    let mut lock = flock(byte);
    fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    use super::{is_held, try_lock};
    use crate::sys::shm;

    #[test]
    fn a_lock_belongs_to_the_open_file_and_goes_with_it() {
        let name = format!("/cobre-test-{}", uuid::Uuid::new_v4().simple());
        let one = shm::create(&name).unwrap();
        let other = shm::open(&name).unwrap();
        shm::unlink(&name).unwrap();
        assert!(!is_held(&other, 3).unwrap());
        assert!(try_lock(&one, 3).unwrap());
        assert!(is_held(&other, 3).unwrap());
        assert!(!try_lock(&other, 3).unwrap());
        assert!(!is_held(&other, 4).unwrap());
        drop(one);
        assert!(!is_held(&other, 3).unwrap());
    }
}
