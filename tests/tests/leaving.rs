//! A rank leaves a job by dropping its communicator, whatever else of it lives on.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    sync::{Barrier, Mutex},
    thread,
};

use cobre_comm_trait::{
    CommError, Communicator, FailureCause, Operation, PoolProvider, ReduceOp, SharedExchange,
    SharedMemoryProvider, SharedPool, SharedReduction, SharedRegion,
};
use cobre_shm::{
    Chunking, ShmComm, WorkError, board::Progress, observer::Observer, recording::Recording,
};
use cobre_tests::{config, job_name, run_ranks, run_threads};

/// The ranks of the job `name`, which this process has founded as their launcher.
fn launched(name: &str, ranks: usize, body: impl Fn(ShmComm) + Sync) {
    run_ranks(ranks, |rank, _| {
        let mut config = config(name, rank, ranks);
        config.launcher = Some(std::process::id());
        body(ShmComm::form(&config).unwrap());
    });
}

#[test]
fn a_rank_that_drops_its_communicator_has_left_even_if_it_keeps_windows() {
    let told = Barrier::new(2);
    run_threads(2, |comm, _| {
        let mut region = comm.create_shared_region::<f64>(10).unwrap();
        region.part_mut().fill(1.5);
        let reader = region.fence().unwrap();
        let writing = comm.create_shared_region::<f64>(10).unwrap();
        let mut exchange = comm.create_exchange::<f64>(&[2, 3]).unwrap();
        let mut reduction = comm.create_reduction::<f64>(4).unwrap();
        let mut pool = comm.create_pool::<u32>(9).unwrap();
        pool.append(2, |mine| mine.fill(7)).unwrap();
        let work = comm.dynamic::<u64>(0..5, Chunking::Guided).unwrap();
        if comm.rank() == 0 {
            let error = comm.barrier().unwrap_err();
            let left = CommError::RankFailed {
                rank: 1,
                pid: std::process::id(),
                cause: FailureCause::Exited(None),
                operation: Some(Operation::Barrier),
            };
            assert_eq!(error, left);
            told.wait();
            return;
        }
        drop(comm);
        told.wait();
        // The memory is as it was, and nobody comes to change it.
        assert_eq!(*reader, [1.5; 10]);
        assert_eq!(*pool, [7; 4]);
        let left = |operation| Err(CommError::Left { operation });
        assert_eq!(writing.fence().map(drop), left(Operation::Fence));
        assert_eq!(exchange.fence(), left(Operation::Fence));
        let reduced = reduction.reduce(ReduceOp::Sum).map(drop);
        assert_eq!(reduced, left(Operation::Allreduce));
        let appended = pool.append(1, |_| panic!("must not be called"));
        assert_eq!(appended.map(drop), left(Operation::Append));
        let finished = work.finish().map(drop).unwrap_err();
        let operation = Operation::Fence;
        assert!(
            matches!(&finished, WorkError::Failed { cause: CommError::Left { operation: it }, .. }
                if *it == operation),
            "{finished}"
        );
    });
}

#[test]
fn a_recorded_rank_has_left_when_it_has_left_all_its_communicators() {
    let name = job_name();
    let recording = Recording::default();
    let observer = Observer::found_with(&name, 2, Some(recording), None).unwrap();
    let ended = || observer.record(0).unwrap().ended_ns.is_some();
    launched(&name, 2, |comm| {
        let split = comm.split_local().unwrap();
        let other = comm.split_local().unwrap();
        drop(split);
        if comm.rank() == 0 {
            assert!(!ended(), "it has left one of three");
            drop(comm);
            assert!(!ended(), "it is in another one still");
            drop(other);
            assert!(ended());
        }
    });
}

#[test]
fn what_a_rank_says_through_a_split_communicator_is_said_in_its_job() {
    let name = job_name();
    let observer = Observer::found(&name, 2).unwrap();
    let said = Barrier::new(2);
    let progress = |rank: u64| Progress {
        done: 3 + rank,
        total: 9,
    };
    launched(&name, 2, |comm| {
        let split = comm.split_local().unwrap();
        let inner = split.split_local().unwrap();
        let Progress { done, total } = progress(comm.rank() as u64);
        inner.status().progress(done, total);
        said.wait();
        for rank in 0..2 {
            let expected = Some(progress(rank as u64));
            let seen = |record: Option<cobre_shm::board::Record>| record.unwrap().progress;
            assert_eq!(seen(observer.member(rank).record), expected);
            for comm in [&comm, &split, &inner] {
                assert_eq!(seen(comm.board().swap_remove(rank).record), expected);
            }
        }
        said.wait();
    });
    // A job of one too.
    run_threads(1, |comm, _| {
        let split = comm.split_local().unwrap();
        split.status().progress(1, 2);
        for comm in [&comm, &split] {
            let record = comm.board().swap_remove(0).record.unwrap();
            assert_eq!(record.progress, Some(Progress { done: 1, total: 2 }));
        }
    });
}

