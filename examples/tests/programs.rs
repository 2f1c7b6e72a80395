//! Each program runs without a launcher, as a job of one.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::process::{Command, Stdio};

fn printed_by(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What rank 0 of a job of `ranks` prints.
fn printed_by_rank_0(program: &str, ranks: usize) -> String {
    let name = cobre_shm::random_job_name();
    let start = |rank: usize| {
        Command::new(program)
            .env("COBRE_SHM_NAME", &name)
            .env("COBRE_SHM_SIZE", ranks.to_string())
            .env("COBRE_SHM_RANK", rank.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..ranks).map(start).collect();
    let outputs = started
        .into_iter()
        .map(|rank| rank.wait_with_output().unwrap());
    let outputs: Vec<_> = outputs.collect();
    assert!(
        outputs.iter().all(|output| output.status.success()),
        "{outputs:?}"
    );
    String::from_utf8(outputs[0].stdout.clone()).unwrap()
}

#[test]
fn the_shared_tables_hold_what_all_wrote() {
    for ranks in [1, 3, 4] {
        let printed = printed_by_rank_0(env!("CARGO_BIN_EXE_shared_tables"), ranks);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 3, "{printed}");
        let right = format!("read right by {ranks} of {ranks} ranks");
        assert!(lines.iter().all(|line| line.ends_with(&right)), "{printed}");
        assert!(lines[0].starts_with("case data: 160 plants"), "{printed}");
        assert!(
            lines[1].starts_with("opening tree: 1000 openings"),
            "{printed}"
        );
    }
}

#[test]
fn hello_is_the_only_rank() {
    assert_eq!(
        printed_by(env!("CARGO_BIN_EXE_hello")),
        "hello from rank 0 of 1: our numbers add up to 0\n"
    );
}

#[test]
fn window_reads_what_was_written() {
    let printed = printed_by(env!("CARGO_BIN_EXE_window"));
    let right = printed.matches("1 of 1 ranks read all 1000000 elements right");
    assert_eq!(right.count(), 3, "{printed}");
}

#[test]
fn each_cut_of_the_exchange_is_best_at_its_own_point() {
    assert_eq!(
        printed_by(env!("CARGO_BIN_EXE_exchange")),
        "10 cuts after 19 iterations: best at [1, 1, 1, 1, 1, 1, 1, 1, 1, 1] points\n"
    );
}

#[test]
fn collectives_prints_a_line_per_collective_and_size() {
    let printed = printed_by(env!("CARGO_BIN_EXE_collectives"));
    assert_eq!(printed.lines().count(), 3 + 1 + 3 * 7, "{printed}");
}

#[test]
fn work_goes_to_who_is_free_and_never_to_who_is_gone() {
    let printed = printed_by(env!("CARGO_BIN_EXE_services"));
    let answers: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with(' ') && !line.is_empty())
        .collect();
    assert_eq!(
        answers,
        [
            "D has work: least_loaded chose B",
            "B has more: least_loaded chose D",
            "D shuts down: least_loaded chose B",
            "B is gone: least_loaded found nobody who takes work",
        ]
    );
    assert!(printed.contains("\n  D: busy, queue 5, "), "{printed}");
}
