//! Signals that come to the launcher, and those that it sends to the ranks.

use std::time::Instant;

use cobre_comm_trait::text;
use nix::sys::signal::Signal;

use super::Supervisor;
use crate::process::channel::RankSet;
use crate::process::pty;
use crate::process::signal::Event;
use crate::report::last_words;
use crate::watch::ending::{Reason, Step};

impl Supervisor<'_> {
    pub(super) fn hear_signals(&mut self, now: Instant) {
        while let Some(event) = self.signals.next(now) {
            self.handle_signal(event, now);
        }
    }

    fn handle_signal(&mut self, event: Event, now: Instant) {
        match event {
            Event::Children => self.look_after_children(now),
            Event::Stop { everybody_has_it } => {
                if !everybody_has_it {
                    self.guard
                        .signal(Signal::SIGTSTP, self.those(|_| true), false);
                }
                self.signals.stop();
            }
            Event::Continued => {
                self.guard
                    .signal(Signal::SIGCONT, self.those(|_| true), false);
            }
            Event::Resized if self.plan.pty => {
                self.output.resize(pty::size(self.plan));
                // Who has it already may have looked too soon.
                self.guard
                    .signal(Signal::SIGWINCH, self.those(|_| true), false);
            }
            Event::Resized => {}
            Event::KillNow => {
                self.impatient |= self.over;
                match &mut self.ending {
                    Some(ending) => ending.now(now),
                    None => self.begin_end(Reason::Interrupt, now),
                }
            }
            Event::Job {
                signal,
                everybody_has_it,
            } => {
                self.impatient |= self.over;
                self.received.push(signal);
                if signal == Signal::SIGQUIT {
                    self.say_who_is_where();
                }
                if !everybody_has_it {
                    self.guard.signal(signal, self.those(|_| true), false);
                }
            }
        }
    }

    /// Before anybody acts on the signal that asks for it.
    fn say_who_is_where(&mut self) {
        let after = text::duration(self.started.elapsed());
        let stand = last_words::stand(&self.current_scene());
        self.output.say(&format!(
            "cobre-launch: SIGQUIT {after} after the start; what each rank is doing:\n{stand}"
        ));
        if self.plan.stacks {
            self.say_stacks();
        }
    }

    pub(super) fn end_ranks(&mut self, step: Step) {
        let failure = self
            .ending
            .as_ref()
            .is_some_and(|e| e.reason == Reason::Failure);
        let (signal, whom) = match step {
            // Its collective tells a joined rank, which may be cleaning up already.
            Step::Terminate if failure => (
                Signal::SIGTERM,
                self.those(|rank| !self.job.is_joined(rank)),
            ),
            Step::Terminate => (Signal::SIGTERM, self.those(|_| true)),
            Step::Kill => (Signal::SIGKILL, self.those(|_| true)),
            Step::GiveUp => return self.give_up(),
        };
        self.guard.signal(signal, whom, true);
    }

    /// Those of the ranks that still run.
    fn those(&self, which: impl Fn(usize) -> bool) -> RankSet {
        let ranks = self.ranks.iter().enumerate();
        let running = ranks.filter(|(rank, state)| state.end.is_none() && which(*rank));
        running.map(|(rank, _)| rank).collect()
    }
}
