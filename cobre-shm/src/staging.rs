//! Copies between private memory and the staging buffers.

#![allow(unsafe_code)]

use core::ptr;

use crate::control::Control;

/// Copies `data` to the front of this rank's staging buffer of an opened `round`.
///
/// # Panics
/// If it is longer than the buffer.
pub(crate) fn copy_in(control: &Control, rank: usize, round: u64, data: &[u8]) {
    assert!(data.len() <= control.geometry().slot_bytes());
    let buffer = control.staging(rank, round);
    // SAFETY: the buffer has `slot_bytes` bytes, checked above; it belongs to this rank, and
    // `Rounds::open` has waited until nobody reads it.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len()) };
}

/// Copies from the front of the staging buffer of `peer`, whose publication of `round` has been
/// awaited.
///
/// # Panics
/// If `into` is longer than the buffer.
pub(crate) fn copy_out(control: &Control, peer: usize, round: u64, into: &mut [u8]) {
    assert!(into.len() <= control.geometry().slot_bytes());
    let buffer = control.staging(peer, round);
    // SAFETY: the buffer has `slot_bytes` bytes, checked above; `peer` does not write it before this
    // rank publishes a later round.
    unsafe { ptr::copy_nonoverlapping(buffer, into.as_mut_ptr(), into.len()) };
}
