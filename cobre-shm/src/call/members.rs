//! The ranks of a real job as the waiting layers see them: what fails whom, and who is still alive.
//!
//! A communicator that was split from a job shares its ranks: who is gone there is gone here, and a
//! failure that concerns the other is told there first.

use core::time::Duration;

use cobre_comm_trait::FailureCause;

use crate::{
    call::stall,
    memory::control::Control,
    sync::{
        cell::{ABORTED, EXITED, FailureWord, JOINED, LEFT, Members, PANICKED, Presence, RankCell},
        failure::{self, Failure, Kind},
        primitive::Ordering,
        wait::{self, Wait},
    },
    sys::lock,
};

/// Naps for which a launcher may tell of a death first: it knows how the rank died. It cannot tell
/// if the rank is not its child but a wrapper's.
const LAUNCHER_FIRST: u32 = 4;

impl Control {
    /// The first failure of this job, or of one from which it was split if that concerns this one too.
    #[inline]
    pub(crate) fn first_failure(&self) -> Option<Failure> {
        failure::first(self).or_else(|| self.adopt(self.inherited_failure()?))
    }

    /// Makes a failure of the job that this was split from one of this too.
    #[cold]
    fn adopt(&self, failure: Failure) -> Option<Failure> {
        failure::raise(self, failure);
        failure::first(self)
    }

    /// The failure of a job from which this one was split that concerns this one as well: somebody
    /// is gone.
    #[inline]
    fn inherited_failure(&self) -> Option<Failure> {
        let parent = self.parent()?;
        let failure = failure::first(parent).or_else(|| parent.inherited_failure())?;
        matches!(failure.kind, Kind::RankFailed(_) | Kind::Aborted(_)).then_some(failure)
    }

    /// Whether what failed a communicator split from this job fails this job too: who has merely left
    /// the other is here.
    fn is_concerned(&self, failure: Failure) -> bool {
        // Acquire matches the Release of `wait::mark_gone`.
        let state = || {
            self.cell(failure.rank)
                .presence
                .state
                .load(Ordering::Acquire)
        };
        match failure.kind {
            Kind::RankFailed(FailureCause::Died) => true,
            Kind::RankFailed(_) => state() != JOINED,
            _ => false,
        }
    }

    /// Whether a launcher watches this job's processes, and is still there.
    pub(crate) fn is_watched(&self) -> bool {
        let root = self.root();
        root.header().launched.load(Ordering::Relaxed) == 1 && root.is_alive(lock::FOUNDER)
    }
}

impl Members for Control {
    fn size(&self) -> usize {
        self.geometry().size()
    }

    #[inline]
    fn cell(&self, rank: usize) -> &RankCell {
        &self.block(rank).cell
    }

    #[inline]
    fn failure(&self) -> &FailureWord {
        &self.header().failure
    }

    fn presence(&self, rank: usize) -> &Presence {
        let presence = &self.root().cell(rank).presence;
        // Acquire matches the Release of `wait::mark_gone`. Of these there is no way back; who has
        // merely left the job may go on here.
        match presence.state.load(Ordering::Acquire) {
            PANICKED | ABORTED | EXITED => presence,
            _ => &self.cell(rank).presence,
        }
    }

    #[inline]
    fn inherits_failure(&self) -> bool {
        self.inherited_failure().is_some()
    }

    fn fail(&self, failure: Failure) {
        if let Some(parent) = self.parent() {
            // Told there first, so that the first cause is the same in all communicators.
            if parent.is_concerned(failure) {
                parent.fail(failure);
            }
            failure::raise(self, self.inherited_failure().unwrap_or(failure));
        } else {
            failure::raise(self, failure);
        }
    }

    fn may_tell_codes(&self) -> bool {
        self.is_watched()
    }

    fn examine(&self, wait: Wait, naps: u32) {
        let (peer, cell) = (wait.peer, self.cell(wait.peer));
        if self.first_failure().is_some() {
            return;
        }
        // Acquire matches the Release of `wait::mark_gone`.
        let state = || self.presence(peer).state.load(Ordering::Acquire);
        if state() == LEFT {
            // With a launcher; otherwise the look has decided. The process may go on, so the code may
            // never be told.
            if naps >= LAUNCHER_FIRST && !wait::has_arrived(cell, wait.round) {
                let left = Kind::RankFailed(FailureCause::Exited(None));
                self.fail(Failure::new(peer, Some(wait.operation), left));
            }
            return;
        }
        // The lock of the first job, which outlives those of its splits: who is gone there is gone
        // everywhere.
        if self.root().is_alive(peer) || (naps < LAUNCHER_FIRST && self.is_watched()) {
            return;
        }
        // The peer may have published, or left cleanly, before its lock went: its state counts.
        // Anything but an end is a rank that did not say that it goes, or garbage it left behind.
        let ended = matches!(state(), LEFT | PANICKED | ABORTED | EXITED);
        if !wait::has_arrived(cell, wait.round) && !ended {
            let died = Kind::RankFailed(FailureCause::Died);
            self.fail(Failure::new(peer, Some(wait.operation), died));
        }
    }

    fn give_up(&self, wait: Wait, waited: Duration) {
        stall::record(self, wait, waited);
        // A u16 holds every rank: `layout` limits the size.
        let timed_out = Kind::TimedOut(wait.rank as u16);
        failure::raise(
            self,
            Failure::new(wait.peer, Some(wait.operation), timed_out),
        );
    }
}
