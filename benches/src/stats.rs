//! Samples to numbers.

use cobre_comm_trait::{CommError, Communicator, ReduceOp};

/// What is said about the samples of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The smallest.
    pub min: f64,
    /// The middle one; of an even number the mean of the two.
    pub median: f64,
    /// The 99th percentile by nearest rank: with fewer than 100 samples the largest.
    pub p99: f64,
}

impl Summary {
    /// Of at least one sample; nothing can be said about none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let len = sorted.len();
        let nearest = (len * 99).div_ceil(100).checked_sub(1)?;
        Some(Self {
            min: sorted[0],
            median: f64::midpoint(sorted[(len - 1) / 2], sorted[len / 2]),
            p99: sorted[nearest],
        })
    }

    /// Without the time that the loop spends on something else.
    #[must_use]
    pub fn less(self, other: f64) -> Self {
        Self {
            min: self.min - other,
            median: self.median - other,
            p99: self.p99 - other,
        }
    }
}

/// The values of all ranks, combined one by one. Collective.
pub(crate) fn over_ranks<C: Communicator>(
    comm: &C,
    mine: &[f64],
    op: ReduceOp,
) -> Result<Vec<f64>, CommError> {
    let mut all = vec![0.0; mine.len()];
    comm.allreduce(mine, &mut all, op)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let odd = Summary::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.p99), (1.0, 2.0, 3.0));
        let even = Summary::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.min, even.median, even.p99), (1.0, 2.5, 4.0));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn the_99th_of_a_hundred_and_of_twenty_five() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(Summary::of(&hundred).unwrap().p99, 99.0);
        let few: Vec<f64> = (1..=25).map(f64::from).collect();
        assert_eq!(Summary::of(&few).unwrap().p99, 25.0);
    }

    #[test]
    fn subtracting_shifts_everything() {
        let less = Summary::of(&[3.0, 5.0]).unwrap().less(1.0);
        assert_eq!((less.min, less.median, less.p99), (2.0, 3.0, 4.0));
    }
}
