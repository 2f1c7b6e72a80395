//! What one process may do wrong, as its user meets it: forks that go on, objects that are dropped
//! while others wait. (Two threads at once, calls after a failure and two roots:
//! `misuse_threads.rs`. `init` twice: `forming.rs`.)

use cobre_tests::{End, Job, Process};

const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// Runs a job without a launcher; how each rank ended, and what all wrote.
fn run(scripts: &[&[&str]]) -> (Vec<End>, String) {
    let script = |steps: &&[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
    let job = Job::ranks(RANK, scripts.iter().map(script).collect());
    let mut ranks = job.start();
    let ends = ranks.iter_mut().map(Process::end).collect();
    (ends, ranks.iter().map(|rank| rank.heard()).collect())
}

/// A child is told so by every call, and neither its destructors nor its exit take its parent out of the
/// job.
#[test]
fn a_forked_child_is_told_so_and_its_parent_goes_on() {
    let others: &[&str] = &[
        "join",
        "inner:1",
        "region:100",
        "barrier",
        "publish",
        "inner-barrier",
    ];
    let forks: &[&str] = &[
        "join",
        "inner:1",
        "region:100",
        "forked:barrier",
        "forked:publish",
        "forked:inner-barrier",
        "forked:say:child",
        "barrier",
        "publish",
        "inner-barrier",
    ];
    let (ends, heard) = run(&[others, forks, others]);
    assert_eq!(ends, [End::Code(0); 3], "{heard}");
    for what in ["ok barrier", "ok publish", "ok inner-barrier"] {
        assert_eq!(heard.matches(what).count(), 3, "{heard}");
    }
    assert_eq!(heard.matches("fork").count(), 3, "{heard}");
    assert_eq!(heard.matches(", 0)").count(), 4, "{heard}");
}

/// `abort` in a child ends the child.
#[test]
fn a_forked_child_does_not_abort_the_job() {
    let (ends, heard) = run(&[&["join", "forked:abort:9", "barrier"], &["join", "barrier"]]);
    assert_eq!(ends, [End::Code(0); 2], "{heard}");
    assert!(heard.contains(", 9)"), "{heard}");
}

/// A child that goes on after its parent has died does not keep it alive for the others.
#[test]
fn a_rank_whose_child_survives_it_is_dead() {
    let (ends, heard) = run(&[
        &["join", "barrier", "stop-on-error", "barrier"],
        &["join", "barrier", "orphan", "kill:SIGKILL"],
    ]);
    assert_eq!(ends, [End::Code(3), End::Signal(9)], "{heard}");
    assert!(heard.contains("error rank 1 (pid "), "{heard}");
}

/// Whoever waits at the fence of a window that a rank has dropped with all it had.
#[test]
fn who_drops_everything_in_the_middle_of_an_epoch_is_missed() {
    let (ends, heard) = run(&[
        &["join", "region:100", "stop-on-error", "publish"],
        &["join", "region:100", "leave", "hear"],
    ]);
    assert_eq!(ends[0], End::Code(3), "{heard}");
    assert!(heard.contains("error rank 1 (pid "), "{heard}");
    assert!(heard.contains("left the job, noticed in fence"), "{heard}");
}
