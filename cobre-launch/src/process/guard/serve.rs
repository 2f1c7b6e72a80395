//! What the guard itself does, in a process of its own.

use std::os::fd::AsFd;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::shm_unlink;
use nix::sys::prctl::{set_child_subreaper, set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, setsid};

use crate::plan::{Identity, Plan};
use crate::process::channel::{GuardEnd, News, Order, RankSet, Received, Wait};
use crate::process::{child, descendants, spawn};
use crate::sys::{Inheritance, Reaped, Usage, leave_streams, reap};

/// Starts the ranks of the job `identity`, watches them, and ends with everything that is below it
/// when the launcher closes its end of the channel, or dies.
pub(super) fn serve(
    plan: &Plan,
    identity: &Identity,
    inheritance: Inheritance,
    channel: &GuardEnd,
) {
    if let Ok(mut ranks) = prepare()
        && let Ok(Received::Message(Order::Start(missed), _)) = channel.receive(Wait::Forever)
        && {
            missed.make_up();
            ranks.start(plan, identity, inheritance, channel)
        }
    {
        leave();
        // On an error there is nothing to wait with, as if the launcher were gone.
        while ranks.watch(channel).is_ok_and(|goes_on| goes_on) {}
    }
    descendants::kill_all();
    // Random, and made by our launcher alone: this is nobody else's. Usually it is gone.
    let _ = shm_unlink(identity.name.as_str());
}

fn prepare() -> nix::Result<Ranks> {
    // For people who look at the processes.
    let _ = set_name(c"cobre-guard");
    set_child_subreaper(true)?;
    // Should it be stopped when the launcher, which would continue it, is killed.
    set_pdeathsig(Signal::SIGCONT)?;
    SigSet::all().thread_set_mask()?;
    let children = SigSet::from(Signal::SIGCHLD);
    Ok(Ranks {
        children: SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
        pids: Vec::new(),
        signalled: Vec::new(),
        suspended: Vec::new(),
    })
}

/// Leaves the launcher's process group, session, terminal and streams, in which the ranks stay.
fn leave() {
    // It fails only for the leader of a process group, which a forked process is not.
    let _ = setsid();
    // Without /dev/null it holds them until its end, with which the job's comes anyway.
    let _ = leave_streams();
}

struct Ranks {
    children: SignalFd,
    /// The process of each rank, until it is reaped.
    pids: Vec<Option<Pid>>,
    /// Whether the launcher wanted it to end.
    signalled: Vec<bool>,
    /// Whether SIGTSTP has been passed on to it, and SIGCONT has not.
    suspended: Vec<bool>,
}

impl Ranks {
    /// Starts them all; `false` if that is over before.
    fn start(
        &mut self,
        plan: &Plan,
        identity: &Identity,
        inheritance: Inheritance,
        channel: &GuardEnd,
    ) -> bool {
        for rank in 0..plan.ranks.len() {
            // Nothing else can come but the end: the launcher wants nothing of a job that it does
            // not know to be whole. (After the last rank it may.)
            if !matches!(channel.receive(Wait::No), Ok(Received::Nothing)) {
                return false;
            }
            match spawn::start(plan, identity, rank, inheritance) {
                Ok(child) => {
                    self.pids.push(Some(child.pid));
                    self.signalled.push(false);
                    self.suspended.push(false);
                    let stdin = child.stdin.as_ref().map(AsFd::as_fd);
                    let others = [child.stdout.as_fd(), child.stderr.as_fd()];
                    let pipes: Vec<_> = stdin.into_iter().chain(others).collect();
                    channel.send(News::Started(child.pid), &pipes);
                }
                Err(error) => {
                    let errno = error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw);
                    channel.send(News::Refused(errno), &[]);
                    return false;
                }
            }
        }
        true
    }

    /// Waits for the next things that happen and does them; `false` at the end.
    fn watch(&mut self, channel: &GuardEnd) -> nix::Result<bool> {
        let mut fds = [
            PollFd::new(channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        while self.children.read_signal()?.is_some() {}
        // Before any order: who has ended by now has not been ended by it.
        self.reap(channel);
        match channel.receive(Wait::No)? {
            Received::Closed => Ok(false),
            Received::Message(
                Order::Signal {
                    signal,
                    ranks,
                    to_end,
                },
                _,
            ) => {
                self.signal(signal, &ranks, to_end);
                Ok(true)
            }
            Received::Message(Order::Start(_), _) | Received::Nothing => Ok(true),
        }
    }

    fn reap(&mut self, channel: &GuardEnd) {
        while let Reaped::Child(pid, status, usage) = reap() {
            if let Some(rank) = self.pids.iter().position(|&rank| rank == Some(pid)) {
                self.pids[rank] = None;
                channel.send(self.ended(rank, status, usage), &[]);
            }
        }
    }

    fn ended(&self, rank: usize, status: ExitStatus, usage: Usage) -> News {
        News::Ended {
            rank,
            status,
            by_order: self.signalled[rank],
            usage,
        }
    }

    fn signal(&mut self, signal: Signal, ranks: &RankSet, to_end: bool) {
        for (rank, pid) in self.pids.iter().enumerate() {
            if let Some(pid) = *pid
                && ranks.contains(rank)
                // Who goes on already, because the shell has told the whole process group, is not
                // told again.
                && (signal != Signal::SIGCONT || self.suspended[rank] || child::is_stopped(pid))
                // It fails only for a rank that has changed its user.
                && child::signal(pid, signal)
            {
                self.signalled[rank] |= to_end;
                match signal {
                    Signal::SIGTSTP => self.suspended[rank] = true,
                    Signal::SIGCONT => self.suspended[rank] = false,
                    _ => {}
                }
            }
        }
    }
}
