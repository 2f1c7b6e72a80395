//! One process misuses its communicator: an error or correct behaviour, never undefined.
#![allow(missing_docs, clippy::unwrap_used)]

use core::time::Duration;
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Barrier,
    thread,
};

use cobre_comm_trait::{
    Activity, CommError, Communicator, FailureCause, Operation, PoolProvider, ReduceOp,
    RegionReader, SharedMemoryProvider, SharedPool, SharedRegion,
};
use cobre_shm::{Chunking, ShmComm, board, observer::Observer};
use cobre_tests::{config, job_name, run_ranks, run_threads};

fn pair(body: impl Fn(ShmComm) + Sync) {
    run_threads(2, |comm, _| body(comm));
}

#[test]
fn of_two_threads_in_one_communicator_one_is_told() {
    let told = Barrier::new(2);
    pair(|comm| {
        if comm.rank() == 1 {
            // Not before one of rank 0's threads has been refused.
            told.wait();
            comm.barrier().unwrap();
            return;
        }
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| match comm.barrier() {
                    Ok(()) => {}
                    Err(error) => {
                        let operation = Operation::Barrier;
                        assert_eq!(error, CommError::Busy { operation });
                        told.wait();
                    }
                });
            }
        });
    });
}

#[test]
fn a_region_dropped_in_the_middle_of_an_epoch_is_a_mismatch_for_who_goes_on() {
    pair(|comm| {
        let region = comm.create_shared_region::<f64>(100).unwrap();
        let result = if comm.rank() == 0 {
            drop(region);
            comm.barrier()
        } else {
            region.fence().map(drop)
        };
        assert!(
            matches!(result, Err(CommError::Mismatch { .. })),
            "{result:?}"
        );
    });
}

#[test]
fn a_second_communicator_of_one_process_is_another_job() {
    pair(|comm| {
        let other = comm.split_local().unwrap();
        drop(comm);
        assert_eq!(other.size(), 2);
        other.barrier().unwrap();
    });
}

/// A job of one has failed when its only rank has panicked while it led.
#[test]
fn a_failed_job_of_one_has_no_second_communicator() {
    run_threads(1, |comm, _| populates_and_panics(&comm));
}

fn populates_and_panics(comm: &ShmComm) {
    let region = comm.create_shared_region::<u8>(10).unwrap();
    let populate = AssertUnwindSafe(|| {
        let result = region.populate_by_leader(|_| resume_unwind(Box::new("on purpose")));
        drop(result);
    });
    assert!(catch_unwind(populate).is_err());
    let failed = comm.barrier().unwrap_err();
    assert_eq!(comm.split_local().map(drop), Err(failed));
}

#[test]
fn after_a_failure_every_call_says_the_same() {
    pair(|comm| {
        let first = if comm.rank() == 0 {
            comm.barrier()
        } else {
            comm.broadcast(&mut [0_u8; 3], 0)
        };
        let first = first.unwrap_err();
        assert!(matches!(first, CommError::Mismatch { .. }), "{first}");
        for _ in 0..2 {
            assert_eq!(comm.barrier(), Err(first.clone()));
            assert_eq!(comm.broadcast(&mut [0_u8], 1), Err(first.clone()));
        }
    });
}

/// Two ranks that both believe to be the root wait for nobody, and yet find out at the next call.
#[test]
fn two_roots_find_out_before_anything_is_overwritten() {
    pair(|comm| {
        let (rank, mut mine) = (comm.rank(), [comm.rank() as u64; 300]);
        assert_eq!(comm.broadcast(&mut mine, rank), Ok(()));
        let told = comm.broadcast(&mut mine, rank).unwrap_err();
        assert!(matches!(told, CommError::Mismatch { .. }), "{told}");
        assert_eq!(mine, [rank as u64; 300]);
    });
}

/// After any number of agreed calls of any kind.
#[test]
fn two_roots_find_out_later_too() {
    for calls in 1..30 {
        pair(|comm| {
            let mut data = [0_u8; 10];
            for call in 0..calls {
                match call % 3 {
                    0 => comm.broadcast(&mut data, call % 2).unwrap(),
                    1 => comm.barrier().unwrap(),
                    _ => comm.broadcast(&mut data, 0).unwrap(),
                }
            }
            let rank = comm.rank();
            // The one who was a reader before is told one call later.
            let told = [(); 3].map(|()| comm.broadcast(&mut data, rank));
            assert!(
                matches!(told[2], Err(CommError::Mismatch { .. })),
                "after {calls}: {told:?}"
            );
        });
    }
}

