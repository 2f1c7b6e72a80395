//! allreduce: every bit is that of the operands combined one by one in rank order.

use super::values::{Sample, dawdle};
use super::{Case, Probe, list};
use crate::{ReduceOp, SharedMemoryProvider};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["reduce":
        in_rank_order,
        a_single_element,
        nothing,
        integers_and_every_operation,
        floats_and_every_operation,
        nan_and_zero_have_one_result,
        every_length,
        a_hundred_thousand_and_three,
        megabytes,
        hundreds_of_small_ones,
        the_same_bits_every_time,
    ]
}

/// 1e16 + 1 - 1e16 and its rotations: no other order has the same sums.
fn in_rank_order<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in [1, 5, 14, 100, 3000, 70_001] {
        probe.reduce(ReduceOp::Sum, len, |rank, i| {
            [1e16, 1.0, -1e16][(rank + i) % 3]
        });
        probe.reduce(ReduceOp::Sum, len, |rank, i| {
            [1e8_f32, 1.0, -1e8][(rank + i) % 3]
        });
        probe.reduce(ReduceOp::Prod, len, |rank, i| {
            [1e-200, 1e200, 1e-180, 3.0][(rank + i) % 4]
        });
    }
}

fn a_single_element<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    probe.reduce(ReduceOp::Max, 1, |rank, _| rank as i32);
    probe.reduce(ReduceOp::Min, 1, |rank, _| 100 - rank as u64);
    probe.reduce(ReduceOp::Sum, 1, |rank, _| 0.1 * rank as f64);
}

fn nothing<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    probe.reduce(ReduceOp::Max, 0, |_, _| 0.0);
    probe.reduce(ReduceOp::BitXor, 0, |_, _| 0_u8);
    probe.reduce(ReduceOp::Sum, 2, |rank, _| rank as f64);
}

fn every_operation<T: Sample, C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for op in ReduceOp::ALL.into_iter().filter(|&op| T::supports(op)) {
        for len in [1, 2, 3, 7, 14, 15, 16, 64, 1000] {
            probe.reduce(op, len, |rank, i| T::sample(len as u64, rank, i));
        }
    }
}

fn integers_and_every_operation<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    every_operation::<i8, C>(probe);
    every_operation::<i16, C>(probe);
    every_operation::<i32, C>(probe);
    every_operation::<i64, C>(probe);
    every_operation::<isize, C>(probe);
    every_operation::<u8, C>(probe);
    every_operation::<u16, C>(probe);
    every_operation::<u32, C>(probe);
    every_operation::<u64, C>(probe);
    every_operation::<usize, C>(probe);
}

fn floats_and_every_operation<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    every_operation::<f32, C>(probe);
    every_operation::<f64, C>(probe);
}

/// The result cannot come from the model that the other cases share with the backend.
fn nan_and_zero_have_one_result<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let (last, rank) = (probe.size() - 1, probe.rank());
    let odd_nan = f64::from_bits(0xfff8_0000_0000_beef);
    let quiet_nan = f64::from_bits(0x7ff8_0000_0000_0000);
    for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Min, ReduceOp::Max] {
        for at in [0, last] {
            let mine = if rank == at { odd_nan } else { 1.0 };
            for len in [1, 20, 2000] {
                let mut result = vec![0.0; len];
                let outcome = probe.comm.allreduce(&vec![mine; len], &mut result, op);
                probe.done("allreduce", outcome);
                probe.same(&format!("{op} with NaN"), &result, &vec![quiet_nan; len]);
            }
        }
    }
    if last > 0 {
        for at in [0, last] {
            let mine = if rank == at { -0.0 } else { 0.0 };
            let (mut least, mut greatest) = ([1.0], [1.0]);
            let outcome = probe.comm.allreduce(&[mine], &mut least, ReduceOp::Min);
            probe.done("allreduce", outcome);
            let outcome = probe.comm.allreduce(&[mine], &mut greatest, ReduceOp::Max);
            probe.done("allreduce", outcome);
            probe.same("Min of zeros", &least, &[-0.0]);
            probe.same("Max of zeros", &greatest, &[0.0]);
        }
    }
}

fn every_length<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in (1..=40).chain([63, 64, 65, 127, 128, 156, 511, 512, 513, 8191, 8192, 8193]) {
        let salt = len as u64;
        probe.reduce(ReduceOp::Sum, len, |rank, i| f64::sample(salt, rank, i));
        probe.reduce(ReduceOp::Max, len, |rank, i| f32::sample(salt, rank, i));
        probe.reduce(ReduceOp::Sum, len, |rank, i| u8::sample(salt, rank, i));
        probe.reduce(ReduceOp::BitXor, len, |rank, i| u16::sample(salt, rank, i));
    }
}

fn a_hundred_thousand_and_three<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Min, ReduceOp::Max] {
        probe.reduce(op, 100_003, |rank, i| f64::sample(1, rank, i));
    }
    probe.reduce(ReduceOp::Sum, 100_003, |rank, i| f32::sample(2, rank, i));
    probe.reduce(ReduceOp::Prod, 100_003, |rank, i| u8::sample(3, rank, i));
    probe.reduce(ReduceOp::BitAnd, 100_003, |rank, i| i64::sample(4, rank, i));
}

fn megabytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    const MIB: usize = 1 << 20;
    probe.reduce(ReduceOp::Sum, MIB + 1, |rank, i| (rank * 7 + i) as u8);
    probe.reduce(ReduceOp::Sum, 5 * MIB / 8 + 1, |rank, i| {
        [1e16, 1.0, -1e16][(rank + i) % 3]
    });
}

/// Neighbouring operations with results that must not be mixed up.
fn hundreds_of_small_ones<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..250 {
        if round % 7 == 0 {
            dawdle(probe.rank(), round, 20);
        }
        let len = [1, 1, 2, 156][round % 4];
        probe.reduce(ReduceOp::Sum, len, |rank, i| {
            (round * 1000 + rank * 10 + i) as f64 / 3.0
        });
        probe.reduce(ReduceOp::Max, 1, |rank, _| ((rank + round) % 5) as i32);
    }
}

fn the_same_bits_every_time<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..40 {
        dawdle(probe.rank(), round, 50);
        probe.reduce(ReduceOp::Sum, 2050, |rank, i| f64::sample(77, rank, i));
    }
}