/// What a launcher finds of a job whose ranks do `last` after a common call and leave, `order[0]` first.
fn after_all_have_left(
    order: [usize; 3],
    last: impl Fn(&ShmComm) -> Result<(), CommError> + Sync,
) -> Option<CommError> {
    let name = job_name();
    let observer = Observer::found(&name, 3).unwrap();
    let called = Barrier::new(3);
    let gone = Mutex::new(0);
    launched(&name, 3, |comm| {
        comm.barrier().unwrap();
        last(&comm).unwrap();
        called.wait();
        while order[*gone.lock().unwrap()] != comm.rank() {
            thread::yield_now();
        }
        drop(comm);
        *gone.lock().unwrap() += 1;
    });
    observer.first_failure()
}

const ORDERS: [[usize; 3]; 4] = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]];

#[test]
fn ranks_that_agreed_to_the_end_leave_in_any_order() {
    for order in ORDERS {
        let told = after_all_have_left(order, |comm| comm.broadcast(&mut [1.0], 2));
        assert_eq!(told, None, "{order:?}");
        assert_eq!(after_all_have_left(order, |_| Ok(())), None, "{order:?}");
    }
}

#[test]
fn two_roots_of_a_last_broadcast_are_found_when_they_leave() {
    for order in ORDERS {
        let two_roots = |comm: &ShmComm| match comm.rank() {
            rank @ (0 | 1) => comm.broadcast(&mut [1.0], rank),
            // It agrees with one of them.
            _ => comm.broadcast(&mut [1.0], 0),
        };
        let told = after_all_have_left(order, two_roots).expect("a mismatch");
        let CommError::Mismatch { first, second } = &told else {
            panic!("{told}")
        };
        assert_eq!((first.number, second.number), (2, 2), "{told}");
        let roots = [first, second].map(|call| call.arguments.clone());
        assert!(roots.contains(&"f64[1], root 0".to_owned()), "{told}");
        assert!(roots.contains(&"f64[1], root 1".to_owned()), "{told}");
    }
}

#[test]
fn a_last_broadcast_that_one_rank_leaves_out_is_found_when_it_leaves() {
    for order in ORDERS {
        let told = after_all_have_left(order, |comm| match comm.rank() {
            2 => Ok(()),
            _ => comm.broadcast(&mut [1.0], 0),
        });
        let left = CommError::RankFailed {
            rank: 2,
            pid: std::process::id(),
            cause: FailureCause::Exited(None),
            operation: Some(Operation::Broadcast),
        };
        assert_eq!(told, Some(left), "{order:?}");
    }
}

/// Of ranks that leave at the same moment at least one sees another.
#[test]
fn ranks_that_leave_together_are_compared() {
    for _ in 0..50 {
        let name = job_name();
        let observer = Observer::found(&name, 3).unwrap();
        let leaves = Barrier::new(3);
        launched(&name, 3, |comm| {
            comm.broadcast(&mut [1.0], comm.rank().min(1)).unwrap();
            leaves.wait();
        });
        let told = observer.first_failure();
        assert!(matches!(told, Some(CommError::Mismatch { .. })), "{told:?}");
    }
}

/// After a failure ranks stop at different calls, which is no disagreement.
#[test]
fn a_split_communicator_that_has_failed_does_not_fail_its_job_in_the_end() {
    let name = job_name();
    let observer = Observer::found(&name, 2).unwrap();
    launched(&name, 2, |comm| {
        let split = comm.split_local().unwrap();
        if comm.rank() == 1 {
            drop(split);
            comm.barrier().unwrap();
            return;
        }
        let left = split.barrier().unwrap_err();
        assert!(
            matches!(left, CommError::RankFailed { rank: 1, .. }),
            "{left}"
        );
        comm.barrier().unwrap();
        drop(comm);
        drop(split);
    });
    assert_eq!(observer.first_failure(), None);
}

/// Whatever a program drops first.
#[test]
fn a_disagreement_in_the_last_call_of_a_split_communicator_fails_the_job() {
    for split_first in [[true, true], [false, false], [true, false], [false, true]] {
        let last = |told: fn(usize) -> usize| {
            let name = job_name();
            let observer = Observer::found(&name, 2).unwrap();
            launched(&name, 2, |comm| {
                let rank = comm.rank();
                let split = comm.split_local().unwrap();
                split.broadcast(&mut [1.0], told(rank)).unwrap();
                if split_first[rank] {
                    drop(split);
                    drop(comm);
                } else {
                    drop(comm);
                    drop(split);
                }
            });
            observer.first_failure()
        };
        let operation = Some(Operation::Broadcast);
        let expected = CommError::MismatchInSplit {
            first: 0,
            second: 1,
            operation,
        };
        assert_eq!(last(|rank| rank), Some(expected), "{split_first:?}");
        assert_eq!(last(|_| 0), None, "{split_first:?}");
    }
}
