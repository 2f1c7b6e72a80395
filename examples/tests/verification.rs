//! The verification can fail, and does when it should.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::process::{Command, Output};
use std::time::Duration;

use cobre_examples::hydrothermal::verify::{Verified, compare, fingerprint, solve_alone};
use cobre_examples::hydrothermal::{
    Case, Outcome, Settings, case, misordered::Misordered, report, solve,
};
use cobre_shm::LocalComm;

const SETTINGS: Settings = Settings {
    iterations: 2,
    forward_passes: 2,
    simulations: 4,
    seed: 9,
};

fn short_case() -> Case {
    let mut case = Case::parse(case::TWO_RIVERS).unwrap();
    case.stages.truncate(3);
    case
}

fn flip_last_bit(value: &mut f64) {
    *value = f64::from_bits(value.to_bits() ^ 1);
}

fn what_differs(change: impl FnOnce(&mut Outcome)) -> String {
    let alone = solve_alone(&short_case(), SETTINGS).unwrap();
    let mut here = alone.clone();
    change(&mut here);
    assert_ne!(fingerprint(&here), fingerprint(&alone));
    compare(&here, &alone).unwrap_err().what
}

#[test]
fn equal_outcomes_are_counted() {
    let case = short_case();
    let outcome = solve_alone(&case, SETTINGS).unwrap();
    let again = solve_alone(&case, SETTINGS).unwrap();
    assert_eq!(fingerprint(&outcome), fingerprint(&again));
    assert_eq!(
        compare(&outcome, &again),
        Ok(Verified { cuts: 8, bounds: 5 })
    );
}

#[test]
fn one_bit_anywhere_is_found_and_named() {
    let found = what_differs(|o| flip_last_bit(&mut o.policy.cuts[1][2].slopes[4]));
    assert_eq!(found, "stage 2, cut 3, slope 5");
    let found = what_differs(|o| flip_last_bit(&mut o.policy.cuts[0][0].intercept));
    assert_eq!(found, "stage 1, cut 1, intercept");
    let found = what_differs(|o| flip_last_bit(&mut o.iterations[1].lower_bound));
    assert_eq!(found, "iteration 2, lower bound");
    let found = what_differs(|o| flip_last_bit(&mut o.iterations[0].upper_bound.half_width));
    assert_eq!(found, "iteration 1, interval");
    let found = what_differs(|o| flip_last_bit(&mut o.simulation.as_mut().unwrap().mean));
    assert_eq!(found, "simulation, mean cost");
}

#[test]
fn missing_cuts_and_bounds_are_found() {
    let found = what_differs(|o| drop(o.policy.cuts[1].pop()));
    assert_eq!(found, "stage 2, the number of cuts");
    let found = what_differs(|o| o.iterations.truncate(1));
    assert_eq!(found, "the number of iterations");
    let found = what_differs(|o| o.simulation = None);
    assert_eq!(found, "the number of simulations");
}

#[test]
fn a_communicator_that_misorders_is_found_out() {
    let case = short_case();
    let wrong = solve(&Misordered(LocalComm::new()), &case, SETTINGS, |_| {}).unwrap();
    let alone = solve_alone(&case, SETTINGS).unwrap();
    let difference = compare(&wrong, &alone).unwrap_err();
    assert!(difference.what.contains("cut"), "{difference}");
}

fn hydrothermal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hydrothermal"))
        .args([
            "--iterations",
            "2",
            "--forward-passes",
            "2",
            "--simulations",
            "4",
        ])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_program_reports_success_within_80_columns() {
    let output = hydrothermal(&["--verify"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        printed.contains("verified: 44 cuts and 5 bounds are bit for bit"),
        "{printed}"
    );
    assert!(printed.contains("\n1 rank on "), "{printed}");
    assert!(printed.lines().all(|line| line.len() <= 80), "{printed}");
    // What a newcomer reads last is the result, not the time on a small machine.
    let last = printed.lines().last().unwrap();
    assert!(last.starts_with("verified: "), "{printed}");
}

#[test]
fn the_times_say_on_how_many_cores_and_why_ranks_were_slow() {
    let (slow, fast) = (Duration::from_secs(3), Duration::from_secs(2));
    assert_eq!(
        report::times(4, 2, slow, fast),
        "4 ranks on 2 cores took 3.00 s, a single rank 2.00 s\n\
         (ranks that share a core take turns: try one for each core, -n 2)"
    );
    assert_eq!(
        report::times(1, 1, fast, fast),
        "1 rank on 1 core took 2.00 s, a single rank 2.00 s"
    );
}

#[test]
fn the_program_fails_when_misordered() {
    let output = hydrothermal(&["--verify", "--quiet", "--misorder"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("hydrothermal: not verified: stage 1, cut 1, "),
        "{said}"
    );
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn input_that_cannot_be_used_is_named() {
    let output = hydrothermal(&["--case", "/nowhere/case.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere/case.toml"));
    let output = hydrothermal(&["--iterations", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_policy_file_does_not_change_from_run_to_run() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let files = ["once.csv", "twice.csv"].map(|name| folder.join(name));
    let contents = files.each_ref().map(|file| {
        let output = hydrothermal(&["--quiet", "--policy", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        std::fs::read_to_string(file).unwrap()
    });
    assert_eq!(contents[0], contents[1]);
    assert_eq!(contents[0].lines().count(), 1 + 44);
}
