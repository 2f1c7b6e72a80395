//! The collectives, each as a sequence of rounds.
//!
//! Which algorithm runs depends on the call's agreed arguments and on the job's header alone, so
//! that no two ranks can take different ones.

mod allgatherv;
mod allreduce;
mod barrier;
mod broadcast;
pub(crate) mod reduce;

pub(crate) use allgatherv::{Layout, allgatherv, gather_all};
pub(crate) use allreduce::allreduce;
pub(crate) use barrier::barrier;
pub(crate) use broadcast::broadcast;

use crate::{
    memory::{control::Control, staging},
    sync::{cell::INLINE_BYTES, round::Rounds},
};

/// One rank's way through the rounds of one collective of a real job.
pub(crate) type JobRounds<'a> = Rounds<'a, Control>;

/// Bytes of a piece that all ranks exchange: large enough to synchronise seldom, small enough for the
/// pieces of the ranks that share a cache.
const EXCHANGED: usize = 256 << 10;
/// Bytes of a piece that ranks read while the root copies the next one.
const PIPELINED: usize = 32 << 10;

/// The longest piece in which a payload passes through staging, of so many bytes at best: whole pages.
fn piece_bytes(control: &Control, best: usize) -> usize {
    control.geometry().slot_bytes().min(best)
}

/// Copies a piece from the front of the staging buffer of `peer`, whose publication of `round` has
/// been awaited.
fn copy_piece(control: &Control, peer: usize, round: u64, into: &mut [u8]) {
    if control.geometry().size() == 2 {
        staging::take_out(control, peer, round, 0, into);
    } else {
        staging::get(control, peer, round, 0, into);
    }
}

/// Copies the front of the inline payload of `peer`, whose publication of `round` has been awaited.
///
/// # Panics
/// If `into` is longer than a payload.
fn copy_inline(rounds: &JobRounds<'_>, peer: usize, round: u64, into: &mut [u8]) {
    #![allow(unsafe_code)]
    assert!(into.len() <= INLINE_BYTES);
    rounds.read_inline(peer, round, |payload| {
        // SAFETY: the payload has INLINE_BYTES bytes, checked above; `peer` does not write it before
        // this rank publishes a later round.
        unsafe { core::ptr::copy_nonoverlapping(payload, into.as_mut_ptr(), into.len()) };
    });
}
