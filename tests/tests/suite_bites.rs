//! The conformance suite passes what is right and notices what is wrong.

use std::sync::Mutex;

use cobre_comm_trait::conformance::{Case, agree, cases};
use cobre_tests::model::{Fault, ModelComm};
use cobre_tests::try_ranks;

/// Runs one case in a job of its own; why it failed.
fn run(case: &Case<ModelComm>, ranks: usize, fault: Fault) -> Result<(), String> {
    let job = ModelComm::job(ranks, fault).into_iter().map(Some);
    let job: Vec<_> = job.map(Mutex::new).collect();
    let outcomes = try_ranks(ranks, |rank, watchdog| {
        watchdog.step(rank, case.name);
        let comm = take(&job[rank]);
        case.run(&comm)
    });
    let reports: Result<Vec<String>, String> = outcomes.into_iter().collect();
    agree(reports?)
}

fn take<T>(slot: &Mutex<Option<T>>) -> T {
    let mut slot = slot.lock().expect("nobody panics with the slot");
    slot.take().expect("each rank begins once")
}

#[test]
fn a_right_backend_passes() {
    for ranks in [1, 2, 3, 4] {
        for case in cases::<ModelComm>() {
            if case.runs_on(ranks) {
                run(&case, ranks, Fault::Nothing).unwrap();
            }
        }
    }
}

#[test]
fn every_fault_is_noticed() {
    // Panics are what is wanted here, not news.
    std::panic::set_hook(Box::new(|_| {}));
    let mut unnoticed = Vec::new();
    for fault in Fault::ALL {
        let noticed = cases::<ModelComm>()
            .iter()
            .filter(|case| case.name.starts_with(fault.noticed_by()))
            .any(|case| run(case, 4, fault).is_err());
        if !noticed {
            unnoticed.push(fault);
        }
    }
    let _ = std::panic::take_hook();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
