//! Allreduce: everybody combines the ranks' elements in rank order, or each rank its share of them.
//!
//! | message | algorithm |
//! |---|---|
//! | fits a cell | one exchange; every rank folds everything |
//! | small | one exchange through staging; every rank folds everything |
//! | large | in pieces; each rank folds its share of the elements and writes the result where the operands stood, in every peer's buffer (reduce-scatter and allgather, Rabenseifner 2004, with a flat rank-order fold instead of recursive halving, so that no operands are regrouped) |

use core::ops::Range;

use cobre_comm_trait::{ReduceOp, Reducible, block_range};

use super::{EXCHANGED, JobRounds, piece_bytes};
use crate::{
    collective::reduce,
    memory::{
        control::Control,
        staging::{self, LINE},
    },
    sync::{cell::INLINE_BYTES, round::Audience, wait::Stopped},
};

/// Up to this many bytes of all ranks together, folding everything everywhere costs less than the
/// second exchange; of two ranks, whose second exchange costs little, and of more.
const REDUNDANT_BYTES: [usize; 2] = [4 << 10, 32 << 10];

/// Combines everybody's `send` into `recv`; the arguments have been checked.
pub(crate) fn allreduce<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    let (bytes, size) = (size_of_val(send), rounds.size());
    let slot = rounds.members().geometry().slot_bytes();
    let redundant_bytes = REDUNDANT_BYTES[usize::from(size > 2)];
    if bytes <= INLINE_BYTES {
        inline(rounds, send, recv, op)
    } else if bytes.saturating_mul(size) <= redundant_bytes.min(slot) {
        redundant(rounds, send, recv, op)
    } else {
        shared_out(rounds, send, recv, op)
    }
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
    let modes = reduce::modes::<T>();
    rounds.await_everyone(round, |_| {})?;
    // The payload is aligned for every number: it begins 16 bytes into a cell.
    let source = |rank| rounds.read_inline(rank, round, <*const u8>::cast::<T>);
    // SAFETY: every rank's payload has been awaited and holds as many elements as `send` (the
    // signatures agree); no rank rewrites it before this one publishes a later round.
    unsafe { reduce::fold(op, recv, rounds.size(), source, modes) };
    Ok(())
}

/// Everybody folds everything.
fn redundant<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    #![allow(unsafe_code)]
    let round = rounds.open()?;
    let (control, rank) = (rounds.members(), rounds.rank());
    staging::put(control, rank, round, 0, bytemuck::cast_slice(send));
    rounds.publish(round, Audience::Everyone, |_| {});
    let modes = reduce::modes::<T>();
    rounds.await_everyone(round, |_| {})?;
    let source = |peer| contribution(control, rank, send, peer, round);
    // SAFETY: every peer's buffer holds `send.len()` elements (the signatures agree), aligned to the
    // page, and is not rewritten before this rank publishes a later round.
    unsafe { reduce::fold(op, recv, rounds.size(), source, modes) };
    Ok(())
}

/// Piece after piece. In one and the same round the ranks show their contributions to a piece and
/// the results of the one before.
fn shared_out<T: Reducible>(
    rounds: &mut JobRounds<'_>,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) -> Result<(), Stopped> {
    let (control, rank, size) = (rounds.members(), rounds.rank(), rounds.size());
    let piece = piece_bytes(control, EXCHANGED) / size_of::<T>();
    let pieces = send.len().div_ceil(piece);
    let elements = |turn: usize| turn * piece..((turn + 1) * piece).min(send.len());
    for turn in 0..=pieces {
        let round = rounds.open()?;
        if turn < pieces {
            contribute(control, rank, round, &send[elements(turn)]);
        }
        rounds.publish(round, Audience::Everyone, |_| {});
        rounds.await_everyone(round, |peer| {
            if turn > 0 {
                // The peer has written its results in the buffer of the round before.
                let before = &mut recv[elements(turn - 1)];
                let share = share::<T>(before.len(), size, peer);
                let offset = share.start * size_of::<T>();
                let into = bytemuck::cast_slice_mut(&mut before[share]);
                staging::get(control, rank, round - 1, offset, into);
            }
        })?;
        if turn < pieces {
            let (send, recv) = (&send[elements(turn)], &mut recv[elements(turn)]);
            fold_share(rounds, round, send, recv, op);
        }
    }
    Ok(())
}