/// What runs inside an operation of several collectives, and what another thread calls meanwhile, is
/// refused; the operation goes on.
#[test]
fn an_operation_of_several_collectives_is_one_operation() {
    fn refused<R: core::fmt::Debug>(call: impl FnOnce() -> Result<R, CommError>) {
        let error = call().unwrap_err();
        assert!(matches!(error, CommError::Busy { .. }), "{error}");
    }
    pair(|comm| {
        let mut pool = comm.create_pool::<u32>(9).unwrap();
        let mut other = comm.create_pool::<u32>(9).unwrap();
        let lost = comm.create_shared_region::<f64>(9).unwrap();
        let call_all = |comm: &ShmComm| {
            refused(|| comm.barrier());
            refused(|| comm.allreduce(&[1.0], &mut [0.0], ReduceOp::Sum));
            refused(|| comm.create_pool::<u8>(1).map(drop));
            refused(|| comm.split_local().map(drop));
            refused(|| comm.dynamic::<u64>(0..9, Chunking::Guided).map(drop));
        };
        let appended = pool.append(2, |mine| {
            mine.fill(comm.rank() as u32);
            call_all(&comm);
            refused(|| other.append(1, |_| panic!("must not be called")));
            // It would wait for itself.
            refused(|| lost.fence().map(drop));
            thread::scope(|scope| scope.spawn(|| call_all(&comm)).join()).unwrap();
        });
        let start = 2 * comm.rank();
        assert_eq!(appended, Ok(start..start + 2));
        assert_eq!(*pool, [0, 0, 1, 1]);
        let region = comm.create_shared_region::<f64>(9).unwrap();
        let reader = region.populate_by_leader(|all| {
            all.fill(2.5);
            call_all(&comm);
        });
        let reader = reader.unwrap().update_by_leader(|all| {
            all.fill(3.5);
            call_all(&comm);
        });
        assert_eq!(*reader.unwrap(), [3.5; 9]);
        comm.barrier().unwrap();
    });
}

/// A fence takes its region by value: refused, the region would be lost.
#[test]
fn a_fence_waits_for_its_turn() {
    let waits = Barrier::new(2);
    pair(|comm| {
        let region = comm.create_shared_region::<f64>(9).unwrap();
        if comm.rank() == 1 {
            let waits_in_its_barrier = |member: &board::Member| match &member.activity {
                Some(Activity::Waiting { call, .. }) => {
                    call.as_ref().map(|call| call.operation) == Some(Operation::Barrier)
                }
                _ => false,
            };
            while !waits_in_its_barrier(&comm.board()[0]) {
                thread::yield_now();
            }
            waits.wait();
            // Rank 0 has begun its fence.
            waits.wait();
            comm.barrier().unwrap();
            region.fence().unwrap();
            return;
        }
        thread::scope(|scope| {
            scope.spawn(|| comm.barrier().unwrap());
            waits.wait();
            let (to, thread) = std::sync::mpsc::channel();
            let fence = scope.spawn(move || {
                to.send(nix::unistd::gettid().as_raw()).unwrap();
                assert_eq!(*region.fence().unwrap(), [0.0; 9]);
            });
            let thread: i32 = thread.recv().unwrap();
            let is_asleep = || {
                let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
                stat.is_ok_and(|stat| stat.rsplit(") ").next().unwrap().starts_with('S'))
            };
            // Its first sleep is that for its turn.
            while !fence.is_finished() && !is_asleep() {
                thread::yield_now();
            }
            waits.wait();
        });
    });
}

/// Rank 0 runs a function that waits for a thread that fences another region. `meanwhile` is done when the
/// function begins; returns what the thread is told, and what rank 0 is.
fn fenced_within(
    comm: &ShmComm,
    meanwhile: impl FnOnce(),
) -> (Result<(), CommError>, Result<(), CommError>) {
    let region = comm.create_shared_region::<f64>(9).unwrap();
    let other = comm.create_shared_region::<f64>(9).unwrap();
    let mut told = Ok(());
    let populated = region.populate_by_leader(|_| {
        meanwhile();
        told = thread::scope(|scope| scope.spawn(|| other.fence().map(drop)).join()).unwrap();
        comm.set_timeout(None);
    });
    (told, populated.map(drop))
}

#[test]
fn a_fence_that_never_gets_its_turn_gives_up_after_the_timeout() {
    pair(|comm| {
        let limited = || comm.set_timeout(Some(Duration::from_millis(20)));
        let (told, populated) = fenced_within(&comm, limited);
        assert_eq!(populated, Ok(()));
        let busy = CommError::Busy {
            operation: Operation::Fence,
        };
        assert_eq!(told, if comm.rank() == 0 { Err(busy) } else { Ok(()) });
    });
}

#[test]
fn a_fence_that_never_gets_its_turn_ends_with_the_job() {
    let name = job_name();
    let observer = Observer::found(&name, 2).unwrap();
    run_ranks(2, |rank, _| {
        let mut config = config(&name, rank, 2);
        config.launcher = Some(std::process::id());
        let comm = ShmComm::form(&config).unwrap();
        let killed = FailureCause::Signaled(9);
        let report = || observer.report_failure(1, std::process::id(), killed);
        let (told, populated) = fenced_within(&comm, report);
        let failed = |told: &Result<(), CommError>| matches!(told, Err(CommError::RankFailed { rank: 1, cause, .. }) if *cause == killed);
        assert!(failed(&populated), "{populated:?}");
        assert!(rank == 1 || failed(&told), "{told:?}");
    });
}

#[test]
fn a_rank_with_invalid_arguments_is_told_where_and_stays_told() {
    pair(|comm| {
        if comm.rank() == 0 {
            let told = comm.barrier().unwrap_err().to_string();
            assert!(
                told.starts_with("rank 1 called broadcast(f64[2], root 17) as operation 1 at ")
                    && told.ends_with(", with invalid arguments"),
                "{told}"
            );
            return;
        }
        let told = comm.broadcast(&mut [0.0; 2], 17).unwrap_err();
        let text = told.to_string();
        let (what, place) = text.split_once(" (").unwrap();
        assert_eq!(
            what,
            "broadcast: root 17 is not a rank of a communicator of 2"
        );
        assert!(place.starts_with("rank 1, operation 1 at "), "{text}");
        assert!(place.contains("misuse_threads.rs:"), "{text}");
        for _ in 0..2 {
            assert_eq!(comm.barrier(), Err(told.clone()));
        }
    });
}
