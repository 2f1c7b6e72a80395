//! `cobre-launch --profile` and `--trace`, as a user meets them.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use cobre_profile::Profile;
use cobre_tests::{End, Process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("cobre-profile-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a job whose ranks do what the scripts say, with these options of the launcher.
fn launch(options: &[&str], scripts: &[Vec<String>]) -> Process {
    let mut command = Command::new(LAUNCH);
    command.args(options);
    for (rank, script) in scripts.iter().enumerate() {
        if rank > 0 {
            command.arg(":");
        }
        command.args(["-n", "1", RANK]).args(script);
    }
    Process::start("the launcher", &mut command)
}

/// Three ranks and five barriers; rank 1 comes to each when the others sleep in it.
fn rank_1_is_late() -> Vec<Vec<String>> {
    let steps = |rank| {
        let barriers = (1..=5).flat_map(move |number| {
            let late = (rank == 1).then(|| format!("others-sleep:{number}"));
            late.into_iter().chain(["barrier".to_owned()])
        });
        let reduce = ["reduce:1000".to_owned()];
        std::iter::once("join".to_owned())
            .chain(barriers)
            .chain(reduce)
    };
    (0..3).map(|rank| steps(rank).collect()).collect()
}

#[test]
fn the_verdict_names_the_rank_that_the_others_wait_for() {
    let mut scripts = rank_1_is_late();
    for script in &mut scripts {
        // Whoever is last in the reduction is so by chance.
        assert_eq!(script.pop().as_deref(), Some("reduce:1000"));
    }
    let mut launcher = launch(&["--profile"], &scripts);
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    let heard = launcher.heard();
    let table: Vec<&str> = heard
        .lines()
        .skip_while(|l| !l.contains("profile of"))
        .collect();
    assert!(table[0].contains("profile of 3 ranks on "), "{heard}");
    let barrier = table.iter().find(|line| line.contains("barrier")).unwrap();
    assert!(barrier.contains("scripted-rank.rs:"), "{barrier}");
    assert!(barrier.ends_with("rank 1 100 %"), "{barrier}");
    let verdict = table
        .iter()
        .find(|line| line.contains(" is last in "))
        .unwrap();
    assert!(
        verdict.contains("rank 1 is last in 100 % of the barriers at "),
        "{verdict}"
    );
    assert!(
        verdict.contains(" after the one before it: ")
            && verdict.ends_with(" % of the run could be saved"),
        "{verdict}"
    );
}

#[test]
fn the_profile_is_data_that_reads_back_and_becomes_a_picture() {
    let folder = Folder::new("data");
    let file = folder.path("profile.json");
    let mut launcher = launch(&["--profile", &file], &rank_1_is_late());
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    let said = format!("the profile is in {file}");
    assert!(launcher.heard().contains(&said), "{}", launcher.heard());
    let profile = Profile::from_json(&folder.read("profile.json")).unwrap();
    let barrier = profile
        .sites
        .iter()
        .find(|site| site.operation == "barrier");
    let barrier = barrier.unwrap();
    assert_eq!((barrier.calls, barrier.came_last[1]), (5, 5));
    let reduce = profile
        .sites
        .iter()
        .find(|site| site.operation == "allreduce");
    assert_eq!(reduce.unwrap().bytes, 3 * 8000);
    for rank in &profile.ranks {
        assert!(rank.left);
        assert_eq!(rank.calls, 6);
        let parts = rank.computing_ns + rank.waiting_ns + rank.copying_ns;
        assert_eq!(parts, rank.elapsed_ns);
        assert_eq!(rank.waits_ns.iter().sum::<u64>(), rank.waiting_ns);
        assert_eq!(rank.waits_ns[rank.rank], 0);
    }
    let picture = cobre_profile::plot(&profile);
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    for expected in ["rank 2", "barrier at ", "Who waits for whom"] {
        assert!(picture.contains(expected), "{expected}");
    }
    // The inspector writes it as the launcher writes its files: for this user alone, and through no link.
    let (drawn, link) = (folder.path("picture.svg"), folder.path("link.svg"));
    std::os::unix::fs::symlink(&drawn, &link).unwrap();
    let draw = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inspect"));
        let mut inspect = Process::start("plot", command.args(["plot", &file, to]));
        (inspect.end(), inspect.heard().to_owned())
    };
    let (end, heard) = draw(&link);
    assert_eq!(end, End::Code(1), "{heard}");
    assert!(heard.contains("symbolic link") && !std::fs::exists(&drawn).unwrap());
    assert_eq!(draw(&drawn).0, End::Code(0));
    assert_eq!(folder.read("picture.svg"), picture);
    let mode = std::fs::metadata(&drawn).unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
}

/// What was called is what is counted, also where one place of the program calls with several types.
#[test]
fn every_call_and_byte_is_counted_once() {
    let folder = Folder::new("counted");
    let file = folder.path("profile.json");
    let mut script = vec!["join".to_owned()];
    for step in [
        "reduce:156",
        "ints:3",
        "gather:4",
        "broadcast:1:10",
        "barrier",
    ] {
        script.extend(vec![step.to_owned(); 13]);
    }
    let ranks = vec![script; 3];
    let mut launcher = launch(&["--profile", &file], &ranks);
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    let profile = Profile::from_json(&folder.read("profile.json")).unwrap();
    let mut counted: Vec<(&str, u64, u64)> = profile
        .sites
        .iter()
        .map(|site| (site.operation.as_str(), site.calls, site.bytes))
        .collect();
    counted.sort_unstable();
    let expected = [
        ("allgatherv", 13, 13 * 3 * 4 * 8),
        ("allreduce", 26, 13 * 3 * (156 + 3) * 8),
        ("barrier", 13, 0),
        ("broadcast", 13, 13 * 10 * 8),
    ];
    assert_eq!(counted, expected);
    for rank in &profile.ranks {
        assert_eq!(rank.calls, 5 * 13);
    }
}

/// Checks a trace against the format, and returns the complete events of each rank.
fn checked(text: &str, ranks: usize) -> BTreeMap<u64, Vec<Value>> {
    let trace: Value = serde_json::from_str(text).unwrap();
    assert_eq!(trace["otherData"]["ranks"], ranks);
    let mut named = BTreeSet::new();
    let mut slices: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let pid = event["pid"].as_u64().unwrap();
        assert!(pid < ranks as u64 && event["tid"].is_u64(), "{event}");
        assert!(event["name"].as_str().is_some_and(|name| !name.is_empty()));
        match event["ph"].as_str().unwrap() {
            "M" => {
                if event["name"] == "process_name" {
                    assert_eq!(event["args"]["name"], format!("rank {pid}"));
                    named.insert(pid);
                }
            }
            "X" => {
                assert!(event["ts"].as_f64().unwrap() >= 0.0, "{event}");
                assert!(event["dur"].as_f64().unwrap() >= 0.0, "{event}");
                assert!(event["cat"].is_string() && event["args"].is_object());
                slices.entry(pid).or_default().push(event.clone());
            }
            "i" => assert!(event["ts"].is_f64() && event["s"] == "p", "{event}"),
            other => panic!("{other} in {event}"),
        }
    }
    assert_eq!(named.len(), ranks);
    slices.values().for_each(|slices| assert_nested(slices));
    slices
}

