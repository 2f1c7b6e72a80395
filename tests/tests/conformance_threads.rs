//! The conformance suite on `cobre-shm`, each rank a thread.

use cobre_comm_trait::Communicator;
use cobre_comm_trait::conformance::{Case, agree};
use cobre_shm::ShmComm;
use cobre_tests::{run_threads, shm_cases};

fn passes(ranks: usize) {
    let (last, lasting): (Vec<_>, Vec<_>) = shm_cases()
        .into_iter()
        .filter(|case| case.runs_on(ranks))
        .partition(|case| case.ends_job);
    run_threads(ranks, |comm, watchdog| {
        for case in &lasting {
            watchdog.step(comm.rank(), case.name);
            case.run(&comm);
        }
    });
    // Each in a job of its own; all of them, so that one failure does not hide the others.
    let failed: Vec<&str> = last
        .iter()
        .filter(|case| std::panic::catch_unwind(|| ends(case, ranks)).is_err())
        .map(|case| case.name)
        .collect();
    assert!(failed.is_empty(), "failed with {ranks} ranks: {failed:?}");
}

fn ends(case: &Case<ShmComm>, ranks: usize) {
    let reports = run_threads(ranks, |comm, watchdog| {
        watchdog.step(comm.rank(), case.name);
        case.run(&comm)
    });
    agree(&reports).unwrap_or_else(|why| panic!("{}: {why}", case.name));
}

#[test]
fn one_rank() {
    passes(1);
}

#[test]
fn two_ranks() {
    passes(2);
}

#[test]
fn three_ranks() {
    passes(3);
}

#[test]
fn four_ranks() {
    passes(4);
}

#[test]
fn seven_ranks() {
    passes(7);
}

#[test]
fn eight_ranks() {
    passes(8);
}

#[test]
fn ten_ranks() {
    passes(10);
}
