//! The guard: a process between launcher and ranks, which outlives a killed launcher for as long as
//! it takes to kill everything else. The protocol is in `specs/src/protocol/guard.md`.
//!
//! This half is the launcher's handle on it; what the guard itself does is in `guard/serve`.

mod serve;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::error::LaunchError;
use crate::plan::{Identity, Plan};
use crate::process::channel::{self, LauncherEnd, News, Order, RankSet, Received, Wait};
use crate::process::missed::Missed;
use crate::process::{child, spawn};
use crate::sys::{self, Inheritance, Usage};

/// How often a guard that says nothing while it starts ranks is looked at, in milliseconds.
const LOOK: u8 = 50;

/// A rank that has been started, with our ends of its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// How a rank ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) rank: usize,
    pub(crate) status: ExitStatus,
    /// The launcher had it signalled to end it.
    pub(crate) by_launcher: bool,
    /// Unless nobody could tell.
    pub(crate) usage: Option<Usage>,
}

/// The launcher's handle on its guard. When it is dropped, everything below the guard is killed.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) pid: Pid,
    channel: Option<LauncherEnd>,
}

impl Guard {
    /// Forks the guard of the job `identity`, which is not founded yet.
    pub(crate) fn fork(
        plan: &Plan,
        identity: &Identity,
        inheritance: Inheritance,
    ) -> Result<Self, LaunchError> {
        let failed = || LaunchError::system::<nix::Error>("starting the guard");
        // For what a killed guard leaves.
        set_child_subreaper(true).map_err(failed())?;
        let (ours, theirs) = channel::pair().map_err(failed())?;
        let mut ours = Some(ours);
        let pid = sys::fork(|| {
            drop(ours.take());
            serve::serve(plan, identity, inheritance, &theirs);
        })
        .map_err(failed())?;
        Ok(Self { pid, channel: ours })
    }

    /// Starts every rank, or none: if one cannot be started, the others are killed. All get the
    /// signals that they `missed`.
    pub(crate) fn start_ranks(
        &self,
        plan: &Plan,
        missed: Missed,
    ) -> Result<Vec<Started>, LaunchError> {
        let mut started = Vec::with_capacity(plan.ranks.len());
        self.send(&Order::Start(missed));
        while started.len() < plan.ranks.len() {
            let rank = started.len();
            let refused = |errno: Errno| spawn::refused(plan, rank, errno.into());
            match self.receive_from_running().map_err(refused)? {
                Received::Message(News::Started(pid), pipes) => {
                    let mut pipes = pipes.into_iter().rev();
                    let mut next = || pipes.next().ok_or(Errno::EBADMSG).map_err(refused);
                    started.push(Started {
                        pid,
                        stderr: next()?,
                        stdout: next()?,
                        stdin: pipes.next(),
                    });
                }
                Received::Message(News::Refused(errno), _) => return Err(refused(errno)),
                // The guard tells of ends when all have started, and is there until we are not.
                Received::Message(..) | Received::Nothing => {}
                Received::Closed => return Err(LaunchError::GuardLost),
            }
        }
        Ok(started)
    }

    /// Sends `signal` to those of `ranks` that have not ended; `to_end` them, or passed on.
    pub(crate) fn signal(&self, signal: Signal, ranks: RankSet, to_end: bool) {
        if !ranks.is_empty() {
            self.send(&Order::Signal {
                signal,
                ranks,
                to_end,
            });
        }
    }

    /// The next rank that has ended, if the guard has told of one.
    pub(crate) fn next(&self) -> Option<Ended> {
        match self.receive(Wait::No) {
            Ok(Received::Message(
                News::Ended {
                    rank,
                    status,
                    by_order,
                    usage,
                },
                _,
            )) => Some(Ended {
                rank,
                status,
                by_launcher: by_order,
                usage: Some(usage),
            }),
            _ => None,
        }
    }

    /// Nobody holds the job up by stopping its guard.
    pub(crate) fn keep_going(&self) {
        if self.channel.is_some() {
            child::keep_going(self.pid);
        }
    }

    /// What there is to wait for; nothing when the guard is gone.
    pub(crate) fn interest(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    /// The guard is gone and reaped: it is not to be asked or waited for any more.
    pub(crate) fn forget(&mut self) {
        self.channel = None;
    }

    /// Has everything killed that is left, and waits for it.
    pub(crate) fn finish(&mut self) {
        if self.channel.take().is_some() {
            child::wait_for(self.pid);
        }
    }

    fn send(&self, order: &Order) {
        if let Some(channel) = &self.channel {
            channel.send(order);
        }
    }

    /// Waits for a message of a guard that may be stopped: then it is continued.
    fn receive_from_running(&self) -> nix::Result<Received<News>> {
        loop {
            match self.receive(Wait::No)? {
                Received::Nothing => {}
                received => return Ok(received),
            }
            let mut fds = [PollFd::new(
                self.interest().ok_or(Errno::EBADF)?,
                PollFlags::POLLIN,
            )];
            match poll(&mut fds, LOOK) {
                Ok(0) => self.keep_going(),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive(&self, wait: Wait) -> nix::Result<Received<News>> {
        match &self.channel {
            Some(channel) => channel.receive(wait),
            None => Ok(Received::Closed),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish();
    }
}
