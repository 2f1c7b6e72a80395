//! `--keep-going`: ranks that work without each other.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod common;

use cobre_comm_trait::{CommError, Communicator};
use common::{Folder, join, play, rank_of, run};

#[test]
fn rank() {
    play(&[("mourner", mourner)]);
}

/// Rank 1 dies as a member; the others are told when they need it, and go on.
fn mourner() {
    let comm = join();
    if comm.rank() == 1 {
        std::process::abort();
    }
    match comm.barrier() {
        Err(CommError::RankFailed { rank: 1, .. }) => println!("rank {} goes on", comm.rank()),
        other => panic!("{other:?}"),
    }
    // Nothing that unwinds or leaves.
    std::process::exit(0);
}

#[test]
fn the_other_ranks_run_on_and_the_highest_code_counts() {
    let folder = Folder::new();
    let script = "echo $$ >$1/$COBRE_SHM_RANK
        case $COBRE_SHM_RANK in
            1|4) exit 3;;
            2) kill -9 $$;;
        esac
        for rank in 1 2 4; do
            while ! test -s $1/$rank || kill -0 $(cat $1/$rank) 2>/dev/null; do sleep 0.01; done
        done
        # As long as the launcher waits before it ends a job.
        sleep 0.3
        echo $COBRE_SHM_RANK was not ended";
    let folder = folder.0.to_str().unwrap();
    let options = ["-n", "5", "--keep-going", "--kill-grace", "0s"];
    let outcome = run(&[&options[..], &["sh", "-c", script, "sh", folder]].concat());
    assert_eq!(outcome.sorted(), ["0 was not ended", "3 was not ended"]);
    assert_eq!(outcome.code, 137);
    let words = "cobre-launch: 3 of 5 ranks failed\n  ranks 1, 4: exited with code 3\n  \
                 rank 2: killed by SIGKILL (signal 9)\n  exit code 137\n";
    assert_eq!(outcome.stderr, words);
}

#[test]
fn a_collective_that_needs_a_dead_rank_fails_and_ends_nobody() {
    let words = rank_of("mourner", "3", &["--keep-going", "--kill-grace", "0s"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = run(&words);
    for rank in [0, 2] {
        assert!(
            outcome.stdout.contains(&format!("rank {rank} goes on")),
            "{}",
            outcome.stdout
        );
    }
    assert_eq!(outcome.code, 134);
    assert!(
        outcome.stderr.contains("1 of 3 ranks failed"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn nothing_is_said_if_all_succeed_and_a_restart_is_refused() {
    let outcome = run(&["-n", "2", "--keep-going", "true"]);
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0));
    let outcome = run(&["-n", "2", "--keep-going", "--max-restarts", "2", "true"]);
    assert_eq!(outcome.code, 2);
}
