//! The words through which ranks meet: who writes each, and what its values mean.
//!
//! Every cache line here has one writer, the rank it belongs to, except the doorbell and the count
//! of sleepers, which others touch only when somebody sleeps or something has failed. Lines come in
//! pairs of 128 bytes because processors fetch the neighbour of the line they miss.

use core::time::Duration;

use crate::sync::{
    failure::Failure,
    primitive::{AtomicU32, AtomicU64, SharedBytes},
    wait::Wait,
};

/// Bytes of payload that travel in the same cell as the flag.
pub(crate) const INLINE_BYTES: usize = 112;

/// The low bits of a stamp.
const SIGNATURE_BITS: u32 = 16;

/// A published round in one word: its number (high 48 bits), and as many bits of the owner's running
/// signature as fit. Later rounds have larger stamps, whatever the signatures.
pub(crate) fn stamp(round: u64, signature: u64) -> u64 {
    round << SIGNATURE_BITS | signature & ((1 << SIGNATURE_BITS) - 1)
}

/// The number of a stamped round.
pub(crate) fn round_of(stamp: u64) -> u64 {
    stamp >> SIGNATURE_BITS
}

/// What a rank publishes in one round. Two of them alternate, by the parity of the round.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// The [`stamp`] of the last round of this parity that the owner published; 0 at the start.
    /// Written last.
    pub(crate) stamp: AtomicU64,
    /// The owner's signature of all its collectives up to and including this round's.
    pub(crate) signature: AtomicU64,
    /// The payload, if it fits.
    pub(crate) payload: SharedBytes<INLINE_BYTES>,
}

/// The futex word on which ranks sleep that wait for the owner.
///
/// Apart from the slots, so that a sleeper never slows a spinner.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Doorbell {
    /// Changes with every publication (low 24 bits: the round) and with every ring by others
    /// (high 8 bits: a count).
    pub(crate) word: AtomicU32,
}

/// How many ranks sleep on the owner's doorbell. Its own line: the owner reads it in every round,
/// sleepers write it.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Sleepers {
    pub(crate) count: AtomicU32,
}

/// Whom the owner sleeps for; written when a wait has lasted longer than its patience, so that those
/// who look know who keeps whom, and quick waits cost nothing.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Waiting {
    /// The rank slept for plus one; 0 while the owner does not sleep. Written after `since`.
    pub(crate) peer: AtomicU32,
    /// When it went to sleep, in nanoseconds of [`crate::sys::clock`].
    pub(crate) since: AtomicU64,
}

/// Whether a rank is there.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Presence {
    /// One of [`ABSENT`], [`JOINED`], [`LEFT`], [`PANICKED`], [`ABORTED`], [`EXITED`]; changes once
    /// after joined. The owner writes it, or the launcher when there is no owner any more.
    pub(crate) state: AtomicU32,
    /// The rank's process, valid from [`JOINED`] on.
    pub(crate) pid: AtomicU32,
    /// The namespace in which `pid` means the process; 0 if unknown.
    pub(crate) pid_namespace: AtomicU64,
    /// The code of a rank that is [`EXITED`].
    pub(crate) exit_code: AtomicU32,
    /// 1 once the rank has been told of a failure: it cannot be the first cause of one.
    pub(crate) saw_failure: AtomicU32,
    /// Where the rank might run when it joined, valid from [`JOINED`] on; see
    /// [`crate::topology`].
    pub(crate) place: [AtomicU32; 5],
    /// The processor on which the owner was last plus one; 0 if it has not said. Changes seldom.
    pub(crate) processor: AtomicU32,
    /// How many calls a rank had made that has left, plus one; 0 if it has not left, or within a call.
    /// Written before [`LEFT`]; see [`crate::call::parting`].
    pub(crate) calls: AtomicU64,
    /// The running signature of these calls.
    pub(crate) signature: AtomicU64,
}

/// Nobody has taken this rank yet.
pub(crate) const ABSENT: u32 = 0;
/// A process is this rank.
pub(crate) const JOINED: u32 = 1;
/// The rank dropped its communicator, or its process ran its exit hook.
pub(crate) const LEFT: u32 = 2;
/// The rank dropped its communicator while a panic unwound its stack.
pub(crate) const PANICKED: u32 = 3;
/// The rank called `abort`.
pub(crate) const ABORTED: u32 = 4;
/// The rank's process exited without running its exit hook (`_exit`); the launcher says so.
pub(crate) const EXITED: u32 = 5;

/// Everything through which one rank meets the others.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct RankCell {
    pub(crate) slots: [Slot; 2],
    pub(crate) bell: Doorbell,
    pub(crate) sleepers: Sleepers,
    pub(crate) presence: Presence,
    pub(crate) waiting: Waiting,
}

