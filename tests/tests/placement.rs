//! Windows that ask for what is unavailable work all the same, and say what they got.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use cobre_tests::{End, Job};

/// What the ranks of a job say, line by line.
fn said(ranks: usize, arguments: &[&str]) -> Vec<String> {
    let job = Job::of(env!("CARGO_BIN_EXE_windows-rank"), ranks, arguments);
    let mut started = job.start();
    started
        .iter_mut()
        .map(|rank| {
            assert_eq!(rank.end(), End::Code(0), "{}", rank.heard());
            rank.heard().to_owned()
        })
        .collect()
}

const COMPLAINT: &str = "cobre-shm: a window is not placed as asked: ";

/// As in Docker without `CAP_SYS_NICE`: mbind and its relatives are EPERM.
#[test]
fn without_the_right_to_place_memory_windows_work_and_say_so_once() {
    let why = if cfg!(feature = "numa") {
        "Operation not permitted"
    } else {
        "built without its feature `numa`"
    };
    for ranks in [1, 3] {
        let all = said(ranks, &["forbidden"]);
        for (rank, said) in all.iter().enumerate() {
            for name in ["first", "second"] {
                let line = said
                    .lines()
                    .find(|line| line.contains(&format!("{name}: placement")));
                let line = line.expect("a line for each window");
                let reason = if rank == 0 {
                    why
                } else {
                    "rank 0 could not set the policy"
                };
                assert!(line.contains(reason), "rank {rank}: {line}");
            }
            assert!(!said.contains("counted false"), "{said}");
            // A person is told once, by one rank, however many windows there are.
            assert_eq!(
                said.matches(COMPLAINT).count(),
                usize::from(rank == 0),
                "{said}"
            );
        }
    }
}

#[test]
#[cfg(feature = "numa")]
fn what_can_be_placed_is() {
    for said in said(2, &[]) {
        // Itself in such a container, or on a kernel without NUMA.
        if said.contains("the kernel does not place memory") {
            eprintln!("SKIPPED: memory cannot be placed here: {said}");
            return;
        }
        for done in ["first: placement done", "second: placement done"] {
            assert!(said.contains(done), "{said}");
        }
        assert!(said.contains("nowhere: placement "), "{said}");
        assert!(!said.contains("nowhere: placement done"), "{said}");
    }
}

/// Whatever this machine offers: huge pages, or the reason why not, the same on every rank.
#[test]
fn a_request_for_huge_pages_is_met_or_refused_with_a_reason() {
    let offered = |path: &str, none: &[&str]| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        !none.iter().any(|none| text.contains(none)) && !text.is_empty()
    };
    let transparent = offered(
        "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        &["[never]", "[deny]"],
    );
    let reserved = offered("/proc/sys/vm/nr_hugepages", &["0\n"]);
    for ranks in [1, 3] {
        for said in said(ranks, &[]) {
            let line = |name: &str| {
                let name = format!("{name}: huge pages ");
                let line = said.lines().find_map(|line| line.split_once(&name));
                line.expect("a line for each window").1
            };
            if !transparent {
                assert!(line("transparent").contains("write advise to it"), "{said}");
            }
            if !reserved {
                assert!(
                    line("reserved").contains("4 huge pages are needed and 0"),
                    "{said}"
                );
            }
        }
    }
}