/// Copies the piece `send` into this rank's buffer, except its own share, which nobody else reads.
fn contribute<T: Reducible>(control: &Control, rank: usize, round: u64, send: &[T]) {
    let own = share::<T>(send.len(), control.geometry().size(), rank);
    for range in [0..own.start, own.end..send.len()] {
        let offset = range.start * size_of::<T>();
        let bytes = bytemuck::cast_slice(&send[range]);
        staging::put(control, rank, round, offset, bytes);
    }
}

/// Folds this rank's share of the piece into its place in `recv`, and copies the result to where
/// each peer's operands stood.
fn fold_share<T: Reducible>(
    rounds: &JobRounds<'_>,
    round: u64,
    send: &[T],
    recv: &mut [T],
    op: ReduceOp,
) {
    #![allow(unsafe_code)]
    let (control, rank, size) = (rounds.members(), rounds.rank(), rounds.size());
    let own = share::<T>(send.len(), size, rank);
    let modes = reduce::modes::<T>();
    // In blocks, so that the operands' lines are still near when the result takes their place.
    for start in own.clone().step_by(reduce::BLOCK) {
        let block = start..own.end.min(start + reduce::BLOCK);
        let source = |peer| contribution(control, rank, send, peer, round).wrapping_add(start);
        let result = &mut recv[block];
        // SAFETY: every peer's buffer holds the piece except the peer's share (the signatures
        // agree), aligned to the page. This rank alone uses its share of it until it publishes a
        // later round, and writes only after this.
        unsafe { reduce::fold(op, result, size, source, modes) };
        for peer in rounds.peers() {
            let bytes = bytemuck::cast_slice(result);
            staging::put(control, peer, round, start * size_of::<T>(), bytes);
        }
    }
}

/// The elements of a piece of `len` that `rank` folds: whole cache lines, so that no line has two
/// writers.
fn share<T>(len: usize, size: usize, rank: usize) -> Range<usize> {
    let line = LINE / size_of::<T>();
    let lines = block_range(len.div_ceil(line), size, rank);
    (lines.start * line).min(len)..(lines.end * line).min(len)
}

/// Where the contribution of `peer` lies: this rank's own in `send`, a peer's in its staging buffer.
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

#[cfg(test)]
mod tests {
    use core::panic::Location;
    use core::time::Duration;
    use std::thread;

    use cobre_comm_trait::{CommError, Communicator, Operation, ReduceOp, Reducible};

    use super::{JobRounds, inline, redundant, shared_out};
    use crate::{
        call::{
            core::Core,
            log::{Element, Signature},
        },
        job::{config::Config, forming},
        sync::{cell::INLINE_BYTES, wait::Stopped},
        sys::float,
    };

