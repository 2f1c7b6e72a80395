//! How a job ends: ranks that leave, die, panic and abort while others wait for them.

use cobre_tests::{End, Job, Process, apart, made_up_names};
use nix::sys::signal::Signal;

const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// Every way to wait for others, with what must be done before.
const WAITS: [(&str, &[&str]); 11] = [
    ("barrier", &[]),
    ("broadcast:2:10", &[]),
    ("broadcast:2:500000", &[]),
    ("broadcast:0:500000", &[]),
    ("reduce:1", &[]),
    ("reduce:200000", &[]),
    ("gather:3", &[]),
    ("gather:100000", &[]),
    ("region:1000", &[]),
    ("publish", &["region:1000"]),
    ("split", &[]),
];

fn script(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|&step| step.to_owned()).collect()
}

/// Ranks 0 and 1 wait in `wait` for rank 2, which ends by `end` instead; what the two are told.
fn bereaved(wait: &str, before: &[&str], end: &[&str], asleep: bool) -> [String; 2] {
    let wait_for_ever = format!("until-error:{wait}");
    let survivor = [
        &["join"],
        before,
        &["say:waits", wait_for_ever.as_str(), "barrier"],
    ]
    .concat();
    let culprit = [&["join"], before, &["say:ready", "hear"], end].concat();
    let ranks = [&survivor, &survivor, &culprit].map(|steps| script(steps));
    let job = Job::ranks(RANK, ranks.to_vec());
    let mut ranks = job.start();
    for rank in &mut ranks[..2] {
        rank.hear("waits");
        if asleep {
            rank.until_waiting();
        }
    }
    ranks[2].hear("ready");
    if end.is_empty() {
        ranks[2].signal(Signal::SIGKILL);
    } else {
        ranks[2].say("go");
    }
    let pid = ranks[2].pid();
    ranks[2].end();
    let told = [0, 1].map(|rank: usize| {
        let rank = &mut ranks[rank];
        let first = rank.hear("error ");
        // The first cause, again and again.
        assert_eq!(rank.hear("error "), first, "{}", rank.heard());
        assert_eq!(rank.end(), End::Code(0), "{}", rank.heard());
        let named = format!("rank 2 (pid {pid}) ");
        assert!(first.starts_with(&named), "in {wait}: {first}");
        first
    });
    assert_eq!(told[0], told[1], "in {wait}");
    told
}

#[test]
fn a_rank_killed_while_others_wait_in_any_collective() {
    for (wait, before) in WAITS {
        for asleep in [false, true] {
            let [told, _] = bereaved(wait, before, &[], asleep);
            assert!(
                told.contains(" died,") || told.contains("killed by signal 9,"),
                "{wait}: {told}"
            );
        }
    }
}

#[test]
fn a_rank_that_returns_while_others_wait_in_any_collective() {
    for (wait, before) in WAITS {
        for end in ["say:bye", "leave"] {
            let [told, _] = bereaved(wait, before, &[end], end == "leave");
            assert!(
                told.contains("exited with code") || told.contains("left the job"),
                "{wait}: {told}"
            );
        }
    }
}

#[test]
fn a_rank_that_exits_or_panics_while_others_wait() {
    for (wait, before) in [WAITS[0], WAITS[3], WAITS[5], WAITS[9]] {
        // Destructors do not run.
        let [told, _] = bereaved(wait, before, &["exit:7"], true);
        assert!(
            told.contains("exited with code") || told.contains("left the job"),
            "{wait}: {told}"
        );
        let [told, _] = bereaved(wait, before, &["panic"], true);
        assert!(told.contains(" panicked"), "{wait}: {told}");
        let [told, _] = bereaved(wait, before, &["kill:SIGABRT"], true);
        assert!(
            told.contains(" died,") || told.contains("killed by signal 6,"),
            "{wait}: {told}"
        );
    }
}

#[test]
fn a_stopped_rank_is_not_a_dead_one() {
    let job = Job::of(
        RANK,
        2,
        &["join", "say:ready", "hear", "barrier", "reduce:1000"],
    );
    let mut ranks = job.start();
    ranks[1].hear("ready");
    ranks[1].signal(Signal::SIGSTOP);
    ranks[1].until_stopped();
    ranks[0].hear("ready");
    for rank in &mut ranks {
        rank.say("go on");
    }
    ranks[0].until_waiting();
    ranks[1].signal(Signal::SIGCONT);
    for rank in &mut ranks {
        rank.hear("ok reduce");
        assert_eq!(rank.end(), End::Code(0));
    }
}

#[test]
fn who_leaves_when_nobody_needs_him_harms_nobody() {
    for end in ["say:bye", "exit:5", "leave"] {
        let early = script(&["join", "region:100", "publish", "barrier", end]);
        let late = script(&[
            "join",
            "region:100",
            "publish",
            "barrier",
            "hear",
            "say:done",
        ]);
        let job = Job::ranks(RANK, vec![late.clone(), late, early]);
        let mut ranks = job.start();
        let code = if end == "exit:5" { 5 } else { 0 };
        assert_eq!(ranks[2].end(), End::Code(code));
        for rank in &mut ranks[..2] {
            rank.say("go on");
            rank.hear("done");
            assert_eq!(rank.end(), End::Code(0));
            assert!(!rank.heard().contains("error"), "{}", rank.heard());
        }
    }
}

