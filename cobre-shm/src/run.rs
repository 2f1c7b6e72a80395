//! Ranks as threads of one process, for tests.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use crate::{Config, ShmComm, random_job_name};

/// Runs `body` as each rank of a job of `ranks`, every rank on a thread of this process, and returns
/// the results in rank order: for tests of a program that is written for ranks.
///
/// The job is a real one, over shared memory. No variable that describes a job has a say in it, so
/// tests may run at the same time.
///
/// # Panics
/// If the job cannot be formed, or if a rank panics: with the panic of the first that did. The others
/// do not hang, because their collectives fail.
///
/// ```
/// use cobre_shm::{Communicator, ReduceOp};
///
/// let sums = cobre_shm::run(3, |comm| {
///     let mut sum = [0];
///     comm.allreduce(&[comm.rank()], &mut sum, ReduceOp::Sum).expect("all take part");
///     sum[0]
/// });
/// assert_eq!(sums, [3, 3, 3]);
/// ```
pub fn run<R: Send>(ranks: usize, body: impl Fn(&ShmComm) -> R + Sync) -> Vec<R> {
    let name = random_job_name();
    let first = AtomicUsize::new(ranks);
    let rank = |rank| {
        let comm = ShmComm::form(&Config::new(name.as_str(), rank, ranks));
        let comm = comm.unwrap_or_else(|error| panic!("rank {rank}: {error}"));
        catch_unwind(AssertUnwindSafe(|| body(&comm))).unwrap_or_else(|panic| {
            // Before the others can learn of it, which they do when the communicator is dropped.
            // Relaxed: the threads are joined before this is read.
            let _ = first.compare_exchange(ranks, rank, Ordering::Relaxed, Ordering::Relaxed);
            resume_unwind(panic)
        })
    };
    let caller = thread::current();
    let caller = caller.name().unwrap_or("run");
    let mut ended: Vec<thread::Result<R>> = thread::scope(|scope| {
        let start = |number| {
            let named = thread::Builder::new().name(format!("{caller}, rank {number}"));
            let rank = &rank;
            named
                .spawn_scoped(scope, move || rank(number))
                .expect("a thread can be started")
        };
        let threads: Vec<_> = (0..ranks).map(start).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let first = first.into_inner();
    if first < ranks {
        ended.swap(0, first);
    }
    let unwrap = |ended: thread::Result<R>| ended.unwrap_or_else(|panic| resume_unwind(panic));
    ended.into_iter().map(unwrap).collect()
}

#[cfg(test)]
mod tests {
    use super::run;
    use cobre_comm_trait::Communicator;
    use std::panic::catch_unwind;

    #[test]
    fn results_are_in_rank_order() {
        let told = run(3, |comm| (comm.rank(), comm.size()));
        assert_eq!(told, [(0, 3), (1, 3), (2, 3)]);
        assert_eq!(run(1, Communicator::rank), [0]);
    }

    #[test]
    fn the_first_panic_is_passed_on_and_nobody_hangs() {
        for culprit in 0..3 {
            let outcome = catch_unwind(|| {
                run(3, |comm| {
                    comm.barrier().unwrap();
                    assert_ne!(comm.rank(), culprit, "on purpose");
                    comm.barrier().unwrap();
                })
            });
            let panic = outcome.unwrap_err();
            let message = panic.downcast_ref::<String>().unwrap();
            assert!(message.contains("on purpose"), "{message}");
        }
    }

    #[test]
    fn a_job_that_cannot_form_is_a_panic_that_says_why() {
        let outcome = catch_unwind(|| run(crate::MAX_RANKS + 1, |_| ()));
        let panic = outcome.unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("from 1 to 1024"), "{message}");
    }
}
