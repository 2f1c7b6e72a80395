//! Ranks under the launcher: whose exit code counts, and who is ended.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cobre_tests::{End, Process, apart, left_behind, made_up_names, patience};
use nix::sys::signal::Signal;

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// Starts a job whose ranks do what the scripts say.
fn launch(scripts: &[&[&str]]) -> Process {
    let mut command = Command::new(LAUNCH);
    for (rank, script) in scripts.iter().enumerate() {
        if rank > 0 {
            command.arg(":");
        }
        command.args(["-n", "1", RANK]).args(*script);
    }
    Process::start("the launcher", &mut command)
}

/// Runs a job to its end; the exit code and everything that was written.
fn run(scripts: &[&[&str]]) -> (End, String) {
    let mut launcher = launch(scripts);
    let end = launcher.end();
    (end, launcher.heard().to_owned())
}

fn until_gone(pid: &str) {
    let begin = Instant::now();
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(begin.elapsed() < patience(), "{pid} goes on");
        std::thread::yield_now();
    }
}

#[test]
fn every_rank_has_its_number() {
    let mut command = Command::new(LAUNCH);
    command.args(["-n", "8", "sh", "-c", "echo rank $COBRE_SHM_RANK"]);
    let mut launcher = Process::start("the launcher", &mut command);
    let ranks: BTreeSet<String> = std::iter::from_fn(|| launcher.line()).collect();
    let expected = (0..8).map(|rank| format!("rank {rank}")).collect();
    assert_eq!(ranks, expected);
    assert_eq!(launcher.end(), End::Code(0));
}

#[test]
fn a_job_that_goes_well_ends_with_0_and_leaves_nothing() {
    let script: &[&str] = &["join", "name", "reduce:1000", "region:100", "publish"];
    let (end, heard) = run(&[script; 4]);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("ok publish").count(), 4, "{heard}");
    let name = heard.lines().find_map(|line| line.split("name ").nth(1));
    let name = name.expect("each rank prints the name");
    assert_eq!(left_behind(name), [""; 0]);
}

#[test]
fn a_rank_that_leaves_with_a_code_does_not_end_the_others() {
    let mut launcher = launch(&[
        &["join", "barrier", "hear", "say:done"],
        &["join", "barrier", "exit:5"],
    ]);
    let pid = loop {
        let joined = launcher.hear("joined ");
        if let Some(pid) = joined.strip_prefix("1 2 ") {
            break pid.to_owned();
        }
    };
    until_gone(&pid);
    launcher.say("go on");
    launcher.hear("done");
    assert_eq!(launcher.end(), End::Code(5), "{}", launcher.heard());
}

#[test]
fn the_code_that_all_ranks_end_with_is_the_jobs() {
    let script: &[&str] = &["join", "barrier", "exit:5"];
    let (end, heard) = run(&[script; 3]);
    assert_eq!(end, End::Code(5), "{heard}");
}

#[test]
fn a_rank_that_exits_while_others_wait_is_the_cause() {
    let waits: &[&str] = &["join", "until-error:barrier"];
    let (end, heard) = run(&[waits, waits, &["join", "barrier", "exit:7"]]);
    assert_eq!(end, End::Code(7), "{heard}");
    let told = heard.matches("error rank 2 (pid ").count();
    assert_eq!(told, 2, "{heard}");
    assert!(heard.contains("rank 2"), "{heard}");
}

/// Who calls once more than the others is told how they ended, whether or not they left first.
#[test]
fn a_call_too_many_is_told_with_which_code_the_others_exited() {
    for (last, code) in [("exit:7", 7), ("leave", 0), ("exit:0", 0)] {
        let waits: &[&str] = &["join", "barrier", "barrier"];
        let (_, heard) = run(&[waits, &["join", "barrier", last]]);
        let told = format!("exited with code {code}, noticed in barrier");
        assert!(heard.contains("error rank 1 (pid "), "{last}: {heard}");
        assert!(heard.contains(&told), "{last}: {heard}");
    }
}

/// Who has left and goes on has no code; it is missed all the same.
#[test]
fn a_rank_that_left_and_goes_on_is_missed_without_a_code() {
    let waits: &[&str] = &["join", "barrier", "stop-on-error", "barrier"];
    let (_, heard) = run(&[waits, &["join", "barrier", "leave", "busy"]]);
    let told = "left the job, noticed in barrier";
    assert!(heard.contains(told), "{heard}");
}

#[test]
fn a_signal_is_known_by_number() {
    let waits: &[&str] = &["join", "until-error:reduce:10"];
    let (end, heard) = run(&[waits, &["join", "kill:SIGKILL"], waits]);
    assert_eq!(end, End::Code(128 + 9), "{heard}");
    let told = heard.matches("error rank 1 (pid ").count();
    assert_eq!(told, 2, "{heard}");
}

