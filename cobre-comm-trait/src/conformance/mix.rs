//! Operations of all kinds after each other.

use super::values::{Random, Sample, bits, dawdle, scattered};
use super::{Case, Probe, list};
use crate::{ReduceOp, SharedMemoryProvider, SharedRegion};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["mix":
        a_short_sequence,
        call_sites_may_differ,
        a_thousand_small_operations,
        hundreds_of_operations_of_any_size,
        an_iteration_of_a_solver,
    ]
}

fn a_short_sequence<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts: Vec<usize> = (0..probe.size()).map(|rank| rank + 1).collect();
    probe.gather_packed::<f64>(1, &counts);
    probe.reduce(ReduceOp::Sum, 3, |rank, i| (rank + i) as f64);
    probe.barrier();
    probe.gather_packed::<f64>(2, &counts);
}

fn call_sites_may_differ<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..20 {
        let odd = (probe.rank() + round) % 2;
        let mut buf = [round * usize::from(probe.rank() == 0); 3];
        let result = if odd == 0 {
            probe.comm.broadcast(&mut buf, 0)
        } else {
            probe.comm.broadcast(buf.as_mut_slice(), 0)
        };
        probe.done("broadcast", result);
        probe.same("a broadcast", &buf, &[round; 3]);
    }
}

/// A length that is mostly small.
fn length(random: &mut Random, most: usize) -> usize {
    let bound = [2, 8, 20, 200, most][random.below(5)];
    random.below(bound.min(most) + 1)
}

fn operation<C: SharedMemoryProvider>(probe: &Probe<'_, C>, random: &mut Random, most: usize) {
    let (size, salt) = (probe.size(), random.word());
    match random.below(16) {
        0 | 1 => probe.barrier(),
        2..=5 => {
            let root = random.below(size);
            match random.below(3) {
                0 => probe.broadcast::<u8>(salt, root, length(random, most)),
                1 => probe.broadcast::<f64>(salt, root, length(random, most / 8)),
                _ => probe.broadcast::<[u8; 29]>(salt, root, length(random, most / 29)),
            }
        }
        6..=10 => {
            let op = ReduceOp::ALL[random.below(ReduceOp::ALL.len())];
            let len = |random: &mut Random, bytes| 1 + length(random, most / bytes);
            if op.is_bitwise() || random.below(3) == 0 {
                probe.reduce(op, len(random, 1), |rank, i| u8::sample(salt, rank, i));
            } else if random.below(4) == 0 {
                probe.reduce(op, len(random, 4), |rank, i| i32::sample(salt, rank, i));
            } else {
                probe.reduce(op, len(random, 8), |rank, i| f64::sample(salt, rank, i));
            }
        }
        15 if random.below(8) == 0 => region(probe, salt, length(random, most / 8)),
        _ => {
            let counts: Vec<usize> = (0..size)
                .map(|_| length(random, (most / size).max(3)))
                .collect();
            let mut own = Random::new(salt ^ bits(salt, probe.rank(), 1));
            let (displs, recv_len) = scattered(&counts, 3, &mut own);
            match salt % 3 {
                0 => probe.gather::<u8>(salt, &counts, &displs, recv_len),
                1 => probe.gather::<u64>(salt, &counts, &displs, recv_len),
                _ => probe.gather::<[u8; 5]>(salt, &counts, &displs, recv_len),
            }
        }
    }
}

fn region<C: SharedMemoryProvider>(probe: &Probe<'_, C>, salt: u64, len: usize) {
    let mut region = probe.region::<u64>(len);
    let part = region.part();
    for (i, element) in part.zip(region.part_mut()) {
        *element = bits(salt, 0, i);
    }
    let reader = probe.publish(region);
    let expected: Vec<u64> = (0..len).map(|i| bits(salt, 0, i)).collect();
    probe.same("a region amid other operations", &reader, &expected);
}

fn random_operations<C: SharedMemoryProvider>(
    probe: &Probe<'_, C>,
    seed: u64,
    operations: usize,
    most: usize,
) {
    let mut random = Random::new(seed);
    for round in 0..operations {
        if bits(seed, probe.rank(), round).is_multiple_of(16) {
            dawdle(probe.rank(), round, 100);
        }
        operation(probe, &mut random, most);
    }
}

fn a_thousand_small_operations<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    random_operations(probe, 1, 500, 100);
    random_operations(probe, 2, 500, 2000);
}

fn hundreds_of_operations_of_any_size<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    random_operations(probe, 3, 150, 120_000);
    random_operations(probe, 4, 30, 700_000);
}

/// What a stochastic dual dynamic programming solver does, in its order and with its sizes.
fn an_iteration_of_a_solver<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size();
    for len in [1, 58_169, 0, 61] {
        probe.broadcast::<u8>(len as u64, 0, len);
    }
    for iteration in 0..4_u64 {
        probe.reduce(ReduceOp::Max, 1, |_, _| 0_i32);
        probe.reduce(ReduceOp::Sum, 156, |rank, i| {
            f64::sample(iteration, rank, i)
        });
        probe.reduce(ReduceOp::Min, 2, |rank, i| f64::sample(iteration, rank, i));
        for stage in 0..11_usize {
            // Four forward passes: with more ranks some send nothing.
            let passes = super::values::even(4, size);
            let states: Vec<usize> = passes.iter().map(|count| 4 * count).collect();
            let cuts: Vec<usize> = passes.iter().map(|count| (29 + 8 * 4) * count).collect();
            probe.gather_packed::<f64>(iteration, &states);
            probe.gather_packed::<u64>(iteration, &vec![1; size]);
            probe.gather_packed::<u8>(iteration, &cuts);
            probe.gather_packed::<f64>(iteration, &vec![150; size]);
            probe.reduce(ReduceOp::Sum, 4 + stage, |rank, i| {
                u64::sample(iteration, rank, i)
            });
        }
        probe.broadcast::<f64>(iteration, 0, 1);
    }
    probe.broadcast::<i32>(1, 0, 25_304);
}
