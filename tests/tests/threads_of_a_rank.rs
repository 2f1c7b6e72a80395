//! Several threads of one rank, and what ranks as threads of one process see of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;

use cobre_comm_trait::{CommError, Communicator, Operation};
use cobre_tests::run_threads;

/// Two threads of rank 0 call; while rank 1 does not, one is inside and the other must be told.
#[test]
fn a_second_thread_is_told_that_the_communicator_is_busy() {
    let told = AtomicBool::new(false);
    run_threads(2, |comm, watchdog| {
        if comm.rank() == 1 {
            while !told.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            comm.barrier().expect("the other thread's call goes on");
        } else {
            let (to, outcomes) = channel();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    let (comm, to) = (&comm, to.clone());
                    scope.spawn(move || to.send(comm.barrier()));
                }
                watchdog.step(0, "waits for the thread that is refused");
                let refused = outcomes.recv().expect("two threads report");
                let busy = CommError::Busy {
                    operation: Operation::Barrier,
                };
                assert_eq!(refused, Err(busy));
                told.store(true, Ordering::Release);
                let inside = outcomes.recv().expect("two threads report");
                assert_eq!(inside, Ok(()));
            });
        }
        // Not final.
        comm.barrier().expect("both ranks go on");
    });
}

/// What was written before a barrier is read after it, without any ordering of its own.
#[test]
fn a_barrier_publishes_what_was_written_before() {
    const RANKS: usize = 4;
    let cells: [AtomicU64; RANKS] = Default::default();
    run_threads(RANKS, |comm, watchdog| {
        for round in 1..=2000 {
            // Seldom: its lock orders what the barrier alone should.
            if round % 100 == 0 {
                watchdog.step(comm.rank(), &format!("round {round}"));
            }
            cells[comm.rank()].store(round, Ordering::Relaxed);
            comm.barrier().expect("all ranks are there");
            for (rank, cell) in cells.iter().enumerate() {
                let seen = cell.load(Ordering::Relaxed);
                assert_eq!(seen, round, "of rank {rank} after barrier {round}");
            }
            // Nobody writes the next one before everybody has read this one.
            comm.barrier().expect("all ranks are there");
        }
    });
}

#[test]
fn a_communicator_may_move_to_another_thread() {
    run_threads(3, |comm, _| {
        comm.barrier().expect("all ranks are there");
        let comm = std::thread::spawn(move || comm.barrier().map(|()| comm));
        let comm = comm.join().expect("no panic").expect("all ranks are there");
        comm.barrier().expect("all ranks are there");
    });
}

#[test]
fn a_rank_that_panics_is_named_to_the_others() {
    std::panic::set_hook(Box::new(|_| {}));
    let name = cobre_tests::job_name();
    let outcomes = cobre_tests::try_ranks(3, |rank, _| {
        let comm = cobre_shm::ShmComm::form(&cobre_tests::config(&name, rank, 3));
        let comm = comm.expect("the job can be formed");
        assert!(rank != 1, "on purpose");
        comm.barrier()
    });
    let _ = std::panic::take_hook();
    for rank in [0, 2] {
        let told = format!("{:?}", outcomes[rank]);
        assert!(told.contains("rank 1 (pid "), "{told}");
        assert!(told.contains(" panicked"), "{told}");
    }
    assert!(outcomes[1].is_err());
}