/// A root learns nothing from a broadcast: it may be gone before anybody has received.
#[test]
fn a_root_may_leave_before_anybody_has_received() {
    let root = script(&["join", "barrier", "broadcast:0:4"]);
    let reader = script(&["join", "barrier", "hear", "broadcast:0:4"]);
    let job = Job::ranks(RANK, vec![root, reader.clone(), reader]);
    let mut ranks = job.start();
    for rank in &mut ranks[1..] {
        rank.hear("ok barrier");
    }
    // A backend may also keep the root until all have received.
    ranks[0].hear("ok barrier");
    ranks[1].say("go on");
    ranks[2].say("go on");
    for rank in &mut ranks {
        rank.hear("ok broadcast");
        assert_eq!(rank.end(), End::Code(0), "{}", rank.heard());
    }
}

fn all_end(ranks: &mut [Process]) -> Vec<End> {
    ranks.iter_mut().map(Process::end).collect()
}

#[test]
fn abort_ends_ranks_that_wait_and_tells_them() {
    for wait in ["barrier", "reduce:1", "broadcast:1:500000"] {
        let waiting = script(&["join", "stop-on-error", "say:waits", wait]);
        let job = Job::ranks(
            RANK,
            vec![
                waiting.clone(),
                script(&["join", "hear", "abort:42"]),
                waiting,
            ],
        );
        let mut ranks = job.start();
        ranks[0].hear("waits");
        ranks[2].hear("waits");
        ranks[1].say("go");
        assert_eq!(
            all_end(&mut ranks),
            [End::Code(3), End::Code(42), End::Code(3)]
        );
        for rank in [0, 2] {
            let heard = ranks[rank].heard();
            assert!(
                heard.contains("error rank 1 aborted the job with code 42"),
                "{heard}"
            );
        }
    }
}

#[test]
fn abort_ends_ranks_that_compute_and_do_not_listen() {
    let busy = script(&["join", "say:busy", "busy"]);
    let job = Job::ranks(
        RANK,
        vec![busy.clone(), script(&["join", "hear", "abort:9"]), busy],
    );
    let mut ranks = job.start();
    ranks[0].hear("busy");
    ranks[2].hear("busy");
    ranks[1].say("go");
    assert_eq!(
        all_end(&mut ranks),
        [End::Signal(9), End::Code(9), End::Signal(9)]
    );
}

#[test]
fn abort_leaves_alone_who_has_left() {
    let job = Job::ranks(
        RANK,
        vec![
            script(&["join", "barrier", "leave", "hear", "say:lives"]),
            script(&["join", "barrier", "hear", "abort:1"]),
        ],
    );
    let mut ranks = job.start();
    ranks[0].hear("left");
    ranks[1].say("go");
    assert_eq!(ranks[1].end(), End::Code(1));
    ranks[0].say("go on");
    ranks[0].hear("lives");
    assert_eq!(ranks[0].end(), End::Code(0));
}

/// A rank may drop its communicator and work on with another that it has split from it.
#[test]
fn abort_ends_who_goes_on_in_a_split_communicator() {
    let job = Job::ranks(
        RANK,
        vec![
            script(&["join", "inner:1", "inner-only", "say:computes", "busy"]),
            script(&["join", "inner:1", "hear", "abort:9"]),
        ],
    );
    let mut ranks = job.start();
    ranks[0].hear("computes");
    ranks[1].say("go");
    assert_eq!(all_end(&mut ranks), [End::Signal(9), End::Code(9)]);
}

#[test]
fn abort_in_a_job_of_one_exits() {
    let job = Job::of(RANK, 1, &["join", "abort:17"]);
    assert_eq!(job.start_rank(0).end(), End::Code(17));
}

/// Whoever is killed at whatever moment: nothing stays in /dev/shm once the job has formed.
#[test]
fn all_killed_at_once_leave_nothing() {
    for round in 0..10 {
        let steps = [
            "join",
            "region:100000",
            "publish",
            "say:go",
            "until-error:gather:20000",
        ];
        let job = Job::of(RANK, 4, &steps);
        let mut ranks = job.start();
        ranks[round % 4].hear("go");
        for rank in &ranks {
            rank.signal(Signal::SIGKILL);
        }
        assert_eq!(all_end(&mut ranks), [End::Signal(9); 4]);
    }
}

/// A window's name must not outlive its job either, at whatever moment the ranks are killed.
#[test]
fn killed_while_creating_windows_leaves_nothing() {
    apart(|| {
        for making in ["until-error:region:1000", "until-error:split"] {
            for _ in 0..10 {
                let job = Job::of(RANK, 3, &["join", "say:go", making]);
                let mut ranks = job.start();
                for rank in &mut ranks {
                    rank.hear("go");
                }
                for rank in &ranks {
                    rank.signal(Signal::SIGKILL);
                }
                assert_eq!(all_end(&mut ranks), [End::Signal(9); 3]);
            }
            let left = made_up_names();
            assert!(left.is_empty(), "{making}: {left:?} in /dev/shm");
        }
    });
}
