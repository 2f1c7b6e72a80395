//! What a reduction computes, bit for bit.
//!
//! Every backend combines element by element in rank order, `((r0 . r1) . r2) . ...`, with the
//! functions of [`Reducible`], and passes each result through [`Reducible::canonical`]. Nothing
//! is left to the hardware, the compiler's choice of operand order, the message size or timing.

use crate::CommData;

/// How an [`allreduce`](crate::Communicator::allreduce) combines two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Addition. Integers wrap around.
    Sum,
    /// Multiplication. Integers wrap around.
    Prod,
    /// The smaller; for floats IEEE 754-2019 `minimum`: -0.0 is below +0.0 and NaN propagates.
    Min,
    /// The larger; for floats IEEE 754-2019 `maximum`: +0.0 is above -0.0 and NaN propagates.
    Max,
    /// Bitwise and, integers only.
    BitAnd,
    /// Bitwise or, integers only.
    BitOr,
    /// Bitwise exclusive or, integers only.
    BitXor,
}

impl ReduceOp {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 7] = [
        Self::Sum,
        Self::Prod,
        Self::Min,
        Self::Max,
        Self::BitAnd,
        Self::BitOr,
        Self::BitXor,
    ];

    /// Whether this operates on the bits of an integer.
    #[must_use]
    pub fn is_bitwise(self) -> bool {
        matches!(self, Self::BitAnd | Self::BitOr | Self::BitXor)
    }
}

impl core::fmt::Display for ReduceOp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// The primitive numbers, with the exact meaning of each reduction.
///
/// Sealed: a reduction on anything else does not compile.
///
/// ```compile_fail,E0277
/// use cobre_comm_trait::{Communicator, LocalComm, ReduceOp};
/// let pairs = [[1.0_f64, 2.0]; 3];
/// let mut out = pairs;
/// LocalComm::new().allreduce(&pairs, &mut out, ReduceOp::Sum).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be reduced: it is not a numeric type",
    label = "not a numeric type",
    note = "reductions combine i8 to i64, isize, u8 to u64, usize, f32 and f64",
    note = "reduce an array or a struct of one kind of number as the slice of its numbers: `bytemuck::cast_slice`"
)]
pub trait Reducible: CommData + PartialEq + core::fmt::Debug + sealed::Sealed {
    /// The type's name in Rust, for messages.
    const NAME: &'static str;
    /// Whether bitwise operations apply.
    const BITWISE: bool;

    /// `self + rhs`, wrapping for integers.
    #[must_use]
    fn sum(self, rhs: Self) -> Self;
    /// `self * rhs`, wrapping for integers.
    #[must_use]
    fn prod(self, rhs: Self) -> Self;
    /// The smaller; see [`ReduceOp::Min`].
    #[must_use]
    fn lesser(self, rhs: Self) -> Self;
    /// The larger; see [`ReduceOp::Max`].
    #[must_use]
    fn greater(self, rhs: Self) -> Self;
    /// `self & rhs` on the bits. Backends reject it for floats before they get here.
    #[must_use]
    fn bit_and(self, rhs: Self) -> Self;
    /// `self | rhs` on the bits. Backends reject it for floats before they get here.
    #[must_use]
    fn bit_or(self, rhs: Self) -> Self;
    /// `self ^ rhs` on the bits. Backends reject it for floats before they get here.
    #[must_use]
    fn bit_xor(self, rhs: Self) -> Self;
    /// The value itself, except that every NaN becomes the positive quiet NaN without payload.
    ///
    /// Which NaN an addition returns depends on the processor and on the operand order that the
    /// compiler chose; with this, a reduction that meets NaN still has one bit pattern.
    #[must_use]
    fn canonical(self) -> Self;

    /// Whether `op` is defined for this type.
    #[must_use]
    fn supports(op: ReduceOp) -> bool {
        Self::BITWISE || !op.is_bitwise()
    }

    /// `self` combined with `rhs` by `op`: the reference that every fast path must equal.
    #[must_use]
    fn combine(self, rhs: Self, op: ReduceOp) -> Self {
        match op {
            ReduceOp::Sum => self.sum(rhs),
            ReduceOp::Prod => self.prod(rhs),
            ReduceOp::Min => self.lesser(rhs),
            ReduceOp::Max => self.greater(rhs),
            ReduceOp::BitAnd => self.bit_and(rhs),
            ReduceOp::BitOr => self.bit_or(rhs),
            ReduceOp::BitXor => self.bit_xor(rhs),
        }
    }
}

