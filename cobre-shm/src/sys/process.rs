//! What happens to processes: leaving, forking, being ended.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    sync::Once,
};

use super::ancestry;

/// Calls `hook` when the process exits normally, also through [`std::process::exit`], which runs no
/// destructor.
pub(crate) fn at_exit(hook: extern "C" fn()) {
    // SAFETY: `hook` is a function that lives as long as the program; should registration fail (no
    // memory), an exit looks to the peers like a death, which is safe.
    unsafe { libc::atexit(hook) };
}

/// How many forks separate this process from the one that started counting.
///
/// Changed only in a forked child before its `fork` returns, so Relaxed is enough.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The descriptors whose locks a forked child must let go; -1 is a free place.
static GUARDED: [AtomicI32; 256] = [const { AtomicI32::new(-1) }; 256];

/// Marks the process generation: differs between a parent and its forked child, without a system
/// call.
#[inline]
pub(crate) fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn in_forked_child() {
    FORKS.store(FORKS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    // SAFETY: `open` is async-signal-safe, the path a C string.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    for place in &GUARDED {
        let fd = place.load(Ordering::Relaxed);
        if fd >= 0 {
            // Replaced instead of closed, because its owner will close it by number again.
            // SAFETY: `dup3` is async-signal-safe; `fd` is open, since its guard is registered.
            unsafe { libc::dup3(null, fd, libc::O_CLOEXEC) };
        }
    }
    // SAFETY: `null` was opened above (closing -1 is an error without effect).
    unsafe { libc::close(null) };
}

/// A file that stays with this process: a forked child loses its descriptor to `/dev/null`.
#[derive(Debug)]
pub(crate) struct ForkGuarded {
    file: File,
    place: Option<&'static AtomicI32>,
}

impl ForkGuarded {
    pub(crate) fn new(file: File) -> Self {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            // SAFETY: the handler lives as long as the program and does only async-signal-safe
            // things; should registration fail (no memory), children keep the parent's locks.
            unsafe { libc::pthread_atfork(None, None, Some(in_forked_child)) };
        });
        let fd = file.as_raw_fd();
        let place = GUARDED.iter().find(|place| {
            place
                .compare_exchange(-1, fd, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        });
        Self { file, place }
    }
}

impl core::ops::Deref for ForkGuarded {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for ForkGuarded {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            place.store(-1, Ordering::Relaxed);
        }
    }
}

/// Whether the process `pid` is stopped, by a signal or by its debugger.
pub(crate) fn is_stopped(pid: u32) -> bool {
    ancestry::stat(pid).is_some_and(|stat| matches!(stat.state.as_str(), "T" | "t"))
}

/// The PID namespace of this process; 0 if the system does not say.
pub(crate) fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

/// A handle of a process that cannot come to mean another one.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = libc::c_int::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned `fd`, open and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn kill(&self) {
        // SAFETY: no memory is passed but a null siginfo, which the call allows. An error means
        // that the process is gone already.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                libc::SIGKILL,
                core::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }
}

/// The cores that this process may use: the smaller of the affinity mask and the cgroup's quota.
pub(crate) fn usable_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// The processors that the process `pid` may run on; `None` if there is no such process, or it is not
/// known.
pub(crate) fn processors(pid: u32) -> Option<Vec<usize>> {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().ok()?);
    let allowed = nix::sched::sched_getaffinity(pid).ok()?;
    let cpus = 0..nix::sched::CpuSet::count();
    Some(
        cpus.filter(|&cpu| allowed.is_set(cpu) == Ok(true))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::generation;
    use crate::{
        job::names,
        memory::segment::Segment,
        sys::{
            lock::LockFile,
            ours::{self, Access},
            shm,
        },
    };
    use std::{io::Read, os::fd::AsRawFd};

    /// The lock must go with the rank's process, not with the last of its children.
    #[test]
    fn a_forked_child_does_not_keep_its_parents_lock() {
        let name = names::unswept();
        let mapped = shm::create(&name).unwrap();
        mapped.set_len(4096).unwrap();
        let segment = Segment::map(&mapped, 4096).unwrap();
        let locks = LockFile::new(ours::open(&name, Access::ReadWrite).unwrap());
        let other = LockFile::new(ours::open(&name, Access::ReadWrite).unwrap());
        shm::unlink(&name).unwrap();
        assert!(locks.try_lock(0).unwrap());
        let here = generation();
        let (started, tell) = std::io::pipe().unwrap();
        let (wait, end) = std::io::pipe().unwrap();
        let fds = [wait.as_raw_fd(), tell.as_raw_fd(), end.as_raw_fd()];
        // SAFETY: the child makes only async-signal-safe calls.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let same = i32::from(generation() == here);
            let mut byte = 0_u8;
            let byte = (&raw mut byte).cast();
            // SAFETY: the descriptors are open. Its own copy of `end` would keep the child waiting.
            unsafe { libc::close(fds[2]) };
            // SAFETY: `byte` is one byte: says that the fork is complete.
            unsafe { libc::write(fds[1], byte, 1) };
            // SAFETY: as above: until the parent ends, in whatever way.
            unsafe { libc::read(fds[0], byte, 1) };
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(same) };
        }
        (&started).read_exact(&mut [0]).unwrap();
        assert!(other.is_held(0).unwrap());
        // What is left of the rank when it dies: nothing here, its mapping in the child.
        drop((segment, mapped, locks));
        assert!(!other.is_held(0).unwrap(), "the child keeps the lock");
        drop(end);
        let mut status = -1;
        // SAFETY: `status` is writable; the child is ours.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "the child did not notice that it was forked");
    }
}
