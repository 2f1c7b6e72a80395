//! Reductions in place.

use super::values::dawdle;
use super::{Case, Probe, list};
use crate::{CommError, ReduceOp, Reducible, SharedMemoryProvider, SharedReduction};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["reductions":
        a_life,
        in_rank_order,
        every_operation,
        operands_stay,
        many_in_a_row,
        several_at_once,
        of_nothing,
        an_absurd_size_is_refused_and_harmless,
        megabytes,
    ]
}

fn of_nothing<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut reduction = reduction::<f64, C>(probe, 0);
    reduce(probe, &mut reduction, ReduceOp::Sum, |_, _| 0.0);
    probe.check(reduction.operand_mut().is_empty(), || {
        "an operand of nothing".to_owned()
    });
}

fn reduction<T: Reducible, C: SharedMemoryProvider>(
    probe: &Probe<'_, C>,
    len: usize,
) -> C::Reduction<T> {
    probe.done("create_reduction", probe.comm.create_reduction(len))
}

/// Reduces `element(rank, index)` of every rank, and checks every bit of the result.
fn reduce<T: Reducible, C: SharedMemoryProvider>(
    probe: &Probe<'_, C>,
    reduction: &mut C::Reduction<T>,
    op: ReduceOp,
    element: impl Fn(usize, usize) -> T,
) {
    for (k, operand) in reduction.operand_mut().iter_mut().enumerate() {
        *operand = element(probe.rank(), k);
    }
    let result = probe.done("reduce", reduction.reduce(op));
    let fold = |k| {
        let first = element(0, k);
        let sum = (1..probe.size()).fold(first, |sum, rank| sum.combine(element(rank, k), op));
        sum.canonical()
    };
    let expected: Vec<T> = (0..result.len()).map(fold).collect();
    probe.same(&format!("a reduction in place, {op}"), result, &expected);
    probe.same("the last result", reduction.result(), &expected);
}

fn revealing(rank: usize, k: usize) -> f64 {
    [1e16, 1.0, -1e16, 5e-324, -0.0, f64::NAN, 1.0 / 3.0][(rank * 3 + k) % 7]
}

fn a_life<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut reduction = reduction::<f64, C>(probe, 100);
    probe.same("a fresh operand", reduction.operand_mut(), &[0.0; 100]);
    probe.same("the result at first", reduction.result(), &[0.0; 100]);
    reduce(probe, &mut reduction, ReduceOp::Sum, |rank, k| {
        (rank + k) as f64
    });
}

fn in_rank_order<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in [1, 2, 3, 5, 64, 1003, 5000] {
        let mut reduction = reduction::<f64, C>(probe, len);
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Min, ReduceOp::Max] {
            reduce(probe, &mut reduction, op, revealing);
        }
        reduce(probe, &mut reduction, ReduceOp::Sum, |rank, k| {
            1.0 / (rank * 7 + k + 3) as f64
        });
    }
}

fn every_operation<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let (mut bytes, mut numbers) = (reduction::<u8, C>(probe, 77), reduction(probe, 13));
    for op in ReduceOp::ALL {
        reduce(probe, &mut bytes, op, |rank, k| (rank * 37 + k) as u8);
        reduce::<i64, C>(probe, &mut numbers, op, |rank, k| {
            rank as i64 * 3 - k as i64
        });
    }
}

fn operands_stay<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut reduction = reduction::<u64, C>(probe, 50);
    for round in 1..=20 {
        dawdle(probe.rank(), round, 20);
        let (operand, result) = reduction.split_mut();
        probe.same("my operand", operand, &[round as u64 - 1; 50]);
        let before = (round - 1) * probe.size();
        probe.same("the last result", result, &[before as u64; 50]);
        for element in operand {
            *element += 1;
        }
        let result = probe.done("reduce", reduction.reduce(ReduceOp::Sum));
        let expected = (round * probe.size()) as u64;
        probe.same("the sum", result, &[expected; 50]);
    }
}

fn many_in_a_row<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut reduction = reduction::<f64, C>(probe, 2 * probe.size() + 1);
    for round in 0..200 {
        dawdle(probe.rank(), round, 10);
        reduce(probe, &mut reduction, ReduceOp::Sum, |rank, k| {
            revealing(rank + round, k)
        });
    }
}

fn several_at_once<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let (mut one, mut other) = (reduction::<f64, C>(probe, 9), reduction(probe, 300));
    for round in 0..20 {
        reduce(probe, &mut one, ReduceOp::Max, |rank, k| {
            (rank * k + round) as f64
        });
        reduce::<u32, C>(probe, &mut other, ReduceOp::Sum, |rank, k| {
            (rank + k) as u32
        });
        probe.reduce(ReduceOp::Sum, 9, |rank, i| (rank + i) as f64);
    }
}

fn an_absurd_size_is_refused_and_harmless<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in [usize::MAX, usize::MAX / 8, usize::MAX / 32 / probe.size()] {
        let refused = probe.comm.create_reduction::<f64>(len).map(drop);
        let as_expected = matches!(&refused, Err(CommError::AllocationFailed { .. }));
        probe.check(as_expected, || {
            format!("{refused:?} instead of AllocationFailed")
        });
    }
    a_life(probe);
}

fn megabytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut reduction = reduction::<f64, C>(probe, (1 << 18) + 7);
    for round in 0..3 {
        reduce(probe, &mut reduction, ReduceOp::Sum, |rank, k| {
            revealing(rank + round, k)
        });
    }
}
