//! The conformance suite: what every backend must do, as cases to run on each rank of a job.
//!
//! A harness forms a communicator of some size, on threads or on processes, and calls
//! [`Case::run`] on every rank. A case panics, naming itself, the rank and the values, when the
//! backend broke the contract. Cases know what every rank sends, so each rank checks everything
//! that it receives against a sequential model, bit by bit.
//!
//! * Cases that do not [end the job](Case::ends_job) may follow each other on one communicator, in
//!   any order, as long as all ranks run the same ones.
//! * Cases that do end it leave a poisoned communicator behind: each needs a job of its own.
//! * A case returns a report. The ranks that report anything must report the same, which only the
//!   harness can see: compare them with [`agree`].
//!
//! A backend that hangs is for the harness to detect.
//!
//! ```
//! use cobre_comm_trait::{LocalComm, conformance};
//!
//! for case in conformance::cases::<LocalComm>() {
//!     if case.runs_on(1) {
//!         case.run(&LocalComm::new());
//!     }
//! }
//! ```

mod barrier;
mod broadcast;
mod errors;
mod exchanges;
mod gather;
mod group;
mod mismatch;
mod mix;
mod pools;
mod probe;
mod reduce;
mod reductions;
mod regions;
mod split;
mod values;

pub use probe::{Case, Probe, agree};
pub use values::Random;

use crate::{PoolProvider, SharedMemoryProvider};

/// Lists functions of one module as cases; `>= 2` behind a name is the least number of ranks.
macro_rules! list {
    ($module:literal: $($name:ident $(>= $least:literal)?),* $(,)?) => {
        vec![$(
            $crate::conformance::Case {
                name: concat!($module, "::", stringify!($name)),
                min_ranks: 1_usize $(.max($least))?,
                ends_job: false,
                body: $name::<C>,
            }
        ),*]
    };
}
use list;

/// Every case, those that end the job last.
#[must_use]
pub fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    [
        group::cases(),
        barrier::cases(),
        gather::cases(),
        reduce::cases(),
        broadcast::cases(),
        mix::cases(),
        regions::cases(),
        exchanges::cases(),
        reductions::cases(),
        split::cases(),
        errors::cases(),
        mismatch::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every case about pools, for backends that have them, those that end the job last.
#[must_use]
pub fn pool_cases<C: SharedMemoryProvider + PoolProvider>() -> Vec<Case<C>> {
    pools::cases()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Case, agree, cases, pool_cases};
    use crate::LocalComm;

    fn all() -> impl Iterator<Item = Case<LocalComm>> {
        cases().into_iter().chain(pool_cases())
    }

    #[test]
    fn local_comm_passes() {
        for case in all() {
            if case.runs_on(1) {
                case.run(&LocalComm::new());
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for case in all() {
            assert!(seen.insert(case.name), "{} twice", case.name);
        }
    }

    #[test]
    fn reports_agree_unless_two_differ() {
        assert_eq!(agree(["", "a", "", "a"]), Ok(()));
        assert_eq!(
            agree(["", "a", "b"]),
            Err("rank 1 reports \"a\", but rank 2 reports \"b\"".to_owned())
        );
    }
}
