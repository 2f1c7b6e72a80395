//! The one module with `unsafe`: what neither the standard library nor nix has in a safe form.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid};
use rustix::process::{PTracer, set_ptracer};

/// What others that the launcher starts get back of its own settings between fork and exec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inheritance {
    /// The signal mask that the launcher was started with.
    pub(crate) mask: SigSet,
    /// The limit of open files that the launcher was started with.
    pub(crate) open_files: (rlim_t, rlim_t),
    /// What the launcher would have done at the limit on the size of files.
    pub(crate) on_file_size: SigHandler,
    /// The same when a child ended.
    pub(crate) on_children: SigHandler,
}

/// Makes the process of `command` die with its parent, this process.
pub(crate) fn die_with_parent(command: &mut Command, parent: Pid) {
    let prepare = move || -> io::Result<()> {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the request: then nobody is going to send it.
        match getppid() == parent {
            true => Ok(()),
            false => Err(Errno::ESRCH.into()),
        }
    };
    // SAFETY: the closure runs in the child of a single-threaded process; it makes two system calls
    // that neither allocate nor lock, and owns plain data only.
    unsafe { command.pre_exec(prepare) };
}

/// Makes the process of `command` start as if the launcher had not touched itself.
pub(crate) fn give_back(command: &mut Command, inheritance: Inheritance) {
    let prepare = move || -> io::Result<()> {
        let (soft, hard) = inheritance.open_files;
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        inheritance.mask.thread_set_mask()?;
        // The standard library has made SIGPIPE SIG_DFL, without knowing what it was.
        let on_pipe = match PIPE_WAS_IGNORED.load(Ordering::Relaxed) {
            true => SigHandler::SigIgn,
            false => SigHandler::SigDfl,
        };
        for (number, handler) in [
            (Signal::SIGXFSZ, inheritance.on_file_size),
            (Signal::SIGCHLD, inheritance.on_children),
            (Signal::SIGPIPE, on_pipe),
        ] {
            // SAFETY: no handler of ours: the launcher has none, so this is SIG_DFL or SIG_IGN.
            unsafe { signal(number, handler) }?;
        }
        Ok(())
    };
    // SAFETY: the closure runs in the child of a single-threaded process; it makes a few system
    // calls through thin wrappers that neither allocate nor lock, and owns plain data only.
    unsafe { command.pre_exec(prepare) };
}

/// Lets `tracer` and what it starts look into the process of `command`, also where Yama lets nobody
/// but ancestors; without Yama there is nothing to allow.
pub(crate) fn allow_tracing(command: &mut Command, tracer: PTracer) {
    let allow = move || {
        let _ = set_ptracer(tracer);
        Ok(())
    };
    // SAFETY: the closure runs in the child of a single-threaded process; it makes one system call
    // that neither allocates nor locks, and owns plain data only.
    unsafe { command.pre_exec(allow) };
}

/// Keeps the process of `command` on these processors.
pub(crate) fn keep_on(command: &mut Command, processors: CpuSet) {
    let bind = move || Ok(sched_setaffinity(Pid::from_raw(0), &processors)?);
    // SAFETY: the closure runs in the child of a single-threaded process; it makes one system call
    // that neither allocates nor locks, and owns plain data only.
    unsafe { command.pre_exec(bind) };
}

/// Forks this process; `child` is all that the new one does.
pub(crate) fn fork(child: impl FnOnce()) -> nix::Result<Pid> {
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // A panic must not unwind into what the launcher does.
            let outcome = panic::catch_unwind(AssertUnwindSafe(child));
            // SAFETY: no handlers run and no buffers are flushed: they are the launcher's.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
    }
}

/// Lets go of the standard streams, whose other ends wait for the last holder.
pub(crate) fn leave_streams() -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Takes a descriptor that has just been received.
pub(crate) fn own(received: RawFd) -> OwnedFd {
    // SAFETY: the kernel has made it for this process, and nobody else has been told of it.
    unsafe { OwnedFd::from_raw_fd(received) }
}

/// Lets ended children wait to be reaped, also if whoever started us ignored SIGCHLD. Returns what
/// was to happen before.
pub(crate) fn keep_zombies() -> nix::Result<SigHandler> {
    // SAFETY: SIG_DFL is not a handler, so no code of ours can run at an unsafe moment.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }
}

/// Whether this process ignores `signal`.
pub(crate) fn is_ignored(signal: Signal) -> nix::Result<bool> {
    handler_of(signal as i32).map(|handler| handler == libc::SIG_IGN)
}

fn handler_of(signal: i32) -> nix::Result<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, and `action` is a valid place for what is told.
    Errno::result(unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) })?;
    // SAFETY: zeros are a valid value, and the call has written another.
    Ok(unsafe { action.assume_init() }.sa_sigaction)
}

/// Whether this process was started with SIGPIPE ignored. Rust's own start, which comes before
/// `main`, ignores it in any case, so this is looked at before.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

// SAFETY: the C library calls the functions of this section once each, before `main`; this one only
// makes a system call and stores what it tells.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_PIPE: extern "C" fn() = look_at_pipe;

extern "C" fn look_at_pipe() {
    let ignored = handler_of(libc::SIGPIPE) == Ok(libc::SIG_IGN);
    PIPE_WAS_IGNORED.store(ignored, Ordering::Relaxed);
}

/// The signals that have come to this process and are blocked.
pub(crate) fn pending() -> nix::Result<SigSet> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is a valid place for what is told.
    Errno::result(unsafe { libc::sigpending(set.as_mut_ptr()) })?;
    // SAFETY: zeros are a valid value, and the call has written another.
    let set = unsafe { set.assume_init() };
    // SAFETY: the kernel has filled it.
    Ok(unsafe { SigSet::from_sigset_t_unchecked(set) })
}

/// Makes a file that has become too long an error where it is written, instead of this process'
/// end. Returns what was to happen before.
pub(crate) fn survive_file_size() -> nix::Result<SigHandler> {
    // SAFETY: SIG_IGN is not a handler, so no code of ours can run at an unsafe moment.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }
}

/// What a process has used, with those of its children that it has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) user_micros: u64,
    pub(crate) system_micros: u64,
    /// The most memory that it, or one of those children, has had in use at once.
    pub(crate) peak_bytes: u64,
}

impl Usage {
    fn new(usage: &libc::rusage) -> Self {
        let number = |number: libc::c_long| u64::try_from(number).unwrap_or_default();
        let micros = |time: libc::timeval| number(time.tv_sec) * 1_000_000 + number(time.tv_usec);
        Self {
            user_micros: micros(usage.ru_utime),
            system_micros: micros(usage.ru_stime),
            // In KiB (getrusage(2)).
            peak_bytes: number(usage.ru_maxrss) * 1024,
        }
    }
}

/// A child that may be reaped, or whether there is any left to wait for.
#[derive(Debug)]
pub(crate) enum Reaped {
    /// This one has ended.
    Child(Pid, ExitStatus, Usage),
    /// There are children, none has ended.
    NoneYet,
    /// There are no children.
    NoneLeft,
}

/// Reaps one child, if one has ended. (nix's `waitpid` loses children ended by real-time signals.)
pub(crate) fn reap() -> Reaped {
    loop {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both are valid places for what wait4 writes.
        match unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) } {
            0 => return Reaped::NoneYet,
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Reaped::NoneLeft,
            pid => {
                // SAFETY: zeros are a valid value, and the call has written another.
                let usage = Usage::new(&unsafe { usage.assume_init() });
                let status = ExitStatus::from_raw(status);
                return Reaped::Child(Pid::from_raw(pid), status, usage);
            }
        }
    }
}
