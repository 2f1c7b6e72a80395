//! Ranks are kept where the user wants them, and not where another job is.
#![allow(clippy::unwrap_used)]

mod common;

use common::{launcher, run, start};

/// Prints the processors that the rank may run on, and how many threads it should have.
const WHERE: &str = "grep Cpus_allowed_list /proc/self/status; echo threads $RAYON_NUM_THREADS";

fn usable() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn without_the_option_nothing_is_bound() {
    let outcome = run(&["-n", "1", "cat", "/proc/self/status"]);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |text: &str| {
        let mut lines = text.lines();
        lines
            .find(|line| line.starts_with("Cpus_allowed_list"))
            .map(str::to_owned)
    };
    assert_eq!(line(&outcome.stdout), line(&own));
}

#[test]
fn a_rank_has_a_core_of_its_own_and_two_jobs_do_not_share_one() {
    let mut first = start(launcher(&[
        "-n",
        "1",
        "--bind-to",
        "core",
        "sh",
        "-c",
        &format!("{WHERE}; read end"),
    ]));
    let shown = first.read_until("threads", 1);
    let place = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Cpus_allowed"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    // The second job asks for all that it may use: at least one core is bound already.
    let all = usable().to_string();
    let refused = run(&["-n", &all, "--bind-to", "core", "true"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("bound by other jobs"),
        "{}",
        refused.stderr
    );
    if usable() > 1 {
        let other = run(&["-n", "1", "--bind-to", "core", "sh", "-c", WHERE]);
        assert_ne!(place(&other.stdout), place(&shown));
    }
    first.write("end\n");
    assert_eq!(first.finish().code, 0);
}

#[test]
fn the_picture_shows_what_would_be_done() {
    let outcome = run(&["-n", "1", "--report-bindings", "--dry-run", "true"]);
    assert!(
        outcome.stdout.contains("package 0\n  node 0  L3 0  |"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.ends_with("no rank is bound\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn placement_without_binding_is_a_mistake() {
    let outcome = run(&["-n", "1", "--cpus-per-rank", "2", "true"]);
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("add --bind-to core"),
        "{}",
        outcome.stderr
    );
}
