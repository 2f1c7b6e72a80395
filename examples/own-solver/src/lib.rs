//! A solver that knows the trait and no backend.
//!
//! It integrates a function; yours does something harder. What matters is the bound
//! `C: Communicator`: the same code runs alone and on ranks, compiled for each backend, and its
//! tests need none.
//!
//! # The backend behind a feature
//! In `Cargo.toml` the contract is a dependency, the backend an optional one:
//! ```toml
//! [features]
//! shm = ["dep:cobre-shm"]
//!
//! [dependencies]
//! cobre-comm-trait = { path = "../cobre/cobre-comm-trait" }
//! cobre-shm = { path = "../cobre/cobre-shm", optional = true }
//! ```
//! In `main`, and nowhere else, the feature decides:
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #[cfg(feature = "shm")]
//! let comm = cobre_shm::init()?;
//! #[cfg(not(feature = "shm"))]
//! let comm = cobre_comm_trait::LocalComm::new();
//!
//! let area = own_solver::integrate(&comm, 0.0, 1.0, 1_000_000, |x| 4.0 / (1.0 + x * x))?;
//! # assert!((area - std::f64::consts::PI).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```
//! ```text
//! cargo run -p own-solver
//! cargo build -p own-solver --features shm && cobre-launch -n 4 target/debug/own-solver
//! ```
#![forbid(unsafe_code)]

use cobre_comm_trait::{CommError, Communicator, block_range};

/// How many strips are summed by one rank before the sums are gathered.
const BLOCK: usize = 1000;

/// The area under `f` from `from` to `to`, as `strips` strips. Collective.
///
/// The bits do not depend on the number of ranks: blocks of strips, always the same ones, are
/// divided among the ranks, and their sums are added in the order of the blocks.
///
/// # Errors
/// As for every collective.
pub fn integrate<C: Communicator>(
    comm: &C,
    from: f64,
    to: f64,
    strips: usize,
    f: impl Fn(f64) -> f64,
) -> Result<f64, CommError> {
    let width = (to - from) / strips as f64;
    let blocks = strips.div_ceil(BLOCK);
    let ranges = (0..comm.size()).map(|rank| block_range(blocks, comm.size(), rank));
    let counts: Vec<usize> = ranges.clone().map(|range| range.len()).collect();
    let displs: Vec<usize> = ranges.map(|range| range.start).collect();
    let strip = |k: usize| width * f(from + (k as f64 + 0.5) * width);
    let block_sum = |block: usize| -> f64 {
        let end = strips.min((block + 1) * BLOCK);
        (block * BLOCK..end).map(strip).sum()
    };
    let mine: Vec<f64> = block_range(blocks, comm.size(), comm.rank())
        .map(block_sum)
        .collect();
    let mut sums = vec![0.0; blocks];
    comm.allgatherv(&mine, &mut sums, &counts, &displs)?;
    Ok(sums.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use super::integrate;
    use cobre_comm_trait::LocalComm;

    #[test]
    fn pi_is_where_it_was() {
        let area = integrate(&LocalComm::new(), 0.0, 1.0, 12_345, |x| 4.0 / (1.0 + x * x));
        assert!((area.unwrap() - std::f64::consts::PI).abs() < 1e-8);
    }

    /// Ranks as threads: no launcher is needed.
    #[test]
    #[cfg(feature = "shm")]
    fn three_ranks_find_the_bits_of_one() {
        let area = |ranks| {
            cobre_shm::run(ranks, |comm| {
                let area = integrate(comm, 0.0, 1.0, 12_345, |x| 4.0 / (1.0 + x * x));
                area.expect("all ranks take part").to_bits()
            })
        };
        assert_eq!(area(3), [area(1)[0]; 3]);
    }
}
