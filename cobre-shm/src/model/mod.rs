//! Model checking of the production modules in `sync` with loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p cobre-shm --lib --release` explores every interleaving (up
//! to a bound of preemptions where three ranks take part) and every value that a weakly ordered
//! load may return. There is no timeout in this world: a lost wake-up is a deadlock, a slot or
//! staging buffer rewritten too early is a reported race. `loom-mutations.sh` takes each ordering
//! and fence away in turn and expects these tests to fail.

mod latch;
pub(crate) mod park;
mod parting;
mod ring;
mod tests;

use loom::sync::Arc;

use crate::sync::{
    cell::{FailureWord, Members, RankCell},
    failure::{self, Failure},
    primitive::AtomicU64,
    wait::Wait,
};

/// A staging buffer, reduced to what the model checker needs: something that must not be read and
/// written at once.
type Staging = loom::cell::UnsafeCell<u64>;

/// A job on the heap.
struct Heap {
    cells: Vec<RankCell>,
    failure: FailureWord,
    staging: Vec<[Staging; 2]>,
}

impl Heap {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            cells: (0..size).map(|_| RankCell::new()).collect(),
            failure: FailureWord {
                code: AtomicU64::new(0),
            },
            staging: (0..size)
                .map(|_| [Staging::new(0), Staging::new(0)])
                .collect(),
        })
    }

    fn staging(&self, rank: usize, round: u64) -> &Staging {
        &self.staging[rank][usize::from(round % 2 == 1)]
    }
}

impl Members for Heap {
    fn size(&self) -> usize {
        self.cells.len()
    }

    fn cell(&self, rank: usize) -> &RankCell {
        &self.cells[rank]
    }

    fn failure(&self) -> &FailureWord {
        &self.failure
    }

    fn fail(&self, failure: Failure) {
        failure::raise(self, failure);
    }

    fn may_tell_codes(&self) -> bool {
        false
    }

    fn examine(&self, _wait: Wait, _naps: u32) {}

    fn give_up(&self, _wait: Wait, _waited: core::time::Duration) {}
}
