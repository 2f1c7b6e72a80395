//! Allgatherv: exchanges in which every rank shows its next piece and copies the others'.
//!
//! All ranks go through as many rounds as the longest contribution has pieces; who has no more to
//! show publishes an empty piece.

use core::ops::Range;

use cobre_comm_trait::CommData;

use super::{EXCHANGED, JobRounds, copy_inline, copy_piece, piece_bytes};
use crate::{
    memory::staging,
    sync::{cell::INLINE_BYTES, round::Audience, wait::Stopped},
};

/// Where each rank's elements go, in elements of `width` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) counts: &'a [usize],
    pub(crate) displs: &'a [usize],
    pub(crate) width: usize,
}

impl Layout<'_> {
    /// Bytes of the longest contribution.
    fn longest(&self) -> usize {
        self.counts
            .iter()
            .max()
            .map_or(0, |count| count * self.width)
    }

    /// The bytes of the receive buffer for the piece `piece` (bytes of the contribution) of `rank`.
    fn place(&self, rank: usize, piece: &Range<usize>) -> Range<usize> {
        let bytes = self.counts[rank] * self.width;
        let (start, end) = (piece.start.min(bytes), piece.end.min(bytes));
        if start == end {
            // A displacement of nothing may lie anywhere, outside the buffer too.
            return 0..0;
        }
        let displ = self.displs[rank] * self.width;
        displ + start..displ + end
    }
}

/// Gathers everybody's `send` in `recv`; the arguments have been checked.
pub(crate) fn allgatherv(
    rounds: &mut JobRounds<'_>,
    send: &[u8],
    recv: &mut [u8],
    layout: Layout<'_>,
) -> Result<(), Stopped> {
    let longest = layout.longest();
    if longest <= INLINE_BYTES {
        return inline(rounds, send, recv, layout);
    }
    let control = rounds.members();
    let step = piece_bytes(control, EXCHANGED);
    for start in (0..longest).step_by(step) {
        let piece = start..start.saturating_add(step).min(longest);
        let round = rounds.open()?;
        let mine = &send[start.min(send.len())..piece.end.min(send.len())];
        staging::put(control, rounds.rank(), round, 0, mine);
        rounds.publish(round, Audience::Everyone, |_| {});
        // While the peers come, and while the piece is still near.
        recv[layout.place(rounds.rank(), &piece)].copy_from_slice(mine);
        rounds.await_everyone(round, |peer| {
            let place = layout.place(peer, &piece);
            copy_piece(control, peer, round, &mut recv[place]);
        })?;
    }
    Ok(())
}

fn inline(
    rounds: &mut JobRounds<'_>,
    send: &[u8],
    recv: &mut [u8],
    layout: Layout<'_>,
) -> Result<(), Stopped> {
    let round = rounds.open()?;
    rounds.publish(round, Audience::Everyone, |payload| payload.put(send));
    recv[layout.place(rounds.rank(), &(0..INLINE_BYTES))].copy_from_slice(send);
    for peer in rounds.peers() {
        rounds.await_peer(peer, round)?;
        let place = layout.place(peer, &(0..INLINE_BYTES));
        copy_inline(rounds, peer, round, &mut recv[place]);
    }
    rounds.finish(round);
    Ok(())
}

/// Gathers one value from every rank, within another collective.
pub(crate) fn gather_all<T: CommData>(
    rounds: &mut JobRounds<'_>,
    mine: T,
) -> Result<Vec<T>, Stopped> {
    let size = rounds.size();
    let displs: Vec<usize> = (0..size).collect();
    let mut all = vec![T::zeroed(); size];
    let layout = Layout {
        counts: &vec![1; size],
        displs: &displs,
        width: size_of::<T>(),
    };
    let recv = bytemuck::cast_slice_mut(&mut all);
    allgatherv(rounds, bytemuck::bytes_of(&mine), recv, layout)?;
    Ok(all)
}
