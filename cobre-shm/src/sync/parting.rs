//! What a rank that leaves shows to those that leave later.
//!
//! It stores what it has called, then that it has left ([`wait::mark_gone`], whose ring has a full fence),
//! and then looks at the others. The fences of two that leave at the same moment are ordered one way or
//! the other, so at least one of them sees the other.
//!
//! [`wait::mark_gone`]: crate::sync::wait::mark_gone

use crate::sync::{
    cell::{EXITED, LEFT, Presence},
    primitive::Ordering,
};

/// All calls of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// How many.
    pub(crate) calls: u64,
    /// The running signature of all of them.
    pub(crate) signature: u64,
}

impl Called {
    /// Shows it to ranks that leave later; before the rank's state says that it has left.
    pub(crate) fn show(self, presence: &Presence) {
        // Relaxed: made visible by the Release of `mark_gone`.
        presence.calls.store(self.calls + 1, Ordering::Relaxed);
        presence.signature.store(self.signature, Ordering::Relaxed);
    }

    /// What a rank showed that has left; `None` if it left within a call, or by no leave of its own.
    pub(crate) fn shown(presence: &Presence) -> Option<Self> {
        // Acquire matches the Release of `mark_gone`.
        matches!(presence.state.load(Ordering::Acquire), LEFT | EXITED).then_some(())?;
        Some(Self {
            calls: presence.calls.load(Ordering::Relaxed).checked_sub(1)?,
            signature: presence.signature.load(Ordering::Relaxed),
        })
    }
}
