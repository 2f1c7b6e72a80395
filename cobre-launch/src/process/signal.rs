//! Signals as events: blocked, and read from a descriptor.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getpid, getsid};

use crate::error::LaunchError;
use crate::process::missed::Missed;
use crate::process::witness::{Question, Report, Witness};
use crate::sys;

/// What users and programs send to a job.
pub(super) const FORWARDED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What stops a job and lets it go on.
const JOB_CONTROL: [Signal; 2] = [Signal::SIGTSTP, Signal::SIGCONT];

/// The same signal again within this time is the same event: `timeout` and others send to the
/// process and then to its group. So long a signal is held back until it is clear whether the whole
/// group has got it.
const ECHO: Duration = Duration::from_millis(10);

/// For so long the witness may take to say that it has not got a signal.
const LATE_WITNESS: Duration = Duration::from_secs(2);

/// The signals that have come to the launcher.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    /// The mask that the launcher was started with, which its ranks get.
    pub(crate) original: SigSet,
    /// What it would have done at the end of a child, which its ranks get too.
    pub(crate) on_children: SigHandler,
    /// Ranks are being started: not all of them have what the process group has got.
    starting: bool,
    /// What is clear already.
    ready: VecDeque<Event>,
    witness: Witness,
    last: Option<(Signal, Instant)>,
    /// Came to this process, and when; maybe to the whole group.
    held: VecDeque<(Signal, Instant)>,
    /// What the witness has got, and when.
    witnessed: Vec<(Signal, Instant)>,
    /// What the witness was asked last.
    question: Question,
    /// It has been asked about the first of what is held back, and maybe has answered.
    asked: Option<Answer>,
    interrupts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    Given,
}

/// One thing that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Children may have ended, or have been stopped.
    Children,
    /// A signal for the job.
    Job {
        signal: Signal,
        /// Whether it was sent to the whole process group, by the kernel (a key, a shell's end) or
        /// by anybody, so that the ranks have it already.
        everybody_has_it: bool,
    },
    /// The second SIGINT: the user means it.
    KillNow,
    /// The job is to stop (Ctrl-Z), and this process too, so that the shell takes note.
    Stop {
        /// As above.
        everybody_has_it: bool,
    },
    /// The job goes on.
    Continued,
    /// The terminal has another size.
    Resized,
}

impl Signals {
    /// Takes the signals that are for the job, except those that the launcher was told to ignore
    /// (`nohup`, a shell's background jobs). SIGQUIT is taken in any case: the launcher answers it,
    /// and ranks that ignore it are not ended by it.
    pub(crate) fn take() -> Result<Self, LaunchError> {
        let failed = || LaunchError::system::<nix::Error>("taking over signals");
        let on_children = sys::keep_zombies().map_err(failed())?;
        let mut taken = SigSet::empty();
        taken.add(Signal::SIGCHLD);
        taken.add(Signal::SIGWINCH);
        for signal in FORWARDED.into_iter().chain(JOB_CONTROL) {
            if signal == Signal::SIGQUIT || !sys::is_ignored(signal).map_err(failed())? {
                taken.add(signal);
            }
        }
        let original = taken
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map_err(failed())?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let fd = SignalFd::with_flags(&taken, flags).map_err(failed())?;
        Ok(Self {
            witness: Witness::fork(&fd).map_err(failed())?,
            fd,
            original,
            on_children,
            starting: false,
            ready: VecDeque::new(),
            last: None,
            held: VecDeque::new(),
            witnessed: Vec::new(),
            question: Question::first(),
            asked: None,
            interrupts: 0,
        })
    }

