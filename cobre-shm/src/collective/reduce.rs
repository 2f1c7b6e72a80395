//! Folding the ranks' contributions, element by element, in rank order.

#![allow(unsafe_code)]

use cobre_comm_trait::{ReduceOp, Reducible};

use crate::sys::float::{self, Modes};

/// Elements folded at a time, so that the running result stays in the first-level cache.
pub(crate) const BLOCK: usize = 1024;

/// The modes of this thread's arithmetic on `T`, for [`fold`].
#[inline]
pub(crate) fn modes<T: Reducible>() -> Modes {
    if T::BITWISE {
        // The floating-point unit has no say about integers.
        Modes::DEFAULT
    } else {
        Modes::now()
    }
}

/// `out[k]` becomes `source(0)[k]` combined with `source(1)[k]`, then `source(2)[k]` and so on, for
/// all `len` elements, as under the default state of the floating-point unit whatever the `modes` of this
/// thread are.
///
/// # Safety
/// For every rank below `size`, `source(rank)` must be valid for reading `len` elements that nobody
/// writes meanwhile. They need not be distinct, but must not overlap `out`.
pub(crate) unsafe fn fold<T: Reducible>(
    op: ReduceOp,
    out: &mut [T],
    size: usize,
    source: impl Fn(usize) -> *const T,
    modes: Modes,
) {
    if modes == Modes::DEFAULT {
        // SAFETY: as promised by the caller.
        unsafe { fold_as_it_is(op, out, size, source) };
    } else {
        // SAFETY: as promised by the caller.
        unsafe { fold_under_default(op, out, size, &source) };
    }
}

/// # Safety
/// As for [`fold`].
#[cold]
#[inline(never)]
unsafe fn fold_under_default<T: Reducible>(
    op: ReduceOp,
    out: &mut [T],
    size: usize,
    source: &dyn Fn(usize) -> *const T,
) {
    // SAFETY: as promised by the caller.
    float::under_default(&mut || unsafe { fold_as_it_is(op, out, size, source) });
}

/// # Safety
/// As for [`fold`].
#[inline]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one and the same promise for whichever operation it is"
)]
unsafe fn fold_as_it_is<T: Reducible>(
    op: ReduceOp,
    out: &mut [T],
    size: usize,
    source: impl Fn(usize) -> *const T,
) {
    // SAFETY: as promised by the caller, whatever the operation.
    unsafe {
        match op {
            ReduceOp::Sum => fold_with(out, size, source, T::sum),
            ReduceOp::Prod => fold_with(out, size, source, T::prod),
            ReduceOp::Min => fold_with(out, size, source, T::lesser),
            ReduceOp::Max => fold_with(out, size, source, T::greater),
            ReduceOp::BitAnd => fold_with(out, size, source, T::bit_and),
            ReduceOp::BitOr => fold_with(out, size, source, T::bit_or),
            ReduceOp::BitXor => fold_with(out, size, source, T::bit_xor),
        }
    }
}

