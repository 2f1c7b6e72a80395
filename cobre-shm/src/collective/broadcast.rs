//! Broadcast: the root publishes piece after piece; the others arrive and read.
//!
//! The root waits for nobody, except that a buffer is written again only when its readers have moved
//! on ([`Rounds::open`](crate::sync::round::Rounds::open)), so it is at most two pieces ahead.

use super::{EXCHANGED, JobRounds, PIPELINED, copy_inline, copy_piece, piece_bytes};
use crate::{
    memory::staging,
    sync::{cell::INLINE_BYTES, round::Audience, wait::Stopped},
};

/// Copies `buffer` of `root` to everybody's.
pub(crate) fn broadcast(
    rounds: &mut JobRounds<'_>,
    buffer: &mut [u8],
    root: usize,
) -> Result<(), Stopped> {
    if buffer.len() <= INLINE_BYTES {
        return inline(rounds, buffer, root);
    }
    let control = rounds.members();
    // Ranks that have to take turns read nothing meanwhile.
    let best = if control.shares_cores() {
        EXCHANGED
    } else {
        PIPELINED
    };
    for piece in buffer.chunks_mut(piece_bytes(control, best)) {
        let round = rounds.open()?;
        if rounds.rank() == root {
            staging::put(control, root, round, 0, piece);
            rounds.publish(round, Audience::Everyone, |_| {});
        } else {
            rounds.publish(round, Audience::Nobody, |_| {});
            rounds.await_peer(root, round)?;
            copy_piece(control, root, round, piece);
        }
    }
    Ok(())
}

fn inline(rounds: &mut JobRounds<'_>, buffer: &mut [u8], root: usize) -> Result<(), Stopped> {
    let round = rounds.open()?;
    if rounds.rank() == root {
        rounds.publish(round, Audience::Everyone, |payload| payload.put(buffer));
    } else {
        rounds.publish(round, Audience::Nobody, |_| {});
        rounds.await_peer(root, round)?;
        copy_inline(rounds, root, round, buffer);
    }
    Ok(())
}
