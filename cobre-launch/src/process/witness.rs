//! The witness: a process in the launcher's process group that does nothing but say which signals
//! it gets. What it gets has been sent to the whole group, so the ranks have it already.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpid, getppid, pipe2, read, write};

use crate::process::child;
use crate::sys;

/// The launcher's handle on its witness, which ends with it.
#[derive(Debug)]
pub(crate) struct Witness {
    pid: Pid,
    reports: Option<OwnedFd>,
}

impl Witness {
    /// Forks it; it will tell of what `signals` reads. (A signal descriptor is read by each process
    /// for itself.)
    pub(crate) fn fork(signals: &SignalFd) -> nix::Result<Self> {
        let (reports, to) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let launcher = getpid();
        let mut ours = Some(reports);
        let pid = sys::fork(|| {
            drop(ours.take());
            // An error ends it; then nobody but the kernel says what the group has got.
            let _ = serve(launcher, signals, &to);
        })?;
        Ok(Self { pid, reports: ours })
    }

    /// Nobody holds it up by stopping it.
    pub(crate) fn keep_going(&self) {
        child::keep_going(self.pid);
    }

    /// What there is to wait for.
    pub(crate) fn interest(&self) -> Option<BorrowedFd<'_>> {
        self.reports.as_ref().map(AsFd::as_fd)
    }

    /// The next signal that has come to the whole group, if one has.
    pub(crate) fn next(&mut self) -> Option<Signal> {
        let mut number = [0];
        match read(self.reports.as_ref()?, &mut number) {
            Ok(1) => Signal::try_from(i32::from(number[0])).ok(),
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            // It has been killed.
            _ => {
                self.reports = None;
                None
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.reports = None;
        child::wait_for(self.pid);
    }
}

/// What the witness does, until the launcher closes its end, or dies.
fn serve(launcher: Pid, signals: &SignalFd, to: &OwnedFd) -> nix::Result<()> {
    // For people who look at the processes.
    let _ = set_name(c"cobre-witness");
    set_pdeathsig(Signal::SIGKILL)?;
    SigSet::all().thread_set_mask()?;
    // Without /dev/null it holds them as long as the launcher does.
    let _ = sys::leave_streams();
    while getppid() == launcher {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            // Nothing, but that nobody reads it any more.
            PollFd::new(to.as_fd(), PollFlags::empty()),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        while let Some(info) = signals.read_signal()? {
            write(to, &[info.ssi_signo as u8])?;
        }
        if fds[1].any() == Some(true) {
            break;
        }
    }
    Ok(())
}
