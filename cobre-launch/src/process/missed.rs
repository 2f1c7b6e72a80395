//! Signals that come while the processes of a job are being started. The protocol is in
//! `specs/src/protocol/signals.md`.
//!
//! A fork copies no pending signal, so a new process has missed what came to its parent before. All
//! signals are blocked in both, so each can see what came to it.

use nix::sys::signal::{SigSet, Signal, raise};

use crate::process::signal::FORWARDED;
use crate::sys;

/// A set of signals for the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed(u32);

impl Missed {
    pub(crate) const LENGTH: usize = size_of::<u32>();

    /// What has come to this process, where all of it is blocked. For a child, this must be asked
    /// after it was forked: what comes later comes to both.
    pub(crate) fn by_child() -> Self {
        let pending = sys::pending().unwrap_or_else(|_| SigSet::empty());
        let came = FORWARDED.into_iter().filter(|&one| pending.contains(one));
        came.collect()
    }

    /// Sends this process what its parent got and it did not.
    pub(crate) fn make_up(self) {
        let own = Self::by_child();
        for signal in FORWARDED {
            if self.contains(signal) && !own.contains(signal) {
                // It fails for no signal that there is.
                let _ = raise(signal);
            }
        }
    }

    fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << signal as u32 != 0
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        self.0.to_ne_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }
}

impl FromIterator<Signal> for Missed {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let bits = signals.into_iter().map(|signal| 1 << signal as u32);
        Self(bits.fold(0, |set, bit| set | bit))
    }
}
