//! What collectives must not cost: no allocation, and no system call while peers are there in time.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use cobre_tests::{End, Job, Process};

/// Two ranks of the program that a system call kills; `None` if they have no core each.
fn job(wait: &str) -> Option<Job> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        eprintln!("SKIPPED: two ranks that wait without system calls need two cores, here is one");
        return None;
    }
    let job = Job::of(env!("CARGO_BIN_EXE_frugal-rank"), 2, &[""; 0])
        .env("COBRE_SHM_WAIT", wait)
        .env("COBRE_SHM_STATUS_INTERVAL", "off");
    Some(job)
}

/// How often a rank may be killed because its peer did not run for as long as it spins, on a busy machine.
/// One that makes system calls by itself is killed each time.
const TRIES: usize = 20;

#[test]
fn ten_thousand_collectives_of_each_kind_make_no_system_call_and_allocate_nothing() {
    let Some(job) = job("spin") else {
        return;
    };
    let is_done = |rank: &mut Process| match rank.end() {
        End::Code(0) => {
            assert_eq!(rank.hear("allocations"), "0");
            true
        }
        End::Signal(9) => false,
        other => panic!("{other:?}: {}", rank.heard()),
    };
    let both_are_done = || {
        // One that is killed keeps the other waiting, and so ends it too.
        let done: Vec<bool> = job.start().iter_mut().map(is_done).collect();
        done == [true, true]
    };
    let done = (0..TRIES).any(|_| both_are_done());
    assert!(done, "each of {TRIES} times a system call was made");
}

/// The test above can fail: ranks that sleep at once do make system calls.
#[test]
fn a_system_call_is_noticed() {
    let Some(job) = job("sleep") else {
        return;
    };
    let ends: Vec<End> = job.start().iter_mut().map(Process::end).collect();
    assert!(ends.contains(&End::Signal(9)), "{ends:?}");
}