/// Slices of a track begin one after another, and lie inside one another or apart.
fn assert_nested(slices: &[Value]) {
    // What rounding to nanoseconds in a double of microseconds may do.
    const ROUNDING: f64 = 0.002;
    let mut around: Vec<(f64, f64)> = Vec::new();
    let mut last = 0.0;
    for slice in slices {
        let (from, length) = (
            slice["ts"].as_f64().unwrap(),
            slice["dur"].as_f64().unwrap(),
        );
        assert!(from >= last, "not in order: {slice}");
        last = from;
        while around
            .last()
            .is_some_and(|&(_, end)| end <= from + ROUNDING)
        {
            around.pop();
        }
        let inside = around
            .last()
            .is_none_or(|&(_, end)| from + length <= end + ROUNDING);
        assert!(inside, "overlaps: {slice}");
        around.push((from, from + length));
    }
}

#[test]
fn the_trace_has_a_track_per_rank_with_calls_and_waits() {
    let folder = Folder::new("trace");
    let file = folder.path("trace.json");
    let mut launcher = launch(&["--trace", &file], &rank_1_is_late());
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    let slices = checked(&folder.read("trace.json"), 3);
    for (rank, slices) in slices {
        let of = |cat: &str| {
            slices
                .iter()
                .filter(|s| s["cat"] == cat)
                .collect::<Vec<_>>()
        };
        let calls = of("collective");
        let names: Vec<&str> = calls.iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names[..5], ["barrier"; 5]);
        assert_eq!(names[5..], ["allreduce"]);
        for (call, number) in calls.iter().zip(1..) {
            assert_eq!(call["args"]["number"], number);
            assert!(
                call["args"]["site"]
                    .as_str()
                    .unwrap()
                    .contains("scripted-rank.rs:")
            );
            assert!(call["args"].get("unfinished").is_none());
        }
        assert_eq!(calls[5]["args"]["bytes"], 8000);
        let for_1 = of("wait").iter().filter(|s| s["args"]["peer"] == 1).count();
        assert!(if rank == 1 { for_1 == 0 } else { for_1 >= 5 }, "{for_1}");
    }
}

