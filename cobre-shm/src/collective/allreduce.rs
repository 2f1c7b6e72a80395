//! Allreduce: everybody combines the ranks' elements in rank order, or each rank its share of them.
//!
//! | message | algorithm |
//! |---|---|
//! | fits a cell | one exchange; every rank folds everything |
//! | small, or two ranks | one exchange per piece through staging; every rank folds everything |
//! | large | per piece two exchanges: contributions, of which each rank folds its share of the elements, then the shares (reduce-scatter and allgather, Rabenseifner 2004, with a flat rank-order fold instead of recursive halving, so that no operands are regrouped) |

use cobre_comm_trait::{ReduceOp, Reducible, block_range};

use super::JobRounds;
use crate::{
    cell::INLINE_BYTES, control::Control, reduce, round::Audience, staging, wait::Stopped,
};

/// Up to this many bytes of all ranks together, folding everything everywhere costs less than the
/// second exchange.
const REDUNDANT_BYTES: usize = 32 << 10;

/// The longest piece. Both of its buffers, and those of a peer, stay in a core's second-level cache,
/// and ranks that are not in step copy and fold at the same time.
const PIECE_BYTES: usize = 32 << 10;

/// Combines everybody's `send` into `recv`; the arguments have been checked.
pub(crate) fn allreduce<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    let bytes = size_of_val(send);
    if bytes <= INLINE_BYTES {
        return inline(rounds, send, recv, op);
    }
    let slot = rounds.members().geometry().slot_bytes();
    let piece = slot.min(PIECE_BYTES) / size_of::<T>();
    let pieces = send.chunks(piece).zip(recv.chunks_mut(piece));
    if rounds.size() <= 2 || bytes.saturating_mul(rounds.size()) <= REDUNDANT_BYTES {
        for (send, recv) in pieces {
            redundant(rounds, send, recv, op)?;
        }
    } else {
        for (send, recv) in pieces {
            shared_out(rounds, send, recv, op)?;
        }
    }
    Ok(())
}

fn inline<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    #![allow(unsafe_code)]
    let round = rounds.open()?;
    rounds.publish(round, Audience::Everyone, |payload| {
        payload.put(bytemuck::cast_slice(send));
    });
    rounds.await_everyone(round, |_| {})?;
    // The payload is aligned for every number: it begins 16 bytes into a cell.
    let source = |rank| rounds.read_inline(rank, round, <*const u8>::cast::<T>);
    // SAFETY: every rank's payload has been awaited and holds as many elements as `send` (the
    // signatures agree); no rank rewrites it before this one publishes a later round.
    unsafe { reduce::fold(op, recv, rounds.size(), source) };
    Ok(())
}

/// One piece: everybody folds all of it.
fn redundant<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    #![allow(unsafe_code)]
    let round = exchange(rounds, send)?;
    let (control, rank) = (rounds.members(), rounds.rank());
    let source = |peer| contribution(control, rank, send, peer, round);
    // SAFETY: every peer's buffer holds `send.len()` elements (the signatures agree), aligned to the
    // page, and is not rewritten before this rank publishes a later round.
    unsafe { reduce::fold(op, recv, rounds.size(), source) };
    Ok(())
}

/// One piece: each rank folds its share of the elements and shows the result.
fn shared_out<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    #![allow(unsafe_code)]
    let round = exchange(rounds, send)?;
    let (control, rank, size) = (rounds.members(), rounds.rank(), rounds.size());
    let mine = block_range(send.len(), size, rank);
    let source = |peer| contribution(control, rank, send, peer, round).wrapping_add(mine.start);
    // SAFETY: as in `redundant`; the share lies inside the piece.
    unsafe { reduce::fold(op, &mut recv[mine.clone()], size, source) };
    let results = rounds.open()?;
    staging::copy_in(control, rank, results, bytemuck::cast_slice(&recv[mine]));
    rounds.publish(results, Audience::Everyone, |_| {});
    rounds.await_everyone(results, |peer| {
        let share = &mut recv[block_range(send.len(), size, peer)];
        staging::copy_out(control, peer, results, bytemuck::cast_slice_mut(share));
    })
}

/// Where the piece of `peer` lies: this rank's own in `send`, a peer's in its staging buffer.
fn contribution<T>(
    control: &Control,
    rank: usize,
    send: &[T],
    peer: usize,
    round: u64,
) -> *const T {
    if peer == rank {
        send.as_ptr()
    } else {
        control.staging(peer, round).cast_const().cast()
    }
}

/// Shows `send` to everybody through staging, and waits until everybody has shown theirs.
fn exchange<T: Reducible>(rounds: &mut JobRounds<'_>, send: &[T]) -> Result<u64, Stopped> {
    let round = rounds.open()?;
    let bytes = bytemuck::cast_slice(send);
    staging::copy_in(rounds.members(), rounds.rank(), round, bytes);
    rounds.publish(round, Audience::Everyone, |_| {});
    rounds.await_everyone(round, |_| {})?;
    Ok(round)
}