impl RankCell {
    /// The slot that carries `round`.
    #[inline]
    pub(crate) fn slot(&self, round: u64) -> &Slot {
        &self.slots[usize::from(round % 2 == 1)]
    }
}

/// The first failure of the job, 0 while there is none; see [`crate::sync::failure`].
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct FailureWord {
    pub(crate) code: AtomicU64,
}

/// The ranks of a job as the waiting layers see them: the control region in production, the heap
/// under loom.
pub(crate) trait Members {
    /// The number of ranks.
    fn size(&self) -> usize;
    /// The cell of `rank`.
    fn cell(&self, rank: usize) -> &RankCell;
    /// The job's failure word.
    fn failure(&self) -> &FailureWord;
    /// What says whether `rank` is there. Acquire what it says.
    fn presence(&self, rank: usize) -> &Presence {
        &self.cell(rank).presence
    }
    /// Whether a job of which this is a part has failed so that this has as well.
    fn inherits_failure(&self) -> bool {
        false
    }
    /// Fails the job, and before that those of which it is a part if the failure is theirs.
    fn fail(&self, failure: Failure);
    /// Whether a launcher is there that knows with which code a rank exits that has left.
    fn may_tell_codes(&self) -> bool;
    /// Called by a rank that has slept in vain, `naps` times by now: finds out from the kernel
    /// whether the peer is alive, and fails the job if not.
    fn examine(&self, wait: Wait, naps: u32);
    /// Called by a rank that has waited for longer than it may: fails the job, saying who is missing.
    fn give_up(&self, wait: Wait, waited: Duration);
}

#[cfg(loom)]
impl RankCell {
    pub(crate) fn new() -> Self {
        let slot = || Slot {
            stamp: AtomicU64::new(0),
            signature: AtomicU64::new(0),
            payload: SharedBytes::new(),
        };
        Self {
            slots: [slot(), slot()],
            bell: Doorbell {
                word: AtomicU32::new(0),
            },
            sleepers: Sleepers {
                count: AtomicU32::new(0),
            },
            presence: Presence {
                state: AtomicU32::new(JOINED),
                pid: AtomicU32::new(0),
                pid_namespace: AtomicU64::new(0),
                exit_code: AtomicU32::new(0),
                processor: AtomicU32::new(0),
                saw_failure: AtomicU32::new(0),
                place: [const { 0 }; 5].map(AtomicU32::new),
                calls: AtomicU64::new(0),
                signature: AtomicU64::new(0),
            },
            waiting: Waiting {
                peer: AtomicU32::new(0),
                since: AtomicU64::new(0),
            },
        }
    }
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::{
        ABORTED, ABSENT, Doorbell, EXITED, JOINED, LEFT, PANICKED, Presence, RankCell, Sleepers,
        Slot, Waiting,
    };
    use crate::documented::{expect, fields, nested, numbered};
    use core::mem::{offset_of, size_of};

    #[test]
    fn the_page_states_the_cell() {
        let parts = fields!(RankCell {
            slots,
            bell,
            sleepers,
            presence,
            waiting
        });
        assert_eq!(parts[0].2, 2 * size_of::<Slot>());
        let slot = |parity: &str, at| (format!("slot of {parity} rounds"), at, size_of::<Slot>());
        let mut cell = vec![slot("even", 0), slot("odd", size_of::<Slot>())];
        let bell = fields!(Doorbell { word });
        cell.extend(nested("bell", offset_of!(RankCell, bell), bell));
        let sleepers = fields!(Sleepers { count });
        cell.extend(nested("sleepers", offset_of!(RankCell, sleepers), sleepers));
        let presence = fields!(Presence {
            state,
            pid,
            pid_namespace,
            exit_code,
            saw_failure,
            place,
            processor,
            calls,
            signature
        });
        cell.extend(nested("presence", offset_of!(RankCell, presence), presence));
        let waiting = fields!(Waiting { peer, since });
        cell.extend(nested("waiting", offset_of!(RankCell, waiting), waiting));
        expect("### Cell", cell, size_of::<RankCell>());

        let slot = fields!(Slot {
            stamp,
            signature,
            payload
        });
        expect("#### Slot", slot, size_of::<Slot>());
    }

    #[test]
    fn the_page_states_what_becomes_of_a_rank() {
        let states = [
            (ABSENT, "absent"),
            (JOINED, "joined"),
            (LEFT, "left"),
            (PANICKED, "panicked"),
            (ABORTED, "aborted"),
            (EXITED, "exited"),
        ];
        let states = states.map(|(value, name)| (u64::from(value), name.to_owned()));
        assert_eq!(numbered("#### Presence", 1), states);
    }
}
