//! What the ranks send, so that every mistake shows in what they receive.

use cobre_comm_trait::{ReduceOp, Reducible};

/// The value at `index` of what `rank` sends: 20 bits that differ between ranks, places and seeds.
///
/// Sums of them are exact whatever the order (an MPI may choose its own), also over 1024 ranks in
/// 31 bits.
#[must_use]
pub fn value(rank: usize, index: usize, seed: u64) -> u64 {
    let mut x = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ ((rank as u64) << 48)
        ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 31;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 29;
    x & 0xf_ffff
}

/// A type that travels.
pub trait Value: Reducible + PartialEq {
    /// What a receive buffer holds before a call: no sum of values.
    const POISON: Self;

    /// From [`value`], cut off where it does not fit.
    fn of(value: u64) -> Self;
}

impl Value for f64 {
    const POISON: Self = -7.5;
    fn of(value: u64) -> Self {
        value as f64
    }
}

impl Value for u64 {
    const POISON: Self = Self::MAX;
    fn of(value: u64) -> Self {
        value
    }
}

impl Value for i32 {
    const POISON: Self = -7;
    fn of(value: u64) -> Self {
        value as Self
    }
}

impl Value for u8 {
    const POISON: Self = 0xA5;
    fn of(value: u64) -> Self {
        value as Self
    }
}

/// What the send buffers of all ranks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Another value in each place.
    Pattern {
        /// Makes it another pattern.
        seed: u64,
    },
    /// The rank's value of this turn in every place: quick to write.
    Constant {
        /// Makes it another constant.
        turn: u64,
    },
}

impl Content {
    /// What `rank` sends at `index`.
    #[must_use]
    pub fn at<T: Value>(self, rank: usize, index: usize) -> T {
        T::of(match self {
            Self::Pattern { seed } => value(rank, index, seed),
            Self::Constant { turn } => value(rank, 0, turn),
        })
    }

    /// Writes what `rank` sends.
    pub fn write<T: Value>(self, rank: usize, send: &mut [T]) {
        match self {
            Self::Pattern { .. } => {
                for (index, element) in send.iter_mut().enumerate() {
                    *element = self.at(rank, index);
                }
            }
            Self::Constant { .. } => send.fill(self.at(rank, 0)),
        }
    }

    /// Whether `recv` is the reduction over `size` ranks.
    #[must_use]
    pub fn reduced<T: Value>(self, recv: &[T], size: usize, op: ReduceOp) -> bool {
        recv.iter().enumerate().all(|(index, &got)| {
            let first: T = self.at(0, index);
            let expected = (1..size).fold(first, |sum, rank| sum.combine(self.at(rank, index), op));
            got == expected
        })
    }

    /// Whether `recv` is what the ranks contributed, one after the other.
    #[must_use]
    pub fn gathered<T: Value>(self, recv: &[T], counts: &[usize]) -> bool {
        let mut rest = recv;
        for (rank, &count) in counts.iter().enumerate() {
            let Some((block, behind)) = rest.split_at_checked(count) else {
                return false;
            };
            if !self.sent_by(rank, block) {
                return false;
            }
            rest = behind;
        }
        rest.is_empty()
    }

    /// Whether this is what `rank` sent.
    #[must_use]
    pub fn sent_by<T: Value>(self, rank: usize, received: &[T]) -> bool {
        let mut elements = received.iter().enumerate();
        elements.all(|(index, &got)| got == self.at(rank, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content::Pattern { seed: 3 };

    fn block<T: Value>(rank: usize, len: usize) -> Vec<T> {
        (0..len).map(|index| CONTENT.at(rank, index)).collect()
    }

    #[test]
    fn a_wrong_reduction_is_noticed() {
        let sum = |ranks: &[usize]| -> Vec<f64> {
            let blocks: Vec<Vec<f64>> = ranks.iter().map(|&rank| block(rank, 9)).collect();
            (0..9).map(|i| blocks.iter().map(|b| b[i]).sum()).collect()
        };
        let right = sum(&[0, 1, 2]);
        assert!(CONTENT.reduced(&right, 3, ReduceOp::Sum));
        // Somebody missing, somebody twice, one element off, shifted, of the turn before.
        assert!(!CONTENT.reduced(&sum(&[0, 1]), 3, ReduceOp::Sum));
        assert!(!CONTENT.reduced(&sum(&[0, 1, 1]), 3, ReduceOp::Sum));
        let mut wrong = right.clone();
        wrong[8] += 1.0;
        assert!(!CONTENT.reduced(&wrong, 3, ReduceOp::Sum));
        let mut shifted = right.clone();
        shifted.rotate_left(1);
        assert!(!CONTENT.reduced(&shifted, 3, ReduceOp::Sum));
        let before = Content::Pattern { seed: 2 };
        assert!(!before.reduced(&right, 3, ReduceOp::Sum));
        assert!(!CONTENT.reduced(&right, 3, ReduceOp::Max));
        assert!(!CONTENT.reduced(&[f64::POISON; 9], 3, ReduceOp::Sum));
    }

    #[test]
    fn a_wrong_gather_is_noticed() {
        let counts = [2, 0, 3];
        let gathered: Vec<u8> = [block(0, 2), block(2, 3)].concat();
        assert!(CONTENT.gathered(&gathered, &counts));
        assert!(!CONTENT.gathered(&gathered[..4], &counts));
        assert!(!CONTENT.gathered(&gathered, &[2, 3, 0]));
        let swapped: Vec<u8> = [block(2, 2), block(0, 3)].concat();
        assert!(!CONTENT.gathered(&swapped, &counts));
        let mut tail = gathered.clone();
        tail[4] = u8::POISON;
        assert!(!CONTENT.gathered(&tail, &counts));
    }

    #[test]
    fn a_wrong_broadcast_is_noticed() {
        assert!(CONTENT.sent_by(1, &block::<i32>(1, 5)));
        assert!(!CONTENT.sent_by(0, &block::<i32>(1, 5)));
        let turn = Content::Constant { turn: 8 };
        assert!(!turn.sent_by(1, &block::<i32>(1, 5)));
    }
}
