//! `--stacks`: where the threads of the ranks are, by gdb or by something in its place.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use common::{Folder, is_gone, join, rank_of, signal_launcher, start, wait_for_text};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;

/// `rank` of this file's tests, if one starts it so.
#[test]
fn rank() {
    common::play(&[("says_ready", says_ready)]);
}

/// Says that it has joined, and as which process.
fn says_ready() {
    let comm = join();
    println!("\nready as {}", std::process::id());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    drop(comm);
}

/// A folder for PATH in which `script` is gdb.
fn with_gdb(script: &str) -> Folder {
    let folder = Folder::new();
    let gdb = folder.file("gdb");
    std::fs::write(&gdb, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&gdb, mode).unwrap();
    folder
}

/// The same launcher with this folder first in PATH.
fn within(folder: &Folder, args: &[&str]) -> Command {
    let mut command = signal_launcher(args);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", folder.0.display()));
    command
}

#[test]
fn a_job_whose_time_is_up_shows_the_stacks_of_all_ranks() {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("SKIPPED: there is no gdb to look at stacks with");
        return;
    }
    // Without symbols, so that gdb is quick.
    let words = ["-n", "3", "--timeout", "300ms", "--stacks", "sleep", "1000"];
    let outcome = start(signal_launcher(&words)).finish();
    assert_eq!(outcome.code, 124);
    let stderr = &outcome.stderr;
    let (stacks, _) = stderr
        .split_once("cobre-launch: the job did not end within")
        .unwrap();
    let heading = "cobre-launch: the stacks of the ranks, by gdb:\n";
    let ranks = stacks.strip_prefix(heading).unwrap();
    let ranks: Vec<&str> = ranks.split("  rank ").skip(1).collect();
    assert_eq!(ranks.len(), 3, "{stderr}");
    for (rank, stack) in ranks.iter().enumerate() {
        assert!(stack.starts_with(&format!("{rank} (pid ")), "{stderr}");
        assert!(stack.contains("\n    Thread 1 ("), "{stderr}");
        assert!(stack.contains("\n    #0  "), "{stderr}");
    }
}

#[test]
fn without_gdb_a_sentence_says_so() {
    let words = ["-n", "3", "--timeout", "300ms", "--stacks", "sleep", "1000"];
    let mut command = signal_launcher(&words);
    let folder = Folder::new();
    for name in ["env", "sleep"] {
        let program = std::fs::canonicalize(format!("/usr/bin/{name}")).unwrap();
        std::os::unix::fs::symlink(program, folder.file(name)).unwrap();
    }
    command.env("PATH", &folder.0);
    let outcome = start(command).finish();
    assert_eq!(outcome.code, 124);
    assert_eq!(
        outcome
            .stderr
            .matches("    no stacks: gdb is not installed")
            .count(),
        3,
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_gdb_complains_of_is_quoted() {
    let folder = with_gdb("echo 'warning: a' >&2; echo 'ptrace: Not today.' >&2; exit 1");
    let words = ["-n", "1", "--timeout", "100ms", "--stacks", "sleep", "1000"];
    let outcome = start(within(&folder, &words)).finish();
    assert_eq!(outcome.code, 124);
    assert!(
        outcome.stderr.contains(": ptrace: Not today."),
        "{}",
        outcome.stderr
    );
}

/// It is asked to let go of the rank that it looks at, and looks at no other.
#[test]
fn a_signal_breaks_gdb_off() {
    let folder = with_gdb(
        "trap 'kill $!; echo let go >>$0.end; exit' TERM; echo $$ >>$0.begin; sleep 100 & wait",
    );
    let script = "echo ready; exec sleep 1000";
    let words = ["-n", "4", "--stacks", "sh", "-c", script];
    let mut running = start(within(&folder, &words));
    running.read_until("ready", 4);
    running.signal(Signal::SIGQUIT);
    let begin = folder.file("gdb.begin");
    wait_for_text(&begin);
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    // Which of the two a rank dies of is left to chance.
    assert!([131, 143].contains(&outcome.code), "{}", outcome.stderr);
    let told = "no stacks: a signal came before gdb had finished";
    assert_eq!(
        outcome.stderr.matches(told).count(),
        4,
        "{}",
        outcome.stderr
    );
    assert!(
        std::fs::read_to_string(&begin)
            .unwrap()
            .lines()
            .all(is_gone)
    );
    let end = std::fs::read_to_string(folder.file("gdb.end")).unwrap();
    assert!(end.starts_with("let go\n"), "{end}");
}

/// What a rank calls itself there is the number of another process here.
#[test]
fn gdb_looks_at_no_stranger_if_a_rank_is_in_another_pid_namespace() {
    let probe = ["--pid", "--fork", "true"];
    let probe = Command::new("unshare").args(probe).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no PID namespace can be made here");
        return;
    }
    let folder = with_gdb("echo \"#0  looked at $*\"");
    let mut words = rank_of("says_ready", "2", &["-v", "--stacks", "--stdin", "all"]);
    let program = std::env::current_exe().unwrap();
    let is_program = |word: &String| Path::new(word) == program;
    let program = words.iter().position(is_program).unwrap();
    let inside = "trap '' QUIT; exec unshare --pid --fork \"$@\"";
    words.splice(
        program..program,
        ["sh", "-c", inside, "sh"].map(str::to_owned),
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut running = start(within(&folder, &words));
    running.read_until("ready as ", 2);
    running.signal(Signal::SIGQUIT);
    let said = running.read_stderr_until("looked at", 2);
    for rank in 0..2 {
        let (_, pid) = said.split_once(&format!("rank {rank} is pid ")).unwrap();
        let (pid, _) = pid.split_once(',').unwrap();
        assert!(
            said.contains(&format!("  rank {rank} (pid {pid}):")),
            "{said}"
        );
        assert!(said.contains(&format!(" -p {pid} ")), "{said}");
    }
    assert_eq!(running.finish().code, 0);
}
