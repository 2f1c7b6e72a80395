//! A rank that is stopped is waited for, unless the program or the user has set a limit.

use cobre_tests::{End, Job, Process};
use nix::sys::signal::Signal;

const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// Three ranks in a barrier, the last of which is stopped before it comes.
fn with_one_stopped(job: &Job) -> Vec<Process> {
    let mut ranks = job.start();
    ranks[2].hear("ok reduce:3");
    ranks[2].signal(Signal::SIGSTOP);
    ranks[2].until_stopped();
    for rank in &mut ranks {
        rank.say("go");
    }
    ranks
}

/// The same once the two others wait, which must not be for long if there is a limit.
fn with_two_waiting(job: &Job) -> Vec<Process> {
    let mut ranks = with_one_stopped(job);
    ranks[..2].iter_mut().for_each(Process::until_waiting);
    ranks
}

const SCRIPT: [&str; 5] = ["join", "reduce:3", "hear", "barrier", "barrier"];

#[test]
fn without_a_limit_a_stopped_rank_is_waited_for() {
    let job = Job::of(RANK, 3, &SCRIPT);
    let mut ranks = with_two_waiting(&job);
    // They have slept for longer than it takes to find that a rank is dead.
    for rank in &mut ranks[..2] {
        rank.until_napped(6);
    }
    ranks[2].signal(Signal::SIGCONT);
    for rank in &mut ranks {
        rank.hear("ok barrier");
        assert_eq!(rank.end(), End::Code(0), "{}", rank.heard());
    }
}

#[test]
fn with_a_limit_everybody_is_told_who_is_missing_and_where() {
    let job = Job::of(RANK, 3, &SCRIPT).env("COBRE_SHM_TIMEOUT", "2s");
    let mut ranks = with_one_stopped(&job);
    let told = ranks[0].hear("error ");
    let missing = format!("rank 2 (pid {})", ranks[2].pid());
    for part in [
        "barrier: rank ",
        "gave up after 2 s",
        &missing,
        "which is stopped; the last it called is allreduce(f64[3], Sum) as operation 1 at ",
        "scripted-rank.rs:",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert_eq!(ranks[1].hear("error "), told);
    ranks[2].signal(Signal::SIGCONT);
    // Who was missing learns it too; and the job stays failed.
    assert_eq!(ranks[2].hear("error "), told);
    for rank in &mut ranks {
        assert_eq!(rank.hear("error "), told);
        assert_eq!(rank.end(), End::Code(0), "{}", rank.heard());
    }
}

#[test]
fn a_limit_that_is_not_reached_changes_nothing() {
    let job = Job::of(RANK, 3, &SCRIPT).env("COBRE_SHM_TIMEOUT", "1000");
    let mut ranks = with_two_waiting(&job);
    ranks[2].signal(Signal::SIGCONT);
    for rank in &mut ranks {
        rank.hear("ok barrier");
        assert_eq!(rank.end(), End::Code(0), "{}", rank.heard());
    }
}

#[test]
fn a_dead_rank_is_dead_and_not_late() {
    let job = Job::of(RANK, 3, &SCRIPT).env("COBRE_SHM_TIMEOUT", "1000");
    let mut ranks = with_two_waiting(&job);
    ranks[2].signal(Signal::SIGKILL);
    for rank in &mut ranks[..2] {
        let told = rank.hear("error ");
        assert!(told.contains("rank 2") && told.contains("died"), "{told}");
    }
}

/// One rank's own limit, for one call.
#[test]
fn a_program_sets_limits_by_itself() {
    let script = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect();
    let job = Job::ranks(
        RANK,
        vec![
            script(&["join", "barrier", "timeout:0.2", "hear", "reduce:5"]),
            script(&["join", "barrier", "hear", "reduce:5"]),
        ],
    );
    let mut ranks = job.start();
    // Rank 1 is out of the barrier when rank 0 goes on.
    ranks[1].hear("ok barrier");
    ranks[0].say("go");
    let told = ranks[0].hear("error ");
    assert!(
        told.contains("rank 0 gave up") && told.contains("computing since barrier()"),
        "{told}"
    );
    ranks[1].say("go");
    assert_eq!(ranks[1].hear("error "), told);
}
