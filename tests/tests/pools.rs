//! Pools of `cobre-shm` beyond what the conformance suite can ask of any backend.

use cobre_comm_trait::{Communicator, PoolProvider, SharedPool};
use cobre_tests::run_threads;

/// Far more than the machine has: only what is appended takes memory.
#[test]
fn capacity_is_address_space_and_not_memory() {
    const CAPACITY: usize = 1 << 40;
    for ranks in [1, 3] {
        run_threads(ranks, |comm, _| {
            let mut pool = comm.create_pool::<u64>(CAPACITY).expect("address space");
            let mine = pool.append(1000, |mine| mine.fill(7)).expect("room");
            assert_eq!(mine.start, 1000 * comm.rank());
            assert_eq!(*pool, vec![7; 1000 * ranks]);
            assert_eq!(pool.capacity(), CAPACITY);
        });
    }
}
