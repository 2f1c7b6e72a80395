//! Pools: tables that grow while everybody reads them.

use cobre_comm_trait::{CommError, Communicator, FailureCause, PoolProvider, ReduceOp, SharedPool};
use cobre_shm::ShmComm;
use cobre_tests::{config, job_name, run_threads, try_ranks};

/// What rank `rank` appends in `round`: as many elements as it likes, perhaps none.
fn count(rank: usize, round: usize) -> usize {
    (rank * 7 + round * 3) % 5 * 1000
}

#[test]
fn everybody_reads_what_all_appended_in_rank_order() {
    const ROUNDS: usize = 8;
    for ranks in [1, 2, 3, 8] {
        run_threads(ranks, |comm, _| {
            // Far more than is ever used, and than the machine has.
            let mut pool = comm.create_pool::<u64>(1 << 40).expect("address space");
            let mut expected = Vec::new();
            for round in 0..ROUNDS {
                let value = |rank: usize| (round * 100 + rank) as u64;
                let mine = pool
                    .append(count(comm.rank(), round), |mine| {
                        assert!(mine.iter().all(|&element| element == 0));
                        mine.fill(value(comm.rank()));
                    })
                    .expect("room");
                for rank in 0..ranks {
                    let start = expected.len();
                    expected.extend(std::iter::repeat_n(value(rank), count(rank, round)));
                    if rank == comm.rank() {
                        assert_eq!(mine, start..expected.len());
                    }
                }
                assert!(*pool == expected, "round {round}");
            }
            assert_eq!(pool.capacity(), 1 << 40);
        });
    }
}

#[test]
fn what_does_not_fit_is_refused_everywhere_and_harmless() {
    run_threads(3, |comm, _| {
        let mut pool = comm.create_pool::<u32>(10).expect("a page");
        pool.append(2, |mine| mine.fill(1)).expect("room for 6");
        // Each alone would fit.
        let refused = pool.append(2, |_| panic!("must not be called")).map(drop);
        let Err(CommError::AllocationFailed {
            requested_bytes,
            message,
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!(requested_bytes, 6 * size_of::<u32>());
        assert!(message.contains("room for 4 more"), "{message}");
        let absurd = pool.append(usize::MAX / 2, |_| panic!("must not be called"));
        assert!(absurd.is_err());
        assert_eq!(*pool, [1; 6]);
        let mine = pool.append(usize::from(comm.rank() == 1), |mine| mine.fill(2));
        assert_eq!(
            mine.expect("room for 1").len(),
            usize::from(comm.rank() == 1)
        );
        assert_eq!(*pool, [1, 1, 1, 1, 1, 1, 2]);
        let too_large = comm.create_pool::<u64>(usize::MAX / 4).map(drop);
        assert!(matches!(too_large, Err(CommError::AllocationFailed { .. })));
        let empty = comm.create_pool::<u64>(0).expect("nothing");
        assert!(empty.is_empty());
    });
}

#[test]
fn ranks_that_append_to_different_pools_disagree() {
    let outcomes = run_threads(2, |comm, _| {
        let mut pools = [
            comm.create_pool::<u8>(8).expect("a page"),
            comm.create_pool::<u8>(8).expect("a page"),
        ];
        pools[comm.rank()].append(1, |_| ()).map(drop)
    });
    assert!(
        matches!(outcomes[0], Err(CommError::Mismatch { .. })),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_panic_while_filling_fails_the_peers() {
    let name = job_name();
    let outcomes = try_ranks(2, |rank, _| {
        let comm = ShmComm::form(&config(&name, rank, 2)).expect("a job");
        let mut pool = comm.create_pool::<u8>(8).expect("a page");
        let appended = pool.append(1, |mine| {
            assert!(comm.rank() == 0, "rank 1 panics while it fills");
            mine.fill(1);
        });
        let cause = match appended {
            Err(CommError::RankFailed { rank: 1, cause, .. }) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(cause, FailureCause::Panicked);
        let mut sum = [0];
        assert!(comm.allreduce(&[1], &mut sum, ReduceOp::Sum).is_err());
        // What was there before can still be read.
        assert!(pool.is_empty());
    });
    assert!(outcomes[0].is_ok(), "{:?}", outcomes[0]);
    assert!(outcomes[1].is_err());
}
