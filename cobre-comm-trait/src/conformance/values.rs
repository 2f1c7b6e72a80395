//! What every rank sends, as pure functions, so that every rank can compute what it must receive.

use crate::{CommData, Reducible, block_range};

/// Choices that a seed reproduces: SplitMix64 (Steele et al. 2014), small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same choices for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Bits that differ for every salt, rank and index.
#[inline]
pub(super) fn bits(salt: u64, rank: usize, index: usize) -> u64 {
    let rank = (rank as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let index = (index as u64).wrapping_mul(0xa076_1d64_78bd_642f);
    Random::new(salt ^ rank ^ index).word()
}

/// `len` elements of arbitrary bits, the same for the same salt and rank.
pub(super) fn fill<T: CommData>(salt: u64, rank: usize, len: usize) -> Vec<T> {
    let mut elements = vec![T::zeroed(); len];
    let mut random = Random::new(bits(salt, rank, 0));
    for chunk in bytemuck::cast_slice_mut::<T, u8>(&mut elements).chunks_mut(8) {
        chunk.copy_from_slice(&random.word().to_le_bytes()[..chunk.len()]);
    }
    elements
}

/// Displacements that leave no gap, and the total.
pub(super) fn packed(counts: &[usize]) -> (Vec<usize>, usize) {
    let mut end = 0;
    let displs = counts
        .iter()
        .map(|&count| {
            let start = end;
            end += count;
            start
        })
        .collect();
    (displs, end)
}

/// Displacements in random order with random gaps of up to `gap`, and the length of the buffer.
pub(super) fn scattered(counts: &[usize], gap: usize, random: &mut Random) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    random.shuffle(&mut order);
    let mut displs = vec![0; counts.len()];
    let mut end = random.below(gap + 1);
    for rank in order {
        displs[rank] = end;
        end += counts[rank] + random.below(gap + 1);
    }
    (displs, end)
}

/// `total` elements divided as evenly as possible.
pub(super) fn even(total: usize, size: usize) -> Vec<usize> {
    (0..size)
        .map(|rank| block_range(total, size, rank).len())
        .collect()
}

/// Keeps this rank busy for some time that depends on it and on the round, up to about
/// `microseconds`: ranks drift apart without anybody sleeping.
pub(super) fn dawdle(rank: usize, round: usize, microseconds: usize) {
    let steps = bits(0xda3d1e, rank, round) as usize % (microseconds * 100 + 1);
    let mut random = Random::new(steps as u64);
    for _ in 0..steps / 8 {
        core::hint::black_box(random.word());
    }
    if steps.is_multiple_of(16) {
        std::thread::yield_now();
    }
}

/// Numbers that show every deviation from the defined reduction.
pub(super) trait Sample: Reducible {
    fn sample(salt: u64, rank: usize, index: usize) -> Self;
}

macro_rules! sample_integer {
    ($($t:ident)*) => {$(
        impl Sample for $t {
            fn sample(salt: u64, rank: usize, index: usize) -> Self {
                let bits = bits(salt, rank, index);
                match index % 4 {
                    // Extremes wrap around, small numbers keep products from vanishing.
                    0 => [<$t>::MAX, <$t>::MIN, 1, <$t>::MAX - 1][bits as usize % 4],
                    1 => (bits % 3 + 1) as $t | 1,
                    _ => bits as $t,
                }
            }
        }
    )*};
}
sample_integer!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

macro_rules! sample_float {
    ($($t:ident $nan:literal)*) => {$(
        impl Sample for $t {
            fn sample(salt: u64, rank: usize, index: usize) -> Self {
                let bits = bits(salt, rank, index);
                let pick = |from: [$t; 4]| from[bits as usize % 4];
                // By index, because one NaN or infinity hides what the other ranks contribute.
                match index % 8 {
                    0 => [1e16, 1.0, -1e16][rank % 3],
                    1 => pick([0.0, -0.0, -0.0, 0.0]),
                    2 => pick([<$t>::from_bits(1), -<$t>::from_bits(3), <$t>::MIN_POSITIVE, -0.0]),
                    3 => {
                        let quiet = <$t>::from_bits($nan | 0x1234);
                        pick([quiet, -quiet, 1.5, <$t>::INFINITY])
                    }
                    4 => pick([<$t>::INFINITY, <$t>::NEG_INFINITY, 2.0, <$t>::MAX]),
                    5 => pick([1e16, 3.0, -1e16, 0.1]),
                    6 => 1.0 + (bits % 1024) as $t / 512.0,
                    _ => ((bits >> 40) as $t - 8_388_608.0) / 3.0,
                }
            }
        }
    )*};
}
sample_float!(f32 0x7fc0_0000 f64 0x7ff8_0000_0000_0000);