    type Variant<T> = fn(&mut JobRounds<'_>, &[T], &mut [T], ReduceOp) -> Result<(), Stopped>;

    const OPS: [ReduceOp; 2] = [ReduceOp::Sum, ReduceOp::Prod];

    /// What rank `rank` contributes: sums and products of these depend on the order.
    fn operands(rank: usize, len: usize) -> Vec<f64> {
        let revealing = [
            1e16, 1.0, -1e16, 5e-324, -0.0, 0.0, 0.1, 2.2e-308, -7.25, 3e150,
        ];
        let place = |k: usize| (k * 7 + rank * 3 + k / 11) % revealing.len();
        (0..len).map(|k| revealing[place(k)]).collect()
    }

    fn fold(ranks: impl Iterator<Item = usize>, len: usize, op: ReduceOp) -> Vec<u64> {
        let all: Vec<Vec<f64>> = ranks.map(|rank| operands(rank, len)).collect();
        let element = |k: usize| {
            let rest = all[1..].iter();
            rest.fold(all[0][k], |total, one| total.combine(one[k], op))
        };
        (0..len).map(|k| element(k).canonical().to_bits()).collect()
    }

    fn reduce(
        core: &Core,
        variant: Variant<f64>,
        len: usize,
        op: ReduceOp,
    ) -> Result<Vec<u64>, CommError> {
        let send = operands(core.rank(), len);
        let mut recv = vec![f64::NAN; len];
        let signature = Signature::new(Operation::Allreduce, Element::of::<f64>(), len);
        let body = |rounds: &mut JobRounds<'_>| variant(rounds, &send, &mut recv, op);
        core.collective(signature, Location::caller(), Ok(()), body)?;
        Ok(recv.into_iter().map(f64::to_bits).collect())
    }

    /// All of a program's arithmetic there is done in that state; what it contributes is the same.
    #[test]
    fn a_rank_in_another_floating_point_state_gets_the_same_bits() {
        const LENGTHS: [usize; 3] = [8, 300, 40_001];
        let told = crate::run(2, |comm| {
            comm.set_timeout(Some(Duration::from_secs(50)));
            let mut results = Vec::new();
            let mut reduce_all = || {
                for (len, op) in LENGTHS.into_iter().flat_map(|len| OPS.map(|op| (len, op))) {
                    let mut out = vec![0.0; len];
                    let send = operands(comm.rank(), len);
                    comm.allreduce(&send, &mut out, op).unwrap();
                    results.push(out.into_iter().map(f64::to_bits).collect::<Vec<_>>());
                }
            };
            let tell = |more: u8| {
                let mut more = [more];
                comm.broadcast(&mut more, 0).unwrap();
                more == [1]
            };
            if comm.rank() == 0 {
                float::in_every_other_state(|| {
                    tell(1);
                    reduce_all();
                });
                tell(0);
            } else {
                while tell(0) {
                    reduce_all();
                }
            }
            results
        });
        let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        assert_eq!(told[0].is_empty(), !known);
        for results in told {
            let expected = LENGTHS
                .into_iter()
                .flat_map(|len| OPS.map(|op| fold(0..2, len, op)));
            for (result, expected) in results.into_iter().zip(expected.cycle()) {
                assert!(result == expected, "{} elements", expected.len());
            }
        }
    }

    /// Every variant with every number of elements that it can take, whichever one `allreduce` would
    /// choose.
    #[test]
    fn every_variant_is_the_fold_in_rank_order_to_the_bit() {
        const MOST_INLINE: usize = INLINE_BYTES / size_of::<f64>();
        let variants: [(Variant<f64>, usize); 3] = [
            (inline, MOST_INLINE),
            (redundant, 512),
            (shared_out, usize::MAX),
        ];
        let lengths = [
            1,
            2,
            MOST_INLINE,
            MOST_INLINE + 1,
            511,
            512,
            513,
            1500,
            40_001,
        ];
        let mut depends_on_order = false;
        for size in [2, 3, 5, 8] {
            // Pages are cut into pieces of 512 elements, or the whole is one piece.
            for staging in [1, 8 << 20] {
                let name = format!("/cobre-variants-{}", uuid::Uuid::new_v4().simple());
                thread::scope(|scope| {
                    for rank in 0..size {
                        let config = Config {
                            staging_bytes: staging,
                            ..Config::new(&name, rank, size)
                        };
                        scope.spawn(move || {
                            let control = forming::join(&config).unwrap();
                            let core = Core::new(control, rank, config.wait);
                            core.set_timeout(Some(Duration::from_secs(50)));
                            for (variant, most) in variants {
                                for len in lengths.into_iter().filter(|&len| len <= most) {
                                    for op in OPS {
                                        let result = reduce(&core, variant, len, op).unwrap();
                                        let expected = fold(0..size, len, op);
                                        assert!(result == expected, "{size} {len} {op}");
                                    }
                                }
                            }
                        });
                    }
                });
            }
            let last = lengths[lengths.len() - 1];
            let (forth, back) = (0..size, (0..size).rev());
            depends_on_order |= fold(forth, last, ReduceOp::Sum) != fold(back, last, ReduceOp::Sum);
        }
        assert!(depends_on_order, "any order would have passed");
    }
}
