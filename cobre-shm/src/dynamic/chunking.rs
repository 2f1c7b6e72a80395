//! How long the chunks are.

/// How many indices a rank takes at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunking {
    /// Always this many (at least one).
    Fixed(usize),
    /// Half of an equal share of what is left: long chunks first, single indices last (guided
    /// self-scheduling; Polychronopoulos and Kuck 1987).
    #[default]
    Guided,
    /// As guided, times how fast the rank has been relative to the others (adaptive weighted
    /// factoring; Banicescu, Velusamy and Devaprasad 2003): for cores of different speed.
    Adaptive,
}

impl Chunking {
    /// The length of the next chunk, from 1 to `left`, for one of `size` ranks; `share` is how fast
    /// it has been, 1 on average.
    pub(super) fn next(self, left: usize, size: usize, share: impl Fn() -> f64) -> usize {
        let guided = left.div_ceil(2 * size);
        let chunk = match self {
            Self::Fixed(chunk) => chunk,
            Self::Guided => guided,
            // A share that is no number becomes 0, then 1.
            Self::Adaptive => (guided as f64 * share()) as usize,
        };
        chunk.clamp(1, left)
    }

    /// In the signature of the call.
    pub(super) fn code(self) -> u64 {
        match self {
            Self::Guided => 1,
            Self::Adaptive => 2,
            Self::Fixed(chunk) => (chunk as u64) << 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Chunking;

    #[test]
    fn chunks_cover_everything_and_shrink() {
        for chunking in [Chunking::Fixed(0), Chunking::Fixed(7), Chunking::Guided] {
            let (mut left, mut last) = (1000, usize::MAX);
            while left > 0 {
                let chunk = chunking.next(left, 4, || 1.0);
                assert!((1..=left).contains(&chunk) && chunk <= last, "{chunking:?}");
                (left, last) = (left - chunk, chunk);
            }
        }
    }

    #[test]
    fn a_fast_rank_takes_more_and_nonsense_takes_one() {
        let next = |share| Chunking::Adaptive.next(1000, 4, || share);
        assert_eq!([next(1.0), next(2.0), next(0.5)], [125, 250, 62]);
        assert_eq!(
            [next(f64::NAN), next(0.0), next(f64::INFINITY)],
            [1, 1, 1000]
        );
    }
}
