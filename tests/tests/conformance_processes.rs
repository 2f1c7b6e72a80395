//! The conformance suite on `cobre-shm`, each rank a process, started without a launcher.

use cobre_comm_trait::conformance::agree;
use cobre_tests::{End, Job, shm_cases};

/// Runs cases in one job and returns what each rank reports about the last one.
fn run(ranks: usize, cases: &str) -> Result<Vec<String>, String> {
    let job = Job::of(env!("CARGO_BIN_EXE_conformance-rank"), ranks, &[cases]);
    let mut processes = job.start();
    let mut complaints = String::new();
    let mut reports = vec![String::new(); ranks];
    for (rank, process) in processes.iter_mut().enumerate() {
        while let Some(line) = process.line() {
            if let Some(report) = line.strip_prefix("report ") {
                let report = report.split_once(' ').map(|(_, report)| report);
                reports[rank] = report.unwrap_or_default().to_owned();
            }
        }
        if process.end() != End::Code(0) {
            complaints += &format!("rank {rank}:\n{}", process.heard());
        }
    }
    if complaints.is_empty() {
        Ok(reports)
    } else {
        Err(complaints)
    }
}

fn passes(ranks: usize) {
    run(ranks, "--all").unwrap_or_else(|why| panic!("with {ranks} ranks:\n{why}"));
    let mut failed = Vec::new();
    for case in shm_cases() {
        if case.ends_job && case.runs_on(ranks) {
            let outcome = run(ranks, case.name).and_then(agree);
            failed.extend(outcome.err().map(|why| format!("{}:\n{why}", case.name)));
        }
    }
    assert!(
        failed.is_empty(),
        "with {ranks} ranks:\n{}",
        failed.join("\n")
    );
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
