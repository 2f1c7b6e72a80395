//! Exchanges: gathers and broadcasts in place.

use super::values::{dawdle, fill, packed};
use super::{Case, Probe, list};
use crate::{
    CommData, CommError, Operation, ReduceOp, Reducible, SharedExchange, SharedMemoryProvider,
};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["exchanges":
        a_life,
        many_fences,
        my_part_is_that_of_two_fences_ago,
        written_while_read,
        one_part_is_a_broadcast,
        nobody_has_a_part,
        bytes_and_structs,
        folded_as_by_allreduce,
        what_cannot_be_folded_is_harmless,
        amid_other_operations,
        an_absurd_size_is_refused_and_harmless,
        megabytes,
    ]
}

/// Another number of elements for every rank, and none for one of them.
fn uneven(size: usize) -> Vec<usize> {
    (0..size).map(|rank| (rank * 5 + 3) % 8 * 3).collect()
}

fn exchange<T: CommData, C: SharedMemoryProvider>(
    probe: &Probe<'_, C>,
    counts: &[usize],
) -> C::Exchange<T> {
    probe.done("create_exchange", probe.comm.create_exchange(counts))
}

/// What all ranks write with this salt, one after the other.
fn whole<T: CommData>(salt: u64, counts: &[usize]) -> Vec<T> {
    let parts = counts.iter().enumerate();
    parts
        .flat_map(|(rank, &count)| fill(salt, rank, count))
        .collect()
}

/// Writes my part, shows it, and checks what everybody shows.
fn show<T: CommData, C: SharedMemoryProvider>(
    probe: &Probe<'_, C>,
    exchange: &mut C::Exchange<T>,
    salt: u64,
    counts: &[usize],
) {
    let mine = fill::<T>(salt, probe.rank(), counts[probe.rank()]);
    exchange.part_mut().copy_from_slice(&mine);
    probe.done("fence of an exchange", exchange.fence());
    probe.same("what is shown", exchange.shown(), &whole(salt, counts));
}

fn a_life<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts = uneven(probe.size());
    let mut exchange = exchange::<f64, C>(probe, &counts);
    let (starts, total) = packed(&counts);
    for (rank, (&start, &count)) in starts.iter().zip(&counts).enumerate() {
        let part = exchange.part_of(rank);
        probe.check(part == (start..start + count), || {
            format!("rank {rank} has {part:?} instead of {count} elements at {start}")
        });
    }
    probe.same(
        "a fresh part",
        exchange.part_mut(),
        &vec![0.0; counts[probe.rank()]],
    );
    probe.same(
        "what is shown at first",
        exchange.shown(),
        &vec![0.0; total],
    );
    show(probe, &mut exchange, 1, &counts);
    for (rank, &count) in counts.iter().enumerate() {
        probe.same("a part", exchange.shown_by(rank), &fill(1, rank, count));
    }
}

fn many_fences<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts = uneven(probe.size());
    let mut exchange = exchange::<u64, C>(probe, &counts);
    for round in 0..100 {
        dawdle(probe.rank(), round, 20);
        show(probe, &mut exchange, round as u64, &counts);
    }
}

fn my_part_is_that_of_two_fences_ago<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts = vec![7; probe.size()];
    let mut exchange = exchange::<u32, C>(probe, &counts);
    show(probe, &mut exchange, 1, &counts);
    probe.same("my part after one fence", exchange.part_mut(), &[0; 7]);
    for salt in 2..5 {
        show(probe, &mut exchange, salt, &counts);
        let before = fill::<u32>(salt - 1, probe.rank(), 7);
        probe.same("my part", exchange.part_mut(), &before);
    }
}

fn written_while_read<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size();
    let mut exchange = exchange::<u64, C>(probe, &vec![11; size]);
    exchange.part_mut().fill(1);
    probe.done("fence of an exchange", exchange.fence());
    let mut sum = size as u64;
    for round in 0..20 {
        let (mine, all) = exchange.split_mut();
        for (k, element) in mine.iter_mut().enumerate() {
            dawdle(probe.rank(), round * 11 + k, 3);
            let before = all.iter().skip(k).step_by(11);
            *element = before.fold(0, |sum: u64, &shown| sum.wrapping_add(shown));
        }
        probe.done("fence of an exchange", exchange.fence());
        probe.same("what is shown", exchange.shown(), &vec![sum; 11 * size]);
        sum = sum.wrapping_mul(size as u64);
    }
}

fn one_part_is_a_broadcast<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for root in 0..probe.size() {
        let mut counts = vec![0; probe.size()];
        counts[root] = 500;
        let mut exchange = exchange::<f32, C>(probe, &counts);
        for salt in 0..5 {
            show(probe, &mut exchange, salt, &counts);
        }
    }
}