/// # Safety
/// As for [`fold`].
#[inline]
unsafe fn fold_with<T: Reducible>(
    out: &mut [T],
    size: usize,
    source: impl Fn(usize) -> *const T,
    combine: impl Fn(T, T) -> T + Copy,
) {
    for (index, block) in out.chunks_mut(BLOCK).enumerate() {
        let len = block.len();
        let operand = |rank| {
            let start = source(rank).wrapping_add(index * BLOCK);
            // SAFETY: the block lies within the elements that the caller vouches for.
            unsafe { core::slice::from_raw_parts(start, len) }
        };
        let first = operand(0);
        if size == 1 {
            for (result, value) in block.iter_mut().zip(first) {
                *result = value.canonical();
            }
            continue;
        }
        // The first pass takes two operands and the last one tidies up: of two ranks it is one.
        let last = size - 1;
        if last == 1 {
            for ((result, &one), &other) in block.iter_mut().zip(first).zip(operand(1)) {
                *result = combine(one, other).canonical();
            }
            continue;
        }
        for ((result, &one), &other) in block.iter_mut().zip(first).zip(operand(1)) {
            *result = combine(one, other);
        }
        for rank in 2..last {
            for (result, &value) in block.iter_mut().zip(operand(rank)) {
                *result = combine(*result, value);
            }
        }
        for (result, &value) in block.iter_mut().zip(operand(last)) {
            *result = combine(*result, value).canonical();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, fold};
    use crate::sys::float;
    use cobre_comm_trait::{ReduceOp, Reducible};

    #[test]
    fn the_fold_is_the_sequential_one_bit_by_bit() {
        // Values that expose any other order.
        let revealing = [
            1e16,
            1.0,
            -1e16,
            5e-324,
            -0.0,
            0.0,
            1.0 / 3.0,
            f64::NAN,
            -7.25,
        ];
        for len in [1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            for size in [1_usize, 2, 3, 8] {
                let inputs: Vec<Vec<f64>> = (0..size)
                    .map(|rank| {
                        (0..len)
                            .map(|k| revealing[(k * 5 + rank * 7 + k / 9) % revealing.len()])
                            .collect()
                    })
                    .collect();
                for op in ReduceOp::ALL.into_iter().filter(|op| !op.is_bitwise()) {
                    let mut out = vec![0.0; len];
                    // SAFETY: every input has `len` elements, and is apart from `out`.
                    unsafe {
                        fold(
                            op,
                            &mut out,
                            size,
                            |rank| inputs[rank].as_ptr(),
                            super::modes::<f64>(),
                        )
                    };
                    for k in 0..len {
                        let expected = (1..size)
                            .fold(inputs[0][k], |sum, rank| sum.combine(inputs[rank][k], op))
                            .canonical();
                        assert_eq!(out[k].to_bits(), expected.to_bits(), "{op} {size} {k}");
                    }
                }
            }
        }
    }

    /// A rank whose floating-point unit rounds otherwise, or flushes subnormal numbers to zero.
    #[test]
    fn the_fold_does_not_depend_on_the_floating_point_state() {
        fn bits<T: Reducible>(op: ReduceOp, inputs: &[Vec<T>]) -> Vec<u8> {
            let mut out = vec![T::zeroed(); inputs[0].len()];
            // SAFETY: every input has as many elements as `out`, and is apart from it.
            unsafe {
                fold(
                    op,
                    &mut out,
                    inputs.len(),
                    |rank| inputs[rank].as_ptr(),
                    super::modes::<T>(),
                )
            };
            bytemuck::cast_slice(&out).to_vec()
        }
        let double = [3e-320, 0.1, 1.0, -1e-16, 2.3e-308, 1e-200, 7e-9, -0.3];
        let single = double.map(|value| (value * 1e270) as f32 * 1e-30);
        let mut depends = 0;
        for size in [2, 3, 5] {
            let place = |rank, k| (rank * 3 + k) % double.len();
            let doubles: Vec<Vec<f64>> = (0..size)
                .map(|rank| (0..8).map(|k| double[place(rank, k)]).collect())
                .collect();
            let singles: Vec<Vec<f32>> = (0..size)
                .map(|rank| (0..8).map(|k| single[place(rank, k)]).collect())
                .collect();
            for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Min, ReduceOp::Max] {
                let expected = (bits(op, &doubles), bits(op, &singles));
                float::in_every_other_state(|| {
                    assert_eq!(bits(op, &doubles), expected.0, "{op} of {size}");
                    assert_eq!(bits(op, &singles), expected.1, "{op} of {size}");
                    let one_by_one = (1..size).fold(doubles[0][0], |sum, rank| {
                        core::hint::black_box(sum).combine(doubles[rank][0], op)
                    });
                    depends += u32::from(one_by_one.to_ne_bytes() != expected.0[..8]);
                });
            }
        }
        let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        assert!(depends > 0 || !known, "no state changes these results");
    }
}
