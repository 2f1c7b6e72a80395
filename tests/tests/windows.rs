//! Shared windows of `cobre-shm` beyond what the conformance suite can ask of any backend.

use cobre_comm_trait::{CommError, Communicator, ReduceOp, SharedMemoryProvider, SharedRegion};
use cobre_tests::run_threads;

/// More than any machine has, but nothing that the address space forbids.
const TOO_MUCH: usize = 1 << 45;

#[test]
fn a_window_larger_than_the_memory_is_refused_everywhere() {
    run_threads(3, |comm, _| {
        for _ in 0..3 {
            let refused = comm.create_shared_region::<u8>(TOO_MUCH).map(drop);
            let Err(CommError::AllocationFailed {
                requested_bytes,
                message,
            }) = refused
            else {
                panic!("{refused:?} instead of AllocationFailed");
            };
            assert_eq!(requested_bytes, TOO_MUCH);
            let limit = ["/dev/shm has ", "cgroup ", "this machine has "];
            let named = limit.iter().any(|limit| message.contains(limit));
            assert!(named, "no limit in: {message}");
            // Not final.
            let mut sum = [0];
            comm.allreduce(&[1], &mut sum, ReduceOp::Sum)
                .expect("the communicator goes on");
            assert_eq!(sum, [3]);
        }
    });
}

/// Each rank reserves and writes its own pages; all read all of them.
#[test]
fn every_page_of_a_window_is_there() {
    const LEN: usize = 4 << 20;
    run_threads(4, |comm, _| {
        let mut region = comm
            .create_shared_region::<u64>(LEN)
            .expect("32 MiB of /dev/shm");
        let part = region.part();
        for (i, element) in part.zip(region.part_mut()) {
            *element = i as u64;
        }
        let reader = region.fence().expect("all ranks are there");
        assert!((0..LEN).step_by(509).all(|i| reader[i] == i as u64));
    });
}

/// A window outlives the communicator that made it, and reads on without it.
#[test]
fn a_window_outlives_its_communicator() {
    run_threads(3, |comm, _| {
        let mut region = comm.create_shared_region::<u32>(300).expect("a window");
        region.part_mut().fill(7);
        let reader = region.fence().expect("all ranks are there");
        drop(comm);
        assert!(reader.iter().all(|&element| element == 7));
    });
}