fn nobody_has_a_part<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts = vec![0; probe.size()];
    let mut nothing = exchange::<f64, C>(probe, &counts);
    show(probe, &mut nothing, 1, &counts);
    let counts = uneven(probe.size());
    let mut without_bytes = exchange::<[f64; 0], C>(probe, &counts);
    show(probe, &mut without_bytes, 1, &counts);
}

fn bytes_and_structs<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts = uneven(probe.size());
    let mut bytes = exchange::<u8, C>(probe, &counts);
    let mut cuts = exchange::<[u8; 29], C>(probe, &counts);
    for salt in 0..5 {
        show(probe, &mut cuts, salt, &counts);
        show(probe, &mut bytes, salt, &counts);
    }
}

fn folded_as_by_allreduce<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in [1, 3, 64, 1003] {
        let mut exchange = exchange::<f64, C>(probe, &vec![len; probe.size()]);
        for round in 0..3 {
            for (k, element) in exchange.part_mut().iter_mut().enumerate() {
                *element = [1e16, 1.0, -1e16, f64::NAN, -0.0][(probe.rank() + k + round) % 5];
            }
            probe.done("fence of an exchange", exchange.fence());
            for op in [ReduceOp::Sum, ReduceOp::Min] {
                same_fold(probe, &exchange, op);
            }
        }
    }
}

/// What is shown, folded here and by a collective.
fn same_fold<T: Reducible, C: SharedMemoryProvider>(
    probe: &Probe<'_, C>,
    exchange: &C::Exchange<T>,
    op: ReduceOp,
) {
    let mine = exchange.shown_by(probe.rank());
    let mut folded = vec![T::zeroed(); mine.len()];
    probe.done("reduce_into", exchange.reduce_into(&mut folded, op));
    let mut reduced = folded.clone();
    probe.done("allreduce", probe.comm.allreduce(mine, &mut reduced, op));
    probe.same("what is shown, folded", &folded, &reduced);
}

fn what_cannot_be_folded_is_harmless<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut exchange = exchange::<f64, C>(probe, &vec![4; probe.size()]);
    exchange.part_mut().fill(1.0);
    probe.done("fence of an exchange", exchange.fence());
    let too_long = exchange.reduce_into(&mut [0.0; 5], ReduceOp::Sum);
    let expected = Err(CommError::InvalidBufferSize {
        operation: Operation::Allreduce,
        buffer: "recv",
        expected: 4,
        actual: 5,
    });
    probe.check(too_long == expected, || format!("{too_long:?}"));
    let mut nothing = self::exchange::<f64, C>(probe, &vec![0; probe.size()]);
    probe.done("fence of an exchange", nothing.fence());
    probe.done(
        "reduce_into of nothing",
        nothing.reduce_into(&mut [], ReduceOp::Sum),
    );
    let bits = exchange.reduce_into(&mut [0.0; 4], ReduceOp::BitOr);
    let refused = matches!(bits, Err(CommError::InvalidReduceOp { .. }));
    probe.check(refused, || format!("{bits:?}"));
    // Not final.
    probe.done("fence of an exchange", exchange.fence());
    probe.barrier();
}

fn amid_other_operations<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts = uneven(probe.size());
    let mut one = exchange::<u16, C>(probe, &counts);
    let mut other = exchange::<f64, C>(probe, &vec![20; probe.size()]);
    for salt in 0..20 {
        show(probe, &mut one, salt, &counts);
        probe.reduce(ReduceOp::Sum, 700, |rank, i| (rank + i) as f64);
        show(probe, &mut other, salt + 100, &vec![20; probe.size()]);
        probe.broadcast::<u64>(salt, 0, 300);
        probe.same("the first exchange", one.shown(), &whole(salt, &counts));
        if salt == 10 {
            // In the middle of its life; its peers' go when they get here.
            other = exchange::<f64, C>(probe, &vec![20; probe.size()]);
        }
    }
}

fn an_absurd_size_is_refused_and_harmless<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for count in [usize::MAX, usize::MAX / 16 / probe.size()] {
        let refused = probe
            .comm
            .create_exchange::<f64>(&vec![count; probe.size()]);
        let refused = refused.map(drop);
        let as_expected = matches!(&refused, Err(CommError::AllocationFailed { .. }));
        probe.check(as_expected, || {
            format!("{refused:?} instead of AllocationFailed")
        });
    }
    a_life(probe);
}

fn megabytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts: Vec<usize> = (0..probe.size()).map(|rank| 100_003 + rank).collect();
    let mut exchange = exchange::<f64, C>(probe, &counts);
    for salt in 0..3 {
        show(probe, &mut exchange, salt, &counts);
    }
}
