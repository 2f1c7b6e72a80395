//! Jobs of real ranks that fail in each way: who is named, what the others are told, the exit code.
//!
//! The ranks are this program again: its test `rank` does nothing unless it is told a role.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use cobre_comm_trait::{CommError, Communicator, ReduceOp};
use cobre_shm::ShmComm;
use common::{Folder, Outcome, Running, join, launcher, rank_of, start, wait_until_gone};
use nix::sys::signal::{Signal, raise};

const ROLES: &[(&str, fn())] = &[
    ("rank_that_sums", rank_that_sums),
    ("rank_1_is_killed", rank_1_is_killed),
    ("rank_2_aborts", rank_2_aborts),
    ("rank_0_panics", rank_0_panics),
    ("rank_1_leaves_too_early", rank_1_leaves_too_early),
    ("rank_1_never_joins", rank_1_never_joins),
    ("rank_0_stays_longer", rank_0_stays_longer),
    ("rank_1_fails_at_the_end", rank_1_fails_at_the_end),
    ("rank_1_has_other_counts", rank_1_has_other_counts),
    ("rank_1_panics_first", rank_1_panics_first),
    ("rank_0_does_not_look", rank_0_does_not_look),
    ("ranks_that_disagree", ranks_that_disagree),
    ("two_roots_at_the_end", two_roots_at_the_end),
    ("rank_1_leaves_out_the_end", rank_1_leaves_out_the_end),
    ("rank_1_fills_the_memory", rank_1_fills_the_memory),
    ("rank_1_panics_and_all_unwrap", rank_1_panics_and_all_unwrap),
    ("rank_1_does_not_come_in_time", rank_1_does_not_come_in_time),
];

#[test]
fn rank() {
    common::play(ROLES);
}

/// However slow the machine: who cleans up is not killed.
const ENOUGH: &[&str] = &["--kill-grace", "10m"];

fn job(ranks: &str, role: &str, options: &[&str]) -> Running {
    start(launcher(&rank_of(role, ranks, options)))
}

fn outcome(ranks: &str, role: &str) -> Outcome {
    job(ranks, role, ENOUGH).finish()
}

/// The launcher's own words: the first line of them.
fn verdict(outcome: &Outcome) -> String {
    let text = outcome.stderr_without_pids();
    let line = text.lines().find(|line| line.starts_with("cobre-launch: "));
    line.unwrap_or_default().to_owned()
}

/// What a solver does with an error: says it, cleans up, exits with its own code.
fn give_up(comm: &ShmComm, error: &CommError) -> ! {
    println!("\nrank {} was told: {error}", comm.rank());
    std::process::exit(4)
}

fn wait_for_all(comm: &ShmComm) {
    let mut sum = [0];
    if let Err(error) = comm.allreduce(&[1], &mut sum, ReduceOp::Sum) {
        give_up(comm, &error);
    }
}

fn rank_1_fills_the_memory() {
    let comm = join();
    if comm.rank() == 1 {
        // More than the limit, and not more than any machine has.
        let hoard = vec![1_u8; 300 << 20];
        std::hint::black_box(&hoard);
    }
    wait_for_all(&comm);
}

#[test]
fn an_out_of_memory_kill_is_recognised() {
    // Either version of cgroups; both need somebody who may make one.
    let kinds = [
        ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
        (
            "/sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
        ),
    ];
    let limited = kinds.iter().find_map(|(root, limit, swap)| {
        let folder = std::path::Path::new(root).join(format!("cobre-test-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        // Elsewhere it is a folder like any other.
        let is_cgroup = folder.join("cgroup.procs").exists();
        if is_cgroup && std::fs::write(folder.join(limit), "60000000").is_ok() {
            let _ = std::fs::write(folder.join(swap), "60000000");
            return Some(folder);
        }
        let _ = std::fs::remove_dir(&folder);
        None
    });
    let Some(folder) = limited else {
        println!("SKIPPED: no memory cgroup can be made here");
        return;
    };
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "echo $$ >$0 && exec \"$@\""])
        .arg(folder.join("cgroup.procs"))
        .arg(env!("CARGO_BIN_EXE_cobre-launch"))
        .args(rank_of("rank_1_fills_the_memory", "2", &[]));
    let outcome = start(command).finish();
    while std::fs::remove_dir(&folder).is_err() {
        std::thread::yield_now();
    }
    assert_eq!(outcome.code, 137, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("was killed by SIGKILL (signal 9)")
            && outcome
                .stderr
                .contains("\n  out of memory: the kernel killed it"),
        "{}",
        outcome.stderr
    );
}