#[test]
fn the_first_cause_wins_over_those_who_abort_because_of_it() {
    let aborts: &[&str] = &["join", "abort-on-error:4", "until-error:barrier"];
    for (cause, code) in [
        ("kill:SIGKILL", 137),
        ("exit:9", 9),
        ("abort:42", 42),
        ("panic", 101),
    ] {
        let (end, heard) = run(&[aborts, &["join", "barrier", cause], aborts]);
        assert_eq!(end, End::Code(code), "{cause}: {heard}");
    }
}

/// Whoever waits in a communicator split from the job, however deep, is told of the abort itself.
#[test]
fn an_abort_reaches_every_communicator_split_from_the_job() {
    for depth in ["inner:1", "inner:2"] {
        let waits: &[&str] = &["join", depth, "inner-barrier"];
        let (end, heard) = run(&[waits, waits, &["join", depth, "abort:9"]]);
        assert_eq!(end, End::Code(9), "{heard}");
        let told = heard
            .matches("error rank 2 aborted the job with code 9")
            .count();
        assert_eq!(told, 2, "{depth}: {heard}");
    }
}

/// Who is gone is gone from all of them, by the same cause: whoever waits where, now or later.
#[test]
fn a_death_is_the_same_in_every_communicator_split_from_the_job() {
    for depth in ["inner:1", "inner:2"] {
        for (last, told) in [
            ("exit:7", "exited with code 7"),
            ("leave", "exited with code 0"),
            ("kill:SIGKILL", "was killed by signal 9"),
            ("panic", "panicked"),
        ] {
            let here: &[&str] = &["join", depth, "inner-barrier", "inner-barrier", "barrier"];
            let there: &[&str] = &["join", depth, "inner-barrier", "barrier", "inner-barrier"];
            let (_, heard) = run(&[here, there, &["join", depth, "inner-barrier", last]]);
            let errors = heard
                .lines()
                .filter_map(|line| line.split_once("error rank 2 "));
            let errors: Vec<&str> = errors.map(|(_, error)| error).collect();
            assert_eq!(errors.len(), 4, "{last}: {heard}");
            assert!(errors[0].contains(told), "{last}: {heard}");
            assert!(
                errors.iter().all(|error| *error == errors[0]),
                "{last}: {heard}"
            );
        }
    }
}

/// Who drops a split communicator and stays in the job is missed there alone.
#[test]
fn who_leaves_a_split_communicator_is_still_in_the_job() {
    let waits: &[&str] = &["join", "inner:1", "inner-barrier", "barrier"];
    let (end, heard) = run(&[waits, waits, &["join", "inner:1", "outer", "barrier"]]);
    assert_eq!(heard.matches("error rank 2 (pid ").count(), 2, "{heard}");
    assert_eq!(heard.matches("ok barrier").count(), 3, "{heard}");
    assert_eq!(end, End::Code(0), "{heard}");
}

#[test]
fn abort_ends_who_computes_and_does_not_listen() {
    let busy: &[&str] = &["join", "barrier", "busy"];
    let (end, heard) = run(&[busy, busy, &["join", "barrier", "abort:42"]]);
    assert_eq!(end, End::Code(42), "{heard}");
}

#[test]
fn a_rank_that_fails_before_it_has_joined_ends_the_job() {
    let (end, heard) = run(&[&["join"], &["exit:3"], &["join"]]);
    assert_eq!(end, End::Code(3), "{heard}");
}

#[test]
fn a_rank_that_never_joins_and_ends_well_is_reported_by_the_others() {
    let (end, heard) = run(&[&["join"], &["say:bye"], &["join"]]);
    assert_ne!(end, End::Code(0), "{heard}");
    assert!(heard.contains("rank 1"), "{heard}");
}

/// Waits until no process has `setting` in its environment.
fn until_nobody_has(setting: &str) {
    let begin = Instant::now();
    let has = |entry: &std::fs::DirEntry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let mut lines = environment.split(|&byte| byte == 0);
        lines.any(|line| line == setting.as_bytes())
    };
    loop {
        let entries = std::fs::read_dir("/proc").expect("it is there").flatten();
        let Some(entry) = entries.into_iter().find(has) else {
            return;
        };
        let path = entry.path();
        assert!(begin.elapsed() < patience(), "{} goes on", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_launcher_killed_at_any_moment_of_its_start_leaves_nothing() {
    apart(|| {
        let mark = format!("COBRE_TEST_MARK={}", std::process::id());
        for micros in (0..8000).step_by(250) {
            let mut command = Command::new("env");
            command.args([&mark, LAUNCH, "-n", "4", "sleep", "1000"]);
            let begin = Instant::now();
            let mut launcher = Process::start("the launcher", &mut command);
            while begin.elapsed() < Duration::from_micros(micros) {}
            launcher.signal(Signal::SIGKILL);
            assert_eq!(launcher.end(), End::Signal(9));
        }
        until_nobody_has(&mark);
        assert_eq!(made_up_names(), BTreeSet::new());
    });
}