macro_rules! reducible_integer {
    ($($t:ident)*) => {$(
        impl sealed::Sealed for $t {}
        impl Reducible for $t {
            const NAME: &'static str = stringify!($t);
            const BITWISE: bool = true;
            #[inline]
            fn sum(self, rhs: Self) -> Self { self.wrapping_add(rhs) }
            #[inline]
            fn prod(self, rhs: Self) -> Self { self.wrapping_mul(rhs) }
            #[inline]
            fn lesser(self, rhs: Self) -> Self { Ord::min(self, rhs) }
            #[inline]
            fn greater(self, rhs: Self) -> Self { Ord::max(self, rhs) }
            #[inline]
            fn bit_and(self, rhs: Self) -> Self { self & rhs }
            #[inline]
            fn bit_or(self, rhs: Self) -> Self { self | rhs }
            #[inline]
            fn bit_xor(self, rhs: Self) -> Self { self ^ rhs }
            #[inline]
            fn canonical(self) -> Self { self }
        }
    )*};
}
reducible_integer!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

macro_rules! reducible_float {
    ($($t:ident $nan:literal)*) => {$(
        impl sealed::Sealed for $t {}
        impl Reducible for $t {
            const NAME: &'static str = stringify!($t);
            const BITWISE: bool = false;
            #[inline]
            fn sum(self, rhs: Self) -> Self { self + rhs }
            #[inline]
            fn prod(self, rhs: Self) -> Self { self * rhs }
            #[inline]
            fn lesser(self, rhs: Self) -> Self {
                if self < rhs {
                    self
                } else if rhs < self {
                    rhs
                } else if self == rhs {
                    // Equal floats differ at most in the sign of zero: negative if either is.
                    Self::from_bits(self.to_bits() | rhs.to_bits())
                } else {
                    Self::from_bits($nan)
                }
            }
            #[inline]
            fn greater(self, rhs: Self) -> Self {
                if self > rhs {
                    self
                } else if rhs > self {
                    rhs
                } else if self == rhs {
                    Self::from_bits(self.to_bits() & rhs.to_bits())
                } else {
                    Self::from_bits($nan)
                }
            }
            #[inline]
            fn bit_and(self, rhs: Self) -> Self { Self::from_bits(self.to_bits() & rhs.to_bits()) }
            #[inline]
            fn bit_or(self, rhs: Self) -> Self { Self::from_bits(self.to_bits() | rhs.to_bits()) }
            #[inline]
            fn bit_xor(self, rhs: Self) -> Self { Self::from_bits(self.to_bits() ^ rhs.to_bits()) }
            #[inline]
            fn canonical(self) -> Self {
                if self.is_nan() { Self::from_bits($nan) } else { self }
            }
        }
    )*};
}
reducible_float!(f32 0x7fc0_0000 f64 0x7ff8_0000_0000_0000);

#[cfg(test)]
mod tests {
    use super::{ReduceOp, Reducible};

    #[test]
    fn integers_wrap() {
        assert_eq!(i32::MAX.combine(1, ReduceOp::Sum), i32::MIN);
        assert_eq!(200_u8.combine(2, ReduceOp::Prod), 144);
        assert_eq!(0b1100_u8.combine(0b1010, ReduceOp::BitXor), 0b0110);
    }

    #[test]
    fn zeros_are_ordered_by_sign_whichever_comes_first() {
        for (a, b) in [(0.0_f64, -0.0), (-0.0, 0.0)] {
            assert_eq!(a.lesser(b).to_bits(), (-0.0_f64).to_bits());
            assert_eq!(a.greater(b).to_bits(), 0.0_f64.to_bits());
        }
        assert_eq!((-0.0_f32).greater(-0.0).to_bits(), (-0.0_f32).to_bits());
    }

    #[test]
    fn nan_propagates_and_has_one_bit_pattern() {
        let odd_nan = f64::from_bits(0xfff8_0000_0000_1234);
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Min, ReduceOp::Max] {
            for (a, b) in [(odd_nan, 1.0), (1.0, odd_nan), (odd_nan, odd_nan)] {
                assert_eq!(
                    a.combine(b, op).canonical().to_bits(),
                    0x7ff8_0000_0000_0000,
                    "{op}"
                );
            }
        }
        let indefinite = f64::INFINITY.sum(f64::NEG_INFINITY);
        assert_eq!(indefinite.canonical().to_bits(), 0x7ff8_0000_0000_0000);
    }

    #[test]
    fn floats_have_no_bits_to_combine() {
        assert!(!f64::supports(ReduceOp::BitOr));
        assert!(f64::supports(ReduceOp::Max));
        assert!(u8::supports(ReduceOp::BitOr));
    }
}
