//! Children of this process, as the kernel knows them.
//!
//! The number of a process is a child's until this process has reaped it, and anybody's before and
//! after; `/proc` may even show those of another PID namespace. So the kernel is asked whose a
//! number is before a signal goes there. Between the two nothing can change: this process has one
//! thread, and nobody else reaps its children.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Whether `pid` is a child of this process that has not been reaped.
pub(crate) fn is_ours(pid: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // Any other error is about how it ended.
    waitid(Id::Pid(pid), look) != Err(Errno::ECHILD)
}

/// Sends `signal` to the child `pid`; `false` if it is no child, or belongs to another user.
pub(crate) fn signal(pid: Pid, signal: Signal) -> bool {
    is_ours(pid) && kill(pid, signal).is_ok()
}

/// Whether the child `pid` is stopped by a signal.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    let look = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(pid), look), Ok(WaitStatus::Stopped(..)))
}

/// Continues the child `pid` if somebody has stopped it.
pub(crate) fn keep_going(pid: Pid) {
    if is_stopped(pid) {
        signal(pid, Signal::SIGCONT);
    }
}

/// Waits for the end of the child `pid`, which nobody can hold up by stopping it.
pub(crate) fn wait_for(pid: Pid) {
    loop {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(pid), look) {
            Ok(WaitStatus::Stopped(..)) => {
                signal(pid, Signal::SIGCONT);
            }
            Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED);
}

#[cfg(test)]
mod tests {
    use super::{is_ours, is_stopped, keep_going, signal, wait_for};
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    /// A child that sleeps for longer than a test takes, and does not outlive it.
    struct Sleeper(Child);

    const LONG: Duration = Duration::from_secs(100);

    impl Sleeper {
        fn new() -> Self {
            let seconds = LONG.as_secs().to_string();
            Self(Command::new("sleep").arg(seconds).spawn().unwrap())
        }

        fn pid(&self) -> Pid {
            number(self.0.id())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            if signal(self.pid(), Signal::SIGKILL) {
                let _ = self.0.wait();
            }
        }
    }

    fn number(pid: u32) -> Pid {
        Pid::from_raw(pid.cast_signed())
    }

    #[test]
    fn only_children_are_signalled() {
        // Neither this process nor its parent is its child.
        for pid in [Pid::this(), Pid::parent(), number(1)] {
            assert!(!is_ours(pid), "{pid}");
            assert!(!signal(pid, Signal::SIGCONT), "{pid}");
        }
        let mut sleeper = Sleeper::new();
        let pid = sleeper.pid();
        assert!(is_ours(pid));
        assert!(signal(pid, Signal::SIGKILL));
        sleeper.0.wait().unwrap();
        assert!(!is_ours(pid));
        assert!(!signal(pid, Signal::SIGKILL));
    }

    #[test]
    fn a_stopped_child_is_continued_and_waited_for() {
        let begin = Instant::now();
        let mut sleeper = Sleeper::new();
        let pid = sleeper.pid();
        assert!(!is_stopped(pid));
        kill(pid, Signal::SIGSTOP).unwrap();
        while !is_stopped(pid) {
            assert!(begin.elapsed() < LONG, "it does not stop");
            std::thread::yield_now();
        }
        keep_going(pid);
        assert!(!is_stopped(pid));
        kill(pid, Signal::SIGSTOP).unwrap();
        kill(pid, Signal::SIGTERM).unwrap();
        // Continued, it ends.
        wait_for(pid);
        assert!(begin.elapsed() < LONG, "it has slept to its end");
        assert!(!is_ours(pid));
        assert!(sleeper.0.wait().is_err(), "it is reaped");
    }
}