fn rank_that_sums() {
    let comm = join();
    let mut sum = [0];
    comm.allreduce(&[comm.rank()], &mut sum, ReduceOp::Sum)
        .unwrap();
    println!("\nsum {}", sum[0]);
}

#[test]
fn a_job_that_goes_well_says_nothing() {
    let outcome = outcome("4", "rank_that_sums");
    let sums = outcome.stdout.lines().filter(|line| *line == "sum 6");
    assert_eq!(sums.count(), 4, "{}", outcome.stdout);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

fn rank_1_is_killed() {
    let comm = join();
    if comm.rank() == 1 {
        raise(Signal::SIGKILL).unwrap();
    }
    wait_for_all(&comm);
}

#[test]
fn a_killed_rank_is_the_cause_and_the_others_are_told_so() {
    let outcome = outcome("3", "rank_1_is_killed");
    assert_eq!(outcome.code, 137);
    let verdict = verdict(&outcome);
    let expected = "cobre-launch: rank 1 (pid PID) was killed by SIGKILL (signal 9)";
    assert!(verdict.starts_with(expected), "{verdict}");
    for rank in [0, 2] {
        let told = format!("rank {rank} was told: rank 1 (pid ");
        assert!(outcome.stdout.contains(&told), "{}", outcome.stdout);
    }
}

fn rank_2_aborts() {
    let comm = join();
    if comm.rank() == 2 {
        comm.abort(17);
    }
    wait_for_all(&comm);
}

#[test]
fn an_abort_gives_its_code() {
    let outcome = outcome("3", "rank_2_aborts");
    assert_eq!(outcome.code, 17);
    assert_eq!(
        verdict(&outcome),
        "cobre-launch: rank 2 (pid PID) aborted the job with code 17"
    );
    for rank in [0, 1] {
        let told = format!("rank {rank} was told: rank 2 aborted the job with code 17");
        assert!(outcome.stdout.contains(&told), "{}", outcome.stdout);
    }
}

fn rank_0_panics() {
    let comm = join();
    assert!(comm.rank() != 0, "what a pity");
    wait_for_all(&comm);
}

#[test]
fn a_panic_is_the_cause() {
    let outcome = outcome("3", "rank_0_panics");
    assert_eq!(outcome.code, 101);
    let verdict = verdict(&outcome);
    let expected = "cobre-launch: rank 0 (pid PID) panicked (code 101)";
    assert!(verdict.starts_with(expected), "{verdict}");
    assert!(
        outcome.stderr.contains("    | what a pity\n"),
        "{}",
        outcome.stderr
    );
}

fn rank_1_panics_and_all_unwrap() {
    let comm = join();
    assert!(comm.rank() != 1, "what a pity");
    comm.barrier().unwrap();
}

/// The code is the same for all, but not the reason.
#[test]
fn a_panic_after_which_everybody_panics_is_the_cause() {
    let outcome = outcome("3", "rank_1_panics_and_all_unwrap");
    assert_eq!(outcome.code, 101);
    assert_eq!(
        verdict(&outcome),
        "cobre-launch: rank 1 (pid PID) panicked (code 101)"
    );
}

fn rank_1_leaves_too_early() {
    let comm = join();
    if comm.rank() == 1 {
        std::process::exit(0);
    }
    wait_for_all(&comm);
}

#[test]
fn an_exit_that_others_wait_for_is_a_failure_whatever_its_code() {
    let outcome = outcome("3", "rank_1_leaves_too_early");
    assert_eq!(outcome.code, 1);
    let verdict = verdict(&outcome);
    let expected = "cobre-launch: rank 1 (pid PID) exited with code 0 while others waited for it, noticed in \
         allreduce";
    assert_eq!(verdict, expected);
}

fn rank_1_never_joins() {
    if std::env::var("COBRE_SHM_RANK").unwrap() == "1" {
        std::process::exit(0);
    }
    if let Err(error) = cobre_shm::init() {
        println!("\ntold: {error}");
        std::process::exit(4);
    }
}

#[test]
fn a_rank_that_never_joins_fails_those_that_wait_for_it() {
    let outcome = outcome("3", "rank_1_never_joins");
    assert_eq!(outcome.code, 1);
    let verdict = verdict(&outcome);
    let expected = "cobre-launch: rank 1 (pid PID) exited with code 0 without joining while others waited for it";
    assert!(verdict.starts_with(expected), "{verdict}");
    // One that has not joined either may be ended before it is told.
    assert!(
        outcome.stdout.contains(
            "
told: "
        ),
        "{}",
        outcome.stdout
    );
}

fn rank_1_does_not_come_in_time() {
    if std::env::var("COBRE_SHM_RANK").unwrap() == "1" {
        loop {
            std::thread::park();
        }
    }
    if let Err(error) = cobre_shm::init() {
        println!("\ntold: {error}");
        std::process::exit(4);
    }
}

#[test]
fn a_rank_that_does_not_come_in_time_is_not_called_dead() {
    let options = ["--env", "COBRE_SHM_ATTACH_TIMEOUT=0.1"];
    let outcome = job("2", "rank_1_does_not_come_in_time", &options).finish();
    assert_eq!(outcome.code, 4, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("told: rank 1 of job "));
    let expected = "cobre-launch: the job could not form: rank 1 did not join in time";
    assert!(
        verdict(&outcome).starts_with(expected),
        "{}",
        outcome.stderr
    );
}

fn rank_0_stays_longer() {
    let comm = join();
    if comm.rank() != 0 {
        println!("\nleaving {}", std::process::id());
        std::process::exit(5);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("\nrank 0 has written its output");
}

#[test]
fn ranks_that_leave_cleanly_do_not_end_the_others() {
    let mut job = job("3", "rank_0_stays_longer", ENOUGH);
    let text = job.read_until("leaving ", 2);
    for line in text.lines().filter(|line| line.starts_with("leaving ")) {
        if let Some(pid) = line.strip_prefix("leaving ").filter(|pid| !pid.is_empty()) {
            wait_until_gone(pid);
        }
    }
    let outcome = job.finish();
    assert!(
        outcome.stdout.contains("rank 0 has written its output"),
        "{}",
        outcome.stdout
    );
    let said = "cobre-launch: ranks 1-2 exited with code 5\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (5, said));
}

fn rank_1_fails_at_the_end() {
    let comm = join();
    let rank = comm.rank();
    drop(comm);
    std::process::exit(if rank == 1 { 3 } else { 0 });
}

#[test]
fn every_end_that_is_no_success_says_who_and_how() {
    let folder = Folder::new();
    let file = folder.file("report.json");
    let outcome = job("3", "rank_1_fails_at_the_end", &["--report", &file]).finish();
    assert_eq!(outcome.code, 3);
    let said = "rank 1 (pid PID) exited with code 3";
    assert_eq!(
        outcome.stderr_without_pids(),
        format!("cobre-launch: {said}\n")
    );
    let report = std::fs::read_to_string(&file).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let summary = report["summary"].as_str().unwrap();
    assert_eq!(outcome.stderr, format!("cobre-launch: {summary}\n"));
}

/// Rank 1 gathers into another array than the others.
fn rank_1_has_other_counts() {
    let comm = join();
    let (rank, size) = (comm.rank(), comm.size());
    let more = usize::from(rank == 1);
    let counts: Vec<usize> = (0..size).map(|rank| rank + 1 + more).collect();
    let displs: Vec<usize> = (0..size).map(|rank| counts[..rank].iter().sum()).collect();
    let mut all = vec![0.0; counts.iter().sum()];
    let _ = comm.allgatherv(&vec![1.0; counts[rank]], &mut all, &counts, &displs);
    std::process::exit(4);
}

#[test]
fn ranks_whose_calls_differ_are_told_apart() {
    let text = outcome("3", "rank_1_has_other_counts").stderr;
    let (_, scene) = text
        .split_once("the ranks were, when the failure was noticed:")
        .unwrap();
    let of_rank_1 = "    rank 1 in operation 2: allgatherv(f64[3] of 9 in all, counts #";
    assert!(scene.contains(of_rank_1), "{text}");
}

/// Rank 1 panics while no other has called anything yet, and those make their next call when they
/// already can be told.
fn rank_1_panics_first() {
    let comm = cobre_shm::init().unwrap();
    assert!(comm.rank() != 1, "what a pity");
    // Until the job has failed.
    while comm.barrier().is_ok() {}
    drop(comm);
}

#[test]
fn ranks_that_were_told_and_left_are_shown_as_they_were() {
    let text = outcome("3", "rank_1_panics_first").stderr;
    let (_, scene) = text
        .split_once("the others were, when the failure was noticed:")
        .unwrap();
    assert!(!scene.contains("gone"), "{text}");
}

fn rank_0_does_not_look() {
    let comm = join();
    if comm.rank() == 1 {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn who_does_not_look_is_killed_after_the_grace() {
    let outcome = job("2", "rank_0_does_not_look", &["--kill-grace", "100ms"]).finish();
    assert_eq!(outcome.code, 134);
    assert!(
        outcome.stderr.contains("  rank 0 had to be ended\n"),
        "{}",
        outcome.stderr
    );
}

fn ranks_that_disagree() {
    let comm = join();
    let result = match comm.rank() {
        0 => comm.barrier(),
        _ => comm.broadcast(&mut [0_u8; 3], 0),
    };
    std::process::exit(if result.is_err() { 3 } else { 0 })
}

#[test]
fn nobody_is_blamed_for_a_disagreement() {
    let outcome = outcome("2", "ranks_that_disagree");
    assert_eq!(outcome.code, 3);
    let verdict = verdict(&outcome);
    assert!(
        verdict.starts_with("cobre-launch: ranks disagree about a collective"),
        "{verdict}"
    );
}

fn two_roots_at_the_end() {
    let comm = join();
    comm.barrier().unwrap();
    comm.broadcast(&mut [1.0], comm.rank()).unwrap();
}

#[test]
fn a_disagreement_about_the_last_call_fails_the_job() {
    let outcome = outcome("2", "two_roots_at_the_end");
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let verdict = verdict(&outcome);
    for part in [
        "cobre-launch: ranks disagree about a collective: rank 0 called broadcast(f64[1], root 0)",
        " as operation 3 at ",
        "called broadcast(f64[1], root 1)",
    ] {
        assert!(verdict.contains(part), "no {part:?} in {verdict}");
    }
}

fn rank_1_leaves_out_the_end() {
    let comm = join();
    comm.barrier().unwrap();
    if comm.rank() != 1 {
        comm.broadcast(&mut [1.0], 0).unwrap();
    }
}

#[test]
fn a_last_call_that_a_rank_leaves_out_fails_the_job() {
    let outcome = outcome("3", "rank_1_leaves_out_the_end");
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let verdict = verdict(&outcome);
    assert!(
        verdict.contains("rank 1 (pid PID) exited with code 0"),
        "{verdict}"
    );
    assert!(verdict.contains("broadcast"), "{verdict}");
}
