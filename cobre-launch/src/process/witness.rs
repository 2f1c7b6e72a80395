//! The witness: a process in the launcher's process group that does nothing but say which signals
//! it gets. What it gets has been sent to the whole group, so the ranks have it already. Asked, it
//! answers when it has said all that it had got before: on a busy machine it may say so late.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, getpid, getppid, read, write};

use crate::process::child;
use crate::sys;

/// The launcher's handle on its witness, which ends with it.
#[derive(Debug)]
pub(crate) struct Witness {
    pid: Pid,
    reports: Option<OwnedFd>,
}

/// What the witness says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// This has come to the whole group.
    Signal(Signal),
    /// Everything that had come when it was asked this has been said.
    Answer(Question),
}

/// One byte, which is no signal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question(u8);

impl Question {
    const FIRST: u8 = 128;

    /// One for the beginning.
    pub(crate) fn first() -> Self {
        Self(Self::FIRST)
    }

    /// Another one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1).max(Self::FIRST))
    }
}

impl Witness {
    /// Forks it; it will tell of what `signals` reads. (A signal descriptor is read by each process
    /// for itself.)
    pub(crate) fn fork(signals: &SignalFd) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (reports, to) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
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

    /// Asks it; `false` if nobody is going to answer.
    pub(crate) fn ask(&self, question: Question) -> bool {
        let reports = self.reports.as_ref();
        reports.is_some_and(|reports| write(reports, &[question.0]) == Ok(1))
    }

    /// The next thing that it says, if there is any.
    pub(crate) fn next(&mut self) -> Option<Report> {
        let mut said = [0];
        match read(self.reports.as_ref()?, &mut said) {
            Ok(1) if said[0] >= Question::FIRST => Some(Report::Answer(Question(said[0]))),
            Ok(1) => {
                let signal = Signal::try_from(i32::from(said[0]));
                signal.ok().map(Report::Signal)
            }
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
            PollFd::new(to.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        // Before the signals: an answer comes behind all that had come.
        let mut questions = [0; 16];
        let asked = match read(to, &mut questions) {
            Ok(0) => break,
            Ok(asked) => asked,
            Err(Errno::EAGAIN) => 0,
            Err(errno) => return Err(errno),
        };
        while let Some(info) = signals.read_signal()? {
            write(to, &[info.ssi_signo as u8])?;
        }
        if asked > 0 {
            write(to, &questions[..asked])?;
        }
    }
    Ok(())
}
