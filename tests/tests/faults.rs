//! Ranks that fail at named points, and kills at random moments: a sample of what the program
//! `faults` runs on demand.

use std::path::PathBuf;

use cobre_tests::fault::{Fault, Programs, Table, Tally, matrix};

fn programs() -> Programs {
    Programs {
        launcher: PathBuf::from(env!("CARGO_BIN_EXE_launch")),
        rank: PathBuf::from(env!("CARGO_BIN_EXE_workload-rank")),
    }
}

fn run(sizes: &[usize], every: usize) {
    let cases = matrix(sizes, &[false, true], &Fault::ALL, 1);
    let cases: Vec<_> = cases.into_iter().step_by(every).collect();
    let table = Table::run(&programs(), &cases, 4);
    let failures = table.failures();
    assert!(
        failures.is_empty(),
        "of {} cases: {failures:#?}",
        cases.len()
    );
}

/// A number without a factor in common with the faults, so that every fault gets its turn.
#[test]
fn faults_at_named_points_have_the_outcome_that_they_must() {
    run(&[2, 3, 4], 43);
}

#[test]
#[ignore = "ten minutes: every fault at every point"]
fn every_fault_at_every_named_point_has_the_outcome_that_it_must() {
    run(&[2, 3, 4, 8], 1);
}

#[test]
fn kills_at_random_moments_hang_nobody_and_leave_nothing() {
    let tally = Tally::of(&programs(), 1..61, 4);
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
}