    /// What there is to wait for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.fd.as_fd()).chain(self.witness.interest())
    }

    /// Nobody holds up the witness by stopping it.
    pub(crate) fn keep_going(&self) {
        self.witness.keep_going();
    }

    /// When there is something next even if nothing comes.
    pub(crate) fn due(&self) -> Option<Instant> {
        let wait = self.asked.map_or(ECHO, |_| LATE_WITNESS);
        self.held.front().map(|(_, at)| *at + wait)
    }

    /// Stops this process as a shell expects it, until SIGCONT comes. In a process group that
    /// nobody could continue the kernel lets it run, and the ranks too.
    pub(crate) fn stop(&self) {
        let stop = SigSet::from(Signal::SIGTSTP);
        // Its own again: it is taken as soon as it is let through.
        if raise(Signal::SIGTSTP).is_ok() && stop.thread_unblock().is_ok() {
            let _ = stop.thread_block();
        }
    }

    /// The next thing that came, if any has.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Event> {
        let ready = self.ready.pop_front();
        ready
            .or_else(|| self.arrived(now))
            .or_else(|| self.settled(now))
    }

    /// What has come so far, which ranks that are about to be started get as they start: it counts
    /// as something that everybody has.
    pub(crate) fn hand_over(&mut self, now: Instant) -> Missed {
        self.starting = true;
        self.set_aside(now);
        self.asked = None;
        let held = self.held.drain(..).map(|(signal, _)| event(signal, false));
        self.ready.extend(held);
        let signals = self.ready.iter_mut().filter_map(|event| match event {
            Event::Job {
                signal,
                everybody_has_it,
            } => {
                *everybody_has_it = true;
                Some(*signal)
            }
            _ => None,
        });
        signals.collect()
    }

    /// From now on everybody has what the process group gets.
    pub(crate) fn all_started(&mut self, now: Instant) {
        self.set_aside(now);
        self.starting = false;
    }

    fn set_aside(&mut self, now: Instant) {
        while let Some(event) = self.arrived(now) {
            self.ready.push_back(event);
        }
    }

    /// The next thing that is clear as soon as it comes. What is not is held back.
    fn arrived(&mut self, now: Instant) -> Option<Event> {
        loop {
            let info = self.fd.read_signal().ok()??;
            let signal = i32::try_from(info.ssi_signo).ok()?;
            let signal = Signal::try_from(signal).ok()?;
            match signal {
                Signal::SIGCHLD => return Some(Event::Children),
                Signal::SIGCONT => return Some(Event::Continued),
                Signal::SIGWINCH => return Some(Event::Resized),
                _ => {}
            }
            let echo = self
                .last
                .is_some_and(|(last, at)| last == signal && now.duration_since(at) < ECHO);
            if echo {
                continue;
            }
            self.last = Some((signal, now));
            if signal == Signal::SIGTSTP && self.starting {
                return Some(event(signal, false));
            }
            if signal == Signal::SIGINT {
                self.interrupts += 1;
                if self.interrupts > 1 {
                    return Some(Event::KillNow);
                }
            }
            if info.ssi_code == libc::SI_KERNEL {
                return Some(event(signal, !only_for_the_leader(signal)));
            }
            self.held.push_back((signal, now));
        }
    }

    /// The next thing that was held back, if it is clear by now.
    fn settled(&mut self, now: Instant) -> Option<Event> {
        while let Some(report) = self.witness.next() {
            match report {
                Report::Signal(signal) => self.witnessed.push((signal, now)),
                Report::Answer(answer) if answer == self.question => {
                    self.asked = self.asked.map(|_| Answer::Given);
                }
                Report::Answer(_) => {}
            }
        }
        self.witnessed
            .retain(|(_, at)| now.duration_since(*at) < ECHO);
        let (signal, at) = *self.held.front()?;
        let witnessed = self.witnessed.iter().position(|(got, _)| *got == signal);
        if witnessed.is_none() && !self.is_clear(at, now) {
            return None;
        }
        self.asked = None;
        self.held.pop_front();
        if let Some(witnessed) = witnessed {
            self.witnessed.swap_remove(witnessed);
        }
        Some(event(signal, witnessed.is_some()))
    }

    /// Whether what came to this process `at`, and not to the witness so far, came to this process
    /// alone.
    fn is_clear(&mut self, at: Instant, now: Instant) -> bool {
        let since = now.duration_since(at);
        if since < ECHO {
            return false;
        }
        if self.asked.is_none() {
            self.question = self.question.next();
            let is_asked = self.witness.ask(self.question);
            self.asked = Some(Answer::Awaited).filter(|_| is_asked);
            return !is_asked;
        }
        self.asked == Some(Answer::Given) || since >= LATE_WITNESS
    }
}

fn event(signal: Signal, everybody_has_it: bool) -> Event {
    match signal {
        Signal::SIGTSTP => Event::Stop { everybody_has_it },
        signal => Event::Job {
            signal,
            everybody_has_it,
        },
    }
}

/// Whether the kernel sends `signal` to the leader of the session alone, and that is this process:
/// a terminal that hangs up under a launcher without a shell (`ssh -t host cobre-launch ..`).
fn only_for_the_leader(signal: Signal) -> bool {
    signal == Signal::SIGHUP && getsid(None) == Ok(getpid())
}

/// The name of a signal, as `kill -l` and people know it.
pub(crate) fn name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if signal >= libc::SIGRTMIN() => format!("SIGRTMIN+{}", signal - libc::SIGRTMIN()),
        Err(_) => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn signals_have_names() {
        assert_eq!(name(9), "SIGKILL");
        assert_eq!(name(libc::SIGRTMIN() + 2), "SIGRTMIN+2");
    }
}
