//! Copies between private memory and the staging buffers.
//!
//! A buffer belongs to its owner until it is published; then to the peers that the collective says,
//! until they publish a later round. Mostly they only read. But a line that its reader has only read
//! is slow for its owner to write again, because the reader's copy must be called back first, while
//! a line that its reader has written moves as a whole. So where a line has one reader, that reader
//! writes to it: its share of a result ([`put`]), or what stood there already ([`take_out`]).

#![allow(unsafe_code)]

use core::ptr;

use crate::memory::{control::Control, layout::PAGE};

/// Bytes that move between processors together.
pub(crate) const LINE: usize = 64;

/// The address of `len` bytes at `offset` of the staging buffer of `rank` for `round`.
///
/// # Panics
/// If they do not lie inside the buffer.
fn at(control: &Control, rank: usize, round: u64, offset: usize, len: usize) -> *mut u8 {
    let end = offset.checked_add(len);
    assert!(end.is_some_and(|end| end <= control.geometry().slot_bytes()));
    control.staging(rank, round).wrapping_add(offset)
}

/// Copies `data` to `offset` of the staging buffer of `owner`: this rank's own of an opened `round`,
/// or a peer's whose publication of `round` has been awaited, where this rank alone uses these
/// bytes.
///
/// # Panics
/// If it does not fit the buffer.
pub(crate) fn put(control: &Control, owner: usize, round: u64, offset: usize, data: &[u8]) {
    let buffer = at(control, owner, round, offset, data.len());
    // SAFETY: the bytes lie in the buffer, checked by `at`. An own buffer has been opened: nobody
    // uses it. In a peer's, these bytes are this rank's until it publishes a later round.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len()) };
}

/// Copies from `offset` of the staging buffer of `owner`: a peer's whose publication of `round` has
/// been awaited, or this rank's own after the peers that write there have published a later round.
///
/// # Panics
/// If `into` is longer than what follows in the buffer.
pub(crate) fn get(control: &Control, owner: usize, round: u64, offset: usize, into: &mut [u8]) {
    let buffer = at(control, owner, round, offset, into.len());
    // SAFETY: the bytes lie in the buffer, checked by `at`; nobody writes them before this rank
    // publishes a later round.
    unsafe { ptr::copy_nonoverlapping(buffer, into.as_mut_ptr(), into.len()) };
}

/// Like [`get`] from a peer whose bytes this rank alone reads, and hands the lines back written, so
/// that the owner writes them quickly next time.
///
/// # Panics
/// As [`get`].
pub(crate) fn take_out(
    control: &Control,
    owner: usize,
    round: u64,
    offset: usize,
    into: &mut [u8],
) {
    for (index, block) in into.chunks_mut(PAGE).enumerate() {
        let offset = offset + index * PAGE;
        get(control, owner, round, offset, block);
        let buffer = at(control, owner, round, offset, block.len());
        for place in (0..block.len()).step_by(LINE) {
            // SAFETY: inside the bytes that `at` checked, which are this rank's alone until it
            // publishes a later round. Volatile, because it changes nothing but the line's place.
            unsafe { buffer.wrapping_add(place).write_volatile(block[place]) };
        }
    }
}