#[test]
fn the_last_events_of_a_killed_rank_are_in_the_trace() {
    let folder = Folder::new("killed");
    let (profile, trace) = (folder.path("profile.json"), folder.path("trace.json"));
    let options = [
        "--trace",
        &trace,
        "--profile",
        &profile,
        "--trace-events",
        "64",
    ];
    let script = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect();
    let waits = script(&["join", "reduce:1", "barrier"]);
    let watches = script(&[
        "join",
        "reduce:1",
        "others-sleep:2",
        "say:asleep",
        "hear",
        "until-error:barrier",
    ]);
    let mut launcher = launch(&options, &[watches, waits]);
    // Lines of two ranks: in any order.
    let (mut pid, mut asleep) = (None, false);
    while pid.is_none() || !asleep {
        let line = launcher.line().unwrap();
        asleep |= line == "asleep";
        let joined = line.strip_prefix("joined 1 2 ");
        pid = pid.or(joined.map(|pid| pid.trim().parse().unwrap()));
    }
    kill(Pid::from_raw(pid.unwrap()), Signal::SIGKILL).unwrap();
    launcher.say("go");
    assert_eq!(launcher.end(), End::Code(128 + 9), "{}", launcher.heard());
    let slices = checked(&folder.read("trace.json"), 2);
    let last = &slices[&1][slices[&1].len() - 2..];
    assert_eq!(
        [&last[0]["name"], &last[1]["name"]],
        ["barrier", "wait for rank 0"]
    );
    assert!(
        last.iter().all(|slice| slice["args"]["unfinished"] == true),
        "{last:?}"
    );
    let profile = Profile::from_json(&folder.read("profile.json")).unwrap();
    assert_eq!(
        profile
            .ranks
            .iter()
            .map(|rank| rank.left)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(profile.run.exit_code, 137);
}

#[test]
fn a_program_that_never_joins_is_told() {
    let mut command = Command::new(LAUNCH);
    command.args(["-n", "2", "--profile", "true"]);
    let mut launcher = Process::start("the launcher", &mut command);
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    assert_eq!(
        launcher.heard().trim_end(),
        "! cobre-launch: no rank joined the job, so nothing was recorded (a program joins with \
         cobre_shm::init)"
    );
}

#[test]
fn nothing_is_said_or_written_when_nobody_asks() {
    let folder = Folder::new("off");
    let file = folder.path("trace.json");
    let mut launcher = launch(&["--trace", &file, "--dry-run"], &rank_1_is_late());
    assert_eq!(launcher.end(), End::Code(0));
    let mut launcher = launch(&[], &rank_1_is_late());
    assert_eq!(launcher.end(), End::Code(0));
    assert!(
        !launcher.heard().contains("profile"),
        "{}",
        launcher.heard()
    );
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
}

/// A pipe that is full and that nobody reads from, as a pager's may be.
#[test]
fn results_for_standard_output_do_not_wait_for_ever() {
    // Its reader waits for a line of this test, and goes with it.
    let script = "exec 3<&0; { \"$@\"; echo \"ended $?\" >&2; } | read -r line <&3";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", LAUNCH, "-n", "4"]);
    command.args(["--trace", "/dev/stdout", RANK, "join"]);
    // More than the pipe holds.
    command.args(["gather:0"; 300]);
    let mut shell = Process::start("the launcher", &mut command);
    while !shell
        .complaint()
        .contains("nobody has read from it for 10 s")
    {}
    while shell.complaint() != "ended 1" {}
    shell.say("done");
    shell.end();
}

#[test]
fn a_file_that_cannot_be_made_is_said_before_anything_runs() {
    let mut launcher = launch(&["--trace", "/nonexistent/trace.json"], &rank_1_is_late());
    assert_eq!(launcher.end(), End::Code(1), "{}", launcher.heard());
    let heard = launcher.heard();
    assert!(
        heard.contains("--trace: cannot create `/nonexistent/trace.json`"),
        "{heard}"
    );
    assert!(!heard.contains("joined"), "{heard}");
}
